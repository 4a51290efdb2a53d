//! What is told of values that lead nowhere, however often they do.

use vamp_model::VIOLATIONS_MAX;

use super::*;

/// What is told of a service whose variable has this value, beside others.
fn told(value: &str, others: &str) -> Vec<String> {
    let deployable = "name: web, deployable: i, constants: {known: x}";
    let text =
        format!("{{clusters: {{web: {{services: {{breed: {{{deployable}, env: {{V: '{value}'{others}}}}}}}}}}}}}");
    let Err(Refusal::Findings(findings)) = World::new().merge("shop", &text) else { panic!("not refused: {text}") };
    findings.iter().map(|found| found.violation.to_string()).collect()
}

#[test]
fn a_reference_that_stands_often_is_told_of_once() {
    let told = told(&"$nothing $known ".repeat(2_000), "");
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("`$nothing` is neither a variable nor a constant"), "{told:#?}");
}

#[test]
fn no_more_is_told_of_values_than_of_documents() {
    let all: Vec<_> = (0..20 * VIOLATIONS_MAX).map(|number| format!("$n{number}")).collect();
    let told = told(&all.join(" "), "");
    assert_eq!(told.len(), VIOLATIONS_MAX);
    assert!(told[0].contains("`$n0`"), "{}", told[0]);
}

#[test]
fn what_lacks_values_hides_nothing_that_makes_no_sense() {
    let lacking: Vec<_> = (0..2 * VIOLATIONS_MAX).map(|number| format!("L{number}: ~")).collect();
    let told = told("fine", &format!(", {}, Z: $nothing", lacking.join(", ")));
    let senseless = told.iter().filter(|told| told.contains("`$nothing`")).count();
    assert_eq!((told.len(), senseless), (VIOLATIONS_MAX + 1, 1), "{told:#?}");
}

#[test]
fn what_only_refers_to_what_is_missing_says_it_not_again() {
    let told = told("$W and $W", ", W: $X, X: $nothing");
    assert_eq!(told.len(), 1, "{told:#?}");
}
