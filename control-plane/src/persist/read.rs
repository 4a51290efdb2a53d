//! Reads what is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chain::VersionRow;
use super::session::{Row, Session, values};
use super::thin::DERIVED;
use super::{ArtifactId, Cause, Head, Past, Position, Shelf, Snapshot, Stored, StoredChange, StoredCounts};

/// LIMIT: changes that are held at once.
const BITE: u64 = 500;

/// Where the history stands, and its hash. Who will write reads it locked.
pub(super) async fn position(session: &mut Session<'_>, is_writer: bool) -> Result<(Position, Head), sqlx::Error> {
    let select = "SELECT epoch, sequence, revision, table_digest, head FROM state WHERE id = 1";
    let select = if is_writer { session.locked(select) } else { select.into() };
    let row = session.row(select, &[]).await?;
    let position =
        Position { epoch: row.number(0)?, sequence: row.number(1)?, revision: row.number(2)?, table: row.text(3)? };
    let head = Head { sequence: position.sequence, hash: row.text(4)? };
    Ok((position, head))
}

/// The ports that the history leads to, as far as this process has read it. Read once at start, then only what came since:
/// a look must not cost more the longer the history is.
#[derive(Debug, Clone, Default)]
pub(super) struct PortsRead {
    until: Head,
    ports: BTreeMap<String, u16>,
}

impl PortsRead {
    /// Reads on up to the end. Whether the history itself is what was written is the audit's to say.
    async fn read_on(&mut self, session: &mut Session<'_>, end: Head) -> Result<(), sqlx::Error> {
        let known = session.rows("SELECT hash FROM changes WHERE sequence = ?", values![self.until.sequence]).await?;
        let known = known.first().map(|row| row.text(0)).transpose()?;
        if self.until.sequence > 0 && known.as_deref() != Some(self.until.hash.as_str()) {
            // An old copy was put in its place: this is another history.
            *self = Self::default();
        }
        let select = "SELECT sequence, ports FROM changes WHERE sequence > ? AND sequence <= ? AND ports <> '' \
                      ORDER BY sequence LIMIT ?";
        let mut after = self.until.sequence;
        loop {
            let rows = session.rows(select, values![after, end.sequence, BITE]).await?;
            let Some(last) = rows.last() else { break };
            after = last.number(0)?;
            for row in &rows {
                let moves: BTreeMap<String, Option<u16>> = serde_json::from_str(&row.text(1)?).unwrap_or_default();
                for (gateway, port) in moves {
                    match port {
                        Some(port) => self.ports.insert(gateway, port),
                        None => self.ports.remove(&gateway),
                    };
                }
            }
        }
        self.until = end;
        Ok(())
    }
}

pub(super) async fn snapshot(session: &mut Session<'_>, wanted: &mut PortsRead) -> Result<Snapshot, sqlx::Error> {
    let (position, head) = position(session, false).await?;
    let mut artifacts: BTreeMap<String, Shelf> = BTreeMap::new();
    for (kind, stored) in current(session).await? {
        artifacts.entry(kind).or_default().insert(stored.name.clone(), Arc::new(stored));
    }
    let rows = session.rows("SELECT gateway, port FROM ports", &[]).await?;
    let ports = rows.iter().map(|row| Ok((row.text(0)?, port(row)?))).collect::<Result<_, sqlx::Error>>()?;
    wanted.read_on(session, head).await?;
    let damage = damaged_ports(&ports, &wanted.ports);
    Ok(Snapshot { position, artifacts, ports, damage })
}

fn damaged_ports(found: &BTreeMap<String, u16>, wanted: &BTreeMap<String, u16>) -> BTreeMap<String, String> {
    let said = |port: Option<&u16>| port.map_or_else(|| "none".to_owned(), ToString::to_string);
    let all = found.keys().chain(wanted.keys().filter(|gateway| !found.contains_key(*gateway)));
    let other = all.filter(|gateway| found.get(*gateway) != wanted.get(*gateway));
    other
        .map(|gateway| {
            let (has, should) = (said(found.get(gateway)), said(wanted.get(gateway)));
            (gateway.clone(), format!("its port in the database is {has}, and the history leads to {should}"))
        })
        .collect()
}

fn port(row: &Row) -> Result<u16, sqlx::Error> {
    u16::try_from(row.number(1)?).map_err(|cause| sqlx::Error::Decode(cause.into()))
}

