//! What instances use, by cluster, as their platforms tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::order::known_by;
use super::{LIST_TIMEOUT, Platforms, Runner};
use crate::causes::with_causes;
use crate::platform::{Labels, PlatformError};

/// A cluster, by its deployment and its name.
pub(crate) type ClusterKey = (String, String);

/// Processor time of each instance since it was started.
pub(crate) type Times = BTreeMap<String, Duration>;

impl Platforms {
    /// Asks every platform what the instances of these clusters use; one that does not answer may have any of them.
    pub(crate) async fn usage(&self, of: &BTreeSet<ClusterKey>) -> Result<BTreeMap<ClusterKey, Times>, String> {
        let mut clusters: BTreeMap<ClusterKey, Times> = BTreeMap::new();
        let asked = self.by_kind.values().map(|runner| tokio::time::timeout(LIST_TIMEOUT, runner.usage(of)));
        for told in futures_util::future::join_all(asked).await {
            let late = |_| format!("the platform did not say within {} s what is used there", LIST_TIMEOUT.as_secs());
            for (cluster, times) in told.map_err(late)?.map_err(|error| with_causes(&error))? {
                clusters.entry(cluster).or_default().extend(times);
            }
        }
        Ok(clusters)
    }
}

impl Runner {
    async fn usage(&self, of: &BTreeSet<ClusterKey>) -> Result<BTreeMap<ClusterKey, Times>, PlatformError> {
        let mut owners = BTreeMap::new();
        for instance in self.platform.list(&Labels::new()).await? {
            let cluster = known_by(&instance).map(|(service, ..)| (service.deployment, service.cluster));
            if let Some(cluster) = cluster.filter(|cluster| of.contains(cluster)) {
                owners.insert(instance.id, cluster);
            }
        }
        if owners.is_empty() {
            return Ok(BTreeMap::new());
        }
        let used = self.platform.usage(&owners.keys().cloned().collect()).await?;
        let mut clusters: BTreeMap<ClusterKey, Times> = BTreeMap::new();
        for (id, cluster) in owners {
            let time = used.get(&id).map(|usage| (id.to_string(), usage.processor_time));
            clusters.entry(cluster).or_default().extend(time);
        }
        Ok(clusters)
    }
}
