//! What every plan promises, over made-up pictures.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;
use vamp_model::{Artifact, Condition, Format, Gateway, Kind, Rewrite, Route, read, read_as};
use vamp_routing::wire::Target;

use super::{Finding, Picture, Plan, PlanSettings, plan};

#[derive(Debug, Clone, Default)]
struct Stored {
    gateways: Vec<Gateway>,
    routes: Vec<Route>,
    conditions: Vec<Condition>,
    rewrites: Vec<Rewrite>,
    instances: Vec<vamp_model::Instances>,
}

impl Stored {
    fn read(text: &str) -> Self {
        let mut stored = Self::default();
        for document in read(text, Format::Yaml).unwrap() {
            match document.artifact {
                Artifact::Gateway(gateway) => stored.gateways.push(gateway),
                Artifact::Route(route) => stored.routes.push(route),
                Artifact::Condition(condition) => stored.conditions.push(condition),
                Artifact::Rewrite(rewrite) => stored.rewrites.push(rewrite),
                other => panic!("{other:?} is not planned"),
            }
        }
        stored
    }

    fn plan(&self, ports: &BTreeMap<String, u16>, settings: &PlanSettings) -> Result<Plan, Vec<Finding>> {
        plan(&Picture {
            gateways: self.gateways.iter().collect(),
            routes: self.routes.iter().collect(),
            conditions: self.conditions.iter().collect(),
            rewrites: self.rewrites.iter().collect(),
            instances: self.instances.iter().collect(),
            assigned_ports: ports.clone(),
            kept: HashMap::new(),
            settings: settings.clone(),
        })
    }
}

fn settings() -> PlanSettings {
    PlanSettings { port_range: 20_000..=20_009, reserved_ports: vec![20_001, 1988], ..PlanSettings::default() }
}

#[track_caller]
fn check_refused(text: &str, expected: &[(&str, &str)]) {
    let findings = Stored::read(text).plan(&BTreeMap::new(), &settings()).unwrap_err();
    let found: Vec<(&str, &str)> =
        findings.iter().map(|found| (found.violation.pointer.as_str(), found.violation.message.as_str())).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((pointer, message), (expected_pointer, part)) in found.iter().zip(expected) {
        assert!(pointer == expected_pointer && message.contains(part), "{found:#?}");
    }
}

#[test]
fn routes_without_weight_share_the_rest_in_whole_percents_and_keep_their_order() {
    let cases: [(&[&str], &[u16]); 7] = [
        (&["", "", ""], &[3300, 3300, 3400]),
        (&["100%", ""], &[10_000, 0]),
        (&["", "100%"], &[0, 10_000]),
        (&["90%", ""], &[9000, 1000]),
        (&["0%", "0%"], &[0, 0]),
        (&["33.33%", "", "33.33%"], &[3333, 3334, 3333]),
        (&[""], &[10_000]),
    ];
    for (weights, expected) in cases {
        let routes = weights.iter().enumerate().map(|(index, weight)| {
            let weight = if weight.is_empty() { String::new() } else { format!("weight: {weight}") };
            format!("'[10.0.0.1:{}]': {{{weight}}}", 8000 + index)
        });
        let text = format!("{{kind: gateways, name: g, routes: {{{}}}}}", routes.collect::<Vec<_>>().join(", "));
        let plan = Stored::read(&text).plan(&BTreeMap::new(), &settings()).unwrap();
        let shares: Vec<u16> = plan.gateways[0].routes.iter().map(|route| route.weight.0).collect();
        assert_eq!(shares, expected, "{text}");
        assert_eq!(plan.warnings.len(), usize::from(expected.iter().all(|share| *share == 0)), "{:?}", plan.warnings);
    }
}

#[test]
fn weights_of_stored_routes_are_settled_here_and_refused_here() {
    let canary = "{kind: routes, name: canary, weight: 30%}";
    let with = |weight: &str| {
        format!(
            "- {canary}\n- {{kind: gateways, name: g, routes: {{'[10.0.0.1:1]': {{weight: {weight}}}, '[10.0.0.1:2]': canary}}}}"
        )
    };
    let plan = Stored::read(&with("70%")).plan(&BTreeMap::new(), &settings()).unwrap();
    assert_eq!(plan.gateways[0].routes[1].weight.0, 3000);
    check_refused(&with("60%"), &[("/routes", "add up to 90%")]);
}

