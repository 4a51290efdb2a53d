//! The database as one SQLite file: write-ahead log, synced at every commit, one writer, many readers.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};

use super::schema::MIGRATIONS;
use super::{
    ArtifactId, BeginEpoch, Change, Committed, PersistError, Persistence, Position, Snapshot, Stored, StoredCounts,
    StoredEvent,
};

/// LIMIT: reads at the same time; each holds a file descriptor and a page cache, and a read takes well under a millisecond.
const READERS: u32 = 4;
/// LIMIT: how long a second process (a backup, a shell) may hold the file before a write is given up.
const BUSY: Duration = Duration::from_secs(5);
/// LIMIT: boots of gateway processes whose last counts are kept; the oldest go first.
const KEPT_BOOTS: i64 = 1000;

/// A SQLite file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    pub(super) writer: SqlitePool,
    readers: SqlitePool,
    address: String,
}

impl Sqlite {
    /// Opens `sqlite:PATH`, makes the file (readable by its owner only) if there is none, and brings its schema forward.
    pub(crate) async fn open(address: &str, now_unix_ms: u64) -> Result<Self, PersistError> {
        let path = path_of(address)?;
        prepare_file(&path)?;
        let failed = |cause| PersistError::Failed { address: address.to_owned(), cause };
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .foreign_keys(true)
            .busy_timeout(BUSY)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(failed)?;
        migrate(&writer, address, now_unix_ms).await?;
        let readers =
            SqlitePoolOptions::new().max_connections(READERS).connect_with(options.pragma("query_only", "1")).await;
        Ok(Self { writer, readers: readers.map_err(failed)?, address: address.to_owned() })
    }

    fn failed(&self, cause: sqlx::Error) -> PersistError {
        PersistError::Failed { address: self.address.clone(), cause }
    }
}

fn path_of(address: &str) -> Result<PathBuf, PersistError> {
    match address.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.starts_with(':') => Ok(PathBuf::from(path)),
        _ => Err(PersistError::UnknownAddress { address: address.to_owned() }),
    }
}

/// Makes the file before SQLite does, so that it is never readable by others, not even for a moment.
fn prepare_file(path: &Path) -> Result<(), PersistError> {
    let failed = |cause| PersistError::File { path: path.display().to_string(), cause };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop).map_err(failed)
}

