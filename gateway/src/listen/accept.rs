//! Takes connections from one socket until its port goes away.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::warn;

use super::Listener;
use super::listener::Opened;
use crate::upstream::has_no_descriptor_left;
use crate::worker::Worker;

/// How long accepting pauses when no descriptor is left. Connections wait in the kernel's queue meanwhile; a tenth of
/// a second costs no thread its time and is soon enough when clients leave.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the log says so.
const PAUSE_LOG_EVERY: Duration = Duration::from_secs(10);

/// What all sockets of one thread share.
#[derive(Debug)]
pub(super) struct Intake<S> {
    pub(super) worker: Rc<Worker>,
    /// The life of one connection.
    pub(super) serve: S,
    /// One permit per client connection of the process.
    pub(super) permits: Arc<Semaphore>,
    paused_log: Cell<Option<Instant>>,
}

impl<S, F> Intake<S>
where
    S: Fn(Rc<Worker>, TcpStream, SocketAddr, SocketAddr, Rc<Listener>) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    pub(super) fn new(worker: Rc<Worker>, serve: S, permits: Arc<Semaphore>) -> Rc<Self> {
        Rc::new(Self { worker, serve, permits, paused_log: Cell::new(None) })
    }

    /// Accepts until the port goes away, then takes what the kernel accepted up to then, and lets go of the socket. What
    /// waits in a socket that was handed over is left to the other process.
    pub(super) async fn accept_all(self: Rc<Self>, socket: Rc<TcpListener>, listener: Rc<Listener>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = listener.ends_accepting() => break,
                accepted = socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &listener).await,
                Err(error) => self.after_error(&error).await,
            }
        }
        if !listener.is_handed_over() {
            self.take_queued(&socket, &listener).await;
        }
    }

    /// Takes what the kernel has accepted up to now.
    pub(super) async fn take_queued(self: &Rc<Self>, socket: &TcpListener, listener: &Rc<Listener>) {
        while let Some((stream, peer)) = self.next_queued(socket).await {
            self.admit(stream, peer, listener).await;
        }
    }

    /// The next connection that the kernel has accepted already, asked from the kernel: what the runtime knows of the
    /// socket may be older.
    async fn next_queued(&self, socket: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
        // LIMIT: tries without a descriptor: some seconds. What waits still is reset when the socket closes.
        for _ in 0..50 {
            let accepted = socket2::SockRef::from(socket).accept().and_then(|(stream, peer)| {
                stream.set_nonblocking(true)?;
                let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
                Ok((TcpStream::from_std(stream.into())?, peer))
            });
            match accepted {
                Ok(accepted) => return Some(accepted),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) => self.after_error(&error).await,
            }
        }
        None
    }

    /// Starts the life of a connection; waits while the process has as many as it may.
    async fn admit(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, listener: &Rc<Listener>) {
        let permit = match Arc::clone(&self.permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => match Arc::clone(&self.permits).acquire_owned().await {
                Ok(permit) => permit,
                Err(_) => return,
            },
        };
        let Ok(local) = stream.local_addr() else { return };
        let intake = Rc::clone(self);
        let (peer, local) = (canonical(peer), canonical(local));
        listener.spawn(|opened| intake.carry(stream, peer, local, opened, permit));
    }

    async fn carry(
        self: Rc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
        opened: Opened,
        _permit: OwnedSemaphorePermit,
    ) {
        let _client = Client::new(&self.worker);
        (self.serve)(Rc::clone(&self.worker), stream, peer, local, opened.listener()).await;
    }

    /// A connection that was gone before it was taken is no matter. Without descriptors, accepting pauses: it would
    /// only spin.
    async fn after_error(&self, error: &io::Error) {
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if gone {
            return;
        }
        if has_no_descriptor_left(error) {
            self.worker.counters.accept_pauses.add(1);
        }
        let now = Instant::now();
        if self.paused_log.get().is_none_or(|last| now.duration_since(last) >= PAUSE_LOG_EVERY) {
            self.paused_log.set(Some(now));
            warn!(%error, "no connection can be accepted at present; they wait: raise the limit of open files (`ulimit -n`), or add gateways");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A client's connection, counted while it is open.
struct Client(Rc<Worker>);

impl Client {
    fn new(worker: &Rc<Worker>) -> Self {
        worker.counters.clients.add(1);
        worker.counters.clients_opened.add(1);
        Self(Rc::clone(worker))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.0.counters.clients.subtract(1);
    }
}

/// An IPv4 address as such, also when it came to a socket for both.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
