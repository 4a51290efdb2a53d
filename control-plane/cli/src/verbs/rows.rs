//! Artifacts in rows: the columns of each kind.

use serde_json::Value;

use crate::output::{Columns, cell, table};

/// The cells of one artifact.
type Row = fn(&Value) -> Vec<String>;

/// The table of a kind.
#[derive(Debug)]
pub(super) struct Rows {
    headings: Vec<&'static str>,
    row: Row,
    is_wide: bool,
}

impl Rows {
    /// With more columns where there is room.
    pub(super) fn of(kind: &str, is_wide: bool) -> Self {
        let (headings, row): (&[&str], Row) = match kind {
            "gateways" => (&["NAME", "PORT", "STICKY", "ROUTES"], gateway),
            "routes" => (&["NAME", "WEIGHT", "CONDITION", "STRENGTH"], route),
            "conditions" => (&["NAME", "CONDITION"], condition),
            "rewrites" => (&["NAME", "PATH"], |rewrite| vec![member(rewrite, "name"), member(rewrite, "path")]),
            "breeds" => (&["NAME", "DEPLOYABLE", "PORTS"], breed),
            "scales" => (&["NAME", "CPU", "MEMORY", "INSTANCES"], scale),
            "blueprints" => (&["NAME", "CLUSTERS", "GATEWAYS"], topology),
            "deployments" => (&["NAME", "PHASE", "READY", "CLUSTERS", "GATEWAYS"], deployment),
            "workflows" => (&["NAME", "BREED", "SCHEDULE", "STATUS"], workflow),
            "templates" => (&["NAME", "FIELDS"], template),
            "slas" => (&["NAME", "TYPE", "LOWER", "UPPER", "WINDOW", "ESCALATIONS"], sla),
            "escalations" => (&["NAME", "TYPE", "BY", "FROM", "TO", "TARGET"], escalation),
            "instances" => (&["NAME", "INSTANCES"], instances),
            _ => (&["NAME"], |artifact| vec![member(artifact, "name")]),
        };
        let more: &[&str] = match (is_wide, kind) {
            (true, "gateways") => &["VIRTUAL HOSTS", "LABELS"],
            (true, "deployments") => &["REASON", "PORTS", "LABELS"],
            (true, _) => &["LABELS"],
            (false, _) => &[],
        };
        Self { headings: headings.iter().chain(more).copied().collect(), row, is_wide }
    }

    /// The cells of one artifact.
    pub(super) fn cells(&self, artifact: &Value) -> Vec<String> {
        let mut cells = (self.row)(artifact);
        if self.is_wide {
            if self.headings.contains(&"VIRTUAL HOSTS") {
                cells.push(member(artifact, "virtual_hosts"));
            }
            if self.headings.contains(&"REASON") {
                cells.push(artifact.get("status").map_or_else(|| "-".to_owned(), |status| member(status, "message")));
                cells.push(ports(artifact));
            }
            cells.push(labels(artifact));
        }
        cells
    }

    /// All of them, and the columns for those that come later.
    pub(super) fn table(&self, artifacts: &[Value]) -> (String, Columns) {
        let rows: Vec<_> = artifacts.iter().map(|artifact| self.cells(artifact)).collect();
        (table(&self.headings, &rows), Columns::fitting(&self.headings, &rows))
    }
}

pub(super) fn member(value: &Value, name: &str) -> String {
    value.get(name).map_or_else(|| "-".to_owned(), cell)
}

/// What `-l` can select by.
fn labels(artifact: &Value) -> String {
    let metadata = artifact.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let labels = metadata.filter(|(_, value)| !value.is_object() && !value.is_array() && !value.is_null());
    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={}", cell(value))).collect();
    if labels.is_empty() { "-".to_owned() } else { labels.join(",") }
}

fn gateway(gateway: &Value) -> Vec<String> {
    let routes = gateway.get("routes").and_then(Value::as_object).into_iter().flatten();
    let routes: Vec<_> = routes.map(|(path, route)| format!("{path} {}", member(route, "weight"))).collect();
    vec![member(gateway, "name"), member(gateway, "port"), member(gateway, "sticky"), routes.join(", ")]
}

