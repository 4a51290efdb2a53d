//! Workflows: every short form, every refusal, and that what is written is read back.

use proptest::prelude::*;
use serde_json::{Value, json};
use vamp_model::{
    Artifact, Format, Kind, Period, Schedule, Start, Workflow, contract, expand, read, read_as, references, to_json,
};

use crate::schemas;

#[track_caller]
fn workflow(text: &str) -> Workflow {
    schemas::check_text(Kind::Workflow, text);
    match read_as(text, Format::Yaml, Kind::Workflow, Some("w")).unwrap().remove(0).artifact {
        Artifact::Workflow(workflow) => workflow,
        other => panic!("{other:?} is no workflow"),
    }
}

#[track_caller]
fn schedule(text: &str) -> Schedule {
    workflow(&format!("breed: b\nschedule: {text}")).schedule
}

/// One fault: its line, and a part of what is said.
#[track_caller]
fn check_refused(text: &str, line: u32, part: &str) {
    let violations = read_as(text, Format::Yaml, Kind::Workflow, Some("w")).unwrap_err();
    let [violation] = violations.as_slice() else { panic!("{text}: {violations:#?}") };
    assert!(violation.line == Some(line) && violation.to_string().contains(part), "{text}: {violation:#?}");
}

#[test]
fn every_short_form_of_a_schedule_is_read() {
    assert_eq!(schedule("daemon"), Schedule::Daemon);
    let one = Schedule::Event(vec!["health".to_owned()]);
    for text in ["{event: health}", "{event: [health]}", "{event: {tags: health}}", "{event: {tags: [health, health]}}"]
    {
        assert_eq!(schedule(text), one, "{text}");
    }
    let two = Schedule::Event(vec!["health".to_owned(), "deployments:shop".to_owned()]);
    assert_eq!(schedule("{event: [health, 'deployments:shop']}"), two);
    let every = |period, start, repeat| Schedule::Time { period, start, repeat };
    let minutes = Period { minutes: 5, ..Period::default() };
    assert_eq!(schedule("{time: PT5M}"), every(minutes, None, None));
    assert_eq!(schedule("{time: {period: PT5M}}"), every(minutes, None, None));
    assert_eq!(schedule("{time: ''}"), every(Period::SECOND, None, None));
    assert_eq!(schedule("{time: {period: PT5M, start: now, repeat: 3}}"), every(minutes, Some(Start::Now), Some(3)));
    let at = Start::At("2026-03-01T08:00:00Z".to_owned());
    assert_eq!(schedule("{time: {period: PT5M, start: 2026-03-01T08:00:00Z}}"), every(minutes, Some(at), None));
}

#[test]
fn a_workflow_has_what_a_service_has() {
    let text = "
name: w
kind: workflow
breed: {name: b, deployable: {type: javascript, definition: 'run()'}, ports: {web: 8080}, env: {THRESHOLD: ~, NAME: ~}, constants: {K: 1}}
status: suspended
schedule: {event: health}
scale: {cpu: 0.1, memory: 64MB}
env: {THRESHOLD: '0.9', NAME: '$workflow.name of ${namespace}: $K $data $THRESHOLD $$'}
arguments: {privileged: true}
network: BRIDGE
health_checks: {port: web, timeout: 1, interval: 1, failures: 1}
dialect: {Marathon: {a: 1}}
instances: [{name: i}]
health: {running: 1}
";
    let found = workflow(text);
    assert_eq!(found.breed.name(), "b");
    assert_eq!((found.environment.len(), found.arguments.len()), (2, 1));
    assert_eq!((found.network.as_deref(), found.dialects["marathon"]["a"].as_u64()), (Some("BRIDGE"), Some(1)));
    let shown = to_json(&Artifact::Workflow(found));
    assert_eq!(shown["schedule"], json!({"event": {"tags": ["health"]}}));
}

#[test]
fn nothing_is_shown_as_running_that_does_not_run() {
    for status in ["", "status: suspended\n", "status: Suspending\n", "status: ~\n"] {
        let found = workflow(&format!("{status}breed: b\nschedule: daemon"));
        assert_eq!(to_json(&Artifact::Workflow(found))["status"], "suspended");
    }
    for status in ["starting", "running", "stopping", "restarting"] {
        check_refused(&format!("breed: b\nschedule: daemon\nstatus: {status}"), 3, "nothing runs workflows yet");
    }
    check_refused("breed: b\nschedule: daemon\nstatus: idle", 3, "which is none: write `suspended`");
}

