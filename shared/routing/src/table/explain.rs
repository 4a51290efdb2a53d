//! The decision in words: each rule that was tried and what came of it.

use std::net::IpAddr;

use super::decide::{ByStrength, Claim, Observer, Step, decide};
use super::rewrite::Rewritten;
use super::{CompiledGateway, CompiledRoute, CompiledTable, DecidedBy, Draws, Entry, Explanation, Refusal, Rule};
use crate::head::Head;
use crate::wire::Share;

/// Runs the decision and writes down what it tried.
pub(super) fn explain<H: Head, D: Draws>(table: &CompiledTable, entry: Entry, head: &H, draws: &mut D) -> Explanation {
    let host = String::from_utf8_lossy(head.host()).into_owned();
    let source = head.source();
    let mut notes = Notes { table, host, source, passed: Vec::new(), rules: Vec::new(), chance: Chance::Weights };
    let verdict = decide(table, entry, head, draws, &mut notes);
    let (route, decided_by, rewritten_path) = match verdict {
        Ok(decision) => {
            let last = decision.chain.last();
            let route = notes.route(last.route).map(|route| route.wire.name.clone());
            (route, word(last.decided_by).to_owned(), decision.rewritten_path)
        }
        Err(Refusal::UnknownHost) => (None, "no gateway claims the host".to_owned(), None),
        Err(Refusal::NoWeight { gateway }) => {
            let name = table.gateways.get(gateway).map_or("", |gateway| gateway.wire.name.as_str());
            (None, format!("all weights of gateway `{name}` are 0"), None)
        }
    };
    let chain = notes.passed.iter().map(|gateway| gateway.wire.name.clone()).collect();
    Explanation { chain, route, decided_by, rewritten_path, shares: notes.shares(), rules: notes.rules }
}

fn word(decided_by: DecidedBy) -> &'static str {
    match decided_by {
        DecidedBy::Condition => "condition",
        DecidedBy::Cookie => "cookie",
        DecidedBy::Source => "source",
        DecidedBy::Weight => "weight",
        DecidedBy::OnlyRoute => "only_route",
    }
}

struct Notes<'table> {
    table: &'table CompiledTable,
    host: String,
    source: IpAddr,
    passed: Vec<&'table CompiledGateway>,
    rules: Vec<Rule>,
    chance: Chance,
}

/// How the entry gateway shares out requests like this one.
#[derive(Clone, Copy)]
enum Chance {
    /// By its weights.
    Weights,
    /// All to this route.
    Only(usize),
    /// By the strength of this route's condition, the rest by the weights.
    Strength(usize),
}

impl Observer for Notes<'_> {
    fn see(&mut self, step: Step<'_>) {
        if let Step::Enter { gateway } = step {
            self.passed.extend(self.table.gateways.get(gateway).map(|gateway| &**gateway));
            return;
        }
        if self.passed.len() <= 1 {
            self.chance = chance_after(step, self.chance);
        }
        let (route, rule, result) = match step {
            Step::Enter { .. } => return,
            Step::Host { found } => (None, format!("host \"{}\"", self.host), matched(found).to_owned()),
            Step::Condition { route, matched: found } => {
                (Some(route), self.condition(route), matched(found).to_owned())
            }
            Step::Strength { route, outcome } => (Some(route), self.strength(route), by_strength(outcome).to_owned()),
            Step::Cookie { claim, kept } => (named(claim), "cookie".to_owned(), by_cookie(claim, kept).to_owned()),
            Step::Source { route, kept } => {
                (Some(route), format!("source {}", self.source), by_source(kept).to_owned())
            }
            Step::Weights { route, decided_by } => (route, self.weights(), by_weights(route, decided_by).to_owned()),
            Step::Rewrite { route, rewrite, outcome, path } => {
                (Some(route), self.rewrite(route, rewrite), by_rewrite(outcome, path))
            }
        };
        let gateway = self.passed.last().map_or_else(String::new, |gateway| gateway.wire.name.clone());
        let route = route.and_then(|route| self.route(route)).map(|route| route.wire.name.clone());
        self.rules.push(Rule { gateway, route, rule, result });
    }
}

