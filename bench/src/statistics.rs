//! Medians and quantiles of measured values.

/// The value below which the share `quantile` (0 to 1) of the values lies, between the two next to it where none is there;
/// `None` without values.
pub(crate) fn quantile(values: &[f64], quantile: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "a count of measurements")]
    let place = (sorted.len().saturating_sub(1)) as f64 * quantile;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into a list of measurements")]
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    let (below, above) = (sorted.get(below)?, sorted.get(above)?);
    Some(below + (above - below) * place.fract())
}

/// `median [lower quartile - upper quartile]`, or `-` without values.
pub(crate) fn spread(values: &[f64], decimals: usize) -> String {
    match (quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75)) {
        (Some(median), Some(lower), Some(upper)) => {
            format!("{median:.decimals$} [{lower:.decimals$}-{upper:.decimals$}]")
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_among_the_values() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 1.0), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 5.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 5.0], 0.75), Some(3.5));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_spread_names_median_and_quartiles() {
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0, 5.0], 1), "3.0 [2.0-4.0]");
    }
}
