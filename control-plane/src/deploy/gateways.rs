//! The gateways of a deployment: one before each port of each cluster, and those by which clients come in.

use std::collections::BTreeSet;

use vamp_model::{
    Artifact, Blueprint, Cluster, Deployment, Gateway, GatewayRoute, InnerGateway, Kind, Protocol, RouteBody,
    RoutePath, RouteUse, Topology, percent, step, weights,
};
use vamp_routing::wire::{Share, Sticky, Tcp};

use super::hold;
use super::outer::{outer, over, said_weight, with_weight};
use super::paper::Paper;
use super::{Known, breed, gateway, given, inner_gateway};
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
    for cluster in &merged.body.clusters {
        let given = attached.cluster(&cluster.name);
        for port in ports(cluster) {
            let name = inner_gateway(&merged.name, &cluster.name, &port);
            if let Some(foreign) = foreign(&name, stable, known) {
                faults.push((step("/clusters", &cluster.name), foreign.0, foreign.1));
                continue;
            }
            let said = given.and_then(|given| given.gateways.iter().find(|(name, _)| *name == port));
            let said = said.map(|(_, gateway)| gateway);
            let pointer = step("/clusters", &cluster.name);
            // What is said of the gateway is at fault, where anything is.
            let pointer = said.map_or(pointer.clone(), |_| step(&format!("{pointer}/gateways"), &port));
            match inner(&merged.name, cluster, &port, said, known) {
                Ok(gateway) => paper.apply(changed(gateway, known).into_iter().collect()),
                Err((message, hint)) => faults.push((pointer, message, hint)),
            }
        }
    }
    for outer_gateway in &attached.gateways {
        let pointer = step("/gateways", &outer_gateway.key);
        let former = stable.and_then(|stable| stable.body.gateways.iter().find(|found| found.key == outer_gateway.key));
        match outer(merged, outer_gateway, former, &paper) {
            Ok(gateway) => match foreign(&gateway.name, stable, known) {
                Some((message, hint)) => faults.push((pointer, message, hint)),
                None => paper.apply(changed(gateway, known).into_iter().collect()),
            },
            Err((message, hint)) => faults.push((pointer, message, hint)),
        }
    }
    faults.extend(stable.into_iter().flat_map(|stable| cut_off(stable, merged, &paper)));
    if !faults.is_empty() {
        return Err(faults);
    }
    let unused = hold::unused(merged, &paper);
    paper.apply(unused.iter().map(|name| WriteRequest::delete(Kind::Gateway, name, None)).collect());
    Ok(paper.into_writes())
}

/// Gateways that would be left with a route to a port that no service has any more.
pub(super) fn cut_off(stable: &Deployment, merged: &Deployment, known: &dyn Known) -> Vec<Fault> {
    let clusters = stable.body.clusters.iter();
    let before = clusters.flat_map(|cluster| ports(cluster).into_iter().map(move |port| (&cluster.name, port)));
    let gone = before.map(|(cluster, port)| (cluster, inner_gateway(&stable.name, cluster, &port), port));
    let faults = gone.filter(|(_, name, _)| !owns(merged, name)).filter_map(|(cluster, name, port)| {
        let from = hold::leads_to(&name, known)?;
        let message = format!(
            "no service of cluster `{cluster}` would have port `{port}` any more, and gateway `{from}` leads to it"
        );
        Some((step("/clusters", cluster), message, format!("lead `{from}` elsewhere first, or in the same blueprint")))
    });
    faults.collect()
}

