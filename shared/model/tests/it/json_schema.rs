//! JSON Schema as far as our schemas use it: enough to hold documents to them. A crate that knows all of it would bring
//! some seventy others.

use serde_json::{Map, Value};
use vamp_model::{Format, read};

/// What a document breaks, in a validator that knows the words that our schemas use, and no others.
fn faults(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(schema) = schema.as_object() else { return };
    let count = |schema: &Value, value: &Value| {
        let mut found = Vec::new();
        faults(root, schema, value, at, &mut found);
        found.len()
    };
    for (word, rule) in schema {
        let holds = match word.as_str() {
            "$schema"
            | "$id"
            | "$defs"
            | "title"
            | "description"
            | "default"
            | "examples"
            | "readOnly"
            | "writeOnly"
            | "then"
            | "additionalProperties" => true,
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                faults(root, target, value, at, found);
                true
            }
            "type" => match rule {
                Value::String(name) => is_of(value, name),
                names => names.as_array().unwrap().iter().any(|name| is_of(value, name.as_str().unwrap())),
            },
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "anyOf" => rule.as_array().unwrap().iter().any(|schema| count(schema, value) == 0),
            "allOf" => {
                rule.as_array().unwrap().iter().for_each(|schema| faults(root, schema, value, at, found));
                true
            }
            "if" => {
                if count(rule, value) == 0 {
                    faults(root, &schema["then"], value, at, found);
                }
                true
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(root, rule, item, &format!("{at}/{index}"), found);
                }
                true
            }
            "required" => value.as_object().is_none_or(|members| {
                rule.as_array().unwrap().iter().all(|name| members.contains_key(name.as_str().unwrap()))
            }),
            "properties" => {
                members(root, schema, value, at, found);
                true
            }
            other => panic!("the word `{other}` is not known here: teach it to this test"),
        };
        if !holds {
            found.push(format!("{at}: {word} {rule} does not hold for {value}"));
        }
    }
    if !schema.contains_key("properties") && schema.contains_key("additionalProperties") {
        members(root, schema, value, at, found);
    }
}

fn members(root: &Value, schema: &Map<String, Value>, value: &Value, at: &str, found: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let at = format!("{at}/{name}");
        match (schema.get("properties").and_then(|known| known.get(name)), schema.get("additionalProperties")) {
            (Some(rule), _) | (None, Some(rule @ Value::Object(_))) => faults(root, rule, value, &at, found),
            (None, Some(Value::Bool(false))) => found.push(format!("{at} is not known")),
            (None, _) => {}
        }
    }
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("the type `{other}` is none"),
    }
}

/// What a document breaks in a schema, each with its place.
pub(crate) fn broken(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    faults(schema, schema, value, "", &mut found);
    found
}

/// A YAML text as a value: what stands below `metadata` is kept as it is written.
pub(crate) fn value_of(text: &str) -> Option<Value> {
    let mut wrapped = "kind: conditions\nname: x\ncondition: path is /\nmetadata:\n  document:".to_owned();
    for line in text.lines() {
        wrapped.push_str("\n    ");
        wrapped.push_str(line);
    }
    let read = read(&wrapped, Format::Yaml).ok()?.pop()?;
    read.artifact.metadata()?.get("document").cloned()
}

/// Regular expressions of the form `^(A|B)$` of characters and classes, each of which may have `+`, `*` or `?` after it.
fn matches(pattern: &str, text: &str) -> bool {
    let inner = pattern.strip_prefix("^(").and_then(|rest| rest.strip_suffix(")$"));
    let inner = inner.unwrap_or_else(|| panic!("the pattern {pattern} is of no form that is known here"));
    let text: Vec<char> = text.chars().collect();
    inner.split('|').any(|alternative| matches_here(&alternative.chars().collect::<Vec<_>>(), &text))
}

fn matches_here(pattern: &[char], text: &[char]) -> bool {
    let Some(first) = pattern.first() else { return text.is_empty() };
    let (class, rest): (&[char], &[char]) = match first {
        '[' => {
            let end = pattern.iter().position(|found| *found == ']').unwrap();
            (&pattern[1..end], &pattern[end + 1..])
        }
        _ => (&pattern[..1], &pattern[1..]),
    };
    let has = |found: char| {
        let is_range = |window: &[char]| window[1] == '-' && (window[0]..=window[2]).contains(&found);
        class.contains(&found) || class.windows(3).any(is_range)
    };
    let (least, most, rest) = match rest.first() {
        Some('+') => (1, text.len(), &rest[1..]),
        Some('*') => (0, text.len(), &rest[1..]),
        Some('?') => (0, 1, &rest[1..]),
        _ => (1, 1, rest),
    };
    let run = text.iter().take(most).take_while(|found| has(**found)).count();
    (least..=run).any(|taken| matches_here(rest, &text[taken..]))
}
