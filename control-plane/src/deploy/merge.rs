//! Adds the services of a blueprint to a deployment.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use vamp_model::{
    Artifact, Blueprint, BreedUse, Cluster, ClusterVariable, Deployment, Kind, OuterGateway, RoutePath, ScaleUse,
    Service, Topology,
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
    let formers = stable.map(|stable| gateways::outer_by_key(&stable.body)).unwrap_or_default();
    let written: HashSet<&str> = gateways.iter().map(|write| write.name.as_str()).collect();
    for gateway in &mut merged.body.gateways {
        let former = formers.get(gateway.key.as_str()).copied();
        let name = format!("{}/{}", merged.name, gateway.key);
        let is_same = |former: &&OuterGateway| {
            former.protocol == gateway.protocol && paths(former) == paths(gateway) && !written.contains(name.as_str())
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
    unite_parts(
        &mut united.clusters,
        &attached.clusters,
        |cluster| cluster.name.clone(),
        unite_cluster,
        |cluster| Cluster { gateways: Vec::new(), ..cluster.clone() },
    );
    let key = |gateway: &OuterGateway| gateway.key.clone();
    unite_parts(&mut united.gateways, &attached.gateways, key, OuterGateway::clone_from, OuterGateway::clone);
    let key = |variable: &ClusterVariable| (variable.cluster.clone(), variable.name.clone());
    unite_parts(
        &mut united.environment,
        &attached.environment,
        key,
        ClusterVariable::clone_from,
        ClusterVariable::clone,
    );
    united.dialects.extend(attached.dialects.clone());
    united
}

/// Adds parts to those that are there, in which they are looked for by a key.
fn unite_parts<T, K: Eq + Hash>(
    there: &mut Vec<T>,
    attached: &[T],
    key: impl Fn(&T) -> K,
    unite: impl Fn(&mut T, &T),
    add: impl Fn(&T) -> T,
) {
    let mut places: HashMap<K, usize> = HashMap::new();
    for (at, part) in there.iter().enumerate() {
        places.entry(key(part)).or_insert(at);
    }
    for part in attached {
        let at = *places.entry(key(part)).or_insert(there.len());
        match there.get_mut(at) {
            Some(found) => unite(found, part),
            None => there.push(add(part)),
        }
    }
}

fn unite_cluster(stable: &mut Cluster, attached: &Cluster) {
    let key = |service: &Service| service.breed.name().to_owned();
    unite_parts(&mut stable.services, &attached.services, key, unite_service, Service::clone);
    stable.metadata.extend(attached.metadata.clone());
    stable.dialects.extend(attached.dialects.clone());
    stable.health_checks = attached.health_checks.clone().or(stable.health_checks.take());
    stable.network = attached.network.clone().or(stable.network.take());
    stable.sla = attached.sla.clone().or(stable.sla.take());
}

fn unite_service(stable: &mut Service, attached: &Service) {
    let former = std::mem::replace(stable, attached.clone());
    // What the blueprint says nothing about stays.
    stable.scale = stable.scale.take().or(former.scale);
    stable.network = stable.network.take().or(former.network);
    if stable.arguments.is_empty() {
        stable.arguments = former.arguments;
    }
}
