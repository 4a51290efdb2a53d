//! Decides what is to be done so that what runs becomes what is wanted. No I/O: a picture and the time go in, actions
//! come out, and every step looks at the full picture again, so that nothing needs to be remembered over a restart.
//!
//! - A new version of an instance is started before the old one goes, and takes requests before the old one stops to.
//! - An instance is stopped when no gateway sends it anything any more, or the time for that is over.
//! - What can't be seen is unknown, and left as it is.
//! - What fails is tried again, later each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What requests under way get that were sent before the gateways let an instance go.
const LEAVE_MIN: Duration = Duration::from_secs(3);

/// LIMIT: how long an instance that is to go waits for gateways that do not acknowledge that they no longer use it.
pub(super) const LEAVE_MAX: Duration = Duration::from_secs(30);

/// After a start that failed, and at most after many.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// LIMIT: instances of one service that are started at once while none of another version has to be replaced.
const STARTS_MAX: usize = 8;

/// Names one service: deployment, cluster, breed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServiceName {
    /// The deployment.
    pub deployment: String,
    /// The cluster.
    pub cluster: String,
    /// The breed.
    pub service: String,
}

impl std::fmt::Display for ServiceName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.deployment, self.cluster, self.service)
    }
}

/// One service, as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Which.
    pub name: ServiceName,
    /// Tells its instances from those that were ordered otherwise.
    pub template: String,
    /// How many.
    pub count: u32,
    /// Clusters of the deployment that must have an instance that is ready before the first one is started.
    pub needs: Vec<String>,
}

/// One instance, as a platform shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub service: ServiceName,
    /// By which order it runs.
    pub template: String,
    /// Which of them, from 0.
    pub number: u32,
    /// Whether it can take requests.
    pub ready: bool,
    /// Whether it runs, well or not.
    pub running: bool,
}

/// What is there.
#[derive(Debug, Clone, Default)]
pub(super) struct Picture {
    /// Every instance of the platforms that answered.
    pub seen: Vec<Seen>,
    /// Services of which nothing is known now: what runs them does not answer.
    pub unknown: BTreeSet<ServiceName>,
    /// The instances to which the wanted table sends requests, by service.
    pub routed: BTreeMap<ServiceName, Vec<String>>,
    /// Whether every gateway that is alive serves that table.
    pub acknowledged: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Starts one instance of a service.
    Start(ServiceName, u32),
    /// Sends requests to these instances of a service, and to no others.
    Route(ServiceName, Vec<String>),
    /// Ends an instance, and removes all of it.
    Remove(String),
}

/// What is remembered from step to step; losing it costs time and nothing else.
#[derive(Debug, Default)]
pub(super) struct Machine {
    failures: BTreeMap<ServiceName, Failure>,
    /// Since when an instance is to go.
    leaving: BTreeMap<String, Duration>,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    pause: Duration,
    not_before: Duration,
}

impl Machine {
    /// A start failed, at this time.
    pub(super) fn failed(&mut self, service: &ServiceName, now: Duration) {
        let pause = self.failures.get(service).map_or(RETRY_MIN, |failure| (failure.pause * 2).min(RETRY_MAX));
        self.failures.insert(service.clone(), Failure { pause, not_before: now + pause });
    }

    /// A start was taken.
    pub(super) fn succeeded(&mut self, service: &ServiceName) {
        self.failures.remove(service);
    }

    /// What is to be done now. `now` is any steady clock.
    pub(super) fn step(&mut self, now: Duration, wanted: &[Wanted], picture: &Picture) -> Vec<Action> {
        let mut by_service: BTreeMap<&ServiceName, Vec<&Seen>> = BTreeMap::new();
        for seen in &picture.seen {
            by_service.entry(&seen.service).or_default().push(seen);
        }
        let ready: BTreeSet<(&str, &str)> = picture
            .seen
            .iter()
            .filter(|seen| seen.ready)
            .map(|seen| (seen.service.deployment.as_str(), seen.service.cluster.as_str()))
            .collect();
        let mut actions = Vec::new();
        let mut leaving = BTreeSet::new();
        for service in wanted {
            if picture.unknown.contains(&service.name) {
                continue;
            }
            let seen = by_service.get(&service.name).cloned().unwrap_or_default();
            let needs = service.needs.iter().all(|cluster| ready.contains(&(&service.name.deployment, cluster)));
            self.step_service(now, service, &seen, needs, picture, &mut actions, &mut leaving);
        }
        let names: BTreeSet<&ServiceName> = wanted.iter().map(|service| &service.name).collect();
        let orphans = picture.seen.iter().filter(|seen| !names.contains(&seen.service));
        leaving.extend(orphans.filter(|seen| !picture.unknown.contains(&seen.service)).map(|seen| seen.id.as_str()));
        self.failures.retain(|service, _| names.contains(service));
        self.remove_unused(now, &leaving, picture, &mut actions);
        actions
    }

