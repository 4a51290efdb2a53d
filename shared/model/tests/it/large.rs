//! Documents as large as a text may be, with faults in all parts of them. What is found costs as much as the text is long,
//! and not the square of it, which would keep these tests busy for many minutes.

use vamp_model::{Format, VIOLATIONS_MAX, read};

const COUNT: usize = 30_000;

fn many(one: impl Fn(usize) -> String) -> String {
    (0..COUNT).map(one).collect::<Vec<_>>().join(", ")
}

/// A blueprint with one service.
fn service(breed: &str, more: &str) -> String {
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        r#"{{"kind": "blueprints", "name": "b", "clusters": {{"web": {{"services": [{{
            "breed": {{"name": "w", "deployable": "i", {breed}}}{more}}}]}}}}}}"#
    )
}

#[track_caller]
fn refused(text: &str, part: &str) {
    let violations = read(text, Format::Json).unwrap_err();
    assert_eq!(violations.len(), VIOLATIONS_MAX);
    assert!(violations.iter().all(|found| found.message.contains(part) && found.line.is_some()), "{}", violations[0]);
}

#[test]
fn of_very_many_faults_as_many_as_help_are_told() {
    let variables = |value: &str| many(|at| format!(r#""V{at}": {value}"#));
    let declared = format!(r#""environment_variables": {{{}}}"#, variables("null"));
    let constants = format!(r#""constants": {{{}}}"#, many(|at| format!(r#""C{at}": "c""#)));
    refused(&service(&format!(r#""environment_variables": {{{}}}"#, variables(r#""$""#)), ""), "is no reference");
    refused(
        &service(&format!(r#""environment_variables": {{{}}}"#, variables(r#""$d.host""#)), ""),
        "there is no dependency",
    );
    let unknown = format!(r#""environment_variables": {{{}}}"#, many(|at| format!(r#""W{at}": "x""#)));
    refused(&service(&declared, &unknown), "has no variable");
    let values =
        format!(r#""environment_variables": {{{}}}"#, many(|at| format!(r#""V{at}": "$web.constants.D{at}""#)));
    refused(&service(&format!("{declared}, {constants}"), &values), "has no constant");
    refused(&service(&many(|at| format!(r#""x{at}": 1"#)), ""), "has no field");
}

#[test]
fn very_many_variables_stand_once_each() {
    let variables = many(|at| format!(r#""V{at}": "x""#));
    let twice = many(|at| format!(r#""V{at}": "x", "V{at}[W]": "y""#));
    let shared = many(|at| format!(r#""web.V{at}": "x", "web.env.V{at}": "y""#));
    let breed = format!(r#""environment_variables": {{{variables}}}"#);
    read(&service(&breed, &breed), Format::Json).unwrap();
    refused(&service(&format!(r#""environment_variables": {{{twice}}}"#), ""), "stands twice");
    let text = service(&breed, "");
    let text = text.replacen('{', &format!(r#"{{"environment_variables": {{{shared}}},"#), 1);
    refused(&text, "stands twice");
}