#[test]
fn each_fault_has_its_place_and_its_mend() {
    check_refused("schedule: daemon", 1, "has no breed: add `breed: NAME`");
    check_refused("breed: b", 1, "has no schedule: add `schedule: daemon`");
    let check = |schedule: &str, part: &str| check_refused(&format!("breed: b\nschedule: {schedule}"), 2, part);
    check("{time: 5s}", "is `5s`, which is none: write it as ISO 8601 has it");
    check("{time: PT0S}", "which is none");
    check("{time: {start: now}}", "has no period");
    check("{time: {period: PT5S, start: tomorrow}}", "write `now`, or a time with its offset");
    check("{time: {period: PT5S, repeat: 0}}", "leave it out for no end");
    check("{time: {period: PT5S, every: 1}}", "has no field `every`");
    check("{event: []}", "an event without tags");
    check("{event: {tags: ['']}}", "an empty tag");
    check("{event: a, time: PT5S}", "`event` and `time`");
    check("{}", "says nothing");
    check("hourly", "write `daemon`");
    check("[daemon]", "is a list");
    check_refused("breed: b\nschedule: daemon\nenv: {A: ~}", 3, "has no value");
    check_refused("breed: b\nschedule: daemon\nenv: {A: '$b.c.d'}", 3, "nothing that a cluster has");
    let inline = |rest: &str| format!("{{breed: {{name: b, deployable: i, env: {{A: ~}}}}, schedule: daemon, {rest}}}");
    check_refused(&inline("env: {B: 1}"), 1, "which breed `b` does not have: it has A");
    check_refused(&inline("env: {A: $b.host}"), 1, "a workflow has no clusters");
    check_refused(&inline("env: {A: $X}"), 1, "has nothing of that name");
    check_refused(&inline("health_checks: {port: web, timeout: 1, interval: 1, failures: 1}"), 1, "asks port `web`");
    check_refused("breed: b\nscheduel: daemon\nschedule: daemon", 2, "did you mean `schedule`?");
}

#[test]
fn all_faults_are_told_at_once() {
    let text = "status: running\nschedule: {time: 5s}\nenv: {A: ~}\nnetwork: []\nmore: 1";
    let violations = read_as(text, Format::Yaml, Kind::Workflow, Some("w")).unwrap_err();
    assert_eq!(violations.len(), 6, "{violations:#?}");
}

#[test]
fn a_workflow_names_what_it_uses_and_is_written_out_and_back() {
    let found = Artifact::Workflow(workflow("{breed: b, scale: small, schedule: daemon}"));
    let named: Vec<_> = references(&found).into_iter().map(|found| (found.kind, found.name, found.pointer)).collect();
    let expected = [(Kind::Breed, "b", "/breed"), (Kind::Scale, "small", "/scale")];
    assert_eq!(named, expected.map(|(kind, name, pointer)| (kind, name.to_owned(), pointer.to_owned())));
    let stored = "- {kind: breeds, name: b, deployable: i}\n- {kind: scales, name: small, cpu: 1, memory: 1GB}";
    let stored: Vec<_> = read(stored, Format::Yaml).unwrap().into_iter().map(|document| document.artifact).collect();
    let mut expanded = found;
    expand(&mut expanded, &|kind, name| stored.iter().find(|found| found.kind() == kind && found.name() == name));
    assert_eq!(references(&expanded), []);
    contract(&mut expanded);
    assert_eq!(references(&expanded).len(), 1);
}

fn schedules() -> impl Strategy<Value = Value> {
    let start = prop_oneof![Just(json!(null)), Just(json!("now")), Just(json!("2026-03-01T08:00:00.5+01:00"))];
    let time = (1..90_u32, start, prop::option::of(1..9_u32)).prop_map(|(seconds, start, repeat)| {
        json!({"time": {"period": format!("P1DT{seconds}S"), "start": start, "repeat": repeat}})
    });
    prop_oneof![
        Just(json!("daemon")),
        prop::collection::vec("[a-z:]{1,6}", 1..4).prop_map(|tags| json!({"event": tags})),
        (1..90_u32).prop_map(|seconds| json!({"time": format!("PT{seconds}.25S")})),
        time,
    ]
}

/// Workflows as users write them.
pub(crate) fn documents() -> impl Strategy<Value = Value> {
    let breed = prop_oneof![
        Just(json!("b")),
        Just(json!({"ref": "b"})),
        Just(json!({"name": "b", "deployable": "i", "ports": {"web": 1}, "environment_variables": {"A": null}})),
    ];
    let scale = prop_oneof![Just(json!(null)), Just(json!("small")), Just(json!({"cpu": "100m", "memory": "1Gi"}))];
    let value = prop_oneof![Just("1"), Just("$workflow"), Just("${workflow.name}-$$")];
    let checks = prop::option::of(Just(json!([{"port": "web", "timeout": 1, "interval": "1s", "failures": 0}])));
    (breed, schedules(), scale, value, checks).prop_map(|(breed, schedule, scale, value, checks)| {
        json!({
            "kind": "workflows", "name": "w", "metadata": {"a": [null]}, "breed": breed, "schedule": schedule, "scale": scale,
            "environment_variables": {"A": value}, "arguments": [{"a": "b"}], "network": "host", "health_checks": checks,
            "dialects": {"docker": {"x": 1}}, "status": "suspended",
        })
    })
}
