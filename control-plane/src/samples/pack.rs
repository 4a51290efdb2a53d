//! Counts of one route, second after second, in few bytes: a number takes as many as it needs, and a second without
//! requests takes none. Pure.

use std::collections::VecDeque;

use vamp_record::traffic::BUCKETS;

/// What was counted in some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Requests that ended; connections of a TCP gateway.
    pub(crate) requests: u64,
    /// Those of them that went wrong.
    pub(crate) errors: u64,
    /// How long they took together, microseconds.
    pub(crate) duration_us: u64,
    /// How many took how long.
    pub(crate) buckets: [u64; BUCKETS],
}

impl Counts {
    /// Both together.
    pub(crate) fn add(&mut self, more: &Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.errors = self.errors.saturating_add(more.errors);
        self.duration_us = self.duration_us.saturating_add(more.duration_us);
        for (sum, more) in self.buckets.iter_mut().zip(more.buckets) {
            *sum = sum.saturating_add(more);
        }
    }

    /// What came since `before`. A count that fell began anew in between: all of it came since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        if self.requests < before.requests || self.duration_us < before.duration_us {
            return *self;
        }
        let mut buckets = self.buckets;
        for (count, before) in buckets.iter_mut().zip(before.buckets) {
            *count = count.saturating_sub(before);
        }
        Self {
            requests: self.requests.saturating_sub(before.requests),
            errors: self.errors.saturating_sub(before.errors),
            duration_us: self.duration_us.saturating_sub(before.duration_us),
            buckets,
        }
    }
}

/// The counts of one route by slot, oldest first.
#[derive(Debug, Default)]
pub(super) struct Series {
    bytes: VecDeque<u8>,
    /// The slot from which the first one is told by its distance.
    base: u64,
    /// The slot of the last one.
    last: u64,
}

impl Series {
    /// Adds the counts of a slot that is newer than all that are there; answers how many bytes that took.
    pub(super) fn push(&mut self, slot: u64, counts: &Counts) -> usize {
        let before = self.bytes.len();
        if self.bytes.is_empty() {
            (self.base, self.last) = (slot, slot);
        }
        self.write(slot.saturating_sub(self.last));
        self.last = slot;
        let used = counts.buckets.iter().enumerate().filter(|(_, count)| **count > 0);
        let mask = used.fold(0_u64, |mask, (index, _)| mask | 1 << index);
        for number in [counts.requests, counts.errors, counts.duration_us, mask] {
            self.write(number);
        }
        for count in counts.buckets.into_iter().filter(|count| *count > 0) {
            self.write(count);
        }
        self.bytes.len().saturating_sub(before)
    }

    /// Forgets slots before this one; answers how many bytes that gave back.
    pub(super) fn forget_before(&mut self, slot: u64) -> usize {
        let before = self.bytes.len();
        loop {
            let mut reader = Reader { bytes: self.bytes.iter(), slot: self.base, taken: 0 };
            match reader.next() {
                Some((at, _)) if at < slot => {
                    self.bytes.drain(..reader.taken);
                    self.base = at;
                }
                _ => return before.saturating_sub(self.bytes.len()),
            }
        }
    }

    /// Whether nothing is left.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// All slots with their counts, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, Counts)> + '_ {
        Reader { bytes: self.bytes.iter(), slot: self.base, taken: 0 }
    }

    /// Seven bits a byte, the last one with its high bit clear.
    fn write(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push_back((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push_back((number & 0x7f) as u8);
    }
}

struct Reader<'s> {
    bytes: std::collections::vec_deque::Iter<'s, u8>,
    slot: u64,
    taken: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.next()?;
            self.taken += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}

impl Iterator for Reader<'_> {
    type Item = (u64, Counts);

    fn next(&mut self) -> Option<Self::Item> {
        self.slot = self.slot.saturating_add(self.number()?);
        let mut counts = Counts { requests: self.number()?, errors: self.number()?, ..Counts::default() };
        counts.duration_us = self.number()?;
        let mask = self.number()?;
        for (index, count) in counts.buckets.iter_mut().enumerate() {
            if mask & (1 << index) != 0 {
                *count = self.number()?;
            }
        }
        Some((self.slot, counts))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts() -> impl Strategy<Value = Counts> {
        let bucket = prop_oneof![4 => Just(0_u64), 1 => any::<u64>()];
        (any::<u64>(), any::<u64>(), any::<u64>(), prop::array::uniform(bucket))
            .prop_map(|(requests, errors, duration_us, buckets)| Counts { requests, errors, duration_us, buckets })
    }

    proptest! {
        #[test]
        fn what_is_kept_is_read_back_and_forgotten_from_the_front(
            all in prop::collection::vec((1_u64..1_000, counts()), 0..20), first in any::<u64>(), forgotten in 0_u64..10_000
        ) {
            let mut series = Series::default();
            let mut slot = first >> 2;
            let (mut expected, mut bytes) = (Vec::new(), 0);
            for (distance, counts) in all {
                slot += distance;
                bytes += series.push(slot, &counts);
                expected.push((slot, counts));
            }
            prop_assert_eq!(series.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!(series.len(), bytes);
            let from = (first >> 2) + forgotten;
            bytes -= series.forget_before(from);
            expected.retain(|(slot, _)| *slot >= from);
            prop_assert_eq!(series.iter().collect::<Vec<_>>(), expected.clone());
            prop_assert_eq!((series.len(), series.is_empty()), (bytes, expected.is_empty()));
        }
    }

    #[test]
    fn an_ordinary_second_takes_few_bytes() {
        let mut counts = Counts { requests: 1_000, errors: 3, duration_us: 12_345_678, ..Counts::default() };
        (counts.buckets[3], counts.buckets[4]) = (900, 100);
        assert!(Series::default().push(7, &counts) <= 16);
    }

    #[test]
    fn a_count_that_fell_began_anew() {
        let before = Counts { requests: 10, errors: 1, duration_us: 500, ..Counts::default() };
        let more = Counts { requests: 12, errors: 1, duration_us: 700, ..Counts::default() };
        assert_eq!(more.since(&before), Counts { requests: 2, errors: 0, duration_us: 200, ..Counts::default() });
        let anew = Counts { requests: 3, errors: 0, duration_us: 90, ..Counts::default() };
        assert_eq!(anew.since(&before), anew);
    }
}
