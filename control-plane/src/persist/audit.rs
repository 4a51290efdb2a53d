//! Reads the whole history again and says whether it is what was written: each version and each change against its
//! hash, each change against the one before, and what is current against what the history leads to.
//!
//! What it can't find: a history that was written anew as a whole, hashes and all, by somebody who may write into the
//! database, as long as no hash of it was seen and kept elsewhere; and its end cut off, likewise. The newest hash can be
//! kept by people: `audit` takes what others have seen.

use std::collections::BTreeMap;

use super::chain::{ChangeRow, VersionRow};
use super::read;
use super::session::{Row, Session, values};
use super::thin::DERIVED;

/// LIMIT: changes that are held at once.
const BITE: u64 = 500;

/// A change and its hash: who has seen it can tell later whether it is still there.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Head {
    /// The number of the change.
    pub sequence: u64,
    /// Its hash; empty before the first.
    pub hash: String,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hash)
    }
}

/// What the history is worth.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Audit {
    /// Changes that fit.
    pub changes: u64,
    /// Their versions.
    pub versions: u64,
    /// The last change that fits.
    pub head: Head,
    /// The first place that does not fit, in words; none: all is what was written.
    pub fault: Option<String>,
}

/// Why the reading ended.
enum End {
    Fault(String),
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for End {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error)
    }
}

/// What the history leads to, as far as it was read.
#[derive(Default)]
struct Walk<'s> {
    audit: Audit,
    seen: &'s [Head],
    last: ChangeRow,
    /// Versions that are current, by kind and name.
    current: BTreeMap<(String, String), u64>,
    /// The last version of each that is not kept whole.
    thinned: BTreeMap<(String, String), u64>,
    ports: BTreeMap<String, u64>,
}

/// Reads everything; needs one moment.
pub(super) async fn audit(session: &mut Session<'_>, seen: &[Head]) -> Result<Audit, sqlx::Error> {
    let mut walk = Walk { seen, ..Walk::default() };
    match walk.through(session).await {
        Ok(()) => {}
        Err(End::Fault(fault)) => walk.audit.fault = Some(fault),
        // What is no number or no text any more was one when it was written.
        Err(End::Failed(sqlx::Error::Decode(cause) | sqlx::Error::ColumnDecode { source: cause, .. })) => {
            let after = walk.audit.head.sequence;
            walk.audit.fault = Some(format!("after change {after} stands a row that can't be read ({cause})"));
        }
        Err(End::Failed(error)) => return Err(error),
    }
    Ok(walk.audit)
}

