//! Events on their way to Elasticsearch. The database is where they are kept first, in the transaction of the change that
//! they tell of; from there they go on in their order, each once: the number of the last one that was taken is kept, and
//! one that is sent again has the same id.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use vamp_record::ElasticClient;
use vamp_record::client::{BULK_BYTES_MAX, ElasticError, ItemOutcome};
use vamp_record::document::index_part;
use vamp_record::template::Template;

use crate::backoff::Backoff;
use crate::causes::with_causes;
use crate::core::Shared;
use crate::persist::{EventQuery, PersistError, StateWrite, StoredEvent};

/// LIMIT: events of one request.
const EVENTS_MAX: u64 = 500;

/// How often news are looked for; events are for people and reports, not for decisions.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const TRY_AGAIN: Duration = Duration::from_secs(1);
const TRY_AGAIN_MAX: Duration = Duration::from_mins(1);

/// Where the number of the last event stands that Elasticsearch took.
const SCOPE: &str = "events";
const SENT: &str = "elasticsearch";

#[derive(Debug, thiserror::Error)]
enum ShipError {
    #[error(transparent)]
    Persist(#[from] PersistError),
    #[error(transparent)]
    Elastic(#[from] ElasticError),
    #[error("Elasticsearch has no room for events now")]
    Busy,
}

/// How far events were sent, by whichever control plane.
#[derive(Debug)]
struct Progress {
    /// The last event that Elasticsearch took, or refused.
    sent: u64,
    /// The same as it is kept.
    kept: Option<String>,
    /// How many it refused.
    refused: u64,
}

/// How many events were refused for good.
const REFUSED: &str = "elasticsearch_refused";

/// The status of a request that is too large for the server, or for a proxy before it.
const TOO_LARGE: u16 = 413;

/// Requests without trouble after which a bound that the server taught us is doubled again.
const CALM_REQUESTS: u32 = 64;

/// How much the server takes in one request, as far as it taught us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Room {
    bytes_max: usize,
    calm: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes_max: BULK_BYTES_MAX, calm: 0 }
    }
}

impl Room {
    /// A request of so many bytes and events was too large. Whether the one event in it is to be given up.
    fn refused(&mut self, bytes: usize, events: usize) -> bool {
        self.calm = 0;
        self.bytes_max = self.bytes_max.min(bytes / 2);
        events == 1
    }

    fn taken(&mut self) {
        self.calm += 1;
        if self.calm >= CALM_REQUESTS {
            self.calm = 0;
            self.bytes_max = self.bytes_max.saturating_mul(2).min(BULK_BYTES_MAX);
        }
    }
}

/// Sends events until it is stopped. What was not sent then is sent after the next start.
pub(crate) async fn ship(shared: Arc<Shared>, client: ElasticClient, mut stopped: watch::Receiver<bool>) {
    let mut shipper = Shipper { shared: &shared, client: &client, has_template: false, room: Room::default() };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = shipper.run() => {}
    }
}

struct Shipper<'s> {
    shared: &'s Shared,
    client: &'s ElasticClient,
    has_template: bool,
    room: Room,
}

