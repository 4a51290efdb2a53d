//! What one swap swaps: a table with all that belongs to it and outlives it.
//!
//! A [`Serving`] is immutable and made beside the one in service. What must not start anew with a table is taken over
//! from the one before by identity: the account of a split level by its key, an endpoint by its address, the counters
//! of a route by the names of gateway and route.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use vamp_record::RouteLabels;
use vamp_record::split::{GatewayCounts, LevelCounts, LevelKind, RouteCounts, ShareCount};
use vamp_routing::wire::{Balance, Tcp};
use vamp_routing::{
    Chain, CompiledGateway, CompiledRoute, CompiledTable, DecidedBy, Draws, Entry, Head, Level, LevelRef, Verdict,
};

use crate::account::Account;
use crate::counters::{DECIDED_BY, RouteCounters, RouteSnapshot, RouteTotals, decided_index};
use crate::upstream::{Endpoint, Registry};

/// A port on which requests come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListenerId(pub(crate) u16);

/// How far a request got, for its labels and counters.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'c> {
    /// To no gateway.
    Nowhere,
    /// To this gateway (index into [`CompiledTable::gateways`]), and to none of its routes.
    Gateway(usize),
    /// Through these gateways to a route.
    Route(&'c Chain),
}

/// A table in service.
#[derive(Debug)]
pub(crate) struct Serving {
    /// The table.
    pub(crate) table: CompiledTable,
    gateways: Vec<Arc<GatewayState>>,
    virtual_hosts_port: Option<u16>,
    nowhere: Arc<RouteLabels>,
    nowhere_counters: Arc<RouteCounters>,
}

/// What belongs to one gateway of a table. Shared between tables while the gateway's value does not change.
#[derive(Debug)]
struct GatewayState {
    routes: Vec<RouteState>,
    accounts: Vec<Arc<Account>>,
    /// Labels of requests that reached none of its routes.
    labels: OnceLock<Arc<RouteLabels>>,
    unrouted: Arc<RouteCounters>,
}

/// What belongs to one route.
#[derive(Debug)]
pub(crate) struct RouteState {
    /// Its endpoints, in the order of the table.
    pub(crate) endpoints: Vec<RouteEndpoint>,
    /// How it chooses among them.
    pub(crate) balance: Balance,
    turn: AtomicUsize,
    spare_turn: AtomicUsize,
    /// Labels of requests that came to it through no other gateway, by what decided. Made when first used: a table may
    /// have 100,000 routes.
    labels: [OnceLock<Arc<RouteLabels>>; DECIDED_BY],
    counters: Arc<RouteCounters>,
}

/// One endpoint of a route.
#[derive(Debug)]
pub(crate) struct RouteEndpoint {
    /// The endpoint, shared with other routes at the same address.
    pub(crate) endpoint: Arc<Endpoint>,
    /// Its lookup in this route.
    pub(crate) lookup: Arc<str>,
}

impl Serving {
    /// The table before the first one: it has no gateway.
    pub(crate) fn empty(virtual_hosts_port: Option<u16>, threads: usize) -> Self {
        Self {
            table: CompiledTable::default(),
            gateways: Vec::new(),
            virtual_hosts_port,
            nowhere: Arc::default(),
            nowhere_counters: Arc::new(RouteCounters::new(threads)),
        }
    }

    /// Makes a table ready to serve after `self`, taking over what stays.
    pub(crate) fn follow(&self, table: CompiledTable, registry: &mut Registry, threads: usize) -> Self {
        let mut build = Build { registry, threads, now_unix_ms: now_unix_ms() };
        let gateways = table.gateways().iter().enumerate();
        let gateways = gateways.map(|(index, gateway)| self.gateway_state(index, gateway, &mut build)).collect();
        Self {
            table,
            gateways,
            virtual_hosts_port: self.virtual_hosts_port,
            nowhere: Arc::clone(&self.nowhere),
            nowhere_counters: Arc::clone(&self.nowhere_counters),
        }
    }

