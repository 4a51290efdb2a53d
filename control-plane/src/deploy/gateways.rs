//! The gateways of a deployment: one before each port of each cluster, and those by which clients come in.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use vamp_model::{
    Artifact, Blueprint, Cluster, Deployment, Gateway, GatewayRoute, InnerGateway, Kind, OuterGateway, RouteBody,
    RoutePath, RouteUse, Topology, percent, step, weights,
};
use vamp_routing::wire::{Share, Sticky, Tcp};

use super::gates::{Gates, Ports, service_path};
use super::hold;
use super::outer::{outer, over, said_weight, with_weight};
use super::paper::Paper;
use super::{Known, gateway, given, inner_gateway};
use crate::core::WriteRequest;
use crate::plan::Finding;

/// Where, what, and the mend.
type Fault = (String, String, String);

/// The gateways as they are after a merge: those of which something changed.
pub(super) fn after_merge(
    merged: &Deployment,
    stable: Option<&Deployment>,
    attached: &Topology,
    known: &dyn Known,
) -> Result<Vec<WriteRequest>, Vec<Fault>> {
    let mut paper = Paper::new(known);
    let mut faults = Vec::new();
    let gates = Gates::of(merged);
    let former = stable.map(Gates::of);
    let said = attached.by_name();
    for cluster in &merged.body.clusters {
        let said = said.get(cluster.name.as_str()).into_iter().flat_map(|said| &said.gateways);
        let said: HashMap<&str, &InnerGateway> = said.map(|(port, gateway)| (port.as_str(), gateway)).collect();
        let Some(ports) = gates.ports(&cluster.name) else { continue };
        let pointer = step("/clusters", &cluster.name);
        for port in ports.names() {
            let name = inner_gateway(&merged.name, &cluster.name, port);
            if let Some(foreign) = foreign(&name, former.as_ref(), known) {
                faults.push((pointer.clone(), foreign.0, foreign.1));
                continue;
            }
            let said = said.get(port).copied();
            // What is said of the gateway is at fault, where anything is.
            let pointer = said.map_or(pointer.clone(), |_| step(&format!("{pointer}/gateways"), port));
            match inner(&merged.name, cluster, ports, port, said, known) {
                Ok(gateway) => paper.apply(changed(gateway, known).into_iter().collect()),
                Err((message, hint)) => faults.push((pointer, message, hint)),
            }
        }
    }
    let were = stable.map(|stable| outer_by_key(&stable.body)).unwrap_or_default();
    for outer_gateway in &attached.gateways {
        let pointer = step("/gateways", &outer_gateway.key);
        match outer(&gates, outer_gateway, were.get(outer_gateway.key.as_str()).copied(), &paper) {
            Ok(gateway) => match foreign(&gateway.name, former.as_ref(), known) {
                Some((message, hint)) => faults.push((pointer, message, hint)),
                None => paper.apply(changed(gateway, known).into_iter().collect()),
            },
            Err((message, hint)) => faults.push((pointer, message, hint)),
        }
    }
    faults.extend(stable.into_iter().flat_map(|stable| cut_off(stable, &gates, &paper)));
    if !faults.is_empty() {
        return Err(faults);
    }
    let unused = hold::unused(&gates, &paper);
    paper.apply(unused.iter().map(|name| WriteRequest::delete(Kind::Gateway, name, None)).collect());
    Ok(paper.into_writes())
}

/// The gateways by which clients come in, by the names of their ports.
pub(super) fn outer_by_key(body: &Topology) -> HashMap<&str, &OuterGateway> {
    body.gateways.iter().rev().map(|gateway| (gateway.key.as_str(), gateway)).collect()
}

