//! What is stored, read: the artifacts of one moment and who refers to whom.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use vamp_model::{Artifact, Format, Kind, read_as, references};

use super::{ChangeError, InUse};
use crate::deploy::Known;
use crate::persist::Snapshot;
use crate::plan::{Finding, Picture, PlanSettings};

/// The artifacts of one kind by name.
type Shelf = OrdMap<String, Arc<Artifact>>;

/// The artifacts of one moment by kind and name; those of the next moment share with them all that is the same.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Artifacts {
    readable: BTreeMap<Kind, Shelf>,
    /// What is stored and can't be read, and why not: it hides nothing else, and no table follows while it is there.
    unreadable: BTreeMap<(Kind, String), String>,
}

impl Artifacts {
    /// Reads every document of a snapshot; those that have not changed since `former` are taken over from there.
    pub(super) fn read(snapshot: &Snapshot, former: Option<(&Snapshot, &Self)>) -> Self {
        let mut artifacts = Self::default();
        for kind in Kind::ALL {
            let stored = snapshot.artifacts.get(kind.plural()).into_iter().flatten();
            for (name, stored) in stored {
                let kept = former.and_then(|(former, artifacts)| {
                    let same = former.artifacts.get(kind.plural())?.get(name)? == stored;
                    artifacts.readable.get(&kind)?.get(name).filter(|_| same).cloned()
                });
                let read = match (kept, &stored.damage) {
                    (Some(artifact), _) => Ok(artifact),
                    (None, Some(damage)) => Err(damage.clone()),
                    (None, None) => {
                        read_stored(kind, name, stored.document.as_deref().unwrap_or_default()).map(Arc::new)
                    }
                };
                match read {
                    Ok(artifact) => drop(artifacts.readable.entry(kind).or_default().insert(name.clone(), artifact)),
                    Err(reason) => {
                        let reason = format!("version {} can't be read: {reason}", stored.version);
                        artifacts.unreadable.insert((kind, name.clone()), reason);
                    }
                }
            }
        }
        artifacts
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Arc<Artifact>> {
        self.readable.get(&kind)?.get(name)
    }

    /// What is stored and can't be read.
    pub(super) fn unreadable(&self) -> impl Iterator<Item = (Kind, &str)> {
        self.unreadable.keys().map(|(kind, name)| (*kind, name.as_str()))
    }

    /// All of a kind, by name.
    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Artifact> {
        self.readable.get(&kind).into_iter().flatten().map(|(_, artifact)| artifact.as_ref())
    }

    /// What is not the same as in a former moment.
    pub(super) fn changed_since(&self, former: &Self) -> Changed {
        let mut changed = Changed::default();
        let none = Shelf::new();
        for kind in Kind::ALL {
            let (now, before) = (self.readable.get(&kind), former.readable.get(&kind));
            for difference in before.unwrap_or(&none).diff(now.unwrap_or(&none)) {
                let (name, was_there_and_is) = match difference {
                    DiffItem::Update { new: (name, _), .. } => (name, true),
                    DiffItem::Add(name, _) | DiffItem::Remove(name, _) => (name, false),
                };
                changed.has_users |= kind != Kind::Gateway || !was_there_and_is;
                changed.names.insert((kind, name.clone()));
            }
        }
        changed
    }

    pub(super) fn insert(&mut self, artifact: Artifact) {
        let name = artifact.name().to_owned();
        self.unreadable.remove(&(artifact.kind(), name.clone()));
        self.readable.entry(artifact.kind()).or_default().insert(name, Arc::new(artifact));
    }

    pub(super) fn remove(&mut self, kind: Kind, name: &str) {
        self.unreadable.remove(&(kind, name.to_owned()));
        if let Some(artifacts) = self.readable.get_mut(&kind) {
            artifacts.remove(name);
        }
    }

    /// What the planner looks at.
    pub(super) fn picture(&self, ports: &BTreeMap<String, u16>, settings: &PlanSettings) -> Picture<'_> {
        let mut picture = Picture { assigned_ports: ports.clone(), settings: settings.clone(), ..Picture::default() };
        // Nothing of a table follows from the other kinds: their gateways stand by themselves.
        let kinds = [Kind::Gateway, Kind::Route, Kind::Condition, Kind::Rewrite, Kind::Instances];
        for artifact in kinds.into_iter().flat_map(|kind| self.all(kind)) {
            match artifact {
                Artifact::Gateway(gateway) => picture.gateways.push(gateway),
                Artifact::Route(route) => picture.routes.push(route),
                Artifact::Condition(condition) => picture.conditions.push(condition),
                Artifact::Rewrite(rewrite) => picture.rewrites.push(rewrite),
                Artifact::Instances(instances) => picture.instances.push(instances),
                _ => {}
            }
        }
        picture
    }