impl Shipper<'_> {
    async fn run(&mut self) {
        let address = self.client.address().to_owned();
        let mut backoff = Backoff::new(TRY_AGAIN, TRY_AGAIN_MAX);
        let mut is_down = false;
        loop {
            // Of several control planes one sends; all of them say how far it came.
            if !self.shared.acting.is_so() {
                // A database that is away is reported by who needs it.
                drop(self.progress().await);
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            }
            match self.send().await {
                Ok(sent) => {
                    if std::mem::take(&mut is_down) {
                        tracing::info!(elasticsearch.address = address, "events are taken again");
                    }
                    backoff.reset();
                    if sent < EVENTS_MAX {
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_down, true) {
                        let why = with_causes(&error);
                        tracing::warn!(
                            elasticsearch.address = address,
                            "events stay in the database, and are sent again: {why}"
                        );
                    }
                    backoff.wait().await;
                }
            }
        }
    }

    /// Reads how far whoever sends has come.
    async fn progress(&self) -> Result<Progress, PersistError> {
        let mut states = self.shared.persistence.states(SCOPE).await?;
        let number = |text: Option<&String>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let refused = number(states.get(REFUSED));
        self.shared.events_refused.store(refused, Ordering::Relaxed);
        let kept = states.remove(SENT);
        Ok(Progress { sent: number(kept.as_ref()), kept, refused })
    }

    /// Keeps how far it came; whether nobody else has gone on meanwhile, who has the turn now.
    async fn keep(&self, progress: &mut Progress, sent: u64, refused: u64) -> Result<bool, PersistError> {
        let state = |name: &str, value: u64| StateWrite {
            scope: SCOPE.to_owned(),
            name: name.to_owned(),
            value: Some(value.to_string()),
        };
        let states = [state(SENT, sent), state(REFUSED, refused)];
        if !self.shared.persistence.swap_states(progress.kept.as_deref(), &states).await? {
            return Ok(false);
        }
        self.shared.events_refused.store(refused, Ordering::Relaxed);
        *progress = Progress { sent, kept: Some(sent.to_string()), refused };
        Ok(true)
    }

    /// Sends the next events; says how many there were.
    async fn send(&mut self) -> Result<u64, ShipError> {
        let mut progress = self.progress().await?;
        let mut refused = progress.refused;
        let query = EventQuery { after_id: Some(progress.sent), limit: EVENTS_MAX, ..EventQuery::default() };
        let persistence = &self.shared.persistence;
        let events = persistence.events(&query).await?;
        if events.is_empty() {
            return Ok(0);
        }
        if !self.has_template {
            self.client.put_template(Template::Events).await?;
            self.has_template = true;
        }
        let database = self.shared.current().snapshot.position.epoch;
        let mut next = events.as_slice();
        while let [first, ..] = next {
            let (body, count) = bulk(&self.shared.settings.namespace, database, next, self.room.bytes_max);
            let bytes = body.len();
            let reason = match self.client.bulk(body, count).await {
                Ok(outcomes) if outcomes.contains(&ItemOutcome::Busy) => return Err(ShipError::Busy),
                Ok(outcomes) => {
                    self.room.taken();
                    let (events, reason) = rejected(&outcomes);
                    refused = refused.saturating_add(events);
                    reason
                }
                // Smaller ones, down to one event.
                Err(ElasticError::Refused { status: TOO_LARGE, .. }) if !self.room.refused(bytes, count) => continue,
                Err(ElasticError::Refused { status: TOO_LARGE, .. }) => {
                    refused = refused.saturating_add(1);
                    Some(format!("it is too large, with {bytes} bytes"))
                }
                Err(error) => return Err(error.into()),
            };
            let last = next.get(count.saturating_sub(1)).unwrap_or(first).id;
            if let Some(reason) = reason {
                tracing::warn!(
                    "Elasticsearch refuses events from {} to {last}, {refused} up to now; they stay in the database: {reason}",
                    first.id
                );
            }
            if !self.keep(&mut progress, last, refused).await? {
                return Ok(0);
            }
            next = next.get(count..).unwrap_or_default();
        }
        Ok(u64::try_from(events.len()).unwrap_or(u64::MAX))
    }
}

/// How many of a request's events the server will never take, and why not the first of them.
fn rejected(outcomes: &[ItemOutcome]) -> (u64, Option<String>) {
    let mut reasons = outcomes.iter().filter_map(|outcome| match outcome {
        ItemOutcome::Rejected(reason) => Some(reason),
        ItemOutcome::Stored | ItemOutcome::Busy => None,
    });
    let first = reasons.next().cloned();
    (u64::from(first.is_some()) + reasons.count() as u64, first)
}

/// The body of a request with the first of some events, at least one, and how many they are.
fn bulk(namespace: &str, database: u64, events: &[StoredEvent], bytes_max: usize) -> (Vec<u8>, usize) {
    let mut body = Vec::new();
    let mut count = 0;
    for event in events {
        let lines = document(namespace, database, event);
        if count > 0 && body.len() + lines.len() > bytes_max {
            break;
        }
        body.extend_from_slice(lines.as_bytes());
        count += 1;
    }
    (body, count)
}

