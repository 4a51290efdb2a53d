//! What is wrong in one part of a document hides nothing of the others, and brings no false alarm with it.

use vamp_model::{Format, Kind, Violation, read, read_as};

/// Exactly these violations, by a part of each, in their order.
#[track_caller]
fn check(kind: Kind, text: &str, parts: &[&str]) {
    let violations = read_as(text, Format::Yaml, kind, Some("x")).unwrap_err();
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let are_these = told.len() == parts.len() && told.iter().zip(parts).all(|(told, part)| told.contains(part));
    assert!(are_these, "{text}: {told:#?}");
    assert!(violations.iter().all(|violation| violation.line.is_some() && !violation.hint.is_empty()), "{told:#?}");
}

#[test]
fn a_document_without_name_is_checked_all_the_same() {
    let violations = read("{kind: gateways, port: x, sticky: y}", Format::Yaml).unwrap_err();
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.len() == 3 && told[0].contains("the gateway has no name"), "{told:#?}");
    assert!(told[1].contains("the gateway has the port `x`") && told[2].contains("is sticky by `y`"), "{told:#?}");
    let violations = read("{kind: breeds, name: [a], ports: {a: b}}", Format::Yaml).unwrap_err();
    let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
    assert!(told.len() == 3 && told[0].contains("the name of the breed is a list"), "{told:#?}");
    assert!(told[1].contains("has no deployable") && told[2].contains("port `a` of the breed"), "{told:#?}");
}

#[test]
fn of_a_breed_all_parts_are_told() {
    check(
        Kind::Breed,
        "env: {A: $db.host, B: $c.host}",
        &["has no deployable", "no dependency `db`", "no dependency `c`"],
    );
    let asked = "deployable: i\nports: {web: 80/udp}\nhealth_checks: {port: web, timeout: 1, interval: 1, failures: 1}";
    check(Kind::Breed, asked, &["port `web` of breed `x` is `80/udp`"]);
    let dependency = "deployable: i\ndependencies: {db: [a]}\nenv: {A: $db.host, B: $other.host}";
    check(Kind::Breed, dependency, &["dependency `db` of breed `x` is a list", "no dependency `other`"]);
    let inner = "deployable: i\ndependencies: {db: {name: d, ports: {sql: x}}}\nenv: {A: $db.ports.sql}";
    check(Kind::Breed, inner, &["breed `d` has no deployable", "port `sql` of breed `d` is `x`"]);
}

#[test]
fn a_number_that_is_no_port_is_no_name_of_a_gateway() {
    let no_port = ["gateway `70000` of blueprint `x` has a key that is no port", "gateway `-5` of blueprint `x` has"];
    check(Kind::Blueprint, "gateways: {70000: w/http, '-5': w/http, 7a: w/http}\nclusters: {w: a}", &no_port);
}

#[test]
fn a_cluster_that_can_not_be_read_hides_no_other() {
    let text = "
gateways: {9050: web/http, 9060: api/http, 9070: nowhere/http}
clusters:
  web: {services: [{name: w, ports: {http: x}}], gateways: {http: {routes: {w: {}, v: {}}}}}
  api:
    services: [{breed: a, scale: {cpu: 1}}, {breed: {deployable: i}}, [b]]
    gateways: {http: {routes: {c: {condition: '(('}}}}
    sla: {threshold: {}, escalations: [{type: scale_instances}]}
  db: {services: [{breed: d, env: {A: $web.ports.http, B: $gone.host}}]}
env: {web.ANY: 1, gone.X: 1}
";
    check(
        Kind::Blueprint,
        text,
        &[
            "breed `w` has no deployable",
            "port `http` of breed `w` is `x`",
            "the condition of route `c`",
            "the SLA of cluster `api` of blueprint `x` has no type",
            "has no minimum",
            "has no maximum",
            "has no scale_by",
            "has no memory",
            "the breed of service 2 of cluster `api` of blueprint `x` has no name",
            "service 3 of cluster `api` of blueprint `x` is a list",
            "cluster `web` of blueprint `x`: the route `v` names none of its services",
            "there is no cluster `nowhere`",
            "there is no cluster `gone`",
            "`$gone.host` names no cluster",
        ],
    );
    check(Kind::Blueprint, "clusters: [a]\ngateways: {9050: web/http}", &["the clusters of blueprint `x` are a list"]);
    let only = "clusters: {web: {name: w, deployable: i, ports: {http: x}, gateways: {sticky: route}}}";
    check(Kind::Blueprint, only, &["port `http` of breed `w` is `x`"]);
}

#[test]
fn a_route_that_can_not_be_read_hides_no_weights() {
    let text = "routes: {'[h:1]': {weight: 60%, condition: '(('}, '[h:2]': {weight: 30%}}";
    check(Kind::Gateway, text, &["the condition of route `[h:1]`", "add up to 90%"]);
    check(Kind::Gateway, "routes: {'[h:1]': {weight: 60}, '[h:2]': {weight: 30%}}", &["write \"60%\""]);
    check(Kind::Gateway, "routes: {'[h': {}, '[h:2]': {weight: 30%}, '[h:3]': {weight: 30%}}", &["gateway `x`"]);
}

#[test]
fn scales_promises_and_workflows_are_told_whole() {
    check(Kind::Scale, "{instances: [], cpu: x}", &["has no memory", "the instances of", "the cpu of"]);
    let sla = "{type: cpu_sliding_window, threshold: {upper: x}, window: {interval: 0}}";
    let sla = sla.replace("cpu_sliding_window", "response_time_sliding_window");
    check(Kind::Sla, &sla, &["the upper of", "has no lower", "has no cooldown", "has no length"]);
    let no_threshold = "{type: response_time_sliding_window, window: {interval: 0, cooldown: 1}}";
    check(Kind::Sla, no_threshold, &["has no threshold", "has no length"]);
    let workflow = "breed: {name: b, deployable: i}\nenv: {A: $c.host}\nschedule: {event: [[], ' ']}";
    let told = ["a tag of the schedule", "has an empty tag", "sets the variable `A`", "a workflow has no clusters"];
    check(Kind::Workflow, workflow, &[&told[..2], &["waits"][..0], &told[2..]].concat());
}

#[test]
fn what_is_found_later_stands_where_its_author_wrote_it() {
    let text = "clusters:\n  web:\n    name: w\n    deployable: i\n    env: {'URL[A]': x}\n  api:\n    services: a\nenv:\n  web.URL: y\n";
    let document = read_as(text, Format::Yaml, Kind::Blueprint, Some("x")).unwrap().remove(0);
    for (pointer, line, spelled) in [
        ("/clusters/web/services/0/breed/environment_variables/URL", 5, "/clusters/web/env/URL[A]"),
        ("/clusters/api/services/0/breed", 7, "/clusters/api/services"),
        ("/environment_variables/web.environment_variables.URL", 9, "/env/web.URL"),
        ("/clusters/db", 2, "/clusters"),
        ("", 1, ""),
    ] {
        let located = document.locate(vec![Violation::new(pointer, "m", "h")]).remove(0);
        assert_eq!((located.line, located.pointer.as_str()), (Some(line), spelled), "{pointer}");
    }
}
