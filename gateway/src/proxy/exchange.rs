//! One request and its answer: what was decided, how far both bodies have come, and the record of how it ends.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vamp_record::{Reason, Record, Texts};
use vamp_routing::wire::Sticky;
use vamp_routing::{CookiePlan, Decision, Head, Refusal, cookie};

use super::flow::Backlog;
use super::open_record::OpenRecord;
use crate::http1::{Body, Relay, RequestHead};
use crate::limits::Limits;
use crate::serving::{Place, Serving};
use crate::upstream::{Connection, Lease};
use crate::worker::{Served, Worker};

/// A request head with the client's address, as a routing decision may look at it.
pub(super) struct RoutedHead<'a, 'b, 'f> {
    pub(super) head: &'a RequestHead<'b, 'f>,
    pub(super) source: IpAddr,
}

impl Head for RoutedHead<'_, '_, '_> {
    fn method(&self) -> &[u8] {
        self.head.method
    }

    fn path(&self) -> &[u8] {
        self.head.path()
    }

    fn query(&self) -> Option<&[u8]> {
        self.head.query()
    }

    fn host(&self) -> &[u8] {
        self.head.host.unwrap_or_default()
    }

    fn source(&self) -> IpAddr {
        self.source
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.fields()
    }
}

/// What stays of a request head when its bytes are gone.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one request")]
pub(super) struct Asked {
    pub(super) minor: u8,
    pub(super) persistent: bool,
    pub(super) to_head: bool,
    pub(super) idempotent: bool,
    pub(super) upgrade: bool,
}

impl Asked {
    pub(super) fn of(head: &RequestHead<'_, '_>) -> Self {
        Self {
            minor: head.minor,
            persistent: head.persistent,
            to_head: head.method == b"HEAD",
            idempotent: head.is_idempotent(),
            upgrade: head.upgrade,
        }
    }
}

/// The way of the request to the upstream.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one transfer")]
pub(super) struct Upload {
    /// The client's body.
    pub(super) body: Body,
    /// Whether all of it was read.
    pub(super) complete: bool,
    /// Whether the upstream takes no more: it may still answer.
    pub(super) broken: bool,
    /// Whether the client waits for `100 Continue` before it sends.
    pub(super) awaits_continue: bool,
    /// What the upstream has not taken yet.
    pub(super) backlog: Backlog,
    /// The whole request as far as it was read, while it may have to be sent again.
    pub(super) replay: Vec<u8>,
    /// Whether `replay` is whole.
    pub(super) replayable: bool,
    /// From when, and from which count of its bytes on, the rate of the body counts.
    rated_from: (Instant, u64),
}

/// The way of the answer to the client.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one transfer")]
pub(super) struct Download {
    /// A part of a head, until the rest comes.
    pub(super) saved: Vec<u8>,
    /// Whether the head went to the client: from then on the answer can only be cut.
    pub(super) head_sent: bool,
    /// The upstream's body.
    pub(super) body: Body,
    /// How it goes on.
    pub(super) relay: Relay,
    /// Whether all of it was read.
    pub(super) complete: bool,
    /// Whether the client's connection stays open after it.
    pub(super) keeps_client: bool,
    /// Whether the upstream's connection can be used again after it.
    pub(super) keeps_upstream: bool,
    /// Whether only the end of the client's connection ends the answer.
    pub(super) close_delimited: bool,
    /// Bytes of it that were read.
    pub(super) passed_bytes: u64,
    /// Interim answers passed on.
    pub(super) interims: u8,
    /// Status of the final head, 0 before it.
    pub(super) status: u16,
}

impl Download {
    /// Whether the final head was read.
    pub(super) fn head_written(&self) -> bool {
        self.status != 0
    }

    /// Notes whether the body is over, and whether the upstream sent more than that.
    pub(super) fn ended(&mut self, complete: bool, surplus: bool) {
        self.complete = complete;
        self.keeps_upstream &= !surplus;
    }
}

/// One request and its answer.
pub(super) struct Exchange {
    worker: Rc<Worker>,
    pub(super) serving: Served,
    pub(super) decision: Option<Decision>,
    /// The gateway at which it ended, when no route took it.
    stranded: Option<usize>,
    /// Taken once, at the end.
    record: Option<Record>,
    pub(super) asked: Asked,
    /// When the whole head was read.
    started: Instant,
    /// When the request was sent upstream.
    pub(super) sent: Instant,
    /// When a byte moved last.
    pub(super) progress: Instant,
    /// Why the request goes no further, before any upstream was asked.
    pub(super) refused: Option<Reason>,
    pub(super) lease: Option<Lease>,
    /// A pooled connection that has the request already.
    pub(super) upstream: Option<Connection>,
    /// Whether the upstream's connection served before: it may have been closed meanwhile.
    pub(super) pooled: bool,
    /// Endpoints of the route, by index, that did not accept a connection.
    pub(super) tried: Vec<usize>,
    pub(super) upload: Upload,
    pub(super) download: Download,
}

