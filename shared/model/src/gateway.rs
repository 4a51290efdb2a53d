//! Gateways and their documents.

use std::collections::HashSet;

use serde_json::{Map, Value, json};
use vamp_routing::wire::{Share, Sticky, Tcp};

use crate::breed::Protocol;
use crate::condition::take_reference;
use crate::decode::{Decoder, Field, Fields};
use crate::path::RoutePath;
use crate::route::RouteBody;
use crate::tree::{Content, Key, Node};
use crate::violation::step;
use crate::{host, lookup, metadata, percent, tcp, weights};

/// A place where traffic comes in and is split over routes.
#[derive(Debug, Clone, PartialEq)]
pub struct Gateway {
    /// Its name, 1 to 4 segments.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// The port that its author gave; none: the one it has, or one from the range.
    pub port: Option<u16>,
    /// It carries connections; without it, HTTP requests.
    pub tcp: Option<Tcp>,
    /// Stickiness.
    pub sticky: Sticky,
    /// Hosts that its author gave, in lower case, without doubles.
    pub virtual_hosts: Vec<String>,
    /// The routes, in order; no path stands twice.
    pub routes: Vec<GatewayRoute>,
}

/// A route as it stands in a gateway.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayRoute {
    /// Where it leads.
    pub path: RoutePath,
    /// What it says.
    pub content: RouteUse,
}

/// What a route in a gateway says.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteUse {
    /// Written in the gateway.
    Inline(RouteBody),
    /// The stored route of this name, as it is when the table is made.
    Stored {
        /// Its name.
        reference: String,
        /// The weight in this gateway; none: the stored one's.
        weight: Option<Share>,
    },
}

impl Gateway {
    pub(crate) const FIELDS: &'static [&'static str] =
        &["name", "kind", "metadata", "port", "accept_proxy", "send_proxy", "sticky", "virtual_hosts", "routes"];

    pub(crate) fn decode<'t>(
        decoder: &mut Decoder<'t>,
        fields: &mut Fields<'t>,
        name: String,
        metadata: Map<String, Value>,
    ) -> Self {
        let owner = fields.owner.clone();
        let port = fields.take("port").and_then(|field| decode_port(decoder, &field, &owner));
        let (port, protocol) = port.unwrap_or((None, Protocol::Http));
        let tcp = tcp::decode(decoder, fields, protocol);
        let sticky = fields.take("sticky").map(|field| decode_sticky(decoder, &field, &owner)).unwrap_or_default();
        let hosts = fields.take("virtual_hosts");
        if let Some(field) = hosts.as_ref().filter(|_| tcp.is_some()) {
            tcp::refuse_hosts(decoder, field, &owner);
        }
        let hosts = hosts.map(|field| decode_hosts(decoder, &field, &owner)).unwrap_or_default();
        if let Some(field) = fields.take("selector") {
            decoder.refuse(
                &field,
                format!("{owner} has a selector, and routes that follow labels are not built"),
                "write its routes out",
            );
        }
        let routes = fields.take("routes");
        let (place, pointer) = routes
            .as_ref()
            .map_or((fields.place, fields.pointer.clone()), |field| (field.node.place, field.pointer.clone()));
        let routes = routes.map(|field| decode_routes(decoder, &field, &owner, protocol));
        let Routes { mut routes, are_weights_read } = routes.unwrap_or_default();
        // A weight that could not be read would make the sum wrong too: one fault, one violation.
        if are_weights_read && let Err(wrong) = fill_weights(&mut routes) {
            let message = format!("the weights of {owner} add up to {}", percent::format_sum(wrong.sum));
            decoder.refuse_at(
                place,
                &pointer,
                message,
                "make them add up to 100%, or all to 0%, or give one of them none to take the rest",
            );
        }
        Self { name, metadata, port, tcp, sticky, virtual_hosts: hosts, routes }
    }

    pub(crate) fn to_json(&self) -> Value {
        let routes: Map<String, Value> =
            self.routes.iter().map(|route| (route.path.to_string(), route.to_json(&self.name))).collect();
        let mut object = json!({
            "name": self.name,
            "kind": "gateways",
            "metadata": self.metadata,
            "lookup_name": lookup::gateway(&self.name),
            "internal": self.name.split('/').count() == 3,
            "port": match self.tcp {
                Some(_) => Some(format!("{}/tcp", self.port.unwrap_or(0))),
                None => self.port.map(|port| format!("{port}/http")),
            },
            "sticky": match self.sticky {
                Sticky::None => None,
                Sticky::Route => Some("route"),
                Sticky::Instance => Some("instance"),
            },
            "virtual_hosts": self.virtual_hosts,
            "selector": null,
            "routes": routes,
        });
        if let (Some(tcp), Some(object)) = (self.tcp, object.as_object_mut()) {
            object.extend(tcp::to_fields(tcp));
        }
        object
    }
}

