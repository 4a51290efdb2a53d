//! Docker Compose files to blueprints: one cluster with one breed for each service.
//!
//! What a blueprint can say is carried over; what it can't, or must not be guessed, is told with its place and the
//! reason, as comments above the document. The file is as strange as any other text that was sent: it is read within
//! the bounds of documents, and nothing of it stands in a comment but escaped and cut.

mod environment;
mod health;
mod hosts;
mod interpolate;
mod ports;
mod service;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::artifact::{Artifact, Kind};
use crate::decode::{Decoder, Field, Fields, entries};
use crate::document::{Format, read_as};
use crate::emit::to_yaml;
use crate::near::listed;
use crate::tree::{Node, Place, SyntaxFault};
use crate::violation::{Violation, step};
use crate::{Blueprint, name, yaml};
use interpolate::interpolate;
use service::Service;

/// LIMIT: bytes of one file. People write some kilobytes; what generators write is a few hundred.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// LIMIT: services of one file; a blueprint of a hundred is a large one.
const SERVICES_MAX: usize = 1_000;
/// LIMIT: remarks in one document; who has more has enough to mend.
const NOTES_MAX: usize = 1_000;
/// LIMIT: characters of one remark.
const NOTE_CHARACTERS_MAX: usize = 300;
/// Every service becomes the first version of its breed.
const VERSION: &str = "1.0.0";

/// The value of a variable of the file's author (`${NAME}`), if it has one.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

/// A blueprint that was made from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Composed {
    /// It, as it is read from [`Composed::text`].
    pub blueprint: Blueprint,
    /// The blueprint as YAML, with a comment for each thing that was not carried over, and why.
    pub text: String,
}

/// Makes a blueprint of a Docker Compose file, or says what is wrong with the file.
pub fn read_compose(text: &str, name: &str, variables: Variables<'_>) -> Result<Composed, Vec<Violation>> {
    if let Some((message, hint)) = name::fault(Kind::Blueprint, name) {
        return Err(vec![Violation::new("", message, hint)]);
    }
    let node = parse(text).map_err(|fault| vec![fault.into_violation()])?;
    let project = name.chars().map(|found| if found.is_ascii_alphanumeric() || found == '_' { found } else { '-' });
    let mut reader =
        Reader { decoder: Decoder::new(text), variables, notes: Notes::default(), project: project.collect() };
    let services = reader.file(&node);
    if !reader.decoder.is_clean() {
        return Err(reader.decoder.into_violations());
    }
    let document = document(name, &services);
    let unlimited = services.iter().any(|service| service.scale.is_none());
    let limits = if unlimited { UNLIMITED } else { "" };
    let text = format!("{}{limits}{}{}", reader.notes.comments(), taken_for_http(&services), to_yaml(&document));
    // What is printed is read as it will be: nothing of a file may make a document that is refused later.
    let read = read_as(&text, Format::Yaml, Kind::Blueprint, Some(name))?;
    match read.into_iter().next().map(|document| document.artifact) {
        Some(Artifact::Blueprint(blueprint)) => Ok(Composed { blueprint, text }),
        _ => Err(vec![Violation::new("", "the file makes no blueprint", "add `services: …`")]),
    }
}

fn parse(text: &str) -> Result<Node, SyntaxFault> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file is longer than {FILE_BYTES_MAX} bytes");
        return Err(SyntaxFault::new(Place::START, message, "import its services in several files"));
    }
    let mut nodes = yaml::read(text).map_err(|fault| {
        let needs_writing_out = fault.message.starts_with("anchors") || fault.message.starts_with("the tag");
        let hint = "write it out, as `docker compose config` does";
        if needs_writing_out { SyntaxFault { hint: hint.to_owned(), ..fault } } else { fault }
    })?;
    match (nodes.pop(), nodes.len()) {
        (Some(node), 0) => Ok(node),
        (None, _) => Err(SyntaxFault::new(Place::START, "the file is empty", "send a Docker Compose file")),
        (Some(node), _) => Err(SyntaxFault::new(node.place, "the file has several documents", "send one file")),
    }
}

/// What Compose does not limit is limited here.
const UNLIMITED: &str =
    "# Services that say no limits get 1 processor and 1GB each: say `scale` where that is not enough.\n";

