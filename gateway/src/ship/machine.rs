//! Decides what to send to Elasticsearch, when, and what an answer means for each document. Pure: time, documents and
//! answers come in, actions go out.
//!
//! Promise: each document that comes in leaves by exactly one count of [`Tally`], or is still held. A document keeps
//! its id over all tries, so that an answer that was lost does no harm.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use vamp_record::client::{BULK_BYTES_MAX, ItemOutcome};

use super::counts::{Bulk, Tally};
use crate::sync::backoff::Backoff;

/// LIMIT: documents of one bulk request. About 900 bytes each: 4 MB, below [`BULK_BYTES_MAX`].
pub(super) const BULK_DOCUMENTS_MAX: usize = 4_096;

/// LIMIT: bulk requests under way. While the server works on one, the next is on its way; more would only wait there.
pub(super) const IN_FLIGHT_MAX: usize = 2;

/// Longest time that a record waits for others to share its bulk request.
const LINGER: Duration = Duration::from_secs(1);

/// Wait after the first failure, and the longest one: an outage costs the server one request a minute.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MOST: Duration = Duration::from_mins(1);

/// LIMIT: wait between tries while the process wants to end.
const BACKOFF_STOPPING: Duration = Duration::from_millis(250);

/// LIMIT: time and times over which a document may come back while the server takes others. One that it can never take,
/// but does not refuse either, must not be sent forever. A shard finds its new place in less time.
const BUSY_MOST: Duration = Duration::from_mins(5);
const BUSY_TIMES_MOST: u8 = 8;

/// Bulk requests without trouble after which a bound that the server taught us is doubled again.
const CALM_BULKS: u32 = 64;

/// How often refused documents are told of.
const TELL_EVERY: Duration = Duration::from_mins(1);

/// One document, as the two lines that a bulk request has for it.
#[derive(Debug, Clone)]
pub(super) struct Document {
    lines: Bytes,
    /// Since when, and how often, it came back while others were taken.
    busy_since: Option<Duration>,
    busy_times: u8,
}

impl Document {
    pub(super) fn new(lines: Bytes) -> Self {
        Self { lines, busy_since: None, busy_times: 0 }
    }

    /// It came back at `now`; `stored_at`: when the server last took any document. Tells whether to try again.
    fn come_back(&mut self, now: Duration, stored_at: Option<Duration>) -> bool {
        match self.busy_since {
            Some(since) if stored_at > Some(since) => {
                self.busy_times = self.busy_times.saturating_add(1);
                now < since + BUSY_MOST || self.busy_times < BUSY_TIMES_MOST
            }
            // Nobody's documents were taken since: it is not this one's fault.
            _ => {
                self.busy_since = Some(now);
                true
            }
        }
    }
}

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// Time passed.
    Tick,
    /// Records wait that should not wait longer.
    Waiting,
    /// What [`Action::Take`] asked for.
    Taken {
        /// The documents of the records taken.
        documents: Vec<Document>,
        /// Records that could not be made documents.
        unwritable: u64,
        /// Whether as many came as were asked for: there may be more.
        more: bool,
    },
    /// The answer to [`Action::PutTemplate`].
    Template(Result<(), Fault>),
    /// The answer to [`Action::Send`].
    Answer {
        /// Which.
        bulk: u64,
        /// What it was.
        answer: Result<Vec<ItemOutcome>, Fault>,
    },
    /// No more records come; what is held goes out now if it can.
    Stop,
}

