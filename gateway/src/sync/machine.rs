//! Decides what to ask of the store, what to serve and what to say about it. No I/O: time and answers are passed in,
//! requests come out, so that a test can replay any order of events.
//!
//! Promises, kept by the simulation: the served table never gets older; one that can't be read, compiled or is older is
//! refused whole while the served one stays; what is acknowledged is served, and is on disk unless a problem says
//! otherwise; whatever happened, once the store, the disk and the network work again the newest table is served and
//! acknowledged.

use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use vamp_routing::wire::{Degradation, Digest, Generation, RefusedTable, Registration};
use vamp_store::{Lease, Position};

use super::backoff::Backoff;
use super::lanes::{Answer, Holding, Keep, Look};
use super::status::{Outcomes, SyncState};

// A table that the store can't give now is asked for again, and one with damaged values too: they may be written anew.
const READ_WAIT_FIRST: Duration = Duration::from_millis(100);
const READ_WAIT_MOST: Duration = Duration::from_secs(5);

// LIMIT: what a registration says of problems; a store takes values of some 100 KiB, and the admin listener has them all.
const REGISTERED_PROBLEMS_MAX: usize = 50;
const TEXT_CHARS_MAX: usize = 1000;

/// Which table, and which content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TableId {
    pub(crate) generation: Generation,
    pub(crate) digest: Digest,
}

/// What stands at the manifest's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Nothing was ever published, or all was deleted.
    Nothing,
    /// A manifest.
    Table {
        /// Which table it names.
        id: TableId,
        /// The manifest as stored.
        bytes: Bytes,
    },
    /// Bytes that this build can't read.
    Unreadable {
        /// The table's number, if at least that can be told.
        generation: Option<Generation>,
        /// What is wrong.
        reason: String,
    },
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// It is the time that [`SyncMachine::due`] named.
    Tick,
    /// The answer to [`Action::List`].
    Listed(Result<(Seen, Position), String>),
    /// The watch spoke; without a manifest when it only proves that it lives. After an error it is over.
    Watched(Result<Option<Seen>, String>),
    /// The answer to [`Action::Read`].
    Read(Result<(), ReadFault>),
    /// The answer to [`Action::Apply`]: what does not work, or why the table is refused.
    Applied(Result<Vec<Degradation>, String>),
    /// The answer to [`Action::Keep`].
    Kept(Result<(), String>),
    /// The answer to [`Action::Grant`].
    Granted(Result<Lease, LeaseFault>),
    /// The answer to [`Action::KeepAlive`].
    KeptAlive(Lease, Result<(), LeaseFault>),
    /// The answer to [`Action::Register`].
    Registered(Lease, Result<(), LeaseFault>),
    /// What does not work about the served table has changed.
    Degraded(Vec<Degradation>),
}

/// Why a table could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReadFault {
    /// The store can't be asked now.
    Store,
    /// A value is missing or damaged; it may be written again.
    Damaged(String),
    /// It was written by a newer product, or is no table at all.
    Unreadable(String),
}

/// Why a request under the lease failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeaseFault {
    /// The lease is over.
    Ended,
    /// The store can't be asked now.
    Other,
}

/// What is to be done. Of each kind at most one is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Read the manifest's key.
    List,
    /// Watch the manifest's key, instead of the watch that there may be.
    Watch {
        /// From here on.
        after: Position,
    },
    /// Read the values that this manifest names and that are not at hand.
    Read(TableId, Bytes),
    /// Compile and apply what was read.
    Apply(TableId),
    /// Keep the served table on disk.
    Keep,
    /// Take a lease.
    Grant,
    /// Keep it.
    KeepAlive(Lease),
    /// Write this under the lease.
    Register(Lease, Box<Registration>),
}

/// Who this gateway process is.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) id: String,
    pub(crate) boot: String,
    pub(crate) admin: String,
    pub(crate) version: String,
}

/// How the table in the store stands to the served one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unknown,
    Nothing,
    Unreadable,
    Older(Generation),
    Differs(Generation),
    Same,
    Newer,
}

#[derive(Debug)]
enum Take {
    Idle { not_before: Duration },
    Reading(TableId),
    Applying(TableId),
}

#[derive(Debug)]
struct Refusal {
    generation: Generation,
    /// The digest of a table that need not be tried again.
    never_again: Option<Digest>,
    reason: String,
}

/// The state of one gateway process's way to the newest table.
#[derive(Debug)]
pub(crate) struct SyncMachine {
    identity: Identity,
    dice: StdRng,
    look: Look,
    seen: Option<Seen>,
    take: Take,
    take_backoff: Backoff,
    refusal: Option<Refusal>,
    served: Option<TableId>,
    /// The newest table that is served and, unless there is a problem, on disk.
    acknowledged: Option<TableId>,
    degradations: Vec<Degradation>,
    keep: Keep,
    holding: Holding,
    was_confirmed_empty: bool,
    confirmed: Option<Duration>,
    fault: Option<String>,
    outcomes: Outcomes,
    actions: Vec<Action>,
}

