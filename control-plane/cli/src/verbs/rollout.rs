//! `vamp rollout`: which gateway processes serve the newest routing table, and how far a deployment is.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{deploy, items, patiently, text};
use crate::arguments::RolloutStatusArguments;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::show;
use crate::output::{cell, remark, table, warn};

/// LIMIT: how often the state is asked for while waiting.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows what each gateway process serves, or where the services of a deployment stand; with `--wait`, as soon as all is as
/// it is to be.
pub(crate) async fn rollout_status(arguments: RolloutStatusArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.asking.server)?;
    let waiting = arguments.waiting;
    let patience = if waiting.wait { waiting.timeout } else { Duration::ZERO };
    if let Some(name) = &arguments.deployment {
        let name = match name.split_once('/') {
            None => name.as_str(),
            Some(("deployment" | "deployments", name)) => name,
            Some((kind, _)) => {
                let what =
                    format!("`{kind}` is nothing that is rolled out: name a deployment, or nothing for the gateways");
                return Err(Failure::Usage { what });
            }
        };
        let (status, is_done) = deploy::followed(&client, name, patience).await?;
        show(&status, &arguments.asking.output.output, |_| deploy::states(&status))?;
        return if is_done || !waiting.wait { Ok(()) } else { Err(deploy::not_done(name)) };
    }
    let json = until_complete(&client, patience).await?;
    show(&json, &arguments.asking.output.output, |_| tables(&json))?;
    if waiting.wait { judge(&json) } else { Ok(()) }
}

/// Waits until every gateway process serves the newest table; it is a failure if not all do in time.
pub(super) async fn until_served(client: &Client, timeout: Duration) -> Result<(), Failure> {
    judge(&until_complete(client, timeout).await?)
}

