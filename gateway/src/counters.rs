//! What the data path counts: per route and thread, read on scrape.
//!
//! Each counter has one writer, the thread that owns its slot, so that counting is a load and a store on a cache line
//! that no other thread writes. The counters of a route live as long as the route does, over tables: they never go
//! backwards meanwhile.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use vamp_record::metric::DURATION_BOUNDS_SECONDS;
use vamp_record::{Reason, Record};
use vamp_routing::DecidedBy;

use crate::listen::Refused;
use crate::plane::Capacity;

/// Classes of an answer's status, as [`RouteSnapshot::codes`] counts them.
pub(crate) const CODE_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Buckets of a histogram: one per bound, and one for what is above the last.
const BUCKETS: usize = DURATION_BOUNDS_SECONDS.len() + 1;

/// Upper bounds of the buckets in microseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    reason = "the bounds are at most 60 s; the index is below both lengths; evaluated when compiled"
)]
const BOUNDS_US: [u64; DURATION_BOUNDS_SECONDS.len()] = {
    let mut bounds = [0; DURATION_BOUNDS_SECONDS.len()];
    let mut index = 0;
    while index < bounds.len() {
        bounds[index] = (DURATION_BOUNDS_SECONDS[index] * 1e6) as u64;
        index += 1;
    }
    bounds
};

/// A number that threads share, as counting uses it: all of it relaxed, because a count says nothing about other memory.
/// A parameter, so that a model checker can put its own in the place of the processor's.
pub(crate) trait Atomic: Default {
    /// What it is now.
    fn load(&self) -> u64;
    /// Makes it this.
    fn store(&self, value: u64);
    /// What it is now, and one more for whoever asks next: no two get the same.
    fn take_one(&self) -> u64;
}

impl Atomic for AtomicU64 {
    #[inline]
    fn load(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    #[inline]
    fn store(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }

    #[inline]
    fn take_one(&self) -> u64 {
        self.fetch_add(1, Ordering::Relaxed)
    }
}

/// A counter with one writer.
#[derive(Debug, Default)]
pub(crate) struct Count<A = AtomicU64>(A);

impl<A: Atomic> Count<A> {
    /// Adds; only the thread that owns the slot may call it.
    pub(crate) fn add(&self, more: u64) {
        self.0.store(self.0.load().wrapping_add(more));
    }

    /// Takes away; only the thread that owns the slot may call it.
    pub(crate) fn subtract(&self, less: u64) {
        self.0.store(self.0.load().saturating_sub(less));
    }

    /// What is counted now; any thread may call it.
    pub(crate) fn get(&self) -> u64 {
        self.0.load()
    }
}

/// One slot per thread, made when its thread first counts, so that routes without traffic cost a pointer.
#[derive(Debug)]
pub(crate) struct PerThread<T>(Box<[OnceLock<Box<T>>]>);

impl<T> PerThread<T> {
    pub(crate) fn new(threads: usize) -> Self {
        Self((0..threads.max(1)).map(|_| OnceLock::new()).collect())
    }

    /// The slot of `thread`; `None` for a thread that was not announced.
    pub(crate) fn slot(&self, thread: usize, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get(thread).map(|slot| &**slot.get_or_init(|| Box::new(make())))
    }

    /// The slots in use.
    pub(crate) fn used(&self) -> impl Iterator<Item = &T> {
        self.0.iter().filter_map(|slot| slot.get().map(|slot| &**slot))
    }
}

#[derive(Debug, Default)]
struct Histogram {
    buckets: [Count; BUCKETS],
    sum_us: Count,
}

impl Histogram {
    fn add(&self, us: u64) {
        let bucket = BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
        }
        self.sum_us.add(us);
    }

    fn add_to(&self, sum: &mut Distribution) {
        for (count, into) in self.buckets.iter().zip(&mut sum.buckets) {
            *into += count.get();
        }
        sum.sum_us += self.sum_us.get();
    }
}

/// One thread's counters of one route.
#[derive(Debug, Default)]
#[repr(align(128))]
struct RouteSlot {
    codes: [Count; CODE_CLASSES.len()],
    reasons: [Count; Reason::ALL.len()],
    decided: [Count; DECIDED_BY],
    duration: Histogram,
    upstream: Histogram,
    retries: Count,
    bytes_in: Count,
    bytes_out: Count,
}

/// All threads' counters of one route, or of what reached no route.
#[derive(Debug)]
pub(crate) struct RouteCounters(PerThread<RouteSlot>);

impl RouteCounters {
    pub(crate) fn new(threads: usize) -> Self {
        Self(PerThread::new(threads))
    }

    /// Counts that this route was chosen, and by what.
    pub(crate) fn decided(&self, thread: usize, by: DecidedBy) {
        if let Some(slot) = self.0.slot(thread, RouteSlot::default)
            && let Some(count) = slot.decided.get(decided_index(by))
        {
            count.add(1);
        }
    }

