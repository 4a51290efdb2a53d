//! The one way for every change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use vamp_model::{Artifact, Format, read_as};

use super::draft::Draft;
use super::{ChangeError, ChangeRequest, Changed, Current, Found, RestoreRequest, Shared, Unseen, now_unix_ms};
use crate::backoff::Backoff;
use crate::persist::{ArtifactId, NewEvent, PersistError};

/// LIMIT: how often one change is planned anew because writers of other processes were faster. Writers of this process
/// take turns, so that each try loses against another control plane only.
const TRIES_MAX: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_millis(2);
const TRY_AGAIN_MAX: Duration = Duration::from_millis(100);

/// LIMIT: how often one change is looked up anew because others change what it would deploy.
const LOOK_UPS_MAX: u32 = 5;

/// LIMIT: changes of one transaction, and how long it is added to: others wait for the lock, and a server ends a
/// transaction in which nothing happens for some seconds.
const TOGETHER_MAX: usize = 64;
const TOGETHER_TIME: Duration = Duration::from_millis(100);

/// A change that waits for its turn, and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    request: Arc<ChangeRequest>,
    /// What is told beside the writes, in the same transaction.
    events: Vec<NewEvent>,
    /// What was looked up for it.
    found: Arc<Found>,
    answer: oneshot::Sender<Turn>,
}

type Answer = Result<Changed, ChangeError>;

/// What became of a change in its turn.
#[derive(Debug)]
enum Turn {
    /// It was made, or refused.
    Over(Answer),
    /// What it would deploy was not looked up, which is no work for who has the turn.
    LookUp(Vec<Unseen>),
}

/// Makes a change: all of it, or nothing. What it would deploy is looked up between its turns.
pub(super) async fn change(shared: &Arc<Shared>, request: ChangeRequest, events: Vec<NewEvent>) -> Answer {
    let request = Arc::new(request);
    let mut found = Arc::new(Found::new());
    for _ in 0..LOOK_UPS_MAX {
        let (answer, answered) = oneshot::channel();
        let (request, events) = (Arc::clone(&request), events.clone());
        let waiting = Waiting { request, events, found: Arc::clone(&found), answer };
        match take_turn(shared, waiting, answered).await? {
            Turn::Over(answer) => return answer,
            Turn::LookUp(unseen) => {
                let Some(runs) = &shared.settings.runs else { return Err(ChangeError::Stopped) };
                Arc::make_mut(&mut found).extend(runs.look_up(unseen).await);
            }
        }
    }
    Err(ChangeError::Overtaken { tries: LOOK_UPS_MAX })
}

/// Has a turn. Changes that wait at the same time are kept in one transaction, because what takes time is the disk; each
/// is planned on top of the one before, and refused alone.
async fn take_turn(
    shared: &Arc<Shared>,
    waiting: Waiting,
    mut answered: oneshot::Receiver<Turn>,
) -> Result<Turn, ChangeError> {
    shared.waiting.send(waiting).await.map_err(|_| ChangeError::Stopped)?;
    let mut turn = tokio::select! {
        biased;
        answer = &mut answered => return answer.map_err(|_| ChangeError::Stopped),
        turn = shared.turn.lock() => turn,
    };
    loop {
        match answered.try_recv() {
            Ok(answer) => return Ok(answer),
            Err(TryRecvError::Closed) => return Err(ChangeError::Stopped),
            Err(TryRecvError::Empty) => {}
        }
        // Whose turn it is does the work of all who wait, up to its own at least.
        let mut next = VecDeque::new();
        while next.len() < TOGETHER_MAX
            && let Ok(waiting) = turn.try_recv()
        {
            next.push_back(waiting);
        }
        make(shared, next).await;
    }
}

/// What stands in the way of changes that were to be made together.
enum Trouble {
    /// A writer of another process was faster.
    Moved,
    /// One of them, by its index, is none that the database takes.
    One(usize, PersistError),
    /// None of them can be kept.
    All(PersistError),
}

