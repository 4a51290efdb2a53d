//! What runs of a deployment, shown in its document where the original shows it. Who sends it back has it ignored.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::reconcile::{Intention, Phase, ServiceName, ServiceState, Stage, States};

/// What is looked at.
pub(super) struct Runtime<'r> {
    /// How far each service has come.
    pub(super) states: &'r States,
    /// The port of each gateway.
    pub(super) ports: &'r BTreeMap<String, u16>,
    /// Where gateways are for services.
    pub(super) host: &'r str,
}

impl Runtime<'_> {
    /// Adds it to the document of a deployment.
    pub(super) fn add(&self, name: &str, document: &mut Value) {
        let (mut hosts, mut ports) = (Map::new(), Map::new());
        let mut sum = Sum::default();
        let clusters = document.get_mut("clusters").and_then(Value::as_object_mut).into_iter().flatten();
        for (cluster, value) in clusters {
            hosts.insert(cluster.clone(), self.host.into());
            let prefix = format!("{name}/{cluster}/");
            let own = self.ports.range(prefix.clone()..).take_while(|(gateway, _)| gateway.starts_with(&prefix));
            let own = own.filter_map(|(gateway, port)| Some((gateway.strip_prefix(&prefix)?, port)));
            ports.extend(own.map(|(of, port)| (format!("{cluster}.{of}"), port.to_string().into())));
            let services = value.get_mut("services").and_then(Value::as_array_mut).into_iter().flatten();
            for service in services.filter_map(Value::as_object_mut) {
                let breed = service.get("breed").and_then(|breed| breed.get("name")).and_then(Value::as_str);
                let state = breed.and_then(|breed| {
                    let (deployment, cluster, service) = (name.to_owned(), cluster.clone(), breed.to_owned());
                    self.states.get(&ServiceName { deployment, cluster, service })
                });
                sum.take(state);
                service.extend(of_service(state));
            }
        }
        if let Some(document) = document.as_object_mut() {
            document.insert("status".to_owned(), sum.shown());
            document.insert("ports".to_owned(), Value::Object(ports));
            document.insert("hosts".to_owned(), Value::Object(hosts));
        }
    }
}

/// All services of a deployment together.
#[derive(Default)]
struct Sum {
    /// The least that one of them has come; the worst first.
    phase: Option<Phase>,
    message: Option<String>,
    wanted: u32,
    ready: u32,
}

/// What of all services is told first.
fn rank(phase: Phase) -> u8 {
    match phase {
        Phase::Failed => 0,
        Phase::Unknown => 1,
        Phase::Updating => 2,
        Phase::Initiated => 3,
        Phase::Done => 4,
    }
}

impl Sum {
    fn take(&mut self, state: Option<&ServiceState>) {
        let phase = state.map_or(Phase::Initiated, |state| state.phase);
        if self.phase.is_none_or(|worst| rank(phase) < rank(worst)) {
            self.phase = Some(phase);
            self.message = state.and_then(|state| state.message.clone());
        }
        self.wanted = self.wanted.saturating_add(state.map_or(0, |state| state.wanted));
        self.ready = self.ready.saturating_add(state.map_or(0, |state| state.ready));
    }

    fn shown(self) -> Value {
        let phase = self.phase.unwrap_or(Phase::Done);
        let mut shown = json!({"phase": phase, "wanted": self.wanted, "ready": self.ready});
        if let (Some(message), Some(shown)) = (self.message, shown.as_object_mut()) {
            shown.insert("message".to_owned(), message.into());
        }
        shown
    }
}

