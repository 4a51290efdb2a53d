//! What is said of a blueprint when it is kept: all that a deployment of nothing but it would refuse.
//!
//! What it names may be stored later, and is not told. What it leaves to a deployment that runs, a value, a service or
//! the rest of the weights, may be there when it is merged into that, and is warned of.

use vamp_model::{Artifact, Blueprint, Deployment, Kind, Topology};

use super::sound::{self, Cure, Fault};
use super::{Known, breed, gateways, merge};
use crate::plan::{Finding, Warning};

/// LIMIT: what one warning tells; who has more mends these first.
const TOLD_MAX: usize = 10;

/// What is wrong with a blueprint, and what is to be known of it.
pub(crate) fn check_kept(blueprint: &Blueprint, known: &dyn Known) -> (Vec<Finding>, Option<Warning>) {
    let name = &blueprint.name;
    let alone = Deployment {
        name: name.clone(),
        metadata: blueprint.metadata.clone(),
        body: merge::expand(&blueprint.body, known),
    };
    let mut faults = sound::faults(&alone, &alone.body, &format!("blueprint `{name}`"), known);
    faults.extend(faults_of_weights(&alone, known));
    let (mut findings, mut lacks) = (Vec::new(), Vec::new());
    for Fault { pointer, message, hint, cure } in faults {
        match cure {
            Cure::Artifact => {}
            // Who writes a breed into the blueprint, and not what it depends on, forgot that, as in the original.
            Cure::Service if is_only_named(&blueprint.body, &pointer) => lacks.push(message),
            Cure::Value => lacks.push(message),
            Cure::None | Cure::Service => findings.push(Finding::new(Kind::Blueprint, name, pointer, message, hint)),
        }
    }
    let warning = (!lacks.is_empty()).then(|| {
        let more = lacks.len().saturating_sub(TOLD_MAX);
        lacks.truncate(TOLD_MAX);
        if more > 0 {
            lacks.push(format!("and {more} more"));
        }
        let told = lacks.join("; ");
        let message = format!(
            "blueprint `{name}` can't be deployed by itself, only be merged into a deployment that has what it lacks: {told}"
        );
        Warning { gateway: None, message }
    });
    (findings, warning)
}

/// Whether the service of this place names its breed.
fn is_only_named(body: &Topology, pointer: &str) -> bool {
    let mut services = body.clusters.iter().flat_map(|cluster| {
        let at = vamp_model::step("/clusters", &cluster.name);
        cluster.services.iter().enumerate().map(move |(index, service)| (format!("{at}/services/{index}/"), service))
    });
    services.any(|(at, service)| pointer.starts_with(&at) && service.breed.inline().is_none())
}

/// Gateways whose weights don't add up. Those of a cluster may be the part of its services that are here.
fn faults_of_weights(alone: &Deployment, known: &dyn Known) -> Vec<Fault> {
    let mut alone = alone.clone();
    // The services of one that is not known may or may not have the port.
    alone.body.clusters.retain(|cluster| cluster.services.iter().all(|service| breed(service).is_some()));
    let body = alone.body.clone();
    let made = gateways::after_merge(&alone, None, &body, &WithoutGateways(known));
    let faults = made.err().into_iter().flatten().map(|(pointer, message, hint)| {
        let cure = if pointer.starts_with("/clusters") { Cure::Value } else { Cure::None };
        Fault { pointer, message, hint, cure }
    });
    faults.collect()
}

/// What is stored, as if nothing ran.
struct WithoutGateways<'k>(&'k dyn Known);

impl Known for WithoutGateways<'_> {
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        if kind == Kind::Gateway { None } else { self.0.artifact(kind, name) }
    }

    fn gateway_names(&self) -> Vec<&str> {
        Vec::new()
    }
}
