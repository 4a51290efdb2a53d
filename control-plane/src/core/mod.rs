//! The half of the control plane without HTTP: one way for every change, and the state that the API shows.
//!
//! A change reads what is stored, applies the writes, plans the table, compiles it as the gateways will, and keeps
//! everything in one transaction; then it wakes the publisher, which brings the table into the store. Writers take
//! turns; a writer of another process that was faster makes the change be planned anew.

mod request;

use std::sync::Arc;
use std::time::Duration;

use vamp_model::Kind;
use vamp_routing::wire::Generation;
use vamp_routing::{Explanation, PlainHead};
use vamp_store::SharedStore;

use crate::persist::{PersistError, Persistence, Position, Snapshot, Stored, StoredEvent};
use crate::plan::{PlanSettings, Warning};
use crate::publish::StoreStatus;
use crate::rollout::Rollout;
use crate::split::{AskError, AskSettings, Split, SplitError};

pub use request::{ChangeError, ChangeRequest, Changed, InUse, Mode, Outcome, WriteRequest};

/// Settings of the core.
#[derive(Debug, Clone)]
pub struct CoreSettings {
    /// The namespace below the store's prefix.
    pub namespace: String,
    /// What the planner needs to know.
    pub plan: PlanSettings,
    /// How gateways are asked for their counts.
    pub ask: AskSettings,
}

/// Why the core does not start.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The database can't be read.
    #[error("the control plane can't read its database")]
    Persist(#[from] PersistError),
    /// The gateways can't be asked with these settings.
    #[error("the control plane can't ask gateways for their counts")]
    Ask(#[from] AskError),
}

/// What the core knows of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Where the database stands.
    pub position: Position,
    /// Where the database is, without credentials.
    pub database: String,
    /// The store.
    pub store: StoreStatus,
    /// What is wrong with what is stored: why no table follows from it.
    pub problems: Vec<String>,
    /// What works, but most likely not as meant.
    pub warnings: Vec<Warning>,
}

/// The version of an artifact that is to become the newest again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequest {
    /// Kind of the artifact.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The version whose content is wanted.
    pub version: u64,
    /// The version that must be there now (`If-Match`); `None`: any.
    pub expected: Option<u64>,
    /// Everything is checked, nothing is kept.
    pub validate_only: bool,
    /// What happened, for the event, in words.
    pub cause: String,
}

/// The half of the control plane without HTTP.
#[derive(Debug)]
pub struct Core {}

/// The core's work in the background; ends when it is dropped.
#[derive(Debug)]
pub struct Tasks {}

impl Tasks {
    /// Ends the work in the background and waits until it has ended.
    pub async fn stop(self) {
        todo!()
    }
}

#[expect(clippy::unused_async, reason = "signatures first")]
impl Core {
    /// Reads the database and starts the work in the background. A store that does not answer does not stop it.
    pub async fn start(
        _persistence: Arc<dyn Persistence>,
        _store: SharedStore,
        _settings: CoreSettings,
    ) -> Result<(Arc<Self>, Tasks), CoreError> {
        todo!()
    }

    /// Makes a change: all of it, or nothing.
    pub async fn change(&self, _request: ChangeRequest) -> Result<Changed, ChangeError> {
        todo!()
    }

    /// Makes an old version of an artifact the newest again, by a new change.
    pub async fn restore(&self, _request: RestoreRequest) -> Result<Changed, ChangeError> {
        todo!()
    }

    /// Everything that is stored, at this moment.
    pub async fn snapshot(&self) -> Result<Arc<Snapshot>, PersistError> {
        todo!()
    }

    /// All versions of one artifact, oldest first; empty when it never was.
    pub async fn history(&self, _kind: Kind, _name: &str) -> Result<Vec<Stored>, PersistError> {
        todo!()
    }

    /// The newest events, newest first.
    pub async fn events(&self, _limit: u32) -> Result<Vec<StoredEvent>, PersistError> {
        todo!()
    }

    /// How far the wanted table has come.
    pub fn rollout(&self) -> Rollout {
        todo!()
    }

    /// Waits until the table is published and every gateway process that announced itself at that moment serves it, or
    /// until the time is over.
    pub async fn wait_applied(&self, _generation: Generation, _timeout: Duration) -> Rollout {
        todo!()
    }

    /// Wanted and delivered shares of a gateway, asked of all gateway processes now.
    pub async fn split(&self, _gateway: &str) -> Result<Split, SplitError> {
        todo!()
    }

    /// What the gateway would decide about such a request, and why. No ticket is taken: where one decides, it is the
    /// first of a new account.
    pub async fn explain(&self, _gateway: &str, _head: &PlainHead) -> Result<Explanation, SplitError> {
        todo!()
    }

    /// What the core knows of itself.
    pub fn status(&self) -> Status {
        todo!()
    }
}
