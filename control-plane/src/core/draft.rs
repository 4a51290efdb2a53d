//! A change on paper: what would be stored, and the table that would follow from it. Pure.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use vamp_model::{Artifact, Kind, VIOLATIONS_MAX, to_json};
use vamp_routing::wire::Generation;

use super::artifacts::Artifacts;
use super::table::{Planned, derive};
use super::{
    ChangeError, ChangeRequest, Changed, Current, Found, Judgement, Mode, Outcome, Premise, Runs, Unseen, WriteRequest,
    differences, inert, workflows,
};
use crate::deploy::{self, DeployRequest, Expected, Writes};
use crate::persist::{ArtifactId, Cause, Change, Committed, Position, Snapshot, Stored, Write};
use crate::plan::{Finding, PlanSettings, Warning};

/// LIMIT: artifacts in one call. The planner looks at all of them together, and one transaction writes them; a call of
/// this size takes seconds.
const WRITES_MAX: usize = 10_000;

/// What a change would make.
#[derive(Debug)]
pub(super) struct Draft {
    /// For the database.
    pub(super) change: Change,
    snapshot: Snapshot,
    artifacts: Artifacts,
    planned: Planned,
    answer: Changed,
    /// Index into the outcomes of each write of the change: what is written as it was is left out.
    written: Vec<usize>,
}

impl Draft {
    /// Makes a change on paper, or says why it can't be made.
    pub(super) fn make(
        current: &Current,
        request: &ChangeRequest,
        settings: &PlanSettings,
        now_unix_ms: u64,
    ) -> Result<Self, ChangeError> {
        check_premises(current, request)?;
        let (requested, refused) = expand(current, request)?;
        let mut artifacts = current.artifacts.clone();
        if !refused.findings.is_empty() {
            // What else is asked for is checked all the same, but for the table: it would miss what is refused.
            requested.iter().for_each(|write| apply(&mut artifacts, write));
            let (others, _) = check(request, &requested, &artifacts, &refused.deployments);
            return Err(findings_of(refused.findings.into_iter().chain(others).collect()));
        }
        check_shape(&requested)?;
        let mut outcomes = Vec::with_capacity(requested.len());
        let mut writes = Vec::new();
        let mut written = Vec::new();
        for (index, write) in requested.iter().enumerate() {
            let stored = current.stored(write.kind, &write.name);
            check_expectation(write, stored)?;
            let id = ArtifactId { kind: write.kind.plural(), name: write.name.clone() };
            let document = write.artifact.as_ref().map(|artifact| to_json(artifact).to_string());
            apply(&mut artifacts, write);
            let former = stored.and_then(|stored| stored.document.as_deref());
            outcomes.push(Outcome {
                kind: write.kind,
                name: write.name.clone(),
                version: stored.map_or(0, |stored| stored.version),
                created: stored.is_none(),
                unchanged: document.as_deref() == former,
                removed: write.artifact.is_none(),
                document: document.as_deref().or(former).unwrap_or_default().to_owned(),
                port: None,
            });
            if document.as_deref() != former {
                written.push(index);
                writes.push(Write { id, document, replaces: write.mode == Mode::Replace });
            }
        }
        let deleted = deleted(&requested);
        artifacts.check_unused(&deleted)?;
        let unsound = unsound_ports(&current.snapshot, &deleted);
        if !unsound.is_empty() {
            return Err(findings_of(unsound));
        }
        let (mut findings, warnings) = check(request, &requested, &artifacts, &refused.deployments);
        let changed = written.iter().filter_map(|index| requested.get(*index));
        let of_promises = changed.filter(|write| matches!(write.kind, Kind::Sla | Kind::Escalation));
        let promises: BTreeSet<_> = of_promises.map(|write| (write.kind, write.name.as_str())).collect();
        if !promises.is_empty() {
            let deployments = artifacts.all(Kind::Deployment);
            findings.extend(deploy::check_promises(&promises, deployments, &artifacts));
        }
        let planned = derive(&artifacts, &current.snapshot.ports, settings, current.former());
        let planned = planned.map_err(|more| findings.extend(more));
        let (Ok(planned), true) = (planned, findings.is_empty()) else { return Err(findings_of(findings)) };
        let (revision, digest) = next_revision(&current.snapshot.position, &planned);
        let mut answer = answer(current, &planned, outcomes, revision);
        answer.warnings.extend(warnings);
        answer.warnings.extend(inert::warnings(&requested));
        answer.warnings.extend(gone_along(request, &requested));
        let ports = all_moves(&current.snapshot, &planned.ports);
        let change = Change {
            expected: current.snapshot.position.clone(),
            writes,
            ports,
            revision,
            table: digest,
            cause: request.cause.clone(),
            at_unix_ms: now_unix_ms,
            events: differences::of(&current.artifacts, &requested, &request.cause, now_unix_ms),
            ..Change::default()
        };
        let snapshot = after(&current.snapshot, &change, &planned.ports);
        Ok(Self { change, snapshot, artifacts, planned, answer, written })
    }

