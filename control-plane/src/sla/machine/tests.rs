//! Clusters under load, and what is decided about them.

use proptest::prelude::*;
use vamp_model::unit::{Cpu, Memory};
use vamp_model::{Scaled, Scaling, Size};

use super::*;
use crate::sla::escalate::Sized;

const SECOND: u64 = 1_000;

fn rule(figure: Figure) -> Rule {
    Rule { figure, upper: 500.0, lower: 100.0, interval_ms: 10 * SECOND, cooldown_ms: 20 * SECOND }
}

fn name() -> ClusterName {
    ClusterName { deployment: "shop".to_owned(), cluster: "web".to_owned() }
}

fn size(instances: u32) -> Size {
    Size { cpu: Cpu(1_000), memory: Memory(64_000_000), instances }
}

fn escalation() -> Escalation {
    Escalation::Scale(Scaling { what: Scaled::Instances, minimum: 1.0, maximum: 3.0, scale_by: 1.0, target: None })
}

/// A cluster of one service, and a machine that looks after it every second.
struct Scene {
    machine: Machine,
    rule: Rule,
    now_ms: u64,
    instances: u32,
    /// Since when the service is done.
    done: Option<u64>,
    /// Since when numbers are known.
    known_from_ms: u64,
}

impl Scene {
    fn new(instances: u32) -> Self {
        Self::of(Figure::ResponseTime, instances)
    }

    fn of(figure: Figure, instances: u32) -> Self {
        let mut machine = Machine::default();
        machine.recall(&name(), None, None);
        let now_ms = 1_000_000;
        Self { machine, rule: rule(figure), now_ms, instances, done: Some(1), known_from_ms: now_ms }
    }

    fn reading(&self, whole: Option<f64>, highest: f64, requests: u64) -> Reading {
        let from_ms = self.now_ms - self.rule.interval_ms;
        if from_ms < self.known_from_ms {
            return Reading::Unknown("not so long yet".to_owned());
        }
        Reading::Known(Figures { from_ms, length_ms: self.rule.interval_ms, requests, whole, highest })
    }

    fn look(&mut self, reading: Reading, asked: Option<(Direction, u64)>) -> Option<Verdict> {
        self.now_ms += SECOND;
        let (name, escalation) = (name(), escalation());
        let sizes =
            Sizes::from([("web".to_owned(), Sized { service: "web:1".to_owned(), size: size(self.instances) })]);
        let situation = Situation {
            name: &name,
            rule: Some(&self.rule),
            escalation: &escalation,
            sizes: &sizes,
            capacity: capacity(self.rule.figure, size(self.instances)),
            done: self.done.map(|since| vec![since.to_string()]),
            reading,
            asked,
        };
        let mut verdicts = self.machine.step(self.now_ms, &[situation]);
        assert!(verdicts.len() < 2);
        verdicts.pop()
    }

    /// The same numbers for so many seconds; what is decided is done at once, and what is told is told.
    fn run(&mut self, seconds: u64, whole: Option<f64>, highest: f64, requests: u64) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..seconds {
            let reading = self.reading(whole, highest, requests);
            let verdict = self.look(reading, None);
            seen.extend(verdict.map(|verdict| self.obey(&verdict)));
        }
        seen
    }

    /// Millisecond means above the upper bound.
    fn overload(&mut self, seconds: u64) -> Vec<String> {
        self.run(seconds, Some(800.0), 900.0, 500)
    }

    fn idle(&mut self, seconds: u64) -> Vec<String> {
        self.run(seconds, None, 0.0, 0)
    }

    fn obey(&mut self, verdict: &Verdict) -> String {
        match verdict {
            Verdict::Act { steps, .. } => {
                let done = self.done.map(|since| vec![since.to_string()]);
                self.machine.acted(&name(), self.now_ms, done);
                let step = steps.last().unwrap();
                assert_eq!(step.from.instances, self.instances);
                self.instances = step.to.instances;
                self.done = self.done.map(|since| since + 1);
                format!("{} → {}", step.from.instances, step.to.instances)
            }
            Verdict::Stuck { refusals, .. } => {
                self.machine.told(&name(), self.now_ms);
                refusals.join(", ")
            }
            Verdict::Blind { why, .. } => why.clone(),
        }
    }
}

