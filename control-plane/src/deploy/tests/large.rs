//! Blueprints as large as a request may be. What they cost grows with their size and not with its square, which would
//! keep these tests busy for many minutes.

use super::*;

/// So many of something, as the entries of a map or the items of a list.
fn many(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect::<Vec<_>>().join(", ")
}

/// Merges a blueprint twice, after which nothing follows anew.
fn world_of(text: &str) -> World {
    let mut world = World::default();
    let kept = check_kept(&blueprint(text), &world);
    assert_eq!(kept.0, [], "it can be kept");
    world.ask("shop", Action::Merge(Box::new(blueprint(text)))).unwrap();
    let stored = world.0.clone();
    world.ask_after("shop", Action::Apply(Box::new(blueprint(text))), &World(stored.clone())).unwrap();
    assert_eq!(world.gateway_names().len(), stored.keys().filter(|(kind, _)| *kind == Kind::Gateway).count());
    world
}

fn blueprint(text: &str) -> Blueprint {
    let read = read_as(text, Format::Json, Kind::Blueprint, Some("b")).unwrap().remove(0).artifact;
    let Artifact::Blueprint(blueprint) = read else { panic!("no blueprint") };
    blueprint
}

#[test]
fn values_of_very_many_variables_are_put_in_place() {
    const COUNT: usize = 10_000;
    let names = many(COUNT, |at| format!(r#""V{at}": null, "S{at}": null, "B{at}": "$C{at} $V{at}""#));
    let constants = many(COUNT, |at| format!(r#""C{at}": "c""#));
    let values = many(COUNT, |at| format!(r#""V{at}": "$web.constants.C{at}""#));
    let shared = many(COUNT, |at| format!(r#""web.S{at}": "s""#));
    let world = world_of(&format!(
        r#"{{"environment_variables": {{{shared}}}, "clusters": {{"web": {{
            "breed": {{"name": "w", "deployable": "i", "environment_variables": {{{names}}}, "constants": {{{constants}}}}},
            "environment_variables": {{{values}}}}}}}}}"#
    ));
    let environment = environment_of(&world, "web", "w").unwrap();
    let last = ["V", "S", "B"].map(|name| environment[&format!("{name}{}", COUNT - 1)].as_str());
    assert_eq!((environment.len(), last), (3 * COUNT, ["c", "s", "c c"]));
}

#[test]
fn a_long_value_does_not_multiply_without_bound() {
    let names = many(100, |at| format!(r#""V{at}": "$LONG""#));
    let long = "x".repeat(100_000);
    let world = world_of(&format!(
        r#"{{"clusters": {{"web": {{"breed": {{"name": "w", "deployable": "i", "environment_variables": {{"LONG": "{long}", {names}}}}}}}}}}}"#
    ));
    let refused = environment_of(&world, "web", "w").unwrap_err();
    assert!(refused.why.contains("all variables together"), "{}", refused.why);
}

#[test]
fn very_many_ports_have_their_gateways() {
    const COUNT: usize = 3_000;
    let ports = many(COUNT, |at| format!(r#""p{at}": "80/http""#));
    let check = r#""path": "/", "timeout": 1, "interval": 1, "failures": 1"#;
    let checks = many(COUNT, |at| format!(r#"{{"port": "p{at}", {check}}}"#));
    let world = world_of(&format!(
        r#"{{"clusters": {{"web": {{"breed": {{"name": "w", "deployable": "i", "ports": {{{ports}}}, "health_checks": [{checks}]}}}}}}}}"#
    ));
    assert_eq!(world.gateway_names().len(), COUNT);
}

#[test]
fn very_many_clusters_are_led_to_and_need_each_other() {
    const COUNT: usize = 3_000;
    let cluster = |at: usize| {
        // Half of them need all others.
        let (kind, needs) = if at.is_multiple_of(2) { ("a", r#", "dependencies": {"d": "b*"}"#) } else { ("b", "") };
        format!(r#""c{at}": {{"breed": {{"name": "{kind}{at}", "deployable": "i", "ports": {{"http": 80}}{needs}}}}}"#)
    };
    let routes = many(COUNT, |at| format!(r#""c{at}/http": {{"weight": "{}%"}}"#, if at == 0 { 100 } else { 0 }));
    let gateways = many(COUNT, |at| format!(r#""g{at}": {{"routes": {{"c{at}/http": {{}}}}}}"#));
    let world = world_of(&format!(
        r#"{{"gateways": {{"all": {{"routes": {{{routes}}}}}, {gateways}}}, "clusters": {{{}}}}}"#,
        many(COUNT, cluster)
    ));
    assert_eq!(world.gateway_names().len(), 2 * COUNT + 1);
}

#[test]
fn very_many_services_share_a_gateway() {
    const COUNT: usize = 4_000;
    let services =
        many(COUNT, |at| format!(r#"{{"breed": {{"name": "w{at}", "deployable": "i", "ports": {{"http": 80}}}}}}"#));
    let routes = many(COUNT, |at| format!(r#""w{at}": {{"weight": "{}%"}}"#, if at == 0 { 100 } else { 0 }));
    let world = world_of(&format!(
        r#"{{"clusters": {{"web": {{"gateways": {{"http": {{"routes": {{{routes}}}}}}}, "services": [{services}]}}}}}}"#
    ));
    assert_eq!(world.gateway("shop/web/http").routes.len(), COUNT);
}

#[test]
fn breeds_that_need_each_other_by_a_part_of_their_names_are_told_in_their_order() {
    let cluster = |name: &str, needs: &str| {
        format!("c{name}: {{breed: {{name: {name}, deployable: i, dependencies: {{d: '{needs}'}}}}}}")
    };
    for (clusters, circle) in [
        (vec![cluster("a", "b*"), cluster("b1", "c"), cluster("c", "a*")], "a → b1 → c → a"),
        (vec![cluster("a", "a*")], "a → a"),
        (vec![cluster("a", "b*"), cluster("b1", "b*")], "b1 → b1"),
    ] {
        World::default().refuses("shop", &format!("clusters: {{{}}}", clusters.join(", ")), circle);
    }
}