/// Makes changes and answers each.
async fn make(shared: &Arc<Shared>, mut waiting: VecDeque<Waiting>) {
    let mut backoff = Backoff::new(TRY_AGAIN, TRY_AGAIN_MAX);
    let mut tries = 0;
    while !waiting.is_empty() && tries < TRIES_MAX {
        match together(shared, &waiting).await {
            Ok(answers) => {
                let made = waiting.drain(..answers.len().min(waiting.len()));
                // Who does not wait any more finds it in the history.
                made.zip(answers).for_each(|(waiting, answer)| drop(waiting.answer.send(answer)));
            }
            Err(Trouble::Moved) => {
                tries += 1;
                backoff.wait().await;
            }
            Err(Trouble::One(index, error)) => {
                let refused = waiting.remove(index);
                if let Some(waiting) = refused {
                    drop(waiting.answer.send(Turn::Over(Err(error.into()))));
                }
            }
            Err(Trouble::All(error)) => {
                let error = Arc::new(error);
                let all = waiting.drain(..);
                let refused = || Turn::Over(Err(ChangeError::Persist(Arc::clone(&error))));
                all.for_each(|waiting| drop(waiting.answer.send(refused())));
            }
        }
    }
    for late in waiting {
        drop(late.answer.send(Turn::Over(Err(ChangeError::Busy { tries: TRIES_MAX }))));
    }
}

/// Plans and keeps changes in one transaction; answers those that came into it, from the first on.
async fn together(shared: &Arc<Shared>, waiting: &VecDeque<Waiting>) -> Result<Vec<Turn>, Trouble> {
    let mut current = shared.refresh_in_turn().await.map_err(Trouble::All)?;
    let mut answers = Vec::with_capacity(waiting.len());
    let mut transaction = None;
    let until = Instant::now() + TOGETHER_TIME;
    for (index, Waiting { request, events, found, .. }) in waiting.iter().enumerate() {
        if Instant::now() > until {
            break;
        }
        let mut draft = match draft(shared, &current, request, found).await {
            Ok((_, unseen)) if !unseen.is_empty() => {
                answers.push(Turn::LookUp(unseen));
                continue;
            }
            Ok((draft, _)) if !request.validate_only && !draft.is_empty() => draft,
            answer => {
                answers.push(Turn::Over(answer.map(|(draft, _)| draft.into_answer())));
                continue;
            }
        };
        draft.change.events.extend_from_slice(events);
        let open = match &mut transaction {
            Some(open) => open,
            None => transaction.insert(shared.persistence.begin().await.map_err(Trouble::All)?),
        };
        let committed = open.change(&draft.change).await.map_err(|error| match error {
            PersistError::Moved { .. } => Trouble::Moved,
            error @ PersistError::Failed { .. } => Trouble::One(index, error),
            error => Trouble::All(error),
        })?;
        let (next, changed) = draft.keep(committed);
        current = Arc::new(next);
        answers.push(Turn::Over(Ok(changed)));
    }
    if let Some(transaction) = transaction {
        transaction.keep().await.map_err(Trouble::All)?;
        shared.install(current);
    }
    Ok(answers)
}

/// The change on paper, and what is to be looked up before it can be made. Planning may take long, so it happens off
/// the threads that serve requests.
async fn draft(
    shared: &Arc<Shared>,
    current: &Arc<Current>,
    request: &Arc<ChangeRequest>,
    found: &Arc<Found>,
) -> Result<(Draft, Vec<Unseen>), ChangeError> {
    let (current, request, settings) = (Arc::clone(current), Arc::clone(request), Arc::clone(&shared.settings));
    let found = Arc::clone(found);
    let work = move || {
        let mut draft = Draft::make(&current, &request, &settings.plan, now_unix_ms())?;
        let unseen = match &settings.runs {
            Some(runs) => draft.check_runs(&current, runs.as_ref(), &found)?,
            None => Vec::new(),
        };
        Ok((draft, unseen))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| ChangeError::Stopped)?
}

