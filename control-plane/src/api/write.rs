//! Changes: documents in, one change of the core, what became of it out.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use vamp_model::{Document, Kind, Violation, step};

use super::ask::Ask;
use super::conditional::{self, Precondition};
use super::endpoints::Answer;
use super::problem::Problem;
use super::read::with_port;
use super::{address, difference};
use crate::core::{ChangeError, ChangeRequest, Changed, Outcome, WriteRequest};
use crate::deploy::DeployRequest;
use crate::plan::{Finding, Warning};
use crate::rollout::Rollout;

/// `PUT /api/v1/{kind}/{name}`
pub(super) async fn put(ask: Ask, kind: Kind) -> Answer {
    put_if(ask, kind, false).await
}

/// `POST /api/v1/{kind}/{name}`
pub(super) async fn create(ask: Ask, kind: Kind) -> Answer {
    put_if(ask, kind, true).await
}

async fn put_if(mut ask: Ask, kind: Kind, is_new: bool) -> Answer {
    let precondition = Precondition::of_write(&ask.headers)?;
    if is_new && !matches!(precondition, Precondition::None | Precondition::Absent) {
        let mend = "send it with `PUT`";
        return Err(Problem::bad_request("`If-Match` says nothing about what is created", mend));
    }
    let name = ask.name().to_owned();
    let expected = expected(&ask, kind, &precondition).await?;
    let creates_only = precondition == Precondition::Absent;
    let write = |document: &Document| {
        let artifact = document.artifact.clone();
        if creates_only || is_new { WriteRequest::create(artifact) } else { WriteRequest::replace(artifact, expected) }
    };
    let mut readings = Readings::default();
    let (documents, changed) = loop {
        let documents = ask.documents(Some(kind), Some(&name)).await?;
        let changed = change(&ask, documents.iter().map(write).collect(), Vec::new()).await;
        if !readings.is_outdated(&changed) {
            break (documents, changed);
        }
    };
    if let Err(Failure::Change(ChangeError::Exists { version, .. })) = &changed
        && creates_only
    {
        let detail = format!("{kind} `{}` exists already, at version {version}", ask.name());
        return Err(Problem::version_mismatch(detail, "leave `If-None-Match` out to replace it"));
    }
    answer(&ask, changed.map_err(|failure| failure.into_problem(&documents))?, Shape::One)
}

/// `DELETE /api/v1/{kind}/{name}`
pub(super) async fn delete(ask: Ask, kind: Kind) -> Answer {
    let precondition = Precondition::of_write(&ask.headers)?;
    if precondition == Precondition::Absent {
        let mend = "send `If-Match` with the version that you saw, or nothing";
        return Err(Problem::bad_request("`If-None-Match` says nothing about a deletion", mend));
    }
    let expected = expected(&ask, kind, &precondition).await?;
    let writes = vec![WriteRequest::delete(kind, ask.name(), expected)];
    let changed = change(&ask, writes, Vec::new()).await;
    let changed = match changed {
        Err(Failure::Change(ChangeError::Missing { .. })) => return Err(super::read::missing(&ask, kind).await),
        changed => changed.map_err(|failure| failure.into_problem(&[]))?,
    };
    answer(&ask, changed, Shape::Removed)
}

/// The version that a write expects, where the precondition names one.
pub(super) async fn expected(ask: &Ask, kind: Kind, precondition: &Precondition) -> Result<Option<u64>, Problem> {
    expected_of(ask, kind, ask.name(), precondition).await
}

/// The same, of an artifact that the address does not name.
pub(super) async fn expected_of(
    ask: &Ask,
    kind: Kind,
    name: &str,
    precondition: &Precondition,
) -> Result<Option<u64>, Problem> {
    let seen = match precondition {
        Precondition::None | Precondition::Absent => return Ok(None),
        Precondition::Versions(versions) if versions.len() == 1 => return Ok(versions.first().copied()),
        Precondition::Versions(versions) => Some(versions),
        Precondition::Present => None,
    };
    let found = super::read::current(ask, kind, name).await?.map(|stored| stored.version);
    if let Some(version) = found.filter(|version| seen.is_none_or(|seen| seen.contains(version))) {
        return Ok(Some(version));
    }
    let state = found.map_or("does not exist".to_owned(), |version| format!("is at version {version}"));
    let detail = format!("{kind} `{name}` {state}, which `If-Match` does not name");
    Err(Problem::version_mismatch(detail, "read it again, and write what is still meant"))
}

/// LIMIT: how often a body is read for one request because what it imports was changed meanwhile. Each time somebody else
/// was served.
const READINGS_MAX: u32 = 20;

/// How often the body was read.
#[derive(Debug, Default)]
pub(super) struct Readings(u32);

impl Readings {
    /// Whether it is to be read again.
    pub(super) fn is_outdated(&mut self, made: &Result<Made, Failure>) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 < READINGS_MAX && matches!(made, Err(Failure::Change(ChangeError::Outdated { .. })))
    }
}

/// A change that was made, and how far it has come when the client wanted to wait.
pub(super) struct Made {
    changed: Changed,
    rollout: Option<Rollout>,
    /// What would change, when nothing is to change.
    planned: Option<Vec<Value>>,
}

