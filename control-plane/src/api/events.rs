//! Events: published, found by tags, type and time, counted, and followed as they come.

mod aggregate;
mod asked;

use std::sync::Arc;
use std::time::Duration;

use asked::Asked;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::ask::{Api, Ask};
use super::endpoints::Answer;
use super::problem::Problem;
use super::read::paged;
use super::{query, time};
use crate::core::now_unix_ms;
use crate::persist::{EventQuery, NewEvent, StoredEvent};

/// LIMIT: events of one call.
const EVENTS_MAX: usize = 1000;
/// LIMIT: tags of one event; each is a row.
const TAGS_MAX: usize = 32;
/// LIMIT: bytes of a tag: a name of 512 bytes, and what kind it is of.
const TAG_BYTES_MAX: usize = 600;
/// LIMIT: bytes of a type.
const TYPE_BYTES_MAX: usize = 64;
/// LIMIT: bytes of a value, as JSON.
const VALUE_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: events that one look takes for who follows.
const FOLLOWED_AT_ONCE: u64 = 100;
/// Sent when there is nothing to send, so that proxies keep the connection.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(15);

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An event as its author writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    tags: OneOrMore,
    #[serde(rename = "type")]
    kind: Option<String>,
    value: Option<Value>,
    timestamp: Option<String>,
    /// What an event that was read has, here or in the original, so that it can be sent as it is: it gets a new number.
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "version")]
    _version: Option<IgnoredAny>,
    #[serde(rename = "digest")]
    _digest: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn into_tags(self) -> Vec<String> {
        match self {
            Self::One(tag) => vec![tag],
            Self::More(tags) => tags,
        }
    }
}

/// `POST /api/v1/events`
pub(super) async fn publish(ask: Ask) -> Answer {
    let refused = |error: serde_json::Error| {
        let mend = "send `{\"tags\": [\"deployments:shop\"], \"type\": \"event\", \"value\": 1}`, or a list of such";
        Problem::bad_request(format!("the body is no event ({error})"), mend)
    };
    let body = ask.value()?;
    let is_list = body.is_array();
    let items = if let Value::Array(items) = body { items } else { vec![body] };
    if items.is_empty() || items.len() > EVENTS_MAX {
        return Err(Problem::bad_request("the number of events is out of bounds", format!("send 1 to {EVENTS_MAX}")));
    }
    let mut events = Vec::with_capacity(items.len());
    for item in items {
        events.push(checked(serde_json::from_value(item).map_err(refused)?)?);
    }
    let ids = ask.api.core.publish(&events).await.map_err(|error| Problem::database("keeping events", &error))?;
    let stored = events.into_iter().zip(ids).map(|(event, id)| StoredEvent {
        id,
        kind: event.kind,
        tags: event.tags.into_iter().collect(),
        value: event.value.unwrap_or_default(),
        at_unix_ms: event.at_unix_ms,
    });
    let mut values: Vec<Value> = stored.map(|event| value(&event)).collect();
    let answer = if is_list { Value::Array(values) } else { values.pop().unwrap_or_default() };
    Ok(ask.written.answer(StatusCode::CREATED, &answer))
}

fn checked(written: Written) -> Result<NewEvent, Problem> {
    let tags = written.tags.into_tags();
    let kind = written.kind.unwrap_or_else(|| "event".to_owned());
    check_kind(&kind)?;
    if tags.is_empty() || tags.len() > TAGS_MAX {
        return Err(Problem::bad_request(
            "the number of tags of an event is out of bounds",
            format!("give it 1 to {TAGS_MAX}"),
        ));
    }
    tags.iter().try_for_each(|tag| check_tag(tag))?;
    if written.value.as_ref().is_some_and(|value| value.to_string().len() > VALUE_BYTES_MAX) {
        return Err(Problem::too_large(VALUE_BYTES_MAX));
    }
    let at = written.timestamp.map_or_else(|| Ok(now_unix_ms()), |text| moment(&text))?;
    Ok(NewEvent { value: written.value.filter(|value| !value.is_null()), ..NewEvent::new(&kind, tags, at) })
}

/// Milliseconds since 1970 (UTC).
fn moment(text: &str) -> Result<u64, Problem> {
    let parsed = text.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    parsed.ok_or_else(|| {
        let detail = format!("`{}` is no time of an event", query::shown(text));
        Problem::bad_request(detail, "write it as `2026-01-31T12:00:00Z`; left out, it is the present")
    })
}

fn check_kind(kind: &str) -> Result<(), Problem> {
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !kind.is_empty() && kind.len() <= TYPE_BYTES_MAX && kind.bytes().all(is_sound) {
        return Ok(());
    }
    let mend = format!("use 1 to {TYPE_BYTES_MAX} letters, digits, `-` and `_`");
    Err(Problem::bad_request(format!("`{}` is no type of an event", query::shown(kind)), mend))
}

