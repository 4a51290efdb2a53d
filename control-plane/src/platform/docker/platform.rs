//! The driver: one container for each instance.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum as Status, ContainerSummary};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, RemoveContainerOptions, StopContainerOptions,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::command::{self, Late};
use super::container::{self, NAMESPACE, Own, Places};
use super::engine::{Engine, Failure};
use super::options::{self, Options};
use super::seen::Seen;
use super::{DockerSettings, events, image, logs, networks, seen, usage};
use crate::platform::ports::{self, Owners};
use crate::platform::turns::Turns;
use crate::platform::{
    Deployable, Exit, GRACE_MAX, HostPort, Info, Instance, InstanceId, InstanceSpec, Labels, LogQuery, LogStream,
    Outcome, Platform, PlatformError, Restart, State, Usage, Usages,
};

/// LIMIT: containers that are asked for at once, each over a connection of its own.
const QUESTIONS_MAX: usize = 16;
/// LIMIT: the part of its time for all answers that the engine gets to tell about one container.
const ONE_OF_ALL: u32 = 4;
/// LIMIT: how often other ports are chosen when somebody else was faster.
const PLACINGS_MAX: usize = 5;
/// How often is looked whether a container has ended.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Containers of a Docker engine.
#[derive(Debug)]
pub struct DockerPlatform {
    settings: DockerSettings,
    engine: Arc<Engine>,
    /// One order after the other for each instance.
    turns: Turns<InstanceId>,
    /// Each image is fetched by one at a time.
    fetching: Turns<String>,
    /// Ports are chosen, and networks made and removed, by one at a time.
    placing: tokio::sync::Mutex<()>,
    preparing: Preparing,
    seen: Seen,
    late: Late,
    hints: watch::Sender<u64>,
    listening: AbortHandle,
}

/// Instances that are being ensured: there may be no container yet, or one that was not started.
#[derive(Debug, Default)]
struct Preparing(Mutex<BTreeMap<InstanceId, Instance>>);

impl Preparing {
    fn all(&self) -> BTreeMap<InstanceId, Instance> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, Instance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows an instance as long as it is being ensured; also when who waits for that gives up.
struct Shown<'p> {
    preparing: &'p Preparing,
    id: &'p InstanceId,
}

impl Shown<'_> {
    fn tell(&self, state: State) {
        if let Some(instance) = self.preparing.lock().get_mut(self.id) {
            instance.state = state;
        }
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.preparing.lock().remove(self.id);
    }
}

/// An order that makes sense, with what is not in it as such.
struct Plan<'s> {
    spec: &'s InstanceSpec,
    image: String,
    command: &'s [String],
    options: Options,
    name: String,
}

/// One of our containers.
struct Found {
    container: String,
    told: ContainerInspectResponse,
    own: Own,
}

impl Found {
    fn status(&self) -> Option<Status> {
        self.told.state.as_ref()?.status
    }

    fn state(&self) -> State {
        container::state(&self.told.state.clone().unwrap_or_default())
    }

    fn networks(&self) -> Vec<String> {
        let networks = self.told.network_settings.as_ref().and_then(|settings| settings.networks.as_ref());
        networks.map(|networks| networks.keys().cloned().collect()).unwrap_or_default()
    }
}

impl DockerPlatform {
    /// Takes the engine, which need not answer yet; must be called on a runtime.
    pub fn open(settings: DockerSettings) -> Self {
        let engine = Arc::new(Engine::new(&settings.address, settings.patience));
        let hints = watch::Sender::new(0);
        let listening = events::listen(Arc::clone(&engine), settings.namespace.clone(), hints.clone());
        Self {
            listening: tokio::spawn(listening).abort_handle(),
            settings,
            engine,
            turns: Turns::default(),
            fetching: Turns::default(),
            placing: tokio::sync::Mutex::default(),
            preparing: Preparing::default(),
            seen: Seen::default(),
            late: Late::default(),
            hints,
        }
    }

    fn namespace(&self) -> &str {
        &self.settings.namespace
    }

