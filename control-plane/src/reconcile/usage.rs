//! What instances use, by cluster, as their platforms tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::order::known_by;
use super::{LIST_TIMEOUT, Platforms, Runner};
use crate::causes::with_causes;
use crate::platform::Labels;

/// A cluster, by its deployment and its name.
pub(crate) type ClusterKey = (String, String);

/// Clusters, with the types of their deployables, by which platforms are found.
pub(crate) type Clusters = BTreeMap<ClusterKey, BTreeSet<String>>;

/// Processor time of each instance since it was started.
pub(crate) type Times = BTreeMap<String, Duration>;

/// What is known of each cluster, or why nothing is.
type Known = BTreeMap<ClusterKey, Result<Times, String>>;

impl Platforms {
    /// Asks the platforms of these clusters what their instances use. A platform or an instance that does not answer hides
    /// the clusters that have something there, and no other.
    pub(crate) async fn usage(&self, of: &Clusters) -> Known {
        let asked = self.by_kind.iter().map(async |(kind, runner)| {
            let has_it =
                |(cluster, kinds): (&ClusterKey, &BTreeSet<String>)| kinds.contains(kind).then(|| cluster.clone());
            let own: BTreeSet<ClusterKey> = of.iter().filter_map(has_it).collect();
            let told = if own.is_empty() { Ok(Known::new()) } else { runner.usage(&own).await };
            (own, told)
        });
        let mut known = Known::new();
        for (own, told) in futures_util::future::join_all(asked).await {
            let told = told.unwrap_or_else(|why| own.into_iter().map(|cluster| (cluster, Err(why.clone()))).collect());
            for (cluster, times) in told {
                match (known.entry(cluster).or_insert_with(|| Ok(Times::new())), times) {
                    (Ok(all), Ok(times)) => all.extend(times),
                    (known @ Ok(_), Err(why)) => *known = Err(why),
                    (Err(_), _) => {}
                }
            }
        }
        known
    }
}

impl Runner {
    async fn usage(&self, of: &BTreeSet<ClusterKey>) -> Result<Known, String> {
        let late = |_| format!("the platform did not say within {} s what is used there", LIST_TIMEOUT.as_secs());
        let mut owners = BTreeMap::new();
        let listed = tokio::time::timeout(LIST_TIMEOUT, self.platform.list(&Labels::new())).await;
        for instance in listed.map_err(late)?.map_err(|error| with_causes(&error))? {
            let cluster = known_by(&instance).map(|(service, ..)| (service.deployment, service.cluster));
            if let Some(cluster) = cluster.filter(|cluster| of.contains(cluster)) {
                owners.insert(instance.id, cluster);
            }
        }
        if owners.is_empty() {
            return Ok(Known::new());
        }
        let ids = owners.keys().cloned().collect();
        let asked = tokio::time::timeout(LIST_TIMEOUT, self.platform.usage(&ids)).await;
        let mut used = asked.map_err(late)?.map_err(|error| with_causes(&error))?;
        let mut known = Known::new();
        for (id, cluster) in owners {
            let times = known.entry(cluster).or_insert_with(|| Ok(Times::new()));
            match (used.remove(&id), &mut *times) {
                (Some(Ok(usage)), Ok(times)) => drop(times.insert(id.to_string(), usage.processor_time)),
                (Some(Err(error)), Ok(_)) => *times = Err(with_causes(&error)),
                _ => {}
            }
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::platform::docker::{DockerPlatform, DockerSettings};
    use crate::platform::process::{ProcessPlatform, ProcessSettings};

    #[tokio::test]
    async fn a_platform_that_is_silent_hides_the_clusters_that_have_something_there_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let process = ProcessPlatform::open(ProcessSettings::new(folder.path().join("instances"))).unwrap();
        let nowhere = format!("unix://{}", folder.path().join("docker.sock").display()).parse().unwrap();
        let docker = DockerPlatform::open(DockerSettings::new(nowhere, "n".to_owned()));
        let mut platforms = Platforms::new("127.0.0.1".to_owned());
        platforms.add("command", Arc::new(process)).unwrap();
        platforms.add("container/docker", Arc::new(docker)).unwrap();
        let key = |cluster: &str| ("shop".to_owned(), cluster.to_owned());
        let of = |cluster: &str, kinds: &[&str]| (key(cluster), kinds.iter().map(|kind| (*kind).to_owned()).collect());
        let both = ["command", "container/docker"];
        let known = platforms
            .usage(&Clusters::from([of("web", &["command"]), of("store", &["container/docker"]), of("both", &both)]))
            .await;
        assert_eq!(known.get(&key("web")), None, "nothing of it runs");
        for hidden in ["store", "both"] {
            assert!(known[&key(hidden)].as_ref().unwrap_err().contains("does not answer"), "{known:?}");
        }
        assert!(platforms.usage(&Clusters::from([of("web", &["command"])])).await.is_empty());
    }
}
