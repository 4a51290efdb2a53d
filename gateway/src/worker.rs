//! What the connections of one thread share.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use arc_swap::cache::Cache;
use ipnet::IpNet;
use vamp_record::Record;
use vamp_routing::{Entry, Head, Verdict};

use crate::counters::ThreadCounters;
use crate::limits::Limits;
use crate::serving::{Place, Serving};
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
    /// Unused connections to endpoints.
    pub(crate) pools: Pools,
    /// What this thread counts of connections.
    pub(crate) counters: Arc<ThreadCounters>,
    recorder: Arc<Recorder>,
    newest: RefCell<Newest>,
}

/// The newest table that this thread saw.
#[derive(Debug)]
struct Newest {
    cache: Cache<Arc<ArcSwap<Serving>>, Arc<Serving>>,
    served: Served,
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
    /// Takes the records.
    pub(crate) recorder: Arc<Recorder>,
    /// What each thread counts of connections.
    pub(crate) counters: Arc<[Arc<ThreadCounters>]>,
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
            pools: Pools::new(shared.limits.idle_upstream_max, shared.limits.idle_upstream_total_max),
            counters: shared.counters.get(thread).cloned().unwrap_or_default(),
            recorder: Arc::clone(&shared.recorder),
            newest: RefCell::new(Newest { cache, served }),
        })
    }

    /// The newest table. Called once per request, which keeps what it got to its end; nothing else may keep it.
    pub(crate) fn serving(&self) -> Served {
        let Newest { cache, served } = &mut *self.newest.borrow_mut();
        let newest = cache.load();
        if !Arc::ptr_eq(newest, &served.0) {
            *served = Served(Rc::new(Arc::clone(newest)));
        }
        served.clone()
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

    /// The wall clock, nanoseconds since 1970 (UTC).
    #[expect(clippy::unused_self, reason = "the worker is where the engine gets its clock")]
    pub(crate) fn unix_ns(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}
