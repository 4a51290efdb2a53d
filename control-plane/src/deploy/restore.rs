//! Makes an old version of a deployment the newest again.
//!
//! What the version has is merged as a blueprint would be, so that a service that comes back gets no traffic by itself;
//! what it has not is removed as a user would remove it, so that what still gets traffic is refused with the mend. The
//! weights are not the deployment's: they stand in the gateways, which have a history of their own.

use std::collections::BTreeMap;

use vamp_model::{Artifact, Blueprint, Deployment, Kind};

use super::{Known, Refusal, gateways, merge, remove};
use crate::core::WriteRequest;

pub(super) fn restore(
    then: &Deployment,
    expected: Option<u64>,
    known: &dyn Known,
) -> Result<Vec<WriteRequest>, Refusal> {
    let name = &then.name;
    let mut paper = Paper { known, writes: Vec::new() };
    let before = super::deployment(name, known).ok().cloned();
    let Deployment { metadata, mut body, .. } = then.clone();
    // A gateway that clients use already keeps what was made of it since.
    body.gateways.retain(|gateway| !before.iter().any(|before| before.body.gateways.contains(gateway)));
    let merged = merge::merge(name, &Blueprint { name: name.clone(), metadata, body }, &paper)?;
    paper.apply(merged);
    let surplus = before.iter().flat_map(|before| surplus(before, then)).collect::<Vec<_>>();
    if !surplus.is_empty() {
        let removed = remove::services(name, &surplus, &paper)?;
        paper.apply(removed);
    }
    let stale = before.iter().flat_map(|before| gateways::stale(before, then, known));
    let stale: Vec<_> = stale.map(|gateway| WriteRequest::delete(Kind::Gateway, &gateway, None)).collect();
    paper.apply(stale);
    // A merge adds to variables and dialects that came later; the version had exactly its own.
    paper.apply(vec![WriteRequest::replace(Artifact::Deployment(then.clone()), expected)]);
    Ok(paper.writes)
}

/// Services that the version has not.
fn surplus(before: &Deployment, then: &Deployment) -> Vec<(String, String)> {
    let of = |deployment: &Deployment| -> Vec<(String, String)> {
        let clusters = deployment.body.clusters.iter();
        let services = clusters.flat_map(|cluster| {
            cluster.services.iter().map(|service| (cluster.name.clone(), service.breed.name().to_owned()))
        });
        services.collect()
    };
    let kept = of(then);
    of(before).into_iter().filter(|service| !kept.contains(service)).collect()
}

/// What is stored with writes upon it that are not made yet.
struct Paper<'k> {
    known: &'k dyn Known,
    writes: Vec<WriteRequest>,
}

impl Paper<'_> {
    /// Of two writes of the same artifact the later one knows of the earlier.
    fn apply(&mut self, writes: Vec<WriteRequest>) {
        for write in writes {
            self.writes.retain(|known| (known.kind, &known.name) != (write.kind, &write.name));
            self.writes.push(write);
        }
    }

    fn written(&self) -> BTreeMap<(Kind, &str), Option<&Artifact>> {
        self.writes.iter().map(|write| ((write.kind, write.name.as_str()), write.artifact.as_ref())).collect()
    }
}

impl Known for Paper<'_> {
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        match self.writes.iter().find(|write| write.kind == kind && write.name == name) {
            Some(write) => write.artifact.as_ref(),
            None => self.known.artifact(kind, name),
        }
    }

    fn gateway_names(&self) -> Vec<&str> {
        let written = self.written();
        let is_gone = |name: &&str| matches!(written.get(&(Kind::Gateway, *name)), Some(None));
        let mut names: Vec<&str> = self.known.gateway_names().into_iter().filter(|name| !is_gone(name)).collect();
        let made = written.iter().filter(|((kind, _), artifact)| *kind == Kind::Gateway && artifact.is_some());
        names.extend(made.map(|((_, name), _)| *name));
        names.sort_unstable();
        names.dedup();
        names
    }
}
