//! Why a database did not do it.

use super::Position;

/// Why the database did not do it.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// Another writer was first.
    #[error("the database moved on from change {}: read it again and plan anew", .expected.sequence)]
    Moved {
        /// Where the caller stood.
        expected: Position,
    },
    /// A newer product wrote it.
    #[error(
        "database {address} has schema {found}, this build reads up to {known}: start the newer control plane, or restore a backup of the older schema"
    )]
    NewerSchema {
        /// Where it is.
        address: String,
        /// Its schema.
        found: u64,
        /// The newest that is known.
        known: u64,
    },
    /// The address is none. It is not repeated: it may hold a password.
    #[error("the database's address is refused: {what}")]
    UnknownAddress {
        /// What is wrong with it.
        what: String,
    },
    /// A file that is needed could not be made or read.
    #[error("{path} could not be {}: check that it exists and its permissions", if *.is_database { "prepared for the database" } else { "read" })]
    File {
        /// Which.
        path: String,
        /// It is the database itself.
        is_database: bool,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It did not do what was asked.
    #[error("the database at {address} failed: nothing of the change was kept")]
    Failed {
        /// Where it is.
        address: String,
        /// What it said.
        #[source]
        cause: sqlx::Error,
    },
    /// It does not answer; this heals by itself when it does.
    #[error(
        "the database at {address} does not answer: see that it runs and can be reached; it is tried again by itself"
    )]
    Unreachable {
        /// Where it is.
        address: String,
        /// What was seen of it.
        #[source]
        cause: sqlx::Error,
    },
    /// Its disk is full; this heals by itself when there is room.
    #[error(
        "the database at {address} has no room left, and nothing of the change was kept: make room where it stands; it is tried again by itself"
    )]
    Full {
        /// Where it is.
        address: String,
        /// What it said.
        #[source]
        cause: sqlx::Error,
    },
    /// It went away between the wish to keep a change and the answer.
    #[error(
        "the database at {address} went away while it was to keep a change: read again to see whether it did, before it is sent anew"
    )]
    Uncertain {
        /// Where it is.
        address: String,
        /// What was seen of it.
        #[source]
        cause: sqlx::Error,
    },
    /// What it holds makes no sense.
    #[error("the database at {address} holds {what}: restore a backup")]
    Damaged {
        /// Where it is.
        address: String,
        /// What was read.
        what: String,
    },
}

impl PersistError {
    /// What a product said, as what it means: it is away, or it refuses.
    pub(super) fn of(address: &str, cause: sqlx::Error) -> Self {
        let address = address.to_owned();
        if is_full(&cause) {
            Self::Full { address, cause }
        } else if is_away(&cause) {
            Self::Unreachable { address, cause }
        } else {
            Self::Failed { address, cause }
        }
    }

    /// For clients, who need not know where the database is.
    pub(crate) fn in_short(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "the database does not answer",
            Self::Full { .. } => "the database has no room left, and nothing of the change was kept",
            Self::Uncertain { .. } => "the database went away while it was to keep the change: it may be kept or not",
            _ => "the database failed",
        }
    }

    /// Whether time alone may mend it.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Full { .. } | Self::Uncertain { .. })
    }
}

/// Whether a product has no room on its disk.
fn is_full(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else { return false };
    if let Some(said) = said.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // The disk, or a table.
        return matches!(said.number(), 1021 | 1114);
    }
    if let Some(said) = said.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        return said.code() == "53100";
    }
    // SQLite: the disk, the number of pages, or the log beside the file.
    matches!(said.code().as_deref(), Some("13"))
}

/// Whether a product is not there, or not yet, or has no room: then the same question may be answered later.
fn is_away(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(said) = error else {
        use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        return matches!(error, Io(_) | PoolTimedOut | PoolClosed | WorkerCrashed | Protocol(_) | Tls(_));
    };
    if let Some(said) = said.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>() {
        // Too many connections; going down; read-only while another server takes over; waited too long for a lock, or
        // lost against another; killed.
        return matches!(said.number(), 1040 | 1053 | 1205 | 1213 | 1290 | 1836 | 1927 | 3024);
    }
    if let Some(said) = said.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
        // Connection trouble, operator's intervention (57), no resources (53), locks and lost races, read-only.
        let code = said.code();
        return ["08", "53", "57"].iter().any(|class| code.starts_with(class))
            || matches!(code, "55P03" | "40001" | "40P01" | "25006");
    }
    // SQLite: busy, or locked.
    matches!(said.code().as_deref(), Some("5" | "6" | "261" | "517"))
}
