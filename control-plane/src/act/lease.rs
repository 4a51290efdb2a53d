//! Decides who acts, from what stands in the database and the time since the start. No clock is compared with another: who
//! waits takes over when what stands there did not change for long enough, and who acts stops well before that.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::platform::process::Identity;

/// How often who acts says so.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(4);
/// LIMIT: how long one may act after it began to say so: two renewals may fail.
const HOLD: Duration = Duration::from_secs(12);
/// LIMIT: how long nothing must change until another one takes over. Longer than [`HOLD`]: what waits in a queue when that
/// is over has ended by then.
const SILENCE: Duration = Duration::from_secs(20);

/// Who acts, as it stands in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    /// Drawn at its start.
    id: String,
    /// Its process: another one on the same host can see that it is gone.
    process: Option<Identity>,
    /// Processes have numbers of their own in each of these.
    numbers: String,
    /// Goes up with each renewal.
    turn: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lease {
    own: Holder,
    /// What another one wrote, and since when it stands there.
    seen: Option<(String, Duration)>,
    until: Option<Duration>,
    renewed: Option<Duration>,
}

impl Lease {
    pub(super) fn new() -> Self {
        let id = format!("{:016x}", rand::random::<u64>());
        let process = Identity::of(std::process::id().cast_signed());
        let numbers = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default().display().to_string();
        Self { own: Holder { id, process, numbers, turn: 0 }, seen: None, until: None, renewed: None }
    }

    /// Takes in what stands there; what is to be written in its place.
    pub(super) fn look(&mut self, now: Duration, found: Option<&str>) -> Option<String> {
        let holder = found.and_then(|text| serde_json::from_str::<Holder>(text).ok());
        let is_ours = holder.as_ref().is_some_and(|holder| holder.id == self.own.id);
        if let (Some(text), false) = (found, is_ours) {
            self.until = None;
            let since = match &self.seen {
                Some((seen, since)) if seen == text => *since,
                _ => now,
            };
            self.seen = Some((text.to_owned(), since));
            if now < since + SILENCE && !holder.is_some_and(|holder| self.is_gone(&holder)) {
                return None;
            }
        }
        if is_ours && self.renewed.is_some_and(|renewed| now < renewed + RENEW_EVERY / 2) {
            return None;
        }
        self.own.turn += 1;
        self.ours()
    }

    /// Takes in whether that was written; `before` is a time from before it was.
    pub(super) fn claimed(&mut self, before: Duration, is_ours: bool) {
        self.until = is_ours.then_some(before + HOLD);
        self.renewed = is_ours.then_some(before);
        self.seen = self.seen.take().filter(|_| !is_ours);
    }

    /// Until when it may act.
    pub(super) fn until(&self) -> Option<Duration> {
        self.until
    }

    /// What stands in the database if it was written last by this one.
    pub(super) fn ours(&self) -> Option<String> {
        serde_json::to_string(&self.own).ok()
    }

    /// Whether that process can be seen to have ended.
    fn is_gone(&self, holder: &Holder) -> bool {
        let is_here = holder.numbers == self.own.numbers && !holder.numbers.is_empty();
        is_here && holder.process.as_ref().is_some_and(Identity::has_ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// A database with one entry.
    #[derive(Default)]
    struct Kept(Option<String>);

    impl Kept {
        fn step(&mut self, lease: &mut Lease, now: Duration) -> bool {
            let found = self.0.clone();
            if let Some(claim) = lease.look(now, found.as_deref()) {
                self.0 = Some(claim);
                lease.claimed(now, true);
            }
            lease.until().is_some_and(|until| now < until)
        }
    }

    #[test]
    fn one_acts_as_long_as_it_says_so_and_another_takes_over_when_it_is_silent() {
        let (mut kept, mut first, mut second) = (Kept::default(), Lease::new(), Lease::new());
        assert!(kept.step(&mut first, SECOND));
        for second_of in 2..60 {
            let now = SECOND * second_of;
            assert!(kept.step(&mut first, now) && !kept.step(&mut second, now), "{now:?}");
        }
        // The first one falls silent at 59 s.
        let until = first.until().unwrap();
        let takes_over = (60..100).find(|second_of| kept.step(&mut second, SECOND * *second_of)).unwrap();
        assert!(SECOND * takes_over > until + SECOND * 5, "{takes_over}");
        assert!(SECOND * takes_over <= SECOND * 80, "{takes_over}");
        // It comes back, and leaves it to the second.
        assert!(!kept.step(&mut first, SECOND * takes_over));
        assert!(kept.step(&mut second, SECOND * (takes_over + 4)));
    }

    #[test]
    fn who_lost_the_race_does_not_act() {
        let mut lease = Lease::new();
        assert!(lease.look(SECOND, None).is_some());
        lease.claimed(SECOND, false);
        assert_eq!(lease.until(), None);
    }

    #[test]
    fn a_process_of_this_host_that_has_ended_is_not_waited_for() {
        let (mut kept, mut first, mut second) = (Kept::default(), Lease::new(), Lease::new());
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        first.own.process = Identity::of(child.id().cast_signed());
        assert!(kept.step(&mut first, SECOND) && !kept.step(&mut second, SECOND));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(kept.step(&mut second, SECOND));
        // Elsewhere nobody can see that.
        first.own.numbers = "pid:[another]".to_owned();
        kept.0 = first.ours();
        assert!(!kept.step(&mut second, SECOND));
    }

    #[test]
    fn what_can_not_be_read_is_waited_for_like_anybody() {
        let (mut kept, mut lease) = (Kept(Some("of a later version".to_owned())), Lease::new());
        assert!(!kept.step(&mut lease, SECOND) && !kept.step(&mut lease, SECOND * 20));
        assert!(kept.step(&mut lease, SECOND * 21));
    }
}
