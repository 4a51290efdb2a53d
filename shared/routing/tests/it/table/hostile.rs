//! Input that nobody means: compile names what is wrong and never panics, and no cookie makes it decide wrongly.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use vamp_routing::wire::{Endpoint, Gateway, Rewrite, Route, Share, Sticky, Target};
use vamp_routing::{CompiledTable, CookiePlan, DecidedBy, Entry, Head, Problem};

use super::{Tickets, endpoint, gateway, route, table};

/// A head with any bytes in its `Cookie` field.
struct CookieHead(Vec<u8>);

impl Head for CookieHead {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn path(&self) -> &[u8] {
        b"/"
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn host(&self) -> &[u8] {
        b"shop"
    }

    fn source(&self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::LOCALHOST)
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        [(b"cookie".as_slice(), self.0.as_slice())].into_iter()
    }
}

fn sticky(sticky: Sticky) -> CompiledTable {
    let mut live = route("live", 5_000);
    live.target = Target::Endpoints(vec![endpoint(0), endpoint(1)]);
    let shop = Gateway { sticky, ..gateway("shop", vec![live, route("other", 5_000), route("off", 0)]) };
    CompiledTable::compile(&table(vec![shop]), None).unwrap()
}

/// Bytes that come close to a cookie of ours.
fn near_cookie() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"vamp_g-shop".to_vec()),
        Just(b"=".to_vec()),
        Just(b";".to_vec()),
        Just(b" ".to_vec()),
        Just(b"r-live".to_vec()),
        Just(b"r-off".to_vec()),
        Just(b".".to_vec()),
        Just(b"e-1".to_vec()),
        Just(b"\"".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("c/d"), Just(""), Just("\"]"), Just("é;")].prop_map(str::to_owned)
}

fn any_route() -> impl Strategy<Value = Route> {
    let share = prop_oneof![Just(0), Just(5_000), Just(10_000), any::<u16>()].prop_map(Share);
    let address = prop_oneof![Just("10.0.0.1:80"), Just("nowhere"), Just("")];
    let target = prop_oneof![
        name().prop_map(Target::Gateway),
        (name(), name(), address).prop_map(|(name, lookup, address)| Target::Endpoints(vec![Endpoint {
            name,
            lookup,
            address: address.to_owned()
        }])),
    ];
    let condition = proptest::option::of(prop_oneof![Just("path is /a"), Just("nonsense ((")]);
    let rewrite = prop_oneof![Just("/x%[path]"), Just("x y"), Just("%[url]")];
    (name(), name(), share.clone(), condition, share, proptest::option::of(rewrite), target).prop_map(
        |(name, lookup, weight, condition, condition_strength, rewrite, target)| {
            let rewrite = rewrite.map(|path| Rewrite { path: path.to_owned(), condition: "path is /a".to_owned() });
            let rewrites = rewrite.into_iter().collect();
            let condition = condition.map(str::to_owned);
            Route { lookup, condition, condition_strength, rewrites, target, ..route(&name, weight.0) }
        },
    )
}

fn any_gateway() -> impl Strategy<Value = Gateway> {
    let sticky = prop_oneof![Just(Sticky::None), Just(Sticky::Route), Just(Sticky::Instance)];
    let port = proptest::option::of(prop_oneof![Just(0_u16), Just(80), Just(65_535)]);
    let hosts = proptest::collection::vec(prop_oneof![Just("a"), Just("*.a"), Just("*"), Just("a:80"), Just("")], 0..3);
    (name(), name(), port, hosts, sticky, proptest::collection::vec(any_route(), 0..4)).prop_map(
        |(name, lookup, port, hosts, sticky, routes)| Gateway {
            lookup,
            port,
            virtual_hosts: hosts.into_iter().map(str::to_owned).collect(),
            sticky,
            ..gateway(&name, routes)
        },
    )
}

proptest! {
    #[test]
    fn no_cookie_leads_to_where_weights_would_not(bytes in near_cookie(), by_instance in any::<bool>()) {
        let table = sticky(if by_instance { Sticky::Instance } else { Sticky::Route });
        let decision = table.route(Entry::Gateway(0), &CookieHead(bytes), &mut Tickets::new(&table)).unwrap();
        let hop = decision.chain.last();
        let gateway = &table.gateways()[0];
        prop_assert!(gateway.routes[hop.route].wire.weight > Share::NONE);
        if hop.decided_by == DecidedBy::Cookie {
            prop_assert!(hop.cookie != CookiePlan::None);
        } else {
            prop_assert_eq!((hop.cookie, hop.instance), (CookiePlan::Set, None));
        }
    }

    #[test]
    fn a_cookie_as_set_is_a_cookie_that_keeps(
        route in 0..2_usize,
        endpoint in 0..2_usize,
        before in near_cookie(),
        by_instance in any::<bool>(),
    ) {
        let table = sticky(if by_instance { Sticky::Instance } else { Sticky::Route });
        let gateway = &table.gateways()[0];
        let endpoint = if route == 0 { endpoint } else { 0 };
        let value = gateway.cookie_value(route, Some(endpoint));
        let mut field = before;
        // Another cookie that names a route goes before: the first one counts.
        prop_assume!(!field.windows(5).any(|bytes| bytes == b"vamp_"));
        field.extend_from_slice(format!(";{}={value} ; x=y", gateway.cookie.as_ref().unwrap()).as_bytes());
        let decision = table.route(Entry::Gateway(0), &CookieHead(field), &mut Tickets::new(&table)).unwrap();
        let hop = decision.chain.last();
        prop_assert_eq!((hop.route, hop.decided_by, hop.cookie), (route, DecidedBy::Cookie, CookiePlan::Keep));
        prop_assert_eq!(hop.instance, by_instance.then_some(endpoint));
    }

    #[test]
    fn compile_is_total_and_says_the_same_twice(gateways in proptest::collection::vec(any_gateway(), 0..4)) {
        let table = table(gateways);
        let first = CompiledTable::compile(&table, None);
        let second = CompiledTable::compile(&table, first.as_ref().ok());
        match (first, second) {
            (Ok(first), Ok(second)) => {
                let keys = |table: &CompiledTable| {
                    let levels = |gateway: &std::sync::Arc<vamp_routing::CompiledGateway>| {
                        gateway.levels().iter().map(|level| level.key).collect::<Vec<_>>()
                    };
                    table.gateways().iter().map(levels).collect::<Vec<_>>()
                };
                prop_assert_eq!(keys(&first), keys(&second));
            }
            (Err(first), Err(second)) => {
                prop_assert!(!first.is_empty());
                prop_assert!(first.iter().all(|problem: &Problem| !problem.message.is_empty()));
                prop_assert_eq!(first, second);
            }
            _ => prop_assert!(false, "compiled once, and refused once"),
        }
    }
}
