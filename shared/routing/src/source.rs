//! Stickiness by the client's address, where there is no cookie: the same address always has the same route.
//!
//! Weighted rendezvous hashing: each route draws a lot for the address, exponential at the rate of its weight, and the
//! smallest lot has it. No memory is needed, and what a change of weights moves is what must move: only clients of the
//! routes that lose, where one route gains or loses to all others in proportion (as a new version or a drained one does);
//! at most twice that in any other change, which no rule without memory betters (Bavarian et al., "The Optimality of
//! Correlated Sampling", 2016). In whole numbers, so that every processor and process comes to the same.

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};

use crate::wire::{self, Share, Target};

/// What draws lots: a route, the strength of its condition, or an endpoint of it.
#[derive(Debug, Clone, Copy)]
struct Drawer(u64);

/// All that draws lots at one gateway.
#[derive(Debug)]
pub(crate) struct BySource {
    routes: Box<[Route]>,
}

#[derive(Debug)]
struct Route {
    weight: Share,
    itself: Drawer,
    strength: Drawer,
    /// Empty unless clients are kept on their endpoint.
    endpoints: Box<[Drawer]>,
}

impl BySource {
    /// Of a gateway that keeps clients on their route, or on their endpoint.
    pub(crate) fn new(gateway: &wire::Gateway) -> Self {
        let route = |route: &wire::Route| {
            let endpoints = match (&route.target, gateway.sticky) {
                (Target::Endpoints(endpoints), wire::Sticky::Instance) => endpoints.as_slice(),
                _ => &[],
            };
            Route {
                weight: route.weight,
                itself: Drawer::new(&[&gateway.name, "route", &route.name]),
                strength: Drawer::new(&[&gateway.name, "strength", &route.name]),
                // By its lookup alone: an endpoint keeps its clients when its route is renamed.
                endpoints: endpoints.iter().map(|endpoint| Drawer::new(&[&gateway.name, &endpoint.lookup])).collect(),
            }
        };
        Self { routes: gateway.routes.iter().map(route).collect() }
    }

    /// The route of a client, by the weights alone; `None`: none has weight.
    pub(crate) fn route(&self, source: IpAddr) -> Option<usize> {
        smallest(source, self.routes.iter().map(|route| (route.itself, route.weight)))
    }

    /// Whether a client is among those of whom a condition takes this share. A larger share takes them too.
    pub(crate) fn is_in(&self, route: usize, share: Share, source: IpAddr) -> bool {
        let Some(route) = self.routes.get(route) else { return false };
        let place = (u128::from(route.strength.hash(source)) * u128::from(Share::WHOLE.0)) >> 64;
        place < u128::from(share.0)
    }

    /// The endpoint of a client among those of its route that are up; `None`: there is none, or clients are not kept there.
    pub(crate) fn endpoint(&self, route: usize, source: IpAddr, is_up: impl Fn(usize) -> bool) -> Option<usize> {
        let endpoints = self.routes.get(route)?.endpoints.iter().enumerate();
        smallest(source, endpoints.map(|(index, drawer)| (*drawer, if is_up(index) { Share(1) } else { Share::NONE })))
    }
}

/// Whose lot is smallest, of those with weight.
fn smallest(source: IpAddr, drawers: impl Iterator<Item = (Drawer, Share)>) -> Option<usize> {
    let mut best: Option<(usize, u64, u64)> = None;
    for (index, (drawer, weight)) in drawers.enumerate() {
        let weight = u64::from(weight.0);
        if weight == 0 {
            continue;
        }
        let lot = minus_log2(drawer.hash(source));
        // `lot / weight`, compared without dividing: below 2³⁹ times below 2¹⁶.
        if best.is_none_or(|(_, best_lot, best_weight)| lot * best_weight < best_lot * weight) {
            best = Some((index, lot, weight));
        }
    }
    best.map(|(index, ..)| index)
}