/// The artifact as it was in an old version.
pub(super) async fn old_version(shared: &Shared, request: &RestoreRequest) -> Result<Artifact, ChangeError> {
    let (kind, name, version) = (request.kind, &request.name, request.version);
    let history = shared.persistence.history(&ArtifactId { kind: kind.plural(), name: name.clone() }).await?;
    if history.is_empty() {
        return Err(ChangeError::Missing { kind, name: name.clone() });
    }
    let found = history.into_iter().map(|past| past.stored).find(|stored| stored.version == version);
    // Also of what looks like a deletion it is not known what it was.
    if let Some(damage) = found.as_ref().and_then(|stored| stored.damage.clone()) {
        return Err(ChangeError::Damaged { kind, name: name.clone(), version, damage });
    }
    let Some(document) = found.and_then(|stored| stored.document) else {
        return Err(ChangeError::NoSuchVersion { kind, name: name.clone(), version });
    };
    let unreadable = |violations| ChangeError::Unreadable { kind, name: name.clone(), version, violations };
    let documents = read_as(&document, Format::Json, kind, Some(name)).map_err(unreadable)?;
    let artifact = documents.into_iter().next().map(|document| document.artifact);
    artifact.ok_or_else(|| ChangeError::NoSuchVersion { kind, name: name.clone(), version })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::Semaphore;
    use vamp_model::{Blueprint, Deployment, Kind};

    use super::super::tests::{DEADLINE, SHOP, World, artifacts, make, put, start_asking};
    use super::super::{Core, Judgement, Objection, OrderKey, Runs, WriteRequest};
    use super::*;
    use crate::deploy::{Action, DeployRequest};
    use crate::platform::InstanceSpec;

    const COUNT: usize = 40;

    fn condition(number: usize) -> String {
        format!("{{kind: conditions, name: c{number}, condition: path is /{number}}}")
    }

    /// Lets these wait until all of them do, then lets them go.
    async fn at_once(core: &Arc<Core>, requests: Vec<Vec<WriteRequest>>) -> Vec<Answer> {
        let turn = core.shared.turn.lock().await;
        let count = requests.len();
        let made = requests.into_iter().map(|writes| {
            let core = Arc::clone(core);
            tokio::spawn(async move { make(&core, writes).await })
        });
        let made: Vec<_> = made.collect();
        while turn.len() < count {
            tokio::task::yield_now().await;
        }
        drop(turn);
        futures_util::future::join_all(made).await.into_iter().map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn changes_that_wait_together_are_each_kept_or_refused_alone() {
        let world = World::new().await;
        put(&world.core, SHOP).await.unwrap();
        let create = |text: &str| artifacts(text).into_iter().map(WriteRequest::create).collect::<Vec<_>>();
        let mut requests: Vec<_> = (0..COUNT).map(|number| create(&condition(number))).collect();
        let missing = "{kind: gateways, name: bad, routes: {'[127.0.0.1:81]': {condition: {reference: nowhere}}}}";
        requests.insert(7, create(missing));
        requests.insert(9, create(&condition(3)));
        let answers = at_once(&world.core, requests).await;
        assert!(matches!(answers[7], Err(ChangeError::Findings(_))), "{:?}", answers[7]);
        assert!(matches!(answers[9], Err(ChangeError::Exists { version: 1, .. })), "{:?}", answers[9]);
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), COUNT);
        let snapshot = world.core.snapshot().await.unwrap();
        assert_eq!(snapshot.artifacts["conditions"].len(), COUNT);
        let sequences: Vec<u64> = snapshot.artifacts["conditions"].values().map(|stored| stored.sequence).collect();
        assert_eq!(sequences.iter().collect::<std::collections::BTreeSet<_>>().len(), COUNT, "each is a change");
        // What this process knows is what the database has.
        assert_eq!(*snapshot, world.core.shared.persistence.snapshot().await.unwrap());
        assert!(world.core.audit(&[]).await.unwrap().fault.is_none());
    }

    #[tokio::test]
    async fn each_sees_what_the_ones_before_it_in_the_same_transaction_did() {
        let world = World::new().await;
        let replace = |text: &str| artifacts(text).into_iter().map(|artifact| WriteRequest::replace(artifact, None));
        let both = |first: &str, second: &str| vec![replace(first).collect(), replace(second).collect()];
        let uses = "{kind: gateways, name: uses, routes: {'[127.0.0.1:81]': {condition: {reference: c1}}}}";
        let answers = at_once(&world.core, both(&condition(1), uses)).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        let delete = vec![WriteRequest::delete(Kind::Condition, "c1", None)];
        let answers = at_once(&world.core, vec![vec![WriteRequest::delete(Kind::Gateway, "uses", None)], delete]).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        assert!(world.core.snapshot().await.unwrap().artifacts.is_empty());
    }

    /// A platform whose file system answers when it is let.
    #[derive(Debug)]
    struct Slow {
        asked: Semaphore,
        answers: Semaphore,
    }

    #[async_trait::async_trait]
    impl Runs for Slow {
        fn judge(
            &self,
            _before: Option<&Deployment>,
            after: &Deployment,
            _ports: &BTreeMap<String, u16>,
            found: &Found,
        ) -> Judgement {
            let key = OrderKey { kind: "command".to_owned(), digest: after.name.clone() };
            let mut judgement = Judgement::default();
            match found.get(&key) {
                None => judgement.unseen.push(Unseen { key, spec: InstanceSpec::bare("template", "/mnt/web") }),
                Some(None) => {}
                Some(Some(Objection { what, .. })) => {
                    judgement.warnings.push(crate::plan::Warning { gateway: None, message: what.clone() });
                }
            }
            judgement
        }

        async fn look_up(&self, unseen: Vec<Unseen>) -> Found {
            self.asked.add_permits(1);
            self.answers.acquire().await.unwrap().forget();
            let objection = Objection { what: "nobody knows".to_owned(), mend: "look", may_be: true };
            unseen.into_iter().map(|unseen| (unseen.key, Some(objection.clone()))).collect()
        }
    }

    #[tokio::test]
    async fn what_is_deployed_where_no_file_system_answers_holds_up_no_other_change() {
        let world = World::new().await;
        let slow = Arc::new(Slow { asked: Semaphore::new(0), answers: Semaphore::new(0) });
        let runs: Arc<dyn Runs> = slow.clone();
        let (core, _tasks) = start_asking(&world.directory, "slow.db", &world.store, Some(runs)).await;
        let blueprint = "{kind: blueprints, name: shop, clusters: {web: {services: {breed: {name: web, deployable: \
                         {type: command, definition: /mnt/web}}}}}}";
        let Some(Artifact::Blueprint(blueprint)) = artifacts(blueprint).pop() else { panic!("it is none") };
        let deploying = tokio::spawn({
            let core = Arc::clone(&core);
            async move { deploy(&core, blueprint).await }
        });
        slow.asked.acquire().await.unwrap().forget();
        let others = tokio::time::timeout(DEADLINE, async {
            put(&core, SHOP).await.unwrap();
            put(&core, &condition(1)).await.unwrap();
        });
        others.await.expect("others are held up");
        assert!(!deploying.is_finished());
        slow.answers.add_permits(1);
        let changed = deploying.await.unwrap().unwrap();
        assert_eq!(
            changed.warnings.iter().map(|warning| warning.message.as_str()).collect::<Vec<_>>(),
            ["nobody knows"]
        );
        let kept = core.snapshot().await.unwrap();
        assert!(kept.artifacts["deployments"].contains_key("shop"), "it is warned of, and made");
    }

    async fn deploy(core: &Core, blueprint: Blueprint) -> Answer {
        core.change(ChangeRequest {
            writes: Vec::new(),
            deploys: vec![DeployRequest::new("shop", Action::Merge(Box::new(blueprint)))],
            premises: Vec::new(),
            validate_only: false,
            cause: crate::persist::Cause::own("test"),
        })
        .await
    }

    #[tokio::test]
    async fn a_writer_of_another_process_in_between_spoils_none_of_them() {
        let world = World::new().await;
        let (other, _tasks) = world.second("vamp.db").await;
        put(&other, SHOP).await.unwrap();
        let writes = |from: usize| (from..from + COUNT).map(|number| artifacts(&condition(number)));
        let requests = |from: usize| {
            let artifacts = writes(from);
            let write = |artifact| WriteRequest::replace(artifact, None);
            artifacts.map(|artifacts| artifacts.into_iter().map(write).collect()).collect()
        };
        let (one, two) = tokio::join!(at_once(&world.core, requests(0)), at_once(&other, requests(COUNT)));
        assert!(one.iter().chain(&two).all(Result::is_ok), "{one:?} {two:?}");
        assert_eq!(world.core.snapshot().await.unwrap().artifacts["conditions"].len(), 2 * COUNT);
    }
}
