//! Sums the counts of gateway processes. Pure.

use vamp_model::percent;
use vamp_record::split::{GatewayCounts, LevelCounts, LevelKind, RouteCounts};
use vamp_routing::wire::{self, Share};

use super::{DecidedBy, Freshness, Level, Process, Side, Split};

/// What is known of one boot of one gateway process.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// Its id.
    pub(crate) id: String,
    /// Its boot.
    pub(crate) boot: String,
    /// How fresh it is.
    pub(crate) state: Freshness,
    /// Why it could not be read.
    pub(crate) problem: Option<String>,
    /// When it was read, milliseconds since 1970 (UTC).
    pub(crate) at_unix_ms: Option<u64>,
    /// Its counts of the gateway in question.
    pub(crate) counts: Option<GatewayCounts>,
}

/// Puts the readings side by side and sums those whose account is of the shares that are wanted now. A boot that ended
/// before these were in force counted for others, even if they happen to be the same: before they were written
/// (`written_unix_ms`), or, where an edit left them as they were, before the accounts began that count on over it.
pub(crate) fn sum(gateway: &wire::Gateway, written_unix_ms: u64, readings: Vec<Reading>) -> Split {
    let mut weights = Account::of_weights(gateway);
    let mut strengths: Vec<Account> = gateway.routes.iter().filter_map(Account::of_strength).collect();
    for account in strengths.iter_mut().chain([&mut weights]) {
        account.in_force_unix_ms = account.in_force(written_unix_ms, &readings);
    }
    let mut decided_by: Vec<DecidedBy> =
        gateway.routes.iter().map(|route| DecidedBy { route: route.name.clone(), ..DecidedBy::default() }).collect();
    let of = readings.iter().filter(|reading| reading.state != Freshness::Ended).count();
    let counted = readings.iter().filter(|reading| reading.state == Freshness::Read).count();
    let mut processes = Vec::with_capacity(readings.len());
    for reading in readings {
        for strength in &mut strengths {
            strength.add_from(&reading);
        }
        let summed = weights.add_from(&reading);
        if let Some(counts) = reading.counts.as_ref().filter(|_| !weights.is_past(&reading)) {
            counts.routes.iter().for_each(|routes| add_decided(&mut decided_by, routes));
        }
        processes.push(process(reading, summed));
    }
    Split {
        gateway: gateway.name.clone(),
        counted,
        of,
        unknown: false,
        weights: weights.into_level(),
        strengths: strengths.into_iter().map(Account::into_level).collect(),
        decided_by,
        processes,
    }
}

/// One level while it is summed.
struct Account {
    condition_of: Option<String>,
    sides: Vec<(String, Share, u64)>,
    tickets: u64,
    since_unix_ms: Option<u64>,
    in_force_unix_ms: u64,
}

impl Account {
    fn of_weights(gateway: &wire::Gateway) -> Self {
        let sides = gateway.routes.iter().map(|route| (route.name.clone(), route.weight, 0));
        Self { condition_of: None, sides: sides.collect(), tickets: 0, since_unix_ms: None, in_force_unix_ms: 0 }
    }

    fn of_strength(route: &wire::Route) -> Option<Self> {
        route.condition.as_ref().filter(|_| route.condition_strength < Share::WHOLE)?;
        let rest = Share(Share::WHOLE.0.saturating_sub(route.condition_strength.0));
        let sides = vec![(route.name.clone(), route.condition_strength, 0), (String::new(), rest, 0)];
        let condition_of = Some(route.name.clone());
        Some(Self { condition_of, sides, tickets: 0, since_unix_ms: None, in_force_unix_ms: 0 })
    }

