//! From the wire to a table that decides, with all problems at once.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::check::{self, Problems};
use super::rewrite::{Rewrite, Template};
use super::{
    CompiledGateway, CompiledRoute, CompiledTable, Directory, Front, Guard, Level, LevelKey, Part, Problem, Strength,
    Weights,
};
use super::{hosts::Hosts, links};
use crate::condition::Condition;
use crate::source::BySource;
use crate::split::{Split, Wheels, period};
use crate::wire::{self, Share, Sticky, Target};

/// Compiles a table of parts; what did not change is shared with `previous`.
pub(super) fn table(
    generation: wire::Generation,
    parts: Vec<Part>,
    previous: Option<&CompiledTable>,
) -> Result<CompiledTable, Vec<Problem>> {
    let mut problems = Problems::default();
    let former = previous.into_iter().flat_map(CompiledTable::gateways).flat_map(|gateway| gateway.levels());
    let mut wheels = Wheels::after(former.map(|level| &level.split));
    let mut gateways: Vec<Arc<CompiledGateway>> = Vec::with_capacity(parts.len());
    for part in parts {
        gateways.push(match part {
            Part::Compiled(gateway) => gateway,
            Part::Value(value, digest) => Arc::new(gateway(value, digest, &mut wheels, &mut problems)),
        });
    }
    gateways.sort_by(|a, b| a.wire.name.cmp(&b.wire.name));
    let directory = match previous.filter(|previous| are_found_alike(&previous.gateways, &gateways)) {
        Some(previous) => Arc::clone(&previous.directory),
        None => Arc::new(directory(&gateways, &mut problems)),
    };
    problems.none_or_all().map(|()| CompiledTable { generation, gateways, directory })
}

/// Whether the directory of the one is that of the other, and has been checked for it.
fn are_found_alike(before: &[Arc<CompiledGateway>], after: &[Arc<CompiledGateway>]) -> bool {
    before.len() == after.len() && before.iter().zip(after).all(|(before, after)| is_found_alike(before, after))
}

fn is_found_alike(before: &Arc<CompiledGateway>, after: &Arc<CompiledGateway>) -> bool {
    Arc::ptr_eq(before, after)
        || place(before) == place(after) && before.routes.iter().map(link).eq(after.routes.iter().map(link))
}

fn place(gateway: &CompiledGateway) -> (&str, &str, Option<u16>, &[String], bool) {
    let Front { name, lookup, port, virtual_hosts, sticky: _, tcp } = &gateway.wire;
    (name, lookup, *port, virtual_hosts, tcp.is_some())
}

fn link(route: &CompiledRoute) -> Option<&str> {
    match &route.wire.target {
        Target::Gateway(name) => Some(name),
        Target::Endpoints(_) => None,
    }
}

fn directory(gateways: &[Arc<CompiledGateway>], problems: &mut Problems) -> Directory {
    check::names(gateways, problems);
    let links = links::resolve(gateways, problems);
    let (ports, hosts) = claims(gateways, problems);
    Directory { links, ports, hosts }
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

fn gateway(
    wire: wire::Gateway,
    digest: Option<wire::Digest>,
    wheels: &mut Wheels<'_>,
    problems: &mut Problems,
) -> CompiledGateway {
    check::gateway(&wire, problems);
    let mut levels = Vec::new();
    let weights = weights(&wire, wheels, &mut levels);
    let mut guards = Vec::new();
    let mut all_rewrites = Vec::with_capacity(wire.routes.len());
    for (index, route) in wire.routes.iter().enumerate() {
        if let Some(text) = &route.condition
            && let Some(condition) = parse(&wire, || format!("{}.condition", check::place(route)), text, problems)
        {
            check::condition(&wire, route, &condition, problems);
            let strength = strength(&wire, index, route.condition_strength, wheels, &mut levels);
            guards.push(Guard { route: index, condition, strength });
        }
        all_rewrites.push(rewrites(&wire, route, problems));
    }
    let digest = digest.unwrap_or_else(|| wire::digest_of_gateway(&wire));
    let is_sticky = wire.sticky != Sticky::None;
    let has_cookie = is_sticky && wire.tcp.is_none();
    let by_source = (is_sticky && wire.tcp.is_some()).then(|| BySource::new(&wire));
    let wire::Gateway { name, lookup, port, virtual_hosts, sticky, tcp, routes } = wire;
    let routes: Vec<_> =
        routes.into_iter().zip(all_rewrites).map(|(wire, rewrites)| CompiledRoute { wire, rewrites }).collect();
    let mut by_lookup: Vec<usize> = if has_cookie { (0..routes.len()).collect() } else { Vec::new() };
    by_lookup.sort_by_key(|index| routes.get(*index).map(|route| route.wire.lookup.as_str()));
    CompiledGateway {
        cookie: has_cookie.then(|| crate::cookie::name(&lookup)),
        wire: Front { name, lookup, port, virtual_hosts, sticky, tcp },
        digest,
        routes,
        levels,
        weights,
        guards: guards.into(),
        by_lookup: by_lookup.into(),
        by_source,
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
fn weights(wire: &wire::Gateway, wheels: &mut Wheels<'_>, levels: &mut Vec<Level>) -> Weights {
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
    wheels: &mut Wheels<'_>,
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
