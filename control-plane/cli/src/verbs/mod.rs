//! The client's verbs: each asks the control plane, and writes what came of it.

mod apply;
mod audit;
mod changes;
mod context;
mod deploy;
mod describe;
mod edit;
mod events;
mod explain;
mod former;
mod get;
mod history;
mod import;
mod logs;
mod outcome;
mod rollout;
mod rows;
mod split;
mod version;

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

pub(crate) use apply::apply;
pub(crate) use audit::{audit_list, audit_verify};
pub(crate) use context::{context_delete, context_list, context_set, context_show, context_use};
pub(crate) use deploy::{deploy, merge, scale, undeploy};
pub(crate) use describe::describe;
pub(crate) use edit::edit;
pub(crate) use events::events;
pub(crate) use explain::explain;
pub(crate) use former::{create, emit, gone, info, update_gateway};
pub(crate) use get::get;
pub(crate) use history::{diff, history, undo};
pub(crate) use import::import_compose;
pub(crate) use logs::logs;
pub(crate) use rollout::{rollout_status, until_one_serves};
pub(crate) use split::{set_weights, split};
pub(crate) use version::{completion, version};

use outcome::tell;

use crate::arguments::{DeleteArguments, Waiting, Writing};
use crate::client::{Answer, Client, Request};
use crate::failure::Failure;
use crate::output::{remark, warn};

/// LIMIT: how often a control plane that went away is asked while something is waited for.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// Deletes one artifact.
pub(crate) async fn delete(arguments: DeleteArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.changing.server)?;
    let path = [arguments.artifact.kind, &arguments.artifact.name];
    let query = written(&arguments.changing.writing, Some(arguments.changing.waiting));
    let answer = client.send(Request { query, ..Request::new(Method::DELETE, &path) }).await?;
    let done = format!("{}/{} deleted", arguments.artifact.kind, arguments.artifact.name);
    tell(&answer, &arguments.changing.writing, ("deleted", &done))?;
    after_write(&answer.json(), arguments.changing.waiting)
}

/// An artifact as its author wrote it, with its version, to be changed and sent back. What is shown of it beside that, such
/// as a port that was assigned, would become its author's word.
async fn as_written(client: &Client, kind: &str, name: &str) -> Result<(Value, Option<String>), Failure> {
    let shown = client.send(Request::get(&[kind, name])).await?;
    let version = shown.etag.as_deref().map(|etag| etag.trim_matches('"').to_owned());
    let Some(version) = version else { return Ok((shown.json(), None)) };
    let stored = client.send(Request::get(&[kind, name, "history", &version])).await?;
    Ok((stored.json(), shown.etag))
}

/// The query of a write: why, whether for show only, and how long it waits for gateways.
fn written(said: &Writing, waiting: Option<Waiting>) -> Vec<(&'static str, String)> {
    let reason = said.reason.clone().map(|reason| ("reason", reason));
    let dry_run = said.dry_run.then(|| ("validate_only", "true".to_owned()));
    let wait = waiting.filter(|waiting| waiting.wait);
    let wait = wait.map(|waiting| ("wait", format!("{}ms", waiting.timeout.as_millis())));
    reason.into_iter().chain(dry_run).chain(wait).collect()
}

/// Tells warnings and the rollout of a write; a rollout that is not complete is a failure of the waiting, not of the
/// write.
fn after_write(body: &Value, waiting: Waiting) -> Result<(), Failure> {
    for warning in several(body).iter().flat_map(|artifact| items(artifact, "warnings")) {
        warn(text(warning, "message"));
    }
    // One change has one rollout, whichever of its artifacts tells it.
    match several(body).iter().find_map(|artifact| artifact.get("rollout")) {
        Some(rollout) if waiting.wait => rollout::judge(rollout),
        _ => Ok(()),
    }
}

/// An answer for one artifact is that artifact, for several a list.
fn several(body: &Value) -> &[Value] {
    match body {
        Value::Array(artifacts) => artifacts,
        one => std::slice::from_ref(one),
    }
}

/// What is at a path; a control plane that can't answer is asked again until the time is over. What is waited for goes on
/// without it, or when it is back.
async fn patiently(client: &Client, path: &[&str], timeout: Duration) -> Result<Answer, Failure> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        match client.send(Request::get(path)).await {
            Err(failure) if failure.may_pass() && begun.elapsed() < timeout => {
                if !std::mem::replace(&mut is_told, true) {
                    remark("the control plane does not answer: it is asked again until the time is over");
                }
                tokio::time::sleep(RETRY_EVERY).await;
            }
            answer => return answer,
        }
    }
}

/// A member as text.
fn text<'value>(value: &'value Value, member: &str) -> &'value str {
    value.get(member).and_then(Value::as_str).unwrap_or_default()
}

/// A member as a list.
fn items<'value>(value: &'value Value, member: &str) -> impl Iterator<Item = &'value Value> {
    value.get(member).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::http::StatusCode;
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;
    use crate::context::Target;

    /// A client of something that gives these answers, one after the other.
    pub(super) async fn answered_by(answers: Vec<(u16, Value)>) -> Client {
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let next = move || {
            let (status, answer) = answers.lock().unwrap().pop_front().unwrap();
            async move { (StatusCode::from_u16(status).unwrap(), answer.to_string()) }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(next)).await });
        Client::of(Target::own(host)).unwrap()
    }

    #[tokio::test]
    async fn a_control_plane_that_starts_anew_is_asked_again_while_there_is_time() {
        let starting = || (503, json!({"title": "it starts"}));
        let done = || (200, json!({"done": true}));
        let client = answered_by(vec![starting(), starting(), done()]).await;
        let answer = patiently(&client, &["rollout"], Duration::from_mins(1)).await.unwrap();
        assert_eq!(answer.json(), done().1);
        let client = answered_by(vec![starting(), done()]).await;
        let failure = patiently(&client, &["rollout"], Duration::ZERO).await.unwrap_err();
        assert_eq!(failure.exit_code(), 8);
        // A refusal is an answer.
        let client = answered_by(vec![(404, json!({})), done()]).await;
        let failure = patiently(&client, &["rollout"], Duration::from_mins(1)).await.unwrap_err();
        assert_eq!(failure.exit_code(), 3);
    }
}
