//! Waiting times that grow with each failure, with jitter so that many gateways do not come back at once.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// Doubles from `first` to `most`; each wait is drawn between half of it and all of it.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// How long to wait after one more failure.
    pub(crate) fn fail(&mut self, dice: &mut StdRng) -> Duration {
        let whole = self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(dice.random_range(0.5..=1.0))
    }

    /// The next wait is a short one again.
    pub(crate) fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn waits_grow_to_the_bound_and_start_over_after_a_success() {
        let (first, most) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut dice = StdRng::seed_from_u64(1);
        let mut backoff = Backoff::new(first, most);
        for failures in 0..200_u32 {
            let whole = first.saturating_mul(2_u32.saturating_pow(failures)).min(most);
            let wait = backoff.fail(&mut dice);
            assert!(wait >= whole / 2 && wait <= whole, "failure {failures}: {wait:?} of {whole:?}");
        }
        backoff.succeed();
        assert!(backoff.fail(&mut dice) <= first);
    }
}