    fn gateway_state(&self, index: usize, gateway: &Arc<CompiledGateway>, build: &mut Build<'_>) -> Arc<GatewayState> {
        let at = |index: usize| self.table.gateways().get(index).zip(self.gateways.get(index));
        // Most gateways stay what they are and where they are: they are not looked into.
        if let Some((before, state)) = at(index)
            && Arc::ptr_eq(before, gateway)
        {
            return Arc::clone(state);
        }
        match self.table.find(&gateway.wire.name).and_then(at) {
            Some((before, state)) if before.digest == gateway.digest => Arc::clone(state),
            before => Arc::new(build.gateway(gateway, before)),
        }
    }

    /// Where requests of this port enter the table; `None` when no gateway has the port (any more) that takes requests.
    pub(crate) fn entry(&self, listener: ListenerId) -> Option<Entry> {
        if self.virtual_hosts_port == Some(listener.0) {
            return Some(Entry::VirtualHosts);
        }
        let gateway = self.table.at_port(listener.0)?;
        self.tcp(gateway).is_none().then_some(Entry::Gateway(gateway))
    }

    /// The gateway that carries the connections of this port, if it is one that carries connections.
    pub(crate) fn carries(&self, listener: ListenerId) -> Option<(usize, Tcp)> {
        let gateway = self.table.at_port(listener.0).filter(|_| self.virtual_hosts_port != Some(listener.0))?;
        Some((gateway, self.tcp(gateway)?))
    }

    fn tcp(&self, gateway: usize) -> Option<Tcp> {
        self.table.gateways().get(gateway)?.wire.tcp
    }

    /// Whether a client that a cookie holds on a route, or on one endpoint of it, can be served there: one that lives, or
    /// another gateway behind it.
    fn is_up(&self, gateway: usize, route: usize, endpoint: Option<usize>) -> bool {
        let Some(route) = self.route(gateway, route) else { return false };
        match endpoint {
            Some(index) => route.endpoints.get(index).is_some_and(|place| place.endpoint.is_live()),
            None => route.endpoints.is_empty() || route.endpoints.iter().any(|place| place.endpoint.is_live()),
        }
    }

    /// Decides one request, takes the tickets that it needs, and counts what came of them.
    pub(crate) fn decide<H: Head>(&self, thread: usize, entry: Entry, head: &H) -> Verdict {
        let verdict = self.table.route(entry, head, &mut Tickets { serving: self, thread });
        let chain = verdict.as_ref().ok().map(|decision| &decision.chain);
        for hop in chain.into_iter().flat_map(Chain::hops) {
            if let Some(route) = self.route(hop.gateway, hop.route) {
                route.counters.decided(thread, hop.decided_by);
            }
        }
        verdict
    }

