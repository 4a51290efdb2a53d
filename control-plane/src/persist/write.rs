//! Writes changes: who calls has the row of `state` locked, so that nobody else writes meanwhile.

use std::collections::BTreeMap;

use super::chain::{ChangeRow, VersionRow};
use super::events;
use super::session::{Session, values};
use super::thin::{self, DERIVED};
use super::{BeginEpoch, Change, Committed, Head, NewEvent, Position, StateWrite, StoredCounts, Write};

/// LIMIT: boots of gateway processes whose last counts are kept; the oldest go first.
const KEPT_BOOTS: u64 = 1000;

/// Where the history stands for who writes it: [`moved`] keeps it, once for all that one transaction writes.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) position: Position,
    pub(super) head: Head,
    /// The newest event.
    pub(super) event: u64,
}

/// Writes a change whole, on top of where the history stands, but for that.
pub(super) async fn change(
    session: &mut Session<'_>,
    standing: &mut Standing,
    change: &Change,
) -> Result<Committed, sqlx::Error> {
    let Standing { position, head, event } = standing;
    let sequence = position.sequence + 1;
    let row = ChangeRow {
        sequence,
        at_unix_ms: change.at_unix_ms,
        cause: change.cause.what.clone(),
        who: change.cause.who.clone(),
        why: change.cause.why.clone(),
        revision: change.revision,
        epoch: position.epoch,
        table: change.table.clone(),
        ports: ports_text(&change.ports),
    };
    let mut versions = Vec::with_capacity(change.writes.len());
    let mut digests = Vec::with_capacity(change.writes.len());
    for write in &change.writes {
        let version = next_version(session, write).await?;
        let row = VersionRow {
            kind: write.id.kind,
            name: &write.id.name,
            version,
            document: write.document.as_deref().map(str::as_bytes),
            at_unix_ms: change.at_unix_ms,
            sequence,
        };
        digests.push(row.digest());
        versions.push(version);
    }
    let hash = row.hash(&head.hash, digests.clone());
    insert_change(session, &row, &hash).await?;
    let mut events = Vec::with_capacity(change.writes.len() + change.events.len());
    for ((write, version), digest) in change.writes.iter().zip(&versions).zip(&digests) {
        let what = write_artifact(session, write, *version, digest, &row).await?;
        events.push(archived(change, write, *version, what));
    }
    events.extend(change.events.iter().cloned());
    *event = events::insert(session, &events, *event).await?;
    write_ports(session, &change.ports).await?;
    states(session, &change.states).await?;
    *head = Head { sequence, hash };
    *position = Position { epoch: position.epoch, sequence, revision: change.revision, table: change.table.clone() };
    Ok(Committed { position: position.clone(), versions })
}

/// Keeps where the history stands.
pub(super) async fn moved(session: &mut Session<'_>, standing: &Standing) -> Result<(), sqlx::Error> {
    let Standing { position, head, event } = standing;
    let moved = "UPDATE state SET sequence = ?, revision = ?, table_digest = ?, head = ?, event = ? WHERE id = 1";
    let values = values![position.sequence, position.revision, &position.table, &head.hash, *event];
    session.execute(moved, values).await.map(drop)
}

/// Writes the start of an epoch.
pub(super) async fn epoch(
    session: &mut Session<'_>,
    current: Position,
    head: &Head,
    begin: &BeginEpoch,
) -> Result<Position, sqlx::Error> {
    let sequence = current.sequence + 1;
    let row = ChangeRow {
        sequence,
        at_unix_ms: begin.at_unix_ms,
        cause: begin.cause.what.clone(),
        who: begin.cause.who.clone(),
        why: begin.cause.why.clone(),
        revision: current.revision,
        epoch: begin.epoch,
        table: current.table.clone(),
        ports: String::new(),
    };
    let hash = row.hash(&head.hash, Vec::new());
    insert_change(session, &row, &hash).await?;
    let moved = "UPDATE state SET sequence = ?, epoch = ?, head = ? WHERE id = 1";
    session.execute(moved, values![sequence, begin.epoch, &hash]).await?;
    Ok(Position { epoch: begin.epoch, sequence, ..current })
}

async fn insert_change(session: &mut Session<'_>, row: &ChangeRow, hash: &str) -> Result<(), sqlx::Error> {
    let insert = "INSERT INTO changes (sequence, at_unix_ms, cause, who, why, revision, epoch, table_digest, ports, hash) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values = values![
        row.sequence,
        row.at_unix_ms,
        &row.cause,
        &row.who,
        &row.why,
        row.revision,
        row.epoch,
        &row.table,
        &row.ports,
        hash,
    ];
    session.execute(insert, values).await.map(drop)
}

/// Deleted artifacts go on counting when they come back: an ETag never names two contents.
async fn next_version(session: &mut Session<'_>, write: &Write) -> Result<u64, sqlx::Error> {
    let select = "SELECT COALESCE(MAX(version), 0) + 1 FROM versions WHERE kind = ? AND name = ?";
    session.row(select, values![write.id.kind, &write.id.name]).await?.number(0)
}

