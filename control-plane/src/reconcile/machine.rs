//! Decides what is to be done so that what runs becomes what is wanted. No I/O: a picture and the time go in, actions
//! come out, and every step looks at the full picture again, so that nothing needs to be remembered over a restart.
//!
//! - A new version of an instance is started before the old one goes, and takes requests before the old one stops to.
//! - An instance is removed when every gateway that is alive has let it go. While that can't be known, it stays.
//! - What can't be seen is unknown, and left as it is.
//! - What fails is tried again, later each time.
//! - An instance that is not well for long is replaced like one of an old version: another one is ready before it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What requests under way get that were sent before the gateways let an instance go.
const LEAVE_MIN: Duration = Duration::from_secs(3);

/// After work that failed, and at most after many times.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_mins(1);

/// LIMIT: how long a new order waits for that of what it needs: it may never be carried out.
const HOLD_MAX: Duration = Duration::from_mins(5);

/// LIMIT: instances that are on their way to take the place of others, of all services. What many depend on may be what is
/// wrong, and a host in trouble must not get as much again to carry.
const SPARES_MAX: usize = 4;

/// LIMIT: instances of one service beyond those that are wanted, while what they replaced can't be removed.
const SPARES_OF_SERVICE_MAX: usize = 2;

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
    /// Whether it was ended, and stays so until it is started again.
    pub stopped: bool,
}

impl Seen {
    /// An instance whose removal is under way: it can't be taken back, and a new one has to wait until it is gone.
    pub(super) fn going(self) -> Self {
        Self { ready: false, running: false, stopped: false, ..self }
    }
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
    /// Services of which no platform has shown any of those instances yet. Another host may run them, for the control plane
    /// whose turn it was before.
    pub unmet: BTreeSet<ServiceName>,
    /// The instances that have not been well for so long that others are to take their place.
    pub unwell: BTreeSet<String>,
    /// Whether every gateway that is alive serves that table.
    pub acknowledged: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Starts one instance of a service, or starts it again.
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
    /// Services whose new order waits until that of a cluster they need is carried out, and since when.
    held: BTreeMap<ServiceName, Hold>,
    /// The instances that are to go.
    leaving: BTreeMap<String, Leaving>,
}

/// For which cluster a service waits, and since when it does.
#[derive(Debug)]
struct Hold {
    cluster: String,
    since: Duration,
    is_over: bool,
}

/// How far an instance is that is to go.
#[derive(Debug, Clone, Copy, Default)]
struct Leaving {
    /// Since when no gateway sends it anything.
    free_since: Option<Duration>,
    /// Its removal failed.
    failure: Option<Failure>,
}

#[derive(Debug, Clone, Copy)]
struct Failure {
    pause: Duration,
    not_before: Duration,
}

impl Failure {
    fn after(former: Option<&Self>, now: Duration) -> Self {
        let pause = former.map_or(RETRY_MIN, |failure| (failure.pause * 2).min(RETRY_MAX));
        Self { pause, not_before: now + pause }
    }
}

impl Machine {
    /// A start failed, at this time.
    pub(super) fn failed(&mut self, service: &ServiceName, now: Duration) {
        let failure = Failure::after(self.failures.get(service), now);
        self.failures.insert(service.clone(), failure);
    }

    /// The removal of an instance failed, at this time.
    pub(super) fn removal_failed(&mut self, id: &str, now: Duration) {
        if let Some(leaving) = self.leaving.get_mut(id) {
            leaving.failure = Some(Failure::after(leaving.failure.as_ref(), now));
        }
    }

    /// A start was taken.
    pub(super) fn succeeded(&mut self, service: &ServiceName) {
        self.failures.remove(service);
    }

