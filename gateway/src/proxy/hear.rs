//! The first half of a request: wait for its head, decide, and send it on, all in one step when it comes whole.

#![allow(
    clippy::indexing_slicing,
    reason = "hot path over the scratch buffer: each range ends where the read or the parsed head before it says"
)]

use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use vamp_record::Reason;
use vamp_routing::{Chain, Refusal};

use super::connection::{ClientStream, Connection, SECURE};
use super::exchange::{Arrival, Exchange, RoutedHead, Slot, spare_slot};
use super::scratch::Scratch;
use crate::http1::{
    Body, Fault, HeadLimits, Onward, PeerText, RequestHead, client_address, is_trusted, may_be_complete,
};
use crate::proxy_header::ProxyHeader;
use crate::upstream;

/// What came of waiting for a request.
pub(super) enum Heard {
    /// The client left or was idle for too long, or the port goes away: nothing is owed.
    Gone,
    /// A head began and did not end in time.
    TooSlow(Arrival),
    /// A head that can't be taken.
    Refused(Fault, Arrival),
    /// A request.
    Request(Slot),
}

/// How far the waiting for one request is.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// When the first byte came.
    began: Option<Instant>,
    /// Whether bytes that came behind the request before were looked at.
    resumed: bool,
    /// Bytes of an incomplete head at which it is looked at again even without an empty line: it may be over a limit.
    look_again_at: usize,
}

