//! The gateways by which clients come in. A merge changes of them what its file says, route by route; what people made
//! of them since stays.

use std::collections::{HashMap, HashSet};

use vamp_model::{Gateway, GatewayRoute, OuterGateway, Protocol, RouteBody, RoutePath, RouteUse};
use vamp_routing::wire::{Share, Sticky};

use super::gates::Gates;
use super::gateways::{PLAIN_TCP, settle, settled};
use super::{Known, hold};

/// A gateway by which clients come in, as it is after a merge. `former` is what was said of it until now: its routes go
/// when they are said no longer, those that somebody else added stay.
pub(super) fn outer(
    merged: &Gates<'_>,
    given: &OuterGateway,
    former: Option<&OuterGateway>,
    known: &dyn Known,
) -> Result<Gateway, (String, String)> {
    let deployment = merged.deployment;
    let name = format!("{deployment}/{}", given.key);
    let stored = settled(&name, known);
    let own = |route: &GatewayRoute| RoutePath::Gateway(format!("{deployment}/{}", route.path));
    let there = stored.as_ref().map(|stored| stored.routes.as_slice()).unwrap_or_default();
    let said: Vec<RoutePath> = given.body.routes.iter().map(own).collect();
    let is_said: HashSet<&RoutePath> = said.iter().collect();
    let mut was_said: HashSet<RoutePath> = former.iter().flat_map(|former| &former.body.routes).map(own).collect();
    let leaving = stored.iter().flat_map(hold::leaving);
    was_said.extend(leaving.map(|path| RoutePath::Gateway(path.to_owned())));
    let (gone, kept): (Vec<&GatewayRoute>, Vec<&GatewayRoute>) =
        there.iter().filter(|route| !is_said.contains(&route.path)).partition(|route| was_said.contains(&route.path));
    let is_freed = gone.iter().any(|route| said_weight(&route.content).is_some_and(|share| share != Share::NONE));
    // Beside routes that keep what they have, a new one gets nothing yet; what others leave it gets.
    let newcomer = (!there.is_empty() && !is_freed).then_some(Share::NONE);
    let mut routes: Vec<GatewayRoute> = Vec::new();
    let formers: HashMap<&RoutePath, &GatewayRoute> = there.iter().map(|former| (&former.path, former)).collect();
    for (path, route) in said.iter().zip(&given.body.routes) {
        let content = over(&route.content, formers.get(path).copied(), newcomer);
        routes.push(GatewayRoute { path: path.clone(), content });
    }
    routes.extend(kept.into_iter().cloned());
    if is_freed && routes.iter().all(|route| said_weight(&route.content) == Some(Share::NONE)) {
        for (route, given) in routes.iter_mut().zip(&given.body.routes) {
            route.content = with_weight(&route.content, said_weight(&given.content));
        }
    }
    settle(&name, &mut routes)?;
    let stored = stored.as_ref();
    let hosts = Some(&given.body.virtual_hosts).filter(|hosts| !hosts.is_empty());
    let mut next = Gateway {
        metadata: stored.map(|stored| stored.metadata.clone()).unwrap_or_default(),
        port: given.port.or(stored.and_then(|stored| stored.port)),
        tcp: (given.protocol == Protocol::Tcp).then(|| stored.and_then(|stored| stored.tcp).unwrap_or(PLAIN_TCP)),
        sticky: given.body.sticky.or(stored.map(|stored| stored.sticky)).unwrap_or(Sticky::None),
        virtual_hosts: hosts.or(stored.map(|stored| &stored.virtual_hosts)).cloned().unwrap_or_default(),
        routes,
        name,
    };
    hold::let_go(&mut next);
    Ok(hold::lead(next, stored, merged, known))
}

/// What a file says of a route over what it is: its weight where the file gives none, and all of it where the file says
/// nothing else. A route that was not there gets `newcomer`.
pub(super) fn over(given: &RouteUse, former: Option<&GatewayRoute>, newcomer: Option<Share>) -> RouteUse {
    let share = said_weight(given);
    match (given, former) {
        (RouteUse::Inline(body), Some(former)) if says_nothing(body) => {
            with_weight(&former.content, share.or(said_weight(&former.content)))
        }
        (given, Some(former)) => with_weight(given, share.or(said_weight(&former.content))),
        (RouteUse::Inline(_), None) => with_weight(given, share.or(newcomer)),
        // A stored route brings its own weight.
        (RouteUse::Stored { .. }, None) => given.clone(),
    }
}

pub(super) fn says_nothing(body: &RouteBody) -> bool {
    RouteBody { weight: None, ..body.clone() } == RouteBody::default()
}

pub(super) fn said_weight(content: &RouteUse) -> Option<Share> {
    match content {
        RouteUse::Inline(body) => body.weight,
        RouteUse::Stored { weight, .. } => *weight,
    }
}

pub(super) fn with_weight(content: &RouteUse, weight: Option<Share>) -> RouteUse {
    match content {
        RouteUse::Inline(body) => RouteUse::Inline(RouteBody { weight, ..body.clone() }),
        RouteUse::Stored { reference, .. } => RouteUse::Stored { reference: reference.clone(), weight },
    }
}
