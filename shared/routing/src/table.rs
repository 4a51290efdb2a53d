//! The compiled table and the decision.
//!
//! Order of a decision: listener, gateway (own port, or host on the shared port), conditions in route order, cookie (or,
//! where connections are carried, the client's address), weights; the same again at each gateway that a route leads to.

mod check;
mod compile;
mod decide;
mod explain;
mod hosts;
mod links;
mod rewrite;

use std::sync::Arc;

use crate::condition::Condition;
use crate::head::Head;
use crate::source::BySource;
use crate::split::Split;
use crate::wire;

use self::hosts::Hosts;
use self::rewrite::Rewrite;

/// Where a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// At a gateway's own port: the gateway at this index of [`CompiledTable::gateways`].
    Gateway(usize),
    /// At the port that the virtual hosts share.
    VirtualHosts,
}

/// One place of one gateway where a share is decided: its weights, or the strength of one condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelRef {
    /// Index into [`CompiledTable::gateways`].
    pub gateway: usize,
    /// Index into [`CompiledGateway::levels`].
    pub level: usize,
}

/// What a decision asks of the process around it.
pub trait Draws {
    /// The ticket that decides this request at this level. The gateway counts; `explain` and `simulate` peek.
    fn draw(&mut self, at: LevelRef) -> u64;

    /// Whether a client's cookie may keep it on this route, or on this endpoint of it. A cookie that names what is down
    /// counts as none: the client is drawn again, and told.
    fn is_up(&self, _gateway: usize, _route: usize, _endpoint: Option<usize>) -> bool {
        true
    }
}

/// Identity of a split level: gateway, kind of level, ordered route keys with weights. While it stays, the account stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelKey(pub u128);

/// A split level as the process that owns the tickets needs to know it.
#[derive(Debug)]
pub struct Level {
    /// Its identity over tables.
    pub key: LevelKey,
    /// Tickets after which the split repeats: a new account starts at a random ticket below it.
    pub period: u64,
    /// The route (index into [`CompiledGateway::routes`]) whose condition's strength it decides; `None` for the weights.
    pub strength_of: Option<usize>,
    /// The shares that it decides: one for each route in order, or the condition's and the rest.
    pub shares: Box<[wire::Share]>,
    split: Split,
}

impl Level {
    /// The side (index into [`Level::shares`]) on which a ticket falls.
    pub fn pick(&self, ticket: u64) -> usize {
        self.split.pick(ticket)
    }
}

/// What decided at one gateway of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecidedBy {
    /// A condition that matched (and, below 100 %, the ticket of its strength, or the client's address).
    Condition,
    /// The client's cookie.
    Cookie,
    /// The client's address, where that is what keeps clients on their routes.
    Source,
    /// The ticket of the weights.
    Weight,
    /// There was nothing to choose: one route has all the weight.
    OnlyRoute,
}

/// What to do about the sticky cookie of one gateway of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CookiePlan {
    /// Leave it alone: the gateway is not sticky, or a condition at 100 % took the request, which needs no cookie.
    None,
    /// The client holds the right route; only another endpoint would be news.
    Keep,
    /// The client must be told its route.
    Set,
}

/// One gateway that the request passed, and the route that it took there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// Index into [`CompiledTable::gateways`].
    pub gateway: usize,
    /// Index into [`CompiledGateway::routes`].
    pub route: usize,
    /// What decided.
    pub decided_by: DecidedBy,
    /// What to do about the cookie.
    pub cookie: CookiePlan,
    /// The endpoint (index into [`CompiledRoute::endpoints`]) that an instance-sticky cookie names, or that the client's
    /// address has.
    pub instance: Option<usize>,
}

/// The gateways that one request passed, first to last; never empty in a decision.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    hops: [Packed; Self::MAX],
    length: u8,
}

impl Chain {
    /// LIMIT: gateways that one request may pass; compile refuses longer chains.
    pub const MAX: usize = 8;

    /// A chain before its first hop.
    fn new() -> Self {
        let nowhere =
            Packed { gateway: 0, route: 0, instance: 0, decided_by: DecidedBy::OnlyRoute, cookie: CookiePlan::None };
        Self { hops: [nowhere; Self::MAX], length: 0 }
    }

