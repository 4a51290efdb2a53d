//! The port, kept: each call takes a connection, does its statements, and says what went wrong in our words.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::address::Address;
use super::migrate::migrate;
use super::pools::{Pools, Transaction};
use super::read::PortsRead;
use super::write::Standing;
use super::{
    Aggregator, ArtifactId, Audit, BeginEpoch, Change, Committed, EventQuery, Head, NewEvent, Past, PersistError,
    Persistence, Place, Position, Retention, Snapshot, StateWrite, StoredChange, StoredCounts, StoredEvent, Writing,
};
use super::{audit, events, read, thin, write};

/// LIMIT: how long a call waits for a server that took the connection and says nothing. Long enough for a change of
/// 10,000 artifacts and for an audit of a small history; an audit gets [`AUDIT_TIMEOUT`].
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// LIMIT: a million changes take about a minute.
const AUDIT_TIMEOUT: Duration = Duration::from_mins(10);

/// A database of whichever product.
#[derive(Debug)]
pub(crate) struct Database {
    pub(super) pools: Pools,
    address: String,
    /// What was read of the history for the last snapshot.
    ports: Mutex<PortsRead>,
}

impl Database {
    /// Opens a database by its address, makes it if it is a file that is not there, and brings its schema forward.
    pub(crate) async fn open(address: &str, now_unix_ms: u64) -> Result<Self, PersistError> {
        let address = Address::parse(address)?;
        let pools = Pools::open(&address).await?;
        migrate(&pools, &address, now_unix_ms).await?;
        Ok(Self { pools, address: address.to_string(), ports: Mutex::default() })
    }

    fn failed(&self, cause: sqlx::Error) -> PersistError {
        PersistError::of(&self.address, cause)
    }

    /// A server that went away without a word must not hold its caller for ever.
    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, PersistError>>,
    ) -> Result<T, PersistError> {
        let late = || self.failed(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
    }

    /// Keeps what a transaction did. Where the answer does not come nobody knows whether it is kept.
    async fn keep(&self, transaction: Transaction) -> Result<(), PersistError> {
        let committed = tokio::time::timeout(ANSWER_TIMEOUT, transaction.commit()).await;
        let committed = committed.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        committed.map_err(|cause| match self.failed(cause) {
            PersistError::Unreachable { address, cause } => PersistError::Uncertain { address, cause },
            error => error,
        })
    }
}

/// One statement's worth of reading.
macro_rules! reading {
    ($self:ident, |$session:ident| $read:expr) => {
        $self
            .within(ANSWER_TIMEOUT, async {
                let mut connection = $self.pools.reader().await.map_err(|cause| $self.failed(cause))?;
                let $session = &mut connection.session();
                $read.await.map_err(|cause| $self.failed(cause))
            })
            .await
    };
}

/// A transaction that writes, under the lock of `state`, as `$write` says.
macro_rules! writing {
    ($self:ident, |$session:ident, $position:pat_param, $head:pat_param| $write:expr) => {{
        let work = async {
            let mut transaction = $self.pools.write().await.map_err(|cause| $self.failed(cause))?;
            let written = {
                let $session = &mut transaction.session();
                let ($position, $head) = read::position($session, true).await.map_err(|cause| $self.failed(cause))?;
                $write
            };
            Ok((transaction, written))
        };
        let (transaction, written) = $self.within(ANSWER_TIMEOUT, work).await?;
        $self.keep(transaction).await?;
        Ok(written)
    }};
}

/// Changes in one transaction.
struct Changes<'d> {
    database: &'d Database,
    transaction: Transaction,
    /// Where the history stands after them.
    standing: Standing,
}

#[async_trait::async_trait]
impl Writing for Changes<'_> {
    async fn change(&mut self, change: &Change) -> Result<Committed, PersistError> {
        let Self { database, transaction, standing } = self;
        if standing.position != change.expected {
            return Err(PersistError::Moved { expected: change.expected.clone() });
        }
        let work = async {
            let written = write::change(&mut transaction.session(), standing, change).await;
            written.map_err(|cause| database.failed(cause))
        };
        database.within(ANSWER_TIMEOUT, work).await
    }

    async fn keep(self: Box<Self>) -> Result<(), PersistError> {
        let Self { database, mut transaction, standing } = *self;
        let work = async {
            let moved = write::moved(&mut transaction.session(), &standing).await;
            moved.map_err(|cause| database.failed(cause))
        };
        database.within(ANSWER_TIMEOUT, work).await?;
        database.keep(transaction).await
    }
}

#[async_trait::async_trait]
impl Persistence for Database {
    async fn position(&self) -> Result<Position, PersistError> {
        reading!(self, |session| read::position(session, false)).map(|(position, _)| position)
    }

