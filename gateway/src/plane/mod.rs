//! The data plane of one process: threads that serve, and one that puts tables into service.
//!
//! A change binds new ports first, makes endpoints known, swaps once, and then lets go of what is gone. A request
//! never waits for any of it.

mod control;
mod descriptors;
mod ports;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use futures_util::future::Either;
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use vamp_record::split::GatewayCounts;
use vamp_routing::wire::Degradation;
use vamp_routing::{CompiledTable, Entry, Explanation, PlainHead, Targets};

use self::control::{Control, Request};
pub(crate) use self::descriptors::{Capacity, LastDescriptors, raise_open_files};
use crate::counters::{Snapshot, ThreadCounters};
use crate::limits::Limits;
use crate::listen::{self, Parts, Room, Seat};
use crate::memory::{self, Memory};
use crate::serving::Serving;
use crate::ship::Recorder;
use crate::worker::{Shared, Worker};
use crate::{proxy, tcp};

/// LIMIT: commands that a thread has not taken yet. There are two per table, and the next table waits for them.
const COMMANDS_MAX: usize = 16;

/// LIMIT: requests to the control thread that wait. Its users (one for tables, one for the end) wait for answers.
const REQUESTS_MAX: usize = 16;

/// LIMIT: tables that threads have let go of and that are not freed yet. A thread keeps what does not fit.
const RETURNED_MAX: usize = 64;

/// What a data plane is to do.
#[derive(Debug, Clone)]
pub(crate) struct PlaneSettings {
    /// Addresses on which gateways listen; none means all, IPv4 and IPv6.
    pub bind: Vec<IpAddr>,
    /// Port that the gateways' virtual hosts share; without it they are not served.
    pub virtual_hosts_port: Option<u16>,
    /// Threads that serve requests, at least 1.
    pub threads: usize,
    /// Proxies whose word on the client's address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether each client connection must begin with a PROXY header, and come from a trusted proxy.
    pub proxy_protocol: bool,
    /// Which addresses endpoints may have.
    pub targets: Targets,
    /// Time-outs and bounds.
    pub limits: Limits,
}

