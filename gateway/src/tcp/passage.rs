//! A connection that is carried to its end.

use std::time::Duration;

use tokio::net::TcpStream;
use vamp_record::Reason;

use crate::proxy::OpenRecord;
use crate::proxy::flow::{Backlog, reset_on_close};
use crate::proxy::timer::Timer;
use crate::proxy::tunnel::{self, End};
use crate::upstream::{Connection, Lease};

/// A connection that is carried.
pub(super) struct Passage {
    client: TcpStream,
    upstream: Connection,
    /// Counts it at its endpoint.
    _lease: Lease,
    record: OpenRecord,
    timer: Timer,
    /// The longest pause.
    idle: Duration,
    /// What goes to the upstream before anything else.
    first: Backlog,
}

impl Passage {
    /// `before` is ours, `early` came from the client already.
    pub(super) fn new(
        client: TcpStream,
        upstream: Connection,
        lease: Lease,
        mut record: OpenRecord,
        (timer, idle): (Timer, Duration),
        mut before: Vec<u8>,
        early: Vec<u8>,
    ) -> Self {
        record.carried.up = early.len() as u64;
        before.extend(early);
        Self { client, upstream, _lease: lease, record, timer, idle, first: Backlog::holding(before) }
    }

    /// Carries it to its end.
    pub(super) async fn carry(&mut self) {
        let first = (std::mem::take(&mut self.first), Backlog::default());
        let Self { client, upstream, timer, record, idle, .. } = self;
        let end = tunnel::run(client, &mut upstream.stream, first, *idle, timer, &mut record.carried).await;
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
        self.record.finish(reason);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.record.is_open() {
            self.end(Reason::Drained);
        }
    }
}
