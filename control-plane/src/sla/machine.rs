//! Decides when a promise is not kept, and what follows. No I/O: what is known of each cluster and the time go in,
//! verdicts come out.
//!
//! - Up when the figure over the whole window is above its upper bound, and enough requests say so.
//! - Down when it is below its lower bound in each part of the window, so that no short lull is taken for the end of a
//!   load.
//! - Nothing is decided on numbers that are not known, nor while a service that is concerned is not done, nor on numbers
//!   from before it was, nor before window and cool-down have passed since the last decision.

use std::collections::{BTreeMap, BTreeSet};

use vamp_model::Figure;

use super::escalate::{Direction, Escalation, Outcome, Sizes, Step, escalate};

/// LIMIT: how long after a decision a service may look as before: what runs is compared with what is wanted every two
/// seconds.
const REACTION_MAX_MS: u64 = 10_000;

/// Numbers that are unknown for so long are told of.
const BLIND_MAX_MS: u64 = 60_000;

/// One cluster of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClusterName {
    /// The deployment.
    pub(super) deployment: String,
    /// The cluster.
    pub(super) cluster: String,
}

impl std::fmt::Display for ClusterName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.deployment, self.cluster)
    }
}

/// When a promise is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rule {
    /// Which figure.
    pub(super) figure: Figure,
    /// Above it: up.
    pub(super) upper: f64,
    /// Below it: down.
    pub(super) lower: f64,
    /// Over which time the figure is taken.
    pub(super) interval_ms: u64,
    /// How long nothing is done after a decision, beside the time of a window.
    pub(super) cooldown_ms: u64,
}

/// What was measured over the last window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Figures {
    /// When the window began.
    pub(super) from_ms: u64,
    /// How long it is.
    pub(super) length_ms: u64,
    /// Requests in it.
    pub(super) requests: u64,
    /// The figure over all of it; `None`: too few requests to say.
    pub(super) whole: Option<f64>,
    /// The highest figure of any part of it; 0 where nothing happened.
    pub(super) highest: f64,
}

/// What is known of the figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reading {
    /// All of it.
    Known(Figures),
    /// Why it is not known.
    Unknown(String),
}

/// What is known of one cluster with a promise.
#[derive(Debug, Clone)]
pub(super) struct Situation<'p> {
    /// Which.
    pub(super) name: &'p ClusterName,
    /// When it is broken; `None`: when an event says so.
    pub(super) rule: Option<&'p Rule>,
    /// What follows.
    pub(super) escalation: &'p Escalation,
    /// The services that are scaled.
    pub(super) sizes: &'p Sizes,
    /// What all services of the cluster have, in the unit by which the figure is divided; 0 where it is not.
    pub(super) capacity: f64,
    /// Since when each service concerned is done; `None`: not all of them are.
    pub(super) done: Option<Vec<String>>,
    /// The numbers.
    pub(super) reading: Reading,
    /// What an event asks for, and its number.
    pub(super) asked: Option<(Direction, u64)>,
}

/// Why something is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Because {
    /// Numbers.
    Measured(Rule, Figures),
    /// An event of this number.
    Asked(u64),
}

/// What is to be done or told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Scales become others.
    Act {
        /// The cluster that made the promise.
        name: ClusterName,
        /// Which way.
        direction: Direction,
        /// The scales.
        steps: Vec<Step>,
        /// Why.
        because: Because,
    },
    /// Something would be done, and can't.
    Stuck {
        /// The cluster that made the promise.
        name: ClusterName,
        /// Which way.
        direction: Direction,
        /// What stands in the way.
        refusals: Vec<String>,
        /// Why it would be done.
        because: Because,
    },
    /// The numbers have been unknown for long.
    Blind {
        /// The cluster that made the promise.
        name: ClusterName,
        /// Why they are.
        why: String,
    },
}

/// What is remembered of the clusters.
#[derive(Debug, Default)]
pub(super) struct Machine(BTreeMap<ClusterName, Memory>);

#[derive(Debug, Default)]
struct Memory {
    /// Since when all services concerned have been done.
    settled_ms: Option<u64>,
    /// How the services looked when the last decision was made, and when that was.
    awaits: Option<(Vec<String>, u64)>,
    /// The last decision.
    acted_ms: Option<u64>,
    /// When it was told last that nothing more can be done.
    stuck_ms: Option<u64>,
    /// That is still so.
    is_stuck: bool,
    /// Since when the numbers are unknown.
    blind_ms: Option<u64>,
    /// That was told.
    is_blind: bool,
}

impl Machine {
    /// Whether the past of a cluster is known.
    pub(super) fn knows(&self, name: &ClusterName) -> bool {
        self.0.contains_key(name)
    }

    /// What was decided, or told to be impossible, before this machine was made, or by another one.
    pub(super) fn recall(&mut self, name: &ClusterName, acted_ms: Option<u64>, stuck_ms: Option<u64>) {
        let memory = self.0.entry(name.clone()).or_default();
        memory.acted_ms = memory.acted_ms.max(acted_ms);
        memory.stuck_ms = memory.stuck_ms.max(stuck_ms);
        memory.is_stuck = memory.stuck_ms > memory.acted_ms;
        memory.settled_ms = None;
    }

    /// A decision was carried out.
    pub(super) fn acted(&mut self, name: &ClusterName, now_ms: u64, done: Option<Vec<String>>) {
        let memory = self.0.entry(name.clone()).or_default();
        memory.acted_ms = Some(now_ms);
        memory.awaits = done.map(|done| (done, now_ms));
        (memory.settled_ms, memory.is_stuck) = (None, false);
    }

