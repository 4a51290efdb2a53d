//! Blueprints that are kept: what a deployment of nothing but them would refuse.

use super::*;

/// What is refused and what is warned of, each by a part of its text, the refused ones with their place.
#[track_caller]
fn check(text: &str, refused: &[(&str, &str)], warned: &[&str]) {
    let read = read_as(text, Format::Yaml, Kind::Blueprint, Some("b")).unwrap().remove(0).artifact;
    let Artifact::Blueprint(blueprint) = read else { panic!("no blueprint") };
    let (findings, warning) = check_kept(&blueprint, &World::new());
    let told: Vec<_> = findings.iter().map(|found| (&found.violation.pointer, found.violation.to_string())).collect();
    let is_told =
        |(told, (pointer, part)): (&(&String, String), &(&str, &str))| told.0 == pointer && told.1.contains(part);
    assert!(told.len() == refused.len() && told.iter().zip(refused).all(is_told), "{text}: {told:#?}");
    assert!(findings.iter().all(|found| !found.violation.hint.is_empty()), "each has its mend: {findings:#?}");
    let warning = warning.map(|warning| warning.message).unwrap_or_default();
    let lacks = warning.split_once("what it lacks: ").map_or(0, |(_, lacks)| lacks.split("; ").count());
    assert!(lacks == warned.len() && warned.iter().all(|part| warning.contains(part)), "{text}: {warning}");
}

#[test]
fn what_only_is_named_may_come_later() {
    check("clusters: {web: {breed: 'web:9', scale: big, sla: fast, env: {ANY: x}}}", &[], &[]);
    check("clusters: {web: {breed: 'web:9', sla: {type: escalation_only, escalations: [later]}}}", &[], &[]);
    let through = "clusters: {api: {breed: {name: a, deployable: i, dependencies: {w: 'web:9'}, env: {A: $w.ports.x, B: $w.env.Y}}}, web: 'web:9'}";
    check(through, &[], &[]);
    check("{gateways: {9050: web/any}, clusters: {web: 'web:9'}, env: {web.ANY: '$web.constants.any'}}", &[], &[]);
}

#[test]
fn what_a_running_deployment_may_have_is_warned_of() {
    check(SHOP, &[], &[]);
    check("clusters: {web: 'web:2'}", &[], &["variable `TOKEN` of breed `web:2` has no value"]);
    check("{clusters: {web: 'web:2'}, env: {web.TOKEN: x}}", &[], &[]);
    check("clusters: {web: 'web:1'}", &[], &["breed `web:1` depends on `store:9` (as `db`)"]);
    let part = "clusters: {store: {services: ['store:9'], gateways: {sql: {routes: {'store:9': {weight: 10%}}}}}}";
    check(part, &[], &["the weights of gateway `b/store/sql` add up to 10%"]);
    let many = (0..30).map(|number| format!("V{number}: ~")).collect::<Vec<_>>().join(", ");
    let many = format!("clusters: {{c: {{breed: {{name: c, deployable: i, env: {{{many}}}}}}}}}");
    check(&many, &[], &["V0`", "V1`", "V2`", "V3`", "V4`", "V5`", "V6`", "V7`", "V8`", "V9`", "and 20 more"]);
}

#[test]
fn what_no_deployment_can_have_is_refused_at_its_place() {
    let circle = "clusters: {a: {breed: {name: a, deployable: i, dependencies: {b: 'b*'}}}, b: {breed: {name: b2, deployable: i, dependencies: {a: a}}}, c: {breed: {name: c, deployable: i, dependencies: {a: a}}}}";
    check(circle, &[("/clusters/a/services/0/breed/dependencies", "in a circle: a → b2 → a: remove one")], &[]);
    let itself = "clusters: {c: {breed: {name: c, deployable: i, dependencies: {c: c}}}}";
    check(itself, &[("/clusters/c/services/0/breed/dependencies", "in a circle: c → c")], &[]);
    let alone = "clusters: {api: {breed: {name: a, deployable: i, dependencies: {db: 'store*'}, env: {A: $db.host}}}}";
    check(alone, &[("/clusters/api/services/0/breed/dependencies/db", "depends on `store*` (as `db`)")], &[]);
    let escalation =
        "{type: to_all, escalations: [{type: scale_instances, minimum: 1, maximum: 2, scale_by: 1, target: api}]}";
    let sla = format!(
        "clusters: {{store: {{breed: 'store:9', sla: {{type: escalation_only, escalations: [{escalation}]}}}}}}"
    );
    let target = "/clusters/store/sla/escalations/0/escalations/0/target";
    check(
        &sla,
        &[(target, "the SLA of cluster `store`: it scales the cluster `api`, which is not there: name a")],
        &[],
    );
    let checked =
        "clusters: {store: {breed: 'store:9', health_checks: {port: http, timeout: 1, interval: 1, failures: 1}}}";
    check(checked, &[("/clusters/store/services/0/health_checks", "asks port `http`")], &[]);
    let outer = "clusters: {store: 'store:9'}\ngateways: {1: {routes: {store/sql: {weight: 50%}}}}";
    check(outer, &[("/gateways/1", "add up to 50%")], &[]);
    let nowhere = "clusters: {store: {services: ['store:9'], gateways: {http: {}}}}\ngateways: {1: store/http}\nenv: {store.X: 1}";
    check(
        nowhere,
        &[
            ("/clusters/store/gateways/http", "a gateway for port `http`, which none of its services has"),
            ("/gateways/1/routes/store~1http", "cluster `store` has no port `http`: it has sql"),
            ("/environment_variables/store.environment_variables.X", "no breed of cluster `store` reads it"),
        ],
        &[],
    );
}