#[test]
fn an_overloaded_cluster_grows_to_its_bound_and_says_once_that_it_is_there() {
    let mut scene = Scene::new(1);
    assert_eq!(scene.overload(9), Vec::<String>::new(), "a window is not over yet");
    assert_eq!(scene.overload(3), ["1 → 2"]);
    // A window and the cool-down.
    assert_eq!(scene.overload(29), Vec::<String>::new());
    assert_eq!(scene.overload(2), ["2 → 3"]);
    assert_eq!(scene.overload(300), ["the number of instances of web:1 is 3, the bound is 3"]);
    // It was well in between: that it is at its bound again is news, once.
    scene.run(30, Some(300.0), 300.0, 500);
    assert_eq!(scene.overload(300).len(), 1);
}

#[test]
fn a_cluster_without_load_shrinks_to_its_bound_and_says_nothing_of_it() {
    let mut scene = Scene::new(3);
    let mut seen = scene.idle(200);
    seen.extend(scene.idle(200));
    assert_eq!(seen, ["3 → 2", "2 → 1"]);
}

#[test]
fn between_the_bounds_and_on_them_nothing_happens() {
    let mut scene = Scene::new(2);
    for (whole, highest) in [(500.0, 500.0), (100.0, 100.0), (300.0, 300.0)] {
        assert_eq!(scene.run(60, Some(whole), highest, 500), Vec::<String>::new());
    }
}

#[test]
fn a_part_of_the_window_above_the_lower_bound_keeps_the_instances() {
    let mut scene = Scene::new(2);
    assert_eq!(scene.run(100, Some(60.0), 150.0, 500), Vec::<String>::new());
    assert_eq!(scene.run(2, Some(60.0), 99.0, 500), ["2 → 1"]);
}

#[test]
fn few_requests_start_nothing() {
    let mut scene = Scene::new(1);
    assert_eq!(scene.run(100, None, 5_000.0, 3), Vec::<String>::new());
}

#[test]
fn numbers_that_are_not_known_decide_nothing_and_are_told_of_once() {
    let mut scene = Scene::new(2);
    scene.known_from_ms = u64::MAX;
    assert_eq!(scene.overload(60), Vec::<String>::new());
    assert_eq!(scene.overload(500), ["not so long yet"]);
    scene.known_from_ms = scene.now_ms;
    assert_eq!(scene.overload(12), ["2 → 3"]);
    scene.known_from_ms = u64::MAX;
    assert_eq!(scene.overload(500), ["not so long yet"], "it is unknown anew");
}

#[test]
fn a_service_that_is_not_done_is_left_alone_and_so_are_numbers_from_before_it_was() {
    let mut scene = Scene::new(1);
    scene.overload(5);
    scene.done = None;
    assert_eq!(scene.overload(60), Vec::<String>::new());
    scene.done = Some(7);
    assert_eq!(scene.overload(9), Vec::<String>::new());
    assert_eq!(scene.overload(3), ["1 → 2"]);
}

#[test]
fn a_decision_that_has_not_taken_hold_is_waited_for() {
    let mut scene = Scene::new(1);
    (scene.rule.interval_ms, scene.rule.cooldown_ms) = (SECOND, 0);
    scene.overload(3);
    assert_eq!(scene.instances, 2);
    // The service looks as before: nobody has looked at it again.
    scene.done = Some(1);
    assert_eq!(scene.overload(8), Vec::<String>::new());
    scene.done = None;
    assert_eq!(scene.overload(2), Vec::<String>::new());
    scene.done = Some(9);
    assert_eq!(scene.overload(3), ["2 → 3"]);
}

