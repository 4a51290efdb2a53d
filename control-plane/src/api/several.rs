//! Several artifacts in one change: all of them, or none.

use vamp_model::{Artifact, Blueprint, Deployment, Document, Format, Kind, Named, read_as, read_named};

use super::ask::Ask;
use super::conditional::Precondition;
use super::deployments;
use super::endpoints::Answer;
use super::problem::Problem;
use super::query::Parameter;
use super::write::{Made, Readings, Shape, answer, answer_named, change};
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
pub(super) async fn delete(mut ask: Ask) -> Answer {
    refuse_preconditions(&ask)?;
    let mut readings = Readings::default();
    loop {
        let named = ask.read(read_named).await?;
        let shape = if named.len() == 1 { Shape::Removed } else { Shape::List };
        let Asked { writes, deploys, named, documents } = Asked::deletions(named)?;
        let has_deployments = !deploys.is_empty();
        let made = change(&ask, writes, deploys).await;
        if readings.is_outdated(&made) {
            continue;
        }
        let made = made.map_err(|failure| failure.into_problem(&documents))?;
        return if has_deployments { answer_named(&ask, made, &named, shape) } else { answer(&ask, made, shape) };
    }
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
    refuse_preconditions(&ask)?;
    let mut readings = Readings::default();
    loop {
        let documents = ask.documents(kind, None).await?;
        let Asked { writes, deploys, named, documents } = Asked::of(documents, request, blueprints)?;
        let has_deployments = !deploys.is_empty();
        let made = change(&ask, writes, deploys).await;
        if readings.is_outdated(&made) {
            continue;
        }
        let mut made = made.map_err(|failure| failure.into_problem(&documents))?;
        let shape = if documents.len() == 1 { Shape::One } else { Shape::List };
        if !has_deployments {
            return answer(&ask, made, shape);
        }
        if blueprints == Blueprints::Deploy {
            warn_of_left_over(&mut made, &documents);
        }
        return answer_named(&ask, made, &named, shape);
    }
}

fn refuse_preconditions(ask: &Ask) -> Result<(), Problem> {
    if Precondition::of_write(&ask.headers)? == Precondition::None {
        return Ok(());
    }
    let detail = "`If-Match` and `If-None-Match` can't be said of a list";
    Err(Problem::bad_request(detail, "send them with one artifact at its own address"))
}

/// What documents ask for.
struct Asked {
    writes: Vec<WriteRequest>,
    deploys: Vec<DeployRequest>,
    /// What is answered.
    named: Vec<(Kind, String)>,
    /// Where faults have their places.
    documents: Vec<Document>,
}

impl Asked {
    fn of(
        documents: Vec<Document>,
        request: fn(Artifact) -> WriteRequest,
        blueprints: Blueprints,
    ) -> Result<Self, Problem> {
        let mut asked = Self { writes: Vec::new(), deploys: Vec::new(), named: Vec::new(), documents: Vec::new() };
        for document in &documents {
            asked.name(document.artifact.kind(), document.artifact.name())?;
            asked.add(request(document.artifact.clone()), blueprints);
        }
        Ok(Self { documents, ..asked })
    }

    fn deletions(named: Vec<Named>) -> Result<Self, Problem> {
        let mut asked = Self { writes: Vec::new(), deploys: Vec::new(), named: Vec::new(), documents: Vec::new() };
        for named in named {
            match named {
                Named::Other(kind, name) => {
                    asked.name(kind, &name)?;
                    asked.writes.push(WriteRequest::delete(kind, &name, None));
                }
                Named::Deployment(document) => {
                    let name = document.artifact.name();
                    asked.name(Kind::Deployment, name)?;
                    let services = match &document.artifact {
                        Artifact::Deployment(deployment) => deployments::services(&deployment.body),
                        _ => Vec::new(),
                    };
                    // Who names services means these, also when they are not there.
                    let action = if services.is_empty() { Action::Remove } else { Action::RemoveServices(services) };
                    asked.deploys.push(DeployRequest::new(name, action));
                    asked.documents.push(*document);
                }
            }
        }
        Ok(asked)
    }

    fn name(&mut self, kind: Kind, name: &str) -> Result<(), Problem> {
        if kind == Kind::Instances {
            let mend = "leave it out: the control plane finds out itself where instances are";
            return Err(Problem::bad_request("instances are not written by users", mend));
        }
        self.named.push((kind, name.to_owned()));
        Ok(())
    }

    fn add(&mut self, write: WriteRequest, blueprints: Blueprints) {
        match &write.artifact {
            // What follows from a deployment is more than its document.
            Some(Artifact::Deployment(Deployment { name, metadata, body })) => {
                let (metadata, body) = (metadata.clone(), body.clone());
                let blueprint = Box::new(Blueprint { name: name.clone(), metadata, body });
                self.deploys.push(DeployRequest::new(name, Action::Merge(blueprint)));
                return;
            }
            Some(Artifact::Blueprint(blueprint)) if blueprints == Blueprints::Deploy => {
                let (deployment, action) = (blueprint.name.clone(), Action::Apply(Box::new(blueprint.clone())));
                self.named.push((Kind::Deployment, deployment.clone()));
                self.deploys.push(DeployRequest::new(deployment, action));
            }
            _ => {}
        }
        self.writes.push(write);
    }
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
    for warning in warnings {
        made.warn(warning);
    }
}
