//! The shell around the machine: gathers what is known of each cluster with a promise, asks the machine, and carries out
//! what it says by the same way as people do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use super::cpu::Processors;
use super::escalate::{Direction, Step};
use super::machine::{ClusterName, Machine, Reading, Situation, Verdict};
use super::promises::{Promise, is_of_platforms, promises};
use super::{measure, words};
use crate::causes::with_causes;
use crate::core::{ChangeError, ChangeRequest, Core, Current, now_unix_ms};
use crate::deploy::{Action, DeployRequest, Rescale};
use crate::persist::{Cause, EventQuery, PersistError, StoredEvent};
use crate::reconcile::{Clusters, Phase, Platforms, States, Times};
use crate::samples::Clock;

/// LIMIT: events about promises that one look takes; the next look takes those after them.
const EVENTS_AT_ONCE: u64 = 100;

/// LIMIT: how old an event may be that asks for something. What was asked for before that is over.
const ASKED_MAX_MS: u64 = 10_000;

/// LIMIT: characters of the words of a change, as for those of people.
const CAUSE_CHARACTERS_MAX: usize = 256;

/// LIMIT: after a question to the platforms so many times its length pass before the next one, so that a platform with
/// thousands of instances is busy with it for a tenth of the time at most.
const REST: u32 = 9;

struct Keeper {
    core: Arc<Core>,
    platforms: Platforms,
    states: watch::Receiver<States>,
    clock: Clock,
    machine: Machine,
    processors: Processors,
    /// Until then platforms are not asked again.
    ask_after: Instant,
    /// What the promises follow from.
    current: Option<Arc<Current>>,
    promises: Vec<Promise>,
    /// The last event that was looked at.
    last_event: u64,
    /// Why a decision was not carried out, so that it is told once.
    failures: BTreeMap<ClusterName, String>,
}

/// Keeps promises until it is told to stop.
pub(crate) async fn run(
    core: Arc<Core>,
    platforms: Platforms,
    states: watch::Receiver<States>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut rounds = core.shared.samples.rounds();
    let mut keeper = Keeper {
        clock: core.shared.samples.clock(),
        core,
        platforms,
        states,
        machine: Machine::default(),
        processors: Processors::default(),
        ask_after: Instant::now(),
        current: None,
        promises: Vec::new(),
        last_event: 0,
        failures: BTreeMap::new(),
    };
    let work = async {
        let mut seen = 0;
        while let Ok(round) = rounds.wait_for(|round| *round != seen).await.map(|round| *round) {
            seen = round;
            keeper.look().await;
        }
    };
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = work => {}
    }
}