#[test]
fn a_machine_that_recalls_waits_out_the_cool_down() {
    let mut scene = Scene::new(1);
    scene.overload(12);
    assert_eq!(scene.instances, 2);
    let acted_ms = scene.now_ms - SECOND;
    scene.machine = Machine::default();
    scene.machine.recall(&name(), Some(acted_ms), None);
    assert_eq!(scene.overload(27), Vec::<String>::new());
    assert_eq!(scene.overload(5), ["2 → 3"]);
    assert_eq!(scene.overload(60).len(), 1, "it says that it is at its bound");
    let (acted_ms, stuck_ms) = (scene.now_ms - 100 * SECOND, scene.now_ms - SECOND);
    scene.machine = Machine::default();
    scene.machine.recall(&name(), Some(acted_ms), Some(stuck_ms));
    assert_eq!(scene.overload(200), Vec::<String>::new(), "that was told");
}

#[test]
fn fewer_instances_must_be_able_to_carry_what_is_left() {
    let mut scene = Scene::of(Figure::RequestRate, 3);
    (scene.rule.upper, scene.rule.lower) = (100.0, 90.0);
    // 240 in a second: 80 for each of three, which is little; 120 for each of two, which is too much.
    assert_eq!(scene.run(100, Some(80.0), 80.0, 800), Vec::<String>::new());
    assert_eq!(scene.run(2, Some(60.0), 60.0, 800), ["3 → 2"]);
    // With none at all nobody carries anything.
    let mut scene = Scene::of(Figure::RequestRate, 1);
    assert_eq!(scene.run(100, Some(3.0), 3.0, 30), Vec::<String>::new());
}

#[test]
fn what_an_event_asks_for_is_done_at_once() {
    let mut scene = Scene::new(1);
    scene.known_from_ms = u64::MAX;
    let unknown = || Reading::Unknown(String::new());
    for (direction, expected) in [
        (Direction::Up, "1 → 2"),
        (Direction::Up, "2 → 3"),
        (Direction::Up, "the number of instances of web:1 is 3, the bound is 3"),
        (Direction::Down, "3 → 2"),
    ] {
        let verdict = scene.look(unknown(), Some((direction, 7))).unwrap();
        let (Verdict::Act { because, .. } | Verdict::Stuck { because, .. }) = &verdict else { panic!("{verdict:?}") };
        assert_eq!(*because, Because::Asked(7));
        assert_eq!(scene.obey(&verdict), expected);
    }
    scene.done = None;
    let verdict = scene.look(unknown(), Some((Direction::Up, 8))).unwrap();
    assert!(scene.obey(&verdict).contains("not done yet"));
}

proptest! {
    /// Any load, with numbers that get lost, services that are busy and machines that are made anew: the bounds hold,
    /// pauses are kept, and each decision has the numbers that it needs.
    #[test]
    fn decisions_keep_their_rules(
        load in prop::collection::vec((0_u32..6, 0_u64..900, 1_u64..40), 1..40), start in 0_u32..6
    ) {
        let mut scene = Scene::new(start);
        let mut last: Option<u64> = None;
        for (event, level, seconds) in load {
            match event {
                0 => scene.known_from_ms = scene.now_ms + 3 * SECOND,
                1 => scene.done = None,
                2 => {
                    scene.machine = Machine::default();
                    scene.machine.recall(&name(), last, None);
                    scene.known_from_ms = scene.now_ms;
                }
                _ => scene.done = scene.done.or(Some(scene.now_ms)),
            }
            for _ in 0..seconds {
                let whole = crate::samples::number(level);
                let reading = scene.reading(Some(whole), whole, 100);
                let (is_known, is_done, before) = (matches!(reading, Reading::Known(_)), scene.done.is_some(), scene.instances);
                let Some(verdict) = scene.look(reading, None) else { continue };
                scene.obey(&verdict);
                let Verdict::Act { direction, .. } = verdict else { continue };
                prop_assert!(is_known && is_done);
                prop_assert!(last.is_none_or(|last| scene.now_ms >= last + 30 * SECOND), "{:?} {}", last, scene.now_ms);
                prop_assert_eq!(whole > 500.0, direction == Direction::Up);
                prop_assert_eq!(whole < 100.0, direction == Direction::Down);
                prop_assert!((1..=3).contains(&scene.instances), "{} → {}", before, scene.instances);
                last = Some(scene.now_ms);
            }
        }
    }
}
