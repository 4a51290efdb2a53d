//! What the connections of one thread share.

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use ipnet::IpNet;
use tokio::sync::mpsc;
use vamp_record::Record;
use vamp_routing::{Entry, Head, Verdict};

use crate::counters::ThreadCounters;
use crate::limits::Limits;
use crate::memory::Memory;
use crate::plane::LastDescriptors;
use crate::serving::{Place, Serving, Tally};
use crate::ship::Recorder;
use crate::upstream::Pools;

/// What the connections of one thread share. It never leaves its thread.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Number of the thread, from 0.
    pub(crate) thread: usize,
    /// Time-outs and bounds.
    pub(crate) limits: Arc<Limits>,
    /// Peers whose word on the client's address is taken.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// Whether each client connection begins with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// The memory of the process.
    pub(crate) memory: Arc<Memory>,
    /// The descriptors that no connection keeps.
    pub(crate) last_descriptors: LastDescriptors,
    /// Unused connections to endpoints.
    pub(crate) pools: Pools,
    /// What this thread counts of connections.
    pub(crate) counters: Arc<ThreadCounters>,
    recorder: Arc<Recorder>,
    newest: RefCell<Newest>,
    clock: Cell<Clock>,
}

/// The wall clock at one moment of the steady one, so that a request asks only one of them.
#[derive(Debug, Clone, Copy)]
struct Clock {
    at: Instant,
    unix_ns: u64,
}

impl Clock {
    fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), unix_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) }
    }
}

/// The newest table that this thread saw.
#[derive(Debug)]
struct Newest {
    cache: Cache<Arc<ArcSwap<Serving>>, Arc<Serving>>,
    served: Served,
    /// Those before it that requests may still use. They are never freed here: that takes milliseconds.
    replaced: Vec<Served>,
    /// To whom they go when none does.
    returned: mpsc::Sender<Arc<Serving>>,
}

impl Newest {
    /// Lets go of the tables that no request of this thread uses any more. What does not fit stays for the next time.
    fn give_back(&mut self) {
        let mut index = 0;
        while let Some(Served(table)) = self.replaced.get(index) {
            if Rc::strong_count(table) > 1 {
                index += 1;
                continue;
            }
            let Ok(place) = self.returned.try_reserve() else { return };
            if let Some(table) = Rc::into_inner(self.replaced.swap_remove(index).0) {
                place.send(table);
            }
        }
    }
}

/// The table that serves one request from its first byte to its last. A clone touches no other thread.
#[derive(Debug, Clone)]
#[expect(clippy::redundant_allocation, reason = "the outer count is this thread's own, the inner one is shared")]
pub(crate) struct Served(Rc<Arc<Serving>>);

impl Deref for Served {
    type Target = Serving;

    fn deref(&self) -> &Serving {
        &self.0
    }
}

/// What all threads share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    /// The table in service.
    pub(crate) serving: Arc<ArcSwap<Serving>>,
    /// Time-outs and bounds.
    pub(crate) limits: Arc<Limits>,
    /// Peers whose word on the client's address is taken.
    pub(crate) trusted_proxies: Arc<[IpNet]>,
    /// Whether each client connection begins with a PROXY header.
    pub(crate) proxy_protocol: bool,
    /// The memory of the process.
    pub(crate) memory: Arc<Memory>,
    /// The descriptors that no connection keeps.
    pub(crate) last_descriptors: LastDescriptors,
    /// Takes the records.
    pub(crate) recorder: Arc<Recorder>,
    /// What each thread counts of connections.
    pub(crate) counters: Arc<[Arc<ThreadCounters>]>,
    /// Takes the tables that a thread no longer uses.
    pub(crate) returned: mpsc::Sender<Arc<Serving>>,
}

impl Worker {
    /// The worker of one thread.
    pub(crate) fn new(thread: usize, shared: &Shared) -> Rc<Self> {
        let mut cache = Cache::new(Arc::clone(&shared.serving));
        let served = Served(Rc::new(Arc::clone(cache.load())));
        Rc::new(Self {
            thread,
            limits: Arc::clone(&shared.limits),
            trusted_proxies: Arc::clone(&shared.trusted_proxies),
            proxy_protocol: shared.proxy_protocol,
            memory: Arc::clone(&shared.memory),
            last_descriptors: shared.last_descriptors,
            pools: Pools::new(shared.limits.idle_upstream_max, shared.limits.idle_upstream_total_max),
            counters: shared.counters.get(thread).cloned().unwrap_or_default(),
            recorder: Arc::clone(&shared.recorder),
            newest: RefCell::new(Newest { cache, served, replaced: Vec::new(), returned: shared.returned.clone() }),
            clock: Cell::new(Clock::now()),
        })
    }