#[test]
fn a_stored_rewrite_stands_in_every_route_that_names_it() {
    let text = "
- {kind: rewrites, name: short, path: '/new if path is /old'}
- {kind: routes, name: canary, rewrites: short}
- kind: gateways
  name: g
  routes: {'[10.0.0.1:1]': {rewrites: [{path: '/b if path is /a'}, short]}, '[10.0.0.2:1]': canary}
";
    let plan = Stored::read(text).plan(&BTreeMap::new(), &settings()).unwrap();
    let paths = |route: usize| plan.gateways[0].routes[route].rewrites.iter().map(|found| found.path.as_str());
    assert_eq!((paths(0).collect::<Vec<_>>(), paths(1).collect::<Vec<_>>()), (vec!["/b", "/new"], vec!["/new"]));
    let missing = "{kind: gateways, name: g, routes: {'[10.0.0.1:1]': {rewrites: [nowhere]}}}";
    check_refused(missing, &[("/routes/[10.0.0.1:1]/rewrites/0", "the rewrite `nowhere`, which does not exist")]);
}

#[test]
fn a_port_has_one_owner_and_the_product_keeps_its_own() {
    let gateway = |name: &str, port: &str| format!("- {{kind: gateways, name: {name}, port: {port}, routes: {{}}}}\n");
    check_refused(&[gateway("a", "9050"), gateway("b", "9050")].concat(), &[("/port", "belongs to gateway `a`")]);
    check_refused(&gateway("a", "1988"), &[("/port", "which the product itself uses")]);
    let owner = Stored::read(&[gateway("a", "9050"), gateway("b", "9050")].concat());
    let findings = owner.plan(&BTreeMap::from([("b".to_owned(), 9050)]), &settings()).unwrap_err();
    assert_eq!(findings[0].name, "a", "who has it already keeps it");
    let many: String = (0..12).map(|index| gateway(&format!("g{index:02}"), "0")).collect();
    let findings = Stored::read(&many).plan(&BTreeMap::new(), &settings()).unwrap_err();
    assert_eq!(findings.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["g09", "g10", "g11"]);
}

#[test]
fn a_virtual_host_has_one_owner() {
    let text = "
- {kind: gateways, name: a, virtual_hosts: [shop.example], routes: {}}
- {kind: gateways, name: b, virtual_hosts: [SHOP.example, a.vamp], routes: {}}
- {kind: gateways, name: shop/9050, routes: {}}
";
    check_refused(
        text,
        &[("/virtual_hosts", "`shop.example`, which belongs to gateway `a`"), ("/virtual_hosts", "`a.vamp`")],
    );
    let plan = Stored::read("{kind: gateways, name: 'sava:1.0/sava/web', routes: {}}");
    let plan = plan.plan(&BTreeMap::new(), &settings()).unwrap();
    assert_eq!(plan.gateways[0].virtual_hosts, ["web.sava.sava-1-0.vamp"]);
}

#[test]
fn targets_that_no_route_should_lead_to_are_refused_and_can_be_opened() {
    let own = PlanSettings { own_addresses: vec!["0.0.0.0:8080".parse().unwrap()], ..settings() };
    let open = PlanSettings { allowed_targets: vec!["169.254.0.0/16".parse().unwrap()], ..settings() };
    let check = |address: &str, settings: &PlanSettings, allowed: bool| {
        let text = format!("{{kind: gateways, name: g, routes: {{'[{address}]': {{}}}}}}");
        let result = Stored::read(&text).plan(&BTreeMap::new(), settings);
        assert_eq!(result.is_ok(), allowed, "{address}: {result:?}");
    };
    for address in ["127.0.0.1:81", "10.1.2.3:80", "192.168.0.1:80", "app.internal:80", "[::1]:81", "127.0.0.1:8081"] {
        check(address, &own, true);
    }
    for address in ["169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "0.0.0.0:80"] {
        check(address, &own, false);
    }
    for address in ["metadata.google.internal:80", "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "224.0.0.1:80"] {
        check(address, &own, false);
    }
    for mapped in ["[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80"] {
        check(mapped, &own, false);
    }
    check("169.254.169.254:80", &open, true);
}

