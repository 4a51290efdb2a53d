//! Where instances of services run, behind one port: [`Platform`]. One driver per product, one conformance suite that all
//! of them pass (`tests/tests/platforms`).
//!
//! Level-triggered: [`Platform::list`] is the whole picture, and hints carry nothing but "look again". A platform that
//! can't be asked makes its instances *unknown* ([`PlatformError::Unreachable`]), never gone. What is started runs on,
//! and is started again when it ends, while nobody watches: a control plane that restarts finds its instances by their
//! names and labels.

pub mod docker;
mod error;
pub mod health;
mod instance;
mod ports;
pub mod process;
mod spec;
mod turns;

pub use error::PlatformError;
pub use instance::{Exit, Instance, LogLine, LogOutput, LogQuery, LogStream, Outcome, State, Usage};
pub use spec::{
    Deployable, Environment, HostPort, InstanceId, InstanceSpec, Labels, PortSpec, Reach, Restart, SpecError,
};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// What instances use, or why that is not known of one.
pub type Usages = BTreeMap<InstanceId, Result<Usage, PlatformError>>;

/// LIMIT: what a stopped instance gets to end by itself, at most.
pub const GRACE_MAX: Duration = Duration::from_mins(10);

/// What a platform is, and what it keeps of what it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The driver: `process` or `docker`.
    pub driver: &'static str,
    /// Version of the product behind it.
    pub version: String,
    /// Where it is, without credentials.
    pub address: String,
    /// How it keeps [`InstanceSpec::memory_bytes`], in words.
    pub memory: &'static str,
    /// How it keeps [`InstanceSpec::cpu_milli`], in words.
    pub cpu: &'static str,
}

/// The contract of a platform. One object serves one namespace; instances of others are neither seen nor touched.
#[async_trait::async_trait]
pub trait Platform: Send + Sync + std::fmt::Debug {
    /// Makes sure that this instance exists and was started: starting the same id twice, at once too, never makes two.
    /// One that was stopped is started again; one that has done its work ([`Restart::Never`]) is left alone.
    ///
    /// May take minutes while an image is fetched; [`Platform::list`] shows the progress as [`State::Preparing`].
    async fn ensure(&self, spec: &InstanceSpec) -> Result<(), PlatformError>;
    /// Whether an order could be carried out, as far as that is known without doing anything for it. Answers in bounded
    /// time, if need be that nothing is known ([`PlatformError::Unseen`]).
    async fn check(&self, _spec: &InstanceSpec) -> Result<(), PlatformError> {
        Ok(())
    }
    /// Asks it to end, ends it by force after `grace`, and keeps what it logged. One that has ended already, or is not
    /// there, is no error.
    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), PlatformError>;
    /// Stops it and removes everything of it. One that is not there is no error.
    async fn remove(&self, id: &InstanceId, grace: Duration) -> Result<(), PlatformError>;
    /// All instances that carry these labels, sorted by id. An empty answer means that there are none.
    async fn list(&self, labels: &Labels) -> Result<Vec<Instance>, PlatformError>;
    /// What it wrote, oldest first.
    async fn logs(&self, id: &InstanceId, query: LogQuery) -> Result<LogStream, PlatformError>;
    /// Runs a command beside it, with its environment, and waits for the end at most this long.
    async fn run(&self, id: &InstanceId, command: &[String], patience: Duration) -> Result<Outcome, PlatformError>;
    /// Changes its value whenever it is worth to look again; may also do so without reason, and may miss a change.
    fn hints(&self) -> watch::Receiver<u64>;
    /// What each of these instances uses; those that do not run are left out. One that can't be asked hides no other. Who
    /// asks about many asks seldom: each may cost a question of its own.
    async fn usage(&self, of: &BTreeSet<InstanceId>) -> Result<Usages, PlatformError>;
    /// What this platform is.
    async fn info(&self) -> Result<Info, PlatformError>;
}

/// A platform that many parts of a program share.
pub type SharedPlatform = Arc<dyn Platform>;
