//! The parts of the machine that go on beside each other. Each has at most one request under way, and says when it is
//! to be driven again.

use std::time::Duration;

use rand::rngs::StdRng;
use vamp_routing::wire::Registration;
use vamp_store::{Lease, Position};

use super::backoff::Backoff;
use super::machine::{Action, LeaseFault, TableId};

/// The time to live of the lease under which a gateway registers: after it, a gateway that is gone is known to be gone.
pub(crate) const LEASE: Duration = Duration::from_secs(10);

// A lease survives two keep-alives that are lost.
const KEEP_ALIVE: Duration = Duration::from_secs(3);
// A registration that somebody deleted, or that a late request overwrote, is put right within this time.
const REGISTER_AGAIN: Duration = Duration::from_mins(1);
// A watch that died without a word, or lost an event, is noticed within this time (give or take a fifth).
const CHECK: Duration = Duration::from_secs(12);
// After an outage the newest table is to be live within 2 s: no wait is longer than that leaves room for.
const STORE_WAIT_FIRST: Duration = Duration::from_millis(100);
const STORE_WAIT_MOST: Duration = Duration::from_millis(1500);
const DISK_WAIT_FIRST: Duration = Duration::from_secs(1);
const DISK_WAIT_MOST: Duration = Duration::from_secs(30);
// A write to disk that takes longer no longer holds back the acknowledgement.
const DISK_PATIENCE: Duration = Duration::from_secs(1);

pub(crate) fn store_backoff() -> Backoff {
    Backoff::new(STORE_WAIT_FIRST, STORE_WAIT_MOST)
}

/// Follows what stands at the manifest's key: by a watch, and by a look now and then that proves the watch.
#[derive(Debug)]
pub(crate) struct Look {
    is_listing: bool,
    /// Whether the watch spoke since the list was asked for, which makes the list's answer old.
    has_heard: bool,
    is_watching: bool,
    next: Duration,
    backoff: Backoff,
}

/// What to do with the answer of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is what the store has.
    Newest,
    /// The watch said something newer meanwhile.
    Overtaken,
}

impl Look {
    pub(crate) fn new(now: Duration) -> Self {
        Self { is_listing: false, has_heard: false, is_watching: false, next: now, backoff: store_backoff() }
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        (!self.is_listing).then_some(self.next)
    }

    pub(crate) fn drive(&mut self, now: Duration) -> Option<Action> {
        if self.is_listing || now < self.next {
            return None;
        }
        self.is_listing = true;
        self.has_heard = false;
        Some(Action::List)
    }

    /// The list was answered.
    pub(crate) fn listed(&mut self, now: Duration, dice: &mut StdRng) -> Answer {
        self.is_listing = false;
        if self.has_heard {
            // Without a watch there is nothing that would tell what came after.
            self.next = if self.is_watching { now + jitter(CHECK, dice) } else { now };
            return Answer::Overtaken;
        }
        self.next = now + jitter(CHECK, dice);
        Answer::Newest
    }

    /// Whether a watch is to be opened after a list that [`Answer::Newest`] came of; `is_news` when the list says what
    /// the watch should have said.
    pub(crate) fn rewatch(&mut self, after: Position, is_news: bool) -> Option<Action> {
        if self.is_watching && !is_news {
            self.backoff.succeed();
            return None;
        }
        self.is_watching = true;
        Some(Action::Watch { after })
    }

    pub(crate) fn list_failed(&mut self, now: Duration, dice: &mut StdRng) {
        self.is_listing = false;
        self.next = now + self.backoff.fail(dice);
    }

    /// The watch spoke.
    pub(crate) fn heard(&mut self) {
        self.has_heard = true;
        self.backoff.succeed();
    }

    /// The watch ended. Instead of resuming it the key is read again: that is one small value, and right also when the
    /// store was replaced by an old copy of itself that has grown past our position.
    pub(crate) fn watch_ended(&mut self, now: Duration, dice: &mut StdRng) {
        self.is_watching = false;
        self.next = now + self.backoff.fail(dice);
    }
}

fn jitter(time: Duration, dice: &mut StdRng) -> Duration {
    use rand::RngExt as _;
    time.mul_f64(dice.random_range(0.8..=1.2))
}

/// Keeps the served table on disk.
#[derive(Debug)]
pub(crate) struct Keep {
    kept: Option<TableId>,
    writing: Option<TableId>,
    since: Duration,
    retry_at: Duration,
    backoff: Backoff,
    problem: Option<String>,
}

impl Keep {
    /// `kept` is what was found on disk; with a problem it is written again, which heals it.
    pub(crate) fn new(kept: Option<TableId>, problem: Option<String>) -> Self {
        let kept = kept.filter(|_| problem.is_none());
        let backoff = Backoff::new(DISK_WAIT_FIRST, DISK_WAIT_MOST);
        Self { kept, writing: None, since: Duration::ZERO, retry_at: Duration::ZERO, backoff, problem }
    }

    pub(crate) fn kept(&self) -> Option<TableId> {
        self.kept
    }

