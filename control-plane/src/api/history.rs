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
use super::{address, time};
use crate::core::{ChangeError, RestoreRequest};
use crate::persist::Stored;

/// `GET /api/v1/{kind}/{name}/history`
pub(super) async fn list(ask: Ask, kind: Kind) -> Answer {
    let page = ask.query.page()?;
    let versions = versions(&ask, kind).await?;
    let path = format!("{}/history", address::of_artifact(kind, ask.name()));
    let items = slice(versions.iter().rev(), page).map(item).collect();
    Ok(paged(&ask, page, versions.len(), &path, items))
}

fn item(stored: &Stored) -> Value {
    json!({
        "version": stored.version,
        "at": time(stored.at_unix_ms),
        "event": stored.sequence,
        "deleted": stored.document.is_none(),
    })
}

/// `GET /api/v1/{kind}/{name}/history/{version}`
pub(super) async fn get(ask: Ask, kind: Kind) -> Answer {
    let version = ask.version()?;
    let versions = versions(&ask, kind).await?;
    let stored = versions.iter().find(|stored| stored.version == version);
    let Some(stored) = stored else { return Err(Problem::no_version(kind, ask.name(), version)) };
    let Some(document) = &stored.document else { return Err(Problem::deleted_version(kind, ask.name(), version)) };
    let mut answer = ask.written.answer(StatusCode::OK, &read::with_port(document, None)?);
    answer.headers_mut().insert(ETAG, conditional::tag(version));
    Ok(answer)
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
async fn versions(ask: &Ask, kind: Kind) -> Result<Vec<Stored>, Problem> {
    let versions = ask.api.core.history(kind, ask.name()).await;
    let versions = versions.map_err(|error| Problem::internal("reading the history", &error))?;
    if versions.is_empty() { Err(read::missing(ask, kind).await) } else { Ok(versions) }
}
