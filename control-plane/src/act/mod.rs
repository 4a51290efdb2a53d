//! Of all control planes on one database, one acts: it starts, stops and scales what runs. The others answer, keep changes,
//! publish tables and watch, and one of them takes over when the first is gone.

mod lease;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::causes::with_causes;
use crate::core::Shared;
use crate::persist::{PersistError, Persistence, StateWrite};
use lease::{Lease, RENEW_EVERY};

/// How often who does not act looks whether somebody does.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where it stands who acts.
const SCOPE: &str = "control-planes";
const ACTING: &str = "acting";

const TROUBLE: &str = "the turn to act can't be read from the database, or not be renewed there; without it nothing is started, stopped or scaled";

/// Whether this control plane acts.
#[derive(Debug)]
pub(crate) struct Acting {
    started: Instant,
    /// Until when, by the time since the start; who was frozen for a while finds that it is over.
    until: watch::Sender<Option<Duration>>,
    /// Rings when that begins or ends.
    turns: watch::Sender<bool>,
    lease: tokio::sync::Mutex<Lease>,
    /// What stands in the way of renewing or taking it.
    trouble: watch::Sender<Option<String>>,
}

impl Default for Acting {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            until: watch::Sender::new(None),
            turns: watch::Sender::new(false),
            lease: tokio::sync::Mutex::new(Lease::new()),
            trouble: watch::Sender::new(None),
        }
    }
}

impl Acting {
    /// Whether it may act now.
    pub(crate) fn is_so(&self) -> bool {
        self.until.borrow().is_some_and(|until| self.started.elapsed() < until)
    }

    /// Why nobody can be sure of the turn, if the database is the reason.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Rings when this control plane begins to act, or ends.
    pub(crate) fn turns(&self) -> watch::Receiver<bool> {
        self.turns.subscribe()
    }

    /// Looks who acts, and takes the turn if it is free, or renews it.
    pub(crate) async fn step(&self, persistence: &dyn Persistence) -> Result<(), PersistError> {
        let mut lease = self.lease.lock().await;
        let found = persistence.states(SCOPE).await?.remove(ACTING);
        let now = self.started.elapsed();
        if let Some(claim) = lease.look(now, found.as_deref()) {
            let written = state(Some(claim));
            let is_ours = persistence.swap_states(found.as_deref(), &[written]).await?;
            lease.claimed(now, is_ours);
        }
        self.tell(lease.until());
        Ok(())
    }

    /// What is known counts while the database can't be read, until its time is over.
    fn go_on(&self) {
        // Out of the lock first: telling takes it.
        let until = *self.until.borrow();
        self.tell(until);
    }

    fn tell(&self, until: Option<Duration>) {
        if self.take_note(until) {
            if self.is_so() {
                tracing::info!("this control plane acts on what is deployed");
            } else {
                tracing::info!(
                    "this control plane no longer acts on what is deployed: another one does, or the database can't be written"
                );
            }
        }
    }

    /// Whether that turns anything.
    fn take_note(&self, until: Option<Duration>) -> bool {
        self.until.send_replace(until);
        let is_so = self.is_so();
        self.turns.send_if_modified(|was| std::mem::replace(was, is_so) != is_so)
    }

    /// Leaves the turn to others at once.
    async fn leave(&self, persistence: &dyn Persistence) -> Result<(), PersistError> {
        let lease = self.lease.lock().await;
        if self.take_note(None) {
            tracing::info!("this control plane leaves it to others to act on what is deployed");
        }
        match lease.ours() {
            Some(ours) => persistence.swap_states(Some(&ours), &[state(None)]).await.map(drop),
            None => Ok(()),
        }
    }
}

fn state(value: Option<String>) -> StateWrite {
    StateWrite { scope: SCOPE.to_owned(), name: ACTING.to_owned(), value }
}

/// Keeps the turn, or waits for it, until it is stopped.
pub(crate) async fn run(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let work = async {
        loop {
            let pause = if shared.acting.is_so() { RENEW_EVERY } else { LOOK_EVERY };
            tokio::time::sleep(pause).await;
            match shared.acting.step(shared.persistence.as_ref()).await {
                Ok(()) => drop(shared.acting.trouble.send_replace(None)),
                Err(error) => {
                    shared.acting.go_on();
                    let trouble = format!("{TROUBLE}: {}", error.in_short());
                    if shared.acting.trouble.send_replace(Some(trouble)).is_none() {
                        tracing::warn!("{TROUBLE}: {}", with_causes(&error));
                    }
                }
            }
        }
    };
    tokio::select! {
        _ = stopped.wait_for(|stopped| *stopped) => {}
        () = work => {}
    }
    // Others find out by themselves, only later.
    if let Err(error) = shared.acting.leave(shared.persistence.as_ref()).await {
        tracing::debug!("the turn to act is not given back: {}", with_causes(&error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_acts_goes_on_while_the_database_is_away_until_the_time_is_over() {
        let acting = Acting::default();
        let turns = acting.turns();
        acting.tell(Some(Duration::from_hours(1)));
        acting.go_on();
        assert!(acting.is_so() && *turns.borrow());
        acting.tell(Some(Duration::ZERO));
        acting.go_on();
        assert!(!acting.is_so() && !*turns.borrow());
    }
}
