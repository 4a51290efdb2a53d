//! Keeps events, and finds them by tags, type and time.

use super::session::{Row, Session, Sql, Value, values};
use super::{Aggregator, EventQuery, NewEvent, Retention, StoredEvent};

/// LIMIT: events that one call deletes: other writers wait for some tens of milliseconds at most.
const RETIRED_AT_ONCE: u64 = 500;

/// Keeps events after the newest one; answers the number of the newest then. Numbers are given under the lock of `state`, so that one that is seen
/// never has a lower one after it: who reads on after a number misses none.
pub(super) async fn insert(session: &mut Session<'_>, events: &[NewEvent], mut id: u64) -> Result<u64, sqlx::Error> {
    for event in events {
        id += 1;
        let tags = serde_json::Value::from(event.tags.iter().cloned().collect::<Vec<_>>()).to_string();
        let value = event.value.as_ref().map(ToString::to_string);
        let number = event.value.as_ref().and_then(serde_json::Value::as_f64);
        let insert = "INSERT INTO events (id, at_unix_ms, type, tags, value, number) VALUES (?, ?, ?, ?, ?, ?)";
        let values = &[
            id.into(),
            event.at_unix_ms.into(),
            (&event.kind).into(),
            (&tags).into(),
            value.as_deref().into(),
            Value::Real(number),
        ];
        session.execute(insert, values).await?;
        insert_tags(session, event, id).await?;
    }
    Ok(id)
}

/// [`insert`] without a change around it.
pub(super) async fn publish(session: &mut Session<'_>, events: &[NewEvent]) -> Result<u64, sqlx::Error> {
    let newest = newest(session).await?;
    let newest = insert(session, events, newest).await?;
    session.execute("UPDATE state SET event = ? WHERE id = 1", values![newest]).await?;
    Ok(newest)
}

/// All tags of an event in one statement: there are as many texts of it as numbers of tags, a handful.
async fn insert_tags(session: &mut Session<'_>, event: &NewEvent, id: u64) -> Result<(), sqlx::Error> {
    let rows = vec!["(?, ?, ?)"; event.tags.len()].join(", ");
    let insert: Sql = format!("INSERT INTO event_tags (tag, at_unix_ms, event) VALUES {rows}").into();
    let values: Vec<Value<'_>> =
        event.tags.iter().flat_map(|tag| [tag.into(), event.at_unix_ms.into(), id.into()]).collect();
    if values.is_empty() { Ok(()) } else { session.execute(insert, &values).await.map(drop) }
}

pub(super) async fn newest(session: &mut Session<'_>) -> Result<u64, sqlx::Error> {
    session.row("SELECT event FROM state WHERE id = 1", &[]).await?.number(0)
}

/// The part of a statement from `FROM` on, and its values. The time of an event stands beside each of its tags, so that
/// the newest of a tag are found without a look at the others.
fn from(query: &EventQuery) -> (String, Vec<Value<'_>>, &'static str) {
    let mut text = "FROM events e".to_owned();
    let mut values: Vec<Value<'_>> = Vec::new();
    for (index, tag) in query.tags.iter().enumerate() {
        text += &format!(" JOIN event_tags t{index} ON t{index}.event = e.id AND t{index}.tag = ?");
        values.push(tag.into());
    }
    let (time, id) = if query.tags.is_empty() { ("e.at_unix_ms", "e.id") } else { ("t0.at_unix_ms", "t0.event") };
    let bounds = [
        (time, ">=", query.from_unix_ms.map(Value::from)),
        (time, "<", query.until_unix_ms.map(Value::from)),
        (id, ">", query.after_id.map(Value::from)),
        ("e.type", "=", query.kind.as_ref().map(Value::from)),
    ];
    let mut join = "WHERE";
    for (column, compared, value) in bounds {
        let Some(value) = value else { continue };
        text += &format!(" {join} {column} {compared} ?");
        values.push(value);
        join = "AND";
    }
    let order = match (query.after_id.is_some(), query.tags.is_empty()) {
        (true, _) => " ORDER BY e.id",
        (false, true) => " ORDER BY e.at_unix_ms DESC, e.id DESC",
        (false, false) => " ORDER BY t0.at_unix_ms DESC, t0.event DESC",
    };
    (text, values, order)
}

pub(super) async fn find(session: &mut Session<'_>, query: &EventQuery) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let (from, mut values, order) = from(query);
    let select = format!("SELECT e.id, e.at_unix_ms, e.type, e.tags, e.value {from}{order} LIMIT ? OFFSET ?");
    values.extend([Value::from(query.limit), Value::from(query.offset)]);
    let rows = session.rows(select, &values).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<StoredEvent, sqlx::Error> {
    let json = |text: &str| serde_json::from_str(text).map_err(|cause| sqlx::Error::Decode(cause.into()));
    let tags: serde_json::Value = json(&row.text(3)?)?;
    let tags = tags.as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
    let value = row.optional_text(4)?.as_deref().map_or(Ok(serde_json::Value::Null), json)?;
    Ok(StoredEvent { id: row.number(0)?, at_unix_ms: row.number(1)?, kind: row.text(2)?, tags, value })
}

pub(super) async fn aggregate(
    session: &mut Session<'_>,
    query: &EventQuery,
    aggregator: Aggregator,
) -> Result<Option<f64>, sqlx::Error> {
    let (from, values, _) = from(query);
    let function = match aggregator {
        Aggregator::Count => {
            let count = session.row(format!("SELECT COUNT(*) {from}"), &values).await?.number(0)?;
            #[expect(clippy::cast_precision_loss, reason = "nobody keeps 2⁵³ events")]
            return Ok(Some(count as f64));
        }
        Aggregator::Average => "AVG",
        Aggregator::Min => "MIN",
        Aggregator::Max => "MAX",
        Aggregator::Sum => "SUM",
    };
    session.row(format!("SELECT {function}(e.number) {from}"), &values).await?.real(0)
}

/// Deletes some of what is over its time or its number, oldest first.
pub(super) async fn retire(
    session: &mut Session<'_>,
    retention: &Retention,
    now_unix_ms: u64,
) -> Result<u64, sqlx::Error> {
    let oldest = now_unix_ms.saturating_sub(retention.age_max_ms);
    let old = "SELECT id FROM events WHERE at_unix_ms < ? ORDER BY at_unix_ms LIMIT ?";
    let mut rows = session.rows(old, values![oldest, RETIRED_AT_ONCE]).await?;
    if rows.is_empty() {
        let newest_surplus = "SELECT id FROM events ORDER BY id DESC LIMIT 1 OFFSET ?";
        let Some(row) = session.rows(newest_surplus, values![retention.count_max]).await?.pop() else { return Ok(0) };
        let surplus = "SELECT id FROM events WHERE id <= ? ORDER BY id LIMIT ?";
        rows = session.rows(surplus, values![row.number(0)?, RETIRED_AT_ONCE]).await?;
    }
    let mut retired = 0;
    for row in rows {
        let id = row.number(0)?;
        session.execute("DELETE FROM event_tags WHERE event = ?", values![id]).await?;
        retired += session.execute("DELETE FROM events WHERE id = ?", values![id]).await?;
    }
    Ok(retired)
}
