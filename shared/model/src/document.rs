//! Texts to artifacts.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::artifact::{Artifact, Kind};
use crate::blueprint::{Blueprint, Deployment, Topology};
use crate::breed::Breed;
use crate::condition::Condition;
use crate::decode::{Decoder, Field, Fields, at, spellings};
use crate::gateway::Gateway;
use crate::import::Origin;
use crate::instances::Instances;
use crate::reading::{Reading, Stored};
use crate::rewrite::{Rewrite, RewriteRule};
use crate::route::{Route, RouteBody};
use crate::scale::{Scale, ScaleUse, Size};
use crate::sla::{Escalation, EscalationBody, Sla, SlaBody, SlaUse};
use crate::template::Template;
use crate::tree::{Content, Node, Place, SyntaxFault, TEXT_BYTES_MAX, to_object};
use crate::violation::{Violation, step};
use crate::workflow::Workflow;
use crate::{json, name, yaml};

/// How a text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2; JSON is a subset of it.
    Yaml,
    /// JSON and nothing else.
    Json,
}

/// An artifact as it was read from a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// What it says.
    pub artifact: Artifact,
    root: String,
    places: BTreeMap<String, Place>,
    /// Where what is imported comes from.
    origins: Vec<Origin>,
}

impl Document {
    /// Gives violations that were found later line and column of the part of the text that they concern.
    pub fn locate(&self, violations: Vec<Violation>) -> Vec<Violation> {
        violations.into_iter().map(|violation| self.locate_one(violation)).collect()
    }

    fn locate_one(&self, violation: Violation) -> Violation {
        let (pointer, place) = self.nearest(&violation.pointer);
        let violation = Violation { pointer: format!("{}{pointer}", self.root), ..violation };
        match place {
            Some(place) => at(place, &self.origins, violation),
            None => Violation { line: None, column: None, ..violation },
        }
    }

    /// A part, or what is nearest above it, as its author spelled it. Steps that were left out, because one thing may stand
    /// in place of a list or of a map, are passed by, and short names are followed.
    fn nearest(&self, pointer: &str) -> (String, Option<Place>) {
        let mut at = String::new();
        for wanted in pointer.split('/').skip(1) {
            let spelled = spellings(wanted).into_iter().map(|name| format!("{at}/{name}"));
            let found = spelled.chain(self.with_alias(&at, wanted)).find(|path| self.places.contains_key(path));
            at = found.unwrap_or(at);
        }
        let place = self.places.get(&at).copied();
        (at, place)
    }

    /// A variable with the name under which an instance gets it: `NAME[ALIAS]`.
    fn with_alias(&self, at: &str, name: &str) -> Option<String> {
        let prefix = format!("{at}/{name}[");
        let (path, _) = self.places.range(prefix.clone()..).next()?;
        path.starts_with(&prefix).then(|| path.clone())
    }

    pub(crate) fn with_origins(self, origins: Vec<Origin>) -> Self {
        Self { origins, ..self }
    }
}

/// Reads every artifact of a text, each of which says its kind and name, or everything that is wrong with them. They
/// can import each other.
pub fn read(text: &str, format: Format) -> Result<Vec<Document>, Vec<Violation>> {
    read_with(text, format, None, None, &|_, _| None)
}

/// Reads artifacts of one kind, which need not say it. With a name there must be exactly one, which need not say that.
pub fn read_as(text: &str, format: Format, kind: Kind, name: Option<&str>) -> Result<Vec<Document>, Vec<Violation>> {
    read_with(text, format, Some(kind), name, &|_, _| None)
}

/// What a text asks to be deployed.
#[derive(Debug, Clone, PartialEq)]
pub enum DeployBody {
    /// The stored blueprint of this name.
    Stored(String),
    /// A blueprint, or a deployment as it is shown, written out.
    Written(Box<Document>),
}

