//! Every error answer of the control plane is made here: a problem document (RFC 9457) that names the thing and the
//! mend. The member `message` says the same in one text, for clients of the original.
//!
//! What went wrong inside is logged with its chain of causes, and answered without it.

use std::error::Error;
use std::fmt::Write as _;

use axum::body::Body;
use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use vamp_model::{Kind, Violation};
use vamp_record::access::Denied;

use super::written::{MEDIA_TYPES, answer_text};
use crate::causes::with_causes;
use crate::core::ChangeError;
use crate::persist::PersistError;
use crate::plan::Finding;

/// The media type of every error answer.
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// LIMIT: violations that the one text for old clients repeats; all of them stand in `violations`.
const VIOLATIONS_IN_MESSAGE: usize = 5;

/// What sort of error, stable over releases: the end of the problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    BadRequest,
    BadDocument,
    Unauthorized,
    Forbidden,
    NotFound,
    UnknownAddress,
    MethodNotAllowed,
    NotAcceptable,
    SlowRequest,
    Exists,
    InUse,
    VersionMismatch,
    TooLarge,
    UnsupportedMediaType,
    Busy,
    Unavailable,
    Internal,
    Damaged,
}

impl Code {
    pub(super) const ALL: [Self; 18] = [
        Self::BadRequest,
        Self::BadDocument,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownAddress,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::SlowRequest,
        Self::Exists,
        Self::InUse,
        Self::VersionMismatch,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Busy,
        Self::Unavailable,
        Self::Internal,
        Self::Damaged,
    ];

    /// Status, end of the type, title.
    fn facts(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::BadRequest => (400, "bad-request", "The request is not understood"),
            Self::BadDocument => (400, "bad-document", "The document is refused"),
            Self::Unauthorized => (401, "unauthorized", "A token is needed"),
            Self::Forbidden => (403, "forbidden", "The request may not be answered"),
            Self::NotFound => (404, "not-found", "There is no such thing"),
            Self::UnknownAddress => (404, "unknown-address", "There is no such address"),
            Self::MethodNotAllowed => (405, "method-not-allowed", "The address does not take this method"),
            Self::NotAcceptable => (406, "not-acceptable", "The answer can't be written like this"),
            Self::SlowRequest => (408, "slow-request", "The request took too long to arrive"),
            Self::Exists => (409, "exists", "It exists already"),
            Self::InUse => (409, "in-use", "It is in use"),
            Self::VersionMismatch => (412, "version-mismatch", "It is not at the expected version"),
            Self::TooLarge => (413, "too-large", "The request is too large"),
            Self::UnsupportedMediaType => (415, "unsupported-media-type", "The body can't be read"),
            Self::Busy => (503, "busy", "Too many requests at once"),
            Self::Unavailable => (503, "unavailable", "A part that is needed does not answer"),
            Self::Internal => (500, "internal", "The control plane failed"),
            Self::Damaged => (500, "damaged", "What is stored is not what was written"),
        }
    }

    pub(super) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.facts().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The problem's `type`.
    pub(super) fn uri(self) -> String {
        format!("urn:vamp:problem:{}", self.facts().1)
    }

    pub(super) fn title(self) -> &'static str {
        self.facts().2
    }
}

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem(Box<Content>);

#[derive(Debug)]
struct Content {
    code: Code,
    /// What is wrong, naming the thing.
    detail: String,
    /// How to mend it; may be empty.
    mend: String,
    violations: Vec<Value>,
    /// Further members of the document.
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Whether it says that something is not there.
    pub(super) fn is_not_found(&self) -> bool {
        self.0.code.status() == StatusCode::NOT_FOUND
    }

    fn new(code: Code, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self(Box::new(Content {
            code,
            detail: detail.into(),
            mend: mend.into(),
            violations: Vec::new(),
            members: Map::new(),
            headers: Vec::new(),
        }))
    }

