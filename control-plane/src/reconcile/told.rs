//! Tells of what happens to services, each change once: what was told last is kept with the event, in one transaction, so
//! that neither a restart nor another look repeats it. Pure: states go in, events and what is to be kept come out.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::machine::ServiceName;
use super::state::{Intention, Phase, ServiceState, Stage, States};
use crate::persist::{NewEvent, StateWrite};

/// Where it is kept what was told last.
pub(super) const SCOPE: &str = "services";

/// The type of what is told, as in the original.
const KIND: &str = "synchronization";

/// What a platform is silent about is told as unknown only after so long: one that is silent now and then is no news.
const UNKNOWN_AFTER_MS: u64 = 30_000;

/// LIMIT: events of one look, which are one transaction; the next look tells those that are left.
const EVENTS_MAX: usize = 256;

/// What was told last of each service, by its name in one text.
pub(super) type AllTold = BTreeMap<String, Told>;

/// What was told last of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// Whether it was to be there.
    pub intention: Intention,
    /// How far that was.
    pub phase: Phase,
    /// Since when, RFC 3339.
    pub since: String,
    /// Which platform ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Its instances that ended at some time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    instances: BTreeMap<String, Ends>,
}

/// What was told of how an instance ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ends {
    /// How often it was started again.
    restarts: u32,
    /// It did not run.
    ended: bool,
}

/// News, and what is to be kept of them.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) events: Vec<NewEvent>,
    pub(super) states: Vec<StateWrite>,
    /// What was told of each service after that; `None`: it is gone.
    pub(super) told: BTreeMap<String, Option<Told>>,
}

/// What is kept as it is read; what can't be read is told anew.
pub(super) fn read(kept: &BTreeMap<String, String>) -> AllTold {
    let read = |(name, text): (&String, &String)| Some((name.clone(), serde_json::from_str(text).ok()?));
    kept.iter().filter_map(read).collect()
}

/// The service that a name in one text names.
pub(super) fn service(name: &str) -> Option<ServiceName> {
    let mut parts = name.splitn(3, '/').map(str::to_owned);
    let (deployment, cluster, service) = (parts.next()?, parts.next()?, parts.next()?);
    Some(ServiceName { deployment, cluster, service })
}

/// What is to be told. `at_work`: instances with which something is done just now, so that how they end is no news.
pub(super) fn news(
    told: &AllTold,
    states: &States,
    places: &BTreeMap<ServiceName, String>,
    at_work: &BTreeSet<String>,
    at_unix_ms: u64,
) -> News {
    let mut news = News::default();
    let now: BTreeMap<String, (&ServiceName, &ServiceState)> =
        states.iter().map(|(name, state)| (name.to_string(), (name, state))).collect();
    for key in told.keys().filter(|key| !now.contains_key(*key)).take(EVENTS_MAX) {
        let Some(name) = service(key) else { continue };
        let gone = json!({"phase": "Done", "intention": Intention::Undeployment, "wanted": 0, "ready": 0});
        news.events.push(event(&name, &["synchronization:undeployed"], gone, at_unix_ms));
        news.keep(key, None);
    }
    for (key, (name, state)) in now {
        if news.events.len() >= EVENTS_MAX {
            break;
        }
        let former = told.get(&key);
        let place = places.get(name).cloned().or_else(|| former.and_then(|former| former.place.clone()));
        let instances = ends(name, state, former, at_work, at_unix_ms, &mut news.events);
        let present =
            Told { intention: state.intention, phase: state.phase, since: state.since.clone(), place, instances };
        let is_same = |former: &&Told| (former.intention, former.phase) == (state.intention, state.phase);
        match former.filter(is_same) {
            // The time of what was told stays.
            Some(former) if Told { since: former.since.clone(), ..present.clone() } == *former => {}
            Some(former) => news.keep(&key, Some(Told { since: former.since.clone(), ..present })),
            // It is as it was told last, until somebody has to know better.
            None if is_silent_for_a_moment(state, at_unix_ms) => {}
            None => {
                let tag = format!("synchronization:{}", word(former, state));
                news.events.push(event(name, &[&tag], of_state(state), at_unix_ms));
                news.keep(&key, Some(present));
            }
        }
    }
    news
}

impl News {
    fn keep(&mut self, key: &str, told: Option<Told>) {
        // A tree of texts and numbers always has a text.
        let value = told.as_ref().map(|told| serde_json::to_string(told).unwrap_or_default());
        self.states.push(StateWrite { scope: SCOPE.to_owned(), name: key.to_owned(), value });
        self.told.insert(key.to_owned(), told);
    }
}

fn is_silent_for_a_moment(state: &ServiceState, at_unix_ms: u64) -> bool {
    let since = state.since.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond);
    let until = u64::try_from(since).unwrap_or_default().saturating_add(UNKNOWN_AFTER_MS);
    state.phase == Phase::Unknown && at_unix_ms < until
}

