//! Whatever is wrong with what is sent: a clear refusal with place and mend, and nothing stored.

use serde_json::Value;

use crate::world::{World, gateway};

/// What is sent, and what the refusal must say.
struct Bad {
    path: &'static str,
    document: &'static str,
    /// The violation's pointer.
    pointer: &'static str,
    /// Its line in the document.
    line: u64,
    /// Part of its message or hint.
    says: &'static str,
}

const fn bad(path: &'static str, document: &'static str, pointer: &'static str, line: u64, says: &'static str) -> Bad {
    Bad { path, document, pointer, line, says }
}

const MATRIX: &[Bad] = &[
    // Malformed documents.
    bad("gateways/x", "name: x\nroutes: [\nport: 1", "", 3, "YAML"),
    bad("gateways/x", "", "", 1, "at least one"),
    bad("gateways/x", "just a text", "", 1, "map"),
    bad("gateways/x", "- {}\n- {}", "", 2, "one document"),
    bad("gateways/x", "port: 1\nport: 2", "", 2, "twice"),
    bad("gateways/x", "routes: &a {}\nmetadata: *a", "", 1, "anchors"),
    bad("gateways/x", "routes: !!python/object {}", "", 1, "tag"),
    // Unknown fields, with the near one.
    bad("gateways/x", "port: 9051\ncolour: red\n", "/colour", 2, "no field `colour`"),
    bad("gateways/x", "routs: {}", "/routs", 1, "did you mean `routes`?"),
    bad("gateways/x", "routes:\n  \"[192.0.2.1:80]\": {wieght: 1%}", "/routes/[192.0.2.1:80]/wieght", 2, "`weight`"),
    bad("conditions/x", "condition: has cookie a\nstrength: 1%", "/strength", 2, "condition"),
    // Names and kinds.
    bad("gateways/x", "name: y\nroutes: {}", "/name", 1, "the address names `x`"),
    bad("gateways/x", "kind: routes", "/kind", 1, "/api/v1/routes"),
    bad("gateways/x", "kind: breeds", "/kind", 1, "/api/v1/breeds"),
    bad("gateways/x", "kind: breads", "/kind", 1, "gateways, routes, conditions"),
    bad("gateways/a/b/c/d/e", "routes: {}", "", 1, "5 segments"),
    bad("gateways/a%20b", "routes: {}", "", 1, "white space"),
    bad("routes/a%2Fb", "weight: 1%", "", 1, "only names of gateways"),
    // Ports.
    bad("gateways/x", "port: 70000", "/port", 1, "1 to 65535"),
    bad("gateways/x", "port: 9051/udp", "/port", 1, "`N/tcp`"),
    // What only requests have, in gateways that carry connections, and the other way round.
    bad("gateways/x", "port: 9051/tcp\nvirtual_hosts: [x.example]", "/virtual_hosts", 2, "`N/http`"),
    bad("gateways/x", "port: 9051\nsend_proxy: v2", "/send_proxy", 2, "`N/tcp`"),
    bad(
        "gateways/x",
        "port: 9051/tcp\nroutes:\n  \"[192.0.2.1:80]\": {condition: path is /a}",
        "/routes/[192.0.2.1:80]/condition",
        3,
        "`source`",
    ),
    bad("gateways/x", "port: 9050/http\nroutes: {}", "/port", 1, "`taken`"),
    bad("gateways/x", "port: 1988/http\nroutes: {}", "/port", 1, "the product itself"),
    // Weights.
    bad("gateways/x", "routes:\n  \"[192.0.2.1:80]\": {weight: 60%}", "/routes", 2, "60%"),
    bad("gateways/x", "routes:\n  \"[192.0.2.1:80]\": {weight: 101%}", "/routes/[192.0.2.1:80]/weight", 2, "%"),
    bad("gateways/x", "routes:\n  \"[192.0.2.1:80]\": {weight: 1.234%}", "/routes/[192.0.2.1:80]/weight", 2, "%"),
    bad("gateways/x", "routes:\n  \"[192.0.2.1:80]\": {weight: heavy}", "/routes/[192.0.2.1:80]/weight", 2, "%"),
    bad(
        "gateways/x",
        "routes:\n  \"[192.0.2.1:80]\": {reference: half}\n  \"[192.0.2.2:80]\": {weight: 60%}",
        "/routes",
        2,
        "110%",
    ),
    // References.
    bad("gateways/x", "routes:\n  nothing: {weight: 100%}", "/routes/nothing", 2, "nothing"),
    bad("gateways/x", "routes:\n  \"[192.0.2.1:80]\": none-such", "/routes/[192.0.2.1:80]", 2, "none-such"),
    bad(
        "gateways/x",
        "routes:\n  \"[192.0.2.1:80]\":\n    condition: {reference: none-such}",
        "/routes/[192.0.2.1:80]/condition",
        3,
        "none-such",
    ),
    bad("routes/x", "condition: {reference: none-such}", "/condition", 1, "none-such"),
    bad("gateways/x", "routes:\n  x: {weight: 100%}", "/routes", 2, "circle"),
    // Conditions.
    bad("conditions/x", "condition: \"User-Agent = = x\"", "/condition", 1, "can't follow here"),
    bad("conditions/x", "condition: \"rand(10) lt 3\"", "/condition", 1, "condition_strength"),
    bad("conditions/x", "metadata: {}", "", 1, "no text"),
    bad("conditions/x", "condition: \"path matches '('\"", "/condition", 1, "unclosed group"),
    bad(
        "gateways/x",
        "routes:\n  \"[192.0.2.1:80]\":\n    condition: \"has cookie\"",
        "/routes/[192.0.2.1:80]/condition",
        3,
        "has no name",
    ),
    bad(
        "gateways/x",
        "routes:\n  \"[192.0.2.1:80]\":\n    condition_strength: 101%",
        "/routes/[192.0.2.1:80]/condition_strength",
        3,
        "%",
    ),
    // The rest.
    bad("gateways/x", "sticky: often", "/sticky", 1, "`route`, `instance` or `none`"),
    bad("gateways/x", "virtual_hosts: [\"a b\"]", "/virtual_hosts/0", 1, "no host name"),
    bad("gateways/x", "virtual_hosts: [taken.example]", "/virtual_hosts", 1, "`taken`"),
    bad("gateways/x", "selector: \"true\"", "/selector", 1, "routes"),
    bad(
        "gateways/x",
        "routes:\n  \"[192.0.2.1:80]\": {balance: random}",
        "/routes/[192.0.2.1:80]/balance",
        2,
        "roundrobin",
    ),
    bad("gateways/x", "routes:\n  \"[192.0.2.1]\": {}", "/routes/[192.0.2.1]", 2, "no port"),
    bad("gateways/x", "routes:\n  a/b/c/d/e: {}", "/routes/a~1b~1c~1d~1e", 2, "segments"),
    bad("gateways/x", "routes:\n  \"[169.254.169.254:80]\": {}", "/routes/[169.254.169.254:80]", 2, "--allow-target"),
    bad("gateways/x", "metadata: [1]", "/metadata", 1, "map"),
];