    fn plan<'s>(&self, spec: &'s InstanceSpec) -> Result<Plan<'s>, PlatformError> {
        let wrong = |cause| PlatformError::Spec { id: spec.id.to_string(), cause };
        spec.check().map_err(wrong)?;
        let Deployable::Docker { image, command } = &spec.deployable else {
            let (platform, what) = (self.engine.name().to_owned(), "programs of the host".to_owned());
            return Err(PlatformError::Unsupported { platform, what, known: "deployables of type `container/docker`" });
        };
        let options = options::read(spec, self.settings.allows_host_access).map_err(wrong)?;
        let image = options::image(image).map_err(wrong)?;
        Ok(Plan { spec, image, command, options, name: container::name(self.namespace(), &spec.id) })
    }

    /// The container of an instance, if there is one.
    async fn find(&self, id: &InstanceId) -> Result<Option<Found>, PlatformError> {
        let name = container::name(self.namespace(), id);
        let told = match self.engine.look(|docker| docker.inspect_container(&name, None)).await {
            Ok(told) => told,
            Err(failure) if failure.is_absent() => return Ok(None),
            Err(failure) => return Err(self.engine.error(format!("look for instance `{id}`"), failure)),
        };
        let labels = told.config.as_ref().and_then(|config| config.labels.as_ref());
        let own = labels.and_then(|labels| Own::read(labels, self.namespace())).filter(|own| own.id == *id);
        let not_ours = || PlatformError::NotOurs { name: name.clone(), platform: self.engine.name().to_owned() };
        let own = own.ok_or_else(not_ours)?;
        Ok(Some(Found { container: told.id.clone().unwrap_or(name.clone()), told, own }))
    }

    fn show<'p>(&'p self, spec: &'p InstanceSpec) -> Shown<'p> {
        let instance = Instance {
            id: spec.id.clone(),
            labels: spec.labels.clone(),
            digest: spec.digest(),
            state: State::Starting,
            host: self.settings.publish.to_string(),
            ports: BTreeMap::new(),
            started_at_unix_ms: None,
            restarts: 0,
            warnings: Vec::new(),
        };
        self.preparing.lock().insert(spec.id.clone(), instance);
        Shown { preparing: &self.preparing, id: &spec.id }
    }

    async fn have_image(&self, plan: &Plan<'_>, shown: &Shown<'_>) -> Result<(), PlatformError> {
        let tell = |words: String| {
            shown.tell(State::Preparing(words));
            events::hint(&self.hints);
        };
        let turn = self.fetching.of(&plan.image);
        tokio::pin!(turn);
        let soon = tokio::time::timeout(LOOK_INTERVAL, &mut turn).await;
        if soon.is_err() {
            tell(format!("image {} is being fetched for another instance", plan.image));
        }
        let _turn = if let Ok(turn) = soon { turn } else { turn.await };
        image::have(&self.engine, &plan.image, self.settings.credentials.as_ref(), tell).await?;
        shown.tell(State::Starting);
        Ok(())
    }

    /// Makes a container and starts it; when somebody else took its ports meanwhile, another one with other ports.
    async fn make(&self, plan: &Plan<'_>) -> Result<(), PlatformError> {
        let is_free_to_choose = plan.spec.ports.iter().all(|port| port.host == HostPort::Any);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (container, places) = self.place(plan).await?;
            let started = self.start(&plan.spec.id, &container).await;
            match started {
                Err(failure) if is_port_taken(&failure) => {
                    self.discard(&container).await?;
                    if attempts >= PLACINGS_MAX || !is_free_to_choose {
                        return Err(taken(&places, &failure));
                    }
                }
                Err(failure) => return Err(self.engine.error(format!("start instance `{}`", plan.spec.id), failure)),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Makes a container.
    async fn place(&self, plan: &Plan<'_>) -> Result<(String, Places), PlatformError> {
        let Plan { spec, options, .. } = plan;
        let failed = |failure| self.engine.error(format!("make instance `{}`", spec.id), failure);
        let _placing = self.placing.lock().await;
        let chosen = if container::needs_host_ports(spec, options) {
            let owners = self.owners().await?;
            ports::choose(spec, self.settings.publish, &self.settings.port_range, owners)?
        } else {
            BTreeMap::new()
        };
        let places = container::places(spec, options, &chosen);
        networks::make(&self.engine, self.namespace(), &options.networks).await.map_err(failed)?;
        let what = (plan.image.as_str(), plan.command);
        let body = container::body(spec, what, options, self.namespace(), self.settings.publish, &places);
        let name = CreateContainerOptions { name: Some(plan.name.clone()), ..CreateContainerOptions::default() };
        let made = self.engine.work(|docker| docker.create_container(Some(name), body)).await.map_err(failed)?;
        for warning in made.warnings {
            tracing::warn!(instance = %spec.id, "{}: {warning}", self.engine.name());
        }
        if let Err(failure) = networks::connect(&self.engine, &made.id, &options.networks).await {
            self.discard(&made.id).await?;
            return Err(failed(failure));
        }
        Ok((made.id, places))
    }

    async fn start(&self, id: &InstanceId, container: &str) -> Result<(), Failure> {
        tracing::debug!(instance = %id, container, "is started");
        self.engine.work(|docker| docker.start_container(container, None)).await
    }

    /// Removes a container that did not start, or whose instance goes.
    async fn discard(&self, container: &str) -> Result<(), PlatformError> {
        let failed = |failure| self.engine.error("remove a container", failure);
        self.late.forget(container);
        let deadline = Instant::now() + self.engine.patience.work;
        loop {
            // Volumes without a name go along; those with one hold what is to outlive the container.
            let options = RemoveContainerOptions { v: true, force: true, link: false };
            match self.engine.work(|docker| docker.remove_container(container, Some(options))).await {
                Err(failure) if failure.is_absent() => return Ok(()),
                // It is being removed already, and is there until that is done.
                Err(failure) if !failure.is_conflict() || Instant::now() >= deadline => return Err(failed(failure)),
                _ => tokio::time::sleep(LOOK_INTERVAL).await,
            }
        }
    }

    /// The ports of all instances that are there, whether they run or not.
    async fn owners(&self) -> Result<Owners, PlatformError> {
        let mut owners = Owners::new();
        for (_, own) in self.containers(&Labels::new()).await? {
            let ports = own.places.into_values().filter_map(|place| place.host);
            owners.extend(ports.map(|port| (port, own.id.clone())));
        }
        Ok(owners)
    }

    /// All of our containers that carry these labels, as the engine lists them, with what the labels say.
    async fn containers(&self, labels: &Labels) -> Result<Vec<(ContainerSummary, Own)>, PlatformError> {
        let mut wanted = vec![format!("{NAMESPACE}={}", self.namespace())];
        wanted.extend(labels.iter().map(|(name, value)| format!("{name}={value}")));
        let filters = HashMap::from([("label".to_owned(), wanted)]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let told = self.engine.look(|docker| docker.list_containers(Some(options))).await;
        let told = told.inspect_err(|failure| self.engine.note_silence(failure));
        let told = told.map_err(|failure| self.engine.error("list containers", failure))?;
        let own = told.into_iter().filter_map(|told| {
            let own = Own::read(told.labels.as_ref()?, self.namespace())?;
            // Labels of an image are labels of its containers.
            labels.iter().all(|(name, value)| own.labels.get(name) == Some(value)).then_some((told, own))
        });
        Ok(own.collect())
    }

    /// One container of the list. Some are silent while the engine is not: they are as they were seen last.
    async fn look(
        &self,
        listed: ContainerSummary,
        own: Own,
        deadline: Instant,
    ) -> Result<Option<Instance>, PlatformError> {
        let Some(container) = listed.id.as_deref() else { return Ok(None) };
        let patience = self.engine.patience.look;
        // Asked first: who is done by then has started it.
        let is_prepared = self.preparing.lock().contains_key(&own.id);
        let until = deadline.min(Instant::now() + patience / ONE_OF_ALL);
        let was_silent = self.seen.is_silent(container, patience);
        let is_asked = !was_silent && until > Instant::now();
        let told = if is_asked {
            let asked = self.engine.ask_apart(|docker| docker.inspect_container(container, None));
            tokio::time::timeout_at(until, asked).await.ok()
        } else {
            None
        };
        let as_told = |told: &ContainerInspectResponse, own| {
            let mut instance = container::instance(told, own, self.settings.publish);
            if !is_prepared && container::is_only_made(told) {
                // Who made it was ended before it was started.
                instance.state = State::Exited(Exit::default());
            }
            instance
        };
        match told {
            Some(Ok(told)) => {
                let instance = as_told(&told, own);
                self.seen.told(container, &instance);
                Ok(Some(instance))
            }
            // Removed meanwhile.
            Some(Err(failure)) if failure.is_absent() => Ok(None),
            Some(Err(failure @ Failure::Silent(_))) => {
                Err(self.engine.error(format!("look at instance `{}`", own.id), failure))
            }
            Some(Err(Failure::Answered { .. })) | None => {
                let instance = as_told(&container::listed(&listed), own);
                let instance = self.seen.untold(container, instance, is_asked);
                // Of one for which there was no time nothing is said.
                Ok(Some(if is_asked || was_silent { seen::warned(instance) } else { instance }))
            }
        }
    }

    /// What one container uses, or why that is not known. Some are silent while the engine is not: each has its own time.
    async fn used(&self, id: InstanceId, deadline: Instant) -> Option<(InstanceId, Result<Usage, PlatformError>)> {
        let patience = self.engine.patience.look / ONE_OF_ALL;
        let container = container::name(self.namespace(), &id);
        let asked = usage::of(&self.engine, &container);
        let late =
            || PlatformError::Late { id: id.to_string(), what: "tell what it uses", seconds: patience.as_secs() };
        let failed = |failure| self.engine.error(format!("tell what instance `{id}` uses"), failure);
        let told = tokio::time::timeout_at(deadline.min(Instant::now() + patience), asked).await;
        let told = told.map_err(|_| late()).and_then(|told| told.map_err(failed));
        Some((id, told.transpose()?))
    }

    /// Asks a container to end, and waits until it has.
    async fn end(&self, id: &InstanceId, found: &Found, grace: Duration) -> Result<(), PlatformError> {
        let failed = |failure| self.engine.error(format!("stop instance `{id}`"), failure);
        let grace = grace.min(GRACE_MAX);
        let seconds = i32::try_from(grace.as_millis().div_ceil(1_000)).unwrap_or(i32::MAX);
        let patience = grace + self.engine.patience.work;
        let deadline = Instant::now() + patience;
        let options = StopContainerOptions { signal: None, t: Some(seconds) };
        let name = &found.container;
        match self.engine.within(patience, |docker| docker.stop_container(name, Some(options))).await {
            Err(failure) if failure.is_absent() => return Ok(()),
            Err(failure) => return Err(failed(failure)),
            Ok(()) => {}
        }
        // One that was about to be started again is told so, and ends a moment later.
        loop {
            match self.find(id).await? {
                Some(now) if matches!(now.status(), Some(Status::RUNNING | Status::RESTARTING | Status::STOPPING)) => {}
                _ => return Ok(()),
            }
            if Instant::now() >= deadline {
                return Err(PlatformError::Late { id: id.to_string(), what: "stop", seconds: patience.as_secs() });
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Brings a container that is there to where it is wanted; whether it has to be made anew.
    async fn go_on(&self, plan: &Plan<'_>, found: Found) -> Result<bool, PlatformError> {
        let id = &plan.spec.id;
        if found.own.digest != plan.spec.digest() {
            return Err(PlatformError::Changed { id: id.to_string() });
        }
        let is_done = plan.spec.restart == Restart::Never && matches!(found.state(), State::Exited(_));
        let started = match found.status() {
            Some(Status::RUNNING | Status::RESTARTING) => return Ok(false),
            Some(Status::PAUSED) => self.engine.work(|docker| docker.unpause_container(&found.container)).await,
            Some(Status::DEAD | Status::REMOVING) => {
                self.discard(&found.container).await?;
                return Ok(true);
            }
            Some(Status::EXITED) if is_done => return Ok(false),
            _ => self.start(id, &found.container).await,
        };
        match started {
            // It did not run, so that nobody misses it: another one gets other ports.
            Err(failure)
                if is_port_taken(&failure) && plan.spec.ports.iter().all(|port| port.host == HostPort::Any) =>
            {
                self.discard(&found.container).await?;
                Ok(true)
            }
            Err(failure) if is_port_taken(&failure) => Err(taken(&found.own.places, &failure)),
            Err(failure) => Err(self.engine.error(format!("start instance `{id}`"), failure)),
            Ok(()) => Ok(false),
        }
    }
}

/// Whether a container did not start because somebody else listens at one of its ports.
fn is_port_taken(failure: &Failure) -> bool {
    let words = ["port is already allocated", "address already in use"];
    matches!(failure, Failure::Answered { message, .. } if words.iter().any(|words| message.contains(words)))
}

/// The error that names the port, as far as the engine did.
fn taken(places: &Places, failure: &Failure) -> PlatformError {
    let (Failure::Answered { message: told, .. } | Failure::Silent(told)) = failure;
    let ports = || places.values().filter_map(|place| place.host);
    let named = ports().find(|port| told.contains(&format!(":{port}")));
    ports::taken_by_a_stranger(named.or_else(|| ports().next()).unwrap_or_default())
}

impl Drop for DockerPlatform {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

#[async_trait::async_trait]
impl Platform for DockerPlatform {
    async fn ensure(&self, spec: &InstanceSpec) -> Result<(), PlatformError> {
        let plan = self.plan(spec)?;
        let _turn = self.turns.of(&spec.id).await;
        let shown = self.show(spec);
        if let Some(found) = self.find(&spec.id).await?
            && !self.go_on(&plan, found).await?
        {
            return Ok(());
        }
        self.have_image(&plan, &shown).await?;
        self.make(&plan).await
    }

    async fn check(&self, spec: &InstanceSpec) -> Result<(), PlatformError> {
        self.plan(spec).map(drop)
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), PlatformError> {
        let _turn = self.turns.of(id).await;
        match self.find(id).await? {
            Some(found) => self.end(id, &found, grace).await,
            None => Ok(()),
        }
    }

    async fn remove(&self, id: &InstanceId, grace: Duration) -> Result<(), PlatformError> {
        let _turn = self.turns.of(id).await;
        let Some(found) = self.find(id).await? else { return Ok(()) };
        self.end(id, &found, grace).await?;
        self.discard(&found.container).await?;
        let _placing = self.placing.lock().await;
        let tidied = networks::tidy(&self.engine, self.namespace(), &found.networks()).await;
        tidied.map_err(|failure| self.engine.error(format!("remove the networks of instance `{id}`"), failure))
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<Instance>, PlatformError> {
        self.engine.refuse_while_silent().map_err(|failure| self.engine.error("list containers", failure))?;
        let mut preparing = self.preparing.all();
        let deadline = Instant::now() + self.engine.patience.look;
        let containers = self.containers(labels).await?;
        if labels.is_empty() {
            self.seen.keep(&containers.iter().filter_map(|(listed, _)| listed.id.clone()).collect());
        }
        let looks = containers.into_iter().map(|(listed, own)| self.look(listed, own, deadline));
        let looked = stream::iter(looks).buffer_unordered(QUESTIONS_MAX).try_collect::<Vec<_>>().await?;
        let mut instances: Vec<Instance> = looked.into_iter().flatten().collect();
        // What became of them meanwhile is seen at the next look.
        preparing.extend(self.preparing.all());
        for instance in &mut instances {
            // Whoever made it, or paused it, is gone: nobody will start it unless it is ensured.
            if preparing.remove(&instance.id).is_none() && instance.state == State::Starting {
                instance.state = State::Exited(Exit::default());
            }
        }
        let is_wanted =
            |instance: &Instance| labels.iter().all(|(name, value)| instance.labels.get(name) == Some(value));
        instances.extend(preparing.into_values().filter(is_wanted));
        instances.sort_by(|left, right| left.id.cmp(&right.id));
        Ok(instances)
    }

    async fn logs(&self, id: &InstanceId, query: LogQuery) -> Result<LogStream, PlatformError> {
        let found = self.find(id).await?.ok_or_else(|| PlatformError::NotFound { id: id.to_string() })?;
        Ok(logs::read(Arc::clone(&self.engine), found.container, query))
    }

    async fn run(&self, id: &InstanceId, command: &[String], patience: Duration) -> Result<Outcome, PlatformError> {
        let found = self.find(id).await?.ok_or_else(|| PlatformError::NotFound { id: id.to_string() })?;
        if found.state() != State::Running {
            return Err(PlatformError::NotRunning { id: id.to_string() });
        }
        command::run(&self.engine, &self.late, (id, &found.container), command, patience).await
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    async fn usage(&self, of: &BTreeSet<InstanceId>) -> Result<Usages, PlatformError> {
        let failed = |failure| self.engine.error("tell what instances use", failure);
        self.engine.refuse_while_silent().map_err(failed)?;
        let deadline = Instant::now() + self.engine.patience.look;
        let asked = of.iter().cloned().map(|id| self.used(id, deadline));
        let told = stream::iter(asked).buffer_unordered(QUESTIONS_MAX).collect::<Vec<_>>().await;
        let told: Usages = told.into_iter().flatten().collect();
        if !told.is_empty() && told.values().all(Result::is_err) {
            // Of these, or of the engine?
            self.engine.look(bollard::Docker::ping).await.map_err(failed)?;
        }
        Ok(told)
    }

    async fn info(&self) -> Result<Info, PlatformError> {
        let told = self.engine.look(bollard::Docker::info).await;
        let told = told.map_err(|failure| self.engine.error("tell what it is", failure))?;
        Ok(Info {
            driver: "docker",
            version: told.server_version.unwrap_or_default(),
            address: self.settings.address.to_string(),
            memory: match (told.memory_limit, told.swap_limit) {
                (Some(false), _) => "not kept: the kernel of the engine's host has no control group for memory",
                (_, Some(false)) => {
                    "all of an instance together, but for what is swapped out; it is ended when it takes more"
                }
                _ => "all of an instance together; it is ended when it takes more",
            },
            cpu: match told.cpu_cfs_quota {
                Some(false) => "not kept: the kernel of the engine's host has no quota for processors",
                _ => "all of an instance together; it waits when it takes more",
            },
        })
    }
}