/// What became of a service in one word; those of the original where it had one.
fn word(former: Option<&Told>, state: &ServiceState) -> &'static str {
    let was_done = former.is_some_and(|former| former.phase == Phase::Done);
    match (state.intention, state.phase) {
        (_, Phase::Failed) => "failed",
        (_, Phase::Unknown) => "unknown",
        (Intention::Undeployment, _) => "undeploying",
        (Intention::Deployment, Phase::Done) => "deployed",
        (Intention::Deployment, Phase::Initiated) => "initiated",
        (Intention::Deployment, Phase::Updating) if was_done => "redeploy",
        (Intention::Deployment, Phase::Updating) => "updating",
    }
}

fn of_state(state: &ServiceState) -> Value {
    let mut value = json!({
        "intention": state.intention,
        "phase": state.phase,
        "wanted": state.wanted,
        "ready": state.ready,
    });
    if let (Some(message), Some(value)) = (&state.message, value.as_object_mut()) {
        value.insert("message".to_owned(), message.as_str().into());
    }
    value
}

/// Tells of instances that ended, or were started again since; answers what is to be kept of them.
fn ends(
    name: &ServiceName,
    state: &ServiceState,
    former: Option<&Told>,
    at_work: &BTreeSet<String>,
    at_unix_ms: u64,
    events: &mut Vec<NewEvent>,
) -> BTreeMap<String, Ends> {
    let former = former.map(|former| former.instances.clone()).unwrap_or_default();
    if state.phase == Phase::Unknown {
        return former;
    }
    let mut present = BTreeMap::new();
    for instance in &state.instances {
        let known = former.get(&instance.name).copied().unwrap_or_default();
        let ended = if at_work.contains(&instance.name) { known.ended } else { instance.stage == Stage::Ended };
        let now = Ends { restarts: instance.restarts, ended };
        let about = format!("instances:{}", instance.name);
        let value = json!({"state": instance.state, "restarts": instance.restarts});
        if now.ended && !known.ended {
            events.push(event(name, &[&about, "instance:ended"], value.clone(), at_unix_ms));
        }
        if now.restarts > known.restarts {
            events.push(event(name, &[&about, "instance:restarted"], value, at_unix_ms));
        }
        if now != Ends::default() {
            present.insert(instance.name.clone(), now);
        }
    }
    present
}

fn event(name: &ServiceName, tags: &[&str], value: Value, at_unix_ms: u64) -> NewEvent {
    let ServiceName { deployment, cluster, service } = name;
    let about = [format!("deployments:{deployment}"), format!("clusters:{cluster}"), format!("services:{service}")];
    let tags = about.into_iter().chain(tags.iter().map(|tag| (*tag).to_owned()));
    NewEvent { value: Some(value), ..NewEvent::new(KIND, tags, at_unix_ms) }
}

#[cfg(test)]
mod tests {
    use super::super::state::InstanceState;
    use super::*;

    /// When the states below began, and when a look is that finds them long since so.
    const SINCE_MS: u64 = 1_767_225_600_000;
    const LATER_MS: u64 = SINCE_MS + UNKNOWN_AFTER_MS;

    /// A service over some looks, under a control plane that may be started anew between them.
    #[derive(Default)]
    struct Watched {
        kept: BTreeMap<String, String>,
        at_work: BTreeSet<String>,
    }

    fn name() -> ServiceName {
        ServiceName { deployment: "shop".to_owned(), cluster: "web".to_owned(), service: "web:1".to_owned() }
    }

    fn state(phase: Phase) -> ServiceState {
        ServiceState {
            cluster: "web".to_owned(),
            service: "web:1".to_owned(),
            intention: Intention::Deployment,
            phase,
            message: (phase == Phase::Failed).then(|| "out of luck".to_owned()),
            since: "2026-01-01T00:00:00Z".to_owned(),
            wanted: 1,
            ready: 0,
            instances: Vec::new(),
            seen_change: 0,
        }
    }

    fn with(phase: Phase, restarts: u32, ended: bool) -> ServiceState {
        let stage = if ended { Stage::Ended } else { Stage::Running };
        let instance = InstanceState { name: "i".to_owned(), restarts, stage, ..InstanceState::default() };
        ServiceState { instances: vec![instance], ..state(phase) }
    }

    impl Watched {
        /// The words of what is told at one look; what was told before is read as after a restart.
        fn look(&mut self, state: Option<ServiceState>) -> Vec<String> {
            self.look_at(LATER_MS, state)
        }

