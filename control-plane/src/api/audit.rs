//! The history of everything: what was changed, and whether what is kept of it is what was written.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::time;
use crate::persist::StoredChange;

/// `GET /api/v1/audit/changes`
pub(super) async fn changes(ask: Ask) -> Answer {
    let limit = u32::try_from(ask.query.limit()?).unwrap_or(u32::MAX);
    let changes = ask.api.core.changes(ask.query.below()?, limit).await;
    let changes = changes.map_err(|error| Problem::database("reading the changes", &error))?;
    let value = |change: &StoredChange| {
        json!({
            "sequence": change.sequence,
            "at": time(change.at_unix_ms),
            "cause": change.cause.what,
            "who": change.cause.who,
            "why": change.cause.why,
            "revision": change.revision,
            "hash": change.hash,
        })
    };
    Ok(ask.written.answer(StatusCode::OK, &Value::Array(changes.iter().map(value).collect())))
}

/// `GET /api/v1/audit/verify`
pub(super) async fn verify(ask: Ask) -> Answer {
    let _place = ask
        .api
        .audits
        .try_acquire()
        .map_err(|_| Problem::busy("an audit is under way, and no more than one is made"))?;
    let seen: Vec<_> = ask.query.head()?.into_iter().collect();
    let audit = ask.api.core.audit(&seen).await.map_err(|error| Problem::database("reading the history", &error))?;
    let mut value = json!({
        "sound": audit.fault.is_none(),
        "changes": audit.changes,
        "versions": audit.versions,
        "head": audit.head.to_string(),
    });
    if let (Some(fault), Some(object)) = (audit.fault, value.as_object_mut()) {
        object.insert("fault".to_owned(), fault.into());
    }
    Ok(ask.written.answer(StatusCode::OK, &value))
}
