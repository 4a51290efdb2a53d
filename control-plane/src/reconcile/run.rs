//! The shell around the machine: looks at everything, asks it, and does what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use vamp_model::{Artifact, Instance as Target, Instances, Kind};

use super::machine::{Action, Machine, Picture, Seen, ServiceName};
use super::order::{Order, known_by, orders};
use super::state::{InstanceState, Intention, Phase, ServiceState, Stage, States};
use super::terms::{AllTerms, Terms};
use super::told::{self, AllTold};
use super::{LIST_TIMEOUT, Platforms};
use crate::causes::with_causes;
use crate::core::{ChangeRequest, Core, Current, WriteRequest, now_unix_ms};
use crate::deploy::{self, DeployRequest};
use crate::persist::{Cause, PersistError};
use crate::platform::health::{Checked, Health};
use crate::platform::{Instance, InstanceId, InstanceSpec, Labels, PlatformError, SharedPlatform, State};

/// How often everything is looked at when nothing says that something changed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// LIMIT: how often everything is looked at while much changes.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(50);

/// LIMIT: instances that are started and removed at the same time; the others wait for the next look.
const WORK_MAX: usize = 32;

/// Why a service is not done that this control plane does not see.
const IS_ANOTHERS: &str = "another control plane brings it about, where this one does not see it";

/// Why an instance is still there that gets nothing in the newest table, or a service is not done whose instances are ready.
const WAITS_FOR_GATEWAYS: &str = "waits until every live gateway serves the newest table and has let instances go: `vamp rollout status` says which lag";

/// The same where some may be cut off.
fn waits_for(lost: &[String]) -> String {
    match lost {
        [] => WAITS_FOR_GATEWAYS.to_owned(),
        lost => format!(
            "waits for a minute, as gateway process {} is not registered any more and may still send requests: see whether it runs and reaches the store",
            lost.join(", ")
        ),
    }
}

/// How long after a start of the control plane gateways may be unknown of which none is registered: longer than a lease.
const REGISTERED_WITHIN: Duration = Duration::from_secs(15);

/// What an instance gets to end by itself.
const GRACE: Duration = Duration::from_secs(10);

/// What an instance gets from its start before it is told as a fault that its checks fail: programs need a while until they
/// take connections.
const COMING_MS: u64 = 10_000;

/// LIMIT: from the first failing check of an instance to its replacement, after many of its service.
const CURE_PAUSE_MAX: Duration = Duration::from_hours(1);
/// After so long without a replacement, a service begins anew.
const CURE_FORGET: Duration = Duration::from_hours(2);

/// What became of work on a platform.
struct Done {
    id: String,
    service: ServiceName,
    outcome: Result<(), String>,
    /// By which order it was started; `None`: it was removed.
    started_by: Option<String>,
}

/// Why a service could not be started.
struct StartFailure {
    /// By which order.
    template: String,
    why: String,
}

/// An instance with what is known of it beside what its platform says.
struct Known<'p> {
    seen: Seen,
    instance: Instance,
    health: Health,
    platform: &'p str,
    /// Another one is to take its place.
    is_unwell: bool,
}

/// How often instances of services were replaced as they were not well: each time the next one is given longer, as it may
/// be the checks that are wrong.
#[derive(Debug, Default)]
struct Cures(BTreeMap<ServiceName, (u32, Instant)>);

impl Cures {
    /// How long an instance of the service is not well until another one takes its place.
    fn pause(&self, service: &ServiceName, first: Duration) -> Duration {
        let (times, _) = self.0.get(service).copied().unwrap_or((0, Instant::now()));
        first.saturating_mul(2_u32.saturating_pow(times)).min(CURE_PAUSE_MAX.max(first))
    }

    fn note(&mut self, service: &ServiceName) {
        self.0.retain(|_, (_, last)| last.elapsed() < CURE_FORGET);
        let (times, last) = self.0.entry(service.clone()).or_insert((0, Instant::now()));
        (*times, *last) = (times.saturating_add(1), Instant::now());
    }
}

/// Everything at one moment.
struct View<'p> {
    current: Arc<Current>,
    orders: Vec<Order>,
    known: Vec<Known<'p>>,
    picture: Picture,
    /// What each platform that does not answer says.
    silent: BTreeMap<&'p str, String>,
    /// The gateways that are not registered any more and may serve on, where they are all that is waited for.
    lost: Vec<String>,
    at_unix_ms: u64,
}

struct Reconciler {
    core: Arc<Core>,
    platforms: Platforms,
    machine: Machine,
    started: Instant,
    working: JoinSet<Done>,
    under_way: BTreeSet<String>,
    /// Those of them that are being removed: they still run, and take nothing new.
    going: BTreeSet<String>,
    /// Why the last start of a service failed.
    failures: BTreeMap<ServiceName, StartFailure>,
    /// Why the last removal of an instance of it failed.
    removal_failures: BTreeMap<ServiceName, String>,
    /// Services of which a platform has shown instances that take requests, since the turn to act began.
    met: BTreeSet<ServiceName>,
    /// Where services were when their platform answered last.
    places: BTreeMap<ServiceName, String>,
    /// By what instances are known to take requests.
    terms: AllTerms,
    /// The deployments whose gateways wait for instances, as of a change.
    waiting: Option<(u64, BTreeSet<String>)>,
    states: watch::Sender<States>,
    /// What was told last of each service; `None`: it was not read yet.
    told: Option<AllTold>,
    /// Whether it was this control plane's turn to act, when it was last looked.
    acts: bool,
    /// When its turn began, or before that, when it began to look.
    since_unix_ms: u64,
    /// The instances that were ready at the last look: since when they run, and where.
    well: BTreeMap<String, (Option<u64>, Target)>,
    /// The instances that were ready and whose checks fail now: since when they run, and since when they fail.
    ill: BTreeMap<String, (Option<u64>, Instant)>,
    cures: Cures,
}

/// Works until it is told to stop; what was begun is not waited for: the next one finds it.
pub(crate) async fn run(
    core: Arc<Core>,
    platforms: Platforms,
    states: watch::Sender<States>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut reconciler = Reconciler::new(core, platforms, states);
    let mut signals = reconciler.signals();
    loop {
        reconciler.look().await;
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => break,
            () = tokio::time::sleep(LOOK_EVERY_MIN) => {}
        }
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            () = signals.any() => {}
            Some(done) = reconciler.working.join_next() => reconciler.take(done.ok()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        while let Some(done) = reconciler.working.try_join_next() {
            reconciler.take(done.ok());
        }
    }
    reconciler.working.shutdown().await;
}

/// What says that it is worth to look again. None of it carries data.
struct Signals {
    current: watch::Receiver<Arc<Current>>,
    fleet: watch::Receiver<crate::rollout::Fleet>,
    turns: watch::Receiver<bool>,
    hints: Vec<watch::Receiver<u64>>,
}

