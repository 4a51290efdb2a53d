//! The REST API: every request goes through one function, in one order — who asks, what for, how the answer is to be
//! written, parameters, body, handler — and every address stands in one table.
//!
//! The table is matched here and not by axum's router, because names of artifacts have slashes: `{name}` takes several
//! segments, with more of the address behind it.

mod address;
mod ask;
mod audit;
mod compose;
mod conditional;
mod config;
mod deployments;
mod difference;
mod endpoints;
mod events;
mod history;
mod logs;
mod measured;
mod metrics;
mod openapi;
mod problem;
mod query;
mod read;
mod runtime;
mod schemas;
mod several;
mod status;
mod traffic;
mod write;
mod written;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument as _;
use vamp_record::listener::Manner;

use ask::{Ask, BODY_STEP_BYTES};
use endpoints::Schema;
use problem::Problem;
use query::Query;
use written::Written;

use crate::persist::Cause;

pub(crate) use ask::{About, Api};

/// What the listener of the API takes.
pub(crate) const MANNER: Manner = Manner {
    name: "listener of the API",
    flag: "--listen",
    // LIMIT: each costs two buffers and a file descriptor.
    connections_max: 1024,
    // LIMIT: a name of 512 bytes, all escaped, and some tokens and cookies.
    head_bytes_max: 64 * 1024,
    // LIMIT: twice the longest `wait`.
    idle_timeout: Duration::from_mins(2),
    // LIMIT: a change that is being written is answered; who waits for a rollout is sent away before.
    drain_timeout: Duration::from_secs(10),
};

/// LIMIT: bytes of one body: what the reader of documents takes, 100,000 routes of about 100 bytes and some.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// LIMIT: how long a body may take to arrive: the largest needs 0.6 MB/s. Who is slower would hold memory for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// LIMIT: bytes of a request id that a client may bring.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// LIMIT: characters of the words of a change.
const CAUSE_CHARACTERS_MAX: usize = 256;

static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
static CONTENT_TYPE_OPTIONS: HeaderName = HeaderName::from_static("x-content-type-options");

/// The API as a service.
pub(crate) fn router(api: Arc<Api>) -> Router {
    Router::new().fallback(answer).with_state(api)
}

/// Answers one request, whatever happens.
async fn answer(State(api): State<Arc<Api>>, request: Request) -> Response<Body> {
    let id = request_id(&api, request.headers());
    let is_head = request.method() == Method::HEAD;
    let span = tracing::info_span!("request", %id, method = %request.method(), path = request.uri().path());
    let work = AssertUnwindSafe(handle(api, request)).catch_unwind().instrument(span.clone());
    let answered = work.await.unwrap_or_else(|_| Err(span.in_scope(Problem::panicked)));
    let mut answer = answered.unwrap_or_else(|problem| problem.into_answer(&id));
    span.in_scope(|| tracing::debug!(status = answer.status().as_u16(), "answered"));
    let headers = answer.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CONTENT_TYPE_OPTIONS.clone(), HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID.clone(), id);
    }
    if is_head { without_body(answer) } else { answer }
}

/// The client's, when it can stand in a log; else a new one.
fn request_id(api: &Api, headers: &HeaderMap) -> String {
    let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let is_sound = |text: &&str| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    match given.filter(is_sound) {
        Some(given) => given.to_owned(),
        None => format!("{:08x}-{:x}", api.boot, api.requests_seen.fetch_add(1, Ordering::Relaxed)),
    }
}

fn without_body(mut answer: Response<Body>) -> Response<Body> {
    use axum::body::HttpBody as _;
    if let Some(length) = answer.body().size_hint().exact() {
        answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    *answer.body_mut() = Body::empty();
    answer
}

async fn handle(api: Arc<Api>, request: Request) -> endpoints::Answer {
    let (parts, body) = request.into_parts();
    api.access.check(&parts.uri, &parts.headers).map_err(Problem::denied)?;
    let _place = api.requests.try_acquire().map_err(|_| Problem::busy("too many requests"))?;
    let found = match api.endpoints.find(&parts.method, parts.uri.path())? {
        Ok(found) => found,
        Err(allowed) => return Ok(options(&allowed)),
    };
    let endpoint = found.endpoint;
    let written = match endpoint.answers.first() {
        Some((_, _, Schema::Stream)) => Written::stream(&parts.headers)?,
        _ => Written::wanted(&parts.headers)?,
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default(), endpoint.parameters)?;
    let (body, _reserved) = if endpoint.body == Schema::Nothing {
        (Vec::new(), None)
    } else {
        let is_script = endpoint.body.may_be_script() && written::is_script(&parts.headers)?;
        if !endpoint.body.may_be_missing() && !is_script {
            written::sent(&parts.headers)?;
        }
        read_body(&api, &parts.headers, body).await?
    };
    let what = format!("{} {}", parts.method, parts.uri.path());
    let what = what.chars().take(CAUSE_CHARACTERS_MAX).collect();
    let cause = Cause { what, who: api.access.who(&parts.headers), why: query.reason()? };
    let handler = endpoint.handler;
    let parameters = found.parameters;
    let (body, premises) = (Arc::new(body), Vec::new());
    let ask = Ask { api: api.clone(), parameters, query, headers: parts.headers, body, premises, written, cause };
    handler.call(ask).await
}

fn options(allowed: &str) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allowed) = HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(ALLOW, allowed);
    }
    answer
}

/// The whole body, and its part of what all bodies may hold.
async fn read_body(
    api: &Api,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > BODY_BYTES_MAX) {
        return Err(Problem::too_large(BODY_BYTES_MAX));
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, collect(api, body)).await;
    collected.unwrap_or_else(|_| Err(Problem::slow_request(BODY_TIMEOUT.as_secs())))
}

async fn collect(api: &Api, body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Problem> {
    let mut bytes = Vec::new();
    let mut reserved: Option<OwnedSemaphorePermit> = None;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("the body broke off before its end", "send it whole"))?;
        if bytes.len() + chunk.len() > BODY_BYTES_MAX {
            return Err(Problem::too_large(BODY_BYTES_MAX));
        }
        bytes.extend_from_slice(&chunk);
        let steps = bytes.len().div_ceil(BODY_STEP_BYTES);
        let missing = steps.saturating_sub(reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        let more = api.bodies.clone().try_acquire_many_owned(u32::try_from(missing).unwrap_or(u32::MAX));
        let more = more.map_err(|_| Problem::busy("too many large bodies"))?;
        match &mut reserved {
            Some(reserved) => reserved.merge(more),
            None => reserved = Some(more),
        }
    }
    Ok((bytes, reserved))
}

/// A time as the API writes it: RFC 3339, UTC, milliseconds.
fn time(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    timestamp.map(|timestamp| format!("{timestamp:.3}")).unwrap_or_default()
}
