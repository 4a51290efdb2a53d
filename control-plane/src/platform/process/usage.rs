//! What groups of processes use: an instance is the leader of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::platform::Usage;

/// Linux tells times there in hundredths of a second (`USER_HZ`), whatever its own clock.
const TICKS_PER_SECOND: u64 = 100;

/// What the processes of one group have, in the units of the system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    ticks: u64,
    pages: u64,
}

/// What all processes of each group use, by the number of its leader. Time of a process that has ended is its parent's
/// from then on, so that nothing is counted twice or lost within a group; a page that several processes share is counted
/// for each of them.
pub(super) fn of_groups() -> std::io::Result<BTreeMap<i32, Usage>> {
    let mut groups: BTreeMap<i32, Counted> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) else { continue };
        // One that is gone by now is no longer anybody's.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if let Some((group, counted)) = read(&stat) {
            let sum = groups.entry(group).or_default();
            sum.ticks = sum.ticks.saturating_add(counted.ticks);
            sum.pages = sum.pages.saturating_add(counted.pages);
        }
    }
    let page_bytes = rustix::param::page_size() as u64;
    let usage = |Counted { ticks, pages }| Usage {
        processor_time: Duration::from_millis(ticks.saturating_mul(1_000) / TICKS_PER_SECOND),
        memory_bytes: pages.saturating_mul(page_bytes),
    };
    Ok(groups.into_iter().map(|(group, counted)| (group, usage(counted))).collect())
}

/// The group of a process, what it and those of its children that have ended used, and the pages that it has now.
fn read(stat: &str) -> Option<(i32, Counted)> {
    // The name in parentheses may hold anything, parentheses and blanks too.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let group = fields.get(2)?.parse().ok()?;
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok());
    let pages = fields.get(21)?.parse().ok()?;
    Some((group, Counted { ticks: ticks.fold(0, u64::saturating_add), pages }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "77 (a b) c) S 1 70 70 0 -1 4194304 9 9 0 0 120 30 5 5 20 0 1 0 8000 409600 25 1";
        assert_eq!(read(stat), Some((70, Counted { ticks: 160, pages: 25 })));
        assert_eq!(read("77 (a) S 1 70"), None);
    }

    #[test]
    fn work_is_seen_in_the_group_that_does_it() {
        let own = rustix::process::getpgrp().as_raw_nonzero().get();
        let before = of_groups().unwrap()[&own];
        let mut sum = 0_u64;
        while of_groups().unwrap()[&own].processor_time < before.processor_time + Duration::from_millis(30) {
            sum = (0..100_000).fold(sum, |sum, number: u64| sum.wrapping_mul(31).wrapping_add(number));
        }
        assert_ne!(sum, 1);
        assert!(before.memory_bytes > 1 << 20, "{before:?}");
    }
}