impl GatewayRoute {
    fn to_json(&self, gateway: &str) -> Value {
        let mut object = Map::new();
        if let RouteUse::Inline(_) = self.content {
            object.insert("lookup_name".into(), json!(lookup::route(gateway, &self.path.to_string())));
        }
        object.extend(self.to_fields());
        Value::Object(object)
    }

    /// What it says, whatever gateway it is in.
    pub(crate) fn to_fields(&self) -> Map<String, Value> {
        let mut object = Map::new();
        match &self.content {
            RouteUse::Inline(body) => {
                object.insert("metadata".into(), json!(body.metadata));
                object.extend(body.to_fields());
            }
            RouteUse::Stored { reference, weight } => {
                object.insert("reference".into(), json!(reference));
                if let Some(weight) = weight {
                    object.insert("weight".into(), json!(percent::format(*weight)));
                }
            }
        }
        object
    }
}

/// Settles the weights when the gateway alone decides them: what is shown is what runs. With stored routes they are
/// settled when the table is made.
fn fill_weights(routes: &mut [GatewayRoute]) -> Result<(), weights::WrongSum> {
    let mut bodies = Vec::new();
    for route in routes.iter_mut() {
        match &mut route.content {
            RouteUse::Inline(body) => bodies.push(body),
            RouteUse::Stored { .. } => return Ok(()),
        }
    }
    let given: Vec<_> = bodies.iter().map(|body| body.weight).collect();
    for (body, share) in bodies.into_iter().zip(weights::share_out(&given)?) {
        body.weight = Some(share);
    }
    Ok(())
}

/// `N`, `N/http` or `N/tcp`; 0 leaves the number open.
fn decode_port(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Option<(Option<u16>, Protocol)> {
    const HINT: &str =
        "write a number from 1 to 65535, `N/http` or `N/tcp`; leave the number out, or write 0, to be given one";
    let text = decoder.text(field, &format!("the port of {owner}"))?.trim();
    let (number, word) = text.split_once('/').unwrap_or((text, "http"));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let port = number.parse::<u16>().ok().filter(|_| digits);
    let protocol = match word.to_ascii_lowercase().as_str() {
        "http" => Some(Protocol::Http),
        "tcp" => Some(Protocol::Tcp),
        _ => None,
    };
    let (Some(port), Some(protocol)) = (port, protocol) else {
        decoder.refuse(field, format!("{owner} has the port `{}`, which is none", text.escape_debug()), HINT);
        return None;
    };
    Some(((port != 0).then_some(port), protocol))
}

pub(crate) fn decode_sticky(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Sticky {
    let Some(text) = decoder.text(field, &format!("`sticky` of {owner}")) else { return Sticky::None };
    match text.to_ascii_lowercase().as_str() {
        "none" => Sticky::None,
        "route" | "service" => Sticky::Route,
        "instance" => Sticky::Instance,
        _ => {
            decoder.refuse(field, format!("{owner} is sticky by `{text}`"), "use `route`, `instance` or `none`");
            Sticky::None
        }
    }
}

pub(crate) fn decode_hosts(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Vec<String> {
    let one = std::slice::from_ref(field.node);
    let (items, is_list) = match &field.node.content {
        Content::List(items) => (items.as_slice(), true),
        _ => (one, false),
    };
    let mut hosts = Vec::new();
    let mut seen = HashSet::new();
    for (index, node) in items.iter().enumerate() {
        let pointer = if is_list { format!("{}/{index}", field.pointer) } else { field.pointer.clone() };
        let item = Field { pointer, node };
        let Some(text) = decoder.text(&item, &format!("a virtual host of {owner}")) else { continue };
        match host::parse_virtual_host(text) {
            Ok(host) if seen.insert(host.clone()) => hosts.push(host),
            Ok(_) => {}
            Err((message, hint)) => decoder.refuse(&item, format!("{owner}: {message}"), hint),
        }
    }
    hosts
}

/// A route's key and, if it says something, its value.
struct Entry<'t> {
    place: crate::tree::Place,
    path: &'t str,
    pointer: String,
    value: Option<Field<'t>>,
}

/// Routes as far as they can be read.
pub(crate) struct Routes {
    pub(crate) routes: Vec<GatewayRoute>,
    /// Whether every route is there with the weight that its author gave.
    are_weights_read: bool,
}

impl Default for Routes {
    fn default() -> Self {
        Self { routes: Vec::new(), are_weights_read: true }
    }
}

pub(crate) fn decode_routes<'t>(
    decoder: &mut Decoder<'t>,
    field: &Field<'t>,
    owner: &str,
    protocol: Protocol,
) -> Routes {
    let mut entries = Vec::new();
    let sound_before = decoder.count();
    match &field.node.content {
        Content::Map(map) => entries.extend(map.iter().map(|(key, node)| entry(&field.pointer, key, node))),
        Content::List(items) => {
            for (index, node) in items.iter().enumerate() {
                let item = Field { pointer: format!("{}/{index}", field.pointer), node };
                list_entry(decoder, &item, owner, &mut entries);
            }
        }
        _ => {
            if let Some(path) = decoder.text(field, &format!("`routes` of {owner}")) {
                entries.push(Entry { place: field.node.place, path, pointer: field.pointer.clone(), value: None });
            }
        }
    }
    let mut are_weights_read = decoder.count() == sound_before;
    let mut seen = HashSet::new();
    let mut routes = Vec::with_capacity(entries.len());
    for entry in entries {
        if !seen.insert(entry.path) {
            let message = format!("{owner} has the route `{}` twice", entry.path);
            decoder.refuse_at(entry.place, &entry.pointer, message, "keep one of them");
            are_weights_read = false;
            continue;
        }
        let gives_weight = entry.gives_weight();
        let route = decode_route(decoder, entry, owner, protocol);
        are_weights_read &= route.as_ref().is_some_and(|route| !gives_weight || route.content.weight().is_some());
        routes.extend(route);
    }
    Routes { routes, are_weights_read }
}

impl Entry<'_> {
    fn gives_weight(&self) -> bool {
        let Some(Content::Map(map)) = self.value.as_ref().map(|value| &value.node.content) else { return false };
        map.iter().any(|(key, node)| key.text == "weight" && node.content != Content::Null)
    }
}

