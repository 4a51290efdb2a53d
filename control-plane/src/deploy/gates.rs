//! The gateways that a deployment has, and the services behind them, to be looked up by name.

use std::collections::{HashMap, HashSet};

use vamp_model::{Cluster, Deployment, Protocol, Service};

use super::{breed, inner_gateway};

/// The ports of the services of a cluster.
#[derive(Debug, Default)]
pub(super) struct Ports<'c> {
    /// In order.
    names: Vec<&'c str>,
    behind: HashMap<&'c str, (Protocol, Vec<&'c Service>)>,
}

impl<'c> Ports<'c> {
    pub(super) fn of(cluster: &'c Cluster) -> Self {
        let mut ports = Self::default();
        for (service, breed) in cluster.services.iter().filter_map(|service| Some((service, breed(service)?))) {
            for port in &breed.ports {
                let (_, services) = ports.behind.entry(&port.name).or_insert_with(|| {
                    ports.names.push(&port.name);
                    (port.protocol, Vec::new())
                });
                services.push(service);
            }
        }
        ports
    }

    /// Their names, in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &'c str> + '_ {
        self.names.iter().copied()
    }

    pub(super) fn has(&self, port: &str) -> bool {
        self.behind.contains_key(port)
    }

    /// The services that have a port.
    pub(super) fn services(&self, port: &str) -> &[&'c Service] {
        self.behind.get(port).map(|(_, services)| services.as_slice()).unwrap_or_default()
    }

    /// Whether a port carries connections rather than HTTP, by the first breed that has it.
    pub(super) fn carries_tcp(&self, port: &str) -> bool {
        self.behind.get(port).is_some_and(|(protocol, _)| *protocol == Protocol::Tcp)
    }
}

/// The gateways of a deployment: one before each port of each cluster, and those by which clients come in.
#[derive(Debug)]
pub(super) struct Gates<'d> {
    pub(super) deployment: &'d str,
    outer: HashSet<&'d str>,
    clusters: HashMap<&'d str, Ports<'d>>,
}

impl<'d> Gates<'d> {
    pub(super) fn of(deployment: &'d Deployment) -> Self {
        let clusters = deployment.body.clusters.iter().rev();
        Self {
            deployment: &deployment.name,
            outer: deployment.body.gateways.iter().map(|gateway| gateway.key.as_str()).collect(),
            clusters: clusters.map(|cluster| (cluster.name.as_str(), Ports::of(cluster))).collect(),
        }
    }

    /// The ports of a cluster that is there.
    pub(super) fn ports(&self, cluster: &str) -> Option<&Ports<'d>> {
        self.clusters.get(cluster)
    }

    /// Whether the deployment stands behind a gateway of this name.
    pub(super) fn owns(&self, name: &str) -> bool {
        let segments: Vec<&str> = name.split('/').collect();
        match segments.as_slice() {
            [first, key] => *first == self.deployment && self.outer.contains(key),
            [first, cluster, port] => {
                *first == self.deployment && self.ports(cluster).is_some_and(|ports| ports.has(port))
            }
            _ => false,
        }
    }

    /// Where the routes of the gateway of a port of a cluster lead, one for each service.
    pub(super) fn paths(&self, cluster: &str, port: &str) -> HashSet<String> {
        let services = self.ports(cluster).map(|ports| ports.services(port)).unwrap_or_default();
        services.iter().map(|service| service_path(self.deployment, cluster, service.breed.name(), port)).collect()
    }
}

/// Where a route to a service of a cluster leads.
pub(super) fn service_path(deployment: &str, cluster: &str, service: &str, port: &str) -> String {
    format!("{deployment}/{cluster}/{service}/{port}")
}

/// The names of all gateways of a deployment.
pub(crate) fn names(of: &Deployment) -> Vec<String> {
    let clusters = of.body.clusters.iter();
    let inner = clusters.flat_map(|cluster| {
        let ports = Ports::of(cluster);
        ports.names().map(|port| inner_gateway(&of.name, &cluster.name, port)).collect::<Vec<_>>()
    });
    inner.chain(of.body.gateways.iter().map(|gateway| format!("{}/{}", of.name, gateway.key))).collect()
}