#[test]
fn an_overlap_with_the_ephemeral_ports_is_warned_of() {
    let overlapping = |first, last| PlanSettings { ephemeral_ports: Some(first..=last), ..settings() };
    let warnings = |settings: &PlanSettings| Stored::default().plan(&BTreeMap::new(), settings).unwrap().warnings.len();
    assert_eq!(warnings(&overlapping(32_768, 60_999)), 0);
    assert_eq!(warnings(&overlapping(20_009, 60_999)), 1);
    assert_eq!(warnings(&overlapping(1024, 20_000)), 1);
}

/// A picture of a few gateways that refer to each other, to routes and to conditions, mostly soundly.
fn picture() -> impl Strategy<Value = Stored> {
    let route = (0..6_usize, prop::option::of(0..4_usize), prop::option::of(0..101_u16));
    let gateway = (prop::option::of(9000..9004_u16), prop::collection::vec(route, 0..4));
    prop::collection::vec(gateway, 0..6).prop_map(|gateways| {
        let mut stored = Stored::read(
            "
- {kind: conditions, name: c0, condition: method is GET}
- {kind: routes, name: r0, weight: 10%, condition: {reference: c0}}
- {kind: routes, name: r1, condition: path under /a, condition_strength: 25%}
- {kind: routes, name: r2}
",
        );
        for (index, (port, routes)) in gateways.into_iter().enumerate() {
            let routes = routes.into_iter().map(|(to, reference, weight)| {
                let path = if to < 2 { format!("g{to}") } else { format!("[10.0.0.{to}:80]") };
                let weight = weight.map(|weight| format!("{weight}%"));
                let content = match reference {
                    Some(reference) => serde_json::json!({"reference": format!("r{reference}"), "weight": weight}),
                    None => serde_json::json!({"weight": weight}),
                };
                (path, content)
            });
            let routes: serde_json::Map<String, serde_json::Value> = routes.collect();
            let text = serde_json::json!({"name": format!("g{index}"), "port": port, "routes": routes}).to_string();
            // What a document alone is refused for never comes to the planner.
            let documents = read_as(&text, Format::Json, Kind::Gateway, None).unwrap_or_default();
            stored.gateways.extend(documents.into_iter().filter_map(|document| match document.artifact {
                Artifact::Gateway(gateway) => Some(gateway),
                _ => None,
            }));
        }
        stored
    })
}

fn shuffled(stored: &Stored) -> impl Strategy<Value = Stored> + use<> {
    let (gateways, routes) = (Just(stored.gateways.clone()).prop_shuffle(), Just(stored.routes.clone()).prop_shuffle());
    let conditions = stored.conditions.clone();
    (gateways, routes).prop_map(move |(gateways, routes)| Stored {
        gateways,
        routes,
        conditions: conditions.clone(),
        rewrites: Vec::new(),
        instances: Vec::new(),
    })
}

/// A plan, or its findings in an order that does not depend on that of the picture.
fn outcome(stored: &Stored, ports: &BTreeMap<String, u16>) -> Result<Plan, Vec<String>> {
    stored.plan(ports, &settings()).map_err(|findings| {
        let mut texts: Vec<String> = findings.iter().map(|found| format!("{found:?}")).collect();
        texts.sort();
        texts
    })
}

