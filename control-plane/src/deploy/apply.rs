//! Brings a deployment to what a file says that may have been applied before.
//!
//! Three are compared: the file, the blueprint as it was stored until now, and what runs. What the file says wins, and
//! what it said before and says no longer goes, services excepted. Scales and gateways are moved while services run, by
//! people and by promises: of these only what the file changed counts, so that applying it once more takes back no
//! canary that went on, and no instance that the load needed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use vamp_model::{
    Artifact, Blueprint, Cluster, Deployment, Gateway, GatewayRoute, InnerGateway, Kind, OuterGateway, RouteBody,
    RoutePath, RouteUse, ScaleUse, Service, Size, Topology, weights,
};
use vamp_routing::wire::Share;

use super::gateways::{service_path, settled, weight};
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
    let services = clusters
        .flat_map(|cluster| cluster.services.iter().map(|service| (cluster.name.as_str(), service.breed.name())));
    services
        .filter(|(cluster, breed)| blueprint.cluster(cluster).and_then(|found| found.service(breed)).is_none())
        .collect()
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
        let has_gateway = |topology: &Topology, key: &str| topology.gateways.iter().any(|found| found.key == key);
        let is_dropped = |gateway: &OuterGateway| has_gateway(then, &gateway.key) && !has_gateway(now, &gateway.key);
        let gone = self.running.body.gateways.iter().filter(|gateway| is_dropped(gateway));
        let gone = gone.map(|gateway| format!("{}/{}", self.running.name, gateway.key));
        let gone = gone.filter(|name| gateway(name, self.known).is_some());
        let mut writes: Vec<_> = gone.map(|name| WriteRequest::delete(Kind::Gateway, &name, None)).collect();
        next.body.gateways.retain(|gateway| !is_dropped(gateway));
        next.body.environment.retain(|variable| {
            let is_said = |topology: &Topology| {
                let mut said = topology.environment.iter();
                said.any(|found| (&found.cluster, &found.name) == (&variable.cluster, &variable.name))
            };
            !is_said(then) || is_said(now)
        });
        writes.extend(self.bared(file));
        drop_keys(&mut next.metadata, &self.former.metadata, &file.metadata);
        drop_keys(&mut next.body.dialects, &then.dialects, &now.dialects);
        for cluster in &mut next.body.clusters {
            let (Some(then), Some(now)) = (then.cluster(&cluster.name), now.cluster(&cluster.name)) else { continue };
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
        for then in &self.former.body.clusters {
            let Some(now) = file.body.cluster(&then.name) else { continue };
            for (port, gateway_then) in &then.gateways {
                let gateway_now = now.gateways.iter().find(|(name, _)| name == port).map(|(_, now)| now);
                let is_there = |service: &str| now.service(service).is_some();
                let path =
                    |service: &str| is_there(service).then(|| service_path(deployment, &then.name, service, port));
                let live = settled(&inner_gateway(deployment, &then.name, port), self.known);
                writes.extend(bare(live, gateway_then, gateway_now, &path));
            }
        }
        for then in &self.former.body.gateways {
            let Some(now) = file.body.gateways.iter().find(|found| found.key == then.key) else { continue };
            let path = |route: &str| Some(format!("{deployment}/{route}"));
            let live = settled(&format!("{deployment}/{}", then.key), self.known);
            writes.extend(bare(live, &then.body, Some(&now.body), &path));
        }
        writes
    }

    /// The file without the scales and gateways that it says as it did before.
    fn changed(&self, file: &Blueprint) -> Blueprint {
        let mut changed = file.clone();
        for cluster in &mut changed.body.clusters {
            let then = self.former.body.cluster(&cluster.name);
            self.keep_scales(cluster, then);
            let said = std::mem::take(&mut cluster.gateways);
            let said = said
                .into_iter()
                .filter_map(|(port, said)| Some((port.clone(), self.inner(cluster, &port, said, then)?)));
            cluster.gateways = said.collect();
        }
        let said = std::mem::take(&mut changed.body.gateways);
        changed.body.gateways = said.into_iter().filter_map(|said| self.outer(said)).collect();
        changed
    }

    fn keep_scales(&self, cluster: &mut Cluster, then: Option<&Cluster>) {
        let running = self.running.cluster(&cluster.name);
        for service in &mut cluster.services {
            let breed = service.breed.name();
            let runs = running.is_some_and(|running| running.service(breed).is_some());
            let size = said_size(service, self.known);
            let size_then = then.and_then(|then| said_size(then.service(breed)?, self.before));
            if runs && size.is_some() && size == size_then {
                service.scale = None;
            }
        }
    }

    /// What the file changed of the gateway of a port of a cluster.
    fn inner(&self, cluster: &Cluster, port: &str, said: InnerGateway, then: Option<&Cluster>) -> Option<InnerGateway> {
        let deployment = &self.running.name;
        let Some(live) = settled(&inner_gateway(deployment, &cluster.name, port), self.known) else {
            return Some(said);
        };
        let then = then.and_then(|then| then.gateways.iter().find(|(name, _)| name == port)).map(|(_, then)| then);
        if then == Some(&said) {
            return None;
        }
        let path = |service: &str| service_path(deployment, &cluster.name, service, port);
        let moved = Moved { live: &live, then, path: &path };
        let is_restated = moved.is_restated(&said);
        let mut next = moved.apply(said, is_restated);
        if is_restated {
            self.share_out(cluster, port, &moved, &mut next);
        }
        Some(next)
    }

    /// Weights that are said anew leave a rest to services of the file of which nothing is said, as in a new gateway. Where
    /// others have a share of it already, the merge leaves it to these.
    fn share_out(&self, cluster: &Cluster, port: &str, moved: &Moved<'_>, next: &mut InnerGateway) {
        let running = self.running.cluster(&cluster.name).into_iter().flat_map(|running| &running.services);
        let is_said = |service: &str| route(next, service).is_some_and(|said| said_weight(&said.content).is_some());
        let mut others = running.map(|service| service.breed.name()).filter(|service| !is_said(service));
        if others.any(|service| moved.live(service).is_some_and(|live| weight(live) != Share::NONE)) {
            return;
        }
        let own: Vec<&str> = cluster
            .services
            .iter()
            .filter(|service| self.has_port(service, port))
            .map(|service| service.breed.name())
            .collect();
        let said = own.iter().map(|service| said_weight(&route(next, service)?.content));
        let given: Vec<Option<Share>> = said.collect();
        // What does not add up is refused with its sum when it is merged.
        let Ok(shares) = weights::share_out(&given) else { return };
        for (service, share) in own.into_iter().zip(shares) {
            if let Some(route) = next.routes.iter_mut().find(|route| route.path.to_string() == service) {
                route.content = with_weight(&route.content, Some(share));
                continue;
            }
            let content = moved.live(service).map(|live| live.content.clone());
            let content = with_weight(&content.unwrap_or(RouteUse::Inline(RouteBody::default())), Some(share));
            next.routes.push(GatewayRoute { path: RoutePath::Gateway(service.to_owned()), content });
        }
    }

    fn has_port(&self, service: &Service, port: &str) -> bool {
        let stored = self.known.artifact(Kind::Breed, service.breed.name());
        let ((Some(breed), _) | (None, Some(Artifact::Breed(breed)))) = (service.breed.inline(), stored) else {
            return false;
        };
        breed.ports.iter().any(|found| found.name == port)
    }

    /// What the file changed of a gateway by which clients come in.
    fn outer(&self, said: OuterGateway) -> Option<OuterGateway> {
        let is_own = self.running.body.gateways.iter().any(|found| found.key == said.key);
        let live = settled(&format!("{}/{}", self.running.name, said.key), self.known).filter(|_| is_own);
        let Some(live) = live else { return Some(said) };
        let then = self.former.body.gateways.iter().find(|found| found.key == said.key);
        // What runs may lead elsewhere again than the file that was stored last: by an undo.
        let paths = |of: &OuterGateway| -> BTreeSet<String> {
            of.body.routes.iter().map(|route| route.path.to_string()).collect()
        };
        let runs = self.running.body.gateways.iter().find(|found| found.key == said.key);
        if then == Some(&said) && runs.is_some_and(|runs| paths(runs) == paths(&said)) {
            return None;
        }
        let path = |route: &str| format!("{}/{route}", self.running.name);
        let moved = Moved { live: &live, then: then.map(|then| &then.body), path: &path };
        let port = if then.is_some_and(|then| then.port == said.port) { live.port } else { said.port };
        let is_restated = moved.is_restated(&said.body);
        Some(OuterGateway { port, body: moved.apply(said.body, is_restated), ..said })
    }
}

