//! The scale that a service was given last, where it has another one meanwhile.
//!
//! People and promises scale what runs. A file that is deployed once more, unchanged, takes nothing of that back: of a
//! scale only what is another than the service was given counts. What it was given stands in the metadata of the
//! deployment as long as it is not what the service has; so it is exported, and comes back, with it.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use vamp_model::{Deployment, Format, ScaleUse, Size, Topology, read_scale};

use super::size_of;

/// Scales by cluster and service, in the metadata of a deployment.
const GIVEN: &str = "io.vamp.given";

/// Scales that these had when the deployment was exported, in the metadata of the export alone.
const HAD: &str = "io.vamp.had";

type Metadata = Map<String, Value>;

fn key(cluster: &str, service: &str) -> String {
    format!("{cluster}/{service}")
}

fn noted(metadata: &Metadata, notes: &str, cluster: &str, service: &str) -> Option<Size> {
    let scale = metadata.get(notes)?.get(key(cluster, service))?;
    match read_scale(&scale.to_string(), Format::Json, &|_, _| None) {
        Ok(ScaleUse::Inline(size)) => Some(size),
        _ => None,
    }
}

/// Takes the notes out of the metadata, to be put back when they are written.
fn take_notes(metadata: &mut Metadata) -> Metadata {
    match metadata.remove(GIVEN) {
        Some(Value::Object(notes)) => notes,
        _ => Metadata::new(),
    }
}

fn put_notes(metadata: &mut Metadata, notes: Metadata) {
    if !notes.is_empty() {
        metadata.insert(GIVEN.to_owned(), Value::Object(notes));
    }
}

fn note(notes: &mut Metadata, cluster: &str, service: &str, given: Option<Size>) {
    match given {
        Some(given) => drop(notes.insert(key(cluster, service), Value::Object(given.to_fields()))),
        None => drop(notes.remove(&key(cluster, service))),
    }
}

/// Takes note of what a service was given, now that it has been scaled from `from` to what it has.
pub(super) fn scaled(deployment: &mut Deployment, cluster: &str, service: &str, from: Size) {
    let found = deployment.cluster(cluster).and_then(|cluster| cluster.service(service));
    let Some(now) = found.map(size_of) else { return };
    let given = noted(&deployment.metadata, GIVEN, cluster, service).unwrap_or(from);
    let mut notes = take_notes(&mut deployment.metadata);
    note(&mut notes, cluster, service, Some(given).filter(|given| *given != now));
    put_notes(&mut deployment.metadata, notes);
}

/// What an export adds: the scale that a service had, where it is another than the one that it was given. So a file that is
/// deployed again says whether somebody changed that scale in it.
pub(super) fn exported(deployment: &Deployment, metadata: &mut Metadata) {
    let mut had = Metadata::new();
    for cluster in &deployment.body.clusters {
        for service in &cluster.services {
            let breed = service.breed.name();
            if noted(&deployment.metadata, GIVEN, &cluster.name, breed).is_some() {
                had.insert(key(&cluster.name, breed), Value::Object(size_of(service).to_fields()));
            }
        }
    }
    if !had.is_empty() {
        metadata.insert(HAD.to_owned(), Value::Object(had));
    }
}