#[expect(clippy::disallowed_methods, reason = "what changed does not matter: everything is looked at again")]
impl Signals {
    async fn any(&mut self) {
        let (current, fleet, turns) = (self.current.changed(), self.fleet.changed(), self.turns.changed());
        let hints = self.hints.iter_mut().map(|hint| Box::pin(hint.changed()));
        let hints: Vec<_> = hints.collect();
        tokio::select! {
            _ = current => {}
            _ = fleet => {}
            _ = turns => {}
            () = async {
                if hints.is_empty() {
                    std::future::pending::<()>().await;
                }
                drop(futures_util::future::select_all(hints).await);
            } => {}
        }
    }
}

impl Reconciler {
    fn new(core: Arc<Core>, platforms: Platforms, states: watch::Sender<States>) -> Self {
        Self {
            core,
            platforms,
            machine: Machine::default(),
            started: Instant::now(),
            working: JoinSet::new(),
            under_way: BTreeSet::new(),
            going: BTreeSet::new(),
            failures: BTreeMap::new(),
            removal_failures: BTreeMap::new(),
            met: BTreeSet::new(),
            places: BTreeMap::new(),
            terms: AllTerms::default(),
            waiting: None,
            states,
            told: None,
            acts: false,
            since_unix_ms: now_unix_ms(),
            well: BTreeMap::new(),
            ill: BTreeMap::new(),
            cures: Cures::default(),
        }
    }

    fn signals(&self) -> Signals {
        let mut hints = Vec::new();
        for runner in self.platforms.by_kind.values() {
            hints.push(runner.platform.hints());
            hints.push(runner.monitor.changes());
        }
        let shared = &self.core.shared;
        let (current, fleet, turns) = (shared.watch_current(), shared.fleet.subscribe(), shared.acting.turns());
        Signals { current, fleet, turns, hints }
    }

    /// One look at everything, and what follows from it.
    async fn look(&mut self) {
        let current = match self.core.shared.refresh().await {
            Ok(current) => current,
            Err(error) => {
                tracing::warn!(cause = %with_causes(&error), "deployments are left as they are: the database can't be read");
                return;
            }
        };
        let acts = self.core.shared.acting.is_so();
        if acts && !self.acts {
            // Who acted until now told more.
            self.told = None;
            self.met.clear();
            self.since_unix_ms = now_unix_ms();
        }
        self.acts = acts;
        if let Err(error) = self.recall().await {
            tracing::warn!(cause = %with_causes(&error), "deployments are left as they are: the database can't be read");
            return;
        }
        let platforms = self.platforms.clone();
        let view = self.view(current, &platforms).await;
        if !self.core.shared.acting.is_so() {
            self.tell(&view);
            return;
        }
        self.forget_former_failures(&view.orders);
        let now = self.started.elapsed();
        let wanted: Vec<_> = view.orders.iter().map(|order| order.wanted.clone()).collect();
        let actions = self.machine.step(now, &wanted, &view.picture);
        self.tell(&view);
        // What is begun from here on does not explain how an instance was seen.
        let at_work = self.under_way.clone();
        self.route(&view, &actions).await;
        self.core.shared.note_stands(view.stands());
        self.forget(&view).await;
        // The database may have been away for longer than the turn lasts.
        if !self.core.shared.acting.is_so() {
            return;
        }
        for action in actions {
            match action {
                Action::Route(..) => {}
                Action::Start(service, number) => self.start(&view, &service, number),
                Action::Remove(id) => self.remove(&view, &id),
            }
        }
        if let Err(error) = self.publish(&at_work).await {
            tracing::warn!(cause = %with_causes(&error), "what happens to services is told later");
        }
    }

    /// Reads what was told before this start.
    async fn recall(&mut self) -> Result<(), PersistError> {
        if self.told.is_none() {
            let told = told::read(&self.core.shared.persistence.states(told::SCOPE).await?);
            let places = told.iter().filter_map(|(name, told)| Some((told::service(name)?, told.place.clone()?)));
            self.places.extend(places);
            self.told = Some(told);
        }
        Ok(())
    }

    /// Tells what changed since it was told last.
    async fn publish(&mut self, at_work: &BTreeSet<String>) -> Result<(), PersistError> {
        let news = |told: &AllTold| told::news(told, &self.states.borrow(), &self.places, at_work, now_unix_ms());
        if self.told.as_ref().is_none_or(|told| news(told).states.is_empty()) {
            return Ok(());
        }
        // Another control plane on this database may have told it.
        let mut told = told::read(&self.core.shared.persistence.states(told::SCOPE).await?);
        let news = news(&told);
        if !news.states.is_empty() {
            self.core.shared.tell(&news.events, &news.states).await?;
        }
        for (name, after) in news.told {
            match after {
                Some(after) => told.insert(name, after),
                None => told.remove(&name),
            };
        }
        self.told = Some(told);
        Ok(())
    }

