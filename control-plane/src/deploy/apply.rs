//! Brings a deployment to what a file says that may have been applied before.
//!
//! Three are compared: the file, the blueprint as it was stored until now, and what runs. What the file says wins, and
//! what it said before and says no longer goes, services excepted. Scales and gateways are moved while services run, by
//! people and by promises: of these only what the file changed counts, so that applying it once more takes back no
//! canary that went on, and no instance that the load needed.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Map, Value};
use vamp_model::{
    Artifact, Blueprint, Cluster, ClusterVariable, Deployment, Gateway, GatewayRoute, InnerGateway, Kind, OuterGateway,
    RouteBody, RoutePath, RouteUse, ScaleUse, Service, Size, Topology, weights,
};
use vamp_routing::wire::Share;

use super::gates::service_path;
use super::gateways::{outer_by_key, settled, weight};
use super::outer::{said_weight, says_nothing, with_weight};
use super::paper::Paper;
use super::{Known, Refusal, gateway, inner_gateway, merge};
use crate::core::WriteRequest;

pub(super) fn apply(
    name: &str,
    file: &Blueprint,
    known: &dyn Known,
    before: &dyn Known,
) -> Result<Vec<WriteRequest>, Refusal> {
    let Ok(running) = super::deployment(name, known) else { return merge::merge(name, file, known) };
    let former = match before.artifact(Kind::Blueprint, &file.name) {
        Some(Artifact::Blueprint(former)) => former.clone(),
        _ => Blueprint { name: file.name.clone(), metadata: Map::new(), body: Topology::default() },
    };
    let comparison = Comparison { running, former: &former, known, before };
    let mut paper = Paper::new(known);
    paper.apply(comparison.dropped(file));
    let merged = merge::merge(name, &comparison.changed(file), &paper)?;
    paper.apply(merged);
    Ok(paper.into_writes())
}

/// Services that run and that a blueprint does not name: cluster and breed.
pub(crate) fn left_over<'d>(running: &'d Deployment, blueprint: &Topology) -> Vec<(&'d str, &'d str)> {
    let clusters = running.body.clusters.iter();
    let named = blueprint.by_name();
    let named: HashMap<&str, HashMap<&str, &Service>> =
        named.into_iter().map(|(name, cluster)| (name, cluster.by_breed())).collect();
    let services = clusters
        .flat_map(|cluster| cluster.services.iter().map(|service| (cluster.name.as_str(), service.breed.name())));
    services.filter(|(cluster, breed)| !named.get(cluster).is_some_and(|found| found.contains_key(breed))).collect()
}

/// What runs, and what was said of it until now.
struct Comparison<'c> {
    running: &'c Deployment,
    former: &'c Blueprint,
    known: &'c dyn Known,
    before: &'c dyn Known,
}