    /// Why a restart without the store would not serve the served table.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    pub(crate) fn due(&self, served: Option<TableId>) -> Option<Duration> {
        if self.writing.is_some() {
            return self.problem.is_none().then_some(self.since + DISK_PATIENCE);
        }
        (served.is_some() && served != self.kept).then_some(self.retry_at)
    }

    pub(crate) fn drive(&mut self, now: Duration, served: Option<TableId>) -> Option<Action> {
        if self.writing.is_some() {
            if self.problem.is_none() && now >= self.since + DISK_PATIENCE {
                self.problem = Some("the disk did not take it within a second".to_owned());
            }
            return None;
        }
        let served = served.filter(|served| Some(*served) != self.kept && now >= self.retry_at)?;
        self.writing = Some(served);
        self.since = now;
        Some(Action::Keep)
    }

    /// The write ended well; what is on disk now. A problem is over when that is what is served: it may have been
    /// acknowledged with it.
    pub(crate) fn written(&mut self, served: Option<TableId>) -> Option<TableId> {
        self.kept = self.writing.take();
        if self.kept == served {
            self.problem = None;
        }
        self.backoff.succeed();
        self.kept
    }

    pub(crate) fn failed(&mut self, now: Duration, reason: String, dice: &mut StdRng) {
        self.writing = None;
        self.problem = Some(reason);
        self.retry_at = now + self.backoff.fail(dice);
    }
}

/// Holds the lease, and the registration under it.
#[derive(Debug)]
pub(crate) struct Holding {
    lease: Option<Lease>,
    is_asking: bool,
    lease_next: Duration,
    lease_backoff: Backoff,
    registering: Option<Registration>,
    registered: Option<Registration>,
    register_next: Duration,
    register_again: Duration,
    register_backoff: Backoff,
}

impl Holding {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            lease: None,
            is_asking: false,
            lease_next: now,
            lease_backoff: store_backoff(),
            registering: None,
            registered: None,
            register_next: now,
            register_again: now,
            register_backoff: store_backoff(),
        }
    }

    pub(crate) fn lease(&self) -> Option<Lease> {
        self.lease
    }

    /// What the store was last known to hold of us.
    pub(crate) fn registered(&self) -> Option<&Registration> {
        self.registered.as_ref()
    }

    pub(crate) fn due(&self, wanted: &Registration) -> Option<Duration> {
        let lease = (!self.is_asking).then_some(self.lease_next);
        [lease, self.registration_due(wanted)].into_iter().flatten().min()
    }

    fn registration_due(&self, wanted: &Registration) -> Option<Duration> {
        if self.lease.is_none() || self.registering.is_some() {
            return None;
        }
        let is_known = self.registered.as_ref() == Some(wanted);
        Some(if is_known { self.register_again } else { self.register_next })
    }

    pub(crate) fn drive(&mut self, now: Duration, wanted: Registration) -> [Option<Action>; 2] {
        let mut lease_action = None;
        if !self.is_asking && now >= self.lease_next {
            self.is_asking = true;
            lease_action = Some(self.lease.map_or(Action::Grant, Action::KeepAlive));
        }
        let is_due = self.registration_due(&wanted).is_some_and(|due| now >= due);
        let Some(lease) = self.lease.filter(|_| is_due) else { return [lease_action, None] };
        self.registering = Some(wanted.clone());
        [lease_action, Some(Action::Register(lease, Box::new(wanted)))]
    }

    pub(crate) fn granted(&mut self, now: Duration, answer: Result<Lease, LeaseFault>, dice: &mut StdRng) {
        self.is_asking = false;
        if let Ok(lease) = answer {
            self.lease = Some(lease);
            self.registered = None;
            self.lease_next = now + KEEP_ALIVE;
        } else {
            self.lease_next = now + self.lease_backoff.fail(dice);
        }
    }

    pub(crate) fn kept_alive(
        &mut self,
        now: Duration,
        lease: Lease,
        answer: Result<(), LeaseFault>,
        dice: &mut StdRng,
    ) {
        self.is_asking = false;
        match answer {
            // About a lease that a registration found ended meanwhile.
            _ if self.lease != Some(lease) => {}
            Ok(()) => {
                self.lease_backoff.succeed();
                self.lease_next = now + KEEP_ALIVE;
            }
            Err(LeaseFault::Ended) => self.lost(now, lease, dice),
            Err(LeaseFault::Other) => self.lease_next = now + self.lease_backoff.fail(dice),
        }
    }

    pub(crate) fn was_registered(
        &mut self,
        now: Duration,
        lease: Lease,
        answer: Result<(), LeaseFault>,
        dice: &mut StdRng,
    ) {
        let registration = self.registering.take();
        match answer {
            Ok(()) if self.lease == Some(lease) => {
                self.registered = registration;
                self.register_again = now + REGISTER_AGAIN;
                self.register_backoff.succeed();
                self.lease_backoff.succeed();
            }
            Ok(()) => {}
            Err(LeaseFault::Ended) => self.lost(now, lease, dice),
            Err(LeaseFault::Other) => {
                // Whether it arrived is not known.
                self.registered = None;
                self.register_next = now + self.register_backoff.fail(dice);
            }
        }
    }

    /// The store may have forgotten us.
    pub(crate) fn doubt(&mut self) {
        self.registered = None;
    }

    fn lost(&mut self, now: Duration, lease: Lease, dice: &mut StdRng) {
        if self.lease == Some(lease) {
            self.lease = None;
            self.registered = None;
            self.lease_next = now + self.lease_backoff.fail(dice);
        }
    }
}
