//! What counts say: means, shares, and the time that so many of the requests did not exceed.

use vamp_record::metric::DURATION_BOUNDS_SECONDS;

use super::pack::Counts;

/// Counts are exact in 64 bits of floating point for longer than anything runs.
#[expect(clippy::cast_precision_loss, reason = "a count below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

impl Counts {
    /// Mean time of a request, milliseconds; `None` without requests.
    pub(crate) fn mean_ms(&self) -> Option<f64> {
        (self.requests > 0).then(|| number(self.duration_us) / number(self.requests) / 1_000.0)
    }

    /// Errors in percent of all requests; `None` without requests.
    pub(crate) fn error_percent(&self) -> Option<f64> {
        (self.requests > 0).then(|| number(self.errors) * 100.0 / number(self.requests))
    }

    /// The time in milliseconds that so many percent of the requests did not exceed, as closely as the steps tell in
    /// which it was counted; `None` without requests.
    pub(crate) fn percentile_ms(&self, percent: f64) -> Option<f64> {
        let all: u64 = self.buckets.iter().sum();
        if all == 0 {
            return None;
        }
        let wanted = number(all) * percent / 100.0;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, upper) in self.buckets.into_iter().zip(DURATION_BOUNDS_SECONDS) {
            let count = number(count);
            if count > 0.0 && below + count >= wanted {
                let part = ((wanted - below) / count).clamp(0.0, 1.0);
                return Some((lower + (upper - lower) * part) * 1_000.0);
            }
            (below, lower) = (below + count, upper);
        }
        // Above the last step nothing more is known.
        Some(lower * 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_closely_as_they_were_counted() {
        let mut counts = Counts { requests: 100, errors: 5, duration_us: 2_000_000, ..Counts::default() };
        // 90 of up to 10 ms, and 10 of up to a second.
        (counts.buckets[4], counts.buckets[10]) = (90, 10);
        assert_eq!((counts.mean_ms(), counts.error_percent()), (Some(20.0), Some(5.0)));
        let close = |percent: f64, expected: f64| {
            let found = counts.percentile_ms(percent).unwrap();
            assert!((found - expected).abs() < 1e-6, "{percent} %: {found}");
        };
        close(45.0, 7.5);
        close(90.0, 10.0);
        close(95.0, 750.0);
        close(100.0, 1_000.0);
    }

    #[test]
    fn without_requests_nothing_is_said() {
        let none = Counts::default();
        assert_eq!((none.mean_ms(), none.error_percent(), none.percentile_ms(50.0)), (None, None, None));
        let mut endless = Counts { requests: 1, ..Counts::default() };
        endless.buckets[13] = 1;
        assert_eq!(endless.percentile_ms(50.0), Some(60_000.0));
    }
}