/// What was found on disk at the start.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The table that was applied.
    pub(crate) served: Option<TableId>,
    /// What does not work about it.
    pub(crate) degradations: Vec<Degradation>,
    /// Whether it is to be written to disk.
    pub(crate) to_keep: bool,
    /// What was wrong with the files.
    pub(crate) problem: Option<String>,
}

impl SyncMachine {
    /// A machine that serves what was found on disk; `now` is the time since any fixed moment. It begins with the
    /// first [`Input::Tick`].
    pub(crate) fn new(now: Duration, seed: u64, identity: Identity, found: Found) -> Self {
        let outcomes = Outcomes { applied: u64::from(found.served.is_some()), ..Outcomes::default() };
        Self {
            identity,
            dice: StdRng::seed_from_u64(seed),
            look: Look::new(now),
            seen: None,
            take: Take::Idle { not_before: now },
            take_backoff: Backoff::new(READ_WAIT_FIRST, READ_WAIT_MOST),
            refusal: None,
            served: found.served,
            acknowledged: found.served,
            degradations: found.degradations,
            keep: Keep::new(found.served.filter(|_| !found.to_keep), found.problem),
            holding: Holding::new(now),
            was_confirmed_empty: false,
            confirmed: None,
            fault: None,
            outcomes,
            actions: Vec::new(),
        }
    }

    /// Takes in what happened and says what is to be done now.
    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Vec<Action> {
        match input {
            Input::Tick => {}
            Input::Listed(answer) => self.listed(now, answer),
            Input::Watched(answer) => self.watched(now, answer),
            Input::Read(answer) => self.was_read(now, answer),
            Input::Applied(answer) => self.was_applied(now, answer),
            Input::Kept(answer) => self.was_kept(now, answer),
            Input::Granted(answer) => self.holding.granted(now, answer, &mut self.dice),
            Input::KeptAlive(lease, answer) => self.holding.kept_alive(now, lease, answer, &mut self.dice),
            Input::Registered(lease, answer) => self.holding.was_registered(now, lease, answer, &mut self.dice),
            Input::Degraded(degradations) => self.degradations = degradations,
        }
        self.drive(now);
        std::mem::take(&mut self.actions)
    }

    /// When [`Input::Tick`] is due, if nothing happens before.
    pub(crate) fn due(&self) -> Option<Duration> {
        let take = match self.take {
            Take::Idle { not_before } => self.wanted().map(|_| not_before),
            _ => None,
        };
        let holding = self.holding.due(&self.registration());
        [self.look.due(), take, self.keep.due(self.served), holding].into_iter().flatten().min()
    }

    /// The lease that is held.
    pub(crate) fn lease(&self) -> Option<Lease> {
        self.holding.lease()
    }

    /// The table that is served.
    pub(crate) fn served(&self) -> Option<TableId> {
        self.served
    }

    /// The table that a restart without the store would serve.
    pub(crate) fn kept(&self) -> Option<TableId> {
        self.keep.kept()
    }

    /// The table that the store was last known to hold as acknowledged.
    pub(crate) fn acknowledged(&self) -> Option<Generation> {
        self.holding.registered().and_then(|registration| registration.applied)
    }

    /// When the store last said which table is the newest.
    pub(crate) fn confirmed(&self) -> Option<Duration> {
        self.confirmed
    }

    /// Whether the store once said that it has no table.
    pub(crate) fn was_confirmed_empty(&self) -> bool {
        self.was_confirmed_empty
    }

    /// Why the store can't be read now.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// What became of tables.
    pub(crate) fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// How the served table stands to the one in the store.
    pub(crate) fn state(&self) -> SyncState {
        if self.fault.is_some() {
            return SyncState::Disconnected;
        }
        match self.standing() {
            Standing::Unknown => SyncState::Starting,
            Standing::Nothing if self.served.is_none() => SyncState::Empty,
            Standing::Nothing | Standing::Older(_) | Standing::Differs(_) => SyncState::Ahead,
            Standing::Unreadable => SyncState::Refused,
            Standing::Same => SyncState::Current,
            Standing::Newer if self.refused().is_some() && matches!(self.take, Take::Idle { .. }) => SyncState::Refused,
            Standing::Newer => SyncState::Updating,
        }
    }

    /// The newest table that is refused, if it is newer than the served one.
    pub(crate) fn refused(&self) -> Option<RefusedTable> {
        let served = self.served.map(|served| served.generation);
        let refusal = self.refusal.as_ref().filter(|refusal| Some(refusal.generation) > served)?;
        Some(RefusedTable { generation: refusal.generation, reason: refusal.reason.clone() })
    }