/// Waits until some gateway process serves the newest table, and all that are known do; or until the time is over.
pub(crate) async fn until_one_serves(client: &Client, timeout: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let json = client.send(Request::get(&["rollout"])).await?.json();
        if (number(&json, "of") > 0 && is_complete(&json)) || begun.elapsed() >= timeout {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The rollout as soon as it is complete, or as it is when the time is over.
async fn until_complete(client: &Client, timeout: Duration) -> Result<Value, Failure> {
    let begun = Instant::now();
    let mut told = String::new();
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        let json = patiently(client, &["rollout"], left).await?.json();
        if let Some(line) = news(&json, &told) {
            remark(&line);
            told = line;
        }
        if is_complete(&json) || begun.elapsed() >= timeout {
            return Ok(json);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What is to be told after what was told last. That a rollout is complete is told to who heard that it was not.
fn news(rollout: &Value, told: &str) -> Option<String> {
    let line = in_a_line(rollout);
    (line != told && !(told.is_empty() && is_complete(rollout))).then_some(line)
}

fn in_a_line(rollout: &Value) -> String {
    let number = |member| number(rollout, member);
    format!("revision {}: {} of {} gateway processes serve it", number("revision"), number("applied"), number("of"))
}

fn number(rollout: &Value, member: &str) -> u64 {
    rollout.get(member).and_then(Value::as_u64).unwrap_or_default()
}

fn is_complete(rollout: &Value) -> bool {
    let published = rollout.get("published").and_then(Value::as_bool).unwrap_or(true);
    published && number(rollout, "applied") == number(rollout, "of") && !is_nothing_known(rollout)
}

/// Whether the store never answered: gateways may be there, and nobody knows of them.
fn is_nothing_known(rollout: &Value) -> bool {
    number(rollout, "of") == 0 && rollout.get("unknown").and_then(Value::as_bool) == Some(true)
}

/// What stands in the way of the table, or is to be known of the store.
fn problem_of_store(rollout: &Value) -> Option<&str> {
    rollout.get("store")?.get("problem")?.as_str()
}

/// A failure unless every gateway process serves the table.
pub(super) fn judge(rollout: &Value) -> Result<(), Failure> {
    let (applied, of) = (number(rollout, "applied"), number(rollout, "of"));
    if of == 0 && !is_nothing_known(rollout) {
        warn("no gateway process is registered: the change is kept, and nobody serves it");
        return Ok(());
    }
    for gateway in items(rollout, "gateways") {
        for problem in items(gateway, "problems") {
            warn(&format!("gateway process {}: {}", text(gateway, "id"), text(problem, "message")));
        }
    }
    if is_complete(rollout) {
        return Ok(());
    }
    let in_sync = |gateway: &&Value| gateway.get("in_sync").and_then(Value::as_bool) == Some(true);
    let laggards: Vec<_> = items(rollout, "gateways").filter(|g| !in_sync(g)).map(|g| text(g, "id")).collect();
    let mut what = if is_nothing_known(rollout) {
        "the change is kept, but the store does not answer, so that nobody knows which gateway processes serve it"
            .to_owned()
    } else {
        let all = format!("the change is kept, but {applied} of {of} gateway processes serve it");
        if laggards.is_empty() { all } else { format!("{all}; not yet: {}", laggards.join(", ")) }
    };
    if let Some(problem) = problem_of_store(rollout) {
        what.push_str(&format!(" ({problem})"));
    }
    what.push_str(". Follow it with `vamp rollout status`");
    Err(Failure::NotInTime { what })
}

/// The rollout in words and rows.
pub(super) fn tables(rollout: &Value) -> String {
    let rows: Vec<_> = items(rollout, "gateways")
        .map(|gateway| {
            let applied = gateway.get("applied").and_then(|applied| applied.get("revision"));
            let state = match gateway.get("in_sync").and_then(Value::as_bool) {
                Some(true) => "in sync",
                _ => "behind",
            };
            let problems: Vec<_> = items(gateway, "problems").map(|problem| text(problem, "message")).collect();
            vec![
                text(gateway, "id").to_owned(),
                applied.map_or_else(|| "-".to_owned(), cell),
                state.to_owned(),
                text(gateway, "version").to_owned(),
                if problems.is_empty() { "-".to_owned() } else { problems.join("; ") },
            ]
        })
        .collect();
    let unknown = rollout.get("unknown").and_then(Value::as_bool) == Some(true);
    let note = if unknown { " (the store does not answer: as last known)" } else { "" };
    let problem = problem_of_store(rollout).map(|problem| format!("\nstore: {problem}")).unwrap_or_default();
    format!(
        "{}{note}{problem}\n\n{}",
        in_a_line(rollout),
        table(&["GATEWAY", "REVISION", "STATE", "VERSION", "PROBLEMS"], &rows)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rollout_that_lags_names_the_laggards() {
        let rollout = json!({"revision": 7, "applied": 1, "of": 2, "gateways": [
            {"id": "a", "in_sync": true, "problems": []}, {"id": "b", "in_sync": false, "problems": []}]});
        let failure = judge(&rollout).unwrap_err();
        assert!(failure.to_string().contains("not yet: b."), "{failure}");
        assert_eq!(failure.exit_code(), 6);
    }

    #[test]
    fn who_hears_that_a_rollout_is_not_complete_hears_its_end() {
        let at = |applied: u64| json!({"revision": 7, "applied": applied, "of": 1});
        assert_eq!(news(&at(1), ""), None);
        let begun = news(&at(0), "").unwrap();
        assert_eq!(news(&at(0), &begun), None);
        assert_eq!(news(&at(1), &begun).as_deref(), Some("revision 7: 1 of 1 gateway processes serve it"));
    }

    #[test]
    fn a_complete_rollout_is_done_and_nobody_there_is_no_failure() {
        assert!(judge(&json!({"applied": 2, "of": 2, "gateways": []})).is_ok());
        assert!(judge(&json!({"applied": 0, "of": 0, "gateways": []})).is_ok());
        assert!(judge(&json!({"applied": 1, "of": 1, "published": false, "gateways": []})).is_err());
        // As last known, they do.
        assert!(judge(&json!({"applied": 2, "of": 2, "unknown": true, "gateways": []})).is_ok());
    }

    #[test]
    fn where_the_store_never_answered_nothing_is_done_and_why_is_told() {
        let store = json!({"state": "unreachable", "problem": "no connection to etcd"});
        let rollout = json!({"revision": 3, "applied": 0, "of": 0, "unknown": true, "gateways": [], "store": store});
        let failure = judge(&rollout).unwrap_err();
        assert_eq!(failure.exit_code(), 6);
        assert!(
            failure.to_string().contains("does not answer") && failure.to_string().contains("no connection to etcd")
        );
        assert!(!is_complete(&rollout) && tables(&rollout).contains("\nstore: no connection to etcd\n"));
    }
}
