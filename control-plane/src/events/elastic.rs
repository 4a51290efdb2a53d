//! Events on their way to Elasticsearch. The database is where they are kept first, in the transaction of the change that
//! they tell of; from there they go on in their order, each once: the number of the last one that was taken is kept, and
//! one that is sent again has the same id.

use std::sync::Arc;
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

/// Sends events until it is stopped. What was not sent then is sent after the next start.
pub(crate) async fn ship(shared: Arc<Shared>, client: ElasticClient, mut stopped: watch::Receiver<bool>) {
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = run(&shared, &client) => {}
    }
}

async fn run(shared: &Shared, client: &ElasticClient) {
    let mut backoff = Backoff::new(TRY_AGAIN, TRY_AGAIN_MAX);
    let mut is_down = false;
    let mut has_template = false;
    loop {
        match send(shared, client, &mut has_template).await {
            Ok(sent) => {
                if std::mem::take(&mut is_down) {
                    tracing::info!(elasticsearch.address = client.address(), "events are taken again");
                }
                backoff.reset();
                if sent < EVENTS_MAX {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_down, true) {
                    tracing::warn!(
                        elasticsearch.address = client.address(),
                        "events stay in the database, and are sent again: {}",
                        with_causes(&error)
                    );
                }
                backoff.wait().await;
            }
        }
    }
}

/// Sends the next events; says how many there were.
async fn send(shared: &Shared, client: &ElasticClient, has_template: &mut bool) -> Result<u64, ShipError> {
    let last = shared.persistence.states(SCOPE).await?.get(SENT).and_then(|text| text.parse().ok()).unwrap_or(0);
    let query = EventQuery { after_id: Some(last), limit: EVENTS_MAX, ..EventQuery::default() };
    let events = shared.persistence.events(&query).await?;
    if events.is_empty() {
        return Ok(0);
    }
    if !*has_template {
        client.put_template(Template::Events).await?;
        *has_template = true;
    }
    let database = shared.current().snapshot.position.epoch;
    let mut next = events.as_slice();
    while let [first, ..] = next {
        let (body, count) = bulk(&shared.settings.namespace, database, next);
        let outcomes = client.bulk(body, count).await?;
        if outcomes.contains(&ItemOutcome::Busy) {
            return Err(ShipError::Busy);
        }
        for (event, outcome) in next.iter().zip(&outcomes) {
            if let ItemOutcome::Rejected(reason) = outcome {
                tracing::warn!(
                    event.id = event.id,
                    "Elasticsearch refuses an event, it stays in the database: {reason}"
                );
            }
        }
        let last = next.get(count.saturating_sub(1)).unwrap_or(first).id;
        let sent = StateWrite { scope: SCOPE.to_owned(), name: SENT.to_owned(), value: Some(last.to_string()) };
        shared.persistence.keep_states(&[sent]).await?;
        next = next.get(count..).unwrap_or_default();
    }
    Ok(u64::try_from(events.len()).unwrap_or(u64::MAX))
}

/// The body of a request with the first of some events, at least one, and how many they are.
fn bulk(namespace: &str, database: u64, events: &[StoredEvent]) -> (Vec<u8>, usize) {
    let mut body = Vec::new();
    let mut count = 0;
    for event in events {
        let lines = document(namespace, database, event);
        if count > 0 && body.len() + lines.len() > BULK_BYTES_MAX {
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
    use super::*;

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
    fn a_request_is_bounded_and_has_at_least_one_event() {
        let large = "x".repeat(BULK_BYTES_MAX);
        let events = [event(1, json!(large)), event(2, json!(1)), event(3, json!(2))];
        assert_eq!(bulk("a", 7, &events).1, 1);
        assert_eq!(bulk("a", 7, &events[1..]).1, 2);
    }
}
