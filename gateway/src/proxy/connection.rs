//! One client connection, request after request.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;
use vamp_record::Reason;

use super::answer::Answer;
use super::exchange::{Arrival, Exchange, blank_record, give_back_slot, micros};
use super::flow::{self, Backlog, Push, poll_read};
use super::hear::{Heard, Hearing};
use super::open_record::OpenRecord;
use super::relay::Ended;
use super::scratch;
use super::timer::Timer;
use super::tunnel;
use crate::http1::{Fault, PeerText, is_trusted};
use crate::listen::Seat;
use crate::serving::Place;
use crate::upstream::{self, Lease};
use crate::worker::Worker;

/// LIMIT: how long, and how much, a client is listened to after its last answer, so that it can read that answer before
/// the kernel resets the connection because of what it still sends.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Whether clients come over TLS. They come over plain TCP: what is in front of the gateway ends TLS.
pub(super) const SECURE: bool = false;

/// The client's side of a connection.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Push + Unpin {
    /// Makes the coming close a reset: for an answer whose end only the close tells, so that a cut does not look like
    /// the end.
    fn reset_on_close(&self);

    /// The address that the client connected to, if the system still knows it.
    fn local_address(&self) -> Option<SocketAddr>;

    /// Whether the runtime knows of something to read, asked without effect.
    fn may_be_readable(&self) -> bool;

    /// Whether nothing was received, not even the end, asked from the kernel: where a request must not be lost or sent
    /// twice, the runtime's knowledge may be one turn old.
    fn is_silent(&self) -> bool;
}

impl ClientStream for TcpStream {
    fn reset_on_close(&self) {
        flow::reset_on_close(self);
    }

    fn local_address(&self) -> Option<SocketAddr> {
        self.local_addr().ok()
    }

    fn may_be_readable(&self) -> bool {
        self.try_io(Interest::READABLE, || Ok(())).is_ok()
    }

    fn is_silent(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(self).peek(&mut byte);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// One client connection.
pub(super) struct Connection<C> {
    pub(super) worker: Rc<Worker>,
    pub(super) client: C,
    /// Whether the runtime knows that the client's next bytes wake this task.
    client_wakes: bool,
    /// What the port knows of it.
    pub(super) seat: Rc<Seat>,
    pub(super) peer: SocketAddr,
    pub(super) peer_text: PeerText,
    /// Whether the peer may say for whom it speaks.
    pub(super) trusted: bool,
    /// Bytes of the client that wait: a part of a head, or what came behind a request.
    pub(super) saved: Vec<u8>,
    /// Bytes that the client has not taken yet.
    pub(super) to_client: Backlog,
    pub(super) timer: Timer,
    /// Whether a request was answered.
    pub(super) served: bool,
}

/// What becomes of the connection after a request.
enum Next {
    /// The next request.
    Listen,
    /// It is closed.
    Close,
    /// It is closed, but the client may still be sending.
    Linger,
    /// It carries whatever the client and the upstream agreed to speak.
    Tunnel(Box<Tunnel>),
}

/// A connection after an upgrade. Nothing of its request is left but what is recorded, and nothing of the table.
struct Tunnel {
    upstream: upstream::Connection,
    /// Counts it at its endpoint.
    _lease: Option<Lease>,
    record: OpenRecord,
}

/// Serves one client connection to its end.
///
/// A connection is idle most of the time, and there are many: its future holds little more than the connection itself.
/// What is large and rare (connecting, tunnels, refusals) has boxes of its own while it lasts.
pub(crate) fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: SocketAddr,
    seat: Rc<Seat>,
) -> impl Future<Output = ()> {
    let mut connection = Connection {
        client: stream,
        client_wakes: false,
        seat,
        peer,
        peer_text: PeerText::new(peer.ip(), SECURE),
        trusted: is_trusted(peer.ip().to_canonical(), &worker.trusted_proxies),
        saved: Vec::new(),
        to_client: Backlog::default(),
        timer: Timer::new(Instant::now() + worker.limits.head_timeout),
        served: false,
        worker,
    };
    async move { connection.run().await }
}

impl<C: ClientStream> Connection<C> {
    async fn run(&mut self) {
        loop {
            let mut hearing = Hearing::default();
            let heard =
                poll_fn(|context| scratch::with(|scratch| self.poll_hear(context, scratch, &mut hearing))).await;
            self.seat.takes();
            let next = match heard {
                Heard::Gone => return,
                Heard::TooSlow(arrival) => Box::pin(self.refuse_head(None, arrival)).await,
                Heard::Refused(fault, arrival) => Box::pin(self.refuse_head(Some(fault), arrival)).await,
                Heard::Request(mut slot) => {
                    let Some(exchange) = slot.as_mut() else { return };
                    let next = self.answer(exchange).await;
                    scratch::with(|scratch| scratch.give_spare(std::mem::take(&mut exchange.upload.replay)));
                    give_back_slot(slot);
                    next
                }
            };
            self.served = true;
            match next {
                Next::Listen => (),
                Next::Close => return,
                Next::Linger => return Box::pin(self.linger()).await,
                Next::Tunnel(tunnel) => return Box::pin(self.carry(*tunnel)).await,
            }
        }
    }

