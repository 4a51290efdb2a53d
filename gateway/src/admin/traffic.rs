//! The question of `/traffic`: what was counted at some gateways up to now? It is asked every second, so an answer costs
//! what the gateways that are asked about cost, however large the table is.

use vamp_record::traffic::{GATEWAYS_MAX, GatewayTraffic, RouteTraffic, TrafficQuestion};

use super::problem::{Problem, shown};
use crate::counters::RouteTotals;
use crate::serving::Serving;

/// LIMIT: bytes of a question: the longest names of as many gateways as it may have.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// Reads the question.
pub(super) fn read(body: &[u8]) -> Result<TrafficQuestion, Problem> {
    let mend = r#"send {"gateways": ["NAME"]}, up to 1000 of them"#;
    let question: TrafficQuestion = serde_json::from_slice(body).map_err(|error| {
        Problem::bad_request(format!("the question can't be read ({})", shown(&error.to_string())), mend)
    })?;
    if question.gateways.len() > GATEWAYS_MAX {
        return Err(Problem::bad_request("the question names too many gateways", mend));
    }
    Ok(question)
}

/// What was counted at those of the gateways that are in the table.
pub(super) fn counted(serving: &Serving, asked: &TrafficQuestion) -> Vec<GatewayTraffic> {
    let gateways = asked.gateways.iter().filter_map(|name| {
        let (gateway, routes) = serving.route_totals(name)?;
        let carries_tcp = gateway.wire.tcp.is_some();
        let routes = routes.iter().map(|(route, totals)| route_traffic(route, totals, carries_tcp));
        Some(GatewayTraffic { gateway: name.clone(), routes: routes.collect() })
    });
    gateways.collect()
}

fn route_traffic(route: &str, totals: &RouteTotals, carries_tcp: bool) -> RouteTraffic {
    RouteTraffic {
        route: route.to_owned(),
        requests: totals.requests(),
        errors: totals.errors(carries_tcp),
        duration_us: totals.duration.sum_us,
        buckets: totals.duration.buckets.to_vec(),
    }
}
