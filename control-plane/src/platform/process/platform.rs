//! The driver: makes folders, starts supervisors, and tells what the folders say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, mkfifoat};
use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::folder::{Folder, Plan, Status};
use super::groups::Groups;
use super::identity::Identity;
use super::look_up::LookUps;
use super::{ProcessSettings, SUPERVISE, environment, hints, inherit, log, now_unix_ms, usage};
use crate::platform::instance::{OUTPUT_BYTES_MAX, end_of};
use crate::platform::ports::{self, Owners};
use crate::platform::turns::Turns;
use crate::platform::{
    Deployable, Exit, GRACE_MAX, Info, Instance, InstanceId, InstanceSpec, Labels, LogQuery, LogStream, Outcome,
    Platform, PlatformError, Restart, SpecError, State, Usages,
};

/// LIMIT: a supervisor that did not start its instance in this time will not.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// LIMIT: what a supervisor gets beyond the grace of its instance to end it by force and to say so.
const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// How often is looked whether a supervisor has done what it was told.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// What a look at a program and its folder finds.
#[derive(Debug, Clone)]
struct Seen {
    /// The folder is there, where one is named.
    has_directory: bool,
    /// The file of the program.
    program: Option<PathBuf>,
}

/// Programs of this host.
#[derive(Debug)]
pub struct ProcessPlatform {
    settings: ProcessSettings,
    groups: Groups,
    /// One order after the other for each instance.
    turns: Arc<Turns<InstanceId>>,
    /// Who may ask file systems that users name, by program and folder.
    look_ups: LookUps<(String, Option<PathBuf>), Seen>,
    /// Ports are chosen by one at a time.
    placing: tokio::sync::Mutex<()>,
    hints: watch::Sender<u64>,
    listening: AbortHandle,
    /// Held as long as this folder is ours.
    lock: File,
}

