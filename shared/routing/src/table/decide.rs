//! The decision: one pass over the gateways that a request comes through. `route` and `explain` share it; the only
//! difference is who watches.

use std::borrow::Cow;
use std::net::IpAddr;

use super::{Chain, CompiledGateway, CompiledRoute, CompiledTable, CookiePlan, DecidedBy, Decision, Draws, Entry, Hop};
use super::{LevelRef, Refusal, Verdict, Weights};
use crate::cookie;
use crate::head::Head;
use crate::wire::{Share, Sticky};

/// Hears of each rule as it is tried. For a request nobody listens, and the calls compile to nothing.
pub(super) trait Observer {
    fn condition(&mut self, gateway: usize, route: usize, matched: bool);
    fn strength(&mut self, gateway: usize, route: usize, outcome: StrengthOutcome);
    fn cookie(&mut self, gateway: usize, outcome: CookieOutcome);
    fn weights(&mut self, gateway: usize, taken: Option<usize>);
    fn rewrite(&mut self, gateway: usize, route: usize, index: usize, matched: bool);
}

/// What came of a strength below 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StrengthOutcome {
    /// The client's cookie names the route.
    KeptByCookie,
    /// The client's cookie names another route.
    PassedByCookie,
    /// The ticket fell on the condition's side.
    Taken,
    /// The ticket fell on the other side.
    PassedBy,
}

/// What came of the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieOutcome {
    /// The client has none.
    Absent,
    /// It names no route of today.
    Unknown,
    /// It names a route of weight 0.
    WithoutWeight(usize),
    /// It names this route.
    Taken(usize),
}

impl Observer for () {
    fn condition(&mut self, _: usize, _: usize, _: bool) {}
    fn strength(&mut self, _: usize, _: usize, _: StrengthOutcome) {}
    fn cookie(&mut self, _: usize, _: CookieOutcome) {}
    fn weights(&mut self, _: usize, _: Option<usize>) {}
    fn rewrite(&mut self, _: usize, _: usize, _: usize, _: bool) {}
}

/// The head as the gateways behind a rewrite see it.
struct Rewritten<'head, H> {
    head: &'head H,
    path: Option<String>,
}

impl<H: Head> Head for Rewritten<'_, H> {
    fn method(&self) -> &[u8] {
        self.head.method()
    }

    fn path(&self) -> &[u8] {
        self.path.as_ref().map_or_else(|| self.head.path(), |path| path.as_bytes())
    }

    fn query(&self) -> Option<&[u8]> {
        self.head.query()
    }

    fn host(&self) -> &[u8] {
        self.head.host()
    }

    fn source(&self) -> IpAddr {
        self.head.source()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.fields()
    }
}

/// Decides one request.
pub(super) fn route<H: Head, D: Draws, O: Observer>(
    table: &CompiledTable,
    entry: Entry,
    head: &H,
    draws: &mut D,
    observer: &mut O,
) -> Verdict {
    let mut next = match entry {
        Entry::Gateway(gateway) => gateway,
        Entry::VirtualHosts => table.hosts.find(head.host()).ok_or(Refusal::UnknownHost)?,
    };
    let mut head = Rewritten { head, path: None };
    let nowhere =
        Hop { gateway: 0, route: 0, decided_by: DecidedBy::OnlyRoute, cookie: CookiePlan::None, instance: None };
    let mut chain = Chain { hops: [nowhere; Chain::MAX], length: 0 };
    // Compile refuses chains that are longer, so this ends at a route with endpoints.
    for place in &mut chain.hops {
        let gateway = table.gateways.get(next).ok_or(Refusal::UnknownHost)?;
        let hop = at_gateway(gateway, next, &head, draws, observer)?;
        *place = hop;
        chain.length += 1;
        if let Some(route) = gateway.routes.get(hop.route) {
            rewrite(route, &hop, &mut head, observer);
        }
        match table.link(next, hop.route) {
            Some(gateway) => next = gateway,
            None => return Ok(Decision { chain, rewritten_path: head.path }),
        }
    }
    Err(Refusal::NoWeight { gateway: next })
}

