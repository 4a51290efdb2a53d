//! The record of one answered request.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::Reason;

/// Names of one decision, shared by all records that it leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RouteLabels {
    /// Gateways passed, first to last: name and lookup, and whether the weights decided there.
    pub gateways: Vec<(String, String, bool)>,
    /// Route key and lookup at the last gateway; empty when no route was reached.
    pub route: String,
    /// Lookup of the route.
    pub route_lookup: String,
    /// `condition`, `cookie`, `weight`, `only_route`, or empty.
    pub decided_by: &'static str,
}

/// A bounded text out of a request: never longer than its limit, and it says when it was cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// What was kept, as UTF-8 (other bytes escaped as `\xNN`).
    pub kept: String,
    /// Whether there was more.
    pub cut: bool,
}

/// What one answered request leaves behind.
#[derive(Debug, Clone)]
pub struct Record {
    /// Wall clock at the first byte of the request, nanoseconds since 1970 (UTC).
    pub started_unix_ns: u64,
    /// Names of the decision.
    pub labels: Arc<RouteLabels>,
    /// Epoch and revision of the table that decided.
    pub epoch: u64,
    /// See `epoch`.
    pub revision: u64,
    /// How it ended.
    pub reason: Reason,
    /// Status sent to the client, 0 when none was.
    pub status: u16,
    /// Status of the upstream, 0 when it gave none.
    pub upstream_status: u16,
    /// Client address after the trusted-proxy rules, port of the peer.
    pub client: SocketAddr,
    /// Method.
    pub method: Text,
    /// Host as decided on.
    pub host: Text,
    /// Path without query.
    pub path: Text,
    /// Minor HTTP version of the client: 0 or 1.
    pub http_minor: u8,
    /// Address of the endpoint that answered, if one did.
    pub endpoint: Option<Arc<str>>,
    /// Lookup of the endpoint.
    pub endpoint_lookup: Option<Arc<str>>,
    /// The request id sent upstream.
    pub request_id: Text,
    /// Tries after the first.
    pub retries: u8,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client, head and body.
    pub bytes_out: u64,
    /// First byte of the request to its whole head.
    pub head_us: u64,
    /// Connecting upstream; `None` on a pooled connection.
    pub connect_us: Option<u64>,
    /// Request sent to the upstream's head read.
    pub upstream_us: Option<u64>,
    /// Whole head read to last byte sent: the active time, without keep-alive idle.
    pub duration_us: u64,
}
