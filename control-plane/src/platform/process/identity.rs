//! Which process that is: a number alone is given to another process one day.

use rustix::process::{Pid, Signal};
use serde::{Deserialize, Serialize};

/// One process, told from all others of this and any other boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number, and that of its group.
    pid: i32,
    /// When it started, in ticks since the boot.
    start_ticks: u64,
    /// The boot.
    boot: String,
}

impl Identity {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, start_ticks: start_ticks(pid)?, boot: boot() })
    }

    /// Its number.
    pub(super) fn pid(&self) -> Option<Pid> {
        Pid::from_raw(self.pid)
    }

    /// Whether it runs still.
    pub(super) fn is_alive(&self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks) && boot() == self.boot
    }

    /// Whether it is known to have ended: of another boot, which may be that of another machine, nothing is known.
    pub(crate) fn has_ended(&self) -> bool {
        boot() == self.boot && start_ticks(self.pid) != Some(self.start_ticks)
    }

    /// Sends a signal to it and to everything in its group, if it is still there.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid().filter(|_| self.is_alive()) {
            signal_group(pid, signal);
        }
    }
}

/// Sends a signal to a group that is known to be ours. That nobody is left in it is what was wanted.
pub(super) fn signal_group(leader: Pid, signal: Signal) {
    if let Err(error) = rustix::process::kill_process_group(leader, signal)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!("signal {} to process group {leader}: {error}", signal.as_raw());
    }
}

/// When a process started, in ticks since the boot; nothing for one that is gone, or that only waits to be forgotten.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses and blanks too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then_some(())?;
    fields.nth(18)?.parse().ok()
}

fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let identity = Identity::of(child.id().cast_signed()).unwrap();
        assert!(identity.is_alive());
        let reused = Identity { start_ticks: identity.start_ticks + 1, ..identity.clone() };
        let rebooted = Identity { boot: "another".to_owned(), ..identity.clone() };
        assert!(!reused.is_alive() && !rebooted.is_alive());
        assert!(reused.has_ended() && !rebooted.has_ended() && !identity.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!identity.is_alive());
        assert_eq!(Identity::of(child.id().cast_signed()), None);
    }
}