async fn migrate(writer: &SqlitePool, address: &str, now_unix_ms: u64) -> Result<(), PersistError> {
    let failed = |cause| PersistError::Failed { address: address.to_owned(), cause };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    let found: i64 = sqlx::query("PRAGMA user_version")
        .fetch_one(&mut *transaction)
        .await
        .and_then(|row| row.try_get(0))
        .map_err(failed)?;
    if found > known {
        return Err(PersistError::NewerSchema { address: address.to_owned(), found, known });
    }
    for (from, steps) in (0_i64..).zip(MIGRATIONS).filter(|(from, _)| *from >= found) {
        sqlx::raw_sql(steps).execute(&mut *transaction).await.map_err(failed)?;
        if from == 0 {
            sqlx::query("INSERT INTO state (id, epoch, sequence, revision, table_digest) VALUES (1, ?, 0, 0, '')")
                .bind(signed(now_unix_ms))
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
    }
    // PRAGMA takes no parameters; the number is a constant of this build.
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {known}")))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)
}

#[async_trait::async_trait]
impl Persistence for Sqlite {
    async fn position(&self) -> Result<Position, PersistError> {
        let mut reader = self.readers.acquire().await.map_err(|cause| self.failed(cause))?;
        read_position(&mut reader).await.map_err(|cause| self.failed(cause))
    }

    async fn snapshot(&self) -> Result<Snapshot, PersistError> {
        let mut reader = self.readers.begin().await.map_err(|cause| self.failed(cause))?;
        read_snapshot(&mut reader).await.map_err(|cause| self.failed(cause))
    }

    async fn commit(&self, change: &Change) -> Result<Committed, PersistError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|cause| self.failed(cause))?;
        let current = read_position(&mut transaction).await.map_err(|cause| self.failed(cause))?;
        if current != change.expected {
            return Err(PersistError::Moved { expected: change.expected.clone() });
        }
        let committed = write_change(&mut transaction, &current, change).await.map_err(|cause| self.failed(cause))?;
        transaction.commit().await.map_err(|cause| self.failed(cause))?;
        Ok(committed)
    }

    async fn begin_epoch(&self, begin: &BeginEpoch) -> Result<Position, PersistError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|cause| self.failed(cause))?;
        let current = read_position(&mut transaction).await.map_err(|cause| self.failed(cause))?;
        if current != begin.expected || begin.epoch <= current.epoch {
            return Err(PersistError::Moved { expected: begin.expected.clone() });
        }
        let position = write_epoch(&mut transaction, current, begin).await.map_err(|cause| self.failed(cause))?;
        transaction.commit().await.map_err(|cause| self.failed(cause))?;
        Ok(position)
    }

    async fn history(&self, id: &ArtifactId) -> Result<Vec<Stored>, PersistError> {
        let rows = sqlx::query(
            "SELECT name, version, document, at_unix_ms, sequence FROM versions WHERE kind = ? AND name = ? ORDER BY version",
        )
        .bind(id.kind)
        .bind(&id.name)
        .fetch_all(&self.readers)
        .await
        .map_err(|cause| self.failed(cause))?;
        rows.iter().map(|row| read_stored(row, 0)).collect::<Result<_, _>>().map_err(|cause| self.failed(cause))
    }

    async fn events(&self, limit: u32) -> Result<Vec<StoredEvent>, PersistError> {
        let rows =
            sqlx::query("SELECT sequence, at_unix_ms, cause, revision FROM events ORDER BY sequence DESC LIMIT ?")
                .bind(limit)
                .fetch_all(&self.readers)
                .await
                .map_err(|cause| self.failed(cause))?;
        rows.iter().map(read_event).collect::<Result<_, _>>().map_err(|cause| self.failed(cause))
    }

    async fn keep_counts(&self, counts: &[StoredCounts]) -> Result<(), PersistError> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(|cause| self.failed(cause))?;
        write_counts(&mut transaction, counts).await.map_err(|cause| self.failed(cause))?;
        transaction.commit().await.map_err(|cause| self.failed(cause))
    }

    async fn counts(&self) -> Result<Vec<StoredCounts>, PersistError> {
        let rows = sqlx::query("SELECT process, boot, at_unix_ms, body FROM counts ORDER BY at_unix_ms, process, boot")
            .fetch_all(&self.readers)
            .await
            .map_err(|cause| self.failed(cause))?;
        rows.iter().map(read_counts).collect::<Result<_, _>>().map_err(|cause| self.failed(cause))
    }

    fn address(&self) -> &str {
        &self.address
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

async fn read_position(connection: &mut SqliteConnection) -> Result<Position, sqlx::Error> {
    let row = sqlx::query("SELECT epoch, sequence, revision, table_digest FROM state").fetch_one(connection).await?;
    Ok(Position {
        epoch: unsigned(&row, 0)?,
        sequence: unsigned(&row, 1)?,
        revision: unsigned(&row, 2)?,
        table: row.try_get(3)?,
    })
}

async fn read_snapshot(connection: &mut SqliteConnection) -> Result<Snapshot, sqlx::Error> {
    let position = read_position(connection).await?;
    let rows = sqlx::query(
        "SELECT kind, name, version, document, at_unix_ms, sequence FROM artifacts JOIN versions USING (kind, name, version)",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut artifacts: BTreeMap<String, BTreeMap<String, Stored>> = BTreeMap::new();
    for row in &rows {
        let stored = read_stored(row, 1)?;
        artifacts.entry(row.try_get(0)?).or_default().insert(stored.name.clone(), stored);
    }
    let rows = sqlx::query("SELECT gateway, port FROM ports").fetch_all(connection).await?;
    let ports = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    Ok(Snapshot { position, artifacts, ports })
}

async fn write_change(
    connection: &mut SqliteConnection,
    current: &Position,
    change: &Change,
) -> Result<Committed, sqlx::Error> {
    let sequence = current.sequence + 1;
    write_event(connection, sequence, change.at_unix_ms, &change.cause, change.revision).await?;
    let mut versions = Vec::with_capacity(change.writes.len());
    for write in &change.writes {
        versions
            .push(write_artifact(connection, &write.id, write.document.as_deref(), sequence, change.at_unix_ms).await?);
    }
    write_ports(connection, &change.ports).await?;
    sqlx::query("UPDATE state SET sequence = ?, revision = ?, table_digest = ?")
        .bind(signed(sequence))
        .bind(signed(change.revision))
        .bind(&change.table)
        .execute(connection)
        .await?;
    let position = Position { epoch: current.epoch, sequence, revision: change.revision, table: change.table.clone() };
    Ok(Committed { position, versions })
}

async fn write_epoch(
    connection: &mut SqliteConnection,
    current: Position,
    begin: &BeginEpoch,
) -> Result<Position, sqlx::Error> {
    let sequence = current.sequence + 1;
    write_event(connection, sequence, begin.at_unix_ms, &begin.cause, current.revision).await?;
    sqlx::query("UPDATE state SET sequence = ?, epoch = ?")
        .bind(signed(sequence))
        .bind(signed(begin.epoch))
        .execute(connection)
        .await?;
    Ok(Position { epoch: begin.epoch, sequence, ..current })
}

async fn write_event(
    connection: &mut SqliteConnection,
    sequence: u64,
    at_unix_ms: u64,
    cause: &str,
    revision: u64,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO events (sequence, at_unix_ms, cause, revision) VALUES (?, ?, ?, ?)")
        .bind(signed(sequence))
        .bind(signed(at_unix_ms))
        .bind(cause)
        .bind(signed(revision))
        .execute(connection)
        .await
        .map(drop)
}

async fn write_artifact(
    connection: &mut SqliteConnection,
    id: &ArtifactId,
    document: Option<&str>,
    sequence: u64,
    at_unix_ms: u64,
) -> Result<u64, sqlx::Error> {
    // Deleted artifacts go on counting when they come back: an ETag never names two contents.
    let version: i64 = sqlx::query("SELECT COALESCE(MAX(version), 0) + 1 FROM versions WHERE kind = ? AND name = ?")
        .bind(id.kind)
        .bind(&id.name)
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    sqlx::query("INSERT INTO versions (kind, name, version, document, at_unix_ms, sequence) VALUES (?, ?, ?, ?, ?, ?)")
        .bind(id.kind)
        .bind(&id.name)
        .bind(version)
        .bind(document)
        .bind(signed(at_unix_ms))
        .bind(signed(sequence))
        .execute(&mut *connection)
        .await?;
    let point = if document.is_some() {
        sqlx::query("INSERT INTO artifacts (version, kind, name) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version")
            .bind(version)
    } else {
        sqlx::query("DELETE FROM artifacts WHERE kind = ? AND name = ?")
    };
    point.bind(id.kind).bind(&id.name).execute(connection).await?;
    Ok(u64::try_from(version).unwrap_or_default())
}

/// Writes only what differs: a change of one gateway among thousands touches one row.
async fn write_ports(connection: &mut SqliteConnection, wanted: &BTreeMap<String, u16>) -> Result<(), sqlx::Error> {
    let rows = sqlx::query("SELECT gateway, port FROM ports").fetch_all(&mut *connection).await?;
    let current: BTreeMap<String, u16> =
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, sqlx::Error>>()?;
    // All that go or change leave first, so that two gateways may change places.
    for (gateway, _) in current.iter().filter(|(gateway, port)| wanted.get(*gateway) != Some(port)) {
        sqlx::query("DELETE FROM ports WHERE gateway = ?").bind(gateway).execute(&mut *connection).await?;
    }
    for (gateway, port) in wanted.iter().filter(|(gateway, port)| current.get(*gateway) != Some(port)) {
        sqlx::query("INSERT INTO ports (gateway, port) VALUES (?, ?)")
            .bind(gateway)
            .bind(port)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn write_counts(connection: &mut SqliteConnection, counts: &[StoredCounts]) -> Result<(), sqlx::Error> {
    for count in counts {
        sqlx::query(
            "INSERT INTO counts (process, boot, at_unix_ms, body) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET at_unix_ms = excluded.at_unix_ms, body = excluded.body",
        )
        .bind(&count.id)
        .bind(&count.boot)
        .bind(signed(count.at_unix_ms))
        .bind(&count.body)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query(
        "DELETE FROM counts WHERE (process, boot) NOT IN
         (SELECT process, boot FROM counts ORDER BY at_unix_ms DESC LIMIT ?)",
    )
    .bind(KEPT_BOOTS)
    .execute(connection)
    .await?;
    Ok(())
}

fn read_stored(row: &SqliteRow, from: usize) -> Result<Stored, sqlx::Error> {
    Ok(Stored {
        name: row.try_get(from)?,
        version: unsigned(row, from + 1)?,
        document: row.try_get(from + 2)?,
        at_unix_ms: unsigned(row, from + 3)?,
        sequence: unsigned(row, from + 4)?,
    })
}

fn read_event(row: &SqliteRow) -> Result<StoredEvent, sqlx::Error> {
    Ok(StoredEvent {
        sequence: unsigned(row, 0)?,
        at_unix_ms: unsigned(row, 1)?,
        cause: row.try_get(2)?,
        revision: unsigned(row, 3)?,
    })
}

fn read_counts(row: &SqliteRow) -> Result<StoredCounts, sqlx::Error> {
    Ok(StoredCounts {
        id: row.try_get(0)?,
        boot: row.try_get(1)?,
        at_unix_ms: unsigned(row, 2)?,
        body: row.try_get(3)?,
    })
}

/// SQLite has signed numbers only; ours never come near the sign.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(row: &SqliteRow, column: usize) -> Result<u64, sqlx::Error> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|cause| sqlx::Error::Decode(cause.into()))
}