    /// Answers with the next ticket of each level and takes none, for `explain`.
    pub(crate) fn peek(&self) -> impl Draws + '_ {
        Peek { serving: self }
    }

    /// A route by its places in the table.
    pub(crate) fn route(&self, gateway: usize, route: usize) -> Option<&RouteState> {
        self.gateways.get(gateway)?.routes.get(route)
    }

    /// Names for the record of a request that got this far.
    pub(crate) fn labels(&self, place: Place<'_>) -> Arc<RouteLabels> {
        let labels = match place {
            Place::Nowhere => None,
            Place::Gateway(index) => self.gateway_labels(index),
            Place::Route(chain) => self.chain_labels(chain),
        };
        labels.unwrap_or_else(|| Arc::clone(&self.nowhere))
    }

    fn gateway_labels(&self, index: usize) -> Option<Arc<RouteLabels>> {
        let (gateway, state) = (self.table.gateways().get(index)?, self.gateways.get(index)?);
        let make = || {
            let gateways = vec![(gateway.wire.name.clone(), gateway.wire.lookup.clone(), true)];
            Arc::new(RouteLabels { gateways, ..RouteLabels::default() })
        };
        Some(Arc::clone(state.labels.get_or_init(make)))
    }

    fn chain_labels(&self, chain: &Chain) -> Option<Arc<RouteLabels>> {
        let mut hops = chain.hops();
        match (hops.len(), hops.next()) {
            (1, Some(hop)) => {
                let cell = self.route(hop.gateway, hop.route)?.labels.get(decided_index(hop.decided_by))?;
                Some(Arc::clone(cell.get_or_init(|| Arc::new(self.make_labels(chain)))))
            }
            _ => Some(Arc::new(self.make_labels(chain))),
        }
    }

    fn make_labels(&self, chain: &Chain) -> RouteLabels {
        let mut labels = RouteLabels::default();
        for hop in chain.hops() {
            let Some(gateway) = self.table.gateways().get(hop.gateway) else { continue };
            // The old front end `o_…` saw all that no condition took, clients that are kept on their route too.
            let by_weights = hop.decided_by != DecidedBy::Condition;
            labels.gateways.push((gateway.wire.name.clone(), gateway.wire.lookup.clone(), by_weights));
            let Some(route) = gateway.routes.get(hop.route) else { continue };
            if !labels.route.is_empty() {
                labels.via.push((std::mem::take(&mut labels.route), std::mem::take(&mut labels.route_lookup)));
            }
            labels.route.clone_from(&route.wire.name);
            labels.route_lookup.clone_from(&route.wire.lookup);
            labels.decided_by = decided_word(hop.decided_by);
        }
        labels
    }

    /// Counts how a request that got this far ended: at each gateway that it passed.
    pub(crate) fn count(&self, thread: usize, place: Place<'_>, record: &vamp_record::Record) {
        self.each_counters(place, |counters| counters.ended(thread, record));
    }

    /// Where it is to be counted how a connection that got this far ends, which may be long after the table is gone.
    pub(crate) fn tally(&self, place: Place<'_>) -> Tally {
        let mut tally = Vec::with_capacity(1);
        self.each_counters(place, |counters| tally.push(Arc::clone(counters)));
        Tally(tally)
    }

    fn each_counters(&self, place: Place<'_>, mut each: impl FnMut(&Arc<RouteCounters>)) {
        match place {
            Place::Nowhere => each(&self.nowhere_counters),
            Place::Gateway(index) => {
                if let Some(state) = self.gateways.get(index) {
                    each(&state.unrouted);
                }
            }
            Place::Route(chain) => {
                for hop in chain.hops() {
                    if let Some(route) = self.route(hop.gateway, hop.route) {
                        each(&route.counters);
                    }
                }
            }
        }
    }

    /// Takes the next ticket of a level, and counts where it falls; `None`: there is no such level.
    pub(crate) fn draw(&self, thread: usize, at: LevelRef) -> Option<u64> {
        self.account(at).map(|(level, account)| account.take(level, thread))
    }

    fn account(&self, at: LevelRef) -> Option<(&Level, &Account)> {
        let level = self.table.gateways().get(at.gateway)?.levels().get(at.level)?;
        Some((level, self.gateways.get(at.gateway)?.accounts.get(at.level)?))
    }

    /// What was counted of each split since its shares last changed.
    pub(crate) fn split_counts(&self) -> Vec<GatewayCounts> {
        let gateways = self.table.gateways().iter().zip(&self.gateways);
        gateways.map(|(gateway, state)| gateway_counts(gateway, state)).collect()
    }

    /// What was counted of one gateway by route (empty for requests that reached none), without those that had no
    /// request; `None`: it is not in the table.
    pub(crate) fn route_totals(&self, gateway: &str) -> Option<(&CompiledGateway, Vec<(&str, RouteTotals)>)> {
        let index = self.table.find(gateway)?;
        let (gateway, state) = (self.table.gateways().get(index)?, self.gateways.get(index)?);
        let routes = gateway.routes.iter().zip(&state.routes);
        let routes = routes.map(|(route, state)| (route.wire.name.as_str(), state.counters.totals()));
        let all = std::iter::once(("", state.unrouted.totals())).chain(routes);
        Some((gateway, all.filter_map(|(route, totals)| Some((route, totals?))).collect()))
    }

    /// What was counted by gateway and route, without those that had no request.
    pub(crate) fn route_snapshots(&self) -> Vec<RouteSnapshot> {
        let mut all = Vec::new();
        let mut keep = |gateway: (&str, &str), route: (&str, &str), totals: Option<RouteTotals>| {
            all.extend(totals.map(|totals| RouteSnapshot {
                gateway: gateway.0.to_owned(),
                gateway_lookup: gateway.1.to_owned(),
                route: route.0.to_owned(),
                route_lookup: route.1.to_owned(),
                totals,
            }));
        };
        keep(("", ""), ("", ""), self.nowhere_counters.totals());
        for (gateway, state) in self.table.gateways().iter().zip(&self.gateways) {
            let names = (gateway.wire.name.as_str(), gateway.wire.lookup.as_str());
            keep(names, ("", ""), state.unrouted.totals());
            for (route, state) in gateway.routes.iter().zip(&state.routes) {
                keep(names, (&route.wire.name, &route.wire.lookup), state.counters.totals());
            }
        }
        all
    }
}

