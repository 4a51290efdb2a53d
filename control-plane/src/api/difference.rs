//! What documents differ by, place by place; and what a change would make of what is stored.

use serde_json::{Value, json};
use vamp_model::Kind;

use crate::core::Changed;
use crate::persist::Snapshot;

/// A stored document; null for none.
pub(super) fn read(document: Option<&str>) -> Value {
    let text = document.unwrap_or("null");
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Every place at which two documents differ.
pub(super) fn between(from: &Value, to: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    differ("", from, to, &mut found);
    found
}

/// Every artifact that a change would make, replace or remove. What the control plane only keeps for itself is left out.
pub(super) fn planned(before: &Snapshot, changed: &Changed) -> Vec<Value> {
    let outcomes = changed.outcomes.iter().filter(|outcome| outcome.kind != Kind::Instances);
    let planned = outcomes.filter_map(|outcome| {
        let stored = before.artifacts.get(outcome.kind.plural()).and_then(|artifacts| artifacts.get(&outcome.name));
        let former = stored.and_then(|stored| stored.document.as_deref());
        let (action, differences) = if outcome.removed {
            ("delete", vec![json!({"at": "", "from": read(former)})])
        } else if former.is_none() {
            ("create", vec![json!({"at": "", "to": read(Some(&outcome.document))})])
        } else {
            ("replace", between(&read(former), &read(Some(&outcome.document))))
        };
        let change = json!({"kind": outcome.kind, "name": outcome.name, "action": action, "differences": differences});
        (!differences.is_empty()).then_some(change)
    });
    planned.collect()
}

/// Every place (a JSON pointer) at which two documents differ, with what stands there in each.
fn differ(at: &str, from: &Value, to: &Value, found: &mut Vec<Value>) {
    match (from, to) {
        (Value::Object(old), Value::Object(new)) => {
            let added = new.keys().filter(|key| !old.contains_key(*key));
            for key in old.keys().chain(added) {
                let at = vamp_model::step(at, key);
                differ_member(&at, old.get(key), new.get(key), found);
            }
        }
        (from, to) if from == to => {}
        (Value::Array(old), Value::Array(new)) => {
            for index in 0..old.len().max(new.len()) {
                differ_member(&format!("{at}/{index}"), old.get(index), new.get(index), found);
            }
        }
        (from, to) => found.push(json!({"at": at, "from": from, "to": to})),
    }
}

fn differ_member(at: &str, from: Option<&Value>, to: Option<&Value>, found: &mut Vec<Value>) {
    match (from, to) {
        (Some(from), Some(to)) => differ(at, from, to, found),
        (Some(from), None) => found.push(json!({"at": at, "from": from})),
        (None, Some(to)) => found.push(json!({"at": at, "to": to})),
        (None, None) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_named_by_pointers() {
        let from = json!({"a": 1, "b": {"x/y": [1, 2], "same": true}, "gone": null});
        let to = json!({"a": 2, "b": {"x/y": [1, 3, 4], "same": true}, "new": "n"});
        assert_eq!(
            Value::Array(between(&from, &to)),
            json!([
                {"at": "/a", "from": 1, "to": 2},
                {"at": "/b/x~1y/1", "from": 2, "to": 3},
                {"at": "/b/x~1y/2", "to": 4},
                {"at": "/gone", "from": null},
                {"at": "/new", "to": "n"},
            ])
        );
        assert!(between(&from, &from).is_empty());
    }
}
