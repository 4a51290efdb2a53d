//! What of a topology only shows when all its parts are seen together.
//!
//! A breed that is not written out may have anything: nothing is said of what depends on its content.

use std::collections::{HashMap, HashSet};

use vamp_routing::wire::Share;

use super::{Cluster, ClusterVariable, OuterGateway, Topology};
use crate::breed::Offers;
use crate::decode::VIOLATIONS_MAX;
use crate::near::listed;
use crate::path::RoutePath;
use crate::value;
use crate::violation::{Violation, step};

/// What is wrong with a part.
struct Fault {
    /// Where it stands below the part.
    below: String,
    why: String,
    hint: String,
}

impl Fault {
    fn new(below: &str, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { below: below.to_owned(), why: why.into(), hint: hint.into() }
    }
}

impl Topology {
    /// Everything that only shows now, told of `owner`.
    pub(crate) fn faults(&self, owner: &str) -> Vec<Violation> {
        let mut faults = self.structure_faults(owner);
        faults.extend(self.value_faults(owner));
        faults
    }

    /// Parts that don't fit each other, told of `owner`, but for what values refer to.
    pub fn structure_faults(&self, owner: &str) -> Vec<Violation> {
        let known = Parts::of(self);
        let mut faults = Vec::new();
        let mut breeds = HashSet::new();
        for cluster in &self.clusters {
            let pointer = step("/clusters", &cluster.name);
            for (index, service) in cluster.services.iter().enumerate() {
                let breed = service.breed.name();
                if !service.breed.is_unreadable() && !breeds.insert(breed) {
                    let message = format!("{owner} has the breed `{breed}` in two services");
                    let hint = "a breed makes one service: give the other one a name of its own";
                    faults.push(Violation::new(format!("{pointer}/services/{index}/breed"), message, hint));
                }
            }
            for Fault { below, why, hint } in faults_of_cluster(cluster) {
                let message = format!("cluster `{}` of {owner}: {why}", cluster.name);
                faults.push(Violation::new(format!("{pointer}{below}"), message, hint));
            }
            if is_full(&mut faults) {
                return faults;
            }
        }
        let mut ports = HashSet::new();
        for gateway in &self.gateways {
            let pointer = step("/gateways", &gateway.key);
            if gateway.port.is_some_and(|port| !ports.insert(port)) {
                let message = format!("{owner} has two gateways on port {}", gateway.port.unwrap_or_default());
                faults.push(Violation::new(pointer.clone(), message, "give one of them another port"));
            }
            for Fault { below, why, hint } in known.faults_of_outer(gateway) {
                let message = format!("gateway `{}` of {owner}: {why}", gateway.key);
                faults.push(Violation::new(format!("{pointer}{below}"), message, hint));
            }
            if is_full(&mut faults) {
                return faults;
            }
        }
        for variable in &self.environment {
            if let Err((why, hint)) = known.knows_variable(&variable.cluster, &variable.name) {
                let message = format!("{owner} sets the variable `{}`: {why}", variable.full_name());
                faults.push(Violation::new(variable.pointer(), message, hint));
            }
            if is_full(&mut faults) {
                return faults;
            }
        }
        faults
    }

    /// Values that refer to what is not there. What they refer to in breeds is not looked at.
    fn value_faults(&self, owner: &str) -> Vec<Violation> {
        let known = Parts::of(self);
        let mut faults = Vec::new();
        for cluster in &self.clusters {
            let pointer = step("/clusters", &cluster.name);
            let services = cluster.services.iter().enumerate();
            let values = services.flat_map(|(index, service)| {
                let pointer = format!("{pointer}/services/{index}/environment_variables");
                service.environment.iter().map(move |(variable, value)| (step(&pointer, variable), value))
            });
            for (pointer, value) in values {
                faults.extend(known.faults_of_value(value).into_iter().map(|(why, hint)| {
                    Violation::new(pointer.clone(), format!("cluster `{}` of {owner}: {why}", cluster.name), hint)
                }));
                if is_full(&mut faults) {
                    return faults;
                }
            }
        }
        for variable in &self.environment {
            for (why, hint) in known.faults_of_value(&variable.value) {
                let message = format!("variable `{}` of {owner}: {why}", variable.full_name());
                faults.push(Violation::new(variable.pointer(), message, hint));
            }
            if is_full(&mut faults) {
                return faults;
            }
        }
        faults
    }
}

/// Whether as many faults are known as are told; what follows is not looked at then.
fn is_full<F>(faults: &mut Vec<F>) -> bool {
    faults.truncate(VIOLATIONS_MAX);
    faults.len() == VIOLATIONS_MAX
}

/// The clusters of a topology by name, with what their breeds have: each of many parts looks there.
struct Parts<'t> {
    topology: &'t Topology,
    clusters: HashMap<&'t str, Part<'t>>,
}

struct Part<'t> {
    cluster: &'t Cluster,
    /// What its breeds have, when all of them are written out.
    offers: Option<Offers<'t>>,
}

impl<'t> Part<'t> {
    fn of(cluster: &'t Cluster) -> Self {
        let breeds = cluster.services.iter().map(|service| service.breed.inline()).collect::<Option<Vec<_>>>();
        Self { cluster, offers: breeds.map(Offers::of) }
    }
}

impl<'t> Parts<'t> {
    fn of(topology: &'t Topology) -> Self {
        let clusters = topology.by_name().into_iter().map(|(name, cluster)| (name, Part::of(cluster)));
        Self { topology, clusters: clusters.collect() }
    }

