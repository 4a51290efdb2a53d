//! Connections to whichever product: opened by the address, given out as [`Session`]s.

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::mysql::{MySql, MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use super::PersistError;
use super::address::{Address, PASSWORD_VARIABLE, Server};
use super::session::Session;

/// LIMIT: reads of a file at the same time; each holds a file descriptor and a page cache, and a read takes well under a
/// millisecond.
const READERS: u32 = 4;
/// LIMIT: how long a second process (a backup, a shell) may hold the file before a write is given up.
const BUSY: Duration = Duration::from_secs(5);
/// LIMIT: connections to a server; writes take turns anyway, and servers often allow a hundred over all their clients.
const CONNECTIONS: u32 = 8;
/// LIMIT: how long a request waits for a connection to a server that is away before it is told so.
const ACQUIRE: Duration = Duration::from_secs(3);

/// Which product keeps the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Sqlite,
    /// MariaDB too.
    MySql,
    Postgres,
}

/// Connections to one database.
#[derive(Debug)]
pub(super) enum Pools {
    /// One writer: what takes turns in the file takes turns before it, in order.
    Sqlite {
        writer: SqlitePool,
        readers: SqlitePool,
    },
    MySql(MySqlPool),
    Postgres(PgPool),
}

/// A connection that is used for one statement.
pub(super) enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    MySql(PoolConnection<MySql>),
    Postgres(PoolConnection<Postgres>),
}

impl Connection {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(connection) => Session::Sqlite(connection),
            Self::MySql(connection) => Session::MySql(connection),
            Self::Postgres(connection) => Session::Postgres(connection),
        }
    }
}

/// A connection that sees one moment, or that does all or nothing. Dropped, it undoes what it did.
pub(super) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    MySql(sqlx::Transaction<'static, MySql>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(super) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(transaction) => Session::Sqlite(transaction),
            Self::MySql(transaction) => Session::MySql(transaction),
            Self::Postgres(transaction) => Session::Postgres(transaction),
        }
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::MySql(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}

impl Pools {
    /// Connects. A file is made (readable by its owner only) if there is none.
    pub(super) async fn open(address: &Address) -> Result<Self, PersistError> {
        let failed = |cause| PersistError::of(&address.to_string(), cause);
        match address {
            Address::Sqlite(path) => {
                prepare_file(path)?;
                open_file(path).await.map_err(failed)
            }
            Address::MySql(server) => {
                let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE);
                pool.connect_with(mysql_options(server)?).await.map(Self::MySql).map_err(failed)
            }
            Address::Postgres(server) => {
                let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(ACQUIRE);
                pool.connect_with(postgres_options(server)?).await.map(Self::Postgres).map_err(failed)
            }
        }
    }

    pub(super) fn product(&self) -> Product {
        match self {
            Self::Sqlite { .. } => Product::Sqlite,
            Self::MySql(_) => Product::MySql,
            Self::Postgres(_) => Product::Postgres,
        }
    }

    /// For one statement that reads.
    pub(super) async fn reader(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Connection::Sqlite(readers.acquire().await?),
            Self::MySql(pool) => Connection::MySql(pool.acquire().await?),
            Self::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        })
    }

    /// For several statements that read one moment.
    pub(super) async fn moment(&self) -> Result<Transaction, sqlx::Error> {
        Ok(match self {
            Self::Sqlite { readers, .. } => Transaction::Sqlite(readers.begin().await?),
            Self::MySql(pool) => {
                Transaction::MySql(pool.begin_with("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY").await?)
            }
            Self::Postgres(pool) => {
                Transaction::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?)
            }
        })
    }

    /// For a write. Who reads the row of `state` locked first is the only writer until its end.
    pub(super) async fn write(&self) -> Result<Transaction, sqlx::Error> {
        Ok(match self {
            Self::Sqlite { writer, .. } => Transaction::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
            Self::MySql(pool) => Transaction::MySql(pool.begin_with("START TRANSACTION").await?),
            Self::Postgres(pool) => {
                Transaction::Postgres(pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED").await?)
            }
        })
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers } => {
                readers.close().await;
                writer.close().await;
            }
            Self::MySql(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

async fn open_file(path: &Path) -> Result<Pools, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let writer = pool(1).connect_with(options.clone()).await?;
    let readers = pool(READERS).connect_with(options.pragma("query_only", "1")).await?;
    Ok(Pools::Sqlite { writer, readers })
}

/// A connection that is given back while it takes itself for one in a transaction is not used again. SQLite itself ends a
/// transaction when the disk is full or fails, so that it can't be undone once more, and nothing could be begun after it.
fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).after_release(|connection, _| {
        Box::pin(async move {
            // What was sent before is done then.
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
}

/// Makes the file before SQLite does, so that it is never readable by others, not even for a moment.
fn prepare_file(path: &Path) -> Result<(), PersistError> {
    let failed = |cause| PersistError::File { path: path.display().to_string(), is_database: true, cause };
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop).map_err(failed)
}

/// From the file that the address names, or from the environment.
fn password(server: &Server) -> Result<Option<String>, PersistError> {
    let Some(path) = &server.password_file else { return Ok(std::env::var(PASSWORD_VARIABLE).ok()) };
    let text = std::fs::read_to_string(path).map_err(|cause| PersistError::File {
        path: path.display().to_string(),
        is_database: false,
        cause,
    })?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn mysql_options(server: &Server) -> Result<MySqlConnectOptions, PersistError> {
    let mode = if server.has_tls { MySqlSslMode::VerifyIdentity } else { MySqlSslMode::Disabled };
    let mut options =
        MySqlConnectOptions::new().host(&server.host).username(&server.user).database(&server.database).ssl_mode(mode);
    if let Some(password) = password(server)? {
        options = options.password(&password);
    }
    if let Some(port) = server.port {
        options = options.port(port);
    }
    if let Some(socket) = &server.socket {
        options = options.socket(socket);
    }
    if let Some(ca) = &server.ca {
        options = options.ssl_ca(ca);
    }
    if let Some((cert, key)) = &server.identity {
        options = options.ssl_client_cert(cert).ssl_client_key(key);
    }
    Ok(options)
}

fn postgres_options(server: &Server) -> Result<PgConnectOptions, PersistError> {
    let mode = if server.has_tls { PgSslMode::VerifyFull } else { PgSslMode::Disable };
    // A writer whose machine vanished must not keep the others waiting for ever.
    let bounds = [("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "15s")];
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .username(&server.user)
        .database(&server.database)
        .application_name("vamp")
        .options(bounds)
        .ssl_mode(mode);
    if let Some(password) = password(server)? {
        options = options.password(&password);
    }
    if let Some(port) = server.port {
        options = options.port(port);
    }
    if let Some(socket) = &server.socket {
        options = options.socket(socket);
    }
    if let Some(ca) = &server.ca {
        options = options.ssl_root_cert(ca);
    }
    if let Some((cert, key)) = &server.identity {
        options = options.ssl_client_cert(cert).ssl_client_key(key);
    }
    Ok(options)
}
