//! Every version that an artifact ever had, and the way back to one.

use axum::http::StatusCode;
use axum::http::header::ETAG;
use serde_json::{Value, json};
use vamp_model::Kind;

use super::ask::Ask;
use super::conditional::{self, Precondition};
use super::endpoints::Answer;
use super::problem::Problem;
use super::read::{self, paged, slice};
use super::write::{self, Shape};
use super::{address, difference, time};
use crate::core::{ChangeError, RestoreRequest};
use crate::persist::{Past, Stored};

/// `GET /api/v1/{kind}/{name}/history`
pub(super) async fn list(ask: Ask, kind: Kind) -> Answer {
    let page = ask.query.page()?;
    let versions = versions(&ask, kind).await?;
    let path = format!("{}/history", address::of_artifact(kind, ask.name()));
    let items = slice(versions.iter().rev(), page).map(item).collect();
    Ok(paged(&ask, page, versions.len(), &path, items))
}

fn item(past: &Past) -> Value {
    let stored = &past.stored;
    let mut value = json!({
        "version": stored.version,
        "at": time(stored.at_unix_ms),
        "change": stored.sequence,
        "cause": past.cause.what,
        "who": past.cause.who,
        "why": past.cause.why,
        "deleted": stored.document.is_none(),
    });
    if let (Some(damage), Some(object)) = (&stored.damage, value.as_object_mut()) {
        object.insert("damage".to_owned(), damage.as_str().into());
    }
    value
}

/// `GET /api/v1/{kind}/{name}/history/{version}`
pub(super) async fn get(ask: Ask, kind: Kind) -> Answer {
    let version = ask.version()?;
    let versions = versions(&ask, kind).await?;
    let stored = find(&ask, kind, &versions, version)?;
    let Some(document) = &stored.document else { return Err(Problem::deleted_version(kind, ask.name(), version)) };
    let mut answer = ask.written.answer(StatusCode::OK, &read::with_port(document, None)?);
    answer.headers_mut().insert(ETAG, conditional::tag(version));
    Ok(answer)
}

/// One version that is what was written.
pub(super) fn find<'v>(ask: &Ask, kind: Kind, versions: &'v [Past], version: u64) -> Result<&'v Stored, Problem> {
    let found = versions.iter().map(|past| &past.stored).find(|stored| stored.version == version);
    let stored = found.ok_or_else(|| Problem::no_version(kind, ask.name(), version))?;
    // Also of what looks like a deletion it is not known what it was.
    match &stored.damage {
        Some(damage) => Err(Problem::damaged_version(kind, ask.name(), version, damage)),
        None => Ok(stored),
    }
}

/// `GET /api/v1/{kind}/{name}/history/{version}/diff`
pub(super) async fn diff(ask: Ask, kind: Kind) -> Answer {
    let version = ask.version()?;
    let against = ask.query.against()?;
    let versions = versions(&ask, kind).await?;
    let to = find(&ask, kind, &versions, version)?;
    // Before the first version there was nothing, as after a deletion.
    let from = match against.unwrap_or(version.saturating_sub(1)) {
        0 => None,
        against => Some(find(&ask, kind, &versions, against)?),
    };
    let document = |stored: Option<&Stored>| difference::read(stored.and_then(|stored| stored.document.as_deref()));
    let differences = difference::between(&document(from), &document(Some(to)));
    let value = json!({"from": from.map_or(0, |from| from.version), "to": version, "differences": differences});
    Ok(ask.written.answer(StatusCode::OK, &value))
}

/// `POST /api/v1/{kind}/{name}/history/{version}/restore`
pub(super) async fn restore(ask: Ask, kind: Kind) -> Answer {
    let version = ask.version()?;
    let precondition = Precondition::of_write(&ask.headers)?;
    let expected = write::expected(&ask, kind, &precondition).await?;
    if precondition == Precondition::Absent && read::current(&ask, kind, ask.name()).await?.is_some() {
        let detail = format!("{kind} `{}` exists", ask.name());
        return Err(Problem::version_mismatch(detail, "leave `If-None-Match` out to replace it"));
    }
    let validate_only = ask.query.validate_only()?;
    let request = RestoreRequest {
        kind,
        name: ask.name().to_owned(),
        version,
        expected,
        validate_only,
        cause: ask.cause.clone(),
    };
    let made = write::make(&ask, validate_only, ask.api.core.restore(request)).await;
    match made {
        Err(write::Failure::Change(ChangeError::Missing { .. })) => Err(read::missing(&ask, kind).await),
        made => write::answer(&ask, made.map_err(|failure| failure.into_problem(&[]))?, Shape::One),
    }
}

/// Oldest first; never empty.
pub(super) async fn versions(ask: &Ask, kind: Kind) -> Result<Vec<Past>, Problem> {
    let versions = ask.api.core.history(kind, ask.name()).await;
    let versions = versions.map_err(|error| Problem::database("reading the history", &error))?;
    if versions.is_empty() { Err(read::missing(ask, kind).await) } else { Ok(versions) }
}
