//! Ten minutes of what gateway processes counted, second after second. Pure: answers and the time go in.
//!
//! Processes tell what they counted since they started; kept is what came from one answer to the next. A second in which
//! a process that announces itself could not be read is unknown, not zero: it has no counts, and who asks for a time
//! with such a second in it gets the reason instead of a number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use vamp_record::traffic::{BUCKETS, GatewayTraffic, RouteTraffic, TrafficAnswer};

use super::pack::{Counts, Series};

/// LIMIT: how far back counts are kept.
pub(crate) const KEPT: Duration = Duration::from_mins(10);

/// LIMIT: bytes of all counts and their names. A route with traffic in every second takes about 10 KB in ten minutes, so
/// that three thousand of them are kept that long; of more, a shorter time is.
const BYTES_MAX: usize = 32 << 20;

/// LIMIT: routes, each at each process, whose last counts are held to compare with the next ones; about 250 bytes each.
/// What goes beyond is unknown.
const COMPARED_MAX: usize = 100_000;

/// What a series takes beside its counts and its name.
const SERIES_BYTES: usize = 128;

/// Newest counts that are older than this say nothing about now.
const LATE_MS: u64 = 3_000;

/// In how many parts a span is looked at.
const PARTS: u64 = 4;

/// What one round of questions gave.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Each gateway process that announces itself, and what it answered.
    pub(super) answers: Vec<(String, Result<TrafficAnswer, String>)>,
    /// Why it is not known which processes there are.
    pub(super) unknown: Option<String>,
}

/// What was counted lately.
#[derive(Debug)]
pub(crate) struct History {
    slots: VecDeque<Slot>,
    /// The number of the slot to come.
    next: u64,
    asked_ms: Option<u64>,
    gateways: BTreeMap<String, Watched>,
    processes: BTreeMap<String, Process>,
    bytes: usize,
    bytes_max: usize,
}

impl Default for History {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            next: 0,
            asked_ms: None,
            gateways: BTreeMap::new(),
            processes: BTreeMap::new(),
            bytes: 0,
            bytes_max: BYTES_MAX,
        }
    }
}

/// The time from one round to the next.
#[derive(Debug)]
struct Slot {
    until_ms: u64,
    length_ms: u64,
    /// Why what was counted in it is not known.
    unknown: Option<Arc<str>>,
}

#[derive(Debug)]
struct Watched {
    /// The first slot in which it was counted.
    since: u64,
    routes: BTreeMap<String, Series>,
}

#[derive(Debug)]
struct Process {
    boot: String,
    /// What it answered last; `None`: nothing.
    last: Option<Vec<GatewayTraffic>>,
}

/// A stretch of time in which everything is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    slots: Range<u64>,
    parts: Vec<Range<u64>>,
    each_ms: Vec<u64>,
    /// When it began.
    pub(crate) from_ms: u64,
    /// How long it is: at least as long as was asked for.
    pub(crate) length_ms: u64,
}

impl Span {
    /// How long each part is, oldest first.
    pub(crate) fn parts_ms(&self) -> &[u64] {
        &self.each_ms
    }
}

/// What was counted at a gateway in a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Counted {
    /// In all of it.
    pub(crate) whole: Counts,
    /// In each part of the span, oldest first.
    pub(crate) parts: Vec<Counts>,
}

/// What is known of a gateway in some time, with gaps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    /// How much of the time is known.
    pub(crate) length_ms: u64,
    /// What was counted in it, by route.
    pub(crate) routes: BTreeMap<String, Counts>,
}

impl History {
    /// Takes what a round gave. `watched` are the gateways that it asked about; others are forgotten.
    pub(super) fn take(&mut self, now_ms: u64, watched: &BTreeSet<String>, round: Round) {
        let slot = self.next;
        // What this round gives is the base of the next slot; the first round makes no slot.
        self.watch(watched, slot.saturating_add(u64::from(self.asked_ms.is_some())));
        let Round { answers, mut unknown } = round;
        if unknown.is_none() && answers.is_empty() {
            unknown = Some("no gateway process announces itself".to_owned());
        }
        let mut came: BTreeMap<(String, String), Counts> = BTreeMap::new();
        let mut before = std::mem::take(&mut self.processes);
        let mut compared = 0;
        for (id, answer) in answers {
            let known = before.remove(&id);
            let answer = answer.and_then(|answer| {
                compared += answer.gateways.iter().map(|gateway| gateway.routes.len()).sum::<usize>();
                check(answer, compared)
            });
            let was_lost = known.as_ref().is_some_and(|known| known.last.is_none());
            let why = match &answer {
                Err(why) => Some(format!("gateway process `{id}` could not be read: {why}")),
                Ok(_) if was_lost => Some(format!("gateway process `{id}` could not be read a second ago")),
                Ok(_) => None,
            };
            unknown = unknown.or(why);
            let boot = known.as_ref().map(|known| known.boot.clone()).unwrap_or_default();
            let process = match answer {
                Err(_) => Process { boot, last: None },
                Ok(answer) => {
                    // What a process counted before it was seen first came at times that are not known.
                    if let Some(last) = known.and_then(|known| known.last).filter(|_| boot == answer.boot) {
                        compare(&last, &answer.gateways, &mut came);
                    }
                    Process { boot: answer.boot, last: Some(answer.gateways) }
                }
            };
            self.processes.insert(id, process);
        }
        if let Some(asked_ms) = self.asked_ms.replace(now_ms) {
            self.keep(slot, now_ms, now_ms.saturating_sub(asked_ms), unknown, came);
        }
    }

