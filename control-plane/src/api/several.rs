//! Several artifacts in one change: all of them, or none.

use vamp_model::{Artifact, Blueprint, Deployment, Kind};

use super::ask::Ask;
use super::conditional::Precondition;
use super::endpoints::Answer;
use super::problem::Problem;
use super::write::{Shape, answer, answer_named, change};
use crate::core::WriteRequest;
use crate::deploy::{Action, DeployRequest};

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
    write(ask, None, |artifact| WriteRequest::replace(artifact, None)).await
}

/// `DELETE /api/v1`
pub(super) async fn delete(ask: Ask) -> Answer {
    write(ask, None, |artifact| WriteRequest::delete(artifact.kind(), artifact.name(), None)).await
}

async fn write(mut ask: Ask, kind: Option<Kind>, request: fn(Artifact) -> WriteRequest) -> Answer {
    if Precondition::of_write(&ask.headers)? != Precondition::None {
        let detail = "`If-Match` and `If-None-Match` can't be said of a list";
        return Err(Problem::bad_request(detail, "send them with one artifact at its own address"));
    }
    let documents = ask.documents(kind, None).await?;
    let shape = if documents.len() == 1 { Shape::One } else { Shape::List };
    let (mut writes, mut deploys, mut is_deletion) = (Vec::new(), Vec::new(), true);
    for document in &documents {
        let artifact = document.artifact.clone();
        if artifact.kind() == Kind::Instances {
            let mend = "leave it out: the control plane finds out itself where instances are";
            return Err(Problem::bad_request("instances are not written by users", mend));
        }
        let write = request(artifact);
        is_deletion &= write.artifact.is_none();
        match write.artifact {
            // What follows from a deployment is more than its document.
            Some(Artifact::Deployment(Deployment { name, metadata, body })) => {
                let blueprint = Blueprint { name: name.clone(), metadata, body };
                deploys.push(DeployRequest { deployment: name, action: Action::Merge(Box::new(blueprint)) });
            }
            None if write.kind == Kind::Deployment => {
                deploys.push(DeployRequest { deployment: write.name, action: Action::Remove });
            }
            _ => writes.push(write),
        }
    }
    let has_deployments = !deploys.is_empty();
    let made = change(&ask, writes, deploys).await.map_err(|failure| failure.into_problem(&documents))?;
    let shape = if is_deletion && shape == Shape::One { Shape::Removed } else { shape };
    if has_deployments {
        return answer_named(&ask, made, &documents, shape);
    }
    answer(&ask, made, shape)
}
