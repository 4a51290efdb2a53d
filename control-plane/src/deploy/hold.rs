//! Keeps requests where they are answered while a merge leads a gateway elsewhere.
//!
//! A gateway by which clients come in, and which is led to other clusters or ports, stays with all its routes on those
//! that it led to until the new ones have instances that are ready; then it is led on in the change that tells where
//! these are. What it is to leave stands in its metadata: who writes it without that has decided otherwise. The gateway
//! of a port that no service has any more goes when nothing leads to it and no instance is behind it.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};
use vamp_model::{Artifact, Gateway, GatewayRoute, Kind, RoutePath, RouteUse};
use vamp_routing::wire::Share;

use super::gates::Gates;
use super::gateways::changed;
use super::outer::outer;
use super::paper::Paper;
use super::{Action, DeployRequest, Known, deployment, gateway, size_of};
use crate::core::WriteRequest;

/// The routes that a gateway is to leave, in its metadata.
const LEAVING: &str = "io.vamp.leaving";

/// The routes that a gateway is to leave when those in their place are ready.
pub(super) fn leaving(gateway: &Gateway) -> Vec<&str> {
    let listed = gateway.metadata.get(LEAVING).and_then(Value::as_array);
    listed.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Takes the note of what it is to leave off a gateway.
pub(super) fn let_go(gateway: &mut Gateway) {
    gateway.metadata.remove(LEAVING);
}

/// A gateway as it is led elsewhere: as it is to be when that is ready, or nothing is lost by it; else with its routes as
/// they are.
pub(super) fn lead(next: Gateway, stored: Option<&Gateway>, merged: &Gates<'_>, known: &dyn Known) -> Gateway {
    let Some(stored) = stored.filter(|stored| stored.tcp.is_some() == next.tcp.is_some()) else { return next };
    let paths: HashSet<&RoutePath> = next.routes.iter().map(|route| &route.path).collect();
    let gone: Vec<&GatewayRoute> = stored.routes.iter().filter(|route| !paths.contains(&route.path)).collect();
    let serving: usize = gone.iter().filter(|route| is_used(route)).map(|route| ready(&route.path, known)).sum();
    let formers: HashMap<&RoutePath, &GatewayRoute> =
        stored.routes.iter().map(|former| (&former.path, former)).collect();
    let mut gaining = next.routes.iter().filter(|route| {
        let former = formers.get(&route.path).copied();
        share(route) > former.map_or(Share::NONE, share) || former.is_none() && is_used(route)
    });
    // As many as answer now, or all that there are to be: the first of many would be asked by everybody.
    let is_ready = |route: &GatewayRoute| {
        let ready = ready(&route.path, known);
        ready > 0 && (ready >= serving || ready >= wanted(&route.path, merged))
    };
    // What is not there is refused now, while somebody asks for it, and not when it is led on: the planner sees what is written.
    let needed = vamp_model::references(&Artifact::Gateway(next.clone()));
    let is_missing = |kind: Kind, name: &str| kind != Kind::Instances && known.artifact(kind, name).is_none();
    if serving == 0 || gaining.all(is_ready) || needed.iter().any(|needed| is_missing(needed.kind, &needed.name)) {
        return next;
    }
    let gone: Vec<String> = gone.iter().map(|route| route.path.to_string()).collect();
    let mut held = Gateway { routes: stored.routes.clone(), ..next };
    held.metadata.insert(LEAVING.to_owned(), json!(gone));
    held
}

fn share(route: &GatewayRoute) -> Share {
    match &route.content {
        RouteUse::Inline(body) => body.weight.unwrap_or(Share::NONE),
        // The weight of a stored route without another one is not known here: it may be all.
        RouteUse::Stored { weight, .. } => weight.unwrap_or(Share::WHOLE),
    }
}

fn is_used(route: &GatewayRoute) -> bool {
    let has_condition = match &route.content {
        RouteUse::Inline(body) => body.condition.is_some(),
        RouteUse::Stored { .. } => true,
    };
    has_condition || share(route) != Share::NONE
}

/// How many instances take requests behind a gateway of a cluster. Of anything else it is not known here: it counts as one.
fn ready(path: &RoutePath, known: &dyn Known) -> usize {
    let RoutePath::Gateway(name) = path else { return 1 };
    let Some(inner) = gateway(name, known) else { return 0 };
    let used = inner.routes.iter().filter(|route| is_used(route));
    used.map(|route| instances(&route.path, known)).sum()
}

fn instances(path: &RoutePath, known: &dyn Known) -> usize {
    let RoutePath::Instances(path) = path else { return 1 };
    let Some((service, port)) = path.rsplit_once('/') else { return 0 };
    match known.artifact(Kind::Instances, service) {
        Some(Artifact::Instances(found)) => {
            let has_port = |ports: &[(String, String)]| ports.iter().any(|(name, _)| name == port);
            found.instances.iter().filter(|instance| has_port(&instance.ports)).count()
        }
        _ => 0,
    }
}

/// How many are to be there in the end.
fn wanted(path: &RoutePath, merged: &Gates<'_>) -> usize {
    let path = path.to_string();
    let [_, cluster, port] = path.split('/').collect::<Vec<_>>()[..] else { return 1 };
    let services = merged.ports(cluster).map(|ports| ports.services(port)).unwrap_or_default().iter();
    services.map(|service| usize::try_from(size_of(service).instances).unwrap_or(usize::MAX)).sum()
}

/// Whether a gateway was made for a port of a cluster that no service has any more.
fn is_stale(name: &str, of: &Gates<'_>, known: &dyn Known) -> bool {
    let [first, cluster, _] = name.split('/').collect::<Vec<_>>()[..] else { return false };
    let prefix = format!("{first}/{cluster}/");
    let is_own = |route: &GatewayRoute| matches!(&route.path, RoutePath::Instances(to) if to.starts_with(&prefix));
    first == of.deployment
        && !of.owns(name)
        && gateway(name, known).is_some_and(|gateway| !gateway.routes.is_empty() && gateway.routes.iter().all(is_own))
}

/// Where gateways lead to, each with the first that leads there; what they are to leave is left out.
pub(super) fn led_to(known: &dyn Known) -> HashMap<&str, &str> {
    let mut led_to = HashMap::new();
    for from in known.gateway_names() {
        let Some(stored) = gateway(from, known) else { continue };
        let leaving: HashSet<&str> = leaving(stored).into_iter().collect();
        for route in &stored.routes {
            if let RoutePath::Gateway(to) = &route.path
                && !leaving.contains(to.as_str())
            {
                led_to.entry(to.as_str()).or_insert(from);
            }
        }
    }
    led_to
}

/// Gateways of ports that are gone, which nothing leads to and no instance stands behind.
pub(super) fn unused(of: &Gates<'_>, known: &dyn Known) -> Vec<String> {
    let own = known.gateway_names_of(of.deployment).into_iter();
    let stale: Vec<&str> = own.filter(|name| is_stale(name, of, known)).collect();
    if stale.is_empty() {
        return Vec::new();
    }
    let all = known.gateway_names().into_iter().filter_map(|name| gateway(name, known));
    let led_to: BTreeSet<&RoutePath> = all.flat_map(|gateway| &gateway.routes).map(|route| &route.path).collect();
    let is_unused = |name: &&str| {
        let path = RoutePath::Gateway((*name).to_owned());
        !led_to.contains(&path) && ready(&path, known) == 0
    };
    stale.into_iter().filter(is_unused).map(str::to_owned).collect()
}

/// What follows for the gateways of a deployment when other instances are ready.
pub(super) fn settle(name: &str, known: &dyn Known) -> Vec<WriteRequest> {
    let Ok(of) = deployment(name, known) else { return Vec::new() };
    let mut paper = Paper::new(known);
    let gates = Gates::of(of);
    for given in &of.body.gateways {
        let is_held =
            gateway(&format!("{name}/{}", given.key), known).is_some_and(|stored| !leaving(stored).is_empty());
        if !is_held {
            continue;
        }
        // Weights that people changed so that they no longer fit keep it where it is.
        let next = outer(&gates, given, Some(given), &paper).ok().and_then(|next| changed(next, &paper));
        paper.apply(next.into_iter().collect());
    }
    let unused = unused(&gates, &paper);
    paper.apply(unused.iter().map(|gateway| WriteRequest::delete(Kind::Gateway, gateway, None)).collect());
    paper.into_writes()
}

/// The deployments that have gateways which wait for something.
pub(crate) fn waiting(known: &dyn Known) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut of_deployments: HashMap<&str, Option<Gates<'_>>> = HashMap::new();
    for name in known.gateway_names() {
        let Some((first, _)) = name.split_once('/') else { continue };
        if found.contains(first) {
            continue;
        }
        let gates = of_deployments.entry(first).or_insert_with(|| deployment(first, known).ok().map(Gates::of));
        let Some(gates) = gates else { continue };
        if gateway(name, known).is_some_and(|gateway| !leaving(gateway).is_empty()) || is_stale(name, gates, known) {
            found.insert(first.to_owned());
        }
    }
    found
}

/// What follows of the writes for the gateways that wait.
pub(crate) fn follow(waiting: &BTreeSet<String>, known: &dyn Known, writes: &[WriteRequest]) -> Vec<DeployRequest> {
    let mut paper = Paper::new(known);
    paper.apply(writes.to_vec());
    let follows = waiting.iter().filter(|name| !settle(name, &paper).is_empty());
    follows.map(|name| DeployRequest::new(name.as_str(), Action::Settle)).collect()
}
