//! Documents as users have them: what is read, what is refused and where, and that what is written is read back.

use proptest::prelude::*;
use serde_json::{Value, json};
use vamp_model::{
    Artifact, Format, Gateway, Kind, RewriteUse, RouteUse, Violation, lookup, read, read_as, to_json, to_yaml,
};
use vamp_routing::wire::{ProxyVersion, Sticky, Tcp};

use crate::schemas;

#[track_caller]
fn one(text: &str) -> Artifact {
    let artifact = read(text, Format::Yaml).unwrap().remove(0).artifact;
    schemas::check_text(artifact.kind(), text);
    artifact
}

#[track_caller]
fn gateway(text: &str) -> Gateway {
    schemas::check_text(Kind::Gateway, text);
    match read_as(text, Format::Yaml, Kind::Gateway, Some("g")).unwrap().remove(0).artifact {
        Artifact::Gateway(gateway) => gateway,
        other => panic!("{other:?} is no gateway"),
    }
}

/// One fault of a gateway `g`: its line and column, and a part of what is said.
#[track_caller]
fn check_refused(text: &str, line: u32, column: u32, part: &str) {
    let violations = read_as(text, Format::Yaml, Kind::Gateway, Some("g")).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{text}: {violations:#?}") };
    let place = (violation.line, violation.column);
    assert!(place == (Some(line), Some(column)) && violation.to_string().contains(part), "{text}: {violation:#?}");
}

#[test]
fn the_documents_of_the_original_are_read() {
    let text = r#"
name: shop/web/http
kind: gateway
lookup_name: ignored
internal: true
deployed: true
service: {host: 10.0.0.1, port: 9050}
port: 9050/http
sticky: Service
virtual_hosts: Shop.Example.com
metadata: {Owner: me, nested: {camelCase: [1, 2]}}
routes:
  "[127.0.0.1:8081]":
    weight: 90%
    condition: {condition: user-agent == Firefox}
    condition_strength: 10 %
    balance: default
    rewrites:
      - path: /new if path is /old
    targets: [{url: 127.0.0.1:8081}]
  shop/9050: {weight: 10%}
"#;
    let Artifact::Gateway(gateway) = one(text) else { panic!("no gateway") };
    assert_eq!((gateway.name.as_str(), gateway.port), ("shop/web/http", Some(9050)));
    assert_eq!(gateway.virtual_hosts, ["shop.example.com"]);
    assert_eq!(gateway.metadata["nested"], json!({"camelCase": [1, 2]}));
    let RouteUse::Inline(body) = &gateway.routes[0].content else { panic!("a reference") };
    assert_eq!(body.condition_strength.unwrap().0, 1000);
    let RewriteUse::Inline(rewrite) = &body.rewrites[0] else { panic!("a reference") };
    assert_eq!((rewrite.path.as_str(), rewrite.condition.as_str()), ("/new", "path is /old"));
}

#[test]
fn the_short_forms_are_read() {
    let paths = |text: &str| gateway(text).routes.iter().map(|route| route.path.to_string()).collect::<Vec<_>>();
    assert_eq!(paths("routes: '[127.0.0.1:81]'"), ["[127.0.0.1:81]"]);
    assert_eq!(paths("routes: ['[127.0.0.1:81]', {other: {weight: 10%}}]"), ["[127.0.0.1:81]", "other"]);
    assert_eq!(paths("{}"), Vec::<String>::new());
    assert_eq!(gateway("port: '8080'").port, Some(8080));
    assert_eq!(gateway("port: 9000/HTTP").port, Some(9000));
    assert_eq!(gateway("port: 0").port, None);
    assert_eq!(gateway("port: 9000/HTTP").tcp, None);
    let tcp = gateway("port: 5432/TCP\nsticky: service\nroutes: {'[127.0.0.1:81]': {condition: source in 10.0.0.0/8}}");
    assert_eq!((tcp.port, tcp.tcp, tcp.sticky), (Some(5432), Some(Tcp::default()), Sticky::Route));
    let proxied = gateway("port: 0/tcp\naccept_proxy: true\nsend_proxy: V2");
    let options = Tcp { accept_proxy: true, send_proxy: Some(ProxyVersion::V2) };
    assert_eq!((proxied.port, proxied.tcp), (None, Some(options)));
    let Artifact::Route(route) = one("{kind: routes, name: r, condition: has cookie beta}") else { panic!("no route") };
    assert_eq!(route.body.condition_strength.unwrap().0, 10_000, "a condition takes all, unless it says less");
    let several = "---\nkind: condition\nname: a\ncondition: method is GET\n---\n- {kind: routes, name: b}\n- {kind: gateways, name: c}\n";
    assert_eq!(read(several, Format::Yaml).unwrap().len(), 3);
}

#[test]
fn many_routes_keep_their_order() {
    let keys: Vec<String> = (0..50).map(|index| format!("[10.0.0.{}:80]", (index * 37) % 50)).collect();
    let routes: serde_json::Map<String, Value> = keys.iter().map(|key| (key.clone(), json!({}))).collect();
    let read = gateway(&json!({"routes": routes}).to_string());
    assert_eq!(read.routes.iter().map(|route| route.path.to_string()).collect::<Vec<_>>(), keys);
}

#[test]
fn each_fault_has_its_place_and_its_mend() {
    check_refused(
        "routes:\n  '[127.0.0.1:81]': {weight: 60%}\n  '[127.0.0.1:82]': {weight: 30%}\n",
        2,
        3,
        "add up to 90%",
    );
    check_refused("routes: {'[127.0.0.1:81]': {weight: 50}}", 1, 37, "write \"50%\"");
    check_refused("routes: {'[127.0.0.1:81]': {weight: 50.001%}}", 1, 37, "up to two decimals");
    check_refused("ports: 9050", 1, 1, "did you mean `port`?");
    check_refused("port: 70000", 1, 7, "1 to 65535");
    check_refused("port: 9050/udp", 1, 7, "`N/tcp`");
    check_refused("port: /tcp", 1, 7, "which is none");
    check_refused("port: 9050\naccept_proxy: true", 2, 15, "`N/tcp`");
    check_refused("send_proxy: v1", 1, 13, "only TCP gateways have");
    check_refused("port: 9050/tcp\nsend_proxy: v3", 2, 13, "use `v1`, `v2` or `none`");
    check_refused("port: 9050/tcp\naccept_proxy: 1", 2, 15, "use `true` or `false`");
    check_refused("port: 9050/tcp\nvirtual_hosts: db.example", 2, 16, "only requests name");
    check_refused(
        "port: 9050/tcp\nroutes: {'[127.0.0.1:81]': {condition: 'source is 10.0.0.1 and method is GET'}}",
        2,
        40,
        "tests `method is GET`",
    );
    check_refused(
        "port: 9050/tcp\nroutes: {'[127.0.0.1:81]': {rewrites: [{path: /b if path is /a}]}}",
        2,
        39,
        "has no paths",
    );
    check_refused("sticky: forever", 1, 9, "use `route`, `instance` or `none`");
    check_refused("virtual_hosts: ['shop.example:80']", 1, 17, "names a port");
    check_refused("routes: {'[127.0.0.1]': {}}", 1, 10, "has no port");
    check_refused("routes: {'http://127.0.0.1:80': {}}", 1, 10, "is a URL");
    check_refused("routes: {a/b/c/d/e: {}}", 1, 10, "has 5 segments");
    check_refused("routes: ['[127.0.0.1:81]', '[127.0.0.1:81]']", 1, 28, "twice");
    check_refused("routes: {'[127.0.0.1:81]': {balance: hdr}}", 1, 38, "use `roundrobin`");
    check_refused("selector: id(x)", 1, 11, "routes that follow labels");
    check_refused("kind: routes", 1, 7, "the address is that of gateways");
    check_refused("name: other", 1, 7, "the address names `g`");
    check_refused("port: 1\nport: 2", 2, 1, "port");
    check_refused("a: &x 1\nb: *x", 1, 4, "anchors");
    check_refused("port: [", 2, 1, "not YAML");
}

#[test]
fn a_condition_is_refused_at_the_character_of_the_fault() {
    check_refused("routes:\n  '[127.0.0.1:81]':\n    condition: method is GET and ???\n", 3, 34, "condition");
    check_refused("routes:\n  '[127.0.0.1:81]':\n    condition: rand(100) lt 10\n", 3, 16, "condition_strength");
}

#[test]
fn all_faults_of_a_text_are_told_at_once() {
    let text = "
- {kind: gateways, name: a, port: x, sticky: y, unknown: 1}
- {kind: conditions, name: b}
- {kind: nothing, name: c}
- {name: d}
- {kind: routes, name: 'e/f', weight: 7}
";
    let violations = read(text, Format::Yaml).unwrap_err();
    let lines: Vec<Option<u32>> = violations.iter().map(|violation| violation.line).collect();
    assert_eq!(lines, [2, 2, 2, 3, 4, 5, 6, 6].map(Some), "{violations:#?}");
    assert!(violations.iter().all(|violation| violation.pointer.starts_with('/')), "{violations:#?}");
}

#[test]
fn texts_are_bounded() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let long = " ".repeat(100 << 20);
    for (text, format) in [(&deep, Format::Yaml), (&deep, Format::Json), (&long, Format::Yaml), (&long, Format::Json)] {
        assert!(read(text, format).is_err());
    }
    let many = (0..200).map(|index| format!("unknown{index}: 1")).collect::<Vec<_>>().join("\n");
    let violations: Vec<Violation> = read_as(&many, Format::Yaml, Kind::Gateway, Some("g")).unwrap_err();
    assert!(violations.len() <= 100);
}