    /// Since when the shares are as they are now: an account of them in a process that lives shows that nobody changed
    /// them since it began.
    fn in_force(&self, written_unix_ms: u64, readings: &[Reading]) -> u64 {
        let live = readings.iter().filter(|reading| reading.state != Freshness::Ended);
        let levels = live.filter_map(|reading| reading.counts.as_ref()).flat_map(|counts| &counts.levels);
        let ours = levels.filter(|level| self.is_of(level) && self.has_shares_of(level));
        ours.map(|level| level.since_unix_ms).chain([written_unix_ms]).min().unwrap_or_default()
    }

    /// Whether the boot ended before the shares were in force.
    fn is_past(&self, reading: &Reading) -> bool {
        reading.state == Freshness::Ended
            && reading.at_unix_ms.is_none_or(|at_unix_ms| at_unix_ms < self.in_force_unix_ms)
    }

    /// Adds what a process counted; whether its account is of the same shares. One without this level has decided
    /// nothing by it: that is an account of nothing, of any shares.
    fn add_from(&mut self, reading: &Reading) -> bool {
        let Some(counts) = reading.counts.as_ref().filter(|_| !self.is_past(reading)) else { return false };
        let Some(level) = counts.levels.iter().find(|level| self.is_of(level)) else { return true };
        if !self.has_shares_of(level) {
            return false;
        }
        for share in &level.shares {
            if let Some((_, _, delivered)) = self.sides.iter_mut().find(|(route, ..)| *route == share.route) {
                *delivered = delivered.saturating_add(share.delivered);
            }
        }
        self.tickets = self.tickets.saturating_add(level.tickets);
        self.since_unix_ms = Some(self.since_unix_ms.unwrap_or(u64::MAX).min(level.since_unix_ms));
        true
    }

    fn is_of(&self, level: &LevelCounts) -> bool {
        match level.kind {
            LevelKind::Weights => self.condition_of.is_none(),
            LevelKind::Strength => self.condition_of.is_some() && self.condition_of == level.route,
        }
    }

    /// Sides without a share take part in nothing, whether they are told or not.
    fn has_shares_of(&self, level: &LevelCounts) -> bool {
        let ours = self.sides.iter().map(|(route, share, _)| (route.as_str(), share.0)).filter(|(_, share)| *share > 0);
        let theirs =
            level.shares.iter().map(|share| (share.route.as_str(), share.wanted)).filter(|(_, share)| *share > 0);
        ours.eq(theirs)
    }

    fn into_level(self) -> Level {
        let tickets = self.tickets;
        let side = |(route, wanted, delivered)| Side::new(route, wanted, delivered, tickets);
        Level {
            condition_of: self.condition_of,
            tickets,
            since_unix_ms: self.since_unix_ms,
            routes: self.sides.into_iter().map(side).collect(),
        }
    }
}

impl Side {
    fn new(route: String, wanted: Share, delivered: u64, tickets: u64) -> Self {
        // In whole hundredths of a percent first, so that an exact split has the error 0 and not almost 0.
        let due = u128::from(tickets).saturating_mul(u128::from(wanted.0));
        let given = u128::from(delivered).saturating_mul(u128::from(Share::WHOLE.0));
        #[expect(clippy::cast_precision_loss, reason = "an error of this size would be read as `all wrong` anyway")]
        let apart = given.abs_diff(due) as f64 / f64::from(Share::WHOLE.0);
        let error = if given < due { -apart } else { apart };
        Self { route, wanted: percent::format(wanted), delivered, error }
    }
}

fn process(reading: Reading, summed: bool) -> Process {
    let (weights, strengths): (Vec<Level>, Vec<Level>) = reading
        .counts
        .iter()
        .flat_map(|counts| &counts.levels)
        .map(as_counted)
        .partition(|level| level.condition_of.is_none());
    let routes = reading.counts.iter().flat_map(|counts| &counts.routes);
    let decided_by = routes.map(|routes| {
        let mut one = [DecidedBy { route: routes.route.clone(), ..DecidedBy::default() }];
        add_decided(&mut one, routes);
        let [one] = one;
        one
    });
    Process {
        decided_by: decided_by.collect(),
        id: reading.id,
        boot: reading.boot,
        state: reading.state,
        problem: reading.problem,
        at_unix_ms: reading.at_unix_ms,
        summed,
        weights: weights.into_iter().next(),
        strengths,
    }
}