impl ProcessPlatform {
    /// Takes the folder, makes it if it is missing, and finds what runs from before.
    pub fn open(settings: ProcessSettings) -> Result<Self, PlatformError> {
        let root = settings.folder.clone();
        let failed = |cause| PlatformError::File { path: root.clone(), cause };
        make_root(&root).map_err(failed)?;
        let lock = File::options().create(true).append(true).open(root.join("lock")).map_err(failed)?;
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(PlatformError::InUse { path: root });
        }
        sweep(&root).map_err(failed)?;
        let groups = Groups::open(&settings.groups, &root, &settings.program);
        let pipe = pipe::OpenOptions::new().read_write(true).open_receiver(hints(&root)).map_err(failed)?;
        let sender = watch::Sender::new(0);
        let listening = tokio::spawn(listen(pipe, sender.clone())).abort_handle();
        let turns = Arc::default();
        let placing = tokio::sync::Mutex::default();
        let look_ups = LookUps::new(settings.look_patience);
        Ok(Self { settings, groups, turns, look_ups, placing, hints: sender, listening, lock })
    }

    fn root(&self) -> &Path {
        &self.settings.folder
    }

    fn refused(&self, what: String, cause: impl Into<super::super::error::Cause>) -> PlatformError {
        PlatformError::Refused { platform: self.name(), what, cause: cause.into() }
    }

    fn name(&self) -> String {
        format!("process in {}", self.root().display())
    }

    /// What is to be done for an order, but for its ports.
    async fn plan(&self, spec: &InstanceSpec) -> Result<Plan, PlatformError> {
        let wrong = |cause| PlatformError::Spec { id: spec.id.to_string(), cause };
        spec.check().map_err(wrong)?;
        let Deployable::Command { program, .. } = &spec.deployable else {
            let what = "container images".to_owned();
            return Err(PlatformError::Unsupported {
                platform: self.name(),
                what,
                known: "deployables of type `command`",
            });
        };
        let directory = directory(spec).map_err(wrong)?;
        let seen = self.look_up(&spec.id, program, directory.as_ref()).await?;
        if !seen.has_directory {
            return Err(wrong(no_directory()));
        }
        let unknown = || PlatformError::UnknownCommand { id: spec.id.to_string(), command: program.clone() };
        Ok(Plan {
            spec: spec.clone(),
            digest: spec.digest(),
            program: seen.program.ok_or_else(unknown)?,
            ports: BTreeMap::new(),
            directory,
            backoff_first: self.settings.backoff_first,
            backoff_limit: self.settings.backoff_limit,
            log_bytes_max: self.settings.log_bytes_max,
        })
    }

    /// Looks for a program and its folder.
    async fn look_up(&self, id: &InstanceId, program: &str, folder: Option<&PathBuf>) -> Result<Seen, PlatformError> {
        let (name, directory) = (program.to_owned(), folder.cloned());
        let look = move || Seen {
            has_directory: directory.as_ref().is_none_or(|directory| directory.is_dir()),
            program: find_program(&name, directory.as_deref()),
        };
        let unseen = || PlatformError::Unseen {
            id: id.to_string(),
            command: program.to_owned(),
            seconds: self.settings.look_patience.as_secs(),
        };
        self.look_ups.make((program.to_owned(), folder.cloned()), look).await.ok_or_else(unseen)
    }

    async fn make(&self, mut plan: Plan) -> Result<Folder, PlatformError> {
        let _placing = self.placing.lock().await;
        let (root, settings) = (self.root().to_owned(), self.settings.clone());
        blocking(move || {
            let owners = owners(&Folder::all(&root)?)?;
            plan.ports = ports::choose(&plan.spec, settings.host, &settings.port_range, owners)?;
            Folder::make(&root, &plan)
        })
        .await
    }

    /// Makes the control groups of an instance; one that runs without its supervisor is in its groups already.
    async fn limit(&self, id: &InstanceId, folder: &Folder) -> Result<(), PlatformError> {
        let process = folder.status()?.and_then(|status| status.process);
        if process.is_some_and(|process| process.is_alive()) {
            return Ok(());
        }
        // They were made by other settings, maybe, or before the machine was started.
        folder.limits()?.remove(id).await?;
        folder.set_limits(&self.groups.make(&folder.plan()?.spec))
    }

    /// Starts a supervisor and waits until it has started the instance.
    async fn supervise(&self, id: &InstanceId, folder: &Folder) -> Result<(), PlatformError> {
        self.limit(id, folder).await?;
        let complaints = folder.complaints();
        let failed = |cause| PlatformError::File { path: complaints.clone(), cause };
        let output = File::create(&complaints).map_err(failed)?;
        let mut command = Command::new(&self.settings.program);
        command.env_clear().arg0("vamp").arg(SUPERVISE).arg(folder.path()).current_dir(folder.path());
        inherit(&mut command);
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn();
        let mut supervisor = spawned.map_err(|error| self.refused(format!("supervise instance `{id}`"), error))?;
        let number = supervisor.id();
        let deadline = Instant::now() + START_PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = supervisor.try_wait().map_err(failed)? {
                // It ended: the instance had little to do, or another supervisor was there already.
                let said = std::fs::read_to_string(&complaints).unwrap_or_default();
                let refused = || self.refused(format!("supervise instance `{id}`"), said.trim());
                return status.success().then_some(()).ok_or_else(refused);
            }
            let told = folder.status()?;
            if told.is_some_and(|told| Some(told.supervisor) == number && told.state != State::Starting) {
                // Waits for its end in the background, as every parent must.
                tokio::spawn(async move { supervisor.wait().await });
                return Ok(());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(late(id, "start", START_PATIENCE))
    }

    async fn end(&self, id: &InstanceId, folder: &Folder, grace: Duration) -> Result<(), PlatformError> {
        let grace = grace.min(GRACE_MAX);
        if folder.order_stop(grace)? {
            let patience = grace + STOP_PATIENCE;
            until(patience, || !folder.is_supervised()).await.map_err(|()| late(id, "stop", patience))?;
        }
        // A supervisor that was killed, even now, left it to us.
        let Some(mut status) = folder.status()? else { return Ok(()) };
        if let Some(process) = status.process.take() {
            end_process(id, &process, grace).await?;
        }
        if !matches!(status.state, State::Exited(_)) {
            status.state = State::Exited(Exit { at_unix_ms: now_unix_ms(), ..Exit::default() });
            folder.tell(&status)?;
        }
        Ok(())
    }

    fn find(&self, id: &InstanceId) -> Result<Folder, PlatformError> {
        Folder::find(self.root(), id).ok_or_else(|| PlatformError::NotFound { id: id.to_string() })
    }
}