    async fn snapshot(&self) -> Result<Snapshot, PersistError> {
        let work = async {
            let mut moment = self.pools.moment().await.map_err(|cause| self.failed(cause))?;
            let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let read = read::snapshot(&mut moment.session(), &mut ports).await.map_err(|cause| self.failed(cause))?;
            *self.ports.lock().unwrap_or_else(PoisonError::into_inner) = ports;
            Ok(read)
        };
        self.within(ANSWER_TIMEOUT, work).await
    }

    async fn begin(&self) -> Result<Box<dyn Writing + '_>, PersistError> {
        let work = async {
            let mut transaction = self.pools.write().await.map_err(|cause| self.failed(cause))?;
            let standing = {
                let session = &mut transaction.session();
                let (position, head) = read::position(session, true).await.map_err(|cause| self.failed(cause))?;
                let event = events::newest(session).await.map_err(|cause| self.failed(cause))?;
                Standing { position, head, event }
            };
            Ok(Changes { database: self, transaction, standing })
        };
        Ok(Box::new(self.within(ANSWER_TIMEOUT, work).await?))
    }

    async fn begin_epoch(&self, begin: &BeginEpoch) -> Result<Position, PersistError> {
        writing!(self, |session, position, head| {
            if position != begin.expected || begin.epoch <= position.epoch {
                return Err(PersistError::Moved { expected: begin.expected.clone() });
            }
            write::epoch(session, position, &head, begin).await.map_err(|cause| self.failed(cause))?
        })
    }

    async fn history(&self, id: &ArtifactId) -> Result<Vec<Past>, PersistError> {
        reading!(self, |session| read::history(session, id))
    }

    async fn changes(&self, below: Option<u64>, limit: u32) -> Result<Vec<StoredChange>, PersistError> {
        reading!(self, |session| read::changes(session, below, limit))
    }

    async fn audit(&self, seen: &[Head]) -> Result<Audit, PersistError> {
        let work = async {
            let mut moment = self.pools.moment().await.map_err(|cause| self.failed(cause))?;
            audit::audit(&mut moment.session(), seen).await.map_err(|cause| self.failed(cause))
        };
        self.within(AUDIT_TIMEOUT, work).await
    }

    async fn head(&self) -> Result<Head, PersistError> {
        reading!(self, |session| read::position(session, false)).map(|(_, head)| head)
    }

    async fn states(&self, scope: &str) -> Result<BTreeMap<String, String>, PersistError> {
        reading!(self, |session| read::states(session, scope))
    }

    async fn keep_states(&self, states: &[StateWrite]) -> Result<(), PersistError> {
        writing!(self, |session, _, _| write::states(session, states).await.map_err(|cause| self.failed(cause))?)
    }

    async fn swap_states(&self, expected: Option<&str>, states: &[StateWrite]) -> Result<bool, PersistError> {
        writing!(self, |session, _, _| {
            write::swap_states(session, expected, states).await.map_err(|cause| self.failed(cause))?
        })
    }

    async fn publish(&self, events: &[NewEvent]) -> Result<Vec<u64>, PersistError> {
        writing!(self, |session, _, _| {
            let newest = events::publish(session, events).await.map_err(|cause| self.failed(cause))?;
            let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
            (newest.saturating_sub(count) + 1..=newest).collect()
        })
    }

    async fn tell(&self, events: &[NewEvent], states: &[StateWrite]) -> Result<(), PersistError> {
        writing!(self, |session, _, _| {
            events::publish(session, events).await.map_err(|cause| self.failed(cause))?;
            write::states(session, states).await.map_err(|cause| self.failed(cause))?;
        })
    }

    async fn events(&self, query: &EventQuery) -> Result<Vec<StoredEvent>, PersistError> {
        reading!(self, |session| events::find(session, query))
    }

    async fn aggregate(&self, query: &EventQuery, aggregator: Aggregator) -> Result<Option<f64>, PersistError> {
        reading!(self, |session| events::aggregate(session, query, aggregator))
    }

    async fn newest_event(&self) -> Result<u64, PersistError> {
        reading!(self, |session| events::newest(session))
    }

    async fn retire_events(&self, retention: &Retention, now_unix_ms: u64) -> Result<u64, PersistError> {
        writing!(self, |session, _, _| {
            events::retire(session, retention, now_unix_ms).await.map_err(|cause| self.failed(cause))?
        })
    }

    async fn thin_history(&self, from: Place) -> Result<Option<Place>, PersistError> {
        writing!(self, |session, _, _| thin::go_on(session, from).await.map_err(|cause| self.failed(cause))?)
    }

    async fn keep_counts(&self, counts: &[StoredCounts]) -> Result<(), PersistError> {
        writing!(self, |session, _, _| write::counts(session, counts).await.map_err(|cause| self.failed(cause))?)
    }

    async fn counts(&self) -> Result<Vec<StoredCounts>, PersistError> {
        reading!(self, |session| read::counts(session))
    }

    fn address(&self) -> &str {
        &self.address
    }

    async fn close(&self) {
        self.pools.close().await;
    }
}
