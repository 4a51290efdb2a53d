//! What became of the wanted shares: counts of all gateway processes, side by side and summed; and what a request
//! would meet.

mod ask;
mod counts;
mod sum;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use vamp_record::split::SplitAnswer;
use vamp_routing::wire::Registration;

use crate::causes::with_causes;
use crate::core::{Shared, now_unix_ms};

pub(crate) use ask::Asker;
pub(crate) use ask::{AskError, AskSettings};
pub(crate) use counts::Counts;
use counts::Seen;
use sum::{Reading, sum};

/// Counts are read this often, so that a gateway process that is killed takes those of so many seconds with it.
const POLL_EVERY: Duration = Duration::from_secs(5);

/// Wanted and delivered shares of one gateway.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Split {
    /// The gateway.
    pub gateway: String,
    /// Gateway processes whose counts were read just now.
    pub counted: usize,
    /// Gateway processes that announce themselves.
    pub of: usize,
    /// The store does not answer: the gateway processes are as last known.
    pub unknown: bool,
    /// The weights, summed over all processes whose account is the present one: `tickets`, `since_unix_ms`, `routes`.
    #[serde(flatten)]
    pub weights: Level,
    /// The strength of each condition below 100 %, likewise.
    pub strengths: Vec<Level>,
    /// Requests of each route by what decided, summed over all processes, in route order.
    pub decided_by: Vec<DecidedBy>,
    /// Each process.
    pub processes: Vec<Process>,
}

/// One place where a share is decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Level {
    /// The route whose condition it is; absent for the weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition_of: Option<String>,
    /// Requests that it decided: the sum of the deliveries.
    pub tickets: u64,
    /// When the account began, milliseconds since 1970 (UTC); in a sum, the earliest. Absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_unix_ms: Option<u64>,
    /// Its sides, in route order; for a strength the route, then the rest.
    pub routes: Vec<Side>,
}

/// One side of a split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Side {
    /// The route; empty for what a condition's strength leaves to the weights.
    pub route: String,
    /// The wanted share: `90%`.
    pub wanted: String,
    /// Requests that it got.
    pub delivered: u64,
    /// Delivered minus wanted, in requests.
    pub error: f64,
}

/// Requests of one route by what decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DecidedBy {
    /// The route.
    pub route: String,
    /// All of them.
    pub requests: u64,
    /// Taken by its condition.
    pub condition: u64,
    /// Kept by a cookie.
    pub cookie: u64,
    /// Kept by the client's address.
    pub source: u64,
    /// Given by the weights.
    pub weight: u64,
    /// The only route with weight.
    pub only_route: u64,
}

/// How fresh the counts of a process are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Freshness {
    /// Read just now.
    Read,
    /// It announces itself and could not be read: as last seen.
    Unread,
    /// That boot is over: as last seen.
    Ended,
}

/// The account of one gateway process.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Process {
    /// Its id.
    pub id: String,
    /// Its boot.
    pub boot: String,
    /// How fresh its counts are.
    pub state: Freshness,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// When it was read, milliseconds since 1970 (UTC); absent when it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_unix_ms: Option<u64>,
    /// It is part of the sum: its account is of the shares that are wanted now.
    pub summed: bool,
    /// Its weights as it counts them; absent when it does not know the gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Level>,
    /// Its strengths.
    pub strengths: Vec<Level>,
    /// Its requests of each route by what decided.
    pub decided_by: Vec<DecidedBy>,
}

/// There is no such gateway.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SplitError {
    /// Nothing of this name is stored.
    #[error("there is no gateway `{gateway}`")]
    UnknownGateway {
        /// Its name.
        gateway: String,
    },
    /// What is stored gives no table now.
    #[error("no table follows from what is stored: look at the problems of the control plane")]
    NoTable,
    /// The database did not answer.
    #[error(transparent)]
    Persist(#[from] crate::persist::PersistError),
}

