//! Several artifacts in one change: all of them, or none.

use vamp_model::{Artifact, Blueprint, Deployment, Document, Format, Kind, read_as};

use super::ask::Ask;
use super::conditional::Precondition;
use super::deployments;
use super::endpoints::Answer;
use super::problem::Problem;
use super::query::Parameter;
use super::write::{Made, Shape, answer, answer_named, change};
use crate::core::{Outcome, WriteRequest};
use crate::deploy::{Action, DeployRequest, left_over};

/// `POST /api/v1/{kind}`
pub(super) async fn create_of_kind(ask: Ask, kind: Kind) -> Answer {
    write(ask, Some(kind), WriteRequest::create).await
}

/// `PUT /api/v1/{kind}`
pub(super) async fn replace_of_kind(ask: Ask, kind: Kind) -> Answer {
    write(ask, Some(kind), |artifact| WriteRequest::replace(artifact, None)).await
}

/// `POST /api/v1`
pub(super) async fn create(ask: Ask) -> Answer {
    write(ask, None, WriteRequest::create).await
}

/// `PUT /api/v1`
pub(super) async fn replace(ask: Ask) -> Answer {
    let blueprints = if ask.query.switch(Parameter::Deploy)? { Blueprints::Deploy } else { Blueprints::Store };
    write_and(ask, None, |artifact| WriteRequest::replace(artifact, None), blueprints).await
}

/// `DELETE /api/v1`
pub(super) async fn delete(ask: Ask) -> Answer {
    write(ask, None, |artifact| WriteRequest::delete(artifact.kind(), artifact.name(), None)).await
}

/// What becomes of blueprints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blueprints {
    /// They are kept as descriptions.
    Store,
    /// They are kept, and what they describe is brought about.
    Deploy,
}

async fn write(ask: Ask, kind: Option<Kind>, request: fn(Artifact) -> WriteRequest) -> Answer {
    write_and(ask, kind, request, Blueprints::Store).await
}

async fn write_and(
    mut ask: Ask,
    kind: Option<Kind>,
    request: fn(Artifact) -> WriteRequest,
    blueprints: Blueprints,
) -> Answer {
    if Precondition::of_write(&ask.headers)? != Precondition::None {
        let detail = "`If-Match` and `If-None-Match` can't be said of a list";
        return Err(Problem::bad_request(detail, "send them with one artifact at its own address"));
    }
    let documents = ask.documents(kind, None).await?;
    let shape = if documents.len() == 1 { Shape::One } else { Shape::List };
    let (mut writes, mut deploys, mut is_deletion) = (Vec::new(), Vec::new(), true);
    let mut named = Vec::new();
    for document in &documents {
        let artifact = document.artifact.clone();
        if artifact.kind() == Kind::Instances {
            let mend = "leave it out: the control plane finds out itself where instances are";
            return Err(Problem::bad_request("instances are not written by users", mend));
        }
        let services = match &artifact {
            Artifact::Deployment(deployment) => deployments::services(&deployment.body),
            _ => Vec::new(),
        };
        named.push((artifact.kind(), artifact.name().to_owned()));
        let write = request(artifact);
        is_deletion &= write.artifact.is_none();
        match &write.artifact {
            // What follows from a deployment is more than its document.
            Some(Artifact::Deployment(Deployment { name, metadata, body })) => {
                let (metadata, body) = (metadata.clone(), body.clone());
                let blueprint = Box::new(Blueprint { name: name.clone(), metadata, body });
                deploys.push(DeployRequest { deployment: name.clone(), action: Action::Merge(blueprint) });
                continue;
            }
            None if write.kind == Kind::Deployment => {
                // Who names services means these, also when they are not there.
                let action = if services.is_empty() { Action::Remove } else { Action::RemoveServices(services) };
                deploys.push(DeployRequest { deployment: write.name, action });
                continue;
            }
            Some(Artifact::Blueprint(blueprint)) if blueprints == Blueprints::Deploy => {
                let (deployment, action) = (blueprint.name.clone(), Action::Apply(Box::new(blueprint.clone())));
                named.push((Kind::Deployment, deployment.clone()));
                deploys.push(DeployRequest { deployment, action });
            }
            _ => {}
        }
        writes.push(write);
    }
    let has_deployments = !deploys.is_empty();
    let made = change(&ask, writes, deploys).await;
    let mut made = made.map_err(|failure| failure.into_problem(&documents))?;
    let shape = if is_deletion && shape == Shape::One { Shape::Removed } else { shape };
    if !has_deployments {
        return answer(&ask, made, shape);
    }
    if blueprints == Blueprints::Deploy {
        warn_of_left_over(&mut made, &documents);
    }
    answer_named(&ask, made, &named, shape)
}

/// Names the services that run and that a blueprint names no longer: they are left, since they may have traffic.
fn warn_of_left_over(made: &mut Made, documents: &[Document]) {
    let mut warnings = Vec::new();
    for document in documents {
        let Artifact::Blueprint(blueprint) = &document.artifact else { continue };
        let name = &blueprint.name;
        let is_own = |outcome: &&Outcome| outcome.kind == Kind::Deployment && outcome.name == *name;
        let Some(outcome) = made.outcomes().iter().find(is_own) else { continue };
        let read = read_as(&outcome.document, Format::Json, Kind::Deployment, Some(name)).unwrap_or_default();
        for document in read {
            let Artifact::Deployment(running) = document.artifact else { continue };
            let left = left_over(&running, &blueprint.body);
            if left.is_empty() {
                continue;
            }
            let left: Vec<_> = left.iter().map(|(cluster, breed)| format!("{cluster}/{breed}")).collect();
            warnings.push(format!(
                "deployment `{name}` keeps {}, which the blueprint does not name: if that is not meant, `vamp undeploy {name} {}`",
                left.join(", "),
                left.join(" ")
            ));
        }
    }
    warnings.into_iter().for_each(|warning| made.warn(warning));
}
