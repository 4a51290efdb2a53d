//! Routes that lead to other gateways: each to one that is there, none in a circle, no chain too long.

use std::sync::Arc;

use super::check::Problems;
use super::{Chain, CompiledGateway, CompiledRoute};
use crate::wire::Target;

/// For each gateway with routes that lead to gateways, the gateway of each route.
pub(super) fn resolve(gateways: &[Arc<CompiledGateway>], problems: &mut Problems) -> Vec<Option<Box<[Option<usize>]>>> {
    let links: Vec<_> = gateways.iter().map(|gateway| of_gateway(gateway, gateways, problems)).collect();
    // Gateways that a walk from another one has left behind, with the length of the longest chain from each.
    let mut lengths: Vec<Length> = vec![Length::Unknown; gateways.len()];
    for start in 0..gateways.len() {
        walk(start, &links, gateways, &mut lengths, problems);
    }
    for (gateway, length) in gateways.iter().zip(&lengths) {
        if let Length::Known(length) = length
            && *length > Chain::MAX
        {
            let message = format!("a chain of {length} gateways begins here: make it at most {} long", Chain::MAX);
            problems.add(&gateway.wire.name, "routes", message);
        }
    }
    links
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Unknown,
    /// The walk stands on it.
    Open,
    /// Gateways of the longest chain from here.
    Known(usize),
}

fn of_gateway(
    gateway: &CompiledGateway,
    gateways: &[Arc<CompiledGateway>],
    problems: &mut Problems,
) -> Option<Box<[Option<usize>]>> {
    let leads = |target: &Target| matches!(target, Target::Gateway(_));
    if !gateway.routes.iter().any(|route| leads(&route.wire.target)) {
        return None;
    }
    let find = |name: &str| gateways.binary_search_by(|gateway| gateway.wire.name.as_str().cmp(name)).ok();
    let resolved = gateway.routes.iter().map(|CompiledRoute { wire: route, .. }| {
        let Target::Gateway(name) = &route.target else { return None };
        let found = find(name);
        let path = || format!("routes[{:?}]", route.name);
        match found.and_then(|found| gateways.get(found)) {
            None => {
                let message = format!("it leads to gateway `{name}`, which is not there: create that first");
                problems.add(&gateway.wire.name, &path(), message);
            }
            Some(next) if next.wire.tcp.is_some() != gateway.wire.tcp.is_some() => {
                let carries = |gateway: &CompiledGateway| if gateway.wire.tcp.is_some() { "TCP" } else { "HTTP" };
                let message = format!(
                    "it leads from {} to gateway `{name}`, which carries {}: let it lead to the gateway's address, or give both the same protocol",
                    carries(gateway),
                    carries(next)
                );
                problems.add(&gateway.wire.name, &path(), message);
            }
            Some(_) => {}
        }
        found
    });
    Some(resolved.collect())
}

/// One gateway on the way of a walk: where it is, the links still to follow, the longest chain found behind it.
struct Step {
    gateway: usize,
    next_route: usize,
    longest: usize,
}

/// Walks depth first from a gateway, without recursion: a hostile table may be as deep as it is long.
fn walk(
    start: usize,
    links: &[Option<Box<[Option<usize>]>>],
    gateways: &[Arc<CompiledGateway>],
    lengths: &mut [Length],
    problems: &mut Problems,
) {
    let mut way = Vec::new();
    enter(start, lengths, &mut way);
    while let Some(step) = way.last_mut() {
        let targets = links.get(step.gateway).and_then(Option::as_deref).unwrap_or_default();
        let Some(target) = targets.get(step.next_route) else {
            let (gateway, length) = (step.gateway, step.longest + 1);
            way.pop();
            set(lengths, gateway, Length::Known(length));
            if let Some(before) = way.last_mut() {
                before.longest = before.longest.max(length);
            }
            continue;
        };
        step.next_route += 1;
        let Some(target) = *target else { continue };
        match lengths.get(target) {
            Some(Length::Known(length)) => step.longest = step.longest.max(*length),
            Some(Length::Open) => {
                let name = |index: usize| gateways.get(index).map_or("", |gateway| gateway.wire.name.as_str());
                let from = way.iter().skip_while(|step| step.gateway != target).map(|step| name(step.gateway));
                let circle: Vec<_> = from.chain([name(target)]).collect();
                let message =
                    format!("its routes lead in a circle: {}; let one of them lead elsewhere", circle.join(" → "));
                problems.add(name(target), "routes", message);
            }
            Some(Length::Unknown) => enter(target, lengths, &mut way),
            None => {}
        }
    }
}

fn enter(gateway: usize, lengths: &mut [Length], way: &mut Vec<Step>) {
    if lengths.get(gateway) == Some(&Length::Unknown) {
        set(lengths, gateway, Length::Open);
        way.push(Step { gateway, next_route: 0, longest: 0 });
    }
}

fn set(lengths: &mut [Length], gateway: usize, length: Length) {
    if let Some(place) = lengths.get_mut(gateway) {
        *place = length;
    }
}
