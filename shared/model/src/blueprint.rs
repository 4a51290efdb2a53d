//! Blueprints and deployments: clusters of services with the gateways before them.

mod check;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};
use vamp_routing::wire::Sticky;

use crate::artifact::Kind;
use crate::breed::{
    Argument, BreedUse, Offers, Protocol, arguments_to_json, decode_arguments, decode_checked, decode_checks,
    decode_value, parse_port, take_environment,
};
use crate::decode::{Decoder, Field, Fields, entries, one_or_many};
use crate::gateway::{GatewayRoute, decode_hosts, decode_routes, decode_sticky};
use crate::health::{HealthCheck, all_to_json};
use crate::near::listed;
use crate::scale::ScaleUse;
use crate::sla::SlaUse;
use crate::tree::{Content, Key};
use crate::value::ValueError;
use crate::violation::Violation;
use crate::{lookup, name};

/// What can be deployed together.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What it is made of.
    pub body: Topology,
}

/// What is deployed: the same shape, with every breed and scale written out.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployment {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What it is made of.
    pub body: Topology,
}

/// Clusters and what is common to them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Topology {
    /// Gateways by which clients reach the clusters, by the name of their port.
    pub gateways: Vec<OuterGateway>,
    /// The clusters by name, in order.
    pub clusters: Vec<Cluster>,
    /// Variables by cluster and name.
    pub environment: Vec<ClusterVariable>,
    /// For the platforms.
    pub dialects: Map<String, Value>,
}

/// A gateway by which clients reach a deployment.
#[derive(Debug, Clone, PartialEq)]
pub struct OuterGateway {
    /// The name of its port: the number, unless its author named it.
    pub key: String,
    /// The port that its author gave; `None`: one from the range.
    pub port: Option<u16>,
    /// What is spoken.
    pub protocol: Protocol,
    /// What it does; the routes lead to `cluster/port`.
    pub body: InnerGateway,
}

/// A gateway without name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InnerGateway {
    /// Stickiness; `None`: nothing is said.
    pub sticky: Option<Sticky>,
    /// Hosts that its author gave.
    pub virtual_hosts: Vec<String>,
    /// The routes; those of a cluster's gateway lead to the names of its services.
    pub routes: Vec<GatewayRoute>,
}

/// A variable of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterVariable {
    /// The cluster.
    pub cluster: String,
    /// The variable.
    pub name: String,
    /// Its value, which may hold references.
    pub value: String,
}

/// Versions of one service.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// The services, in order.
    pub services: Vec<Service>,
    /// What its author says of the gateways of its ports, by the name of the port.
    pub gateways: Vec<(String, InnerGateway)>,
    /// Checks of all services that say nothing of their own; `None`: nothing is said.
    pub health_checks: Option<Vec<HealthCheck>>,
    /// The network of all services that name none.
    pub network: Option<String>,
    /// What it promises, and what follows when it does not keep it.
    pub sla: Option<SlaUse>,
    /// For the platforms.
    pub dialects: Map<String, Value>,
}

/// One version of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// What is started; its name is the service's.
    pub breed: BreedUse,
    /// Values for variables of the breed.
    pub environment: Vec<(String, String)>,
    /// How many instances, and what each may use; `None`: the default.
    pub scale: Option<ScaleUse>,
    /// For the platform, after those of the breed.
    pub arguments: Vec<Argument>,
    /// How instances are checked; `None`: as the cluster or the breed says. Empty: not at all.
    pub health_checks: Option<Vec<HealthCheck>>,
    /// The network; `None`: the cluster's.
    pub network: Option<String>,
    /// For the platform; they replace those of the cluster.
    pub dialects: Map<String, Value>,
}

impl Blueprint {
    pub(crate) const FIELDS: &'static [&'static str] =
        &["name", "kind", "metadata", "gateways", "clusters", "environment_variables", "dialects"];

    pub(crate) fn to_json(&self) -> Value {
        self.body.to_json(&self.name, "blueprints", None, &self.metadata)
    }
}

