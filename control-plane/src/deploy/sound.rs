//! What must hold of a deployment as a whole. It is asked before one is made, and of a blueprint before it is kept, as if
//! that were deployed by itself.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use vamp_model::{Breed, BreedUse, Cluster, Deployment, Kind, ScaleUse, Service, Topology, step};

use super::resolve::{self, Index, Lack, meeting};
use super::{Known, breed, promise};

/// One thing that stands in the way.
#[derive(Debug)]
pub(super) struct Fault {
    /// Where it stands in what was said.
    pub(super) pointer: String,
    pub(super) message: String,
    pub(super) hint: String,
    /// What would make it good.
    pub(super) cure: Cure,
}

/// What would make a fault good, but for another document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cure {
    /// Nothing.
    None,
    /// A service that runs beside it.
    Service,
    /// A value that was given to what runs.
    Value,
    /// An artifact of the name that it says.
    Artifact,
}

/// What is wrong with a deployment that follows from what is said. Of breeds that are not written out only their names
/// are known: nothing is said of what depends on their content.
pub(super) fn faults(deployment: &Deployment, said: &Topology, owner: &str, known: &dyn Known) -> Vec<Fault> {
    let mut faults: Vec<Fault> = united(deployment, said)
        .structure_faults(owner)
        .into_iter()
        .map(|found| Fault { pointer: found.pointer, message: found.message, hint: found.hint, cure: Cure::None })
        .collect();
    let clusters = deployment.body.by_name();
    for cluster in &deployment.body.clusters {
        let Some(sla) = &cluster.sla else { continue };
        let pointer = step(&step("/clusters", &cluster.name), "sla");
        faults.extend(promise::faults(sla, &clusters, known).into_iter().map(|fault| Fault {
            pointer: format!("{pointer}{}", fault.below),
            message: format!("the SLA of cluster `{}`: {}", cluster.name, fault.why),
            hint: fault.mend,
            cure: if fault.is_of_name { Cure::Artifact } else { Cure::None },
        }));
    }
    let services = services(deployment);
    let index = Index::of(deployment);
    for (pointer, cluster, service) in &services {
        of_names(pointer, service, &mut faults);
        let Some(breed) = breed(service) else { continue };
        of_dependencies(pointer, breed, &index, &mut faults);
        of_service(pointer, &index, cluster, service, breed, &mut faults);
        resolve::cut(&mut faults, |fault| fault.cure);
    }
    faults.extend(circle(&services));
    let places = Places::new(deployment, said);
    for fault in &mut faults {
        fault.pointer = places.in_what_was_said(&fault.pointer);
    }
    faults
}

/// The clusters as they will be, with what is said of gateways and variables: what was said of them before was looked at
/// then, and may concern what is gone.
fn united(deployment: &Deployment, said: &Topology) -> Topology {
    let mut united = Topology {
        clusters: deployment.body.clusters.clone(),
        gateways: said.gateways.clone(),
        environment: said.environment.clone(),
        ..Topology::default()
    };
    let said = said.by_name();
    for cluster in &mut united.clusters {
        cluster.gateways = said.get(cluster.name.as_str()).map(|said| said.gateways.clone()).unwrap_or_default();
    }
    united
}

type Placed<'d> = (String, &'d Cluster, &'d Service);

fn services(deployment: &Deployment) -> Vec<Placed<'_>> {
    let clusters = deployment.body.clusters.iter();
    let services = clusters.flat_map(|cluster| {
        let pointer = step(&step("/clusters", &cluster.name), "services");
        let services = cluster.services.iter().enumerate();
        services.map(move |(index, service)| (format!("{pointer}/{index}"), cluster, service))
    });
    services.collect()
}

/// Whether every breed is written out.
pub(super) fn is_known(deployment: &Deployment) -> bool {
    let mut clusters = deployment.body.clusters.iter();
    clusters.all(|cluster| cluster.services.iter().all(|service| breed(service).is_some()))
}

/// What is still named only is not there.
fn of_names(pointer: &str, service: &Service, faults: &mut Vec<Fault>) {
    let breed = match &service.breed {
        BreedUse::Stored(name) => Some(("breed", Kind::Breed, name)),
        BreedUse::Inline(_) => None,
    };
    let scale = match &service.scale {
        Some(ScaleUse::Stored(name)) => Some(("scale", Kind::Scale, name)),
        _ => None,
    };
    faults.extend(breed.into_iter().chain(scale).map(|(field, kind, name)| Fault {
        pointer: format!("{pointer}/{field}"),
        message: format!("there is no {kind} `{name}`"),
        hint: "create it first, or write it out".to_owned(),
        cure: Cure::Artifact,
    }));
}

fn of_dependencies(pointer: &str, breed: &Breed, index: &Index<'_>, faults: &mut Vec<Fault>) {
    for (alias, dependency) in &breed.dependencies {
        if index.depended_on(dependency.name()).is_none() {
            faults.push(Fault {
                pointer: step(&format!("{pointer}/breed/dependencies"), alias),
                message: format!(
                    "breed `{}` depends on `{}` (as `{alias}`), which is not deployed",
                    breed.name,
                    dependency.name()
                ),
                hint: "add a cluster with it to the blueprint".to_owned(),
                cure: Cure::Service,
            });
        }
    }
}

