//! A connection that is carried, and the record of how it ends.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use vamp_record::{Reason, Record};

use crate::proxy::flow::{Backlog, reset_on_close};
use crate::proxy::timer::Timer;
use crate::proxy::tunnel::{self, Carried, End};
use crate::proxy::{Arrival, blank_record, micros};
use crate::serving::{Place, Tally};
use crate::upstream::{Connection, Lease};
use crate::worker::{Served, Worker};

/// What is recorded of one connection.
pub(super) struct Account {
    worker: Rc<Worker>,
    tally: Tally,
    accepted: Instant,
    /// Taken once, at the end.
    record: Option<Box<Record>>,
}

impl Account {
    pub(super) fn new(
        worker: Rc<Worker>,
        serving: &Served,
        client: SocketAddr,
        accepted: Instant,
        place: Place<'_>,
    ) -> Self {
        let arrival = Arrival { began: accepted, heard: accepted, peer: client };
        let record = Record { is_tcp: true, ..blank_record(&worker, serving, arrival, place) };
        Self { tally: serving.tally(place), worker, accepted, record: Some(Box::new(record)) }
    }

    /// Changes the record, while the connection has not ended.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// Notes which endpoint is asked.
    pub(super) fn asks(&mut self, lease: &Lease) {
        self.note(|record| {
            record.endpoint = Some(Arc::clone(&lease.endpoint.address));
            record.endpoint_lookup = Some(Arc::clone(&lease.lookup));
        });
    }

    fn is_open(&self) -> bool {
        self.record.is_some()
    }

    /// Ends the connection: its record is counted and handed on, once.
    pub(super) fn finish(&mut self, reason: Reason) {
        if let Some(mut record) = self.record.take() {
            record.reason = reason;
            record.duration_us = micros(Instant::now().saturating_duration_since(self.accepted));
            self.worker.finish_connection(&self.tally, *record);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // Only when the connection's task is dropped before its end: the drain limit has passed.
        self.finish(Reason::Drained);
    }
}

/// A connection that is carried.
pub(super) struct Passage {
    client: TcpStream,
    upstream: Connection,
    /// Counts it at its endpoint.
    _lease: Lease,
    account: Account,
    timer: Timer,
    /// What goes to the upstream before anything else.
    first: Backlog,
    carried: Carried,
}

impl Passage {
    /// `before` is ours, `early` came from the client already.
    pub(super) fn new(
        client: TcpStream,
        upstream: Connection,
        lease: Lease,
        account: Account,
        timer: Timer,
        mut before: Vec<u8>,
        early: Vec<u8>,
    ) -> Self {
        let carried = Carried { up: early.len() as u64, down: 0 };
        before.extend(early);
        Self { client, upstream, _lease: lease, account, timer, first: Backlog::holding(before), carried }
    }

    /// Carries it to its end.
    pub(super) async fn carry(&mut self) {
        let idle = self.account.worker.limits.tunnel_idle_timeout;
        let first = (std::mem::take(&mut self.first), Backlog::default());
        let Self { client, upstream, timer, carried, .. } = self;
        let end = tunnel::run(client, &mut upstream.stream, first, idle, timer, carried).await;
        self.end(match end {
            End::Closed => Reason::Completed,
            End::ClientFailed => Reason::ClientClosed,
            End::UpstreamFailed => Reason::UpstreamCut,
            End::Idle => Reason::IdleTimeout,
        });
    }

    fn end(&mut self, reason: Reason) {
        if reason != Reason::Completed {
            reset_on_close(&self.client);
            reset_on_close(&self.upstream.stream);
        }
        let carried = self.carried;
        self.account.note(|record| (record.bytes_in, record.bytes_out) = (carried.up, carried.down));
        self.account.finish(reason);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.account.is_open() {
            self.end(Reason::Drained);
        }
    }
}