/// The counters of the routes that a connection takes. It keeps nothing else of a table.
#[derive(Debug)]
pub(crate) struct Tally(Vec<Arc<RouteCounters>>);

impl Tally {
    /// Counts how the connection ended.
    pub(crate) fn count(&self, thread: usize, record: &vamp_record::Record) {
        self.0.iter().for_each(|counters| counters.ended(thread, record));
    }
}

struct Build<'r> {
    registry: &'r mut Registry,
    threads: usize,
    now_unix_ms: u64,
}

impl Build<'_> {
    fn gateway(
        &mut self,
        gateway: &CompiledGateway,
        before: Option<(&Arc<CompiledGateway>, &Arc<GatewayState>)>,
    ) -> GatewayState {
        let levels = before.into_iter().flat_map(|(gateway, state)| gateway.levels().iter().zip(&state.accounts));
        let accounts: HashMap<_, _> = levels.map(|(level, account)| (level.key, account)).collect();
        let routes = before.into_iter().flat_map(|(gateway, state)| gateway.routes.iter().zip(&state.routes));
        let counters: HashMap<_, _> =
            routes.map(|(route, state)| (route.wire.name.as_str(), &state.counters)).collect();
        let threads = self.threads;
        let counters = |name: &str| {
            counters.get(name).map_or_else(|| Arc::new(RouteCounters::new(threads)), |known| Arc::clone(known))
        };
        let now_unix_ms = self.now_unix_ms;
        let account = |level: &Level| {
            let known = accounts.get(&level.key).map(|account| Arc::clone(account));
            known.unwrap_or_else(|| Arc::new(Account::new(level, now_unix_ms, threads)))
        };
        GatewayState {
            accounts: gateway.levels().iter().map(account).collect(),
            routes: gateway.routes.iter().map(|route| self.route(route, counters(&route.wire.name))).collect(),
            labels: OnceLock::new(),
            unrouted: before
                .map_or_else(|| Arc::new(RouteCounters::new(threads)), |(_, state)| Arc::clone(&state.unrouted)),
        }
    }

    fn route(&mut self, route: &CompiledRoute, counters: Arc<RouteCounters>) -> RouteState {
        let endpoints = route.endpoints().iter().map(|endpoint| RouteEndpoint {
            endpoint: self.registry.endpoint(&endpoint.address),
            lookup: endpoint.lookup.as_str().into(),
        });
        RouteState::new(route.wire.balance, endpoints.collect(), counters)
    }
}

impl RouteState {
    fn new(balance: Balance, endpoints: Vec<RouteEndpoint>, counters: Arc<RouteCounters>) -> Self {
        // A random first turn: frequent edits of the route must not favour its first endpoint.
        let turn = AtomicUsize::new(rand::random_range(0..endpoints.len().max(1)));
        Self { endpoints, balance, turn, spare_turn: AtomicUsize::new(0), labels: Default::default(), counters }
    }

