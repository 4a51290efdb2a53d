//! Whether traffic may be sent to this process, and if not, why not.

use serde::Serialize;

use crate::sync::{SyncState, SyncStatus};

/// The answer of `/ready`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    /// Why, in words for an operator.
    pub(super) reason: String,
    /// How the served table stands to the one in the store.
    pub(super) sync: &'static str,
}

/// A process is ready while it serves a table, also an old one from its disk: traffic that it turned away because the
/// store is away would be worse off.
pub(super) fn readiness(status: &SyncStatus, is_draining: bool) -> Readiness {
    let answer = |ready, reason: String| Readiness { ready, reason, sync: status.state.word() };
    if is_draining {
        return answer(
            false,
            "the gateway is stopping: it finishes its requests and takes no new connections".to_owned(),
        );
    }
    match (status.applied, status.is_ready()) {
        (Some(table), _) if status.state == SyncState::Current => answer(true, format!("table {table} is served")),
        (Some(table), _) => answer(true, format!("table {table} is served; {}", standing(status))),
        (None, true) => answer(true, "the store has no table yet, so there is nothing to serve".to_owned()),
        (None, false) => answer(false, format!("no table is served; {}", standing(status))),
    }
}

fn standing(status: &SyncStatus) -> String {
    let fault = || status.fault.as_deref().unwrap_or("it did not answer yet");
    match status.state {
        SyncState::Starting => "the store was not asked yet".to_owned(),
        SyncState::Empty => "the store has none".to_owned(),
        SyncState::Current => "it is the newest".to_owned(),
        SyncState::Updating => "a newer one is being read".to_owned(),
        SyncState::Refused => match &status.refused {
            Some(refused) => format!("table {} is refused: {}", refused.generation, refused.reason),
            None => "the one in the store is refused".to_owned(),
        },
        SyncState::Ahead => "the store has an older one, or none: it lost data".to_owned(),
        SyncState::Disconnected => format!("the store can't be read: {}", fault()),
    }
}

#[cfg(test)]
mod tests {
    use vamp_routing::wire::Generation;

    use super::*;

    #[track_caller]
    fn check(status: &SyncStatus, is_draining: bool, ready: bool, words: &str) {
        let answer = readiness(status, is_draining);
        assert_eq!(answer.ready, ready, "{answer:?}");
        assert!(answer.reason.contains(words), "{answer:?}");
    }

    fn served(state: SyncState) -> SyncStatus {
        SyncStatus { state, applied: Some(Generation { epoch: 1, revision: 7 }), ..SyncStatus::default() }
    }

    #[test]
    fn without_a_table_it_is_ready_only_when_it_is_certain_that_there_is_none() {
        check(&SyncStatus::default(), false, false, "not asked yet");
        let fault = Some("refused".to_owned());
        let away = SyncStatus { state: SyncState::Disconnected, fault, ..SyncStatus::default() };
        check(&away, false, false, "can't be read: refused");
        let empty = SyncStatus { state: SyncState::Empty, was_confirmed_empty: true, ..SyncStatus::default() };
        check(&empty, false, true, "no table yet");
    }

    #[test]
    fn with_a_table_it_is_ready_whatever_the_store_does() {
        check(&served(SyncState::Current), false, true, "table 1.7 is served");
        for state in SyncState::ALL {
            check(&served(state), false, true, "1.7");
        }
    }

    #[test]
    fn a_process_that_stops_is_not_ready() {
        check(&served(SyncState::Current), true, false, "stopping");
    }
}