/// Gateways that would be left with a route to a port that no service has any more.
pub(super) fn cut_off(stable: &Deployment, merged: &Gates<'_>, known: &dyn Known) -> Vec<Fault> {
    let mut gone = Vec::new();
    for cluster in &stable.body.clusters {
        for port in Ports::of(cluster).names() {
            let name = inner_gateway(&stable.name, &cluster.name, port);
            if !merged.owns(&name) {
                gone.push((&cluster.name, name, port));
            }
        }
    }
    if gone.is_empty() {
        return Vec::new();
    }
    let led_to = hold::led_to(known);
    let faults = gone.into_iter().filter_map(|(cluster, name, port)| {
        let from = led_to.get(name.as_str())?;
        let message = format!(
            "no service of cluster `{cluster}` would have port `{port}` any more, and gateway `{from}` leads to it"
        );
        Some((step("/clusters", cluster), message, format!("lead `{from}` elsewhere first, or in the same blueprint")))
    });
    faults.collect()
}

/// What stands in the way of a gateway of the deployment: one of that name that is somebody else's.
pub(super) fn foreign(name: &str, stable: Option<&Gates<'_>>, known: &dyn Known) -> Option<(String, String)> {
    if gateway(name, known).is_none() || stable.is_some_and(|stable| stable.owns(name)) {
        return None;
    }
    let message = format!("gateway `{name}` exists already, and does not belong to the deployment");
    Some((message, "delete it, or rename the deployment".to_owned()))
}

/// The gateways as they are after some services went: changed ones, and those that go with their ports.
pub(super) fn after_removal(
    before: &Deployment,
    after: &Deployment,
    known: &dyn Known,
) -> Result<Vec<WriteRequest>, Vec<Fault>> {
    let mut writes = Vec::new();
    let mut faults = Vec::new();
    let left = Gates::of(after);
    for cluster in &before.body.clusters {
        for port in Ports::of(cluster).names() {
            let name = inner_gateway(&before.name, &cluster.name, port);
            let Some(stored) = settled(&name, known) else { continue };
            if !left.owns(&name) {
                writes.push(WriteRequest::delete(Kind::Gateway, &name, None));
                continue;
            }
            let paths = left.paths(&cluster.name, port);
            let mut next = stored.clone();
            next.routes.retain(|route| paths.contains(&route.path.to_string()));
            let gone = stored.routes.iter().filter(|route| !paths.contains(&route.path.to_string()));
            let shares = gone.map(|route| (route.path.to_string(), weight(route)));
            let busy: Vec<_> = shares.filter(|(_, share)| *share != Share::NONE).collect();
            if busy.is_empty() {
                writes.push(WriteRequest::replace(Artifact::Gateway(next), None));
                continue;
            }
            for (route, share) in busy {
                let message = format!("route `{route}` of gateway `{name}` still gets {}", percent::format(share));
                faults.push((
                    step("/clusters", &cluster.name),
                    message,
                    format!("give its share to the others first: `vamp gateway set-weights {name} …`"),
                ));
            }
        }
    }
    for gateway in &before.body.gateways {
        let name = format!("{}/{}", before.name, gateway.key);
        if !left.owns(&name) && known.artifact(Kind::Gateway, &name).is_some() {
            writes.push(WriteRequest::delete(Kind::Gateway, &name, None));
        }
    }
    if faults.is_empty() { Ok(writes) } else { Err(faults) }
}

/// Connections as they come, without PROXY headers.
pub(super) const PLAIN_TCP: Tcp = Tcp { accept_proxy: false, send_proxy: None };

pub(super) fn weight(route: &GatewayRoute) -> Share {
    said_weight(&route.content).unwrap_or(Share::NONE)
}

