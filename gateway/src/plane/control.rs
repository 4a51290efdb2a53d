//! The thread that puts tables into service, one after the other, and does what takes time beside them: binding ports
//! again, resolving names again, freeing tables that were replaced.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{info, warn};
use vamp_routing::wire::Degradation;
use vamp_routing::{CompiledTable, Targets};

use super::Listeners;
use super::ports::{Opened, Owner, Ports};
use crate::listen::{BindAddress, Command, Retire, Socket};
use crate::serving::{ListenerId, Serving};
use crate::upstream::{Endpoint, RESOLVE_EVERY, Registry, resolve};
use crate::worker::Shared;

/// How often replaced tables are looked after and names without an address are resolved again.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two lookups of names that have no address.
const RETRY_TICKS: u64 = 5;

/// Ticks between two looks for endpoints that no table names any more: with 100,000 of them a look takes milliseconds,
/// which a new table waits for.
const FORGET_TICKS: u64 = 5;

/// LIMIT: a new table waits this long for the addresses of names that it brings. Most resolvers answer in
/// milliseconds; a name that takes longer gets requests as soon as it resolves.
const FIRST_LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// What the control thread is asked for.
#[derive(Debug)]
pub(super) enum Request {
    /// Put a table into service.
    Apply {
        /// The table.
        table: Box<CompiledTable>,
        /// Told what does not work about it.
        applied: oneshot::Sender<Vec<Degradation>>,
    },
    /// Tell the sockets, and leave them as they are until [`Request::Keep`] or [`Request::HandOver`].
    Share {
        /// Told a second descriptor of each.
        shared: oneshot::Sender<io::Result<Vec<OwnedFd>>>,
    },
    /// Go on after [`Request::Share`]: nobody took the sockets.
    Keep,
    /// Accept from now on, after a start with the sockets of another process.
    Accept {
        /// Told when all sockets are with their threads.
        accepting: oneshot::Sender<()>,
    },
    /// Another process accepts now: end the threads when their connections have ended.
    HandOver {
        /// Dropped when they have ended.
        ended: oneshot::Sender<()>,
    },
    /// End the threads in good order; also while a hand-over goes on.
    Drain {
        /// Dropped when they have ended.
        drained: oneshot::Sender<()>,
    },
}

/// The control thread's state.
#[derive(Debug)]
pub(super) struct Control {
    virtual_hosts_port: Option<u16>,
    shared: Shared,
    threads: Vec<mpsc::Sender<Command>>,
    ended: Vec<oneshot::Receiver<()>>,
    problems: watch::Sender<Vec<Degradation>>,
    listeners: Arc<Listeners>,
    ports: Ports,
    /// Sockets that wait for [`Request::Accept`], if it is to come.
    waiting: Option<Vec<Opened>>,
    /// Whether the sockets stay as they are.
    is_shared: bool,
    registry: Registry,
    /// Whether a table was freed since endpoints were last looked after.
    has_freed: bool,
    /// Names that have addresses, looked up again.
    refreshing: Lookups,
    /// Names that have none. Apart from the others, because they take longest.
    retrying: Lookups,
}

/// Lookups that run beside the rest, one round at a time.
#[derive(Debug, Default)]
struct Lookups(Option<JoinHandle<()>>);

impl Lookups {
    fn start(&mut self, targets: &Arc<Targets>, names: impl FnOnce() -> Vec<Arc<Endpoint>>) {
        if self.0.as_ref().is_none_or(JoinHandle::is_finished) {
            let names = names();
            self.0 = (!names.is_empty()).then(|| tokio::spawn(resolve(names, Arc::clone(targets))));
        }
    }
}

impl Control {
    pub(super) fn new(
        bind: &[IpAddr],
        virtual_hosts_port: Option<u16>,
        targets: Targets,
        shared: Shared,
        threads: Vec<(mpsc::Sender<Command>, oneshot::Receiver<()>)>,
        problems: watch::Sender<Vec<Degradation>>,
        listeners: Arc<Listeners>,
    ) -> Self {
        let (threads, ended): (Vec<_>, Vec<_>) = threads.into_iter().unzip();
        let ports = Ports::new(BindAddress::of(bind), threads.len());
        let registry = Registry::new(targets);
        let (refreshing, retrying) = (Lookups::default(), Lookups::default());
        Self {
            virtual_hosts_port,
            shared,
            threads,
            ended,
            problems,
            listeners,
            ports,
            waiting: None,
            is_shared: false,
            registry,
            has_freed: false,
            refreshing,
            retrying,
        }
    }