/// The current versions with their kinds. A row that can't be had is passed over by asking for each by itself: damage to
/// one page of a file hides what stands in it and nothing else.
async fn current(session: &mut Session<'_>) -> Result<Vec<(String, Stored)>, sqlx::Error> {
    let all = "SELECT a.kind, a.name, a.version, v.document, v.at_unix_ms, v.sequence, v.digest FROM artifacts a \
               LEFT JOIN versions v ON v.kind = a.kind AND v.name = a.name AND v.version = a.version";
    match session.rows(all, &[]).await {
        Ok(rows) => return rows.iter().map(|row| Ok((row.text(0)?, stored(row, 1)))).collect(),
        Err(sqlx::Error::Database(said)) if matches!(session, Session::Sqlite(_)) => {
            tracing::error!("the current artifacts can't be read together ({said}), each is read by itself");
        }
        Err(error) => return Err(error),
    }
    let names = session.rows("SELECT kind, name, version FROM artifacts", &[]).await?;
    let mut found = Vec::with_capacity(names.len());
    for row in names {
        let (kind, name, version) = (row.text(0)?, row.text(1)?, row.number(2)?);
        let one = "SELECT name, version, document, at_unix_ms, sequence, digest FROM versions \
                   WHERE kind = ? AND name = ? AND version = ?";
        let read = session.row(one, values![&kind, &name, version]).await;
        let stored = read.map_or_else(|error| lost(&name, version, error.to_string()), |row| stored_of(&kind, &row, 0));
        found.push((kind, stored));
    }
    Ok(found)
}

/// A version of which nothing but its name is known.
fn lost(name: &str, version: u64, damage: String) -> Stored {
    Stored {
        name: name.to_owned(),
        version,
        document: Some(String::new()),
        at_unix_ms: 0,
        sequence: 0,
        damage: Some(damage),
    }
}

/// A version whose kind stands in the first column.
fn stored(row: &Row, from: usize) -> Stored {
    stored_of(&row.text(0).unwrap_or_default(), row, from)
}

/// Never fails: what can't be read is the damage.
fn stored_of(kind: &str, row: &Row, from: usize) -> Stored {
    let name = row.text(from).unwrap_or_default();
    let version = row.number(from + 1).unwrap_or_default();
    read_stored(kind, &name, version, row, from + 2).unwrap_or_else(|error| lost(&name, version, error.to_string()))
}

fn read_stored(kind: &str, name: &str, version: u64, row: &Row, from: usize) -> Result<Stored, sqlx::Error> {
    let document = row.bytes(from)?;
    let (at_unix_ms, sequence, digest) = (row.number(from + 1)?, row.number(from + 2)?, row.text(from + 3)?);
    let written = VersionRow { kind, name, version, document: document.as_deref(), at_unix_ms, sequence }.digest();
    let is_damaged = written != digest;
    let document = document.map(|bytes| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    });
    let damage =
        is_damaged.then(|| "its digest shows that it was changed in the database by something else".to_owned());
    Ok(Stored { name: name.to_owned(), version, document, at_unix_ms, sequence, damage })
}

pub(super) async fn history(session: &mut Session<'_>, id: &ArtifactId) -> Result<Vec<Past>, sqlx::Error> {
    let select = "SELECT v.name, v.version, v.document, v.at_unix_ms, v.sequence, v.digest, c.cause, c.who, c.why \
                  FROM versions v JOIN changes c ON c.sequence = v.sequence WHERE v.kind = ? AND v.name = ? \
                  AND NOT (v.kind = ? AND v.document IS NOT NULL AND v.document = '') ORDER BY v.version";
    let rows = session.rows(select, values![id.kind, &id.name, DERIVED]).await?;
    rows.iter().map(|row| Ok(Past { stored: stored_of(id.kind, row, 0), cause: cause(row, 6)? })).collect()
}

fn cause(row: &Row, from: usize) -> Result<Cause, sqlx::Error> {
    Ok(Cause { what: row.text(from)?, who: row.text(from + 1)?, why: row.text(from + 2)? })
}

pub(super) async fn changes(
    session: &mut Session<'_>,
    below: Option<u64>,
    limit: u32,
) -> Result<Vec<StoredChange>, sqlx::Error> {
    let select = "SELECT sequence, at_unix_ms, revision, hash, cause, who, why FROM changes WHERE sequence < ? \
                  ORDER BY sequence DESC LIMIT ?";
    let below = below.unwrap_or(u64::MAX);
    let rows = session.rows(select, values![below, u64::from(limit)]).await?;
    let change = |row: &Row| {
        Ok(StoredChange {
            sequence: row.number(0)?,
            at_unix_ms: row.number(1)?,
            revision: row.number(2)?,
            hash: row.text(3)?,
            cause: cause(row, 4)?,
        })
    };
    rows.iter().map(change).collect()
}

pub(super) async fn states(session: &mut Session<'_>, scope: &str) -> Result<BTreeMap<String, String>, sqlx::Error> {
    let rows = session.rows("SELECT name, value FROM runtime WHERE scope = ?", values![scope]).await?;
    rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?))).collect()
}

pub(super) async fn counts(session: &mut Session<'_>) -> Result<Vec<StoredCounts>, sqlx::Error> {
    let select = "SELECT process, boot, at_unix_ms, body FROM counts ORDER BY at_unix_ms, process, boot";
    let rows = session.rows(select, &[]).await?;
    let count = |row: &Row| {
        Ok(StoredCounts { id: row.text(0)?, boot: row.text(1)?, at_unix_ms: row.number(2)?, body: row.text(3)? })
    };
    rows.iter().map(count).collect()
}
