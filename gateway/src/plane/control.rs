//! The thread that puts tables into service, one after the other, and does what takes time beside them: binding ports
//! again, resolving names again, freeing tables that were replaced.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
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
use super::ports::{Owner, Ports};
use crate::listen::{BindAddress, Command, Retire, Socket};
use crate::serving::{ListenerId, Serving};
use crate::upstream::{Endpoint, RESOLVE_EVERY, Registry, resolve};
use crate::worker::Shared;

/// How often replaced tables are looked after and names without an address are resolved again.
const TICK: Duration = Duration::from_secs(1);

/// Ticks between two lookups of names that have no address.
const RETRY_TICKS: u64 = 5;

/// LIMIT: a new table waits this long for the addresses of names that it brings. Most resolvers answer in
/// milliseconds; a name that takes longer gets requests as soon as it resolves.
const FIRST_LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// LIMIT: replaced tables that are kept here until no request uses them, so that they are freed here. More are freed
/// by the thread that used them last.
const REPLACED_MAX: usize = 64;

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
    /// End the threads in good order.
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
    registry: Registry,
    replaced: Vec<Arc<Serving>>,
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
        let (replaced, refreshing, retrying) = (Vec::new(), Lookups::default(), Lookups::default());
        Self {
            virtual_hosts_port,
            shared,
            threads,
            ended,
            problems,
            listeners,
            ports,
            registry,
            replaced,
            refreshing,
            retrying,
        }
    }

    /// Starts the thread, with the ports bound that need no table. It ends after a drain, or when nobody can ask it any
    /// more.
    pub(super) fn start(mut self, requests: mpsc::Receiver<Request>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let opened = self.ports.want(owners(&CompiledTable::default(), self.virtual_hosts_port), Instant::now());
        std::thread::Builder::new().name("tables".to_owned()).spawn(move || {
            runtime.block_on(async {
                self.open(opened).await;
                self.publish();
                self.run(requests).await;
            });
            // A lookup that hangs must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(())
    }

    async fn run(&mut self, mut requests: mpsc::Receiver<Request>) {
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
                    Some(Request::Drain { drained }) => {
                        self.drain().await;
                        drop(drained);
                        return;
                    }
                    None => return,
                },
                _ = ticks.tick() => {
                    tick += 1;
                    self.tidy(tick);
                }
                () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {
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
        let opened = self.ports.want(owners(&table, self.virtual_hosts_port), Instant::now());
        let serving = self.shared.serving.load_full().follow(table, &mut self.registry, self.threads.len());
        let first_lookup = tokio::spawn(resolve(self.registry.take_new_names(), Arc::clone(self.registry.targets())));
        drop(tokio::time::timeout(FIRST_LOOKUP_TIMEOUT, first_lookup).await);
        self.replaced.push(self.shared.serving.swap(Arc::new(serving)));
        self.open(opened).await;
        self.retire().await;
        self.publish();
        let problems = self.problems.borrow().clone();
        info!(revision = %generation, problems = problems.len(), "table {generation} is in service");
        problems
    }

    /// Hands new sockets to their threads. Connections wait in them since they were bound.
    async fn open(&mut self, opened: Vec<(u16, Vec<std::net::TcpListener>)>) {
        let mut per_thread: Vec<Vec<Socket>> = self.threads.iter().map(|_| Vec::new()).collect();
        for (port, sockets) in opened {
            for (thread, socket) in per_thread.iter_mut().zip(sockets) {
                thread.push(Socket { id: ListenerId(port), socket });
            }
        }
        for (thread, sockets) in self.threads.iter().zip(per_thread) {
            if !sockets.is_empty() && thread.send(Command::Open(sockets)).await.is_err() {
                warn!("a thread of the data path has ended: restart this process");
            }
        }
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
        let before = self.replaced.len();
        self.replaced.retain(|serving| Arc::strong_count(serving) > 1);
        let surplus = self.replaced.len().saturating_sub(REPLACED_MAX);
        self.replaced.drain(..surplus);
        if self.replaced.len() < before {
            self.registry.forget_unused();
        }
        if tick.is_multiple_of(RESOLVE_EVERY.as_secs() / TICK.as_secs()) {
            self.refreshing.start(self.registry.targets(), || self.registry.named(Endpoint::is_resolved));
        }
        if tick.is_multiple_of(RETRY_TICKS) {
            self.retrying.start(self.registry.targets(), || self.registry.named(|endpoint| !endpoint.is_resolved()));
        }
    }

    async fn drain(&mut self) {
        for thread in &self.threads {
            // One that has ended already is drained.
            drop(thread.send(Command::Drain).await);
        }
        for ended in self.ended.drain(..) {
            // The thread drops its end when it ends.
            drop(ended.await);
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
