//! Artifacts with everything written out, and with as much as can be left to references.

use vamp_model::{Artifact, Format, Kind, contract, expand, read, references, to_json};

const STORED: &str = "
- {kind: breeds, name: db, deployable: {type: command, definition: db}, ports: {tcp: 5432/tcp}}
- kind: breeds
  name: shop
  deployable: {type: command, definition: shop}
  ports: {http: 80/http}
  dependencies: {db: {reference: db}}
- {kind: scales, name: small, cpu: 0.5, memory: 64MB, instances: 2}
- {kind: escalations, name: more, type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}
- {kind: escalations, name: all, type: to_all, escalations: [more]}
- kind: slas
  name: fast
  type: response_time_sliding_window
  threshold: {upper: 800, lower: 100}
  window: {interval: 60, cooldown: 120}
  escalations: [all]
- {kind: conditions, name: phone, condition: user-agent == Android}
- {kind: routes, name: canary, weight: 10%, condition: {reference: phone}}
- {kind: gateways, name: front, routes: {'[127.0.0.1:81]': {weight: 90%}, '[127.0.0.1:82]': canary}}
- kind: blueprints
  name: site
  clusters:
    web:
      sla: {reference: fast}
      services: [{breed: {reference: shop}, scale: {reference: small}}]
";

fn stored(text: &str) -> Vec<Artifact> {
    read(text, Format::Yaml).unwrap().into_iter().map(|document| document.artifact).collect()
}

fn find<'s>(all: &'s [Artifact], kind: Kind, name: &str) -> Option<&'s Artifact> {
    all.iter().find(|artifact| artifact.kind() == kind && artifact.name() == name)
}

fn expanded(all: &[Artifact], kind: Kind, name: &str) -> Artifact {
    let mut artifact = find(all, kind, name).unwrap().clone();
    expand(&mut artifact, &|kind, name| find(all, kind, name));
    artifact
}

#[test]
fn everything_is_written_out_at_every_depth() {
    let all = stored(STORED);
    let blueprint = expanded(&all, Kind::Blueprint, "site");
    assert_eq!(references(&blueprint), []);
    let text = to_json(&blueprint).to_string();
    for part in
        [r#""definition":"shop""#, r#""definition":"db""#, r#""instances":2"#, r#""upper":800"#, r#""scale_by":1"#]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let gateway = to_json(&expanded(&all, Kind::Gateway, "front"));
    let route = &gateway["routes"]["[127.0.0.1:82]"];
    assert_eq!((&route["weight"], &route["condition"]["condition"]), (&"10%".into(), &"user-agent == Android".into()));
    // What is written out is a document of its own.
    for (kind, name) in
        [(Kind::Blueprint, "site"), (Kind::Gateway, "front"), (Kind::Breed, "shop"), (Kind::Sla, "fast")]
    {
        let artifact = expanded(&all, kind, name);
        assert_eq!(stored(&to_json(&artifact).to_string()), [artifact]);
    }
}

#[test]
fn what_needs_itself_or_is_not_there_stays_a_reference() {
    let all = stored(
        "
- {kind: breeds, name: a, deployable: {type: command, definition: a}, dependencies: {b: {reference: b}}}
- {kind: breeds, name: b, deployable: {type: command, definition: b}, dependencies: {a: {reference: a}, c: {reference: c}}}
- {kind: escalations, name: round, type: to_all, escalations: [round]}
",
    );
    let left = references(&expanded(&all, Kind::Breed, "a"));
    let left: Vec<_> = left.iter().map(|left| (left.name.as_str(), left.pointer.as_str())).collect();
    assert_eq!(left, [("a", "/dependencies/b/dependencies/a"), ("c", "/dependencies/b/dependencies/c")]);
    let text = to_json(&expanded(&all, Kind::Escalation, "round")).to_string();
    assert!(text.len() < 500, "{text}");
}

#[test]
fn what_doubles_with_each_step_is_bounded() {
    let breed = |number: u32| {
        let next = number + 1;
        format!(
            "- {{kind: breeds, name: b{number}, deployable: {{type: command, definition: b}}, dependencies: {{x: {{reference: \
             b{next}}}, y: {{reference: b{next}}}}}}}\n"
        )
    };
    let all = stored(&(0..60).map(breed).collect::<String>());
    let text = to_json(&expanded(&all, Kind::Breed, "b0")).to_string();
    assert!((10_000..10_000_000).contains(&text.len()), "{}", text.len());
}

#[test]
fn contracted_services_have_the_names_of_their_breeds() {
    let all = stored(STORED);
    let mut blueprint = expanded(&all, Kind::Blueprint, "site");
    contract(&mut blueprint);
    let breeds: Vec<_> = references(&blueprint).into_iter().map(|reference| (reference.kind, reference.name)).collect();
    assert_eq!(breeds, [(Kind::Breed, "shop".to_owned())]);
}
