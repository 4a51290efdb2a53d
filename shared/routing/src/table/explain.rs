//! Which rules a request meets, and what comes of each: the decision itself, watched.

use super::decide::{self, CookieOutcome, Observer, StrengthOutcome};
use super::{CompiledGateway, CompiledTable, DecidedBy, Draws, Entry, Explanation, Refusal, Rule, Verdict, Weights};
use crate::head::Head;
use crate::wire::Share;

/// What `route` would decide and why.
pub(super) fn explain<H: Head, D: Draws>(table: &CompiledTable, entry: Entry, head: &H, draws: &mut D) -> Explanation {
    let mut listener = Listener { table, rules: Vec::new() };
    let verdict = decide::route(table, entry, head, draws, &mut listener);
    let rules = listener.rules;
    let shares = shares(table, entry, head);
    let (chain, route) = passed(table, &verdict);
    let decided_by = match &verdict {
        Ok(decision) => word(decision.chain.last().decided_by).to_owned(),
        Err(Refusal::UnknownHost) => "unknown host".to_owned(),
        Err(Refusal::NoWeight { .. }) => "no weight".to_owned(),
    };
    let rewritten_path = verdict.ok().and_then(|decision| decision.rewritten_path);
    Explanation { rules, chain, route, decided_by, rewritten_path, shares }
}

fn word(decided_by: DecidedBy) -> &'static str {
    match decided_by {
        DecidedBy::Condition => "condition",
        DecidedBy::Cookie => "cookie",
        DecidedBy::Weight => "weight",
        DecidedBy::OnlyRoute => "only_route",
    }
}

/// The chances of the routes of the first gateway, in percent.
fn shares<H: Head>(table: &CompiledTable, entry: Entry, head: &H) -> Vec<(String, f64)> {
    let first = match entry {
        Entry::Gateway(gateway) => Some(gateway),
        Entry::VirtualHosts => table.hosts.find(head.host()),
    };
    let Some(gateway) = first.and_then(|first| table.gateways.get(first)) else { return Vec::new() };
    let names = gateway.routes.iter().map(|route| route.wire.name.clone());
    names.zip(decide::chances(gateway, head).into_iter().map(|chance| chance * 100.0)).collect()
}

/// Names of the gateways passed, and of the route taken at the last.
fn passed(table: &CompiledTable, verdict: &Verdict) -> (Vec<String>, Option<String>) {
    let name = |gateway: usize| table.gateways.get(gateway).map(|gateway| gateway.wire.name.clone());
    match verdict {
        Ok(decision) => {
            let chain = decision.chain.hops().iter().filter_map(|hop| name(hop.gateway)).collect();
            let last = decision.chain.last();
            let route = table.gateways.get(last.gateway).and_then(|gateway| gateway.routes.get(last.route));
            (chain, route.map(|route| route.wire.name.clone()))
        }
        Err(Refusal::NoWeight { gateway }) => (name(*gateway).into_iter().collect(), None),
        Err(Refusal::UnknownHost) => (Vec::new(), None),
    }
}

/// Writes the rules down.
struct Listener<'table> {
    table: &'table CompiledTable,
    rules: Vec<Rule>,
}

impl Listener<'_> {
    fn gateway(&self, gateway: usize) -> Option<&CompiledGateway> {
        self.table.gateways.get(gateway).map(AsRef::as_ref)
    }

    fn route_name(&self, gateway: usize, route: usize) -> Option<String> {
        Some(self.gateway(gateway)?.routes.get(route)?.wire.name.clone())
    }

    fn rule(&mut self, gateway: usize, route: Option<usize>, rule: String, result: &str) {
        let name = self.gateway(gateway).map(|gateway| gateway.wire.name.clone()).unwrap_or_default();
        let route = route.and_then(|route| self.route_name(gateway, route));
        self.rules.push(Rule { gateway: name, route, rule, result: result.to_owned() });
    }

    fn condition_text(&self, gateway: usize, route: usize) -> String {
        let condition = self.gateway(gateway).and_then(|gateway| gateway.routes.get(route)?.wire.condition.clone());
        format!("condition \"{}\"", condition.unwrap_or_default())
    }

    fn strength_of(&self, gateway: usize, route: usize) -> Share {
        let strength = self.gateway(gateway).and_then(|gateway| gateway.routes.get(route));
        strength.map_or(Share::WHOLE, |route| route.wire.condition_strength)
    }
}

/// A share in percent, without needless decimals.
fn percent(share: Share) -> String {
    let (whole, hundredths) = (share.0 / 100, share.0 % 100);
    match (hundredths, hundredths % 10) {
        (0, _) => whole.to_string(),
        (_, 0) => format!("{whole}.{}", hundredths / 10),
        _ => format!("{whole}.{hundredths:02}"),
    }
}

impl Observer for Listener<'_> {
    fn condition(&mut self, gateway: usize, route: usize, matched: bool) {
        let strength = self.strength_of(gateway, route);
        let result = match (matched, strength) {
            (false, _) => "did not match",
            (true, Share::NONE) => "matched, and its strength is 0 %",
            (true, Share::WHOLE) => "matched, taken",
            (true, _) => "matched",
        };
        self.rule(gateway, Some(route), self.condition_text(gateway, route), result);
    }

    fn strength(&mut self, gateway: usize, route: usize, outcome: StrengthOutcome) {
        let strength = self.strength_of(gateway, route);
        let result = match outcome {
            StrengthOutcome::KeptByCookie => "the client's cookie names the route, taken",
            StrengthOutcome::PassedByCookie => "the client's cookie names another route, passed by",
            StrengthOutcome::Taken => "taken by its ticket",
            StrengthOutcome::PassedBy => "passed by, by its ticket",
        };
        self.rule(gateway, Some(route), format!("strength {} %", percent(strength)), result);
    }

    fn cookie(&mut self, gateway: usize, outcome: CookieOutcome) {
        let (route, result) = match outcome {
            CookieOutcome::Absent => (None, "the client has none"),
            CookieOutcome::Unknown => (None, "it names no route of today"),
            CookieOutcome::WithoutWeight(route) => (Some(route), "it names a route of weight 0"),
            CookieOutcome::Taken(route) => (Some(route), "taken"),
        };
        self.rule(gateway, route, "cookie".to_owned(), result);
    }

    fn weights(&mut self, gateway: usize, taken: Option<usize>) {
        let weights: Vec<_> = self
            .gateway(gateway)
            .map(|gateway| gateway.routes.iter().map(|route| percent(route.wire.weight)).collect())
            .unwrap_or_default();
        let result = match self.gateway(gateway).map(|gateway| gateway.weights) {
            Some(Weights::None) | None => "all weights are 0",
            Some(Weights::Only(_)) => "taken: it has all the weight",
            Some(Weights::Split(_)) => "taken by its ticket",
        };
        self.rule(gateway, taken, format!("weights {}", weights.join("/")), result);
    }

    fn rewrite(&mut self, gateway: usize, route: usize, index: usize, matched: bool) {
        let rewrite = self.gateway(gateway).and_then(|gateway| gateway.routes.get(route)?.wire.rewrites.get(index));
        let text = rewrite.map_or_else(String::new, |rewrite| {
            format!("rewrite to \"{}\" if \"{}\"", rewrite.path, rewrite.condition)
        });
        self.rule(gateway, Some(route), text, if matched { "matched, path rewritten" } else { "did not match" });
    }
}
