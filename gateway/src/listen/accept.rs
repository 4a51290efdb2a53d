//! Takes connections from one socket until its port goes away.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tracing::warn;

use super::listener::Opened;
use super::neighbours::Neighbours;
use super::refusal::{Door, turn_away_at_once};
use super::room::Place;
use super::{Listener, Refused, Room, Seat};
use crate::upstream::has_no_descriptor_left;
use crate::worker::Worker;

/// How long accepting pauses when no descriptor is left, not even to turn somebody away. Connections wait in the kernel's
/// queue meanwhile; a tenth of a second costs no thread its time and is soon enough when clients leave.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the log says that clients wait or are turned away.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What all sockets of one thread share.
#[derive(Debug)]
pub(super) struct Intake<S> {
    pub(super) worker: Rc<Worker>,
    /// The life of one connection.
    pub(super) serve: S,
    room: Arc<Room>,
    neighbours: Neighbours,
    door: Door,
    listeners: RefCell<Vec<Weak<Listener>>>,
    told_log: Cell<Option<Instant>>,
}

impl<S, F> Intake<S>
where
    S: Fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    pub(super) fn new(worker: Rc<Worker>, serve: S, room: Arc<Room>, neighbours: Neighbours) -> Rc<Self> {
        let listeners = RefCell::default();
        Rc::new(Self { worker, serve, room, neighbours, door: Door::new(), listeners, told_log: Cell::new(None) })
    }

    /// Knows a port whose connections may be closed to make room for others.
    pub(super) fn knows(&self, listener: &Rc<Listener>) {
        let mut listeners = self.listeners.borrow_mut();
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Rc::downgrade(listener));
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

    /// Starts the life of a connection, or turns the client away.
    async fn admit(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, listener: &Rc<Listener>) {
        if self.worker.last_descriptors.include(&stream) {
            self.make_room_for_descriptors().await;
            self.refuses(Refused::Descriptors);
            if self.speaks_http(listener) {
                turn_away_at_once(stream);
            }
            // Lets those end that were told to.
            return tokio::task::yield_now().await;
        }
        let peer = canonical(peer);
        let others = async || self.neighbours.make_room().await;
        let place = match self.room.place(peer.ip(), std::time::Instant::now(), || self.make_room(), others).await {
            Ok(place) => place,
            Err(refused) => {
                self.refuses(refused);
                if self.speaks_http(listener) {
                    self.door.turn_away(stream);
                }
                return;
            }
        };
        let intake = Rc::clone(self);
        listener.spawn(|opened| intake.carry(stream, peer, opened, place));
    }

    /// Closes those of this thread's connections that wait for a request for longest; how many.
    pub(super) fn make_room(&self) -> usize {
        let now = std::time::Instant::now();
        let listeners = self.listeners.borrow();
        let sent_off = listeners.iter().filter_map(Weak::upgrade).map(|listener| listener.send_off_oldest(now)).sum();
        self.worker.counters.sent_off.add(u64::try_from(sent_off).unwrap_or_default());
        sent_off
    }

    /// Whether clients of a port expect an answer to a request, and nothing else.
    fn speaks_http(&self, listener: &Listener) -> bool {
        self.worker.serving().carries(listener.id()).is_none()
    }

    /// Closes connections that nobody uses: of clients, and to endpoints.
    async fn make_room_for_descriptors(&self) {
        if self.make_room() == 0 {
            self.neighbours.make_room().await;
        }
        self.worker.pools.sweep(Instant::now(), Duration::ZERO);
    }

    /// Counts a client that is turned away, and says so from time to time.
    fn refuses(&self, refused: Refused) {
        if let Some(count) = self.worker.counters.refused.get(refused as usize) {
            count.add(1);
        }
        self.tell(|| match refused {
            Refused::Connections => warn!("clients are turned away: all connections are in use: raise --connections-max, or add gateways"),
            Refused::Memory => warn!("clients are turned away: the memory is nearly used up: raise its limit, or add gateways"),
            Refused::Descriptors => warn!("clients are turned away: no descriptor is left: raise the limit of open files (`ulimit -n`), or add gateways"),
            Refused::Client => warn!("a client is turned away that has as many connections as one may have: raise --connections-per-client-max, or name it in --trusted-proxies"),
        });
    }

    fn tell(&self, words: impl FnOnce()) {
        let now = Instant::now();
        if self.told_log.get().is_none_or(|last| now.duration_since(last) >= TELL_EVERY) {
            self.told_log.set(Some(now));
            words();
        }
    }

    async fn carry(self: Rc<Self>, stream: TcpStream, peer: SocketAddr, opened: Opened, _place: Place) {
        let _client = Client::new(&self.worker);
        (self.serve)(Rc::clone(&self.worker), stream, peer, opened.seat()).await;
    }

    /// A connection that was gone before it was taken is no matter. Without descriptors, not even those that are kept to
    /// turn clients away, accepting pauses: it would only spin.
    async fn after_error(&self, error: &io::Error) {
        let gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
        );
        if gone {
            return;
        }
        if has_no_descriptor_left(error) {
            self.make_room_for_descriptors().await;
            self.worker.counters.accept_pauses.add(1);
        }
        self.tell(|| warn!(%error, "no connection can be accepted at present; they wait: raise the limit of open files (`ulimit -n`), or add gateways"));
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
