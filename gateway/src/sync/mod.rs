//! Brings the newest table from the store into service: follows it, reads what is new of it, applies it, keeps it on
//! disk, and tells the control plane under a lease what is served here.
//!
//! [`machine`] decides, [`run()`] does what it asks for. The store may be slow, away, or put back to an old copy, and
//! the disk may be full: the last good table stays in service, and each of it is reported.

pub(crate) mod backoff;
mod keep;
mod lanes;
mod machine;
mod run;
mod status;
mod stock;

use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::watch;
use vamp_routing::CompiledTable;
use vamp_routing::wire::{Degradation, Generation, Manifest};
use vamp_store::SharedStore;

use crate::plane::DataPlane;

pub(crate) use run::run;
pub(crate) use status::{SyncState, SyncStatus};
pub(crate) use stock::Stock;

/// What puts tables into service.
#[async_trait::async_trait]
pub(crate) trait Serve: Send + Sync {
    /// Compiles a table beside the one in service, taking over what has not changed; why it is refused, in words. It is
    /// called where it may take its time.
    fn compile(&self, manifest: &Manifest, stock: &Stock) -> Result<CompiledTable, String>;
    /// Puts a table into service, and says what does not work about it; [`Serve::degradations`] then holds the same.
    async fn apply(&self, table: CompiledTable) -> Vec<Degradation>;
    /// What does not work about the table in service, as it comes and goes.
    fn degradations(&self) -> watch::Receiver<Vec<Degradation>>;
}

#[async_trait::async_trait]
impl Serve for DataPlane {
    fn compile(&self, manifest: &Manifest, stock: &Stock) -> Result<CompiledTable, String> {
        stock.compile(manifest, &self.serving().table)
    }

    async fn apply(&self, table: CompiledTable) -> Vec<Degradation> {
        self.apply(table).await
    }

    fn degradations(&self) -> watch::Receiver<Vec<Degradation>> {
        self.degradations()
    }
}

/// What the synchronisation is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Course {
    /// Keep the newest table in service.
    #[default]
    Follow,
    /// Leave table, files and registration as they are; the lease is kept alive. [`SyncSettings::held`] says when nothing
    /// of it is under way any more.
    Hold,
    /// End, and leave the lease to its time: another process of the same id registers under its own.
    HandOver,
    /// End, and give the lease back.
    Leave,
}

/// What a process has while it leaves everything as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// The table that is served.
    pub(crate) generation: Option<Generation>,
    /// It, as the files in the data directory have it. `None` with a generation: it could not be had.
    pub(crate) table: Option<Bytes>,
}

/// Whose tables are followed, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct SyncSettings {
    /// Where tables come from.
    pub store: SharedStore,
    /// Whose tables they are.
    pub namespace: String,
    /// This gateway process, stable over restarts.
    pub gateway_id: String,
    /// Drawn at each start.
    pub boot: String,
    /// Where the admin listener answers, `http://host:port`.
    pub admin_url: String,
    /// Where the last good tables are kept.
    pub data_dir: PathBuf,
    /// The product's version.
    pub version: String,
    /// The table of the process before, for one that takes over; it goes before those on disk.
    pub inherited: Option<Bytes>,
    /// Told what there is while [`Course::Hold`] holds.
    pub held: watch::Sender<Option<Held>>,
}
