//! The one way for every change.

use std::sync::Arc;
use std::time::Duration;

use vamp_model::{Artifact, Format, read_as};

use super::draft::Draft;
use super::{ChangeError, ChangeRequest, Changed, RestoreRequest, Shared, now_unix_ms};
use crate::backoff::Backoff;
use crate::persist::{ArtifactId, PersistError};

/// LIMIT: how often one change is planned anew because writers of other processes were faster. Writers of this process
/// take turns, so that each try loses against another control plane only.
const TRIES_MAX: u32 = 20;
const TRY_AGAIN: Duration = Duration::from_millis(2);
const TRY_AGAIN_MAX: Duration = Duration::from_millis(100);

/// Makes a change: all of it, or nothing.
pub(super) async fn change(shared: &Arc<Shared>, request: ChangeRequest) -> Result<Changed, ChangeError> {
    let request = Arc::new(request);
    let _turn = shared.turn.lock().await;
    let mut backoff = Backoff::new(TRY_AGAIN, TRY_AGAIN_MAX);
    for _ in 0..TRIES_MAX {
        let draft = draft(shared, &request).await?;
        if request.validate_only || draft.is_empty() {
            return Ok(draft.into_answer());
        }
        match shared.persistence.commit(&draft.change).await {
            Ok(committed) => {
                let (current, changed) = draft.keep(committed);
                shared.install(current);
                return Ok(changed);
            }
            Err(PersistError::Moved { .. }) => backoff.wait().await,
            Err(error) => return Err(error.into()),
        }
    }
    Err(ChangeError::Busy { tries: TRIES_MAX })
}

/// On what is in the database now; planning may take long, so it happens off the threads that serve requests.
async fn draft(shared: &Arc<Shared>, request: &Arc<ChangeRequest>) -> Result<Draft, ChangeError> {
    let current = shared.refresh_in_turn().await?;
    let (request, settings) = (Arc::clone(request), Arc::clone(&shared.settings));
    let work = move || Draft::make(&current, &request, &settings.plan, now_unix_ms());
    tokio::task::spawn_blocking(work).await.map_err(|_| ChangeError::Stopped)?
}

/// The artifact as it was in an old version.
pub(super) async fn old_version(shared: &Shared, request: &RestoreRequest) -> Result<Artifact, ChangeError> {
    let (kind, name, version) = (request.kind, &request.name, request.version);
    let history = shared.persistence.history(&ArtifactId { kind: kind.plural(), name: name.clone() }).await?;
    if history.is_empty() {
        return Err(ChangeError::Missing { kind, name: name.clone() });
    }
    let found = history.into_iter().find(|past| past.stored.version == version);
    let Some(document) = found.and_then(|past| past.stored.document) else {
        return Err(ChangeError::NoSuchVersion { kind, name: name.clone(), version });
    };
    let unreadable = |violations| ChangeError::Unreadable { kind, name: name.clone(), version, violations };
    let documents = read_as(&document, Format::Json, kind, Some(name)).map_err(unreadable)?;
    let artifact = documents.into_iter().next().map(|document| document.artifact);
    artifact.ok_or_else(|| ChangeError::NoSuchVersion { kind, name: name.clone(), version })
}
