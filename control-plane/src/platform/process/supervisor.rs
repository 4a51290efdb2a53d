//! The supervisor of one instance: a small process of its own, which outlives the control plane. It starts the instance,
//! starts it again when it ends, keeps what it writes, and ends it when it is told to.
//!
//! It is the parent of the instance, so it learns the exit code; it holds a lock, so there is one; it is told by a pipe,
//! so nobody needs to know its number. One that is killed leaves the instance running, and the next one takes it over: it
//! then learns that the instance ended, but not how.

use std::fs::File;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};
use tokio::time::Instant;

use super::folder::{Folder, Plan, Status, read_stop_order};
use super::groups::Limits;
use super::identity::{Identity, signal_group};
use super::log::{Lines, Writer};
use super::{LAUNCH, environment, now_unix_ms};
use crate::backoff::Backoff;
use crate::causes::with_causes;
use crate::platform::{Exit, LogOutput, PlatformError, Restart, State};

/// LIMIT: what an instance gets to end when nobody said how long: its folder was removed, or the machine goes down.
const GRACE: Duration = Duration::from_secs(10);
/// LIMIT: an instance that ran this long has started well: its next failure is its first one.
const STEADY: Duration = Duration::from_secs(10);
/// How often is looked whether the folder is still there.
const FOLDER_INTERVAL: Duration = Duration::from_secs(1);
/// How often is looked whether an instance still runs that a supervisor left: it is not our child, so nobody tells us.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// LIMIT: what an instance that has ended left in its pipes is read within this time; it is 64 KiB at most.
const DRAIN_PATIENCE: Duration = Duration::from_secs(1);

