//! Made-up records for tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use vamp_record::{Reason, Record, RouteLabels, Texts};

/// A record that holds `number`, in its start.
pub(super) fn record(number: u64) -> Record {
    Record {
        is_tcp: false,
        started_unix_ns: number,
        labels: Arc::new(RouteLabels::default()),
        epoch: 1,
        revision: 1,
        reason: Reason::Completed,
        status: 200,
        upstream_status: 200,
        client: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        texts: Texts::default(),
        http_minor: 1,
        endpoint: None,
        endpoint_lookup: None,
        retries: 0,
        bytes_in: 0,
        bytes_out: 0,
        head_us: 0,
        connect_us: None,
        upstream_us: None,
        duration_us: 0,
    }
}