fn check_tag(tag: &str) -> Result<(), Problem> {
    if !tag.is_empty() && tag.len() <= TAG_BYTES_MAX && !tag.chars().any(char::is_control) {
        return Ok(());
    }
    let mend = format!("use 1 to {TAG_BYTES_MAX} bytes without control characters, such as `deployments:shop`");
    Err(Problem::bad_request(format!("`{}` is no tag", query::shown(tag)), mend))
}

fn value(event: &StoredEvent) -> Value {
    json!({
        "id": event.id,
        "timestamp": time(event.at_unix_ms),
        "type": event.kind,
        "tags": event.tags,
        "value": event.value,
    })
}

/// `GET /api/v1/events`
pub(super) async fn find(ask: Ask) -> Answer {
    let page = ask.query.page()?;
    let Asked { query, aggregation } = Asked::of(&ask)?;
    let query =
        EventQuery { offset: page.number.saturating_sub(1).saturating_mul(page.size), limit: page.size, ..query };
    if let Some(aggregation) = aggregation {
        let number = aggregate::number(&ask.api.core, &query, &aggregation).await?;
        return Ok(ask.written.answer(StatusCode::OK, &json!({"value": number})));
    }
    let failed = |error| Problem::database("reading the events", &error);
    let events = ask.api.core.events(&query).await.map_err(failed)?;
    let total = ask.api.core.aggregate(&query, crate::persist::Aggregator::Count).await.map_err(failed)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of rows")]
    let total = total.unwrap_or_default() as usize;
    let path = format!("/api/v1/events{}", ask.query.without_page());
    Ok(paged(&ask, page, total, &path, events.iter().map(value).collect()))
}

/// `GET /api/v1/events/stream`
pub(super) async fn stream(ask: Ask) -> Answer {
    let place = Arc::clone(&ask.api.streams).try_acquire_owned();
    let place = place.map_err(|_| Problem::busy("too many streams of events"))?;
    let Asked { query, aggregation } = Asked::of(&ask)?;
    if aggregation.is_some() || query.from_unix_ms.is_some() || query.until_unix_ms.is_some() {
        let mend = "leave `timestamp` and `aggregator` out, or ask `/api/v1/events`";
        return Err(Problem::bad_request("who follows gets every event that comes, by its tags and its type", mend));
    }
    let filter = EventQuery { limit: FOLLOWED_AT_ONCE, ..query };
    let (newest, bell) =
        ask.api.core.follow_events().await.map_err(|error| Problem::database("reading the events", &error))?;
    let last = match ask.headers.get(&LAST_EVENT_ID) {
        None => newest,
        Some(id) => {
            let id = id.to_str().ok().and_then(|id| id.trim().parse::<u64>().ok()).ok_or_else(|| {
                let mend = "send the `id` of the last one that came";
                Problem::bad_request("`Last-Event-ID` is no number of an event", mend)
            })?;
            // A number from before the database was restored or made anew: to wait for it is to hear nothing.
            id.min(newest)
        }
    };
    let stopping = ask.api.stopping.clone();
    let follower = Follower { api: ask.api, filter, last, is_greeted: false, bell, stopping, _place: place };
    let mut answer = Response::new(Body::from_stream(futures_util::stream::unfold(follower, Follower::next)));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(answer)
}

/// Who follows events. It reads them from the database after the last that it sent: none is lost while it is slow, and
/// nothing is held for it.
struct Follower {
    api: Arc<Api>,
    filter: EventQuery,
    /// The last event that was looked at.
    last: u64,
    /// It knows where it began, so that it can come back there before any event came.
    is_greeted: bool,
    bell: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    /// The next piece of the stream; `None` ends it, and the client comes back with the last number.
    async fn next(mut self) -> Option<(Result<String, std::convert::Infallible>, Self)> {
        if !std::mem::replace(&mut self.is_greeted, true) {
            return Some((Ok(format!("id: {}\n\n", self.last)), self));
        }
        loop {
            if *self.stopping.borrow() {
                return None;
            }
            // Read first: what is kept from here on rings.
            let seen = *self.bell.borrow_and_update();
            let query = EventQuery { after_id: Some(self.last), ..self.filter.clone() };
            let events = self.api.core.events(&query).await.ok()?;
            if let Some(newest) = events.last() {
                self.last = newest.id;
                let text = events
                    .iter()
                    .map(|event| format!("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.kind, value(event)));
                return Some((Ok(text.collect()), self));
            }
            self.last = self.last.max(seen);
            let last = self.last;
            let is_over = tokio::select! {
                more = self.bell.wait_for(|newest| *newest > last) => more.is_err(),
                _ = self.stopping.wait_for(|stopping| *stopping) => true,
                () = tokio::time::sleep(HEARTBEAT_EVERY) => false,
            };
            if is_over {
                return None;
            }
            if *self.bell.borrow() <= last {
                return Some((Ok(": nothing new\n\n".to_owned()), self));
            }
        }
    }
}