    /// The next turn among all endpoints.
    pub(crate) fn turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// The next turn among those that stand in for one that is down.
    pub(crate) fn spare_turn(&self) -> usize {
        self.spare_turn.fetch_add(1, Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn for_test(balance: Balance, endpoints: impl Iterator<Item = Arc<Endpoint>>) -> Self {
        let endpoints = endpoints.map(|endpoint| RouteEndpoint { lookup: Arc::clone(&endpoint.address), endpoint });
        Self::new(balance, endpoints.collect(), Arc::new(RouteCounters::new(1)))
    }
}

fn gateway_counts(gateway: &CompiledGateway, state: &GatewayState) -> GatewayCounts {
    let levels = gateway.levels().iter().zip(&state.accounts);
    let mut levels: Vec<_> = levels.map(|(level, account)| level_counts(gateway, level, account)).collect();
    levels.sort_by_key(|level| level.kind != LevelKind::Weights);
    let routes = gateway.routes.iter().zip(&state.routes).map(|(route, state)| {
        let [condition, cookie, weight, only_route, source] = state.counters.decided_counts();
        RouteCounts { route: route.wire.name.clone(), condition, cookie, source, weight, only_route }
    });
    GatewayCounts { gateway: gateway.wire.name.clone(), levels, routes: routes.collect() }
}

fn level_counts(gateway: &CompiledGateway, level: &Level, account: &Account) -> LevelCounts {
    let strength_of = level.strength_of.and_then(|route| gateway.routes.get(route));
    let names: Vec<&str> = match strength_of {
        Some(route) => vec![&route.wire.name, ""],
        None => gateway.routes.iter().map(|route| route.wire.name.as_str()).collect(),
    };
    let delivered = account.delivered(level.shares.len());
    let shares = names.into_iter().zip(&level.shares).zip(&delivered).map(|((name, wanted), delivered)| ShareCount {
        route: name.to_owned(),
        wanted: wanted.0,
        delivered: *delivered,
    });
    LevelCounts {
        kind: if strength_of.is_some() { LevelKind::Strength } else { LevelKind::Weights },
        route: strength_of.map(|route| route.wire.name.clone()),
        since_unix_ms: account.since_unix_ms(),
        tickets: delivered.iter().sum(),
        shares: shares.collect(),
    }
}

/// Takes tickets for one request, and counts where they fall.
struct Tickets<'s> {
    serving: &'s Serving,
    thread: usize,
}

impl Draws for Tickets<'_> {
    fn draw(&mut self, at: LevelRef) -> u64 {
        self.serving.draw(self.thread, at).unwrap_or_default()
    }

    fn is_up(&self, gateway: usize, route: usize, endpoint: Option<usize>) -> bool {
        self.serving.is_up(gateway, route, endpoint)
    }
}

/// Tells the next ticket of each level and takes none.
struct Peek<'s> {
    serving: &'s Serving,
}

impl Draws for Peek<'_> {
    fn draw(&mut self, at: LevelRef) -> u64 {
        self.serving.account(at).map_or(0, |(_, account)| account.next())
    }

    fn is_up(&self, gateway: usize, route: usize, endpoint: Option<usize>) -> bool {
        self.serving.is_up(gateway, route, endpoint)
    }
}