        fn look_at(&mut self, at_unix_ms: u64, state: Option<ServiceState>) -> Vec<String> {
            let states: States = state.into_iter().map(|state| (name(), state)).collect();
            let news = news(&read(&self.kept), &states, &BTreeMap::new(), &self.at_work, at_unix_ms);
            for StateWrite { name, value, .. } in news.states {
                match value {
                    Some(value) => self.kept.insert(name, value),
                    None => self.kept.remove(&name),
                };
            }
            let is_word = |tag: &&String| tag.starts_with("synchronization:") || tag.starts_with("instance:");
            let own = ["deployments:shop", "clusters:web", "services:web:1"];
            assert!(news.events.iter().all(|event| own.iter().all(|tag| event.tags.contains(*tag))));
            news.events.iter().flat_map(|event| event.tags.iter().filter(is_word).cloned()).collect()
        }
    }

    #[test]
    fn each_change_of_a_phase_is_told_once() {
        let mut watched = Watched::default();
        let undeployment = ServiceState { intention: Intention::Undeployment, ..state(Phase::Updating) };
        for (state, expected) in [
            (Some(state(Phase::Initiated)), "synchronization:initiated"),
            (Some(state(Phase::Updating)), "synchronization:updating"),
            (Some(state(Phase::Done)), "synchronization:deployed"),
            (Some(state(Phase::Updating)), "synchronization:redeploy"),
            (Some(state(Phase::Failed)), "synchronization:failed"),
            (Some(state(Phase::Unknown)), "synchronization:unknown"),
            (Some(state(Phase::Done)), "synchronization:deployed"),
            (Some(undeployment), "synchronization:undeploying"),
            (None, "synchronization:undeployed"),
        ] {
            assert_eq!(watched.look(state.clone()), [expected]);
            assert_eq!(watched.look(state), [""; 0], "after {expected}");
        }
        assert!(watched.kept.is_empty());
    }

    #[test]
    fn a_platform_that_is_silent_now_and_then_is_no_news_and_one_that_stays_silent_is() {
        let mut watched = Watched::default();
        assert_eq!(watched.look(Some(with(Phase::Done, 0, false))), ["synchronization:deployed"]);
        for at_unix_ms in [SINCE_MS, SINCE_MS + 2_000, LATER_MS - 1] {
            assert_eq!(watched.look_at(at_unix_ms, Some(state(Phase::Unknown))), [""; 0]);
            assert_eq!(watched.look_at(at_unix_ms, Some(with(Phase::Done, 0, false))), [""; 0]);
        }
        // What happened meanwhile is told all the same.
        assert_eq!(watched.look_at(SINCE_MS, Some(state(Phase::Unknown))), [""; 0]);
        assert_eq!(watched.look_at(SINCE_MS, Some(with(Phase::Done, 1, false))), ["instance:restarted"]);
        assert_eq!(watched.look_at(LATER_MS, Some(state(Phase::Unknown))), ["synchronization:unknown"]);
        assert_eq!(watched.look_at(LATER_MS, Some(with(Phase::Done, 1, false))), ["synchronization:deployed"]);
    }

    #[test]
    fn a_failure_is_told_with_its_reason() {
        let states: States = [(name(), state(Phase::Failed))].into();
        let news = news(&AllTold::new(), &states, &BTreeMap::new(), &BTreeSet::new(), 1);
        assert_eq!(news.events[0].value.as_ref().unwrap()["message"], "out of luck");
        assert_eq!(news.events[0].kind, "synchronization");
    }

    #[test]
    fn an_instance_that_ends_or_comes_back_is_told_of_once() {
        let mut watched = Watched::default();
        watched.look(Some(with(Phase::Done, 0, false)));
        assert_eq!(watched.look(Some(with(Phase::Done, 0, true))), ["instance:ended"]);
        assert_eq!(watched.look(Some(with(Phase::Done, 0, true))), [""; 0]);
        assert_eq!(watched.look(Some(with(Phase::Done, 1, false))), ["instance:restarted"]);
        assert_eq!(watched.look(Some(with(Phase::Done, 1, false))), [""; 0]);
        // Nothing is seen of it while its platform is silent; that is no news of it.
        assert_eq!(watched.look(Some(state(Phase::Unknown))), ["synchronization:unknown"]);
        assert_eq!(watched.look(Some(with(Phase::Done, 1, false))), ["synchronization:deployed"]);
        // What is ended on purpose has not ended by itself.
        watched.at_work.insert("i".to_owned());
        assert_eq!(watched.look(Some(with(Phase::Done, 1, true))), [""; 0]);
    }

    #[test]
    fn no_look_tells_without_bound_and_the_rest_is_told_later() {
        let service = |number: usize| ServiceName { service: format!("web:{number}"), ..name() };
        let states: States = (0..EVENTS_MAX * 2).map(|number| (service(number), state(Phase::Done))).collect();
        let mut told = AllTold::new();
        for _ in 0..2 {
            let news = news(&told, &states, &BTreeMap::new(), &BTreeSet::new(), 1);
            assert_eq!(news.events.len(), EVENTS_MAX);
            told.extend(news.told.into_iter().filter_map(|(name, told)| Some((name, told?))));
        }
        assert_eq!(told.len(), EVENTS_MAX * 2);
    }
}