    /// A change of nothing but the table: it follows from the same artifacts under other settings.
    pub(super) fn of_settings(current: &Current, planned: &Planned, now_unix_ms: u64) -> Option<Change> {
        let position = &current.snapshot.position;
        let (revision, table) = next_revision(position, planned);
        let same = revision == position.revision && planned.ports == current.snapshot.ports;
        (!same).then(|| Change {
            expected: position.clone(),
            writes: Vec::new(),
            ports: moves(&current.snapshot.ports, &planned.ports),
            revision,
            table,
            cause: Cause::own("start of the control plane: the table follows from its settings or its version"),
            at_unix_ms: now_unix_ms,
            ..Change::default()
        })
    }

    /// Refuses what nobody here can run; what may be installed later is told. Answers what is to be looked up first.
    pub(super) fn check_runs(
        &mut self,
        current: &Current,
        runs: &dyn Runs,
        found: &Found,
    ) -> Result<Vec<Unseen>, ChangeError> {
        let mut all = Judgement::default();
        let written = self.answer.outcomes.iter().filter(|outcome| outcome.kind == Kind::Deployment);
        for outcome in written.filter(|outcome| !outcome.removed) {
            let stored = self.artifacts.get(Kind::Deployment, &outcome.name).map(Arc::as_ref);
            let Some(Artifact::Deployment(after)) = stored else { continue };
            let before = match current.artifact(Kind::Deployment, &outcome.name) {
                Some(Artifact::Deployment(before)) => Some(before),
                _ => None,
            };
            let one = runs.judge(before, after, &self.planned.ports, found);
            all.findings.extend(one.findings);
            all.warnings.extend(one.warnings);
            all.unseen.extend(one.unseen);
        }
        self.answer.warnings.extend(all.warnings);
        // All that is wrong is told at once.
        let is_known = all.unseen.is_empty();
        if is_known && !all.findings.is_empty() { Err(findings_of(all.findings)) } else { Ok(all.unseen) }
    }

    /// Everything is as it was: there is nothing to keep.
    pub(super) fn is_empty(&self) -> bool {
        self.change.writes.is_empty() && self.change.revision == self.change.expected.revision
    }

    /// The answer when nothing is kept.
    pub(super) fn into_answer(self) -> Changed {
        self.answer
    }

    /// What is current now that the change is kept, and the answer.
    pub(super) fn keep(mut self, committed: Committed) -> (Current, Changed) {
        for ((write, index), version) in self.change.writes.iter().zip(&self.written).zip(&committed.versions) {
            if let Some(outcome) = self.answer.outcomes.get_mut(*index) {
                outcome.version = *version;
            }
            let artifacts = self.snapshot.artifacts.get_mut(write.id.kind);
            if let Some(stored) = artifacts.and_then(|artifacts| artifacts.get_mut(&write.id.name)) {
                let stored = Arc::make_mut(stored);
                stored.version = *version;
                stored.sequence = committed.position.sequence;
            }
        }
        self.snapshot.position = committed.position;
        let current =
            Current { snapshot: Arc::new(self.snapshot), artifacts: self.artifacts, planned: Ok(self.planned) };
        (current, self.answer)
    }
}

