//! Every error answer of the admin listener: a problem document (RFC 9457) that names the thing and the mend. The
//! member `message` says the same in one text, as everywhere in the product.

use axum::http::header::{ALLOW, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use vamp_record::access::Denied;

/// LIMIT: characters of a client's own words that an answer repeats.
const REPEATED_CHARACTERS_MAX: usize = 100;

/// An error answer.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    /// End of the problem's type, stable over releases.
    kind: &'static str,
    title: &'static str,
    /// What is wrong.
    detail: String,
    /// How to mend it.
    mend: String,
}

impl Problem {
    fn new(status: StatusCode, kind: &'static str, title: &'static str, detail: String, mend: &str) -> Self {
        Self { status, kind, title, detail, mend: mend.to_owned() }
    }

    pub(super) fn bad_request(detail: impl Into<String>, mend: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad-request", "The request is not understood", detail.into(), mend)
    }

    pub(super) fn denied(denied: Denied) -> Self {
        let text = denied.to_string();
        let (detail, mend) = text.split_once(": ").unwrap_or((&text, ""));
        let (kind, title) = match denied {
            Denied::SeveralHosts => return Self::bad_request(detail, mend),
            Denied::ForeignHost | Denied::ForeignOrigin => ("forbidden", "The request may not be answered"),
            Denied::NoToken | Denied::WrongToken => ("unauthorized", "A token is needed"),
        };
        let status = StatusCode::from_u16(denied.status()).unwrap_or(StatusCode::FORBIDDEN);
        Self::new(status, kind, title, detail.to_owned(), mend)
    }

    pub(super) fn unknown_address(path: &str) -> Self {
        let detail = format!("there is no `{}` here", shown(path));
        let mend = "ask for /live, /ready, /metrics, /table, /splits, /traffic or /explain";
        Self::new(StatusCode::NOT_FOUND, "unknown-address", "There is no such address", detail, mend)
    }

    pub(super) fn unknown_gateway(name: &str) -> Self {
        let detail = format!("the served table has no gateway `{}`", shown(name));
        let mend = "GET /table lists what is served";
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail, mend)
    }

    pub(super) fn method_not_allowed(method: &Method, path: &str) -> Self {
        let title = "The address does not take this method";
        let detail = format!("`{}` does not take {}", shown(path), shown(method.as_str()));
        let mend = if path == "/explain" { "use POST" } else { "use GET" };
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title, detail, mend)
    }

    pub(super) fn slow_request() -> Self {
        let detail = "the body did not come in time".to_owned();
        Self::new(StatusCode::REQUEST_TIMEOUT, "slow-request", "The request took too long", detail, "send it again")
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body broke off, or has more than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The request is too large", detail, "send less")
    }

    /// A fault of ours: told to the log, not to the client.
    pub(super) fn failed(cause: &dyn std::error::Error) -> Self {
        tracing::error!("an answer of the admin listener failed: {}", crate::logging::chain(cause));
        let detail = "the answer could not be made".to_owned();
        let mend = "look into the log of this gateway";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The gateway failed", detail, mend)
    }
}

/// A client's words, bounded and without characters that could drive a terminal.
pub(super) fn shown(text: &str) -> String {
    let is_cut = text.chars().nth(REPEATED_CHARACTERS_MAX).is_some();
    let kept = text.chars().take(REPEATED_CHARACTERS_MAX);
    let plain = kept.map(|character| if character.is_control() { '\u{fffd}' } else { character });
    plain.chain(is_cut.then_some('…')).collect()
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let allow = (self.kind == "method-not-allowed").then(|| self.mend.trim_start_matches("use ").to_owned());
        let document = json!({
            "type": format!("urn:vamp:problem:{}", self.kind),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "mend": self.mend,
            "message": format!("{}: {}", self.detail, self.mend),
        });
        let mut answer = (self.status, document.to_string()).into_response();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(allow) = allow.and_then(|method| HeaderValue::from_str(&method).ok()) {
            headers.insert(ALLOW, allow);
        }
        answer
    }
}
