//! What is asked of deployments, and what is told of them.

use axum::body::Body;
use axum::http::header::ETAG;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use vamp_model::{
    Artifact, Blueprint, DeployBody, Deployment, Document, Format, Gateway, Kind, Topology, contract, read_as,
    read_deploy_body, read_scale, read_sla, to_json,
};

use super::ask::Ask;
use super::conditional::{self, Precondition};
use super::endpoints::Answer;
use super::problem::Problem;
use super::query::{Form, Parameter};
use super::write::{Failure, Made, Readings, Shape, answer_of, change};
use super::{history, read, write};
use crate::core::ChangeError;
use crate::deploy::{Action, DeployRequest, Expected};
use crate::reconcile::Phase;

/// `POST /api/v1/deployments`
pub(super) async fn deploy(mut ask: Ask) -> Answer {
    let mut readings = Readings::default();
    loop {
        let (blueprint, documents) = blueprint(&mut ask, None).await?;
        let deployment = blueprint.name.clone();
        let made = attempt(&ask, deployment, Action::Merge(Box::new(blueprint))).await?;
        if !readings.is_outdated(&made) {
            return answer(&ask, made, &documents);
        }
    }
}

/// `PUT /api/v1/deployments/{name}`
pub(super) async fn merge(mut ask: Ask) -> Answer {
    let deployment = ask.name().to_owned();
    let mut readings = Readings::default();
    loop {
        let (blueprint, documents) = blueprint(&mut ask, Some(&deployment)).await?;
        let action = if ask.query.switch(Parameter::Delete)? {
            Action::RemoveServices(named_services(&blueprint.body)?)
        } else {
            Action::Merge(Box::new(blueprint))
        };
        let made = attempt(&ask, deployment.clone(), action).await?;
        if !readings.is_outdated(&made) {
            return answer(&ask, made, &documents);
        }
    }
}

/// `GET /api/v1/deployments/{name}`
pub(super) async fn get(ask: Ask) -> Answer {
    if !ask.query.switch(Parameter::AsBlueprint)? {
        return read::get(ask, Kind::Deployment).await;
    }
    let ((deployment, _), form) = (stored(&ask).await?, ask.query.form()?);
    let blueprint = ask.api.core.export(&deployment).await;
    let blueprint = blueprint.map_err(|error| Problem::internal("reading the database", &error))?;
    Ok(ask.written.answer(StatusCode::OK, &as_blueprint(blueprint, form)))
}

/// The blueprint of a deployment as it is shown.
pub(super) fn as_blueprint(blueprint: Blueprint, form: Form) -> Value {
    let mut blueprint = Artifact::Blueprint(blueprint);
    if form == Form::Contracted {
        // Everything is written out in it already.
        contract(&mut blueprint);
    }
    to_json(&blueprint)
}

/// `GET /api/v1/deployments/{name}/status`
pub(super) async fn status(ask: Ask) -> Answer {
    let stored = stored(&ask).await.map(|(deployment, _)| deployment);
    let changed = read::current(&ask, Kind::Deployment, ask.name()).await?.map_or(0, |stored| stored.sequence);
    match status_of(&ask, ask.name(), stored.as_ref().ok(), changed) {
        Some(status) => Ok(ask.written.answer(StatusCode::OK, &status)),
        None => Err(stored.err().unwrap_or_else(|| Problem::no_part("nothing is known of the deployment yet"))),
    }
}

/// How far a deployment has come since it was changed last; `None`: nothing of it is wanted, and nothing is left.
fn status_of(ask: &Ask, name: &str, stored: Option<&Deployment>, changed: u64) -> Option<Value> {
    let states = ask.api.states.borrow();
    let own: Vec<_> = states.iter().filter(|(service, _)| service.deployment == name).map(|(_, state)| state).collect();
    if own.is_empty() && stored.is_none() {
        return None;
    }
    let wanted = stored.map_or(0, |stored| stored.body.clusters.iter().map(|cluster| cluster.services.len()).sum());
    let done =
        own.len() == wanted && own.iter().all(|state| state.phase == Phase::Done && state.seen_change >= changed);
    Some(json!({"done": done, "services": own}))
}

/// `DELETE /api/v1/deployments/{name}`
pub(super) async fn undeploy(mut ask: Ask) -> Answer {
    let deployment = ask.name().to_owned();
    if ask.body.is_empty() {
        return make(&ask, deployment, Action::Remove, &[]).await;
    }
    let (blueprint, documents) = blueprint(&mut ask, Some(&deployment)).await?;
    let services = named_services(&blueprint.body)?;
    make(&ask, deployment, Action::RemoveServices(services), &documents).await
}

