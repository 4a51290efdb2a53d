//! Several artifacts in one change: all of them, or none.

use vamp_model::{Artifact, Document, Kind};

use super::ask::Ask;
use super::conditional::Precondition;
use super::endpoints::Answer;
use super::problem::Problem;
use super::write::{Shape, answer, change};
use crate::core::WriteRequest;

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
    let writes: Vec<WriteRequest> =
        documents.iter().map(|document: &Document| request(document.artifact.clone())).collect();
    let is_deletion = writes.iter().all(|write| write.artifact.is_none());
    let made = change(&ask, writes).await.map_err(|failure| failure.into_problem(&documents))?;
    answer(&ask, made, if is_deletion && shape == Shape::One { Shape::Removed } else { shape })
}
