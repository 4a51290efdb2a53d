//! From what follows when a promise is not kept to the scales that come of it. Pure.

use std::collections::BTreeMap;

use vamp_model::unit::{Cpu, Memory};
use vamp_model::{INSTANCES_MAX, Scaled, Scaling, Size};

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// More of it.
    Up,
    /// Less of it.
    Down,
}

/// What follows, with everything written out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Escalation {
    /// All of them; one that can do nothing takes nothing from the others.
    All(Vec<Self>),
    /// The first that changes something; from the last to the first on the way down.
    One(Vec<Self>),
    /// Another scale.
    Scale(Scaling),
}

/// The service of a cluster that is scaled, and its scale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sized {
    /// Its breed.
    pub(super) service: String,
    /// Its scale.
    pub(super) size: Size,
}

/// By cluster.
pub(super) type Sizes = BTreeMap<String, Sized>;

/// One scale that becomes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The cluster.
    pub(super) cluster: String,
    /// The breed.
    pub(super) service: String,
    /// What of the scale.
    pub(super) what: Scaled,
    /// Before.
    pub(super) from: Size,
    /// After.
    pub(super) to: Size,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// In the order in which they build on each other.
    pub(super) steps: Vec<Step>,
    /// Why others did nothing.
    pub(super) refusals: Vec<String>,
}

/// What follows in a cluster whose services have these sizes.
pub(super) fn escalate(escalation: &Escalation, own: &str, direction: Direction, sizes: &Sizes) -> Outcome {
    let mut outcome = Outcome::default();
    apply(escalation, own, direction, &mut sizes.clone(), &mut outcome);
    outcome
}

/// Whether something changes.
fn apply(escalation: &Escalation, own: &str, direction: Direction, sizes: &mut Sizes, outcome: &mut Outcome) -> bool {
    match escalation {
        Escalation::All(all) => {
            let mut has_changed = false;
            for escalation in all {
                has_changed |= apply(escalation, own, direction, sizes, outcome);
            }
            has_changed
        }
        Escalation::One(all) => match direction {
            Direction::Up => all.iter().any(|escalation| apply(escalation, own, direction, sizes, outcome)),
            Direction::Down => all.iter().rev().any(|escalation| apply(escalation, own, direction, sizes, outcome)),
        },
        Escalation::Scale(Scaling { what, minimum, maximum, scale_by, target }) => {
            let cluster = target.as_deref().unwrap_or(own);
            let Some(found) = sizes.get_mut(cluster) else {
                outcome.refusals.push(format!("cluster `{cluster}` has no service"));
                return false;
            };
            let from = found.size;
            let Some(to) = scaled(from, *what, direction, [*minimum, *maximum, *scale_by]) else {
                let bound = if direction == Direction::Up { maximum } else { minimum };
                let (what, amount) = (word(*what), amount(*what, from));
                outcome.refusals.push(format!("{what} of {} is {amount}, the bound is {bound}", found.service));
                return false;
            };
            found.size = to;
            let (cluster, service) = (cluster.to_owned(), found.service.clone());
            outcome.steps.push(Step { cluster, service, what: *what, from, to });
            true
        }
    }
}

/// What is scaled, in words.
pub(super) fn word(what: Scaled) -> &'static str {
    match what {
        Scaled::Instances => "the number of instances",
        Scaled::Cpu => "cpu",
        Scaled::Memory => "memory",
    }
}

/// How much of it there is, as documents write it.
pub(super) fn amount(what: Scaled, size: Size) -> String {
    match what {
        Scaled::Instances => size.instances.to_string(),
        Scaled::Cpu => (f64::from(size.cpu.0) / 1_000.0).to_string(),
        Scaled::Memory if size.memory.0.is_multiple_of(1_000_000) => format!("{}MB", size.memory.0 / 1_000_000),
        Scaled::Memory => format!("{} bytes", size.memory.0),
    }
}

