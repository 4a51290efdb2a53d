//! JSON Schema (2020-12) of the documents of each kind, so that editors complete and check them. Made from the schemas of
//! the OpenAPI document; `docs/reference/schemas` holds the checked-in copies.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use vamp_model::Kind;

use super::ask::Ask;
use super::endpoints::Answer;
use super::openapi;
use super::problem::Problem;
use super::query::shown;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Where schemas refer to each other, in the OpenAPI document and in one by itself.
const COMPONENTS: &str = "#/components/schemas/";
const OWN: &str = "#/$defs/";
/// The schema of documents of any kind.
const ANY: &str = "documents";

/// `GET /api/v1/schemas`
pub(super) fn list(ask: &Ask) -> Response<Body> {
    let address = |name: &str| json!({"kind": name, "address": format!("/api/v1/schemas/{name}")});
    let all: Vec<Value> = names().map(address).collect();
    ask.written.answer(StatusCode::OK, &Value::Array(all))
}

/// `GET /api/v1/schemas/{name}`
pub(super) fn get(ask: &Ask) -> Answer {
    let name = ask.name();
    let found = match name.parse() {
        Ok(kind) if names().any(|name| name == Kind::plural(kind)) => Some(of_kind(kind)),
        _ if name == ANY => Some(of_any()),
        _ => None,
    };
    let missing = || {
        let known: Vec<_> = names().collect();
        Problem::no_part(format!("there is no schema `{}`: there are {}", shown(name), known.join(", ")))
    };
    Ok(ask.written.answer(StatusCode::OK, &found.ok_or_else(missing)?))
}

/// Kinds whose documents users write, and all of them together.
fn names() -> impl Iterator<Item = &'static str> {
    Kind::ALL.into_iter().filter(|kind| *kind != Kind::Instances).map(Kind::plural).chain([ANY])
}

/// The schema of the documents of a kind.
fn of_kind(kind: Kind) -> Value {
    let components = components();
    let name = openapi::name_of(kind);
    let mut definitions = BTreeSet::new();
    collect(&components, components.get(name).unwrap_or(&Value::Null), &mut definitions);
    let mut schema = head(kind.plural(), &format!("A Vamp {kind}"));
    if let (Some(schema), Some(Value::Object(own))) = (schema.as_object_mut(), components.get(name)) {
        schema.extend(own.clone());
        schema.insert("$defs".to_owned(), defined(&components, &definitions));
    }
    moved(schema)
}

/// The schema of documents that say their kind, as in a file for `vamp apply`.
fn of_any() -> Value {
    let components = components();
    let mut definitions = BTreeSet::new();
    let mut cases = Vec::new();
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Instances).collect();
    for kind in &kinds {
        let reference = openapi::reference(openapi::name_of(*kind));
        collect(&components, &reference, &mut definitions);
        let says = json!({"properties": {"kind": {"enum": [kind.plural(), kind.singular()]}}, "required": ["kind"]});
        cases.push(json!({"if": says, "then": reference}));
    }
    let words: Vec<Value> = kinds.iter().flat_map(|kind| [kind.plural().into(), kind.singular().into()]).collect();
    let mut schema = head(ANY, "A Vamp document of any kind, or a list of such");
    let one = json!({
        "type": "object",
        "properties": {"kind": in_any_case(&words), "name": {"type": ["string", "number", "boolean"]}},
        "required": ["kind", "name"],
        "allOf": cases,
    });
    let reference = openapi::reference("Document");
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("anyOf".to_owned(), json!([reference, {"type": "array", "items": reference}]));
        let mut defined = defined(&components, &definitions);
        if let Some(defined) = defined.as_object_mut() {
            defined.insert("Document".to_owned(), one);
        }
        schema.insert("$defs".to_owned(), defined);
    }
    moved(schema)
}

fn head(name: &str, title: &str) -> Value {
    json!({"$schema": DIALECT, "$id": format!("urn:vamp:schema:v1:{name}"), "title": title})
}

/// What answers to writes add to documents.
const ANSWERED: [&str; 5] = ["rollout", "warnings", "changes", "unchanged", "stored_version"];

/// The components of the OpenAPI document without what only answers have: nobody writes that into a document.
fn components() -> Map<String, Value> {
    let Value::Object(mut components) = openapi::components() else { return Map::new() };
    for schema in components.values_mut() {
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.retain(|name, _| !ANSWERED.contains(&name.as_str()));
        }
        loosen(schema, "");
    }
    components
}

