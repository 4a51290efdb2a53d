//! The question of `/explain`: what would this table do with a request like that?

use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Map, Value};
use vamp_routing::PlainHead;

use super::problem::{Problem, shown};

/// A request's head, and the gateway to which it would come.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) gateway: String,
    pub(super) head: PlainHead,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    gateway: String,
    method: Option<String>,
    target: Option<String>,
    host: Option<String>,
    source: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
}

/// Reads the question; only a head that could be sent is explained.
pub(super) fn read(body: &[u8]) -> Result<Question, Problem> {
    let written: Written = serde_json::from_slice(body).map_err(|error| {
        let mend = r#"send {"gateway": "NAME"}, and any of method, target, host, source, headers"#;
        Problem::bad_request(format!("the question can't be read ({})", shown(&error.to_string())), mend)
    })?;
    let mut head = PlainHead::default();
    if let Some(method) = written.method {
        head.method = kept("method", method, is_token, "write it as in `\"GET\"`")?;
    }
    if let Some(target) = written.target {
        head.target = kept("target", target, is_target, "write path and query as in `\"/cart?id=1\"`")?;
    }
    if let Some(host) = written.host {
        head.host = kept("host", host, is_field_value, "write it as in `\"shop.example.org\"`")?;
    }
    if let Some(source) = written.source {
        let address = source.parse::<IpAddr>().map_err(|_| wrong("source", &source, "write it as in `\"192.0.2.1\"`"));
        head.source = address?;
    }
    for (name, value) in written.headers {
        read_field(&mut head, &name, value)?;
    }
    Ok(Question { gateway: written.gateway, head })
}

fn kept(member: &str, text: String, is_sound: fn(&str) -> bool, mend: &str) -> Result<String, Problem> {
    if is_sound(&text) { Ok(text) } else { Err(wrong(member, &text, mend)) }
}

fn wrong(member: &str, text: &str, mend: &str) -> Problem {
    Problem::bad_request(format!("the {member} `{}` is none", shown(text)), mend)
}

/// A header: a text, or a list of texts for a field that stands several times.
fn read_field(head: &mut PlainHead, name: &str, value: Value) -> Result<(), Problem> {
    let values = match value {
        Value::Array(values) => values,
        value => vec![value],
    };
    for value in values {
        let text = value.as_str().filter(|text| is_token(name) && is_field_value(text));
        let text = text.ok_or_else(|| wrong("header", name, "write its name and a text, or a list of texts"))?;
        if name.eq_ignore_ascii_case("host") {
            text.clone_into(&mut head.host);
        } else {
            head.fields.push((name.to_owned(), text.to_owned()));
        }
    }
    Ok(())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_target(text: &str) -> bool {
    (text.starts_with('/') || text == "*") && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_field_value(text: &str) -> bool {
    !text.chars().any(|character| character.is_control() && character != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_with_its_defaults() {
        let body = br#"{"gateway": "shop", "target": "/a?b", "headers": {"Host": "x", "Cookie": ["a=1", "b=2"]}}"#;
        let question = read(body).unwrap();
        let head = &question.head;
        assert_eq!((question.gateway.as_str(), head.method.as_str(), head.host.as_str()), ("shop", "GET", "x"));
        assert_eq!((head.target.as_str(), head.fields.len()), ("/a?b", 2));
    }

    #[track_caller]
    fn check_refused(body: &str, words: &str) {
        let problem = format!("{:?}", read(body.as_bytes()).unwrap_err());
        assert!(problem.contains(words), "{problem}");
    }

    #[test]
    fn a_head_that_could_not_be_sent_is_refused_by_name() {
        check_refused("{}", "gateway");
        check_refused(r#"{"gateway": "g", "hosts": "x"}"#, "hosts");
        check_refused(r#"{"gateway": "g", "method": "G T"}"#, "the method");
        check_refused(r#"{"gateway": "g", "target": "cart"}"#, "the target");
        check_refused(r#"{"gateway": "g", "source": "localhost"}"#, "the source");
        check_refused(r#"{"gateway": "g", "headers": {"a": 1}}"#, "the header");
        check_refused(r#"{"gateway": "g", "headers": {"a": "b\r\nc: d"}}"#, "the header");
    }
}
