//! The buffers between the threads that answer requests and the task that ships their records.
//!
//! Promise: each answered request is counted once, and its record is then either taken by the shipper or counted as
//! dropped. A push never waits for I/O: it holds the lock of its own thread's lane for a few instructions, and the
//! shipper holds that lock only to unlink a chunk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use vamp_record::Record;

use super::counts::{ShipCounts, Tally};

/// LIMIT: records in one chunk. A chunk is unlinked whole, so that the lock is held for a pointer move; 256 records of
/// about 400 bytes stay below the size from which allocators map pages for each allocation.
const CHUNK_RECORDS: usize = 256;

/// LIMIT: records of one lane after which the shipper is woken, unless a quarter of the lane is less: half of a bulk
/// request. Until then they wait for its next round, so that bulk requests are large.
const WAKE_RECORDS: usize = 2_048;

/// Bounded buffers of records, one lane for each thread that answers requests.
#[derive(Debug)]
pub(crate) struct Recorder {
    lanes: Box<[Lane]>,
    /// 0 when records are counted only.
    lane_records_max: usize,
    wake_records: usize,
    wake: Notify,
    /// Locked before any lane.
    shipping: Mutex<Shipping>,
}

/// The shipper's side of the account.
#[derive(Debug, Default)]
struct Shipping {
    taken: u64,
    tally: Tally,
}

/// One thread's part, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Lane {
    buffer: Mutex<Buffer>,
    answered: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Buffer {
    chunks: VecDeque<Vec<Record>>,
    held: usize,
}

impl Recorder {
    /// Buffers for `threads` threads that hold `records_max` records in sum.
    pub(crate) fn new(threads: usize, records_max: usize) -> Arc<Self> {
        let threads = threads.max(1);
        Self::with_lanes(threads, (records_max / threads).max(1))
    }

    /// Counts the records of `threads` threads and drops them: nobody wants them.
    pub(crate) fn counting(threads: usize) -> Arc<Self> {
        Self::with_lanes(threads.max(1), 0)
    }

    fn with_lanes(lanes: usize, lane_records_max: usize) -> Arc<Self> {
        Arc::new(Self {
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            lane_records_max,
            wake_records: (lane_records_max / 4).clamp(1, WAKE_RECORDS),
            wake: Notify::new(),
            shipping: Mutex::default(),
        })
    }

    /// Whether records are kept for a shipper, or counted only.
    pub(crate) fn keeps_records(&self) -> bool {
        self.lane_records_max > 0
    }