    /// Counts how one request ended.
    pub(crate) fn ended(&self, thread: usize, record: &Record) {
        let Some(slot) = self.0.slot(thread, RouteSlot::default) else { return };
        let class = match record.status {
            status @ 100..600 => usize::from(status / 100),
            _ => 0,
        };
        let counts = [slot.codes.get(class), slot.reasons.get(record.reason as usize)];
        counts.into_iter().flatten().for_each(|count| count.add(1));
        slot.duration.add(record.duration_us);
        if let Some(upstream_us) = record.upstream_us {
            slot.upstream.add(upstream_us);
        }
        if record.retries > 0 {
            slot.retries.add(u64::from(record.retries));
        }
        slot.bytes_in.add(record.bytes_in);
        slot.bytes_out.add(record.bytes_out);
    }

    /// How often this route was chosen, in the order of [`decided_index`].
    pub(crate) fn decided_counts(&self) -> [u64; DECIDED_BY] {
        let mut sums = [0; DECIDED_BY];
        for slot in self.0.used() {
            slot.decided.iter().zip(&mut sums).for_each(|(count, sum)| *sum += count.get());
        }
        sums
    }

    /// The sums over threads; `None` when nothing was counted yet.
    pub(crate) fn totals(&self) -> Option<RouteTotals> {
        let mut totals = RouteTotals::default();
        for slot in self.0.used() {
            slot.codes.iter().zip(&mut totals.codes).for_each(|(count, sum)| *sum += count.get());
            slot.reasons.iter().zip(&mut totals.reasons).for_each(|(count, sum)| *sum += count.get());
            slot.duration.add_to(&mut totals.duration);
            slot.upstream.add_to(&mut totals.upstream);
            totals.retries += slot.retries.get();
            totals.bytes_in += slot.bytes_in.get();
            totals.bytes_out += slot.bytes_out.get();
        }
        totals.codes.iter().any(|count| *count > 0).then_some(totals)
    }
}

/// How many rules there are that decide.
pub(crate) const DECIDED_BY: usize = 5;

/// Place of a deciding rule in the arrays that count by it.
pub(crate) fn decided_index(by: DecidedBy) -> usize {
    match by {
        DecidedBy::Condition => 0,
        DecidedBy::Cookie => 1,
        DecidedBy::Weight => 2,
        DecidedBy::OnlyRoute => 3,
        DecidedBy::Source => 4,
    }
}

/// One thread's counters of connections.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ThreadCounters {
    /// Client connections now.
    pub(crate) clients: Count,
    /// Client connections since the start.
    pub(crate) clients_opened: Count,
    /// Connections to endpoints now, used and unused.
    pub(crate) upstreams: Count,
    /// Connections to endpoints since the start.
    pub(crate) upstreams_opened: Count,
    /// How often accepting paused because the process or the host had no descriptor left.
    pub(crate) accept_pauses: Count,
    /// Clients turned away, as [`Refused::ALL`] lists the reasons.
    pub(crate) refused: [Count; Refused::ALL.len()],
    /// Connections that waited for a request and were closed to make room.
    pub(crate) sent_off: Count,
    /// The longest time that the thread spent on a new table at a stretch, nanoseconds.
    pub(crate) stall_ns_max: Count,
}

impl ThreadCounters {
    /// Notes how long the thread served nobody because of a new table; only the thread itself may call it.
    pub(crate) fn stalled(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.stall_ns_max.add(ns.saturating_sub(self.stall_ns_max.get()));
    }
}

/// Counts of one histogram.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Distribution {
    /// Values up to each of [`DURATION_BOUNDS_SECONDS`] that are above the bound before it; at the end those above all.
    pub(crate) buckets: [u64; BUCKETS],
    /// Sum of all values, microseconds.
    pub(crate) sum_us: u64,
}

/// What one route counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteTotals {
    /// Requests by class of the status, as [`CODE_CLASSES`] names them.
    pub(crate) codes: [u64; CODE_CLASSES.len()],
    /// Requests by how they ended, as [`Reason::ALL`] lists them.
    pub(crate) reasons: [u64; Reason::ALL.len()],
    /// Whole head read to last byte sent.
    pub(crate) duration: Distribution,
    /// Sent to the endpoint to its head read.
    pub(crate) upstream: Distribution,
    /// Tries after the first.
    pub(crate) retries: u64,
    /// Body bytes from clients.
    pub(crate) bytes_in: u64,
    /// Bytes to clients.
    pub(crate) bytes_out: u64,
}

impl RouteTotals {
    /// Requests of all kinds.
    pub(crate) fn requests(&self) -> u64 {
        self.codes.iter().sum()
    }