impl Notes<'_> {
    /// A route of the gateway at hand.
    fn route(&self, route: usize) -> Option<&CompiledRoute> {
        self.passed.last()?.routes.get(route)
    }

    fn condition(&self, route: usize) -> String {
        let text = self.route(route).and_then(|route| route.wire.condition.as_deref());
        format!("condition \"{}\"", text.unwrap_or_default())
    }

    fn strength(&self, route: usize) -> String {
        let strength = self.route(route).map_or(Share::WHOLE, |route| route.wire.condition_strength);
        format!("strength {} %", percent(strength))
    }

    fn weights(&self) -> String {
        let routes = self.passed.last().map_or([].as_slice(), |gateway| &gateway.routes);
        let weights: Vec<_> = routes.iter().map(|route| percent(route.wire.weight)).collect();
        format!("weights {}", weights.join("/"))
    }

    fn rewrite(&self, route: usize, rewrite: usize) -> String {
        let rewrite = self.route(route).and_then(|route| route.wire.rewrites.get(rewrite));
        rewrite.map_or_else(String::new, |rewrite| format!("rewrite \"{} if {}\"", rewrite.path, rewrite.condition))
    }

    fn shares(&self) -> Vec<(String, f64)> {
        let routes = self.passed.first().map_or([].as_slice(), |gateway| &gateway.routes);
        // In whole parts, so that 0.1 and 0.2 make 0.3.
        let whole = u32::from(Share::WHOLE.0);
        let chance = |(index, route): (usize, &CompiledRoute)| {
            let (taker, strength) = match self.chance {
                Chance::Weights => (None, Share::NONE),
                Chance::Only(to) => (Some(to), Share::WHOLE),
                Chance::Strength(to) => {
                    (Some(to), routes.get(to).map_or(Share::NONE, |route| route.wire.condition_strength))
                }
            };
            let strength = u32::from(strength.0).min(whole);
            let first = if taker == Some(index) { strength * whole } else { 0 };
            let parts = first + u32::from(route.wire.weight.0) * (whole - strength);
            (route.wire.name.clone(), f64::from(parts) / f64::from(whole * whole / 100))
        };
        routes.iter().enumerate().map(chance).collect()
    }
}

/// A share as its author wrote it: `90`, `33.33`.
fn percent(share: Share) -> String {
    (f64::from(share.0) / 100.0).to_string()
}

fn chance_after(step: Step<'_>, before: Chance) -> Chance {
    match step {
        Step::Strength { route, outcome: ByStrength::DrawnIn | ByStrength::DrawnOut } => Chance::Strength(route),
        Step::Strength { route, outcome: ByStrength::Everything | ByStrength::Kept | ByStrength::SourceIn }
        | Step::Cookie { claim: Claim::At { route, .. }, kept: true }
        | Step::Source { route, kept: true } => Chance::Only(route),
        _ => before,
    }
}

fn named(claim: Claim) -> Option<usize> {
    match claim {
        Claim::Nothing | Claim::Unknown => None,
        Claim::Down { route } | Claim::At { route, .. } => Some(route),
    }
}

fn matched(matched: bool) -> &'static str {
    if matched { "matched" } else { "did not match" }
}

fn by_strength(outcome: ByStrength) -> &'static str {
    match outcome {
        ByStrength::Everything | ByStrength::DrawnIn => "taken",
        ByStrength::Kept => "taken: the cookie names this route",
        ByStrength::Nothing | ByStrength::DrawnOut => "passed by",
        ByStrength::HeldElsewhere => "passed by: the cookie names another route",
        ByStrength::SourceIn => "taken: the source is in its share",
        ByStrength::SourceOut => "passed by: the source is not in its share",
    }
}

fn by_cookie(claim: Claim, kept: bool) -> &'static str {
    match claim {
        Claim::Nothing => "passed by: there is none",
        Claim::Unknown => "passed by: it names no route of this gateway",
        Claim::Down { .. } => "passed by: no endpoint of its route is up",
        Claim::At { .. } if kept => "taken",
        Claim::At { .. } => "passed by: its route has no weight",
    }
}

fn by_source(kept: bool) -> &'static str {
    if kept { "taken" } else { "passed by: no endpoint of its route is up" }
}

fn by_weights(route: Option<usize>, decided_by: DecidedBy) -> &'static str {
    match (route, decided_by) {
        (None, _) => "passed by: all are 0",
        (Some(_), DecidedBy::OnlyRoute) => "taken: no other route has weight",
        (Some(_), _) => "taken",
    }
}

fn by_rewrite(outcome: Rewritten, path: Option<&str>) -> String {
    match (outcome, path) {
        (Rewritten::Applied, Some(path)) => format!("matched: the path is {path}"),
        (Rewritten::Applied, None) => "matched: the path is as sent".to_owned(),
        (Rewritten::DidNotMatch, _) => matched(false).to_owned(),
        (Rewritten::TooLong, _) => "passed by: the new path would be too long".to_owned(),
    }
}