/// The gateway of a port of a cluster: what it was, with what the blueprint says of it, and a route for each service.
/// A route that is new beside others gets nothing yet, so that no traffic moves by itself.
fn inner(
    deployment: &str,
    cluster: &Cluster,
    ports: &Ports<'_>,
    port: &str,
    said: Option<&InnerGateway>,
    known: &dyn Known,
) -> Result<Gateway, (String, String)> {
    let name = inner_gateway(deployment, &cluster.name, port);
    let stored = settled(&name, known);
    let stored = stored.as_ref();
    let there = stored.map(|stored| stored.routes.as_slice()).unwrap_or_default();
    let newcomer = (!there.is_empty()).then_some(Share::NONE);
    let nothing = RouteUse::Inline(RouteBody::default());
    let mut routes = Vec::new();
    let given = said.map(by_path).unwrap_or_default();
    let formers: HashMap<&RoutePath, &GatewayRoute> = there.iter().map(|former| (&former.path, former)).collect();
    for service in ports.services(port).iter().map(|service| service.breed.name()) {
        let path = RoutePath::Instances(service_path(deployment, &cluster.name, service, port));
        let given = given.get(service).map_or(&nothing, |given| &given.content);
        let content = over(given, formers.get(&path).copied(), newcomer);
        routes.push(GatewayRoute { path, content });
    }
    leave_rest(&given, &mut routes);
    settle(&name, &mut routes)?;
    refuse_loss(&name, there, &routes)?;
    let sticky = said.and_then(|said| said.sticky).or(stored.map(|stored| stored.sticky)).unwrap_or(Sticky::None);
    let hosts = said.map(|said| said.virtual_hosts.clone()).filter(|hosts| !hosts.is_empty());
    Ok(Gateway {
        metadata: stored.map(|stored| stored.metadata.clone()).unwrap_or_default(),
        port: stored.and_then(|stored| stored.port),
        tcp: ports.carries_tcp(port).then(|| stored.and_then(|stored| stored.tcp).unwrap_or(PLAIN_TCP)),
        sticky,
        virtual_hosts: hosts.or(stored.map(|stored| stored.virtual_hosts.clone())).unwrap_or_default(),
        routes,
        name,
    })
}

/// Where a blueprint gives weights to some services only, the others share the rest in proportion to what they had: a
/// new version with 10 % takes them from the old ones. What does not add up with that is refused.
fn leave_rest(said: &HashMap<String, &GatewayRoute>, routes: &mut [GatewayRoute]) {
    let is_inline = |route: &GatewayRoute| matches!(route.content, RouteUse::Inline(_));
    if !routes.iter().all(is_inline) {
        return;
    }
    let (given, mut others): (Vec<_>, Vec<_>) = routes.iter_mut().partition(|route| is_given(said, route));
    let taken: u64 = given.iter().map(|route| u64::from(weight(route).0)).sum();
    if given.is_empty() {
        return;
    }
    let room = Share::WHOLE.0.saturating_sub(u16::try_from(taken).unwrap_or(u16::MAX));
    let kept: Vec<Share> = others.iter().map(|route| weight(route)).collect();
    for (route, share) in others.iter_mut().zip(weights::fit(&kept, Share(room)).into_iter().flatten()) {
        route.content = with_weight(&route.content, Some(share));
    }
}

/// The service that a route of a cluster's gateway leads to.
fn service_of(route: &GatewayRoute) -> String {
    route.path.to_string().split('/').nth(2).unwrap_or_default().to_owned()
}

/// What is said of the routes of a gateway, by where they lead.
fn by_path(said: &InnerGateway) -> HashMap<String, &GatewayRoute> {
    said.routes.iter().rev().map(|route| (route.path.to_string(), route)).collect()
}

/// Whether a blueprint gives a route its weight.
fn is_given(said: &HashMap<String, &GatewayRoute>, route: &GatewayRoute) -> bool {
    said.get(&service_of(route)).is_some_and(|given| said_weight(&given.content).is_some())
}