proptest! {
    #[test]
    fn the_order_of_a_picture_does_not_matter((stored, other) in picture().prop_flat_map(|stored| (Just(stored.clone()), shuffled(&stored)))) {
        let none = BTreeMap::new();
        prop_assert_eq!(outcome(&stored, &none), outcome(&other, &none));
    }

    #[test]
    fn a_plan_made_with_the_ports_of_a_plan_is_that_plan(stored in picture()) {
        if let Ok(first) = outcome(&stored, &BTreeMap::new()) {
            prop_assert_eq!(outcome(&stored, &first.assigned_ports), Ok(first));
        }
    }

    #[test]
    fn every_plan_is_whole(stored in picture()) {
        let Ok(plan) = outcome(&stored, &BTreeMap::new()) else { return Ok(()) };
        let names: Vec<&str> = plan.gateways.iter().map(|gateway| gateway.name.as_str()).collect();
        prop_assert!(names.is_sorted());
        prop_assert_eq!(names.len(), stored.gateways.len());
        let ports: HashSet<u16> = plan.gateways.iter().filter_map(|gateway| gateway.port).collect();
        prop_assert_eq!(ports.len(), names.len(), "each gateway has a port of its own");
        for gateway in &plan.gateways {
            let sum: u32 = gateway.routes.iter().map(|route| u32::from(route.weight.0)).sum();
            prop_assert!(gateway.routes.is_empty() || sum == 0 || sum == 10_000, "{gateway:?}");
            for route in &gateway.routes {
                if let Target::Gateway(target) = &route.target {
                    prop_assert!(names.contains(&target.as_str()));
                }
            }
        }
    }
}

#[test]
fn a_route_whose_service_is_new_leaves_its_share_to_the_others_until_it_has_an_instance() {
    let plan = |routes: &str, running: &[&str]| {
        let mut stored = Stored::read(&format!("{{kind: gateways, name: s/c/p, routes: {{{routes}}}}}"));
        stored.instances.extend(running.iter().map(|service| vamp_model::Instances {
            name: format!("s/c/{service}"),
            instances: vec![vamp_model::Instance {
                name: (*service).to_owned(),
                ports: vec![("p".to_owned(), "10.0.0.1:1".to_owned())],
            }],
        }));
        let plan = stored.plan(&BTreeMap::new(), &settings()).unwrap();
        let routes = plan.gateways[0].routes.iter();
        let warnings: Vec<String> = plan.warnings.into_iter().map(|warning| warning.message).collect();
        (routes.map(|route| (route.weight.0 / 100, route.condition.is_some())).collect::<Vec<_>>(), warnings.join("; "))
    };
    let three = "s/c/a/p: {weight: 60%}, s/c/b/p: {weight: 20%}, s/c/d/p: {weight: 20%, condition: path is /d}";
    let (all, warnings) = plan(three, &["a", "b", "d"]);
    assert_eq!((all, warnings), (vec![(60, false), (20, false), (20, true)], String::new()));
    let (some, warnings) = plan(three, &["a", "b"]);
    assert_eq!(some, [(75, false), (25, false), (0, false)]);
    assert!(warnings.contains("behind route `s/c/d/p`") && warnings.contains("the others get"), "{warnings}");
    // While nothing runs yet nobody is told, and nothing is moved.
    let (none, warnings) = plan(three, &[]);
    assert_eq!((none, warnings), (vec![(60, false), (20, false), (20, true)], String::new()));
    // What weighs nothing gets nothing.
    let (moved, warnings) = plan("s/c/a/p: {weight: 0%}, s/c/b/p: {weight: 100%}", &["a"]);
    assert_eq!(moved, [(0, false), (100, false)]);
    assert!(warnings.contains("behind route `s/c/b/p`") && warnings.contains("fails until"), "{warnings}");
    // A share whose instances are gone falls to nobody else.
    let mut gone = Stored::read(&format!("{{kind: gateways, name: s/c/p, routes: {{{three}}}}}"));
    gone.instances.extend(
        ["a", "b", "d"].map(|service| vamp_model::Instances { name: format!("s/c/{service}"), instances: Vec::new() }),
    );
    let gone = gone.plan(&BTreeMap::new(), &settings()).unwrap();
    assert_eq!(gone.gateways[0].routes.iter().map(|route| route.weight.0 / 100).collect::<Vec<_>>(), [60, 20, 20]);
    assert_eq!(gone.warnings, []);
    // Addresses and other gateways are always there.
    let (mixed, _) = plan("s/c/a/p: {weight: 50%}, '[10.0.0.9:1]': {weight: 50%}", &[]);
    assert_eq!(mixed, [(0, false), (100, false)]);
}
