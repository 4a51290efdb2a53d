//! One thread of the data path: its runtime, its sockets, and what it is told to do about them.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::error;

use super::accept::Intake;
use super::neighbours::{self, Neighbours, Question};
use super::{Listener, Room, Seat};
use crate::serving::ListenerId;
use crate::worker::{Shared, Worker};

/// How often a thread closes unused connections whose time is over, and lets go of tables that were replaced.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// LIMIT: after the cut, connections end as soon as their tasks are dropped, which needs no I/O. This only keeps a
/// fault there from holding up the end of the process.
const CUT_TIMEOUT: Duration = Duration::from_secs(1);

/// LIMIT: which share of the time for draining a connection may wait for its last request after a hand-over. The rest
/// is for answering the requests that came late.
const IDLE_SHARE: f32 = 0.75;

/// LIMIT: sockets that a thread takes before it turns to its connections again: some 10 µs each.
const SOCKETS_AT_ONCE: usize = 16;

/// A socket that listens, for one thread.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Its port.
    pub(crate) id: ListenerId,
    /// The socket, non-blocking.
    pub(crate) socket: std::net::TcpListener,
}

/// Ports that go away.
#[derive(Debug)]
pub(crate) struct Retire {
    /// Which.
    pub(crate) ids: Vec<ListenerId>,
    /// Told when their sockets are closed; their connections may last longer.
    pub(crate) closed: oneshot::Sender<()>,
}

/// What a thread is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on these.
    Open(Vec<Socket>),
    /// Answer who waits in these already, and close them.
    Empty(Vec<Socket>),
    /// Stop accepting on these, and let their connections end.
    Retire(Retire),
    /// The same for all, then end. After a hand-over: what waits for a request ends now.
    Drain,
    /// Tell which sockets it has; a second descriptor of each.
    Share(oneshot::Sender<io::Result<Vec<OwnedFd>>>),
    /// Another process accepts now on what was shared: stop accepting, answer what comes on open connections, then end.
    HandOver,
}

/// What a thread is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// Number of the thread, from 0.
    pub(crate) thread: usize,
    /// What all threads share.
    pub(crate) shared: Shared,
    /// What it is told.
    pub(crate) commands: mpsc::Receiver<Command>,
    /// The room for client connections of the process.
    pub(crate) room: Arc<Room>,
    /// The other threads, and what they ask of this one.
    pub(crate) neighbours: (Neighbours, mpsc::Receiver<Question>),
    /// Dropped when the thread has ended.
    pub(crate) ended: oneshot::Sender<()>,
}

/// Starts a thread; `serve` is the life of one connection.
pub(crate) fn start<S, F>(parts: Parts, serve: S) -> io::Result<()>
where
    S: Fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let name = format!("traffic-{}", parts.thread);
    let (started, outcome) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new().name(name).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                drop(started.send(Ok(())));
                let ended = runtime.block_on(run(parts, serve));
                drop(runtime);
                drop(ended);
            }
            Err(error) => drop(started.send(Err(error))),
        }
    })?;
    outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the thread ended before it began")))
}

async fn run<S, F>(
    Parts { thread, shared, mut commands, room, neighbours: (neighbours, questions), ended: has_ended }: Parts,
    serve: S,
) -> oneshot::Sender<()>
where
    S: Fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let worker = Worker::new(thread, &shared);
    let sweeping = tokio::task::spawn_local(sweep(Rc::clone(&worker), Arc::clone(&room)));
    let intake = Intake::new(Rc::clone(&worker), serve, room, neighbours);
    let asked = Rc::clone(&intake);
    let answering = tokio::task::spawn_local(neighbours::answer(questions, move || asked.make_room()));
    let mut ports = Ports { intake, open: HashMap::new(), retiring: JoinSet::new() };
    loop {
        match commands.recv().await {
            Some(Command::Open(sockets)) => by_turns(&worker, sockets, |socket| ports.open(socket)).await,
            Some(Command::Empty(sockets)) => by_turns(&worker, sockets, |socket| ports.empty(socket)).await,
            Some(Command::Retire(Retire { ids, closed })) => ports.retire(&ids, Some(closed)),
            Some(Command::Drain) => {
                let all: Vec<_> = ports.open.keys().copied().collect();
                ports.retire(&all, None);
                break;
            }
            Some(Command::Share(shared)) => drop(shared.send(ports.share())),
            Some(Command::HandOver) => {
                ports.hand_over(&mut commands).await;
                break;
            }
            // Whoever held the data plane dropped it: nobody waits for its connections.
            None => {
                ports.open.values().for_each(|port| port.listener.cut());
                ports.retiring.abort_all();
                break;
            }
        }
        while ports.retiring.try_join_next().is_some() {}
    }
    while ports.retiring.join_next().await.is_some() {}
    sweeping.abort();
    answering.abort();
    has_ended
}

/// Does something with sockets, and lets requests have their turn meanwhile: a table may bring 10,000 ports.
async fn by_turns(worker: &Worker, sockets: Vec<Socket>, mut each: impl FnMut(Socket)) {
    let mut began = std::time::Instant::now();
    for (number, socket) in (1..).zip(sockets) {
        each(socket);
        if usize::is_multiple_of(number, SOCKETS_AT_ONCE) {
            worker.counters.stalled(began.elapsed());
            tokio::task::yield_now().await;
            began = std::time::Instant::now();
        }
    }
    worker.counters.stalled(began.elapsed());
}

