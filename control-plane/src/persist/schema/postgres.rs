//! The schemas of PostgreSQL, which begin with schema 2.

use super::Migration;

pub(super) const MIGRATIONS: [Migration; 1] = [Migration { to: 2, steps: FIRST, afterwards: GUARDS }];

/// Names are compared by their bytes, whatever the language of the database.
const FIRST: &str = "
CREATE TABLE state (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    epoch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    table_digest TEXT NOT NULL,
    head TEXT NOT NULL,
    event BIGINT NOT NULL
);
CREATE TABLE changes (
    sequence BIGINT PRIMARY KEY,
    at_unix_ms BIGINT NOT NULL,
    cause TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    revision BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    table_digest TEXT NOT NULL,
    ports TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE versions (
    kind TEXT COLLATE \"C\" NOT NULL,
    name TEXT COLLATE \"C\" NOT NULL,
    version BIGINT NOT NULL,
    document TEXT,
    at_unix_ms BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (kind, name, version),
    FOREIGN KEY (sequence) REFERENCES changes (sequence)
);
CREATE INDEX versions_by_change ON versions (sequence);
CREATE TABLE artifacts (
    kind TEXT COLLATE \"C\" NOT NULL,
    name TEXT COLLATE \"C\" NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (kind, name),
    FOREIGN KEY (kind, name, version) REFERENCES versions (kind, name, version)
);
CREATE TABLE ports (
    gateway TEXT COLLATE \"C\" PRIMARY KEY,
    port BIGINT NOT NULL UNIQUE CHECK (port BETWEEN 1 AND 65535)
);
CREATE TABLE counts (
    process TEXT COLLATE \"C\" NOT NULL,
    boot TEXT COLLATE \"C\" NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (process, boot)
);
CREATE TABLE runtime (
    scope TEXT COLLATE \"C\" NOT NULL,
    name TEXT COLLATE \"C\" NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, name)
);
CREATE TABLE events (
    id BIGINT PRIMARY KEY,
    at_unix_ms BIGINT NOT NULL,
    type TEXT COLLATE \"C\" NOT NULL,
    tags TEXT NOT NULL,
    value TEXT,
    number DOUBLE PRECISION
);
CREATE INDEX events_by_time ON events (at_unix_ms);
CREATE TABLE event_tags (
    tag TEXT COLLATE \"C\" NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    event BIGINT NOT NULL,
    PRIMARY KEY (tag, at_unix_ms, event)
);
CREATE INDEX event_tags_by_event ON event_tags (event);
";

const GUARDS: &str = "
CREATE FUNCTION changes_are_only_added() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'changes are only added'; END $$;
CREATE TRIGGER changes_are_only_added BEFORE UPDATE OR DELETE ON changes
    FOR EACH ROW EXECUTE FUNCTION changes_are_only_added();
";
