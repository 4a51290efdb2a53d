//! The scale that a service was given last, where it has another one meanwhile.
//!
//! People and promises scale what runs. A file that is deployed once more, unchanged, takes nothing of that back: of a
//! scale only what is another than the service was given counts. What it was given stands in the metadata of the
//! deployment as long as it is not what the service has; so it is exported, and comes back, with it.

use serde_json::{Map, Value};
use vamp_model::{Deployment, Format, ScaleUse, Size, Topology, read_scale};

use super::size_of;

/// Scales by cluster and service, in the metadata of a deployment.
const GIVEN: &str = "io.vamp.given";

type Metadata = Map<String, Value>;

fn key(cluster: &str, service: &str) -> String {
    format!("{cluster}/{service}")
}

fn noted(metadata: &Metadata, cluster: &str, service: &str) -> Option<Size> {
    let scale = metadata.get(GIVEN)?.get(key(cluster, service))?;
    match read_scale(&scale.to_string(), Format::Json, &|_, _| None) {
        Ok(ScaleUse::Inline(size)) => Some(size),
        _ => None,
    }
}

fn note(metadata: &mut Metadata, cluster: &str, service: &str, given: Option<Size>) {
    let mut notes = metadata.remove(GIVEN).and_then(|notes| notes.as_object().cloned()).unwrap_or_default();
    match given {
        Some(given) => drop(notes.insert(key(cluster, service), Value::Object(given.to_fields()))),
        None => drop(notes.remove(&key(cluster, service))),
    }
    if !notes.is_empty() {
        metadata.insert(GIVEN.to_owned(), Value::Object(notes));
    }
}

/// Takes note of what a service was given, now that it has been scaled from `from` to what it has.
pub(super) fn scaled(deployment: &mut Deployment, cluster: &str, service: &str, from: Size) {
    let found = deployment.cluster(cluster).and_then(|cluster| cluster.service(service));
    let Some(now) = found.map(size_of) else { return };
    let given = noted(&deployment.metadata, cluster, service).unwrap_or(from);
    note(&mut deployment.metadata, cluster, service, Some(given).filter(|given| *given != now));
}

/// What a merge makes of the scales: each part that the file gives as it was given before stays as it is.
pub(super) fn merged(next: &mut Deployment, stable: &Deployment, attached: &Topology, said: &Metadata) {
    let notes = [&stable.metadata, said].into_iter().filter_map(|metadata| metadata.get(GIVEN)?.as_object());
    let notes: Metadata = notes.flatten().map(|(key, given)| (key.clone(), given.clone())).collect();
    if !notes.is_empty() {
        next.metadata.insert(GIVEN.to_owned(), Value::Object(notes));
    }
    for cluster in &attached.clusters {
        for service in &cluster.services {
            let breed = service.breed.name();
            let Some(ScaleUse::Inline(given)) = service.scale else { continue };
            let former = stable.cluster(&cluster.name).and_then(|cluster| cluster.service(breed));
            // An export says what there was, and what was given, at the same time.
            let Some(live) = former.map(size_of).filter(|_| noted(said, &cluster.name, breed).is_none()) else {
                continue;
            };
            let before = noted(&stable.metadata, &cluster.name, breed).unwrap_or(live);
            let size = Size {
                cpu: if given.cpu == before.cpu { live.cpu } else { given.cpu },
                memory: if given.memory == before.memory { live.memory } else { given.memory },
                instances: if given.instances == before.instances { live.instances } else { given.instances },
            };
            let own = next.body.clusters.iter_mut().find(|found| found.name == cluster.name);
            let own = own.and_then(|own| own.services.iter_mut().find(|found| found.breed.name() == breed));
            if let Some(own) = own {
                own.scale = Some(ScaleUse::Inline(size));
            }
            note(&mut next.metadata, &cluster.name, breed, Some(given).filter(|given| *given != size));
        }
    }
    forget(next);
}

/// Drops notes of services that are not there.
pub(super) fn forget(deployment: &mut Deployment) {
    let Some(notes) = deployment.metadata.get(GIVEN).and_then(Value::as_object) else { return };
    let is_there = |key: &str| {
        let found = key.split_once('/').and_then(|(cluster, service)| deployment.cluster(cluster)?.service(service));
        found.is_some()
    };
    let left: Metadata =
        notes.iter().filter(|(key, _)| is_there(key)).map(|(key, it)| (key.clone(), it.clone())).collect();
    if left.is_empty() {
        deployment.metadata.remove(GIVEN);
    } else {
        deployment.metadata.insert(GIVEN.to_owned(), Value::Object(left));
    }
}