    /// Takes the record of one answered request. When the lane of `thread` is full, this (the newest) record is
    /// dropped and counted: the old ones say how the trouble began.
    pub(crate) fn push(&self, thread: usize, record: Record) {
        let Some(lane) = self.lanes.get(thread % self.lanes.len()) else { return };
        if !self.keeps_records() {
            lane.answered.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut buffer = lane.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted under the lane's lock, so that `counts` never sees a record that is in no column.
        lane.answered.fetch_add(1, Ordering::Relaxed);
        if buffer.held >= self.lane_records_max {
            lane.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        buffer.held += 1;
        match buffer.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK_RECORDS => chunk.push(record),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK_RECORDS.min(self.lane_records_max));
                chunk.push(record);
                buffer.chunks.push_back(chunk);
            }
        }
        let is_due = buffer.held.is_multiple_of(self.wake_records);
        drop(buffer);
        if is_due {
            self.wake.notify_one();
        }
    }

    /// Unlinks about `records_max` records, oldest chunks first, the lanes in turn. It may give up to one chunk more.
    pub(crate) fn take(&self, records_max: usize) -> Vec<Vec<Record>> {
        // Held over all lanes, so that `counts` never sees a record that is in no column.
        let mut shipping = self.shipping();
        let taken = self.unlink(records_max);
        shipping.taken += count(taken.iter().map(Vec::len).sum());
        taken
    }

    fn unlink(&self, records_max: usize) -> Vec<Vec<Record>> {
        let mut taken = Vec::new();
        let mut records = 0;
        loop {
            let before = records;
            for lane in &self.lanes {
                if records >= records_max {
                    return taken;
                }
                let mut buffer = lane.buffer.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(chunk) = buffer.chunks.pop_front() {
                    buffer.held -= chunk.len();
                    records += chunk.len();
                    taken.push(chunk);
                }
            }
            if records == before {
                return taken;
            }
        }
    }

    /// Waits until so many records have come into a lane since the last call that they should not wait longer.
    pub(super) async fn waiting(&self) {
        self.wake.notified().await;
    }

    /// Writes down what became of the records that were taken.
    pub(super) fn book(&self, tally: Tally) {
        self.shipping().tally = tally;
    }

    /// What was counted up to now.
    pub(crate) fn counts(&self) -> ShipCounts {
        let shipping = self.shipping();
        let mut counts = ShipCounts {
            queued: shipping.taken.saturating_sub(shipping.tally.settled()),
            tally: shipping.tally,
            ..ShipCounts::default()
        };
        for lane in &self.lanes {
            let buffer = lane.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            counts.answered += lane.answered.load(Ordering::Relaxed);
            counts.queue_full += lane.dropped.load(Ordering::Relaxed);
            counts.queued += count(buffer.held);
        }
        if !self.keeps_records() {
            counts.not_configured = counts.answered;
        }
        counts
    }

    fn shipping(&self) -> MutexGuard<'_, Shipping> {
        self.shipping.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(records: usize) -> u64 {
    u64::try_from(records).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::ship::testing::record;

    fn numbers(chunks: Vec<Vec<Record>>) -> Vec<u64> {
        chunks.into_iter().flatten().map(|record| record.started_unix_ns).collect()
    }

    fn counts(answered: u64, queue_full: u64, queued: u64) -> ShipCounts {
        ShipCounts { answered, queued, queue_full, ..ShipCounts::default() }
    }

    #[test]
    fn a_full_lane_drops_the_newest_and_counts_it() {
        let recorder = Recorder::new(2, 6);
        (0..5).for_each(|number| recorder.push(0, record(number)));
        recorder.push(1, record(9));
        assert_eq!(recorder.counts(), counts(6, 2, 4));
        assert_eq!(numbers(recorder.take(100)), [0, 1, 2, 9]);
        assert_eq!(recorder.counts(), counts(6, 2, 4), "what was taken is still on its way");
        let tally = Tally { shipped: 3, shutdown: 1, ..Tally::default() };
        recorder.book(tally);
        assert_eq!(recorder.counts(), ShipCounts { tally, ..counts(6, 2, 0) });
    }

    #[test]
    fn without_a_shipper_records_are_counted_only() {
        let recorder = Recorder::counting(2);
        (0..5).for_each(|number| recorder.push(0, record(number)));
        recorder.push(1, record(9));
        assert_eq!(recorder.counts(), ShipCounts { not_configured: 6, ..counts(6, 0, 0) });
        assert!(recorder.take(100).is_empty());
    }

    #[tokio::test]
    async fn a_lane_asks_to_be_emptied_before_it_is_full() {
        let recorder = Recorder::new(1, 8);
        recorder.push(0, record(1));
        assert!(recorder.waiting().now_or_never().is_none());
        recorder.push(0, record(2));
        assert!(recorder.waiting().now_or_never().is_some());
    }

    #[test]
    fn records_of_a_lane_leave_in_order_and_about_as_many_as_asked_for() {
        let recorder = Recorder::new(1, 10_000);
        (0..3_000).for_each(|number| recorder.push(0, record(number)));
        let first = numbers(recorder.take(1_000));
        assert!((1_000..1_000 + CHUNK_RECORDS).contains(&first.len()), "{}", first.len());
        let rest = numbers(recorder.take(usize::MAX));
        assert!(first.into_iter().chain(rest).eq(0..3_000));
    }

    #[test]
    fn nothing_is_lost_or_doubled_between_threads() {
        const EACH: u64 = 20_000;
        let recorder = Recorder::new(3, 3_000);
        let mut taken = 0;
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let recorder = &recorder;
                scope.spawn(move || (0..EACH).for_each(|number| recorder.push(thread, record(number))));
            }
            for _ in 0..1_000 {
                taken += numbers(recorder.take(700)).len();
            }
        });
        taken += numbers(recorder.take(usize::MAX)).len();
        let counts = recorder.counts();
        assert_eq!(counts.answered, 3 * EACH);
        assert_eq!(counts.queued, u64::try_from(taken).unwrap());
        assert_eq!(counts.queue_full + counts.queued, 3 * EACH);
    }
}