/// A gateway as it is, and what was said of it until now.
struct Moved<'m> {
    live: &'m Gateway,
    then: Option<&'m InnerGateway>,
    /// Where a route of the file leads.
    path: &'m dyn Fn(&str) -> String,
}

impl<'m> Moved<'m> {
    fn live(&self, name: &str) -> Option<&'m GatewayRoute> {
        let path = (self.path)(name);
        self.live.routes.iter().find(|found| found.path.to_string() == path)
    }

    /// Whether the file says a weight that it did not say before. Nothing for a newcomer is what that gets anyway.
    fn is_restated(&self, said: &InnerGateway) -> bool {
        said.routes.iter().any(|now| {
            let name = now.path.to_string();
            let then = self.then.and_then(|then| said_weight(&route(then, &name)?.content));
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
            let then = self.then.and_then(|then| route(then, &name));
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
    let mut changes = false;
    for said in then.routes.iter().filter(|said| !says_nothing(said)) {
        let name = said.path.to_string();
        let Some(path) = path(&name) else { continue };
        if now.and_then(|now| route(now, &name)).is_some_and(|now| !says_nothing(now)) {
            continue;
        }
        for found in live.routes.iter_mut().filter(|found| found.path.to_string() == path) {
            let next = with_weight(&RouteUse::Inline(RouteBody::default()), Some(weight(found)));
            changes |= next != found.content;
            found.content = next;
        }
    }
    changes.then(|| WriteRequest::replace(Artifact::Gateway(live), None))
}

fn route<'g>(gateway: &'g InnerGateway, name: &str) -> Option<&'g GatewayRoute> {
    gateway.routes.iter().find(|found| found.path.to_string() == name)
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