/// Reads what is to be deployed: a blueprint, a deployment, or the name of a blueprint. `name` is that of a blueprint
/// that says none.
pub fn read_deploy_body(
    text: &str,
    format: Format,
    name: Option<&str>,
    stored: &Stored<'_>,
) -> Result<DeployBody, Vec<Violation>> {
    let node = only(text, format)?;
    let decoder = Decoder::new(text);
    let field = Field { pointer: String::new(), node: &node };
    let mut kind = Kind::Blueprint;
    if let Content::Map(entries) = &node.content {
        if let [(key, value)] = entries.as_slice()
            && ["reference", "ref", "name"].contains(&key.text.as_str())
        {
            let named = Field { pointer: step("", &key.text), node: value };
            return stored_blueprint(decoder, &named);
        }
        let said = entries.iter().find(|(key, _)| key.text == "kind").map(|(_, value)| &value.content);
        if let Some(Content::Text(said)) = said
            && said.parse() == Ok(Kind::Deployment)
        {
            kind = Kind::Deployment;
        }
        let is_named = entries.iter().any(|(key, _)| key.text == "name");
        let reading = Reading::new(text, Some(kind), name.filter(|_| !is_named), stored);
        let mut documents = reading.documents(vec![node])?;
        return match documents.pop() {
            Some(document) => Ok(DeployBody::Written(Box::new(document))),
            None => Err(Vec::new()),
        };
    }
    stored_blueprint(decoder, &field)
}

fn stored_blueprint(mut decoder: Decoder<'_>, field: &Field<'_>) -> Result<DeployBody, Vec<Violation>> {
    match decoder.text(field, "what is to be deployed") {
        Some(name) => Ok(DeployBody::Stored(name.to_owned())),
        None => Err(decoder.into_violations()),
    }
}

/// Reads the scale of a service: the scale itself, or the name of a stored one.
pub fn read_scale(text: &str, format: Format, stored: &Stored<'_>) -> Result<ScaleUse, Vec<Violation>> {
    read_part(text, format, stored, |decoder, field| ScaleUse::decode(decoder, field, "the scale"))
}

/// Reads the promise of a cluster: the SLA itself, or the name of a stored one.
pub fn read_sla(text: &str, format: Format, stored: &Stored<'_>) -> Result<SlaUse, Vec<Violation>> {
    read_part(text, format, stored, |decoder, field| SlaUse::decode(decoder, field, "the SLA"))
}

/// Reads a text that is no artifact, but any value.
pub fn read_value(text: &str, format: Format) -> Result<Value, Vec<Violation>> {
    only(text, format).map(|node| node.to_value())
}

fn read_part<T>(
    text: &str,
    format: Format,
    stored: &Stored<'_>,
    decode: impl for<'n> FnOnce(&mut Decoder<'n>, &Field<'n>) -> Option<T>,
) -> Result<T, Vec<Violation>> {
    let node = only(text, format)?;
    let (node, mut decoder) = Reading::new(text, None, None, stored).part(node);
    if !decoder.is_clean() {
        return Err(decoder.into_violations());
    }
    let part = decode(&mut decoder, &Field { pointer: String::new(), node: &node });
    match part {
        Some(part) if decoder.is_clean() => Ok(part),
        _ => Err(decoder.into_violations()),
    }
}

/// The one document of a text.
fn only(text: &str, format: Format) -> Result<Node, Vec<Violation>> {
    let mut nodes = parse(text, format).map_err(|fault| vec![fault.into_violation()])?;
    match (nodes.pop(), nodes.len()) {
        (Some(node), 0) => Ok(node),
        (_, others) => {
            let message = if others == 0 { "the text has no document" } else { "the text has several documents" };
            Err(vec![Violation { line: Some(1), column: Some(1), ..Violation::new("", message, "send one document") }])
        }
    }
}

/// As [`read`] and [`read_as`], with what is stored to import from.
pub fn read_with(
    text: &str,
    format: Format,
    kind: Option<Kind>,
    name: Option<&str>,
    stored: &Stored<'_>,
) -> Result<Vec<Document>, Vec<Violation>> {
    let mut decoder = Decoder::new(text);
    let items = items(text, format, name, &mut decoder)?;
    let read = Reading::new(text, kind, name, stored).documents(items);
    match decoder.into_violations() {
        more if more.is_empty() => read,
        mut violations => {
            violations.extend(read.err().into_iter().flatten());
            Err(violations)
        }
    }
}