/// Room for an exchange. It is used again and again, because it is larger than what allocators serve fast, and outside
/// the connection, because connections are idle most of the time.
pub(super) type Slot = Box<Option<Exchange>>;

/// LIMIT: free slots kept per thread: about 1 KiB each. As many are in use as requests are under way.
const SPARE_SLOTS_MAX: usize = 256;

thread_local! {
    static SPARE_SLOTS: RefCell<Vec<Slot>> = const { RefCell::new(Vec::new()) };
}

/// An empty slot.
pub(super) fn spare_slot() -> Slot {
    SPARE_SLOTS.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Ends what is in the slot and keeps it.
pub(super) fn give_back_slot(mut slot: Slot) {
    *slot = None;
    SPARE_SLOTS.with_borrow_mut(|spare| {
        if spare.len() < SPARE_SLOTS_MAX {
            spare.push(slot);
        }
    });
}

/// When a request came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Its first byte.
    pub(crate) began: Instant,
    /// The end of its head.
    pub(crate) heard: Instant,
    /// The peer.
    pub(crate) peer: SocketAddr,
}

impl Exchange {
    /// A request whose head was read, and what was decided about it.
    pub(super) fn new(
        worker: Rc<Worker>,
        serving: Served,
        head: &RequestHead<'_, '_>,
        verdict: Result<Decision, Refusal>,
        client: IpAddr,
        arrival: Arrival,
        request_id: &[u8],
    ) -> Self {
        let (decision, stranded, refused) = match verdict {
            Ok(decision) => (Some(decision), None, None),
            Err(Refusal::UnknownHost) => (None, None, Some(Reason::UnknownHost)),
            Err(Refusal::NoWeight { gateway }) => (None, Some(gateway), Some(Reason::NoWeight)),
        };
        let place = match (&decision, stranded) {
            (Some(decision), _) => Place::Route(&decision.chain),
            (None, Some(gateway)) => Place::Gateway(gateway),
            (None, None) => Place::Nowhere,
        };
        let blank = blank_record(&worker, &serving, arrival, place);
        let record = Record {
            client: SocketAddr::new(client, arrival.peer.port()),
            texts: Texts::new(head.method, head.host.unwrap_or_default(), head.path(), request_id),
            http_minor: head.minor,
            ..blank
        };
        Self {
            worker,
            serving,
            decision,
            stranded,
            record: Some(record),
            asked: Asked::of(head),
            started: arrival.heard,
            sent: arrival.heard,
            progress: arrival.heard,
            refused,
            lease: None,
            upstream: None,
            pooled: false,
            tried: Vec::new(),
            upload: Upload {
                body: head.body,
                complete: head.body.is_empty(),
                broken: false,
                awaits_continue: head.expects_continue,
                backlog: Backlog::default(),
                replay: Vec::new(),
                replayable: false,
                rated_from: (arrival.heard, 0),
            },
            download: Download {
                saved: Vec::new(),
                head_sent: false,
                body: Body::None,
                relay: Relay::AsIs,
                complete: false,
                keeps_client: false,
                keeps_upstream: false,
                close_delimited: false,
                passed_bytes: 0,
                interims: 0,
                status: 0,
            },
        }
    }