    /// Reads what the client sent. Most looks at the client find nothing new: they cost a look at the runtime's flag, not
    /// another registration.
    #[inline]
    pub(super) fn poll_client(&mut self, context: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.client_wakes && !self.client.may_be_readable() {
            return Poll::Pending;
        }
        let read = poll_read(context, &mut self.client, room);
        self.client_wakes = read.is_pending();
        read
    }

    /// Brings one request to its end.
    async fn answer(&mut self, exchange: &mut Exchange) -> Next {
        loop {
            if let Some(reason) = exchange.refused {
                return Box::pin(self.end_without_answer(exchange, reason)).await;
            }
            let mut upstream = match exchange.upstream.take() {
                Some(upstream) => upstream,
                None => match Box::pin(self.connect(exchange)).await {
                    Ok(upstream) => upstream,
                    Err(reason) => return Box::pin(self.end_without_answer(exchange, reason)).await,
                },
            };
            let ended = poll_fn(|context| {
                scratch::with(|scratch| self.poll_relay(context, scratch, exchange, &mut upstream.stream))
            })
            .await;
            match ended {
                Ended::Answered => return self.answered(exchange, upstream),
                Ended::Upgraded => {
                    let Some(record) = exchange.goes_on() else { return Next::Close };
                    let lease = exchange.lease.take();
                    return Next::Tunnel(Box::new(Tunnel { upstream, _lease: lease, record }));
                }
                // Once: the next connection is a new one.
                Ended::Stale => exchange.retries(),
                Ended::Failed(reason) => {
                    drop(upstream);
                    return Box::pin(self.end_without_answer(exchange, reason)).await;
                }
            }
        }
    }

    fn answered(&mut self, exchange: &mut Exchange, upstream: upstream::Connection) -> Next {
        let now = Instant::now();
        self.seat.free(now);
        let sent_whole = exchange.upload.complete && !exchange.upload.broken && exchange.upload.backlog.is_empty();
        if sent_whole
            && exchange.download.keeps_upstream
            && let Some(lease) = &exchange.lease
        {
            lease.give_back(&self.worker, upstream, now);
        }
        exchange.finish(Reason::Completed, now);
        match (exchange.download.keeps_client, sent_whole && self.saved.is_empty()) {
            (true, _) => Next::Listen,
            (false, true) => Next::Close,
            (false, false) => Next::Linger,
        }
    }

    /// Opens a connection to the leased endpoint, or to others when it does not accept one, and sends what is there of
    /// the request.
    async fn connect(&mut self, exchange: &mut Exchange) -> Result<upstream::Connection, Reason> {
        let worker = Rc::clone(&self.worker);
        let mut tries_left = worker.limits.retries_max;
        loop {
            let Some(lease) = exchange.lease.as_ref() else { return Err(Reason::NoEndpoint) };
            let began = Instant::now();
            let connected = self.unless_client_leaves(exchange, lease.connect(&worker)).await;
            let error = match connected {
                None => return Err(Reason::ClientClosed),
                Some(Ok(upstream)) => {
                    exchange.connected(began);
                    return Ok(upstream);
                }
                Some(Err(error)) => error,
            };
            tracing::debug!("a request is not sent: {error}");
            let reason = error.reason();
            exchange.tried.push(lease.index);
            if tries_left == 0 || error.is_of_this_host() {
                return Err(reason);
            }
            tries_left -= 1;
            let decision = exchange.decision.as_ref();
            let other = decision.and_then(|decision| upstream::pick(&exchange.serving, decision, &exchange.tried));
            exchange.asks(other.ok_or(reason)?);
            exchange.retries();
        }
    }

