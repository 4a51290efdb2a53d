//! How documents are written: what a request says that it sends, what it wants back, and the answers themselves.

use axum::body::Body;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::Value;
use vamp_model::{Format, to_yaml};

use super::problem::Problem;

/// The media types of documents, for messages.
pub(super) const MEDIA_TYPES: &str = "`application/json` or `application/yaml`";

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Json,
    /// With the name that the client used for it.
    Yaml(&'static str),
}

const YAML: &str = "application/yaml";
const OLD_YAML: &str = "application/x-yaml";
/// Scripts of workflows, as the original's clients send them.
pub(super) const SCRIPT: &str = "application/javascript";

impl Written {
    /// What the client wants: JSON when it does not say.
    pub(super) fn wanted(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut best: Option<(Self, u16, u8)> = None;
        let mut is_given = false;
        for value in headers.get_all(ACCEPT) {
            let Ok(value) = value.to_str() else { return Err(Problem::not_acceptable()) };
            for range in value.split(',').map(str::trim).filter(|range| !range.is_empty()) {
                is_given = true;
                let (media_type, parameters) = range.split_once(';').unwrap_or((range, ""));
                let Some((written, exactness)) = Self::of_range(media_type.trim()) else { continue };
                let quality = quality(parameters);
                let is_better =
                    best.is_none_or(|(_, than, than_exactness)| (quality, exactness) > (than, than_exactness));
                if quality > 0 && is_better {
                    best = Some((written, quality, exactness));
                }
            }
        }
        match best {
            Some((written, ..)) => Ok(written),
            None if is_given => Err(Problem::not_acceptable()),
            None => Ok(Self::Json),
        }
    }

    /// As [`Written::wanted`], for an answer that is a stream of events: errors are written like everywhere.
    pub(super) fn stream(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut given = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).peekable();
        let takes = |range: &str| {
            let media_type = range.split(';').next().unwrap_or_default().trim();
            ["text/event-stream", "text/*", "*/*"].iter().any(|known| media_type.eq_ignore_ascii_case(known))
        };
        if given.peek().is_none() || given.any(|value| value.split(',').any(takes)) {
            return Ok(Self::Json);
        }
        Err(Problem::not_acceptable())
    }

    /// What a media range stands for, and how exactly it says so.
    fn of_range(range: &str) -> Option<(Self, u8)> {
        match range.to_ascii_lowercase().as_str() {
            "application/json" => Some((Self::Json, 2)),
            YAML => Some((Self::Yaml(YAML), 2)),
            OLD_YAML => Some((Self::Yaml(OLD_YAML), 2)),
            "application/*" => Some((Self::Json, 1)),
            "*/*" => Some((Self::Json, 0)),
            _ => None,
        }
    }

    /// An answer with this content.
    pub(super) fn answer(self, status: StatusCode, value: &Value) -> Response<Body> {
        match self {
            Self::Json => self.answer_text(status, value.to_string()),
            Self::Yaml(_) => self.answer_text(status, to_yaml(value)),
        }
    }

    fn answer_text(self, status: StatusCode, text: String) -> Response<Body> {
        let media_type = match self {
            Self::Json => "application/json",
            Self::Yaml(name) => name,
        };
        answer_text(status, media_type, text)
    }
}

/// An answer with a text of a media type.
pub(super) fn answer_text(status: StatusCode, media_type: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Thousandths; a quality that is none counts as the highest.
fn quality(parameters: &str) -> u16 {
    let given = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
    let number = given.and_then(|text| text.trim().parse::<f64>().ok()).filter(|number| (0.0..=1.0).contains(number));
    let thousandths = number.map_or(1000.0, |number| (number * 1000.0).round());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1,000 and rounded")]
    let thousandths = thousandths as u16;
    thousandths
}

/// How the request's documents are written.
pub(super) fn sent(headers: &HeaderMap) -> Result<Format, Problem> {
    let media_type = media_type(headers)?;
    match media_type.to_ascii_lowercase().as_str() {
        "application/json" => Ok(Format::Json),
        YAML | OLD_YAML => Ok(Format::Yaml),
        _ => {
            let message = format!("the body is `{}`", super::query::shown(media_type));
            Err(Problem::unsupported_media_type(message, mend()))
        }
    }
}

/// Whether the body is no document, but the script of a workflow.
pub(super) fn is_script(headers: &HeaderMap) -> Result<bool, Problem> {
    let media_type = media_type(headers)?;
    Ok([SCRIPT, "text/javascript"].iter().any(|known| media_type.eq_ignore_ascii_case(known)))
}

fn mend() -> String {
    format!("send {MEDIA_TYPES} and say so in `Content-Type`")
}

/// The media type of the body, which is written plainly and in UTF-8.
fn media_type(headers: &HeaderMap) -> Result<&str, Problem> {
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        let message = format!("the body is encoded with `{encoding}`");
        return Err(Problem::unsupported_media_type(message, "send it as it is"));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Err(Problem::unsupported_media_type("the request does not say how its body is written", mend()));
    };
    let text = value.to_str().unwrap_or("(not ASCII)");
    let (media_type, parameters) = text.split_once(';').unwrap_or((text, ""));
    let charset = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("charset="));
    if let Some(charset) = charset.filter(|charset| !charset.trim_matches('"').eq_ignore_ascii_case("utf-8")) {
        let message = format!("the body is in the character set `{charset}`");
        return Err(Problem::unsupported_media_type(message, "send it in UTF-8"));
    }
    Ok(media_type.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_wanted(accept: &str, expected: Option<Written>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        assert_eq!(Written::wanted(&headers).ok(), expected, "{accept}");
    }

    #[test]
    fn the_best_that_the_client_takes_is_sent() {
        assert_eq!(Written::wanted(&HeaderMap::new()).unwrap(), Written::Json);
        check_wanted("*/*", Some(Written::Json));
        check_wanted("application/json;q=0.9", Some(Written::Json));
        check_wanted("application/x-yaml", Some(Written::Yaml(OLD_YAML)));
        check_wanted("application/yaml, */*;q=0.1", Some(Written::Yaml(YAML)));
        check_wanted("text/html, application/json;q=0.5, application/yaml;q=0.8", Some(Written::Yaml(YAML)));
        check_wanted("*/*, application/yaml", Some(Written::Yaml(YAML)));
        check_wanted("text/html", None);
        check_wanted("application/json;q=0", None);
    }

    #[track_caller]
    fn check_sent(content_type: &str, expected: Option<Format>) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        assert_eq!(sent(&headers).ok(), expected, "{content_type}");
    }

    #[test]
    fn the_body_is_what_the_request_says() {
        check_sent("application/json", Some(Format::Json));
        check_sent("Application/JSON; charset=UTF-8", Some(Format::Json));
        check_sent("application/yaml", Some(Format::Yaml));
        check_sent("application/x-yaml;charset=\"utf-8\"", Some(Format::Yaml));
        check_sent("application/json; charset=latin1", None);
        check_sent("text/plain", None);
        check_sent("application/x-www-form-urlencoded", None);
        assert!(sent(&HeaderMap::new()).is_err());
        check_sent("application/javascript", None);
    }

    #[test]
    fn a_script_is_sent_as_one() {
        for (content_type, expected) in [
            ("application/javascript", Some(true)),
            ("Text/JavaScript; charset=utf-8", Some(true)),
            ("application/javascript; charset=latin1", None),
            ("application/json", Some(false)),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
            assert_eq!(is_script(&headers).ok(), expected, "{content_type}");
        }
    }
}
