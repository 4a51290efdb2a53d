//! Makes an old version of a deployment the newest again.
//!
//! What the version has is merged as a blueprint would be, so that a service that comes back gets no traffic by itself;
//! what it has not is removed as a user would remove it, so that what still gets traffic is refused with the mend. The
//! weights are not the deployment's: they stand in the gateways, which have a history of their own. A gateway that is gone
//! comes back as it was last.

use std::collections::HashSet;

use vamp_model::{Artifact, Blueprint, Deployment, Gateway, Kind};

use super::gates::{self, Gates};
use super::paper::Paper;
use super::{Known, Refusal, gateways, merge, remove};
use crate::core::WriteRequest;
use crate::plan::Finding;

pub(super) fn restore(then: &Deployment, were: &[Gateway], known: &dyn Known) -> Result<Vec<WriteRequest>, Refusal> {
    let name = &then.name;
    let mut paper = Paper::new(known);
    let before = super::deployment(name, known).ok().cloned();
    let owned = before.as_ref().map(Gates::of);
    let foreign = gates::names(then).into_iter().filter_map(|name| gateways::foreign(&name, owned.as_ref(), known));
    let foreign: Vec<_> = foreign.map(|(what, mend)| Finding::new(Kind::Deployment, name, "", what, mend)).collect();
    if !foreign.is_empty() {
        return Err(Refusal::Findings(foreign));
    }
    let returning = gateways::returning(then, were, known);
    let Deployment { metadata, mut body, .. } = then.clone();
    // A gateway that clients use already keeps what was made of it since; one that comes back does so as it was.
    let were = before.as_ref().map(|before| gateways::outer_by_key(&before.body)).unwrap_or_default();
    let names: HashSet<&str> = returning.iter().map(|returning| returning.name.as_str()).collect();
    body.gateways.retain(|gateway| {
        let is_there = were.get(gateway.key.as_str()) == Some(&gateway);
        !is_there && !names.contains(format!("{name}/{}", gateway.key).as_str())
    });
    let stale = before.iter().flat_map(|before| gateways::stale(before, then, known));
    paper.apply(stale.map(|gateway| WriteRequest::delete(Kind::Gateway, &gateway, None)).collect());
    if !returning.is_empty() {
        // What was said until now of the gateways that are there stays said until the merge.
        let mut added = then.body.clone();
        added.gateways.retain(|gateway| !were.contains_key(gateway.key.as_str()));
        let united = merge::unite(before.as_ref().map(|before| &before.body), &added);
        let united = Deployment { name: name.clone(), metadata: metadata.clone(), body: united };
        paper.apply(vec![WriteRequest::replace(Artifact::Deployment(united), None)]);
        paper.apply(returning.into_iter().map(|it| WriteRequest::replace(Artifact::Gateway(it), None)).collect());
    }
    let merged = merge::merge(name, &Blueprint { name: name.clone(), metadata, body }, &paper)?;
    paper.apply(merged);
    let surplus = before.iter().flat_map(|before| surplus(before, then)).collect::<Vec<_>>();
    if !surplus.is_empty() {
        let removed = remove::services(name, &surplus, &paper)?;
        paper.apply(removed);
    }
    // A merge adds to variables and dialects that came later; the version had exactly its own.
    paper.apply(vec![WriteRequest::replace(Artifact::Deployment(then.clone()), None)]);
    let kept = Gates::of(then);
    let cut_off: Vec<_> = before.iter().flat_map(|before| gateways::cut_off(before, &kept, &paper)).collect();
    if !cut_off.is_empty() {
        let finding = |(at, what, mend)| Finding::new(Kind::Deployment, name, at, what, mend);
        return Err(Refusal::Findings(cut_off.into_iter().map(finding).collect()));
    }
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
    let kept: HashSet<(String, String)> = of(then).into_iter().collect();
    of(before).into_iter().filter(|service| !kept.contains(service)).collect()
}