impl Deployment {
    /// The cluster of this name.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.body.cluster(name)
    }

    pub(crate) fn to_json(&self) -> Value {
        self.body.to_json(&self.name, "deployments", Some(lookup::deployment(&self.name)), &self.metadata)
    }
}

impl Topology {
    /// The cluster of this name.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The clusters by name, for who looks for many.
    pub fn by_name(&self) -> HashMap<&str, &Cluster> {
        // As [`Self::cluster`]: of two with one name, which a document cannot have, it is the first.
        self.clusters.iter().rev().map(|cluster| (cluster.name.as_str(), cluster)).collect()
    }

    /// Takes the fields that blueprints and deployments share.
    pub(crate) fn decode<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>) -> Self {
        let owner = fields.owner.clone();
        let clusters = fields.take("clusters");
        let is_readable = clusters.as_ref().is_none_or(|field| matches!(field.node.content, Content::Map(_)));
        let clusters = match clusters {
            Some(field) => entries(decoder, &field, &format!("the clusters of {owner}"))
                .into_iter()
                .filter_map(|(key, item)| decode_cluster(decoder, key, &item, &owner))
                .collect(),
            None => Vec::new(),
        };
        let gateways = match fields.take("gateways") {
            Some(field) => entries(decoder, &field, &format!("the gateways of {owner}"))
                .into_iter()
                .filter_map(|(key, item)| decode_outer_gateway(decoder, key, &item, &owner))
                .collect(),
            None => Vec::new(),
        };
        let environment = take_environment(decoder, fields)
            .map(|field| decode_cluster_variables(decoder, &field, &owner))
            .unwrap_or_default();
        let dialects = decode_dialects(decoder, fields);
        let body = Self { gateways, clusters, environment, dialects };
        // Everything would lead nowhere without clusters.
        for Violation { pointer, message, hint, .. } in is_readable.then(|| body.faults(&owner)).into_iter().flatten() {
            decoder.refuse_below(fields, &pointer, message, hint);
        }
        body
    }

    fn to_json(&self, name: &str, kind: &str, lookup_name: Option<String>, metadata: &Map<String, Value>) -> Value {
        let gateways: Map<String, Value> =
            self.gateways.iter().map(|gateway| (gateway.key.clone(), gateway.to_json())).collect();
        let clusters: Map<String, Value> =
            self.clusters.iter().map(|cluster| (cluster.name.clone(), cluster.to_json())).collect();
        let environment: Map<String, Value> =
            self.environment.iter().map(|found| (found.full_name(), json!(found.value))).collect();
        let mut object = Map::new();
        object.insert("name".into(), json!(name));
        object.insert("kind".into(), json!(kind));
        object.insert("metadata".into(), json!(metadata));
        if let Some(lookup_name) = lookup_name {
            object.insert("lookup_name".into(), json!(lookup_name));
        }
        object.insert("gateways".into(), Value::Object(gateways));
        object.insert("clusters".into(), Value::Object(clusters));
        object.insert("environment_variables".into(), Value::Object(environment));
        object.insert("dialects".into(), json!(self.dialects));
        Value::Object(object)
    }
}

impl OuterGateway {
    fn to_json(&self) -> Value {
        let protocol = match self.protocol {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        };
        let mut object = Map::new();
        object.insert("port".into(), json!(format!("{}/{protocol}", self.port.unwrap_or_default())));
        object.extend(self.body.to_fields());
        Value::Object(object)
    }
}

impl InnerGateway {
    fn to_fields(&self) -> Map<String, Value> {
        let routes: Map<String, Value> =
            self.routes.iter().map(|route| (route.path.to_string(), route.to_fields().into())).collect();
        let sticky = self.sticky.map(|sticky| match sticky {
            Sticky::None => "none",
            Sticky::Route => "route",
            Sticky::Instance => "instance",
        });
        let mut object = Map::new();
        object.insert("sticky".into(), json!(sticky));
        object.insert("virtual_hosts".into(), json!(self.virtual_hosts));
        object.insert("routes".into(), Value::Object(routes));
        object
    }
}

