//! Connections to endpoints that no request uses: per thread and endpoint, the one used last is the next to be used,
//! so that the surplus ages and goes.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::{Connection, Endpoint};

/// The unused connections of one thread.
#[derive(Debug)]
pub(crate) struct Pools {
    idle: RefCell<HashMap<u64, Pool, BuildHasherDefault<IdHasher>>>,
    kept: Cell<usize>,
    per_endpoint_max: usize,
    total_max: usize,
}

#[derive(Debug)]
struct Pool {
    endpoint: Weak<Endpoint>,
    idle: Vec<(Connection, Instant)>,
}

impl Pools {
    pub(crate) fn new(per_endpoint_max: usize, total_max: usize) -> Self {
        Self { idle: RefCell::default(), kept: Cell::new(0), per_endpoint_max, total_max }
    }

    /// The connection to `endpoint` that was used last and is still open. What is found closed on the way is dropped.
    pub(crate) fn take(&self, endpoint: &Endpoint) -> Option<Connection> {
        let mut pools = self.idle.borrow_mut();
        let pool = pools.get_mut(&endpoint.id)?;
        while let Some((connection, _)) = pool.idle.pop() {
            self.kept.set(self.kept.get().saturating_sub(1));
            if connection.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection on which an answer ended and nothing followed. Above the bounds it is closed.
    pub(crate) fn put(&self, endpoint: &Arc<Endpoint>, connection: Connection, now: Instant) {
        let mut pools = self.idle.borrow_mut();
        let pool =
            pools.entry(endpoint.id).or_insert_with(|| Pool { endpoint: Arc::downgrade(endpoint), idle: Vec::new() });
        if pool.idle.len() < self.per_endpoint_max && self.kept.get() < self.total_max {
            pool.idle.push((connection, now));
            self.kept.set(self.kept.get() + 1);
        }
    }

    /// Closes what was unused for `idle_max`, what its endpoint closed, and all to endpoints that no table names now.
    pub(crate) fn sweep(&self, now: Instant, idle_max: Duration) {
        let mut kept = 0;
        self.idle.borrow_mut().retain(|_, pool| {
            if pool.endpoint.strong_count() == 0 {
                return false;
            }
            pool.idle.retain(|(connection, since)| now.duration_since(*since) < idle_max && connection.is_quiet());
            kept += pool.idle.len();
            !pool.idle.is_empty()
        });
        self.kept.set(kept);
    }
}

/// Hashes the ids of endpoints, which are given by this process in sequence: nobody else chooses them.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0.rotate_left(8) ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing: the table looks at the upper and at the lower bits.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::counters::ThreadCounters;

    const LONG: Duration = Duration::from_hours(1);

    /// An endpoint with both ends of the connections to it.
    struct Pair {
        listener: TcpListener,
        endpoint: Arc<Endpoint>,
        counters: Arc<ThreadCounters>,
    }

    impl Pair {
        async fn new(id: u64) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = Arc::new(Endpoint::new(&listener.local_addr().unwrap().to_string(), id));
            Self { listener, endpoint, counters: Arc::default() }
        }

        async fn connect(&self) -> (Connection, TcpStream) {
            let near = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
            let (far, _) = self.listener.accept().await.unwrap();
            (Connection::new(near, Arc::clone(&self.counters)), far)
        }
    }

    fn port(connection: &Connection) -> u16 {
        connection.stream.local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn the_connection_used_last_is_used_next_and_one_endpoint_has_not_those_of_another() {
        let (pools, one, two) = (Pools::new(8, 8), Pair::new(1).await, Pair::new(2).await);
        let mut far = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..3 {
            let (connection, other_end) = one.connect().await;
            ports.push(port(&connection));
            pools.put(&one.endpoint, connection, Instant::now());
            far.push(other_end);
        }
        assert!(pools.take(&two.endpoint).is_none());
        while let Some(connection) = pools.take(&one.endpoint) {
            assert_eq!(Some(port(&connection)), ports.pop());
        }
        assert_eq!((ports.len(), one.counters.upstreams.get(), one.counters.upstreams_opened.get()), (0, 0, 3));
    }

    #[tokio::test]
    async fn above_the_bounds_connections_are_closed() {
        let (pools, one, two) = (Pools::new(2, 3), Pair::new(1).await, Pair::new(2).await);
        let mut far = Vec::new();
        for pair in [&one, &one, &one, &two, &two] {
            let (connection, other_end) = pair.connect().await;
            pools.put(&pair.endpoint, connection, Instant::now());
            far.push(other_end);
        }
        assert_eq!((one.counters.upstreams.get(), two.counters.upstreams.get()), (2, 1));
        drop(pools.take(&one.endpoint));
        let (connection, _other_end) = two.connect().await;
        pools.put(&two.endpoint, connection, Instant::now());
        assert_eq!((one.counters.upstreams.get(), two.counters.upstreams.get()), (1, 2));
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_says_something_unasked_is_not_given() {
        for unasked in [&b""[..], b"HTTP/1.1 408 Request Timeout\r\n\r\n"] {
            let (pools, pair) = (Pools::new(8, 8), Pair::new(1).await);
            let (good, _good_end) = pair.connect().await;
            let (bad, mut bad_end) = pair.connect().await;
            bad_end.write_all(unasked).await.unwrap();
            drop(bad_end);
            bad.stream.readable().await.unwrap();
            let good_port = port(&good);
            pools.put(&pair.endpoint, good, Instant::now());
            pools.put(&pair.endpoint, bad, Instant::now());
            assert_eq!(pools.take(&pair.endpoint).map(|connection| port(&connection)), Some(good_port));
            assert!(pools.take(&pair.endpoint).is_none());
        }
    }

    #[tokio::test]
    async fn a_sweep_closes_the_old_the_closed_and_those_of_endpoints_that_are_gone() {
        let (pools, mut pair) = (Pools::new(8, 8), Pair::new(1).await);
        let began = Instant::now();
        let (old, _old_end) = pair.connect().await;
        let (young, _young_end) = pair.connect().await;
        let (closed, closed_end) = pair.connect().await;
        drop(closed_end);
        closed.stream.readable().await.unwrap();
        pools.put(&pair.endpoint, old, began);
        pools.put(&pair.endpoint, young, began + LONG);
        pools.put(&pair.endpoint, closed, began + LONG);
        pools.sweep(began + LONG, LONG);
        assert_eq!((pair.counters.upstreams.get(), pools.kept.get()), (1, 1));
        pair.endpoint = Arc::new(Endpoint::new("127.0.0.1:1", 2));
        pools.sweep(began + LONG, LONG);
        assert_eq!((pair.counters.upstreams.get(), pools.kept.get()), (0, 0));
    }
}
