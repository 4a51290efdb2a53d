//! Takes services out of a deployment, or the whole of it.

use std::collections::{BTreeSet, HashSet};

use vamp_model::{Artifact, Deployment, Kind, RoutePath, Topology, step};

use super::resolve::Index;
use super::{Known, Refusal, breed, deployment, gateways, given, sound};
use crate::core::WriteRequest;
use crate::plan::Finding;

/// The deployment with all its gateways.
pub(super) fn all(name: &str, known: &dyn Known) -> Result<Vec<WriteRequest>, Refusal> {
    let found = deployment(name, known)?;
    let mut writes = vec![WriteRequest::delete(Kind::Deployment, name, None)];
    let outer: BTreeSet<String> = found.body.gateways.iter().map(|gateway| format!("{name}/{}", gateway.key)).collect();
    for gateway in known.gateway_names_of(name) {
        let is_inner = gateway.split('/').count() == 3;
        if is_inner || outer.contains(gateway) {
            writes.push(WriteRequest::delete(Kind::Gateway, gateway, None));
        }
    }
    writes.extend(forgotten(found, None, known));
    Ok(writes)
}

/// Some services; who is the last of a cluster takes it along.
pub(super) fn services(
    name: &str,
    services: &[(String, String)],
    known: &dyn Known,
) -> Result<Vec<WriteRequest>, Refusal> {
    let before = deployment(name, known)?;
    let there = services_of(before);
    for (cluster, service) in services {
        if !there.contains(&(cluster.as_str(), service.as_str())) {
            let message = format!("deployment `{name}` has no service `{service}` in a cluster `{cluster}`");
            return Err(Refusal::Missing(message));
        }
    }
    let mut after = before.clone();
    let going: HashSet<(&str, &str)> =
        services.iter().map(|(cluster, service)| (cluster.as_str(), service.as_str())).collect();
    for cluster in &mut after.body.clusters {
        let goes = |service: &str| going.contains(&(cluster.name.as_str(), service));
        cluster.services.retain(|service| !goes(service.breed.name()));
    }
    after.body.clusters.retain(|cluster| !cluster.services.is_empty());
    if after.body.clusters.is_empty() {
        return all(name, known);
    }
    let left: BTreeSet<String> = after.body.clusters.iter().map(|cluster| cluster.name.clone()).collect();
    after.body.environment.retain(|variable| left.contains(&variable.cluster));
    // A gateway that leads nowhere any more goes with what it led to.
    for gateway in &mut after.body.gateways {
        gateway.body.routes.retain(|route| match &route.path {
            RoutePath::Gateway(to) => to.split_once('/').is_none_or(|(cluster, _)| left.contains(cluster)),
            _ => true,
        });
    }
    after.body.gateways.retain(|gateway| !gateway.body.routes.is_empty());
    given::forget(&mut after);
    let mut findings = unmet(&after);
    if findings.is_empty() {
        findings = broken(before, &after, known);
    }
    let mut writes = vec![WriteRequest::replace(Artifact::Deployment(after.clone()), None)];
    match gateways::after_removal(before, &after, known) {
        Ok(gateways) => writes.extend(gateways),
        Err(faults) => findings.extend(
            faults.into_iter().map(|(at, message, hint)| Finding::new(Kind::Deployment, name, at, message, hint)),
        ),
    }
    writes.extend(forgotten(before, Some(&after), known));
    if findings.is_empty() { Ok(writes) } else { Err(Refusal::Findings(findings)) }
}

/// What the services that stay say and could not be kept any more: values and promises that lead to what goes.
fn broken(before: &Deployment, after: &Deployment, known: &dyn Known) -> Vec<Finding> {
    let nothing = Topology::default();
    let faults = |of: &Deployment| sound::faults(of, &nothing, "the deployment", known);
    let were: BTreeSet<String> = faults(before).into_iter().map(|fault| fault.message).collect();
    let new = faults(after).into_iter().filter(|fault| !were.contains(&fault.message));
    let hint = "change that first, remove both, or keep both";
    let finding = |fault: sound::Fault| {
        let message = format!("what stays could not run as it is: {}", fault.message);
        Finding::new(Kind::Deployment, &after.name, fault.pointer, message, hint)
    };
    new.map(finding).collect()
}

/// The services of a deployment by cluster and breed.
fn services_of(deployment: &Deployment) -> HashSet<(&str, &str)> {
    let clusters = deployment.body.clusters.iter();
    let services = clusters
        .flat_map(|cluster| cluster.services.iter().map(|service| (cluster.name.as_str(), service.breed.name())));
    services.collect()
}

/// What is known of the instances of services that went.
fn forgotten(before: &Deployment, after: Option<&Deployment>, known: &dyn Known) -> Vec<WriteRequest> {
    let mut writes = Vec::new();
    let left = after.map(services_of).unwrap_or_default();
    for cluster in &before.body.clusters {
        for service in &cluster.services {
            let name = format!("{}/{}/{}", before.name, cluster.name, service.breed.name());
            let stays = left.contains(&(cluster.name.as_str(), service.breed.name()));
            if !stays && known.artifact(Kind::Instances, &name).is_some() {
                writes.push(WriteRequest::delete(Kind::Instances, &name, None));
            }
        }
    }
    writes
}

/// What the services that stay need and would no longer have.
fn unmet(after: &Deployment) -> Vec<Finding> {
    let mut findings = Vec::new();
    let breeds: Vec<_> = after.body.clusters.iter().flat_map(|cluster| &cluster.services).filter_map(breed).collect();
    let index = Index::of(after);
    for found in &breeds {
        for (alias, dependency) in &found.dependencies {
            if index.depended_on(dependency.name()).is_none() {
                let message =
                    format!("breed `{}` depends on `{}` (as `{alias}`), which would go", found.name, dependency.name());
                let hint = "remove both, or keep both";
                findings.push(Finding::new(Kind::Deployment, &after.name, step("/clusters", ""), message, hint));
            }
        }
    }
    findings
}
