//! Makes an old version of a deployment the newest again.
//!
//! What the version has is merged as a blueprint would be, so that a service that comes back gets no traffic by itself;
//! what it has not is removed as a user would remove it, so that what still gets traffic is refused with the mend. The
//! weights are not the deployment's: they stand in the gateways, which have a history of their own.

use vamp_model::{Artifact, Blueprint, Deployment, Kind};

use super::paper::Paper;
use super::{Known, Refusal, gateways, merge, remove};
use crate::core::WriteRequest;

pub(super) fn restore(
    then: &Deployment,
    expected: Option<u64>,
    known: &dyn Known,
) -> Result<Vec<WriteRequest>, Refusal> {
    let name = &then.name;
    let mut paper = Paper::new(known);
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
    Ok(paper.into_writes())
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