#[test]
fn lookup_names_are_those_of_the_original() {
    assert_eq!(lookup::gateway("sava_gateway"), "ebcec0d294fc399c5ee972c43a854e3b643d5ece");
    assert_eq!(lookup::gateway("sava:1.0/sava/web"), "271118ac3851077c564ceb0e75f9c05f28e1acdd");
    let route = lookup::route("sava:1.0/sava/web", "sava:1.0/sava/sava:1.0/web");
    assert_eq!(route, "1f2c9bf68395805af6ecd4c389c061dfdd24d62d");
    assert_eq!(lookup::namespace("default"), "82b5a4ec1bdc8398233a686b76092f33e5403b5e");
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9 :,#&*!|>'\"%@`{}\\[\\]?-]{0,12}",
        "\\PC{0,8}",
        Just("yes".to_owned()),
        Just("08".to_owned())
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4).prop_map(|pairs| pairs.into_iter().collect::<Value>())
        ]
    })
}

/// Of the kinds that concern traffic; those of deployables, workflows and templates stand with their tests.
fn artifact() -> impl Strategy<Value = Artifact> {
    let rest = prop_oneof![routes().boxed(), conditions().boxed(), rewrites().boxed(), instances().boxed()];
    let rest = rest.prop_map(|document| checked(&document));
    prop_oneof![3 => gateway_of("http").boxed(), 1 => gateway_of("tcp").boxed(), 4 => rest.boxed()]
}

