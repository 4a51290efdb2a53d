//! Breeds, blueprints and what belongs to them: what is read, what is refused and where, and that what is written is read
//! back.

use proptest::prelude::*;
use serde_json::{Value, json};
use vamp_model::{
    Artifact, Blueprint, Breed, BreedUse, EscalationBody, Format, Kind, Probe, Protocol, RoutePath, SlaRule, SlaUse,
    read, read_as, references, to_json, to_yaml,
};

use crate::schemas;

#[track_caller]
fn read_one(kind: Kind, text: &str) -> Artifact {
    schemas::check_text(kind, text);
    read_as(text, Format::Yaml, kind, Some("x")).unwrap().remove(0).artifact
}

fn breed(text: &str) -> Breed {
    match read_one(Kind::Breed, text) {
        Artifact::Breed(breed) => breed,
        other => panic!("{other:?} is no breed"),
    }
}

fn blueprint(text: &str) -> Blueprint {
    match read_one(Kind::Blueprint, text) {
        Artifact::Blueprint(blueprint) => blueprint,
        other => panic!("{other:?} is no blueprint"),
    }
}

/// One fault: its line, and a part of what is said.
#[track_caller]
fn check_refused(kind: Kind, text: &str, line: u32, part: &str) {
    let violations = read_as(text, Format::Yaml, kind, Some("x")).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{text}: {violations:#?}") };
    assert!(violation.line == Some(line) && violation.to_string().contains(part), "{text}: {violation:#?}");
}

#[test]
fn a_breed_says_what_it_needs_and_offers() {
    let breed = breed(
        r#"
deployable: acme/shop-web:2.3.1
ports: {web: 8080/HTTP, raw: 9000/tcp, plain: "7000"}
environment_variables:
  LOG_LEVEL: info
  DB[DATABASE_URL]: "postgres://$store.host:$store.ports.sql/shop"
  GREETING: ~
constants: {motd: hello}
arguments: {privileged: "true", volume: /a}
dependencies: {store: postgres:9, cache: {ref: redis}}
health_checks: {path: /health, port: web, initial_delay: 5s, timeout: 3, interval: 1m, failures: 3}
"#,
    );
    assert_eq!((breed.deployable.kind.as_deref(), breed.deployable.definition.as_str()), (None, "acme/shop-web:2.3.1"));
    let ports: Vec<_> = breed.ports.iter().map(|port| (port.name.as_str(), port.number, port.protocol)).collect();
    assert_eq!(ports, [("web", 8080, Protocol::Http), ("raw", 9000, Protocol::Tcp), ("plain", 7000, Protocol::Http)]);
    let names: Vec<_> = breed.environment.iter().map(|found| (found.name.as_str(), found.alias.as_deref())).collect();
    assert_eq!(names, [("LOG_LEVEL", None), ("DB", Some("DATABASE_URL")), ("GREETING", None)]);
    assert_eq!(breed.environment[2].value, None);
    assert_eq!(breed.dependencies[1].1.name(), "redis");
    let check = &breed.health_checks.unwrap()[0];
    assert_eq!((check.interval.0, check.timeout.0, check.initial_delay.0, check.failures), (60, 3, 5, 3));
    assert!(matches!(&check.probe, Probe::Http { path, tls: false, .. } if path == "/health"));
}

#[test]
fn deployables_have_short_names() {
    for (given, kind) in [("docker", "container/docker"), ("cmd", "command"), ("command", "command"), ("wasm", "wasm")]
    {
        let breed = breed(&format!("deployable: {{type: {given}, definition: run}}"));
        assert_eq!(breed.deployable.kind.as_deref(), Some(kind));
    }
}

#[test]
fn every_short_form_of_a_cluster_is_the_same_cluster() {
    let canonical = blueprint("clusters: {web: {services: [{breed: {reference: 'shop-web:1'}}]}}");
    for short in [
        "clusters: {web: 'shop-web:1'}",
        "clusters: {web: ['shop-web:1']}",
        "clusters: {web: {services: 'shop-web:1'}}",
        "clusters: {web: {services: {breed: 'shop-web:1'}}}",
        "clusters: {web: {services: [{ref: 'shop-web:1'}]}}",
        "clusters: {web: {breed: 'shop-web:1'}}",
        "clusters: {web: {reference: 'shop-web:1'}}",
    ] {
        assert_eq!(blueprint(short), canonical, "{short}");
    }
    let inline = blueprint("clusters: {web: {name: a, deployable: image, ports: {http: 80}}}");
    let service = &inline.body.clusters[0].services[0];
    assert_eq!((service.breed.name(), service.breed.inline().unwrap().ports.len()), ("a", 1));
    let own = blueprint("clusters: {web: {breed: a, network: host, health_checks: [], scale: small}}");
    let service = &own.body.clusters[0].services[0];
    assert_eq!((service.network.as_deref(), service.health_checks.as_ref().map(Vec::len)), (Some("host"), Some(0)));
}

#[test]
fn the_gateways_of_a_blueprint_have_short_forms() {
    let text = "
gateways:
  9050: web/http
  9051/tcp: db/sql
  admin: {port: 9060, sticky: route, routes: {web/http: {weight: 100%}}}
  other: web/http
clusters:
  web: {services: [a], gateways: {http: {routes: {a: {weight: 90%}}}}}
  db: b
";
    let body = blueprint(text).body;
    let gateways: Vec<_> = body.gateways.iter().map(|found| (found.key.as_str(), found.port, found.protocol)).collect();
    let expected = [
        ("9050", Some(9050), Protocol::Http),
        ("9051", Some(9051), Protocol::Tcp),
        ("admin", Some(9060), Protocol::Http),
        ("other", None, Protocol::Http),
    ];
    assert_eq!(gateways, expected);
    assert_eq!(body.gateways[0].body.routes[0].path, RoutePath::Gateway("web/http".to_owned()));
    let only = "clusters: {web: {services: [{name: a, deployable: i, ports: {http: 80}}], gateways: {sticky: route}}}";
    assert_eq!(blueprint(only).body.clusters[0].gateways[0].0, "http");
}

#[test]
fn variables_of_a_blueprint_are_named_in_full_or_for_short() {
    let text = |key: &str| format!("{{clusters: {{web: a}}, env: {{{key}: $web.host}}}}");
    let long = blueprint(&text("web.environment_variables.X"));
    assert_eq!(blueprint(&text("web.X")), long);
    assert_eq!(long.body.environment[0].name, "X");
}

#[test]
fn slas_and_escalations_are_read() {
    let text = "
clusters:
  web:
    services: [a]
    sla:
      type: response_time_sliding_window
      threshold: {upper: 800, lower: 100}
      window: {interval: 60, cooldown: 2m}
      escalations:
      - to_one:
        - {type: scale_instances, minimum: 1, maximum: 6, scale_by: 1}
        - {type: scale_cpu, minimum: 0.2, maximum: 2, scale_by: 0.2, target: web}
      - slow
";
    let body = blueprint(text).body;
    let Some(SlaUse::Inline(sla)) = &body.clusters[0].sla else { panic!("no SLA") };
    assert!(matches!(&sla.rule, SlaRule::Window { cooldown, .. } if cooldown.0 == 120), "{sla:?}");
    assert_eq!(sla.escalations.len(), 2);
    let Artifact::Escalation(group) = read_one(Kind::Escalation, "to_all: {escalations: [a, b]}") else { panic!() };
    assert!(matches!(group.body, EscalationBody::ToAll(inner) if inner.len() == 2));
    let Artifact::Sla(other) = read_one(Kind::Sla, "{type: own, limit: {a: [1]}}") else { panic!() };
    assert!(matches!(other.body.rule, SlaRule::Other { parameters, .. } if parameters["limit"]["a"][0] == 1));
}

#[test]
fn each_fault_of_a_breed_has_its_place_and_its_mend() {
    let check = |text: &str, line, part: &str| check_refused(Kind::Breed, text, line, part);
    check("ports: {web: 80}", 1, "has no deployable");
    check("deployable: i\nports: {web: ~}", 2, "port `web`");
    check("deployable: i\nports: {web: 80/udp}", 2, "write a number up to 65535");
    check("deployable: i\nports: {we.b: 80}", 2, "a name with a dot");
    check("deployable: i\nenv: {A: [1]}", 2, "variable `A` of breed `x` is a list");
    check("deployable: i\nenv: {A: '$db.ports.sql'}", 2, "there is no dependency `db`");
    check("deployable: i\nenv:\n  A: 'x $db.prt.sql'", 3, "nothing that a cluster has at character 3");
    check("deployable: i\nconstants: {A: ~}", 2, "constant `A`");
    check("deployable: i\narguments: {privileged: maybe}", 2, "write true or false");
    check("deployable: i\nhealth_checks: {port: web, timeout: 1, interval: 1, failures: 1}", 2, "asks port `web`");
    check("deployable: i\nports: {web: 80}\nhealth_checks: {port: web, timeout: 1, interval: 1}", 3, "has no failures");
    check(
        "deployable: i\nports: {web: 80}\nhealth_checks: {port: web, timeout: 0, interval: 1, failures: 1}",
        3,
        "at least 1 s",
    );
    check("deployable: i\ndependencies: {db: {ref: a, port: 1}}", 2, "has no field `port`");
    check("deployable: i\nport: {web: 80}", 2, "did you mean `ports`?");
    let inline = "deployable: i\ndependencies: {db: {name: d, deployable: i}}\nenv: {A: $db.ports.sql}";
    check(inline, 3, "breed `d` has no port `sql`");
    check("deployable: i\nenv: {'A[B]': $db.host}", 2, "there is no dependency `db`");
    check(
        "deployable: i\nenv: {P: 80}\nports: {web: $P}",
        3,
        "`$P`, and the number of a port is never taken from elsewhere",
    );
    check("deployable: i\nports: {web: '${a.ports.b}/tcp'}", 2, "write the number itself, or 0");
}

#[test]
fn each_fault_of_a_blueprint_is_named() {
    let check = |text: &str, part: &str| {
        let violations = read_as(text, Format::Yaml, Kind::Blueprint, Some("x")).unwrap_err();
        assert!(violations.len() == 1 && violations[0].to_string().contains(part), "{text}: {violations:#?}");
    };
    let inline = |extra: &str| {
        format!("clusters: {{web: {{services: [{{name: a, deployable: i, ports: {{http: 80}}}}]}}}}\n{extra}")
    };
    check("clusters: {web: []}", "has no service");
    check("clusters: {web: a, api: a}", "has the breed `a` in two services");
    check("clusters: {'a/b': a}", "has a `/`");
    check("clusters: {web: a}\ngateways: {9050: web}", "leads to no cluster");
    check("clusters: {web: a}\ngateways: {9050: api/http}", "there is no cluster `api`: it has web");
    check(&inline("gateways: {9050: web/htp}"), "has no port `htp`: it has http");
    check(
        "clusters: {web: a}\ngateways: {a: {port: 1, routes: web/x}, b: {port: 1, routes: web/x}}",
        "two gateways on port 1",
    );
    check(&inline("env: {web.X: 1}"), "no breed of cluster `web` reads it");
    check(&inline("env: {api.X: 1}"), "there is no cluster `api`");
    check("clusters: {web: {services: [a], gateways: {http: {routes: {b: {}}}}}}", "names none of its services");
    check("clusters: {web: {services: [a], gateways: {http: {port: 80}}}}", "has a port of its own");
    let two = "routes: {a: {weight: 70%}, b: {weight: 60%}}";
    check(&format!("clusters: {{web: {{services: [a, b], gateways: {{http: {{{two}}}}}}}}}"), "add up to 130%");
    check("clusters: {web: {services: [a], gateways: {sticky: route}}}", "name no port");
    check("clusters: {web: {breed: a, scale: {cpu: 1}}}", "has no memory");
    check("clusters: {web: {breed: a, scale: {cpu: 1, memory: 64}}}", "write 64MB if megabytes are meant");
    check("clusters: {web: {breed: a, env: {A: ~}}}", "has no value");
    check("clusters: {web: {breed: a, env: {A: $api.host}}}", "`$api.host` names no cluster");
    check("clusters: {web: {breed: a, dialects: {a: 1}, dialect: {b: 1}}}", "keep one of them");
    check(
        "{clusters: {web: {services: [a], gateways: {http: {selector: id(x)}}}}}",
        "routes that follow labels are not built",
    );
    check("cluster: {web: a}", "did you mean `clusters`?");
}

#[test]
fn a_blueprint_names_what_it_needs() {
    let text = "
gateways: {9050: {routes: {web/http: {condition: {reference: c}}}}}
clusters:
  web: {services: [{breed: a, scale: small}], sla: {ref: fast, escalations: [e]}}
";
    let artifact = Artifact::Blueprint(blueprint(text));
    let found: Vec<_> = references(&artifact).into_iter().map(|found| (found.kind, found.name)).collect();
    let expected = [
        (Kind::Condition, "c"),
        (Kind::Sla, "fast"),
        (Kind::Escalation, "e"),
        (Kind::Breed, "a"),
        (Kind::Scale, "small"),
    ];
    assert_eq!(found, expected.map(|(kind, name)| (kind, name.to_owned())));
}

#[test]
fn the_output_of_the_original_is_read_again() {
    let text = r#"
{"name": "shop", "kind": "deployments", "metadata": {}, "lookup_name": "x",
 "clusters": {"web": {
   "services": [{"status": {"intention": "Deployment", "since": "2019", "phase": {"name": "Done", "since": "2019"}},
     "breed": {"name": "a", "kind": "breeds", "deployable": {"definition": "i"}, "ports": {"http": "80/http"},
       "environment_variables": {"L": "info"}, "constants": {}, "arguments": [], "dependencies": {}},
     "environment_variables": {"L": "info"}, "scale": {"cpu": 0.2, "memory": "128.00MB", "instances": 2},
     "instances": [{"name": "n", "host": "10.0.0.7", "ports": {"http": 31001}, "deployed": true}],
     "arguments": [], "network": "BRIDGE", "dependencies": {"store": "db"}, "dialects": {},
     "health": {"staged": 0, "running": 2, "healthy": 2, "unhealthy": 0}}],
   "gateways": {"http": {"sticky": null, "virtual_hosts": [], "selector": null, "routes": {"a": {"weight": "100%"}}}},
   "dialects": {}}},
 "ports": {"web.http": "40000"}, "environment_variables": {"web.environment_variables.L": "info"},
 "hosts": {"web": "10.0.0.2"}, "dialects": {}}
"#;
    schemas::check_text(Kind::Deployment, text);
    let Artifact::Deployment(deployment) = read(text, Format::Json).unwrap().remove(0).artifact else { panic!() };
    assert_eq!(
        deployment.cluster("web").unwrap().service("a").unwrap().environment,
        [("L".to_owned(), "info".to_owned())]
    );
}

/// Documents of all kinds that only the deployable part of the product has, mostly sound.
fn document() -> impl Strategy<Value = Value> {
    let workflows = crate::workflows::documents().boxed();
    prop_oneof![
        breeds("x").boxed(),
        blueprints().boxed(),
        deployments().boxed(),
        scales().boxed(),
        escalations().boxed(),
        slas().boxed(),
        workflows,
    ]
}

fn checks() -> impl Strategy<Value = Value> {
    let probe = prop_oneof![
        Just(json!({"port": "web", "path": "/h?a=b"})),
        Just(json!({"protocol": "TCP", "port": "web"})),
        Just(json!({"command": "test -f /x"})),
    ];
    (probe, 0..100_u32, 1..9_u32).prop_map(|(mut check, time, count)| {
        let object = check.as_object_mut().unwrap();
        object.insert("initial_delay".into(), json!(time));
        object.insert("timeout".into(), json!(time + 1));
        object.insert("interval".into(), json!(format!("{count}m")));
        object.insert("failures".into(), json!(count));
        check
    })
}

fn breeds(name: &'static str) -> impl Strategy<Value = Value> {
    let deployable = prop_oneof![Just(json!("image:1")), Just(json!({"type": "cmd", "definition": "run -x '1'"}))];
    let checks = prop::option::of(prop::collection::vec(checks(), 0..3));
    let values = prop_oneof![Just(json!(null)), Just(json!("$$5 ${db.host}:$db.ports.sql")), Just(json!("yes"))];
    (deployable, checks, values, any::<bool>()).prop_map(move |(deployable, checks, value, short)| {
        let aliased = if short { "A" } else { "A[B]" };
        json!({
            "kind": "breeds", "name": name, "deployable": deployable, "health_checks": checks,
            "ports": {"web": "8080", "raw": "1/tcp"}, "environment_variables": {aliased: value, "C": 1},
            "constants": {"k": "v"}, "arguments": [{"a": "b"}, {"a": "c"}],
            "dependencies": {"db": if short { json!("postgres*") } else { json!({"name": "d", "deployable": "i", "ports": {"sql": 1}}) }},
        })
    })
}

fn scales() -> impl Strategy<Value = Value> {
    (0..100_000_u32, 0..1_000_000_u32, 0..1_000_u32).prop_map(|(milli, kib, instances)| {
        json!({"kind": "scales", "name": "x", "cpu": format!("{milli}m"), "memory": format!("{kib}Ki"), "instances": instances})
    })
}

fn escalation() -> impl Strategy<Value = Value> {
    let scale = (0..50_u32, 50..99_u32, 1..9_u32, any::<bool>()).prop_map(|(minimum, maximum, by, cpu)| {
        let kind = if cpu { "scale_cpu" } else { "scale_instances" };
        json!({"type": kind, "minimum": f64::from(minimum) / 4.0, "maximum": maximum, "scale_by": by})
    });
    let leaf = prop_oneof![scale, Just(json!("stored")), Just(json!({"type": "own", "x": [1, {"y": null}]}))];
    leaf.prop_recursive(2, 8, 3, |inner| {
        let several = prop::collection::vec(inner, 0..3);
        (several, any::<bool>()).prop_map(|(inner, all)| {
            if all { json!({"to_all": inner}) } else { json!({"type": "to_one", "escalations": inner}) }
        })
    })
}

fn escalations() -> impl Strategy<Value = Value> {
    escalation().prop_map(|escalation| match escalation {
        Value::Object(mut object) => {
            object.insert("kind".into(), json!("escalations"));
            object.insert("name".into(), json!("x"));
            Value::Object(object)
        }
        _ => json!({"kind": "escalations", "name": "x", "type": "own"}),
    })
}

fn sla() -> impl Strategy<Value = Value> {
    (0..100_u32, 100..1_000_u32, prop::collection::vec(escalation(), 0..3)).prop_map(|(lower, upper, escalations)| {
        json!({
            "type": "error_rate_sliding_window", "threshold": {"upper": upper, "lower": f64::from(lower) / 2.0},
            "window": {"interval": 60, "cooldown": "2m"}, "escalations": escalations,
        })
    })
}

fn slas() -> impl Strategy<Value = Value> {
    sla().prop_map(|mut sla| {
        let object = sla.as_object_mut().unwrap();
        object.insert("kind".into(), json!("slas"));
        object.insert("name".into(), json!("x"));
        sla
    })
}

fn blueprints() -> impl Strategy<Value = Value> {
    let weight = prop::option::of((0..=50_u8).prop_map(|weight| format!("{weight}%")));
    (breeds("a"), prop::option::of(sla()), weight, any::<bool>(), prop::option::of(checks())).prop_map(
        |(breed, sla, weight, named, checks)| {
            let gateways =
                if named { json!({"web": {"routes": {"a": {"weight": weight}, "b": {}}}}) } else { json!({}) };
            json!({
                "kind": "blueprints", "name": "x", "metadata": {"a": [1]},
                "gateways": {"9050": "api/web", "other": {"sticky": "instance", "routes": {"api/web": {}}}},
                "clusters": {
                    "api": {
                        "services": [
                            {"breed": breed, "scale": {"cpu": 0.2, "memory": "64MB"}, "network": "host"},
                            {"breed": {"reference": "b"}, "scale": "small", "environment_variables": {"X": "$db.host"}},
                        ],
                        "gateways": gateways, "sla": sla, "health_checks": checks, "metadata": {"m": null},
                        "dialects": {"Docker": {"A": 1}},
                    },
                    "db": "postgres*",
                },
                "environment_variables": {"db.X": "1"}, "dialects": {"docker": {}},
            })
        },
    )
}

/// Blueprints that were deployed.
fn deployments() -> impl Strategy<Value = Value> {
    blueprints().prop_map(|mut deployment| {
        deployment["kind"] = json!("deployments");
        deployment
    })
}

/// The same with what runs, as they are answered.
fn shown_deployments() -> impl Strategy<Value = Value> {
    deployments().prop_map(|mut deployment| {
        deployment["status"] = json!({"phase": {"name": "Done"}, "instances": {"wanted": 1, "ready": 1}});
        deployment["ports"] = json!({"api.web": "40000/http"});
        deployment["hosts"] = json!({"api": "127.0.0.1"});
        let service = &mut deployment["clusters"]["api"]["services"][0];
        service["status"] = json!({"intention": "Deployment", "phase": {"name": "Done"}});
        service["instances"] = json!([{"name": "a", "ports": {"web": 30_000}}]);
        service["health"] = json!({"healthy": 1});
        deployment
    })
}

/// What may stand in the place of anything.
fn instead() -> impl Strategy<Value = Value> {
    let texts =
        prop_oneof![Just("$"), Just("7"), Just("0.5"), Just("1s"), Just("64MB"), Just("10%"), Just("TCP"), Just("x/y")];
    let others = prop_oneof![
        Just(json!(null)),
        Just(json!([])),
        Just(json!({})),
        Just(json!(-1.5)),
        Just(json!(3)),
        Just(json!(true)),
        Just(json!(["x"])),
        Just(json!([{"x/y": null}])),
        Just(json!({"ref": "x"})),
        Just(json!({"name": "x", "deployable": "i"})),
        Just(json!({"type": "own", "x": 1})),
    ];
    prop_oneof![texts.prop_map(Value::from), others]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_written_is_read_back_as_the_same(document in prop_oneof![7 => document(), 1 => shown_deployments()]) {
        let artifact = read(&document.to_string(), Format::Json).unwrap().remove(0).artifact;
        schemas::check(artifact.kind(), &document);
        let written = to_json(&artifact);
        for (text, format) in [(written.to_string(), Format::Json), (to_yaml(&written), Format::Yaml)] {
            let read = read(&text, format).map(|mut documents| documents.remove(0).artifact);
            prop_assert_eq!(read.as_ref(), Ok(&artifact), "{}", text);
        }
    }

    /// A document in which something was cut out or replaced is read or refused, with a place in the text.
    #[test]
    fn a_spoiled_document_is_read_or_refused_with_its_place(
        document in document(),
        cut in any::<prop::sample::Index>(),
        instead in instead(),
    ) {
        let mut spoiled = document;
        let mut paths = Vec::new();
        collect(&spoiled, String::new(), &mut paths);
        let path = cut.get(&paths);
        if let Some(value) = spoiled.pointer_mut(path) {
            *value = instead;
        }
        match read(&spoiled.to_string(), Format::Json) {
            Err(violations) => {
                prop_assert!(violations.iter().all(|found| found.line.is_some() && !found.message.is_empty()));
            }
            Ok(documents) => schemas::check(documents[0].artifact.kind(), &spoiled),
        }
    }
}

fn collect(value: &Value, path: String, paths: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                collect(value, vamp_model::step(&path, key), paths);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{path}/{index}"), paths);
            }
        }
        _ => {}
    }
    paths.push(path);
}