/// Reads the counts of all gateway processes now and then, and keeps them, until it is stopped.
pub(crate) async fn poll(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let work = async {
        loop {
            tokio::time::sleep(POLL_EVERY).await;
            ask_all(&shared).await;
            keep(&shared).await;
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
    keep(&shared).await;
}

async fn keep(shared: &Shared) {
    if let Err(error) = shared.counts.keep(shared.persistence.as_ref()).await {
        tracing::warn!("the counts of the gateways are not kept: {}", with_causes(&error));
    }
}

/// What each gateway process that announces itself answers now; its counts are noted.
async fn ask_all(shared: &Shared) -> Vec<(Arc<Registration>, Result<String, String>)> {
    let fleet: Vec<Arc<Registration>> = shared.fleet.borrow().readable().cloned().collect();
    let asked: Vec<&Registration> = fleet.iter().map(Arc::as_ref).collect();
    let answers = shared.asker.ask(asked).await;
    let note = |SplitAnswer { counts, before }: SplitAnswer| {
        let boot = counts.boot.clone();
        shared.counts.note(now_unix_ms(), counts);
        // Told again and again: it is as old as the last change of it.
        for ended in before {
            shared.counts.note_change(now_unix_ms(), ended);
        }
        boot
    };
    let answers = answers.into_iter().map(|(registration, answer)| (registration.id.clone(), answer.map(note)));
    let mut answers: BTreeMap<String, Result<String, String>> = answers.collect();
    let unread = || Err("it was not asked".to_owned());
    fleet
        .into_iter()
        .map(|registration| {
            let answer = answers.remove(&registration.id).unwrap_or_else(unread);
            (registration, answer)
        })
        .collect()
}

/// Wanted and delivered shares of a gateway, asked of all gateway processes now.
pub(crate) async fn split(shared: &Shared, gateway: &str) -> Result<Split, SplitError> {
    let current = shared.refresh().await?;
    let table = Arc::clone(&current.planned.as_ref().map_err(|_| SplitError::NoTable)?.table);
    let unknown = || SplitError::UnknownGateway { gateway: gateway.to_owned() };
    let wanted = table.gateway(gateway).ok_or_else(unknown)?;
    let answers = ask_all(shared).await;
    let readings = readings(gateway, answers, &shared.counts.all());
    let mut split = sum(&wanted, current.written_unix_ms(gateway), readings);
    split.unknown = !shared.fleet.borrow().is_current;
    Ok(split)
}

/// The processes that announce themselves, then the boots that ended.
fn readings(
    gateway: &str,
    answers: Vec<(Arc<Registration>, Result<String, String>)>,
    seen: &BTreeMap<(String, String), Seen>,
) -> Vec<Reading> {
    let mut live = HashSet::new();
    let mut readings = Vec::with_capacity(answers.len());
    for (registration, answer) in answers {
        let id = registration.id.clone();
        let (boot, state, problem) = match answer {
            Ok(boot) => (boot, Freshness::Read, None),
            Err(problem) => (registration.boot.clone(), Freshness::Unread, Some(problem)),
        };
        let key = (id, boot);
        readings.push(reading(gateway, &key, state, problem, seen.get(&key)));
        live.insert(key);
    }
    let ended = seen.iter().filter(|(key, _)| !live.contains(*key));
    let ended = ended.map(|(key, seen)| reading(gateway, key, Freshness::Ended, None, Some(seen)));
    readings.extend(ended.filter(|reading| reading.counts.is_some()));
    readings
}

fn reading(
    gateway: &str,
    (id, boot): &(String, String),
    state: Freshness,
    problem: Option<String>,
    seen: Option<&Seen>,
) -> Reading {
    let counts = seen.and_then(|seen| seen.counts.gateways.iter().find(|counts| counts.gateway == gateway)).cloned();
    let at_unix_ms = seen.map(|seen| seen.at_unix_ms);
    Reading { id: id.clone(), boot: boot.clone(), state, problem, at_unix_ms, counts }
}