impl Drop for ProcessPlatform {
    fn drop(&mut self) {
        self.listening.abort();
        // A program that is being started just now has a copy of the descriptor for a moment, which would hold the lock.
        drop(self.lock.unlock());
    }
}

#[async_trait::async_trait]
impl Platform for ProcessPlatform {
    async fn ensure(&self, spec: &InstanceSpec) -> Result<(), PlatformError> {
        let plan = self.plan(spec).await?;
        let _turn = self.turns.of(&spec.id).await;
        let folder = match Folder::find(self.root(), &spec.id) {
            Some(folder) if folder.plan()?.digest != plan.digest => {
                return Err(PlatformError::Changed { id: spec.id.to_string() });
            }
            Some(folder) => folder,
            None => self.make(plan).await?,
        };
        let has_ended = || Ok(matches!(folder.status()?, Some(Status { state: State::Exited(_), .. })));
        if folder.is_supervised() || (spec.restart == Restart::Never && has_ended()?) {
            return Ok(());
        }
        self.supervise(&spec.id, &folder).await
    }

    async fn check(&self, spec: &InstanceSpec) -> Result<(), PlatformError> {
        self.plan(spec).await.map(drop)
    }

    async fn stop(&self, id: &InstanceId, grace: Duration) -> Result<(), PlatformError> {
        let _turn = self.turns.of(id).await;
        match Folder::find(self.root(), id) {
            Some(folder) => self.end(id, &folder, grace).await,
            None => Ok(()),
        }
    }

    async fn remove(&self, id: &InstanceId, grace: Duration) -> Result<(), PlatformError> {
        let _turn = self.turns.of(id).await;
        let Some(folder) = Folder::find(self.root(), id) else { return Ok(()) };
        self.end(id, &folder, grace).await?;
        folder.limits()?.remove(id).await?;
        let root = self.root().to_owned();
        blocking(move || folder.remove(&root)).await?;
        self.hints.send_modify(|hint| *hint = hint.wrapping_add(1));
        Ok(())
    }

    async fn list(&self, labels: &Labels) -> Result<Vec<Instance>, PlatformError> {
        let (root, host, labels) = (self.root().to_owned(), self.settings.host.to_string(), labels.clone());
        let turns = Arc::clone(&self.turns);
        blocking(move || {
            let mut instances = Vec::new();
            for (id, folder) in Folder::all(&root)? {
                // Asked first: an order that is over by then has left its mark.
                let is_ordered = turns.is_taken(&id);
                match read(id, &folder, &host, is_ordered) {
                    Ok(instance) => instances.push(instance),
                    // Removed meanwhile.
                    Err(_) if !folder.path().exists() => {}
                    Err(error) => return Err(error),
                }
            }
            instances.retain(|instance| labels.iter().all(|(name, value)| instance.labels.get(name) == Some(value)));
            Ok(instances)
        })
        .await
    }

    async fn logs(&self, id: &InstanceId, query: LogQuery) -> Result<LogStream, PlatformError> {
        let folder = self.find(id)?;
        log::read(&folder.log(), query)
    }

