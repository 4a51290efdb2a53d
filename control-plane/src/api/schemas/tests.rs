//! The schemas are held to the model: what it reads they take, what it refuses for its shape they refuse.

use std::path::{Path, PathBuf};

use vamp_model::{Artifact, Format, read_as, read_with};

use super::*;

/// The model holds its own examples to the same schemas, by the same means.
#[path = "../../../../shared/model/tests/it/json_schema.rs"]
mod json_schema;

use json_schema::{broken, value_of};

/// Beside the workspace's other references.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/schemas");

fn all() -> Vec<(&'static str, Value)> {
    let schema = |name: &'static str| name.parse().map_or_else(|_| of_any(), of_kind);
    names().map(|name| (name, schema(name))).collect()
}

#[test]
fn the_checked_in_copies_are_fresh() {
    let mut expected: Vec<PathBuf> = Vec::new();
    for (name, schema) in all() {
        let path = Path::new(FOLDER).join(format!("{name}.json"));
        let text = format!("{schema:#}\n");
        if std::env::var_os("VAMP_UPDATE_GENERATED").is_some() {
            std::fs::create_dir_all(FOLDER).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let copy = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(copy == text, "{} is stale: run this test with VAMP_UPDATE_GENERATED=1", path.display());
        expected.push(path);
    }
    let mut found: Vec<_> = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "a schema of a kind that is no more");
}

/// One document of each kind with everything that may stand in it, in long and short forms.
fn examples() -> Vec<(Kind, Value)> {
    let documents = include_str!("examples.yaml").split("\n---\n").map(|text| {
        let value = value_of(text).unwrap();
        (value["kind"].as_str().unwrap().parse().unwrap(), value)
    });
    documents.collect()
}

/// The documents that the tree's pages show: what a shell is given between `<<Y` and `Y`, and blocks that begin with a
/// name. Whole files between fences are put to the API by the tests of its pages.
fn shown_in(page: &str) -> Vec<String> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    // The lines of one that has begun, and whether a `Y` ends it.
    let mut open: Option<(Vec<&str>, bool)> = None;
    let mut is_fenced = false;
    for line in page.lines().chain([""]) {
        let word = line.trim();
        is_fenced ^= word.starts_with("```");
        match &mut open {
            _ if is_fenced => {}
            Some((lines, is_given)) if (*is_given && word == "Y") || (!*is_given && word.is_empty()) => {
                found.push(std::mem::take(lines));
                open = None;
            }
            Some((lines, _)) => lines.push(line),
            None if word.ends_with("<<Y") || word.ends_with("<<'Y'") => open = Some((Vec::new(), true)),
            None if line.starts_with("    ") && (word.starts_with("name: ") || word.starts_with("kind: ")) => {
                open = Some((vec![line], false));
            }
            None => {}
        }
    }
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let plain = |lines: Vec<&str>| {
        let margin = lines.iter().map(indent).min().unwrap_or_default();
        let lines: Vec<&str> = lines.iter().map(|line| line.get(margin..).unwrap_or_default()).collect();
        lines.join("\n")
    };
    found.into_iter().map(plain).collect()
}

fn kind_of(value: &Value) -> Kind {
    let members = value.as_object().unwrap();
    match members.get("kind").and_then(Value::as_str) {
        Some(kind) => kind.parse().unwrap(),
        None if members.contains_key("clusters") => Kind::Blueprint,
        None if members.contains_key("routes") => Kind::Gateway,
        None => panic!("of which kind is {value:#}?"),
    }
}

/// Those that import nothing, for the others to import.
fn read_all(documents: &[(Kind, Value)]) -> Vec<Artifact> {
    let plain = documents.iter().filter(|(_, value)| value.get("import").is_none());
    let read = plain.filter_map(|(kind, value)| {
        let read = read_as(&value.to_string(), Format::Json, *kind, value["name"].as_str()).ok()?.pop();
        read.map(|document| document.artifact)
    });
    read.collect()
}

#[track_caller]
fn check_taken(kind: Kind, value: &Value, others: &[Artifact], what: &str) {
    let text = value.to_string();
    let find = |kind, name: &str| others.iter().find(|other| other.kind() == kind && other.name() == name);
    let read = read_with(&text, Format::Json, Some(kind), value["name"].as_str(), &find);
    let read = read.unwrap_or_else(|violations| panic!("{what} is no example, the model refuses it: {violations:#?}"));
    assert_eq!(broken(&of_kind(kind), value), [""; 0], "{what} as it is written");
    // As the API shows it, so that what is read can be edited and sent back.
    let shown = vamp_model::to_json(&read[0].artifact);
    assert_eq!(broken(&of_kind(kind), &shown), [""; 0], "{what} as it is shown");
    assert_eq!(broken(&of_any(), &shown), [""; 0], "{what} as one of any kind");
}

