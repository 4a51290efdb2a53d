//! A verdict as one line, so that expectations can be read.

use vamp_routing::{CompiledTable, CookiePlan, DecidedBy, Hop, Refusal, Verdict};

/// `shop/a by weight, cookie set → api/b by condition, path /x`, or why there is no route.
pub(super) fn verdict(table: &CompiledTable, verdict: &Verdict) -> String {
    match verdict {
        Ok(decision) => {
            let hops: Vec<_> = decision.chain.hops().map(|one| hop(table, &one)).collect();
            let path = decision.rewritten_path.as_ref().map(|path| format!(", path {path}"));
            hops.join(" → ") + &path.unwrap_or_default()
        }
        Err(Refusal::UnknownHost) => "unknown host".to_owned(),
        Err(Refusal::NoWeight { gateway }) => format!("no weight at {}", table.gateways()[*gateway].wire.name),
    }
}

fn hop(table: &CompiledTable, hop: &Hop) -> String {
    let gateway = &table.gateways()[hop.gateway];
    let route = &gateway.routes[hop.route].wire.name;
    let instance = hop.instance.map(|instance| format!("#{instance}")).unwrap_or_default();
    let cookie = match hop.cookie {
        CookiePlan::None => "",
        CookiePlan::Keep => ", cookie kept",
        CookiePlan::Set => ", cookie set",
    };
    format!("{}/{route}{instance} by {}{cookie}", gateway.wire.name, decided_by(hop.decided_by))
}

/// As `explain` says it.
pub(super) fn decided_by(decided_by: DecidedBy) -> &'static str {
    match decided_by {
        DecidedBy::Condition => "condition",
        DecidedBy::Cookie => "cookie",
        DecidedBy::Source => "source",
        DecidedBy::Weight => "weight",
        DecidedBy::OnlyRoute => "only_route",
    }
}