/// Writes a version and points at it; says what that was in one word.
async fn write_artifact(
    session: &mut Session<'_>,
    write: &Write,
    version: u64,
    digest: &str,
    change: &ChangeRow,
) -> Result<&'static str, sqlx::Error> {
    let (kind, name, document) = (write.id.kind, &write.id.name, write.document.as_deref());
    let insert = "INSERT INTO versions (kind, name, version, document, at_unix_ms, sequence, digest) VALUES (?, ?, ?, ?, ?, ?, ?)";
    let values = values![kind, name, version, document, change.at_unix_ms, change.sequence, digest];
    session.execute(insert, values).await?;
    if kind == DERIVED {
        thin::after_write(session, name, version, document.is_some()).await?;
    }
    if document.is_none() {
        session.execute("DELETE FROM artifacts WHERE kind = ? AND name = ?", values![kind, name]).await?;
        return Ok("delete");
    }
    let point = "UPDATE artifacts SET version = ? WHERE kind = ? AND name = ?";
    // Of a new artifact no version was pointed at: the statement is left out where that is known.
    if version > 1 && session.execute(point, values![version, kind, name]).await? > 0 {
        return Ok("update");
    }
    let insert = "INSERT INTO artifacts (kind, name, version) VALUES (?, ?, ?)";
    session.execute(insert, values![kind, name, version]).await?;
    Ok("create")
}

/// What tells of a write, as the original does; the content stands in the history.
fn archived(change: &Change, write: &Write, version: u64, what: &str) -> NewEvent {
    let mut tags = vec![format!("{}:{}", write.id.kind, write.id.name), format!("archive:{what}")];
    if what == "create" && write.replaces {
        tags.push("archive:update".to_owned());
    }
    let value = serde_json::json!({"version": version, "who": change.cause.who, "why": change.cause.why});
    NewEvent { value: Some(value), ..NewEvent::new("archive", tags, change.at_unix_ms) }
}

/// The moves of ports as a change keeps them; empty when there are none.
pub(super) fn ports_text<P: serde::Serialize>(ports: &BTreeMap<String, Option<P>>) -> String {
    // A map of texts and numbers always has a text.
    if ports.is_empty() { String::new() } else { serde_json::to_string(ports).unwrap_or_default() }
}

async fn write_ports(session: &mut Session<'_>, moves: &BTreeMap<String, Option<u16>>) -> Result<(), sqlx::Error> {
    // All that go or change leave first, so that two gateways may change places.
    for gateway in moves.keys() {
        session.execute("DELETE FROM ports WHERE gateway = ?", values![gateway]).await?;
    }
    for (gateway, port) in moves {
        let Some(port) = port else { continue };
        let insert = "INSERT INTO ports (gateway, port) VALUES (?, ?)";
        session.execute(insert, values![gateway, u64::from(*port)]).await?;
    }
    Ok(())
}

pub(super) async fn states(session: &mut Session<'_>, states: &[StateWrite]) -> Result<(), sqlx::Error> {
    for StateWrite { scope, name, value } in states {
        let Some(value) = value else {
            session.execute("DELETE FROM runtime WHERE scope = ? AND name = ?", values![scope, name]).await?;
            continue;
        };
        let update = "UPDATE runtime SET value = ? WHERE scope = ? AND name = ?";
        if session.execute(update, values![value, scope, name]).await? == 0 {
            let insert = "INSERT INTO runtime (scope, name, value) VALUES (?, ?, ?)";
            session.execute(insert, values![scope, name, value]).await?;
        }
    }
    Ok(())
}

/// Writes them if there is of the first what is expected; nobody else writes meanwhile.
pub(super) async fn swap_states(
    session: &mut Session<'_>,
    expected: Option<&str>,
    all: &[StateWrite],
) -> Result<bool, sqlx::Error> {
    let Some(state) = all.first() else { return Ok(true) };
    let select = "SELECT value FROM runtime WHERE scope = ? AND name = ?";
    let found = session.rows(select, values![&state.scope, &state.name]).await?.pop();
    let found = found.map(|row| row.text(0)).transpose()?;
    if found.as_deref() != expected {
        return Ok(false);
    }
    states(session, all).await.map(|()| true)
}

pub(super) async fn counts(session: &mut Session<'_>, counts: &[StoredCounts]) -> Result<(), sqlx::Error> {
    for count in counts {
        let update = "UPDATE counts SET at_unix_ms = ?, body = ? WHERE process = ? AND boot = ?";
        if session.execute(update, values![count.at_unix_ms, &count.body, &count.id, &count.boot]).await? == 0 {
            let insert = "INSERT INTO counts (process, boot, at_unix_ms, body) VALUES (?, ?, ?, ?)";
            session.execute(insert, values![&count.id, &count.boot, count.at_unix_ms, &count.body]).await?;
        }
    }
    let oldest = "SELECT at_unix_ms FROM counts ORDER BY at_unix_ms DESC LIMIT 1 OFFSET ?";
    if let Some(row) = session.rows(oldest, values![KEPT_BOOTS]).await?.pop() {
        session.execute("DELETE FROM counts WHERE at_unix_ms <= ?", values![row.number(0)?]).await?;
    }
    Ok(())
}