    /// Requests that got an answer of the class 5xx or a cut one; connections, which have no status, that got nobody to
    /// talk to or were cut.
    pub(crate) fn errors(&self, carries_tcp: bool) -> u64 {
        let of = |reasons: &[Reason]| -> u64 {
            reasons.iter().filter_map(|reason| self.reasons.get(*reason as usize)).sum()
        };
        let errors = if carries_tcp {
            of(&[
                Reason::NoWeight,
                Reason::NoEndpoint,
                Reason::ConnectFailed,
                Reason::ConnectTimeout,
                Reason::UpstreamClosed,
                Reason::UpstreamCut,
                Reason::Overload,
            ])
        } else {
            let [.., server_errors] = self.codes;
            server_errors.saturating_add(of(&[Reason::ResponseIdle, Reason::UpstreamCut]))
        };
        // A 5xx that was cut counts in both.
        errors.min(self.requests())
    }
}

impl Default for RouteTotals {
    fn default() -> Self {
        Self {
            codes: [0; CODE_CLASSES.len()],
            reasons: [0; Reason::ALL.len()],
            duration: Distribution::default(),
            upstream: Distribution::default(),
            retries: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }
}

/// What one route of one gateway counted. A request that passes several gateways is counted at each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteSnapshot {
    /// Name of the gateway; empty for requests that reached none.
    pub(crate) gateway: String,
    /// Its lookup.
    pub(crate) gateway_lookup: String,
    /// Key of the route; empty for requests that reached none.
    pub(crate) route: String,
    /// Its lookup.
    pub(crate) route_lookup: String,
    /// The counts.
    pub(crate) totals: RouteTotals,
}

/// All counts of the data path at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// By gateway and route; those that never had a request are left out.
    pub(crate) routes: Vec<RouteSnapshot>,
    /// Client connections now.
    pub(crate) clients: u64,
    /// Client connections since the start.
    pub(crate) clients_opened: u64,
    /// Connections to endpoints now, used and unused.
    pub(crate) upstreams: u64,
    /// Connections to endpoints since the start.
    pub(crate) upstreams_opened: u64,
    /// How often accepting paused because no descriptor was left.
    pub(crate) accept_pauses: u64,
    /// Clients turned away, as [`Refused::ALL`] lists the reasons.
    pub(crate) refused: [u64; Refused::ALL.len()],
    /// Connections that waited for a request and were closed to make room.
    pub(crate) sent_off: u64,
    /// What the process has room for.
    pub(crate) capacity: Option<Capacity>,
    /// Bytes of memory that the process has resident.
    pub(crate) resident_bytes: u64,
    /// The longest time that a thread spent on a new table at a stretch, nanoseconds.
    pub(crate) stall_ns_max: u64,
    /// Listening addresses in service.
    pub(crate) listeners_bound: usize,
    /// Listening addresses that can't be bound at present.
    pub(crate) listeners_failing: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_to_the_bound() {
        let histogram = Histogram::default();
        for us in [0, 500, 501, 60_000_000, 60_000_001, u64::MAX / 2] {
            histogram.add(us);
        }
        let mut sum = Distribution::default();
        histogram.add_to(&mut sum);
        let mut wanted = [0; BUCKETS];
        (wanted[0], wanted[1], wanted[BUCKETS - 2], wanted[BUCKETS - 1]) = (2, 1, 1, 2);
        assert_eq!(sum.buckets, wanted);
    }

    #[test]
    fn every_reason_has_a_column_of_its_own() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index, "{reason:?}");
        }
    }

    #[test]
    fn errors_are_what_the_server_owes() {
        let mut totals = RouteTotals { codes: [3, 0, 5, 0, 2, 4], ..RouteTotals::default() };
        assert_eq!((totals.requests(), totals.errors(false), totals.errors(true)), (14, 4, 0));
        totals.reasons[Reason::UpstreamCut as usize] = 2;
        totals.reasons[Reason::ClientClosed as usize] = 3;
        assert_eq!((totals.errors(false), totals.errors(true)), (6, 2));
        totals.reasons[Reason::NoEndpoint as usize] = 3;
        assert_eq!((totals.errors(false), totals.errors(true)), (6, 5));
        totals.codes = [0, 0, 0, 0, 0, 1];
        assert_eq!(totals.errors(false), 1, "not more than there were");
    }

    #[test]
    fn threads_count_apart_and_are_summed_when_read() {
        let counters = RouteCounters::new(2);
        assert_eq!(counters.totals(), None);
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let counters = &counters;
                scope.spawn(move || (0..1_000).for_each(|_| counters.decided(thread, DecidedBy::Weight)));
            }
        });
        assert_eq!(counters.decided_counts(), [0, 0, 2_000, 0, 0]);
    }
}
