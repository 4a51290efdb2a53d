//! Goes once through a history that was written before old versions of what runs were thinned, in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Shared;
use crate::causes::with_causes;
use crate::persist::{PersistError, Place, StateWrite};

/// LIMIT: from one step to the next, so that changes have nearly all of the database's time.
const PAUSE: Duration = Duration::from_millis(200);
/// LIMIT: from a step that failed to the next.
const TRY_AGAIN: Duration = Duration::from_mins(1);

/// Where it stands that it was done.
const SCOPE: &str = "upkeep";
const DONE: &str = "instances-thinned";

/// Thins until all is, or it is stopped; the next start begins anew with what is left.
pub(super) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let work = async {
        let mut place = None;
        loop {
            let pause = match step(&shared, &mut place).await {
                Ok(true) => return,
                Ok(false) => PAUSE,
                Err(error) => {
                    tracing::warn!("old versions of what ran are thinned later: {}", with_causes(&error));
                    TRY_AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
}

/// One step; whether it was the last.
async fn step(shared: &Shared, place: &mut Option<Place>) -> Result<bool, PersistError> {
    let persistence = &shared.persistence;
    let from = match place.take() {
        Some(from) => from,
        None if persistence.states(SCOPE).await?.contains_key(DONE) => return Ok(true),
        None => Place::default(),
    };
    *place = Some(from.clone());
    if let Some(next) = persistence.thin_history(from).await? {
        *place = Some(next);
        return Ok(false);
    }
    let done = StateWrite { scope: SCOPE.to_owned(), name: DONE.to_owned(), value: Some("1".to_owned()) };
    persistence.keep_states(&[done]).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use vamp_store::testing::eventually;

    use super::super::tests::{DEADLINE, World};
    use super::*;

    #[tokio::test]
    async fn it_is_done_once_and_remembered() {
        let world = World::new().await;
        let persistence = &world.core.shared.persistence;
        let is_done = async || persistence.states(SCOPE).await.unwrap().contains_key(DONE);
        eventually("the history is thinned", DEADLINE, is_done).await;
        let mut place = None;
        assert!(step(&world.core.shared, &mut place).await.unwrap());
        assert_eq!(place, None, "nothing was read");
    }
}