/// `POST /api/v1/deployments/{name}/history/{version}/restore`
pub(super) async fn restore(ask: Ask) -> Answer {
    let version = ask.version()?;
    let versions = history::versions(&ask, Kind::Deployment).await?;
    let old = history::find(&ask, Kind::Deployment, &versions, version)?;
    let Some(document) = &old.document else {
        return Err(Problem::deleted_version(Kind::Deployment, ask.name(), version));
    };
    let read = read_as(document, Format::Json, Kind::Deployment, Some(ask.name())).map_err(Problem::bad_document)?;
    let then = read.into_iter().find_map(|document| match document.artifact {
        Artifact::Deployment(deployment) => Some(Box::new(deployment)),
        _ => None,
    });
    let Some(then) = then else { return Err(Problem::no_version(Kind::Deployment, ask.name(), version)) };
    let gateways = gone_gateways(&ask, &then).await?;
    let action = Action::Restore { then, gateways };
    make(&ask, ask.name().to_owned(), action, &[]).await
}

/// The gateways of a deployment that are not there, as they were last.
async fn gone_gateways(ask: &Ask, then: &Deployment) -> Result<Vec<Gateway>, Problem> {
    let core = &ask.api.core;
    let mut gateways = Vec::new();
    for name in crate::deploy::gateway_names(then) {
        let there = core.artifact(Kind::Gateway, &name).await;
        if there.map_err(|error| Problem::internal("reading the database", &error))?.is_some() {
            continue;
        }
        let past = core.history(Kind::Gateway, &name).await;
        let past = past.map_err(|error| Problem::database("reading the history", &error))?;
        let sound = past.iter().rev().filter(|past| past.stored.damage.is_none());
        let Some(document) = sound.into_iter().find_map(|past| past.stored.document.as_deref()) else { continue };
        // What can't be read any more comes back as a new one.
        let read = read_as(document, Format::Json, Kind::Gateway, Some(&name)).unwrap_or_default();
        gateways.extend(read.into_iter().filter_map(|document| match document.artifact {
            Artifact::Gateway(gateway) => Some(gateway),
            _ => None,
        }));
    }
    Ok(gateways)
}

/// `DELETE …/clusters/{cluster}/services/{service}`
pub(super) async fn undeploy_service(ask: Ask) -> Answer {
    let service = (ask.parameters.cluster.clone(), ask.parameters.service.clone());
    let deployment = ask.name().to_owned();
    make(&ask, deployment, Action::RemoveServices(vec![service]), &[]).await
}

/// `GET …/clusters/{cluster}/services/{service}/scale`
pub(super) async fn scale(ask: Ask) -> Answer {
    let (deployment, version) = stored(&ask).await?;
    let (cluster, service) = (&ask.parameters.cluster, &ask.parameters.service);
    let found = deployment.cluster(cluster).and_then(|found| found.service(service));
    let Some(found) = found else {
        let what = format!("deployment `{}` has no service `{service}` in a cluster `{cluster}`", deployment.name);
        return Err(Problem::no_part(what));
    };
    let size = crate::deploy::size_of(found);
    Ok(part(&ask, version, &Value::Object(size.to_fields())))
}

/// `PUT …/clusters/{cluster}/services/{service}/scale`
pub(super) async fn set_scale(mut ask: Ask) -> Answer {
    let scale = ask.read(read_scale).await?;
    let (cluster, service) = (ask.parameters.cluster.clone(), ask.parameters.service.clone());
    let action = Action::Scale { cluster, service, scale };
    make(&ask, ask.name().to_owned(), action, &[]).await
}

/// `GET …/clusters/{cluster}/sla`
pub(super) async fn sla(ask: Ask) -> Answer {
    let (deployment, version) = stored(&ask).await?;
    let cluster = &ask.parameters.cluster;
    let missing = |what: &str| Problem::no_part(format!("deployment `{}` has no {what}", deployment.name));
    let found = deployment.cluster(cluster).ok_or_else(|| missing(&format!("cluster `{cluster}`")))?;
    let sla = found.sla.as_ref().ok_or_else(|| missing(&format!("SLA in cluster `{cluster}`")))?;
    Ok(part(&ask, version, &sla.to_json()))
}

/// `PUT …/clusters/{cluster}/sla`
pub(super) async fn set_sla(mut ask: Ask) -> Answer {
    let sla = ask.read(read_sla).await?;
    let action = Action::Sla { cluster: ask.parameters.cluster.clone(), sla: Some(sla) };
    make(&ask, ask.name().to_owned(), action, &[]).await
}