impl<C: ClientStream> Connection<C> {
    pub(super) fn poll_hear(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        hearing: &mut Hearing,
    ) -> Poll<Heard> {
        if !hearing.resumed {
            hearing.resumed = true;
            if !self.saved.is_empty()
                && let Some(heard) = self.look_at_saved(context, scratch, hearing, Instant::now())
            {
                return Poll::Ready(heard);
            }
        }
        loop {
            match self.poll_client(context, scratch.room()) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Heard::Gone),
                Poll::Ready(Ok(bytes)) => {
                    if let Some(heard) = self.look_at_read(context, scratch, hearing, bytes) {
                        return Poll::Ready(heard);
                    }
                }
                Poll::Pending => break,
            }
        }
        if hearing.began.is_some() {
            self.seat.takes();
        } else if !self.seat.may_wait(context, self.served) && self.client.is_silent() {
            return Poll::Ready(Heard::Gone);
        }
        let limits = &self.worker.limits;
        let deadline = match hearing.began {
            Some(began) => began + limits.head_timeout,
            None if self.served => self.seat.free_since() + limits.keep_alive_timeout,
            None => self.seat.free_since() + limits.head_timeout,
        };
        if !self.timer.is_over(context, deadline) {
            return Poll::Pending;
        }
        Poll::Ready(hearing.began.map_or(Heard::Gone, |began| Heard::TooSlow(self.arrival(began, Instant::now()))))
    }

    #[inline]
    fn look_at_read(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        hearing: &mut Hearing,
        bytes: usize,
    ) -> Option<Heard> {
        let now = Instant::now();
        let end = Scratch::START + bytes;
        if self.saved.is_empty() {
            let began = *hearing.began.get_or_insert(now);
            let heard = self.look(context, scratch, end, self.arrival(began, now));
            if heard.is_none() {
                self.saved.extend_from_slice(&scratch.buffer[Scratch::START..end]);
                hearing.look_again_at = self.head_limits().look_again_at(bytes);
            }
            return heard;
        }
        let before = self.saved.len();
        self.saved.extend_from_slice(&scratch.buffer[Scratch::START..end]);
        let look = may_be_complete(&self.saved, before) || self.saved.len() >= hearing.look_again_at;
        if look { self.look_at_saved(context, scratch, hearing, now) } else { None }
    }

    #[cold]
    fn look_at_saved(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        hearing: &mut Hearing,
        now: Instant,
    ) -> Option<Heard> {
        let began = *hearing.began.get_or_insert(now);
        let saved = std::mem::take(&mut self.saved);
        let end = scratch.load(&saved);
        let heard = self.look(context, scratch, end, self.arrival(began, now));
        if heard.is_none() {
            hearing.look_again_at = self.head_limits().look_again_at(saved.len());
            self.saved = saved;
        }
        heard
    }

    fn arrival(&self, began: Instant, heard: Instant) -> Arrival {
        Arrival { began, heard, peer: self.peer }
    }

    /// Looks at the bytes from the scratch buffer's start to `end`; `None` when the head is incomplete.
    fn look(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        end: usize,
        mut arrival: Arrival,
    ) -> Option<Heard> {
        let fresh_id = scratch.next_request_id();
        let Scratch { buffer, head: out, fields, .. } = &mut *scratch;
        let limits = self.head_limits();
        let mut start = Scratch::START;
        let announced = self.worker.proxy_protocol && !self.served;
        if announced {
            match self.announced(&buffer[start..end]) {
                Ok(Some(header)) => {
                    start += header.bytes;
                    arrival.peer = header.ends.map_or(self.peer, |ends| ends.source);
                }
                Ok(None) => return None,
                Err(fault) => return Some(Heard::Refused(fault, arrival)),
            }
        }
        let head = match RequestHead::parse(&buffer[start..end], fields, &limits) {
            Ok(Some(head)) => head,
            Ok(None) => return None,
            Err(fault) => return Some(Heard::Refused(fault, arrival)),
        };
        if announced {
            self.speaks_for(arrival.peer);
        }
        let body_start = start + head.bytes;
        let mut slot = spare_slot();
        let exchange = self.admit(&mut slot, &head, &fresh_id, arrival, out);
        self.take_body(scratch, exchange, body_start, end, context);
        Some(Heard::Request(slot))
    }

    /// The header in which the peer says whose connection it carries; believed only from a trusted proxy. It is read
    /// again until the head behind it is whole.
    #[cold]
    fn announced(&self, bytes: &[u8]) -> Result<Option<ProxyHeader>, Fault> {
        if !self.trusted {
            return Err(Fault::Malformed(
                "this port is for proxies that send a PROXY header: come through one, or name this address in --trusted-proxies",
            ));
        }
        ProxyHeader::parse(bytes).map_err(Fault::Malformed)
    }

    /// From here on, the connection is that of the client for whom the proxy in front speaks.
    #[cold]
    fn speaks_for(&mut self, client: SocketAddr) {
        self.peer = client;
        self.peer_text = PeerText::new(client.ip(), SECURE);
        self.trusted = is_trusted(client.ip().to_canonical(), &self.worker.trusted_proxies);
    }

    /// Decides where the request goes and writes the head that goes there.
    fn admit<'s>(
        &mut self,
        slot: &'s mut Slot,
        head: &RequestHead<'_, '_>,
        fresh_id: &[u8],
        arrival: Arrival,
        out: &mut Vec<u8>,
    ) -> &'s mut Exchange {
        // The one place where a request gets its table.
        let serving = self.worker.serving();
        let client = client_address(self.peer.ip(), &self.worker.trusted_proxies, head);
        let id = head.request_id().unwrap_or(fresh_id);
        let routed = RoutedHead { head, source: client };
        let verdict = match serving.entry(self.seat.listener().id()) {
            Some(entry) => self.worker.decide(&serving, entry, &routed),
            None => Err(Refusal::UnknownHost),
        };
        let exchange = slot.insert(Exchange::new(Rc::clone(&self.worker), serving, head, verdict, client, arrival, id));
        if self.worker.memory.is_scarce() {
            exchange.refused.get_or_insert(Reason::Overload);
        }
        let Some(decision) = &exchange.decision else { return exchange };
        let mut cookies: [&[u8]; Chain::MAX] = [b""; Chain::MAX];
        let mut count = 0;
        for hop in decision.chain.hops() {
            let gateway = exchange.serving.table.gateways().get(hop.gateway);
            if let Some(name) = gateway.and_then(|gateway| gateway.cookie.as_deref()) {
                cookies[count] = name.as_bytes();
                count += 1;
            }
        }
        out.clear();
        // Only HTTP/1.0 has requests without host.
        let local = if head.host.is_some() { String::new() } else { self.local_text() };
        let onward = Onward {
            path: decision.rewritten_path.as_deref().map(str::as_bytes),
            peer: &self.peer_text,
            client,
            trusted: self.trusted,
            host: local.as_bytes(),
            request_id: fresh_id,
            cookies: &cookies[..count],
        };
        head.write_onward(&onward, out);
        exchange
    }

    /// The address that the client connected to, as a host.
    #[cold]
    fn local_text(&self) -> String {
        let local = self.client.local_address();
        local.map(|local| SocketAddr::new(local.ip().to_canonical(), local.port()).to_string()).unwrap_or_default()
    }

    /// Takes what came of the body with the head, keeps what came behind it, and sends the request on if it can.
    fn take_body(
        &mut self,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        body_start: usize,
        end: usize,
        context: &mut Context<'_>,
    ) {
        let mut body_end = body_start;
        if !exchange.upload.complete {
            match self.take_upload(exchange, &scratch.buffer[body_start..end]) {
                Ok(bytes) => body_end += bytes,
                Err(reason) => exchange.refused = exchange.refused.or(Some(reason)),
            }
        }
        if body_end < end {
            self.saved.extend_from_slice(&scratch.buffer[body_end..end]);
        }
        if exchange.refused.is_none() {
            self.send_first(scratch, exchange, body_start, body_end, context);
        }
    }

    /// How many of these bytes belong to the request's body; counts them.
    pub(super) fn take_upload(&self, exchange: &mut Exchange, bytes: &[u8]) -> Result<usize, Reason> {
        let taken = exchange.upload.body.advance(bytes).map_err(|fault| {
            tracing::debug!("the body of a request is refused: {fault}");
            Reason::BadRequest
        })?;
        let mut total = 0;
        exchange.note(|record| {
            record.bytes_in += taken.bytes as u64;
            total = record.bytes_in;
        });
        let announced = match exchange.upload.body {
            Body::Length(left) => total.saturating_add(left),
            _ => total,
        };
        if self.worker.limits.body_bytes_max.is_some_and(|limit| announced > limit) {
            // It does not count as read, though it may be: nothing behind it is taken for a request.
            return Err(Reason::BodyTooLarge);
        }
        exchange.upload.complete = taken.complete;
        Ok(taken.bytes)
    }

    /// Leases an endpoint and sends it the request over a pooled connection, or keeps the request until one is open.
    fn send_first(
        &mut self,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        body_start: usize,
        body_end: usize,
        context: &mut Context<'_>,
    ) {
        let Some(decision) = &exchange.decision else { return };
        let Some(lease) = upstream::pick(&exchange.serving, decision, &exchange.tried) else {
            exchange.refused = Some(Reason::NoEndpoint);
            return;
        };
        let with_head = if body_start < body_end { scratch.place_head(body_start) } else { None };
        let sent = loop {
            let Some(mut connection) = lease.idle(&self.worker) else { break false };
            if !exchange.asked.idempotent && !connection.stream.is_silent() {
                continue;
            }
            let backlog = &mut exchange.upload.backlog;
            let result = match with_head {
                Some(start) => backlog.send(context, &mut connection.stream, &scratch.buffer[start..body_end]),
                None => backlog.send(context, &mut connection.stream, &scratch.head).map(|()| {
                    backlog.send_on(context, &mut connection.stream, &scratch.buffer[body_start..body_end]);
                }),
            };
            if result.is_ok() {
                exchange.upstream = Some(connection);
                exchange.pooled = true;
                break true;
            }
            // It was closed, and took nothing: the next one.
            backlog.clear();
        };
        if !sent || exchange.asked.idempotent {
            let mut replay = scratch.take_spare();
            replay.extend_from_slice(&scratch.head);
            replay.extend_from_slice(&scratch.buffer[body_start..body_end]);
            exchange.upload.replay = replay;
            exchange.upload.replayable = true;
        }
        exchange.asks(lease);
    }

    pub(super) fn head_limits(&self) -> HeadLimits {
        let limits = &self.worker.limits;
        HeadLimits {
            head_bytes_max: limits.head_bytes_max,
            target_bytes_max: limits.target_bytes_max,
            fields_max: limits.fields_max,
        }
    }
}
