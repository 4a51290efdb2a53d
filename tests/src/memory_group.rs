//! A control group with a limit of memory, of either generation: what the kernel ends when the limit is passed.

use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Where the groups of the old kind are, and of the new one: root of all groups, file of the limit, file that counts the
/// processes that were ended.
const GENERATIONS: [(&str, &str, &str); 2] = [
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
    ("/sys/fs/cgroup", "memory.max", "memory.events"),
];

/// A group of a test's own. It goes with this, and its processes with it.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    events: &'static str,
}

impl MemoryGroup {
    /// A group in which processes have this many bytes. `None`, said aloud, where the system allows none to be made; in CI,
    /// where it must, the test fails.
    pub fn with_limit(bytes: u64) -> Option<Self> {
        let group = Self::make(bytes);
        if let Err(error) = &group {
            let error =
                format!("no memory control group can be made: {error}: run the test as root, outside of containers");
            assert!(std::env::var_os("CI").is_none(), "{error}");
            eprintln!("skipped: {error}");
        }
        group.ok()
    }

    fn make(bytes: u64) -> std::io::Result<Self> {
        let (root, limit, events) = GENERATIONS
            .into_iter()
            .find(|(root, limit, _)| {
                // The root of the new kind has no limit, and tells by another file that it limits memory.
                let controllers = std::fs::read_to_string(Path::new(root).join("cgroup.controllers"));
                Path::new(root).join(limit).exists() || controllers.is_ok_and(|all| all.contains("memory"))
            })
            .ok_or(std::io::ErrorKind::NotFound)?;
        let folder = Path::new(root).join(format!("vamp-test-{:08x}", rand::random::<u32>()));
        std::fs::create_dir(&folder)?;
        let group = Self { folder, events };
        std::fs::write(group.folder.join(limit), bytes.to_string())?;
        Ok(group)
    }

    /// The command by which a shell enters it.
    pub fn enter(&self) -> String {
        format!("echo $$ > {}", self.folder.join("cgroup.procs").display())
    }

    /// Processes that the kernel ended because the limit was passed.
    pub fn killed(&self) -> u64 {
        let text = std::fs::read_to_string(self.folder.join(self.events)).expect("the group is there");
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).expect("the kernel counts them")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // After a failure its processes may run still; the kernel takes its time to see that they are gone.
        let script =
            "kill -KILL $(cat cgroup.procs); cd ..; for i in 1 2 3 4 5; do rmdir \"$0\" && exit; sleep 1; done";
        let mut shell = std::process::Command::new("/bin/sh");
        let ended =
            shell.args(["-c", script]).arg(&self.folder).current_dir(&self.folder).stderr(Stdio::null()).status();
        drop(ended);
    }
}
