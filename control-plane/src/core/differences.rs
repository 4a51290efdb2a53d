//! What a change is told as beside its archive events: the differences that scripts wait for. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use vamp_model::{Artifact, ConditionUse, Deployment, Gateway, GatewayRoute, Instances, RouteBody, RouteUse, percent};
use vamp_routing::wire::Share;

use super::WriteRequest;
use super::artifacts::Artifacts;
use crate::deploy::size_of;
use crate::persist::{Cause, NewEvent};

/// LIMIT: differences that one change is told as, each some rows of its transaction. Its archive events and the history
/// have all of it.
const DIFFERENCES_MAX: usize = 256;

/// What is told of these writes to what is there.
pub(super) fn of(current: &Artifacts, writes: &[WriteRequest], cause: &Cause, at_unix_ms: u64) -> Vec<NewEvent> {
    let value = json!({"who": cause.who, "why": cause.why});
    let mut differences = Differences { events: Vec::new(), cause: value, at_unix_ms };
    for write in writes {
        let before = current.get(write.kind, &write.name).map(Arc::as_ref);
        if before != write.artifact.as_ref() {
            differences.note(before, write.artifact.as_ref());
        }
    }
    differences.events
}

#[derive(Debug)]
struct Differences {
    events: Vec<NewEvent>,
    /// Who made the change, and why.
    cause: Value,
    at_unix_ms: u64,
}

impl Differences {
    /// One artifact that was another, or is new, or goes. A gateway that comes or goes is told when it is served, or no
    /// longer.
    fn note(&mut self, before: Option<&Artifact>, after: Option<&Artifact>) {
        match (before, after) {
            (Some(Artifact::Gateway(before)), Some(Artifact::Gateway(after))) => self.of_gateway(before, after),
            (Some(Artifact::Deployment(before)), Some(Artifact::Deployment(after))) => self.of_scales(before, after),
            (before, Some(Artifact::Instances(after))) => {
                let before = match before {
                    Some(Artifact::Instances(before)) => Some(before),
                    _ => None,
                };
                self.of_targets(before, after);
            }
            _ => {}
        }
    }

    fn of_gateway(&mut self, before: &Gateway, after: &Gateway) {
        let (was, is) = (by_path(before), by_path(after));
        for (path, was) in &was {
            match is.get(path) {
                Some(is) => self.of_route(&after.name, path, was, is),
                None => self.route(&after.name, path, "removed", &Value::Null),
            }
        }
        for path in is.keys().filter(|path| !was.contains_key(*path)) {
            self.route(&after.name, path, "added", &Value::Null);
        }
    }

    fn of_route(&mut self, gateway: &str, path: &str, was: &GatewayRoute, is: &GatewayRoute) {
        let share = |share: Option<Share>| share.map_or(Value::Null, |share| json!(percent::format(share)));
        let weight = |route: &GatewayRoute| match &route.content {
            RouteUse::Inline(body) => share(body.weight),
            RouteUse::Stored { weight, .. } => share(*weight),
        };
        let condition = |route: &GatewayRoute| match body(route).and_then(|body| body.condition.as_ref()) {
            Some(ConditionUse::Inline(text)) => json!(text),
            Some(ConditionUse::Stored(name)) => json!({"reference": name}),
            None => Value::Null,
        };
        let strength = |route: &GatewayRoute| share(body(route).and_then(|body| body.condition_strength));
        for (what, was, is) in [
            ("weight", weight(was), weight(is)),
            ("condition", condition(was), condition(is)),
            ("conditionstrength", strength(was), strength(is)),
        ] {
            let how = match (was.is_null(), is.is_null()) {
                _ if was == is => continue,
                (true, _) => "added",
                (false, true) => "removed",
                (false, false) => "updated",
            };
            self.route(gateway, path, &format!("{what}{how}"), &json!({"from": was, "to": is}));
        }
    }

    /// Other instances of a service take its requests, or they do at other addresses.
    fn of_targets(&mut self, before: Option<&Instances>, after: &Instances) {
        let Some((cluster, service)) = after.name.rsplit_once('/') else { return };
        let all = before.into_iter().chain([after]).flat_map(|instances| &instances.instances);
        let ports: BTreeSet<&str> = all.flat_map(|target| target.ports.iter()).map(|(port, _)| port.as_str()).collect();
        for port in ports {
            let gateway = format!("{cluster}/{port}");
            let value = json!({"targets": after.instances.len()});
            self.route(&gateway, &format!("{cluster}/{service}/{port}"), "targetschanged", &value);
        }
    }

    fn of_scales(&mut self, before: &Deployment, after: &Deployment) {
        let before = before.body.by_name();
        let is_scaled = after.body.clusters.iter().any(|cluster| {
            let before = before.get(cluster.name.as_str()).map(|before| before.by_breed()).unwrap_or_default();
            cluster.services.iter().any(|service| {
                let was = before.get(service.breed.name());
                was.is_some_and(|was| size_of(was) != size_of(service))
            })
        });
        if is_scaled {
            let tags = [format!("deployment-service-scales:{}", after.name), "archive:update".to_owned()];
            let value = Some(self.cause.clone());
            self.push(NewEvent { value, ..NewEvent::new("archive", tags, self.at_unix_ms) });
        }
    }

