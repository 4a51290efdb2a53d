//! The promises of all clusters, with everything that they refer to written out. Pure.

use std::collections::{BTreeMap, BTreeSet};

use vamp_model::{
    Artifact, Cluster, Deployment, EscalationBody, EscalationUse, Figure, Gateway, Kind, RouteUse, Scaling, SlaBody,
    SlaRule, SlaUse,
};

use super::escalate::{Escalation, Sized, Sizes};
use super::machine::{ClusterName, Rule, capacity};
use crate::core::Current;
use crate::deploy::{breed, inner_gateway, size_of};
use crate::reconcile::kind_of;

/// LIMIT: parts of what follows from one promise, stored ones written out: they may refer to each other, in circles too.
const PARTS_MAX: usize = 256;
/// LIMIT: how deeply they stand in each other.
const DEPTH_MAX: usize = 16;

/// The gateway before a port of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// Its name.
    pub(super) gateway: String,
    /// It carries connections; without it, HTTP requests.
    pub(super) carries_tcp: bool,
}

/// What a cluster promises.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Promise {
    /// Which cluster.
    pub(super) name: ClusterName,
    /// The stored SLA, if it is one.
    pub(super) sla: Option<String>,
    /// When it is broken; `None`: when an event says so.
    pub(super) rule: Option<Rule>,
    /// What follows.
    pub(super) escalation: Escalation,
    /// The gateways before its ports.
    pub(super) ports: Vec<Port>,
    /// The services that are scaled, of its own and of the clusters that it names.
    pub(super) sizes: Sizes,
    /// All services of these clusters, with their instances.
    pub(super) services: Vec<(String, String, u32)>,
    /// The types of what its own services deploy.
    pub(super) kinds: BTreeSet<String>,
    /// Instances of all its own services.
    pub(super) instances: u32,
    /// What all its own services have, in the unit by which the figure is divided; 0 where it is not.
    pub(super) capacity: f64,
}

/// All promises that this build acts on.
pub(super) fn promises(current: &Current) -> Vec<Promise> {
    let mut promises = Vec::new();
    for artifact in current.all(Kind::Deployment) {
        let Artifact::Deployment(deployment) = artifact else { continue };
        let with_sla = deployment.body.clusters.iter().filter_map(|cluster| Some((cluster, cluster.sla.as_ref()?)));
        promises.extend(with_sla.filter_map(|(cluster, sla)| promise(current, deployment, cluster, sla)));
    }
    promises
}

fn promise(current: &Current, deployment: &Deployment, cluster: &Cluster, sla: &SlaUse) -> Option<Promise> {
    let (sla, body) = written_out(current, sla)?;
    let rule = match &body.rule {
        SlaRule::Window { figure, upper, lower, interval, cooldown } => Some(Rule {
            figure: *figure,
            upper: *upper,
            lower: *lower,
            interval_ms: u64::from(interval.0) * 1_000,
            cooldown_ms: u64::from(cooldown.0) * 1_000,
        }),
        // Of a type that is somebody else's, too, events may say what is to follow.
        SlaRule::EscalationOnly | SlaRule::Other { .. } => None,
    };
    let mut parts = 0;
    let mut all: Vec<Escalation> =
        body.escalations.iter().filter_map(|part| expand(current, part, 0, &mut parts)).collect();
    let escalation = if all.len() == 1 { all.pop()? } else { Escalation::All(all) };
    let mut clusters = vec![cluster.name.as_str()];
    targets(&escalation, &mut clusters);
    let clusters: Vec<&Cluster> = clusters.into_iter().filter_map(|name| deployment.cluster(name)).collect();
    let sizes = clusters.iter().filter_map(|found| Some((found.name.clone(), scaled(current, deployment, found)?)));
    let services = clusters.iter().flat_map(|found| {
        let of_service = |service: &vamp_model::Service| {
            (found.name.clone(), service.breed.name().to_owned(), size_of(service).instances)
        };
        found.services.iter().map(of_service)
    });
    let figure = rule.map(|rule| rule.figure);
    let own = || cluster.services.iter().map(size_of);
    Some(Promise {
        name: ClusterName { deployment: deployment.name.clone(), cluster: cluster.name.clone() },
        sla,
        rule,
        escalation,
        ports: ports(current, deployment, cluster),
        sizes: sizes.collect(),
        services: services.collect(),
        kinds: cluster.services.iter().filter_map(breed).map(kind_of).collect(),
        instances: own().map(|size| size.instances).sum(),
        capacity: figure.map_or(0.0, |figure| own().map(|size| capacity(figure, size)).sum()),
    })
}

/// The name of a stored SLA, and what it says; the escalations of the cluster come before its own.
fn written_out(current: &Current, sla: &SlaUse) -> Option<(Option<String>, SlaBody)> {
    match sla {
        SlaUse::Inline(body) => Some((None, body.clone())),
        SlaUse::Stored { reference, escalations } => {
            let Some(Artifact::Sla(stored)) = current.artifact(Kind::Sla, reference) else { return None };
            let mut body = stored.body.clone();
            if !escalations.is_empty() {
                body.escalations.clone_from(escalations);
            }
            Some((Some(reference.clone()), body))
        }
    }
}