impl Keeper {
    /// One look at all promises, and what follows from it.
    async fn look(&mut self) {
        self.follow();
        if self.promises.is_empty() {
            return;
        }
        self.ask_platforms().await;
        // Another one decides; what is measured is known when that is over, and what was decided is read then.
        if !self.core.shared.acting.is_so() {
            self.machine = Machine::default();
            return;
        }
        let asked = match self.recall().await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(cause = %with_causes(&error), "promises are not looked after: the database can't be read");
                return;
            }
        };
        let now_ms = self.clock.now_ms();
        let done: Vec<_> = {
            let states = self.states.borrow();
            self.promises.iter().map(|promise| done(promise, &states)).collect()
        };
        let situations: Vec<Situation<'_>> = self
            .promises
            .iter()
            .zip(&done)
            .map(|(promise, done)| Situation {
                name: &promise.name,
                rule: promise.rule.as_ref(),
                escalation: &promise.escalation,
                sizes: &promise.sizes,
                capacity: promise.capacity,
                done: done.clone(),
                reading: self.reading(promise, now_ms),
                asked: asked.get(&promise.name).copied(),
            })
            .collect();
        let verdicts = self.machine.step(now_ms, &situations);
        for verdict in verdicts {
            self.carry_out(verdict, now_ms, &done).await;
        }
    }

    /// Asks what the instances of clusters use that promise something about it.
    async fn ask_platforms(&mut self) {
        let key = |name: &ClusterName| (name.deployment.clone(), name.cluster.clone());
        let measured = self.promises.iter().filter(|promise| is_of_platforms(promise));
        let measured: Clusters = measured.map(|promise| (key(&promise.name), promise.kinds.clone())).collect();
        if measured.is_empty() || Instant::now() < self.ask_after {
            return;
        }
        let began = Instant::now();
        let mut told = self.platforms.usage(&measured).await;
        self.ask_after = Instant::now() + began.elapsed() * REST;
        let times = measured.into_keys().map(|key| {
            let times = told.remove(&key).unwrap_or_else(|| Ok(Times::new()));
            let (deployment, cluster) = key;
            (ClusterName { deployment, cluster }, times)
        });
        self.processors.take(self.clock.now_ms(), times.collect());
    }

    /// Takes the promises from what is stored now.
    fn follow(&mut self) {
        let current = self.core.shared.current();
        if self.current.as_ref().is_some_and(|known| Arc::ptr_eq(known, &current)) {
            return;
        }
        self.promises = promises(&current);
        let measured = self.promises.iter().filter(|promise| promise.rule.is_some() && !is_of_platforms(promise));
        let gateways: BTreeSet<String> =
            measured.flat_map(|promise| &promise.ports).map(|port| port.gateway.clone()).collect();
        self.core.shared.samples.promise(gateways);
        let names: BTreeSet<&ClusterName> = self.promises.iter().map(|promise| &promise.name).collect();
        self.failures.retain(|name, _| names.contains(name));
        self.current = Some(current);
    }

    fn reading(&self, promise: &Promise, now_ms: u64) -> Reading {
        match &promise.rule {
            None => Reading::Unknown("nothing is measured".to_owned()),
            Some(rule) if is_of_platforms(promise) => self.processors.reading(promise, rule),
            Some(rule) => self.core.shared.samples.look(|history| measure::traffic(promise, rule, history, now_ms)),
        }
    }

    /// What was decided before this start, or by another control plane on this database; and what events ask for.
    async fn recall(&mut self) -> Result<BTreeMap<ClusterName, (Direction, u64)>, PersistError> {
        let query = EventQuery {
            tags: vec![words::TAG.to_owned()],
            kind: Some(words::KIND.to_owned()),
            after_id: Some(self.last_event),
            from_unix_ms: Some(now_unix_ms().saturating_sub(ASKED_MAX_MS)),
            limit: EVENTS_AT_ONCE,
            ..EventQuery::default()
        };
        let news = self.core.events(&query).await?;
        for promise in &self.promises {
            if !self.machine.knows(&promise.name) {
                let [acted, stuck] = [
                    self.newest(&promise.name, words::DECIDED).await?,
                    self.newest(&promise.name, words::STUCK).await?,
                ];
                self.machine.recall(&promise.name, acted, stuck);
            }
        }
        Ok(self.hear(&news))
    }

    /// Takes note of what was decided, and answers what is asked for, of each cluster once: what is left is heard next.
    fn hear(&mut self, news: &[StoredEvent]) -> BTreeMap<ClusterName, (Direction, u64)> {
        // What was carried out is kept together with that, so that a start after a crash knows it.
        let answered: BTreeSet<u64> =
            news.iter().filter_map(|event| event.value.pointer("/numbers/event")?.as_u64()).collect();
        let mut asked = BTreeMap::new();
        for event in news {
            let has = |tag: &str| event.tags.iter().any(|found| found == tag);
            let age_ms = now_unix_ms().saturating_sub(event.at_unix_ms);
            let at_ms = self.clock.now_ms().saturating_sub(age_ms);
            let name = self.promises.iter().map(|promise| &promise.name).find(|name| is_about(event, name));
            let direction = [Direction::Up, Direction::Down].into_iter().find(|way| has(way.tag()));
            match (name, direction) {
                (Some(name), _) if has(words::DECIDED) => self.machine.recall(name, Some(at_ms), None),
                (Some(name), _) if has(words::STUCK) => self.machine.recall(name, None, Some(at_ms)),
                (Some(name), Some(direction)) if !answered.contains(&event.id) => {
                    if asked.contains_key(name) {
                        break;
                    }
                    asked.insert(name.clone(), (direction, event.id));
                }
                _ => {}
            }
            self.last_event = event.id;
        }
        asked
    }

    /// When something with this tag was told last of a cluster, by the clock of the machine.
    async fn newest(&self, name: &ClusterName, tag: &str) -> Result<Option<u64>, PersistError> {
        let tags = [tag.to_owned(), format!("deployments:{}", name.deployment), format!("clusters:{}", name.cluster)];
        let now_unix_ms = now_unix_ms();
        let query = EventQuery {
            tags: tags.into(),
            kind: Some(words::KIND.to_owned()),
            // Nobody decided in the future, whatever an event says.
            until_unix_ms: Some(now_unix_ms.saturating_add(1)),
            limit: 1,
            ..EventQuery::default()
        };
        let events = self.core.events(&query).await?;
        let age_ms = events.first().map(|event| now_unix_ms.saturating_sub(event.at_unix_ms));
        Ok(age_ms.map(|age_ms| self.clock.now_ms().saturating_sub(age_ms)))
    }

    async fn carry_out(&mut self, verdict: Verdict, now_ms: u64, done: &[Option<Vec<String>>]) {
        let (Verdict::Act { name, .. } | Verdict::Stuck { name, .. } | Verdict::Blind { name, .. }) = &verdict;
        let Some(at) = self.promises.iter().position(|promise| promise.name == *name) else { return };
        let sla = self.promises.get(at).and_then(|promise| promise.sla.as_deref());
        let words::Told { text, event } = words::tell(&verdict, sla, now_unix_ms());
        let outcome = match &verdict {
            Verdict::Act { name, steps, .. } => {
                let what = text.chars().take(CAUSE_CHARACTERS_MAX).collect::<String>();
                let deploy = DeployRequest::new(name.deployment.as_str(), rescale(steps));
                let request = ChangeRequest {
                    writes: Vec::new(),
                    deploys: vec![deploy],
                    premises: Vec::new(),
                    validate_only: false,
                    cause: Cause::own(what),
                };
                self.core.change_and_tell(request, vec![event]).await.map(drop)
            }
            Verdict::Stuck { .. } | Verdict::Blind { .. } => {
                self.core.publish(&[event]).await.map(drop).map_err(ChangeError::from)
            }
        };
        if let Err(error) = outcome {
            let why = with_causes(&error);
            if self.failures.get(name) != Some(&why) {
                tracing::warn!(cause = %why, "not done: {text}");
                self.failures.insert(name.clone(), why);
            }
            return;
        }
        self.failures.remove(name);
        match &verdict {
            Verdict::Act { name, .. } => {
                tracing::info!("{text}");
                self.machine.acted(name, now_ms, done.get(at).cloned().flatten());
            }
            Verdict::Stuck { name, .. } => {
                tracing::warn!("{text}");
                self.machine.told(name, now_ms);
            }
            Verdict::Blind { .. } => tracing::warn!("{text}"),
        }
    }
}

