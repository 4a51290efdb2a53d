//! Puts stored routes and conditions in the place of their references, and settles the weights.

use std::collections::BTreeMap;

use vamp_model::{
    ConditionUse, Gateway, GatewayRoute, Instance, RewriteRule, RewriteUse, RouteBody, RoutePath, RouteUse, lookup,
    percent, step, weights,
};
use vamp_routing::wire::{self, Share};

use super::{Finding, Picture, Warning};

/// What may be referred to, by name.
pub(super) struct Stored<'p> {
    routes: BTreeMap<&'p str, &'p RouteBody>,
    conditions: BTreeMap<&'p str, &'p str>,
    rewrites: BTreeMap<&'p str, &'p RewriteRule>,
    instances: BTreeMap<&'p str, &'p [Instance]>,
}

impl<'p> Stored<'p> {
    pub(super) fn new(picture: &Picture<'p>) -> Self {
        Self {
            routes: picture.routes.iter().map(|route| (route.name.as_str(), &route.body)).collect(),
            conditions: picture.conditions.iter().map(|found| (found.name.as_str(), found.text.as_str())).collect(),
            rewrites: picture.rewrites.iter().map(|found| (found.name.as_str(), &found.rule)).collect(),
            instances: picture.instances.iter().map(|found| (found.name.as_str(), &*found.instances)).collect(),
        }
    }
}

impl Stored<'_> {
    /// The instances of a service that have the port; none while none runs.
    fn endpoints(&self, path: &RoutePath) -> Vec<wire::Endpoint> {
        let Some((service, port)) = path.service() else { return Vec::new() };
        let instances = self.instances.get(service).copied().unwrap_or_default().iter();
        let having = instances.filter_map(|instance| {
            let (_, address) = instance.ports.iter().find(|(name, _)| name == port)?;
            Some(wire::Endpoint {
                name: instance.name.clone(),
                lookup: lookup::instance(&instance.name),
                address: address.clone(),
            })
        });
        having.collect()
    }
}

/// One gateway, complete. What cannot be expanded is a finding and left out.
pub(super) fn gateway(
    gateway: &Gateway,
    gateways: &BTreeMap<&str, &Gateway>,
    stored: &Stored<'_>,
    port: Option<u16>,
    findings: &mut Vec<Finding>,
    warnings: &mut Vec<Warning>,
) -> wire::Gateway {
    let mut routes = Vec::with_capacity(gateway.routes.len());
    let mut given = Vec::with_capacity(gateway.routes.len());
    for route in &gateway.routes {
        if let RoutePath::Gateway(target) = &route.path
            && !gateways.contains_key(target.as_str())
        {
            let message = format!("gateway `{}` leads to gateway `{target}`, which does not exist", gateway.name);
            let pointer = step("/routes", &route.path.to_string());
            findings.push(Finding::gateway(
                &gateway.name,
                pointer,
                message,
                "create it first, or write an address as `[host:port]`",
            ));
        }
        let Some((body, weight)) = resolve(gateway, route, stored, findings) else { continue };
        given.push(weight);
        routes.push(expand(gateway, route, body, stored, findings));
    }
    // With a route missing the weights mean nothing.
    if routes.len() == gateway.routes.len() {
        settle(gateway, &mut routes, &given, stored, findings, warnings);
    }
    wire::Gateway {
        name: gateway.name.clone(),
        lookup: lookup::gateway(&gateway.name),
        port,
        virtual_hosts: gateway.virtual_hosts.clone(),
        sticky: gateway.sticky,
        tcp: gateway.tcp,
        routes,
    }
}

fn resolve<'r>(
    gateway: &Gateway,
    route: &'r GatewayRoute,
    stored: &Stored<'r>,
    findings: &mut Vec<Finding>,
) -> Option<(&'r RouteBody, Option<Share>)> {
    match &route.content {
        RouteUse::Inline(body) => Some((body, body.weight)),
        RouteUse::Stored { reference, weight } => {
            let Some(body) = stored.routes.get(reference.as_str()) else {
                let message = format!(
                    "gateway `{}` refers to the stored route `{reference}`, which does not exist",
                    gateway.name
                );
                let pointer = step("/routes", &route.path.to_string());
                findings.push(Finding::gateway(
                    &gateway.name,
                    pointer,
                    message,
                    "create it first, or write the route out",
                ));
                return None;
            };
            Some((body, weight.or(body.weight)))
        }
    }
}

