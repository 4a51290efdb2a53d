//! What documents import: laid below them in order, from the same text and from what is stored, and told of in what is
//! refused.

use serde_json::{Value, json};
use vamp_model::{
    Artifact, DeployBody, Format, Kind, Violation, read, read_as, read_deploy_body, read_scale, read_with, to_json,
};

fn artifacts(text: &str) -> Vec<Artifact> {
    if text.is_empty() {
        return Vec::new();
    }
    read(text, Format::Yaml).unwrap().into_iter().map(|document| document.artifact).collect()
}

fn read_beside(stored: &str, text: &str) -> Result<Vec<Artifact>, Vec<Violation>> {
    let stored = artifacts(stored);
    let find = |kind, name: &str| stored.iter().find(|found| found.kind() == kind && found.name() == name);
    let read = read_with(text, Format::Yaml, None, None, &find)?;
    Ok(read.into_iter().map(|document| document.artifact).collect())
}

/// The last document of the text as it would be stored.
#[track_caller]
fn made(stored: &str, text: &str) -> Value {
    to_json(&read_beside(stored, text).unwrap().pop().unwrap())
}

#[track_caller]
fn check_refused(stored: &str, text: &str, expected: &[(u32, &str)]) {
    let violations = read_beside(stored, text).unwrap_err();
    assert_eq!(violations.len(), expected.len(), "{text}: {violations:#?}");
    for (violation, (line, part)) in violations.iter().zip(expected) {
        assert!(violation.line == Some(*line) && violation.to_string().contains(part), "{text}: {violation:#?}");
    }
}

const BASE: &str = "
- kind: templates
  name: base
  definition:
    deployable: {type: command, definition: base}
    ports: {web: 8080, admin: 9000}
    arguments: [{a: 1}, {b: 2}]
    constants: {k: base}
- kind: templates
  name: more
  definition:
    ports: {admin: 9001}
    arguments: [{b: 2}, {c: 3}]
    constants: ~
";

#[test]
fn imports_are_laid_over_each_other_in_order_and_the_document_on_top() {
    let text =
        "{kind: breeds, name: b, import: [base, templates/more], deployable: {definition: own}, ports: {own: 1/tcp}}";
    let made = made(BASE, text);
    assert_eq!(made["deployable"], json!({"type": "command", "definition": "own"}));
    assert_eq!(made["ports"], json!({"web": "8080/http", "admin": "9001/http", "own": "1/tcp"}));
    assert_eq!(made["arguments"], json!([{"a": "1"}, {"b": "2"}, {"c": "3"}]), "a list gets what it does not have");
    assert_eq!(made["constants"], json!({}), "nothing takes away what is below it");
    let order: Vec<&String> = made["ports"].as_object().unwrap().keys().collect();
    assert_eq!(order, ["web", "admin", "own"]);
    assert!(made.get("import").is_none());
}

#[test]
fn one_import_is_written_without_a_list_and_none_is_none() {
    let breed = |import: &str| format!("{{kind: breeds, name: b, import: {import}, deployable: i}}");
    for import in ["base", "[base]", "templates/base", "template/base"] {
        assert_eq!(made(BASE, &breed(import))["ports"]["web"], "8080/http", "{import}");
    }
    assert_eq!(made(BASE, &breed("~"))["ports"], json!({}));
    check_refused(BASE, &breed("[]"), &[(1, "imports nothing")]);
    check_refused(BASE, &breed("[{reference: base}]"), &[(1, "is a map: write it as a text")]);
    check_refused(BASE, &breed("bread/x"), &[(1, "begins with no kind: write KIND/NAME")]);
    check_refused(BASE, &breed("instances/a"), &[(1, "begins with no kind")]);
    check_refused(BASE, &breed("'a b'"), &[(1, "has white space")]);
}

