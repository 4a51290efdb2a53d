//! From the wire to a table that decides, with all problems at once.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::check::{self, Problems};
use super::rewrite::{Rewrite, Template};
use super::{
    CompiledEndpoint, CompiledGateway, CompiledRoute, CompiledTable, Guard, Level, LevelKey, Problem, Strength, Weights,
};
use super::{hosts::Hosts, links};
use crate::condition::Condition;
use crate::split::{Split, Wheels, period};
use crate::wire::{self, Share, Sticky, Target};

/// Compiles a table; gateways that did not change are taken over from `previous`.
pub(super) fn table(table: &wire::Table, previous: Option<&CompiledTable>) -> Result<CompiledTable, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut wheels = Wheels::default();
    for level in previous.iter().flat_map(|table| table.gateways()).flat_map(|gateway| gateway.levels()) {
        wheels.keep(&level.split);
    }
    let mut gateways: Vec<Arc<CompiledGateway>> = Vec::with_capacity(table.gateways.len());
    for wire in &table.gateways {
        let same = previous.and_then(|table| taken_over(wire, table));
        gateways.push(same.unwrap_or_else(|| Arc::new(gateway(wire, &mut wheels, &mut problems))));
    }
    gateways.sort_by(|a, b| a.wire.name.cmp(&b.wire.name));
    check::names(&gateways, &mut problems);
    let links = links::resolve(&gateways, &mut problems);
    let (ports, hosts) = claims(&gateways, &mut problems);
    problems.none_or_all().map(|()| CompiledTable { generation: table.generation, gateways, links, ports, hosts })
}

/// The gateway as it is compiled already. The values are compared whole: that says the same as their digests do, which
/// would have to be computed for it.
fn taken_over(wire: &wire::Gateway, previous: &CompiledTable) -> Option<Arc<CompiledGateway>> {
    let gateway = previous.gateways.get(previous.find(&wire.name)?)?;
    (gateway.wire == *wire).then(|| Arc::clone(gateway))
}

/// Ports and hosts, each with one owner.
fn claims(gateways: &[Arc<CompiledGateway>], problems: &mut Problems) -> (Box<[Option<u32>]>, Hosts) {
    let port_max = gateways.iter().filter_map(|gateway| gateway.wire.port).max();
    let mut ports = vec![None; port_max.map_or(0, |port| usize::from(port) + 1)];
    let mut hosts = Hosts::default();
    let name = |index: usize| gateways.get(index).map_or("", |gateway| gateway.wire.name.as_str());
    for (index, gateway) in gateways.iter().enumerate() {
        if let Some(port) = gateway.wire.port
            && let Some(place) = ports.get_mut(usize::from(port))
        {
            if let Some(owner) = *place {
                let owner = usize::try_from(owner).map_or("", name);
                problems.add(name(index), "port", format!("port {port} belongs to gateway `{owner}`: choose another"));
            } else {
                *place = u32::try_from(index).ok();
            }
        }
        for (position, host) in gateway.wire.virtual_hosts.iter().enumerate() {
            if !check::is_virtual_host(host) {
                let message = format!("`{host}` is no host name: write a name, or `*.` and a name, without port");
                problems.add(name(index), &format!("virtual_hosts[{position}]"), message);
            } else if let Some(owner) = hosts.claim(host, index) {
                let message = format!("host `{host}` belongs to gateway `{}`: choose another", name(owner));
                problems.add(name(index), &format!("virtual_hosts[{position}]"), message);
            }
        }
    }
    (ports.into(), hosts)
}

