//! What must hold of workflows before they are kept.

use vamp_model::{Artifact, BreedUse, Kind, Workflow, references};

use super::WriteRequest;
use super::artifacts::Artifacts;
use crate::plan::Finding;

/// What is wrong with the workflows of a change, or with its deployments beside workflows. `artifacts` are those that
/// would be there.
pub(super) fn check(writes: &[WriteRequest], artifacts: &Artifacts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for write in writes {
        match &write.artifact {
            Some(Artifact::Workflow(workflow)) => of_workflow(workflow, artifacts, &mut findings),
            Some(Artifact::Deployment(deployment)) if artifacts.get(Kind::Workflow, &deployment.name).is_some() => {
                findings.push(collision(Kind::Deployment, &deployment.name, Kind::Workflow));
            }
            _ => {}
        }
    }
    findings
}

fn of_workflow(workflow: &Workflow, artifacts: &Artifacts, findings: &mut Vec<Finding>) {
    let name = &workflow.name;
    if artifacts.get(Kind::Deployment, name).is_some() {
        findings.push(collision(Kind::Workflow, name, Kind::Deployment));
    }
    for reference in references(&Artifact::Workflow(workflow.clone())) {
        if artifacts.get(reference.kind, &reference.name).is_none() {
            let message = format!(
                "workflow `{name}` refers to the {} `{}`, which does not exist",
                reference.kind, reference.name
            );
            let mend = "create it first or in the same call, or write it out";
            findings.push(Finding::new(Kind::Workflow, name, reference.pointer, message, mend));
        }
    }
    if let BreedUse::Stored(breed) = &workflow.breed
        && let Some(Artifact::Breed(breed)) = artifacts.get(Kind::Breed, breed).map(AsRef::as_ref)
    {
        let faults = workflow.faults(breed).into_iter();
        findings.extend(faults.map(|(pointer, what, mend)| Finding::new(Kind::Workflow, name, pointer, what, mend)));
    }
}

/// Platforms know both by their names.
fn collision(kind: Kind, name: &str, other: Kind) -> Finding {
    Finding::new(
        kind,
        name,
        "/name",
        format!("there is a {other} `{name}`: a {kind} of that name would be taken for it"),
        "choose another name",
    )
}