#[test]
fn a_dependency_on_a_stored_breed_is_a_use_of_it() {
    let Artifact::Breed(breed) =
        read_one(Kind::Breed, "{deployable: i, dependencies: {a: b, c: {name: d, deployable: i}}}")
    else {
        panic!()
    };
    assert!(matches!(&breed.dependencies[0].1, BreedUse::Stored(name) if name == "b"));
    let found = references(&Artifact::Breed(breed));
    assert_eq!((found[0].name.as_str(), found[0].pointer.as_str(), found.len()), ("b", "/dependencies/a", 1));
}

/// What only shows when all parts are seen together is told where it stands, as its author spelled it.
#[test]
fn faults_between_parts_have_the_place_of_the_part() {
    let text = "\
name: x
gateways:
  9050: web/htp
  9051: {routes: {web/http: {weight: 100%}}, selector: 'label(a)(b)'}
clusters:
  web:
    services:
    - breed: {name: w1, deployable: w, ports: {http: 80}, environment_variables: {A: a}}
      env:
        B: b
    - breed: {name: w1, deployable: w, ports: {http: 80}}
    gateways:
      htpp: {routes: {w1: {weight: 10%}}}
      http:
        routes: {w2: {weight: 10%}}
  none: []
env:
  web.A: $gone.host
  gone.Q: q
";
    let violations = read_as(text, Format::Yaml, Kind::Blueprint, Some("x")).unwrap_err();
    let mut places: Vec<_> =
        violations.iter().map(|found| (found.line.unwrap(), found.column.unwrap(), found.pointer.as_str())).collect();
    places.sort_unstable();
    let expected = [
        (3, 3, "/gateways/9050"),
        (4, 56, "/gateways/9051/selector"),
        (10, 9, "/clusters/web/services/0/env/B"),
        (11, 7, "/clusters/web/services/1/breed"),
        (13, 7, "/clusters/web/gateways/htpp"),
        (15, 18, "/clusters/web/gateways/http/routes/w2"),
        (16, 3, "/clusters/none"),
        (18, 3, "/env/web.A"),
        (19, 3, "/env/gone.Q"),
    ];
    assert_eq!(places, expected, "{violations:#?}");
}