/// Services that have a port no longer take no traffic with them.
fn refuse_loss(name: &str, before: &[GatewayRoute], after: &[GatewayRoute]) -> Result<(), (String, String)> {
    if after.iter().any(|route| weight(route) != Share::NONE) {
        return Ok(());
    }
    let left: HashSet<&RoutePath> = after.iter().map(|route| &route.path).collect();
    let gone = before.iter().filter(|former| !left.contains(&former.path));
    match gone.into_iter().find(|former| weight(former) != Share::NONE) {
        None => Ok(()),
        Some(route) => Err((
            format!(
                "route `{}` of gateway `{name}` gets {}, and its service would have the port no longer",
                route.path,
                percent::format(weight(route))
            ),
            format!("give its share to the others first: `vamp gateway set-weights {name} …`"),
        )),
    }
}

/// A stored gateway with the weights that its author left to be shared out.
pub(super) fn settled(name: &str, known: &dyn Known) -> Option<Gateway> {
    let mut stored = gateway(name, known)?.clone();
    let mut routes = stored.routes.clone();
    if settle(name, &mut routes).is_ok() {
        stored.routes = routes;
    }
    Some(stored)
}

/// Settles the weights, as a gateway does that is written by itself.
pub(super) fn settle(name: &str, routes: &mut [GatewayRoute]) -> Result<(), (String, String)> {
    let inline = |route: &GatewayRoute| match &route.content {
        RouteUse::Inline(body) => Some(body.weight),
        RouteUse::Stored { .. } => None,
    };
    let Some(given) = routes.iter().map(inline).collect::<Option<Vec<_>>>() else { return Ok(()) };
    let shares = weights::share_out(&given).map_err(|wrong| {
        let message = format!("the weights of gateway `{name}` add up to {}", percent::format_sum(wrong.sum));
        (message, "say in the blueprint what each of its services gets, 100% in sum".to_owned())
    })?;
    for (route, share) in routes.iter_mut().zip(shares) {
        if let RouteUse::Inline(body) = &mut route.content {
            body.weight = Some(share);
        }
    }
    Ok(())
}

/// A blueprint from which the same can be deployed, with what the gateways say now.
pub(crate) fn export(deployment: &Deployment, known: &dyn Known) -> Blueprint {
    let Deployment { name, mut metadata, mut body } = deployment.clone();
    given::exported(deployment, &mut metadata);
    for cluster in &mut body.clusters {
        let ports = Ports::of(cluster);
        let own = ports.names().filter_map(|port| {
            let stored = gateway(&inner_gateway(&name, &cluster.name, port), known)?;
            Some((port.to_owned(), exported(stored, |path| path.split('/').nth(2).map(str::to_owned))))
        });
        let own = own.collect();
        cluster.gateways = own;
    }
    for outer in &mut body.gateways {
        let stored = gateway(&format!("{name}/{}", outer.key), known);
        // One that is on its way elsewhere is exported as it is to be.
        if let Some(stored) = stored.filter(|stored| hold::leaving(stored).is_empty()) {
            outer.port = stored.port;
            let prefix = format!("{name}/");
            outer.body = exported(stored, |path| path.strip_prefix(&prefix).map(str::to_owned));
        }
    }
    Blueprint { name, metadata, body }
}

fn exported(stored: &Gateway, path: impl Fn(&str) -> Option<String>) -> InnerGateway {
    let routes = stored.routes.iter().filter_map(|route| {
        let path = RoutePath::Gateway(path(&route.path.to_string())?);
        Some(GatewayRoute { path, content: route.content.clone() })
    });
    InnerGateway { sticky: Some(stored.sticky), virtual_hosts: stored.virtual_hosts.clone(), routes: routes.collect() }
}

pub(super) fn changed(next: Gateway, known: &dyn Known) -> Option<WriteRequest> {
    let same = settled(&next.name, known).as_ref() == Some(&next);
    (!same).then(|| WriteRequest::replace(Artifact::Gateway(next), None))
}

/// Gateways by which clients come in that a deployment had not in an old version.
pub(super) fn stale(before: &Deployment, then: &Deployment, known: &dyn Known) -> Vec<String> {
    let names = before.body.gateways.iter().map(|gateway| format!("{}/{}", before.name, gateway.key));
    let then = Gates::of(then);
    names.filter(|name| !then.owns(name) && gateway(name, known).is_some()).collect()
}