    async fn run(&self, id: &InstanceId, command: &[String], patience: Duration) -> Result<Outcome, PlatformError> {
        let folder = self.find(id)?;
        let plan = folder.plan()?;
        if folder.look()?.1 != State::Running {
            return Err(PlatformError::NotRunning { id: id.to_string() });
        }
        let name = command.first().cloned().unwrap_or_default();
        // With its folder: to start a program where no file system answers is to wait for that.
        let seen = self.look_up(id, &name, plan.directory.as_ref()).await?;
        let unknown = || PlatformError::UnknownCommand { id: id.to_string(), command: name.clone() };
        let program = seen.program.ok_or_else(unknown)?;
        let mut ready = Command::new(program);
        environment(&mut ready, &plan, &folder);
        ready.args(command.iter().skip(1)).process_group(0).kill_on_drop(true);
        run(ready, patience).await.map_err(|error| match error {
            Some(error) => self.refused(format!("run `{name}` beside instance `{id}`"), error),
            None => late(id, "answer a command", patience),
        })
    }

    fn hints(&self) -> watch::Receiver<u64> {
        self.hints.subscribe()
    }

    async fn usage(&self, of: &BTreeSet<InstanceId>) -> Result<Usages, PlatformError> {
        let (root, of) = (self.root().to_owned(), of.clone());
        blocking(move || {
            let cause = |cause| PlatformError::File { path: "/proc".into(), cause };
            let groups = usage::of_groups().map_err(cause)?;
            let mut usages = Usages::new();
            for id in of {
                // One that is gone uses nothing.
                let status = Folder::find(&root, &id).and_then(|folder| folder.status().ok().flatten());
                let process = status.and_then(|status| status.process);
                let group = process.filter(Identity::is_alive).and_then(|process| process.pid());
                let usage = group.and_then(|group| groups.get(&group.as_raw_nonzero().get()));
                usages.extend(usage.map(|usage| (id, Ok(*usage))));
            }
            Ok(usages)
        })
        .await
    }

    async fn info(&self) -> Result<Info, PlatformError> {
        Ok(Info {
            driver: "process",
            version: rustix::system::uname().release().to_string_lossy().into_owned(),
            address: self.settings.host.to_string(),
            memory: self.groups.memory_in_words(),
            cpu: self.groups.cpu_in_words(),
        })
    }
}

fn late(id: &InstanceId, what: &'static str, patience: Duration) -> PlatformError {
    PlatformError::Late { id: id.to_string(), what, seconds: patience.as_secs() }
}

