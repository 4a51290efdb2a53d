//! What the instances of clusters use, second after second. Pure.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::machine::{ClusterName, Figures, Reading, Rule};
use super::measure::check_interval;
use super::promises::Promise;
use crate::reconcile;
use crate::samples::{KEPT, number};

/// In how many parts a window is looked at.
const PARTS: u64 = 4;

/// Processor time of each instance since it was started, or why it is not known.
type Times = Result<reconcile::Times, String>;

/// What the instances of clusters used lately.
#[derive(Debug, Default)]
pub(super) struct Processors(BTreeMap<ClusterName, Used>);

#[derive(Debug, Default)]
struct Used {
    last: Option<(u64, BTreeMap<String, Duration>)>,
    slots: VecDeque<Slot>,
}

#[derive(Debug)]
struct Slot {
    until_ms: u64,
    length_ms: u64,
    used: Result<Duration, String>,
}

impl Processors {
    /// Takes what platforms told now; clusters that are not in it are forgotten.
    pub(super) fn take(&mut self, now_ms: u64, times: BTreeMap<ClusterName, Times>) {
        self.0.retain(|name, _| times.contains_key(name));
        for (name, times) in times {
            self.0.entry(name).or_default().take(now_ms, times);
        }
    }

    /// The figure of a promise about processors.
    pub(super) fn reading(&self, promise: &Promise, rule: &Rule) -> Reading {
        let used = self.0.get(&promise.name).ok_or_else(|| "the platforms are about to be asked".to_owned());
        match used.and_then(|used| used.figures(rule, promise.capacity)) {
            Ok(figures) => Reading::Known(figures),
            Err(why) => Reading::Unknown(why),
        }
    }
}

impl Used {
    fn take(&mut self, now_ms: u64, times: Times) {
        let last = self.last.take();
        let used = match (&times, &last) {
            (Err(why), _) => Err(why.clone()),
            (Ok(_), None) => Err("the platforms are about to be asked again".to_owned()),
            (Ok(now), Some((_, last))) => Ok(now.iter().filter_map(|(id, now)| since(*now, *last.get(id)?)).sum()),
        };
        let length_ms = last.as_ref().map_or(1_000, |(at_ms, _)| now_ms.saturating_sub(*at_ms));
        self.slots.push_back(Slot { until_ms: now_ms, length_ms, used });
        let kept_ms = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        while self.slots.front().is_some_and(|slot| slot.until_ms.saturating_add(kept_ms) < now_ms) {
            self.slots.pop_front();
        }
        self.last = times.ok().map(|times| (now_ms, times));
    }

    fn figures(&self, rule: &Rule, capacity: f64) -> Result<Figures, String> {
        let interval = check_interval(rule)?;
        if capacity <= 0.0 {
            return Err("its services have no instance with a bound of cpu: give their scales one".to_owned());
        }
        let percent =
            |used: Duration, length_ms: u64| used.as_secs_f64() * 100_000.0 / number(length_ms.max(1)) / capacity;
        let (mut length_ms, mut used) = (0_u64, Duration::ZERO);
        let (mut part_ms, mut part_used, mut highest) = (0_u64, Duration::ZERO, 0.0_f64);
        for slot in self.slots.iter().rev() {
            let of_slot = *slot.used.as_ref().map_err(String::clone)?;
            (length_ms, used) = (length_ms + slot.length_ms, used + of_slot);
            (part_ms, part_used) = (part_ms + slot.length_ms, part_used + of_slot);
            let is_whole = u128::from(length_ms) >= interval.as_millis();
            if is_whole || u128::from(part_ms * PARTS) >= interval.as_millis() {
                highest = highest.max(percent(part_used, part_ms));
                (part_ms, part_used) = (0, Duration::ZERO);
            }
            if is_whole {
                let until_ms = self.slots.back().map_or(0, |slot| slot.until_ms);
                let from_ms = until_ms.saturating_sub(length_ms);
                let whole = Some(percent(used, length_ms));
                return Ok(Figures { from_ms, length_ms, requests: 0, whole, highest });
            }
        }
        Err(format!("the last {} s are known, not yet {} s", length_ms / 1_000, interval.as_secs()))
    }
}

/// What was used since; all of it by an instance that was started again meanwhile.
fn since(now: Duration, last: Duration) -> Option<Duration> {
    now.checked_sub(last).or(Some(now))
}

#[cfg(test)]
mod tests {
    use vamp_model::Figure;

    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "platforms tell the times, or why they don't")]
    fn times(used: &[(&str, u64)]) -> Times {
        Ok(used.iter().map(|(id, ms)| ((*id).to_owned(), Duration::from_millis(*ms))).collect())
    }

    fn rule(seconds: u64) -> Rule {
        Rule { figure: Figure::Cpu, upper: 80.0, lower: 20.0, interval_ms: seconds * 1_000, cooldown_ms: 0 }
    }

    #[test]
    fn use_is_told_in_percent_of_what_the_scale_allows() {
        let mut used = Used::default();
        used.take(1_000, times(&[("a", 5_000), ("b", 100)]));
        assert!(used.figures(&rule(1), 2.0).is_err(), "once says nothing");
        used.take(2_000, times(&[("a", 6_000), ("b", 600)]));
        used.take(3_000, times(&[("a", 6_500), ("b", 600)]));
        let figures = used.figures(&rule(2), 2.0).unwrap();
        assert_eq!((figures.from_ms, figures.length_ms, figures.whole), (1_000, 2_000, Some(50.0)));
        assert_eq!(Some(figures.highest), Some(75.0));
        assert!(used.figures(&rule(3), 2.0).unwrap_err().contains("about to be asked"));
        assert!(used.figures(&rule(1), 0.0).unwrap_err().contains("no instance"));
    }

    #[test]
    fn instances_come_go_and_are_started_again() {
        let mut used = Used::default();
        used.take(1_000, times(&[("a", 5_000), ("b", 100)]));
        // One that is new says nothing yet, one that was started again has used all that it has now since.
        used.take(2_000, times(&[("b", 30), ("c", 9_000)]));
        assert_eq!(used.figures(&rule(1), 1.0).unwrap().whole, Some(3.0));
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        let mut used = Used::default();
        used.take(1_000, times(&[("a", 0)]));
        used.take(2_000, times(&[("a", 0)]));
        used.take(3_000, Err("it does not answer".to_owned()));
        assert_eq!(used.figures(&rule(1), 1.0).unwrap_err(), "it does not answer");
        used.take(4_000, times(&[("a", 0)]));
        assert!(used.figures(&rule(1), 1.0).is_err(), "what was used meanwhile was used at a time that is not known");
        used.take(5_000, times(&[("a", 0)]));
        assert_eq!(used.figures(&rule(1), 1.0).unwrap().whole, Some(0.0));
        assert!(used.figures(&rule(2), 1.0).is_err());
    }
}
