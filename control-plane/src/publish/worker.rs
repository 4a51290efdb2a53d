//! The publisher: one turn after the other.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::Instant;
use vamp_model::Kind;
use vamp_routing::wire::Generation;
use vamp_store::StoreError;
use vamp_store::tables::{Found, Publishable, Publisher, TableError};

use super::{StoreState, StoreStatus};
use crate::backoff::Backoff;
use crate::causes::with_causes;
use crate::core::{Current, Shared, now_unix_ms};
use crate::persist::{BeginEpoch, Cause, PersistError};

/// The store is compared whole this often, drawn from the half of it up: what no watch tells is found then.
const CHECK_EVERY: Duration = Duration::from_secs(30);
/// Values that no table needs are looked for this often.
const COLLECT_EVERY: Duration = Duration::from_mins(5);
/// A store that is away is asked again after this time, then less and less often.
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// LIMIT: it is asked at least this often, so that a table is never later than this after the store is back.
const TRY_AGAIN_MAX: Duration = Duration::from_secs(2);
/// LIMIT: how long the table of a newer database stays in service until what this one has deployed takes requests.
const STAND_PATIENCE: Duration = Duration::from_mins(1);
/// LIMIT: epochs are kept as signed numbers.
const EPOCH_MAX: u64 = i64::MAX as u64;

/// Publishes until it is stopped. To be cut off anywhere is harmless: the next turn, of whichever process, goes on.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut worker = Worker::new(shared);
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = worker.work() => {}
    }
}

struct Worker {
    shared: Arc<Shared>,
    publisher: Publisher,
    /// The store had our table once since this process started.
    has_settled: bool,
    /// What was done about a store that was ahead; shown until the process ends.
    note: Option<String>,
    begun: Instant,
    collected: Instant,
}

/// Why a turn did not bring the wanted table into the store.
#[derive(Debug, thiserror::Error)]
enum Hindrance {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(transparent)]
    Persist(#[from] PersistError),
}

/// What a turn came to.
enum Turn {
    /// The store has what is wanted.
    Settled(Option<Generation>),
    /// The picture changed meanwhile.
    Again,
    /// Not to be settled by trying again.
    Hindered(StoreState, String),
}

