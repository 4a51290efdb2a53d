//! The schemas of SQLite.

use super::Migration;

pub(super) const MIGRATIONS: [Migration; 2] =
    [Migration { to: 1, steps: FIRST, afterwards: "" }, Migration { to: 2, steps: CHAINED, afterwards: GUARDS }];

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

/// What was called events is what a history is made of, changes; events are what people and workflows publish. Changes
/// say who and why, and are chained by hashes. `head` and `event` are the ends of both. Documents leave the tree in which
/// versions are looked up: a look-up read the large ones that it passed, and failed on a damaged one.
const CHAINED: &str = "
DROP TRIGGER events_are_not_changed;
DROP TRIGGER events_are_not_deleted;
ALTER TABLE events RENAME TO changes;
ALTER TABLE changes ADD COLUMN who TEXT NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN why TEXT NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN table_digest TEXT NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN ports TEXT NOT NULL DEFAULT '';
ALTER TABLE changes ADD COLUMN hash TEXT NOT NULL DEFAULT '';
CREATE TABLE versions_by_row (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    document TEXT,
    at_unix_ms INTEGER NOT NULL,
    sequence INTEGER NOT NULL REFERENCES changes (sequence),
    digest TEXT NOT NULL,
    PRIMARY KEY (kind, name, version)
) STRICT;
INSERT INTO versions_by_row SELECT kind, name, version, document, at_unix_ms, sequence, '' FROM versions;
CREATE TABLE artifacts_by_row (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (kind, name),
    FOREIGN KEY (kind, name, version) REFERENCES versions_by_row (kind, name, version)
) STRICT, WITHOUT ROWID;
INSERT INTO artifacts_by_row SELECT kind, name, version FROM artifacts;
DROP TABLE artifacts;
DROP TABLE versions;
ALTER TABLE versions_by_row RENAME TO versions;
ALTER TABLE artifacts_by_row RENAME TO artifacts;
CREATE INDEX versions_by_change ON versions (sequence);
ALTER TABLE state ADD COLUMN head TEXT NOT NULL DEFAULT '';
ALTER TABLE state ADD COLUMN event INTEGER NOT NULL DEFAULT 0;
CREATE TABLE runtime (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    at_unix_ms INTEGER NOT NULL,
    type TEXT NOT NULL,
    tags TEXT NOT NULL,
    value TEXT,
    number REAL
) STRICT;
CREATE INDEX events_by_time ON events (at_unix_ms);
CREATE TABLE event_tags (
    tag TEXT NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    event INTEGER NOT NULL,
    PRIMARY KEY (tag, at_unix_ms, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX event_tags_by_event ON event_tags (event);
";

const GUARDS: &str = "
CREATE TRIGGER changes_are_not_changed BEFORE UPDATE ON changes BEGIN SELECT RAISE(ABORT, 'changes are only added'); END;
CREATE TRIGGER changes_are_not_deleted BEFORE DELETE ON changes BEGIN SELECT RAISE(ABORT, 'changes are only added'); END;
";
