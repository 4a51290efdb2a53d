//! The second half of a request: the rest of its body to the upstream, the answer to the client, both at once and each
//! at the pace of the slower side.

#![allow(
    clippy::indexing_slicing,
    reason = "hot path over the scratch buffer: each range ends where the read or the parsed head before it says"
)]

use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::net::TcpStream;
use vamp_record::Reason;

use super::connection::{ClientStream, Connection};
use super::exchange::{Exchange, micros};
use super::flow::poll_read;
use super::scratch::Scratch;
use crate::http1::{Body, Relay, ResponseHead, Toward, encode_chunk_head, may_be_complete};

/// LIMIT: interim answers (1xx) passed on for one request. Servers send one or two; a flood would keep a request alive.
const INTERIMS_MAX: u8 = 16;

/// LIMIT: bytes of a request kept to be sent again. What comes with the head fits; longer uploads are not repeated.
const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// LIMIT: bytes that whoever is slow to read must take of what is kept for it within the time that a pause may last
/// (`response_idle_timeout`, `response_head_timeout` for an upstream), or else all of it: 273 B/s with the default of a
/// minute, about what a client's own body must bring. Who takes less holds a connection to the other side for nothing.
const TAKEN_BYTES_MIN: usize = 16 * 1024;

/// How the work on one upstream connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The answer went through whole.
    Answered,
    /// A pooled connection was closed before it answered, and the request may be sent again.
    Stale,
    /// The upstream switched to another protocol.
    Upgraded,
    /// It ended otherwise.
    Failed(Reason),
}

/// Going on, or the end.
type Step<T = ()> = Result<T, Ended>;

const CLIENT_LEFT: Ended = Ended::Failed(Reason::ClientClosed);

impl<C: ClientStream> Connection<C> {
    /// Moves whatever can be moved now.
    pub(super) fn poll_relay(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        upstream: &mut TcpStream,
    ) -> Poll<Ended> {
        let mut asked = false;
        loop {
            let mut moved = false;
            let step = self
                .upload(context, scratch, exchange, upstream, &mut moved)
                .and_then(|()| self.download(context, scratch, exchange, upstream, &mut moved))
                .and_then(|()| self.watch_client(context, scratch, exchange));
            if let Err(ended) = step {
                return Poll::Ready(ended);
            }
            if moved {
                exchange.progress = Instant::now();
            }
            let (deadline, reason) = exchange.deadline(!self.to_client.is_empty(), &self.worker.limits);
            if !self.timer.is_over(context, deadline) {
                return Poll::Pending;
            }
            if asked && !self.takes_enough(exchange) {
                return Poll::Ready(Ended::Failed(reason));
            }
            if asked {
                exchange.progress = Instant::now();
            }
            asked = true;
            self.to_client.insist();
            exchange.upload.backlog.insist();
        }
    }

    /// Whether the side that is waited for took enough of what is kept for it since it was asked last.
    #[cold]
    fn takes_enough(&mut self, exchange: &mut Exchange) -> bool {
        let blocked = if self.to_client.is_empty() { &mut exchange.upload.backlog } else { &mut self.to_client };
        blocked.take_taken() >= TAKEN_BYTES_MIN
    }