impl Drawer {
    fn new(name: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in name {
            // The length first: no two lists of parts read the same.
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(digest.iter().take(8).fold(0, |seed, byte| seed << 8 | u64::from(*byte)))
    }

    /// Any number, the same for the same address.
    fn hash(self, source: IpAddr) -> u64 {
        let bits = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let [high, low] = [bits >> 64, bits & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or_default());
        mixed(mixed(self.0 ^ high) ^ low)
    }
}

/// The finalizer of `SplitMix64`, a bijection.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// −log₂ of a number between 0 and 1, which stands behind the point: 32 binary digits behind the point. Of numbers that
/// are all equally likely, it is exponential.
fn minus_log2(fraction: u64) -> u64 {
    // Above zero.
    let fraction = fraction | 1;
    let zeros = fraction.leading_zeros();
    // From 1 to below 2, with 63 digits behind the point: each squaring brings out one digit of its logarithm.
    let mut mantissa = u128::from(fraction << zeros);
    let mut log2 = 0_u64;
    for _ in 0..32 {
        mantissa = (mantissa * mantissa) >> 63;
        let digit = mantissa >> 64;
        mantissa >>= digit;
        log2 = (log2 << 1) | u64::from(digit == 1);
    }
    ((u64::from(zeros) + 1) << 32) - log2
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Endpoint, Sticky};

    /// Addresses that are asked for each table. Five standard deviations of a share of them are at most 0.025.
    const CLIENTS: u32 = 10_000;
    const NOISE: f64 = 0.025;

    fn gateway(weights: &[u16]) -> wire::Gateway {
        let route = |(index, weight): (usize, &u16)| wire::Route {
            name: format!("r{index}"),
            lookup: format!("l{index}"),
            weight: Share(*weight),
            condition: None,
            condition_strength: Share::WHOLE,
            balance: wire::Balance::default(),
            rewrites: Vec::new(),
            target: Target::Endpoints((0..4).map(endpoint).collect()),
        };
        wire::Gateway {
            name: "db".to_owned(),
            lookup: "db".to_owned(),
            port: Some(5_432),
            virtual_hosts: Vec::new(),
            sticky: Sticky::Instance,
            tcp: Some(wire::Tcp::default()),
            routes: weights.iter().enumerate().map(route).collect(),
        }
    }

    fn endpoint(number: u16) -> Endpoint {
        let address = format!("10.0.0.{number}:80");
        Endpoint { name: address.clone(), lookup: address.clone(), address }
    }