    /// Takes the sockets of another process, on which it accepts from [`Request::Accept`] on.
    pub(super) fn inherit(&mut self, sockets: Vec<TcpListener>) {
        self.ports.inherit(sockets);
        self.waiting = Some(Vec::new());
    }

    /// Starts the thread, with the ports bound that need no table. It ends after a drain, or when nobody can ask it any
    /// more. `returned` are tables that the other threads have used up: to free one takes milliseconds, which no request
    /// is to wait for.
    pub(super) fn start(
        mut self,
        requests: mpsc::Receiver<Request>,
        returned: mpsc::Receiver<Arc<Serving>>,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let opened = self.ports.want(owners(&CompiledTable::default(), self.virtual_hosts_port), Instant::now());
        std::thread::Builder::new().name("tables".to_owned()).spawn(move || {
            runtime.block_on(async {
                self.open(opened).await;
                self.publish();
                self.run(requests, returned).await;
            });
            // A lookup that hangs must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(())
    }

    async fn run(&mut self, mut requests: mpsc::Receiver<Request>, mut returned: mpsc::Receiver<Arc<Serving>>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tick: u64 = 0;
        loop {
            let retry_at = self.ports.retry_at();
            tokio::select! {
                request = requests.recv() => match request {
                    Some(Request::Apply { table, applied }) => {
                        let degradations = self.apply(*table).await;
                        // Who asked may have left: the table is in service all the same.
                        drop(applied.send(degradations));
                    }
                    Some(Request::Share { shared }) => {
                        self.is_shared = true;
                        drop(shared.send(self.share().await));
                    }
                    Some(Request::Keep) => self.is_shared = false,
                    Some(Request::Accept { accepting }) => {
                        self.accept().await;
                        drop(accepting);
                    }
                    Some(Request::HandOver { ended }) => {
                        self.tell(|| Command::HandOver).await;
                        return self.end(ended, requests).await;
                    }
                    Some(Request::Drain { drained }) => {
                        self.tell(|| Command::Drain).await;
                        return self.end(drained, requests).await;
                    }
                    None => return,
                },
                Some(serving) = returned.recv() => {
                    drop(serving);
                    self.has_freed = true;
                }
                _ = ticks.tick() => {
                    tick += 1;
                    self.tidy(tick);
                }
                () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() && !self.is_shared => {
                    let opened = self.ports.bind_due(Instant::now());
                    self.open(opened).await;
                    self.publish();
                }
            }
        }
    }

    /// Binds what is new, swaps, then closes what is gone.
    async fn apply(&mut self, table: CompiledTable) -> Vec<Degradation> {
        let generation = table.generation();
        let before = self.shared.serving.load_full();
        let opened = if table.is_found_like(&before.table) {
            self.ports.want_again(Instant::now())
        } else {
            self.ports.want(owners(&table, self.virtual_hosts_port), Instant::now())
        };
        let serving = before.follow(table, &mut self.registry, self.threads.len());
        drop(before);
        let first_lookup = tokio::spawn(resolve(self.registry.take_new_names(), Arc::clone(self.registry.targets())));
        drop(tokio::time::timeout(FIRST_LOOKUP_TIMEOUT, first_lookup).await);
        // The threads that use it return it; one that nobody uses is freed here.
        drop(self.shared.serving.swap(Arc::new(serving)));
        self.open(opened).await;
        self.retire().await;
        self.publish();
        let problems = self.problems.borrow().clone();
        info!(revision = %generation, problems = problems.len(), "table {generation} is in service");
        problems
    }

    /// Hands new sockets to their threads. Connections wait in them since they were bound.
    async fn open(&mut self, opened: Vec<Opened>) {
        match &mut self.waiting {
            Some(waiting) => waiting.extend(opened),
            None => self.spread(opened, Command::Open).await,
        }
    }

    async fn spread(&self, opened: Vec<Opened>, command: fn(Vec<Socket>) -> Command) {
        let mut per_thread: Vec<Vec<Socket>> = self.threads.iter().map(|_| Vec::new()).collect();
        for Opened { port, sockets, first_thread } in opened {
            for (number, socket) in (first_thread..).zip(sockets) {
                if let Some(thread) = per_thread.get_mut(number % self.threads.len().max(1)) {
                    thread.push(Socket { id: ListenerId(port), socket });
                }
            }
        }
        for (thread, sockets) in self.threads.iter().zip(per_thread) {
            if !sockets.is_empty() && thread.send(command(sockets)).await.is_err() {
                warn!("a thread of the data path has ended: restart this process");
            }
        }
    }

    /// Accepts on the sockets of the process before, and on what it had not.
    async fn accept(&mut self) {
        let inherited = self.waiting.take().unwrap_or_default();
        let (opened, unwanted) = self.ports.go_on(Instant::now());
        self.spread(inherited, Command::Open).await;
        self.spread(opened, Command::Open).await;
        self.spread(unwanted, Command::Empty).await;
        self.publish();
    }

    /// A second descriptor of every listening socket.
    async fn share(&self) -> io::Result<Vec<OwnedFd>> {
        let mut all = Vec::new();
        for thread in &self.threads {
            let (shared, from_thread) = oneshot::channel();
            drop(thread.send(Command::Share(shared)).await);
            all.extend(from_thread.await.map_err(|_| io::Error::other("a thread of the data path has ended"))??);
        }
        Ok(all)
    }

    /// Closes the sockets of ports that no gateway has now. It waits until they are closed, so that the port can come
    /// back with the next table; their connections end in their own time.
    async fn retire(&mut self) {
        let gone: Vec<_> = self.ports.take_gone().into_iter().map(ListenerId).collect();
        if gone.is_empty() {
            return;
        }
        let mut closing = Vec::new();
        for thread in &self.threads {
            let (closed, when_closed) = oneshot::channel();
            if thread.send(Command::Retire(Retire { ids: gone.clone(), closed })).await.is_ok() {
                closing.push(when_closed);
            }
        }
        for closed in closing {
            // The thread drops its end when the sockets are closed.
            drop(closed.await);
        }
    }

    fn publish(&self) {
        let degradations = self.ports.degradations();
        self.listeners.bound.store(self.ports.bound(), Ordering::Relaxed);
        self.listeners.failing.store(degradations.len(), Ordering::Relaxed);
        self.problems.send_if_modified(|published| {
            let changed = *published != degradations;
            if changed {
                *published = degradations;
            }
            changed
        });
    }

    fn tidy(&mut self, tick: u64) {
        if tick.is_multiple_of(FORGET_TICKS) && std::mem::take(&mut self.has_freed) {
            self.registry.forget_unused();
        }
        if tick.is_multiple_of(RESOLVE_EVERY.as_secs() / TICK.as_secs()) {
            self.refreshing.start(self.registry.targets(), || self.registry.named(Endpoint::is_resolved));
        }
        if tick.is_multiple_of(RETRY_TICKS) {
            self.retrying.start(self.registry.targets(), || self.registry.named(|endpoint| !endpoint.is_resolved()));
        }
    }

    async fn tell(&self, command: fn() -> Command) {
        for thread in &self.threads {
            // One that has ended already needs no telling.
            drop(thread.send(command()).await);
        }
    }

    /// Waits until the threads have ended; a drain that is asked for meanwhile hurries them.
    async fn end(&mut self, ended: oneshot::Sender<()>, mut requests: mpsc::Receiver<Request>) {
        let threads = std::mem::take(&mut self.ended);
        let all_ended = async move {
            for thread in threads {
                // The thread drops its end when it ends.
                drop(thread.await);
            }
            drop(ended);
        };
        let mut all_ended = std::pin::pin!(all_ended);
        let mut waiting = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = &mut all_ended => return,
                request = requests.recv() => match request {
                    Some(Request::Drain { drained }) => {
                        self.tell(|| Command::Drain).await;
                        // Dropped with the others, when the threads have ended.
                        waiting.push(drained);
                    }
                    // Who is told to stop while it hands over may hear of both, in either order.
                    Some(Request::HandOver { ended }) => waiting.push(ended),
                    Some(_) => {}
                    None => return,
                },
            }
        }
    }
}

/// Who wants which port.
fn owners(table: &CompiledTable, virtual_hosts_port: Option<u16>) -> BTreeMap<u16, Vec<Owner>> {
    let mut owners: BTreeMap<u16, Vec<Owner>> = BTreeMap::new();
    if let Some(port) = virtual_hosts_port {
        owners.entry(port).or_default().push(Owner::VirtualHosts);
    }
    for gateway in table.gateways() {
        if let Some(port) = gateway.wire.port {
            owners.entry(port).or_default().push(Owner::Gateway(gateway.wire.name.clone()));
        }
    }
    owners
}
