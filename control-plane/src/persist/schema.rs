//! The tables, and the way from each released schema to the newest.

/// The way forward: `MIGRATIONS[n]` leads from schema `n` to `n + 1`. Released entries are never edited.
pub(super) const MIGRATIONS: [&str; 1] = [FIRST];

/// Versions are kept for ever, so `artifacts` only points at the current one. Events can't be changed, not even by
/// hand: what happened is what an audit reads.
const FIRST: &str = "
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    table_digest TEXT NOT NULL
) STRICT;
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    at_unix_ms INTEGER NOT NULL,
    cause TEXT NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
CREATE TABLE versions (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT,
    at_unix_ms INTEGER NOT NULL,
    sequence INTEGER NOT NULL REFERENCES events (sequence),
    PRIMARY KEY (kind, name, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE artifacts (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (kind, name),
    FOREIGN KEY (kind, name, version) REFERENCES versions (kind, name, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE ports (
    gateway TEXT PRIMARY KEY,
    port INTEGER NOT NULL UNIQUE CHECK (port BETWEEN 1 AND 65535)
) STRICT, WITHOUT ROWID;
CREATE TABLE counts (
    process TEXT NOT NULL,
    boot TEXT NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (process, boot)
) STRICT, WITHOUT ROWID;
";
