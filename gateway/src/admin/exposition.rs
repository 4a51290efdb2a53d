//! The text format of Prometheus (version 0.0.4).

use std::fmt::Write as _;

use vamp_record::metric::{DURATION_BOUNDS_SECONDS, Kind, Metric};

use crate::counters::Distribution;

/// The media type of a page.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

/// One metric of the page, open for its series.
pub(super) struct Family<'p> {
    text: &'p mut String,
    metric: Metric,
}

impl Page {
    /// Begins a metric. It is on the page also when it has no series.
    pub(super) fn family(&mut self, metric: Metric) -> Family<'_> {
        let (name, kind) = (metric.name(), metric.kind().as_str());
        line(&mut self.text, format_args!("# HELP {name} {}", metric.help()));
        line(&mut self.text, format_args!("# TYPE {name} {kind}"));
        Family { text: &mut self.text, metric }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    writeln!(text, "{arguments}").unwrap_or_default();
}

impl Family<'_> {
    /// A series of whole numbers; the values of the labels are in the order of [`Metric::labels`].
    pub(super) fn count(&mut self, labels: &[&str], value: u64) {
        self.begin("", labels, None);
        line(self.text, format_args!(" {value}"));
    }

    /// A series of a number that need not be whole; it may be infinite.
    pub(super) fn number(&mut self, labels: &[&str], value: f64) {
        self.begin("", labels, None);
        let sign = if value == f64::INFINITY { "+Inf".to_owned() } else { value.to_string() };
        line(self.text, format_args!(" {sign}"));
    }

    /// The series of a histogram of durations.
    pub(super) fn distribution(&mut self, labels: &[&str], values: &Distribution) {
        debug_assert_eq!(self.metric.kind(), Kind::Histogram);
        let bounds = DURATION_BOUNDS_SECONDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut sum = 0;
        for (bound, count) in bounds.zip(values.buckets) {
            sum += count;
            self.begin("_bucket", labels, Some(("le", &bound)));
            line(self.text, format_args!(" {sum}"));
        }
        self.begin("_sum", labels, None);
        let (seconds, us) = (values.sum_us / 1_000_000, values.sum_us % 1_000_000);
        line(self.text, format_args!(" {seconds}.{us:06}"));
        self.begin("_count", labels, None);
        line(self.text, format_args!(" {sum}"));
    }

    /// Name and labels of a sample.
    fn begin(&mut self, suffix: &str, labels: &[&str], more: Option<(&str, &str)>) {
        debug_assert_eq!(labels.len(), self.metric.labels().len(), "{:?}", self.metric);
        self.text.push_str(self.metric.name());
        self.text.push_str(suffix);
        let named = self.metric.labels().iter().copied().zip(labels.iter().copied());
        let mut open = '{';
        for (name, value) in named.chain(more) {
            self.text.push(open);
            open = ',';
            self.text.push_str(name);
            self.text.push_str("=\"");
            value.chars().for_each(|character| push_escaped(self.text, character));
            self.text.push('"');
        }
        if open == ',' {
            self.text.push('}');
        }
    }
}

fn push_escaped(text: &mut String, character: char) {
    match character {
        '\\' => text.push_str("\\\\"),
        '"' => text.push_str("\\\""),
        '\n' => text.push_str("\\n"),
        plain => text.push(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_has_its_labels_by_name_and_escaped() {
        let mut page = Page::default();
        page.family(Metric::Ended).count(&["a\"b\\c\nd", "completed"], 3);
        page.family(Metric::SyncStaleness).number(&[], f64::INFINITY);
        let text = page.finish();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let ended = r#"vamp_gateway_requests_ended_total{gateway="a\"b\\c\nd",reason="completed"} 3"#;
        assert_eq!(samples, [ended, "vamp_gateway_sync_staleness_seconds +Inf"]);
    }

    #[test]
    fn buckets_add_up_and_end_with_all() {
        let mut values = Distribution { sum_us: 2_500_001, ..Distribution::default() };
        (values.buckets[0], values.buckets[9], values.buckets[13]) = (1, 2, 4);
        let mut page = Page::default();
        page.family(Metric::Duration).distribution(&["shop", "r"], &values);
        let text = page.finish();
        let value = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.rsplit_once(' ').unwrap().1.to_owned()
        };
        let bucket = |bound: &str| {
            value(&format!(
                "vamp_gateway_request_duration_seconds_bucket{{gateway=\"shop\",route=\"r\",le=\"{bound}\"}}"
            ))
        };
        assert_eq!(
            [bucket("0.0005"), bucket("0.25"), bucket("0.5"), bucket("60"), bucket("+Inf")],
            ["1", "1", "3", "3", "7"]
        );
        assert_eq!(value("vamp_gateway_request_duration_seconds_sum"), "2.500001");
        assert_eq!(value("vamp_gateway_request_duration_seconds_count"), "7");
    }
}
