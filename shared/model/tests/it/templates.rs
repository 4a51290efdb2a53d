//! Templates and stored rewrites as documents.

use proptest::prelude::*;
use serde_json::{Value, json};
use vamp_model::{Artifact, Format, Kind, RewriteUse, Template, expand, read, read_as, references, to_json, to_yaml};

use crate::schemas;

#[track_caller]
fn template(text: &str) -> Template {
    schemas::check_text(Kind::Template, text);
    match read_as(text, Format::Yaml, Kind::Template, Some("t")).unwrap().remove(0).artifact {
        Artifact::Template(template) => template,
        other => panic!("{other:?} is no template"),
    }
}

#[track_caller]
fn check_refused(kind: Kind, text: &str, part: &str) {
    let violations = read_as(text, Format::Yaml, kind, Some("x")).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{text}: {violations:#?}") };
    assert!(violation.line == Some(1) && violation.to_string().contains(part), "{text}: {violation:#?}");
}

#[test]
fn a_template_keeps_any_map() {
    let found = template("{definition: {ports: {web: 80}, env: {A: ~}, version: 1.10, list: [1, {x: y}]}}");
    assert_eq!(found.definition["ports"]["web"], 80);
    assert_eq!(found.definition["version"], "1.10", "it may be a name, and is not made another one");
    assert_eq!(template("{def: {a: 1}}"), template("{definition: {a: 1}}"));
    check_refused(Kind::Template, "{metadata: {}}", "has no definition");
    check_refused(Kind::Template, "{definition: [a]}", "is a list: write it as a map");
    check_refused(Kind::Template, "{definition: {a: 1}, def: {b: 1}}", "keep one of them");
    check_refused(Kind::Template, "{definition: {import: []}}", "imports nothing");
    check_refused(Kind::Template, "{definition: {import: bread/x}}", "begins with no kind");
}

#[test]
fn a_template_uses_what_its_definition_imports() {
    let found = references(&Artifact::Template(template("{definition: {import: [base, breeds/web]}}")));
    let found: Vec<_> = found.into_iter().map(|found| (found.kind, found.name)).collect();
    assert_eq!(found, [(Kind::Template, "base".to_owned()), (Kind::Breed, "web".to_owned())]);
}

#[test]
fn a_stored_rewrite_is_referred_to_by_routes() {
    let text = "{kind: rewrites, name: r, path: '/new if path is /old'}";
    schemas::check_text(Kind::Rewrite, text);
    let stored = read(text, Format::Yaml).unwrap().remove(0).artifact;
    assert_eq!(read(&to_json(&stored).to_string(), Format::Json).unwrap()[0].artifact, stored);
    for rewrites in ["r", "[r]", "{reference: r}", "[{ref: r}]"] {
        let text = format!("{{name: x, rewrites: {rewrites}}}");
        schemas::check_text(Kind::Route, &text);
        let mut route = read_as(&text, Format::Yaml, Kind::Route, None).unwrap().remove(0).artifact;
        let found = references(&route);
        assert_eq!((found[0].kind, found[0].pointer.as_str()), (Kind::Rewrite, "/rewrites/0"), "{text}");
        expand(&mut route, &|_, name| Some(&stored).filter(|_| name == "r"));
        let Artifact::Route(route) = route else { panic!() };
        assert!(matches!(&route.body.rewrites[0], RewriteUse::Inline(rule) if rule.path == "/new"));
    }
    check_refused(Kind::Rewrite, "{path: /new}", "has no condition");
    check_refused(Kind::Rewrite, "{path: '/new if nonsense ???'}", "the condition of rewrite `x`");
    check_refused(Kind::Route, "{rewrites: '/new if path is /old'}", "write `- path:");
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-99..99_i32).prop_map(|number| json!(f64::from(number) / 4.0)),
        "[a-z0-9.:$ ]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z.]{1,5}", inner), 0..4).prop_map(|pairs| pairs.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_as_the_same(fields in prop::collection::vec(("[a-h]{1,3}", values()), 0..5)) {
        let definition: Value = fields.into_iter().collect();
        let document = json!({"kind": "templates", "name": "t", "definition": definition});
        let artifact = read(&document.to_string(), Format::Json).unwrap().remove(0).artifact;
        schemas::check(Kind::Template, &document);
        let written = to_json(&artifact);
        prop_assert_eq!(&written["definition"], &document["definition"]);
        for (text, format) in [(written.to_string(), Format::Json), (to_yaml(&written), Format::Yaml)] {
            let read = read(&text, format).map(|mut documents| documents.remove(0).artifact);
            prop_assert_eq!(read.as_ref(), Ok(&artifact), "{}", text);
        }
    }
}