impl Made {
    /// Artifacts that were written, as they are now.
    pub(super) fn outcomes(&self) -> &[Outcome] {
        &self.changed.outcomes
    }

    /// Adds what works, but most likely not as meant.
    pub(super) fn warn(&mut self, message: String) {
        self.changed.warnings.push(Warning { gateway: None, message });
    }
}

/// Why it was not made.
pub(super) enum Failure {
    /// The request.
    Problem(Problem),
    /// The core.
    Change(ChangeError),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Failure {
    /// The answer; findings get their place in the documents that were sent.
    pub(super) fn into_problem(self, documents: &[Document]) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Change(ChangeError::Findings(findings)) => {
                let located: Vec<_> = findings.into_iter().map(|finding| locate(finding, documents)).collect();
                Problem::findings(&located)
            }
            Self::Change(error) => Problem::change(error),
        }
    }
}

fn locate(finding: Finding, documents: &[Document]) -> Finding {
    let is_of =
        |document: &Document, kind: Kind| document.artifact.kind() == kind && document.artifact.name() == finding.name;
    let own = documents.iter().find(|document| is_of(document, finding.kind));
    // A deployment that is sent is merged as the blueprint that it stands for.
    let is_stand_in = |document: &&Document| finding.kind == Kind::Blueprint && is_of(document, Kind::Deployment);
    let (document, violation) = match own.or_else(|| documents.iter().find(is_stand_in)) {
        Some(document) => (document, finding.violation.clone()),
        None => match source(&finding, documents) {
            Some((document, pointer)) => (document, Violation { pointer, ..finding.violation.clone() }),
            None => return finding,
        },
    };
    match document.locate(vec![violation]).pop() {
        Some(violation) => Finding { violation, ..finding },
        None => finding,
    }
}

/// The document of which a deployment or one of its gateways is made, and the part of it that a finding concerns.
fn source<'d>(finding: &Finding, documents: &'d [Document]) -> Option<(&'d Document, String)> {
    let (deployment, part) = match finding.kind {
        Kind::Deployment => (finding.name.as_str(), String::new()),
        Kind::Gateway => {
            let (deployment, gateway) = finding.name.split_once('/')?;
            let part = match gateway.split_once('/') {
                None => step("/gateways", gateway),
                Some((cluster, port)) => step(&format!("{}/gateways", step("/clusters", cluster)), port),
            };
            (deployment, part)
        }
        _ => return None,
    };
    let is_topology = |document: &&Document| matches!(document.artifact.kind(), Kind::Blueprint | Kind::Deployment);
    let mut topologies = documents.iter().filter(is_topology);
    // A blueprint alone may be deployed under any name.
    let document = match documents {
        [_] => topologies.next(),
        _ => topologies.find(|document| document.artifact.name() == deployment),
    }?;
    Some((document, format!("{part}{}", finding.violation.pointer)))
}

/// Makes a change of the writes.
pub(super) async fn change(ask: &Ask, writes: Vec<WriteRequest>, deploys: Vec<DeployRequest>) -> Result<Made, Failure> {
    let validate_only = ask.query.validate_only()?;
    let (premises, mut cause) = (ask.premises.clone(), ask.cause.clone());
    if !deploys.is_empty() {
        // Of several addresses the method and the path alone do not tell what happened to a deployment.
        let done: Vec<String> = deploys.iter().map(ToString::to_string).collect();
        cause.what = format!("{}: {}", cause.what, done.join("; ")).chars().take(super::CAUSE_CHARACTERS_MAX).collect();
    }
    let request = ChangeRequest { writes, deploys, premises, validate_only, cause };
    make(ask, validate_only, ask.api.core.change(request)).await
}

/// Makes a change, which the core brings to its end even when the client goes away, and waits for the gateways when the
/// client wants to.
pub(super) async fn make(
    ask: &Ask,
    validate_only: bool,
    work: impl Future<Output = Result<Changed, ChangeError>>,
) -> Result<Made, Failure> {
    let wait = ask.query.wait()?.filter(|_| !validate_only);
    let _place = match wait {
        Some(_) => {
            Some(ask.api.waiting.try_acquire().map_err(|_| Problem::busy("too many requests wait for gateways"))?)
        }
        None => None,
    };
    let before = if validate_only { Some(super::read::snapshot(ask).await?) } else { None };
    let changed = work.await.map_err(Failure::Change)?;
    let planned = before.map(|before| difference::planned(&before, &changed));
    let rollout = match wait {
        Some(wait) => Some(wait_applied(ask, &changed, wait).await),
        None => None,
    };
    Ok(Made { changed, rollout, planned })
}

async fn wait_applied(ask: &Ask, changed: &Changed, wait: Duration) -> Rollout {
    let mut stopping = ask.api.stopping.clone();
    tokio::select! {
        rollout = ask.api.core.wait_applied(changed.generation, wait) => rollout,
        _ = stopping.wait_for(|stopping| *stopping) => ask.api.core.rollout(),
    }
}