    fn with_header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    /// A query parameter, header or address that is not understood.
    pub(super) fn bad_request(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail, mend)
    }

    /// Documents with violations, each with its place.
    pub(super) fn bad_document(violations: Vec<Violation>) -> Self {
        let violations = violations.into_iter().map(|violation| violation_value(&violation, None));
        Self::with_violations(violations.collect())
    }

    /// Documents that are fine each by itself, and not together with what is stored.
    pub(super) fn findings(findings: &[Finding]) -> Self {
        let value = |finding: &Finding| violation_value(&finding.violation, Some((finding.kind, &finding.name)));
        Self::with_violations(findings.iter().map(value).collect())
    }

    fn with_violations(violations: Vec<Value>) -> Self {
        let detail = match violations.len() {
            1 => "the document has a violation; nothing was stored".to_owned(),
            count => format!("the document has {count} violations; nothing was stored"),
        };
        let mut problem = Self::new(Code::BadDocument, detail, "");
        problem.0.violations = violations;
        problem
    }

    /// The access rule says no.
    pub(super) fn denied(denied: Denied) -> Self {
        let code = match denied {
            Denied::SeveralHosts => Code::BadRequest,
            Denied::ForeignHost | Denied::ForeignOrigin => Code::Forbidden,
            Denied::NoToken | Denied::WrongToken => Code::Unauthorized,
        };
        let problem = Self::new(code, denied.to_string(), "");
        match code {
            Code::Unauthorized => problem.with_header(WWW_AUTHENTICATE, "Bearer realm=\"vamp\""),
            _ => problem,
        }
    }

    /// Nothing of this kind has the name.
    pub(super) fn no_artifact(kind: Kind, name: &str, near: Option<&str>) -> Self {
        let mend = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("`GET /api/v1/{}` lists those that there are", kind.plural()),
        };
        Self::new(Code::NotFound, format!("there is no {kind} `{}`", super::query::shown(name)), mend)
    }

    /// An artifact has no such part.
    pub(super) fn no_part(what: impl Into<String>) -> Self {
        Self::new(Code::NotFound, what, "read the artifact to see what it has")
    }

    /// An artifact never had the version.
    pub(super) fn no_version(kind: Kind, name: &str, version: u64) -> Self {
        let detail = format!("{kind} `{name}` has no version {version}");
        Self::new(Code::NotFound, detail, "its history lists the versions that there are")
    }

    /// The version is a deletion.
    pub(super) fn deleted_version(kind: Kind, name: &str, version: u64) -> Self {
        let detail = format!("version {version} of {kind} `{name}` is its deletion");
        Self::new(Code::NotFound, detail, "ask for the version before it, which the history shows")
    }

    /// No endpoint has the path.
    pub(super) fn unknown_address(path: &str, near: &[&str]) -> Self {
        let mut mend = near.iter().map(|near| format!("`{near}`")).collect::<Vec<_>>().join(", ");
        mend =
            if mend.is_empty() { "`/openapi.json` lists all addresses".to_owned() } else { format!("near it: {mend}") };
        Self::new(Code::UnknownAddress, format!("there is no address `{}`", super::query::shown(path)), mend)
    }

    /// The path takes other methods.
    pub(super) fn method_not_allowed(method: &str, template: &str, allowed: &str) -> Self {
        let detail = format!("`{template}` does not take {method}");
        let mut mend = format!("it takes {allowed}");
        if template.ends_with("/split") || template.ends_with("/explain") || template.ends_with("/history") {
            mend.push_str("; if that is part of a name, write the `/` before it as `%2F`");
        }
        Self::new(Code::MethodNotAllowed, detail, mend).with_header(ALLOW, allowed)
    }

    /// `Accept` has nothing that can be written.
    pub(super) fn not_acceptable() -> Self {
        Self::new(
            Code::NotAcceptable,
            "`Accept` names nothing that this address answers",
            format!("ask for {MEDIA_TYPES}"),
        )
    }

    /// `Content-Type` or `Content-Encoding` has nothing that can be read.
    pub(super) fn unsupported_media_type(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Code::UnsupportedMediaType, detail, mend)
    }

    /// The body did not arrive in time.
    pub(super) fn slow_request(limit_seconds: u64) -> Self {
        let detail = format!("the body did not arrive within {limit_seconds} seconds");
        Self::new(Code::SlowRequest, detail, "send it faster, or in several requests")
    }

    /// The body is over its limit.
    pub(super) fn too_large(limit_bytes: usize) -> Self {
        Self::new(Code::TooLarge, format!("the body has more than {limit_bytes} bytes"), "send it in several requests")
    }

    /// A bound of this listener is reached.
    pub(super) fn busy(what: &str) -> Self {
        Self::new(Code::Busy, format!("{what} at once"), "try again in a moment").with_header(RETRY_AFTER, "1")
    }

    /// Something that is needed does not answer.
    pub(super) fn unavailable(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, detail, mend).with_header(RETRY_AFTER, "1")
    }

    /// The core did not make a change.
    pub(super) fn change(error: ChangeError) -> Self {
        let detail = error.to_string();
        match error {
            ChangeError::Empty | ChangeError::TooMany { .. } | ChangeError::Twice { .. } => {
                Self::bad_request(detail, "")
            }
            ChangeError::Exists { .. } => Self::new(Code::Exists, detail, ""),
            ChangeError::Missing { .. } | ChangeError::NoSuchVersion { .. } | ChangeError::NoSuchPart(_) => {
                Self::new(Code::NotFound, detail, "")
            }
            ChangeError::VersionMismatch { .. } => Self::version_mismatch(detail, ""),
            ChangeError::Findings(findings) => Self::findings(&findings),
            ChangeError::Unreadable { violations, .. } => {
                let mut problem = Self::bad_document(violations);
                problem.0.detail = detail;
                problem
            }
            ChangeError::Damaged { kind, name, version, damage } => {
                Self::damaged_version(kind, &name, version, &damage)
            }
            ChangeError::InUse(items) => {
                let mut problem = Self::new(Code::InUse, detail, "");
                let users = items.iter().flat_map(|item| &item.users);
                let users = users.map(|(kind, name)| json!({"kind": kind, "name": name})).collect();
                problem.0.members.insert("users".to_owned(), Value::Array(users));
                problem
            }
            ChangeError::Busy { .. } | ChangeError::Overtaken { .. } | ChangeError::Outdated { .. } => {
                Self::new(Code::Busy, detail, "").with_header(RETRY_AFTER, "1")
            }
            ChangeError::Persist(error) => Self::database("the database", &error),
            ChangeError::Stopped => Self::unavailable(detail, "ask for what became of it"),
        }
    }

    /// A precondition of the request does not hold.
    pub(super) fn version_mismatch(detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(Code::VersionMismatch, detail, mend)
    }

    /// The database did not do it: it is away, which passes, or it failed. Logged here with its causes.
    pub(super) fn database(what: &str, error: &PersistError) -> Self {
        if !error.is_passing() {
            return Self::internal(what, error);
        }
        tracing::warn!(cause = %with_causes(error), "{what} was not possible");
        let mend = match error {
            PersistError::Uncertain { .. } => "ask whether it was kept before sending it again",
            _ => "try again in a moment; the log of the control plane has the cause",
        };
        Self::unavailable(error.in_short(), mend)
    }

    /// A version that is not what was written.
    pub(super) fn damaged(kind: Kind, name: &str, version: u64, damage: &str) -> Self {
        let detail = format!("{kind} `{}` can't be read in version {version}: {damage}", super::query::shown(name));
        let mend = "restore an older version from its history, write it anew, or delete it";
        Self::new(Code::Damaged, detail, mend)
    }

    /// A version of the history that is not what was written.
    pub(super) fn damaged_version(kind: Kind, name: &str, version: u64, damage: &str) -> Self {
        let detail =
            format!("version {version} of {kind} `{}` is not what was written: {damage}", super::query::shown(name));
        let mend = "restore another version, or write anew what is meant; `vamp audit verify` names the first place of the \
                    history that does not fit, and a backup of the database has what was written";
        Self::new(Code::Damaged, detail, mend)
    }

    /// Something failed that the client can't mend: logged here with its causes.
    pub(super) fn internal(what: &str, cause: &(dyn Error + 'static)) -> Self {
        tracing::error!(cause = %with_causes(cause), "{what} failed");
        let mend = "try again; the log of the control plane has the cause under this request's id";
        Self::new(Code::Internal, format!("{what} failed"), mend)
    }

    /// A handler ended without an answer: logged here.
    pub(super) fn panicked() -> Self {
        tracing::error!("a request ended in a panic");
        Self::new(Code::Internal, "the control plane failed to answer this request", "report it with the log")
    }

    /// All in one text, for old clients and tests.
    pub(super) fn message(&self) -> String {
        let content = &self.0;
        let mut text = content.detail.clone();
        let mut add = |part: &str, more: &str| {
            let _infallible = write!(text, "{part}{more}");
        };
        if !content.mend.is_empty() {
            add(": ", &content.mend);
        }
        for violation in content.violations.iter().take(VIOLATIONS_IN_MESSAGE) {
            add("; ", &violation_text(violation));
        }
        if content.violations.len() > VIOLATIONS_IN_MESSAGE {
            add("; ", "…");
        }
        text
    }

    /// The answer.
    pub(super) fn into_answer(self, request_id: &str) -> Response<Body> {
        let message = self.message();
        let content = *self.0;
        let mut document = json!({
            "type": content.code.uri(),
            "title": content.code.title(),
            "status": content.code.status().as_u16(),
            "detail": content.detail,
            "instance": format!("urn:vamp:request:{request_id}"),
            "message": message,
        });
        if let Some(document) = document.as_object_mut() {
            if !content.mend.is_empty() {
                document.insert("hint".to_owned(), content.mend.into());
            }
            if !content.violations.is_empty() {
                document.insert("violations".to_owned(), content.violations.into());
            }
            document.extend(content.members);
        }
        let mut answer = answer_text(content.code.status(), MEDIA_TYPE, document.to_string());
        answer.headers_mut().extend(content.headers);
        answer
    }
}

