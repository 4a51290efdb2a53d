//! What the control plane tells of itself.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use vamp_model::Kind;

use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::query;
use super::written::{Written, answer_text};
use crate::causes::with_causes;
use crate::platform::Info;

/// `GET /live`
pub(super) fn live(ask: &Ask) -> Response<Body> {
    ask.written.answer(StatusCode::OK, &json!({"live": true}))
}

/// `GET /ready`
pub(super) async fn ready(ask: Ask) -> Answer {
    if *ask.api.stopping.borrow() {
        return Err(Problem::unavailable("the control plane is stopping", "use another one, or start it again"));
    }
    if let Err(error) = ask.api.core.snapshot().await {
        tracing::error!(cause = %with_causes(&error), "the database can't be read");
        return Err(Problem::unavailable("the database does not answer", "look at the log of the control plane"));
    }
    let status = ask.api.core.status();
    Ok(ask.written.answer(StatusCode::OK, &json!({"ready": true, "store": status.store})))
}

/// `GET /openapi.json`
pub(super) fn openapi(ask: &Ask) -> Response<Body> {
    match ask.written {
        Written::Json => answer_text(StatusCode::OK, "application/json", ask.api.openapi.clone()),
        Written::Yaml(_) => ask.written.answer(StatusCode::OK, &super::openapi::document(&ask.api.endpoints)),
    }
}

/// `GET /api/v1/info`
pub(super) async fn info(ask: Ask) -> Answer {
    let platforms: Vec<Value> = ask.api.platforms.infos().await.into_iter().map(platform).collect();
    let status = ask.api.core.status();
    let about = &ask.api.about;
    let kinds: Vec<&str> = Kind::ALL.into_iter().map(Kind::plural).collect();
    let value = json!({
        "product": "vamp",
        "version": env!("CARGO_PKG_VERSION"),
        "api": "v1",
        "namespace": about.namespace,
        "started": about.started.to_string(),
        "kinds": kinds,
        "epoch": status.position.epoch,
        "revision": status.position.revision,
        "database": status.database,
        "store": status.store,
        "acts": status.acts,
        "events_refused": status.events_refused,
        "platforms": platforms,
        "problems": status.problems,
        "warnings": status.warnings,
        "per_page_max": query::PER_PAGE_MAX,
        "wait_seconds_max": query::WAIT_MAX.as_secs(),
        "body_bytes_max": super::BODY_BYTES_MAX,
    });
    Ok(ask.written.answer(StatusCode::OK, &value))
}

fn platform((kind, told): (&str, Result<Info, String>)) -> Value {
    match told {
        Ok(Info { driver, version, address, memory, cpu }) => json!({
            "type": kind,
            "driver": driver,
            "version": version,
            "address": address,
            "memory": memory,
            "cpu": cpu,
        }),
        Err(error) => json!({"type": kind, "error": error}),
    }
}