fn expand(
    gateway: &Gateway,
    route: &GatewayRoute,
    body: &RouteBody,
    stored: &Stored<'_>,
    findings: &mut Vec<Finding>,
) -> wire::Route {
    let name = route.path.to_string();
    let condition = match &body.condition {
        None => None,
        Some(ConditionUse::Inline(text)) => Some(text.clone()),
        Some(ConditionUse::Stored(reference)) => {
            let found = stored.conditions.get(reference.as_str());
            if found.is_none() {
                let message = format!(
                    "route `{name}` of gateway `{}` refers to the condition `{reference}`, which does not exist",
                    gateway.name
                );
                let pointer = step(&step("/routes", &name), "condition");
                findings.push(Finding::gateway(
                    &gateway.name,
                    pointer,
                    message,
                    "create it first, or write the condition out",
                ));
            }
            found.map(|text| (*text).to_owned())
        }
    };
    let target = match &route.path {
        RoutePath::Gateway(target) => wire::Target::Gateway(target.clone()),
        RoutePath::External(address) => wire::Target::Endpoints(vec![wire::Endpoint {
            name: address.clone(),
            lookup: lookup::external(address),
            address: address.clone(),
        }]),
        RoutePath::Instances(_) => wire::Target::Endpoints(stored.endpoints(&route.path)),
    };
    wire::Route {
        lookup: lookup::route(&gateway.name, &name),
        name,
        weight: Share::NONE,
        condition,
        condition_strength: body.condition_strength.unwrap_or(Share::WHOLE),
        balance: body.balance.unwrap_or_default(),
        rewrites: rewrites(gateway, route, body, stored, findings),
        target,
    }
}

fn rewrites(
    gateway: &Gateway,
    route: &GatewayRoute,
    body: &RouteBody,
    stored: &Stored<'_>,
    findings: &mut Vec<Finding>,
) -> Vec<wire::Rewrite> {
    let mut rewrites = Vec::with_capacity(body.rewrites.len());
    for (index, rewrite) in body.rewrites.iter().enumerate() {
        let rule = match rewrite {
            RewriteUse::Inline(rule) => Some(rule),
            RewriteUse::Stored(name) => stored.rewrites.get(name.as_str()).copied(),
        };
        if let (None, RewriteUse::Stored(name)) = (rule, rewrite) {
            let path = route.path.to_string();
            let message = format!(
                "route `{path}` of gateway `{}` refers to the rewrite `{name}`, which does not exist",
                gateway.name
            );
            let pointer = format!("{}/rewrites/{index}", step("/routes", &path));
            findings.push(Finding::gateway(
                &gateway.name,
                pointer,
                message,
                "create it first, or write the rewrite out",
            ));
        }
        rewrites.extend(rule.map(|rule| wire::Rewrite { path: rule.path.clone(), condition: rule.condition.clone() }));
    }
    rewrites
}

fn settle(
    gateway: &Gateway,
    routes: &mut [wire::Route],
    given: &[Option<Share>],
    stored: &Stored<'_>,
    findings: &mut Vec<Finding>,
    warnings: &mut Vec<Warning>,
) {
    match weights::share_out(given) {
        Ok(shares) => {
            for (route, share) in routes.iter_mut().zip(&shares) {
                route.weight = *share;
            }
            wait_for_instances(gateway, routes, stored, warnings);
            if !routes.is_empty() && shares.iter().all(|share| *share == Share::NONE) {
                let what = match gateway.tcp {
                    Some(_) => "connections that no condition takes are closed",
                    None => "requests that no condition takes are answered with 503",
                };
                let message = format!("all weights of gateway `{}` are 0%: {what}", gateway.name);
                warnings.push(Warning { gateway: Some(gateway.name.clone()), message });
            }
        }
        Err(wrong) => {
            let message =
                format!("the weights of gateway `{}` add up to {}", gateway.name, percent::format_sum(wrong.sum));
            let hint = "make them add up to 100%, or all to 0%, or give one of them none to take the rest";
            findings.push(Finding::gateway(&gateway.name, "/routes", message, hint));
        }
    }
}

/// A route to a service that is new, and of which no instance has taken requests yet, gets none: its share goes to the
/// others in proportion, and its condition takes nothing, until there is one. What weighs nothing gets nothing either way,
/// and a share whose instances are gone falls to nobody else.
fn wait_for_instances(gateway: &Gateway, routes: &mut [wire::Route], stored: &Stored<'_>, warnings: &mut Vec<Warning>) {
    let paths = gateway.routes.iter().map(|route| &route.path);
    let is_new = |path: &RoutePath| path.service().is_some_and(|(service, _)| !stored.instances.contains_key(service));
    let (new, mut serving): (Vec<_>, Vec<_>) = routes.iter_mut().zip(paths).partition(|(_, path)| is_new(path));
    let shares: Vec<Share> = serving.iter().map(|(route, _)| route.weight).collect();
    let fitted = weights::fit(&shares, Share::WHOLE);
    let new = new.into_iter().map(|(route, _)| route);
    for route in new.filter(|route| route.weight != Share::NONE || route.condition.is_some()) {
        if shares.is_empty() {
            continue;
        }
        let what = if fitted.is_some() {
            (route.weight, route.condition) = (Share::NONE, None);
            "the others get what it was given until one does"
        } else {
            "what it gets fails until one does"
        };
        let message = format!(
            "no instance takes requests yet behind route `{}` of gateway `{}`: {what}",
            route.name, gateway.name
        );
        warnings.push(Warning { gateway: Some(gateway.name.clone()), message });
    }
    for ((route, _), share) in serving.iter_mut().zip(fitted.into_iter().flatten()) {
        route.weight = share;
    }
}