impl Cluster {
    /// The service of this breed.
    pub fn service(&self, breed: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.breed.name() == breed)
    }

    /// The services by breed, for who looks for many.
    pub fn by_breed(&self) -> HashMap<&str, &Service> {
        self.services.iter().rev().map(|service| (service.breed.name(), service)).collect()
    }

    /// The ports of its services, when all their breeds are written out.
    fn known_ports(&self) -> Option<Vec<&str>> {
        let mut ports = Vec::new();
        let mut seen = HashSet::new();
        for service in &self.services {
            for port in &service.breed.inline()?.ports {
                if seen.insert(port.name.as_str()) {
                    ports.push(port.name.as_str());
                }
            }
        }
        Some(ports)
    }

    fn to_json(&self) -> Value {
        let gateways: Map<String, Value> =
            self.gateways.iter().map(|(port, gateway)| (port.clone(), gateway.to_fields().into())).collect();
        let mut object = Map::new();
        object.insert("metadata".into(), json!(self.metadata));
        object.insert("services".into(), self.services.iter().map(Service::to_json).collect());
        object.insert("gateways".into(), Value::Object(gateways));
        if let Some(checks) = &self.health_checks {
            object.insert("health_checks".into(), all_to_json(checks));
        }
        if let Some(network) = &self.network {
            object.insert("network".into(), json!(network));
        }
        if let Some(sla) = &self.sla {
            object.insert("sla".into(), sla.to_json());
        }
        object.insert("dialects".into(), json!(self.dialects));
        Value::Object(object)
    }
}

impl Service {
    const FIELDS: &'static [&'static str] =
        &["breed", "environment_variables", "scale", "arguments", "health_checks", "network", "dialects"];

    /// Takes a service out of the fields of a map, and refuses what is left.
    fn decode<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>, what: &str) -> Self {
        what.clone_into(&mut fields.owner);
        // A map with a name and without a breed is the breed itself.
        if !fields.has("breed") && fields.has("name") {
            return Self::of(BreedUse::decode_written(decoder, fields, &format!("the breed of {what}")));
        }
        fields.ignore(&["health", "status", "instances", "dependencies"]);
        let breed = ["breed", "reference", "ref"].into_iter().find_map(|key| fields.take(key));
        if breed.is_none() {
            let message = format!("{what} has no breed");
            decoder.refuse_at(fields.place, &fields.pointer, message, "add `breed: NAME`, or the breed itself");
        }
        let breed = breed.and_then(|field| BreedUse::decode(decoder, &field, &format!("the breed of {what}")));
        let breed = breed.unwrap_or_else(BreedUse::unreadable);
        let what = if breed.is_unreadable() { what.to_owned() } else { format!("service `{}`", breed.name()) };
        fields.owner.clone_from(&what);
        let environment = decode_variables(decoder, fields, &what, |text| crate::value::parse(text).map(drop));
        let scale = fields.take("scale");
        let scale = scale.and_then(|field| ScaleUse::decode(decoder, &field, &format!("the scale of {what}")));
        let arguments = decode_arguments(decoder, fields, &what);
        let offers = breed.inline().map(|breed| Offers::of([breed]));
        let health_checks =
            decode_checks(decoder, fields, &what, |port| offers.as_ref().is_none_or(|offers| offers.has_port(port)));
        let network = decode_network(decoder, fields);
        let dialects = decode_dialects(decoder, fields);
        decoder.finish(fields, Self::FIELDS);
        Self { breed, environment, scale, arguments, health_checks, network, dialects }
    }

    fn of(breed: BreedUse) -> Self {
        Self {
            breed,
            environment: Vec::new(),
            scale: None,
            arguments: Vec::new(),
            health_checks: None,
            network: None,
            dialects: Map::new(),
        }
    }

    fn to_json(&self) -> Value {
        let environment: Map<String, Value> =
            self.environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let mut object = Map::new();
        object.insert("breed".into(), self.breed.to_json());
        object.insert("environment_variables".into(), Value::Object(environment));
        if let Some(scale) = &self.scale {
            object.insert("scale".into(), scale.to_json());
        }
        object.insert("arguments".into(), arguments_to_json(&self.arguments));
        if let Some(checks) = &self.health_checks {
            object.insert("health_checks".into(), all_to_json(checks));
        }
        if let Some(network) = &self.network {
            object.insert("network".into(), json!(network));
        }
        object.insert("dialects".into(), json!(self.dialects));
        Value::Object(object)
    }
}