/// What stands in the way of a gateway of the deployment: one of that name that is somebody else's.
pub(super) fn foreign(name: &str, stable: Option<&Deployment>, known: &dyn Known) -> Option<(String, String)> {
    if gateway(name, known).is_none() || stable.is_some_and(|stable| owns(stable, name)) {
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
    for cluster in &before.body.clusters {
        let left = after.cluster(&cluster.name);
        let left_ports: Vec<String> = left.map(ports).unwrap_or_default();
        for port in ports(cluster) {
            let name = inner_gateway(&before.name, &cluster.name, &port);
            let Some(stored) = settled(&name, known) else { continue };
            let Some(left) = left.filter(|_| left_ports.contains(&port)) else {
                writes.push(WriteRequest::delete(Kind::Gateway, &name, None));
                continue;
            };
            let mut next = stored.clone();
            next.routes.retain(|route| leads_to(route, &before.name, left, &port));
            let gone = stored.routes.iter().filter(|route| !leads_to(route, &before.name, left, &port));
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
        if !after.body.gateways.iter().any(|left| left.key == gateway.key) {
            let name = format!("{}/{}", before.name, gateway.key);
            if known.artifact(Kind::Gateway, &name).is_some() {
                writes.push(WriteRequest::delete(Kind::Gateway, &name, None));
            }
        }
    }
    if faults.is_empty() { Ok(writes) } else { Err(faults) }
}

/// The names of the ports of a cluster's services, in order.
fn ports(cluster: &Cluster) -> Vec<String> {
    let mut ports: Vec<String> = Vec::new();
    for breed in cluster.services.iter().filter_map(breed) {
        for port in &breed.ports {
            if !ports.contains(&port.name) {
                ports.push(port.name.clone());
            }
        }
    }
    ports
}

/// Connections as they come, without PROXY headers.
pub(super) const PLAIN_TCP: Tcp = Tcp { accept_proxy: false, send_proxy: None };

/// Whether a port of a cluster carries connections rather than HTTP, by the first breed that has it.
fn carries_tcp(cluster: &Cluster, port: &str) -> bool {
    let mut ports = cluster.services.iter().filter_map(breed).flat_map(|breed| &breed.ports);
    ports.find(|found| found.name == port).is_some_and(|found| found.protocol == Protocol::Tcp)
}

/// The services of a cluster that have a port.
pub(super) fn services_with<'c>(cluster: &'c Cluster, port: &'c str) -> impl Iterator<Item = &'c str> {
    let having = cluster.services.iter().filter_map(breed);
    having.filter(move |breed| breed.ports.iter().any(|found| found.name == port)).map(|breed| breed.name.as_str())
}

/// Where a route to a service of a cluster leads.
pub(super) fn service_path(deployment: &str, cluster: &str, service: &str, port: &str) -> String {
    format!("{deployment}/{cluster}/{service}/{port}")
}

fn leads_to(route: &GatewayRoute, deployment: &str, cluster: &Cluster, port: &str) -> bool {
    let to = route.path.to_string();
    services_with(cluster, port).any(|service| to == service_path(deployment, &cluster.name, service, port))
}

pub(super) fn weight(route: &GatewayRoute) -> Share {
    said_weight(&route.content).unwrap_or(Share::NONE)
}

/// The gateway of a port of a cluster: what it was, with what the blueprint says of it, and a route for each service.
/// A route that is new beside others gets nothing yet, so that no traffic moves by itself.
fn inner(
    deployment: &str,
    cluster: &Cluster,
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
    for service in services_with(cluster, port) {
        let path = RoutePath::Instances(service_path(deployment, &cluster.name, service, port));
        let given = said.and_then(|said| said.routes.iter().find(|route| route.path.to_string() == service));
        let former = there.iter().find(|former| former.path == path);
        let content = over(given.map_or(&nothing, |given| &given.content), former, newcomer);
        routes.push(GatewayRoute { path, content });
    }
    leave_rest(said, &mut routes);
    settle(&name, &mut routes)?;
    refuse_loss(&name, there, &routes)?;
    let sticky = said.and_then(|said| said.sticky).or(stored.map(|stored| stored.sticky)).unwrap_or(Sticky::None);
    let hosts = said.map(|said| said.virtual_hosts.clone()).filter(|hosts| !hosts.is_empty());
    Ok(Gateway {
        metadata: stored.map(|stored| stored.metadata.clone()).unwrap_or_default(),
        port: stored.and_then(|stored| stored.port),
        tcp: carries_tcp(cluster, port).then(|| stored.and_then(|stored| stored.tcp).unwrap_or(PLAIN_TCP)),
        sticky,
        virtual_hosts: hosts.or(stored.map(|stored| stored.virtual_hosts.clone())).unwrap_or_default(),
        routes,
        name,
    })
}

/// Where a blueprint gives weights to some services only, the others share the rest in proportion to what they had: a
/// new version with 10 % takes them from the old ones. What does not add up with that is refused.
fn leave_rest(said: Option<&InnerGateway>, routes: &mut [GatewayRoute]) {
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

/// Whether a blueprint gives a route its weight.
fn is_given(said: Option<&InnerGateway>, route: &GatewayRoute) -> bool {
    let (service, mut given) = (service_of(route), said.iter().flat_map(|said| &said.routes));
    given.any(|given| given.path.to_string() == service && said_weight(&given.content).is_some())
}

/// Services that have a port no longer take no traffic with them.
fn refuse_loss(name: &str, before: &[GatewayRoute], after: &[GatewayRoute]) -> Result<(), (String, String)> {
    if after.iter().any(|route| weight(route) != Share::NONE) {
        return Ok(());
    }
    let gone = before.iter().filter(|former| !after.iter().any(|route| route.path == former.path));
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
        let own = ports(cluster).into_iter().filter_map(|port| {
            let stored = gateway(&inner_gateway(&name, &cluster.name, &port), known)?;
            Some((port, exported(stored, |path| path.split('/').nth(2).map(str::to_owned))))
        });
        cluster.gateways = own.collect();
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
    names.filter(|name| !owns(then, name) && gateway(name, known).is_some()).collect()
}

/// The names of all gateways of a deployment.
pub(crate) fn names(of: &Deployment) -> Vec<String> {
    let clusters = of.body.clusters.iter();
    let inner = clusters.flat_map(|cluster| {
        ports(cluster).into_iter().map(|port| inner_gateway(&of.name, &cluster.name, &port)).collect::<Vec<_>>()
    });
    inner.chain(of.body.gateways.iter().map(|gateway| format!("{}/{}", of.name, gateway.key))).collect()
}

/// Gateways of an old version that are gone, as they come back: as they were last, as far as that leads to what the
/// version has. Where that is not known, the first service of a port takes all of it.
pub(super) fn returning(then: &Deployment, were: &[Gateway], known: &dyn Known) -> Vec<Gateway> {
    let is_gone = |name: &str| gateway(name, known).is_none();
    let last = |name: &str| were.iter().find(|gateway| gateway.name == *name).cloned();
    let mut returning = Vec::new();
    for cluster in &then.body.clusters {
        for port in ports(cluster) {
            let name = inner_gateway(&then.name, &cluster.name, &port);
            if !is_gone(&name) {
                continue;
            }
            let was = last(&name).and_then(|was| fitting(was, |route| leads_to(route, &then.name, cluster, &port)));
            returning.extend(was.or_else(|| {
                let mut made = inner(&then.name, cluster, &port, None, known).ok()?;
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
        let said = |route: &GatewayRoute| {
            given.body.routes.iter().any(|said| route.path.to_string() == format!("{}/{}", then.name, said.path))
        };
        let was = last(&name).filter(|_| is_gone(&name));
        returning.extend(was.and_then(|was| fitting(was, said)));
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

/// Whether a deployment stands behind a gateway of this name.
pub(super) fn owns(deployment: &Deployment, name: &str) -> bool {
    let segments: Vec<&str> = name.split('/').collect();
    match segments.as_slice() {
        [first, key] => *first == deployment.name && deployment.body.gateways.iter().any(|found| found.key == *key),
        [first, cluster, port] => {
            *first == deployment.name
                && deployment.cluster(cluster).is_some_and(|cluster| ports(cluster).iter().any(|found| found == port))
        }
        _ => false,
    }
}

/// Holds the gateways that were written or deleted to what their deployments are: a gateway of a cluster has one route
/// for each service, and goes with the last one.
pub(crate) fn check(touched: &BTreeSet<&str>, known: &dyn Known) -> Vec<Finding> {
    let faults = touched.iter().filter_map(|name| {
        let (first, _) = name.split_once('/')?;
        let fault = |message: String, hint: &str| Finding::new(Kind::Gateway, name, "/routes", message, hint);
        let Some(Artifact::Deployment(deployment)) = known.artifact(Kind::Deployment, first) else { return None };
        if !owns(deployment, name) {
            return None;
        }
        let mend = "merge a blueprint into the deployment, or remove services from it";
        let Some(stored) = gateway(name, known) else {
            return Some(fault(format!("gateway `{name}` belongs to deployment `{first}`"), mend));
        };
        let [_, cluster, port] = name.split('/').collect::<Vec<_>>()[..] else { return None };
        let cluster = deployment.cluster(cluster)?;
        let expected: BTreeSet<String> =
            services_with(cluster, port).map(|service| service_path(first, &cluster.name, service, port)).collect();
        let found: BTreeSet<String> = stored.routes.iter().map(|route| route.path.to_string()).collect();
        (expected != found).then(|| {
            let message =
                format!("gateway `{name}` must have one route for each service of its cluster, and no others");
            fault(message, mend)
        })
    });
    faults.collect()
}
