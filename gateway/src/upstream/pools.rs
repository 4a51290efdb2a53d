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

    /// Unused connections now.
    #[cfg(test)]
    pub(crate) fn kept(&self) -> usize {
        self.kept.get()
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