/// The artifacts of a text, before they are read; with a name there is to be one.
pub(crate) fn items(
    text: &str,
    format: Format,
    name: Option<&str>,
    decoder: &mut Decoder<'_>,
) -> Result<Vec<Node>, Vec<Violation>> {
    let nodes = parse(text, format).map_err(|fault| vec![fault.into_violation()])?;
    let mut items = Vec::new();
    for node in nodes {
        match node.content {
            Content::List(nodes) => items.extend(nodes),
            _ => items.push(node),
        }
    }
    match items.as_slice() {
        [] => decoder.refuse_at(Place::START, "", "the text has no document", "send at least one artifact"),
        [_, second, ..] if name.is_some() => {
            let message = format!("the text has {} documents, and the address names one artifact", items.len());
            decoder.refuse_at(second.place, "", message, "send one document");
        }
        _ => {}
    }
    Ok(items)
}

fn parse(text: &str, format: Format) -> Result<Vec<Node>, SyntaxFault> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("the text is longer than {TEXT_BYTES_MAX} bytes");
        return Err(SyntaxFault::new(Place::START, message, "send it in several requests"));
    }
    match format {
        Format::Yaml => yaml::read(text),
        Format::Json => json::read(text),
    }
}

/// Reads one document whose imports are followed already.
pub(crate) fn decode<'t>(
    decoder: &mut Decoder<'t>,
    node: &'t Node,
    root: String,
    kind: Option<Kind>,
    name: Option<&str>,
) -> Option<Document> {
    let field = Field { pointer: root.clone(), node };
    let mut fields = decoder.fields(&field, kind.map_or("the artifact", Kind::singular))?;
    let kind = decode_kind(decoder, &mut fields, kind)?;
    let named = decode_name(decoder, &mut fields, kind, name);
    fields.owner = named.as_ref().map_or_else(|| format!("the {kind}"), |name| format!("{kind} `{name}`"));
    // Without a name it is refused, and the rest of it is read all the same: its faults are told at once.
    let is_named = named.is_some();
    let name = named.unwrap_or_default();
    let metadata = metadata(decoder, &mut fields);
    // What answers add, and the client to what it tells: they may be sent back as they came.
    fields.ignore(&["lookup_name", "rollout", "warnings", "changes", "unchanged", "stored_version", "outcome"]);
    let (artifact, known) = match kind {
        Kind::Gateway => {
            fields.ignore(&["internal", "deployed", "service", "proxy", "active"]);
            (Some(Artifact::Gateway(Gateway::decode(decoder, &mut fields, name, metadata))), Gateway::FIELDS)
        }
        Kind::Route => {
            fields.ignore(&["targets"]);
            let body = RouteBody::decode(decoder, &mut fields, metadata);
            (Some(Artifact::Route(Route { name, body })), ROUTE_FIELDS)
        }
        Kind::Rewrite => {
            let rule = RewriteRule::decode(decoder, &mut fields);
            (rule.map(|rule| Artifact::Rewrite(Rewrite { name, metadata, rule })), Rewrite::FIELDS)
        }
        Kind::Condition => {
            (Condition::decode(decoder, &mut fields, name, metadata).map(Artifact::Condition), Condition::FIELDS)
        }
        Kind::Breed => (Breed::decode(decoder, &mut fields, name, metadata).map(Artifact::Breed), Breed::FIELDS),
        Kind::Scale => {
            let size = Size::decode(decoder, &mut fields);
            (size.map(|size| Artifact::Scale(Scale { name, metadata, size })), Scale::FIELDS)
        }
        Kind::Sla => {
            let body = SlaBody::decode(decoder, &mut fields);
            (body.map(|body| Artifact::Sla(Sla { name, metadata, body })), NAMED)
        }
        Kind::Escalation => {
            let body = EscalationBody::decode(decoder, &mut fields);
            (body.map(|body| Artifact::Escalation(Escalation { name, metadata, body })), NAMED)
        }
        Kind::Blueprint => {
            let body = Topology::decode(decoder, &mut fields);
            (Some(Artifact::Blueprint(Blueprint { name, metadata, body })), Blueprint::FIELDS)
        }
        Kind::Deployment => {
            // What is shown of a deployment beside what was asked for.
            fields.ignore(&["status", "hosts", "ports", "health", "lookup_name"]);
            let body = Topology::decode(decoder, &mut fields);
            (Some(Artifact::Deployment(Deployment { name, metadata, body })), Blueprint::FIELDS)
        }
        Kind::Workflow => {
            (Workflow::decode(decoder, &mut fields, name, metadata).map(Artifact::Workflow), Workflow::FIELDS)
        }
        Kind::Template => {
            (Template::decode(decoder, &mut fields, name, metadata).map(Artifact::Template), Template::FIELDS)
        }
        Kind::Instances => {
            (Some(Artifact::Instances(Instances::decode(decoder, &mut fields, name))), Instances::FIELDS)
        }
    };
    decoder.finish(&fields, known);
    let mut places = BTreeMap::new();
    collect_places(node, String::new(), &mut places);
    Some(Document { artifact: artifact.filter(|_| is_named)?, root, places, origins: Vec::new() })
}