/// Why there is no data plane.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// The system gives no thread, or no descriptors for its event queue.
    #[error(
        "thread {thread} of the data path could not be started: raise the limits of processes and open files, or lower --threads"
    )]
    Thread {
        /// Which thread, from 0.
        thread: usize,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The system gives no thread for the tables.
    #[error("the thread that puts tables into service could not be started: raise the limit of processes")]
    Control {
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

/// The data plane of one process. Dropping it ends its connections where they are; [`DataPlane::drain`] lets them end.
#[derive(Debug)]
pub(crate) struct DataPlane {
    shared: Shared,
    requests: mpsc::Sender<Request>,
    degradations: watch::Receiver<Vec<Degradation>>,
    listeners: Arc<Listeners>,
    capacity: Capacity,
}

/// How many listening addresses there are; written by the control thread.
#[derive(Debug, Default)]
struct Listeners {
    bound: AtomicUsize,
    failing: AtomicUsize,
}

/// The life of a connection, by what the gateway of its port carries.
fn serve(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, seat: Rc<Seat>) -> impl Future<Output = ()> {
    let serving = worker.serving();
    match serving.carries(seat.listener().id()) {
        Some(gateway) => Either::Left(tcp::serve(worker, stream, peer, serving, gateway)),
        None => Either::Right(proxy::serve(worker, stream, peer, seat)),
    }
}

impl DataPlane {
    /// Starts the threads, with a table that has no gateway. `recorder` gets one record per request.
    pub(crate) fn start(settings: PlaneSettings, recorder: Arc<Recorder>) -> Result<Arc<Self>, PlaneError> {
        Self::start_with(settings, recorder, serve)
    }

    /// The same with the listening sockets of another process; it accepts from [`DataPlane::accept`] on.
    pub(crate) fn take_over(
        settings: PlaneSettings,
        recorder: Arc<Recorder>,
        sockets: Vec<TcpListener>,
    ) -> Result<Arc<Self>, PlaneError> {
        Self::launch(settings, recorder, serve, Some(sockets))
    }

    /// The same with another life of a connection.
    pub(crate) fn start_with<S, F>(
        settings: PlaneSettings,
        recorder: Arc<Recorder>,
        serve: S,
    ) -> Result<Arc<Self>, PlaneError>
    where
        S: Fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        Self::launch(settings, recorder, serve, None)
    }

    fn launch<S, F>(
        settings: PlaneSettings,
        recorder: Arc<Recorder>,
        serve: S,
        inherited: Option<Vec<TcpListener>>,
    ) -> Result<Arc<Self>, PlaneError>
    where
        S: Fn(Rc<Worker>, TcpStream, SocketAddr, Rc<Seat>) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let threads = settings.threads.max(1);
        let memory = Arc::new(Memory::new(settings.limits.memory_bytes_max));
        let capacity = descriptors::room_for(settings.limits.connections_max, &memory);
        let trusted_proxies: Arc<[IpNet]> = settings.trusted_proxies.into();
        let per_client_max = settings.limits.connections_per_client_max;
        let room = Room::new(capacity.connections, per_client_max, Arc::clone(&trusted_proxies), Arc::clone(&memory));
        let (returned, from_threads) = mpsc::channel(RETURNED_MAX);
        let shared = Shared {
            serving: Arc::new(ArcSwap::from_pointee(Serving::empty(settings.virtual_hosts_port, threads))),
            limits: Arc::new(settings.limits),
            trusted_proxies,
            proxy_protocol: settings.proxy_protocol,
            memory,
            last_descriptors: LastDescriptors::new(capacity.open_files),
            recorder,
            counters: (0..threads).map(|_| Arc::new(ThreadCounters::default())).collect(),
            returned,
        };
        let mut started = Vec::new();
        for (thread, neighbours) in listen::neighbours(threads).into_iter().enumerate() {
            let (to_thread, from_control) = mpsc::channel(COMMANDS_MAX);
            let (has_ended, when_ended) = oneshot::channel();
            let parts = Parts {
                thread,
                shared: shared.clone(),
                commands: from_control,
                room: Arc::clone(&room),
                neighbours,
                ended: has_ended,
            };
            listen::start(parts, serve.clone()).map_err(|cause| PlaneError::Thread { thread, cause })?;
            started.push((to_thread, when_ended));
        }
        let (requests, from_users) = mpsc::channel(REQUESTS_MAX);
        let (problems, degradations) = watch::channel(Vec::new());
        let listeners = Arc::new(Listeners::default());
        let mut control = Control::new(
            &settings.bind,
            settings.virtual_hosts_port,
            settings.targets,
            shared.clone(),
            started,
            problems,
            Arc::clone(&listeners),
        );
        if let Some(sockets) = inherited {
            control.inherit(sockets);
        }
        control.start(from_users, from_threads).map_err(|cause| PlaneError::Control { cause })?;
        Ok(Arc::new(Self { shared, requests, degradations, listeners, capacity }))
    }

    /// Puts a table into service, and says what does not work about it: ports that can't be bound, which are tried
    /// again until they can. Tables are put into service one after the other. After [`DataPlane::drain`] it does nothing.
    pub(crate) async fn apply(&self, table: CompiledTable) -> Vec<Degradation> {
        let (applied, answer) = oneshot::channel();
        if self.requests.send(Request::Apply { table: Box::new(table), applied }).await.is_ok()
            && let Ok(degradations) = answer.await
        {
            return degradations;
        }
        self.degradations.borrow().clone()
    }

    /// Compiles a table beside the one in service, taking over what has not changed.
    #[cfg(test)]
    pub(crate) fn compile(
        &self,
        table: &vamp_routing::wire::Table,
    ) -> Result<CompiledTable, Vec<vamp_routing::Problem>> {
        CompiledTable::compile(table, Some(&self.serving().table))
    }

    /// The table in service, with its accounts.
    pub(crate) fn serving(&self) -> Arc<Serving> {
        self.shared.serving.load_full()
    }

    /// What does not work about the table in service, as it comes and goes.
    pub(crate) fn degradations(&self) -> watch::Receiver<Vec<Degradation>> {
        self.degradations.clone()
    }

    /// What was counted up to now.
    pub(crate) fn counters(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            routes: self.serving().route_snapshots(),
            listeners_bound: self.listeners.bound.load(Ordering::Relaxed),
            listeners_failing: self.listeners.failing.load(Ordering::Relaxed),
            capacity: Some(self.capacity),
            resident_bytes: memory::resident_bytes(),
            ..Snapshot::default()
        };
        for thread in self.shared.counters.iter() {
            snapshot.clients += thread.clients.get();
            snapshot.clients_opened += thread.clients_opened.get();
            snapshot.upstreams += thread.upstreams.get();
            snapshot.upstreams_opened += thread.upstreams_opened.get();
            snapshot.accept_pauses += thread.accept_pauses.get();
            thread.refused.iter().zip(&mut snapshot.refused).for_each(|(count, sum)| *sum += count.get());
            snapshot.sent_off += thread.sent_off.get();
            snapshot.stall_ns_max = snapshot.stall_ns_max.max(thread.stall_ns_max.get());
        }
        snapshot
    }

    /// What was counted of each split since its shares last changed.
    pub(crate) fn split_counts(&self) -> Vec<GatewayCounts> {
        self.serving().split_counts()
    }

    /// What the table would decide about such a request at a gateway's entry, and why. Takes no ticket. `None`: there
    /// is no such gateway.
    pub(crate) fn explain(&self, gateway: &str, head: &PlainHead) -> Option<Explanation> {
        let serving = self.serving();
        let entry = Entry::Gateway(serving.table.find(gateway)?);
        let mut tickets = serving.peek();
        Some(serving.table.explain(entry, head, &mut tickets))
    }

    /// A second descriptor of every listening socket, for another process. Sockets stay as they are until
    /// [`DataPlane::keep`] or [`DataPlane::hand_over`].
    pub(crate) async fn share(&self) -> io::Result<Vec<OwnedFd>> {
        let (shared, answer) = oneshot::channel();
        let ended = || io::Error::other("the thread that puts tables into service has ended");
        self.requests.send(Request::Share { shared }).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Goes on after [`DataPlane::share`].
    pub(crate) async fn keep(&self) {
        drop(self.requests.send(Request::Keep).await);
    }

    /// Accepts from now on, after a start with the sockets of another process; returns when it does.
    pub(crate) async fn accept(&self) {
        let (accepting, when_accepting) = oneshot::channel();
        if self.requests.send(Request::Accept { accepting }).await.is_ok() {
            drop(when_accepting.await);
        }
    }

    /// Leaves accepting to another process, which has all sockets. A connection ends with the request under way or the
    /// next one; one that gets none ends when three quarters of the drain time-out are over; what has not ended within
    /// it is cut. Returns when all threads have ended. [`DataPlane::drain`] hurries it.
    pub(crate) async fn hand_over(&self) {
        let (ended, when_ended) = oneshot::channel();
        if self.requests.send(Request::HandOver { ended }).await.is_ok() {
            drop(when_ended.await);
        }
    }

    /// Client connections that are open.
    pub(crate) fn connections(&self) -> u64 {
        self.shared.counters.iter().map(|thread| thread.clients.get()).sum()
    }

    /// Stops accepting, lets connections end after the request under way, and cuts what has not ended within the drain
    /// time-out. Returns when all threads have ended.
    pub(crate) async fn drain(&self) {
        let (drained, when_drained) = oneshot::channel();
        if self.requests.send(Request::Drain { drained }).await.is_ok() {
            drop(when_drained.await);
        }
    }
}
