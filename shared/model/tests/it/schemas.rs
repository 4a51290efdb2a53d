//! Documents that the model reads, held to the schemas that are given to editors.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;
use vamp_model::{Format, Kind, read_as, to_json};

use crate::json_schema::{broken, value_of};

fn schema(kind: Kind) -> Option<&'static Value> {
    static ALL: OnceLock<HashMap<&'static str, Value>> = OnceLock::new();
    let read = |kind: Kind| {
        let path = format!("{}/../../docs/reference/schemas/{}.json", env!("CARGO_MANIFEST_DIR"), kind.plural());
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        (kind.plural(), serde_json::from_str(&text).unwrap())
    };
    // Of instances users write nothing.
    let all = ALL.get_or_init(|| Kind::ALL.into_iter().filter(|kind| *kind != Kind::Instances).map(read).collect());
    all.get(kind.plural())
}

/// The schema takes what the model reads, as it is written and as it is shown.
#[track_caller]
pub(crate) fn check(kind: Kind, document: &Value) {
    let Some(schema) = schema(kind) else { return };
    assert_eq!(broken(schema, document), [""; 0], "{kind} {document:#} as it is written");
    let name = if document["name"].is_null() { Some("x") } else { None };
    let read = read_as(&document.to_string(), Format::Json, kind, name);
    let shown = to_json(&read.unwrap().remove(0).artifact);
    assert_eq!(broken(schema, &shown), [""; 0], "{kind} {shown:#} as it is shown");
}

/// The same of a YAML text of one document.
#[track_caller]
pub(crate) fn check_text(kind: Kind, text: &str) {
    check(kind, &value_of(text).unwrap_or_else(|| panic!("{text} is no value")));
}