fn expand(current: &Current, part: &EscalationUse, depth: usize, parts: &mut usize) -> Option<Escalation> {
    *parts += 1;
    if depth > DEPTH_MAX || *parts > PARTS_MAX {
        return None;
    }
    let body = match part {
        EscalationUse::Inline(body) => body,
        EscalationUse::Stored(name) => match current.artifact(Kind::Escalation, name) {
            Some(Artifact::Escalation(stored)) => &stored.body,
            _ => return None,
        },
    };
    let mut inner =
        |all: &[EscalationUse]| all.iter().filter_map(|part| expand(current, part, depth + 1, parts)).collect();
    match body {
        EscalationBody::ToAll(all) => Some(Escalation::All(inner(all))),
        EscalationBody::ToOne(all) => Some(Escalation::One(inner(all))),
        EscalationBody::Scale(scaling) => Some(Escalation::Scale(scaling.clone())),
        EscalationBody::Other { .. } => None,
    }
}

/// Adds the clusters that are scaled.
fn targets<'e>(escalation: &'e Escalation, clusters: &mut Vec<&'e str>) {
    match escalation {
        Escalation::All(inner) | Escalation::One(inner) => inner.iter().for_each(|inner| targets(inner, clusters)),
        Escalation::Scale(Scaling { target: Some(target), .. }) if !clusters.contains(&target.as_str()) => {
            clusters.push(target);
        }
        Escalation::Scale(_) => {}
    }
}

fn ports(current: &Current, deployment: &Deployment, cluster: &Cluster) -> Vec<Port> {
    gateways(current, deployment, cluster)
        .map(|gateway| Port { gateway: gateway.name.clone(), carries_tcp: gateway.tcp.is_some() })
        .collect()
}

/// The gateways before the ports of a cluster.
fn gateways<'c>(
    current: &'c Current,
    deployment: &'c Deployment,
    cluster: &'c Cluster,
) -> impl Iterator<Item = &'c Gateway> {
    let ports = cluster.services.iter().filter_map(breed).flat_map(|breed| &breed.ports);
    let mut names: Vec<String> = ports.map(|port| inner_gateway(&deployment.name, &cluster.name, &port.name)).collect();
    names.sort();
    names.dedup();
    names.into_iter().filter_map(|name| match current.artifact(Kind::Gateway, &name) {
        Some(Artifact::Gateway(gateway)) => Some(gateway),
        _ => None,
    })
}

/// The service of a cluster that is scaled: the one with the largest share of its traffic, the first of several. A
/// version that gets nothing any more would not help.
fn scaled(current: &Current, deployment: &Deployment, cluster: &Cluster) -> Option<Sized> {
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for route in gateways(current, deployment, cluster).flat_map(|gateway| &gateway.routes) {
        let weight = match &route.content {
            RouteUse::Inline(body) => body.weight,
            RouteUse::Stored { weight, .. } => *weight,
        };
        if let Some((service, _)) = route.path.service() {
            *shares.entry(service.to_owned()).or_default() += weight.map_or(0, |weight| u64::from(weight.0));
        }
    }
    let share = |service: &vamp_model::Service| {
        let path = format!("{}/{}/{}", deployment.name, cluster.name, service.breed.name());
        shares.get(&path).copied().unwrap_or_default()
    };
    // Of several with the same share `max_by_key` gives the last one.
    let service = cluster.services.iter().rev().max_by_key(|service| share(service))?;
    Some(Sized { service: service.breed.name().to_owned(), size: size_of(service) })
}

/// The figure of a rule, if it has to be asked of platforms.
pub(super) fn is_of_platforms(promise: &Promise) -> bool {
    promise.rule.is_some_and(|rule| rule.figure == Figure::Cpu)
}

#[cfg(test)]
mod tests {
    use vamp_model::{Format, Scaled, read_as};

    use super::*;
    use crate::core::tests::{World, put};
    use crate::core::{ChangeError, ChangeRequest, WriteRequest};
    use crate::deploy::{Action, DeployRequest};
    use crate::persist::Cause;

    const STORED: &str = "
- {kind: escalations, name: more, type: scale_instances, minimum: 1, maximum: 5, scale_by: 1}
- {kind: escalations, name: group, to_one: [more, {type: scale_cpu, minimum: 1, maximum: 2, scale_by: 0.5, target: store}]}
- {kind: slas, name: fast, type: response_time_sliding_window, threshold: {upper: 800, lower: 100},
   window: {interval: 60, cooldown: 120}, escalations: [group]}
";

    const SHOP: &str = "
clusters:
  web:
    services:
    - {breed: {name: 'web:1', deployable: i, ports: {http: 80/http, raw: 81/tcp}}, scale: {cpu: 1, memory: 64MB, instances: 2}}
    - {breed: {name: 'web:2', deployable: i, ports: {http: 80/http}}, scale: {cpu: 1, memory: 64MB, instances: 3}}
    gateways: {http: {routes: {'web:1': {weight: 30%}, 'web:2': {weight: 70%}}}}
    sla: fast
  store: {breed: {name: 'store:1', deployable: i}, scale: {cpu: 1, memory: 64MB, instances: 4}}
";

