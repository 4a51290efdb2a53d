//! Exact splits by Tijdeman's rule: which side of a split a ticket falls on.
//!
//! Pure: the caller brings the ticket. The same ticket lands on the same side, so that a split seen in production can be
//! replayed in a test.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, OnceLock};

use crate::wire::Share;

/// All of a split, in hundredths of a percent.
const WHOLE: u64 = 10_000;

/// The turns of the sides of one split.
///
/// Invariant (Tijdeman 1980, "The chairman assignment problem"): after every n tickets each of the k sides with a share
/// is off its share by at most 1 − 1/(2k−2) tickets, two sides by at most ½.
#[derive(Debug, Clone)]
pub(crate) enum Split {
    /// Two sides with a share, by a closed form.
    Two { first: usize, second: usize, first_share: u64 },
    /// More, by a wheel.
    Many(Arc<Wheel>),
}

/// The turns of one vector of shares, built when the first ticket asks for it.
#[derive(Debug)]
pub(crate) struct Wheel {
    shares: Box<[Share]>,
    // LIMIT: 10,000 slots of 2 bytes, built lazily and shared by all splits of the same shares. The worst case, 10,000
    // gateways of which each has other shares in hundredths of a percent, and traffic, takes 200 MB; wheels of shares in
    // whole percents have at most 100 slots.
    slots: OnceLock<Box<[u16]>>,
}

impl Split {
    /// A split of these shares, which add up to the whole and of which at least two are above zero; wheels are shared
    /// through `wheels`.
    pub(crate) fn new(shares: &[Share], wheels: &mut Wheels<'_>) -> Option<Self> {
        let mut sides = shares.iter().enumerate().filter(|(_, share)| share.0 > 0).map(|(side, _)| side);
        let (first, second) = (sides.next()?, sides.next()?);
        if sides.next().is_some() {
            return Some(Self::Many(wheels.get(shares)));
        }
        let first_share = shares.get(first).map_or(0, |share| u64::from(share.0));
        Some(Self::Two { first, second, first_share })
    }

    /// The side whose turn a ticket is.
    pub(crate) fn pick(&self, ticket: u64) -> usize {
        match self {
            Self::Two { first, second, first_share } => {
                // The first side has had `share · n` of n tickets, rounded: it gets this ticket if that number rises.
                let owed = (first_share * (ticket % WHOLE) + WHOLE / 2) % WHOLE;
                if owed + first_share >= WHOLE { *first } else { *second }
            }
            Self::Many(wheel) => wheel.pick(ticket),
        }
    }
}

impl Wheel {
    fn pick(&self, ticket: u64) -> usize {
        let slots = self.slots.get_or_init(|| self.build());
        let slot = ticket % u64::try_from(slots.len()).unwrap_or(1).max(1);
        usize::try_from(slot).ok().and_then(|slot| slots.get(slot)).copied().map(usize::from).unwrap_or_default()
    }

    /// Tijdeman's rule over one period, in whole numbers so that the turns never depend on rounding.
    ///
    /// With `k` sides of shares `w` of the whole `d`, and `s = 2k - 2`, the turn of a side that had `x` turns may be
    /// given at slot `n` (from 1) once `w n / d - x >= 1/s`, and its deadline is `d (s - 1 + x s) / (w s)`. Of the turns
    /// that may be given, the one of the earliest deadline is; of equal ones, the first side's. Both depend on `x` alone,
    /// so that two heaps do it in `d log k`: no request waits long for the wheel that it is the first to turn.
    fn build(&self) -> Box<[u16]> {
        let sides =
            || (0_u16..).zip(self.shares.iter().map(|share| u64::from(share.0))).filter(|(_, share)| *share > 0);
        let slack = 2 * u64::try_from(sides().count()).unwrap_or_default().max(2) - 2;
        let release = |share: u64, had: u64| (WHOLE * (1 + had * slack)).div_ceil(share * slack);
        // In these units two different deadlines differ by at least 1 / WHOLE²: scaled by it, their whole parts differ.
        let deadline = |share: u64, had: u64| (slack - 1 + had * slack) * WHOLE * WHOLE / share;
        let mut waiting: BinaryHeap<_> =
            sides().map(|(side, share)| Reverse((release(share, 0), side, share, 0_u64))).collect();
        let mut ready = BinaryHeap::with_capacity(waiting.len());
        let period = period(&self.shares);
        let mut slots = Vec::with_capacity(usize::try_from(period).unwrap_or_default());
        for slot in 1..=period {
            while let Some(Reverse((released, side, share, had))) = waiting.peek().copied()
                && released <= slot
            {
                waiting.pop();
                ready.push(Reverse((deadline(share, had), side, share, had)));
            }
            let next = ready.pop();
            debug_assert!(next.is_some(), "Tijdeman: at each slot there is a turn that may be given");
            if let Some(Reverse((_, side, share, had))) = next {
                slots.push(side);
                waiting.push(Reverse((release(share, had + 1), side, share, had + 1)));
            }
        }
        slots.into()
    }
}