#[test]
fn what_the_model_reads_the_schemas_take() {
    let examples = examples();
    assert!(examples.len() > 10);
    let others = read_all(&examples);
    for (kind, value) in &examples {
        check_taken(*kind, value, &others, &format!("{kind} {}", value["name"]));
    }
    for name in names().filter(|name| *name != ANY) {
        assert!(examples.iter().any(|(kind, _)| kind.plural() == name), "there is no example of {name}");
    }
    let values = examples.into_iter().map(|(_, value)| value).collect();
    assert_eq!(broken(&of_any(), &Value::Array(values)), [""; 0], "a list of all of them");
}

#[test]
fn the_documents_on_the_pages_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let pages = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = pages.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let mut documents = Vec::new();
    for page in pages.chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&page).unwrap();
        for document in shown_in(&text) {
            let value = value_of(&document).unwrap_or_else(|| panic!("{}: no YAML: {document}", page.display()));
            // Services that stand alone are written into a cluster.
            let value = match value {
                Value::Array(services) => json!({"name": "b", "clusters": {"web": {"services": services}}}),
                value => value,
            };
            documents.push((kind_of(&value), value));
        }
    }
    assert!(documents.len() >= 3, "{} documents are looked at: are they found?", documents.len());
    let others = read_all(&documents);
    for (kind, value) in &documents {
        check_taken(*kind, value, &others, &format!("{value:#} of the pages"));
    }
}

/// Documents that the model refuses for their shape: kind, document, where.
const MISSHAPEN: &[(&str, &str)] = &[
    ("gateways", "{name: g, prot: 9050, routes: {}}"),
    ("gateways", "{name: g, port: [9050], routes: {}}"),
    ("gateways", "{name: g, routes: [[a]]}"),
    ("gateways", "{name: g, sticky: sometimes, routes: {}}"),
    ("gateways", "{name: g, send_proxy: v3, routes: {}}"),
    ("gateways", "{name: g, routes: {'[a:1]': {wieght: 90%}}}"),
    ("gateways", "{name: g, routes: {'[a:1]': {rewrites: [{path: a, to: b}]}}}"),
    ("gateways", "{name: g, metadata: [], routes: {}}"),
    ("gateways", "{name: g, kind: routes, routes: {}}"),
    ("gateways", "{name: [g], routes: {}}"),
    ("routes", "{name: r, weight: [1]}"),
    ("conditions", "{name: c, condition: 7}"),
    ("conditions", "{name: c, condition: path is /, strength: 50%}"),
    ("breeds", "{name: b, deployable: i, ports: {http: [80]}}"),
    ("breeds", "{name: b, deployable: {type: command, run: a}}"),
    ("breeds", "{name: b, deployable: i, env: {A: {b: c}}}"),
    ("breeds", "{name: b, deployable: i, health_checks: {pth: /, port: http}}"),
    ("rewrites", "{name: r, path: [a]}"),
    ("routes", "{name: r, rewrites: [{path: a if path is /, to: b}]}"),
    ("workflows", "{name: w, breed: b, schedule: {hourly: true}}"),
    ("workflows", "{name: w, breed: b, schedule: {time: {period: PT5M, repeat: often}}}"),
    ("workflows", "{name: w, breed: b, schedule: daemon, status: running}"),
    ("templates", "{name: t, definition: [a]}"),
    ("breeds", "{name: b, deployable: i, import: {name: t}}"),
    ("scales", "{name: s, cpu: 1, memory: 1GB, instances: two}"),
    ("scales", "{name: s, cpu: 1, memory: 1GB, instances: -1}"),
    ("scales", "{name: s, cpu: 1, memory: 1GB, number: 1}"),
    ("blueprints", "{name: b, cluster: {}}"),
    ("blueprints", "{name: b, clusters: {web: {services: [{breed: a, scales: b}]}}}"),
    ("blueprints", "{name: b, gateways: {9050: [[web/http]]}, clusters: {}}"),
];

#[test]
fn what_the_model_refuses_for_its_shape_the_schemas_refuse() {
    let mut wrong = Vec::new();
    for (kind, text) in MISSHAPEN {
        let kind: Kind = kind.parse().unwrap();
        let value = value_of(text).unwrap();
        if read_as(text, Format::Yaml, kind, value["name"].as_str()).is_ok() {
            wrong.push(format!("the model reads {text}"));
        }
        if broken(&of_kind(kind), &value).is_empty() {
            wrong.push(format!("the schema takes {text}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A file must say what it holds.
    for text in ["{name: a, condition: path is /}", "{kind: bread, name: a}", "{kind: scales, cpu: 1}"] {
        assert_ne!(broken(&of_any(), &value_of(text).unwrap()), [""; 0], "{text}");
    }
}

#[test]
fn schemas_stand_by_themselves() {
    for (name, schema) in all() {
        let text = schema.to_string();
        assert!(!text.contains(COMPONENTS), "{name} refers to the OpenAPI document");
        assert_eq!(schema["$schema"], DIALECT, "{name}");
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(schema.pointer(pointer).is_some(), "{name}: {pointer} leads nowhere");
        }
    }
}