/// One change of each service, from what it has to what it gets.
fn rescale(steps: &[Step]) -> Action {
    let mut scales: Vec<Rescale> = Vec::new();
    for Step { cluster, service, from, to, .. } in steps {
        match scales.iter_mut().find(|scale| scale.cluster == *cluster && scale.service == *service) {
            Some(scale) => scale.to = *to,
            None => scales.push(Rescale { cluster: cluster.clone(), service: service.clone(), from: *from, to: *to }),
        }
    }
    Action::Rescale(scales)
}

/// Since when each service concerned is done; `None`: not all of them are, or none is.
fn done(promise: &Promise, states: &States) -> Option<Vec<String>> {
    let is_own = |name: &(String, String, u32)| name.0 == promise.name.cluster;
    promise.services.iter().any(is_own).then_some(())?;
    let since = promise.services.iter().map(|(cluster, service, instances)| {
        let (_, state) = states.iter().find(|(name, _)| {
            name.deployment == promise.name.deployment && name.cluster == *cluster && name.service == *service
        })?;
        (state.phase == Phase::Done && state.wanted == *instances).then(|| state.since.clone())
    });
    since.collect()
}

/// Whether an event names a cluster, as this product writes it or as the original did.
fn is_about(event: &StoredEvent, name: &ClusterName) -> bool {
    let has = |group: &str, what: &str| event.tags.iter().any(|tag| tag.strip_prefix(group) == Some(what));
    (has("deployments:", &name.deployment) || has("deployment:", &name.deployment))
        && (has("clusters:", &name.cluster) || has("cluster:", &name.cluster))
}
