//! Every time-out and bound of the data path, at one place: nothing that a client, an endpoint or a table brings may
//! take more than is written here.

use std::time::Duration;

/// Time-outs and bounds of the data path. `Default` is what a gateway uses unless its settings say otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From the first byte of a connection (or of its next request) to the end of the head: 408.
    pub head_timeout: Duration,
    /// Longest pause in a request's body: 408.
    pub body_idle_timeout: Duration,
    /// How long a client's connection is kept open between requests.
    pub keep_alive_timeout: Duration,
    /// Connecting to an endpoint, all its addresses together: the next endpoint, at last 504.
    pub connect_timeout: Duration,
    /// From a whole request to the head of its answer: 504.
    pub response_head_timeout: Duration,
    /// Longest pause in an answer's body, and the time in which a slow client must take some more of it: cut.
    pub response_idle_timeout: Duration,
    /// Longest pause in both directions of a tunnel: cut.
    pub tunnel_idle_timeout: Duration,
    /// How long requests under way may take once their listener goes away: then cut.
    pub drain_timeout: Duration,
    /// How long a connection to an endpoint is kept open without use.
    pub idle_upstream_timeout: Duration,
    /// Bytes of a request or answer head: 431, or 502 for an answer.
    pub head_bytes_max: usize,
    /// Header fields of one head: 431, or 502 for an answer.
    pub fields_max: usize,
    /// Bytes of a request target: 414.
    pub target_bytes_max: usize,
    /// Bytes of a request body: 413; `None` for no limit.
    pub body_bytes_max: Option<u64>,
    /// Bytes of a body that a client must bring each second on average, after the grace: 408; 0 for none.
    pub body_bytes_per_second_min: u32,
    /// How long a body may take before its rate counts.
    pub body_grace: Duration,
    /// Client connections of the process; `None`: as many as it has room for. One more closes the oldest that waits for
    /// a request, or is answered 503.
    pub connections_max: Option<usize>,
    /// Client connections from one address that is no trusted proxy: one more is answered 503; `None` for no limit.
    pub connections_per_client_max: Option<usize>,
    /// Resident bytes of the process: near them no client is let in; `None`: what the system says.
    pub memory_bytes_max: Option<u64>,
    /// Unused connections kept for one endpoint by one thread.
    pub idle_upstream_max: usize,
    /// Unused connections kept by one thread for all endpoints together.
    pub idle_upstream_total_max: usize,
    /// Tries after the first at another (or again at the only) endpoint.
    pub retries_max: u8,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_timeout: Duration::from_secs(10),
            body_idle_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_mins(1),
            connect_timeout: Duration::from_secs(3),
            response_head_timeout: Duration::from_mins(1),
            response_idle_timeout: Duration::from_mins(1),
            tunnel_idle_timeout: Duration::from_hours(1),
            drain_timeout: Duration::from_secs(30),
            // Servers close unused connections after 5 s (Node.js) to 75 s (nginx). What is found closed is passed by
            // without cost, so this only has to keep the number of sockets down.
            idle_upstream_timeout: Duration::from_mins(1),
            // LIMIT: heads. 64 KiB hold the largest cookies in use; a head is buffered whole, so it is also the memory
            // that a slow client may hold.
            head_bytes_max: 64 * 1024,
            // LIMIT: fields. Browsers send about 20, chains of proxies add a few each.
            fields_max: 128,
            // LIMIT: targets. Twice what common servers take.
            target_bytes_max: 16 * 1024,
            body_bytes_max: None,
            // LIMIT: slow bodies. Clients that hold a connection and one to an endpoint for a trickle are no users: the
            // slowest mobile networks bring ten times as much.
            body_bytes_per_second_min: 240,
            // What is small may come in pieces.
            body_grace: Duration::from_secs(10),
            connections_max: None,
            connections_per_client_max: None,
            memory_bytes_max: None,
            // LIMIT: unused upstream connections. More than this many are of use only while more requests than this
            // are under way on one thread at one endpoint, which then waits for the endpoint anyway.
            idle_upstream_max: 512,
            // LIMIT: the same over all endpoints: a file descriptor each.
            idle_upstream_total_max: 4_096,
            // LIMIT: tries. Each may cost a connect time-out; two find a live endpoint unless most are gone.
            retries_max: 2,
        }
    }
}