/// Ports of which nothing says what they carry.
fn taken_for_http(services: &[Service]) -> String {
    let ports = services.iter().flat_map(|service| {
        let guessed = service.ports.iter().filter(|port| port.is_guessed && !port.is_tcp);
        guessed.map(|port| format!("{}/{}", service.name, port.name()))
    });
    let ports: Vec<String> = ports.collect();
    if ports.is_empty() {
        return String::new();
    }
    let ports = listed(&ports.iter().map(String::as_str).collect::<Vec<_>>());
    format!(
        "# Taken for HTTP, since nothing says what they carry: {ports}. Write `/tcp` behind the number where that is wrong.\n"
    )
}

/// What was not carried over.
#[derive(Debug, Default)]
struct Notes {
    /// With the line that each is about.
    lines: Vec<(u32, String)>,
    left_out: usize,
}

impl Notes {
    fn add(&mut self, place: Place, path: &str, why: &str) {
        if self.lines.len() >= NOTES_MAX {
            self.left_out = self.left_out.saturating_add(1);
            return;
        }
        let note = format!("line {}, {path}: {why}", place.line);
        // A line end in a key must not end the comment.
        let note: String = note.chars().take(NOTE_CHARACTERS_MAX).flat_map(printable).collect();
        if !self.lines.iter().any(|(_, known)| *known == note) {
            self.lines.push((place.line, note));
        }
    }

    fn comments(mut self) -> String {
        self.lines.sort_by_key(|(line, _)| *line);
        if self.lines.is_empty() {
            return "# From a Docker Compose file, of which everything was carried over.\n".to_owned();
        }
        let mut text =
            "# From a Docker Compose file. What was not carried over as it stands there, and why:\n".to_owned();
        for (_, line) in &self.lines {
            text.push_str(&format!("# - {line}\n"));
        }
        if self.left_out > 0 {
            text.push_str(&format!("# - and {} more\n", self.left_out));
        }
        text
    }
}

fn printable(found: char) -> impl Iterator<Item = char> {
    let is_plain = !found.is_control() && !matches!(found, '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{feff}');
    let escaped = (!is_plain).then(|| found.escape_unicode());
    is_plain.then_some(found).into_iter().chain(escaped.into_iter().flatten())
}

/// Reads one file.
struct Reader<'t, 'v> {
    decoder: Decoder<'t>,
    variables: Variables<'v>,
    notes: Notes,
    /// What Compose would put before the names of volumes, so that no two files mean the same one.
    project: String,
}

