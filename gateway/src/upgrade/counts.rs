//! What a process that hands over counted of its splits, told to its successor until its last request has ended: so
//! that the sum over all processes misses none.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use vamp_record::split::SplitCounts;

use super::ToSuccessor;
use super::channel::Channel;
use super::successor::in_memory;

/// How often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// LIMIT: a successor that does not listen.
const TELL_PATIENCE: Duration = Duration::from_secs(1);

/// LIMIT: how long counts of a process that has ended are shown: the control plane reads them every 5 s.
const SHOWN: Duration = Duration::from_mins(1);

/// LIMIT: processes before this one whose counts are shown, and gateways of all of them together: the answer must stay
/// one that the control plane takes (16 MiB).
const PROCESSES_MAX: usize = 16;
const GATEWAYS_MAX: usize = 10_000;

/// What the processes before counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Before {
    /// By boot, the newest first.
    pub(crate) counts: Vec<SplitCounts>,
    /// Whether the last of them has not ended.
    pub(crate) is_open: bool,
}

/// The successor that serves, for as long as there is something to tell it.
#[derive(Debug)]
pub struct Heir {
    pub(super) channel: Channel,
    /// This process is its parent, so nobody else learns how it ends.
    pub(super) process: Mutex<Child>,
}

impl Heir {
    /// Tells it now and then, and returns when it has failed; the last time is [`Heir::tell`]'s.
    pub(crate) async fn keep_telling(&self, counts: impl Fn() -> Vec<SplitCounts>) {
        let mut hears = true;
        while !self.has_failed() {
            hears = hears && self.tell(&counts()).await;
            tokio::time::sleep(TELL_EVERY).await;
        }
    }

    /// Whether it ended otherwise than in good order, as one does that was told to stop or has handed over, too.
    pub(crate) fn has_failed(&self) -> bool {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(process.try_wait(), Ok(Some(status)) if !status.success())
    }

    /// Tells it all, this process's own counts first; whether it heard it.
    pub(crate) async fn tell(&self, counts: &[SplitCounts]) -> bool {
        let told = async {
            let content = in_memory(&serde_json::to_vec(counts)?)?;
            self.channel.send(&ToSuccessor::Counts, &[content.as_fd()]).await
        };
        let told: io::Result<()> =
            tokio::time::timeout(TELL_PATIENCE, told).await.unwrap_or_else(|late| Err(late.into()));
        if let Err(error) = &told {
            tracing::warn!("the new process does not hear what was counted here: {error}");
        }
        told.is_ok()
    }
}

/// Listens to a predecessor until it has ended.
pub(super) fn listen(channel: Channel, before: watch::Sender<Before>) -> JoinHandle<()> {
    before.send_modify(|before| before.is_open = true);
    tokio::spawn(async move {
        while let Ok((ToSuccessor::Counts, descriptors)) = channel.receive().await {
            match descriptors.into_iter().next().ok_or(io::ErrorKind::InvalidData.into()).and_then(read) {
                Ok(counts) => before.send_modify(|before| before.counts = bounded(counts)),
                Err(error) => tracing::warn!("what the process before counted can't be read: {error}"),
            }
        }
        before.send_modify(|before| before.is_open = false);
        tokio::time::sleep(SHOWN).await;
        before.send_modify(|before| before.counts.clear());
    })
}

fn read(content: OwnedFd) -> io::Result<Vec<SplitCounts>> {
    let mut file = File::from(content);
    // Both processes have one place in it.
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn bounded(mut counts: Vec<SplitCounts>) -> Vec<SplitCounts> {
    counts.truncate(PROCESSES_MAX);
    let mut gateways = 0;
    let fit = |counts: &&SplitCounts| {
        gateways += counts.gateways.len();
        gateways <= GATEWAYS_MAX
    };
    let fitting = counts.iter().take_while(fit).count();
    counts.truncate(fitting);
    counts
}

#[cfg(test)]
mod tests {
    use vamp_record::split::GatewayCounts;

    use super::*;
    use crate::upgrade::channel::pair;

    fn counts(boot: &str, gateways: usize) -> SplitCounts {
        let gateway = |number| GatewayCounts { gateway: format!("{number}"), levels: Vec::new(), routes: Vec::new() };
        SplitCounts { id: "g1".to_owned(), boot: boot.to_owned(), gateways: (0..gateways).map(gateway).collect() }
    }

    /// A process that has ended.
    fn ended(program: &str) -> Child {
        let mut process = std::process::Command::new(program).spawn().unwrap();
        process.wait().unwrap();
        process
    }

    #[tokio::test(start_paused = true)]
    async fn a_successor_that_failed_is_noticed_and_one_that_ended_well_is_not_missed() {
        for (program, is_noticed) in [("false", true), ("true", false)] {
            let (ours, theirs) = pair().unwrap();
            drop(theirs);
            let heir = Heir { channel: Channel::new(ours).unwrap(), process: Mutex::new(ended(program)) };
            let noticed = tokio::time::timeout(TELL_EVERY * 100, heir.keep_telling(Vec::new)).await;
            assert_eq!(noticed.is_ok(), is_noticed, "{program}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_counts_of_a_process_are_shown_for_a_while_after_its_end() {
        let (ours, theirs) = pair().unwrap();
        let before = watch::Sender::new(Before::default());
        let mut shown = before.subscribe();
        let listening = listen(Channel::new(theirs).unwrap(), before);
        let heir = Heir { channel: Channel::new(ours).unwrap(), process: Mutex::new(ended("true")) };
        for gateways in [0, 3] {
            let told = [counts("b2", gateways), counts("b1", 1)];
            heir.tell(&told).await;
            assert!(shown.wait_for(|before| before.counts == told).await.unwrap().is_open);
        }
        drop(heir);
        assert_eq!(shown.wait_for(|before| !before.is_open).await.unwrap().counts.len(), 2);
        listening.await.unwrap();
        assert!(shown.borrow().counts.is_empty());
    }

    #[test]
    fn the_newest_counts_go_before_the_bound() {
        let many = bounded((0..PROCESSES_MAX + 3).map(|number| counts(&number.to_string(), 1)).collect());
        assert_eq!((many.len(), many[0].boot.as_str()), (PROCESSES_MAX, "0"));
        let large = bounded(vec![counts("new", GATEWAYS_MAX - 1), counts("old", 1), counts("older", 1)]);
        assert_eq!(large.len(), 2);
    }
}
