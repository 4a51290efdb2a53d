//! The buffers between the threads that answer requests and the task that ships their records.
//!
//! Promise: each answered request is counted once, and its record is then either taken by the shipper or counted as
//! dropped. A push never waits for I/O: it holds the lock of its own thread's lane for a few instructions, and the
//! shipper holds that lock only to unlink a chunk.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use vamp_record::Record;

/// LIMIT: records in one chunk. A chunk is unlinked whole, so that the lock is held for a pointer move; 256 records of
/// about 400 bytes stay below the size from which allocators map pages for each allocation.
const CHUNK_RECORDS: usize = 256;

/// Bounded buffers of records, one lane for each thread that answers requests.
#[derive(Debug)]
pub struct Recorder {
    lanes: Box<[Lane]>,
    lane_records_max: usize,
    wake: Notify,
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

/// What a recorder counted since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecorderCounts {
    /// Answered requests: every record that was pushed.
    pub answered: u64,
    /// Records dropped because the lane was full.
    pub queue_full: u64,
    /// Records that wait for the shipper.
    pub queued: u64,
}

impl Recorder {
    /// Buffers for `threads` threads that hold `records_max` records in sum.
    pub fn new(threads: usize, records_max: usize) -> Arc<Self> {
        let threads = threads.max(1);
        Arc::new(Self {
            lanes: (0..threads).map(|_| Lane::default()).collect(),
            lane_records_max: (records_max / threads).max(1),
            wake: Notify::new(),
        })
    }

    /// Takes the record of one answered request. When the lane of `thread` is full, this (the newest) record is
    /// dropped and counted: the old ones say how the trouble began.
    pub fn push(&self, thread: usize, record: Record) {
        let Some(lane) = self.lanes.get(thread % self.lanes.len()) else { return };
        let mut buffer = lane.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted under the lane's lock, so that `counts` never sees a record that is in no column.
        lane.answered.fetch_add(1, Ordering::Relaxed);
        if buffer.held >= self.lane_records_max {
            lane.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        buffer.held += 1;
        let chunk_is_full = match buffer.chunks.back_mut() {
            Some(chunk) if chunk.len() < CHUNK_RECORDS => {
                chunk.push(record);
                chunk.len() == CHUNK_RECORDS
            }
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK_RECORDS.min(self.lane_records_max));
                chunk.push(record);
                buffer.chunks.push_back(chunk);
                false
            }
        };
        drop(buffer);
        if chunk_is_full {
            self.wake.notify_one();
        }
    }

    /// Unlinks about `records_max` records, oldest chunks first, the lanes in turn. It may give up to one chunk more.
    pub(crate) fn take(&self, records_max: usize) -> Vec<Vec<Record>> {
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

    /// Waits until a lane has filled a chunk since the last call.
    #[expect(dead_code, reason = "called by the shipper, which comes next")]
    pub(crate) async fn filled(&self) {
        self.wake.notified().await;
    }

    /// What was counted up to now.
    pub fn counts(&self) -> RecorderCounts {
        let mut counts = RecorderCounts::default();
        for lane in &self.lanes {
            let buffer = lane.buffer.lock().unwrap_or_else(PoisonError::into_inner);
            counts.answered += lane.answered.load(Ordering::Relaxed);
            counts.queue_full += lane.dropped.load(Ordering::Relaxed);
            counts.queued += u64::try_from(buffer.held).unwrap_or(u64::MAX);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use vamp_record::{Reason, RouteLabels, Text};

    use super::*;

    fn record(number: u64) -> Record {
        Record {
            started_unix_ns: number,
            labels: Arc::new(RouteLabels::default()),
            epoch: 1,
            revision: 1,
            reason: Reason::Completed,
            status: 200,
            upstream_status: 200,
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            method: Text::default(),
            host: Text::default(),
            path: Text::default(),
            http_minor: 1,
            endpoint: None,
            endpoint_lookup: None,
            request_id: Text::default(),
            retries: 0,
            bytes_in: 0,
            bytes_out: 0,
            head_us: 0,
            connect_us: None,
            upstream_us: None,
            duration_us: 0,
        }
    }

    fn numbers(chunks: Vec<Vec<Record>>) -> Vec<u64> {
        chunks.into_iter().flatten().map(|record| record.started_unix_ns).collect()
    }

    #[test]
    fn a_full_lane_drops_the_newest_and_counts_it() {
        let recorder = Recorder::new(2, 6);
        (0..5).for_each(|number| recorder.push(0, record(number)));
        recorder.push(1, record(9));
        assert_eq!(recorder.counts(), RecorderCounts { answered: 6, queue_full: 2, queued: 4 });
        assert_eq!(numbers(recorder.take(100)), [0, 1, 2, 9]);
        assert_eq!(recorder.counts(), RecorderCounts { answered: 6, queue_full: 2, queued: 0 });
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
        assert_eq!(counts.queue_full + u64::try_from(taken).unwrap(), 3 * EACH);
    }
}
