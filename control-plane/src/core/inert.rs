//! What is kept and not acted on: its authors are told.

use vamp_model::{Artifact, SlaBody, SlaRule, SlaUse, Topology};

use super::WriteRequest;
use crate::plan::Warning;

/// What is to be known of what is written: what is kept and not acted on.
pub(super) fn warnings(writes: &[WriteRequest]) -> Vec<Warning> {
    let written = writes.iter().filter_map(|write| write.artifact.as_ref());
    let messages = written.flat_map(|artifact| match artifact {
        Artifact::Workflow(workflow) => {
            vec![format!("workflow `{}` is kept and does not run: nothing in this build runs workflows", workflow.name)]
        }
        Artifact::Breed(breed) if breed.deployable.kind.as_deref() == Some("application/javascript") => {
            vec![format!(
                "breed `{}` is kept and does not run: it is the script of a workflow, and nothing in this build runs workflows",
                breed.name
            )]
        }
        Artifact::Sla(sla) => unknown_type(&format!("SLA `{}`", sla.name), &sla.body).into_iter().collect(),
        Artifact::Deployment(deployment) => of_clusters(&deployment.body),
        Artifact::Blueprint(blueprint) => of_clusters(&blueprint.body),
        _ => Vec::new(),
    });
    let mut messages: Vec<String> = messages.collect();
    messages.dedup();
    messages.into_iter().map(|message| Warning { gateway: None, message }).collect()
}

fn of_clusters(body: &Topology) -> Vec<String> {
    let promises = body.clusters.iter().filter_map(|cluster| match &cluster.sla {
        Some(SlaUse::Inline(sla)) => unknown_type(&format!("the SLA of cluster `{}`", cluster.name), sla),
        _ => None,
    });
    promises.collect()
}

fn unknown_type(what: &str, sla: &SlaBody) -> Option<String> {
    let SlaRule::Other { kind, .. } = &sla.rule else { return None };
    Some(format!("{what} has the type `{kind}`, which is kept and not acted on: docs/sla.md has those that are"))
}

#[cfg(test)]
mod tests {
    use vamp_model::{Format, read};

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let documents = read(text, Format::Yaml).unwrap().into_iter();
        let writes: Vec<_> = documents.map(|document| WriteRequest::create(document.artifact)).collect();
        let told: Vec<_> = warnings(&writes).into_iter().map(|warning| warning.message).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        assert!(told.iter().zip(expected).all(|(told, part)| told.contains(part)), "{told:?}");
    }

    #[test]
    fn what_is_not_acted_on_is_told_and_nothing_else() {
        let known = "{type: escalation_only, escalations: []}";
        let other = "{type: moon_phase}";
        check(
            &format!(
                "{{kind: slas, name: a, type: escalation_only}}\n---\n{{kind: blueprints, name: b, clusters: {{web: {{services: [x], sla: {known}}}}}}}"
            ),
            &[],
        );
        check("{kind: slas, name: a, type: moon_phase}", &["SLA `a` has the type `moon_phase`"]);
        check(
            &format!("{{kind: blueprints, name: b, clusters: {{web: {{services: [x], sla: {other}}}}}}}"),
            &["the SLA of cluster `web` has the type `moon_phase`"],
        );
        check("{kind: breeds, name: b, deployable: {type: javascript, definition: x}}", &["breed `b` is kept"]);
        check("{kind: breeds, name: b, deployable: {type: cmd, definition: x}}", &[]);
        check("{kind: workflows, name: w, breed: b, schedule: daemon}", &["workflow `w` is kept and does not run"]);
    }
}
