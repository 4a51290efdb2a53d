//! `vamp import`: what other tools describe, as blueprints.

use serde_json::json;
use vamp_model::{Violation, read_compose};

use super::apply::{Applied, Source, apply_texts, read};
use crate::arguments::{ComposeArguments, Deploying};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{print, remark};

/// Writes a Docker Compose file as a blueprint, or applies it.
pub(crate) async fn import_compose(arguments: ComposeArguments) -> Result<(), Failure> {
    let ComposeArguments { deploying, filename, name, variables, apply, storing } = arguments;
    let Deploying { server, waiting, writing } = deploying;
    let goes_with_apply =
        storing.store_only || waiting.wait || writing.dry_run || writing.reason.is_some() || !writing.is_for_people();
    if goes_with_apply && !apply {
        let what = "--store-only, --wait, --dry-run, --reason and -o go with --apply".to_owned();
        return Err(Failure::Usage { what });
    }
    let file = read(&filename)?;
    let variable = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let composed = read_compose(&file.text, &name, &variable);
    let composed =
        composed.map_err(|violations| Failure::Refused { status: 400, problem: told(&file.name, &violations) })?;
    if !apply {
        return print(&composed.text);
    }
    composed.text.lines().take_while(|line| line.starts_with('#')).for_each(remark);
    let source = Source { name: format!("the blueprint of {}", file.name), text: composed.text };
    apply_texts(&Client::new(&server)?, &[source], Applied { storing, waiting, writing: &writing }).await
}

/// As the control plane would refuse it.
fn told(file: &str, violations: &[Violation]) -> serde_json::Value {
    let violations = violations.iter().map(|violation| {
        json!({
            "file": file,
            "line": violation.line,
            "column": violation.column,
            "pointer": violation.pointer,
            "message": violation.message,
            "hint": violation.hint,
        })
    });
    json!({"title": "The file makes no blueprint", "violations": violations.collect::<Vec<_>>()})
}