#[test]
fn values_that_nothing_can_make_are_refused_each_by_itself() {
    let of =
        |env: &str| format!("clusters: {{web: {{services: [{{breed: 'web:1', env: {{{env}}}}}]}}, store: 'store:9'}}");
    let at = "/clusters/web/services/0/environment_variables";
    let level = format!("{at}/LEVEL");
    check(&of("LEVELS: x"), &[(&format!("{at}/LEVELS"), "breed `web:1` has no variable `LEVELS`")], &[]);
    check(
        &of("LEVEL: '$store.ports.http $store.constants.scheme $store.env.X $nothing $$5 $store.host'"),
        &[
            (&level, "`$store.ports.http`: breed `store:9` has no port `http`: it has sql"),
            (&level, "`$store.constants.scheme`: breed `store:9` has no constant `scheme`: it has schema"),
            (&level, "`$store.env"),
            (&level, "`$nothing` is neither a variable nor a constant of breed `web:1`"),
        ],
        &[],
    );
    check(&of("LEVEL: '$store.constants.schema $store.ports.sql'"), &[], &[]);
    check(&of("LEVEL: '$LEVEL'"), &[(&level, "refers to itself: give one of the variables")], &[]);
    let of_breed = "clusters: {c: {breed: {name: c, deployable: i, env: {A: '$B', B: '$A', C: $D}}}}";
    let own = |name: &str| format!("/clusters/c/services/0/breed/environment_variables/{name}");
    check(
        of_breed,
        &[(&own("A"), "refers to itself"), (&own("B"), "refers to itself"), (&own("C"), "`$D` is neither")],
        &[],
    );
}

#[test]
fn values_are_bounded_in_what_they_follow_and_in_length() {
    let twice = |number: usize| format!("V{number}: '$V{0}$V{0}'", number + 1);
    let doubling = (0..14).map(twice).chain(["V14: x".to_owned()]).collect::<Vec<_>>().join(", ");
    let read = |env: &str| format!("clusters: {{c: {{breed: {{name: c, deployable: i, env: {{{env}}}}}}}}}");
    let text = read(&doubling);
    let document = read_as(&text, Format::Yaml, Kind::Blueprint, Some("b")).unwrap().remove(0).artifact;
    let Artifact::Blueprint(blueprint) = document else { panic!() };
    let (findings, _) = check_kept(&blueprint, &World::new());
    assert!(findings.iter().any(|found| found.violation.message.contains("more than 1000 references")), "{findings:?}");
    let long = "x".repeat(70_000);
    let text = read(&format!("A: '$B$B', B: {long}"));
    check(&text, &[("/clusters/c/services/0/breed/environment_variables/A", "longer than 131072 bytes")], &[]);
}

#[test]
fn a_merge_tells_all_of_it_at_once_and_where_it_was_said() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let text = "clusters: {api: 'api:1', web: {services: ['web:3', {breed: 'web:2', env: {GREETING: '$nothing'}}]}}";
    let Err(Refusal::Findings(findings)) = world.merge("shop", text) else { panic!("not refused") };
    let told: Vec<_> =
        findings.iter().map(|found| (found.violation.pointer.as_str(), found.violation.to_string())).collect();
    let expected = [
        ("/clusters/web/services/0/breed", "there is no breed `web:3`"),
        (
            "/clusters/web/services/1/breed/environment_variables/TOKEN",
            "variable `TOKEN` of breed `web:2` has no value",
        ),
        ("/clusters/web/services/1/environment_variables/GREETING", "`$nothing` is neither"),
        ("/clusters/api/services/0/breed", "there is no breed `api:1`"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for ((pointer, text), (at, part)) in told.iter().zip(expected) {
        assert!(*pointer == at && text.contains(part), "{told:#?}");
    }
}