#[tokio::test]
async fn every_bad_document_is_refused_with_its_place_and_stores_nothing() {
    let world = World::start().await;
    let taken = format!("{}virtual_hosts: [taken.example]\n", gateway("taken", 9050));
    world.put("gateways/taken", &taken).await.expect(201);
    world.put("routes/half", "weight: 50%").await.expect(201);
    let before = world.last_event().await;
    let revision = world.get("rollout").await.expect(200)["revision"].clone();
    let mut failures = Vec::new();
    for bad in MATRIX {
        let answer = world.put(bad.path, bad.document).await;
        if let Some(failure) = fault(bad, &answer.body, answer.status.as_u16()) {
            failures.push(failure);
        }
        if world.get(bad.path).await.status != 404 {
            failures.push(format!("{} is stored:\n{}", bad.path, bad.document));
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), MATRIX.len(), failures.join("\n"));
    assert_eq!(world.last_event().await, before);
    assert_eq!(world.get("rollout").await.expect(200)["revision"], revision);
}

fn fault(bad: &Bad, problem: &Value, status: u16) -> Option<String> {
    let shown = format!("{}\n{}\n{problem:#}", bad.path, bad.document);
    if status != 400 || problem["type"] != "urn:vamp:problem:bad-document" {
        return Some(format!("status {status}: {shown}"));
    }
    let violations = problem["violations"].as_array().cloned().unwrap_or_default();
    let is_it = |violation: &&Value| {
        let text = format!("{} {}", violation["message"], violation["hint"]).replace("\\\"", "\"");
        let starts = violation["pointer"].as_str().is_some_and(|pointer| pointer.starts_with(bad.pointer));
        starts && violation["line"] == bad.line && violation["column"].as_u64() > Some(0) && text.contains(bad.says)
    };
    let Some(violation) = violations.iter().find(is_it) else {
        return Some(format!("no violation at `{}`, line {}, says `{}`: {shown}", bad.pointer, bad.line, bad.says));
    };
    // What the compiler of tables finds has its mend in the message.
    let has_mend = violation["hint"].as_str().is_some_and(|hint| !hint.is_empty())
        || violation["message"].as_str().is_some_and(|message| message.contains("; "));
    let message = problem["message"].as_str().unwrap_or_default();
    let is_repeated = message.contains(violation["message"].as_str().unwrap_or_default());
    (!has_mend || !is_repeated).then(|| format!("without mend or message: {shown}"))
}

