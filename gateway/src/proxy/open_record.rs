//! The record of a connection that is carried, of a TCP gateway or behind an upgrade, until it ends.

use std::rc::Rc;
use std::time::Instant;

use vamp_record::{Reason, Record};

use super::exchange::micros;
use super::tunnel::Carried;
use crate::serving::Tally;
use crate::worker::Worker;

/// The record of a connection that is not over. Of the table that decided it keeps the counters of its route, so that no
/// table lives as long as the connections that came by it.
pub(crate) struct OpenRecord {
    worker: Rc<Worker>,
    tally: Tally,
    began: Instant,
    /// What was carried besides what the record has already.
    pub(crate) carried: Carried,
    /// Taken once, at the end.
    record: Option<Box<Record>>,
}

impl OpenRecord {
    /// `began`: from when its time counts.
    pub(crate) fn new(worker: Rc<Worker>, tally: Tally, began: Instant, record: Record) -> Self {
        Self { worker, tally, began, carried: Carried::default(), record: Some(Box::new(record)) }
    }

    /// Changes the record, while the connection has not ended.
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.record.is_some()
    }

    /// Ends the connection: its record is counted and handed on, once.
    pub(crate) fn finish(&mut self, reason: Reason) {
        if let Some(mut record) = self.record.take() {
            record.reason = reason;
            record.bytes_in += self.carried.up;
            record.bytes_out += self.carried.down;
            record.duration_us = micros(Instant::now().saturating_duration_since(self.began));
            self.worker.finish_connection(&self.tally, *record);
        }
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        // Only when the connection's task is dropped before its end: the drain limit has passed.
        self.finish(Reason::Drained);
    }
}