    /// How far it got.
    fn place(&self) -> Place<'_> {
        match (&self.decision, self.stranded) {
            (Some(decision), _) => Place::Route(&decision.chain),
            (None, Some(gateway)) => Place::Gateway(gateway),
            (None, None) => Place::Nowhere,
        }
    }

    /// Changes the record, while the request has not ended.
    #[inline]
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = &mut self.record {
            change(record);
        }
    }

    /// The request's id.
    pub(super) fn request_id(&self) -> &[u8] {
        self.record.as_ref().map(|record| record.texts.request_id()).unwrap_or_default()
    }

    /// Notes which endpoint is asked.
    pub(super) fn asks(&mut self, lease: Lease) {
        self.note(|record| {
            record.endpoint = Some(Arc::clone(&lease.endpoint.address));
            record.endpoint_lookup = Some(Arc::clone(&lease.lookup));
        });
        self.lease = Some(lease);
    }

    /// Notes that the request is tried once more.
    pub(super) fn retries(&mut self) {
        self.note(|record| record.retries = record.retries.saturating_add(1));
    }

    /// Queues the request, as far as it was read, for a connection that was just opened.
    pub(super) fn connected(&mut self, began: Instant) {
        let now = Instant::now();
        self.note(|record| record.connect_us = Some(micros(now.saturating_duration_since(began))));
        self.pooled = false;
        self.progress = now;
        self.sent = now;
        self.upload.broken = false;
        self.upload.replayable = false;
        self.upload.backlog = Backlog::holding(std::mem::take(&mut self.upload.replay));
    }

    /// Notes that the upstream takes no more of the request. It may have answered before it closed.
    pub(super) fn breaks_upload(&mut self) {
        self.upload.broken = true;
        self.sent = Instant::now();
    }

    /// Keeps these bytes of the request to be sent again, as long as that may be needed and there is room.
    pub(super) fn keep_for_replay(&mut self, bytes: &[u8], limit_bytes: usize) {
        let upload = &mut self.upload;
        if !upload.replayable {
            return;
        }
        if upload.replay.len() + bytes.len() <= limit_bytes {
            upload.replay.extend_from_slice(bytes);
        } else {
            upload.replayable = false;
            upload.replay = Vec::new();
        }
    }

    /// Ends the request, but not its record: what follows on this connection belongs to it.
    pub(super) fn goes_on(&mut self) -> Option<OpenRecord> {
        let record = self.record.take()?;
        Some(OpenRecord::new(Rc::clone(&self.worker), self.serving.tally(self.place()), self.started, record))
    }

    /// Ends the request: its record is counted and handed on, once.
    pub(super) fn finish(&mut self, reason: Reason, ended: Instant) {
        if let Some(mut record) = self.record.take() {
            record.reason = reason;
            record.duration_us = micros(ended.saturating_duration_since(self.started));
            self.worker.finish(&self.serving, self.place(), record);
        }
    }

    /// When the present wait has taken too long, and what that means.
    pub(super) fn deadline(&self, client_blocked: bool, limits: &Limits) -> (Instant, Reason) {
        if client_blocked {
            return (self.progress + limits.response_idle_timeout, Reason::ClientClosed);
        }
        if self.download.head_sent {
            return (self.progress + limits.response_idle_timeout, Reason::ResponseIdle);
        }
        let upload = &self.upload;
        if !upload.backlog.is_empty() || upload.awaits_continue {
            return (self.progress + limits.response_head_timeout, Reason::ResponseTimeout);
        }
        if upload.complete || upload.broken {
            // The whole head has one time, however slowly it trickles.
            return (self.sent + limits.response_head_timeout, Reason::ResponseTimeout);
        }
        let rate = u64::from(limits.body_bytes_per_second_min);
        let (from, before) = upload.rated_from;
        let bytes = self.record.as_ref().map_or(0, |record| record.bytes_in.saturating_sub(before));
        let earned = bytes.saturating_mul(1000).checked_div(rate).map(Duration::from_millis);
        // Without a least rate, and for what comes as fast as if for years, the pause alone counts.
        let slow = earned.and_then(|earned| from.checked_add(limits.body_grace.saturating_add(earned)));
        let paused = self.progress + limits.body_idle_timeout;
        (slow.map_or(paused, |slow| slow.min(paused)), Reason::BodyTimeout)
    }

    /// Counts the rate of the request's body from now on: up to now, the client was not waited for.
    pub(super) fn rates_body_anew(&mut self, now: Instant) {
        let bytes = self.record.as_ref().map_or(0, |record| record.bytes_in);
        self.upload.rated_from = (now, bytes);
    }

    /// Lines that tell the client the cookies of the sticky gateways it passed; nearly always none.
    pub(super) fn cookie_lines(&self, secure: bool) -> Vec<u8> {
        let mut lines = Vec::new();
        let Some(decision) = &self.decision else { return lines };
        let hops = decision.chain.hops();
        let count = hops.len();
        for (index, hop) in hops.enumerate() {
            let Some(gateway) = self.serving.table.gateways().get(hop.gateway) else { continue };
            let Some(name) = &gateway.cookie else { continue };
            // Only the last gateway of a chain has endpoints.
            let endpoint = (gateway.wire.sticky == Sticky::Instance && index + 1 == count)
                .then(|| self.lease.as_ref().map(|lease| lease.index))
                .flatten();
            // A cookie that names an endpoint which was passed by is replaced.
            if hop.cookie == CookiePlan::None || (hop.cookie == CookiePlan::Keep && endpoint == hop.instance) {
                continue;
            }
            lines.extend_from_slice(b"Set-Cookie: ");
            let value = gateway.cookie_value(hop.route, endpoint);
            lines.extend_from_slice(cookie::set_cookie(name, &value, secure).as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        lines
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // Only when the connection's task is dropped in the middle of a request: the drain limit has passed.
        self.finish(Reason::Drained, Instant::now());
    }
}

/// A record that says nothing yet but when, where and under which table.
pub(crate) fn blank_record(worker: &Worker, serving: &Serving, arrival: Arrival, place: Place<'_>) -> Record {
    let generation = serving.table.generation();
    let took = arrival.heard.saturating_duration_since(arrival.began);
    let head_ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    Record {
        is_tcp: false,
        started_unix_ns: worker.unix_ns(arrival.heard).saturating_sub(head_ns),
        labels: serving.labels(place),
        epoch: generation.epoch,
        revision: generation.revision,
        reason: Reason::Completed,
        status: 0,
        upstream_status: 0,
        client: SocketAddr::new(arrival.peer.ip().to_canonical(), arrival.peer.port()),
        texts: Texts::default(),
        http_minor: 1,
        endpoint: None,
        endpoint_lookup: None,
        retries: 0,
        bytes_in: 0,
        bytes_out: 0,
        head_us: micros(took),
        connect_us: None,
        upstream_us: None,
        duration_us: 0,
    }
}

/// Whole microseconds.
pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()))
}
