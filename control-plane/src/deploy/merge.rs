//! Adds the services of a blueprint to a deployment.

use vamp_model::{
    Artifact, Blueprint, BreedUse, Cluster, ClusterVariable, Deployment, Kind, OuterGateway, RoutePath, ScaleUse,
    Topology,
};

use super::sound::{self, Fault};
use super::{Known, Refusal, deployment, gateways, given};
use crate::core::WriteRequest;
use crate::plan::Finding;

/// What a merge finds wrong, told of the blueprint.
struct Findings<'b> {
    blueprint: &'b str,
    found: Vec<Finding>,
}

impl Findings<'_> {
    fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Finding::new(Kind::Blueprint, self.blueprint, pointer, message, hint));
    }
}

pub(super) fn merge(name: &str, blueprint: &Blueprint, known: &dyn Known) -> Result<Vec<WriteRequest>, Refusal> {
    let stable = deployment(name, known).ok();
    let mut findings = Findings { blueprint: &blueprint.name, found: Vec::new() };
    let attached = expand(&blueprint.body, known);
    let mut merged = Deployment {
        name: name.to_owned(),
        metadata: {
            let mut metadata = stable.map(|stable| stable.metadata.clone()).unwrap_or_default();
            metadata.extend(blueprint.metadata.clone());
            metadata
        },
        body: unite(stable.map(|stable| &stable.body), &attached),
    };
    given::merged(&mut merged, stable, &attached, &blueprint.metadata);
    for Fault { pointer, message, hint, .. } in sound::faults(&merged, &attached, "the deployment", known) {
        findings.add(pointer, message, hint);
    }
    let mut writes = Vec::new();
    if !sound::is_known(&merged) {
        return Err(Refusal::Findings(findings.found));
    }
    match gateways::after_merge(&merged, stable, &attached, known) {
        Ok(gateways) => {
            keep_words(&mut merged, stable, &gateways);
            writes.push(WriteRequest::replace(Artifact::Deployment(merged), None));
            writes.extend(gateways);
        }
        Err(faults) => {
            for (pointer, message, hint) in faults {
                findings.add(pointer, message, hint);
            }
        }
    }
    if findings.found.is_empty() { Ok(writes) } else { Err(Refusal::Findings(findings.found)) }
}

/// What is said of a gateway in other words, and changes nothing of it, stays as it was said.
fn keep_words(merged: &mut Deployment, stable: Option<&Deployment>, gateways: &[WriteRequest]) {
    let paths = |gateway: &OuterGateway| -> Vec<RoutePath> {
        gateway.body.routes.iter().map(|route| route.path.clone()).collect()
    };
    for gateway in &mut merged.body.gateways {
        let former = stable.and_then(|stable| stable.body.gateways.iter().find(|former| former.key == gateway.key));
        let name = format!("{}/{}", merged.name, gateway.key);
        let is_same = |former: &&OuterGateway| {
            former.protocol == gateway.protocol
                && paths(former) == paths(gateway)
                && !gateways.iter().any(|write| write.name == name)
        };
        if let Some(former) = former.filter(is_same) {
            *gateway = former.clone();
        }
    }
}

/// Puts breeds and scales in the place of their names, as far as they are there.
pub(super) fn expand(body: &Topology, known: &dyn Known) -> Topology {
    let mut expanded = body.clone();
    for service in expanded.clusters.iter_mut().flat_map(|cluster| &mut cluster.services) {
        if let BreedUse::Stored(name) = &service.breed
            && let Some(Artifact::Breed(breed)) = known.artifact(Kind::Breed, name)
        {
            service.breed = BreedUse::Inline(Box::new(breed.clone()));
        }
        if let Some(ScaleUse::Stored(name)) = &service.scale
            && let Some(Artifact::Scale(scale)) = known.artifact(Kind::Scale, name)
        {
            service.scale = Some(ScaleUse::Inline(scale.size));
        }
    }
    expanded
}

/// What is there with what is added: the order of what is there stays, and what is not named is not touched.
pub(super) fn unite(stable: Option<&Topology>, attached: &Topology) -> Topology {
    let mut united = stable.cloned().unwrap_or_default();
    for cluster in &attached.clusters {
        match united.clusters.iter_mut().find(|found| found.name == cluster.name) {
            Some(found) => unite_cluster(found, cluster),
            None => united.clusters.push(Cluster { gateways: Vec::new(), ..cluster.clone() }),
        }
    }
    for gateway in &attached.gateways {
        match united.gateways.iter_mut().find(|found| found.key == gateway.key) {
            Some(found) => *found = gateway.clone(),
            None => united.gateways.push(gateway.clone()),
        }
    }
    for variable in &attached.environment {
        let same = |found: &&mut ClusterVariable| found.cluster == variable.cluster && found.name == variable.name;
        match united.environment.iter_mut().find(same) {
            Some(found) => found.value.clone_from(&variable.value),
            None => united.environment.push(variable.clone()),
        }
    }
    united.dialects.extend(attached.dialects.clone());
    united
}

fn unite_cluster(stable: &mut Cluster, attached: &Cluster) {
    for service in &attached.services {
        match stable.services.iter_mut().find(|found| found.breed.name() == service.breed.name()) {
            Some(found) => {
                let former = std::mem::replace(found, service.clone());
                // What the blueprint says nothing about stays.
                found.scale = found.scale.take().or(former.scale);
                found.network = found.network.take().or(former.network);
                if found.arguments.is_empty() {
                    found.arguments = former.arguments;
                }
            }
            None => stable.services.push(service.clone()),
        }
    }
    stable.metadata.extend(attached.metadata.clone());
    stable.dialects.extend(attached.dialects.clone());
    stable.health_checks = attached.health_checks.clone().or(stable.health_checks.take());
    stable.network = attached.network.clone().or(stable.network.take());
    stable.sla = attached.sla.clone().or(stable.sla.take());
}
