//! `-o`: how an answer of the API is written.

use std::str::FromStr;

use serde_json::Value;
use vamp_model::to_yaml;

use crate::failure::Failure;
use crate::jsonpath::{self, Template};
use crate::output::print;

/// How an answer is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For people with broad terminals.
    Wide,
    /// As the API writes it.
    Yaml,
    /// As the API writes it.
    Json,
    /// Which artifacts, as `kind/name`.
    Name,
    /// Some of it.
    JsonPath(Template),
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "table" => Self::Table,
            "wide" => Self::Wide,
            "yaml" => Self::Yaml,
            "json" => Self::Json,
            "name" => Self::Name,
            _ => match text.split_once('=') {
                Some(("jsonpath", template)) => Self::JsonPath(jsonpath::parse(template)?),
                _ => return Err("use table, wide, yaml, json, name or jsonpath=PATH".to_owned()),
            },
        })
    }
}

/// Writes an answer; `table` makes it readable, with more columns when it is told that there is room.
pub(crate) fn show(answer: &Value, output: &Output, table: impl FnOnce(bool) -> String) -> Result<(), Failure> {
    match output {
        Output::Table => print(&table(false)),
        Output::Wide => print(&table(true)),
        _ => print(&text(answer, output)?),
    }
}

/// One of many answers, as it comes: JSON on one line, YAML as one document of several.
pub(crate) fn piece(answer: &Value, output: &Output, line: impl FnOnce() -> String) -> Result<String, Failure> {
    match output {
        Output::Table | Output::Wide => Ok(line()),
        Output::Json => Ok(format!("{answer}\n")),
        Output::Yaml => Ok(format!("---\n{}", to_yaml(answer))),
        Output::Name | Output::JsonPath(_) => text(answer, output),
    }
}

/// An answer in a form for programs.
fn text(answer: &Value, output: &Output) -> Result<String, Failure> {
    let mut text = match output {
        Output::Yaml => to_yaml(answer),
        Output::JsonPath(template) => template.text(answer),
        Output::Name => names(answer)?,
        // A tree of texts and numbers always has a text.
        Output::Json | Output::Table | Output::Wide => format!("{answer:#}"),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

fn names(answer: &Value) -> Result<String, Failure> {
    let artifacts = answer.as_array().map_or_else(|| std::slice::from_ref(answer), Vec::as_slice);
    let member = |artifact: &Value, name: &str| artifact.get(name).and_then(Value::as_str).map(str::to_owned);
    let name = |artifact: &Value| Some(format!("{}/{}\n", member(artifact, "kind")?, member(artifact, "name")?));
    let unnamed = || Failure::Usage { what: "`-o name` is for artifacts: use another format here".to_owned() };
    artifacts.iter().map(|artifact| name(artifact).ok_or_else(unnamed)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(output: &str, expected: &str) {
        let answer = json!([{"kind": "gateways", "name": "shop"}, {"kind": "gateways", "name": "a/b"}]);
        assert_eq!(text(&answer, &output.parse().unwrap()).unwrap(), expected, "{output}");
    }

    #[test]
    fn an_answer_is_written_in_every_form() {
        check("name", "gateways/shop\ngateways/a/b\n");
        check("jsonpath={[*].name}", "shop a/b\n");
        check("jsonpath=$[1].name", "a/b\n");
        check("jsonpath={.nothing}", "");
        check("yaml", "- kind: gateways\n  name: shop\n- kind: gateways\n  name: a/b\n");
        assert!(text(&json!([]), &Output::Json).unwrap().starts_with("[]"));
    }

    #[test]
    fn a_form_that_is_none_is_refused() {
        for text in ["xml", "jsonpath", "jsonpath={..a}", "JSON"] {
            assert!(text.parse::<Output>().is_err(), "{text}");
        }
        assert!(names(&json!({"revision": 1})).is_err());
    }

    #[test]
    fn pieces_can_be_told_apart() {
        let answer = json!({"a": 1});
        let line = || "row".to_owned();
        assert_eq!(piece(&answer, &Output::Json, line).unwrap(), "{\"a\":1}\n");
        assert_eq!(piece(&answer, &Output::Yaml, line).unwrap(), "---\na: 1\n");
        assert_eq!(piece(&answer, &Output::Table, line).unwrap(), "row");
    }
}