    /// What does not work although a table is served.
    pub(crate) fn problems(&self) -> Vec<Degradation> {
        let mut problems = self.degradations.clone();
        let here = |message: String| Degradation { gateway: None, message };
        problems.extend(self.standing_problem().map(here));
        let unkept = self.keep.problem();
        problems.extend(unkept.map(|reason| here(format!("the last good table is not safe on disk: {reason}"))));
        problems
    }

    fn standing_problem(&self) -> Option<String> {
        let served = self.served.map(|served| served.generation);
        match (self.standing(), served) {
            (Standing::Nothing, Some(served)) => Some(format!(
                "the store has no table, table {served} stays in use: publish again, the store may have lost its data"
            )),
            (Standing::Older(theirs), Some(served)) => Some(format!(
                "the store has table {theirs}, which is older than table {served} in use: publish again, the store may \
                 have been restored from an old copy"
            )),
            (Standing::Differs(theirs), _) => Some(format!(
                "the store has another table under the number {theirs} than the one in use: publish again, and look for \
                 a second control plane that publishes into this namespace"
            )),
            (Standing::Unreadable, _) => match &self.seen {
                Some(Seen::Unreadable { reason, .. }) => Some(format!("the table in the store is refused: {reason}")),
                _ => None,
            },
            _ => None,
        }
    }

    fn standing(&self) -> Standing {
        let id = match &self.seen {
            None => return Standing::Unknown,
            Some(Seen::Nothing) => return Standing::Nothing,
            Some(Seen::Unreadable { .. }) => return Standing::Unreadable,
            Some(Seen::Table { id, .. }) => id,
        };
        match self.served {
            Some(served) if id.generation < served.generation => Standing::Older(id.generation),
            Some(served) if id.generation == served.generation && id.digest != served.digest => {
                Standing::Differs(id.generation)
            }
            Some(served) if id.generation == served.generation => Standing::Same,
            _ => Standing::Newer,
        }
    }

    /// The acknowledgement.
    /// What the store has of it.
    pub(crate) fn registered(&self) -> Option<&Registration> {
        self.holding.registered()
    }

    fn registration(&self) -> Registration {
        let Identity { id, boot, admin, version } = self.identity.clone();
        let mut problems = self.problems();
        let more = problems.len().saturating_sub(REGISTERED_PROBLEMS_MAX);
        if more > 0 {
            problems.truncate(REGISTERED_PROBLEMS_MAX);
            problems.push(Degradation { gateway: None, message: format!("and {more} more problems, see {admin}") });
        }
        for problem in &mut problems {
            shorten(&mut problem.message);
        }
        let mut refused = self.refused();
        if let Some(refused) = &mut refused {
            shorten(&mut refused.reason);
        }
        let applied = self.acknowledged.map(|table| table.generation);
        let digest = self.acknowledged.map(|table| table.digest);
        Registration { id, boot, admin, version, applied, digest, problems, refused, leaves: false }
    }

    fn listed(&mut self, now: Duration, answer: Result<(Seen, Position), String>) {
        let (seen, position) = match answer {
            Ok(listed) => listed,
            Err(fault) => {
                self.fault = Some(fault);
                return self.look.list_failed(now, &mut self.dice);
            }
        };
        if self.look.listed(now, &mut self.dice) == Answer::Overtaken {
            return;
        }
        let is_news = self.seen.as_ref() != Some(&seen);
        if let Some(watch) = self.look.rewatch(position, is_news) {
            self.actions.push(watch);
            // The store may be another one than before: restarted, or restored.
            self.holding.doubt();
        }
        self.confirm(now);
        self.see(now, seen);
    }

    fn watched(&mut self, now: Duration, answer: Result<Option<Seen>, String>) {
        match answer {
            Ok(seen) => {
                self.look.heard();
                self.confirm(now);
                if let Some(seen) = seen {
                    self.see(now, seen);
                }
            }
            Err(fault) => {
                self.fault = Some(fault);
                self.look.watch_ended(now, &mut self.dice);
            }
        }
    }

    fn confirm(&mut self, now: Duration) {
        self.fault = None;
        self.confirmed = Some(now);
    }