#[test]
fn names_and_kinds_are_never_imported() {
    let stored = "
- {kind: breeds, name: old, deployable: i, ports: {web: 80}, metadata: {team: a}}
- {kind: templates, name: t, definition: {name: other, kind: scales, lookup_name: x, ports: {tcp: 1/tcp}}}
";
    let made = made(stored, "{kind: breeds, name: new, import: [breeds/old, t], metadata: {tier: 1}}");
    assert_eq!((&made["name"], &made["kind"]), (&json!("new"), &json!("breeds")));
    assert_eq!(made["metadata"], json!({"team": "a", "tier": 1}));
    assert_eq!(made["ports"], json!({"web": "80/http", "tcp": "1/tcp"}));
    // Where the address says the name, the import does not.
    let stored = artifacts(stored);
    let find = |kind, name: &str| stored.iter().find(|found| found.kind() == kind && found.name() == name);
    let read = read_with("import: breeds/old", Format::Yaml, Some(Kind::Breed), Some("named"), &find).unwrap();
    assert_eq!(read[0].artifact.name(), "named");
}

#[test]
fn what_is_imported_is_written_out() {
    let stored = "
- {kind: breeds, name: web, deployable: i, ports: {http: 80}}
- {kind: scales, name: small, cpu: 1, memory: 1GB}
- {kind: blueprints, name: shop, clusters: {web: {breed: web, scale: small}}}
";
    let made = made(stored, "{kind: blueprints, name: other, import: blueprints/shop, gateways: {9050: web/http}}");
    let service = &made["clusters"]["web"]["services"][0];
    assert_eq!((&service["breed"]["deployable"]["definition"], &service["scale"]["cpu"]), (&json!("i"), &json!(1)));
    assert_eq!(made["gateways"]["9050"]["port"], "9050/http");
}

#[test]
fn the_short_name_of_a_field_is_the_same_field() {
    let stored = "{kind: breeds, name: a, deployable: i, env: {A: 1, B: 2}}";
    let made = made(stored, "{kind: breeds, name: b, import: breeds/a, env: {B: 3}}");
    assert_eq!(made["environment_variables"], json!({"A": "1", "B": "3"}));
}

#[test]
fn documents_of_one_text_import_each_other_in_any_order() {
    let text = "
- {kind: breeds, name: b, import: breeds/a, ports: {b: 2}}
- {kind: breeds, name: a, import: t, ports: {a: 1}}
- {kind: templates, name: t, definition: {import: base2, deployable: i}}
- {kind: templates, name: base2, definition: {ports: {base: 3}}}
";
    // What is sent wins over what is stored under the same name.
    let stored = "{kind: templates, name: t, definition: {deployable: old}}";
    let read = read_beside(stored, text).unwrap();
    assert_eq!(read.len(), 4);
    let first = to_json(&read[0]);
    assert_eq!(first["ports"], json!({"base": "3/http", "a": "1/http", "b": "2/http"}));
    assert_eq!(first["deployable"]["definition"], "i");
    // A template keeps what it imports by name.
    assert_eq!(to_json(&read[2])["definition"]["import"], "base2");
}

#[test]
fn circles_are_refused_with_all_who_stand_in_them() {
    let both = "- {kind: breeds, name: a, import: breeds/b}\n- {kind: breeds, name: b, import: breeds/a}";
    check_refused("", both, &[(1, "refused itself"), (2, "breed `a` → breed `b` → breed `a`")]);
    let template = "{kind: templates, name: a, definition: {import: b}}";
    check_refused(
        "{kind: templates, name: b, definition: {import: c}}\n---\n{kind: templates, name: c, definition: {import: a}}",
        template,
        &[(1, "template `a` → template `b` → template `c` → template `a`")],
    );
    check_refused("", "{kind: templates, name: a, definition: {import: a}}", &[(1, "in a circle")]);
    // One may be stored before what it imports; who imports it is told what is missing.
    read_beside("", template).unwrap();
    check_refused(
        template,
        "{kind: breeds, name: x, import: a}",
        &[(1, "which leads to the template `b`, which does not exist")],
    );
}

#[test]
fn what_is_missing_is_named_with_its_place() {
    let text = "kind: breeds\nname: b\nimport:\n- base\n- nowhere\n";
    check_refused(
        BASE,
        text,
        &[(5, "breed `b` imports the template `nowhere`, which does not exist: create it first")],
    );
    let violations = read_beside(BASE, text).unwrap_err();
    assert_eq!((violations[0].pointer.as_str(), violations[0].column), ("/import/1", Some(3)));
}