fn decided_word(by: DecidedBy) -> &'static str {
    match by {
        DecidedBy::Condition => "condition",
        DecidedBy::Cookie => "cookie",
        DecidedBy::Source => "source",
        DecidedBy::Weight => "weight",
        DecidedBy::OnlyRoute => "only_route",
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod under_swaps;

#[cfg(test)]
mod tests {
    use vamp_routing::wire::{self, Endpoint, Gateway, Generation, Route, Sticky, Target};
    use vamp_routing::{PlainHead, wire::Share};

    use super::*;

    const THREADS: usize = 2;

    pub(super) fn table(weights: &[u16], port: u16) -> CompiledTable {
        table_with(weights, port, |_| {})
    }

    fn table_with(weights: &[u16], port: u16, edit: impl FnOnce(&mut Gateway)) -> CompiledTable {
        let address = format!("127.0.0.1:{port}");
        let endpoint = || Endpoint { name: address.clone(), lookup: "instance".to_owned(), address: address.clone() };
        let route = |(index, weight): (usize, &u16)| Route {
            name: format!("route {index}"),
            lookup: format!("lookup-{index}"),
            weight: Share(*weight),
            condition: None,
            condition_strength: Share::WHOLE,
            balance: Balance::RoundRobin,
            rewrites: Vec::new(),
            target: Target::Endpoints(vec![endpoint()]),
        };
        let mut gateway = Gateway {
            name: "shop".to_owned(),
            lookup: "lookup-of-shop".to_owned(),
            port: Some(9_050),
            virtual_hosts: Vec::new(),
            sticky: Sticky::None,
            tcp: None,
            routes: weights.iter().enumerate().map(route).collect(),
        };
        edit(&mut gateway);
        let table = wire::Table { generation: Generation::default(), gateways: vec![gateway] };
        CompiledTable::compile(&table, None).unwrap()
    }

    fn follow(before: &Serving, registry: &mut Registry, weights: &[u16], port: u16) -> Serving {
        before.follow(table(weights, port), registry, THREADS)
    }

    fn first(weights: &[u16]) -> (Serving, Registry) {
        let mut registry = Registry::default();
        (follow(&Serving::empty(None, THREADS), &mut registry, weights, 1), registry)
    }

    fn decide(serving: &Serving, thread: usize, requests: usize) {
        for _ in 0..requests {
            serving.decide(thread, Entry::Gateway(0), &PlainHead::default()).unwrap();
        }
    }

    fn delivered(serving: &Serving) -> (u64, Vec<u64>) {
        let counts = serving.split_counts();
        let level = &counts[0].levels[0];
        (level.tickets, level.shares.iter().map(|share| share.delivered).collect())
    }

    /// Decides on two threads at the same time.
    fn decide_together(serving: &Serving, requests: usize) {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                scope.spawn(move || decide(serving, thread, requests));
            }
        });
    }

    /// Whole numbers: the error times 10,000. Any window of tickets is off by less than 2.
    #[track_caller]
    fn split_is_exact(serving: &Serving, weights: &[u16]) {
        let (tickets, delivered) = delivered(serving);
        for (weight, delivered) in weights.iter().zip(delivered) {
            let error = (10_000 * delivered).abs_diff(tickets * u64::from(*weight));
            assert!(error < 2 * 10_000, "{weights:?} after {tickets}: {delivered} of {weight}");
        }
    }

    #[test]
    fn two_threads_together_keep_the_split_at_any_count() {
        for weights in
            [&[9_000, 1_000][..], &[1, 4_993, 13, 4_993], &[3_300, 3_300, 3_400], &[0, 1, 9_999], &[1_250; 8]]
        {
            let (serving, _registry) = first(weights);
            for requests in [1, 7, 500, 3_333] {
                decide_together(&serving, requests);
                split_is_exact(&serving, weights);
            }
        }
    }

    #[test]
    fn an_account_lives_as_long_as_its_weights() {
        let (serving, mut registry) = first(&[5_000, 5_000]);
        decide(&serving, 0, 10);
        let edited = follow(&serving, &mut registry, &[5_000, 5_000], 2);
        decide(&edited, 1, 10);
        assert_eq!(delivered(&edited), (20, vec![10, 10]));
        assert_eq!(edited.split_counts()[0].levels[0].since_unix_ms, serving.split_counts()[0].levels[0].since_unix_ms);
        let reweighted = follow(&edited, &mut registry, &[6_000, 4_000], 2);
        assert_eq!(delivered(&reweighted).0, 0);
        // The counts of the routes go on.
        decide(&reweighted, 0, 10);
        let routes = &reweighted.split_counts()[0].routes;
        assert_eq!(routes.iter().map(|route| route.weight).sum::<u64>(), 30);
    }

    #[test]
    fn a_sticky_client_of_a_route_that_is_down_is_drawn_again() {
        let mut registry = Registry::default();
        let sticky = |gateway: &mut Gateway| {
            gateway.sticky = Sticky::Route;
            // Two routes with an endpoint each, so that one can be down while the other is up.
            if let Some(Target::Endpoints(endpoints)) = gateway.routes.get_mut(1).map(|route| &mut route.target) {
                endpoints[0].address = "127.0.0.1:2".to_owned();
            }
        };
        let serving =
            Serving::empty(None, THREADS).follow(table_with(&[5_000, 5_000], 1, sticky), &mut registry, THREADS);
        let cookie = serving.table.gateways()[0].cookie_value(1, None);
        let name = serving.table.gateways()[0].cookie.clone().unwrap();
        let head =
            PlainHead { fields: vec![("Cookie".to_owned(), format!("{name}={cookie}"))], ..PlainHead::default() };
        let by_cookie = || {
            let decision = serving.decide(0, Entry::Gateway(0), &head).unwrap();
            decision.chain.last().decided_by == DecidedBy::Cookie
        };
        assert!(by_cookie());
        let endpoint = Arc::clone(&serving.route(0, 1).unwrap().endpoints[0].endpoint);
        while endpoint.is_live() {
            endpoint.failed();
        }
        assert!(!by_cookie());
        endpoint.connected();
        assert!(by_cookie());
    }

    #[test]
    fn a_new_account_begins_at_a_random_phase() {
        // Were it the first ticket each time, an edit before each request would give one route everything.
        let (mut serving, mut registry) = first(&[5_000, 5_000]);
        let mut taken = [0; 2];
        for edit in 0..200_u16 {
            serving = follow(&serving, &mut registry, &[5_000 - edit % 2, 5_000 + edit % 2], 1);
            decide(&serving, 0, 1);
            let (_, delivered) = delivered(&serving);
            taken.iter_mut().zip(delivered).for_each(|(taken, delivered)| *taken += delivered);
        }
        assert!(taken.iter().all(|taken| *taken > 50), "{taken:?}: about a hundred each");
    }

    #[test]
    fn the_strength_of_a_condition_has_an_account_of_its_own() {
        let mut registry = Registry::default();
        let condition = |route: &mut Route| {
            route.condition = Some("path under /beta".to_owned());
            route.condition_strength = Share(2_500);
        };
        let table = table_with(&[9_000, 1_000], 1, |gateway| condition(&mut gateway.routes[1]));
        let serving = Serving::empty(None, THREADS).follow(table, &mut registry, THREADS);
        decide(&serving, 0, 100);
        let beta = PlainHead { target: "/beta".to_owned(), ..PlainHead::default() };
        for _ in 0..1_000 {
            serving.decide(1, Entry::Gateway(0), &beta).unwrap();
        }
        let counts = &serving.split_counts()[0];
        let [weights, strength] = &counts.levels[..] else { panic!("{counts:?}") };
        assert_eq!((weights.kind, weights.tickets), (LevelKind::Weights, 100 + 750));
        assert_eq!(
            (strength.kind, strength.route.as_deref(), strength.tickets),
            (LevelKind::Strength, Some("route 1"), 1_000)
        );
        let shares: Vec<_> =
            strength.shares.iter().map(|share| (share.route.as_str(), share.wanted, share.delivered)).collect();
        assert_eq!(shares, [("route 1", 2_500, 250), ("", 7_500, 750)]);
        assert_eq!((counts.routes[1].condition, counts.routes[0].weight + counts.routes[1].weight), (250, 850));
    }

    #[test]
    fn peeking_takes_no_ticket() {
        let (serving, _registry) = first(&[5_000, 5_000]);
        let explain = || serving.table.explain(Entry::Gateway(0), &PlainHead::default(), &mut serving.peek());
        assert_eq!(explain().route, explain().route);
        assert_eq!(delivered(&serving).0, 0);
    }

    #[test]
    fn an_endpoint_is_kept_by_its_address() {
        let (serving, mut registry) = first(&[5_000, 5_000]);
        let endpoint = |serving: &Serving| Arc::clone(&serving.route(0, 0).unwrap().endpoints[0].endpoint);
        let reweighted = follow(&serving, &mut registry, &[1, 9_999], 1);
        assert!(Arc::ptr_eq(&endpoint(&serving), &endpoint(&reweighted)));
        let moved = follow(&reweighted, &mut registry, &[1, 9_999], 2);
        assert!(!Arc::ptr_eq(&endpoint(&serving), &endpoint(&moved)));
    }

    #[test]
    fn labels_name_gateway_route_and_rule_and_are_made_once() {
        let (serving, _registry) = first(&[10_000, 0]);
        let decision = serving.decide(0, Entry::Gateway(0), &PlainHead::default()).unwrap();
        let labels = serving.labels(Place::Route(&decision.chain));
        assert_eq!(labels.gateways, [("shop".to_owned(), "lookup-of-shop".to_owned(), true)]);
        assert_eq!((labels.route.as_str(), labels.route_lookup.as_str()), ("route 0", "lookup-0"));
        assert_eq!(labels.decided_by, "only_route");
        assert!(Arc::ptr_eq(&labels, &serving.labels(Place::Route(&decision.chain))));
        assert_eq!(serving.labels(Place::Gateway(0)).gateways.len(), 1);
        assert_eq!(*serving.labels(Place::Nowhere), RouteLabels::default());
        assert_eq!(serving.labels(Place::Gateway(7)).gateways, []);
    }
}
