//! How long to wait before something is tried again: longer each time, up to a limit, and never all at the same moment.

use std::time::Duration;

use rand::RngExt as _;

/// Counts failures in a row.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    limit: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits about `first` after the first failure and at most `limit`.
    pub(crate) fn new(first: Duration, limit: Duration) -> Self {
        Self { first, limit, failures: 0 }
    }

    /// What was tried has worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// It failed: the time until the next try, drawn from the upper half of what it may be, so that it neither hammers
    /// nor marches in step with others.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.first.saturating_mul(2_u32.saturating_pow(self.failures)).min(self.limit);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Waits for it.
    pub(crate) async fn wait(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_start_again_after_a_success() {
        let (first, limit) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new(first, limit);
        for failure in 0..200_u32 {
            let whole = first.saturating_mul(2_u32.saturating_pow(failure)).min(limit);
            let waited = backoff.next();
            assert!(waited >= whole / 2 && waited <= whole, "failure {failure}: {waited:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }

    #[test]
    fn two_that_fail_together_do_not_try_together() {
        let waits = |_| Backoff::new(Duration::from_secs(1), Duration::from_secs(1)).next();
        let drawn: std::collections::HashSet<Duration> = (0..100).map(waits).collect();
        assert!(drawn.len() > 10);
    }
}
