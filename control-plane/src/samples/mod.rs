//! What gateways counted lately, second after second: asked over the channel by which they tell their splits, kept in
//! memory for ten minutes, and asked for only while somebody wants to know.

mod figures;
mod history;
mod pack;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use vamp_record::traffic::{GATEWAYS_MAX, TrafficQuestion};
use vamp_routing::wire::Registration;

use crate::core::Shared;

pub(crate) use figures::number;
use history::Round;
pub(crate) use history::{History, KEPT, Known};
pub(crate) use pack::Counts;

/// How often gateways are asked.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// LIMIT: answers that are not here by then belong to no second.
const PATIENCE: Duration = Duration::from_millis(900);
/// LIMIT: gateways that are watched because somebody reads about them; each costs a part of every question.
const READ_MAX: usize = 200;
/// A gateway that somebody reads about is watched for as long as its counts are kept.
const READ_FOR: Duration = KEPT;

/// What gateways counted lately.
#[derive(Debug)]
pub(crate) struct Samples {
    clock: Clock,
    history: Mutex<History>,
    /// Gateways of clusters with a promise.
    promised: Mutex<BTreeSet<String>>,
    /// Gateways that somebody reads about, and until when they are watched.
    read: Mutex<BTreeMap<String, u64>>,
    /// Rings when a round has been taken.
    rounds: watch::Sender<u64>,
}

/// Milliseconds since 1970 as they were at the start, and steady from there: no correction of the time moves it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    started_unix_ms: u64,
}

impl Clock {
    pub(crate) fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.started_unix_ms.saturating_add(elapsed)
    }
}

impl Samples {
    pub(crate) fn new(now_unix_ms: u64) -> Self {
        Self {
            clock: Clock { started: Instant::now(), started_unix_ms: now_unix_ms },
            history: Mutex::default(),
            promised: Mutex::default(),
            read: Mutex::default(),
            rounds: watch::Sender::new(0),
        }
    }

    /// The clock by which samples are dated.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Watches the gateways of clusters with a promise, up to [`GATEWAYS_MAX`]; those beyond it stay unknown.
    pub(crate) fn promise(&self, gateways: BTreeSet<String>) {
        *lock(&self.promised) = gateways;
    }

    /// Rings after each round of questions.
    pub(crate) fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.subscribe()
    }

    /// Looks at what was counted.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&lock(&self.history))
    }

    /// What is known of a gateway in the last so many seconds, and has it watched from now on.
    pub(crate) fn read(&self, gateway: &str, window: Duration) -> Known {
        let now_ms = self.clock.now_ms();
        {
            let mut read = lock(&self.read);
            if read.len() >= READ_MAX && !read.contains_key(gateway) {
                let soonest = read.iter().min_by_key(|(_, until)| **until).map(|(name, _)| name.clone());
                soonest.and_then(|name| read.remove(&name));
            }
            read.insert(gateway.to_owned(), now_ms.saturating_add(millis(READ_FOR)));
        }
        lock(&self.history).known(gateway, now_ms.saturating_sub(millis(window)))
    }

    /// The gateways about which somebody wants to know.
    fn watched(&self) -> BTreeSet<String> {
        let now_ms = self.clock.now_ms();
        let mut read = lock(&self.read);
        read.retain(|_, until| *until > now_ms);
        let promised = lock(&self.promised);
        // Those that are acted on come first.
        promised
            .iter()
            .chain(read.keys().filter(|name| !promised.contains(*name)))
            .take(GATEWAYS_MAX)
            .cloned()
            .collect()
    }

    fn take(&self, watched: &BTreeSet<String>, round: Round) {
        lock(&self.history).take(self.clock.now_ms(), watched, round);
    }
}

/// A panic elsewhere leaves these whole: each change is made in one piece.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Asks every second, as long as somebody wants to know, until it is stopped.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let work = async {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let watched = shared.samples.watched();
            if watched.is_empty() {
                lock(&shared.samples.history).clear();
            } else {
                let round = ask(&shared, &watched).await;
                shared.samples.take(&watched, round);
            }
            shared.samples.rounds.send_modify(|rounds| *rounds = rounds.wrapping_add(1));
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

async fn ask(shared: &Shared, watched: &BTreeSet<String>) -> Round {
    let (fleet, is_current): (Vec<Arc<Registration>>, bool) = {
        let fleet = shared.fleet.borrow();
        (fleet.readable().cloned().collect(), fleet.is_current && fleet.gateways.len() == fleet.readable().count())
    };
    let question = TrafficQuestion { gateways: watched.iter().cloned().collect() };
    let asked: Vec<&Registration> = fleet.iter().map(Arc::as_ref).collect();
    let answers = shared.asker.traffic(asked, &question, PATIENCE).await;
    let mut answers: BTreeMap<String, _> =
        answers.into_iter().map(|(registration, answer)| (registration.id.clone(), answer)).collect();
    let late = || Err(format!("it did not answer within {} ms", PATIENCE.as_millis()));
    let answers = fleet.iter().map(|registration| {
        let answer = answers.remove(&registration.id).unwrap_or_else(late);
        (registration.id.clone(), answer)
    });
    let unknown = (!is_current).then(|| "the store does not tell which gateway processes there are".to_owned());
    Round { answers: answers.collect(), unknown }
}