    /// Adds a hop, if there is room.
    fn push(&mut self, hop: &Hop) -> Option<()> {
        *self.hops.get_mut(usize::from(self.length))? = Packed::of(hop);
        self.length += 1;
        Some(())
    }

    /// The hops, first to last.
    pub fn hops(&self) -> impl ExactSizeIterator<Item = Hop> {
        self.hops.iter().take(self.length.into()).map(|hop| hop.hop())
    }

    /// The hop whose route has the endpoints.
    #[expect(clippy::indexing_slicing, reason = "a chain begins with one hop and holds at most `MAX`")]
    pub fn last(&self) -> Hop {
        self.hops[usize::from(self.length) - 1].hop()
    }
}

/// A hop as a chain holds it: every decision carries room for the longest chain, so it is small. No table has 2³²
/// gateways, routes or endpoints.
#[derive(Debug, Clone, Copy)]
struct Packed {
    gateway: u32,
    route: u32,
    /// One more than the index; 0 for none.
    instance: u32,
    decided_by: DecidedBy,
    cookie: CookiePlan,
}

impl Packed {
    fn of(hop: &Hop) -> Self {
        let pack = |index| u32::try_from(index).unwrap_or(u32::MAX);
        let instance = hop.instance.map_or(0, |index| pack(index + 1));
        let Hop { gateway, route, decided_by, cookie, .. } = *hop;
        Self { gateway: pack(gateway), route: pack(route), instance, decided_by, cookie }
    }

    fn hop(self) -> Hop {
        let index = |packed| usize::try_from(packed).unwrap_or(usize::MAX);
        let Self { gateway, route, instance, decided_by, cookie } = self;
        let instance = instance.checked_sub(1).map(index);
        Hop { gateway: index(gateway), route: index(route), decided_by, cookie, instance }
    }
}

/// The route that takes the request.
#[derive(Debug)]
pub struct Decision {
    /// How it got there.
    pub chain: Chain,
    /// The path that the endpoint is to see, if a rewrite changed it (without the query, which is kept).
    pub rewritten_path: Option<String>,
}

/// Why no route takes the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// No gateway claims the host: 404.
    UnknownHost,
    /// All weights of this gateway (an index) are 0 and no condition took the request: 503.
    NoWeight {
        /// Index into [`CompiledTable::gateways`].
        gateway: usize,
    },
}

/// The answer to a request head.
pub type Verdict = Result<Decision, Refusal>;

/// One rule that was tried, for `explain`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rule {
    /// The gateway at which it was tried; empty for a host that no gateway claims.
    pub gateway: String,
    /// The route that it could have chosen, where it concerns one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The rule in words: `host "…"`, `condition "…"`, `strength 10 %`, `cookie`, `source 10.0.0.7`, `weights 90/10`,
    /// `rewrite "…"`.
    pub rule: String,
    /// What came of it: `matched`, `did not match`, `taken`, `passed by`; with the reason where there can be several.
    pub result: String,
}

/// Each rule tried, in order, and what came of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Explanation {
    /// The rules in the order in which they were tried.
    pub rules: Vec<Rule>,
    /// Gateways passed, by name.
    pub chain: Vec<String>,
    /// The route taken, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// What decided at the last gateway, or why none did.
    pub decided_by: String,
    /// The path after rewrites, if one changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewritten_path: Option<String>,
    /// The chance of each route of the entry gateway for such a request, given that tickets are drawn: route and share in percent.
    pub shares: Vec<(String, f64)>,
}

/// What makes a table, or one gateway of it, unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The gateway.
    pub gateway: String,
    /// Path inside it, `routes["[127.0.0.1:80]"].condition`; empty for the gateway itself.
    pub path: String,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// One route, ready to decide.
#[derive(Debug)]
pub struct CompiledRoute {
    /// As published.
    pub wire: wire::Route,
    rewrites: Box<[Rewrite]>,
}

impl CompiledRoute {
    /// Its endpoints; empty when it leads to another gateway.
    pub fn endpoints(&self) -> &[wire::Endpoint] {
        match &self.wire.target {
            wire::Target::Endpoints(endpoints) => endpoints,
            wire::Target::Gateway(_) => &[],
        }
    }

    fn is_link(&self) -> bool {
        matches!(self.wire.target, wire::Target::Gateway(_))
    }
}

