//! Which instances of a deployment have something to say, for who reads logs.

use super::Platforms;
use super::order::known_by;
use crate::platform::{InstanceId, Labels, LogQuery, LogStream, PlatformError, SharedPlatform};

/// One instance whose logs can be read.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Its cluster.
    pub cluster: String,
    /// Its breed.
    pub service: String,
    /// Which.
    pub id: InstanceId,
    platform: SharedPlatform,
}

impl Source {
    /// What it wrote.
    pub(crate) async fn read(&self, query: LogQuery) -> Result<LogStream, PlatformError> {
        self.platform.logs(&self.id, query).await
    }
}

impl Platforms {
    /// All instances of a deployment, by name. A platform that does not answer hides those of no other: without any
    /// instance its failure is the answer.
    pub(crate) async fn sources(&self, deployment: &str) -> Result<Vec<Source>, PlatformError> {
        let (mut sources, mut failure) = (Vec::new(), None);
        for runner in self.by_kind.values() {
            let instances = match runner.platform.list(&Labels::new()).await {
                Ok(instances) => instances,
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            sources.extend(instances.iter().filter_map(|instance| {
                let (name, ..) = known_by(instance).filter(|(name, ..)| name.deployment == deployment)?;
                let platform = SharedPlatform::clone(&runner.platform);
                Some(Source { cluster: name.cluster, service: name.service, id: instance.id.clone(), platform })
            }));
        }
        sources.sort_by(|one: &Source, other: &Source| one.id.as_str().cmp(other.id.as_str()));
        match failure {
            Some(failure) if sources.is_empty() => Err(failure),
            _ => Ok(sources),
        }
    }
}
