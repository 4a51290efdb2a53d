//! Asks all questions of all instances of one platform, each in its time, and keeps the answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::super::{Instance, InstanceId, SharedPlatform, State};
use super::machine::Machine;
use super::{Health, HealthCheck, probe};

/// LIMIT: questions that are open at once: each holds a socket, and a machine answers many more in a second.
const QUESTIONS_MAX: usize = 64;

/// An instance and its checks.
#[derive(Debug, Clone)]
pub struct Checked {
    /// As the platform told it last.
    pub instance: Instance,
    /// What is asked of it.
    pub checks: Vec<HealthCheck>,
}

/// Asks the instances that it was given.
#[derive(Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
    asking: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    platform: SharedPlatform,
    http: reqwest::Client,
    watched: Mutex<BTreeMap<InstanceId, Watched>>,
    /// What is to be asked changed.
    moved: Notify,
    changes: watch::Sender<u64>,
    start: Instant,
}

#[derive(Debug)]
struct Watched {
    instance: Instance,
    machines: Vec<Machine>,
}

/// One question that is open.
struct Question {
    instance: Instance,
    index: usize,
    check: HealthCheck,
    asked: Duration,
}

impl Monitor {
    /// Starts with no instances; ends when it is dropped.
    pub fn start(platform: SharedPlatform) -> Result<Self, reqwest::Error> {
        // `reqwest` takes the process's provider of cryptography. Only the first call has an effect.
        drop(rustls::crypto::ring::default_provider().install_default());
        // A fresh connection each time: one that is kept would pass while nobody can open another.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .tls_danger_accept_invalid_certs(true)
            .build()?;
        let shared = Arc::new(Shared {
            platform,
            http,
            watched: Mutex::default(),
            moved: Notify::new(),
            changes: watch::Sender::new(0),
            start: Instant::now(),
        });
        let asking = tokio::spawn(Arc::clone(&shared).ask()).abort_handle();
        Ok(Self { shared, asking })
    }

    /// What is asked from now on, in place of what was said before. Instances that stay as they are keep their counts.
    pub fn watch(&self, wanted: impl IntoIterator<Item = Checked>) {
        let now = self.shared.start.elapsed();
        let mut watched = self.shared.watched();
        let mut before = std::mem::take(&mut *watched);
        for Checked { instance, checks } in wanted {
            let id = instance.id.clone();
            let machines = match before.remove(&id) {
                Some(old) if old.is_for(&instance, &checks) => old.machines,
                _ => checks.into_iter().map(|check| Machine::new(check, now)).collect(),
            };
            watched.insert(id, Watched { instance, machines });
        }
        drop(watched);
        self.shared.moved.notify_one();
    }

    /// How an instance is.
    pub fn health(&self, id: &InstanceId) -> Health {
        self.shared.watched().get(id).map_or(Health::Unknown, Watched::health)
    }

    /// Changes its value whenever the health of an instance changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

impl Watched {
    /// Whether answers so far are answers of this instance to these checks.
    fn is_for(&self, instance: &Instance, checks: &[HealthCheck]) -> bool {
        self.instance.started_at_unix_ms == instance.started_at_unix_ms
            && self.instance.digest == instance.digest
            && self.machines.iter().map(Machine::check).eq(checks)
    }

    fn health(&self) -> Health {
        let mut healths = self.machines.iter().map(Machine::health).peekable();
        if self.instance.state != State::Running || healths.peek().is_none() {
            return Health::Unknown;
        }
        let worst = healths.max_by_key(|health| match health {
            Health::Passing => 0,
            Health::Unknown => 1,
            Health::Failing { .. } => 2,
        });
        worst.cloned().unwrap_or(Health::Unknown)
    }
}

impl Shared {
    fn watched(&self) -> std::sync::MutexGuard<'_, BTreeMap<InstanceId, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self: Arc<Self>) {
        let mut open = JoinSet::new();
        loop {
            let next = self.begin(&mut open);
            tokio::select! {
                () = self.moved.notified() => {}
                () = until(next.map(|next| self.start + next)) => {}
                Some(_) = open.join_next() => {}
            }
        }
    }

    /// Asks what is due, as far as there is room, and says when more will be.
    fn begin(self: &Arc<Self>, open: &mut JoinSet<()>) -> Option<Duration> {
        let now = self.start.elapsed();
        let mut next: Option<Duration> = None;
        for watched in self.watched().values_mut() {
            if watched.instance.state != State::Running {
                continue;
            }
            for (index, machine) in watched.machines.iter_mut().enumerate() {
                let Some(due) = machine.next() else { continue };
                if due > now {
                    next = Some(next.map_or(due, |next| next.min(due)));
                } else if open.len() < QUESTIONS_MAX {
                    machine.asked();
                    let instance = watched.instance.clone();
                    let question = Question { instance, index, check: machine.check().clone(), asked: now };
                    open.spawn(Arc::clone(self).answer(question));
                }
            }
        }
        next
    }

    async fn answer(self: Arc<Self>, question: Question) {
        let answer = probe::ask(&*self.platform, &self.http, &question.instance, &question.check).await;
        let now = self.start.elapsed();
        let mut watched = self.watched();
        let asked = watched.get_mut(&question.instance.id).filter(|watched| {
            // The answer of an instance that was started again meanwhile says nothing of the new one.
            watched.instance.started_at_unix_ms == question.instance.started_at_unix_ms
        });
        let machine = asked.and_then(|watched| watched.machines.get_mut(question.index));
        let Some(machine) = machine.filter(|machine| *machine.check() == question.check) else { return };
        let has_changed = match answer {
            Some(answer) => machine.answered(answer, question.asked, now),
            None => machine.unanswered(question.asked, now),
        };
        drop(watched);
        if has_changed {
            self.changes.send_modify(|change| *change = change.wrapping_add(1));
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
