//! The admin listener: what this gateway process serves, whether it is ready for traffic, and what it counted.
//!
//! It answers on threads of its own: nothing that is asked here makes a request wait. Who may ask is
//! [`vamp_record::access`]'s rule, in front of every address.

mod explain;
mod exposition;
mod figures;
mod problem;
mod ready;
mod table;
mod traffic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{Router, get, post};
use serde_json::{Value, json};
use tokio::sync::watch;
use vamp_record::access::Access;
use vamp_record::listener::Manner;
use vamp_record::split::{SplitAnswer, SplitCounts};
use vamp_record::traffic::TrafficAnswer;

use self::figures::Figures;
use self::problem::Problem;
use self::table::TableQuery;
use crate::plane::DataPlane;
use crate::ship::Recorder;
use crate::sync::SyncStatus;
use crate::upgrade::Before;

/// What the admin listener takes.
pub(crate) const MANNER: Manner = Manner {
    name: "admin listener",
    flag: "--admin",
    // LIMIT: probes, a scraper, the control plane and some operators ask here; file descriptors are for traffic.
    connections_max: 64,
    // LIMIT: a gateway's name in an address, and some tokens and cookies.
    head_bytes_max: 16 * 1024,
    // LIMIT: nothing that is asked here waits for anything.
    idle_timeout: Duration::from_mins(1),
    // LIMIT: no answer takes longer.
    drain_timeout: Duration::from_secs(2),
};

/// LIMIT: bytes of a request's body: a head that is asked about. Heads of real requests have the same bound.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// LIMIT: time for a request's body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// What the admin listener shows.
#[derive(Debug, Clone)]
pub(crate) struct AdminState {
    /// What serves.
    pub plane: Arc<DataPlane>,
    /// What counts the records.
    pub recorder: Arc<Recorder>,
    /// The table's way here.
    pub sync: watch::Receiver<SyncStatus>,
    /// Whether the process is about to end.
    pub draining: watch::Receiver<bool>,
    /// What the processes before this one counted.
    pub before: watch::Receiver<Before>,
    /// Who may ask.
    pub access: Access,
    /// This gateway process, stable over restarts.
    pub id: String,
    /// Drawn at each start.
    pub boot: String,
    /// The product's version.
    pub version: String,
}

/// All addresses of the admin listener.
pub(crate) fn router(state: AdminState) -> Router {
    let state = Arc::new(state);
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/table", get(table))
        .route("/splits", get(splits))
        .route("/traffic", post(traffic))
        .route("/explain", post(explain))
        .method_not_allowed_fallback(async |method: Method, uri: Uri| Problem::method_not_allowed(&method, uri.path()))
        .fallback(async |uri: Uri| Problem::unknown_address(uri.path()))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&state), guard))
        .with_state(state)
}

/// Lets nobody in who may not ask, and marks every answer as not to be kept.
async fn guard(State(state): State<Arc<AdminState>>, request: Request, next: Next) -> Response {
    let mut answer = match state.access.check(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(denied) => Problem::denied(denied).into_response(),
    };
    let headers = answer.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

async fn live() -> Json<Value> {
    Json(json!({ "live": true }))
}

async fn ready(State(state): State<Arc<AdminState>>) -> Response {
    let readiness = ready::readiness(&state.sync.borrow(), *state.draining.borrow());
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness)).into_response()
}

async fn metrics(State(state): State<Arc<AdminState>>) -> Result<Response, Problem> {
    let page = beside(move || figures::page(&state.figures())).await?;
    let media_type = HeaderValue::from_static(exposition::MEDIA_TYPE);
    Ok(([(CONTENT_TYPE, media_type)], page).into_response())
}

async fn splits(State(state): State<Arc<AdminState>>) -> Result<Json<SplitAnswer>, Problem> {
    let (id, boot, before) = (state.id.clone(), state.boot.clone(), state.before.borrow().counts.clone());
    let gateways = beside(move || state.plane.split_counts()).await?;
    Ok(Json(SplitAnswer { counts: SplitCounts { id, boot, gateways }, before }))
}

async fn table(State(state): State<Arc<AdminState>>, uri: Uri) -> Result<Json<Value>, Problem> {
    let query = Query::<TableQuery>::try_from_uri(&uri).map_err(|_| {
        Problem::bad_request("the parameters of /table can't be read", "it has `gateway=NAME` and no other")
    })?;
    let shown = beside(move || table::shown(&state, query.0.gateway.as_deref())).await?;
    shown.map(Json)
}

async fn traffic(State(state): State<Arc<AdminState>>, body: Body) -> Result<Json<TrafficAnswer>, Problem> {
    let asked = traffic::read(&whole(body, traffic::BODY_BYTES_MAX).await?)?;
    let (id, boot) = (state.id.clone(), state.boot.clone());
    let gateways = beside(move || traffic::counted(&state.plane.serving(), &asked)).await?;
    Ok(Json(TrafficAnswer { id, boot, gateways }))
}

/// The whole body, within its bounds.
async fn whole(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let read = tokio::time::timeout(BODY_TIMEOUT, axum::body::to_bytes(body, bytes_max)).await;
    read.map_err(|_| Problem::slow_request())?.map_err(|_| Problem::too_large(bytes_max))
}

async fn explain(State(state): State<Arc<AdminState>>, body: Body) -> Result<Json<Value>, Problem> {
    let asked = explain::read(&whole(body, BODY_BYTES_MAX).await?)?;
    let explanation = beside(move || {
        let explanation = state.plane.explain(&asked.gateway, &asked.head);
        explanation.ok_or_else(|| Problem::unknown_gateway(&asked.gateway))
    });
    Ok(Json(json!(explanation.await??)))
}

/// Does what may take some milliseconds where nobody waits for it.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Problem::failed(&error))
}

impl AdminState {
    fn figures(&self) -> Figures {
        let serving = self.plane.serving();
        Figures {
            id: self.id.clone(),
            version: self.version.clone(),
            generation: serving.table.generation(),
            gateways: serving.table.gateways().len(),
            counters: self.plane.counters(),
            splits: serving.split_counts(),
            records: self.recorder.counts(),
            sync: self.sync.borrow().clone(),
            now: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests;