/// A condition is written out or named.
fn condition_text(route: &Value) -> String {
    match route.get("condition") {
        Some(Value::Object(condition)) => {
            condition.get("condition").or_else(|| condition.get("reference")).map_or_else(|| "-".to_owned(), cell)
        }
        Some(other) => cell(other),
        None => "-".to_owned(),
    }
}

fn route(route: &Value) -> Vec<String> {
    vec![member(route, "name"), member(route, "weight"), condition_text(route), member(route, "condition_strength")]
}

fn condition(condition: &Value) -> Vec<String> {
    vec![member(condition, "name"), condition_text(condition)]
}

fn breed(breed: &Value) -> Vec<String> {
    let deployable = breed.get("deployable").and_then(|deployable| deployable.get("definition"));
    let ports = breed.get("ports").and_then(Value::as_object).into_iter().flatten();
    let ports: Vec<_> = ports.map(|(name, port)| format!("{name} {}", cell(port))).collect();
    vec![member(breed, "name"), deployable.map_or_else(|| "-".to_owned(), cell), ports.join(", ")]
}

fn scale(scale: &Value) -> Vec<String> {
    ["name", "cpu", "memory", "instances"].map(|name| member(scale, name)).to_vec()
}

/// What is started and when, in short.
fn workflow(workflow: &Value) -> Vec<String> {
    let breed = workflow.get("breed").and_then(|breed| breed.get("name").or_else(|| breed.get("reference")));
    let at = |pointer: &str| workflow.pointer(&format!("/schedule/{pointer}"));
    let schedule = match (at("event/tags").and_then(Value::as_array), at("time/period")) {
        (Some(tags), _) => format!("event {}", tags.iter().map(cell).collect::<Vec<_>>().join(",")),
        (None, Some(period)) => format!("every {}", cell(period)),
        (None, None) => member(workflow, "schedule"),
    };
    vec![member(workflow, "name"), breed.map_or_else(|| "-".to_owned(), cell), schedule, member(workflow, "status")]
}

fn template(template: &Value) -> Vec<String> {
    let fields = template.get("definition").and_then(Value::as_object).into_iter().flatten();
    let fields: Vec<_> = fields.map(|(name, _)| name.clone()).collect();
    vec![member(template, "name"), fields.join(", ")]
}

/// What is promised, and how many ways there are to keep it.
fn sla(sla: &Value) -> Vec<String> {
    let at = |pointer: &str| sla.pointer(pointer).map_or_else(|| "-".to_owned(), cell);
    let interval =
        sla.pointer("/window/interval").map_or_else(|| "-".to_owned(), |seconds| format!("{} s", cell(seconds)));
    let escalations = super::items(sla, "escalations").count().to_string();
    let (name, word) = (member(sla, "name"), member(sla, "type"));
    vec![name, word, at("/threshold/lower"), at("/threshold/upper"), interval, escalations]
}

fn escalation(escalation: &Value) -> Vec<String> {
    ["name", "type", "scale_by", "minimum", "maximum", "target"].map(|name| member(escalation, name)).to_vec()
}

fn instances(instances: &Value) -> Vec<String> {
    let names: Vec<_> = super::items(instances, "instances").map(|instance| member(instance, "name")).collect();
    vec![member(instances, "name"), names.join(", ")]
}

/// How far it has come, then what a blueprint has.
fn deployment(deployment: &Value) -> Vec<String> {
    let none = Value::Null;
    let status = deployment.get("status").unwrap_or(&none);
    let ready = format!("{}/{}", member(status, "ready"), member(status, "wanted"));
    let mut cells = topology(deployment);
    cells.splice(1..1, [member(status, "phase"), ready]);
    cells
}

/// The ports of the gateways before its clusters.
fn ports(deployment: &Value) -> String {
    let ports = deployment.get("ports").and_then(Value::as_object).into_iter().flatten();
    let ports: Vec<_> = ports.map(|(name, port)| format!("{name}={}", cell(port))).collect();
    if ports.is_empty() { "-".to_owned() } else { ports.join(",") }
}

