//! The control groups of instances: made with their limits before an instance starts, and removed with everything that is
//! left in them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::hierarchy::{Controller, Grouping, Parent, Told, Version};
use super::{JOIN, inherit_std};
use crate::platform::{InstanceId, InstanceSpec, PlatformError};

/// What the system counts use of processors over, in microseconds.
const PERIOD_MICROSECONDS: u64 = 100_000;
/// LIMIT: the least that the system can give in a period, in microseconds: a hundredth of a processor.
const QUOTA_MICROSECONDS_MIN: u64 = 1_000;
/// LIMIT: members of a group that was killed are gone by then.
const REMOVE_PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether they are.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// Memory with which is tried whether limits can be given.
const TRIAL_BYTES: u64 = 1 << 30;

/// Where the instances of one folder get their groups.
#[derive(Debug)]
pub(super) struct Groups {
    /// How all of these groups are called at the beginning.
    prefix: String,
    cpu: Result<Parent, String>,
    memory: Result<Parent, String>,
}

/// One group of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Group {
    controller: Controller,
    version: Version,
    folder: PathBuf,
}

/// How the limits of one instance are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Limits {
    groups: Vec<Group>,
    /// What each of its processes can write to, where no group keeps its memory.
    pub(super) data_bytes: Option<u64>,
    /// Limits that are not kept, each with the reason and the mend.
    pub(super) warnings: Vec<String>,
}

impl Groups {
    /// Finds where groups can be made for the instances of a folder, tries it, says once what is not possible, and removes
    /// what instances left that are gone.
    pub(super) fn open(grouping: &Grouping, root: &Path, program: &Path) -> Self {
        let hash = Sha256::digest(root.as_os_str().as_encoded_bytes());
        let prefix = hash.iter().take(5).fold("vamp.".to_owned(), |text, byte| format!("{text}{byte:02x}")) + ".";
        let told = Told::read();
        let found = |controller: Controller| {
            let parent = told.parent(controller, grouping, is_delegated)?;
            try_out(&parent, controller, &prefix, program)?;
            Ok(parent)
        };
        let groups = Self { cpu: found(Controller::Cpu), memory: found(Controller::Memory), prefix };
        if let Err(why) = &groups.cpu {
            tracing::warn!("limits of `cpu` are not enforced for programs of this host: {why}");
        }
        if let Err(why) = &groups.memory {
            tracing::warn!("limits of `memory` hold for each process of an instance alone: {why}");
        }
        groups.sweep(root);
        groups
    }

    /// How memory is limited.
    pub(super) fn memory_in_words(&self) -> &'static str {
        match self.memory {
            Ok(_) => "all of an instance together; a process of it is ended when it takes more",
            Err(_) => "each process of an instance can write to that much (RLIMIT_DATA); more fails in the instance",
        }
    }

    /// How processors are limited.
    pub(super) fn cpu_in_words(&self) -> &'static str {
        match self.cpu {
            Ok(_) => "all of an instance together; it waits when it takes more",
            Err(_) => "not kept: all instances share the processors of the host",
        }
    }

    fn parent(&self, controller: Controller) -> Result<&Parent, &String> {
        match controller {
            Controller::Cpu => self.cpu.as_ref(),
            Controller::Memory => self.memory.as_ref(),
        }
    }

    /// Makes the groups of an instance. What can't be limited is told, and stops nobody.
    pub(super) fn make(&self, spec: &InstanceSpec) -> Limits {
        let mut limits = Limits::default();
        for controller in [Controller::Cpu, Controller::Memory] {
            let Some(amount) = wanted(spec, controller) else { continue };
            let made = self.parent(controller).map_err(Clone::clone).and_then(|parent| {
                let folder = parent.folder.join(format!("{}{}", self.prefix, spec.id));
                let group = Group { controller, version: parent.version, folder };
                group.make(amount).map_err(|error| refused(&group.folder, &error)).map(|()| group)
            });
            match (made, controller) {
                (Ok(group), _) => limits.groups.push(group),
                (Err(why), Controller::Cpu) => limits.warnings.push(format!("limit of cpu not enforced: {why}")),
                (Err(why), Controller::Memory) => {
                    limits.data_bytes = Some(amount);
                    let text = format!("limit of memory enforced for each process alone, not for all together: {why}");
                    limits.warnings.push(text);
                }
            }
        }
        limits
    }

    /// Removes groups of instances that are gone; what can't be removed now is tried again at the next start.
    fn sweep(&self, root: &Path) {
        let parents: BTreeSet<&Path> =
            [&self.cpu, &self.memory].into_iter().flatten().map(|parent| parent.folder.as_path()).collect();
        for entry in parents.into_iter().filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten() {
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_prefix(&self.prefix));
            if id.is_some_and(|id| !id.parse::<InstanceId>().is_ok_and(|id| root.join(id.as_str()).is_dir())) {
                kill_all(&entry.path());
                if let Err(error) = fs::remove_dir(entry.path()) {
                    tracing::warn!("the control group {} is left behind: {error}", entry.path().display());
                }
            }
        }
    }
}