/// The refusal, which tells as many as readers of documents do.
fn findings_of(mut findings: Vec<Finding>) -> ChangeError {
    findings.truncate(VIOLATIONS_MAX);
    ChangeError::Findings(findings)
}

/// What does not fit what is stored or what is written with it, and what is to be known of it. Gateways of deployments
/// that are refused are left out: they were written for what these would have become.
fn check(
    request: &ChangeRequest,
    requested: &[WriteRequest],
    artifacts: &Artifacts,
    refused: &BTreeSet<&str>,
) -> (Vec<Finding>, Vec<Warning>) {
    let is_of_refused = |gateway: &str| gateway.split('/').next().is_some_and(|owner| refused.contains(owner));
    let gateways = requested.iter().filter(|write| write.kind == Kind::Gateway && !is_of_refused(&write.name));
    let mut findings = deploy::check_gateways(&gateways.map(|write| write.name.as_str()).collect(), artifacts);
    findings.extend(workflows::check(requested, artifacts));
    let mut warnings = Vec::new();
    let applied: HashSet<&str> = request.deploys.iter().filter_map(DeployRequest::applied).collect();
    for blueprint in requested.iter().filter_map(|write| match &write.artifact {
        Some(Artifact::Blueprint(blueprint)) => Some(blueprint),
        _ => None,
    }) {
        // With what runs of it, it is checked where it is deployed.
        if !applied.contains(blueprint.name.as_str()) {
            let (found, lacks) = deploy::check_kept(blueprint, artifacts);
            findings.extend(found);
            warnings.extend(lacks);
        }
    }
    (findings, warnings)
}

/// Outer gateways that go with a part of their deployment, and that nobody named.
fn gone_along(request: &ChangeRequest, requested: &[WriteRequest]) -> Option<Warning> {
    let asked: HashSet<&str> = of_kind(&request.writes, Kind::Gateway).map(|write| write.name.as_str()).collect();
    let staying = of_kind(requested, Kind::Deployment).filter(|write| write.artifact.is_some());
    let staying: HashSet<&str> = staying.map(|write| write.name.as_str()).collect();
    let is_outer =
        |name: &str| name.split_once('/').is_some_and(|(owner, key)| !key.contains('/') && staying.contains(owner));
    let gone = requested.iter().filter(|write| write.kind == Kind::Gateway && write.artifact.is_none());
    let names: Vec<_> = gone
        .map(|write| write.name.as_str())
        .filter(|name| is_outer(name) && !asked.contains(name))
        .map(|name| format!("`{name}`"))
        .collect();
    (!names.is_empty()).then(|| Warning {
        gateway: None,
        message: format!("this takes gateway {} along: nothing takes requests there any more", names.join(", ")),
    })
}

fn of_kind(writes: &[WriteRequest], kind: Kind) -> impl Iterator<Item = &WriteRequest> {
    writes.iter().filter(move |write| write.kind == kind)
}

/// What can't happen to deployments.
#[derive(Default)]
struct Refused<'r> {
    findings: Vec<Finding>,
    /// Which they are.
    deployments: BTreeSet<&'r str>,
}

