//! The conformance vectors of the original that concern documents, in its own order. Those of the API stand with the
//! control plane.
//!
//! Not carried over: the two ids of ACLs, which name lines of a HAProxy configuration, and there is none. Decided otherwise:
//! `StickyPortTypeError`, since TCP gateways keep clients by their addresses (`ports_and_paths`).

use serde_json::{Value, json};
use vamp_model::host::generated_virtual_host;
use vamp_model::unit::{Cpu, Memory, Seconds};
use vamp_model::value::{Part, ValueReference, parse};
use vamp_model::{Artifact, Format, Kind, RoutePath, Schedule, lookup, percent, read_as, to_json, weights};

use crate::schemas;

#[track_caller]
fn shown(kind: Kind, text: &str) -> Value {
    schemas::check_text(kind, text);
    to_json(&read_as(text, Format::Yaml, kind, Some("x")).unwrap().remove(0).artifact)
}

#[track_caller]
fn refused(kind: Kind, text: &str, part: &str) {
    let violations = read_as(text, Format::Yaml, kind, Some("x")).unwrap_err();
    assert!(violations.iter().any(|found| found.to_string().contains(part)), "{text}: {violations:#?}");
}

#[test]
fn lookup_names_and_virtual_hosts() {
    assert_eq!(lookup::gateway("sava_gateway"), "ebcec0d294fc399c5ee972c43a854e3b643d5ece");
    let route = lookup::route("sava:1.0/sava/web", "sava:1.0/sava/sava:1.0/web");
    assert_eq!(route, "1f2c9bf68395805af6ecd4c389c061dfdd24d62d");
    let deployment = read_as("{clusters: {}}", Format::Yaml, Kind::Deployment, Some("sava")).unwrap().remove(0);
    assert_eq!(to_json(&deployment.artifact)["lookup_name"], "b745761242ab5566a44b556e62764beed46fa8de");
    assert_eq!(generated_virtual_host("sava:1.0/sava/web", "vamp"), "web.sava.sava-1-0.vamp");
    assert_eq!(generated_virtual_host("shop/9050", "vamp"), "9050.shop.vamp");
}

#[test]
fn units() {
    for (text, bytes) in [("512MB", 512_000_000), ("1GB", 1_000_000_000), ("500K", 500_000)] {
        assert_eq!(Memory::parse(text), Some(Memory(bytes)), "{text}");
    }
    assert_eq!((Cpu::parse("250m"), Seconds::parse("1m")), (Some(Cpu(250)), Some(Seconds(60))));
    assert_eq!(shown(Kind::Scale, "{cpu: 1, memory: 512MB}")["memory"], "512.00MB");
    refused(Kind::Scale, "{cpu: 1, memory: 512}", "write 512MB if megabytes are meant");
    refused(Kind::Route, "{weight: 50}", "write \"50%\"");
    // The original refuses it, and takes the rest of the binary units for something else.
    assert_eq!(Memory::parse("1Gi"), Some(Memory(1 << 30)));
}

#[test]
fn weights_and_strength() {
    let share_out = |given: &[Option<&str>]| {
        let given: Vec<_> = given.iter().map(|weight| weight.and_then(percent::parse)).collect();
        weights::share_out(&given).map(|shares| shares.into_iter().map(percent::format).collect::<Vec<_>>())
    };
    assert_eq!(share_out(&[None, None, None]).unwrap(), ["33%", "33%", "34%"]);
    // The order of routes stays, where the original puts those without weight first.
    assert_eq!(share_out(&[Some("100%"), None]).unwrap(), ["100%", "0%"]);
    assert_eq!(share_out(&[Some("0%"), Some("0%")]).unwrap(), ["0%", "0%"]);
    assert!(share_out(&[Some("60%"), Some("30%")]).is_err());
    refused(Kind::Gateway, "{routes: {'[a:1]': {weight: 60%}, '[b:1]': {weight: 30%}}}", "add up to 90%");
    assert_eq!(shown(Kind::Route, "{condition: path is /}")["condition_strength"], "100%");
    assert_eq!(shown(Kind::Route, "{}")["condition_strength"], Value::Null, "there is nothing to be strong about");
}

#[test]
fn ports_and_paths() {
    let ports = shown(Kind::Breed, "{deployable: i, ports: {a: '8080', b: 8080/tcp, c: 9000/HTTP}}");
    assert_eq!(ports["ports"], json!({"a": "8080/http", "b": "8080/tcp", "c": "9000/http"}));
    // The original refuses it (`StickyPortTypeError`).
    assert_eq!(shown(Kind::Gateway, "{port: 9050/tcp, sticky: instance}")["sticky"], "instance");
    for path in ["a", "a/b", "a/b/c"] {
        assert_eq!(RoutePath::parse(path), Ok(RoutePath::Gateway(path.to_owned())));
    }
    assert_eq!(RoutePath::parse("a/b/c/d"), Ok(RoutePath::Instances("a/b/c/d".to_owned())));
    assert_eq!(RoutePath::parse("[1.2.3.4:80]"), Ok(RoutePath::External("1.2.3.4:80".to_owned())));
    assert!(RoutePath::parse("a/b/c/d/e").unwrap_err().0.contains("5 segments"));
}

#[test]
fn references_in_values() {
    let port = ValueReference::Port { cluster: "db".to_owned(), port: "sql".to_owned() };
    let expected = [
        Part::Text("http://".to_owned()),
        Part::Reference(ValueReference::Host("db".to_owned())),
        Part::Text(":".to_owned()),
        Part::Reference(port),
        Part::Text("/x".to_owned()),
    ];
    assert_eq!(parse("http://$db.host:$db.ports.sql/x").unwrap(), expected);
    assert_eq!(parse("$$5").unwrap(), [Part::Text("$5".to_owned())]);
}

#[test]
fn blueprints() {
    let shown = shown(Kind::Blueprint, "{clusters: {web: 'shop-web:1'}}");
    assert_eq!(shown["clusters"]["web"]["services"][0]["breed"], json!({"reference": "shop-web:1"}));
    refused(Kind::Blueprint, "{clusters: {web: a, api: a}}", "has the breed `a` in two services");
}

#[test]
fn workflows() {
    let schedule = |text: &str| {
        let text = format!("{{breed: b, schedule: {text}}}");
        schemas::check_text(Kind::Workflow, &text);
        match read_as(&text, Format::Yaml, Kind::Workflow, Some("w")).unwrap().remove(0).artifact {
            Artifact::Workflow(workflow) => workflow.schedule,
            other => panic!("{other:?}"),
        }
    };
    let Schedule::Time { period, start: None, repeat: None } = schedule("{time: PT5S}") else { panic!("no time") };
    assert_eq!(period.to_string(), "PT5S");
    refused(Kind::Workflow, "{breed: b, schedule: {time: 5s}}", "write it as ISO 8601 has it");
    refused(Kind::Workflow, "{breed: b, schedule: daemon, status: running}", "nothing runs workflows yet");
}