impl Worker {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            publisher: Publisher::new(Arc::clone(&shared.store), &shared.settings.namespace),
            shared,
            has_settled: false,
            note: None,
            begun: Instant::now(),
            collected: Instant::now(),
        }
    }

    async fn work(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut backoff = Backoff::new(TRY_AGAIN, TRY_AGAIN_MAX);
        loop {
            match self.turn().await {
                Ok(Turn::Again) => continue,
                Ok(turn) => {
                    backoff.reset();
                    self.report_turn(turn);
                    self.collect().await;
                }
                Err(hindrance) => {
                    self.publisher.forget();
                    self.report_hindrance(&hindrance);
                    // A change is no reason to ask a store sooner that does not answer.
                    backoff.wait().await;
                    continue;
                }
            }
            let mut check = CHECK_EVERY.mul_f64(rand::rng().random_range(0.5..=1.0));
            let patience = STAND_PATIENCE.saturating_sub(self.begun.elapsed());
            if !self.has_settled && !patience.is_zero() {
                check = check.min(patience);
            }
            tokio::select! {
                () = shared.changed.notified() => {}
                () = shared.suspect.notified() => self.publisher.forget(),
                () = tokio::time::sleep(check) => self.look_closely().await,
            }
        }
    }

    /// Compares what the database wants with what the store has, and does what is missing.
    async fn turn(&mut self) -> Result<Turn, Hindrance> {
        let current = self.shared.refresh().await?;
        let planned = match &current.planned {
            Ok(planned) => planned,
            Err(problems) => return Ok(Turn::Hindered(StoreState::NoTable, problems.join("; "))),
        };
        let ours = current.generation();
        let found = self.publisher.found().await?;
        if ours.revision == 0 {
            return Ok(self.nothing_wanted(found));
        }
        let digest = planned.table.digest;
        match found {
            Some(found) if found.generation == ours && found.digest == Some(digest) => {}
            Some(found) if found.generation > ours || (found.generation == ours && found.digest.is_some()) => {
                return self.store_is_ahead(&current, found).await;
            }
            found => {
                self.report(StoreState::Publishing, None);
                let parent = found.map(|found| found.generation);
                let gateways = planned.table.publishables();
                match self.publisher.publish(ours, parent, &gateways).await {
                    Ok(()) => {}
                    // Somebody wrote between the look and the write: look again.
                    Err(TableError::Store(StoreError::Conflict { .. }) | TableError::Outdated { .. }) => {
                        return Ok(Turn::Again);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.has_settled = true;
        Ok(Turn::Settled(Some(ours)))
    }

    /// An empty database never takes away what another one published: its first change does.
    fn nothing_wanted(&self, found: Option<Found>) -> Turn {
        let Some(found) = found else { return Turn::Settled(None) };
        let namespace = &self.shared.settings.namespace;
        Turn::Hindered(
            StoreState::Current,
            format!(
                "the database is empty, and the store has table {} of another one in the namespace `{namespace}`: it \
                 stays until the first change here replaces it; if it is still needed, use its database, or another \
                 namespace",
                found.generation
            ),
        )
    }

    /// The store has a table that does not follow from this database.
    async fn store_is_ahead(&mut self, current: &Current, found: Found) -> Result<Turn, Hindrance> {
        // Who shares this database writes it before it publishes: read after the store, it has that change.
        self.publisher.forget();
        let position = self.shared.persistence.position().await?;
        if position != current.snapshot.position {
            return Ok(Turn::Again);
        }
        let (theirs, ours) = (found.generation, current.generation());
        let namespace = &self.shared.settings.namespace;
        if self.has_settled || theirs.epoch >= EPOCH_MAX {
            let problem = format!(
                "another control plane published table {theirs} in the namespace `{namespace}`, ours is {ours}: stop one of \
                 the two or give it another namespace; then start the one that is right anew, and its table is published"
            );
            return Ok(Turn::Hindered(StoreState::Contested, problem));
        }
        let has_deployments = current.all(Kind::Deployment).next().is_some();
        if has_deployments && !*self.shared.stands.borrow() && self.begun.elapsed() < STAND_PATIENCE {
            let problem = format!(
                "the store has table {theirs}, which this database does not know: the database was restored from an old copy, \
                 or another one was used meanwhile; that table stays in service until what is deployed here takes requests, for \
                 {} s at most",
                STAND_PATIENCE.as_secs()
            );
            return Ok(Turn::Hindered(StoreState::Publishing, problem));
        }
        let at_unix_ms = now_unix_ms();
        let epoch = at_unix_ms.max(theirs.epoch.saturating_add(1)).min(EPOCH_MAX);
        let note = format!(
            "the store had table {theirs}, which this database does not know, ours was {ours}: the database was restored \
             from an old copy, or another one was used meanwhile; it goes on as epoch {epoch}, and its table replaced the \
             other"
        );
        let cause = format!("start of epoch {epoch}: the store had table {theirs}, the database {ours}");
        let cause = Cause::own(cause);
        let begin = BeginEpoch { expected: position, epoch, cause, at_unix_ms };
        match self.shared.persistence.begin_epoch(&begin).await {
            Ok(_) => {
                tracing::warn!("{note}");
                self.note = Some(note);
                Ok(Turn::Again)
            }
            Err(PersistError::Moved { .. }) => Ok(Turn::Again),
            Err(error) => Err(error.into()),
        }
    }

    /// The clock's turn: reads the manifest anew, and writes values that somebody deleted.
    async fn look_closely(&mut self) {
        self.publisher.forget();
        let current = self.shared.current();
        let Ok(planned) = &current.planned else { return };
        let ours = Some(Found { generation: current.generation(), digest: Some(planned.table.digest) });
        let gateways: Vec<Publishable<'_>> = planned.table.publishables();
        // What goes wrong here goes wrong in the next turn too, which reports it.
        if self.publisher.found().await.is_ok_and(|found| found == ours)
            && let Ok(mended @ 1..) = self.publisher.mend(&gateways).await
        {
            tracing::warn!(
                "{mended} values of table {} were missing in the store and are written again",
                current.generation()
            );
        }
    }

    async fn collect(&mut self) {
        if self.collected.elapsed() < COLLECT_EVERY {
            return;
        }
        self.collected = Instant::now();
        match self.publisher.collect().await {
            Ok(0) => {}
            Ok(deleted) => tracing::debug!("{deleted} values that no table needs any more are deleted from the store"),
            Err(error) => {
                tracing::warn!("values that no table needs any more stay in the store: {}", with_causes(&error));
            }
        }
    }

    fn report_turn(&self, turn: Turn) {
        match turn {
            Turn::Settled(published) => {
                self.report_published(published);
            }
            Turn::Hindered(state, problem) => self.report(state, Some(problem)),
            Turn::Again => {}
        }
    }

    fn report_hindrance(&self, hindrance: &Hindrance) {
        let state = match hindrance {
            Hindrance::Table(_) => StoreState::Unreachable,
            Hindrance::Persist(_) => StoreState::NoTable,
        };
        self.report(state, Some(with_causes(hindrance)));
    }

    fn report_published(&self, published: Option<Generation>) {
        let problem = self.note.clone();
        self.change_status(|status| StoreStatus { state: StoreState::Current, published, problem, ..status.clone() });
    }

    fn report(&self, state: StoreState, problem: Option<String>) {
        self.change_status(|status| StoreStatus { state, problem, ..status.clone() });
    }

    /// A state is logged once, when it begins.
    fn change_status(&self, change: impl FnOnce(&StoreStatus) -> StoreStatus) {
        self.shared.store_status.send_if_modified(|status| {
            let next = change(status);
            let has_new_state = next.state != status.state;
            if let Some(problem) = next.problem.as_ref().filter(|_| has_new_state && next.state != StoreState::Current)
            {
                tracing::warn!("the table is not in the store: {problem}");
            } else if has_new_state && status.state == StoreState::Unreachable {
                tracing::info!("the store at {} answers again", status.address);
            }
            let has_changed = next != *status;
            *status = next;
            has_changed
        });
    }
}

#[cfg(test)]
mod tests {
    use vamp_store::{Expected, layout, tables};

    use super::*;
    use crate::core::tests::{SHOP, World, put};

    #[tokio::test]
    async fn the_clock_finds_values_that_somebody_deleted() {
        let world = World::new().await;
        let changed = put(&world.core, SHOP).await.unwrap();
        world.is_published(changed.generation).await;
        let store = &world.store;
        let stored = tables::read_manifest(store.as_ref(), "default").await.unwrap().unwrap();
        let digest = stored.manifest.entries[0].digest;
        let value = layout::value_part("default", &digest.to_string(), 0);
        assert!(store.delete(&value, Expected::Anything).await.unwrap());
        Worker::new(Arc::clone(&world.core.shared)).look_closely().await;
        assert_eq!(tables::read_gateways(store.as_ref(), "default", [digest]).await.unwrap().len(), 1);
    }
}
