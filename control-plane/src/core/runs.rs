//! Who says what can be run here. What takes a look at the world is looked up outside the turn of who writes: a file
//! system that does not answer holds up whoever deploys what stands there, and no other change.

use std::collections::BTreeMap;

use vamp_model::Deployment;

use crate::plan::{Finding, Warning};
use crate::platform::InstanceSpec;

/// An order of which nobody has looked up whether it can be run.
#[derive(Debug, Clone)]
pub(crate) struct Unseen {
    /// Which.
    pub key: OrderKey,
    /// What its platform would run.
    pub spec: InstanceSpec,
}

/// Tells orders apart by what is looked up of them: the type of their deployables, and a digest of what is run. What it is
/// told is left out: it may be the port of a gateway, which others move as long as the gateway is not made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OrderKey {
    /// The type of its deployable.
    pub kind: String,
    /// A digest of what is run, without its variables.
    pub digest: String,
}

/// What speaks against an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Objection {
    /// What is wrong.
    pub what: String,
    /// The mend.
    pub mend: &'static str,
    /// It may be right all the same, or soon.
    pub may_be: bool,
}

/// What was found about orders; `None`: nothing speaks against it.
pub(crate) type Found = BTreeMap<OrderKey, Option<Objection>>;

/// What can be said of a deployment.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// What can't be run.
    pub findings: Vec<Finding>,
    /// What most likely can't.
    pub warnings: Vec<Warning>,
    /// What is to be looked up before the rest can be said.
    pub unseen: Vec<Unseen>,
}

/// Who says what can be run here.
#[async_trait::async_trait]
pub(crate) trait Runs: Send + Sync + std::fmt::Debug {
    /// What can be said of what is new in a deployment, by what was found; gateways have these ports. Looks at nothing.
    fn judge(
        &self,
        before: Option<&Deployment>,
        after: &Deployment,
        ports: &BTreeMap<String, u16>,
        found: &Found,
    ) -> Judgement;
    /// Looks all of these up, in bounded time.
    async fn look_up(&self, unseen: Vec<Unseen>) -> Found;
}