    /// Takes note of what the store has.
    fn see(&mut self, now: Duration, seen: Seen) {
        if self.seen.as_ref() == Some(&seen) {
            return;
        }
        self.was_confirmed_empty |= seen == Seen::Nothing;
        self.take_backoff.succeed();
        if let Take::Idle { not_before } = &mut self.take {
            *not_before = now;
        }
        self.seen = Some(seen);
        match self.standing() {
            Standing::Older(_) | Standing::Differs(_) => {
                self.outcomes.outdated += 1;
                self.refusal = None;
            }
            Standing::Nothing | Standing::Same => self.refusal = None,
            Standing::Unreadable => {
                self.outcomes.refused += 1;
                if let Some(Seen::Unreadable { generation: Some(generation), reason }) = &self.seen {
                    let (generation, reason) = (*generation, reason.clone());
                    self.refusal = Some(Refusal { generation, never_again: None, reason });
                }
            }
            Standing::Unknown | Standing::Newer => {}
        }
    }

    /// The table in the store, if it is to be applied.
    fn wanted(&self) -> Option<(TableId, &Bytes)> {
        let Some(Seen::Table { id, bytes }) = &self.seen else { return None };
        let never_again = self.refusal.as_ref().and_then(|refusal| Some((refusal.generation, refusal.never_again?)));
        let is_wanted = self.standing() == Standing::Newer && never_again != Some((id.generation, id.digest));
        is_wanted.then_some((*id, bytes))
    }

    fn was_read(&mut self, now: Duration, answer: Result<(), ReadFault>) {
        let Take::Reading(id) = self.take else { return };
        match answer {
            Ok(()) => {
                self.take = Take::Applying(id);
                self.actions.push(Action::Apply(id));
            }
            Err(ReadFault::Store) => self.retry_take(now),
            Err(ReadFault::Damaged(reason)) => {
                // Values of a table that was replaced meanwhile may be gone; that is nothing to report.
                if self.is_newest(id) {
                    self.refuse(id, reason, None);
                }
                self.retry_take(now);
            }
            Err(ReadFault::Unreadable(reason)) => {
                self.refuse(id, reason, Some(id.digest));
                self.take = Take::Idle { not_before: now };
            }
        }
    }

    fn is_newest(&self, id: TableId) -> bool {
        self.wanted().is_some_and(|(wanted, _)| wanted == id)
    }

    /// Tries again later, or the newest one at once if that is another one by now.
    fn retry_take(&mut self, now: Duration) {
        let Take::Reading(id) = self.take else { return };
        let wait = if self.is_newest(id) { self.take_backoff.fail(&mut self.dice) } else { Duration::ZERO };
        self.take = Take::Idle { not_before: now + wait };
    }

    fn was_applied(&mut self, now: Duration, answer: Result<Vec<Degradation>, String>) {
        let Take::Applying(id) = self.take else { return };
        self.take = Take::Idle { not_before: now };
        match answer {
            Ok(degradations) => {
                self.take_backoff.succeed();
                self.served = Some(id);
                self.degradations = degradations;
                self.refusal = None;
                self.outcomes.applied += 1;
            }
            Err(reason) => self.refuse(id, reason, Some(id.digest)),
        }
    }

    /// The served table stays; the refusal is counted once for each table and reason.
    fn refuse(&mut self, id: TableId, reason: String, never_again: Option<Digest>) {
        let is_known = self
            .refusal
            .as_ref()
            .is_some_and(|refusal| refusal.generation == id.generation && refusal.reason == reason);
        self.outcomes.refused += u64::from(!is_known);
        self.refusal = Some(Refusal { generation: id.generation, never_again, reason });
    }

    fn was_kept(&mut self, now: Duration, answer: Result<(), String>) {
        match answer {
            Ok(()) => {
                self.outcomes.kept += 1;
                let kept = self.keep.written(self.served);
                self.acknowledge(kept);
            }
            Err(reason) => {
                self.outcomes.not_kept += 1;
                self.keep.failed(now, reason, &mut self.dice);
            }
        }
    }

    fn acknowledge(&mut self, table: Option<TableId>) {
        let newer = table
            .filter(|table| self.acknowledged.is_none_or(|acknowledged| acknowledged.generation < table.generation));
        self.acknowledged = newer.or(self.acknowledged);
    }

    fn drive(&mut self, now: Duration) {
        self.actions.extend(self.look.drive(now));
        if let (Take::Idle { not_before }, Some((id, bytes))) = (&self.take, self.wanted())
            && now >= *not_before
        {
            let bytes = bytes.clone();
            self.actions.push(Action::Read(id, bytes));
            self.take = Take::Reading(id);
        }
        self.actions.extend(self.keep.drive(now, self.served));
        if self.keep.problem().is_some() {
            // A full or slow disk never holds back a rollout: the problem goes with the acknowledgement.
            self.acknowledge(self.served);
        }
        let registration = self.registration();
        self.actions.extend(self.holding.drive(now, registration).into_iter().flatten());
    }
}

/// Cuts a text that is too long for a registration.
fn shorten(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
}

#[cfg(test)]
#[path = "simulation.rs"]
mod simulation;

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
