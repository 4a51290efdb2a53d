//! Rounds of answers, and what is known after them.

use proptest::prelude::*;

use super::*;

const SHOP: &str = "shop/web/http";
const ROUTE: &str = "shop/web/web:1/http";

fn watched() -> BTreeSet<String> {
    BTreeSet::from([SHOP.to_owned()])
}

/// An answer of a process that has counted so many requests of 10 ms each.
#[expect(clippy::unnecessary_wraps, reason = "a round has what was asked, or why it has not")]
fn answer(boot: &str, requests: u64) -> Result<TrafficAnswer, String> {
    let mut buckets = vec![0; BUCKETS];
    buckets[4] = requests;
    let route = RouteTraffic { route: ROUTE.to_owned(), requests, errors: 0, duration_us: requests * 10_000, buckets };
    let routes = if requests == 0 { Vec::new() } else { vec![route] };
    let gateways = vec![GatewayTraffic { gateway: SHOP.to_owned(), routes }];
    Ok(TrafficAnswer { id: "g".to_owned(), boot: boot.to_owned(), gateways })
}

fn lost() -> Result<TrafficAnswer, String> {
    Err("timed out".to_owned())
}

#[derive(Default)]
struct Rounds {
    history: History,
    now_ms: u64,
}

impl Rounds {
    fn round(&mut self, answers: Vec<(&str, Result<TrafficAnswer, String>)>) {
        self.now_ms += 1_000;
        let answers = answers.into_iter().map(|(id, answer)| (id.to_owned(), answer)).collect();
        self.history.take(self.now_ms, &watched(), Round { answers, unknown: None });
    }

    /// Requests in the last so many seconds.
    fn requests(&self, seconds: u64) -> Result<u64, String> {
        let span = self.history.newest(self.now_ms, Duration::from_secs(seconds))?;
        let counted = self.history.counted(SHOP, &span)?;
        let parts: u64 = counted.parts.iter().map(|part| part.requests).sum();
        assert_eq!(parts, counted.whole.requests, "the parts are the whole");
        assert_eq!(span.parts_ms().iter().sum::<u64>(), span.length_ms);
        Ok(counted.whole.requests)
    }
}

#[test]
fn what_came_between_answers_is_summed_over_processes() {
    let mut rounds = Rounds::default();
    rounds.round(vec![("g1", answer("b", 1_000)), ("g2", answer("b", 500))]);
    assert!(rounds.requests(1).is_err(), "one answer says nothing about a second");
    rounds.round(vec![("g1", answer("b", 1_010)), ("g2", answer("b", 505))]);
    rounds.round(vec![("g1", answer("b", 1_010)), ("g2", answer("b", 506))]);
    assert_eq!((rounds.requests(1), rounds.requests(2)), (Ok(1), Ok(16)));
    assert!(rounds.requests(3).unwrap_err().contains("the last 2 s are known, not yet 3 s"));
}

#[test]
fn a_second_without_requests_is_known() {
    let mut rounds = Rounds::default();
    for _ in 0..4 {
        rounds.round(vec![("g1", answer("b", 0))]);
    }
    assert_eq!(rounds.requests(3), Ok(0));
}

#[test]
fn a_process_that_is_not_read_makes_the_time_unknown_and_not_zero() {
    let mut rounds = Rounds::default();
    for round in 0..10 {
        let answered = if (4..6).contains(&round) { lost() } else { answer("b", round * 10) };
        rounds.round(vec![("g1", answered)]);
        match round {
            // With the round after it: what came meanwhile came at times that are not known.
            4..=6 => assert!(rounds.requests(1).unwrap_err().contains("`g1` could not be read"), "{round}"),
            7 => {
                assert_eq!(rounds.requests(1), Ok(10));
                assert!(rounds.requests(2).is_err());
            }
            _ => {}
        }
    }
    let known = rounds.history.known(SHOP, 0);
    assert_eq!((known.length_ms, known.routes[ROUTE].requests), (6_000, 60));
}

