//! `vamp history`, `diff` and `undo`: every version that an artifact had, and the way back to one.

use reqwest::Method;
use serde_json::Value;

use super::changes::{differences, planned, tell_dry_run};
use super::deploy::{AT_ONCE, until_done};
use super::rollout::until_served;
use super::rows::member;
use super::{after_write, apply, tell, written};
use crate::arguments::{Deploying, DiffArguments, HistoryArguments, UndoArguments};
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::{Output, show};
use crate::output::table;

/// Shows every version.
pub(crate) async fn history(arguments: HistoryArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let path = [arguments.artifact.kind, &arguments.artifact.name, "history"];
    let versions = client.list(&path, &[], Some(arguments.limit.into())).await?;
    let told = table_of(&versions);
    show(&Value::Array(versions), &arguments.asking.output.output, |_| told)
}

/// Versions in rows: when, who, why.
pub(super) fn table_of(versions: &[Value]) -> String {
    let row = |version: &Value| {
        let is_deletion = version.get("deleted").and_then(Value::as_bool) == Some(true);
        let number = member(version, "version");
        let number = match version.get("damage") {
            Some(_) => format!("{number} (damaged)"),
            None if is_deletion => format!("{number} (deleted)"),
            None => number,
        };
        [number].into_iter().chain(["at", "who", "cause", "why"].map(|name| member(version, name))).collect()
    };
    table(&["VERSION", "AT", "WHO", "WHAT", "WHY"], &versions.iter().map(row).collect::<Vec<_>>())
}

/// Shows what changed, or would change; that there is something is exit code 1.
pub(crate) async fn diff(arguments: DiffArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let output = &arguments.asking.output.output;
    let (Some(kind), Some(name)) = (arguments.kind, &arguments.name) else {
        if arguments.filename.is_empty() {
            let what = "name an artifact, as in `vamp diff gateway shop`, or a file with --filename".to_owned();
            return Err(Failure::Usage { what });
        }
        let answer = apply::dry_run(&client, &arguments.filename, arguments.storing).await?;
        let is_different = match output {
            Output::Table | Output::Wide => tell_dry_run(&answer)?,
            _ => {
                let changes: Vec<_> = planned(&answer).cloned().collect();
                let is_different = !changes.is_empty();
                show(&Value::Array(changes), output, |_| String::new())?;
                is_different
            }
        };
        return if is_different { Err(Failure::Differences) } else { Ok(()) };
    };
    let newest = newest(&client, kind, name).await?.0;
    let (from, to) = match (arguments.from, arguments.to) {
        (Some(from), Some(to)) => (Some(from), to),
        (from, _) => (from, newest),
    };
    let number = to.to_string();
    let path = [kind, name.as_str(), "history", &number, "diff"];
    let query = from.map(|from| ("against", from.to_string())).into_iter().collect();
    let difference = client.send(Request { query, ..Request::get(&path) }).await?.json();
    let is_different = difference.get("differences").and_then(Value::as_array).is_some_and(|found| !found.is_empty());
    show(&difference, output, |_| match differences(&difference) {
        told if told.is_empty() => String::new(),
        told => format!("{kind}/{name}, version {} → {to}\n{told}", member(&difference, "from")),
    })?;
    if is_different { Err(Failure::Differences) } else { Ok(()) }
}

/// The number of the newest version, and whether it is a deletion.
async fn newest(client: &Client, kind: &str, name: &str) -> Result<(u64, bool), Failure> {
    let versions = client.list(&[kind, name, "history"], &[], Some(1)).await?;
    let newest = versions.first().cloned().unwrap_or_default();
    let number = newest.get("version").and_then(Value::as_u64).unwrap_or_default();
    Ok((number, newest.get("deleted").and_then(Value::as_bool) == Some(true)))
}

/// Makes an old version the newest again, unless somebody else writes it meanwhile.
pub(crate) async fn undo(arguments: UndoArguments) -> Result<(), Failure> {
    let Deploying { server, waiting, writing } = &arguments.deploying;
    let client = Client::new(server)?;
    let (kind, name) = (arguments.artifact.kind, arguments.artifact.name.as_str());
    let (newest, is_deleted) = newest(&client, kind, name).await?;
    let version = arguments.version.unwrap_or(newest.saturating_sub(1));
    if version == 0 {
        let what = format!("{kind}/{name} has no version before its first one: `vamp delete {kind} {name}` removes it");
        return Err(Failure::Usage { what });
    }
    let number = version.to_string();
    let path = [kind, name, "history", &number, "restore"];
    let request = Request {
        query: written(writing, None),
        // A deletion has no version that could be matched.
        if_match: (!is_deleted).then(|| format!("\"{newest}\"")),
        ..Request::new(Method::POST, &path)
    };
    let answer = client.send(request).await?;
    tell(&answer, writing, ("restored", &format!("{kind}/{name} is as in version {version} again")))?;
    after_write(&answer.json(), AT_ONCE)?;
    match kind {
        _ if !waiting.wait => Ok(()),
        // Waiting for services includes the gateways.
        "deployments" => until_done(&client, name, waiting.timeout, writing).await,
        _ => until_served(&client, waiting.timeout).await,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_tell_when_who_and_why() {
        let versions = [
            json!({"version": 2, "at": "T2", "who": "local", "cause": "DELETE /x", "why": "", "deleted": true}),
            json!({"version": 1, "at": "T1", "who": "local", "cause": "PUT /x", "why": "first", "deleted": false}),
            json!({"version": 0, "at": "T0", "who": "local", "cause": "PUT /x", "why": "-", "damage": "changed"}),
        ];
        let table = table_of(&versions);
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let expected = [
            "VERSION AT WHO WHAT WHY",
            "2 (deleted) T2 local DELETE /x -",
            "1 T1 local PUT /x first",
            "0 (damaged) T0 local PUT /x -",
        ];
        assert_eq!(lines, expected);
    }
}
