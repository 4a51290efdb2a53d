//! Who serves what: the gateway processes that announce themselves in the store, and how far the wanted table has come.
//!
//! What the store said last is kept when it does not answer: an unreachable store makes gateways *unknown*, never *gone*.

mod fleet;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use vamp_routing::wire::{Degradation, Digest, Generation, RefusedTable};

use crate::core::Shared;
use crate::publish::StoreStatus;

pub(crate) use fleet::{Fleet, Registered, follow};

/// How far a table has come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rollout {
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
    /// Gateway processes that are not registered any more, may serve on, and did not serve it when they were seen last.
    #[serde(skip)]
    pub lost: Vec<String>,
}

impl Rollout {
    /// Every gateway process that should serve the table does.
    pub(crate) fn is_complete(&self) -> bool {
        self.published && self.applied == self.of
    }
}

/// One gateway process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct GatewayState {
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

/// The table in question: which one is asked for, and which one is wanted now.
#[derive(Debug, Clone, Copy)]
struct Question {
    asked: Generation,
    wanted: Generation,
    /// Of the wanted table, when one follows from what is stored.
    digest: Option<Digest>,
}

impl Question {
    fn about(shared: &Shared, asked: Option<Generation>) -> Self {
        let current = shared.current();
        let wanted = current.generation();
        let digest = current.planned.as_ref().ok().map(|planned| planned.table.digest);
        Self { asked: asked.unwrap_or(wanted), wanted, digest }
    }

    /// Whether serving a table answers the question. One that is newer than what is wanted, or other than it says, came
    /// from another control plane. Before the first table there is nothing to serve.
    fn is_answered_by(&self, applied: Option<Generation>, digest: Option<Digest>) -> bool {
        if self.asked.revision == 0 {
            return true;
        }
        let Some(applied) = applied else { return false };
        let is_other =
            applied == self.wanted && digest.is_some_and(|digest| self.digest.is_some_and(|wanted| wanted != digest));
        self.asked <= applied && applied <= self.wanted && !is_other
    }

    fn is_published(&self, store: &StoreStatus) -> bool {
        self.asked.revision == 0 || store.published.is_some_and(|published| published >= self.asked)
    }

    fn state_of(&self, registered: &Registered) -> GatewayState {
        match registered {
            Registered::Readable(registration) => GatewayState {
                id: registration.id.clone(),
                boot: registration.boot.clone(),
                admin: registration.admin.clone(),
                version: registration.version.clone(),
                applied: registration.applied,
                in_sync: self.is_answered_by(registration.applied, registration.digest),
                problems: registration.problems.clone(),
                refused: registration.refused.clone(),
            },
            Registered::Unreadable { id, reason } => GatewayState {
                id: id.clone(),
                boot: String::new(),
                admin: String::new(),
                version: String::new(),
                applied: None,
                in_sync: false,
                problems: vec![Degradation { gateway: None, message: reason.clone() }],
                refused: None,
            },
        }
    }

    fn answer<'f>(
        &self,
        registered: impl Iterator<Item = &'f Registered>,
        unknown: bool,
        store: StoreStatus,
    ) -> Rollout {
        let mut gateways: Vec<GatewayState> = registered.map(|registered| self.state_of(registered)).collect();
        gateways.sort_by(|left, right| left.id.cmp(&right.id));
        Rollout {
            revision: self.asked.revision,
            applied: gateways.iter().filter(|gateway| gateway.in_sync).count(),
            of: gateways.len(),
            gateways,
            unknown,
            published: self.is_published(&store),
            store,
            lost: Vec::new(),
        }
    }
}

/// How far the wanted table has come.
pub(crate) fn now(shared: &Shared) -> Rollout {
    let store = shared.store_status.borrow().clone();
    let fleet = shared.fleet.borrow();
    let question = Question::about(shared, None);
    let lost = fleet.lost().map(|registered| question.state_of(registered)).filter(|state| !state.in_sync);
    let lost = lost.map(|state| state.id).collect();
    Rollout { lost, ..question.answer(fleet.gateways.values(), !fleet.is_current, store) }
}

/// Waits until the table is published, then for the gateway processes that announce themselves at that moment. One that
/// takes its leave meanwhile is no longer waited for.
pub(crate) async fn wait_applied(shared: &Shared, asked: Generation, timeout: Duration) -> Rollout {
    let deadline = Instant::now() + timeout;
    let ask = || Question::about(shared, Some(asked));
    let (mut status, mut fleet) = (shared.store_status.subscribe(), shared.fleet.subscribe());
    let is_published = timeout_at(deadline, status.wait_for(|status| ask().is_published(status))).await.is_ok();
    // Right after a start the gateways are not known yet although the table is there.
    let is_known = timeout_at(deadline, fleet.wait_for(|fleet| fleet.is_current)).await.is_ok();
    let members: BTreeSet<String> = fleet.borrow().gateways.keys().cloned().collect();
    let served = |fleet: &Fleet| {
        let question = ask();
        let mut waited_for = members.iter().filter_map(|key| fleet.gateways.get(key));
        waited_for.all(|registered| question.state_of(registered).in_sync)
    };
    if is_published && is_known {
        // Whether it came to that or the time was over shows in the answer.
        drop(timeout_at(deadline, fleet.wait_for(served)).await);
    }
    let store = status.borrow().clone();
    let fleet = fleet.borrow();
    let waited_for = members.iter().filter_map(|key| fleet.gateways.get(key));
    ask().answer(waited_for, !fleet.is_current, store)
}
