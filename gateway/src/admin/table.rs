//! What is served: `/table`.

use serde::Deserialize;
use serde_json::{Value, json};
use vamp_routing::wire::{Balance, Sticky, Target};
use vamp_routing::{CompiledGateway, CompiledRoute};

use super::AdminState;
use super::problem::Problem;
use crate::serving::{RouteEndpoint, Serving};
use crate::upstream::Endpoint;

/// LIMIT: routes of one answer, about 500 bytes each; `gateway=NAME` shows one gateway, whatever its size.
const ROUTES_MAX: usize = 10_000;

/// Parameters of `/table`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TableQuery {
    /// The only gateway to show.
    pub(super) gateway: Option<String>,
}

/// The served table; only this gateway of it, if one is named.
pub(super) fn shown(state: &AdminState, only: Option<&str>) -> Result<Value, Problem> {
    let serving = state.plane.serving();
    let (gateways, is_whole) = match only {
        Some(name) => {
            let index = serving.table.find(name).ok_or_else(|| Problem::unknown_gateway(name))?;
            (
                serving
                    .table
                    .gateways()
                    .get(index)
                    .map(|gateway| shown_gateway(&serving, index, gateway))
                    .into_iter()
                    .collect(),
                true,
            )
        }
        None => bounded(&serving),
    };
    let counters = state.plane.counters();
    let sync = state.sync.borrow();
    let generation = serving.table.generation();
    // The digest is that of the applied table, which the served one is unless a newer one just came into service.
    let digest = sync.digest.filter(|_| sync.applied == Some(generation));
    Ok(json!({
        "id": state.id,
        "boot": state.boot,
        "version": state.version,
        "generation": generation,
        "digest": digest,
        "sync": {
            "state": sync.state.word(),
            "applied": sync.applied,
            "kept": sync.kept,
            "acknowledged": sync.acknowledged,
            "refused": sync.refused,
            "fault": sync.fault,
        },
        "problems": sync.problems,
        "listeners": { "bound": counters.listeners_bound, "failing": counters.listeners_failing },
        "whole": is_whole,
        "gateways": gateways,
    }))
}

/// As many gateways as the bound allows, and whether that is all of them.
fn bounded(serving: &Serving) -> (Vec<Value>, bool) {
    let gateways = serving.table.gateways();
    let mut routes = 0;
    let fits = |gateway: &&std::sync::Arc<CompiledGateway>| {
        routes += gateway.routes.len();
        routes <= ROUTES_MAX
    };
    let kept = gateways.iter().take_while(fits).enumerate();
    let shown: Vec<_> = kept.map(|(index, gateway)| shown_gateway(serving, index, gateway)).collect();
    let is_whole = shown.len() == gateways.len();
    (shown, is_whole)
}

fn shown_gateway(serving: &Serving, index: usize, gateway: &CompiledGateway) -> Value {
    let wire = &gateway.wire;
    let routes = gateway.routes.iter().enumerate();
    let routes: Vec<_> = routes
        .map(|(at, route)| {
            let endpoints = serving.route(index, at).map(|state| state.endpoints.as_slice());
            shown_route(route, endpoints.unwrap_or_default())
        })
        .collect();
    json!({
        "name": wire.name,
        "lookup": wire.lookup,
        "port": wire.port,
        "virtual_hosts": wire.virtual_hosts,
        "sticky": match wire.sticky {
            Sticky::None => None,
            Sticky::Route => Some("route"),
            Sticky::Instance => Some("instance"),
        },
        "digest": gateway.digest,
        "routes": routes,
    })
}

fn shown_route(route: &CompiledRoute, endpoints: &[RouteEndpoint]) -> Value {
    let wire = &route.wire;
    let to_gateway = match &wire.target {
        Target::Gateway(name) => Some(name),
        Target::Endpoints(_) => None,
    };
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|at| {
            json!({
                "address": &*at.endpoint.address,
                "lookup": &*at.lookup,
                "state": endpoint_state(&at.endpoint),
                "in_flight": at.endpoint.in_flight(),
            })
        })
        .collect();
    json!({
        "name": wire.name,
        "lookup": wire.lookup,
        "weight_percent": f64::from(wire.weight.0) / 100.0,
        "condition": wire.condition,
        "condition_strength_percent": wire.condition.as_ref().map(|_| f64::from(wire.condition_strength.0) / 100.0),
        "balance": match wire.balance {
            Balance::RoundRobin => "roundrobin",
            Balance::LeastConn => "leastconn",
        },
        "rewrites": wire.rewrites,
        "gateway": to_gateway,
        "endpoints": endpoints,
    })
}

fn endpoint_state(endpoint: &Endpoint) -> &'static str {
    if !endpoint.is_resolved() {
        "unresolved"
    } else if endpoint.is_live() {
        "live"
    } else {
        "passed_by"
    }
}