/// What the answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The artifact that was written.
    One,
    /// The artifact that was removed.
    Removed,
    /// A list of what was written or removed.
    List,
}

/// A deployment of which a gateway was changed, and which is told without it, was not left as it was.
fn with_gateways(outcomes: &mut [Outcome]) {
    let changed = outcomes.iter().filter(|outcome| outcome.kind == Kind::Gateway && !outcome.unchanged);
    let owners: BTreeSet<String> =
        changed.filter_map(|outcome| Some(outcome.name.split_once('/')?.0.to_owned())).collect();
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.kind == Kind::Deployment) {
        outcome.unchanged &= !owners.contains(&outcome.name);
    }
}

/// The answer to a change of which only the artifacts of one kind are told.
pub(super) fn answer_of(ask: &Ask, mut made: Made, kind: Kind, shape: Shape) -> Answer {
    with_gateways(&mut made.changed.outcomes);
    made.changed.outcomes.retain(|outcome| outcome.kind == kind);
    answer(ask, made, shape)
}

/// The answer to a change of which only these artifacts are told.
pub(super) fn answer_named(ask: &Ask, mut made: Made, named: &[(Kind, String)], shape: Shape) -> Answer {
    with_gateways(&mut made.changed.outcomes);
    let is_named = |outcome: &Outcome| named.iter().any(|(kind, name)| (*kind, name) == (outcome.kind, &outcome.name));
    made.changed.outcomes.retain(is_named);
    answer(ask, made, shape)
}

/// The answer to a change: artifacts as they are stored, each with `rollout` when the client waited, with `warnings`
/// when there are any, with `unchanged` when nothing was written, and among others with `stored_version`, which has no
/// `ETag` there, so that without these it is what a read gives.
/// The first one of a change that is only checked tells in `changes` what all of it would change.
pub(super) fn answer(ask: &Ask, made: Made, shape: Shape) -> Answer {
    let Made { changed, rollout, mut planned } = made;
    let validate_only = planned.is_some();
    let is_list = shape == Shape::List || changed.outcomes.len() != 1;
    let mut documents = Vec::with_capacity(changed.outcomes.len());
    for (index, outcome) in changed.outcomes.iter().enumerate() {
        let mut document = with_port(&outcome.document, outcome.port)?;
        if let Some(object) = document.as_object_mut() {
            if let Some(rollout) = &rollout {
                object.insert("rollout".to_owned(), json!(rollout));
            }
            if let Some(planned) = planned.take() {
                object.insert("changes".to_owned(), Value::Array(planned));
            }
            if is_list && !validate_only {
                object.insert("stored_version".to_owned(), outcome.version.into());
            }
            if outcome.unchanged {
                object.insert("unchanged".to_owned(), Value::Bool(true));
            }
            let warnings = warnings(&changed, outcome, index == 0, rollout.as_ref());
            if !warnings.is_empty() {
                object.insert("warnings".to_owned(), Value::Array(warnings));
            }
        }
        documents.push(document);
    }
    let all_created = !changed.outcomes.is_empty() && changed.outcomes.iter().all(|outcome| outcome.created);
    let status = if rollout.as_ref().is_some_and(|rollout| rollout.unknown || !rollout.is_complete()) {
        StatusCode::ACCEPTED
    } else if all_created && !validate_only {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let (value, only) = match changed.outcomes.as_slice() {
        [only] if !is_list => (documents.pop().unwrap_or_default(), Some(only)),
        _ => (Value::Array(documents), None),
    };
    let mut answer = ask.written.answer(status, &value);
    if let (Some(only), Shape::One, false) = (only, shape, validate_only) {
        name_it(&mut answer, only);
    }
    Ok(answer)
}

fn name_it(answer: &mut Response<Body>, outcome: &Outcome) {
    answer.headers_mut().insert(ETAG, conditional::tag(outcome.version));
    let location = HeaderValue::from_str(&address::of_artifact(outcome.kind, &outcome.name));
    if let (true, Ok(location)) = (outcome.created, location) {
        answer.headers_mut().insert(LOCATION, location);
    }
}

/// The warnings that concern one artifact; the first one also carries those that concern no gateway of the change.
fn warnings(changed: &Changed, outcome: &Outcome, is_first: bool, rollout: Option<&Rollout>) -> Vec<Value> {
    let is_own = |gateway: &str| outcome.kind == Kind::Gateway && outcome.name == gateway;
    let is_written =
        |gateway: &str| changed.outcomes.iter().any(|other| other.kind == Kind::Gateway && other.name == gateway);
    let concerns = |gateway: Option<&str>| match gateway {
        Some(gateway) => is_own(gateway) || (is_first && !is_written(gateway)),
        None => is_first,
    };
    let found = changed.warnings.iter().filter(|warning| concerns(warning.gateway.as_deref()));
    let mut warnings: Vec<Value> = found.map(|warning| json!(warning)).collect();
    if is_first && rollout.is_some_and(|rollout| rollout.of == 0 && !rollout.unknown) {
        warnings.push(json!({"message": "no gateway process is registered: start one, nothing serves this yet"}));
    }
    warnings
}