/// Values for variables of a breed, each of which must be there and pass the check.
pub(crate) fn decode_variables(
    decoder: &mut Decoder<'_>,
    fields: &mut Fields<'_>,
    owner: &str,
    check: impl Fn(&str) -> Result<(), ValueError>,
) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let Some(field) = take_environment(decoder, fields) else { return variables };
    for (key, item) in entries(decoder, &field, &format!("the environment variables of {owner}")) {
        let named = format!("variable `{}` of {owner}", key.text);
        if item.node.content == Content::Null {
            decoder.refuse(&item, format!("{named} has no value"), "give it one, or remove it");
        } else if let Some(value) = decode_checked(decoder, &item, &named, &check) {
            variables.push((key.text.clone(), value));
        }
    }
    variables
}

fn decode_cluster<'t>(decoder: &mut Decoder<'t>, key: &Key, item: &Field<'t>, owner: &str) -> Option<Cluster> {
    let name = key.text.clone();
    let what = format!("cluster `{name}` of {owner}");
    if let Some((message, hint)) = name::fault(Kind::Blueprint, &name) {
        decoder.refuse_at(key.place, &item.pointer, format!("a cluster of {owner}: {message}"), hint);
    }
    if !matches!(item.node.content, Content::Map(_)) {
        let services = decode_services(decoder, item, &what);
        return Some(Cluster { name, services, ..Cluster::default() });
    }
    let mut fields = decoder.fields(item, &what)?;
    let gateways = fields.take("gateways").map(|field| decode_inner_gateways(decoder, &field, &what));
    let sla = fields.take("sla").and_then(|field| SlaUse::decode(decoder, &field, &format!("the SLA of {what}")));
    let mut cluster = Cluster { name, sla, ..Cluster::default() };
    let sound_before = decoder.count();
    if let Some(field) = fields.take("services") {
        cluster.services = decode_services(decoder, &field, &what);
        cluster.metadata = crate::metadata(decoder, &mut fields);
        cluster.health_checks = decode_checks(decoder, &mut fields, &what, |_| true);
        cluster.network = decode_network(decoder, &mut fields);
        cluster.dialects = decode_dialects(decoder, &mut fields);
        decoder.finish(&fields, &["services", "gateways", "health_checks", "network", "sla", "dialects", "metadata"]);
    } else {
        // Without a list of services the cluster is its only service.
        if fields.has("breed") || !fields.has("name") {
            cluster.metadata = crate::metadata(decoder, &mut fields);
        }
        cluster.services = vec![Service::decode(decoder, &mut fields, &what)];
    }
    let is_sound = decoder.count() == sound_before;
    cluster.gateways = gateways.map(|given| cluster.name_ports(decoder, item, given, is_sound)).unwrap_or_default();
    Some(cluster)
}

/// What the gateways of a cluster say: of each port, or of its only one.
enum InnerGateways {
    Named(Vec<(String, InnerGateway)>),
    OfOnlyPort(InnerGateway),
}