/// Clusters with their services, and gateways.
fn topology(topology: &Value) -> Vec<String> {
    let of = |name: &str| topology.get(name).and_then(Value::as_object).into_iter().flatten();
    let breed = |service: &Value| {
        let breed = service.get("breed");
        let name = breed.and_then(|breed| breed.get("name").or_else(|| breed.get("reference")));
        name.map_or_else(|| "?".to_owned(), cell)
    };
    let clusters: Vec<_> = of("clusters")
        .map(|(name, cluster)| {
            let services: Vec<_> = super::items(cluster, "services").map(breed).collect();
            format!("{name} ({})", services.join(", "))
        })
        .collect();
    let gateways: Vec<_> = of("gateways").map(|(key, _)| key.clone()).collect();
    vec![member(topology, "name"), clusters.join(", "), gateways.join(", ")]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wide_table_has_labels_and_hosts() {
        let gateway = json!({
            "name": "shop", "port": "9050/http", "sticky": "none", "virtual_hosts": ["a.example"],
            "metadata": {"team": "shop", "tier": 1, "notes": {"a": 1}}, "routes": {"[h:1]": {"weight": "100%"}},
        });
        let (narrow, _) = Rows::of("gateways", false).table(std::slice::from_ref(&gateway));
        assert!(!narrow.contains("LABELS"), "{narrow}");
        let (wide, columns) = Rows::of("gateways", true).table(std::slice::from_ref(&gateway));
        assert!(wide.contains("VIRTUAL HOSTS") && wide.contains("a.example      team=shop,tier=1\n"), "{wide}");
        let row = columns.row(&Rows::of("gateways", true).cells(&gateway));
        assert!(wide.ends_with(&row), "a row that comes later stands in the same columns");
    }

    #[test]
    fn a_deployment_that_failed_is_seen_at_once() {
        let shop = json!({
            "name": "shop", "ports": {"web.http": "20000"}, "gateways": {"9050": {}},
            "status": {"phase": "Failed", "ready": 1, "wanted": 2, "message": "out of luck"},
            "clusters": {"web": {"services": [{"breed": {"name": "web:1"}}]}},
        });
        let (narrow, _) = Rows::of("deployments", false).table(std::slice::from_ref(&shop));
        assert_eq!(narrow, "NAME  PHASE   READY  CLUSTERS     GATEWAYS\nshop  Failed  1/2    web (web:1)  9050\n");
        let (wide, _) = Rows::of("deployments", true).table(std::slice::from_ref(&shop));
        assert!(wide.contains("out of luck  web.http=20000  -\n"), "{wide}");
    }

    #[test]
    fn a_workflow_is_told_with_its_schedule() {
        let row = |schedule: Value| {
            let workflow =
                json!({"name": "w", "breed": {"reference": "b"}, "schedule": schedule, "status": "suspended"});
            Rows::of("workflows", false).cells(&workflow)
        };
        assert_eq!(row(json!("daemon")), ["w", "b", "daemon", "suspended"]);
        assert_eq!(row(json!({"event": {"tags": ["health", "a:b"]}}))[2], "event health,a:b");
        assert_eq!(row(json!({"time": {"period": "PT5M"}}))[2], "every PT5M");
    }

    #[test]
    fn a_promise_is_told_with_its_bounds() {
        let sla = json!({"name": "fast", "type": "response_time_sliding_window", "escalations": [{}],
            "threshold": {"upper": 1000, "lower": 100}, "window": {"interval": 60, "cooldown": 60}});
        let cells = Rows::of("slas", false).cells(&sla);
        assert_eq!(cells, ["fast", "response_time_sliding_window", "100", "1000", "60 s", "1"]);
    }

    #[test]
    fn every_kind_has_a_row_with_its_name() {
        for kind in vamp_model::Kind::ALL {
            for is_wide in [false, true] {
                let rows = Rows::of(kind.plural(), is_wide);
                let cells = rows.cells(&json!({"name": "a"}));
                assert_eq!((cells.len(), cells[0].as_str()), (rows.headings.len(), "a"), "{kind}");
            }
        }
    }
}
