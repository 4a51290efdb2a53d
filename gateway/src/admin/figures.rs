//! The page of metrics, out of what was counted.
//!
//! Threads count apart and are summed when somebody asks. Every series stands for something that an operator
//! configured, and their number is bounded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vamp_record::Reason;
use vamp_record::metric::Metric;
use vamp_record::split::{GatewayCounts, LevelCounts, LevelKind};
use vamp_routing::wire::Generation;

use super::exposition::{Family, Page};
use crate::counters::{CODE_CLASSES, Distribution, RouteSnapshot, RouteTotals, Snapshot};
use crate::listen::Refused;
use crate::ship::{Bulk, ShipCounts};
use crate::sync::{SyncState, SyncStatus};

/// LIMIT: routes with series of their own, about 45 each; the others are counted together, as [`OTHERS`]. 45,000 series
/// are 5 MB of text, and as much as one scraped process may cost a Prometheus of ordinary size.
const ROUTES_MAX: usize = 1_000;

/// LIMIT: series of splits; `/splits` has all.
const SPLIT_SERIES_MAX: usize = 5_000;

/// Stands for gateways and routes beyond the bound.
const OTHERS: &str = "__other__";

/// Everything that the page shows, at one moment.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) id: String,
    pub(super) version: String,
    pub(super) generation: Generation,
    /// Gateways of the table.
    pub(super) gateways: usize,
    pub(super) counters: Snapshot,
    pub(super) splits: Vec<GatewayCounts>,
    pub(super) records: ShipCounts,
    pub(super) sync: SyncStatus,
    pub(super) now: Instant,
}

/// The page with every metric of [`Metric::ALL`].
pub(super) fn page(figures: &Figures) -> String {
    let routes = bounded(&figures.counters.routes);
    let mut page = Page::default();
    for metric in Metric::ALL {
        write(*metric, figures, &routes, &mut page.family(*metric));
    }
    page.finish()
}

/// The routes with series of their own, and all others as one.
fn bounded(routes: &[RouteSnapshot]) -> Vec<RouteSnapshot> {
    let (own, others) = routes.split_at_checked(ROUTES_MAX).unwrap_or((routes, &[]));
    let mut bounded = own.to_vec();
    if !others.is_empty() {
        let mut totals = RouteTotals::default();
        for route in others {
            add(&mut totals, &route.totals);
        }
        let name = || OTHERS.to_owned();
        bounded.push(RouteSnapshot {
            gateway: name(),
            gateway_lookup: name(),
            route: name(),
            route_lookup: name(),
            totals,
        });
    }
    bounded
}

fn add(sum: &mut RouteTotals, more: &RouteTotals) {
    let add_all = |sum: &mut [u64], more: &[u64]| sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    add_all(&mut sum.codes, &more.codes);
    add_all(&mut sum.reasons, &more.reasons);
    for (sum, more) in [(&mut sum.duration, &more.duration), (&mut sum.upstream, &more.upstream)] {
        add_all(&mut sum.buckets, &more.buckets);
        sum.sum_us += more.sum_us;
    }
    sum.retries += more.retries;
    sum.bytes_in += more.bytes_in;
    sum.bytes_out += more.bytes_out;
}

fn write(metric: Metric, figures: &Figures, routes: &[RouteSnapshot], family: &mut Family<'_>) {
    match metric {
        Metric::Requests => requests(routes, family),
        Metric::Ended => ended(routes, family),
        Metric::Duration => distributions(routes, family, |totals| &totals.duration),
        Metric::UpstreamDuration => distributions(routes, family, |totals| &totals.upstream),
        Metric::Retries => counts(routes, family, |totals| totals.retries),
        Metric::BytesIn => counts(routes, family, |totals| totals.bytes_in),
        Metric::BytesOut => counts(routes, family, |totals| totals.bytes_out),
        Metric::FrontendRequests => {
            for (lookup, codes) in frontends(routes) {
                family.count(&[lookup], codes.iter().sum());
            }
        }
        Metric::FrontendResponses => frontend_responses(routes, family),
        Metric::SplitDelivered => split_delivered(&figures.splits, family),
        Metric::RecordsAnswered
        | Metric::RecordsShipped
        | Metric::RecordsDropped
        | Metric::RecordsQueued
        | Metric::ShipRequests
        | Metric::ShipUp => records(metric, &figures.records, family),
        Metric::TableEpoch
        | Metric::TableRevision
        | Metric::TableGateways
        | Metric::Problems
        | Metric::SyncState
        | Metric::SyncStaleness
        | Metric::SyncTables
        | Metric::Info => standing(metric, figures, family),
        Metric::Listeners
        | Metric::Connections
        | Metric::ConnectionsOpened
        | Metric::ConnectionsRefused
        | Metric::ConnectionsSentOff
        | Metric::Capacity
        | Metric::Memory
        | Metric::SwapStall
        | Metric::AcceptPauses => connections(metric, &figures.counters, family),
    }
}