fn of_service(
    pointer: &str,
    index: &Index<'_>,
    cluster: &Cluster,
    service: &Service,
    breed: &Breed,
    faults: &mut Vec<Fault>,
) {
    let name = service.breed.name();
    for resolve::Fault { variable, why, mend, lack } in index.faults(cluster, breed) {
        let cure = match lack {
            Lack::Sense => Cure::None,
            Lack::Value => Cure::Value,
            // That a dependency is missing is told of the dependency.
            Lack::Breed => continue,
        };
        let has_own = index.has_own(cluster, breed, &variable);
        let of = if has_own { "environment_variables" } else { "breed/environment_variables" };
        faults.push(Fault {
            pointer: step(&format!("{pointer}/{of}"), &variable),
            message: format!("service `{name}` of cluster `{}`: {why}", cluster.name),
            hint: mend,
            cure,
        });
    }
    let ports: HashSet<&str> = breed.ports.iter().map(|port| port.name.as_str()).collect();
    for check in resolve::health_checks(cluster, service, breed) {
        if let Some(port) = check.port().filter(|port| !ports.contains(port)) {
            faults.push(Fault {
                pointer: format!("{pointer}/health_checks"),
                message: format!("a health check of service `{name}` asks port `{port}`, which it does not have"),
                hint: "name one of the breed's ports".to_owned(),
                cure: Cure::None,
            });
        }
    }
}

/// Breeds that wait for each other, if some do.
fn circle(services: &[Placed<'_>]) -> Option<Fault> {
    let names = services.iter().rev().map(|(pointer, _, service)| (service.breed.name(), pointer));
    let names: BTreeMap<&str, &String> = names.collect();
    let mut needs: BTreeMap<Need<'_>, Vec<Need<'_>>> = BTreeMap::new();
    for (_, _, service) in services {
        let dependencies = breed(service).into_iter().flat_map(|breed| &breed.dependencies);
        let wanted: Vec<Need<'_>> = dependencies.map(|(_, dependency)| Need::of(dependency.name())).collect();
        for need in &wanted {
            if let Need::Any(name) = need {
                needs
                    .entry(*need)
                    .or_insert_with(|| meeting(&names, name).map(|(name, _)| Need::Breed(name)).collect());
            }
        }
        needs.insert(Need::Breed(service.breed.name()), wanted);
    }
    let circle = first_circle(&needs)?.into_iter().filter_map(|need| match need {
        Need::Breed(name) => Some(name),
        Need::Any(_) => None,
    });
    let mut circle: Vec<&str> = circle.collect();
    // It may have begun between two of them.
    if circle.len() == 1 || circle.first() != circle.last() {
        circle.extend(circle.first().copied());
    }
    let first = circle.first()?;
    let pointer = names.get(first)?;
    Some(Fault {
        pointer: format!("{pointer}/breed/dependencies"),
        message: format!("the services depend on each other in a circle: {}", circle.join(" → ")),
        hint: "remove one of these dependencies".to_owned(),
        cure: Cure::None,
    })
}

/// A step on the way from a breed to what it depends on. Names with a `*` are steps of their own: many breeds may depend
/// on them, and many meet them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need<'d> {
    Breed(&'d str),
    Any(&'d str),
}

impl<'d> Need<'d> {
    fn of(wanted: &'d str) -> Self {
        if wanted.ends_with('*') { Self::Any(wanted) } else { Self::Breed(wanted) }
    }
}

/// Goes along what each needs, without recursion: a chain may be as long as there are services.
fn first_circle<'d>(needs: &BTreeMap<Need<'d>, Vec<Need<'d>>>) -> Option<Vec<Need<'d>>> {
    let mut sound = BTreeSet::new();
    for start in needs.keys() {
        if sound.contains(start) {
            continue;
        }
        let mut path = vec![(*start, 0_usize)];
        let mut open = BTreeSet::from([*start]);
        while let Some((name, passed)) = path.last_mut() {
            let (name, next) = (*name, needs.get(name).and_then(|needs| needs.get(*passed)).copied());
            *passed = passed.saturating_add(1);
            match next {
                None => {
                    open.remove(&name);
                    sound.insert(name);
                    path.pop();
                }
                Some(next) if open.contains(&next) => {
                    let names = path.iter().map(|(name, _)| *name).skip_while(|name| *name != next);
                    return Some(names.chain([next]).collect());
                }
                Some(next) if sound.contains(&next) => {}
                Some(next) => {
                    open.insert(next);
                    path.push((next, 0));
                }
            }
        }
    }
    None
}

/// Where the services of a deployment stand in what was said of it: for each cluster, by its pointer, the index of each
/// of its services there.
struct Places(BTreeMap<String, Vec<Option<usize>>>);

impl Places {
    fn new(deployment: &Deployment, said: &Topology) -> Self {
        let clusters = deployment.body.by_name();
        let said = said.clusters.iter().map(|cluster| {
            let found = clusters.get(cluster.name.as_str()).into_iter().flat_map(|found| &found.services);
            let said = cluster.services.iter().enumerate();
            let said: BTreeMap<&str, usize> = said.map(|(index, said)| (said.breed.name(), index)).collect();
            let index = |service: &Service| said.get(service.breed.name()).copied();
            (step("/clusters", &cluster.name), found.map(index).collect())
        });
        Self(said.collect())
    }

    /// A place in the deployment, as near as it was said.
    fn in_what_was_said(&self, pointer: &str) -> String {
        let mut steps = pointer.splitn(6, '/').skip(1);
        let (Some("clusters"), Some(cluster)) = (steps.next(), steps.next()) else { return pointer.to_owned() };
        let cluster = format!("/clusters/{cluster}");
        let Some(services) = self.0.get(&cluster) else { return "/clusters".to_owned() };
        let (Some("services"), Some(index)) = (steps.next(), steps.next()) else { return pointer.to_owned() };
        let below = steps.next().map(|below| format!("/{below}")).unwrap_or_default();
        match index.parse().ok().and_then(|index: usize| *services.get(index)?) {
            Some(index) => format!("{cluster}/services/{index}{below}"),
            None => cluster,
        }
    }
}