impl<'t> Reader<'t, '_> {
    fn note(&mut self, field: &Field<'_>, why: &str) {
        self.notes.add(field.node.place, &dotted(&field.pointer), why);
    }

    /// A scalar with the variables of the file's author in it.
    fn text(&mut self, field: &Field<'_>, what: &str) -> Option<String> {
        let text = self.decoder.text(field, what)?;
        let read = interpolate(text, self.variables);
        match read {
            Ok(read) => {
                for name in read.unset {
                    let why = format!("the variable `{name}` is not set: nothing stands in its place");
                    self.note(field, &why);
                }
                Some(read.text)
            }
            Err(fault) => {
                let place = self.decoder.place_inside(field.node, text, fault.position);
                self.decoder.refuse_at(place, &field.pointer, format!("{what}: {}", fault.message), fault.hint);
                None
            }
        }
    }

    /// A number above or equal to 0.
    fn number(&mut self, field: &Field<'_>, what: &str) -> Option<u32> {
        let text = self.text(field, what)?;
        let number = text.trim().parse().ok();
        if number.is_none() {
            let message = format!("{what} is `{}`", shown(&text));
            self.decoder.refuse(field, message, "write a whole number from 0");
        }
        number
    }

    fn switch(&mut self, field: &Field<'_>, what: &str) -> Option<bool> {
        let text = self.text(field, what)?;
        let switch = match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" => Some(true),
            "false" | "no" | "off" | "n" => Some(false),
            _ => None,
        };
        if switch.is_none() {
            self.decoder.refuse(field, format!("{what} is `{}`", shown(&text)), "write true or false");
        }
        switch
    }

    fn file(&mut self, node: &'t Node) -> Vec<Service> {
        let field = Field { pointer: String::new(), node };
        let Some(mut fields) = self.decoder.fields(&field, "the file") else { return Vec::new() };
        let Some(services) = fields.take("services") else {
            self.decoder.refuse_at(fields.place, "", "the file has no services", "add `services: {NAME: {image: …}}`");
            return Vec::new();
        };
        fields.ignore(&["version"]);
        for (key, node) in fields.take_entries() {
            let why = match key.text.as_str() {
                "name" => "the blueprint has the name that was given for it",
                "networks" => "services reach each other by the gateways of their clusters",
                "volumes" => "a volume with a name is made when the first instance needs it, without options",
                "configs" | "secrets" => "give them to the services by volumes or variables",
                "include" => "other files are not read: import each of them",
                key if key.starts_with("x-") => continue,
                _ => "it is not known",
            };
            self.notes.add(node.place, &dotted(&step("", &key.text)), why);
        }
        let found = entries(&mut self.decoder, &services, "the services");
        if found.len() > SERVICES_MAX {
            let message = format!("the file has {} services", found.len());
            self.decoder.refuse(&services, message, format!("import up to {SERVICES_MAX} in one file"));
            return Vec::new();
        }
        let mut read: Vec<Service> = Vec::new();
        for (key, field) in found {
            let Some(service) = self.service(&key.text, key.place, &field) else { continue };
            if read.iter().any(|known| known.name == service.name) {
                let message = format!("two services become the cluster `{}`", service.name);
                self.decoder.refuse_at(key.place, &field.pointer, message, "give one of them another name");
                continue;
            }
            read.push(service);
        }
        if read.is_empty() && self.decoder.is_clean() {
            self.decoder.refuse(&services, "the file has no services", "add `services: {NAME: {image: …}}`");
        }
        self.part_published(&mut read);
        self.connect(&mut read);
        self.tell_commands(&read);
        read
    }

    /// A port of the host has one owner.
    fn part_published(&mut self, services: &mut [Service]) {
        let mut taken = BTreeSet::new();
        for service in services {
            let path = format!("services.{}.ports", service.written);
            for port in &mut service.ports {
                if let Some(published) = port.published.filter(|published| !taken.insert(*published)) {
                    let why =
                        format!("port {published} is published by another service: no gateway is made for it here");
                    self.notes.add(service.place, &path, &why);
                    port.published = None;
                }
            }
        }
    }

    /// What is left of the fields is told.
    fn leave(&mut self, fields: &mut Fields<'_>, why: impl Fn(&str) -> Option<&'static str>) {
        let pointer = fields.pointer.clone();
        for (key, node) in fields.take_entries() {
            if key.text.starts_with("x-") {
                continue;
            }
            let why = why(&key.text).unwrap_or("it is not known");
            self.notes.add(node.place, &dotted(&step(&pointer, &key.text)), why);
        }
    }
}

/// A pointer as people name parts of Compose files.
fn dotted(pointer: &str) -> String {
    let parts = pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"));
    parts.collect::<Vec<_>>().join(".")
}

/// What a file says, as it may stand in a message.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

fn document(name: &str, services: &[Service]) -> Value {
    let mut gateways = Map::new();
    let mut clusters = Map::new();
    for service in services {
        for port in &service.ports {
            if let Some(published) = port.published {
                let key = if port.is_tcp { format!("{published}/tcp") } else { published.to_string() };
                gateways.insert(key, json!(format!("{}/{}", service.name, port.name())));
            }
        }
        clusters.insert(service.name.clone(), json!({"services": [service.to_json()]}));
    }
    let mut document = Map::new();
    document.insert("kind".into(), json!("blueprints"));
    document.insert("name".into(), json!(name));
    if !gateways.is_empty() {
        document.insert("gateways".into(), Value::Object(gateways));
    }
    document.insert("clusters".into(), Value::Object(clusters));
    Value::Object(document)
}

/// Which services need which, by index.
type Needs = BTreeMap<usize, Vec<usize>>;

/// The services that need one, by whatever way, and itself.
fn above(needs: &Needs, of: usize) -> BTreeSet<usize> {
    let mut by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (from, needed) in needs {
        for to in needed {
            by.entry(*to).or_default().push(*from);
        }
    }
    let (mut open, mut seen) = (vec![of], BTreeSet::new());
    while let Some(next) = open.pop() {
        if seen.insert(next) {
            open.extend(by.get(&next).into_iter().flatten());
        }
    }
    seen
}