/// Why a request as a whole was not done, or may not have been done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is too large for the server: 413.
    TooLarge,
    /// It has something in it for which the server refuses all of it: 400.
    Malformed(String),
    /// The server can't or won't now.
    Refused {
        /// Its words.
        reason: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// No answer, or none that makes sense: it may have been done.
    Lost(String),
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Action {
    /// Write the index template.
    PutTemplate,
    /// Take about so many records, and make documents of them.
    Take {
        /// How many.
        records_max: usize,
    },
    /// Send a bulk request.
    Send {
        /// Its number.
        bulk: u64,
        /// Its body.
        body: Vec<u8>,
        /// Documents in it.
        documents: usize,
    },
    /// Tell the operator.
    Tell(Notice),
}

/// What an operator should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// Records are not taken any more, and why.
    Down(String),
    /// They are taken again.
    Up,
    /// So many were refused since the last notice; the reason for one of them.
    Refused(u64, String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct ShipMachine {
    now: Duration,
    dice: StdRng,
    template: Template,
    taking: Taking,
    /// Records wait in the buffers that should not wait longer.
    is_wanted: bool,
    taken_at: Duration,
    /// To be sent, those that came back first.
    ready: VecDeque<Document>,
    in_flight: BTreeMap<u64, Vec<Document>>,
    next_bulk: u64,
    /// The server's own bound, as far as it taught us.
    bytes_max: usize,
    calm_bulks: u32,
    backoff: Backoff,
    is_down: bool,
    resume_at: Duration,
    /// When the server last took a document.
    stored_at: Option<Duration>,
    life: Life,
    refused: Refused,
    tally: Tally,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Template {
    Missing,
    Asked,
    There,
}

/// Whether records are on their way from the buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taking {
    Idle,
    UnderWay,
    /// Begun after the stop: if nothing is found now, nothing comes any more.
    Last,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Stopping,
    /// Stopping, and the buffers are empty.
    Drained,
}

#[derive(Debug, Default)]
struct Refused {
    untold: u64,
    reason: String,
    told_at: Option<Duration>,
}

impl ShipMachine {
    pub(super) fn new(now: Duration, seed: u64) -> Self {
        Self {
            now,
            dice: StdRng::seed_from_u64(seed),
            template: Template::Missing,
            taking: Taking::Idle,
            is_wanted: false,
            taken_at: now,
            ready: VecDeque::new(),
            in_flight: BTreeMap::new(),
            next_bulk: 0,
            bytes_max: BULK_BYTES_MAX,
            calm_bulks: 0,
            backoff: Backoff::new(BACKOFF_FIRST, BACKOFF_MOST),
            is_down: false,
            resume_at: now,
            stored_at: None,
            life: Life::Running,
            refused: Refused::default(),
            tally: Tally::default(),
        }
    }

    /// What was counted up to now.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Documents that are neither stored nor dropped.
    pub(super) fn held(&self) -> usize {
        self.ready.len() + self.in_flight.values().map(Vec::len).sum::<usize>()
    }

    /// Whether everything is settled after [`Input::Stop`].
    pub(super) fn is_done(&self) -> bool {
        self.life == Life::Drained && self.held() == 0
    }

    /// When it wants [`Input::Tick`] at the latest.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.now < self.resume_at {
            return Some(self.resume_at);
        }
        let waits_for_time = self.template == Template::There && self.can_take() && self.has_room();
        waits_for_time.then_some(self.taken_at + LINGER)
    }

    /// Drops all that is held: the process ends and can't wait for the server. `left` records are still in the
    /// buffers, or on their way from there.
    pub(super) fn give_up(&mut self, left: u64) {
        let held = u64::try_from(self.held()).unwrap_or(u64::MAX);
        self.tally.shutdown += held.saturating_add(left);
        self.ready.clear();
        self.in_flight.clear();
        self.life = Life::Drained;
    }

    /// Takes in what happened by `now`, and says what is to be done.
    pub(super) fn step(&mut self, now: Duration, input: Input) -> Vec<Action> {
        self.now = now.max(self.now);
        let mut actions = Vec::new();
        match input {
            Input::Tick => {}
            Input::Waiting => self.is_wanted = true,
            Input::Taken { documents, unwritable, more } => self.taken(documents, unwritable, more),
            Input::Template(answer) => self.template_answered(answer, &mut actions),
            Input::Answer { bulk, answer } => self.answered(bulk, answer, &mut actions),
            Input::Stop => self.stop(),
        }
        self.tell_refused(&mut actions);
        self.go_on(&mut actions);
        actions
    }

    fn taken(&mut self, documents: Vec<Document>, unwritable: u64, more: bool) {
        if self.taking == Taking::Last && documents.is_empty() && unwritable == 0 {
            self.life = Life::Drained;
        }
        self.taking = Taking::Idle;
        self.is_wanted |= more;
        if unwritable > 0 {
            self.refuse(unwritable, "the record can't be written as JSON");
        }
        self.ready.extend(documents);
    }

    fn stop(&mut self) {
        self.life = Life::Stopping;
        self.resume_at = self.now;
    }

    fn template_answered(&mut self, answer: Result<(), Fault>, actions: &mut Vec<Action>) {
        match answer {
            Ok(()) => {
                self.template = Template::There;
                self.succeed(actions);
            }
            Err(fault) => {
                self.template = Template::Missing;
                self.fail(fault, actions);
            }
        }
    }

    fn answered(&mut self, bulk: u64, answer: Result<Vec<ItemOutcome>, Fault>, actions: &mut Vec<Action>) {
        let Some(documents) = self.in_flight.remove(&bulk) else { return };
        match answer {
            Ok(outcomes) if outcomes.len() == documents.len() => self.settle(documents, outcomes, actions),
            Ok(outcomes) => {
                let reason = format!("{} outcomes for {} documents", outcomes.len(), documents.len());
                self.return_all(documents, Fault::Lost(reason), actions);
            }
            Err(fault) => self.return_all(documents, fault, actions),
        }
    }

    fn settle(&mut self, documents: Vec<Document>, outcomes: Vec<ItemOutcome>, actions: &mut Vec<Action>) {
        let are_some_settled = outcomes.iter().any(|outcome| *outcome != ItemOutcome::Busy);
        if outcomes.contains(&ItemOutcome::Stored) {
            self.stored_at = Some(self.now);
        }
        let mut again = Vec::new();
        for (mut document, outcome) in documents.into_iter().zip(outcomes) {
            match outcome {
                ItemOutcome::Stored => self.tally.shipped += 1,
                ItemOutcome::Rejected(reason) => self.refuse(1, &reason),
                ItemOutcome::Busy => {
                    if document.come_back(self.now, self.stored_at) {
                        again.push(document);
                    } else {
                        self.tally.given_up += 1;
                    }
                }
            }
        }
        if again.is_empty() {
            self.tally.count(Bulk::Stored);
            self.succeed(actions);
            return;
        }
        // Behind the others: what is never taken must not keep them from being tried.
        self.ready.extend(again);
        self.tally.count(Bulk::Partly);
        let reason = "it has no room for all documents of a bulk request now".to_owned();
        if are_some_settled {
            // It works: the wait is the short one, however often this happens.
            self.backoff.succeed();
        }
        self.fail(Fault::Refused { reason, retry_after: None }, actions);
    }

    fn return_all(&mut self, documents: Vec<Document>, fault: Fault, actions: &mut Vec<Action>) {
        self.tally.count(if matches!(fault, Fault::Lost(_)) { Bulk::Lost } else { Bulk::Refused });
        let is_about_content = matches!(fault, Fault::TooLarge | Fault::Malformed(_));
        if is_about_content && documents.len() == 1 {
            let reason = if let Fault::Malformed(reason) = &fault { reason } else { "it is too large for the server" };
            self.refuse(1, reason);
            // The culprit is found.
            self.bytes_max = BULK_BYTES_MAX;
        } else {
            if is_about_content {
                // The next ones are half as large, down to one document.
                let bytes: usize = documents.iter().map(|document| document.lines.len()).sum();
                self.bytes_max = self.bytes_max.min(bytes / 2);
                self.calm_bulks = 0;
                // The search for the culprit goes on with short waits.
                self.backoff.succeed();
            }
            documents.into_iter().rev().for_each(|document| self.ready.push_front(document));
        }
        if matches!(fault, Fault::Lost(_)) {
            // Who knows whether the same server, or one with the same content, comes back.
            self.template = Template::Missing;
        }
        if fault != Fault::TooLarge {
            self.fail(fault, actions);
        }
    }

    fn refuse(&mut self, documents: u64, reason: &str) {
        self.tally.refused += documents;
        self.refused.untold += documents;
        reason.clone_into(&mut self.refused.reason);
    }

    fn tell_refused(&mut self, actions: &mut Vec<Action>) {
        let is_time = self.refused.told_at.is_none_or(|told_at| self.now >= told_at + TELL_EVERY);
        if self.refused.untold > 0 && is_time {
            let reason = std::mem::take(&mut self.refused.reason);
            actions.push(Action::Tell(Notice::Refused(std::mem::take(&mut self.refused.untold), reason)));
            self.refused.told_at = Some(self.now);
        }
    }

    fn succeed(&mut self, actions: &mut Vec<Action>) {
        self.backoff.succeed();
        self.resume_at = self.now;
        self.tally.is_up = true;
        self.calm_bulks += 1;
        if self.calm_bulks >= CALM_BULKS {
            self.calm_bulks = 0;
            self.bytes_max = (2 * self.bytes_max).min(BULK_BYTES_MAX);
        }
        if std::mem::take(&mut self.is_down) {
            actions.push(Action::Tell(Notice::Up));
        }
    }

    fn fail(&mut self, fault: Fault, actions: &mut Vec<Action>) {
        let (reason, retry_after) = match fault {
            Fault::TooLarge => ("the request is too large".to_owned(), None),
            Fault::Malformed(reason) | Fault::Lost(reason) => (reason, None),
            Fault::Refused { reason, retry_after } => (reason, retry_after),
        };
        self.tally.is_up = false;
        // Two requests that end by one outage are one failure.
        if self.now >= self.resume_at {
            let wait = self.backoff.fail(&mut self.dice).max(retry_after.unwrap_or_default()).min(BACKOFF_MOST);
            self.resume_at = self.now + if self.life == Life::Running { wait } else { wait.min(BACKOFF_STOPPING) };
        }
        if !std::mem::replace(&mut self.is_down, true) {
            actions.push(Action::Tell(Notice::Down(reason)));
        }
    }

    fn go_on(&mut self, actions: &mut Vec<Action>) {
        if self.now < self.resume_at {
            return;
        }
        match self.template {
            Template::Missing => {
                self.template = Template::Asked;
                actions.push(Action::PutTemplate);
                return;
            }
            Template::Asked => return,
            Template::There => {}
        }
        while !self.ready.is_empty() && self.in_flight.len() < self.in_flight_max() {
            // What came back goes out with new ones, if there are any: they show whether it is to blame.
            if self.may_take() && self.ready.len() < BULK_DOCUMENTS_MAX / 2 {
                break;
            }
            actions.push(self.send());
        }
        if self.has_room() && self.may_take() {
            self.taking = if self.life == Life::Running { Taking::UnderWay } else { Taking::Last };
            self.is_wanted = false;
            self.taken_at = self.now;
            actions.push(Action::Take { records_max: BULK_DOCUMENTS_MAX - self.ready.len() });
        }
    }

    fn in_flight_max(&self) -> usize {
        // While the server is in trouble, one request finds out whether that is over.
        if self.is_down { 1 } else { IN_FLIGHT_MAX }
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < self.in_flight_max() && self.ready.len() < BULK_DOCUMENTS_MAX
    }

    fn may_take(&self) -> bool {
        let is_time = self.is_wanted || self.life == Life::Stopping || self.now >= self.taken_at + LINGER;
        is_time && self.can_take()
    }

    fn can_take(&self) -> bool {
        self.taking == Taking::Idle && self.life != Life::Drained
    }

    fn send(&mut self) -> Action {
        let mut documents = Vec::new();
        let mut body = Vec::new();
        while let Some(document) = self.ready.front() {
            let fits = body.len() + document.lines.len() <= self.bytes_max && documents.len() < BULK_DOCUMENTS_MAX;
            if !fits && !documents.is_empty() {
                break;
            }
            body.extend_from_slice(&document.lines);
            documents.extend(self.ready.pop_front());
        }
        let bulk = self.next_bulk;
        self.next_bulk += 1;
        let count = documents.len();
        self.in_flight.insert(bulk, documents);
        Action::Send { bulk, body, documents: count }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