/// The ports of one thread.
struct Ports<S> {
    intake: Rc<Intake<S>>,
    open: HashMap<ListenerId, Port>,
    retiring: JoinSet<()>,
}

struct Port {
    listener: Rc<Listener>,
    accepting: Vec<Accepting>,
}

impl Port {
    fn new<S, F>(id: ListenerId, intake: &Intake<S>) -> Self
    where
        S: Fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let listener = Listener::new(id);
        intake.knows(&listener);
        Self { listener, accepting: Vec::new() }
    }
}

/// A socket and the task that accepts on it.
struct Accepting {
    socket: Rc<TcpListener>,
    task: JoinHandle<()>,
}

impl<S, F> Ports<S>
where
    S: Fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    fn open(&mut self, Socket { id, socket }: Socket) {
        let socket = match TcpListener::from_std(socket) {
            Ok(socket) => socket,
            Err(cause) => {
                // Only a lack of memory for the runtime's own tables does this; the port's other threads go on.
                error!(port = id.0, error = %cause, "one thread does not accept on port {}", id.0);
                return;
            }
        };
        let port = self.open.entry(id).or_insert_with(|| Port::new(id, &self.intake));
        let socket = Rc::new(socket);
        let accepting = Rc::clone(&self.intake).accept_all(Rc::clone(&socket), Rc::clone(&port.listener));
        port.accepting.push(Accepting { socket, task: tokio::task::spawn_local(accepting) });
    }

    /// Takes what the kernel has accepted on a socket of a port that is not this process's, and closes it.
    fn empty(&mut self, Socket { id, socket }: Socket) {
        let Ok(socket) = TcpListener::from_std(socket) else { return };
        let port = self.open.entry(id).or_insert_with(|| Port::new(id, &self.intake));
        let (intake, listener) = (Rc::clone(&self.intake), Rc::clone(&port.listener));
        self.retiring.spawn_local(async move { intake.take_queued(&socket, &listener).await });
    }

    /// A second descriptor of each socket.
    fn share(&self) -> io::Result<Vec<OwnedFd>> {
        let sockets = self.open.values().flat_map(|port| &port.accepting);
        sockets.map(|accepting| accepting.socket.as_fd().try_clone_to_owned()).collect()
    }

    /// Lets go of the sockets, and gives each connection the time until it closes, or until its next request is
    /// answered, up to the time for draining; a drain ends the waiting.
    async fn hand_over(&mut self, commands: &mut mpsc::Receiver<Command>) {
        let drain_timeout = self.intake.worker.limits.drain_timeout;
        let deadline = Instant::now() + drain_timeout;
        self.open.values().for_each(|port| port.listener.hand_over());
        for Accepting { socket, task } in self.open.values_mut().flat_map(|port| port.accepting.drain(..)) {
            drop(socket);
            // One that waits for room to let a connection in has accepted it already.
            drop(tokio::time::timeout_at(deadline, task).await);
        }
        let all_empty = async {
            for port in self.open.values() {
                port.listener.empty().await;
            }
        };
        let told = async { while !matches!(commands.recv().await, Some(Command::Drain) | None) {} };
        tokio::select! {
            () = all_empty => {}
            () = told => {}
            () = tokio::time::sleep(drain_timeout.mul_f32(IDLE_SHARE)) => {}
        }
        let all: Vec<_> = self.open.keys().copied().collect();
        self.retire_until(&all, None, deadline);
    }

    /// Stops accepting, lets connections end within the time for that, then cuts them.
    fn retire(&mut self, ids: &[ListenerId], closed: Option<oneshot::Sender<()>>) {
        self.retire_until(ids, closed, Instant::now() + self.intake.worker.limits.drain_timeout);
    }

    fn retire_until(&mut self, ids: &[ListenerId], closed: Option<oneshot::Sender<()>>, deadline: Instant) {
        let ports: Vec<_> = ids.iter().filter_map(|id| self.open.remove(id)).collect();
        for port in &ports {
            port.listener.leave();
        }
        self.retiring.spawn_local(async move {
            let mut listeners = Vec::new();
            for Port { listener, accepting } in ports {
                for Accepting { socket, task } in accepting {
                    // The last one to let go of it closes it.
                    drop(socket);
                    // An accept loop that ended by a fault has let go of its socket as well.
                    drop(tokio::time::timeout_at(deadline, task).await);
                }
                listeners.push(listener);
            }
            drop(closed);
            for listener in listeners {
                if tokio::time::timeout_at(deadline, listener.empty()).await.is_err() {
                    listener.cut();
                    drop(tokio::time::timeout(CUT_TIMEOUT, listener.empty()).await);
                }
            }
        });
    }
}

async fn sweep(worker: Rc<Worker>, room: Arc<Room>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        worker.let_go();
        worker.set_clock();
        // Requests go by the last look, and nobody may be asking to be let in.
        room.is_short_of_memory(std::time::Instant::now());
        worker.pools.sweep(Instant::now(), worker.limits.idle_upstream_timeout);
    }
}