    /// The cluster for whose new order that of this service waits.
    pub(super) fn waits_for(&self, service: &ServiceName) -> Option<&str> {
        self.held.get(service).filter(|hold| !hold.is_over).map(|hold| hold.cluster.as_str())
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
        let mut spares_left = SPARES_MAX.saturating_sub(spares_under_way(wanted, &by_service));
        self.hold(now, wanted, &by_service, picture);
        for service in wanted {
            if picture.unknown.contains(&service.name) {
                continue;
            }
            let seen = by_service.get(&service.name).cloned().unwrap_or_default();
            let needs = service.needs.iter().all(|cluster| ready.contains(&(&service.name.deployment, cluster)));
            self.step_service(now, service, &seen, needs, picture, &mut actions, &mut leaving, &mut spares_left);
        }
        let names: BTreeSet<&ServiceName> = wanted.iter().map(|service| &service.name).collect();
        let orphans = picture.seen.iter().filter(|seen| !names.contains(&seen.service));
        leaving.extend(orphans.filter(|seen| !picture.unknown.contains(&seen.service)).map(|seen| seen.id.as_str()));
        self.failures.retain(|service, _| names.contains(service));
        self.remove_unused(now, &leaving, picture, &mut actions);
        actions
    }

    /// Takes note of who waits for whom, and whether it has waited long enough.
    fn hold(&mut self, now: Duration, wanted: &[Wanted], seen: &BTreeMap<&ServiceName, Vec<&Seen>>, picture: &Picture) {
        let is_stuck = |name: &ServiceName| picture.unknown.contains(name) || self.failures.contains_key(name);
        let mut held = BTreeMap::new();
        for (name, cluster) in held_now(wanted, seen, is_stuck) {
            let since = self.held.get(name).map_or(now, |hold| hold.since);
            let is_over = now.saturating_sub(since) >= HOLD_MAX;
            held.insert(name.clone(), Hold { cluster: cluster.to_owned(), since, is_over });
        }
        self.held = held;
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
        spares_left: &mut usize,
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
        let is_unwell = |seen: &Seen| seen.running && !seen.ready && picture.unwell.contains(&seen.id);
        let cure = Cure::of(wanted, &current, &others, is_unwell);
        let is_coming = |seen: &&&Seen| cure.is_some() && !is_unwell(seen);
        leaving.extend(gone.iter().filter(|seen| !is_coming(seen)).map(|seen| seen.id.as_str()));

        let is_there = |number: u32| current.iter().any(|seen| seen.number == number && !seen.stopped);
        let missing = (0..wanted.count).filter(|number| !is_there(*number));
        // A new version that goes bad stops there.
        let is_let_be = |seen: &Seen| cure.is_some() && is_unwell(seen);
        let unready = current.iter().filter(|seen| !seen.ready && !seen.stopped && !is_let_be(seen)).count();
        // Beside instances that serve, one after the other: the host need not hold twice the service.
        let at_once = if others.iter().any(|seen| seen.running) { 1 } else { STARTS_MAX };
        let may_start = self.failures.get(&wanted.name).is_none_or(|failure| failure.not_before <= now);
        let was_begun = seen.iter().any(|seen| !seen.stopped);
        if may_start && (needs || was_begun) && self.waits_for(&wanted.name).is_none() {
            let starts = missing.take(at_once.saturating_sub(unready));
            let spare = cure.and_then(|cure| if let Cure::Start(number) = cure { Some(number) } else { None });
            let spare = spare.filter(|_| *spares_left > 0);
            *spares_left = spares_left.saturating_sub(usize::from(spare.is_some()));
            actions.extend(starts.chain(spare).map(|number| Action::Start(wanted.name.clone(), number)));
        }
        if let Some(Cure::Replace(id)) = cure {
            leaving.insert(id);
        }
        // Who took the place of another one, and is not well itself.
        let spares = others.iter().filter(|seen| seen.template == wanted.template && is_unwell(seen));
        leaving.extend(spares.map(|seen| seen.id.as_str()));

        let serving = || current.iter().chain(kept);
        let mut targets: Vec<&str> = serving().filter(|seen| seen.ready).map(|seen| seen.id.as_str()).collect();
        let routed = picture.routed.get(&wanted.name).map(Vec::as_slice).unwrap_or_default();
        if targets.is_empty() && count > 0 {
            if picture.unmet.contains(&wanted.name) {
                return;
            }
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
            let is_used = routed.contains(id) || rerouted.contains(id);
            let leaving = self.leaving.entry((*id).to_owned()).or_default();
            if is_used {
                leaving.free_since = None;
            } else if picture.acknowledged {
                // A later table that is not acknowledged yet does not send it anything either.
                let since = *leaving.free_since.get_or_insert(now);
                let may_try = leaving.failure.is_none_or(|failure| failure.not_before <= now);
                if now.saturating_sub(since) >= LEAVE_MIN && may_try {
                    removals.push(Action::Remove((*id).to_owned()));
                }
            }
        }
        actions.extend(removals);
    }
}