/// Another size, a step nearer to the bound and not beyond it; `None`: it is there.
fn scaled(size: Size, what: Scaled, direction: Direction, [minimum, maximum, by]: [f64; 3]) -> Option<Size> {
    let (current, unit, most) = match what {
        Scaled::Instances => (u64::from(size.instances), 1.0, u64::from(INSTANCES_MAX)),
        Scaled::Cpu => (u64::from(size.cpu.0), 1_000.0, u64::from(u32::MAX)),
        Scaled::Memory => (size.memory.0, 1_000_000.0, u64::MAX),
    };
    // A service without such a bound has all there is: a number would be less of it.
    if what != Scaled::Instances && current == 0 {
        return None;
    }
    let (minimum, maximum) = (whole((minimum * unit).ceil()), whole((maximum * unit).floor()).min(most));
    let by = whole((by * unit).round()).max(1);
    if minimum > maximum {
        return None;
    }
    let next = match direction {
        Direction::Up => current.saturating_add(by),
        Direction::Down => current.saturating_sub(by),
    };
    let next = next.clamp(minimum, maximum);
    let is_step = match direction {
        Direction::Up => next > current,
        Direction::Down => next < current,
    };
    let other = match what {
        Scaled::Instances => Size { instances: u32::try_from(next).ok()?, ..size },
        Scaled::Cpu => Size { cpu: Cpu(u32::try_from(next).ok()?), ..size },
        Scaled::Memory => Size { memory: Memory(next), ..size },
    };
    // No bound at all is no small one.
    (is_step && (next > 0 || what == Scaled::Instances)).then_some(other)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is below 0 or too large ends at the bound"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size(instances: u32, cpu_milli: u32, memory_mb: u64) -> Size {
        Size { cpu: Cpu(cpu_milli), memory: Memory(memory_mb * 1_000_000), instances }
    }

    fn scale(what: Scaled, minimum: f64, maximum: f64, scale_by: f64) -> Escalation {
        Escalation::Scale(Scaling { what, minimum, maximum, scale_by, target: None })
    }

    fn sizes(web: Size, store: Size) -> Sizes {
        let sized = |service: &str, size| Sized { service: service.to_owned(), size };
        Sizes::from([("web".to_owned(), sized("web:1", web)), ("store".to_owned(), sized("store:1", store))])
    }

    /// Sizes of `web` and `store` after the steps.
    fn after(escalation: &Escalation, direction: Direction, web: Size, store: Size) -> (Size, Size) {
        let mut all = sizes(web, store);
        for step in escalate(escalation, "web", direction, &all.clone()).steps {
            let sized = all.get_mut(&step.cluster).unwrap();
            assert_eq!((&sized.service, sized.size), (&step.service, step.from), "steps build on each other");
            sized.size = step.to;
        }
        (all["web"].size, all["store"].size)
    }

    #[test]
    fn a_step_goes_to_the_bound_and_not_beyond() {
        use Direction::{Down, Up};
        use Scaled::{Cpu, Instances, Memory};
        for (what, bounds, direction, from, to) in [
            (Instances, [1.0, 6.0, 1.0], Up, size(2, 0, 0), Some(size(3, 0, 0))),
            (Instances, [1.0, 6.0, 1.0], Down, size(2, 0, 0), Some(size(1, 0, 0))),
            (Instances, [1.0, 6.0, 1.0], Up, size(6, 0, 0), None),
            (Instances, [1.0, 6.0, 1.0], Down, size(1, 0, 0), None),
            // The last step is as long as there is room.
            (Instances, [1.0, 6.0, 2.0], Up, size(5, 0, 0), Some(size(6, 0, 0))),
            (Instances, [1.0, 6.0, 4.0], Down, size(3, 0, 0), Some(size(1, 0, 0))),
            // What stands outside is brought inside, and never the other way.
            (Instances, [2.0, 6.0, 1.0], Up, size(0, 0, 0), Some(size(2, 0, 0))),
            (Instances, [2.0, 6.0, 1.0], Down, size(1, 0, 0), None),
            (Instances, [2.0, 6.0, 1.0], Down, size(9, 0, 0), Some(size(6, 0, 0))),
            (Instances, [2.0, 6.0, 1.0], Up, size(9, 0, 0), None),
            (Instances, [0.0, 2.0, 1.0], Down, size(1, 0, 0), Some(size(0, 0, 0))),
            (Instances, [0.0, 5_000.0, 900.0], Up, size(900, 0, 0), Some(size(1_000, 0, 0))),
            (Cpu, [0.2, 2.0, 0.2], Up, size(1, 300, 0), Some(size(1, 500, 0))),
            (Cpu, [0.2, 2.0, 0.2], Down, size(1, 300, 0), Some(size(1, 200, 0))),
            (Cpu, [0.2, 2.0, 0.2], Up, size(1, 2_000, 0), None),
            (Memory, [64.0, 512.0, 128.0], Up, size(1, 0, 256), Some(size(1, 0, 384))),
            (Memory, [64.0, 512.0, 128.0], Down, size(1, 0, 128), Some(size(1, 0, 64))),
            // Without a bound there is nothing to add to, and none is taken for the smallest.
            (Memory, [64.0, 512.0, 128.0], Up, size(1, 0, 0), None),
            (Cpu, [0.0, 2.0, 1.0], Down, size(1, 500, 0), None),
        ] {
            assert_eq!(scaled(from, what, direction, bounds), to, "{what:?} {bounds:?} {direction:?} {from:?}");
        }
    }

    #[test]
    fn of_one_the_first_that_can_acts_and_the_last_gives_back_first() {
        let instances = scale(Scaled::Instances, 1.0, 2.0, 1.0);
        let cpu = scale(Scaled::Cpu, 0.5, 1.0, 0.5);
        let one = Escalation::One(vec![instances, cpu]);
        let store = size(1, 500, 0);
        let mut web = size(1, 500, 0);
        let mut seen = Vec::new();
        for direction in
            [Direction::Up, Direction::Up, Direction::Up, Direction::Down, Direction::Down, Direction::Down]
        {
            web = after(&one, direction, web, store).0;
            seen.push((web.instances, web.cpu.0));
        }
        assert_eq!(seen, [(2, 500), (2, 1_000), (2, 1_000), (2, 500), (1, 500), (1, 500)]);
    }

    #[test]
    fn of_all_one_that_can_do_nothing_takes_nothing_from_the_others() {
        let of = |target: &str, what| {
            let target = Some(target.to_owned());
            Escalation::Scale(Scaling { what, minimum: 1.0, maximum: 4.0, scale_by: 1.0, target })
        };
        let (store, nowhere) = (of("store", Scaled::Instances), of("none", Scaled::Cpu));
        let all = Escalation::All(vec![
            scale(Scaled::Instances, 1.0, 3.0, 1.0),
            scale(Scaled::Instances, 1.0, 1.0, 1.0),
            nowhere,
            store,
        ]);
        let (web, of_store) = after(&all, Direction::Up, size(2, 100, 1), size(1, 100, 1));
        assert_eq!((web.instances, of_store.instances), (3, 2));
        let outcome = escalate(&all, "web", Direction::Up, &sizes(size(2, 100, 1), size(1, 100, 1)));
        assert_eq!(outcome.refusals.len(), 2, "{outcome:?}");
    }

    fn escalation() -> impl Strategy<Value = Escalation> {
        let what = prop_oneof![Just(Scaled::Instances), Just(Scaled::Cpu), Just(Scaled::Memory)];
        let target = prop_oneof![Just(None), Just(Some("store".to_owned())), Just(Some("none".to_owned()))];
        let leaf = (what, 0_u32..20, 0_u32..20, 1_u32..40, target).prop_map(|(what, from, more, by, target)| {
            let minimum = f64::from(from) / 2.0;
            let maximum = minimum + f64::from(more) / 2.0;
            Escalation::Scale(Scaling { what, minimum, maximum, scale_by: f64::from(by) / 4.0, target })
        });
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Escalation::All),
                prop::collection::vec(inner, 0..4).prop_map(Escalation::One),
            ]
        })
    }

    /// The bounds that a size is brought into at most.
    fn bounds(escalation: &Escalation, cluster: &str, of: Scaled, found: &mut Vec<(f64, f64)>) {
        match escalation {
            Escalation::All(inner) | Escalation::One(inner) => {
                for inner in inner {
                    bounds(inner, cluster, of, found);
                }
            }
            Escalation::Scale(Scaling { what, minimum, maximum, target, .. }) => {
                if *what == of && target.as_deref().unwrap_or("web") == cluster {
                    found.push((*minimum, *maximum));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn steps_build_on_each_other_go_one_way_and_stay_within_the_bounds(
            escalation in escalation(), is_up in any::<bool>(), instances in 0_u32..12, cpu in 0_u32..8_000
        ) {
            let direction = if is_up { Direction::Up } else { Direction::Down };
            let mut all = sizes(size(instances, cpu, 5), size(instances, cpu, 5));
            for step in escalate(&escalation, "web", direction, &all.clone()).steps {
                let sized = all.get_mut(&step.cluster).unwrap();
                prop_assert_eq!(sized.size, step.from);
                let of = |size: Size| match step.what {
                    Scaled::Instances => f64::from(size.instances),
                    Scaled::Cpu => f64::from(size.cpu.0) / 1_000.0,
                    Scaled::Memory => crate::samples::number(size.memory.0) / 1e6,
                };
                let (more, less) = if is_up { (step.to, step.from) } else { (step.from, step.to) };
                prop_assert!(of(more) > of(less));
                let mut found = Vec::new();
                bounds(&escalation, &step.cluster, step.what, &mut found);
                let is_inside = |(minimum, maximum): &(f64, f64)| (*minimum..=*maximum).contains(&of(step.to));
                prop_assert!(found.iter().any(is_inside), "{:?} {:?}", step, found);
                sized.size = step.to;
            }
        }
    }
}