    #[expect(clippy::too_many_arguments, reason = "one step, parted for reading")]
    fn step_service<'p>(
        &self,
        now: Duration,
        wanted: &Wanted,
        seen: &[&'p Seen],
        needs: bool,
        picture: &Picture,
        actions: &mut Vec<Action>,
        leaving: &mut BTreeSet<&'p str>,
    ) {
        let is_wanted = |seen: &&&Seen| seen.template == wanted.template && seen.number < wanted.count;
        let (mut current, others): (Vec<&Seen>, Vec<&Seen>) = seen.iter().copied().partition(|seen| is_wanted(&seen));
        current.sort_by_key(|seen| seen.number);
        let count = usize::try_from(wanted.count).unwrap_or(usize::MAX);
        let ready = current.iter().filter(|seen| seen.ready).count();
        // Those of former orders make up for what is not ready yet; the best of them stay longest.
        let mut others = others;
        others.sort_by_key(|seen| (!seen.ready, !seen.running, seen.number, seen.id.clone()));
        let kept = others.iter().filter(|seen| seen.running).count().min(count.saturating_sub(ready));
        let (kept, gone) = others.split_at_checked(kept).unwrap_or((&others, &[]));
        leaving.extend(gone.iter().map(|seen| seen.id.as_str()));

        let missing = (0..wanted.count).filter(|number| !current.iter().any(|seen| seen.number == *number));
        let unready = current.len().saturating_sub(ready);
        // Beside instances that serve, one after the other: the host need not hold twice the service.
        let at_once = if others.iter().any(|seen| seen.running) { 1 } else { STARTS_MAX };
        let may_start = self.failures.get(&wanted.name).is_none_or(|failure| failure.not_before <= now);
        if may_start && (needs || !seen.is_empty()) {
            let starts = missing.take(at_once.saturating_sub(unready));
            actions.extend(starts.map(|number| Action::Start(wanted.name.clone(), number)));
        }

        let serving = || current.iter().chain(kept);
        let mut targets: Vec<&str> = serving().filter(|seen| seen.ready).map(|seen| seen.id.as_str()).collect();
        let routed = picture.routed.get(&wanted.name).map(Vec::as_slice).unwrap_or_default();
        if targets.is_empty() && count > 0 {
            // Nothing is known to be well: what took requests before still does if it runs, rather than nothing.
            let running = seen.iter().filter(|seen| seen.running && routed.contains(&seen.id));
            targets = running.map(|seen| seen.id.as_str()).collect();
        }
        targets.sort_unstable();
        if targets != routed {
            actions.push(Action::Route(wanted.name.clone(), targets.into_iter().map(str::to_owned).collect()));
        }
    }

    /// Removes what is to go and gets no requests any more.
    fn remove_unused(&mut self, now: Duration, leaving: &BTreeSet<&str>, picture: &Picture, actions: &mut Vec<Action>) {
        self.leaving.retain(|id, _| leaving.contains(id.as_str()));
        let routed: BTreeSet<&str> = picture.routed.values().flatten().map(String::as_str).collect();
        let rerouted: BTreeSet<&str> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Route(_, targets) => Some(targets.iter().map(String::as_str)),
                _ => None,
            })
            .flatten()
            .collect();
        let mut removals = Vec::new();
        for id in leaving {
            let since = *self.leaving.entry((*id).to_owned()).or_insert(now);
            let is_used = routed.contains(id) || rerouted.contains(id);
            let left_for = now.saturating_sub(since);
            let is_over = picture.acknowledged && left_for >= LEAVE_MIN || left_for >= LEAVE_MAX;
            if !is_used && is_over {
                removals.push(Action::Remove((*id).to_owned()));
            }
        }
        actions.extend(removals);
    }
}