    async fn deploy(world: &World, text: &str) {
        let read = read_as(text, Format::Yaml, Kind::Blueprint, Some("b")).unwrap().remove(0).artifact;
        let Artifact::Blueprint(blueprint) = read else { panic!("no blueprint") };
        let action = Action::Merge(Box::new(blueprint));
        let deploys = vec![DeployRequest::new("shop", action)];
        let (writes, cause): (Vec<WriteRequest>, _) = (Vec::new(), Cause::own("test"));
        world
            .core
            .change(ChangeRequest { writes, deploys, premises: Vec::new(), validate_only: false, cause })
            .await
            .unwrap();
    }

    fn scale(what: Scaled, target: Option<&str>, [minimum, maximum, scale_by]: [f64; 3]) -> Escalation {
        Escalation::Scale(Scaling { what, minimum, maximum, scale_by, target: target.map(str::to_owned) })
    }

    #[tokio::test]
    async fn a_stored_promise_is_written_out_with_what_it_is_about() {
        let world = World::new().await;
        put(&world.core, STORED).await.unwrap();
        deploy(&world, SHOP).await;
        let all = promises(&world.core.shared.current());
        let [promise] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((promise.name.to_string(), promise.sla.as_deref()), ("shop/web".to_owned(), Some("fast")));
        let rule = promise.rule.unwrap();
        assert_eq!((rule.figure, rule.interval_ms, rule.cooldown_ms), (Figure::ResponseTime, 60_000, 120_000));
        let more = scale(Scaled::Instances, None, [1.0, 5.0, 1.0]);
        let cpu = scale(Scaled::Cpu, Some("store"), [1.0, 2.0, 0.5]);
        assert_eq!(promise.escalation, Escalation::One(vec![more, cpu]));
        let ports: Vec<_> = promise.ports.iter().map(|port| (port.gateway.as_str(), port.carries_tcp)).collect();
        assert_eq!(ports, [("shop/web/http", false), ("shop/web/raw", true)]);
        // `raw` leads to the first version only: with all of that port it has the larger share.
        assert_eq!((promise.sizes["web"].service.as_str(), promise.sizes["web"].size.instances), ("web:1", 2));
        assert_eq!((promise.sizes["store"].service.as_str(), promise.sizes["store"].size.instances), ("store:1", 4));
        assert_eq!((promise.instances, promise.services.len()), (5, 3));
    }

    #[tokio::test]
    async fn the_version_with_the_traffic_is_scaled_and_several_escalations_are_all_done() {
        let world = World::new().await;
        put(&world.core, STORED).await.unwrap();
        let own = "sla: {reference: fast, escalations: [more, more]}";
        deploy(&world, &SHOP.replace(", raw: 81/tcp", "").replace("sla: fast", own)).await;
        let all = promises(&world.core.shared.current());
        let more = || scale(Scaled::Instances, None, [1.0, 5.0, 1.0]);
        assert_eq!(all[0].escalation, Escalation::All(vec![more(), more()]));
        assert_eq!(all[0].sizes["web"].service, "web:2");
    }

    #[tokio::test]
    async fn what_clusters_promise_by_name_is_not_changed_into_what_can_not_be_kept() {
        let world = World::new().await;
        put(&world.core, STORED).await.unwrap();
        let longer = STORED.replace("interval: 60", "interval: 700");
        let target = STORED.replace("target: store", "target: stoer");
        // As long as nobody has it, it may say what it wants.
        put(&world.core, &longer).await.unwrap();
        put(&world.core, STORED).await.unwrap();
        deploy(&world, SHOP).await;
        for (text, name, part) in
            [(longer, "fast", "the window is 700 s long"), (target, "group", "it scales the cluster `stoer`")]
        {
            let error = put(&world.core, &text).await.unwrap_err();
            let ChangeError::Findings(findings) = error else { panic!("{error}") };
            let told: Vec<_> =
                findings.iter().map(|found| (found.name.as_str(), found.violation.to_string())).collect();
            let is_told = told.iter().any(|(of, why)| *of == name && why.contains(part));
            assert!(is_told && told.iter().all(|(_, why)| why.contains("the promise of shop/web")), "{told:?}");
        }
        put(&world.core, &STORED.replace("interval: 60", "interval: 90")).await.unwrap();
    }

    #[tokio::test]
    async fn escalations_that_go_round_in_a_circle_end_at_a_bound() {
        let world = World::new().await;
        put(&world.core, STORED).await.unwrap();
        deploy(&world, SHOP).await;
        put(&world.core, "{kind: escalations, name: group, to_all: [group, group, more]}").await.unwrap();
        let all = promises(&world.core.shared.current());
        assert_eq!(all[0].sizes.len(), 1);
    }
}