/// Gateways of an old version that are gone, as they come back: as they were last, as far as that leads to what the
/// version has. Where that is not known, the first service of a port takes all of it.
pub(super) fn returning(then: &Deployment, were: &[Gateway], known: &dyn Known) -> Vec<Gateway> {
    let is_gone = |name: &str| gateway(name, known).is_none();
    let were: HashMap<&str, &Gateway> = were.iter().map(|gateway| (gateway.name.as_str(), gateway)).collect();
    let last = |name: &str| were.get(name).copied().cloned();
    let mut returning = Vec::new();
    let gates = Gates::of(then);
    for cluster in &then.body.clusters {
        let Some(ports) = gates.ports(&cluster.name) else { continue };
        for port in ports.names() {
            let name = inner_gateway(&then.name, &cluster.name, port);
            if !is_gone(&name) {
                continue;
            }
            let paths = gates.paths(&cluster.name, port);
            let was = last(&name).and_then(|was| fitting(was, |route| paths.contains(&route.path.to_string())));
            returning.extend(was.or_else(|| {
                let mut made = inner(&then.name, cluster, ports, port, None, known).ok()?;
                let mut shares = std::iter::once(Share::WHOLE).chain(std::iter::repeat(Share::NONE));
                for route in &mut made.routes {
                    route.content = with_weight(&route.content, shares.next());
                }
                Some(made)
            }));
        }
    }
    for given in &then.body.gateways {
        let name = format!("{}/{}", then.name, given.key);
        let said: HashSet<String> =
            given.body.routes.iter().map(|said| format!("{}/{}", then.name, said.path)).collect();
        let was = last(&name).filter(|_| is_gone(&name));
        returning.extend(was.and_then(|was| fitting(was, |route| said.contains(&route.path.to_string()))));
    }
    returning
}

/// A gateway with the routes that are left of it, if these take all.
fn fitting(mut was: Gateway, is_left: impl Fn(&GatewayRoute) -> bool) -> Option<Gateway> {
    hold::let_go(&mut was);
    settle(&was.name, &mut was.routes).ok()?;
    was.routes.retain(is_left);
    let sum: u32 = was.routes.iter().map(|route| u32::from(weight(route).0)).sum();
    (sum == u32::from(Share::WHOLE.0)).then_some(was)
}

/// Holds the gateways that were written or deleted to what their deployments are: a gateway of a cluster has one route
/// for each service, and goes with the last one.
pub(crate) fn check(touched: &BTreeSet<&str>, known: &dyn Known) -> Vec<Finding> {
    let mut of_deployments: BTreeMap<&str, Option<Gates<'_>>> = BTreeMap::new();
    let faults = touched.iter().filter_map(|name| {
        let (first, _) = name.split_once('/')?;
        let fault = |message: String, hint: &str| Finding::new(Kind::Gateway, name, "/routes", message, hint);
        let gates = of_deployments.entry(first).or_insert_with(|| match known.artifact(Kind::Deployment, first) {
            Some(Artifact::Deployment(deployment)) => Some(Gates::of(deployment)),
            _ => None,
        });
        let gates = gates.as_ref().filter(|gates| gates.owns(name))?;
        let mend = "merge a blueprint into the deployment, or remove services from it";
        let Some(stored) = gateway(name, known) else {
            return Some(fault(format!("gateway `{name}` belongs to deployment `{first}`"), mend));
        };
        let [_, cluster, port] = name.split('/').collect::<Vec<_>>()[..] else { return None };
        let expected = gates.paths(cluster, port);
        let found: HashSet<String> = stored.routes.iter().map(|route| route.path.to_string()).collect();
        (expected != found).then(|| {
            let message =
                format!("gateway `{name}` must have one route for each service of its cluster, and no others");
            fault(message, mend)
        })
    });
    faults.collect()
}
