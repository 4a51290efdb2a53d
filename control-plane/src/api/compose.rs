//! Docker Compose files become blueprints.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use vamp_model::{Artifact, Kind, read_compose};

use super::address;
use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::query::Parameter;
use super::write::change;
use crate::core::WriteRequest;

/// `POST /api/v1/docker-compose`
pub(super) async fn import(mut ask: Ask) -> Answer {
    let Some(name) = ask.query.text(Parameter::Name).map(str::to_owned) else {
        return Err(Problem::bad_request("the blueprint has no name", "say it: `?name=NAME`"));
    };
    // The environment of the control plane is nobody's: variables of the file have their defaults, or nothing.
    let blueprint = name.clone();
    let composed = ask.read(move |text, _, _| read_compose(text, &blueprint, &|_| None)).await?;
    let writes = vec![WriteRequest::create(Artifact::Blueprint(composed.blueprint))];
    let validate_only = ask.query.validate_only()?;
    change(&ask, writes, Vec::new()).await.map_err(|failure| failure.into_problem(&[]))?;
    let mut answer = Response::new(Body::from(composed.text));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
    if !validate_only {
        *answer.status_mut() = StatusCode::CREATED;
        if let Ok(location) = HeaderValue::from_str(&address::of_artifact(Kind::Blueprint, &name)) {
            answer.headers_mut().insert(LOCATION, location);
        }
    }
    Ok(answer)
}