    /// The newest table. Called once per request, which keeps what it got to its end; nothing else may keep it.
    pub(crate) fn serving(&self) -> Served {
        let newest = &mut *self.newest.borrow_mut();
        let table = newest.cache.load();
        if !Arc::ptr_eq(table, &newest.served.0) {
            let began = Instant::now();
            let next = Served(Rc::new(Arc::clone(table)));
            newest.replaced.push(std::mem::replace(&mut newest.served, next));
            newest.give_back();
            self.counters.stalled(began.elapsed());
        }
        newest.served.clone()
    }

    /// Lets go of tables that were replaced, even if no request comes. Called about once a second.
    pub(crate) fn let_go(&self) {
        drop(self.serving());
        self.newest.borrow_mut().give_back();
    }

    /// Decides one request, takes the tickets that it needs, and counts what came of them.
    pub(crate) fn decide<H: Head>(&self, serving: &Serving, entry: Entry, head: &H) -> Verdict {
        serving.decide(self.thread, entry, head)
    }

    /// Counts one ended request and passes its record on. Called once per request, whatever became of it.
    pub(crate) fn finish(&self, serving: &Serving, place: Place<'_>, record: Record) {
        serving.count(self.thread, place, &record);
        self.recorder.push(self.thread, record);
    }

    /// The same for a connection, of whose table only the tally is left.
    pub(crate) fn finish_connection(&self, tally: &Tally, record: Record) {
        tally.count(self.thread, &record);
        self.recorder.push(self.thread, record);
    }

    /// The wall clock at a moment not long ago, nanoseconds since 1970 (UTC).
    pub(crate) fn unix_ns(&self, at: Instant) -> u64 {
        let clock = self.clock.get();
        let since = at.saturating_duration_since(clock.at);
        clock.unix_ns.saturating_add(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Looks at the wall clock: it may have been set. Called about once a second.
    pub(crate) fn set_clock(&self) {
        self.clock.set(Clock::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker, what it shares, and where the tables come back that it has used up; `room` of them.
    fn worker(room: usize) -> (Rc<Worker>, Shared, mpsc::Receiver<Arc<Serving>>) {
        let (returned, from_threads) = mpsc::channel(room);
        let shared = Shared {
            last_descriptors: LastDescriptors::NONE,
            serving: Arc::new(ArcSwap::from_pointee(Serving::empty(None, 1))),
            limits: Arc::default(),
            trusted_proxies: [].into(),
            proxy_protocol: false,
            memory: Arc::new(Memory::new(None)),
            recorder: Recorder::counting(1),
            counters: [Arc::default()].into(),
            returned,
        };
        (Worker::new(0, &shared), shared, from_threads)
    }

    /// Puts another table into service.
    fn swap(shared: &Shared) {
        drop(shared.serving.swap(Arc::new(Serving::empty(None, 1))));
    }

    #[test]
    fn a_table_is_given_back_when_the_last_request_on_it_has_ended_and_never_freed_by_its_thread() {
        let (worker, shared, mut returned) = worker(1);
        let request = worker.serving();
        let first = Arc::downgrade(&request.0);
        swap(&shared);
        drop(worker.serving());
        assert!(returned.try_recv().is_err(), "a request is still on it");
        drop(request);
        worker.let_go();
        let back = returned.try_recv().unwrap();
        assert_eq!((first.strong_count(), Arc::as_ptr(&back)), (1, first.as_ptr()), "nothing else holds it");
        assert!(worker.counters.stall_ns_max.get() > 0);
    }

    #[test]
    fn what_nobody_takes_back_is_kept() {
        let (worker, shared, mut returned) = worker(1);
        let mut tables = Vec::new();
        for _ in 0..10 {
            tables.push(Arc::downgrade(&worker.serving().0));
            swap(&shared);
        }
        worker.let_go();
        assert!(tables.iter().all(|table| table.strong_count() == 1));
        for _ in 0..10 {
            drop(returned.try_recv().unwrap());
            worker.let_go();
        }
        assert!(tables.iter().all(|table| table.strong_count() == 0));
    }
}