/// One level as its process tells it.
fn as_counted(level: &LevelCounts) -> Level {
    let shares = level.shares.iter();
    let sides = shares.map(|share| Side::new(share.route.clone(), Share(share.wanted), share.delivered, level.tickets));
    Level {
        condition_of: match level.kind {
            LevelKind::Weights => None,
            LevelKind::Strength => Some(level.route.clone().unwrap_or_default()),
        },
        tickets: level.tickets,
        since_unix_ms: Some(level.since_unix_ms),
        routes: sides.collect(),
    }
}

fn add_decided(sums: &mut [DecidedBy], routes: &RouteCounts) {
    let Some(sum) = sums.iter_mut().find(|sum| sum.route == routes.route) else { return };
    let add = |to: &mut u64, count: u64| *to = to.saturating_add(count);
    add(&mut sum.condition, routes.condition);
    add(&mut sum.cookie, routes.cookie);
    add(&mut sum.source, routes.source);
    add(&mut sum.weight, routes.weight);
    add(&mut sum.only_route, routes.only_route);
    for count in [routes.condition, routes.cookie, routes.source, routes.weight, routes.only_route] {
        add(&mut sum.requests, count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vamp_record::split::ShareCount;

    use super::*;

    fn route(name: &str, weight: u16, strength: Option<u16>) -> wire::Route {
        wire::Route {
            name: name.to_owned(),
            lookup: String::new(),
            weight: Share(weight),
            condition: strength.map(|_| "method is GET".to_owned()),
            condition_strength: Share(strength.unwrap_or(10_000)),
            balance: wire::Balance::default(),
            rewrites: Vec::new(),
            target: wire::Target::Endpoints(Vec::new()),
        }
    }

    fn gateway(routes: Vec<wire::Route>) -> wire::Gateway {
        wire::Gateway {
            name: "shop".to_owned(),
            lookup: String::new(),
            port: None,
            virtual_hosts: Vec::new(),
            sticky: wire::Sticky::None,
            tcp: None,
            routes,
        }
    }

    fn level(shares: &[(&str, u16, u64)]) -> LevelCounts {
        LevelCounts {
            kind: LevelKind::Weights,
            route: None,
            since_unix_ms: 50,
            tickets: shares.iter().map(|(_, _, delivered)| delivered).sum(),
            shares: shares
                .iter()
                .map(|(route, wanted, delivered)| ShareCount {
                    route: (*route).to_owned(),
                    wanted: *wanted,
                    delivered: *delivered,
                })
                .collect(),
        }
    }

    fn reading(boot: &str, state: Freshness, at_unix_ms: u64, levels: Vec<LevelCounts>) -> Reading {
        let counts = GatewayCounts { gateway: "shop".to_owned(), levels, routes: Vec::new() };
        let (id, boot) = ("g1".to_owned(), boot.to_owned());
        Reading { id, boot, state, problem: None, at_unix_ms: Some(at_unix_ms), counts: Some(counts) }
    }

    fn delivered(split: &Split) -> Vec<u64> {
        split.weights.routes.iter().map(|side| side.delivered).collect()
    }

    fn shop() -> wire::Gateway {
        gateway(vec![route("a", 9000, None), route("b", 1000, None)])
    }

    #[test]
    fn processes_are_summed_with_boots_that_ended() {
        let split = sum(
            &shop(),
            100,
            vec![
                reading("live", Freshness::Read, 200, vec![level(&[("a", 9000, 90), ("b", 1000, 10)])]),
                reading("killed", Freshness::Ended, 150, vec![level(&[("a", 9000, 8), ("b", 1000, 1)])]),
            ],
        );
        assert_eq!((delivered(&split), split.weights.tickets), (vec![98, 11], 109));
        assert_eq!((split.counted, split.of), (1, 1));
        assert!((split.weights.routes[1].error - 0.1).abs() < 1e-9, "{split:?}");
        assert!(split.processes.iter().all(|process| process.summed));
    }

    #[test]
    fn accounts_of_other_shares_are_shown_and_not_summed() {
        let split = sum(
            &shop(),
            100,
            vec![
                reading("behind", Freshness::Read, 200, vec![level(&[("a", 5000, 5), ("b", 5000, 5)])]),
                reading("long-ago", Freshness::Ended, 99, vec![level(&[("a", 9000, 9), ("b", 1000, 1)])]),
            ],
        );
        assert_eq!(delivered(&split), [0, 0]);
        assert!(split.processes.iter().all(|process| !process.summed && process.weights.is_some()));
    }

    #[test]
    fn an_edit_that_keeps_the_shares_keeps_the_counts_of_boots_that_ended() {
        // The account of the process that lives began at 50, and counts on over what was written at 100.
        let counts = |a, b| vec![level(&[("a", 9000, a), ("b", 1000, b)])];
        let readings = vec![
            reading("live", Freshness::Read, 200, counts(90, 10)),
            reading("killed", Freshness::Ended, 60, counts(8, 1)),
            reading("long-ago", Freshness::Ended, 49, counts(7, 2)),
        ];
        let split = sum(&shop(), 100, readings);
        assert_eq!(delivered(&split), [98, 11]);
        assert_eq!(split.processes.iter().map(|process| process.summed).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn one_that_can_not_be_read_is_not_counted_and_keeps_what_was_seen() {
        let unread = Reading {
            problem: Some("connection refused".to_owned()),
            ..reading("b", Freshness::Unread, 60, vec![level(&[("a", 9000, 9), ("b", 1000, 1)])])
        };
        let split = sum(&shop(), 100, vec![reading("a", Freshness::Read, 200, vec![]), unread]);
        assert_eq!((split.counted, split.of, delivered(&split)), (1, 2, vec![9, 1]));
    }

    #[test]
    fn a_strength_is_summed_beside_the_weights() {
        let shop = gateway(vec![route("a", 10_000, None), route("b", 0, Some(2500))]);
        let strength = LevelCounts {
            kind: LevelKind::Strength,
            route: Some("b".to_owned()),
            ..level(&[("b", 2500, 1), ("", 7500, 3)])
        };
        let split = sum(&shop, 0, vec![reading("x", Freshness::Read, 1, vec![strength])]);
        assert_eq!(split.strengths.len(), 1);
        assert_eq!(split.strengths[0].condition_of.as_deref(), Some("b"));
        let sides: Vec<(&str, &str, u64, f64)> = split.strengths[0]
            .routes
            .iter()
            .map(|side| (side.route.as_str(), side.wanted.as_str(), side.delivered, side.error))
            .collect();
        assert_eq!(sides, [("b", "25%", 1, 0.0), ("", "75%", 3, 0.0)]);
        assert_eq!(split.weights.tickets, 0);
    }

    proptest! {
        #[test]
        fn no_ticket_is_lost_or_invented(counts in proptest::collection::vec((0..1_000_000_u64, 0..1_000_000_u64), 0..20)) {
            let readings = counts.iter().enumerate().map(|(boot, (a, b))| {
                reading(&boot.to_string(), Freshness::Read, 1, vec![level(&[("a", 9000, *a), ("b", 1000, *b)])])
            });
            let split = sum(&shop(), 0, readings.collect());
            prop_assert_eq!(split.weights.tickets, counts.iter().map(|(a, b)| a + b).sum::<u64>());
            prop_assert_eq!(delivered(&split).iter().sum::<u64>(), split.weights.tickets);
            let errors: f64 = split.weights.routes.iter().map(|side| side.error).sum();
            prop_assert!(errors.abs() < 1e-3, "errors of all sides cancel out: {}", errors);
        }
    }
}