/// What is done about the first instance that is not well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cure<'s> {
    /// Another one is started, by this number. It may be its checks that are wrong, and one that is unwell better than none.
    Start(u32),
    /// Another one is on its way.
    Wait,
    /// Another one serves: it goes, and is started anew.
    Replace(&'s str),
}

impl<'s> Cure<'s> {
    /// Of a service, by its instances that are wanted and the others. None while another order is carried out: where a new
    /// version goes bad, that is to stop.
    fn of(wanted: &Wanted, current: &[&'s Seen], others: &[&Seen], is_unwell: impl Fn(&Seen) -> bool) -> Option<Self> {
        let first = current.iter().find(|seen| is_unwell(seen))?;
        if others.iter().any(|seen| seen.template != wanted.template) {
            return None;
        }
        if others.iter().any(|seen| seen.ready) {
            return Some(Self::Replace(&first.id));
        }
        let stopped = others.iter().find(|seen| seen.stopped).map(|seen| seen.number);
        let is_coming = others.iter().any(|seen| !seen.stopped && !is_unwell(seen));
        if is_coming || (stopped.is_none() && others.len() >= SPARES_OF_SERVICE_MAX) {
            return Some(Self::Wait);
        }
        let mut free = (wanted.count..=u32::MAX).take(SPARES_OF_SERVICE_MAX + 1);
        let free = free.find(|number| others.iter().all(|seen| seen.number != *number));
        stopped.or(free).map(Self::Start)
    }
}

/// Instances beyond those that are wanted which are not ready yet.
fn spares_under_way(wanted: &[Wanted], seen: &BTreeMap<&ServiceName, Vec<&Seen>>) -> usize {
    let of = |wanted: &Wanted| {
        let own = seen.get(&wanted.name).map(Vec::as_slice).unwrap_or_default();
        let is_spare = |seen: &&&Seen| seen.template == wanted.template && seen.number >= wanted.count;
        own.iter().filter(is_spare).filter(|seen| !seen.ready && !seen.stopped).count()
    };
    wanted.iter().map(of).sum()
}

/// Services that serve in full by a former order, of which no instance of the present one was begun, and of which a cluster
/// that they need is on its way to its own new order: what is needed is changed first. Of what can't be seen nothing is
/// known, and what can't be started is waited for no longer.
fn held_now<'w>(
    wanted: &'w [Wanted],
    seen: &BTreeMap<&ServiceName, Vec<&Seen>>,
    is_stuck: impl Fn(&ServiceName) -> bool,
) -> BTreeMap<&'w ServiceName, &'w str> {
    let is_former = |wanted: &Wanted, seen: &Seen| seen.template != wanted.template;
    let of = |wanted: &Wanted| seen.get(&wanted.name).map(Vec::as_slice).unwrap_or_default();
    let are_all = |wanted: &Wanted, ready: usize| u32::try_from(ready).is_ok_and(|ready| ready >= wanted.count);
    let is_changing = |wanted: &&Wanted| {
        let ready = of(wanted).iter().filter(|seen| seen.ready && !is_former(wanted, seen)).count();
        let serves = of(wanted).iter().any(|seen| seen.running && is_former(wanted, seen));
        serves && !are_all(wanted, ready) && !is_stuck(&wanted.name)
    };
    let changing: BTreeSet<(&str, &str)> = wanted
        .iter()
        .filter(is_changing)
        .map(|wanted| (wanted.name.deployment.as_str(), wanted.name.cluster.as_str()))
        .collect();
    let mut held = BTreeMap::new();
    for service in wanted {
        let is_begun = of(service).iter().any(|seen| !is_former(service, seen) && !seen.stopped);
        let ready = of(service).iter().filter(|seen| seen.ready && is_former(service, seen)).count();
        if is_begun || !are_all(service, ready) {
            continue;
        }
        let deployment = service.name.deployment.as_str();
        let mut needs = service.needs.iter().filter(|cluster| changing.contains(&(deployment, cluster.as_str())));
        // Clusters whose services need each other would wait for each other.
        if let Some(cluster) = needs.find(|cluster| !leads_to(wanted, deployment, cluster, &service.name.cluster)) {
            held.insert(&service.name, cluster.as_str());
        }
    }
    held
}