/// What is read from a document, which its schema takes.
fn checked(document: &Value) -> Artifact {
    let artifact = read(&document.to_string(), Format::Json).unwrap().remove(0).artifact;
    schemas::check(artifact.kind(), document);
    artifact
}

fn share() -> impl Strategy<Value = Option<String>> {
    prop::option::of((0..=10_000_u16).prop_map(|share| format!("{}.{:02}%", share / 100, share % 100)))
}

fn metadata() -> impl Strategy<Value = Value> {
    prop::collection::vec((text(), value()), 0..3).prop_map(|pairs| pairs.into_iter().collect::<Value>())
}

/// What a route says but for its weight.
fn bodies(carries_requests: bool) -> impl Strategy<Value = Value> {
    let test = if carries_requests { "has header x and not path under /a" } else { "not source in 10.0.0.0/8" };
    let condition = prop::option::of(prop_oneof![
        Just(json!(if carries_requests { "method is GET" } else { "source is ::1" })),
        Just(json!({"reference": "c"})),
        Just(json!({"condition": test}))
    ]);
    let balance = prop::option::of(prop_oneof![Just("leastconn"), Just("roundrobin")]);
    (condition, share(), balance).prop_map(move |(condition, strength, balance)| {
        let rewrites = if carries_requests {
            json!([{"path": "/b if path is /a"}, "stored", {"ref": "other"}])
        } else {
            json!([])
        };
        json!({"condition": condition, "condition_strength": strength, "balance": balance, "rewrites": rewrites})
    })
}