impl Walk<'_> {
    async fn through(&mut self, session: &mut Session<'_>) -> Result<(), End> {
        loop {
            let select = "SELECT sequence, at_unix_ms, cause, who, why, revision, epoch, table_digest, ports, hash \
                          FROM changes WHERE sequence > ? ORDER BY sequence LIMIT ?";
            let after = self.audit.head.sequence;
            let changes = session.rows(select, values![after, BITE]).await?;
            let Some(last) = changes.last() else { break };
            let until = last.number(0)?;
            let select = "SELECT sequence, kind, name, version, document, at_unix_ms, digest FROM versions \
                          WHERE sequence > ? AND sequence <= ? ORDER BY sequence";
            let versions = session.rows(select, values![after, until]).await?;
            let mut versions = versions.iter().peekable();
            for row in &changes {
                let (change, hash) = change(row)?;
                let mut digests = Vec::new();
                while let Some(row) = versions.next_if(|row| row.number(0).is_ok_and(|of| of <= change.sequence)) {
                    digests.push(self.version(row)?);
                }
                self.change(change, hash, digests)?;
            }
        }
        self.check_end(session).await
    }

    /// The digest of a version that is what was written.
    fn version(&mut self, row: &Row) -> Result<String, End> {
        let (sequence, kind, name, version) = (row.number(0)?, row.text(1)?, row.text(2)?, row.number(3)?);
        let document = row.bytes(4)?;
        let (at_unix_ms, written) = (row.number(5)?, row.text(6)?);
        let digest =
            VersionRow { kind: &kind, name: &name, version, document: document.as_deref(), at_unix_ms, sequence }
                .digest();
        let is_thinned = kind == DERIVED && document.as_deref() == Some(b"");
        // What it said is forgotten; what its digest is stands in the hash of its change.
        let digest = if is_thinned { written.clone() } else { digest };
        if digest != written {
            let what = format!(
                "version {version} of `{name}` in {kind}, written by change {sequence}, is not what was written"
            );
            return Err(End::Fault(what));
        }
        self.audit.versions += 1;
        if is_thinned {
            self.thinned.insert((kind.clone(), name.clone()), version);
        }
        match document {
            Some(_) => self.current.insert((kind, name), version),
            None => self.current.remove(&(kind, name)),
        };
        Ok(digest)
    }

    fn change(&mut self, change: ChangeRow, hash: String, digests: Vec<String>) -> Result<(), End> {
        let sequence = change.sequence;
        let expected = self.audit.head.sequence + 1;
        if sequence != expected {
            return Err(End::Fault(format!("change {expected} is missing: change {sequence} comes next")));
        }
        let count = digests.len();
        if change.hash(&self.audit.head.hash, digests) != hash {
            return Err(End::Fault(format!(
                "change {sequence} does not fit: its row, its place after change {}, or which versions it wrote \
                 ({count} are there) is not what was written",
                sequence - 1
            )));
        }
        if let Some(seen) = self.seen.iter().find(|seen| seen.sequence == sequence && seen.hash != hash) {
            return Err(End::Fault(format!(
                "change {sequence} is another one than was seen before, with the hash {}",
                seen.hash
            )));
        }
        let moves: BTreeMap<String, Option<u64>> = match change.ports.as_str() {
            "" => BTreeMap::new(),
            ports => serde_json::from_str(ports)
                .map_err(|cause| End::Fault(format!("the ports of change {sequence} can't be read ({cause})")))?,
        };
        for (gateway, port) in moves {
            match port {
                Some(port) => self.ports.insert(gateway, port),
                None => self.ports.remove(&gateway),
            };
        }
        self.audit.changes += 1;
        self.audit.head = Head { sequence, hash };
        self.last = change;
        Ok(())
    }

    /// What is current against what the history leads to.
    async fn check_end(&mut self, session: &mut Session<'_>) -> Result<(), End> {
        let (position, head) = read::position(session, false).await?;
        let end = &self.audit.head;
        if let Some(seen) = self.seen.iter().find(|seen| seen.sequence > end.sequence) {
            return Err(End::Fault(format!(
                "the history ends with change {}, and change {} was seen before: its end is missing",
                end.sequence, seen.sequence
            )));
        }
        if head != *end {
            let what = format!(
                "the history ends with change {}, and its end was kept as change {}",
                end.sequence, head.sequence
            );
            return Err(End::Fault(format!(
                "{what}: the row of `state` or the end of the history is not what was written"
            )));
        }
        let forgotten = self.current.iter().find(|(id, version)| self.thinned.get(*id) == Some(*version));
        if let Some(((kind, name), version)) = forgotten {
            return Err(End::Fault(format!(
                "version {version} of `{name}` in {kind} is current, and what it said is not there"
            )));
        }
        let is_same = position.epoch == self.last.epoch
            && position.revision == self.last.revision
            && position.table == self.last.table;
        if end.sequence > 0 && !is_same {
            let what = "epoch, revision or table in `state` are not those of the last change";
            return Err(End::Fault(what.to_owned()));
        }
        let select = "SELECT COUNT(*) FROM versions WHERE sequence < 1 OR sequence > ?";
        let strays = session.row(select, values![end.sequence]).await?.number(0)?;
        if strays > 0 {
            return Err(End::Fault(format!("no change wrote {strays} of the versions that are there")));
        }
        let rows = session.rows("SELECT kind, name, version FROM artifacts", &[]).await?;
        let pointed = rows.iter().map(|row| Ok(((row.text(0)?, row.text(1)?), row.number(2)?)));
        let pointed = pointed.collect::<Result<BTreeMap<_, _>, sqlx::Error>>()?;
        if let Some(((kind, name), _)) = first_difference(&self.current, &pointed) {
            let what = format!("`{name}` in {kind} is not current in the version that the history leads to");
            return Err(End::Fault(what));
        }
        let rows = session.rows("SELECT gateway, port FROM ports", &[]).await?;
        let ports = rows.iter().map(|row| Ok((row.text(0)?, row.number(1)?)));
        let ports = ports.collect::<Result<BTreeMap<_, _>, sqlx::Error>>()?;
        match first_difference(&self.ports, &ports) {
            Some((gateway, _)) => {
                Err(End::Fault(format!("gateway `{gateway}` has not the port that the history leads to")))
            }
            None => Ok(()),
        }
    }
}

fn change(row: &Row) -> Result<(ChangeRow, String), sqlx::Error> {
    let change = ChangeRow {
        sequence: row.number(0)?,
        at_unix_ms: row.number(1)?,
        cause: row.text(2)?,
        who: row.text(3)?,
        why: row.text(4)?,
        revision: row.number(5)?,
        epoch: row.number(6)?,
        table: row.text(7)?,
        ports: row.text(8)?,
    };
    Ok((change, row.text(9)?))
}

fn first_difference<'m, K: Ord>(wanted: &'m BTreeMap<K, u64>, found: &'m BTreeMap<K, u64>) -> Option<(&'m K, &'m u64)> {
    let missing = wanted.iter().find(|(key, value)| found.get(key) != Some(value));
    missing.or_else(|| found.iter().find(|(key, _)| !wanted.contains_key(key)))
}