fn of_service(state: Option<&ServiceState>) -> Map<String, Value> {
    let Some(state) = state else {
        let status = json!({"intention": Intention::Deployment, "phase": {"name": Phase::Initiated}});
        return Map::from_iter([("status".to_owned(), status)]);
    };
    let mut phase = json!({"name": state.phase, "since": state.since});
    if let (Some(message), Some(phase)) = (&state.message, phase.as_object_mut()) {
        phase.insert("notification".to_owned(), message.as_str().into());
    }
    let all = &state.instances;
    let running = all.iter().filter(|instance| instance.stage == Stage::Running).count();
    let of_health = |wanted: bool| {
        all.iter().filter(|instance| instance.stage == Stage::Running && instance.healthy == Some(wanted)).count()
    };
    let instances: Vec<Value> = all
        .iter()
        .map(|instance| {
            let places = instance.ports.iter().filter_map(|(name, place)| Some((name, place.rsplit_once(':')?)));
            let host = places.clone().next().map(|(_, (host, _))| host.trim_matches(['[', ']']));
            let ports: Map<String, Value> =
                places.filter_map(|(name, (_, port))| Some((name.clone(), port.parse::<u16>().ok()?.into()))).collect();
            json!({
                "name": instance.name,
                "host": host,
                "ports": ports,
                "deployed": instance.stage == Stage::Running,
                "ready": instance.ready,
                "state": instance.state,
                "metadata": {},
            })
        })
        .collect();
    Map::from_iter([
        ("status".to_owned(), json!({"intention": state.intention, "since": state.since, "phase": phase})),
        ("instances".to_owned(), Value::Array(instances)),
        (
            "health".to_owned(),
            json!({
                "staged": all.len() - running,
                "running": running,
                "healthy": of_health(true),
                "unhealthy": of_health(false),
            }),
        ),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::InstanceState;

    fn state(service: &str, phase: Phase, instances: Vec<InstanceState>) -> ServiceState {
        ServiceState {
            cluster: "web".to_owned(),
            service: service.to_owned(),
            intention: Intention::Deployment,
            phase,
            message: (phase == Phase::Failed).then(|| "out of luck".to_owned()),
            since: "2026-01-01T00:00:00Z".to_owned(),
            wanted: 2,
            ready: 1,
            instances,
            seen_change: 0,
        }
    }

    fn shown(states: Vec<ServiceState>) -> Value {
        let name = |state: &ServiceState| ServiceName {
            deployment: "shop".to_owned(),
            cluster: state.cluster.clone(),
            service: state.service.clone(),
        };
        let states: States = states.into_iter().map(|state| (name(&state), state)).collect();
        let ports = [("shop/web/http", 20_000), ("shop/webs/http", 20_001), ("shop/9050", 9_050)];
        let ports = ports.map(|(name, port)| (name.to_owned(), port)).into();
        let mut document = json!({"clusters": {"web": {"services": [
            {"breed": {"name": "web:1"}}, {"breed": {"name": "web:2"}},
        ]}}});
        Runtime { states: &states, ports: &ports, host: "10.0.0.2" }.add("shop", &mut document);
        document
    }

    #[test]
    fn what_runs_stands_where_the_original_shows_it() {
        let instance = |name: &str, healthy: Option<bool>, stage: Stage| InstanceState {
            name: name.to_owned(),
            ports: [("http".to_owned(), "10.0.0.7:31001".to_owned())].into(),
            healthy,
            stage,
            ..InstanceState::default()
        };
        let instances = vec![
            instance("a", Some(true), Stage::Running),
            instance("b", Some(false), Stage::Running),
            instance("c", None, Stage::Coming),
        ];
        let document = shown(vec![state("web:1", Phase::Done, instances), state("web:2", Phase::Failed, Vec::new())]);
        assert_eq!(document["ports"], json!({"web.http": "20000"}));
        assert_eq!(document["hosts"], json!({"web": "10.0.0.2"}));
        let status = json!({"phase": "Failed", "wanted": 4, "ready": 2, "message": "out of luck"});
        assert_eq!(document["status"], status, "one that failed is seen at once");
        let services = &document["clusters"]["web"]["services"];
        assert_eq!(services[0]["health"], json!({"staged": 1, "running": 2, "healthy": 1, "unhealthy": 1}));
        let first = &services[0]["instances"][0];
        assert_eq!((&first["host"], &first["ports"]), (&json!("10.0.0.7"), &json!({"http": 31001})));
        let phase = &services[1]["status"]["phase"];
        assert_eq!((&phase["name"], &phase["notification"]), (&json!("Failed"), &json!("out of luck")));
    }

    #[test]
    fn what_was_not_looked_at_yet_has_only_begun() {
        let document = shown(Vec::new());
        assert_eq!(document["status"]["phase"], "Initiated");
        assert_eq!(document["clusters"]["web"]["services"][0]["status"]["phase"]["name"], "Initiated");
    }
}
