//! Programs of this host: the platform that is always there.
//!
//! Each instance has a supervisor ([`supervisor`]), a process of its own that outlives the control plane, and a folder
//! ([`folder`]) by which the next control plane finds it. `docs/platforms.md` says what is promised.

mod folder;
mod groups;
mod hierarchy;
mod identity;
mod launch;
mod log;
mod look_up;
mod platform;
mod supervisor;
mod usage;

pub use hierarchy::Grouping;
pub(crate) use identity::Identity;
pub use platform::ProcessPlatform;

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::process::Command;

use super::Deployable;
use folder::{Folder, Plan};

/// The first argument of a supervisor.
const SUPERVISE: &str = "platform-process-supervise";
/// The first argument of the last step before an instance.
const LAUNCH: &str = "platform-process-launch";
/// The first argument of a program that tries whether it can join control groups.
const JOIN: &str = "platform-process-join";
/// Variables that an instance gets from the host; everything else of the control plane's own is none of its business.
const INHERITED: [&str; 3] = ["PATH", "LANG", "TZ"];

/// How programs of this host are run.
#[derive(Debug, Clone)]
pub struct ProcessSettings {
    /// Where the folders of instances are: a folder that is this namespace's alone.
    pub folder: PathBuf,
    /// The program that supervises: one that calls [`as_helper`] first thing.
    pub program: PathBuf,
    /// The address at which instances are reached.
    pub host: IpAddr,
    /// Ports that are given to instances; best outside of those that the system gives to clients.
    pub port_range: RangeInclusive<u16>,
    /// From the first failure of an instance to its next start, at most.
    pub backoff_first: Duration,
    /// From any failure to its next start, at most.
    pub backoff_limit: Duration,
    /// How long a file system is waited for that is to tell of a program.
    pub look_patience: Duration,
    /// Bytes of each of an instance's four log files.
    pub log_bytes_max: u64,
    /// In which control groups instances get their limits.
    pub groups: Grouping,
}

impl ProcessSettings {
    /// Instances in this folder, supervised by the program that runs now.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            // Also right when the file was replaced by a newer one meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_range: 30_000..=31_999,
            backoff_first: Duration::from_millis(500),
            backoff_limit: Duration::from_mins(1),
            look_patience: look_up::PATIENCE,
            log_bytes_max: 4 << 20,
            groups: Grouping::default(),
        }
    }
}

/// Does the work of a helper, if the arguments of this process (its name first) say that it is one. A program that runs
/// a [`ProcessPlatform`] calls this before anything else: before it has threads, and before it reads its arguments.
pub fn as_helper(arguments: &[OsString]) -> Option<ExitCode> {
    let [_, verb, rest @ ..] = arguments else { return None };
    match (verb.to_str()?, rest) {
        (SUPERVISE, [folder]) => Some(supervisor::supervise(Path::new(folder))),
        (LAUNCH, rest) => Some(launch::launch(rest)),
        (JOIN, rest) => Some(launch::try_to_join(rest)),
        _ => None,
    }
}

/// What an instance is told, and where it runs; also a command beside it.
fn environment(command: &mut Command, plan: &Plan, folder: &Folder) {
    let directory = plan.directory.clone().unwrap_or_else(|| folder.work());
    command.env_clear().env("HOME", &directory);
    inherit(command);
    for (index, port) in plan.spec.ports.iter().enumerate() {
        let Some(number) = plan.ports.get(&port.name).map(u16::to_string) else { continue };
        if index == 0 {
            command.env("PORT", &number);
        }
        command.env(port.variable(), number);
    }
    command.envs(&plan.spec.environment.0).current_dir(directory);
}

fn inherit(command: &mut Command) {
    inherit_std(command.as_std_mut());
}

fn inherit_std(command: &mut std::process::Command) {
    command.envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
}

/// The pipe by which supervisors say that something changed.
fn hints(root: &Path) -> PathBuf {
    root.join("hints")
}

/// Says that something changed in the folder of an instance, to whoever listens.
fn hint(folder: &Path) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let opened =
        folder.parent().map(|root| std::fs::OpenOptions::new().write(true).custom_flags(flags).open(hints(root)));
    if let Some(Ok(mut pipe)) = opened {
        // A full pipe says it already.
        drop(pipe.write(&[0]));
    }
}

fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