/// Fields whose texts can't be mistaken for numbers and truth values.
const TEXTS: [&str; 7] = ["condition", "weight", "condition_strength", "memory", "balance", "period", "start"];

/// The schema of what is shown, as wide as what is read: a field without value is none, a text may be written as a number
/// or a truth value, a number as a text, and words in any case.
fn loosen(schema: &mut Value, field: &str) {
    let Some(members) = schema.as_object_mut() else { return };
    for word in ["items", "additionalProperties"] {
        members.get_mut(word).into_iter().for_each(|inner| loosen(inner, field));
    }
    for word in ["anyOf", "allOf"] {
        let cases = members.get_mut(word).and_then(Value::as_array_mut).into_iter().flatten();
        cases.for_each(|case| loosen(case, field));
    }
    for (name, property) in members.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        loosen(property, name);
        allow_nothing(property);
    }
    if let Some(words) = members.get("enum").and_then(Value::as_array).cloned() {
        members.remove("enum");
        members.insert("anyOf".to_owned(), json!([in_any_case(&words)]));
        return;
    }
    let names = match members.get("type") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return,
    };
    let is = |name: &str| names.iter().any(|found| found == name);
    if is("string") && !TEXTS.contains(&field) {
        let more = ["number", "boolean"].into_iter().filter(|name| !is(name)).map(str::to_owned);
        let names: Vec<String> = names.iter().filter(|name| *name != "integer").cloned().chain(more).collect();
        members.insert("type".to_owned(), json!(names));
    } else if let [number @ ("integer" | "number")] = names.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        let pattern = if *number == "integer" { "^([0-9]+)$" } else { "^([0-9]+|[0-9]*[.][0-9]+)$" };
        let mut of_number = Map::from_iter([("type".to_owned(), json!(number))]);
        for word in ["minimum", "maximum"] {
            of_number.extend(members.remove(word).map(|bound| (word.to_owned(), bound)));
        }
        members.remove("type");
        members.insert("anyOf".to_owned(), json!([of_number, {"type": "string", "pattern": pattern}]));
    }
}

/// One of these words; which case its letters have does not matter.
fn in_any_case(words: &[Value]) -> Value {
    let word = |word: &str| {
        let letters = word.chars().map(|letter| match letter {
            letter if letter.is_ascii_alphabetic() => {
                format!("[{}{}]", letter.to_ascii_uppercase(), letter.to_ascii_lowercase())
            }
            other => other.to_string(),
        });
        letters.collect::<String>()
    };
    let pattern = words.iter().filter_map(Value::as_str).map(word).collect::<Vec<_>>().join("|");
    json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": format!("^({pattern})$")}]})
}

/// A field without value counts as one that is not there.
fn allow_nothing(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    if members.contains_key("$ref") {
        *schema = json!({"anyOf": [schema.take(), {"type": "null"}]});
        return;
    }
    if let Some(Value::Array(cases)) = members.get_mut("anyOf") {
        cases.push(json!({"type": "null"}));
        return;
    }
    match members.get_mut("type") {
        Some(Value::Array(names)) if !names.iter().any(|name| name == "null") => names.push("null".into()),
        Some(name @ Value::String(_)) if name != "null" => *name = json!([name.take(), "null"]),
        _ => {}
    }
}

fn defined(components: &Map<String, Value>, names: &BTreeSet<String>) -> Value {
    let found = names.iter().filter_map(|name| Some((name.clone(), components.get(name)?.clone())));
    Value::Object(found.collect())
}

/// The names of all components that a schema needs.
fn collect(components: &Map<String, Value>, schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str).and_then(|text| text.strip_prefix(COMPONENTS));
            if let Some(name) = reference
                && names.insert(name.to_owned())
                && let Some(component) = components.get(name)
            {
                collect(components, component, names);
            }
            members.values().for_each(|value| collect(components, value, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(components, item, names)),
        _ => {}
    }
}

/// The schema with references to its own definitions.
fn moved(mut schema: Value) -> Value {
    move_references(&mut schema);
    schema
}

fn move_references(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                match value {
                    Value::String(text) if name == "$ref" => *text = text.replacen(COMPONENTS, OWN, 1),
                    value => move_references(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