    /// Waits for a connection; `None` when the client leaves before.
    async fn unless_client_leaves<T>(&mut self, exchange: &Exchange, connecting: impl Future<Output = T>) -> Option<T> {
        let mut connecting = pin!(connecting);
        poll_fn(|context| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(context) {
                return Poll::Ready(Some(connected));
            }
            let left = scratch::with(|scratch| self.watch_client(context, scratch, exchange)).is_err();
            if left { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Ends a request that no upstream answered whole.
    async fn end_without_answer(&mut self, exchange: &mut Exchange, reason: Reason) -> Next {
        let answer = if exchange.download.head_sent { None } else { Answer::of(reason) };
        let Some(answer) = answer else {
            if exchange.download.close_delimited {
                self.client.reset_on_close();
            }
            exchange.finish(reason, Instant::now());
            return Next::Close;
        };
        let whole = exchange.upload.complete;
        let persistent = whole && exchange.asked.persistent && !self.seat.listener().is_leaving();
        let mut bytes = Vec::new();
        answer.write(persistent, exchange.asked.to_head, exchange.request_id(), &mut bytes);
        exchange.note(|record| {
            record.status = answer.status;
            record.bytes_out += bytes.len() as u64;
        });
        let taken = self.send_whole(bytes).await;
        let now = Instant::now();
        self.seat.free(now);
        exchange.finish(if taken { reason } else { Reason::ClientClosed }, now);
        match (taken, persistent) {
            (false, _) => Next::Close,
            (true, true) => Next::Listen,
            (true, false) => Next::Linger,
        }
    }

    /// Answers a head that could not be taken, or did not come in time.
    async fn refuse_head(&mut self, fault: Option<Fault>, arrival: Arrival) -> Next {
        let (reason, answer) = match fault {
            None => (Reason::HeadTimeout, Answer::of(Reason::HeadTimeout)),
            Some(fault) => {
                let reason = match fault {
                    Fault::TargetTooLong => Reason::TargetTooLong,
                    Fault::HeadTooLarge | Fault::TooManyFields => Reason::HeadTooLarge,
                    Fault::Malformed(_) | Fault::NotImplemented(_) | Fault::Version => Reason::BadRequest,
                };
                (reason, Some(Answer { status: fault.status(), text: fault.to_string() }))
            }
        };
        let Some(answer) = answer else { return Next::Close };
        let serving = self.worker.serving();
        let mut record = blank_record(&self.worker, &serving, arrival, Place::Nowhere);
        let mut bytes = Vec::new();
        answer.write(false, false, b"", &mut bytes);
        record.status = answer.status;
        record.bytes_out = bytes.len() as u64;
        let taken = self.send_whole(bytes).await;
        record.reason = if taken { reason } else { Reason::ClientClosed };
        record.duration_us = micros(Instant::now().saturating_duration_since(arrival.heard));
        self.worker.finish(&serving, Place::Nowhere, record);
        if taken { Next::Linger } else { Next::Close }
    }

    /// Sends the gateway's own answer; tells whether the client took it.
    async fn send_whole(&mut self, bytes: Vec<u8>) -> bool {
        let deadline = Instant::now() + self.worker.limits.response_idle_timeout;
        let mut bytes = Some(bytes);
        poll_fn(|context| {
            if let Some(bytes) = bytes.take()
                && self.to_client.send(context, &mut self.client, &bytes).is_err()
            {
                return Poll::Ready(false);
            }
            match self.to_client.poll_flush(context, &mut self.client) {
                Poll::Ready(result) => Poll::Ready(result.is_ok()),
                Poll::Pending if self.timer.is_over(context, deadline) => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }

    /// Carries a tunnel to its end.
    async fn carry(&mut self, tunnel: Tunnel) {
        let Tunnel { mut upstream, mut record, _lease } = tunnel;
        let idle = self.worker.limits.tunnel_idle_timeout;
        let early = std::mem::take(&mut self.saved);
        record.carried.up = early.len() as u64;
        let first = (Backlog::holding(early), std::mem::take(&mut self.to_client));
        let (client, timer) = (&mut self.client, &mut self.timer);
        tunnel::run(client, &mut upstream.stream, first, idle, timer, &mut record.carried).await;
        record.finish(Reason::TunnelClosed);
    }

    /// Lets the client read its last answer although it still sends: what it sends is dropped.
    async fn linger(&mut self) {
        let deadline = Instant::now() + LINGER_TIMEOUT;
        let mut shut = false;
        let mut bytes_left = LINGER_BYTES_MAX;
        poll_fn(|context| {
            if !shut {
                match Pin::new(&mut self.client).poll_shutdown(context) {
                    Poll::Ready(Ok(())) => shut = true,
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => (),
                }
            }
            loop {
                match scratch::with(|scratch| self.poll_client(context, scratch.room())) {
                    Poll::Ready(Ok(bytes @ 1..)) if bytes < bytes_left => bytes_left -= bytes,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => break,
                }
            }
            if self.timer.is_over(context, deadline) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
#[cfg(test)]
mod tests {
    use super::*;

    /// What an idle client costs in memory is mostly this.
    #[test]
    fn the_future_of_a_connection_is_small() {
        fn size<F>(_: fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 640, "{} bytes: put what is large and rare into a box", size(serve));
    }
}