fn violation_value(violation: &Violation, of: Option<(Kind, &str)>) -> Value {
    let mut value = json!(violation);
    if let (Some(object), Some((kind, name))) = (value.as_object_mut(), of) {
        object.insert("kind".to_owned(), json!(kind));
        object.insert("name".to_owned(), json!(name));
    }
    value
}

fn violation_text(violation: &Value) -> String {
    let text = |member: &str| violation.get(member).and_then(Value::as_str).unwrap_or_default();
    let number = |member: &str| violation.get(member).and_then(Value::as_u64);
    let place = match (number("line"), number("column")) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        _ => String::new(),
    };
    let hint = text("hint");
    let mend = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
    format!("{place}{}{mend}", text("message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_message_has_place_and_mend() {
        let violation =
            Violation { line: Some(3), column: Some(5), ..Violation::new("/port", "it is none", "give one") };
        let problem = Problem::bad_document(vec![violation]);
        assert_eq!(
            problem.message(),
            "the document has a violation; nothing was stored; line 3, column 5: it is none (give one)"
        );
    }

    #[test]
    fn each_code_has_its_own_type() {
        let mut types: Vec<_> = Code::ALL.iter().map(|code| code.uri()).collect();
        types.sort();
        types.dedup();
        assert_eq!(types.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.status().as_u16() >= 400));
    }
}