    /// Forgets everything: nobody asks any more, and what comes later does not follow on this.
    pub(super) fn clear(&mut self) {
        *self = Self { next: self.next, ..Self::default() };
    }

    fn watch(&mut self, watched: &BTreeSet<String>, since: u64) {
        let gone: Vec<String> = self.gateways.keys().filter(|name| !watched.contains(*name)).cloned().collect();
        for gateway in gone.iter().filter_map(|name| self.gateways.remove(name)) {
            let bytes = gateway.routes.iter().map(|(name, series)| name.len() + SERIES_BYTES + series.len());
            self.bytes = self.bytes.saturating_sub(bytes.sum());
        }
        for name in watched {
            if !self.gateways.contains_key(name) {
                self.gateways.insert(name.clone(), Watched { since, routes: BTreeMap::new() });
            }
        }
    }

    fn keep(
        &mut self,
        slot: u64,
        now_ms: u64,
        length_ms: u64,
        unknown: Option<String>,
        came: BTreeMap<(String, String), Counts>,
    ) {
        self.next = slot.saturating_add(1);
        let is_known = unknown.is_none();
        self.slots.push_back(Slot { until_ms: now_ms, length_ms, unknown: unknown.map(Arc::from) });
        for ((gateway, route), counts) in came {
            let watched = self.gateways.get_mut(&gateway).filter(|watched| is_known && watched.since <= slot);
            let Some(watched) = watched.filter(|_| counts.requests > 0) else { continue };
            let series = watched.routes.entry(route).or_insert_with_key(|route| {
                self.bytes += route.len() + SERIES_BYTES;
                Series::default()
            });
            self.bytes += series.push(slot, &counts);
        }
        let kept_ms = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
        let is_over = |slot: &Slot| slot.until_ms.saturating_add(kept_ms) < now_ms;
        while self.slots.front().is_some_and(is_over) {
            self.forget_oldest();
        }
        while self.bytes > self.bytes_max && !self.slots.is_empty() {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        self.slots.pop_front();
        let first = self.first();
        let mut freed = 0;
        for watched in self.gateways.values_mut() {
            watched.routes.retain(|name, series| {
                freed += series.forget_before(first);
                if series.is_empty() {
                    freed += name.len() + SERIES_BYTES;
                }
                !series.is_empty()
            });
        }
        self.bytes = self.bytes.saturating_sub(freed);
    }

    /// The number of the oldest slot.
    fn first(&self) -> u64 {
        self.next.saturating_sub(u64::try_from(self.slots.len()).unwrap_or_default())
    }

    /// The newest stretch of at least this length, or why not all of it is known.
    pub(crate) fn newest(&self, now_ms: u64, length: Duration) -> Result<Span, String> {
        let wanted_ms = u64::try_from(length.as_millis()).unwrap_or(u64::MAX).max(1);
        let newest = self.slots.back().ok_or("the gateways are about to be asked")?;
        if newest.until_ms.saturating_add(LATE_MS) < now_ms {
            return Err("the gateways have not been asked for some seconds".to_owned());
        }
        let (mut length_ms, mut count) = (0_u64, 0_usize);
        for slot in self.slots.iter().rev() {
            if let Some(why) = &slot.unknown {
                return Err(why.to_string());
            }
            (length_ms, count) = (length_ms.saturating_add(slot.length_ms), count + 1);
            if length_ms >= wanted_ms {
                let from_ms = newest.until_ms.saturating_sub(length_ms);
                return Ok(self.span(count, from_ms, length_ms));
            }
        }
        Err(format!("the last {} s are known, not yet {} s", length_ms / 1_000, length.as_secs()))
    }

    fn span(&self, count: usize, from_ms: u64, length_ms: u64) -> Span {
        let first = self.next.saturating_sub(u64::try_from(count).unwrap_or_default());
        let (mut parts, mut each_ms) = (Vec::new(), Vec::new());
        let (mut begun, mut open_ms) = (first, 0_u64);
        let slots = self.slots.iter().skip(self.slots.len().saturating_sub(count));
        for (index, slot) in (first..).zip(slots) {
            open_ms += slot.length_ms;
            if open_ms * PARTS >= length_ms {
                parts.push(begun..index + 1);
                each_ms.push(open_ms);
                (begun, open_ms) = (index + 1, 0);
            }
        }
        // What is left over is shorter than a part, and belongs to the last one.
        if let (Some(part), Some(length)) = (parts.last_mut(), each_ms.last_mut()) {
            part.end = self.next;
            *length += open_ms;
        }
        Span { slots: first..self.next, parts, each_ms, from_ms, length_ms }
    }

    /// What was counted at a gateway in a span, or why that is not known.
    pub(crate) fn counted(&self, gateway: &str, span: &Span) -> Result<Counted, String> {
        let watched = self.gateways.get(gateway);
        let watched = watched.filter(|watched| watched.since <= span.slots.start);
        let watched = watched.ok_or_else(|| format!("gateway `{gateway}` has not been asked about for so long"))?;
        let mut counted = Counted { whole: Counts::default(), parts: vec![Counts::default(); span.parts.len()] };
        for (slot, counts) in watched.routes.values().flat_map(Series::iter) {
            if !span.slots.contains(&slot) {
                continue;
            }
            counted.whole.add(&counts);
            let part = span.parts.partition_point(|part| part.end <= slot);
            if let Some(part) = counted.parts.get_mut(part) {
                part.add(&counts);
            }
        }
        Ok(counted)
    }

    /// What is known of a gateway since `from_ms`.
    pub(crate) fn known(&self, gateway: &str, from_ms: u64) -> Known {
        let Some(watched) = self.gateways.get(gateway) else { return Known::default() };
        let is_known = |number: u64, slot: &Slot| {
            slot.unknown.is_none() && number >= watched.since && slot.until_ms.saturating_sub(slot.length_ms) >= from_ms
        };
        let numbered = (self.first()..).zip(&self.slots);
        let known: BTreeMap<u64, u64> = numbered
            .filter(|(number, slot)| is_known(*number, slot))
            .map(|(number, slot)| (number, slot.length_ms))
            .collect();
        let mut routes = BTreeMap::new();
        for (route, series) in &watched.routes {
            for (_, counts) in series.iter().filter(|(slot, _)| known.contains_key(slot)) {
                routes.entry(route.clone()).or_insert_with(Counts::default).add(&counts);
            }
        }
        Known { length_ms: known.values().sum(), routes }
    }
}

fn check(answer: TrafficAnswer, compared: usize) -> Result<TrafficAnswer, String> {
    if compared > COMPARED_MAX {
        return Err(format!("all processes together have more than {COMPARED_MAX} routes with an SLA or a reader"));
    }
    let mut routes = answer.gateways.iter().flat_map(|gateway| &gateway.routes);
    if routes.any(|route| route.buckets.len() != BUCKETS) {
        return Err("it counts in other steps: update the older of the two programs".to_owned());
    }
    Ok(answer)
}

/// Adds what one process counted from one answer to the next.
fn compare(last: &[GatewayTraffic], now: &[GatewayTraffic], came: &mut BTreeMap<(String, String), Counts>) {
    let last: BTreeMap<&str, &[RouteTraffic]> =
        last.iter().map(|gateway| (gateway.gateway.as_str(), gateway.routes.as_slice())).collect();
    for gateway in now {
        let last = last.get(gateway.gateway.as_str()).copied().unwrap_or_default();
        let last: BTreeMap<&str, Counts> = last.iter().map(|route| (route.route.as_str(), counts(route))).collect();
        for route in &gateway.routes {
            let before = last.get(route.route.as_str()).copied().unwrap_or_default();
            let key = (gateway.gateway.clone(), route.route.clone());
            came.entry(key).or_default().add(&counts(route).since(&before));
        }
    }
}

fn counts(route: &RouteTraffic) -> Counts {
    let mut counts =
        Counts { requests: route.requests, errors: route.errors, duration_us: route.duration_us, ..Counts::default() };
    counts.buckets.iter_mut().zip(&route.buckets).for_each(|(count, told)| *count = *told);
    counts
}

#[cfg(test)]
mod tests;