/// The writes of a request, with those that follow from what is to happen to deployments, and what stands in the way of
/// that.
fn expand<'r>(
    current: &Current,
    request: &'r ChangeRequest,
) -> Result<(Cow<'r, [WriteRequest]>, Refused<'r>), ChangeError> {
    let mut refused = Refused::default();
    if request.deploys.is_empty() {
        return Ok((Cow::Borrowed(&request.writes), refused));
    }
    let mut artifacts = current.artifacts.clone();
    for write in &request.writes {
        apply(&mut artifacts, write);
    }
    let mut following = Writes::default();
    for deploy in &request.deploys {
        check_deployment(deploy, current)?;
        let follows = match deploy::writes(deploy, &artifacts, &current.artifacts) {
            Ok(follows) => follows,
            Err(deploy::Refusal::Missing(what)) => return Err(ChangeError::NoSuchPart(what)),
            Err(deploy::Refusal::Findings(more)) => {
                refused.findings.extend(more);
                refused.deployments.insert(&deploy.deployment);
                continue;
            }
        };
        for write in follows {
            apply(&mut artifacts, &write);
            following.add(write);
        }
    }
    let following = following.into_vec();
    let follows: HashSet<_> = following.iter().map(|write| (write.kind, write.name.as_str())).collect();
    let given = request.writes.iter().filter(|write| !follows.contains(&(write.kind, write.name.as_str())));
    let writes = given.cloned().collect::<Vec<_>>();
    Ok((Cow::Owned(writes.into_iter().chain(following).collect()), refused))
}

/// Whether the deployment is there that a request was made for.
fn check_deployment(deploy: &DeployRequest, current: &Current) -> Result<(), ChangeError> {
    let (kind, name) = (Kind::Deployment, deploy.deployment.clone());
    let found = current.stored(kind, &name).map(|stored| stored.version);
    match (deploy.expected, found) {
        (Expected::Nothing, Some(version)) => Err(ChangeError::Exists { kind, name, version }),
        (Expected::Version(expected), found) if found != Some(expected) => {
            Err(ChangeError::VersionMismatch { kind, name, expected, found })
        }
        _ => Ok(()),
    }
}

fn apply(artifacts: &mut Artifacts, write: &WriteRequest) {
    match &write.artifact {
        Some(artifact) => artifacts.insert(artifact.clone()),
        None => artifacts.remove(write.kind, &write.name),
    }
}

fn check_shape(writes: &[WriteRequest]) -> Result<(), ChangeError> {
    if writes.is_empty() {
        return Err(ChangeError::Empty);
    }
    if writes.len() > WRITES_MAX {
        return Err(ChangeError::TooMany { count: writes.len(), limit: WRITES_MAX });
    }
    let mut seen = HashSet::with_capacity(writes.len());
    match writes.iter().find(|write| !seen.insert((write.kind, write.name.as_str()))) {
        Some(twice) => Err(ChangeError::Twice { kind: twice.kind, name: twice.name.clone() }),
        None => Ok(()),
    }
}

fn check_expectation(write: &WriteRequest, stored: Option<&Stored>) -> Result<(), ChangeError> {
    let (kind, name) = (write.kind, write.name.clone());
    let found = stored.map(|stored| stored.version);
    if let Some(expected) = write.expected.filter(|expected| found != Some(*expected)) {
        return Err(ChangeError::VersionMismatch { kind, name, expected, found });
    }
    match (write.mode, found) {
        (Mode::Create, Some(version)) => Err(ChangeError::Exists { kind, name, version }),
        (Mode::Delete, None) => Err(ChangeError::Missing { kind, name }),
        _ => Ok(()),
    }
}

fn check_premises(current: &Current, request: &ChangeRequest) -> Result<(), ChangeError> {
    let version = |premise: &Premise| current.stored(premise.kind, &premise.name).map(|stored| stored.version);
    match request.premises.iter().find(|premise| version(premise) != premise.version) {
        Some(outdated) => Err(ChangeError::Outdated { kind: outdated.kind, name: outdated.name.clone() }),
        None => Ok(()),
    }
}

fn deleted(writes: &[WriteRequest]) -> BTreeSet<(Kind, String)> {
    let deleted = writes.iter().filter(|write| write.artifact.is_none());
    deleted.map(|write| (write.kind, write.name.clone())).collect()
}

/// The revision rises only when the table is another one. Before the first gateway there is no table.
fn next_revision(position: &Position, planned: &Planned) -> (u64, String) {
    let digest = planned.table.digest.to_string();
    let is_before_first = position.revision == 0 && planned.table.compiled.gateways().is_empty();
    if is_before_first || digest == position.table {
        return (position.revision, position.table.clone());
    }
    (position.revision.saturating_add(1), digest)
}