fn routes() -> impl Strategy<Value = Value> {
    (any::<bool>(), metadata(), share()).prop_flat_map(|(carries_requests, metadata, weight)| {
        bodies(carries_requests).prop_map(move |mut body| {
            body["kind"] = json!("routes");
            body["name"] = json!("r");
            body["metadata"] = metadata.clone();
            body["weight"] = json!(weight);
            body
        })
    })
}

fn conditions() -> impl Strategy<Value = Value> {
    let tests = prop_oneof![
        Just("method is GET"),
        Just("User-Agent == Firefox"),
        Just("< url_beg /2 >"),
        Just("header X is \"a (b)\" OR (not has cookie beta && source in (10.0.0.0/8, ::1))"),
    ];
    (tests, metadata()).prop_map(|(condition, metadata)| {
        json!({"kind": "conditions", "name": "c", "condition": condition, "metadata": metadata})
    })
}

fn rewrites() -> impl Strategy<Value = Value> {
    let paths = prop_oneof![Just("/new if path is /old"), Just("/b if path under /a and not has query if")];
    (paths, metadata())
        .prop_map(|(path, metadata)| json!({"kind": "rewrites", "name": "w", "path": path, "metadata": metadata}))
}

fn instances() -> impl Strategy<Value = Value> {
    let ports =
        prop::collection::btree_map("[a-z]{1,4}", (1..=u16::MAX).prop_map(|port| format!("[::1]:{port}")), 0..3);
    prop::collection::btree_map("[a-z0-9-]{1,9}", ports, 0..4).prop_map(|instances| {
        let instances: Vec<Value> =
            instances.into_iter().map(|(name, ports)| json!({"name": name, "ports": ports})).collect();
        json!({"kind": "instances", "name": "shop/web/web:1", "instances": instances})
    })
}

fn gateway_of(protocol: &'static str) -> impl Strategy<Value = Artifact> {
    let carries_requests = protocol == "http";
    let port = prop::option::of(1..=u16::MAX);
    let sticky = prop_oneof![Just("none"), Just("route"), Just("instance")];
    let proxy = (any::<bool>(), prop_oneof![Just("none"), Just("v1"), Just("v2")]);
    (prop::collection::vec(bodies(carries_requests), 0..5), port, sticky, metadata(), proxy).prop_map(
        move |(bodies, port, sticky, metadata, (accept_proxy, send_proxy))| {
            let bodies = bodies.into_iter().enumerate().map(|(index, body)| (format!("[10.0.0.{index}:80]"), body));
            let routes: serde_json::Map<String, Value> = bodies.chain([("stored".to_owned(), json!("r"))]).collect();
            let document = json!({
                "kind": "gateways", "name": "g", "sticky": sticky, "metadata": metadata, "routes": routes,
                "port": format!("{}/{protocol}", port.unwrap_or(0)),
                "virtual_hosts": carries_requests.then_some(["a.example", "*.b.example"]),
                "accept_proxy": (!carries_requests).then_some(accept_proxy),
                "send_proxy": (!carries_requests).then_some(send_proxy),
            });
            checked(&document)
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_as_the_same(artifact in artifact()) {
        let written = to_json(&artifact);
        for (text, format) in [
            (written.to_string(), Format::Json),
            (written.to_string(), Format::Yaml),
            (to_yaml(&written), Format::Yaml),
        ] {
            let read = read(&text, format).map(|mut documents| documents.remove(0).artifact);
            prop_assert_eq!(read.as_ref(), Ok(&artifact), "{}", text);
        }
        prop_assert_eq!(to_json(&read(&written.to_string(), Format::Json).unwrap()[0].artifact), written);
    }

    #[test]
    fn no_text_makes_the_reader_fail(text in "[\\PC\\n]{0,200}", json in any::<bool>()) {
        drop(read(&text, if json { Format::Json } else { Format::Yaml }));
    }
}