    /// It was told that nothing more can be done.
    pub(super) fn told(&mut self, name: &ClusterName, now_ms: u64) {
        let memory = self.0.entry(name.clone()).or_default();
        (memory.stuck_ms, memory.is_stuck) = (Some(now_ms), true);
    }

    /// What is to be done now. `now_ms` is the clock by which figures are dated.
    pub(super) fn step(&mut self, now_ms: u64, situations: &[Situation<'_>]) -> Vec<Verdict> {
        let names: BTreeSet<&ClusterName> = situations.iter().map(|situation| situation.name).collect();
        self.0.retain(|name, _| names.contains(name));
        let verdicts = situations.iter().filter_map(|situation| {
            let memory = self.0.entry(situation.name.clone()).or_default();
            memory.step(now_ms, situation)
        });
        verdicts.collect()
    }
}

impl Memory {
    fn step(&mut self, now_ms: u64, situation: &Situation<'_>) -> Option<Verdict> {
        let done = self.look(now_ms, situation);
        if let Some((direction, event)) = situation.asked {
            return Some(on_demand(situation, direction, event));
        }
        let rule = situation.rule?;
        let figures = match &situation.reading {
            Reading::Known(figures) => figures,
            Reading::Unknown(why) => return self.blind(now_ms, situation, why),
        };
        (self.blind_ms, self.is_blind) = (None, false);
        if !done || self.settled_ms.is_none_or(|settled_ms| figures.from_ms < settled_ms) {
            return None;
        }
        let Some(direction) = direction(rule, figures) else {
            self.is_stuck = false;
            return None;
        };
        let pause_ms = rule.interval_ms.saturating_add(rule.cooldown_ms);
        let is_over = |since: Option<u64>| since.is_none_or(|since| now_ms >= since.saturating_add(pause_ms));
        if !is_over(self.acted_ms) {
            return None;
        }
        let name = situation.name.clone();
        let because = Because::Measured(*rule, *figures);
        let Outcome { steps, refusals } = escalate(situation.escalation, &name.cluster, direction, situation.sizes);
        if steps.is_empty() {
            // At the bottom is where a cluster without load belongs.
            let is_news = direction == Direction::Up && !self.is_stuck && is_over(self.stuck_ms);
            return is_news.then_some(Verdict::Stuck { name, direction, refusals, because });
        }
        if direction == Direction::Down && would_be_too_much(situation, rule, figures, &steps) {
            return None;
        }
        Some(Verdict::Act { name, direction, steps, because })
    }

    /// Takes note of how the services are; whether they are done, and have been since the last decision took hold.
    fn look(&mut self, now_ms: u64, situation: &Situation<'_>) -> bool {
        let Some(done) = &situation.done else {
            (self.settled_ms, self.awaits) = (None, None);
            return false;
        };
        if let Some((before, since_ms)) = &self.awaits {
            if before == done && now_ms < since_ms.saturating_add(REACTION_MAX_MS) {
                return false;
            }
            (self.awaits, self.settled_ms) = (None, None);
        }
        self.settled_ms.get_or_insert(now_ms);
        true
    }

    fn blind(&mut self, now_ms: u64, situation: &Situation<'_>, why: &str) -> Option<Verdict> {
        let since_ms = *self.blind_ms.get_or_insert(now_ms);
        let pause_ms = situation.rule.map_or(0, |rule| rule.interval_ms).saturating_add(BLIND_MAX_MS);
        if self.is_blind || now_ms < since_ms.saturating_add(pause_ms) {
            return None;
        }
        self.is_blind = true;
        Some(Verdict::Blind { name: situation.name.clone(), why: why.to_owned() })
    }
}

fn direction(rule: &Rule, figures: &Figures) -> Option<Direction> {
    if figures.whole.is_some_and(|whole| whole > rule.upper) {
        return Some(Direction::Up);
    }
    (figures.highest < rule.lower).then_some(Direction::Down)
}

/// Whether what is left would have more to do than it may: the next decision would be to take this one back.
fn would_be_too_much(situation: &Situation<'_>, rule: &Rule, figures: &Figures, steps: &[Step]) -> bool {
    if situation.capacity <= 0.0 {
        return false;
    }
    let own = steps.iter().filter(|step| step.cluster == situation.name.cluster);
    let less: f64 = own.map(|step| capacity(rule.figure, step.from) - capacity(rule.figure, step.to)).sum();
    let left = situation.capacity - less;
    left <= 0.0 && figures.highest > 0.0 || figures.highest * situation.capacity > rule.upper * left
}

/// What a size has, in the unit by which a figure is divided; 0 where it is not.
pub(super) fn capacity(figure: Figure, size: vamp_model::Size) -> f64 {
    match figure {
        Figure::ResponseTime | Figure::ErrorRate => 0.0,
        Figure::RequestRate => f64::from(size.instances),
        Figure::Cpu => f64::from(size.instances) * f64::from(size.cpu.0) / 1_000.0,
    }
}

/// What an event asks for is done at once: whoever asks knows why.
fn on_demand(situation: &Situation<'_>, direction: Direction, event: u64) -> Verdict {
    let (name, because) = (situation.name.clone(), Because::Asked(event));
    if situation.done.is_none() {
        let refusals = vec!["its services are not done yet".to_owned()];
        return Verdict::Stuck { name, direction, refusals, because };
    }
    let Outcome { steps, refusals } = escalate(situation.escalation, &name.cluster, direction, situation.sizes);
    if steps.is_empty() {
        return Verdict::Stuck { name, direction, refusals, because };
    }
    Verdict::Act { name, direction, steps, because }
}

#[cfg(test)]
mod tests;