/// What a merge makes of the scales: each part that the file gives as it was given before stays as it is.
pub(super) fn merged(next: &mut Deployment, stable: Option<&Deployment>, attached: &Topology, said: &Metadata) {
    next.metadata.remove(HAD);
    let notes = stable.and_then(|stable| stable.metadata.get(GIVEN));
    // Its place among the others is part of what is compared with what is stored.
    match notes {
        Some(notes) => next.metadata.insert(GIVEN.to_owned(), notes.clone()),
        None => next.metadata.remove(GIVEN),
    };
    let notes = notes.and_then(Value::as_object);
    let mut notes = notes.cloned().unwrap_or_default();
    let clusters = stable.map(|stable| stable.body.by_name()).unwrap_or_default();
    let mut sizes: HashMap<(&str, &str), Size> = HashMap::new();
    for cluster in &attached.clusters {
        let services = clusters.get(cluster.name.as_str()).map(|stable| stable.by_breed()).unwrap_or_default();
        for service in &cluster.services {
            let breed = service.breed.name();
            let Some(ScaleUse::Inline(file)) = service.scale else { continue };
            let [had, given] = [HAD, GIVEN].map(|notes| noted(said, notes, &cluster.name, breed));
            let former = stable.and_then(|stable| {
                let live = size_of(services.get(breed)?);
                Some((live, noted(&stable.metadata, GIVEN, &cluster.name, breed).unwrap_or(live)))
            });
            let (size, given) = match former {
                None => (file, given.unwrap_or(file)),
                Some((live, before)) => settle(file, given.map(|given| Exported { had, given }), before, live),
            };
            sizes.insert((&cluster.name, breed), size);
            note(&mut notes, &cluster.name, breed, Some(given).filter(|given| *given != size));
        }
    }
    for cluster in &mut next.body.clusters {
        for service in &mut cluster.services {
            if let Some(size) = sizes.get(&(cluster.name.as_str(), service.breed.name())) {
                service.scale = Some(ScaleUse::Inline(*size));
            }
        }
    }
    if !sizes.is_empty() {
        next.metadata.remove(GIVEN);
        put_notes(&mut next.metadata, notes);
    }
    forget(next);
}

/// What an export says of a scale: what the service had, unless the export is from before that was said, and was given.
#[derive(Clone, Copy)]
struct Exported<T> {
    had: Option<T>,
    given: T,
}

/// The scale that a service gets, and the one that it was given.
fn settle(file: Size, exported: Option<Exported<Size>>, before: Size, live: Size) -> (Size, Size) {
    let of = exported.map(|Exported { had, given }| Exported { had: had.map(|had| had.cpu), given: given.cpu });
    let cpu = settle_part(file.cpu, of, before.cpu, live.cpu);
    let of = exported.map(|Exported { had, given }| Exported { had: had.map(|had| had.memory), given: given.memory });
    let memory = settle_part(file.memory, of, before.memory, live.memory);
    let of =
        exported.map(|Exported { had, given }| Exported { had: had.map(|had| had.instances), given: given.instances });
    let instances = settle_part(file.instances, of, before.instances, live.instances);
    let size = Size { cpu: cpu.0, memory: memory.0, instances: instances.0 };
    (size, Size { cpu: cpu.1, memory: memory.1, instances: instances.1 })
}

fn settle_part<T: Copy + PartialEq>(file: T, exported: Option<Exported<T>>, before: T, live: T) -> (T, T) {
    match exported {
        None if file == before => (live, file),
        // Somebody wrote another one into what was exported.
        Some(Exported { had: Some(had), .. }) if file != had => (file, file),
        // It is as it was exported, and what it was given is as it was then: what it has was moved since, or not.
        Some(Exported { had: Some(_), given }) if given == before => (live, given),
        None => (file, file),
        Some(Exported { given, .. }) => (file, given),
    }
}

/// Drops notes of services that are not there.
pub(super) fn forget(deployment: &mut Deployment) {
    let Some(notes) = deployment.metadata.get(GIVEN).and_then(Value::as_object) else { return };
    let services = deployment
        .body
        .clusters
        .iter()
        .flat_map(|cluster| cluster.services.iter().map(|service| (cluster.name.as_str(), service.breed.name())));
    let services: HashSet<(&str, &str)> = services.collect();
    let is_there = |key: &str| key.split_once('/').is_some_and(|service| services.contains(&service));
    let left: Metadata =
        notes.iter().filter(|(key, _)| is_there(key)).map(|(key, it)| (key.clone(), it.clone())).collect();
    if left.is_empty() {
        deployment.metadata.remove(GIVEN);
    } else {
        deployment.metadata.insert(GIVEN.to_owned(), Value::Object(left));
    }
}