impl Comparison<'_> {
    /// What the file said before and says no longer, taken out of what runs. Its services stay: they may have traffic.
    fn dropped(&self, file: &Blueprint) -> Vec<WriteRequest> {
        let (then, now) = (&self.former.body, &file.body);
        let mut next = self.running.clone();
        let [gateways_then, gateways_now] = [then, now].map(outer_by_key);
        let is_dropped = |gateway: &OuterGateway| {
            let key = gateway.key.as_str();
            gateways_then.contains_key(key) && !gateways_now.contains_key(key)
        };
        let gone = self.running.body.gateways.iter().filter(|gateway| is_dropped(gateway));
        let gone = gone.map(|gateway| format!("{}/{}", self.running.name, gateway.key));
        let gone = gone.filter(|name| gateway(name, self.known).is_some());
        let mut writes: Vec<_> = gone.map(|name| WriteRequest::delete(Kind::Gateway, &name, None)).collect();
        next.body.gateways.retain(|gateway| !is_dropped(gateway));
        let key = |variable: &ClusterVariable| (variable.cluster.clone(), variable.name.clone());
        let [said_then, said_now] =
            [then, now].map(|said| said.environment.iter().map(key).collect::<HashSet<(String, String)>>());
        next.body.environment.retain(|variable| {
            let key = key(variable);
            !said_then.contains(&key) || said_now.contains(&key)
        });
        writes.extend(self.bared(file));
        drop_keys(&mut next.metadata, &self.former.metadata, &file.metadata);
        drop_keys(&mut next.body.dialects, &then.dialects, &now.dialects);
        let (then, now) = (then.by_name(), now.by_name());
        for cluster in &mut next.body.clusters {
            let name = cluster.name.as_str();
            let (Some(then), Some(now)) = (then.get(name), now.get(name)) else { continue };
            drop_statements(cluster, then, now);
        }
        if next != *self.running {
            writes.push(WriteRequest::replace(Artifact::Deployment(next), None));
        }
        writes
    }

    /// Gateways without what the file said of their routes and says no longer: in a merge, a route of which nothing is
    /// said keeps what is there.
    fn bared(&self, file: &Blueprint) -> Vec<WriteRequest> {
        let deployment = &self.running.name;
        let mut writes = Vec::new();
        let clusters = file.body.by_name();
        for then in &self.former.body.clusters {
            let Some(now) = clusters.get(then.name.as_str()) else { continue };
            let (services, gateways) = (now.by_breed(), by_port(now));
            for (port, gateway_then) in &then.gateways {
                let gateway_now = gateways.get(port.as_str()).copied();
                let is_there = |service: &str| services.contains_key(service);
                let path =
                    |service: &str| is_there(service).then(|| service_path(deployment, &then.name, service, port));
                let live = settled(&inner_gateway(deployment, &then.name, port), self.known);
                writes.extend(bare(live, gateway_then, gateway_now, &path));
            }
        }
        let gateways = outer_by_key(&file.body);
        for then in &self.former.body.gateways {
            let Some(now) = gateways.get(then.key.as_str()) else { continue };
            let path = |route: &str| Some(format!("{deployment}/{route}"));
            let live = settled(&format!("{deployment}/{}", then.key), self.known);
            writes.extend(bare(live, &then.body, Some(&now.body), &path));
        }
        writes
    }

    /// The file without the scales and gateways that it says as it did before.
    fn changed(&self, file: &Blueprint) -> Blueprint {
        let mut changed = file.clone();
        let (formers, running) = (self.former.body.by_name(), self.running.body.by_name());
        for cluster in &mut changed.body.clusters {
            let then = formers.get(cluster.name.as_str()).copied();
            let running = running.get(cluster.name.as_str()).copied();
            self.keep_scales(cluster, running, then);
            let said = std::mem::take(&mut cluster.gateways);
            let then = then.map(by_port).unwrap_or_default();
            let of_ports = self.services_by_port(cluster, &said);
            let said = said.into_iter().filter_map(|(port, said)| {
                let own = of_ports.get(&port).map(Vec::as_slice).unwrap_or_default();
                let then = then.get(port.as_str()).copied();
                Some((port.clone(), self.inner(&Port { cluster, running, name: &port, own }, said, then)?))
            });
            cluster.gateways = said.collect();
        }
        let (formers, running) = (outer_by_key(&self.former.body), outer_by_key(&self.running.body));
        let said = std::mem::take(&mut changed.body.gateways);
        let said = said.into_iter().filter_map(|said| {
            let [then, runs] = [&formers, &running].map(|known| known.get(said.key.as_str()).copied());
            self.outer(said, then, runs)
        });
        changed.body.gateways = said.collect();
        changed
    }

    fn keep_scales(&self, cluster: &mut Cluster, running: Option<&Cluster>, then: Option<&Cluster>) {
        let running = running.map(Cluster::by_breed).unwrap_or_default();
        let then = then.map(Cluster::by_breed).unwrap_or_default();
        for service in &mut cluster.services {
            let breed = service.breed.name();
            let size = said_size(service, self.known);
            let size_then = then.get(breed).and_then(|then| said_size(then, self.before));
            if running.contains_key(breed) && size.is_some() && size == size_then {
                service.scale = None;
            }
        }
    }

    /// What the file changed of the gateway of a port of a cluster.
    fn inner(&self, port: &Port<'_>, said: InnerGateway, then: Option<&InnerGateway>) -> Option<InnerGateway> {
        let (deployment, cluster) = (&self.running.name, &port.cluster.name);
        let Some(live) = settled(&inner_gateway(deployment, cluster, port.name), self.known) else {
            return Some(said);
        };
        if then == Some(&said) {
            return None;
        }
        let path = |service: &str| service_path(deployment, cluster, service, port.name);
        let moved = Moved::new(&live, then, &path);
        let is_restated = moved.is_restated(&said);
        let mut next = moved.apply(said, is_restated);
        if is_restated {
            Self::share_out(port, &moved, &mut next);
        }
        Some(next)
    }

    /// Weights that are said anew leave a rest to services of the file of which nothing is said, as in a new gateway. Where
    /// others have a share of it already, the merge leaves it to these.
    fn share_out(port: &Port<'_>, moved: &Moved<'_>, next: &mut InnerGateway) {
        let routes = by_path(next);
        let said = |service: &str| said_weight(&routes.get(service)?.content);
        let running = port.running.into_iter().flat_map(|running| &running.services);
        let mut others = running.map(|service| service.breed.name()).filter(|service| said(service).is_none());
        if others.any(|service| moved.live(service).is_some_and(|live| weight(live) != Share::NONE)) {
            return;
        }
        let given: Vec<Option<Share>> = port.own.iter().map(|service| said(service)).collect();
        // What does not add up is refused with its sum when it is merged.
        let Ok(shares) = weights::share_out(&given) else { return };
        let mut shares: HashMap<&str, Share> = port.own.iter().map(String::as_str).zip(shares).collect();
        for route in &mut next.routes {
            if let Some(share) = shares.remove(route.path.to_string().as_str()) {
                route.content = with_weight(&route.content, Some(share));
            }
        }
        for service in port.own {
            let Some(share) = shares.get(service.as_str()) else { continue };
            let content = moved.live(service).map(|live| live.content.clone());
            let content = with_weight(&content.unwrap_or(RouteUse::Inline(RouteBody::default())), Some(*share));
            next.routes.push(GatewayRoute { path: RoutePath::Gateway(service.clone()), content });
        }
    }

    /// The services of a cluster that have ports of which something is said, by the names of these.
    fn services_by_port(&self, cluster: &Cluster, said: &[(String, InnerGateway)]) -> HashMap<String, Vec<String>> {
        let mut services: HashMap<String, Vec<String>> =
            said.iter().map(|(port, _)| (port.clone(), Vec::new())).collect();
        for service in &cluster.services {
            let stored = self.known.artifact(Kind::Breed, service.breed.name());
            let ((Some(breed), _) | (None, Some(Artifact::Breed(breed)))) = (service.breed.inline(), stored) else {
                continue;
            };
            for port in &breed.ports {
                if let Some(having) = services.get_mut(&port.name) {
                    having.push(service.breed.name().to_owned());
                }
            }
        }
        services
    }

    /// What the file changed of a gateway by which clients come in.
    fn outer(
        &self,
        said: OuterGateway,
        then: Option<&OuterGateway>,
        runs: Option<&OuterGateway>,
    ) -> Option<OuterGateway> {
        let live = settled(&format!("{}/{}", self.running.name, said.key), self.known).filter(|_| runs.is_some());
        let Some(live) = live else { return Some(said) };
        // What runs may lead elsewhere again than the file that was stored last: by an undo.
        let paths = |of: &OuterGateway| -> BTreeSet<String> {
            of.body.routes.iter().map(|route| route.path.to_string()).collect()
        };
        if then == Some(&said) && runs.is_some_and(|runs| paths(runs) == paths(&said)) {
            return None;
        }
        let path = |route: &str| format!("{}/{route}", self.running.name);
        let moved = Moved::new(&live, then.map(|then| &then.body), &path);
        let port = if then.is_some_and(|then| then.port == said.port) { live.port } else { said.port };
        let is_restated = moved.is_restated(&said.body);
        Some(OuterGateway { port, body: moved.apply(said.body, is_restated), ..said })
    }
}

