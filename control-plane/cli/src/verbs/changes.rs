//! What a change would make, and what versions differ by: place by place.

use serde_json::Value;
use vamp_model::to_yaml;

use super::{items, text};
use crate::colour::{Colour, on_output};
use crate::failure::Failure;
use crate::output::print;

/// From how many characters on lists and maps are written out.
const LINE_CHARACTERS_MAX: usize = 60;

/// Tells what a dry run would change; whether that is anything.
pub(super) fn tell_dry_run(answer: &Value) -> Result<bool, Failure> {
    let changes: Vec<&Value> = planned(answer).collect();
    if changes.is_empty() {
        print("nothing would change")?;
    }
    for change in &changes {
        print(&told(change))?;
    }
    Ok(!changes.is_empty())
}

/// The changes of a dry run: one of its artifacts tells those of all.
pub(super) fn planned(answer: &Value) -> impl Iterator<Item = &Value> {
    super::several(answer).iter().flat_map(|artifact| items(artifact, "changes"))
}

/// One artifact that would change.
fn told(change: &Value) -> String {
    let name = format!("{}/{}", text(change, "kind"), text(change, "name"));
    match text(change, "action") {
        "create" => {
            let mut told = on_output(&format!("+ {name}\n"), Colour::Green);
            for created in items(change, "differences") {
                let document = created.get("to").map(to_yaml).unwrap_or_default();
                document.lines().for_each(|line| told.push_str(&on_output(&format!("+   {line}\n"), Colour::Green)));
            }
            told
        }
        "delete" => on_output(&format!("- {name}\n"), Colour::Red),
        _ => format!("{}{}", on_output(&format!("~ {name}\n"), Colour::Yellow), differences(change)),
    }
}

/// What two versions differ by.
pub(super) fn differences(difference: &Value) -> String {
    let line = |difference: &Value| {
        let at = match text(difference, "at") {
            "" => "/",
            at => at,
        };
        let gone = |value: &Value| block(&format!("  - {at}:"), "  -", value, Colour::Red);
        let come = |value: &Value| block(&format!("  + {at}:"), "  +", value, Colour::Green);
        match (difference.get("from"), difference.get("to")) {
            (Some(from), Some(to)) if !is_long(from) && !is_long(to) => {
                let (from, to) = (on_output(&from.to_string(), Colour::Red), on_output(&to.to_string(), Colour::Green));
                format!("    {at}: {from} → {to}\n")
            }
            (from, to) => from.map_or_else(String::new, gone) + &to.map_or_else(String::new, come),
        }
    };
    items(difference, "differences").map(line).collect()
}

/// Whether a value is easier to read over several lines.
fn is_long(value: &Value) -> bool {
    (value.is_object() || value.is_array()) && value.to_string().chars().count() > LINE_CHARACTERS_MAX
}

/// A value that came or went: behind its place, or in lines below it.
fn block(head: &str, mark: &str, value: &Value, colour: Colour) -> String {
    if !is_long(value) {
        return on_output(&format!("{head} {value}\n"), colour);
    }
    let mut told = on_output(&format!("{head}\n"), colour);
    to_yaml(value).lines().for_each(|line| told.push_str(&on_output(&format!("{mark}     {line}\n"), colour)));
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_come_go_and_change_is_told_place_by_place() {
        let answer = json!([{"name": "shop", "changes": [
            {"kind": "gateways", "name": "shop", "action": "replace", "differences": [
                {"at": "/sticky", "from": "none", "to": "route"}, {"at": "/a~1b", "to": 1}, {"at": "/c", "from": [1]}]},
            {"kind": "conditions", "name": "beta", "action": "create", "differences": [{"at": "", "to": {"name": "beta"}}]},
            {"kind": "routes", "name": "old", "action": "delete", "differences": []},
        ]}, {"name": "other"}]);
        let told: String = planned(&answer).map(super::told).collect();
        assert_eq!(
            told,
            "~ gateways/shop\n    /sticky: \"none\" → \"route\"\n  + /a~1b: 1\n  - /c: [1]\n\
             + conditions/beta\n+   name: beta\n- routes/old\n"
        );
        assert_eq!(planned(&json!({"name": "shop"})).count(), 0);
    }

    #[test]
    fn what_is_too_long_for_a_line_is_written_out() {
        let route = json!({"condition": null, "weight": "50%", "filters": [], "rewrites": [], "balance": "default"});
        let difference = json!({"differences": [{"at": "/routes", "from": {}, "to": {"[127.0.0.1:8081]": route}}]});
        assert_eq!(
            differences(&difference),
            "  - /routes: {}\n  + /routes:\n  +     \"[127.0.0.1:8081]\":\n  +       condition: null\n  +       weight: 50%\n  \
             +       filters: []\n  +       rewrites: []\n  +       balance: default\n"
        );
    }
}