/// The ports of all instances that are there.
fn owners(folders: &[(InstanceId, Folder)]) -> Result<Owners, PlatformError> {
    let mut owners = Owners::new();
    for (id, folder) in folders {
        match folder.plan() {
            Ok(plan) => owners.extend(plan.ports.into_values().map(|port| (port, id.clone()))),
            // Removed meanwhile.
            Err(_) if !folder.path().exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(owners)
}

fn make_root(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
    match mkfifoat(CWD, hints(root), Mode::RUSR | Mode::WUSR) {
        Err(error) if error != rustix::io::Errno::EXIST => Err(error.into()),
        _ => Ok(()),
    }
}

/// Removes what was being made or removed when the last control plane ended.
fn sweep(root: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(".new.") || name.starts_with(".gone.") {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

async fn listen(mut pipe: pipe::Receiver, hints: watch::Sender<u64>) {
    let mut bytes = [0; 1_024];
    while pipe.read(&mut bytes).await.is_ok() {
        hints.send_modify(|hint| *hint = hint.wrapping_add(1));
    }
}

fn read(id: InstanceId, folder: &Folder, host: &str, is_ordered: bool) -> Result<Instance, PlatformError> {
    let (plan, (status, state)) = (folder.plan()?, folder.look()?);
    let is_begun = status.is_none() && is_ordered;
    Ok(Instance {
        id,
        labels: plan.spec.labels,
        digest: plan.digest,
        state: if is_begun { State::Starting } else { state },
        host: host.to_owned(),
        ports: plan.ports,
        started_at_unix_ms: status.as_ref().and_then(|status| status.started_at_unix_ms),
        restarts: status.map_or(0, |status| status.restarts),
        warnings: folder.limits()?.warnings,
    })
}

fn no_directory() -> SpecError {
    SpecError::new("dialect `working_directory`", "give the absolute path of a folder")
}

/// Where the instance is to run, by its dialect. Whether it is there is to be looked up.
fn directory(spec: &InstanceSpec) -> Result<Option<PathBuf>, SpecError> {
    if let Some((name, _)) = spec.arguments.first() {
        let mend = "programs of the host take no such argument: leave it out";
        return Err(SpecError::new(format!("argument `{name}`"), mend));
    }
    let mut directory = None;
    for (key, value) in &spec.dialect {
        let path = value.as_str().map(PathBuf::from).filter(|path| path.is_absolute());
        match (key.as_str(), path) {
            ("working_directory", Some(path)) => directory = Some(path),
            ("working_directory", None) => return Err(no_directory()),
            _ => return Err(SpecError::new(format!("dialect `{key}`"), "only `working_directory` is known")),
        }
    }
    Ok(directory)
}

/// The file of a program: as its path says, or from `PATH`.
fn find_program(program: &str, directory: Option<&Path>) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let is_program =
        |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return Some(directory.unwrap_or(Path::new("/")).join(program)).filter(is_program);
    }
    let path = std::env::var_os("PATH").filter(|_| !program.is_empty())?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(is_program)
}

/// Ends a process and its group: asks, and then does not ask any more.
async fn end_process(id: &InstanceId, process: &Identity, grace: Duration) -> Result<(), PlatformError> {
    for (signal, patience) in [(Signal::TERM, grace), (Signal::KILL, STOP_PATIENCE)] {
        if !process.is_alive() {
            return Ok(());
        }
        process.signal(signal);
        if until(patience, || !process.is_alive()).await.is_ok() {
            return Ok(());
        }
    }
    Err(late(id, "stop", grace + STOP_PATIENCE))
}

/// Waits until something holds.
async fn until(patience: Duration, holds: impl Fn() -> bool) -> Result<(), ()> {
    let deadline = Instant::now() + patience;
    while !holds() {
        if Instant::now() >= deadline {
            return Err(());
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// Runs a command to its end; `Err(None)`: it took too long, and was ended with everything that it started.
async fn run(mut command: Command, patience: Duration) -> Result<Outcome, Option<std::io::Error>> {
    let (theirs, ours) = pipe::pipe().map_err(Some)?;
    let theirs = theirs.into_blocking_fd().map_err(Some)?;
    command.stdin(Stdio::null()).stdout(theirs.try_clone().map_err(Some)?).stderr(theirs);
    let mut child = command.spawn().map_err(Some)?;
    // It holds the other end of the pipe.
    drop(command);
    let group = child.id().map(u32::cast_signed).and_then(rustix::process::Pid::from_raw);
    let work = async { tokio::join!(child.wait(), read_end(ours)) };
    let ended = tokio::time::timeout(patience, work).await;
    if let Some(group) = group {
        super::identity::signal_group(group, Signal::KILL);
    }
    let (status, output) = ended.map_err(|_| None)?;
    Ok(Outcome { code: status.map_err(Some)?.code(), output })
}

/// Reads to the end, and keeps the last of it.
async fn read_end(mut pipe: pipe::Receiver) -> String {
    let mut kept = Vec::new();
    let mut bytes = [0; OUTPUT_BYTES_MAX];
    while let Ok(count) = pipe.read(&mut bytes).await
        && count > 0
    {
        kept.extend_from_slice(bytes.get(..count).unwrap_or_default());
        kept.drain(..kept.len().saturating_sub(OUTPUT_BYTES_MAX));
    }
    end_of(&kept)
}

/// Does what may wait for the disk where nobody else waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, PlatformError> + Send + 'static,
) -> Result<T, PlatformError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The program ends.
            Err(_) => std::future::pending().await,
        },
    }
}