/// What the client's cookie names at one gateway.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    route: usize,
    /// The endpoint, where the gateway is sticky by instance and it is still there.
    instance: Option<usize>,
    /// The gateway is sticky by instance, and the endpoint is gone.
    has_lost_instance: bool,
}

fn at_gateway<H: Head, D: Draws, O: Observer>(
    gateway: &CompiledGateway,
    index: usize,
    head: &H,
    draws: &mut D,
    observer: &mut O,
) -> Result<Hop, Refusal> {
    let cookie = gateway.cookie.as_deref().and_then(|name| cookie_of(head, name.as_bytes()));
    let remembered = cookie.and_then(|value| remembered(gateway, value));
    for (number, route) in gateway.routes.iter().enumerate() {
        let Some(condition) = &route.condition else { continue };
        let matched = condition.matches(head);
        observer.condition(index, number, matched);
        if !matched || route.wire.condition_strength == Share::NONE {
            continue;
        }
        let Some(level) = route.strength else {
            return Ok(hop(gateway, index, number, DecidedBy::Condition, remembered));
        };
        let (decided_by, outcome) = match remembered {
            Some(remembered) if remembered.route == number => (Some(DecidedBy::Cookie), StrengthOutcome::KeptByCookie),
            Some(_) => (None, StrengthOutcome::PassedByCookie),
            None => {
                let ticket = draws.draw(LevelRef { gateway: index, level });
                match gateway.levels.get(level).map(|level| level.pick(ticket)) {
                    Some(0) => (Some(DecidedBy::Condition), StrengthOutcome::Taken),
                    _ => (None, StrengthOutcome::PassedBy),
                }
            }
        };
        observer.strength(index, number, outcome);
        if let Some(decided_by) = decided_by {
            return Ok(hop(gateway, index, number, decided_by, remembered));
        }
    }
    if gateway.cookie.is_some() {
        let has_weight =
            |remembered: &Remembered| gateway.routes.get(remembered.route).is_some_and(|route| route.wire.weight.0 > 0);
        let outcome = match (cookie, remembered) {
            (None, _) => CookieOutcome::Absent,
            (Some(_), None) => CookieOutcome::Unknown,
            (Some(_), Some(remembered)) if has_weight(&remembered) => CookieOutcome::Taken(remembered.route),
            (Some(_), Some(remembered)) => CookieOutcome::WithoutWeight(remembered.route),
        };
        observer.cookie(index, outcome);
        if let CookieOutcome::Taken(route) = outcome {
            return Ok(hop(gateway, index, route, DecidedBy::Cookie, remembered));
        }
    }
    let (taken, decided_by) = match gateway.weights {
        Weights::None => (None, DecidedBy::Weight),
        Weights::Only(route) => (Some(route), DecidedBy::OnlyRoute),
        Weights::Split(level) => {
            let ticket = draws.draw(LevelRef { gateway: index, level });
            (gateway.levels.get(level).map(|level| level.pick(ticket)), DecidedBy::Weight)
        }
    };
    observer.weights(index, taken);
    let route = taken.ok_or(Refusal::NoWeight { gateway: index })?;
    Ok(hop(gateway, index, route, decided_by, remembered))
}

fn hop(
    gateway: &CompiledGateway,
    index: usize,
    route: usize,
    decided_by: DecidedBy,
    remembered: Option<Remembered>,
) -> Hop {
    let stays = remembered.filter(|remembered| remembered.route == route);
    let cookie = match (gateway.wire.sticky, remembered) {
        (Sticky::None, _) => CookiePlan::None,
        (_, Some(remembered)) if remembered.route == route && !remembered.has_lost_instance => CookiePlan::Keep,
        // A condition at 100 % takes its requests without the cookie's help: a client that belongs elsewhere otherwise
        // goes back there with the requests that the condition leaves alone.
        (_, Some(remembered)) if remembered.route != route && decided_by == DecidedBy::Condition => CookiePlan::Keep,
        _ => CookiePlan::Set,
    };
    Hop { gateway: index, route, decided_by, cookie, instance: stays.and_then(|remembered| remembered.instance) }
}