    /// The request's body, from the client to the upstream.
    fn upload(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        upstream: &mut TcpStream,
        moved: &mut bool,
    ) -> Step {
        while !exchange.upload.broken {
            if !exchange.upload.backlog.is_empty() {
                match exchange.upload.backlog.poll_flush(context, upstream) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(())) => {
                        *moved = true;
                        exchange.sent = Instant::now();
                        exchange.rates_body_anew(exchange.sent);
                    }
                    Poll::Ready(Err(_)) => {
                        exchange.breaks_upload();
                        return Ok(());
                    }
                }
            }
            if exchange.upload.complete {
                return Ok(());
            }
            let bytes = match self.poll_client(context, scratch.room()) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(0) | Err(_)) => return Err(CLIENT_LEFT),
                Poll::Ready(Ok(bytes)) => bytes,
            };
            *moved = true;
            if std::mem::take(&mut exchange.upload.awaits_continue) {
                exchange.rates_body_anew(Instant::now());
            }
            let read = &scratch.buffer[Scratch::START..Scratch::START + bytes];
            let taken = self.take_upload(exchange, read).map_err(Ended::Failed)?;
            let (body, behind) = read.split_at(taken);
            self.saved.extend_from_slice(behind);
            exchange.keep_for_replay(body, REPLAY_BYTES_MAX);
            if exchange.upload.backlog.send(context, upstream, body).is_err() {
                exchange.breaks_upload();
            } else if exchange.upload.complete {
                exchange.sent = Instant::now();
            }
        }
        Ok(())
    }

    /// The answer, from the upstream to the client.
    fn download(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        upstream: &mut TcpStream,
        moved: &mut bool,
    ) -> Step {
        loop {
            if !self.to_client.is_empty() {
                match self.to_client.poll_flush(context, &mut self.client) {
                    Poll::Pending => return Ok(()),
                    Poll::Ready(Ok(())) => *moved = true,
                    Poll::Ready(Err(_)) => return Err(CLIENT_LEFT),
                }
            }
            if exchange.download.complete {
                return Err(Ended::Answered);
            }
            match poll_read(context, upstream, scratch.room_behind(exchange.download.passed_bytes)) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(bytes @ 1..)) => {
                    *moved = true;
                    exchange.download.passed_bytes += bytes as u64;
                    self.answer_came(context, scratch, exchange, Scratch::START + bytes)?;
                }
                Poll::Ready(end) => self.answer_ended(context, exchange, end.is_ok())?,
            }
        }
    }

    /// Bytes of the answer, from the scratch buffer's start to `end`.
    fn answer_came(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        mut end: usize,
    ) -> Step {
        if exchange.download.head_sent {
            return self.pass_on(context, scratch, exchange, false, (Scratch::START, end));
        }
        if !exchange.download.saved.is_empty() {
            let saved = &mut exchange.download.saved;
            let before = saved.len();
            saved.extend_from_slice(&scratch.buffer[Scratch::START..end]);
            if !may_be_complete(saved, before) && saved.len() < self.worker.limits.head_bytes_max {
                return Ok(());
            }
            end = scratch.load(&std::mem::take(saved));
        }
        let mut start = Scratch::START;
        while start < end {
            match self.answer_head(context, scratch, exchange, (start, end))? {
                None => {
                    exchange.download.saved.extend_from_slice(&scratch.buffer[start..end]);
                    return Ok(());
                }
                Some(next) if !exchange.download.head_written() => start = next,
                Some(body) => return self.pass_on(context, scratch, exchange, true, (body, end)),
            }
        }
        Ok(())
    }

    /// One head of the answer. Tells where it ends, or `None` when it is incomplete. An interim head is passed on, the
    /// final one is left in the scratch head.
    fn answer_head(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        (start, end): (usize, usize),
    ) -> Step<Option<usize>> {
        let Scratch { buffer, head: out, fields, .. } = scratch;
        let limits = self.head_limits();
        let asked = exchange.asked;
        let parsed = ResponseHead::parse(&buffer[start..end], fields, &limits, asked.to_head, asked.upgrade);
        let head = match parsed {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(None),
            Err(fault) => return Err(bad_answer(fault)),
        };
        let next = start + head.bytes;
        out.clear();
        if head.is_interim() {
            self.pass_interim(context, exchange, &head, out)?;
            return Ok(Some(next));
        }
        let relay = head.relay(asked.minor);
        let close_delimited = relay == Relay::Bare || (relay == Relay::AsIs && head.body == Body::UntilClose);
        let download = &mut exchange.download;
        download.relay = relay;
        download.body = head.body;
        download.close_delimited = close_delimited;
        // An endpoint that answers before it has the whole request may take the rest of it for the next one.
        let upload = &exchange.upload;
        download.keeps_upstream =
            head.persistent && upload.complete && upload.backlog.is_empty() && !upload.awaits_continue;
        // A body that is still to come may never come whole.
        download.keeps_client = asked.persistent
            && !close_delimited
            && exchange.upload.complete
            && !exchange.upload.broken
            && !self.seat.listener().is_leaving();
        download.status = head.status;
        let lines = exchange.cookie_lines(self.peer_text.secure());
        let persistent = exchange.download.keeps_client;
        head.write_toward(&Toward { minor: asked.minor, relay, persistent, lines: &lines }, out);
        let took = micros(Instant::now().saturating_duration_since(exchange.sent));
        exchange.note(|record| {
            record.upstream_us = Some(took);
            record.upstream_status = head.status;
            record.status = head.status;
        });
        Ok(Some(next))
    }

    #[cold]
    fn pass_interim(
        &mut self,
        context: &mut Context<'_>,
        exchange: &mut Exchange,
        head: &ResponseHead<'_, '_>,
        out: &mut Vec<u8>,
    ) -> Step {
        exchange.download.interims += 1;
        if exchange.download.interims > INTERIMS_MAX {
            return Err(Ended::Failed(Reason::BadResponse));
        }
        exchange.upload.awaits_continue &= head.status != 100;
        // RFC 9110, 15.2: never to an HTTP/1.0 client.
        if exchange.asked.minor == 1 {
            head.write_toward(&Toward { minor: 1, relay: Relay::AsIs, persistent: true, lines: b"" }, out);
            self.send_to_client(context, exchange, out)?;
        }
        Ok(())
    }

    /// Bytes of the answer's body in the scratch buffer; `with_head`: the head before them waits in the scratch head.
    fn pass_on(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        exchange: &mut Exchange,
        with_head: bool,
        (start, end): (usize, usize),
    ) -> Step {
        let download = &mut exchange.download;
        let mut from = start;
        let mut to = end;
        match download.relay {
            Relay::AsIs => {
                let taken = download.body.advance(&scratch.buffer[start..end]).map_err(bad_answer)?;
                to = start + taken.bytes;
                download.ended(taken.complete, to < end);
            }
            Relay::Chunked if start < end => {
                let mut field = [0; 18];
                let length = encode_chunk_head(end - start, &mut field);
                from = start - length;
                scratch.buffer[from..start].copy_from_slice(&field[field.len() - length..]);
                scratch.buffer[end..end + 2].copy_from_slice(b"\r\n");
                to = end + 2;
            }
            Relay::Chunked => (),
            Relay::Bare => {
                let Scratch { buffer, head, .. } = scratch;
                if !with_head {
                    head.clear();
                }
                let taken = download.body.decode(&buffer[start..end], |content| head.extend_from_slice(content));
                let taken = taken.map_err(bad_answer)?;
                download.ended(taken.complete, start + taken.bytes < end);
                download.head_sent = true;
                return self.send_to_client(context, exchange, &scratch.head);
            }
        }
        download.head_sent = true;
        if with_head {
            match scratch.place_head(from) {
                Some(placed) => from = placed,
                None => self.send_to_client(context, exchange, &scratch.head)?,
            }
        }
        self.send_to_client(context, exchange, &scratch.buffer[from..to])?;
        if exchange.download.status == 101 { Err(Ended::Upgraded) } else { Ok(()) }
    }

    /// The upstream closed (`clean`), or its connection broke.
    #[cold]
    fn answer_ended(&mut self, context: &mut Context<'_>, exchange: &mut Exchange, clean: bool) -> Step {
        let download = &mut exchange.download;
        if !download.head_sent {
            let nothing_came = download.saved.is_empty() && download.interims == 0;
            let again = exchange.pooled && exchange.upload.replayable && exchange.asked.idempotent;
            return Err(if nothing_came && again { Ended::Stale } else { Ended::Failed(Reason::UpstreamClosed) });
        }
        if download.body != Body::UntilClose || !clean {
            return Err(Ended::Failed(Reason::UpstreamCut));
        }
        download.complete = true;
        download.keeps_upstream = false;
        if download.relay == Relay::Chunked {
            self.send_to_client(context, exchange, b"0\r\n\r\n")?;
        }
        Ok(())
    }

    #[inline]
    fn send_to_client(&mut self, context: &mut Context<'_>, exchange: &mut Exchange, bytes: &[u8]) -> Step {
        exchange.note(|record| record.bytes_out += bytes.len() as u64);
        let sent: io::Result<()> = self.to_client.send(context, &mut self.client, bytes);
        sent.map_err(|_| CLIENT_LEFT)
    }

    /// While the answer is waited for: whether the client left. What it sends meanwhile is its next request.
    pub(super) fn watch_client(
        &mut self,
        context: &mut Context<'_>,
        scratch: &mut Scratch,
        exchange: &Exchange,
    ) -> Step {
        // One read ahead is the bound: a client that sends more waits until its requests are answered.
        while exchange.upload.complete && self.saved.is_empty() {
            match self.poll_client(context, scratch.room()) {
                Poll::Pending => break,
                Poll::Ready(Ok(0) | Err(_)) => return Err(CLIENT_LEFT),
                Poll::Ready(Ok(bytes)) => {
                    self.saved.extend_from_slice(&scratch.buffer[Scratch::START..Scratch::START + bytes]);
                }
            }
        }
        Ok(())
    }
}

fn bad_answer(fault: impl std::fmt::Display) -> Ended {
    tracing::debug!("the answer of an endpoint is refused: {fault}");
    Ended::Failed(Reason::BadResponse)
}
