//! Which endpoint of a route takes a request.

use std::sync::Arc;

use vamp_routing::Decision;
use vamp_routing::wire::Balance;

use super::Endpoint;
use crate::serving::{RouteState, Serving};

/// An endpoint that one request uses: counted there while the lease lives.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The endpoint.
    pub(crate) endpoint: Arc<Endpoint>,
    /// Lookup of the endpoint in its route.
    pub(crate) lookup: Arc<str>,
    /// Its place in the route, for the sticky cookie and for `tried`.
    pub(crate) index: usize,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.ended();
    }
}

/// Leases an endpoint of the route that was decided on: the one that the client's cookie names if it is live, else by
/// the balance of the route. `tried` holds the places ([`Lease::index`]) that failed for this request already.
///
/// Endpoints whose connects fail are passed by while another is live; when all fail they are tried anyway. `None`:
/// there is no endpoint left that has an address.
pub(crate) fn pick(serving: &Serving, decision: &Decision, tried: &[usize]) -> Option<Lease> {
    let hop = decision.chain.last();
    let route = serving.route(hop.gateway, hop.route)?;
    let wanted = hop.instance.filter(|index| !tried.contains(index) && admits(route, *index));
    let index = wanted.or_else(|| balanced(route, tried))?;
    let place = route.endpoints.get(index)?;
    place.endpoint.began();
    Some(Lease { endpoint: Arc::clone(&place.endpoint), lookup: Arc::clone(&place.lookup), index })
}

fn balanced(route: &RouteState, tried: &[usize]) -> Option<usize> {
    let count = route.endpoints.len();
    let next = match (count, route.balance) {
        (0, _) => return None,
        (1, _) => 0,
        (_, Balance::RoundRobin) => route.turn() % count,
        (_, Balance::LeastConn) => {
            let first = rand::random_range(0..count);
            let second = (first + rand::random_range(1..count)) % count;
            less_busy(route, first, second)
        }
    };
    if !tried.contains(&next) && admits(route, next) {
        return Some(next);
    }
    // The turns of an endpoint that is down go round the live ones, so that its neighbour does not get all of them.
    let untried = || (0..count).filter(|index| !tried.contains(index));
    let live: Vec<_> = untried().filter(|index| endpoint(route, *index).is_some_and(Endpoint::is_live)).collect();
    if live.is_empty() {
        let resolved: Vec<_> =
            untried().filter(|index| endpoint(route, *index).is_some_and(Endpoint::is_resolved)).collect();
        return one_of(route, &resolved);
    }
    match route.balance {
        Balance::RoundRobin => one_of(route, &live),
        Balance::LeastConn => {
            let drawn = || live.get(rand::random_range(0..live.len())).copied();
            Some(less_busy(route, drawn()?, drawn()?))
        }
    }
}

fn one_of(route: &RouteState, places: &[usize]) -> Option<usize> {
    places.get(route.spare_turn().checked_rem(places.len())?).copied()
}

/// The one that may be used and has fewer requests; the first of equals.
fn less_busy(route: &RouteState, first: usize, second: usize) -> usize {
    let load =
        |index| endpoint(route, index).map_or((true, u32::MAX), |endpoint| (!endpoint.is_live(), endpoint.in_flight()));
    if load(second) < load(first) { second } else { first }
}

fn endpoint(route: &RouteState, index: usize) -> Option<&Endpoint> {
    route.endpoints.get(index).map(|place| &*place.endpoint)
}

fn admits(route: &RouteState, index: usize) -> bool {
    endpoint(route, index).is_some_and(Endpoint::admits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Registry;

    fn route(balance: Balance, count: u16) -> RouteState {
        let mut registry = Registry::default();
        let addresses = (0..count).map(|number| format!("127.0.0.1:{}", 10_000 + number));
        RouteState::for_test(balance, addresses.map(|address| registry.endpoint(&address)))
    }

    fn fail(route: &RouteState, index: usize) {
        (0..3).for_each(|_| route.endpoints[index].endpoint.failed());
    }

    #[track_caller]
    fn check(route: &RouteState, tried: &[usize], picks: usize, wanted: &[usize]) {
        let mut counts = vec![0; route.endpoints.len()];
        (0..picks).filter_map(|_| balanced(route, tried)).for_each(|index| counts[index] += 1);
        assert_eq!(counts, wanted);
    }

    #[test]
    fn each_endpoint_has_its_turn() {
        check(&route(Balance::RoundRobin, 3), &[], 300, &[100, 100, 100]);
        check(&route(Balance::RoundRobin, 1), &[], 3, &[3]);
        check(&route(Balance::RoundRobin, 0), &[], 3, &[]);
    }

    #[test]
    fn the_turns_of_one_that_is_down_go_round_the_others() {
        let route = route(Balance::RoundRobin, 4);
        fail(&route, 1);
        check(&route, &[], 1_200, &[400, 0, 400, 400]);
    }

    #[test]
    fn when_all_fail_they_are_tried_anyway() {
        let route = route(Balance::RoundRobin, 2);
        (0..2).for_each(|index| fail(&route, index));
        check(&route, &[], 100, &[50, 50]);
    }

    #[test]
    fn what_was_tried_is_not_tried_again() {
        let route = route(Balance::RoundRobin, 3);
        check(&route, &[0], 300, &[0, 150, 150]);
        fail(&route, 1);
        check(&route, &[0], 100, &[0, 0, 100]);
        check(&route, &[0, 2], 100, &[0, 100, 0]);
        check(&route, &[0, 1, 2], 100, &[0, 0, 0]);
    }

    #[test]
    fn the_less_busy_of_two_is_taken() {
        let route = route(Balance::LeastConn, 2);
        route.endpoints[0].endpoint.began();
        check(&route, &[], 100, &[0, 100]);
        fail(&route, 1);
        check(&route, &[], 100, &[100, 0]);
        check(&route, &[0], 100, &[0, 100]);
    }

    #[test]
    fn few_requests_under_way_stay_near_each_other() {
        let route = route(Balance::LeastConn, 10);
        for _ in 0..1_000 {
            route.endpoints[balanced(&route, &[]).unwrap()].endpoint.began();
        }
        let busiest = route.endpoints.iter().map(|place| place.endpoint.in_flight()).max().unwrap();
        assert!(busiest < 110, "{busiest} of 100 on average");
    }
}