const NAMED: &[&str] = &["name", "kind", "metadata", "type"];

const ROUTE_FIELDS: &[&str] =
    &["name", "kind", "weight", "condition", "condition_strength", "balance", "rewrites", "metadata"];

pub(crate) fn decode_kind(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, expected: Option<Kind>) -> Option<Kind> {
    let Some(field) = fields.take("kind") else {
        if expected.is_none() {
            decoder.refuse_at(
                fields.place,
                &fields.pointer,
                "the artifact has no kind",
                format!("add `kind: …`: {}", Kind::listed()),
            );
        }
        return expected;
    };
    let text = decoder.text(&field, "the kind")?;
    match (text.parse::<Kind>(), expected) {
        (Ok(found), Some(expected)) if found != expected => {
            let message = format!("the kind is `{text}`, and the address is that of {}", expected.plural());
            decoder.refuse(&field, message, format!("send it to `/api/v1/{}`, or leave the kind out", found.plural()));
            None
        }
        (Ok(found), _) => Some(found),
        (Err(unknown), _) => {
            decoder.refuse(&field, format!("there is no kind `{}`", unknown.given), format!("use {}", Kind::listed()));
            None
        }
    }
}

pub(crate) fn decode_name(
    decoder: &mut Decoder<'_>,
    fields: &mut Fields<'_>,
    kind: Kind,
    expected: Option<&str>,
) -> Option<String> {
    let Some(field) = fields.take("name") else {
        let Some(expected) = expected else {
            decoder.refuse_at(fields.place, &fields.pointer, format!("the {kind} has no name"), "add `name: …`");
            return None;
        };
        if let Some((message, hint)) = name::fault(kind, expected) {
            decoder.refuse_at(fields.place, &fields.pointer, message, hint);
        }
        return Some(expected.to_owned());
    };
    let text = decoder.text(&field, &format!("the name of the {kind}"))?;
    if let Some((message, hint)) = name::fault(kind, text) {
        decoder.refuse(&field, message, hint);
    } else if let Some(expected) = expected.filter(|expected| *expected != text) {
        let message = format!("the name is `{text}`, and the address names `{expected}`");
        decoder.refuse(&field, message, "make them equal, or leave the name out");
    }
    Some(text.to_owned())
}

/// Any map, kept as it was written.
pub(crate) fn metadata(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>) -> Map<String, Value> {
    let Some(field) = fields.take("metadata") else { return Map::new() };
    if let Content::Map(entries) = &field.node.content {
        return to_object(entries);
    }
    decoder.refuse(&field, format!("the metadata of {} is {}", fields.owner, field.node.sort()), "write it as a map");
    Map::new()
}

/// The place of each value by its pointer; list items count under their index, and routes of a list also under their
/// path, as they are named in maps.
fn collect_places(node: &Node, pointer: String, places: &mut BTreeMap<String, Place>) {
    match &node.content {
        Content::Map(entries) => {
            for (key, value) in entries {
                collect_places(value, step(&pointer, &key.text), places);
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let (pointer, item) = match &item.content {
                    Content::Map(_) if pointer == "/routes" => (pointer.clone(), item),
                    Content::Text(path) if pointer == "/routes" => (step(&pointer, path), item),
                    _ => (format!("{pointer}/{index}"), item),
                };
                collect_places(item, pointer, places);
            }
        }
        _ => {}
    }
    places.entry(pointer).or_insert(node.place);
}