    /// Who needs the artifacts that are to be deleted: nobody, or a refusal.
    pub(super) fn check_unused(&self, deleted: &BTreeSet<(Kind, String)>) -> Result<(), ChangeError> {
        if deleted.is_empty() {
            return Ok(());
        }
        let mut used: BTreeMap<(Kind, String), Vec<(Kind, String)>> = BTreeMap::new();
        for artifact in self.readable.values().flat_map(Shelf::values) {
            for reference in references(artifact) {
                let needed = (reference.kind, reference.name);
                if !deleted.contains(&needed) {
                    continue;
                }
                let by = (artifact.kind(), artifact.name().to_owned());
                let users = used.entry(needed).or_default();
                if !users.contains(&by) {
                    users.push(by);
                }
            }
        }
        let used: Vec<InUse> = used.into_iter().map(|((kind, name), users)| InUse { kind, name, users }).collect();
        if used.is_empty() { Ok(()) } else { Err(ChangeError::InUse(used)) }
    }

    /// What can't be read, and references of stored routes to what is not there. Those of gateways are the planner's to
    /// find.
    pub(super) fn unsound(&self) -> Vec<Finding> {
        let unreadable = self.unreadable.iter().map(|((kind, name), reason)| {
            let mend = "restore an older version from its history, write it anew, or delete it";
            Finding::new(*kind, name, String::new(), format!("{kind} `{name}`: {reason}"), mend)
        });
        let routes = self.readable.get(&Kind::Route).into_iter().flatten();
        let is_there =
            |kind, name: &str| self.get(kind, name).is_some() || self.unreadable.contains_key(&(kind, name.to_owned()));
        let missing = routes.flat_map(|(name, route)| {
            let references = references(route).into_iter();
            references.filter(move |found| !is_there(found.kind, &found.name)).map(move |found| {
                let message =
                    format!("route `{name}` refers to the {} `{}`, which does not exist", found.kind, found.name);
                Finding::new(Kind::Route, name, found.pointer, message, "create it first, or write it out")
            })
        });
        unreadable.chain(missing).collect()
    }
}

impl Known for Artifacts {
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        self.get(kind, name).map(Arc::as_ref)
    }

    fn gateway_names(&self) -> Vec<&str> {
        self.readable.get(&Kind::Gateway).into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    fn gateway_names_of(&self, deployment: &str) -> Vec<&str> {
        let prefix = format!("{deployment}/");
        let from = self.readable.get(&Kind::Gateway).into_iter().flat_map(|shelf| shelf.range(prefix.clone()..));
        from.map(|(name, _)| name.as_str()).take_while(|name| name.starts_with(&prefix)).collect()
    }
}

/// Which artifacts are not the same at two moments.
#[derive(Debug, Default)]
pub(super) struct Changed {
    names: HashSet<(Kind, String)>,
    /// Whether what refers to one of them may be another one now. Of a gateway that only was written it is not: who
    /// leads to it needs it to be there, and no more.
    has_users: bool,
}

impl Changed {
    /// Whether another table may follow, or none.
    pub(super) fn concerns_table(&self, artifacts: &Artifacts) -> bool {
        let mut shared = HashSet::new();
        for (kind, name) in &self.names {
            match kind {
                Kind::Gateway | Kind::Route | Kind::Instances => return true,
                Kind::Condition | Kind::Rewrite => drop(shared.insert((*kind, name.as_str()))),
                // What runs follows from these, and gateways of their own stand for it in the table; what was imported
                // stands in who imported it, and workflows take no requests.
                Kind::Breed
                | Kind::Scale
                | Kind::Sla
                | Kind::Escalation
                | Kind::Blueprint
                | Kind::Deployment
                | Kind::Template
                | Kind::Workflow => {}
            }
        }
        let refers = |artifact: &Artifact| {
            let mut references = references(artifact).into_iter();
            references.any(|found| shared.contains(&(found.kind, found.name.as_str())))
        };
        let users = || artifacts.all(Kind::Gateway).chain(artifacts.all(Kind::Route));
        !artifacts.unreadable.is_empty() || !shared.is_empty() && users().any(refers)
    }

    /// Whether a gateway, or anything that it refers to, is among them.
    pub(super) fn touches(&self, artifacts: &Artifacts, gateway: &str) -> bool {
        if self.has_users { self.holds(artifacts, Kind::Gateway, gateway) } else { self.has(Kind::Gateway, gateway) }
    }

    fn holds(&self, artifacts: &Artifacts, kind: Kind, name: &str) -> bool {
        // What a gateway leads to counts by being there, but for which a chain would be followed through all of them.
        let refers = |reference: &vamp_model::Reference| match reference.kind {
            Kind::Gateway => self.has(Kind::Gateway, &reference.name),
            kind => self.holds(artifacts, kind, &reference.name),
        };
        let Some(artifact) = artifacts.get(kind, name) else { return true };
        self.has(kind, name) || references(artifact).iter().any(refers)
    }

    fn has(&self, kind: Kind, name: &str) -> bool {
        self.names.contains(&(kind, name.to_owned()))
    }
}

/// One document as it is stored.
pub(super) fn read_stored(kind: Kind, name: &str, document: &str) -> Result<Artifact, String> {
    match read_as(document, Format::Json, kind, Some(name)) {
        Ok(documents) => {
            documents.into_iter().next().map(|document| document.artifact).ok_or_else(|| "it is empty".to_owned())
        }
        Err(violations) => Err(violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")),
    }
}