/// `DELETE …/clusters/{cluster}/sla`
pub(super) async fn remove_sla(ask: Ask) -> Answer {
    let action = Action::Sla { cluster: ask.parameters.cluster.clone(), sla: None };
    make(&ask, ask.name().to_owned(), action, &[]).await
}

/// Asks for a change of a deployment, and answers with the deployment; its gateways are read at their own addresses.
async fn make(ask: &Ask, deployment: String, action: Action, documents: &[Document]) -> Answer {
    answer(ask, attempt(ask, deployment, action).await?, documents)
}

async fn attempt(ask: &Ask, deployment: String, action: Action) -> Result<Result<Made, Failure>, Problem> {
    let precondition = Precondition::of_write(&ask.headers)?;
    let is_removal = matches!(action, Action::Remove | Action::RemoveServices(_) | Action::Sla { sla: None, .. });
    let expected = match precondition {
        Precondition::Absent if is_removal => {
            let mend = "send `If-Match` with the version that you saw, or nothing";
            return Err(Problem::bad_request("`If-None-Match` says nothing about a deletion", mend));
        }
        Precondition::Absent => Expected::Nothing,
        _ => {
            let expected = write::expected_of(ask, Kind::Deployment, &deployment, &precondition).await?;
            expected.map_or(Expected::Anything, Expected::Version)
        }
    };
    Ok(change(ask, Vec::new(), vec![DeployRequest { deployment, expected, action }]).await)
}

fn answer(ask: &Ask, made: Result<Made, Failure>, documents: &[Document]) -> Answer {
    if let Err(Failure::Change(ChangeError::Exists { kind: Kind::Deployment, name, version })) = &made {
        let detail = format!("deployment `{name}` exists already, at version {version}");
        return Err(Problem::version_mismatch(detail, "leave `If-None-Match` out to change it"));
    }
    let made = made.map_err(|failure| failure.into_problem(documents))?;
    answer_of(ask, made, Kind::Deployment, Shape::One)
}

/// The blueprint that a body holds, or that it names.
async fn blueprint(ask: &mut Ask, name: Option<&str>) -> Result<(Blueprint, Vec<Document>), Problem> {
    let name = name.map(str::to_owned);
    let body = ask.read(move |text, format, stored| read_deploy_body(text, format, name.as_deref(), stored)).await?;
    let document = match body {
        DeployBody::Written(document) => *document,
        DeployBody::Stored(reference) => {
            return match ask.api.core.artifact(Kind::Blueprint, &reference).await {
                Ok(Some(Artifact::Blueprint(blueprint))) => Ok((blueprint, Vec::new())),
                Ok(_) => Err(read::missing_named(ask, Kind::Blueprint, &reference).await),
                Err(error) => Err(Problem::internal("reading the database", &error)),
            };
        }
    };
    match document.artifact.clone() {
        Artifact::Blueprint(blueprint) => Ok((blueprint, vec![document])),
        // What was shown as a deployment is deployed again.
        Artifact::Deployment(Deployment { name, metadata, body }) => {
            Ok((Blueprint { name, metadata, body }, vec![document]))
        }
        _ => Err(Problem::bad_request("the body is no blueprint", "send a blueprint, or the name of one")),
    }
}

/// Every service that is named: cluster and breed.
pub(super) fn services(body: &Topology) -> Vec<(String, String)> {
    let clusters = body.clusters.iter();
    let named = clusters.flat_map(|cluster| {
        cluster.services.iter().map(|service| (cluster.name.clone(), service.breed.name().to_owned()))
    });
    named.collect()
}

/// The same of who wants some removed.
fn named_services(body: &Topology) -> Result<Vec<(String, String)>, Problem> {
    let services = services(body);
    if services.is_empty() {
        let mend = "name services to remove these, or send `DELETE` without a body to remove the whole deployment";
        return Err(Problem::bad_request("the body names no service", mend));
    }
    Ok(services)
}

/// A part of a deployment. Its tag is the version of the whole, which is what a write of the part has to match.
fn part(ask: &Ask, version: u64, value: &Value) -> Response<Body> {
    let mut answer = ask.written.answer(StatusCode::OK, value);
    answer.headers_mut().insert(ETAG, conditional::tag(version));
    answer
}

/// The deployment and its version, both of one moment.
async fn stored(ask: &Ask) -> Result<(Deployment, u64), Problem> {
    let current = ask.api.core.shared.refresh().await;
    let current = current.map_err(|error| Problem::internal("reading the database", &error))?;
    let (kind, name) = (Kind::Deployment, ask.name());
    match (current.artifact(kind, name), current.stored(kind, name)) {
        (Some(Artifact::Deployment(deployment)), Some(stored)) => Ok((deployment.clone(), stored.version)),
        _ => Err(read::missing(ask, kind).await),
    }
}