/// A port of a cluster of the file.
struct Port<'p> {
    cluster: &'p Cluster,
    /// The cluster as it runs.
    running: Option<&'p Cluster>,
    name: &'p str,
    /// The services of the file that have it.
    own: &'p [String],
}

/// What is said of the gateways of a cluster, by port.
fn by_port(cluster: &Cluster) -> HashMap<&str, &InnerGateway> {
    cluster.gateways.iter().rev().map(|(port, gateway)| (port.as_str(), gateway)).collect()
}

/// What is said of the routes of a gateway, by what they name.
fn by_path(said: &InnerGateway) -> HashMap<String, &GatewayRoute> {
    said.routes.iter().rev().map(|route| (route.path.to_string(), route)).collect()
}

/// A gateway as it is, and what was said of it until now.
struct Moved<'m> {
    live: &'m Gateway,
    /// Its routes, by where they lead.
    routes: HashMap<String, &'m GatewayRoute>,
    then: Option<&'m InnerGateway>,
    routes_then: HashMap<String, &'m GatewayRoute>,
    /// Where a route of the file leads.
    path: &'m dyn Fn(&str) -> String,
}

impl<'m> Moved<'m> {
    fn new(live: &'m Gateway, then: Option<&'m InnerGateway>, path: &'m dyn Fn(&str) -> String) -> Self {
        let routes = live.routes.iter().rev().map(|route| (route.path.to_string(), route)).collect();
        Self { live, routes, then, routes_then: then.map(by_path).unwrap_or_default(), path }
    }