/// The value of a cookie; the first, where a client sends several.
fn cookie_of<'head, H: Head>(head: &'head H, name: &[u8]) -> Option<&'head [u8]> {
    let fields = head.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
    fields.flat_map(|(_, value)| cookie::pairs(value)).find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// What a cookie value names, if that route is still there.
fn remembered(gateway: &CompiledGateway, value: &[u8]) -> Option<Remembered> {
    let (route_lookup, instance_lookup) = cookie::parse(value);
    let named = |route: &CompiledRoute| route.wire.lookup.as_bytes() == route_lookup;
    let (number, route) = gateway.routes.iter().enumerate().find(|(_, route)| named(route))?;
    if gateway.wire.sticky != Sticky::Instance || route.endpoints.is_empty() {
        return Some(Remembered { route: number, instance: None, has_lost_instance: false });
    }
    let instance = instance_lookup
        .and_then(|lookup| route.endpoints.iter().position(|endpoint| endpoint.wire.lookup.as_bytes() == lookup));
    Some(Remembered { route: number, instance, has_lost_instance: instance.is_none() })
}

/// Applies the rewrites of the route that was taken, each to the result of the one before.
fn rewrite<H: Head, O: Observer>(route: &CompiledRoute, hop: &Hop, head: &mut Rewritten<'_, H>, observer: &mut O) {
    for (number, rewrite) in route.rewrites.iter().enumerate() {
        let matched = rewrite.condition.matches(head);
        observer.rewrite(hop.gateway, hop.route, number, matched);
        if !matched {
            continue;
        }
        let before = Cow::into_owned(String::from_utf8_lossy(head.path()));
        let path = rewrite.parts.join(&before);
        // LIMIT: what a request line may carry anyway; rewrites that double the path at each gateway end here.
        if path.len() <= 64 * 1024 {
            head.path = Some(path);
        }
    }
}

/// The chance of each route of one gateway for such a request, as a part of one, given that tickets are drawn.
pub(super) fn chances<H: Head>(gateway: &CompiledGateway, head: &H) -> Vec<f64> {
    let part = |share: Share| f64::from(share.0) / f64::from(Share::WHOLE.0);
    let mut chances = vec![0.0; gateway.routes.len()];
    let mut left = 1.0;
    let mut give = |route: usize, of_left: f64, left: &mut f64| {
        if let Some(chance) = chances.get_mut(route) {
            *chance += *left * of_left;
        }
        *left *= 1.0 - of_left;
    };
    let cookie = gateway.cookie.as_deref().and_then(|name| cookie_of(head, name.as_bytes()));
    let remembered = cookie.and_then(|value| remembered(gateway, value));
    for (number, route) in gateway.routes.iter().enumerate() {
        if !route.condition.as_ref().is_some_and(|condition| condition.matches(head)) {
            continue;
        }
        let of_left = match (route.strength, remembered) {
            (Some(_), Some(remembered)) if remembered.route == number => 1.0,
            (Some(_), Some(_)) => 0.0,
            _ => part(route.wire.condition_strength),
        };
        give(number, of_left, &mut left);
    }
    let by_cookie = remembered
        .filter(|remembered| gateway.routes.get(remembered.route).is_some_and(|route| route.wire.weight.0 > 0));
    if let Some(remembered) = by_cookie {
        give(remembered.route, 1.0, &mut left);
    } else {
        let all = left;
        for (number, route) in gateway.routes.iter().enumerate() {
            left = all;
            give(number, part(route.wire.weight), &mut left);
        }
    }
    chances
}
