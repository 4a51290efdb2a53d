//! A large table: what a change of one gateway must not touch. Counts, no times.

use std::sync::Arc;

use vamp_routing::wire::{Gateway, ManifestEntry, Share, Table, encode_gateway};
use vamp_routing::{CompiledTable, Entry, PlainHead};

use super::{Tickets, endpoint, gateway, route, table};

const GATEWAYS: u16 = 10_000;
const ROUTES: u16 = 4;

fn large() -> Table {
    let one = |number: u16| {
        let mut routes: Vec<_> =
            (0..ROUTES).map(|route_number| route(&format!("r{route_number}"), 10_000 / ROUTES)).collect();
        for route in &mut routes {
            route.target = vamp_routing::wire::Target::Endpoints(vec![endpoint(number), endpoint(number + 1)]);
        }
        let name = format!("g{number:05}");
        let virtual_hosts = vec![format!("{name}.example"), format!("*.{name}.example")];
        Gateway { port: Some(10_000 + number), virtual_hosts, ..gateway(&name, routes) }
    };
    table((0..GATEWAYS).map(one).collect())
}

#[test]
fn a_change_of_one_gateway_among_ten_thousand_makes_one_anew() {
    let mut published = large();
    let first = CompiledTable::compile(&published, None).unwrap();
    published.generation.revision += 1;
    published.gateways[4_711].routes[0].weight = Share(4_000);
    published.gateways[4_711].routes[1].weight = Share(1_000);
    let second = CompiledTable::compile(&published, Some(&first)).unwrap();
    let shared = first.gateways().iter().zip(second.gateways()).filter(|(old, new)| Arc::ptr_eq(old, new));
    assert_eq!(shared.count(), usize::from(GATEWAYS) - 1);
    assert_eq!(second.generation().revision, 2);
    assert!(second.is_found_like(&first), "nobody moved: ports and hosts are shared too");

    let mut routed = 0;
    for number in (0..GATEWAYS).step_by(97) {
        let wanted = second.find(&format!("g{number:05}"));
        assert!(wanted.is_some());
        assert_eq!(second.at_port(10_000 + number), wanted);
        for host in [format!("g{number:05}.example"), format!("WWW.g{number:05}.Example:8080")] {
            let head = PlainHead { host, ..PlainHead::default() };
            let decision = second.route(Entry::VirtualHosts, &head, &mut Tickets::new(&second)).unwrap();
            assert_eq!(Some(decision.chain.last().gateway), wanted);
            routed += 1;
        }
    }
    assert_eq!(routed, 208);
    assert_eq!([9_999, 20_000, 65_535].map(|port| second.at_port(port)), [None; 3]);
}

#[test]
fn of_a_table_that_a_manifest_names_only_new_values_are_asked_for() {
    let mut published = large();
    let first = CompiledTable::compile(&published, None).unwrap();
    let moved = &mut published.gateways[4_711];
    (moved.port, moved.virtual_hosts) = (Some(9_999), vec!["moved.example".to_owned()]);
    published.gateways.remove(17);
    published.gateways.push(gateway("new", vec![route("r", 10_000)]));
    let digests = published.gateways.iter().map(|value| encode_gateway(value).digest);
    let names = published.gateways.iter().map(|value| value.name.clone());
    let entries: Vec<_> = names.zip(digests).map(|(name, digest)| ManifestEntry { name, digest }).collect();
    let mut asked = Vec::new();
    let parts = first.parts(&entries, |entry| {
        asked.push(entry.name.clone());
        published.gateways.iter().find(|value| value.name == entry.name).cloned().ok_or(())
    });
    let second = CompiledTable::assemble(published.generation, parts.unwrap(), Some(&first)).unwrap();
    assert_eq!(asked, ["g04711", "new"]);

    // It is the table that it would be without the one before.
    let anew = CompiledTable::compile(&published, None).unwrap();
    assert!(!second.is_found_like(&first));
    for (taken, anew) in second.gateways().iter().zip(anew.gateways()) {
        assert_eq!((taken.to_wire(), taken.digest), (anew.to_wire(), anew.digest));
    }
    for port in [9_999, 10_017, 14_711, 10_018, 19_999] {
        assert_eq!(second.at_port(port), anew.at_port(port), "{port}");
    }
    for host in ["moved.example", "g04711.example", "g00017.example", "g09999.example", "new"] {
        let head = PlainHead { host: host.to_owned(), ..PlainHead::default() };
        let taken_by = |table: &CompiledTable| {
            let decision = table.route(Entry::VirtualHosts, &head, &mut Tickets::new(table));
            decision.map(|decision| decision.chain.last().gateway)
        };
        assert_eq!(taken_by(&second), taken_by(&anew), "{host}");
    }
}

#[test]
fn edits_keep_the_account_of_a_split_unless_its_shares_change() {
    let shop = || {
        let mut a = route("a", 9_000);
        a.condition = Some("path under /a".to_owned());
        a.condition_strength = Share(1_000);
        gateway("shop", vec![a, route("b", 1_000)])
    };
    let keys = |edit: &dyn Fn(&mut Gateway)| {
        let mut edited = shop();
        edit(&mut edited);
        let compiled = CompiledTable::compile(&table(vec![edited]), None).unwrap();
        compiled.gateways()[0].levels().iter().map(|level| level.key).collect::<Vec<_>>()
    };
    let before = keys(&|_| {});
    assert_eq!(before.len(), 2, "weights and one strength");
    let check = |claim: &str, edit: &dyn Fn(&mut Gateway), kept: [bool; 2]| {
        let after = keys(edit);
        let found: Vec<_> = before.iter().zip(&after).map(|(before, after)| before == after).collect();
        assert_eq!(found, kept, "{claim}");
    };
    check("endpoints", &|shop| shop.routes[0].target = vamp_routing::wire::Target::Endpoints(Vec::new()), [true, true]);
    check("conditions", &|shop| shop.routes[0].condition = Some("path under /b".to_owned()), [true, true]);
    check("ports", &|shop| shop.port = Some(80), [true, true]);
    check("strengths", &|shop| shop.routes[0].condition_strength = Share(1_001), [true, false]);
    check(
        "weights",
        &|shop| (shop.routes[0].weight, shop.routes[1].weight) = (Share(8_999), Share(1_001)),
        [false, true],
    );
    check("a new route", &|shop| shop.routes.push(route("c", 0)), [false, true]);
    check("another order", &|shop| shop.routes.reverse(), [false, true]);
    check("another gateway", &|shop| shop.name = "other".to_owned(), [false, false]);
}
