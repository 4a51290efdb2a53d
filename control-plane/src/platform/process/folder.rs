//! The folder of one instance: its order, what became of it, and the pipes to its supervisor. It is all that a control
//! plane needs to find its instances again.
//!
//! ```text
//! plan.json     the order with its ports; holds values of variables, so the folder is its owner's alone
//! limits.json   the control groups in which it runs, and limits that are not kept
//! status.json   what the supervisor told last
//! lock          held by the supervisor as long as it lives
//! control       a pipe that the supervisor reads: orders
//! out, err      pipes that the instance writes, and the supervisor reads; they outlive both
//! log/          what came out of them
//! work/         where the instance runs
//! ```

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, mkfifoat};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::groups::Limits;
use super::identity::Identity;
use crate::platform::{Exit, InstanceId, InstanceSpec, PlatformError, State};

/// What the supervisor carries out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The order.
    pub(super) spec: InstanceSpec,
    /// Its digest.
    pub(super) digest: String,
    /// The program, found in `PATH`.
    pub(super) program: PathBuf,
    /// Where its ports are, by name.
    pub(super) ports: BTreeMap<String, u16>,
    /// Where it runs; `None`: in the folder.
    pub(super) directory: Option<PathBuf>,
    /// From its first failure to its next start, at most.
    pub(super) backoff_first: Duration,
    /// From any failure to its next start, at most.
    pub(super) backoff_limit: Duration,
    /// LIMIT: bytes of each of its log files.
    pub(super) log_bytes_max: u64,
}

/// What the supervisor tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Status {
    /// Who tells it.
    pub(super) supervisor: u32,
    /// The process, while there is one.
    pub(super) process: Option<Identity>,
    /// What the instance does.
    pub(super) state: State,
    /// When it was started last, milliseconds since 1970 (UTC).
    pub(super) started_at_unix_ms: Option<u64>,
    /// How often it ended by itself and was started again.
    pub(super) restarts: u32,
}

/// The folder of one instance.
#[derive(Debug, Clone)]
pub(super) struct Folder(PathBuf);

/// An error that names a file.
fn at(path: &Path) -> impl FnOnce(io::Error) -> PlatformError {
    move |cause| PlatformError::File { path: path.to_owned(), cause }
}

impl Folder {
    /// A folder that is there already.
    pub(super) fn existing(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// The folder of an instance, if there is one.
    pub(super) fn find(root: &Path, id: &InstanceId) -> Option<Self> {
        let path = root.join(id.as_str());
        path.is_dir().then_some(Self(path))
    }

    /// All folders of instances; one that is being made or removed is none.
    pub(super) fn all(root: &Path) -> Result<Vec<(InstanceId, Self)>, PlatformError> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(root).map_err(at(root))? {
            let path = entry.map_err(at(root))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Ok(id) = name.parse::<InstanceId>()
                && path.is_dir()
            {
                all.push((id, Self(path)));
            }
        }
        all.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(all)
    }

    /// Makes the folder of an instance, whole or not at all; one that is there already is left as it is.
    pub(super) fn make(root: &Path, plan: &Plan) -> Result<Self, PlatformError> {
        let id = &plan.spec.id;
        let part = root.join(format!(".new.{id}.{:x}", rand::random::<u64>()));
        let made = Self(root.join(id.as_str()));
        let filled = Self(part.clone()).fill(plan);
        let moved = filled.and_then(|()| match std::fs::rename(&part, &made.0) {
            // Somebody else was faster.
            Err(_) if made.0.is_dir() => std::fs::remove_dir_all(&part),
            moved => moved,
        });
        moved.map_err(at(&part))?;
        Ok(made)
    }

    fn fill(&self, plan: &Plan) -> io::Result<()> {
        let make = |path: &Path| std::fs::DirBuilder::new().mode(0o700).create(path);
        make(&self.0)?;
        make(&self.log())?;
        make(&self.work())?;
        for pipe in [self.control(), self.out(), self.err()] {
            mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR)?;
        }
        File::create_new(self.lock_path())?;
        write_whole(&self.0.join("plan.json"), plan)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The pipe of orders.
    pub(super) fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    /// The pipe of standard output.
    pub(super) fn out(&self) -> PathBuf {
        self.0.join("out")
    }

    /// The pipe of standard error.
    pub(super) fn err(&self) -> PathBuf {
        self.0.join("err")
    }

    /// The folder of log files.
    pub(super) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    /// Where the instance runs.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// What the supervisor itself had to say.
    pub(super) fn complaints(&self) -> PathBuf {
        self.0.join("supervisor.log")
    }

    fn lock_path(&self) -> PathBuf {
        self.0.join("lock")
    }