    fn faults_of_outer(&self, gateway: &OuterGateway) -> Vec<Fault> {
        let mut faults = Vec::new();
        for route in &gateway.body.routes {
            if is_full(&mut faults) {
                return faults;
            }
            let below = step("/routes", &route.path.to_string());
            let target = match &route.path {
                RoutePath::Gateway(path) => path.split_once('/').filter(|(_, port)| !port.contains('/')),
                _ => None,
            };
            let Some((cluster, port)) = target else {
                let message = format!("the route `{}` leads to no cluster", route.path);
                faults.push(Fault::new(&below, message, "write CLUSTER/PORT, such as web/http"));
                continue;
            };
            let Some(found) = self.clusters.get(cluster) else {
                let (why, hint) = self.no_cluster(cluster);
                faults.push(Fault::new(&below, why, hint));
                continue;
            };
            if found.offers.as_ref().is_some_and(|offers| !offers.has_port(port)) {
                let message = format!("cluster `{cluster}` has no port `{port}`");
                let ports = found.cluster.known_ports().unwrap_or_default();
                faults.push(Fault::new(&below, message, format!("it has {}", listed(&ports))));
            }
        }
        faults
    }

    fn no_cluster(&self, name: &str) -> (String, String) {
        let names: Vec<&str> = self.topology.clusters.iter().map(|cluster| cluster.name.as_str()).collect();
        (format!("there is no cluster `{name}`"), format!("it has {}", listed(&names)))
    }

    fn knows_variable(&self, cluster: &str, name: &str) -> Result<(), (String, String)> {
        let Some(found) = self.clusters.get(cluster) else { return Err(self.no_cluster(cluster)) };
        if found.offers.as_ref().is_none_or(|offers| offers.has_variable(name)) {
            return Ok(());
        }
        Err((format!("no breed of cluster `{cluster}` reads it"), "declare it in the breed, or remove it".to_owned()))
    }

    /// References of a value lead to clusters that are here, and to what their breeds have.
    fn faults_of_value(&self, text: &str) -> Vec<(String, String)> {
        let references = value::references(text).into_iter();
        let faults = references.filter_map(|reference| {
            let name = reference.cluster()?;
            let Some(found) = self.clusters.get(name) else {
                return Some((format!("`{reference}` names no cluster"), self.no_cluster(name).1));
            };
            if found.offers.as_ref()?.has(&reference) {
                return None;
            }
            let (why, hint) = found.cluster.services.first()?.breed.inline()?.lacks(&reference)?;
            Some((format!("`{reference}`: {why}"), hint))
        });
        faults.take(VIOLATIONS_MAX).collect()
    }
}

fn faults_of_cluster(cluster: &Cluster) -> Vec<Fault> {
    let mut faults = Vec::new();
    if cluster.services.is_empty() {
        faults.push(Fault::new("/services", "it has no service", "add `services: [BREED]`"));
    }
    let part = Part::of(cluster);
    let offers = part.offers.filter(|_| !cluster.services.is_empty());
    let services = cluster.by_breed();
    let may_have_any_service = cluster.services.iter().any(|service| service.breed.is_unreadable());
    for (port, gateway) in &cluster.gateways {
        let below = step("/gateways", port);
        if offers.as_ref().is_some_and(|offers| !offers.has_port(port)) {
            let why = format!("it has a gateway for port `{port}`, which none of its services has");
            let ports = cluster.known_ports().unwrap_or_default();
            faults.push(Fault::new(&below, why, format!("its services have {}", listed(&ports))));
        }
        for route in &gateway.routes {
            if is_full(&mut faults) {
                return faults;
            }
            let below = step(&format!("{below}/routes"), &route.path.to_string());
            let RoutePath::Gateway(service) = &route.path else {
                let why = format!("the route `{}` leads to no service", route.path);
                faults.push(Fault::new(&below, why, "name the breed of one of its services"));
                continue;
            };
            if !services.contains_key(service.as_str()) && !may_have_any_service {
                let names: Vec<&str> = cluster.services.iter().map(|service| service.breed.name()).collect();
                let why = format!("the route `{service}` names none of its services");
                faults.push(Fault::new(&below, why, format!("it has {}", listed(&names))));
            }
        }
        let given = gateway.routes.iter().filter_map(|route| route.content.weight());
        let sum: u64 = given.map(|share| u64::from(share.0)).sum();
        if sum > u64::from(Share::WHOLE.0) {
            let message =
                format!("the weights of the gateway of port `{port}` add up to {}", crate::percent::format_sum(sum));
            let hint = "make them 100% or less; what is left goes to the others";
            faults.push(Fault::new(&format!("{below}/routes"), message, hint));
        }
        if is_full(&mut faults) {
            return faults;
        }
    }
    for (index, service) in cluster.services.iter().enumerate() {
        let Some(breed) = service.breed.inline().filter(|_| !service.environment.is_empty()) else { continue };
        let offers = Offers::of([breed]);
        for (variable, _) in service.environment.iter().filter(|(variable, _)| !offers.has_variable(variable)) {
            let below = step(&format!("/services/{index}/environment_variables"), variable);
            let names: Vec<&str> = breed.environment.iter().map(|known| known.name.as_str()).collect();
            let message = format!("breed `{}` has no variable `{variable}`", breed.name);
            faults.push(Fault::new(&below, message, format!("it has {}", listed(&names))));
            if is_full(&mut faults) {
                return faults;
            }
        }
    }
    faults
}

impl ClusterVariable {
    /// As documents write it.
    pub(super) fn full_name(&self) -> String {
        format!("{}.environment_variables.{}", self.cluster, self.name)
    }

    fn pointer(&self) -> String {
        step("/environment_variables", &self.full_name())
    }
}