#[test]
fn a_process_that_restarts_begins_anew() {
    let mut rounds = Rounds::default();
    rounds.round(vec![("g1", answer("b1", 900))]);
    rounds.round(vec![("g1", answer("b1", 910))]);
    // Its counts of before are gone, and those of the new one are not of this second alone.
    rounds.round(vec![("g1", answer("b2", 950))]);
    rounds.round(vec![("g1", answer("b2", 953))]);
    assert_eq!((rounds.requests(1), rounds.requests(3)), (Ok(3), Ok(13)));
}

#[test]
fn processes_come_and_go() {
    let mut rounds = Rounds::default();
    rounds.round(vec![("g1", answer("b", 10))]);
    rounds.round(vec![("g1", answer("b", 11)), ("g2", answer("b", 70_000))]);
    rounds.round(vec![("g2", answer("b", 70_005))]);
    rounds.round(vec![("g1", answer("b", 12)), ("g2", answer("b", 70_005))]);
    assert_eq!(rounds.requests(3), Ok(6));
    rounds.round(Vec::new());
    assert!(rounds.requests(1).unwrap_err().contains("no gateway process"));
}

#[test]
fn a_route_that_came_anew_is_counted_from_its_beginning() {
    let mut rounds = Rounds::default();
    rounds.round(vec![("g1", answer("b", 100))]);
    rounds.round(vec![("g1", answer("b", 7))]);
    assert_eq!(rounds.requests(1), Ok(7));
    rounds.round(vec![("g1", answer("b", 0))]);
    rounds.round(vec![("g1", answer("b", 5))]);
    assert_eq!(rounds.requests(2), Ok(5));
}

#[test]
fn a_gateway_that_nobody_asked_about_before_is_unknown_until_then() {
    let mut rounds = Rounds::default();
    rounds.round(vec![("g1", answer("b", 100))]);
    rounds.round(vec![("g1", answer("b", 110))]);
    let span = rounds.history.newest(2_000, Duration::from_secs(1)).unwrap();
    assert!(rounds.history.counted("other", &span).is_err());
    // Forgotten, and asked about again: what came meanwhile is not counted.
    let round = |requests| Round { answers: vec![("g1".to_owned(), answer("b", requests))], unknown: None };
    rounds.history.take(3_000, &BTreeSet::new(), round(120));
    rounds.history.take(4_000, &watched(), round(130));
    rounds.now_ms = 4_000;
    assert!(rounds.requests(1).is_err());
    rounds.round(vec![("g1", answer("b", 131))]);
    assert_eq!(rounds.requests(1), Ok(1));
}

#[test]
fn counts_that_are_late_say_nothing_about_now() {
    let mut rounds = Rounds::default();
    rounds.round(vec![("g1", answer("b", 1))]);
    rounds.round(vec![("g1", answer("b", 2))]);
    assert_eq!(rounds.requests(1), Ok(1));
    rounds.now_ms += LATE_MS + 1;
    assert!(rounds.requests(1).is_err());
}

#[test]
fn a_process_that_counts_in_other_steps_is_not_read() {
    let mut rounds = Rounds::default();
    rounds.round(vec![("g1", answer("b", 1))]);
    let mut other = answer("b", 2);
    other.as_mut().unwrap().gateways[0].routes[0].buckets.pop();
    rounds.round(vec![("g1", other)]);
    assert!(rounds.requests(1).unwrap_err().contains("update the older"));
}

#[test]
fn a_long_second_is_cut_into_fewer_parts() {
    let mut history = History::default();
    let round = |requests| Round { answers: vec![("g1".to_owned(), answer("b", requests))], unknown: None };
    for (now_ms, requests) in [(1_000, 0), (6_000, 50), (7_000, 51), (8_000, 53)] {
        history.take(now_ms, &watched(), round(requests));
    }
    let span = history.newest(8_000, Duration::from_secs(7)).unwrap();
    assert_eq!((span.from_ms, span.length_ms, span.parts_ms()), (1_000, 7_000, &[5_000, 2_000][..]));
    let counted = history.counted(SHOP, &span).unwrap();
    assert_eq!(counted.parts.iter().map(|part| part.requests).collect::<Vec<_>>(), [50, 3]);
}

