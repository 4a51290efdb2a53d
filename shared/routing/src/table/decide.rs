//! One decision: conditions in route order, then cookie or address, then weights; at each gateway of the chain.
//!
//! `route` and `explain` both run [`decide`]; what `explain` wants to know it sees through an [`Observer`], which for
//! `route` compiles to nothing.

use super::rewrite::{Onward, Rewritten};
use super::{
    Chain, CompiledGateway, CompiledTable, CookiePlan, DecidedBy, Decision, Draws, Entry, Guard, Hop, LevelRef,
    Refusal, Strength, Verdict, Weights,
};
use crate::cookie;
use crate::head::Head;
use crate::wire::{Share, Sticky};

/// Sees each rule that is tried, in order.
pub(super) trait Observer {
    fn see(&mut self, step: Step<'_>);
}

/// Nobody looks.
pub(super) struct Unseen;

impl Observer for Unseen {
    fn see(&mut self, _step: Step<'_>) {}
}

/// A rule that was tried, and what came of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'step> {
    /// The host on the shared port.
    Host { found: bool },
    /// The request reached this gateway.
    Enter { gateway: usize },
    /// The condition of a route.
    Condition { route: usize, matched: bool },
    /// The strength of the condition that matched.
    Strength { route: usize, outcome: ByStrength },
    /// The cookie of a sticky gateway.
    Cookie { claim: Claim, kept: bool },
    /// The client's address, which has a route.
    Source { route: usize, kept: bool },
    /// The weights.
    Weights { route: Option<usize>, decided_by: DecidedBy },
    /// A rewrite of the route.
    Rewrite { route: usize, rewrite: usize, outcome: Rewritten, path: Option<&'step str> },
}

/// What the strength of a condition made of a request that it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByStrength {
    /// 100 %: taken.
    Everything,
    /// 0 %: passed by.
    Nothing,
    /// The cookie names this route: taken.
    Kept,
    /// The cookie names another route: passed by.
    HeldElsewhere,
    /// The ticket says: taken.
    DrawnIn,
    /// The ticket says: passed by.
    DrawnOut,
    /// The client's address is among those that it takes.
    SourceIn,
    /// It is not.
    SourceOut,
}

/// What the client's cookie claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// It has none, or the gateway is not sticky.
    Nothing,
    /// It names nothing that the gateway has.
    Unknown,
    /// It names a route that has no endpoint that lives.
    Down { route: usize },
    /// It names this route and, for an instance-sticky gateway, this live endpoint.
    At { route: usize, instance: Option<usize> },
}

/// Decides one request and shows each rule to `observer`.
pub(super) fn decide<H: Head, D: Draws, O: Observer>(
    table: &CompiledTable,
    entry: Entry,
    head: &H,
    draws: &mut D,
    observer: &mut O,
) -> Verdict {
    let mut at = match entry {
        Entry::Gateway(gateway) => gateway,
        Entry::VirtualHosts => {
            let found = table.directory.hosts.find(head.host());
            observer.see(Step::Host { found: found.is_some() });
            found.ok_or(Refusal::UnknownHost)?
        }
    };
    let mut path: Option<String> = None;
    let mut chain = Chain::new();
    for _ in 0..Chain::MAX {
        let gateway = table.gateways.get(at).ok_or(Refusal::UnknownHost)?;
        observer.see(Step::Enter { gateway: at });
        let hop = Turn { index: at, gateway, draws, observer }.hop(&Onward { head, path: path.as_deref() })?;
        rewrite(gateway, &hop, head, &mut path, observer);
        if chain.push(&hop).is_none() {
            break;
        }
        match table.link(at, hop.route) {
            Some(next) => at = next,
            None => return Ok(Decision { chain, rewritten_path: path }),
        }
    }
    debug_assert!(false, "compile refuses chains that are longer than `Chain::MAX`");
    Err(Refusal::NoWeight { gateway: at })
}

fn rewrite<H: Head, O: Observer>(
    gateway: &CompiledGateway,
    hop: &Hop,
    head: &H,
    path: &mut Option<String>,
    observer: &mut O,
) {
    let rewrites = gateway.routes.get(hop.route).map_or([].as_slice(), |route| &route.rewrites);
    for (place, rewrite) in rewrites.iter().enumerate() {
        let outcome = rewrite.apply(head, path);
        observer.see(Step::Rewrite { route: hop.route, rewrite: place, outcome, path: path.as_deref() });
    }
}