/// Whether a cluster is, or needs by others, that other one.
fn leads_to(wanted: &[Wanted], deployment: &str, from: &str, to: &str) -> bool {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(cluster) = next.pop() {
        if cluster == to {
            return true;
        }
        if reached.insert(cluster) {
            let services = wanted.iter().filter(|service| service.name.deployment == deployment);
            let of_it = services.filter(|service| service.name.cluster == cluster);
            next.extend(of_it.flat_map(|service| service.needs.iter().map(String::as_str)));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn service() -> ServiceName {
        ServiceName { deployment: "d".to_owned(), cluster: "c".to_owned(), service: "s".to_owned() }
    }

    fn wanted(count: u32) -> Wanted {
        Wanted { name: service(), template: "t".to_owned(), count, needs: vec!["other".to_owned()] }
    }

    fn seen(id: &str, number: u32) -> Seen {
        let (service, template) = (service(), "t".to_owned());
        Seen { id: id.to_owned(), service, template, number, ready: true, running: true, stopped: false }
    }

    fn remove(id: &str) -> Vec<Action> {
        vec![Action::Remove(id.to_owned())]
    }

    #[test]
    fn one_that_is_unwell_goes_when_another_one_serves_and_is_started_anew() {
        let mut machine = Machine::default();
        let wanted = [Wanted { needs: Vec::new(), ..wanted(1) }];
        let route = |ids: &[&str]| Action::Route(service(), ids.iter().map(|id| (*id).to_owned()).collect());
        let ill = |id: &str, number| Seen { ready: false, ..seen(id, number) };
        let mut step = |at: u32, all: &[Seen], routed: &[&str]| {
            let routed = BTreeMap::from([(service(), routed.iter().map(|id| (*id).to_owned()).collect())]);
            let unwell = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
            let picture = Picture { seen: all.to_vec(), routed, unwell, acknowledged: true, ..Picture::default() };
            machine.step(SECOND * at, &wanted, &picture)
        };
        // It takes what it can until another one is ready, of which one is enough.
        assert_eq!(step(0, &[ill("a", 0)], &["a"]), [Action::Start(service(), 1)]);
        let coming = [ill("a", 0), ill("c", 1)];
        assert_eq!(step(1, &coming, &["a"]), []);
        assert_eq!(step(2, &[ill("a", 0), ill("b", 1)], &["a"]), [Action::Start(service(), 2)]);
        let served = [ill("a", 0), seen("c", 1)];
        assert_eq!(step(10, &served, &["a"]), [route(&["c"])]);
        assert_eq!(step(11, &served, &["c"]), []);
        assert_eq!(step(15, &served, &["c"]), remove("a"));
        assert_eq!(step(16, &[seen("c", 1)], &["c"]), [Action::Start(service(), 0)]);
        // Well again, it stays, and the other one goes.
        assert_eq!(step(20, &[seen("a", 0), seen("c", 1)], &["c"]), [route(&["a"])]);
    }

    #[test]
    fn an_instance_stays_for_as_long_as_gateways_may_use_it() {
        let mut machine = Machine::default();
        let mut picture = Picture { seen: vec![seen("a", 0)], ..Picture::default() };
        for seconds in 0..600 {
            assert_eq!(machine.step(SECOND * seconds, &[], &picture), []);
        }
        picture.acknowledged = true;
        assert_eq!(machine.step(SECOND * 600, &[], &picture), [], "requests under way get their time");
        assert_eq!(machine.step(SECOND * 602, &[], &picture), []);
        // Another table is on its way.
        picture.acknowledged = false;
        assert_eq!(machine.step(SECOND * 604, &[], &picture), []);
        picture.acknowledged = true;
        assert_eq!(machine.step(SECOND * 604, &[], &picture), remove("a"));
    }

    #[test]
    fn requests_go_where_they_went_until_there_is_an_instance_of_our_own() {
        let mut machine = Machine::default();
        let wanted = Wanted { needs: Vec::new(), ..wanted(1) };
        let routed = BTreeMap::from([(service(), vec!["a".to_owned()])]);
        let mut picture = Picture { routed, unmet: BTreeSet::from([service()]), ..Picture::default() };
        let wanted = [wanted];
        assert_eq!(machine.step(SECOND, &wanted, &picture), [Action::Start(service(), 0)]);
        picture.seen = vec![Seen { ready: false, ..seen("b", 0) }];
        assert_eq!(machine.step(SECOND, &wanted, &picture), []);
        picture.seen = vec![seen("b", 0)];
        assert_eq!(machine.step(SECOND, &wanted, &picture), [Action::Route(service(), vec!["b".to_owned()])]);
        // What was shown, and is not there any more, is gone.
        picture.seen.clear();
        picture.unmet.clear();
        assert!(machine.step(SECOND, &wanted, &picture).contains(&Action::Route(service(), Vec::new())));
    }

    #[test]
    fn an_instance_that_is_used_again_gets_its_time_anew() {
        let mut machine = Machine::default();
        let mut picture = Picture { seen: vec![seen("a", 0)], acknowledged: true, ..Picture::default() };
        assert_eq!(machine.step(SECOND, &[], &picture), []);
        picture.routed.insert(service(), vec!["a".to_owned()]);
        assert_eq!(machine.step(SECOND * 9, &[], &picture), []);
        picture.routed.clear();
        assert_eq!(machine.step(SECOND * 10, &[], &picture), []);
        assert_eq!(machine.step(SECOND * 13, &[], &picture), remove("a"));
    }

    #[test]
    fn a_removal_that_fails_is_tried_again_later_each_time() {
        let mut machine = Machine::default();
        let picture = Picture { seen: vec![seen("a", 0)], acknowledged: true, ..Picture::default() };
        let mut tries = Vec::new();
        for seconds in 0..240 {
            let now = SECOND * seconds;
            if !machine.step(now, &[], &picture).is_empty() {
                machine.removal_failed("a", now);
                tries.push(seconds);
            }
        }
        assert_eq!(tries, [3, 4, 6, 10, 18, 34, 66, 126, 186]);
    }

    #[test]
    fn what_is_needed_is_changed_first() {
        let mut machine = Machine::default();
        let other = ServiceName { cluster: "other".to_owned(), ..service() };
        let needed = Wanted { name: other.clone(), template: "new".to_owned(), count: 2, needs: Vec::new() };
        let changed = Wanted { template: "new".to_owned(), ..wanted(1) };
        let of_other = |id: &str, template: &str, number: u32, ready: bool| Seen {
            service: other.clone(),
            template: template.to_owned(),
            ready,
            ..seen(id, number)
        };
        let starts_at = |machine: &mut Machine, now: Duration, seen: &[Seen], wanted: &[Wanted]| {
            let picture = Picture { seen: seen.to_vec(), ..Picture::default() };
            let actions = machine.step(now, wanted, &picture);
            let starts = actions.into_iter().filter_map(|action| match action {
                Action::Start(service, number) => Some((service.cluster, number)),
                _ => None,
            });
            starts.collect::<Vec<_>>()
        };
        let starts = |machine: &mut Machine, seen: &[Seen], wanted: &[Wanted]| starts_at(machine, SECOND, seen, wanted);
        let both = [needed.clone(), changed.clone()];
        let mut all = vec![seen("a", 0), of_other("b0", "t", 0, true), of_other("b1", "t", 1, true)];
        assert_eq!(starts(&mut machine, &all, &both), [("other".to_owned(), 0)]);
        assert_eq!(machine.waits_for(&service()), Some("other"));
        all.push(of_other("n0", "new", 0, true));
        assert_eq!(starts(&mut machine, &all, &both), [("other".to_owned(), 1)]);
        all.push(of_other("n1", "new", 1, false));
        assert_eq!(starts(&mut machine, &all, &both), [], "it is not ready yet");
        all[4].ready = true;
        assert_eq!(starts(&mut machine, &all, &both), [("c".to_owned(), 0)]);
        assert_eq!(machine.waits_for(&service()), None);
        // What was begun is carried on, and who does not serve in full waits for nobody, nor does anybody for ever.
        all[4].ready = false;
        assert_eq!(starts(&mut machine, &all, &both), []);
        let ill = [vec![Seen { ready: false, ..seen("a", 0) }], all[1..].to_vec()].concat();
        assert_eq!(starts(&mut machine, &ill, &both), [("c".to_owned(), 0)]);
        assert_eq!(starts(&mut machine, &all, &both), []);
        let later = SECOND + HOLD_MAX;
        assert_eq!(starts_at(&mut machine, later, &all, &both), [("c".to_owned(), 0)]);
        assert_eq!(starts_at(&mut machine, later + SECOND, &all, &both), [("c".to_owned(), 0)], "it stays over");
        // Nor for what can't be started, or seen.
        let mut machine = Machine::default();
        assert_eq!(starts(&mut machine, &all, &both), []);
        machine.failed(&other, SECOND);
        assert_eq!(starts(&mut machine, &all, &both), [("c".to_owned(), 0)]);
        let mut machine = Machine::default();
        let unknown = BTreeSet::from([other.clone()]);
        let picture = Picture { seen: all.clone(), unknown, ..Picture::default() };
        assert!(machine.step(SECOND, &both, &picture).contains(&Action::Start(service(), 0)));
        let mut machine = Machine::default();
        all.push(Seen { template: "new".to_owned(), ready: true, ..seen("a-new", 0) });
        let more = Wanted { count: 2, ..changed.clone() };
        assert_eq!(starts(&mut machine, &all, &[needed.clone(), more]), [("c".to_owned(), 1)]);
        // Two clusters that need each other by different services do not wait for each other.
        let knot = [Wanted { needs: vec!["c".to_owned()], ..needed }, changed];
        let begun = starts(&mut machine, &all[..3], &knot);
        assert_eq!(begun, [("other".to_owned(), 0), ("c".to_owned(), 0)]);
    }

    #[test]
    fn what_was_stopped_is_started_again_when_what_it_needs_is_there() {
        let mut machine = Machine::default();
        let stopped =
            |number: u32| Seen { ready: false, running: false, stopped: true, ..seen(&number.to_string(), number) };
        let mut picture = Picture { seen: (0..9).map(stopped).collect(), ..Picture::default() };
        let other = ServiceName { cluster: "other".to_owned(), ..service() };
        assert_eq!(machine.step(SECOND, &[wanted(9)], &picture), [], "its need is not there");
        picture.seen.push(Seen { service: other, ..seen("b", 0) });
        let starts: Vec<_> = (0..8).map(|number| Action::Start(service(), number)).collect();
        assert_eq!(machine.step(SECOND, &[wanted(9)], &picture), starts);
    }
}