/// Whether systemd left a group to who runs in it, and says so.
fn is_delegated(group: &Path) -> bool {
    let mut value = [0; 8];
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        rustix::fs::getxattr(group, *name, &mut value).is_ok_and(|length| value.get(..length) == Some(b"1".as_slice()))
    })
}

/// Makes a group, has a program join it, and removes it.
fn try_out(parent: &Parent, controller: Controller, prefix: &str, program: &Path) -> Result<(), String> {
    lend(parent, controller).map_err(|error| refused(&parent.folder, &error))?;
    let amount = match controller {
        Controller::Cpu => 1_000,
        Controller::Memory => TRIAL_BYTES,
    };
    // No instance is called so.
    let folder = parent.folder.join(format!("{prefix}.{}", controller.name()));
    let group = Group { controller, version: parent.version, folder };
    let tried = group.make(amount).and_then(|()| {
        let mut join = Command::new(program);
        join.env_clear().arg(JOIN).arg(group.members());
        inherit_std(&mut join);
        let told = join.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
        let said = || io::Error::other(String::from_utf8_lossy(&told.stderr).trim().to_owned());
        told.status.success().then_some(()).ok_or_else(said)
    });
    let removed = if group.folder.exists() { fs::remove_dir(&group.folder) } else { Ok(()) };
    tried.and(removed).map_err(|error| refused(&group.folder, &error))
}

/// Makes the parent, and has the groups from the top down to it hand the controller on.
fn lend(parent: &Parent, controller: Controller) -> io::Result<()> {
    fs::create_dir_all(&parent.folder)?;
    for group in &parent.lends {
        if parent.version == Version::One {
            continue;
        }
        let file = group.join("cgroup.subtree_control");
        let lent = fs::read_to_string(&file)?;
        if !lent.split_whitespace().any(|name| name == controller.name()) {
            fs::write(&file, format!("+{}", controller.name()))?;
        }
    }
    Ok(())
}

/// How much of it an order asks for.
fn wanted(spec: &InstanceSpec, controller: Controller) -> Option<u64> {
    match controller {
        Controller::Cpu => spec.cpu_milli.map(u64::from),
        Controller::Memory => spec.memory_bytes,
    }
}

fn refused(group: &Path, error: &io::Error) -> String {
    format!(
        "the control group {} can't be used ({error}): run with the rights for it, or give `--process-cgroup` a path that \
         is this user's",
        group.display()
    )
}

impl Group {
    fn make(&self, amount: u64) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let write = |name: &str, text: String| fs::write(self.folder.join(name), text);
        let quota = || (amount * PERIOD_MICROSECONDS / 1_000).max(QUOTA_MICROSECONDS_MIN);
        match (self.controller, self.version) {
            (Controller::Cpu, Version::One) => {
                write("cpu.cfs_period_us", PERIOD_MICROSECONDS.to_string())?;
                write("cpu.cfs_quota_us", quota().to_string())
            }
            (Controller::Cpu, Version::Two) => write("cpu.max", format!("{} {PERIOD_MICROSECONDS}", quota())),
            (Controller::Memory, Version::One) => {
                write("memory.limit_in_bytes", amount.to_string())?;
                // Not every system counts what is swapped out.
                let swapped = "memory.memsw.limit_in_bytes";
                if self.folder.join(swapped).exists() { write(swapped, amount.to_string()) } else { Ok(()) }
            }
            (Controller::Memory, Version::Two) => {
                write("memory.max", amount.to_string())?;
                let swapped = "memory.swap.max";
                if self.folder.join(swapped).exists() { write(swapped, "0".to_owned()) } else { Ok(()) }
            }
        }
    }

    /// Who writes 0 there becomes a member.
    fn members(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// How many processes were ended for the memory that they took together.
    fn kills(&self) -> u64 {
        let file = match (self.controller, self.version) {
            (Controller::Cpu, _) => return 0,
            (Controller::Memory, Version::One) => "memory.oom_control",
            (Controller::Memory, Version::Two) => "memory.events",
        };
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
    }
}

