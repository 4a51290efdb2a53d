//! What came of a change: in words for people, or for programs the artifacts as they are then.

use serde_json::Value;

use super::changes::tell_dry_run;
use crate::arguments::Writing;
use crate::client::Answer;
use crate::failure::Failure;
use crate::format::show;
use crate::output::{print, remark};

/// What the answer to a dry run tells beside the artifacts that would be stored.
const OF_DRY_RUN: [&str; 3] = ["changes", "warnings", "unchanged"];

/// Tells what was done, or what would be; `done` is the outcome in a word, and in words for people.
pub(super) fn tell(answer: &Answer, writing: &Writing, done: (&str, &str)) -> Result<(), Failure> {
    if told_to_program(answer, writing, |_| done.0)? {
        return Ok(());
    }
    if writing.dry_run { tell_dry_run(&answer.json()).map(drop) } else { print(done.1) }
}

/// Tells a program that wants it what came of each artifact; whether one does.
pub(super) fn told_to_program<'o>(
    answer: &Answer,
    writing: &Writing,
    outcome: impl Fn(&Value) -> &'o str,
) -> Result<bool, Failure> {
    if writing.is_for_people() {
        return Ok(false);
    }
    show(&told(answer, writing.dry_run, outcome), &writing.output, |_| String::new())?;
    Ok(true)
}

/// Tells how something goes on: beside the answer, where that is for a program.
pub(super) fn tell_progress(writing: &Writing, text: &str) -> Result<(), Failure> {
    if writing.is_for_people() {
        return print(text);
    }
    remark(text.trim_end());
    Ok(())
}

/// The artifacts of an answer, each with its outcome and version; of a dry run the mere artifacts, to be written.
fn told<'o>(answer: &Answer, dry_run: bool, outcome: impl Fn(&Value) -> &'o str) -> Value {
    let mut told = answer.json();
    let artifacts = match &mut told {
        Value::Array(artifacts) => artifacts.as_mut_slice(),
        one => std::slice::from_mut(one),
    };
    for artifact in artifacts {
        let outcome = if is_unchanged(artifact) { "unchanged" } else { outcome(artifact) };
        let Some(members) = artifact.as_object_mut() else { continue };
        if dry_run {
            members.retain(|member, _| !OF_DRY_RUN.contains(&member.as_str()));
            continue;
        }
        members.insert("outcome".to_owned(), outcome.into());
        if let Some(version) = answer.version() {
            members.insert("stored_version".to_owned(), version.into());
        }
    }
    told
}

/// Whether nothing was written of an artifact: it is what it was.
pub(super) fn is_unchanged(artifact: &Value) -> bool {
    artifact.get("unchanged").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::several;
    use super::*;

    #[test]
    fn what_one_artifact_became_is_told_with_its_version() {
        let answer = Answer::of(&json!({"kind": "gateways", "name": "shop", "rollout": {"of": 1}}), Some("\"7\""));
        let expected = json!({"kind": "gateways", "name": "shop", "rollout": {"of": 1}, "outcome": "applied", "stored_version": 7});
        assert_eq!(told(&answer, false, |_| "applied"), expected);
    }

    #[test]
    fn what_each_of_several_became_is_told() {
        let answer = json!([
            {"kind": "blueprints", "name": "shop", "unchanged": true, "stored_version": 2},
            {"kind": "deployments", "name": "shop", "stored_version": 5},
        ]);
        let told = told(&Answer::of(&answer, None), false, |artifact| {
            if artifact["kind"] == "deployments" { "deployed" } else { "applied" }
        });
        let told: Vec<_> = several(&told).iter().map(|told| (&told["outcome"], &told["stored_version"])).collect();
        assert_eq!(told, [(&json!("unchanged"), &json!(2)), (&json!("deployed"), &json!(5))]);
    }

    #[test]
    fn a_dry_run_leaves_what_would_be_stored() {
        let answer = json!([
            {"kind": "scales", "name": "small", "cpu": 1, "changes": [{"kind": "scales"}], "warnings": [{"message": "x"}]},
            {"kind": "scales", "name": "big", "unchanged": true},
        ]);
        let expected = json!([{"kind": "scales", "name": "small", "cpu": 1}, {"kind": "scales", "name": "big"}]);
        assert_eq!(told(&Answer::of(&answer, None), true, |_| "applied"), expected);
    }
}