#[test]
fn nothing_is_kept_longer_than_it_is_looked_at() {
    let mut rounds = Rounds::default();
    for round in 0..=700 {
        rounds.round(vec![("g1", answer("b", round * 3))]);
    }
    assert!((600..=601).contains(&rounds.history.slots.len()), "{}", rounds.history.slots.len());
    assert_eq!(rounds.requests(600), Ok(1_800));
    rounds.history.take(rounds.now_ms + 1, &BTreeSet::new(), Round::default());
    assert_eq!(rounds.history.bytes, 0, "all that was counted as taken was given back");
}

#[test]
fn many_routes_are_kept_for_a_shorter_time_within_the_bound() {
    let mut history = History { bytes_max: 250_000, ..History::default() };
    let routes = |round: u64| -> Vec<RouteTraffic> {
        let mut buckets = vec![0; BUCKETS];
        (buckets[3], buckets[4]) = (round * 100, round * 100);
        let route = |number: usize| RouteTraffic {
            route: format!("route-{number}"),
            requests: round * 200,
            errors: 0,
            duration_us: round * 1_000_000,
            buckets: buckets.clone(),
        };
        (0..200).map(route).collect()
    };
    for round in 0..150 {
        let gateways = vec![GatewayTraffic { gateway: SHOP.to_owned(), routes: routes(round) }];
        let answer = TrafficAnswer { id: "g1".to_owned(), boot: "b".to_owned(), gateways };
        let answers = vec![("g1".to_owned(), Ok(answer))];
        history.take(round * 1_000, &watched(), Round { answers, unknown: None });
        assert!(history.bytes <= history.bytes_max);
    }
    assert!((50..149).contains(&history.slots.len()), "{}", history.slots.len());
    let span = history.newest(149_000, Duration::from_secs(50)).unwrap();
    assert_eq!(history.counted(SHOP, &span).unwrap().whole.requests, 50 * 200 * 200);
}

proptest! {
    /// Any mixture of answers, losses and restarts: a number is told only for a time in which each process that was
    /// there answered, and then it is what came.
    #[test]
    fn what_is_told_is_what_came(steps in prop::collection::vec((0_u8..10, 0_u64..50), 2..60), seconds in 1_u64..8) {
        let mut rounds = Rounds::default();
        let (mut boot, mut total) = (0, 0);
        // What came in each second, as far as it can be known.
        let mut truth: Vec<Option<u64>> = Vec::new();
        let mut before: Option<(u64, u64)> = None;
        let mut was_lost = false;
        for (index, (what, came)) in steps.into_iter().enumerate() {
            total += came;
            if what == 0 {
                (boot, total) = (boot + 1, came);
            }
            let is_lost = what == 1;
            let name = boot.to_string();
            rounds.round(vec![("g1", if is_lost { lost() } else { answer(&name, total) })]);
            let known = match before {
                _ if is_lost || was_lost => None,
                Some((its_boot, its_total)) if its_boot == boot => Some(total - its_total),
                _ => Some(0),
            };
            if index > 0 {
                truth.push(known);
            }
            before = (!is_lost).then_some((boot, total));
            was_lost = is_lost;
            let last = truth.iter().rev().take(usize::try_from(seconds).unwrap());
            let expected: Option<u64> = last.clone().copied().sum::<Option<u64>>();
            let expected = expected.filter(|_| last.count() as u64 == seconds);
            prop_assert_eq!(rounds.requests(seconds).ok(), expected, "after {} rounds", index + 1);
        }
    }
}