fn answer(current: &Current, planned: &Planned, mut outcomes: Vec<Outcome>, revision: u64) -> Changed {
    for outcome in outcomes.iter_mut().filter(|outcome| outcome.kind == Kind::Gateway) {
        outcome.port = planned.ports.get(&outcome.name).copied();
    }
    let former = current.planned.as_ref().ok().map(|former| former.table.as_ref());
    let written: HashSet<&str> =
        outcomes.iter().filter(|outcome| outcome.kind == Kind::Gateway).map(|outcome| outcome.name.as_str()).collect();
    let touches = |gateway: &str| written.contains(gateway) || planned.table.differs_in(former, gateway);
    let warnings = planned.warnings.iter().filter(|warning| warning.gateway.as_deref().is_some_and(touches));
    let position = &current.snapshot.position;
    Changed {
        warnings: warnings.cloned().collect(),
        outcomes,
        generation: Generation { epoch: position.epoch, revision },
    }
}

/// The snapshot after a change, but for what only the database knows.
fn after(before: &Snapshot, change: &Change, ports: &BTreeMap<String, u16>) -> Snapshot {
    let mut snapshot = before.clone();
    for write in &change.writes {
        let artifacts = snapshot.artifacts.entry(write.id.kind.to_owned()).or_default();
        match &write.document {
            None => drop(artifacts.remove(&write.id.name)),
            Some(document) => {
                let stored = Stored {
                    name: write.id.name.clone(),
                    version: 0,
                    document: Some(document.clone()),
                    at_unix_ms: change.at_unix_ms,
                    sequence: 0,
                    damage: None,
                };
                artifacts.insert(write.id.name.clone(), Arc::new(stored));
            }
        }
    }
    snapshot.artifacts.retain(|_, artifacts| !artifacts.is_empty());
    snapshot.ports.clone_from(ports);
    // Who is not refused has deleted all of it.
    snapshot.damage.clear();
    snapshot
}

/// The gateways whose ports are not what was written. No table is made of them, or they would become what is wanted; one
/// that is deleted is mended by that.
pub(super) fn unsound_ports(snapshot: &Snapshot, deleted: &BTreeSet<(Kind, String)>) -> Vec<Finding> {
    let is_there = |gateway: &String| !deleted.contains(&(Kind::Gateway, gateway.clone()));
    let damaged = snapshot.damage.iter().filter(|(gateway, _)| is_there(gateway));
    let finding = |(gateway, what): (&String, &String)| {
        let message = format!("{what}: something else than the control plane changed it");
        let is_stored = snapshot.artifacts.get(Kind::Gateway.plural()).is_some_and(|found| found.contains_key(gateway));
        let mend = if is_stored {
            "write that one back into the table `ports` and start the control plane again, or delete the gateway and make it \
             anew; `vamp audit verify` reads the rest of the history"
        } else {
            "there is no such gateway: delete its row from the table `ports`, and start the control plane again"
        };
        Finding::new(Kind::Gateway, gateway, String::new(), message, mend)
    };
    damaged.map(finding).collect()
}

/// The ports that gateways get, or lose. What is deleted has none any more, wherever it stood.
fn all_moves(before: &Snapshot, after: &BTreeMap<String, u16>) -> BTreeMap<String, Option<u16>> {
    let damaged = before.damage.keys().filter(|gateway| !after.contains_key(*gateway));
    let mut ports = moves(&before.ports, after);
    ports.extend(damaged.map(|gateway| (gateway.clone(), None)));
    ports
}

/// The ports that gateways get or lose.
fn moves(before: &BTreeMap<String, u16>, after: &BTreeMap<String, u16>) -> BTreeMap<String, Option<u16>> {
    let gone = before.keys().filter(|gateway| !after.contains_key(*gateway)).map(|gateway| (gateway.clone(), None));
    let given = after.iter().filter(|(gateway, port)| before.get(*gateway) != Some(port));
    gone.chain(given.map(|(gateway, port)| (gateway.clone(), Some(*port)))).collect()
}
