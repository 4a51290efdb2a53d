//! What traffic does: which process serves which table, where requests went, and where one would go.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use vamp_model::{Kind, Violation, nearest, step};
use vamp_routing::PlainHead;

use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::read;
use crate::split::SplitError;

/// `GET /api/v1/rollout`
pub(super) fn rollout(ask: &Ask) -> Response<Body> {
    ask.written.answer(StatusCode::OK, &json!(ask.api.core.rollout()))
}

/// `GET /api/v1/gateways/{name}/split`
pub(super) async fn split(ask: Ask) -> Answer {
    match ask.api.core.split(ask.name()).await {
        Ok(split) => Ok(ask.written.answer(StatusCode::OK, &json!(split))),
        Err(error) => Err(refusal(&ask, error).await),
    }
}

/// `POST /api/v1/gateways/{name}/explain`
pub(super) async fn explain(ask: Ask) -> Answer {
    let head = read_head(ask.json_text()?).map_err(Problem::bad_document)?;
    match ask.api.core.explain(ask.name(), &head).await {
        Ok(explanation) => Ok(ask.written.answer(StatusCode::OK, &json!(explanation))),
        Err(error) => Err(refusal(&ask, error).await),
    }
}

async fn refusal(ask: &Ask, error: SplitError) -> Problem {
    match error {
        SplitError::UnknownGateway { .. } => read::missing(ask, Kind::Gateway).await,
        SplitError::NoTable => Problem::unavailable(error.to_string(), "`GET /api/v1/info` has them"),
        SplitError::Persist(error) => Problem::database("reading the database", &error),
    }
}

const HEAD_FIELDS: [&str; 5] = ["method", "target", "host", "source", "headers"];

/// Reads the head of the request that is asked about.
fn read_head(text: &str) -> Result<PlainHead, Vec<Violation>> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        let place = |number: usize| u32::try_from(number).ok();
        let (line, column) = (place(error.line()), place(error.column()));
        let violation = Violation::new("", "the body is no JSON", "write it as in `{\"target\": \"/cart?id=1\"}`");
        vec![Violation { line, column, ..violation }]
    })?;
    let Value::Object(fields) = value else {
        return Err(vec![Violation::new("", "the body is no map", "write it as in `{\"target\": \"/cart?id=1\"}`")]);
    };
    let mut head = PlainHead::default();
    let mut violations = Vec::new();
    for (field, value) in &fields {
        let pointer = step("", field);
        match (field.as_str(), value) {
            ("method", Value::String(text)) if is_token(text) => text.clone_into(&mut head.method),
            ("target", Value::String(text)) if is_target(text) => text.clone_into(&mut head.target),
            ("host", Value::String(text)) if is_field_value(text) => text.clone_into(&mut head.host),
            ("source", Value::String(text)) if text.parse::<IpAddr>().is_ok() => {
                head.source = text.parse().unwrap_or(head.source);
            }
            ("headers", Value::Object(headers)) => read_fields(headers, &mut head, &mut violations),
            (field, _) => violations.push(wrong(field, pointer)),
        }
    }
    if violations.is_empty() { Ok(head) } else { Err(violations) }
}

fn wrong(field: &str, pointer: String) -> Violation {
    let mend = match field {
        "method" => "write it as in `\"GET\"`",
        "target" => "write path and query as in `\"/cart?id=1\"`, in ASCII without blanks",
        "host" => "write it as in `\"shop.example.org\"`",
        "source" => "write the client's address as in `\"192.0.2.1\"`",
        "headers" => "write a map as in `{\"User-Agent\": \"Firefox\"}`",
        unknown => {
            let mend = match nearest(unknown, HEAD_FIELDS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", HEAD_FIELDS.join(", ")),
            };
            let unknown = super::query::shown(unknown);
            return Violation::new(pointer, format!("the request has no field `{unknown}`"), mend);
        }
    };
    Violation::new(pointer, format!("the `{field}` of the request is none"), mend)
}

/// Header fields: a text, or a list of texts for a field that stands several times.
fn read_fields(headers: &Map<String, Value>, head: &mut PlainHead, violations: &mut Vec<Violation>) {
    for (name, value) in headers {
        let pointer = step("/headers", name);
        let values = match value {
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        let texts: Option<Vec<&str>> = values.into_iter().map(Value::as_str).collect();
        let texts = texts.filter(|texts| is_token(name) && texts.iter().all(|text| is_field_value(text)));
        let Some(texts) = texts else {
            let message = format!("the header `{}` of the request is none", super::query::shown(name));
            violations.push(Violation::new(pointer, message, "write its name and a text, or a list of texts"));
            continue;
        };
        for text in texts {
            if name.eq_ignore_ascii_case("host") {
                text.clone_into(&mut head.host);
            } else {
                head.fields.push((name.clone(), text.to_owned()));
            }
        }
    }
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_target(text: &str) -> bool {
    (text.starts_with('/') || text == "*") && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_field_value(text: &str) -> bool {
    !text.chars().any(|found| found.is_control() && found != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_with_its_defaults() {
        let head = read_head(r#"{"target": "/a?b", "headers": {"Host": "x", "Cookie": ["a=1", "b=2"]}}"#).unwrap();
        assert_eq!((head.method.as_str(), head.target.as_str(), head.host.as_str()), ("GET", "/a?b", "x"));
        assert_eq!(head.fields.len(), 2);
    }

    #[track_caller]
    fn check_refused(text: &str, pointer: &str, hint: &str) {
        let violations = read_head(text).unwrap_err();
        assert_eq!(violations.len(), 1, "{violations:?}");
        assert_eq!(violations[0].pointer, pointer);
        assert!(violations[0].hint.contains(hint), "{violations:?}");
    }

    #[test]
    fn a_head_that_could_not_be_sent_is_refused_with_its_place() {
        check_refused("{", "", "as in");
        check_refused("[]", "", "as in");
        check_refused(r#"{"header": {}}"#, "/header", "`headers`");
        check_refused(r#"{"target": "cart"}"#, "/target", "`\"/cart?id=1\"`");
        check_refused(r#"{"method": "G T"}"#, "/method", "GET");
        check_refused(r#"{"source": "localhost"}"#, "/source", "192.0.2.1");
        check_refused(r#"{"headers": {"a b": "c"}}"#, "/headers/a b", "its name");
        check_refused(r#"{"headers": {"a": 1}}"#, "/headers/a", "a text");
        check_refused(r#"{"headers": {"a": "b\r\nc: d"}}"#, "/headers/a", "a text");
    }
}
