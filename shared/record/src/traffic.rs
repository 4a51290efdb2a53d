//! What a gateway process counted of the traffic of some gateways: served by its admin listener, sampled by the control
//! plane.

use serde::{Deserialize, Serialize};

use crate::metric::DURATION_BOUNDS_SECONDS;

/// LIMIT: gateways of one question. An answer about them, of three routes each, is about half a megabyte.
pub const GATEWAYS_MAX: usize = 1_000;

/// Parts in which times are counted: one up to each of [`DURATION_BOUNDS_SECONDS`], and one for what is above the last.
pub const BUCKETS: usize = DURATION_BOUNDS_SECONDS.len() + 1;

/// Which gateways are asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrafficQuestion {
    /// Their names, up to [`GATEWAYS_MAX`].
    pub gateways: Vec<String>,
}

/// What a gateway process answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficAnswer {
    /// The gateway process.
    pub id: String,
    /// Its boot: counts of another boot begin anew.
    pub boot: String,
    /// Those gateways of the question that are in its table.
    pub gateways: Vec<GatewayTraffic>,
}

/// What was counted at one gateway since the process started, or the gateway came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayTraffic {
    /// Its name.
    pub gateway: String,
    /// Its routes; those that never had a request are left out.
    pub routes: Vec<RouteTraffic>,
}

/// What was counted of one route. A request is counted when it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTraffic {
    /// The route key; empty for requests that reached no route of the gateway.
    pub route: String,
    /// Requests; connections of a TCP gateway.
    pub requests: u64,
    /// Those of them that got an answer of the class 5xx, a cut one, or none because nothing behind the gateway served it.
    pub errors: u64,
    /// How long all of them took together, microseconds.
    pub duration_us: u64,
    /// How many took how long: [`BUCKETS`] counts.
    pub buckets: Vec<u64>,
}