    /// Asks every platform, and puts together what they say with what is wanted.
    async fn view<'p>(&mut self, current: Arc<Current>, platforms: &'p Platforms) -> View<'p> {
        let mut orders = orders(&current, &platforms.gateway_host);
        for order in &mut orders {
            // Who acts may be another one, which has it.
            if let (true, true, Some((what, mend))) = (self.acts, order.spec.is_ok(), platforms.missing(&order.kind)) {
                order.spec = Err(format!("{what}: {mend}"));
            }
        }
        self.terms.note(&orders);
        let routed = routed(&current);
        let mut picture = Picture { acknowledged: self.is_acknowledged(), routed, ..Picture::default() };
        let (mut known, mut silent) = (Vec::new(), BTreeMap::new());
        let answers = platforms.by_kind.iter().map(async |(kind, runner)| {
            let answer = tokio::time::timeout(LIST_TIMEOUT, runner.platform.list(&Labels::new())).await;
            let answer = match answer {
                Ok(answer) => answer.map_err(|error| with_causes(&error)),
                Err(_) => Err(format!("the platform did not say within {} s what runs there", LIST_TIMEOUT.as_secs())),
            };
            (kind, runner, answer)
        });
        for (kind, runner, answer) in futures_util::future::join_all(answers).await {
            match answer {
                Ok(instances) => {
                    let own: Vec<_> = instances.into_iter().filter(|instance| known_by(instance).is_some()).collect();
                    runner.watch(&own, &orders, &self.terms);
                    known.extend(own.into_iter().filter_map(|instance| {
                        let health = runner.monitor.health(&instance.id);
                        let terms = self.terms.of(&instance, &orders);
                        let is_going = self.going.contains(instance.id.as_str());
                        let took =
                            |service: &ServiceName, instance: &Instance| self.is_trusted(&current, service, instance);
                        Known::new(instance, health, kind, terms, took).map(|known| known.going(is_going))
                    }));
                }
                Err(why) => drop(silent.insert(kind.as_str(), why)),
            }
        }
        for known in &known {
            self.places.insert(known.seen.service.clone(), known.platform.to_owned());
        }
        picture.unknown = unsaid(&current, &known, &picture.routed);
        let is_silent = |kind: Option<&str>| kind.is_some_and(|kind| silent.contains_key(kind));
        for order in &orders {
            let name = &order.wanted.name;
            // What can't be said is left as it is, like what can't be seen.
            if order.spec.is_err()
                || is_silent(Some(&order.kind))
                || is_silent(self.places.get(name).map(String::as_str))
            {
                picture.unknown.insert(name.clone());
            }
        }
        picture.unwell = self.note_ill(&mut known, !silent.is_empty());
        self.note_well(&known, !silent.is_empty());
        self.meet(&current, &known);
        self.met.retain(|service| picture.routed.contains_key(service));
        picture.unmet = picture.routed.keys().filter(|service| !self.met.contains(service)).cloned().collect();
        self.terms.keep(known.iter().map(|known| &known.seen), &picture.unknown);
        picture.seen = known.iter().map(|known| known.seen.clone()).collect();
        let rollout = self.core.rollout();
        let lost = rollout.lost.iter().filter(|_| rollout.is_complete() && !rollout.unknown);
        let lost = lost.map(|id| format!("`{id}`")).collect();
        View { current, orders, known, picture, silent, lost, at_unix_ms: now_unix_ms() }
    }

    /// Whether an instance is well of which nobody knows it: it was at the last look, and other checks make nobody unwell;
    /// or it took requests already when the turn to act began. One of the same name that was started since, here or in
    /// another place, has yet to show that it is.
    fn is_trusted(&self, current: &Current, service: &ServiceName, instance: &Instance) -> bool {
        let target = target(instance);
        let was_well = self.well.get(instance.id.as_str());
        if was_well.is_some_and(|(since, at)| *since == instance.started_at_unix_ms && *at == target) {
            return true;
        }
        let is_older = instance.started_at_unix_ms.is_some_and(|at| at <= self.since_unix_ms);
        is_older && is_routed(current, service, &target)
    }

    /// Takes note of who is well. Of a platform that is silent nothing new is known.
    fn note_well(&mut self, known: &[Known<'_>], is_any_silent: bool) {
        let ready = known.iter().filter(|known| known.seen.ready);
        let well = ready.map(|known| (known.seen.id.clone(), (known.instance.started_at_unix_ms, known.target())));
        let former = std::mem::replace(&mut self.well, well.collect());
        for (id, was) in former.into_iter().filter(|_| is_any_silent) {
            self.well.entry(id).or_insert(was);
        }
    }

    /// Takes note of the instances that were ready and are not well any more; those of which that has lasted for too long. One
    /// that was never ready may need its time, or its checks are wrong.
    fn note_ill(&mut self, known: &mut [Known<'_>], is_any_silent: bool) -> BTreeSet<String> {
        let former = std::mem::take(&mut self.ill);
        let after = self.platforms.replace_failing_after;
        let mut unwell = BTreeSet::new();
        for known in known.iter_mut().filter(|known| matches!(known.health, Health::Failing { .. })) {
            let (id, started) = (&known.seen.id, known.instance.started_at_unix_ms);
            // Of one that ran before this turn began nobody knows any more whether it was.
            let is_older = started.is_some_and(|at| at <= self.since_unix_ms);
            let was_ready = || is_older || self.well.get(id).is_some_and(|(since, _)| *since == started);
            let since = match former.get(id) {
                Some((since, failing)) if *since == started => *failing,
                _ if was_ready() => Instant::now(),
                _ => continue,
            };
            self.ill.insert(id.clone(), (started, since));
            let after = self.cures.pause(&known.seen.service, after);
            known.is_unwell = !after.is_zero() && since.elapsed() >= after;
            if known.is_unwell {
                unwell.insert(id.clone());
            }
        }
        for (id, was) in former.into_iter().filter(|_| is_any_silent) {
            self.ill.entry(id).or_insert(was);
        }
        unwell
    }

    /// Takes note of services whose instances take requests where a platform shows them, or may from now on.
    fn meet(&mut self, current: &Current, known: &[Known<'_>]) {
        for known in known {
            let service = &known.seen.service;
            if self.met.contains(service) {
                continue;
            }
            if known.seen.ready || is_routed(current, service, &known.target()) {
                self.met.insert(service.clone());
            }
        }
    }

    /// Whether no gateway that is alive still serves an older table. An empty database never takes away what another one
    /// started: that it was named is most likely a mistake. One whose registration ended while the store was away
    /// registers again when it is back, and serves meanwhile.
    fn is_acknowledged(&self) -> bool {
        let rollout = self.core.rollout();
        if rollout.unknown || self.core.shared.current().snapshot.position.sequence == 0 {
            return false;
        }
        // Right after a start gateways may be about to register that served all the time.
        let may_be_some = rollout.of == 0 && self.started.elapsed() < REGISTERED_WITHIN;
        rollout.is_complete() && rollout.lost.is_empty() && !may_be_some
    }

    /// Writes down where requests go: what the actions say, and new addresses of instances that stay.
    async fn route(&mut self, view: &View<'_>, actions: &[Action]) {
        let met = view.picture.routed.iter().filter(|(service, _)| !view.picture.unmet.contains(service));
        let mut targets: BTreeMap<&ServiceName, &[String]> =
            met.map(|(service, ids)| (service, ids.as_slice())).collect();
        for action in actions {
            if let Action::Route(service, ids) = action {
                targets.insert(service, ids);
            }
        }
        let mut writes = Vec::new();
        for (service, ids) in targets {
            if view.picture.unknown.contains(service) || view.order(service).is_none() {
                continue;
            }
            let instances: Vec<Target> = ids.iter().filter_map(|id| view.target(id)).collect();
            let artifact = Artifact::Instances(Instances { name: service.to_string(), instances });
            if view.current.artifact(Kind::Instances, &service.to_string()) != Some(&artifact) {
                writes.push(WriteRequest::replace(artifact, None));
            }
        }
        let deploys = self.follow(view, &writes);
        if writes.is_empty() && deploys.is_empty() {
            return;
        }
        let writes_of = writes.iter().map(|write| write.name.as_str());
        let names: Vec<&str> = writes_of.chain(deploys.iter().map(|deploy| deploy.deployment.as_str())).collect();
        let cause = format!("other instances take requests: {}", names.join(", "));
        let cause: String = cause.chars().take(256).collect();
        let cause = Cause::own(&cause);
        let request = |writes, deploys| ChangeRequest {
            writes,
            deploys,
            premises: Vec::new(),
            validate_only: false,
            cause: cause.clone(),
        };
        let Err(error) = self.core.change(request(writes.clone(), deploys.clone())).await else { return };
        tracing::warn!("requests go where they went: {error}");
        if deploys.is_empty() || writes.is_empty() && deploys.len() == 1 {
            return;
        }
        // A gateway that can't be led on holds up no other one, and no instance.
        let instances = (!writes.is_empty()).then_some((writes, Vec::new()));
        let alone = instances.into_iter().chain(deploys.into_iter().map(|deploy| (Vec::new(), vec![deploy])));
        for (writes, deploys) in alone {
            if let Err(error) = self.core.change(request(writes, deploys)).await {
                tracing::warn!("requests go where they went: {error}");
            }
        }
    }

    /// A service that went while a look was taken is not brought back by it. Each is forgotten alone: one that something
    /// still refers to holds up no other.
    async fn forget(&self, view: &View<'_>) {
        for service in view.picture.routed.keys().filter(|service| view.is_gone(service)) {
            let request = ChangeRequest {
                writes: vec![WriteRequest::delete(Kind::Instances, &service.to_string(), None)],
                deploys: Vec::new(),
                premises: Vec::new(),
                validate_only: false,
                cause: Cause::own("a service is gone"),
            };
            if let Err(error) = self.core.change(request).await {
                tracing::debug!(%service, "where its requests went is not forgotten yet: {error}");
            }
        }
    }

    /// Gateways that wait for instances are led on in the change that tells where these are.
    fn follow(&mut self, view: &View<'_>, writes: &[WriteRequest]) -> Vec<DeployRequest> {
        let sequence = view.current.snapshot.position.sequence;
        if self.waiting.as_ref().is_none_or(|(at, _)| *at != sequence) {
            self.waiting = Some((sequence, deploy::waiting(view.current.as_ref())));
        }
        let waiting = self.waiting.iter().map(|(_, waiting)| waiting).filter(|waiting| !waiting.is_empty());
        waiting.flat_map(|waiting| deploy::follow(waiting, view.current.as_ref(), writes)).collect()
    }

    fn start(&mut self, view: &View<'_>, service: &ServiceName, number: u32) {
        let Some(order) = view.order(service) else { return };
        let spec = match order.instance(number) {
            Ok(spec) => spec,
            Err(why) => return self.failed(service, order.wanted.template.clone(), why),
        };
        let Some(runner) = self.platforms.by_kind.get(&order.kind) else { return };
        let platform = Arc::clone(&runner.platform);
        let id = spec.id.to_string();
        if !self.begin(&id) {
            return;
        }
        tracing::info!(instance = %id, service = %service, "an instance is started");
        self.working.spawn(ensure(platform, spec, service.clone(), order.wanted.template.clone()));
    }

    fn remove(&mut self, view: &View<'_>, id: &str) {
        let Some(known) = view.known.iter().find(|known| known.seen.id == id) else { return };
        let Some(runner) = self.platforms.by_kind.get(known.platform) else { return };
        let platform = Arc::clone(&runner.platform);
        if !self.begin(id) {
            return;
        }
        if known.is_unwell {
            self.cures.note(&known.seen.service);
        }
        self.going.insert(id.to_owned());
        tracing::info!(instance = %id, service = %known.seen.service, "an instance is removed");
        self.working.spawn(remove(platform, known.instance.id.clone(), known.seen.service.clone()));
    }

    /// Whether work on this instance may begin now.
    fn begin(&mut self, id: &str) -> bool {
        self.under_way.len() < WORK_MAX && self.under_way.insert(id.to_owned())
    }

    /// Takes note of what became of work.
    fn take(&mut self, done: Option<Done>) {
        let Some(Done { id, service, outcome, started_by }) = done else { return };
        self.under_way.remove(&id);
        self.going.remove(&id);
        if let Err(why) = &outcome {
            tracing::warn!(instance = %id, service = %service, "{why}");
        }
        match (outcome, started_by) {
            (Ok(()), Some(_)) => self.forget_failure(&service),
            (Ok(()), None) => drop(self.removal_failures.remove(&service)),
            (Err(why), Some(template)) => self.failed(&service, template, why),
            (Err(why), None) => {
                self.machine.removal_failed(&id, self.started.elapsed());
                self.removal_failures.insert(service, format!("instance `{id}` can't be removed: {why}"));
            }
        }
    }

    fn failed(&mut self, service: &ServiceName, template: String, why: String) {
        self.machine.failed(service, self.started.elapsed());
        self.failures.insert(service.clone(), StartFailure { template, why });
    }

    fn forget_failure(&mut self, service: &ServiceName) {
        self.machine.succeeded(service);
        self.failures.remove(service);
    }

    /// Another order is tried at once, whatever became of the one before.
    fn forget_former_failures(&mut self, orders: &[Order]) {
        for Order { wanted, .. } in orders {
            if self.failures.get(&wanted.name).is_some_and(|failure| failure.template != wanted.template) {
                self.forget_failure(&wanted.name);
            }
        }
    }

    /// Tells how far everything is.
    fn tell(&mut self, view: &View<'_>) {
        // Nobody knows whether something is left of what ran where nobody answers.
        let places = self.places.clone();
        let unseen = places.iter().filter(|(_, place)| view.silent.contains_key(place.as_str())).map(|(name, _)| name);
        let names: BTreeSet<&ServiceName> = view
            .orders
            .iter()
            .map(|order| &order.wanted.name)
            .chain(view.known.iter().map(|known| &known.seen.service))
            .chain(unseen)
            .collect();
        self.failures.retain(|service, _| names.contains(service));
        self.removal_failures.retain(|service, _| names.contains(service));
        self.places.retain(|service, _| names.contains(service));
        let former = self.states.borrow().clone();
        let states: States = names
            .into_iter()
            .map(|name| {
                let start = self.failures.get(name).map(|failure| &failure.why);
                let failure = start.or(self.removal_failures.get(name));
                let mut state = view.state(name, failure, places.get(name).map(String::as_str));
                if !self.acts {
                    view.tell_of_other(name, &mut state);
                } else if state.phase == Phase::Updating
                    && let Some(cluster) = self.machine.waits_for(name)
                {
                    state.message =
                        Some(format!("waits until the change of {cluster}, which it needs, is carried out"));
                }
                let told = self.told.as_ref().and_then(|told| told.get(&name.to_string()));
                let former = former.get(name).map(|former| (former.intention, former.phase, &former.since));
                let former = former.or_else(|| told.map(|told| (told.intention, told.phase, &told.since)));
                // Silence of its platform changes nothing about a service that was done, as long as nothing else is told.
                let was_told = told.is_some_and(|told| told.phase == Phase::Done);
                let was_done =
                    former.is_some_and(|(_, phase, _)| phase == Phase::Done || (phase == Phase::Unknown && was_told));
                if state.phase == Phase::Done && !was_done && !view.picture.acknowledged {
                    // Whoever is told that it is done may send requests.
                    (state.phase, state.message) = (Phase::Updating, Some(waits_for(&view.lost)));
                }
                if let Some((intention, phase, since)) = former
                    && (intention, phase) == (state.intention, state.phase)
                {
                    state.since.clone_from(since);
                }
                (name.clone(), state)
            })
            .collect();
        self.states.send_if_modified(|present| {
            let is_other = *present != states;
            if is_other {
                *present = states;
            }
            is_other
        });
    }
}

/// An instance that takes requests, and of which another control plane knows more.
fn of_other(target: &Target) -> InstanceState {
    InstanceState {
        name: target.name.clone(),
        state: "it takes requests".to_owned(),
        stage: Stage::Running,
        ready: true,
        routed: true,
        ports: target.ports.iter().cloned().collect(),
        ..InstanceState::default()
    }
}

async fn ensure(platform: SharedPlatform, spec: InstanceSpec, service: ServiceName, template: String) -> Done {
    let id = spec.id.to_string();
    let outcome = platform.ensure(&spec).await.map_err(|error| in_words(&error));
    Done { id, service, outcome, started_by: Some(template) }
}

async fn remove(platform: SharedPlatform, id: InstanceId, service: ServiceName) -> Done {
    let outcome = platform.remove(&id, GRACE).await.map_err(|error| in_words(&error));
    Done { id: id.to_string(), service, outcome, started_by: None }
}

fn in_words(error: &PlatformError) -> String {
    with_causes(error)
}

/// Whether requests go to this instance, at this address.
fn is_routed(current: &Current, service: &ServiceName, target: &Target) -> bool {
    match current.artifact(Kind::Instances, &service.to_string()) {
        Some(Artifact::Instances(stored)) => stored.instances.contains(target),
        _ => false,
    }
}

/// Services whose deployment can't be read: what was ordered there can't be said.
fn unsaid(
    current: &Current,
    known: &[Known<'_>],
    routed: &BTreeMap<ServiceName, Vec<String>>,
) -> BTreeSet<ServiceName> {
    let unreadable = current.unreadable().filter(|(kind, _)| *kind == Kind::Deployment);
    let unreadable: BTreeSet<&str> = unreadable.map(|(_, name)| name).collect();
    let services = known.iter().map(|known| &known.seen.service).chain(routed.keys());
    services.filter(|service| unreadable.contains(service.deployment.as_str())).cloned().collect()
}

/// Where an instance takes requests.
fn target(instance: &Instance) -> Target {
    let host = &instance.host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let ports = instance.ports.iter().map(|(name, port)| (name.clone(), format!("{host}:{port}")));
    Target { name: instance.id.to_string(), ports: ports.collect() }
}

/// To which instances the wanted table sends requests.
fn routed(current: &Current) -> BTreeMap<ServiceName, Vec<String>> {
    let mut routed = BTreeMap::new();
    for artifact in current.all(Kind::Instances) {
        let Artifact::Instances(instances) = artifact else { continue };
        let mut parts = instances.name.splitn(3, '/').map(str::to_owned);
        if let (Some(deployment), Some(cluster), Some(service)) = (parts.next(), parts.next(), parts.next()) {
            let ids = instances.instances.iter().map(|instance| instance.name.clone()).collect();
            routed.insert(ServiceName { deployment, cluster, service }, ids);
        }
    }
    routed
}

impl<'p> Known<'p> {
    fn new(
        instance: Instance,
        health: Health,
        platform: &'p str,
        terms: Option<Terms>,
        took_requests: impl Fn(&ServiceName, &Instance) -> bool,
    ) -> Option<Self> {
        let (service, template, number) = known_by(&instance)?;
        let terms = terms.unwrap_or_default();
        let running = instance.state == State::Running;
        let is_open = terms.ports.iter().all(|port| instance.ports.contains_key(port));
        let id = instance.id.to_string();
        let has_checks = !terms.checks.is_empty();
        let is_well = match health {
            Health::Passing => true,
            Health::Failing { .. } => false,
            // After a restart of the control plane nothing is known of those that took requests before.
            Health::Unknown => !has_checks || took_requests(&service, &instance),
        };
        let stopped = matches!(instance.state, State::Exited(_));
        let seen = Seen { id, service, template, number, ready: running && is_open && is_well, running, stopped };
        Some(Self { seen, instance, health, platform, is_unwell: false })
    }

    fn going(self, is_going: bool) -> Self {
        if is_going { Self { seen: self.seen.going(), ..self } } else { self }
    }

    /// Where it takes requests.
    fn target(&self) -> Target {
        target(&self.instance)
    }

    /// Whether it was started so lately that failing checks are no fault yet.
    fn is_coming(&self, at_unix_ms: u64) -> bool {
        let since = self.instance.started_at_unix_ms;
        since.is_some_and(|since| at_unix_ms.checked_sub(since).is_some_and(|age| age < COMING_MS))
    }

    fn state_in_words(&self, at_unix_ms: u64) -> String {
        match (&self.instance.state, &self.health) {
            (State::Preparing(what), _) => what.clone(),
            (State::Starting, _) => "it is being started".to_owned(),
            (State::Running, Health::Failing { reason }) if self.is_coming(at_unix_ms) => {
                format!("it runs, and is not ready yet: {reason}")
            }
            (State::Running, Health::Failing { reason }) if self.is_unwell => {
                format!("it is not well, and another one is to take its place: {reason}")
            }
            (State::Running, Health::Failing { reason }) => format!("it is not well: {reason}"),
            (State::Running, _) if self.seen.ready => "it runs".to_owned(),
            (State::Running, _) => "it runs, and is not ready yet".to_owned(),
            (State::Restarting(exit), _) => format!("it ended ({}), and is started again", exit_in_words(exit)),
            (State::Exited(exit), _) => format!("it ended ({})", exit_in_words(exit)),
        }
    }

    /// Why it does not serve, if something is wrong.
    fn fault(&self, at_unix_ms: u64) -> Option<String> {
        let has_ended = matches!(self.instance.state, State::Restarting(_) | State::Exited(_));
        if has_ended {
            let ServiceName { deployment, cluster, service } = &self.seen.service;
            let mend = format!("`vamp logs {deployment} {cluster}/{service}` shows what it wrote");
            return Some(format!("{}; {mend}", self.told(at_unix_ms)));
        }
        let is_wrong = matches!(self.health, Health::Failing { .. }) && !self.is_coming(at_unix_ms);
        is_wrong.then(|| self.told(at_unix_ms))
    }

    /// Its name, and what it does.
    fn told(&self, at_unix_ms: u64) -> String {
        format!("instance `{}`: {}", self.seen.id, self.state_in_words(at_unix_ms))
    }
}

fn exit_in_words(exit: &crate::platform::Exit) -> String {
    match (exit.is_out_of_memory, exit.code, exit.signal) {
        (true, _, _) => "it took more memory than its scale allows".to_owned(),
        (_, Some(code), _) => format!("exit code {code}"),
        (_, None, Some(signal)) => format!("signal {signal}"),
        (_, None, None) => "nobody saw how".to_owned(),
    }
}

impl View<'_> {
    /// Whether each service that can be started has as many instances that take requests as are wanted.
    fn stands(&self) -> bool {
        self.orders.iter().all(|Order { wanted, spec, .. }| {
            let ready = |known: &&Known<'_>| known.seen.service == wanted.name && known.seen.ready;
            let is_there =
                || u32::try_from(self.known.iter().filter(ready).count()).is_ok_and(|ready| ready >= wanted.count);
            wanted.count == 0 || spec.is_err() || is_there()
        })
    }

    fn order(&self, service: &ServiceName) -> Option<&Order> {
        self.orders.iter().find(|order| order.wanted.name == *service)
    }

    /// What another control plane brings about may run where only that one sees it: which instances take requests says then
    /// how far it is.
    fn tell_of_other(&self, name: &ServiceName, state: &mut ServiceState) {
        let Some(order) = self.order(name).filter(|order| order.spec.is_ok()) else { return };
        let routed = match self.current.artifact(Kind::Instances, &name.to_string()) {
            Some(Artifact::Instances(found)) => found.instances.as_slice(),
            _ => &[],
        };
        let is_seen = |target: &Target| self.known.iter().any(|known| known.target() == *target);
        if routed.iter().all(is_seen) {
            return;
        }
        let wanted: BTreeSet<String> =
            (0..order.wanted.count).filter_map(|number| Some(order.instance(number).ok()?.id.to_string())).collect();
        let ready = routed.iter().filter(|target| wanted.contains(&target.name)).count();
        let is_reached = ready == wanted.len() && routed.len() == ready;
        state.phase = if is_reached { Phase::Done } else { Phase::Updating };
        state.message = (!is_reached).then(|| IS_ANOTHERS.to_owned());
        state.ready = u32::try_from(ready).unwrap_or(u32::MAX);
        state.instances = routed.iter().map(of_other).collect();
    }

    /// Whether nothing that is stored orders this service any more.
    fn is_gone(&self, service: &ServiceName) -> bool {
        let stored = match self.current.artifact(Kind::Deployment, &service.deployment) {
            Some(Artifact::Deployment(deployment)) => Some(deployment),
            _ => None,
        };
        let cluster = stored.and_then(|stored| stored.cluster(&service.cluster));
        let is_ordered = cluster.is_some_and(|cluster| cluster.service(&service.service).is_some());
        !is_ordered && !self.picture.unknown.contains(service)
    }

    fn target(&self, id: &str) -> Option<Target> {
        self.known.iter().find(|known| known.seen.id == id).map(Known::target)
    }

    fn state(&self, name: &ServiceName, failure: Option<&String>, place: Option<&str>) -> ServiceState {
        let order = self.order(name);
        let routed = self.picture.routed.get(name).map(Vec::as_slice).unwrap_or_default();
        let mut own: Vec<&Known<'_>> = self.known.iter().filter(|known| known.seen.service == *name).collect();
        own.sort_by(|left, right| left.seen.id.cmp(&right.seen.id));
        let current = |known: &&&Known<'_>| {
            order.is_some_and(|order| {
                known.seen.template == order.wanted.template && known.seen.number < order.wanted.count
            })
        };
        let ready = own.iter().filter(current).filter(|known| known.seen.ready).count();
        let has_left = own.iter().any(|known| !current(&known) && !routed.contains(&known.seen.id));
        let waits = (has_left && !self.picture.acknowledged).then(|| waits_for(&self.lost));
        let wanted = order.map_or(0, |order| order.wanted.count);
        let is_reached = usize::try_from(wanted) == Ok(ready)
            && own.len() == ready
            && own.iter().all(|known| routed.contains(&known.seen.id));
        let fault = own.iter().find_map(|known| known.fault(self.at_unix_ms));
        let own_kind = order.and_then(|order| self.silent.get(order.kind.as_str()));
        let silence = own_kind.or_else(|| place.and_then(|place| self.silent.get(place)));
        let (phase, message) = match order {
            Some(Order { spec: Err(why), .. }) => (Phase::Failed, Some(why.clone())),
            _ if self.picture.unknown.contains(name) => (Phase::Unknown, silence.cloned()),
            Some(_) if is_reached => (Phase::Done, None),
            Some(_) => match failure.cloned().or(fault) {
                Some(why) => (Phase::Failed, Some(why)),
                None if own.is_empty() => (Phase::Initiated, self.waits_for(order)),
                None => {
                    let mut coming = own.iter().filter(current).filter(|known| !known.seen.ready);
                    (Phase::Updating, waits.or_else(|| Some(coming.next()?.told(self.at_unix_ms))))
                }
            },
            None if silence.is_some() => (Phase::Unknown, silence.cloned()),
            None => (Phase::Updating, failure.cloned().or(waits)),
        };
        ServiceState {
            seen_change: self.current.snapshot.position.sequence,
            cluster: name.cluster.clone(),
            service: name.service.clone(),
            intention: if order.is_some() { Intention::Deployment } else { Intention::Undeployment },
            phase,
            message,
            since: jiff::Timestamp::now().to_string(),
            wanted,
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
            instances: own
                .iter()
                .map(|known| InstanceState {
                    name: known.seen.id.clone(),
                    state: known.state_in_words(self.at_unix_ms),
                    ready: known.seen.ready,
                    routed: routed.contains(&known.seen.id),
                    ports: self
                        .target(&known.seen.id)
                        .map(|target| target.ports.into_iter().collect())
                        .unwrap_or_default(),
                    restarts: known.instance.restarts,
                    warnings: known.instance.warnings.clone(),
                    stage: match known.instance.state {
                        State::Preparing(_) | State::Starting => Stage::Coming,
                        State::Running => Stage::Running,
                        State::Restarting(_) | State::Exited(_) => Stage::Ended,
                    },
                    healthy: match known.health {
                        Health::Passing => Some(true),
                        Health::Failing { .. } => Some(false),
                        Health::Unknown => None,
                    },
                })
                .collect(),
        }
    }

    fn waits_for(&self, order: Option<&Order>) -> Option<String> {
        let order = order?;
        let deployment = &order.wanted.name.deployment;
        let is_ready = |cluster: &&String| {
            let mut seen = self.picture.seen.iter();
            seen.any(|seen| seen.ready && seen.service.deployment == *deployment && seen.service.cluster == **cluster)
        };
        let missing: Vec<&str> =
            order.wanted.needs.iter().filter(|cluster| !is_ready(cluster)).map(String::as_str).collect();
        (!missing.is_empty()).then(|| format!("waits for an instance of {} that is ready", missing.join(", ")))
    }
}

impl super::Runner {
    /// Has the instances checked that somebody wants.
    fn watch(&self, instances: &[Instance], orders: &[Order], terms: &AllTerms) {
        let checked = instances.iter().filter_map(|instance| {
            let checks = terms.of(instance, orders)?.checks;
            Some(Checked { instance: instance.clone(), checks })
        });
        self.monitor.watch(checked);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::order::labels;
    use super::*;
    use crate::core::tests::{DEADLINE, World, by_hand, make};
    use crate::platform::Labels;

    fn instance(started_at_unix_ms: Option<u64>, port: u16) -> Instance {
        Instance {
            id: "x".parse().unwrap(),
            labels: Labels::new(),
            digest: String::new(),
            state: State::Running,
            host: "127.0.0.1".to_owned(),
            ports: BTreeMap::from([("web".to_owned(), port)]),
            started_at_unix_ms,
            restarts: 0,
            warnings: Vec::new(),
        }
    }

    fn instances() -> Artifact {
        Artifact::Instances(Instances {
            name: "shop/web/web:1".to_owned(),
            instances: vec![target(&instance(None, 1))],
        })
    }

    async fn reconciler(world: &World) -> Reconciler {
        let acts = async || world.core.shared.acting.is_so();
        vamp_store::testing::eventually("it acts", DEADLINE, acts).await;
        Reconciler::new(Arc::clone(&world.core), Platforms::new("127.0.0.1".to_owned()), watch::Sender::default())
    }

    /// Waits until the control plane has seen how many gateways are registered.
    async fn until_registered(world: &World, count: usize) {
        let seen = async || world.core.rollout().gateways.len() == count;
        vamp_store::testing::eventually("the control plane sees it", DEADLINE, seen).await;
    }

    #[tokio::test]
    async fn who_does_not_act_calls_nothing_failed_that_another_one_may_run() {
        let world = World::new().await;
        let web =
            "{kind: deployments, name: shop, clusters: {web: {services: {breed: {name: 'web:1', deployable: i}}}}}";
        crate::core::tests::put(&world.core, web).await.unwrap();
        let mut reconciler = reconciler(&world).await;
        let platforms = reconciler.platforms.clone();
        for acts in [false, true] {
            reconciler.acts = acts;
            let view = reconciler.view(world.core.shared.refresh().await.unwrap(), &platforms).await;
            assert_eq!(view.orders[0].spec.is_err(), acts, "it has no platform for it");
        }
    }

    #[tokio::test]
    async fn another_order_is_tried_at_once_whatever_became_of_the_one_before() {
        let world = World::new().await;
        let web =
            "{kind: deployments, name: shop, clusters: {web: {services: {breed: {name: 'web:1', deployable: i}}}}}";
        crate::core::tests::put(&world.core, web).await.unwrap();
        let orders = orders(&world.core.shared.refresh().await.unwrap(), "127.0.0.1");
        let service = orders[0].wanted.name.clone();
        let mut reconciler = reconciler(&world).await;
        let mut is_kept = |template: &str| {
            reconciler.failed(&service, template.to_owned(), "no such program".to_owned());
            reconciler.forget_former_failures(&orders);
            reconciler.failures.contains_key(&service)
        };
        assert!(is_kept(&orders[0].wanted.template));
        assert!(!is_kept("of the order before"));
    }

    #[tokio::test]
    async fn a_gateway_that_vanished_may_serve_the_table_before_for_a_while() {
        let world = World::new().await;
        let mut reconciler = reconciler(&world).await;
        reconciler.started = reconciler.started.checked_sub(REGISTERED_WITHIN).unwrap();
        assert!(!reconciler.is_acknowledged(), "an empty database takes nothing away");
        let first = crate::core::tests::put(&world.core, crate::core::tests::SHOP).await.unwrap().generation;
        let key = vamp_store::layout::registration("default", "g1");
        let register = async |how: &str| {
            let said = json!({"id": "g1", "boot": "b1", "admin": "", "version": "", "applied": first, "leaves": how == "leaves"});
            world.store.put(&key, said.to_string().into(), vamp_store::Expected::Anything, None).await.unwrap();
            until_registered(&world, 1).await;
        };
        let end = async || {
            world.store.delete(&key, vamp_store::Expected::Anything).await.unwrap();
            until_registered(&world, 0).await;
        };
        let until_acknowledged = async |reconciler: &Reconciler, what: &str| {
            vamp_store::testing::eventually(what, DEADLINE, async || reconciler.is_acknowledged()).await;
        };
        register("serves").await;
        until_acknowledged(&reconciler, "it serves the table").await;
        end().await;
        assert!(reconciler.is_acknowledged(), "what it may serve is the newest table");
        register("serves").await;
        let other = "{kind: gateways, name: other, routes: {}}";
        crate::core::tests::put(&world.core, other).await.unwrap();
        end().await;
        let published = async || world.core.rollout().published;
        vamp_store::testing::eventually("the next table is there", DEADLINE, published).await;
        assert!(!reconciler.is_acknowledged(), "it may serve the table before");
        register("leaves").await;
        end().await;
        assert!(reconciler.is_acknowledged(), "it said that it stops");
        reconciler.started = Instant::now();
        assert!(!reconciler.is_acknowledged(), "others may be about to register");
    }

    async fn is_stored(world: &World, name: &str) -> bool {
        world.core.snapshot().await.unwrap().artifacts.get("instances").is_some_and(|all| all.contains_key(name))
    }

    #[tokio::test]
    async fn only_an_instance_that_took_requests_before_or_was_well_is_taken_for_well_unasked() {
        let world = World::new().await;
        make(&world.core, vec![WriteRequest::replace(instances(), None)]).await.unwrap();
        let current = world.core.shared.refresh().await.unwrap();
        let platforms = Platforms::new("127.0.0.1".to_owned());
        let mut reconciler = Reconciler::new(Arc::clone(&world.core), platforms, watch::Sender::default());
        reconciler.since_unix_ms = 1_000;
        let service =
            ServiceName { deployment: "shop".to_owned(), cluster: "web".to_owned(), service: "web:1".to_owned() };
        let trusted =
            |reconciler: &Reconciler, since, port| reconciler.is_trusted(&current, &service, &instance(since, port));
        assert!(trusted(&reconciler, Some(999), 1));
        assert!(!trusted(&reconciler, Some(1_001), 1), "it was started since");
        assert!(!trusted(&reconciler, None, 1), "nobody knows since when it runs");
        assert!(!trusted(&reconciler, Some(999), 2), "it is another one of that name");
        // Other checks leave it well, and a restart does not.
        reconciler.well.insert("x".to_owned(), (Some(1_001), target(&instance(None, 2))));
        assert!(trusted(&reconciler, Some(1_001), 2));
        assert!(!trusted(&reconciler, Some(1_002), 2) && !trusted(&reconciler, Some(1_001), 3));
    }

    #[tokio::test]
    async fn who_was_ready_is_replaced_when_its_checks_fail_for_long_and_later_each_time() {
        let world = World::new().await;
        let mut reconciler = reconciler(&world).await;
        let service = || ServiceName { deployment: String::new(), cluster: String::new(), service: String::new() };
        let known = |since: u64, health: Health| {
            let instance = Instance { labels: labels(&service(), "t", 0), ..instance(Some(since), 1) };
            [Known::new(instance, health, "command", None, |_, _| false).unwrap()]
        };
        let failing = || Health::Failing { reason: "refused".to_owned() };
        reconciler.since_unix_ms = 1_000;
        reconciler.platforms.replace_failing_after = Duration::from_mins(1);
        let later = |reconciler: &mut Reconciler, seconds: u64| {
            for (_, since) in reconciler.ill.values_mut() {
                *since = since.checked_sub(Duration::from_secs(seconds)).unwrap();
            }
        };
        assert!(reconciler.note_ill(&mut known(2_000, failing()), false).is_empty());
        later(&mut reconciler, 600);
        assert!(reconciler.note_ill(&mut known(2_000, failing()), false).is_empty(), "it was never ready");
        reconciler.note_well(&known(2_000, Health::Passing), false);
        for seconds in [0, 50] {
            assert!(reconciler.note_ill(&mut known(2_000, failing()), false).is_empty());
            later(&mut reconciler, seconds);
        }
        later(&mut reconciler, 10);
        assert_eq!(reconciler.note_ill(&mut known(2_000, failing()), false).len(), 1);
        // The next one is given twice as long; one from before this turn may have been ready.
        reconciler.cures.note(&service());
        assert!(reconciler.note_ill(&mut known(900, failing()), false).is_empty());
        later(&mut reconciler, 119);
        assert!(reconciler.note_ill(&mut known(900, failing()), false).is_empty());
        later(&mut reconciler, 1);
        assert_eq!(reconciler.note_ill(&mut known(900, failing()), false).len(), 1);
        reconciler.platforms.replace_failing_after = Duration::ZERO;
        assert!(reconciler.note_ill(&mut known(900, failing()), false).is_empty(), "nobody wants that");
    }

    #[test]
    fn an_instance_gets_a_while_until_failing_checks_are_a_fault_and_its_end_is_one_at_once() {
        let fault = |state, health, since, at_unix_ms| {
            let service = ServiceName { deployment: String::new(), cluster: String::new(), service: String::new() };
            let labels = labels(&service, "t", 0);
            let instance = Instance { labels, state, ..instance(since, 1) };
            Known::new(instance, health, "command", None, |_, _| false).unwrap().fault(at_unix_ms)
        };
        let failing = || Health::Failing { reason: "refused".to_owned() };
        let ended = || State::Exited(crate::platform::Exit::default());
        assert_eq!(fault(State::Running, failing(), Some(1_000), 1_000 + COMING_MS - 1), None);
        let told = fault(State::Running, failing(), Some(1_000), 1_000 + COMING_MS).unwrap();
        assert!(told.contains("refused"), "{told}");
        assert!(fault(State::Running, failing(), None, 1_000).is_some(), "nobody knows since when it runs");
        assert!(fault(State::Running, failing(), Some(1_001), 1_000).is_some(), "its host has another clock");
        assert!(fault(ended(), Health::Unknown, Some(1_000), 1_000).is_some());
        assert_eq!(fault(State::Running, Health::Unknown, Some(1_000), 1_000_000), None);
    }

    #[tokio::test]
    async fn where_requests_of_a_service_went_that_is_gone_is_forgotten() {
        let world = World::new().await;
        let mut reconciler = reconciler(&world).await;
        make(&world.core, vec![WriteRequest::replace(instances(), None)]).await.unwrap();
        assert!(is_stored(&world, "shop/web/web:1").await);
        reconciler.look().await;
        assert!(!is_stored(&world, "shop/web/web:1").await);
    }

    #[tokio::test]
    async fn where_requests_of_a_service_went_that_can_not_be_read_is_written_anew() {
        let mut world = World::new().await;
        let web =
            "{kind: deployments, name: shop, clusters: {web: {services: {breed: {name: 'web:1', deployable: i}}}}}";
        crate::core::tests::put(&world.core, web).await.unwrap();
        make(&world.core, vec![WriteRequest::replace(instances(), None)]).await.unwrap();
        world.kill();
        by_hand(&world, "UPDATE versions SET document = '{' WHERE kind = 'instances'").await;
        world.restart().await;
        let current = world.core.shared.refresh().await.unwrap();
        assert_eq!(current.unreadable().count(), 1);
        let platforms = Platforms::new("127.0.0.1".to_owned());
        let mut reconciler = Reconciler::new(Arc::clone(&world.core), platforms.clone(), watch::Sender::default());
        let mut view = reconciler.view(current, &platforms).await;
        // No platform is there that could run it.
        view.picture.unknown.clear();
        let service = view.orders[0].wanted.name.clone();
        reconciler.route(&view, &[Action::Route(service, Vec::new())]).await;
        assert_eq!(world.core.shared.refresh().await.unwrap().unreadable().count(), 0);
        assert!(is_stored(&world, "shop/web/web:1").await);
    }

    #[tokio::test]
    async fn a_deployment_that_can_not_be_read_is_left_as_it_is() {
        let mut world = World::new().await;
        let deployment = "{kind: deployments, name: shop, clusters: {}}";
        crate::core::tests::put(&world.core, deployment).await.unwrap();
        make(&world.core, vec![WriteRequest::replace(instances(), None)]).await.unwrap();
        world.kill();
        by_hand(&world, "UPDATE versions SET document = '{' WHERE kind = 'deployments'").await;
        world.restart().await;
        let current = world.core.shared.refresh().await.unwrap();
        let platforms = Platforms::new("127.0.0.1".to_owned());
        let mut reconciler = Reconciler::new(Arc::clone(&world.core), platforms.clone(), watch::Sender::default());
        let view = reconciler.view(current, &platforms).await;
        let routed: Vec<_> = view.picture.routed.keys().collect();
        assert_eq!(routed.len(), 1);
        assert!(view.picture.unknown.contains(routed[0]) && !view.is_gone(routed[0]), "{:?}", view.picture);
    }
}