    fn route(&mut self, gateway: &str, path: &str, what: &str, value: &Value) {
        let tags = [format!("gateways:{gateway}"), format!("routes:{path}"), format!("route:{what}")];
        let value = (!value.is_null()).then(|| value.clone());
        self.push(NewEvent { value, ..NewEvent::new("event", tags, self.at_unix_ms) });
    }

    fn push(&mut self, event: NewEvent) {
        if self.events.len() < DIFFERENCES_MAX {
            self.events.push(event);
        }
    }
}

fn by_path(gateway: &Gateway) -> BTreeMap<String, &GatewayRoute> {
    gateway.routes.iter().map(|route| (route.path.to_string(), route)).collect()
}

fn body(route: &GatewayRoute) -> Option<&RouteBody> {
    match &route.content {
        RouteUse::Inline(body) => Some(body),
        RouteUse::Stored { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::artifacts;

    /// What is told of a change from one document to another.
    fn told(before: &str, after: &str) -> Vec<(Vec<String>, Value)> {
        let one = |text: &str| (!text.is_empty()).then(|| artifacts(text).remove(0));
        let mut differences = Differences { events: Vec::new(), cause: json!({"who": "me"}), at_unix_ms: 1 };
        differences.note(one(before).as_ref(), one(after).as_ref());
        let shown = |event: NewEvent| {
            let tags = event.tags.into_iter().filter(|tag| tag.contains(':')).collect();
            (tags, event.value.unwrap_or_default())
        };
        differences.events.into_iter().map(shown).collect()
    }

    fn gateway(routes: &str) -> String {
        format!("{{kind: gateways, name: shop/web/http, routes: {{{routes}}}}}")
    }

    fn route(path: &str, what: &str, value: Value) -> (Vec<String>, Value) {
        let mut tags = vec!["gateways:shop/web/http".to_owned(), format!("route:{what}"), format!("routes:{path}")];
        tags.sort();
        (tags, value)
    }

    #[test]
    fn each_difference_of_a_route_is_told() {
        let (a, b) = ("shop/web/a/http", "shop/web/b/http");
        let before = gateway(&format!("{a}: {{weight: 90%}}, {b}: {{weight: 10%, condition: path is /b}}"));
        assert_eq!(told(&before, &before), []);
        assert_eq!(told("", &before), [], "one that is new is told when it is served");
        assert_eq!(told(&before, ""), []);
        let after = gateway(&format!("{a}: {{weight: 100%, condition: path is /a}}, '[127.0.0.1:1]': {{weight: 0%}}"));
        let added = |to: &str| json!({"from": null, "to": to});
        assert_eq!(
            told(&before, &after),
            [
                route(a, "weightupdated", json!({"from": "90%", "to": "100%"})),
                route(a, "conditionadded", added("path is /a")),
                route(a, "conditionstrengthadded", added("100%")),
                route(b, "removed", Value::Null),
                route("[127.0.0.1:1]", "added", Value::Null),
            ]
        );
        let weaker = before.replace("path is /b", "path is /c, condition_strength: 50%");
        assert_eq!(
            told(&before, &weaker),
            [
                route(b, "conditionupdated", json!({"from": "path is /b", "to": "path is /c"})),
                route(b, "conditionstrengthupdated", json!({"from": "100%", "to": "50%"})),
            ]
        );
    }

    #[test]
    fn other_targets_and_other_scales_are_told() {
        let mut differences = Differences { events: Vec::new(), cause: json!({"who": "me"}), at_unix_ms: 1 };
        let target = |name: &str| vamp_model::Instance {
            name: name.to_owned(),
            ports: [("http".to_owned(), "127.0.0.1:1".to_owned())].into_iter().collect(),
        };
        let of = |targets: &[&str]| {
            let instances = targets.iter().map(|name| target(name)).collect();
            Artifact::Instances(Instances { name: "shop/web/web:1".to_owned(), instances })
        };
        differences.note(None, Some(&of(&["a", "b"])));
        differences.note(Some(&of(&["a", "b"])), Some(&of(&[])));
        let events = differences.events;
        assert!(events.iter().all(|event| event.tags.contains("routes:shop/web/web:1/http")), "{events:?}");
        assert!(events.iter().all(|event| event.tags.contains("gateways:shop/web/http")), "{events:?}");
        let counts: Vec<_> = events.iter().map(|event| event.value.as_ref().unwrap()["targets"].as_u64()).collect();
        assert_eq!(counts, [Some(2), Some(0)]);
        let shop = |count: u32| {
            format!(
                "{{kind: deployments, name: shop, clusters: {{web: {{services: {{breed: {{name: w, deployable: i}}, scale: {{cpu: 1, memory: 1MB, instances: {count}}}}}}}}}}}"
            )
        };
        assert_eq!(told(&shop(1), &shop(1)), []);
        let scaled = vec!["archive:update".to_owned(), "deployment-service-scales:shop".to_owned()];
        assert_eq!(told(&shop(1), &shop(2)), [(scaled, json!({"who": "me"}))]);
    }

    #[test]
    fn a_change_of_very_many_routes_is_told_in_part() {
        let all = |weight: &str| {
            let routes: Vec<String> =
                (1..=2_000).map(|port| format!("'[127.0.0.1:{port}]': {{weight: {weight}}}")).collect();
            gateway(&routes.join(", "))
        };
        let strong = all("0%").replace("weight: 0%", "weight: 0%, condition: path is /");
        assert_eq!(told(&all("0%"), &strong).len(), DIFFERENCES_MAX);
    }
}
