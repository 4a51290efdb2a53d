//! From what users ask of a deployment to the artifacts that follow: the deployment itself with everything written out,
//! and the gateways before its services.
//!
//! Pure: what is stored goes in, writes come out, and the core keeps them in one change. A merge adds to what is there
//! and never takes a share of the traffic from it: a new version of a service that is there comes in at 0 %.

mod apply;
mod gates;
mod gateways;
mod given;
mod hold;
mod kept;
mod merge;
mod outer;
mod paper;
mod promise;
mod remove;
mod resolve;
mod restore;
mod sound;
#[cfg(test)]
mod tests;

use vamp_model::{
    Artifact, Blueprint, Breed, Cluster, Deployment, Gateway, Kind, ScaleUse, Service, Size, SlaUse, unit,
};

use crate::core::WriteRequest;
use crate::plan::Finding;

pub(crate) use apply::left_over;
pub(crate) use gates::names as gateway_names;
pub(crate) use gateways::{check as check_gateways, export};
pub(crate) use hold::{follow, waiting};
pub(crate) use kept::check_kept;
pub(crate) use paper::Writes;
pub(crate) use promise::check_promises;
pub(crate) use resolve::{Index, Values, health_checks};

/// What a service gets whose author names no scale.
pub(crate) const DEFAULT_SIZE: Size = Size { cpu: unit::Cpu(1_000), memory: unit::Memory(1_000_000_000), instances: 1 };

/// What is asked of one deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DeployRequest {
    /// Its name.
    pub deployment: String,
    /// What must be there.
    pub expected: Expected,
    /// What is to happen to it.
    pub action: Action,
}

impl DeployRequest {
    /// Whatever is there.
    pub(crate) fn new(deployment: impl Into<String>, action: Action) -> Self {
        Self { deployment: deployment.into(), expected: Expected::Anything, action }
    }

    /// The blueprint that it deploys as it is written in the same change.
    pub(crate) fn applied(&self) -> Option<&str> {
        match &self.action {
            Action::Apply(applied) => Some(&applied.name),
            _ => None,
        }
    }
}

/// What happens, as the history tells it.
impl std::fmt::Display for DeployRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.deployment;
        match &self.action {
            Action::Merge(blueprint) => write!(f, "blueprint `{}` merged into `{name}`", blueprint.name),
            Action::Apply(blueprint) => write!(f, "blueprint `{}` applied to `{name}`", blueprint.name),
            Action::Remove => write!(f, "`{name}` removed with all its services"),
            Action::RemoveServices(services) => {
                let services: Vec<String> =
                    services.iter().map(|(cluster, service)| format!("{cluster}/{service}")).collect();
                write!(f, "{} removed from `{name}`", services.join(", "))
            }
            Action::Scale { cluster, service, .. } => write!(f, "{cluster}/{service} of `{name}` scaled"),
            Action::Rescale(scales) => {
                let services: Vec<String> =
                    scales.iter().map(|scale| format!("{}/{}", scale.cluster, scale.service)).collect();
                write!(f, "{} of `{name}` scaled", services.join(", "))
            }
            Action::Restore { .. } => write!(f, "an old version of `{name}` restored"),
            Action::Settle => write!(f, "gateways of `{name}` led on"),
            Action::Sla { cluster, sla } => {
                write!(f, "SLA of cluster `{cluster}` of `{name}` {}", if sla.is_some() { "given" } else { "removed" })
            }
        }
    }
}

/// Which deployment a request was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Nothing was said.
    Anything,
    /// None of this name (`If-None-Match: *`).
    Nothing,
    /// The one at this version (`If-Match`).
    Version(u64),
}

/// What is to happen to a deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// The services of a blueprint are added, or replaced where they are there.
    Merge(Box<Blueprint>),
    /// It becomes what a file says that may have been applied before: what it says anew wins, what only was moved since
    /// stays.
    Apply(Box<Blueprint>),
    /// It goes, with all its services and gateways.
    Remove,
    /// These services go: cluster and breed.
    RemoveServices(Vec<(String, String)>),
    /// Another scale for one service.
    Scale {
        /// The cluster.
        cluster: String,
        /// The breed.
        service: String,
        /// The scale.
        scale: ScaleUse,
    },
    /// It is to be as it was in an old version.
    Restore {
        /// That version.
        then: Box<Deployment>,
        /// Its gateways that are not there, as they were last.
        gateways: Vec<Gateway>,
    },
    /// Other scales, each in the place of one that was seen: all of them, or none when one is no longer there.
    Rescale(Vec<Rescale>),
    /// Its gateways follow what is ready.
    Settle,
    /// Another promise of one cluster, or none.
    Sla {
        /// The cluster.
        cluster: String,
        /// The promise.
        sla: Option<SlaUse>,
    },
}

/// The scale of one service that becomes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rescale {
    /// The cluster.
    pub cluster: String,
    /// The breed.
    pub service: String,
    /// The scale that was seen.
    pub from: Size,
    /// The scale.
    pub to: Size,
}

/// What is stored.
pub(crate) trait Known {
    /// One artifact.
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact>;
    /// The names of all gateways.
    fn gateway_names(&self) -> Vec<&str>;
    /// The names of those below the name of a deployment.
    fn gateway_names_of(&self, deployment: &str) -> Vec<&str> {
        let mut names = self.gateway_names();
        names.retain(|name| name.split_once('/').is_some_and(|(first, _)| first == deployment));
        names
    }
}

