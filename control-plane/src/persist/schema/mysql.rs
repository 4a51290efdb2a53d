//! The schemas of MySQL and MariaDB, which begin with schema 2.
//!
//! They can't undo the making of a table, so each statement may be repeated. Names are bytes: no collation makes two of
//! them equal. No trigger guards the changes, since making one needs a right of administrators where the server keeps a
//! binary log: what is changed by hand is found by its hash.

use super::Migration;

pub(super) const MIGRATIONS: [Migration; 1] = [Migration { to: 2, steps: FIRST, afterwards: "" }];

const FIRST: &str = "
CREATE TABLE IF NOT EXISTS state (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    epoch BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    table_digest VARCHAR(128) NOT NULL,
    head VARCHAR(128) NOT NULL,
    event BIGINT NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS changes (
    sequence BIGINT PRIMARY KEY,
    at_unix_ms BIGINT NOT NULL,
    cause TEXT NOT NULL,
    who TEXT NOT NULL,
    why TEXT NOT NULL,
    revision BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    table_digest VARCHAR(128) NOT NULL,
    ports LONGTEXT NOT NULL,
    hash VARCHAR(128) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS versions (
    kind VARBINARY(128) NOT NULL,
    name VARBINARY(640) NOT NULL,
    version BIGINT NOT NULL,
    document LONGTEXT,
    at_unix_ms BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    digest VARCHAR(128) NOT NULL,
    PRIMARY KEY (kind, name, version),
    FOREIGN KEY (sequence) REFERENCES changes (sequence),
    KEY versions_by_change (sequence)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS artifacts (
    kind VARBINARY(128) NOT NULL,
    name VARBINARY(640) NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (kind, name),
    FOREIGN KEY (kind, name, version) REFERENCES versions (kind, name, version)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS ports (
    gateway VARBINARY(640) PRIMARY KEY,
    port BIGINT NOT NULL UNIQUE CHECK (port BETWEEN 1 AND 65535)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS counts (
    process VARBINARY(128) NOT NULL,
    boot VARBINARY(128) NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    body LONGTEXT NOT NULL,
    PRIMARY KEY (process, boot)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS runtime (
    scope VARBINARY(128) NOT NULL,
    name VARBINARY(640) NOT NULL,
    value LONGTEXT NOT NULL,
    PRIMARY KEY (scope, name)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS events (
    id BIGINT PRIMARY KEY,
    at_unix_ms BIGINT NOT NULL,
    type VARBINARY(128) NOT NULL,
    tags LONGTEXT NOT NULL,
    value LONGTEXT,
    number DOUBLE,
    KEY events_by_time (at_unix_ms)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
CREATE TABLE IF NOT EXISTS event_tags (
    tag VARBINARY(640) NOT NULL,
    at_unix_ms BIGINT NOT NULL,
    event BIGINT NOT NULL,
    PRIMARY KEY (tag, at_unix_ms, event),
    KEY event_tags_by_event (event)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4;
";
