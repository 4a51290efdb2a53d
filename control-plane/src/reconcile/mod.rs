//! Brings what runs to what is wanted, again and again: the machine decides, the shell asks platforms and acts.

mod logs;
mod machine;
mod order;
mod run;
mod runnable;
#[cfg(test)]
mod simulation;
mod state;
mod terms;
mod told;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use logs::Source;
pub(crate) use machine::ServiceName;
pub(crate) use order::kind_of;
pub(crate) use run::run;
#[cfg(test)]
pub(crate) use state::InstanceState;
pub(crate) use state::{Intention, Phase, ServiceState, Stage, States};
pub(crate) use usage::{Clusters, Times};

use crate::causes::with_causes;
use crate::platform::health::Monitor;
use crate::platform::{Info, Labels, SharedPlatform};

/// LIMIT: how long a platform gets to say what runs there; then its instances are unknown.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);
/// LIMIT: what a platform gets to say what it is, to people who wait.
const INFO_TIMEOUT: Duration = Duration::from_secs(2);

/// What runs services, by the type of their deployables, and where they find the gateways.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platforms {
    by_kind: BTreeMap<String, Runner>,
    gateway_host: String,
    /// How long the checks of an instance that was ready fail until another one takes its place; zero: none ever does.
    pub(crate) replace_failing_after: Duration,
}

/// A platform, with who asks its instances how they are.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    platform: SharedPlatform,
    monitor: Arc<Monitor>,
}

impl Platforms {
    /// None yet.
    pub(crate) fn new(gateway_host: String) -> Self {
        Self { by_kind: BTreeMap::new(), gateway_host, replace_failing_after: Duration::ZERO }
    }

    /// What each platform says that it is, by the type of what it runs; or why it does not say.
    pub(crate) async fn infos(&self) -> Vec<(&str, Result<Info, String>)> {
        let asked = self.by_kind.iter().map(async |(kind, runner)| {
            let told = tokio::time::timeout(INFO_TIMEOUT, runner.platform.info()).await;
            let late = |_| format!("it did not answer within {} s", INFO_TIMEOUT.as_secs());
            let told = told.map_err(late).and_then(|told| told.map_err(|error| with_causes(&error)));
            (kind.as_str(), told)
        });
        futures_util::future::join_all(asked).await
    }

    /// Where services find the gateways.
    pub(crate) fn gateway_host(&self) -> &str {
        &self.gateway_host
    }

    /// Runs deployables of a type on a platform.
    pub(crate) fn add(&mut self, kind: &str, platform: SharedPlatform) -> Result<(), reqwest::Error> {
        let monitor = Arc::new(Monitor::start(Arc::clone(&platform))?);
        self.by_kind.insert(kind.to_owned(), Runner { platform, monitor });
        Ok(())
    }

    /// Asks every instance to end; the next start finds and starts them again.
    pub(crate) async fn stop_all(&self, grace: Duration) {
        for Runner { platform, .. } in self.by_kind.values() {
            let instances = platform.list(&Labels::new()).await.unwrap_or_default();
            let stops = instances.iter().map(|instance| platform.stop(&instance.id, grace));
            for stopped in futures_util::future::join_all(stops).await {
                if let Err(error) = stopped {
                    tracing::warn!(cause = %with_causes(&error), "an instance was not stopped");
                }
            }
        }
    }
}