impl Cluster {
    fn name_ports(
        &self,
        decoder: &mut Decoder<'_>,
        item: &Field<'_>,
        given: InnerGateways,
        is_sound: bool,
    ) -> Vec<(String, InnerGateway)> {
        let gateway = match given {
            InnerGateways::Named(gateways) => return gateways,
            InnerGateways::OfOnlyPort(gateway) => gateway,
        };
        match self.known_ports().as_deref() {
            // Services that can't be read may have one port, or many.
            _ if !is_sound => Vec::new(),
            Some([port]) => vec![((*port).to_owned(), gateway)],
            Some(ports) => {
                let message =
                    format!("the gateways of cluster `{}` name no port, and it has {}", self.name, listed(ports));
                decoder.refuse(item, message, "write `gateways: {PORT: {…}}`");
                Vec::new()
            }
            None => {
                let message = format!("the gateways of cluster `{}` name no port", self.name);
                decoder.refuse(item, message, "write `gateways: {PORT: {…}}`: its breeds are not written here");
                Vec::new()
            }
        }
    }
}

fn decode_services<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, owner: &str) -> Vec<Service> {
    let mut services = Vec::new();
    for (index, item) in one_or_many(field).into_iter().enumerate() {
        let what = format!("service {} of {owner}", index.saturating_add(1));
        if matches!(item.node.content, Content::Map(_)) {
            services
                .extend(decoder.fields(&item, &what).map(|mut fields| Service::decode(decoder, &mut fields, &what)));
        } else {
            let breed = BreedUse::decode(decoder, &item, &what);
            services.push(Service::of(breed.unwrap_or_else(BreedUse::unreadable)));
        }
    }
    services
}

fn decode_inner_gateways<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, owner: &str) -> InnerGateways {
    if let Content::Map(map) = &field.node.content
        && !map.is_empty()
        && map.iter().all(|(key, _)| ["sticky", "virtual_hosts", "selector", "routes"].contains(&key.text.as_str()))
    {
        let gateway = decode_inner_gateway(decoder, field, &format!("the gateway of {owner}"));
        return InnerGateways::OfOnlyPort(gateway.unwrap_or_default());
    }
    let gateways = entries(decoder, field, &format!("the gateways of {owner}")).into_iter();
    let gateways = gateways.filter_map(|(key, item)| {
        let what = format!("the gateway of port `{}` of {owner}", key.text);
        Some((key.text.clone(), decode_inner_gateway(decoder, &item, &what)?))
    });
    InnerGateways::Named(gateways.collect())
}

fn decode_inner_gateway<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, what: &str) -> Option<InnerGateway> {
    let mut fields = decoder.fields(field, what)?;
    if let Some(port) = fields.take("port") {
        decoder.refuse(&port, format!("{what} has a port of its own"), "leave it out: it gets one from the range");
    }
    // What its port carries is known when it is deployed.
    let gateway = take_inner_gateway(decoder, &mut fields, what, Protocol::Http);
    decoder.finish(&fields, &["sticky", "virtual_hosts", "routes"]);
    Some(gateway)
}

/// The fields that all gateways without name share.
fn take_inner_gateway<'t>(
    decoder: &mut Decoder<'t>,
    fields: &mut Fields<'t>,
    what: &str,
    protocol: Protocol,
) -> InnerGateway {
    if let Some(field) = fields.take("selector") {
        let message = format!("{what} has a selector, and routes that follow labels are not built");
        decoder.refuse(&field, message, "write its routes out");
    }
    fields.ignore(&["lookup_name", "kind", "metadata", "internal", "deployed", "service"]);
    let sticky = fields.take("sticky").map(|field| decode_sticky(decoder, &field, what));
    let hosts = fields.take("virtual_hosts").map(|field| decode_hosts(decoder, &field, what)).unwrap_or_default();
    let routes =
        fields.take("routes").map(|field| decode_routes(decoder, &field, what, protocol).routes).unwrap_or_default();
    InnerGateway { sticky, virtual_hosts: hosts, routes }
}