impl Limits {
    /// The files by which a process joins all groups.
    pub(super) fn members(&self) -> BTreeSet<PathBuf> {
        self.groups.iter().map(Group::members).collect()
    }

    /// Makes those of its groups again that are gone: systemd removes what has no members when the unit of the control
    /// plane stops, and an instance that waits for its next start has none.
    pub(super) fn renew(&self, spec: &InstanceSpec) -> Result<(), String> {
        // Two controllers of version 2 have one folder: it is gone for both, until the first of them is made.
        let gone: Vec<&Group> = self.groups.iter().filter(|group| !group.folder.exists()).collect();
        for group in gone {
            let Some(amount) = wanted(spec, group.controller) else { continue };
            group.make(amount).map_err(|error| refused(&group.folder, &error))?;
        }
        Ok(())
    }

    /// How many of its processes were ended for the memory that they took together.
    pub(super) fn kills(&self) -> u64 {
        self.groups.iter().map(Group::kills).sum()
    }

    /// Ends what is left in its groups, whatever it did to leave its process group, and removes them.
    pub(super) async fn remove(&self, id: &InstanceId) -> Result<(), PlatformError> {
        let deadline = Instant::now() + REMOVE_PATIENCE;
        let folders: BTreeSet<&Path> = self.groups.iter().map(|group| group.folder.as_path()).collect();
        for folder in folders {
            loop {
                kill_all(folder);
                match fs::remove_dir(folder) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                    Err(cause) if Instant::now() >= deadline => {
                        tracing::warn!(instance = %id, "its control group is not removed: {cause}");
                        return Err(PlatformError::File { path: folder.to_owned(), cause });
                    }
                    Err(_) => tokio::time::sleep(LOOK_INTERVAL).await,
                }
            }
        }
        Ok(())
    }
}

/// Ends all members of a group.
fn kill_all(group: &Path) {
    let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for member in members.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        // One that is gone is what was wanted.
        kill_process(member, Signal::KILL).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(controller: Controller, version: Version, folder: &Path) -> Group {
        Group { controller, version, folder: folder.to_owned() }
    }

    #[test]
    fn limits_are_written_as_each_version_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        for file in ["memory.memsw.limit_in_bytes", "memory.swap.max"] {
            fs::write(folder.join(file), "max").unwrap();
        }
        group(Controller::Cpu, Version::One, folder).make(200).unwrap();
        assert_eq!((read("cpu.cfs_period_us").as_str(), read("cpu.cfs_quota_us").as_str()), ("100000", "20000"));
        group(Controller::Cpu, Version::Two, folder).make(1).unwrap();
        assert_eq!(read("cpu.max"), "1000 100000", "the least that can be given");
        group(Controller::Memory, Version::One, folder).make(9).unwrap();
        assert_eq!((read("memory.limit_in_bytes").as_str(), read("memory.memsw.limit_in_bytes").as_str()), ("9", "9"));
        group(Controller::Memory, Version::Two, folder).make(9).unwrap();
        assert_eq!((read("memory.max").as_str(), read("memory.swap.max").as_str()), ("9", "0"));
    }

    #[test]
    fn groups_that_are_gone_are_made_again_with_all_their_limits() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("instance");
        let groups = [Controller::Cpu, Controller::Memory].map(|controller| group(controller, Version::Two, &folder));
        let limits = Limits { groups: groups.to_vec(), ..Limits::default() };
        let spec =
            InstanceSpec { cpu_milli: Some(500), memory_bytes: Some(9), ..InstanceSpec::bare("instance", "true") };
        limits.renew(&spec).unwrap();
        let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!((read("cpu.max").as_str(), read("memory.max").as_str()), ("50000 100000", "9"));
        // What is there is left as it is: it has members, and counts.
        fs::write(folder.join("cpu.max"), "kept").unwrap();
        limits.renew(&spec).unwrap();
        assert_eq!(read("cpu.max"), "kept");
        drop(parent);
        assert!(limits.renew(&spec).unwrap_err().contains("can't be used"));
    }

    #[test]
    fn kills_for_memory_are_counted_in_both_versions() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("memory.oom_control"), "under_oom 0\noom_kill 2\n").unwrap();
        fs::write(folder.path().join("memory.events"), "oom 4\noom_kill 3\n").unwrap();
        assert_eq!(group(Controller::Memory, Version::One, folder.path()).kills(), 2);
        assert_eq!(group(Controller::Memory, Version::Two, folder.path()).kills(), 3);
        assert_eq!(group(Controller::Cpu, Version::Two, folder.path()).kills(), 0);
    }
}
