//! The account of one split level: who is next, and who had how many. No ticket is lost and none is drawn twice,
//! whatever threads draw at once.

#[cfg(test)]
mod model;

use std::sync::atomic::AtomicU64;

use vamp_routing::Level;

use crate::counters::{Atomic, Count, PerThread};

/// The account of one split level. It lives as long as the level's shares do, over tables.
#[derive(Debug)]
pub(crate) struct Account<A = AtomicU64> {
    ticket: Ticket<A>,
    since_unix_ms: u64,
    delivered: PerThread<Box<[Count<A>]>>,
}

/// The next ticket, on cache lines of its own: all threads draw from it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Ticket<A>(A);

impl<A: Atomic> Account<A> {
    /// A new account at a random phase: if each began with the first ticket, frequent edits would starve the routes
    /// whose turn comes late.
    pub(crate) fn new(level: &Level, since_unix_ms: u64, threads: usize) -> Self {
        Self::at(rand::random_range(0..level.period.max(1)), since_unix_ms, threads)
    }

    fn at(first: u64, since_unix_ms: u64, threads: usize) -> Self {
        let ticket = Ticket::<A>::default();
        ticket.0.store(first);
        Self { ticket, since_unix_ms, delivered: PerThread::new(threads) }
    }

    /// When it began, milliseconds since 1970 (UTC).
    pub(crate) fn since_unix_ms(&self) -> u64 {
        self.since_unix_ms
    }

    /// Takes the next ticket, and counts on which side of the level it falls.
    pub(crate) fn take(&self, level: &Level, thread: usize) -> u64 {
        let ticket = self.ticket.0.take_one();
        let slot = self.delivered.slot(thread, || level.shares.iter().map(|_| Count::default()).collect());
        if let Some(count) = slot.and_then(|slot| slot.get(level.pick(ticket))) {
            count.add(1);
        }
        ticket
    }

    /// The ticket that would be taken next.
    pub(crate) fn next(&self) -> u64 {
        self.ticket.0.load()
    }

    /// How many tickets fell on each side. Their sum is how many were taken: the ticket beside them, read in the same
    /// moment, may be older than they are.
    pub(crate) fn delivered(&self, shares: usize) -> Vec<u64> {
        let mut sums = vec![0; shares];
        for slot in self.delivered.used() {
            slot.iter().zip(&mut sums).for_each(|(count, sum)| *sum += count.get());
        }
        sums
    }
}
