//! What instances use, by cluster, as far as their platforms tell it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Platforms;
use super::order::known_by;
use crate::causes::with_causes;
use crate::platform::Labels;

/// Processor time of each instance since it was started, or why it is not known.
pub(crate) type ClusterUsage = Result<BTreeMap<String, Duration>, String>;

/// What instances use.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// By deployment and cluster, where instances were found.
    pub(crate) clusters: BTreeMap<(String, String), ClusterUsage>,
    /// Why there may be more.
    pub(crate) missing: Option<String>,
}

impl Platforms {
    /// Asks every platform what its instances use.
    pub(crate) async fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        for (kind, runner) in &self.by_kind {
            let any = Labels::new();
            let asked = tokio::join!(runner.platform.list(&any), runner.platform.processor_times());
            let (instances, times) = match asked {
                (Ok(instances), Ok(times)) => (instances, times),
                (Err(error), _) | (_, Err(error)) => {
                    usage.missing = Some(with_causes(&error));
                    continue;
                }
            };
            for instance in instances {
                let Some((service, ..)) = known_by(&instance) else { continue };
                let cluster = usage.clusters.entry((service.deployment, service.cluster));
                let known = cluster.or_insert_with(|| Ok(BTreeMap::new()));
                match (&times, known) {
                    (Some(times), Ok(known)) => {
                        known.extend(times.get(&instance.id).map(|time| (instance.id.to_string(), *time)));
                    }
                    (None, known) => {
                        *known = Err(format!("what runs deployables of the type `{kind}` tells no processor time"));
                    }
                    (Some(_), Err(_)) => {}
                }
            }
        }
        usage
    }
}