fn requests(routes: &[RouteSnapshot], family: &mut Family<'_>) {
    for route in routes {
        for (class, count) in CODE_CLASSES.iter().zip(route.totals.codes).filter(|(_, count)| *count > 0) {
            family.count(&[&route.gateway, &route.route, class], count);
        }
    }
}

fn ended(routes: &[RouteSnapshot], family: &mut Family<'_>) {
    let mut by_gateway: BTreeMap<&str, [u64; Reason::ALL.len()]> = BTreeMap::new();
    for route in routes {
        let sums = by_gateway.entry(&route.gateway).or_default();
        sums.iter_mut().zip(route.totals.reasons).for_each(|(sum, count)| *sum += count);
    }
    for (gateway, sums) in by_gateway {
        for (reason, count) in Reason::ALL.iter().zip(sums).filter(|(_, count)| *count > 0) {
            family.count(&[gateway, reason.as_str()], count);
        }
    }
}

fn distributions(routes: &[RouteSnapshot], family: &mut Family<'_>, of: impl Fn(&RouteTotals) -> &Distribution) {
    for route in routes {
        family.distribution(&[&route.gateway, &route.route], of(&route.totals));
    }
}

fn counts(routes: &[RouteSnapshot], family: &mut Family<'_>, of: impl Fn(&RouteTotals) -> u64) {
    for route in routes {
        family.count(&[&route.gateway, &route.route], of(&route.totals));
    }
}

/// Requests by lookup of gateway and route: each had a front end of its own in HAProxy.
fn frontends(routes: &[RouteSnapshot]) -> BTreeMap<&str, [u64; CODE_CLASSES.len()]> {
    let mut frontends: BTreeMap<&str, [u64; CODE_CLASSES.len()]> = BTreeMap::new();
    for route in routes {
        let lookups = [route.gateway_lookup.as_str(), route.route_lookup.as_str()];
        // The others are one front end, not a gateway and its route.
        let distinct = if lookups[0] == lookups[1] { &lookups[..1] } else { &lookups[..] };
        for lookup in distinct.iter().filter(|lookup| !lookup.is_empty()) {
            let sums = frontends.entry(lookup).or_default();
            sums.iter_mut().zip(route.totals.codes).for_each(|(sum, count)| *sum += count);
        }
    }
    frontends
}

fn frontend_responses(routes: &[RouteSnapshot], family: &mut Family<'_>) {
    for (lookup, codes) in frontends(routes) {
        for (class, count) in CODE_CLASSES.iter().zip(codes) {
            // The exporter for HAProxy always has all of its classes.
            family.count(&[lookup, if *class == "none" { "other" } else { class }], count);
        }
    }
}

fn split_delivered(splits: &[GatewayCounts], family: &mut Family<'_>) {
    let levels = splits.iter().flat_map(|gateway| gateway.levels.iter().map(move |level| (gateway, level)));
    let shares = levels.flat_map(|(gateway, level)| level.shares.iter().map(move |share| (gateway, level, share)));
    for (gateway, level, share) in shares.take(SPLIT_SERIES_MAX) {
        family.count(&[&gateway.gateway, &level_word(level), &share.route], share.delivered);
    }
}

fn level_word(level: &LevelCounts) -> String {
    match level.kind {
        LevelKind::Weights => "weights".to_owned(),
        LevelKind::Strength => format!("condition:{}", level.route.as_deref().unwrap_or_default()),
    }
}