    /// Takes the lock for good; `None`: another supervisor has it.
    pub(super) fn lock(&self) -> Result<Option<File>, PlatformError> {
        let path = self.lock_path();
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(at(&path)(error.into())),
        }
    }

    /// The order.
    pub(super) fn plan(&self) -> Result<Plan, PlatformError> {
        read_whole(&self.0.join("plan.json"))
    }

    /// What the supervisor told last; `None`: nothing yet.
    pub(super) fn status(&self) -> Result<Option<Status>, PlatformError> {
        self.read_if_there("status.json")
    }

    /// How its limits are kept; nothing is limited where nothing is written.
    pub(super) fn limits(&self) -> Result<Limits, PlatformError> {
        Ok(self.read_if_there("limits.json")?.unwrap_or_default())
    }

    /// Writes down how its limits are kept.
    pub(super) fn set_limits(&self, limits: &Limits) -> Result<(), PlatformError> {
        let path = self.0.join("limits.json");
        write_whole(&path, limits).map_err(at(&path))
    }

    fn read_if_there<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, PlatformError> {
        match read_whole(&self.0.join(name)) {
            Ok(read) => Ok(Some(read)),
            Err(PlatformError::File { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells it.
    pub(super) fn tell(&self, status: &Status) -> Result<(), PlatformError> {
        let path = self.0.join("status.json");
        write_whole(&path, status).map_err(at(&path))
    }

    /// What was told of the instance, and what it does, whether its supervisor lives or not. Who was ended before there was a
    /// supervisor left nothing but the order: that instance is to be started like one that ended.
    pub(super) fn look(&self) -> Result<(Option<Status>, State), PlatformError> {
        // Asked first: what is read after the end of a supervisor is its last word.
        let is_supervised = self.is_supervised();
        let status = self.status()?;
        let Some(told) = &status else {
            return Ok((None, if is_supervised { State::Starting } else { State::Exited(Exit::default()) }));
        };
        let is_there = || told.process.as_ref().is_some_and(Identity::is_alive);
        let state = match &told.state {
            State::Exited(_) => told.state.clone(),
            // A supervisor tells what it sees. Without one, the process is looked for.
            state if is_supervised => state.clone(),
            State::Running if is_there() => State::Running,
            State::Restarting(exit) => State::Exited(*exit),
            _ => State::Exited(Exit::default()),
        };
        Ok((status, state))
    }

    /// Whether a supervisor reads orders.
    pub(super) fn is_supervised(&self) -> bool {
        self.open_control().is_ok()
    }

    /// Orders the supervisor to end the instance; whether there was one to hear it.
    pub(super) fn order_stop(&self, grace: Duration) -> Result<bool, PlatformError> {
        let path = self.control();
        match self.open_control() {
            // One line is written in one piece, or not at all.
            Ok(mut control) => match control.write_all(stop_order(grace).as_bytes()) {
                // It ended since.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                written => written.map(|()| true).map_err(at(&path)),
            },
            // Nobody reads, or the folder is gone.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NXIO.raw_os_error()) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(at(&path)(error)),
        }
    }

    fn open_control(&self) -> io::Result<File> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        OpenOptions::new().write(true).custom_flags(flags).open(self.control())
    }

    /// Removes the folder: it is gone at once, and then empty.
    pub(super) fn remove(self, root: &Path) -> Result<(), PlatformError> {
        let name = self.0.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let gone = root.join(format!(".gone.{name}.{:x}", rand::random::<u64>()));
        match std::fs::rename(&self.0, &gone).and_then(|()| std::fs::remove_dir_all(&gone)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&self.0)(error)),
            _ => Ok(()),
        }
    }
}

/// The line that orders an end.
fn stop_order(grace: Duration) -> String {
    format!("stop {}\n", grace.as_millis())
}

/// The grace of the newest order in what came through the pipe.
pub(super) fn read_stop_order(text: &str) -> Option<Duration> {
    let line = text.lines().rev().find_map(|line| line.strip_prefix("stop "))?;
    line.trim().parse().ok().map(Duration::from_millis)
}

fn read_whole<T: DeserializeOwned>(path: &Path) -> Result<T, PlatformError> {
    let text = std::fs::read(path).map_err(at(path))?;
    serde_json::from_slice(&text).map_err(|error| at(path)(error.into()))
}

/// Writes a file that is its owner's alone, whole or not at all.
fn write_whole(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    std::fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let grace = Duration::from_millis(1_500);
        let both = format!("{}{}", stop_order(Duration::from_secs(9)), stop_order(grace));
        assert_eq!(read_stop_order(&both), Some(grace));
        assert_eq!(read_stop_order("start\n"), None);
    }
}