/// The condition of a route.
#[derive(Debug)]
struct Guard {
    route: usize,
    condition: Condition,
    strength: Strength,
}

/// How many of the requests that match a condition it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strength {
    /// None.
    Nothing,
    /// All.
    Everything,
    /// Those whose ticket at this level says so.
    Ticket(usize),
}

/// What decides where no condition and no cookie does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weights {
    /// All weights are 0.
    None,
    /// This route has all of it.
    Only(usize),
    /// A ticket of this level.
    Split(usize),
}

/// What a gateway is besides its routes, as published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// The name as its author wrote it.
    pub name: String,
    /// The stable hashed name that logs, metrics and cookies use.
    pub lookup: String,
    /// The port that belongs to this gateway alone.
    pub port: Option<u16>,
    /// Hosts on the shared port.
    pub virtual_hosts: Vec<String>,
    /// Stickiness.
    pub sticky: wire::Sticky,
    /// It carries connections, and not HTTP requests.
    pub tcp: Option<wire::Tcp>,
}

/// One gateway, ready to decide; shared between tables while its value does not change.
#[derive(Debug)]
pub struct CompiledGateway {
    /// As published, but for the routes, which stand in [`CompiledGateway::routes`]: a table may have 100,000.
    pub wire: Front,
    /// Digest of its value.
    pub digest: wire::Digest,
    /// The routes in order.
    pub routes: Vec<CompiledRoute>,
    /// Name of its sticky cookie, if it has one.
    pub cookie: Option<String>,
    levels: Vec<Level>,
    weights: Weights,
    /// Those of its routes that have one, in route order.
    guards: Box<[Guard]>,
    /// Of a gateway with a cookie: its routes, sorted by lookup.
    by_lookup: Box<[usize]>,
    /// Of a sticky gateway that carries connections.
    by_source: Option<BySource>,
}

impl CompiledGateway {
    /// The value that it was compiled from.
    pub fn to_wire(&self) -> wire::Gateway {
        let Front { name, lookup, port, virtual_hosts, sticky, tcp } = self.wire.clone();
        let routes = self.routes.iter().map(|route| route.wire.clone()).collect();
        wire::Gateway { name, lookup, port, virtual_hosts, sticky, tcp, routes }
    }

    /// Whether it is compiled from this value. Its digest would say the same, and would have to be computed for it.
    fn is_of(&self, value: &wire::Gateway) -> bool {
        let wire::Gateway { name, lookup, port, virtual_hosts, sticky, tcp, routes } = value;
        let front = &self.wire;
        (&front.name, &front.lookup, &front.port, &front.virtual_hosts, &front.sticky, &front.tcp)
            == (name, lookup, port, virtual_hosts, sticky, tcp)
            && self.routes.iter().map(|route| &route.wire).eq(routes)
    }

    /// Its split levels, the weights first: those where a ticket decides something. [`LevelRef::level`] counts in them.
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The cookie value that names this route and, for instance-sticky gateways, this endpoint.
    pub fn cookie_value(&self, route: usize, endpoint: Option<usize>) -> String {
        let Some(route) = self.routes.get(route) else { return String::new() };
        let endpoint = match self.wire.sticky {
            wire::Sticky::Instance => endpoint.and_then(|endpoint| route.endpoints().get(endpoint)),
            wire::Sticky::None | wire::Sticky::Route => None,
        };
        crate::cookie::value(&route.wire.lookup, endpoint.map(|endpoint| endpoint.lookup.as_str()))
    }

    fn route_of_lookup(&self, lookup: &[u8]) -> Option<usize> {
        let lookup_of = |route: &usize| self.routes.get(*route).map_or("", |route| route.wire.lookup.as_str());
        let place = self.by_lookup.binary_search_by(|route| lookup_of(route).as_bytes().cmp(lookup)).ok()?;
        self.by_lookup.get(place).copied()
    }
}

/// A whole table, ready to decide. Immutable; built beside the one in use, then swapped in.
#[derive(Debug, Default)]
pub struct CompiledTable {
    generation: wire::Generation,
    gateways: Vec<Arc<CompiledGateway>>,
    directory: Arc<Directory>,
}