    fn clients() -> impl Iterator<Item = IpAddr> {
        (0..CLIENTS).map(|number| IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number)))
    }

    fn routes(weights: &[u16]) -> Vec<usize> {
        let by_source = BySource::new(&gateway(weights));
        clients().map(|client| by_source.route(client).unwrap()).collect()
    }

    fn share(count: usize) -> f64 {
        f64::from(u32::try_from(count).unwrap()) / f64::from(CLIENTS)
    }

    /// The share of clients that a change moves, and whence and whither they go.
    fn moved(before: &[u16], after: &[u16]) -> (f64, Vec<(usize, usize)>) {
        let (before, after) = (routes(before), routes(after));
        let moves: Vec<_> = before.into_iter().zip(after).filter(|(before, after)| before != after).collect();
        (share(moves.len()), moves)
    }

    /// The share that must move: half of what the weights differ by.
    fn needed(before: &[u16], after: &[u16]) -> f64 {
        let differ: u32 = before.iter().zip(after).map(|(before, after)| u32::from(before.abs_diff(*after))).sum();
        f64::from(differ) / 20_000.0
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "it is checked to six digits")]
    fn the_logarithm_is_one() {
        for fraction in [1, 2, 3, 1 << 20, 0x1234_5678_9abc_def1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX] {
            let wanted = 64.0 - ((fraction | 1) as f64).log2();
            let found = minus_log2(fraction) as f64 / 2_f64.powi(32);
            assert!((found - wanted).abs() < 1e-6, "{fraction}: {found}, not {wanted}");
        }
    }

    #[test]
    fn an_address_has_its_route_in_every_process_and_release() {
        let by_source = BySource::new(&gateway(&[5_000, 3_000, 2_000]));
        let of = |text: &str| {
            let source = text.parse().unwrap();
            (by_source.route(source).unwrap(), by_source.endpoint(0, source, |_| true).unwrap())
        };
        let all = ["10.0.0.1", "10.0.0.2", "192.0.2.7", "2001:db8::1", "2001:db8::2"].map(of);
        assert_eq!(all, RELEASED);
        let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
        assert_eq!(by_source.route(IpAddr::V6(mapped)), by_source.route("192.0.2.7".parse().unwrap()));
    }

    /// Never changed: it would move every client of every gateway.
    const RELEASED: [(usize, usize); 5] = [(0, 1), (0, 2), (0, 1), (1, 0), (0, 3)];

    #[test]
    fn a_route_that_gains_or_loses_to_all_moves_what_it_gains_or_loses() {
        for (before, after) in [
            (&[10_000, 0][..], &[9_000, 1_000][..]),
            (&[9_000, 1_000], &[5_000, 5_000]),
            (&[4_500, 4_500, 1_000], &[4_000, 4_000, 2_000]),
            (&[5_000, 3_000, 2_000], &[6_250, 3_750, 0]),
        ] {
            for (before, after) in [(before, after), (after, before)] {
                let (share, moves) = moved(before, after);
                assert!((share - needed(before, after)).abs() < NOISE, "{before:?} to {after:?}: {share}");
                let changed = before.len() - 1;
                assert!(moves.iter().all(|(from, to)| *from == changed || *to == changed), "{before:?} to {after:?}");
            }
        }
    }

    #[test]
    fn a_gateway_or_a_route_of_another_name_draws_other_lots() {
        let (one, mut other) = (gateway(&[5_000, 5_000]), gateway(&[5_000, 5_000]));
        other.name = "cache".to_owned();
        let (one, other) = (BySource::new(&one), BySource::new(&other));
        let same = clients().filter(|client| one.route(*client) == other.route(*client)).count();
        assert!((share(same) - 0.5).abs() < NOISE, "{same}");
    }

    #[test]
    fn addresses_of_one_network_are_spread() {
        let by_source = BySource::new(&gateway(&[5_000, 5_000]));
        let network =
            (0..CLIENTS).map(|number| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) + u128::from(number))));
        let first = network.filter(|client| by_source.route(*client) == Some(0)).count();
        assert!((share(first) - 0.5).abs() < NOISE, "{first}");
    }

    #[test]
    fn an_endpoint_that_goes_down_moves_its_own_clients_only_and_they_come_back() {
        let by_source = BySource::new(&gateway(&[10_000]));
        let mut counts = [0; 4];
        for client in clients() {
            let home = by_source.endpoint(0, client, |_| true).unwrap();
            counts[home] += 1;
            let elsewhere = by_source.endpoint(0, client, |endpoint| endpoint != 2).unwrap();
            assert!(elsewhere != 2 && (home == 2 || elsewhere == home), "{client}");
        }
        assert!(counts.iter().all(|count| (share(*count) - 0.25).abs() < NOISE), "{counts:?}");
        assert_eq!(by_source.endpoint(0, Ipv4Addr::LOCALHOST.into(), |_| false), None);
    }

    #[test]
    fn a_strength_takes_its_share_and_a_larger_one_takes_those_too() {
        let by_source = BySource::new(&gateway(&[10_000]));
        let of = |strength| clients().filter(|client| by_source.is_in(0, Share(strength), *client)).collect::<Vec<_>>();
        assert_eq!((of(0).len(), of(10_000).len()), (0, usize::try_from(CLIENTS).unwrap()));
        let (few, many) = (of(1_000), of(2_500));
        assert!((share(few.len()) - 0.1).abs() < NOISE && (share(many.len()) - 0.25).abs() < NOISE);
        assert!(few.iter().all(|client| many.contains(client)));
    }

    /// Shares of 1 to 6 routes that add up to the whole; some are 0.
    fn weights(count: usize) -> impl Strategy<Value = Vec<u16>> {
        proptest::collection::vec(prop_oneof![1 => Just(0_u16), 4 => 0..=10_000_u16], count - 1).prop_map(|mut cuts| {
            cuts.sort_unstable();
            let mut before = 0;
            let mut shares: Vec<_> = cuts.iter().map(|cut| cut - std::mem::replace(&mut before, *cut)).collect();
            shares.push(10_000 - before);
            shares
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn each_route_has_its_share_of_addresses_and_none_without_weight(weights in (1..=6_usize).prop_flat_map(weights)) {
            let routes = routes(&weights);
            for (route, weight) in weights.iter().enumerate() {
                let taken = share(routes.iter().filter(|taken| **taken == route).count());
                prop_assert!((taken - f64::from(*weight) / 10_000.0).abs() < NOISE, "{} has {}", route, taken);
                prop_assert!(*weight > 0 || taken == 0.0);
            }
        }

        #[test]
        fn no_change_moves_more_than_twice_what_it_must(
            (before, after) in (1..=6_usize).prop_flat_map(|count| (weights(count), weights(count))),
        ) {
            let needed = needed(&before, &after);
            let (moved, _) = moved(&before, &after);
            prop_assert!(moved >= needed - NOISE, "{} of {}", moved, needed);
            prop_assert!(moved <= 2.0 * needed / (1.0 + needed) + NOISE, "{} of {}", moved, needed);
        }
    }
}