    fn live(&self, name: &str) -> Option<&'m GatewayRoute> {
        self.routes.get(&(self.path)(name)).copied()
    }

    /// Whether the file says a weight that it did not say before. Nothing for a newcomer is what that gets anyway.
    fn is_restated(&self, said: &InnerGateway) -> bool {
        said.routes.iter().any(|now| {
            let name = now.path.to_string();
            let then = self.routes_then.get(&name).and_then(|then| said_weight(&then.content));
            match (said_weight(&now.content), then) {
                (None, _) => false,
                (Some(now), Some(then)) => now != then,
                (Some(now), None) => now != Share::NONE || self.live(&name).is_some(),
            }
        })
    }

    /// What the file says as before becomes what is; weights are those of the file, or those that are.
    fn apply(&self, mut said: InnerGateway, is_restated: bool) -> InnerGateway {
        for now in &mut said.routes {
            let name = now.path.to_string();
            let Some(live) = self.live(&name) else { continue };
            let then = self.routes_then.get(&name);
            let is_same = then.is_some_and(|then| with_weight(&then.content, None) == with_weight(&now.content, None));
            let share = if is_restated { said_weight(&now.content) } else { Some(weight(live)) };
            now.content = with_weight(if is_same { &live.content } else { &now.content }, share);
        }
        if let Some(then) = self.then {
            if then.sticky == said.sticky {
                said.sticky = Some(self.live.sticky);
            }
            if then.virtual_hosts == said.virtual_hosts {
                said.virtual_hosts.clone_from(&self.live.virtual_hosts);
            }
        }
        said
    }
}

/// A gateway whose routes lose what was said of them then and is not said now, if there are such.
fn bare(
    live: Option<Gateway>,
    then: &InnerGateway,
    now: Option<&InnerGateway>,
    path: &dyn Fn(&str) -> Option<String>,
) -> Option<WriteRequest> {
    let mut live = live?;
    let says_nothing = |route: &GatewayRoute| matches!(&route.content, RouteUse::Inline(body) if says_nothing(body));
    let now = now.map(by_path).unwrap_or_default();
    let said = then.routes.iter().filter(|said| !says_nothing(said)).map(|said| said.path.to_string());
    let dropped = said.filter(|name| now.get(name).is_none_or(|now| says_nothing(now)));
    let dropped: HashSet<String> = dropped.filter_map(|name| path(&name)).collect();
    let mut changes = false;
    for found in live.routes.iter_mut().filter(|found| dropped.contains(&found.path.to_string())) {
        let next = with_weight(&RouteUse::Inline(RouteBody::default()), Some(weight(found)));
        changes |= next != found.content;
        found.content = next;
    }
    changes.then(|| WriteRequest::replace(Artifact::Gateway(live), None))
}

fn said_size(service: &Service, known: &dyn Known) -> Option<Size> {
    match service.scale.as_ref()? {
        ScaleUse::Inline(size) => Some(*size),
        ScaleUse::Stored(name) => match known.artifact(Kind::Scale, name)? {
            Artifact::Scale(scale) => Some(scale.size),
            _ => None,
        },
    }
}

/// What was said of a cluster as a whole and is said no longer.
fn drop_statements(cluster: &mut Cluster, then: &Cluster, now: &Cluster) {
    if then.sla.is_some() && now.sla.is_none() {
        cluster.sla = None;
    }
    if then.health_checks.is_some() && now.health_checks.is_none() {
        cluster.health_checks = None;
    }
    if then.network.is_some() && now.network.is_none() {
        cluster.network = None;
    }
    drop_keys(&mut cluster.metadata, &then.metadata, &now.metadata);
    drop_keys(&mut cluster.dialects, &then.dialects, &now.dialects);
}

fn drop_keys(map: &mut Map<String, Value>, then: &Map<String, Value>, now: &Map<String, Value>) {
    // Notes of the control plane itself are nobody's to drop.
    let is_own = |key: &str| key.starts_with("io.vamp.");
    map.retain(|key, _| is_own(key) || !then.contains_key(key) || now.contains_key(key));
}