#[tokio::test]
async fn everything_that_is_wrong_is_named_at_once() {
    let world = World::start().await;
    let document =
        "port: 70000\nsticky: often\nroutes:\n  \"[192.0.2.1:80]\": {weight: x}\n  a/b/c/d/e: {}\ncolour: red\n";
    let answer = world.put("gateways/x", document).await;
    let problem = answer.problem(400, "bad-document");
    let lines: Vec<_> =
        problem["violations"].as_array().unwrap().iter().map(|violation| violation["line"].clone()).collect();
    assert_eq!(lines.len(), 5, "{problem:#}");
    for line in [1, 2, 4, 5, 6] {
        assert!(lines.contains(&line.into()), "line {line}: {problem:#}");
    }
}

#[tokio::test]
async fn a_change_that_breaks_another_artifact_names_that_one() {
    let world = World::start().await;
    world.put("routes/part", "weight: 40%").await.expect(201);
    let document = "routes: {\"[192.0.2.1:80]\": part, \"[192.0.2.2:80]\": {weight: 60%}}";
    world.put("gateways/shop", document).await.expect(201);
    let answer = world.put("routes/part", "weight: 50%").await;
    let violation = &answer.problem(400, "bad-document")["violations"][0];
    assert_eq!((&violation["kind"], &violation["name"]), (&"gateways".into(), &"shop".into()), "{violation:#}");
    assert_eq!(world.get("routes/part").await.expect(200)["weight"], "40%");
}

#[tokio::test]
async fn a_refusal_in_json_has_its_place_too() {
    let world = World::start().await;
    let request = world.ask(reqwest::Method::PUT, "gateways/x").header("content-type", "application/json");
    let answer = crate::world::send(request.body("{\n  \"port\": 9051,\n  \"colour\": \"red\"\n}")).await;
    let violation = &answer.problem(400, "bad-document")["violations"][0];
    assert_eq!((&violation["pointer"], &violation["line"]), (&"/colour".into(), &3.into()));
    let request = world.ask(reqwest::Method::PUT, "gateways/x").header("content-type", "application/json");
    let answer = crate::world::send(request.body("port: 9051")).await;
    assert!(answer.problem(400, "bad-document")["message"].as_str().unwrap().contains("JSON"));
}

#[tokio::test]
async fn a_weight_sum_of_nothing_is_taken_with_a_warning() {
    let world = World::start().await;
    let answer = world.put("gateways/x", "routes: {\"[192.0.2.1:80]\": {weight: 0%}}").await.expect(201);
    assert!(answer["warnings"][0]["message"].as_str().unwrap().contains('0'), "{answer:#}");
}