/// Who is found where. Shared between tables while no gateway comes, goes, or is to be found elsewhere.
#[derive(Debug, Default)]
struct Directory {
    /// For each gateway with routes that lead to gateways: the gateway of each route.
    links: Vec<Option<Box<[Option<usize>]>>>,
    /// The gateway of each port, up to the highest one in use.
    ports: Box<[Option<u32>]>,
    hosts: Hosts,
}

/// One gateway of a table that is to be compiled.
#[derive(Debug)]
pub enum Part {
    /// As another table has it.
    Compiled(Arc<CompiledGateway>),
    /// Its value, with the digest if that is known.
    Value(wire::Gateway, Option<wire::Digest>),
}

impl CompiledTable {
    /// Compiles a table, or names every problem at once. Gateways whose value is unchanged are taken over from `previous`.
    pub fn compile(table: &wire::Table, previous: Option<&Self>) -> Result<Self, Vec<Problem>> {
        let part = |value: &wire::Gateway| {
            let known = previous.and_then(|table| table.gateways.get(table.find(&value.name)?));
            match known.filter(|gateway| gateway.is_of(value)) {
                Some(gateway) => Part::Compiled(Arc::clone(gateway)),
                None => Part::Value(value.clone(), None),
            }
        };
        Self::assemble(table.generation, table.gateways.iter().map(part).collect(), previous)
    }

    /// The same of parts of which some are compiled already: of 10,000 gateways, only those are looked into that are
    /// new. What else `previous` has is shared.
    pub fn assemble(
        generation: wire::Generation,
        parts: Vec<Part>,
        previous: Option<&Self>,
    ) -> Result<Self, Vec<Problem>> {
        compile::table(generation, parts, previous)
    }

    /// The gateways that a manifest names and this table has, each as [`Part::Compiled`]; of others `value` is asked.
    /// `entries` are sorted by name.
    pub fn parts<E>(
        &self,
        entries: &[wire::ManifestEntry],
        mut value: impl FnMut(&wire::ManifestEntry) -> Result<wire::Gateway, E>,
    ) -> Result<Vec<Part>, E> {
        let mut known = self.gateways.iter().peekable();
        let mut parts = Vec::with_capacity(entries.len());
        for entry in entries {
            while known.next_if(|gateway| gateway.wire.name < entry.name).is_some() {}
            let same = known.peek().filter(|gateway| gateway.digest == entry.digest && gateway.wire.name == entry.name);
            parts.push(match same {
                Some(gateway) => Part::Compiled(Arc::clone(gateway)),
                None => Part::Value(value(entry)?, Some(entry.digest)),
            });
        }
        Ok(parts)
    }

    /// Whether ports and hosts are those of another table: no gateway came, went or moved between the two.
    pub fn is_found_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.directory, &other.directory)
    }

    /// Which table this is.
    pub fn generation(&self) -> wire::Generation {
        self.generation
    }

    /// All gateways, sorted by name.
    pub fn gateways(&self) -> &[Arc<CompiledGateway>] {
        &self.gateways
    }

    /// The gateway of this name, as an index into [`CompiledTable::gateways`].
    pub fn find(&self, name: &str) -> Option<usize> {
        self.gateways.binary_search_by(|gateway| gateway.wire.name.as_str().cmp(name)).ok()
    }

    /// The gateway that has this port for itself, as an index into [`CompiledTable::gateways`].
    pub fn at_port(&self, port: u16) -> Option<usize> {
        let gateway = self.directory.ports.get(usize::from(port)).copied().flatten()?;
        usize::try_from(gateway).ok()
    }

    /// Decides one request, or one connection: conditions in route order, then cookie or address, then weights; through
    /// chained gateways.
    pub fn route<H: Head, D: Draws>(&self, entry: Entry, head: &H, draws: &mut D) -> Verdict {
        decide::decide(self, entry, head, draws, &mut decide::Unseen)
    }

    /// What `route` would decide and why; `draws` should peek, not count.
    pub fn explain<H: Head, D: Draws>(&self, entry: Entry, head: &H, draws: &mut D) -> Explanation {
        explain::explain(self, entry, head, draws)
    }

    /// The gateway to which a route leads, if it leads to one.
    fn link(&self, gateway: usize, route: usize) -> Option<usize> {
        self.directory.links.get(gateway)?.as_ref()?.get(route).copied().flatten()
    }
}