fn decode_outer_gateway<'t>(
    decoder: &mut Decoder<'t>,
    key: &Key,
    item: &Field<'t>,
    owner: &str,
) -> Option<OuterGateway> {
    const HINT: &str = "write `PORT: CLUSTER/PORT`, or `NAME: {port: PORT, routes: {…}}`";
    let what = format!("gateway `{}` of {owner}", key.text);
    if let Some((message, hint)) = name::fault(Kind::Blueprint, key.text.split('/').next().unwrap_or_default()) {
        decoder.refuse_at(key.place, &item.pointer, format!("a gateway of {owner}: {message}"), hint);
    }
    let by_key = parse_port(&key.text);
    // One that is a number and no port would be a name, and get another port.
    let is_number = key.text.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit());
    if by_key.is_none() && (key.text.contains('/') || is_number) {
        decoder.refuse_at(key.place, &item.pointer, format!("{what} has a key that is no port"), HINT);
    }
    let (port, protocol, body) = if matches!(item.node.content, Content::Map(_)) {
        let mut fields = decoder.fields(item, &what)?;
        let given = fields.take("port").and_then(|field| {
            let text = decoder.text(&field, &format!("the port of {what}"))?;
            let port = parse_port(text);
            if port.is_none() {
                decoder.refuse(&field, format!("{what} has the port `{}`", text.escape_debug()), HINT);
            }
            port
        });
        let (port, protocol) = given.or(by_key).unwrap_or((0, Protocol::Http));
        let body = take_inner_gateway(decoder, &mut fields, &what, protocol);
        decoder.finish(&fields, &["port", "sticky", "virtual_hosts", "routes"]);
        (port, protocol, body)
    } else {
        let (port, protocol) = by_key.unwrap_or((0, Protocol::Http));
        let routes = decode_routes(decoder, item, &what, protocol).routes;
        (port, protocol, InnerGateway { routes, ..InnerGateway::default() })
    };
    let key = by_key.map_or_else(|| key.text.clone(), |(number, _)| number.to_string());
    Some(OuterGateway { key, port: Some(port).filter(|port| *port != 0), protocol, body })
}

/// `cluster.environment_variables.NAME`, or `cluster.NAME` for short.
fn decode_cluster_variables(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Vec<ClusterVariable> {
    let mut variables: Vec<ClusterVariable> = Vec::new();
    let mut seen = HashSet::new();
    for (key, item) in entries(decoder, field, &format!("the environment variables of {owner}")) {
        let what = format!("variable `{}` of {owner}", key.text);
        let Some((cluster, rest)) =
            key.text.split_once('.').filter(|(cluster, rest)| !cluster.is_empty() && !rest.is_empty())
        else {
            decoder.refuse_at(key.place, &item.pointer, format!("{what} names no cluster"), "write CLUSTER.NAME");
            continue;
        };
        let long = ["environment_variables.", "env."].into_iter().find_map(|group| rest.strip_prefix(group));
        let name = long.unwrap_or(rest);
        if item.node.content == Content::Null {
            decoder.refuse(&item, format!("{what} has no value"), "give it one, or remove it");
            continue;
        }
        if seen.contains(&(cluster, name)) {
            decoder.refuse_at(key.place, &item.pointer, format!("{what} stands twice"), "keep one of them");
        }
        if let Some(value) = decode_value(decoder, &item, &what) {
            seen.insert((cluster, name));
            variables.push(ClusterVariable { cluster: cluster.to_owned(), name: name.to_owned(), value });
        }
    }
    variables
}

pub(crate) fn decode_network(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>) -> Option<String> {
    let field = fields.take("network")?;
    decoder.text(&field, &format!("the network of {}", fields.owner)).map(str::to_owned)
}

/// Any structure below the name of a platform, in lower case.
pub(crate) fn decode_dialects(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>) -> Map<String, Value> {
    let (long, short) = (fields.take("dialects"), fields.take("dialect"));
    if let (Some(_), Some(short)) = (&long, &short) {
        decoder.refuse(short, format!("{} has `dialects` and `dialect`", fields.owner), "keep one of them");
    }
    let Some(field) = long.or(short) else { return Map::new() };
    let entries = entries(decoder, &field, &format!("the dialects of {}", fields.owner)).into_iter();
    entries.map(|(key, item)| (key.text.to_ascii_lowercase(), item.node.to_value())).collect()
}
