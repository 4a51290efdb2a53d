//! Processor time of groups of processes: an instance is the leader of its own.

use std::collections::BTreeMap;
use std::time::Duration;

/// Linux tells times there in hundredths of a second (`USER_HZ`), whatever its own clock.
const TICKS_PER_SECOND: u64 = 100;

/// What all processes of each group have used, by the number of its leader. Time of a process that has ended is its
/// parent's from then on, so that nothing is counted twice or lost within a group.
pub(super) fn of_groups() -> std::io::Result<BTreeMap<i32, Duration>> {
    let mut groups: BTreeMap<i32, u64> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        // One that is gone by now is no longer anybody's.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some((group, ticks)) = group_and_ticks(&stat) {
            let sum = groups.entry(group).or_default();
            *sum = sum.saturating_add(ticks);
        }
    }
    let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1_000) / TICKS_PER_SECOND);
    Ok(groups.into_iter().map(|(group, ticks)| (group, time(ticks))).collect())
}

/// The group of a process, and what it and those of its children that have ended used.
fn group_and_ticks(stat: &str) -> Option<(i32, u64)> {
    // The name in parentheses may hold anything, parentheses and blanks too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let group = fields.get(2)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok());
    Some((group, ticks.fold(0, u64::saturating_add)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "77 (a b) c) S 1 70 70 0 -1 4194304 9 9 0 0 120 30 5 5 20 0 1 0 8000 1 1";
        assert_eq!(group_and_ticks(stat), Some((70, 160)));
        assert_eq!(group_and_ticks("77 (a) S 1 70"), None);
    }

    #[test]
    fn work_is_seen_in_the_group_that_does_it() {
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        let before = of_groups().unwrap()[&own];
        let mut sum = 0_u64;
        while of_groups().unwrap()[&own] < before + Duration::from_millis(30) {
            sum = (0..100_000).fold(sum, |sum, number: u64| sum.wrapping_mul(31).wrapping_add(number));
        }
        assert_ne!(sum, 1);
    }
}