impl RouteUse {
    /// The weight that is given here.
    pub fn weight(&self) -> Option<Share> {
        match self {
            Self::Inline(body) => body.weight,
            Self::Stored { weight, .. } => *weight,
        }
    }
}

fn entry<'t>(pointer: &str, key: &'t Key, node: &'t Node) -> Entry<'t> {
    let pointer = step(pointer, &key.text);
    let value = (node.content != Content::Null).then(|| Field { pointer: pointer.clone(), node });
    Entry { place: key.place, path: &key.text, pointer, value }
}

/// A list has paths, and maps of one path.
fn list_entry<'t>(decoder: &mut Decoder<'t>, item: &Field<'t>, owner: &str, entries: &mut Vec<Entry<'t>>) {
    match &item.node.content {
        Content::Map(map) => {
            if let [(key, node)] = map.as_slice() {
                entries.push(entry(&item.pointer, key, node));
                return;
            }
            let message = format!("an item of `routes` of {owner} has {} keys", map.len());
            decoder.refuse(item, message, "write one item for each route: `- \"[host:port]\": {weight: 50%}`");
        }
        _ => {
            if let Some(path) = decoder.text(item, &format!("a route of {owner}")) {
                entries.push(Entry { place: item.node.place, path, pointer: item.pointer.clone(), value: None });
            }
        }
    }
}

fn decode_route<'t>(
    decoder: &mut Decoder<'t>,
    entry: Entry<'t>,
    owner: &str,
    protocol: Protocol,
) -> Option<GatewayRoute> {
    let path = RoutePath::parse(entry.path)
        .map_err(|(message, hint)| decoder.refuse_at(entry.place, &entry.pointer, format!("{owner}: {message}"), hint));
    let what = format!("route `{}` of {owner}", entry.path);
    let content = match entry.value {
        None => Some(RouteUse::Inline(RouteBody::default())),
        Some(field) => decode_route_use(decoder, &field, &what, protocol),
    };
    Some(GatewayRoute { path: path.ok()?, content: content? })
}

fn decode_route_use<'t>(
    decoder: &mut Decoder<'t>,
    field: &Field<'t>,
    what: &str,
    protocol: Protocol,
) -> Option<RouteUse> {
    if !matches!(field.node.content, Content::Map(_)) {
        let reference = decoder.text(field, what)?.to_owned();
        if let Some((message, hint)) = crate::name::fault(crate::Kind::Route, &reference) {
            decoder.refuse(field, format!("{what} refers to a stored route: {message}"), hint);
        }
        return Some(RouteUse::Stored { reference, weight: None });
    }
    let mut fields = decoder.fields(field, what)?;
    fields.ignore(&["kind", "lookup_name", "targets"]);
    if fields.has("reference") || fields.has("ref") {
        let reference = take_reference(decoder, &mut fields)?;
        let weight =
            fields.take("weight").and_then(|field| percent::decode(decoder, &field, &format!("the weight of {what}")));
        fields.ignore(&["metadata"]);
        decoder.finish(&fields, &["reference", "weight"]);
        return Some(RouteUse::Stored { reference, weight });
    }
    let metadata = metadata(decoder, &mut fields);
    let (condition, rewrites) = (fields.find("condition"), fields.find("rewrites"));
    let body = RouteBody::decode(decoder, &mut fields, metadata);
    if protocol == Protocol::Tcp {
        tcp::check_route(decoder, &body, condition.as_ref(), rewrites.as_ref(), what);
    }
    decoder.finish(&fields, RouteBody::FIELDS);
    Some(RouteUse::Inline(body))
}
