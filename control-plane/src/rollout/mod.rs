//! Who serves what: the gateway processes that announce themselves in the store, and how far the wanted table has come.
//!
//! What the store said last is kept when it does not answer: an unreachable store makes gateways *unknown*, never *gone*.

use serde::Serialize;
use vamp_routing::wire::{Degradation, Generation, RefusedTable};

use crate::publish::StoreStatus;

/// How far a table has come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rollout {
    /// Revision of the table.
    pub revision: u64,
    /// Gateway processes that serve it, or a newer one.
    pub applied: usize,
    /// Gateway processes that should.
    pub of: usize,
    /// Each of them, sorted by id.
    pub gateways: Vec<GatewayState>,
    /// The store does not answer: gateways are as last known.
    pub unknown: bool,
    /// The table is in the store, where gateways find it.
    pub published: bool,
    /// The store.
    pub store: StoreStatus,
}

impl Rollout {
    /// Every gateway process that should serve the table does.
    pub fn is_complete(&self) -> bool {
        self.published && self.applied == self.of
    }

    /// Those that do not serve the table yet.
    pub fn laggards(&self) -> impl Iterator<Item = &GatewayState> {
        self.gateways.iter().filter(|gateway| !gateway.in_sync)
    }
}

/// One gateway process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GatewayState {
    /// Its id, stable over restarts.
    pub id: String,
    /// Its boot.
    pub boot: String,
    /// Where its admin listener answers.
    pub admin: String,
    /// The product's version.
    pub version: String,
    /// The table that it serves.
    pub applied: Option<Generation>,
    /// It serves the table in question, or a newer one.
    pub in_sync: bool,
    /// What does not work although the table is applied.
    pub problems: Vec<Degradation>,
    /// The newest table that it refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedTable>,
}
