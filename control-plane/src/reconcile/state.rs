//! How far each service has come, as the API tells it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::machine::ServiceName;

/// All services, by name.
pub(crate) type States = BTreeMap<ServiceName, ServiceState>;

/// How far a service has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ServiceState {
    /// Its cluster.
    pub cluster: String,
    /// Its breed.
    pub service: String,
    /// Whether it is to be there.
    pub intention: Intention,
    /// How far that is.
    pub phase: Phase,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Since when, RFC 3339.
    pub since: String,
    /// Instances that are wanted.
    pub wanted: u32,
    /// Instances of the wanted order that can take requests.
    pub ready: u32,
    /// All that are there, sorted by name.
    pub instances: Vec<InstanceState>,
    /// The last change that was known when it was looked at.
    #[serde(skip)]
    pub seen_change: u64,
}

/// Whether a service is to be there, in the words of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Intention {
    /// It is.
    Deployment,
    /// It is on its way out.
    Undeployment,
}

/// How far a service has come, in the words of the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Nothing of it is there yet.
    Initiated,
    /// Something of it is.
    Updating,
    /// All of it is as it is wanted.
    Done,
    /// Something does not work; it is tried again.
    Failed,
    /// Its platform does not answer.
    Unknown,
}

/// What an instance does, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is on its way.
    #[default]
    Coming,
    /// It runs, well or not.
    Running,
    /// It ended, and may be started again.
    Ended,
}

/// One instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct InstanceState {
    /// Its name.
    pub name: String,
    /// What it does, in words.
    pub state: String,
    /// The same in one word.
    #[serde(skip)]
    pub stage: Stage,
    /// It can take requests.
    pub ready: bool,
    /// Gateways send it requests.
    pub routed: bool,
    /// `host:port` by the breed's port.
    pub ports: BTreeMap<String, String>,
    /// How often it ended and was started again.
    pub restarts: u32,
    /// Parts of its order that its platform does not keep, each with the reason and the mend.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether its checks say that it is well; `None`: nothing is known.
    #[serde(skip)]
    pub healthy: Option<bool>,
}