/// The decision at one gateway.
struct Turn<'turn, D, O> {
    index: usize,
    gateway: &'turn CompiledGateway,
    draws: &'turn mut D,
    observer: &'turn mut O,
}

impl<D: Draws, O: Observer> Turn<'_, D, O> {
    fn hop<H: Head>(&mut self, head: &H) -> Result<Hop, Refusal> {
        let claim = self.gateway.cookie.as_ref().map_or(Claim::Nothing, |name| self.claim(name, head));
        if let Some(hop) = self.by_condition(head, claim) {
            return Ok(self.at_home(hop, head));
        }
        if let Some(hop) = self.by_cookie(claim) {
            return Ok(hop);
        }
        if let Some(hop) = self.by_source(head) {
            return Ok(self.at_home(hop, head));
        }
        self.by_weights().map(|hop| self.at_home(hop, head))
    }

    /// What the first of the client's cookies says that names a live route; else what the last one says.
    fn claim<H: Head>(&self, name: &str, head: &H) -> Claim {
        let mut claim = Claim::Nothing;
        for value in cookie::values(head, name) {
            claim = self.named(value);
            if matches!(claim, Claim::At { .. }) {
                break;
            }
        }
        claim
    }

    fn named(&self, value: &[u8]) -> Claim {
        let (route, instance) = cookie::parse(value);
        let Some((index, route)) =
            self.gateway.route_of_lookup(route).and_then(|index| Some((index, self.gateway.routes.get(index)?)))
        else {
            return Claim::Unknown;
        };
        if !self.may_keep(index) {
            return Claim::Down { route: index };
        }
        let instance = instance
            .filter(|_| self.gateway.wire.sticky == Sticky::Instance)
            .and_then(|lookup| route.endpoints().iter().position(|known| known.lookup.as_bytes() == lookup))
            .filter(|endpoint| self.draws.is_up(self.index, index, Some(*endpoint)));
        Claim::At { route: index, instance }
    }

    /// Whether a client can be kept on a route: it leads somewhere that is up.
    fn may_keep(&self, route: usize) -> bool {
        let leads =
            self.gateway.routes.get(route).is_some_and(|route| !route.endpoints().is_empty() || route.is_link());
        leads && self.draws.is_up(self.index, route, None)
    }

    /// The first condition that matches takes the request or passes it by; later ones are not tried (the original's
    /// rule, which its users count on).
    fn by_condition<H: Head>(&mut self, head: &H, claim: Claim) -> Option<Hop> {
        for guard in &self.gateway.guards {
            let matched = guard.condition.matches(head);
            self.observer.see(Step::Condition { route: guard.route, matched });
            if matched {
                return self.by_strength(guard, claim, head);
            }
        }
        None
    }

    fn by_strength<H: Head>(&mut self, guard: &Guard, claim: Claim, head: &H) -> Option<Hop> {
        let outcome = match (guard.strength, claim) {
            (Strength::Everything, _) => ByStrength::Everything,
            (Strength::Nothing, _) => ByStrength::Nothing,
            (Strength::Ticket(_), _) if self.gateway.by_source.is_some() => self.strength_by_source(guard, head),
            (Strength::Ticket(_), Claim::At { route, .. }) if route == guard.route => ByStrength::Kept,
            (Strength::Ticket(_), Claim::At { .. }) => ByStrength::HeldElsewhere,
            (Strength::Ticket(level), _) if self.draw(level) == Some(0) => ByStrength::DrawnIn,
            (Strength::Ticket(_), _) => ByStrength::DrawnOut,
        };
        self.observer.see(Step::Strength { route: guard.route, outcome });
        match outcome {
            ByStrength::Everything => Some(self.always(guard.route, claim)),
            ByStrength::Kept => Some(self.kept(guard.route, claim)),
            ByStrength::DrawnIn | ByStrength::SourceIn => Some(self.told(guard.route, DecidedBy::Condition)),
            ByStrength::Nothing | ByStrength::HeldElsewhere | ByStrength::DrawnOut | ByStrength::SourceOut => None,
        }
    }

    /// A ticket would move a client to and fro that is to stay.
    fn strength_by_source<H: Head>(&self, guard: &Guard, head: &H) -> ByStrength {
        let strength = self.gateway.routes.get(guard.route).map_or(Share::NONE, |route| route.wire.condition_strength);
        let by_source = self.gateway.by_source.as_ref();
        let is_in = by_source.is_some_and(|by_source| by_source.is_in(guard.route, strength, head.source()));
        if is_in { ByStrength::SourceIn } else { ByStrength::SourceOut }
    }

    fn by_cookie(&mut self, claim: Claim) -> Option<Hop> {
        self.gateway.cookie.as_ref()?;
        let kept = match claim {
            Claim::At { route, .. } => self.has_weight(route).then_some(route),
            _ => None,
        };
        self.observer.see(Step::Cookie { claim, kept: kept.is_some() });
        kept.map(|route| self.kept(route, claim))
    }

    /// A client whose route is down is drawn like any other, as one whose cookie names it would be.
    fn by_source<H: Head>(&mut self, head: &H) -> Option<Hop> {
        let by_source = self.gateway.by_source.as_ref()?;
        // With nothing to choose there is nothing to keep.
        let Weights::Split(_) = self.gateway.weights else { return None };
        let route = by_source.route(head.source())?;
        let kept = self.may_keep(route);
        self.observer.see(Step::Source { route, kept });
        kept.then(|| self.told(route, DecidedBy::Source))
    }

    /// With the endpoint that the client's address has, where it is to keep one.
    fn at_home<H: Head>(&self, hop: Hop, head: &H) -> Hop {
        let Some(by_source) = &self.gateway.by_source else { return hop };
        let is_up = |endpoint| self.draws.is_up(self.index, hop.route, Some(endpoint));
        Hop { instance: by_source.endpoint(hop.route, head.source(), is_up), ..hop }
    }

    fn by_weights(&mut self) -> Result<Hop, Refusal> {
        let (route, decided_by) = match self.gateway.weights {
            Weights::None => (None, DecidedBy::Weight),
            Weights::Only(route) => (Some(route), DecidedBy::OnlyRoute),
            Weights::Split(level) => (self.draw(level), DecidedBy::Weight),
        };
        self.observer.see(Step::Weights { route, decided_by });
        route.map(|route| self.told(route, decided_by)).ok_or(Refusal::NoWeight { gateway: self.index })
    }

    /// The share whose turn it is.
    fn draw(&mut self, level: usize) -> Option<usize> {
        let at = LevelRef { gateway: self.index, level };
        self.gateway.levels.get(level).map(|level| level.pick(self.draws.draw(at)))
    }

    fn has_weight(&self, route: usize) -> bool {
        self.gateway.routes.get(route).is_some_and(|route| route.wire.weight > Share::NONE)
    }

    /// Newly decided: the client is told.
    fn told(&self, route: usize, decided_by: DecidedBy) -> Hop {
        let cookie = if self.gateway.cookie.is_some() { CookiePlan::Set } else { CookiePlan::None };
        Hop { gateway: self.index, route, decided_by, cookie, instance: None }
    }

    /// On the route that the cookie names. Its instance may be gone; then the client is told the new one.
    fn kept(&self, route: usize, claim: Claim) -> Hop {
        let instance = instance_of(route, claim);
        let cookie = if self.is_told(route, instance) { CookiePlan::Keep } else { CookiePlan::Set };
        Hop { gateway: self.index, route, decided_by: DecidedBy::Cookie, cookie, instance }
    }

    /// Taken by a condition at 100 %. That needs no cookie, and a cookie would move the client from where the weights
    /// put it, for the requests that the condition does not match. Only an instance must be remembered, and only where
    /// the cookie has nothing better to remember.
    fn always(&self, route: usize, claim: Claim) -> Hop {
        let instance = instance_of(route, claim);
        let is_held_by_weights =
            matches!(claim, Claim::At { route: other, .. } if other != route && self.has_weight(other));
        let cookie = match self.gateway.wire.sticky {
            Sticky::None | Sticky::Route => CookiePlan::None,
            Sticky::Instance if is_held_by_weights => CookiePlan::None,
            Sticky::Instance if self.is_told(route, instance) => CookiePlan::Keep,
            Sticky::Instance => CookiePlan::Set,
        };
        Hop { gateway: self.index, route, decided_by: DecidedBy::Condition, cookie, instance }
    }

    /// Whether a cookie that names the route and this instance says all that is to be said.
    fn is_told(&self, route: usize, instance: Option<usize>) -> bool {
        let has_instances = || self.gateway.routes.get(route).is_some_and(|route| !route.endpoints().is_empty());
        instance.is_some() || self.gateway.wire.sticky != Sticky::Instance || !has_instances()
    }
}

fn instance_of(route: usize, claim: Claim) -> Option<usize> {
    match claim {
        Claim::At { route: named, instance } if named == route => instance,
        _ => None,
    }
}