/// Tickets after which a split of these shares repeats: the whole by the greatest common divisor of the shares.
pub(crate) fn period(shares: &[Share]) -> u64 {
    let common = shares.iter().fold(0, |common, share| greatest_common_divisor(common, u64::from(share.0)));
    WHOLE.checked_div(common).unwrap_or(1)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// The wheels of a table, one for each distinct vector.
#[derive(Default)]
pub(crate) struct Wheels<'former> {
    wheels: HashMap<Box<[Share]>, Arc<Wheel>>,
    /// The splits of the table before, until one of their wheels may be needed.
    former: Option<Box<dyn Iterator<Item = &'former Split> + 'former>>,
}

impl<'former> Wheels<'former> {
    /// Takes wheels from the splits of another table where they are the same.
    pub(crate) fn after(former: impl Iterator<Item = &'former Split> + 'former) -> Self {
        Self { wheels: HashMap::new(), former: Some(Box::new(former)) }
    }

    fn get(&mut self, shares: &[Share]) -> Arc<Wheel> {
        for split in self.former.take().into_iter().flatten() {
            if let Split::Many(wheel) = split
                && !self.wheels.contains_key(&wheel.shares)
            {
                self.wheels.insert(wheel.shares.clone(), Arc::clone(wheel));
            }
        }
        if let Some(wheel) = self.wheels.get(shares) {
            return Arc::clone(wheel);
        }
        let wheel = Arc::new(Wheel { shares: shares.into(), slots: OnceLock::new() });
        self.wheels.insert(shares.into(), Arc::clone(&wheel));
        wheel
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(shares: &[u16]) -> Split {
        let shares: Vec<_> = shares.iter().copied().map(Share).collect();
        Split::new(&shares, &mut Wheels::default()).unwrap()
    }

    /// The largest deviation of any side in any prefix of three periods, in tickets.
    fn worst(shares: &[u16], phase: u64) -> f64 {
        let split = split(shares);
        worst_of(shares, |n| split.pick(phase + u64::from(n)))
    }

    fn worst_of(shares: &[u16], turn: impl Fn(u32) -> usize) -> f64 {
        let mut given = vec![0_u32; shares.len()];
        let mut worst: f64 = 0.0;
        for n in 0..30_000_u32 {
            given[turn(n)] += 1;
            for (side, share) in shares.iter().enumerate() {
                let wanted = f64::from(n + 1) * f64::from(*share) / 10_000.0;
                worst = worst.max((f64::from(given[side]) - wanted).abs());
            }
        }
        worst
    }

    #[track_caller]
    fn check(shares: &[u16], bound: f64) {
        let worst = worst(shares, 0);
        assert!(worst <= bound + 1e-9, "{shares:?}: {worst}");
    }

    #[test]
    fn two_sides_are_never_off_by_more_than_half_a_ticket() {
        for first in [1, 2, 3, 999, 1_000, 3_333, 5_000, 9_000, 9_999] {
            check(&[first, 10_000 - first], 0.5);
            check(&[first, 0, 10_000 - first], 0.5);
        }
    }

    #[test]
    fn many_sides_keep_tijdemans_bound() {
        check(&[1, 4_993, 13, 4_993], 1.0 - 1.0 / 6.0);
        check(&[3_333, 3_333, 3_334], 0.75);
        check(&[1, 1, 9_998], 0.75);
        check(&[2_000; 5], 1.0 - 1.0 / 8.0);
        check(&[100; 100], 1.0 - 1.0 / 198.0);
        check(&[5_000, 2_500, 0, 1_250, 1_250], 1.0 - 1.0 / 6.0);
    }

    #[test]
    fn any_stretch_of_one_period_is_exact() {
        for shares in [&[9_000, 1_000][..], &[5_000, 3_000, 2_000], &[1, 4_993, 13, 4_993], &[2_500; 4]] {
            let split = split(shares);
            let shares_of: Vec<_> = shares.iter().copied().map(Share).collect();
            let period = period(&shares_of);
            for phase in [0, 1, 7, 4_999] {
                let mut given = vec![0_u64; shares.len()];
                (0..period).for_each(|ticket| given[split.pick(phase + ticket)] += 1);
                let wanted: Vec<_> = shares.iter().map(|share| u64::from(*share) * period / 10_000).collect();
                assert_eq!(given, wanted, "{shares:?} from ticket {phase}");
            }
        }
    }

    #[test]
    fn splits_of_the_same_shares_have_one_wheel() {
        let mut wheels = Wheels::default();
        let shares = [Share(5_000), Share(3_000), Share(2_000)];
        let (Some(Split::Many(one)), Some(Split::Many(two))) =
            (Split::new(&shares, &mut wheels), Split::new(&shares, &mut wheels))
        else {
            panic!("three sides need a wheel");
        };
        assert!(Arc::ptr_eq(&one, &two));
    }

    #[test]
    fn a_split_that_has_nothing_to_decide_is_none() {
        assert!(Split::new(&[Share::WHOLE, Share::NONE], &mut Wheels::default()).is_none());
        assert!(Split::new(&[], &mut Wheels::default()).is_none());
    }

    /// Smooth weighted round robin, as other proxies do it: each slot, all gain their share, and who has most pays the
    /// whole.
    fn smooth_round_robin(shares: &[u16]) -> Vec<usize> {
        let shares: Vec<i64> = shares.iter().copied().map(i64::from).collect();
        let mut has = vec![0; shares.len()];
        (0..WHOLE)
            .map(|_| {
                has.iter_mut().zip(&shares).for_each(|(has, share)| *has += share);
                let next = (0..has.len()).rev().max_by_key(|side| has[*side]).unwrap();
                has[next] -= i64::try_from(WHOLE).unwrap();
                next
            })
            .collect()
    }

    #[test]
    fn smooth_round_robin_breaks_the_bound_that_this_keeps() {
        let shares = [1, 4_993, 13, 4_993];
        let ours = split(&shares);
        let theirs = smooth_round_robin(&shares);
        let bound = 1.0 - 1.0 / 6.0;
        assert!(worst_of(&shares, |n| ours.pick(u64::from(n))) <= bound + 1e-9);
        let worst = worst_of(&shares, |n| theirs[n as usize % theirs.len()]);
        assert!(worst > 1.07, "the vector tells no difference any more: {worst}");
    }

    #[test]
    fn a_wheel_is_built_when_its_first_ticket_is_asked_for_and_not_before() {
        let split = split(&[3_333, 3_333, 3_334]);
        let Split::Many(wheel) = &split else { panic!("three sides need a wheel") };
        assert!(wheel.slots.get().is_none());
        split.pick(7);
        assert_eq!(wheel.slots.get().map(|slots| slots.len()), Some(10_000));
    }

    #[test]
    fn a_wheel_that_was_built_serves_the_tables_after_it() {
        let shares = [Share(5_000), Share(3_000), Share(2_000)];
        let before = Split::new(&shares, &mut Wheels::default()).unwrap();
        let mut wheels = Wheels::after(std::iter::once(&before));
        let (Split::Many(before), Some(Split::Many(after))) = (&before, Split::new(&shares, &mut wheels)) else {
            panic!("three sides need a wheel");
        };
        assert!(Arc::ptr_eq(before, &after));
        // The same shares in another order are another wheel.
        let turned = [Share(3_000), Share(5_000), Share(2_000)];
        let Some(Split::Many(turned)) = Split::new(&turned, &mut wheels) else { panic!("three sides need a wheel") };
        assert!(!Arc::ptr_eq(before, &turned));
    }

    /// Shares of 2 to 20 sides that add up to the whole, from cut points; some are 0, and some 0.01 %.
    fn shares() -> impl Strategy<Value = Vec<u16>> {
        let cuts =
            proptest::collection::vec(prop_oneof![4 => 0..=10_000_u16, 1 => 0..=3_u16, 1 => 9_997..=10_000_u16], 1..20);
        cuts.prop_map(|mut cuts| {
            cuts.sort_unstable();
            let mut before = 0;
            let mut shares: Vec<_> = cuts.iter().map(|cut| cut - std::mem::replace(&mut before, *cut)).collect();
            shares.push(10_000 - before);
            shares
        })
        .prop_filter("a split needs two sides", |shares| shares.iter().filter(|share| **share > 0).count() > 1)
    }

    /// The same in steps that divide the whole, so that the split repeats early.
    fn coarse_shares() -> impl Strategy<Value = Vec<u16>> {
        let steps = prop_oneof![Just(1_u16), Just(2), Just(5), Just(100), Just(125), Just(400), Just(500), Just(1_000)];
        (shares(), steps)
            .prop_map(|(mut shares, step)| {
                for share in &mut shares {
                    *share -= *share % step;
                }
                let given: u16 = shares.iter().sum();
                // To the side that has most: it is not 0.
                if let Some(most) = shares.iter_mut().max() {
                    *most += 10_000 - given;
                }
                shares
            })
            .prop_filter("a split needs two sides", |shares| shares.iter().filter(|share| **share > 0).count() > 1)
    }

    /// The turns by the rule as it is written down, slot by slot.
    fn by_the_book(shares: &[u16]) -> Vec<usize> {
        let whole = i128::from(WHOLE);
        let shares: Vec<i128> = shares.iter().copied().map(i128::from).collect();
        let slack = 2 * i128::try_from(shares.iter().filter(|share| **share > 0).count()).unwrap() - 2;
        let mut had = vec![0; shares.len()];
        let mut turns = Vec::new();
        for slot in 1..=whole {
            let owed = |side: usize| shares[side] * slot - had[side] * whole;
            let may = |side: &usize| shares[*side] > 0 && owed(*side) * slack >= whole;
            let deadline = |side: &usize| (whole * (slack - 1) - owed(*side) * slack) * whole.pow(2) / shares[*side];
            let next = (0..shares.len()).filter(may).min_by_key(deadline).unwrap();
            had[next] += 1;
            turns.push(next);
        }
        turns
    }

    #[test]
    fn ten_thousand_sides_get_one_turn_each() {
        let split = split(&vec![1; 10_000]);
        let mut given = vec![0; 10_000];
        (0..10_000).for_each(|ticket| given[split.pick(ticket)] += 1);
        assert_eq!(given, vec![1; 10_000]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn turns_are_those_of_the_book(shares in shares()) {
            let split = split(&shares);
            let turns: Vec<_> = (0..WHOLE).map(|ticket| split.pick(ticket)).collect();
            prop_assert_eq!(turns, by_the_book(&shares));
        }

        #[test]
        fn every_prefix_of_any_split_keeps_the_bound(shares in shares()) {
            let sides = shares.iter().filter(|share| **share > 0).count();
            let bound = if sides == 2 { 0.5 } else { 1.0 - 1.0 / (2.0 * f64::from(u32::try_from(sides).unwrap()) - 2.0) };
            let worst = worst(&shares, 0);
            prop_assert!(worst <= bound + 1e-9, "{worst} above {bound}");
        }

        #[test]
        fn any_window_is_off_by_less_than_two(shares in shares(), phase in any::<u32>().prop_map(u64::from)) {
            let worst = worst(&shares, phase);
            prop_assert!(worst < 2.0, "{worst}");
        }

        #[test]
        fn any_stretch_of_one_period_of_any_split_is_exact(shares in coarse_shares(), phase in any::<u32>().prop_map(u64::from)) {
            let split = split(&shares);
            let period = period(&shares.iter().copied().map(Share).collect::<Vec<_>>());
            let mut given = vec![0_u64; shares.len()];
            for ticket in phase..phase + period {
                given[split.pick(ticket)] += 1;
            }
            let wanted: Vec<_> = shares.iter().map(|share| u64::from(*share) * period / 10_000).collect();
            prop_assert_eq!(given, wanted, "in {} tickets", period);
        }

        #[test]
        fn processes_are_off_by_less_than_one_each_in_sum_and_one_more_for_their_phases(
            shares in shares(),
            processes in proptest::collection::vec((any::<u32>().prop_map(u64::from), 0..3_000_u64), 1..12),
        ) {
            let split = split(&shares);
            // Whole numbers: ten thousand times the error.
            let off = |phase_counts: bool| {
                let mut given = vec![0_u64; shares.len()];
                let mut tickets = 0;
                for (phase, drawn) in &processes {
                    let first = if phase_counts { *phase } else { 0 };
                    (first..first + drawn).for_each(|ticket| given[split.pick(ticket)] += 1);
                    tickets += drawn;
                }
                let error = |(share, given): (&u16, &u64)| (10_000 * given).abs_diff(tickets * u64::from(*share));
                shares.iter().zip(&given).map(error).max().unwrap()
            };
            let count = 10_000 * processes.len() as u64;
            prop_assert!(off(false) < count);
            prop_assert!(off(true) < 2 * count);
        }

        #[test]
        fn a_side_without_a_share_gets_no_ticket(shares in shares(), phase in any::<u32>().prop_map(u64::from)) {
            let split = split(&shares);
            for ticket in phase..phase + 10_000 {
                let side = split.pick(ticket);
                prop_assert!(shares[side] > 0, "ticket {} to side {}", ticket, side);
            }
        }
    }
}