fn records(metric: Metric, records: &ShipCounts, family: &mut Family<'_>) {
    match metric {
        Metric::RecordsShipped => family.count(&[], records.tally.shipped),
        Metric::RecordsDropped => {
            for (reason, count) in records.dropped() {
                family.count(&[reason], count);
            }
        }
        Metric::RecordsQueued => family.count(&[], records.queued),
        Metric::ShipRequests => {
            for outcome in Bulk::ALL {
                family.count(&[outcome.word()], records.tally.bulks(outcome));
            }
        }
        Metric::ShipUp => family.count(&[], records.tally.is_up.into()),
        _ => family.count(&[], records.answered),
    }
}

fn standing(metric: Metric, figures: &Figures, family: &mut Family<'_>) {
    let sync = &figures.sync;
    match metric {
        Metric::TableEpoch => family.count(&[], figures.generation.epoch),
        Metric::TableRevision => family.count(&[], figures.generation.revision),
        Metric::TableGateways => family.count(&[], whole(figures.gateways)),
        Metric::Problems => family.count(&[], whole(sync.problems.len())),
        Metric::SyncState => {
            for state in SyncState::ALL {
                family.count(&[state.word()], (state == sync.state).into());
            }
        }
        Metric::SyncStaleness => {
            // A store that never answered is infinitely stale: an alert above any number fires.
            let age = sync.last_confirmed.map(|confirmed| figures.now.saturating_duration_since(confirmed));
            family.number(&[], age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        }
        Metric::SyncTables => {
            let outcomes = &sync.outcomes;
            for (outcome, count) in [
                ("applied", outcomes.applied),
                ("refused", outcomes.refused),
                ("outdated", outcomes.outdated),
                ("kept", outcomes.kept),
                ("not_kept", outcomes.not_kept),
            ] {
                family.count(&[outcome], count);
            }
        }
        _ => family.count(&[&figures.version, &figures.id], 1),
    }
}

fn connections(metric: Metric, counters: &Snapshot, family: &mut Family<'_>) {
    match metric {
        Metric::Listeners => {
            family.count(&["bound"], whole(counters.listeners_bound));
            family.count(&["failing"], whole(counters.listeners_failing));
        }
        Metric::Connections => {
            family.count(&["client"], counters.clients);
            family.count(&["upstream"], counters.upstreams);
        }
        Metric::ConnectionsOpened => {
            family.count(&["client"], counters.clients_opened);
            family.count(&["upstream"], counters.upstreams_opened);
        }
        Metric::ConnectionsRefused => {
            for (refused, count) in Refused::ALL.iter().zip(counters.refused) {
                family.count(&[refused.word()], count);
            }
        }
        Metric::ConnectionsSentOff => family.count(&[], counters.sent_off),
        Metric::Capacity => {
            let Some(capacity) = &counters.capacity else { return };
            family.count(&["connections"], whole(capacity.connections));
            for (of, limit) in [("open_files", capacity.open_files), ("memory_bytes", capacity.memory_bytes)] {
                if let Some(limit) = limit {
                    family.count(&[of], limit);
                }
            }
        }
        Metric::Memory => family.count(&[], counters.resident_bytes),
        Metric::SwapStall => family.number(&[], Duration::from_nanos(counters.stall_ns_max).as_secs_f64()),
        _ => family.count(&[], counters.accept_pauses),
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use vamp_record::split::ShareCount;

    use super::*;
    use crate::plane::Capacity;

    fn route(gateway: &str, route: &str, codes: [u64; CODE_CLASSES.len()]) -> RouteSnapshot {
        let mut totals = RouteTotals { codes, ..RouteTotals::default() };
        totals.reasons[0] = codes.iter().sum();
        totals.duration.buckets[2] = codes.iter().sum();
        RouteSnapshot {
            gateway: gateway.to_owned(),
            gateway_lookup: format!("lookup-{gateway}"),
            route: route.to_owned(),
            route_lookup: format!("lookup-{gateway}-{route}"),
            totals,
        }
    }

    fn figures(routes: Vec<RouteSnapshot>) -> Figures {
        let share = |route: &str, delivered| ShareCount { route: route.to_owned(), wanted: 5_000, delivered };
        let level = |kind, route, shares| LevelCounts { kind, route, since_unix_ms: 0, tickets: 0, shares };
        let levels = vec![
            level(LevelKind::Weights, None, vec![share("a", 9), share("b", 1)]),
            level(LevelKind::Strength, Some("b".to_owned()), vec![share("b", 3), share("", 4)]),
        ];
        let capacity = Capacity { connections: 384, open_files: Some(1_024), memory_bytes: Some(1 << 30) };
        let now = Instant::now();
        Figures {
            id: "g1".to_owned(),
            version: "0.1.0".to_owned(),
            generation: Generation { epoch: 2, revision: 42 },
            gateways: 3,
            counters: Snapshot {
                routes,
                clients: 5,
                listeners_failing: 1,
                capacity: Some(capacity),
                ..Snapshot::default()
            },
            splits: vec![GatewayCounts { gateway: "shop".to_owned(), levels, routes: Vec::new() }],
            records: ShipCounts { answered: 10, queued: 4, queue_full: 6, ..ShipCounts::default() },
            sync: SyncStatus {
                state: SyncState::Current,
                last_confirmed: now.checked_sub(Duration::from_millis(1_500)),
                ..SyncStatus::default()
            },
            now,
        }
    }

    type Labels = Vec<(String, String)>;

    /// Name, labels and value of each sample; the page must be what the format says, line by line.
    fn parse(text: &str) -> Vec<(String, Labels, f64)> {
        let mut samples = Vec::new();
        let mut family = "";
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let (word, rest) = comment.split_once(' ').unwrap();
                assert!(["HELP", "TYPE"].contains(&word), "{line}");
                family = rest.split_once(' ').unwrap().0;
                continue;
            }
            let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
            assert!(name.starts_with(family), "{line} stands under {family}");
            let (labels, value) = match rest.strip_prefix('{') {
                Some(rest) => parse_labels(rest),
                None => (Vec::new(), rest),
            };
            let value = value.strip_prefix(' ').unwrap();
            samples.push((name.to_owned(), labels, value.replace("+Inf", "inf").parse().unwrap()));
        }
        samples
    }

    fn parse_labels(mut rest: &str) -> (Labels, &str) {
        let mut labels = Vec::new();
        loop {
            let (name, quoted) = rest.split_once("=\"").unwrap();
            let mut value = String::new();
            let mut characters = quoted.char_indices();
            let end = loop {
                match characters.next().unwrap() {
                    (at, '"') => break at,
                    (_, '\\') => value.push(characters.next().unwrap().1),
                    (_, plain) => value.push(plain),
                }
            };
            labels.push((name.to_owned(), value));
            rest = quoted.split_at(end + 1).1;
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return (labels, rest.strip_prefix('}').unwrap()),
            }
        }
    }

    #[track_caller]
    fn check(figures: &Figures, name: &str, labels: &[(&str, &str)], value: f64) {
        let samples = parse(&page(figures));
        let wanted: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let found = samples.iter().find(|(its_name, its_labels, _)| its_name == name && *its_labels == wanted);
        let (_, _, found) = found.unwrap_or_else(|| panic!("no {name} {labels:?}"));
        assert!((found - value).abs() < 1e-9, "{name} {labels:?} is {found}, not {value}");
    }

    #[test]
    fn the_page_has_every_metric_and_no_other_with_the_labels_that_it_declares() {
        let figures = figures(vec![route("shop", "a", [1, 0, 2, 0, 0, 3]), route("", "", [0, 0, 0, 0, 9, 0])]);
        let text = page(&figures);
        let types: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let wanted: Vec<_> =
            Metric::ALL.iter().map(|metric| format!("{} {}", metric.name(), metric.kind().as_str())).collect();
        assert_eq!(types, wanted);
        let samples = parse(&text);
        let mut seen = BTreeSet::new();
        for (name, labels, _) in &samples {
            assert!(seen.insert((name, labels)), "{name} {labels:?} twice");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let metric = Metric::ALL.iter().find(|metric| metric.name() == name || Some(metric.name()) == family);
            let names: Vec<_> = labels.iter().map(|(name, _)| name.as_str()).filter(|name| *name != "le").collect();
            assert_eq!(names, metric.unwrap().labels(), "{name}");
        }
        for metric in Metric::ALL {
            assert!(samples.iter().any(|(name, _, _)| name.starts_with(metric.name())), "{metric:?} has no series");
        }
    }

    #[test]
    fn what_was_counted_is_what_is_shown() {
        let figures = figures(vec![
            route("shop", "a", [1, 0, 20, 0, 0, 3]),
            route("shop", "b", [0, 0, 4, 0, 0, 0]),
            route("", "", [0, 0, 0, 0, 9, 0]),
        ]);
        let requests = "vamp_gateway_requests_total";
        check(&figures, requests, &[("gateway", "shop"), ("route", "a"), ("code", "2xx")], 20.0);
        check(&figures, requests, &[("gateway", ""), ("route", ""), ("code", "4xx")], 9.0);
        let ended = "vamp_gateway_requests_ended_total";
        check(&figures, ended, &[("gateway", "shop"), ("reason", "completed")], 28.0);
        let buckets = "vamp_gateway_request_duration_seconds_bucket";
        let of_b = |bound| [("gateway", "shop"), ("route", "b"), ("le", bound)];
        check(&figures, buckets, &of_b("0.001"), 0.0);
        check(&figures, buckets, &of_b("0.0025"), 4.0);
        let delivered = "vamp_gateway_split_delivered";
        check(&figures, delivered, &[("gateway", "shop"), ("level", "weights"), ("route", "a")], 9.0);
        check(&figures, delivered, &[("gateway", "shop"), ("level", "condition:b"), ("route", "")], 4.0);
        check(&figures, "vamp_gateway_records_dropped_total", &[("reason", "queue_full")], 6.0);
        check(&figures, "vamp_gateway_table_revision", &[], 42.0);
        check(&figures, "vamp_gateway_sync_state", &[("state", "current")], 1.0);
        check(&figures, "vamp_gateway_sync_state", &[("state", "empty")], 0.0);
        check(&figures, "vamp_gateway_sync_staleness_seconds", &[], 1.5);
        check(&figures, "vamp_gateway_listeners", &[("state", "failing")], 1.0);
        check(&figures, "vamp_gateway_connections", &[("side", "client")], 5.0);
        check(&figures, "vamp_gateway_info", &[("version", "0.1.0"), ("id", "g1")], 1.0);
    }

    #[test]
    fn queries_for_the_haproxy_exporter_get_gateway_and_route() {
        let figures = figures(vec![route("shop", "a", [1, 0, 20, 0, 0, 3]), route("shop", "b", [0, 0, 4, 0, 0, 0])]);
        let (requests, responses) = ("haproxy_frontend_http_requests_total", "haproxy_frontend_http_responses_total");
        check(&figures, requests, &[("frontend", "lookup-shop")], 28.0);
        check(&figures, requests, &[("frontend", "lookup-shop-b")], 4.0);
        check(&figures, responses, &[("frontend", "lookup-shop"), ("code", "5xx")], 3.0);
        check(&figures, responses, &[("frontend", "lookup-shop-b"), ("code", "5xx")], 0.0);
        check(&figures, responses, &[("frontend", "lookup-shop-a"), ("code", "other")], 1.0);
    }

    #[test]
    fn routes_beyond_the_bound_are_counted_together() {
        let routes = (0..5_000).map(|number| route("shop", &format!("r{number}"), [0, 0, 1, 0, 0, 0]));
        let figures = figures(routes.collect());
        let of_others = [("gateway", OTHERS), ("route", OTHERS), ("code", "2xx")];
        check(&figures, "vamp_gateway_requests_total", &of_others, 4_000.0);
        let series = parse(&page(&figures)).len();
        assert!(series < 60_000, "{series} series");
        let requests: f64 = parse(&page(&figures))
            .iter()
            .filter(|(name, _, _)| name == "vamp_gateway_requests_total")
            .map(|(_, _, value)| value)
            .sum();
        assert!((requests - 5_000.0).abs() < 1e-9);
    }

    #[test]
    fn a_store_that_never_answered_is_infinitely_stale() {
        let mut figures = figures(Vec::new());
        figures.sync.last_confirmed = None;
        let samples = parse(&page(&figures));
        let age = samples.iter().find(|(name, _, _)| name == "vamp_gateway_sync_staleness_seconds").unwrap();
        assert!(age.2.is_infinite());
    }
}