#[test]
fn a_fault_of_what_is_imported_names_the_template_and_stands_at_the_import() {
    let stored =
        "{kind: templates, name: bad, definition: {deployable: i, ports: {web: 80/udp}, prot: 1, env: {A: $b.host}}}";
    let text = "kind: breeds\nname: b\nimport: bad\nconstants: {k: ~}\n";
    check_refused(
        stored,
        text,
        &[
            (3, "port `web` of breed `b` is `80/udp` (from template `bad`, at `/definition/ports/web`)"),
            (4, "constant `k` of breed `b`"),
            (3, "there is no dependency `b` (from template `bad`, at `/definition/env/A`)"),
            (3, "has no field `prot` (from template `bad`, at `/definition/prot`)"),
        ],
    );
    // What is found later is told in the same way.
    let stored = artifacts("{kind: templates, name: t, definition: {routes: {'[h:1]': {reference: r}}}}");
    let document = read_with("name: g\nimport: t\n", Format::Yaml, Some(Kind::Gateway), None, &|_, name| {
        stored.iter().find(|found| found.name() == name)
    });
    let later = Violation::new("/routes/[h:1]/reference", "there is no route `r`", "");
    let located = document.unwrap()[0].locate(vec![later]).remove(0);
    assert_eq!(located.line, Some(2));
    assert!(located.message.ends_with("(from template `t`, at `/definition/routes/[h:1]/reference`)"), "{located:?}");
}

#[test]
fn imports_are_bounded_in_number_depth_and_size() {
    let chain = (0..20)
        .map(|number| format!("- {{kind: templates, name: t{number}, definition: {{import: t{}}}}}\n", number + 1))
        .collect::<Vec<_>>()
        .concat();
    let end = "- {kind: templates, name: t20, definition: {}}\n";
    let violations = read_beside("", &format!("{chain}{end}")).unwrap_err();
    assert!(violations.iter().all(|found| found.message.contains("more than 16 imports in a row")), "{violations:#?}");
    let doubling = (0..7)
        .map(|number| {
            let next = number + 1;
            format!("- {{kind: templates, name: t{number}, definition: {{import: [t{next}, t{next}]}}}}\n")
        })
        .collect::<Vec<_>>()
        .concat();
    let end = "- {kind: templates, name: t7, definition: {}}\n- {kind: breeds, name: b, deployable: i, import: t0}\n";
    let violations = read_beside("", &format!("{doubling}{end}")).unwrap_err();
    assert!(violations[0].message.contains("more than 64 imports"), "{violations:#?}");
    let many = vec!["t7"; 65].join(", ");
    check_refused(
        "",
        &format!("{{kind: breeds, name: b, deployable: i, import: [{many}]}}"),
        &[(1, "names 65 imports")],
    );
    let wide: Value =
        (0..1_000).map(|number| (format!("k{number}"), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    let wide = format!("{{kind: templates, name: wide, definition: {{constants: {wide}}}}}");
    let many = (0..300)
        .map(|number| format!("- {{kind: breeds, name: b{number}, deployable: i, import: wide}}\n"))
        .collect::<Vec<_>>()
        .concat();
    let violations = read_beside(&wide, &many).unwrap_err();
    assert!(violations[0].message.contains("more than 250000 values"), "{violations:#?}");
}

#[test]
fn parts_and_deployments_import_too() {
    let stored = artifacts(
        "- {kind: scales, name: small, cpu: 1, memory: 1GB}\n- {kind: templates, name: t, definition: {clusters: {web: a}}}",
    );
    let find = |kind, name: &str| stored.iter().find(|found| found.kind() == kind && found.name() == name);
    let scale = read_scale("{import: scales/small, instances: 4}", Format::Yaml, &find).unwrap();
    assert!(format!("{scale:?}").contains("instances: 4"), "{scale:?}");
    let refused = read_scale("import: scales/large", Format::Yaml, &find).unwrap_err();
    assert!(refused[0].message.contains("the scale `large`, which does not exist"), "{refused:?}");
    let DeployBody::Written(document) = read_deploy_body("import: t", Format::Yaml, Some("shop"), &find).unwrap()
    else {
        panic!("a name")
    };
    assert_eq!((document.artifact.kind(), document.artifact.name()), (Kind::Blueprint, "shop"));
}

#[test]
fn an_import_below_the_top_is_no_field() {
    let violations =
        read_as("clusters: {web: {import: base, breed: a}}", Format::Yaml, Kind::Blueprint, Some("b")).unwrap_err();
    assert!(violations[0].message.contains("has no field `import`"), "{violations:#?}");
}
