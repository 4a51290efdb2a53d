//! From counts to the figure of a promise. Pure.

use std::time::Duration;

use vamp_model::Figure;

use super::machine::{Figures, Reading, Rule};
use super::promises::Promise;
use crate::samples::{Counts, History, KEPT, number};

/// LIMIT: a mean or a share of fewer requests than this says nothing, so that one slow request of a quiet night starts no
/// instances.
pub(super) const REQUESTS_MIN: u64 = 10;

/// The figure of a promise about traffic.
pub(super) fn traffic(promise: &Promise, rule: &Rule, history: &History, now_ms: u64) -> Reading {
    match figures(promise, rule, history, now_ms) {
        Ok(figures) => Reading::Known(figures),
        Err(why) => Reading::Unknown(why),
    }
}

/// A window that is longer than what is kept never gets known.
pub(super) fn check_interval(rule: &Rule) -> Result<Duration, String> {
    let interval = Duration::from_millis(rule.interval_ms);
    if interval <= KEPT {
        return Ok(interval);
    }
    let (asked, kept) = (interval.as_secs(), KEPT.as_secs());
    Err(format!("its window is {asked} s long, and counts are kept for {kept} s: give it a shorter one"))
}

fn figures(promise: &Promise, rule: &Rule, history: &History, now_ms: u64) -> Result<Figures, String> {
    let interval = check_interval(rule)?;
    // How long connections last says nothing about how fast they are served.
    let is_meant = |carries_tcp: bool| rule.figure != Figure::ResponseTime || !carries_tcp;
    let ports: Vec<_> = promise.ports.iter().filter(|port| is_meant(port.carries_tcp)).collect();
    if ports.is_empty() {
        let what =
            if promise.ports.is_empty() { "the cluster has no port" } else { "no port of the cluster is HTTP's" };
        return Err(format!("{what}: promise something else"));
    }
    let span = history.newest(now_ms, interval)?;
    let mut of_ports = Vec::with_capacity(ports.len());
    for port in ports {
        of_ports.push(history.counted(&port.gateway, &span)?);
    }
    let wholes: Vec<Counts> = of_ports.iter().map(|counted| counted.whole).collect();
    let by_part = span.parts_ms().iter().enumerate().map(|(index, length_ms)| {
        let of_part = of_ports.iter().filter_map(|counted| counted.parts.get(index)).copied();
        (of_part.collect::<Vec<_>>(), *length_ms)
    });
    let value = |counts: &[Counts], length_ms, requests_min| {
        figure(rule.figure, counts, length_ms, requests_min, promise.instances)
    };
    Ok(Figures {
        from_ms: span.from_ms,
        length_ms: span.length_ms,
        requests: wholes.iter().map(|counts| counts.requests).sum(),
        whole: value(&wholes, span.length_ms, REQUESTS_MIN),
        highest: by_part.filter_map(|(counts, length_ms)| value(&counts, length_ms, 0)).fold(0.0, f64::max),
    })
}

/// Of the gateways of a cluster: the highest mean, the highest share, or the sum for each instance.
fn figure(figure: Figure, counts: &[Counts], length_ms: u64, requests_min: u64, instances: u32) -> Option<f64> {
    let enough = counts.iter().filter(|counts| counts.requests >= requests_min);
    match figure {
        Figure::ResponseTime => enough.filter_map(Counts::mean_ms).reduce(f64::max),
        Figure::ErrorRate => enough.filter_map(Counts::error_percent).reduce(f64::max),
        Figure::RequestRate => {
            let requests: u64 = counts.iter().map(|counts| counts.requests).sum();
            let seconds = number(length_ms.max(1)) / 1_000.0;
            Some(number(requests) / seconds / f64::from(instances.max(1)))
        }
        Figure::Cpu => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(requests: u64, errors: u64, mean_ms: u64) -> Counts {
        Counts { requests, errors, duration_us: requests * mean_ms * 1_000, ..Counts::default() }
    }

    #[test]
    fn the_worst_gateway_speaks_for_the_cluster() {
        let both = [counts(100, 1, 40), counts(50, 20, 900)];
        assert_eq!(figure(Figure::ResponseTime, &both, 1_000, 10, 3), Some(900.0));
        assert_eq!(figure(Figure::ErrorRate, &both, 1_000, 10, 3), Some(40.0));
        assert_eq!(figure(Figure::RequestRate, &both, 5_000, 10, 3), Some(10.0));
        assert_eq!(figure(Figure::RequestRate, &both, 5_000, 10, 0), Some(30.0));
    }

    #[test]
    fn few_requests_say_nothing() {
        let few = [counts(100, 1, 40), counts(9, 9, 900)];
        assert_eq!(figure(Figure::ResponseTime, &few, 1_000, REQUESTS_MIN, 3), Some(40.0));
        assert_eq!(figure(Figure::ErrorRate, &few[1..], 1_000, REQUESTS_MIN, 3), None);
        assert_eq!(figure(Figure::ErrorRate, &few[1..], 1_000, 0, 3), Some(100.0));
        assert_eq!(figure(Figure::ResponseTime, &[counts(0, 0, 0)], 1_000, 0, 3), None);
        assert_eq!(figure(Figure::RequestRate, &[counts(0, 0, 0)], 1_000, 0, 3), Some(0.0));
    }
}