/// Why nothing follows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// There is no such deployment, cluster or service; in words.
    Missing(String),
    /// What was asked does not fit.
    Findings(Vec<Finding>),
}

/// The writes that follow from what is asked; `before` is what was stored before the change began that this is part of.
pub(crate) fn writes(
    request: &DeployRequest,
    known: &dyn Known,
    before: &dyn Known,
) -> Result<Vec<WriteRequest>, Refusal> {
    let name = &request.deployment;
    match &request.action {
        Action::Merge(blueprint) => merge::merge(name, blueprint, known),
        Action::Apply(blueprint) => apply::apply(name, blueprint, known, before),
        Action::Remove => remove::all(name, known),
        Action::RemoveServices(services) => remove::services(name, services, known),
        Action::Restore { then, gateways } => restore::restore(then, gateways, known),
        Action::Settle => Ok(hold::settle(name, known)),
        Action::Scale { cluster, service, scale } => {
            let size = size(scale, known, name)?;
            let mut deployment = deployment(name, known)?.clone();
            let found = service_mut(&mut deployment, cluster, service)?;
            let from = size_of(found);
            found.scale = Some(ScaleUse::Inline(size));
            given::scaled(&mut deployment, cluster, service, from);
            Ok(vec![WriteRequest::replace(Artifact::Deployment(deployment), None)])
        }
        Action::Rescale(scales) => {
            let mut deployment = deployment(name, known)?.clone();
            for Rescale { cluster, service, from, to } in scales {
                let found = service_mut(&mut deployment, cluster, service)?;
                if size_of(found) != *from {
                    let message = format!("service `{service}` of cluster `{cluster}` has got another scale meanwhile");
                    return Err(Refusal::Missing(message));
                }
                found.scale = Some(ScaleUse::Inline(*to));
                given::scaled(&mut deployment, cluster, service, *from);
            }
            Ok(vec![WriteRequest::replace(Artifact::Deployment(deployment), None)])
        }
        Action::Sla { cluster, sla } => {
            let mut deployment = deployment(name, known)?.clone();
            let faults =
                sla.as_ref().map(|sla| promise::faults(sla, &deployment.body.by_name(), known)).unwrap_or_default();
            if !faults.is_empty() {
                let finding =
                    |fault: promise::Fault| Finding::new(Kind::Deployment, name, "/sla", fault.why, fault.mend);
                return Err(Refusal::Findings(faults.into_iter().map(finding).collect()));
            }
            cluster_mut(&mut deployment, cluster)?.sla.clone_from(sla);
            Ok(vec![WriteRequest::replace(Artifact::Deployment(deployment), None)])
        }
    }
}

fn size(scale: &ScaleUse, known: &dyn Known, deployment: &str) -> Result<Size, Refusal> {
    match scale {
        ScaleUse::Inline(size) => Ok(*size),
        ScaleUse::Stored(name) => match known.artifact(Kind::Scale, name) {
            Some(Artifact::Scale(scale)) => Ok(scale.size),
            _ => Err(Refusal::Findings(vec![Finding::new(
                Kind::Deployment,
                deployment,
                "/scale",
                format!("there is no scale `{name}`"),
                "create it first, or write it out",
            )])),
        },
    }
}

fn deployment<'k>(name: &str, known: &'k dyn Known) -> Result<&'k Deployment, Refusal> {
    match known.artifact(Kind::Deployment, name) {
        Some(Artifact::Deployment(deployment)) => Ok(deployment),
        _ => Err(Refusal::Missing(format!("there is no deployment `{name}`"))),
    }
}

fn cluster_mut<'d>(deployment: &'d mut Deployment, cluster: &str) -> Result<&'d mut Cluster, Refusal> {
    let missing = || Refusal::Missing(format!("deployment `{}` has no cluster `{cluster}`", deployment.name));
    let at = deployment.body.clusters.iter().position(|found| found.name == cluster).ok_or_else(missing)?;
    deployment.body.clusters.get_mut(at).ok_or_else(|| Refusal::Missing(cluster.to_owned()))
}

fn service_mut<'d>(deployment: &'d mut Deployment, cluster: &str, service: &str) -> Result<&'d mut Service, Refusal> {
    let missing = format!("cluster `{cluster}` of deployment `{}` has no service `{service}`", deployment.name);
    let found = cluster_mut(deployment, cluster)?.services.iter_mut().find(|found| found.breed.name() == service);
    found.ok_or(Refusal::Missing(missing))
}

/// The gateway of a port of a cluster.
pub(crate) fn inner_gateway(deployment: &str, cluster: &str, port: &str) -> String {
    format!("{deployment}/{cluster}/{port}")
}

fn gateway<'k>(name: &str, known: &'k dyn Known) -> Option<&'k Gateway> {
    match known.artifact(Kind::Gateway, name)? {
        Artifact::Gateway(gateway) => Some(gateway),
        _ => None,
    }
}

/// The breed of a service of a deployment, which is always written out.
pub(crate) fn breed(service: &Service) -> Option<&Breed> {
    service.breed.inline()
}

/// What a service's size is.
pub(crate) fn size_of(service: &Service) -> Size {
    match &service.scale {
        Some(ScaleUse::Inline(size)) => *size,
        _ => DEFAULT_SIZE,
    }
}

/// Whether a dependency on this name is met by a breed: a `*` at its end stands for anything.
pub(crate) fn meets(wanted: &str, breed: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => breed.starts_with(prefix),
        None => wanted == breed,
    }
}