/// Supervises the instance of a folder until it is told to stop.
pub(super) fn supervise(folder: &Path) -> ExitCode {
    // A session of its own: what ends the control plane's does not end this. It fails only for who has one already.
    rustix::process::setsid().ok();
    let folder = Folder::existing(folder);
    let lock = match folder.lock() {
        Ok(Some(lock)) => lock,
        // Another one is faster, which is as good.
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => return complain(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error),
    };
    match runtime.block_on(async { Supervisor::open(folder, lock)?.run().await }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

fn complain(error: &dyn std::error::Error) -> ExitCode {
    use std::io::Write as _;
    // Into a file of the folder; without it nobody is left to be told.
    drop(writeln!(std::io::stderr(), "{}", with_causes(error)));
    ExitCode::FAILURE
}

#[derive(Debug)]
struct Supervisor {
    folder: Folder,
    lock: File,
    plan: Plan,
    limits: Limits,
    /// Processes of it that were ended for their memory, as far as that was told.
    kills: u64,
    status: Status,
    control: pipe::Receiver,
    terminate: SignalStream,
    writer: Arc<Mutex<Writer>>,
}

/// The process of the instance.
#[derive(Debug)]
enum Process {
    /// Started here.
    Own(Child, Pid),
    /// Started by a supervisor that is gone.
    Taken(Identity, Pid),
}

/// Why not to go on.
#[derive(Debug)]
enum Order {
    /// Told so.
    Stop(Duration),
    /// The folder is gone, and nobody can ask for the instance any more.
    Gone,
}

impl Supervisor {
    fn open(folder: Folder, lock: File) -> Result<Self, PlatformError> {
        let (plan, limits) = (folder.plan()?, folder.limits()?);
        let before = folder.status()?;
        let failed = |cause| PlatformError::File { path: folder.path().to_owned(), cause };
        let open = |path: &Path| pipe::OpenOptions::new().read_write(true).open_receiver(path);
        let writer = Writer::open(folder.log(), plan.log_bytes_max).map_err(failed)?;
        let writer = Arc::new(Mutex::new(writer));
        for (path, output) in [(folder.out(), LogOutput::Out), (folder.err(), LogOutput::Error)] {
            tokio::spawn(pump(open(&path).map_err(failed)?, output, Arc::clone(&writer)));
        }
        let control = open(&folder.control()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        // An instance that was stopped begins anew; one whose supervisor was killed goes on.
        let before = before.filter(|before| !matches!(before.state, State::Exited(_)));
        let status = Status {
            supervisor: std::process::id(),
            process: before.as_ref().and_then(|before| before.process.clone()),
            state: State::Starting,
            started_at_unix_ms: before.as_ref().and_then(|before| before.started_at_unix_ms),
            restarts: before.map_or(0, |before| before.restarts),
        };
        let kills = limits.kills();
        Ok(Self { folder, lock, plan, limits, kills, status, control, terminate, writer })
    }

    async fn run(mut self) -> Result<(), PlatformError> {
        let mut backoff = Backoff::new(self.plan.backoff_first, self.plan.backoff_limit);
        let has_run = self.status.started_at_unix_ms.is_some();
        let mut process = self.take_over();
        if has_run && process.is_none() {
            self.status.restarts = self.status.restarts.saturating_add(1);
        }
        loop {
            let mut running = match process.take() {
                Some(taken) => taken,
                None => match self.start() {
                    Ok(started) => started,
                    Err(reason) => {
                        self.note(&reason);
                        self.tell(State::Restarting(Exit { at_unix_ms: now_unix_ms(), ..Exit::default() }))?;
                        if let Some(order) = self.pause(backoff.next()).await {
                            return self.end(None, order, Exit::default()).await;
                        }
                        continue;
                    }
                },
            };
            let started = Instant::now();
            self.tell(State::Running)?;
            let exit = tokio::select! {
                exit = running.wait() => exit,
                order = self.orders() => return self.end(Some(running), order, Exit::default()).await,
            };
            // What it left behind would hold its ports.
            signal_group(running.pid(), Signal::KILL);
            self.drain().await;
            let exit = self.with_reason(exit);
            self.status.process = None;
            if self.plan.spec.restart == Restart::Never {
                return self.tell(State::Exited(exit));
            }
            if started.elapsed() >= STEADY {
                backoff.reset();
            }
            self.tell(State::Restarting(exit))?;
            if let Some(order) = self.pause(backoff.next()).await {
                return self.end(None, order, exit).await;
            }
            self.status.restarts = self.status.restarts.saturating_add(1);
        }
    }

    /// Says whether it ended for its memory.
    fn with_reason(&mut self, exit: Exit) -> Exit {
        let before = std::mem::replace(&mut self.kills, self.limits.kills());
        let may_be = exit.code.is_none() && exit.signal.is_none_or(|signal| signal == Signal::KILL.as_raw());
        Exit { is_out_of_memory: may_be && self.kills > before, ..exit }
    }

    /// The process that a supervisor left that was killed, if it still runs.
    fn take_over(&mut self) -> Option<Process> {
        let identity = self.status.process.take().filter(Identity::is_alive)?;
        let pid = identity.pid()?;
        self.status.process = Some(identity.clone());
        Some(Process::Taken(identity, pid))
    }

    fn start(&mut self) -> Result<Process, String> {
        let spec = &self.plan.spec;
        if let Err(why) = self.limits.renew(spec) {
            self.note(&format!("limits not enforced: {why}"));
        }
        // Groups that were made again count from 0.
        self.kills = self.limits.kills();
        let pipe = |path: &Path| File::options().read(true).write(true).open(path);
        let memory = self.limits.data_bytes.map_or_else(|| "-".to_owned(), |bytes| bytes.to_string());
        let groups = self.limits.members();
        let mut command = Command::new("/proc/self/exe");
        command.arg(LAUNCH).arg(memory).arg(groups.len().to_string()).args(groups).arg(&self.plan.program);
        if let super::Deployable::Command { arguments, .. } = &spec.deployable {
            command.args(arguments);
        }
        environment(&mut command, &self.plan, &self.folder);
        // A group of its own, so that all of it can be ended.
        command.process_group(0).stdin(Stdio::null());
        let started = pipe(&self.folder.out())
            .and_then(|out| Ok((out, pipe(&self.folder.err())?)))
            .and_then(|(out, err)| command.stdout(out).stderr(err).spawn());
        let child = started.map_err(|error| format!("the instance can't be started: {error}"))?;
        let number = child.id().map(u32::cast_signed).unwrap_or_default();
        let pid = Pid::from_raw(number).ok_or_else(|| "the instance ended at its start".to_owned())?;
        self.status.process = Identity::of(number);
        self.status.started_at_unix_ms = Some(now_unix_ms());
        Ok(Process::Own(child, pid))
    }

    fn tell(&mut self, state: State) -> Result<(), PlatformError> {
        self.status.state = state;
        self.folder.tell(&self.status)?;
        super::hint(self.folder.path());
        Ok(())
    }

    /// A line of our own between those of the instance.
    fn note(&self, text: &str) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        Lines::new(LogOutput::Error).take(format!("{text}\n").as_bytes(), &mut writer, now_unix_ms());
    }

    /// Waits for a time, or for an order.
    async fn pause(&mut self, time: Duration) -> Option<Order> {
        tokio::time::timeout(time, self.orders()).await.ok()
    }

    /// Waits for an order.
    async fn orders(&mut self) -> Order {
        let mut folder = tokio::time::interval(FOLDER_INTERVAL);
        let mut bytes = [0; 1_024];
        loop {
            tokio::select! {
                read = self.control.read(&mut bytes) => {
                    let text = bytes.get(..read.unwrap_or_default()).unwrap_or_default();
                    if let Some(grace) = read_stop_order(&String::from_utf8_lossy(text)) {
                        return Order::Stop(grace);
                    }
                }
                _ = self.terminate.recv() => return Order::Stop(GRACE),
                _ = folder.tick() => {
                    // The lock file has no name any more.
                    if rustix::fs::fstat(&self.lock).is_ok_and(|found| found.st_nlink == 0) {
                        return Order::Gone;
                    }
                }
            }
        }
    }

    /// Ends the instance and tells how it ended.
    async fn end(mut self, running: Option<Process>, order: Order, mut exit: Exit) -> Result<(), PlatformError> {
        if let Some(mut running) = running {
            let grace = if let Order::Stop(grace) = order { grace } else { GRACE };
            signal_group(running.pid(), Signal::TERM);
            let asked = tokio::time::timeout(grace, running.wait()).await;
            // Also what the process started and did not wait for.
            signal_group(running.pid(), Signal::KILL);
            exit = match asked {
                Ok(exit) => exit,
                Err(_) => running.wait().await,
            };
            self.drain().await;
        }
        self.status.process = None;
        if matches!(order, Order::Gone) {
            return self.limits.remove(&self.plan.spec.id).await;
        }
        self.tell(State::Exited(exit))
    }

    /// Waits until everything that the instance wrote is in its files.
    async fn drain(&self) {
        let is_empty = |path: &Path| {
            let pipe = File::options().read(true).write(true).open(path);
            pipe.map_or(true, |pipe| rustix::io::ioctl_fionread(&pipe).is_ok_and(|bytes| bytes == 0))
        };
        let emptied = async {
            while !(is_empty(&self.folder.out()) && is_empty(&self.folder.err())) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // Something that left the group may go on writing for ever.
        drop(tokio::time::timeout(DRAIN_PATIENCE, emptied).await);
    }
}

impl Process {
    fn pid(&self) -> Pid {
        match self {
            Self::Own(_, pid) | Self::Taken(_, pid) => *pid,
        }
    }

    async fn wait(&mut self) -> Exit {
        let exit = |code, signal| Exit { code, signal, is_out_of_memory: false, at_unix_ms: now_unix_ms() };
        match self {
            Self::Own(child, _) => {
                use std::os::unix::process::ExitStatusExt as _;
                let status = child.wait().await.ok();
                let signal = status.and_then(|status| status.signal());
                exit(status.and_then(|status| status.code()), signal)
            }
            Self::Taken(identity, _) => {
                while identity.is_alive() {
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                exit(None, None)
            }
        }
    }
}

/// Reads one output of the instance as long as the supervisor lives.
async fn pump(mut pipe: pipe::Receiver, output: LogOutput, writer: Arc<Mutex<Writer>>) {
    /// A line that has begun is written after this time, so that a prompt is seen too.
    const BEGUN_LINE: Duration = Duration::from_secs(1);
    let mut lines = Lines::new(output);
    let mut bytes = vec![0; 16 << 10];
    loop {
        let wait = if lines.is_open() { BEGUN_LINE } else { Duration::MAX };
        let read = tokio::time::timeout(wait, pipe.read(&mut bytes)).await;
        let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(Ok(count)) => lines.take(bytes.get(..count).unwrap_or_default(), &mut writer, now_unix_ms()),
            Ok(Err(error)) => {
                let text = format!("the output of the instance can't be read any more: {error}\n");
                return lines.take(text.as_bytes(), &mut writer, now_unix_ms());
            }
            Err(_) => lines.end(&mut writer, now_unix_ms()),
        }
    }
}