fn gateway(wire: &wire::Gateway, wheels: &mut Wheels, problems: &mut Problems) -> CompiledGateway {
    check::gateway(wire, problems);
    let mut levels = Vec::new();
    let weights = weights(wire, wheels, &mut levels);
    let mut guards = Vec::new();
    let mut routes = Vec::with_capacity(wire.routes.len());
    for (index, route) in wire.routes.iter().enumerate() {
        if let Some(text) = &route.condition
            && let Some(condition) = parse(wire, || format!("{}.condition", check::place(route)), text, problems)
        {
            let strength = strength(wire, index, route.condition_strength, wheels, &mut levels);
            guards.push(Guard { route: index, condition, strength });
        }
        let rewrites = rewrites(wire, route, problems);
        let endpoints = match &route.target {
            Target::Endpoints(endpoints) => {
                endpoints.iter().map(|endpoint| CompiledEndpoint { wire: endpoint.clone() }).collect()
            }
            Target::Gateway(_) => Vec::new(),
        };
        routes.push(CompiledRoute { wire: route.clone(), endpoints, rewrites });
    }
    let is_sticky = wire.sticky != Sticky::None;
    let mut by_lookup: Vec<usize> = if is_sticky { (0..routes.len()).collect() } else { Vec::new() };
    by_lookup.sort_by_key(|index| routes.get(*index).map(|route| route.wire.lookup.as_str()));
    CompiledGateway {
        wire: wire.clone(),
        digest: wire::digest_of_gateway(wire),
        routes,
        cookie: is_sticky.then(|| crate::cookie::name(&wire.lookup)),
        levels,
        weights,
        guards: guards.into(),
        by_lookup: by_lookup.into(),
    }
}

fn parse(
    wire: &wire::Gateway,
    path: impl FnOnce() -> String,
    text: &str,
    problems: &mut Problems,
) -> Option<Condition> {
    Condition::parse(text).map_err(|error| problems.add(&wire.name, &path(), error.to_string())).ok()
}

/// What decides by weight; its level stands first.
fn weights(wire: &wire::Gateway, wheels: &mut Wheels, levels: &mut Vec<Level>) -> Weights {
    let shares: Box<[Share]> = wire.routes.iter().map(|route| route.weight).collect();
    if let Some(split) = Split::new(&shares, wheels) {
        levels.push(level(wire, None, shares, split));
        return Weights::Split(0);
    }
    shares.iter().position(|share| share.0 > 0).map_or(Weights::None, Weights::Only)
}

/// How a condition's strength is kept: by a level where it has something to decide.
fn strength(
    wire: &wire::Gateway,
    index: usize,
    strength: Share,
    wheels: &mut Wheels,
    levels: &mut Vec<Level>,
) -> Strength {
    let rest = Share(Share::WHOLE.0.saturating_sub(strength.0));
    let shares: Box<[Share]> = [strength, rest].into();
    let Some(split) = Split::new(&shares, wheels) else {
        return if strength == Share::NONE { Strength::Nothing } else { Strength::Everything };
    };
    levels.push(level(wire, Some(index), shares, split));
    Strength::Ticket(levels.len() - 1)
}

fn level(wire: &wire::Gateway, strength_of: Option<usize>, shares: Box<[Share]>, split: Split) -> Level {
    let mut identity = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // The length first: no two lists of parts read the same.
        identity.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        identity.update(bytes);
    };
    part(wire.name.as_bytes());
    if let Some(route) = strength_of.and_then(|index| wire.routes.get(index)) {
        part(b"strength");
        part(route.name.as_bytes());
    } else {
        part(b"weights");
        wire.routes.iter().for_each(|route| part(route.name.as_bytes()));
    }
    shares.iter().for_each(|share| part(&share.0.to_be_bytes()));
    let digest: [u8; 32] = identity.finalize().into();
    let key = digest.iter().take(16).fold(0, |key, byte| key << 8 | u128::from(*byte));
    let period = period(&shares);
    Level { key: LevelKey(key), period, strength_of, shares, split }
}

fn rewrites(wire: &wire::Gateway, route: &wire::Route, problems: &mut Problems) -> Box<[Rewrite]> {
    let mut compiled = Vec::with_capacity(route.rewrites.len());
    for (index, rewrite) in route.rewrites.iter().enumerate() {
        let path = |part: &str| format!("{}.rewrites[{index}].{part}", check::place(route));
        let template = Template::parse(&rewrite.path);
        let template = template.map_err(|message| problems.add(&wire.name, &path("path"), message)).ok();
        let condition = parse(wire, || path("condition"), &rewrite.condition, problems);
        compiled.extend(template.zip(condition).map(|(template, condition)| Rewrite::new(template, condition)));
    }
    compiled.into()
}