/// Action and document of one event. A number is in the order of its database, so that the database is part of the id.
fn document(namespace: &str, database: u64, event: &StoredEvent) -> String {
    let milliseconds = i64::try_from(event.at_unix_ms).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let index = format!("vamp-pulse-{}-{}", index_part(namespace), at.strftime("%Y-%m"));
    let action = json!({"create": {"_index": index, "_id": format!("{database}-{}", event.id)}});
    let at = at.to_string();
    let mut document = json!({
        "@timestamp": at,
        "timestamp": at,
        "namespace": namespace,
        "id": event.id,
        "type": event.kind,
        "tags": event.tags,
    });
    if let Some(document) = document.as_object_mut() {
        if let Some(number) = event.value.as_f64() {
            document.insert("number".to_owned(), json!(number));
        }
        if !event.value.is_null() {
            // As text: values of one index would otherwise have to be of one shape.
            let text = event.value.as_str().map_or_else(|| event.value.to_string(), str::to_owned);
            document.insert("value".to_owned(), Value::String(text));
        }
    }
    format!("{action}\n{document}\n")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use axum::Json;
    use axum::extract::State;
    use axum::http::Uri;
    use vamp_store::testing::eventually;

    use super::*;
    use crate::core::tests::{DEADLINE, World};
    use crate::persist::{NewEvent, Persistence};

    /// Takes everything, and has another control plane go on meanwhile, to an event further on.
    async fn take(
        State((persistence, requests)): State<(Arc<dyn Persistence>, Arc<AtomicU64>)>,
        uri: Uri,
        body: String,
    ) -> Json<Value> {
        if uri.path() != "/_bulk" {
            return Json(json!({"acknowledged": true}));
        }
        requests.fetch_add(1, Ordering::Relaxed);
        persistence.keep_states(&[state(SENT, 1_000), state(REFUSED, 7)]).await.unwrap();
        let items: Vec<Value> = body.lines().step_by(2).map(|_| json!({"create": {"status": 201}})).collect();
        Json(json!({"errors": false, "items": items}))
    }

    fn state(name: &str, value: u64) -> StateWrite {
        StateWrite { scope: SCOPE.to_owned(), name: name.to_owned(), value: Some(value.to_string()) }
    }

    #[tokio::test]
    async fn who_lost_its_turn_takes_nothing_back_that_another_one_sent() {
        let world = World::new().await;
        let (shared, requests) = (&world.core.shared, Arc::new(AtomicU64::new(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client =
            ElasticClient::new(&format!("http://{}", listener.local_addr().unwrap()).parse().unwrap()).unwrap();
        let server =
            axum::Router::new().fallback(take).with_state((Arc::clone(&shared.persistence), Arc::clone(&requests)));
        tokio::spawn(async move { axum::serve(listener, server).await });
        let event = || NewEvent::new("event", vec!["a".to_owned()], 1_000);
        world.core.publish(&[event(), event()]).await.unwrap();
        let mut shipper = Shipper { shared, client: &client, has_template: false, room: Room::default() };
        shipper.room.bytes_max = 1;
        assert_eq!(shipper.send().await.unwrap(), 0);
        assert_eq!(requests.load(Ordering::Relaxed), 1, "the second event is somebody else's to send");
        let kept = shared.persistence.states(SCOPE).await.unwrap();
        assert_eq!((kept[SENT].as_str(), kept[REFUSED].as_str()), ("1000", "7"));
    }

    #[tokio::test]
    async fn who_does_not_act_knows_what_was_refused() {
        let world = World::new().await;
        let (other, _tasks) = world.second("vamp.db").await;
        assert!(!other.shared.acting.is_so());
        world.core.shared.persistence.keep_states(&[state(SENT, 9), state(REFUSED, 7)]).await.unwrap();
        // Nobody is asked by who does not act.
        let client = ElasticClient::new(&"http://127.0.0.1:9".parse().unwrap()).unwrap();
        let (_stop, stopped) = watch::channel(false);
        let shipping = tokio::spawn(ship(Arc::clone(&other.shared), client, stopped));
        let refused = async || other.shared.events_refused.load(Ordering::Relaxed) == 7;
        eventually("it is known what was refused", DEADLINE, refused).await;
        shipping.abort();
    }

    fn event(id: u64, value: Value) -> StoredEvent {
        let tags = vec!["deployments".to_owned(), "deployments:shop".to_owned()];
        StoredEvent { id, kind: "event".to_owned(), tags, value, at_unix_ms: 1_795_768_794_977 }
    }

    #[test]
    fn a_document_says_all_of_an_event_and_has_an_id_of_its_own() {
        let text = document("Team A", 7, &event(3, json!({"who": "ada"})));
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0], json!({"create": {"_index": "vamp-pulse-team_a-2026-11", "_id": "7-3"}}));
        assert_eq!(lines[1]["value"], r#"{"who":"ada"}"#);
        assert_eq!(lines[1]["@timestamp"], "2026-11-27T08:39:54.977Z");
        let number = document("a", 7, &event(4, json!(2.5)));
        let number: Value = serde_json::from_str(number.lines().last().unwrap()).unwrap();
        assert_eq!((&number["number"], &number["value"]), (&json!(2.5), &json!("2.5")));
    }

    #[test]
    fn the_bound_of_a_server_is_found_and_forgotten_in_calm_times() {
        let mut room = Room::default();
        assert!(!room.refused(4_000, 9));
        assert!(!room.refused(2_000, 4));
        assert_eq!(room.bytes_max, 1_000);
        (0..CALM_REQUESTS).for_each(|_| room.taken());
        assert_eq!(room.bytes_max, 2_000);
        assert!(room.refused(9_000, 1), "one alone can't be made smaller");
        (0..100 * CALM_REQUESTS).for_each(|_| room.taken());
        assert_eq!(room.bytes_max, BULK_BYTES_MAX);
    }

    #[test]
    fn refused_events_are_counted_with_a_reason() {
        let rejects = |reason: &str| ItemOutcome::Rejected(reason.to_owned());
        assert_eq!(rejected(&[ItemOutcome::Stored]), (0, None));
        let outcomes = [ItemOutcome::Stored, rejects("a"), rejects("b")];
        assert_eq!(rejected(&outcomes), (2, Some("a".to_owned())));
    }

    #[test]
    fn a_request_is_bounded_and_has_at_least_one_event() {
        let large = "x".repeat(BULK_BYTES_MAX);
        let events = [event(1, json!(large)), event(2, json!(1)), event(3, json!(2))];
        assert_eq!(bulk("a", 7, &events, BULK_BYTES_MAX).1, 1);
        assert_eq!(bulk("a", 7, &events[1..], BULK_BYTES_MAX).1, 2);
        assert_eq!(bulk("a", 7, &events[1..], 1).1, 1);
    }
}
