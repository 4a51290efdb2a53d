//! Adds the services of a blueprint to a deployment.

use std::collections::{BTreeMap, BTreeSet};

use vamp_model::{
    Artifact, Blueprint, Breed, BreedUse, Cluster, ClusterVariable, Deployment, Kind, OuterGateway, RoutePath,
    ScaleUse, Service, Topology, step,
};

use super::{Known, Refusal, breed, deployment, gateways, given, meets, promise, resolve};
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
    let attached = expand(&blueprint.body, known, &mut findings);
    if !findings.found.is_empty() {
        return Err(Refusal::Findings(findings.found));
    }
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
    check(&merged, known, &mut findings);
    let mut writes = Vec::new();
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

/// Puts breeds, scales and promises in the place of their names.
fn expand(body: &Topology, known: &dyn Known, findings: &mut Findings<'_>) -> Topology {
    let mut expanded = body.clone();
    for cluster in &mut expanded.clusters {
        let pointer = step("/clusters", &cluster.name);
        for service in &mut cluster.services {
            expand_service(service, &pointer, known, findings);
        }
    }
    expanded
}

fn expand_service(service: &mut Service, pointer: &str, known: &dyn Known, findings: &mut Findings<'_>) {
    if let BreedUse::Stored(name) = &service.breed {
        match known.artifact(Kind::Breed, name) {
            Some(Artifact::Breed(breed)) => service.breed = BreedUse::Inline(Box::new(breed.clone())),
            _ => {
                findings.add(pointer, format!("there is no breed `{name}`"), "create it first, or write it out");
            }
        }
    }
    if let Some(ScaleUse::Stored(name)) = &service.scale {
        match known.artifact(Kind::Scale, name) {
            Some(Artifact::Scale(scale)) => service.scale = Some(ScaleUse::Inline(scale.size)),
            _ => findings.add(pointer, format!("there is no scale `{name}`"), "create it first, or write it out"),
        }
    }
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

/// What must hold of a deployment as a whole.
fn check(deployment: &Deployment, known: &dyn Known, findings: &mut Findings<'_>) {
    let services: Vec<(&Cluster, &Service)> = deployment
        .body
        .clusters
        .iter()
        .flat_map(|cluster| cluster.services.iter().map(move |service| (cluster, service)))
        .collect();
    for cluster in &deployment.body.clusters {
        let faults = cluster.sla.as_ref().map(|sla| promise::faults(sla, &deployment.body, known));
        for (message, hint) in faults.into_iter().flatten() {
            let message = format!("the SLA of cluster `{}`: {message}", cluster.name);
            findings.add(step(&step("/clusters", &cluster.name), "sla"), message, hint);
        }
    }
    let mut seen = BTreeSet::new();
    for (cluster, service) in &services {
        let pointer = step("/clusters", &cluster.name);
        let name = service.breed.name();
        if !seen.insert(name) {
            let message = format!("the deployment would have the breed `{name}` in two clusters");
            findings.add(&pointer, message, "a breed makes one service: give the other one a name of its own");
        }
        let Some(breed) = breed(service) else { continue };
        for (alias, dependency) in &breed.dependencies {
            if !services.iter().any(|(_, other)| meets(dependency.name(), other.breed.name())) {
                let message =
                    format!("breed `{name}` depends on `{}` (as `{alias}`), which is not deployed", dependency.name());
                findings.add(&pointer, message, "add a cluster with it to the blueprint");
            }
        }
        for (why, hint) in resolve::faults(deployment, cluster, service, breed) {
            findings.add(&pointer, format!("service `{name}` of cluster `{}`: {why}", cluster.name), hint);
        }
        for check in super::resolve::health_checks(cluster, service, breed) {
            if let Some(port) = check.port().filter(|port| !breed.ports.iter().any(|known| known.name == *port)) {
                let message = format!("a health check of service `{name}` asks port `{port}`, which it does not have");
                findings.add(&pointer, message, "name one of the breed's ports");
            }
        }
    }
    if let Some(circle) = circle(&services) {
        let message = format!("the services depend on each other in a circle: {}", circle.join(" → "));
        findings.add("/clusters", message, "remove one of these dependencies");
    }
}

/// Breeds that wait for each other, if some do.
fn circle<'d>(services: &[(&'d Cluster, &'d Service)]) -> Option<Vec<&'d str>> {
    let needs: BTreeMap<&str, Vec<&str>> = services
        .iter()
        .filter_map(|(_, service)| Some((service.breed.name(), breed(service)?)))
        .map(|(name, breed): (&str, &Breed)| {
            let met = |(_, dependency): &(String, BreedUse)| {
                let others = services.iter().map(|(_, other)| other.breed.name());
                others.filter(|other| meets(dependency.name(), other)).collect::<Vec<_>>()
            };
            (name, breed.dependencies.iter().flat_map(met).collect())
        })
        .collect();
    let mut sound = BTreeSet::new();
    needs.keys().find_map(|name| walk(name, &needs, &mut Vec::new(), &mut sound))
}

fn walk<'d>(
    name: &'d str,
    needs: &BTreeMap<&'d str, Vec<&'d str>>,
    path: &mut Vec<&'d str>,
    sound: &mut BTreeSet<&'d str>,
) -> Option<Vec<&'d str>> {
    if let Some(at) = path.iter().position(|passed| *passed == name) {
        return Some(path.iter().skip(at).copied().chain([name]).collect());
    }
    if sound.contains(name) {
        return None;
    }
    path.push(name);
    let found = needs.get(name)?.iter().find_map(|next| walk(next, needs, path, sound));
    path.pop();
    sound.insert(name);
    found
}
