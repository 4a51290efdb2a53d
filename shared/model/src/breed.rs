//! Breeds: what can be deployed, with what it needs and offers.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::decode::{Decoder, Field, Fields, entries, one_or_many};
use crate::health::{HealthCheck, all_to_json};
use crate::near::listed_of;
use crate::tree::Content;
use crate::{Kind, lookup, metadata, name, value};

/// What can be deployed.
#[derive(Debug, Clone, PartialEq)]
pub struct Breed {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What is started.
    pub deployable: Deployable,
    /// The ports that it offers, in order.
    pub ports: Vec<BreedPort>,
    /// The variables that it reads, in order.
    pub environment: Vec<Variable>,
    /// Values that others may refer to; they are not given to the instances.
    pub constants: Vec<(String, String)>,
    /// For the platform that runs it.
    pub arguments: Vec<Argument>,
    /// What it needs, by the alias that its values use.
    pub dependencies: Vec<(String, BreedUse)>,
    /// How its instances are checked; `None`: nothing is said.
    pub health_checks: Option<Vec<HealthCheck>>,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployable {
    /// `container/docker`, `command` …; `None`: what the control plane takes for it.
    pub kind: Option<String>,
    /// The image, the command, the script.
    pub definition: String,
}

/// The kinds of deployable that are known, with the short name of each.
pub const DEPLOYABLE_KINDS: [(&str, &str); 4] = [
    ("container/docker", "docker"),
    ("container/rkt", "rkt"),
    ("command", "cmd"),
    ("application/javascript", "javascript"),
];

/// A port that a breed offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreedPort {
    /// Its name.
    pub name: String,
    /// The number inside the instance; 0: the platform chooses, and tells the instance.
    pub number: u16,
    /// What is spoken.
    pub protocol: Protocol,
}

/// What a port carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP.
    Http,
    /// Anything over TCP.
    Tcp,
}

/// A variable that a breed reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// As values refer to it.
    pub name: String,
    /// As the instance gets it, when that differs.
    pub alias: Option<String>,
    /// Its value, which may hold references; `None`: a deployment must give one.
    pub value: Option<String>,
}

/// Something for the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A breed as others use it.
#[derive(Debug, Clone, PartialEq)]
pub enum BreedUse {
    /// The stored one of this name.
    Stored(String),
    /// Written out.
    Inline(Box<Breed>),
}

impl BreedUse {
    /// The breed's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Stored(name) => name,
            Self::Inline(breed) => &breed.name,
        }
    }

    /// The breed, if it is written out.
    pub fn inline(&self) -> Option<&Breed> {
        match self {
            Self::Stored(_) => None,
            Self::Inline(breed) => Some(breed),
        }
    }

    /// Stands for one that can't be read, in a document that is refused for it: it may be any.
    pub(crate) fn unreadable() -> Self {
        Self::Stored(String::new())
    }

    /// Whether it may be any.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.name().is_empty()
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Stored(name) => json!({"reference": name}),
            Self::Inline(breed) => breed.to_json(),
        }
    }

    /// A name, a map with a reference, or a breed with its name.
    pub(crate) fn decode<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, what: &str) -> Option<Self> {
        if !matches!(field.node.content, Content::Map(_)) {
            return stored(decoder, field, what).map(Self::Stored);
        }
        let mut fields = decoder.fields(field, what)?;
        if fields.has("breed") {
            let inner = fields.take("breed")?;
            decoder.finish(&fields, &["breed"]);
            return Self::decode(decoder, &inner, what);
        }
        Self::decode_fields(decoder, &mut fields, what)
    }

    fn decode_fields<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>, what: &str) -> Option<Self> {
        for key in ["reference", "ref"] {
            if fields.has(key) {
                let field = fields.take(key)?;
                decoder.finish(fields, &["reference"]);
                return stored(decoder, &field, what).map(Self::Stored);
            }
        }
        Some(Self::decode_written(decoder, fields, what))
    }

    /// A breed that is written out. Of one that is not sound only the name is known: what others need of it may be there.
    pub(crate) fn decode_written<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>, what: &str) -> Self {
        let sound_before = decoder.count();
        let (name, breed) = Breed::decode_named(decoder, fields, what);
        match breed.filter(|_| decoder.count() == sound_before) {
            Some(breed) => Self::Inline(Box::new(breed)),
            None => Self::Stored(name),
        }
    }
}

fn stored(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<String> {
    let text = decoder.text(field, what)?;
    if let Some((message, hint)) = name::fault(Kind::Breed, text) {
        decoder.refuse(field, format!("{what}: {message}"), hint);
        return None;
    }
    Some(text.to_owned())
}

impl Breed {
    pub(crate) const FIELDS: &'static [&'static str] = &[
        "name",
        "kind",
        "metadata",
        "deployable",
        "ports",
        "environment_variables",
        "constants",
        "arguments",
        "dependencies",
        "health_checks",
    ];

    /// Takes a whole breed that stands inside another document, and refuses what is left. Its name is empty when it can't
    /// be read.
    fn decode_named<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>, what: &str) -> (String, Option<Self>) {
        let field = fields.take("name");
        if field.is_none() {
            let hint = "add `name: …`, or name a stored breed with `reference: …`";
            decoder.refuse_at(fields.place, &fields.pointer, format!("{what} has no name"), hint);
        }
        let text = field.as_ref().and_then(|field| decoder.text(field, &format!("the name of {what}")));
        if let (Some(field), Some((message, hint))) = (&field, text.and_then(|text| name::fault(Kind::Breed, text))) {
            decoder.refuse(field, message, hint);
        }
        fields.owner = text.map_or_else(|| what.to_owned(), |text| format!("breed `{text}`"));
        let text = text.unwrap_or_default().to_owned();
        fields.ignore(&["kind", "lookup_name"]);
        let metadata = metadata(decoder, fields);
        let breed = Self::decode(decoder, fields, text.clone(), metadata);
        decoder.finish(fields, Self::FIELDS);
        (text, breed)
    }

    pub(crate) fn decode<'t>(
        decoder: &mut Decoder<'t>,
        fields: &mut Fields<'t>,
        name: String,
        metadata: Map<String, Value>,
    ) -> Option<Self> {
        let owner = fields.owner.clone();
        let deployable = fields.take("deployable");
        if deployable.is_none() {
            let message = format!("{owner} has no deployable");
            let hint = "add `deployable: IMAGE`, or `deployable: {type: command, definition: COMMAND}`";
            decoder.refuse_at(fields.place, &fields.pointer, message, hint);
        }
        let deployable = deployable.and_then(|field| decode_deployable(decoder, &field, &owner));
        let ports = fields.take("ports").map(|field| decode_ports(decoder, &field, &owner)).unwrap_or_default();
        let environment = decode_environment(decoder, fields, &owner);
        let constants =
            fields.take("constants").map(|field| decode_constants(decoder, &field, &owner)).unwrap_or_default();
        let arguments = decode_arguments(decoder, fields, &owner);
        let dependencies =
            fields.take("dependencies").map(|field| decode_dependencies(decoder, &field, &owner)).unwrap_or_default();
        let known: HashSet<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        let health_checks = decode_checks(decoder, fields, &owner, |port| known.contains(port));
        check_references(&environment, &dependencies, decoder, fields);
        Some(Self {
            name,
            metadata,
            deployable: deployable?,
            ports,
            environment,
            constants,
            arguments,
            dependencies,
            health_checks,
        })
    }

    /// Why what another one refers to is not there, and the mend. Whether it is, [`Offers`] tells.
    pub fn lacks(&self, reference: &value::ValueReference) -> Option<(String, String)> {
        use value::ValueReference as Refers;
        let (thing, name, known) = match reference {
            Refers::Local(_) | Refers::Host(_) => return None,
            Refers::Port { port, .. } => ("port", port, listed_of(self.ports.iter().map(|port| port.name.as_str()))),
            Refers::Variable { name, .. } => {
                ("variable", name, listed_of(self.environment.iter().map(|variable| variable.name.as_str())))
            }
            Refers::Constant { name, .. } => {
                ("constant", name, listed_of(self.constants.iter().map(|(name, _)| name.as_str())))
            }
        };
        Some((format!("breed `{}` has no {thing} `{name}`", self.name), format!("it has {known}")))
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut deployable = Map::new();
        if let Some(kind) = &self.deployable.kind {
            deployable.insert("type".into(), json!(kind));
        }
        deployable.insert("definition".into(), json!(self.deployable.definition));
        let ports: Map<String, Value> =
            self.ports.iter().map(|port| (port.name.clone(), json!(port.to_text()))).collect();
        let environment: Map<String, Value> = self
            .environment
            .iter()
            .map(|variable| {
                let key = match &variable.alias {
                    Some(alias) => format!("{}[{alias}]", variable.name),
                    None => variable.name.clone(),
                };
                (key, json!(variable.value))
            })
            .collect();
        let constants: Map<String, Value> =
            self.constants.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let dependencies: Map<String, Value> = self
            .dependencies
            .iter()
            .map(|(alias, breed)| {
                let value = match breed {
                    BreedUse::Stored(name) => json!(name),
                    BreedUse::Inline(breed) => breed.to_json(),
                };
                (alias.clone(), value)
            })
            .collect();
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        object.insert("kind".into(), json!("breeds"));
        object.insert("metadata".into(), json!(self.metadata));
        object.insert("lookup_name".into(), json!(lookup::breed(&self.name)));
        object.insert("deployable".into(), Value::Object(deployable));
        object.insert("ports".into(), Value::Object(ports));
        object.insert("environment_variables".into(), Value::Object(environment));
        object.insert("constants".into(), Value::Object(constants));
        object.insert("arguments".into(), arguments_to_json(&self.arguments));
        object.insert("dependencies".into(), Value::Object(dependencies));
        if let Some(checks) = &self.health_checks {
            object.insert("health_checks".into(), all_to_json(checks));
        }
        Value::Object(object)
    }
}

/// References lead to what the breed declares; of a dependency that is written out, to what that has.
fn check_references(
    environment: &[Variable],
    dependencies: &[(String, BreedUse)],
    decoder: &mut Decoder<'_>,
    fields: &Fields<'_>,
) {
    let values = environment.iter().filter_map(|variable| Some((&variable.name, variable.value.as_ref()?)));
    let dependencies: HashMap<&str, (Option<&Breed>, Offers<'_>)> = dependencies
        .iter()
        .map(|(alias, breed)| (alias.as_str(), (breed.inline(), Offers::of(breed.inline()))))
        .collect();
    for (variable, text) in values {
        for reference in value::references(text) {
            if decoder.is_full() {
                return;
            }
            let Err((why, hint)) = resolves(&reference, &dependencies) else { continue };
            let message = format!("variable `{variable}` of {} refers to `{reference}`: {why}", fields.owner);
            decoder.refuse_below(fields, &crate::step("/environment_variables", variable), message, hint);
        }
    }
}

fn resolves(
    reference: &value::ValueReference,
    dependencies: &HashMap<&str, (Option<&Breed>, Offers<'_>)>,
) -> Result<(), (String, String)> {
    let Some(alias) = reference.cluster() else { return Ok(()) };
    let Some((breed, offers)) = dependencies.get(alias) else {
        let hint = format!("declare it: `dependencies: {{{alias}: BREED}}`");
        return Err((format!("there is no dependency `{alias}`"), hint));
    };
    match breed {
        Some(breed) if !offers.has(reference) => breed.lacks(reference).map_or(Ok(()), Err),
        _ => Ok(()),
    }
}

/// What breeds have that others may refer to, to be asked many times.
#[derive(Debug, Clone, Default)]
pub struct Offers<'b> {
    ports: HashSet<&'b str>,
    variables: HashSet<&'b str>,
    constants: HashSet<&'b str>,
}

impl<'b> Offers<'b> {
    /// That of all these together.
    pub fn of(breeds: impl IntoIterator<Item = &'b Breed>) -> Self {
        let mut offers = Self::default();
        for breed in breeds {
            offers.ports.extend(breed.ports.iter().map(|port| port.name.as_str()));
            offers.variables.extend(breed.environment.iter().map(|variable| variable.name.as_str()));
            offers.constants.extend(breed.constants.iter().map(|(name, _)| name.as_str()));
        }
        offers
    }

    /// Whether what is referred to is there: where it is not, [`Breed::lacks`] says why.
    pub fn has(&self, reference: &value::ValueReference) -> bool {
        use value::ValueReference as Refers;
        match reference {
            Refers::Local(_) | Refers::Host(_) => true,
            Refers::Port { port, .. } => self.has_port(port),
            Refers::Variable { name, .. } => self.has_variable(name),
            Refers::Constant { name, .. } => self.has_constant(name),
        }
    }

    /// Whether one of them has this port.
    pub fn has_port(&self, name: &str) -> bool {
        self.ports.contains(name)
    }

    /// Whether one of them reads this variable.
    pub fn has_variable(&self, name: &str) -> bool {
        self.variables.contains(name)
    }

    /// Whether one of them has this constant.
    pub fn has_constant(&self, name: &str) -> bool {
        self.constants.contains(name)
    }
}

impl BreedPort {
    /// `8080/http`.
    fn to_text(&self) -> String {
        let protocol = match self.protocol {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
        };
        format!("{}/{protocol}", self.number)
    }
}

/// Reads `8080`, `8080/http` or `8080/tcp`.
pub(crate) fn parse_port(text: &str) -> Option<(u16, Protocol)> {
    let (number, protocol) = text.trim().split_once('/').unwrap_or((text.trim(), "http"));
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "http" => Protocol::Http,
        "tcp" => Protocol::Tcp,
        _ => return None,
    };
    Some((number.parse().ok().filter(|_| digits)?, protocol))
}

fn decode_deployable(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Option<Deployable> {
    let what = format!("the deployable of {owner}");
    if !matches!(field.node.content, Content::Map(_)) {
        let definition = decoder.text(field, &what)?.to_owned();
        return Some(Deployable { kind: None, definition });
    }
    let mut fields = decoder.fields(field, &what)?;
    let kind = fields.take("type").and_then(|field| decoder.text(&field, &format!("the type of {what}")));
    let kind = kind.map(|given| {
        let known = DEPLOYABLE_KINDS.into_iter().find(|(long, short)| given == *long || given == *short);
        known.map_or(given, |(long, _)| long).to_owned()
    });
    let definition = fields.take("definition");
    decoder.finish(&fields, &["type", "definition"]);
    let Some(definition) = definition else {
        decoder.refuse(field, format!("{what} has no definition"), "add `definition: …`: the image, or the command");
        return None;
    };
    let definition = decoder.text(&definition, &format!("the definition of {what}"))?.to_owned();
    Some(Deployable { kind, definition })
}

fn decode_ports(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Vec<BreedPort> {
    let mut ports = Vec::new();
    for (key, item) in entries(decoder, field, &format!("the ports of {owner}")) {
        let what = format!("port `{}` of {owner}", key.text);
        strict_name(decoder, key, &item, &what);
        let read = decoder.text(&item, &what).and_then(|text| {
            let read = parse_port(text);
            if read.is_none() {
                let (message, hint) = port_fault(&what, text);
                decoder.refuse(&item, message, hint);
            }
            read
        });
        // One that can't be read is there all the same: who asks for it is not told that it is missing.
        let (number, protocol) = read.unwrap_or((0, Protocol::Http));
        ports.push(BreedPort { name: key.text.clone(), number, protocol });
    }
    ports
}

/// Why a text is no port, and the mend.
fn port_fault(what: &str, text: &str) -> (String, &'static str) {
    if value::parse(text).is_ok_and(|parts| parts.iter().any(|part| matches!(part, value::Part::Reference(_)))) {
        // The original keeps it and never puts a number in its place: the container gets port 0, or the reading fails.
        let message = format!(
            "{what} refers to `{}`, and the number of a port is never taken from elsewhere",
            text.escape_debug()
        );
        let hint = "write the number itself, or 0 to have one chosen for a program; others refer to it as `$CLUSTER.ports.NAME`";
        return (message, hint);
    }
    let hint = "write a number up to 65535 with `/http` or `/tcp`, such as 8080/http; 0 has one chosen for a program";
    (format!("{what} is `{}`", text.escape_debug()), hint)
}

fn strict_name(decoder: &mut Decoder<'_>, key: &crate::tree::Key, item: &Field<'_>, what: &str) {
    let text = &key.text;
    if text.is_empty() || text.contains(|found: char| found.is_whitespace() || matches!(found, '/' | '[' | ']' | '.')) {
        let message = format!("{what} has a name with a dot, a `/`, a bracket or white space, or none");
        decoder.refuse_at(key.place, &item.pointer, message, "use letters, digits, `-` and `_`");
    }
}

/// The variables of a breed, whose values may be missing.
fn decode_environment(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, owner: &str) -> Vec<Variable> {
    let mut variables: Vec<Variable> = Vec::new();
    let mut seen = HashSet::new();
    let Some(field) = take_environment(decoder, fields) else { return variables };
    for (key, item) in entries(decoder, &field, &format!("the environment variables of {owner}")) {
        let (name, alias) = match key.text.strip_suffix(']').and_then(|text| text.split_once('[')) {
            Some((name, alias)) => (name.trim(), Some(alias.trim().to_owned())),
            None => (key.text.as_str(), None),
        };
        let what = format!("variable `{name}` of {owner}");
        variable_name(decoder, key, &item, name, &what);
        if let Some(alias) = &alias {
            variable_name(decoder, key, &item, alias, &format!("the alias of {what}"));
        }
        if !seen.insert(name) {
            decoder.refuse_at(key.place, &item.pointer, format!("{what} stands twice"), "keep one of them");
        }
        let value = match item.node.content {
            Content::Null => None,
            _ => decode_value(decoder, &item, &what),
        };
        variables.push(Variable { name: name.to_owned(), alias, value });
    }
    variables
}

fn variable_name(decoder: &mut Decoder<'_>, key: &crate::tree::Key, item: &Field<'_>, name: &str, what: &str) {
    if name.is_empty()
        || name.contains(|found: char| found.is_whitespace() || found.is_control() || "/[]=".contains(found))
    {
        decoder.refuse_at(
            key.place,
            &item.pointer,
            format!("{what} has no usable name"),
            "use letters, digits and `_`",
        );
    }
}

/// `environment_variables`, or `env` for short.
pub(crate) fn take_environment<'t>(decoder: &mut Decoder<'_>, fields: &mut Fields<'t>) -> Option<Field<'t>> {
    let (long, short) = (fields.take("environment_variables"), fields.take("env"));
    if let (Some(_), Some(short)) = (&long, &short) {
        decoder.refuse(short, format!("{} has `environment_variables` and `env`", fields.owner), "keep one of them");
    }
    long.or(short)
}

/// A text that may hold references.
pub(crate) fn decode_value(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<String> {
    decode_checked(decoder, field, what, &|text: &str| value::parse(text).map(drop))
}

/// A text that passes a check.
pub(crate) fn decode_checked(
    decoder: &mut Decoder<'_>,
    field: &Field<'_>,
    what: &str,
    check: &impl Fn(&str) -> Result<(), value::ValueError>,
) -> Option<String> {
    let text = decoder.text(field, what)?;
    if let Err(error) = check(text) {
        let place = decoder.place_inside(field.node, text, error.position);
        let message = format!("{what}: {} at character {}", error.message, error.position);
        decoder.refuse_at(place, &field.pointer, message, error.hint);
        return None;
    }
    Some(text.to_owned())
}

fn decode_constants(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Vec<(String, String)> {
    let mut constants = Vec::new();
    for (key, item) in entries(decoder, field, &format!("the constants of {owner}")) {
        let what = format!("constant `{}` of {owner}", key.text);
        strict_name(decoder, key, &item, &what);
        if let Some(text) = decoder.text(&item, &what) {
            constants.push((key.text.clone(), text.to_owned()));
        }
    }
    constants
}

/// A map, or a list of maps of one key.
pub(crate) fn decode_arguments(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, owner: &str) -> Vec<Argument> {
    let mut arguments = Vec::new();
    let Some(field) = fields.take("arguments") else { return arguments };
    for item in one_or_many(&field) {
        if !matches!(&item.node.content, Content::Map(map) if map.len() == 1 || item.pointer == field.pointer) {
            decoder.refuse(&item, format!("an argument of {owner} is {}", item.node.sort()), "write `- key: value`");
            continue;
        }
        for (key, value) in entries(decoder, &item, &format!("the arguments of {owner}")) {
            let what = format!("argument `{}` of {owner}", key.text);
            let Some(text) = decoder.text(&value, &what) else { continue };
            if key.text == "privileged" && text.parse::<bool>().is_err() {
                decoder.refuse(&value, format!("{what} is `{}`", text.escape_debug()), "write true or false");
            }
            arguments.push(Argument { key: key.text.clone(), value: text.to_owned() });
        }
    }
    arguments
}

pub(crate) fn arguments_to_json(arguments: &[Argument]) -> Value {
    arguments.iter().map(|argument| json!({&argument.key: argument.value})).collect()
}

fn decode_dependencies<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, owner: &str) -> Vec<(String, BreedUse)> {
    let mut dependencies = Vec::new();
    for (key, item) in entries(decoder, field, &format!("the dependencies of {owner}")) {
        let what = format!("dependency `{}` of {owner}", key.text);
        strict_name(decoder, key, &item, &what);
        let breed = BreedUse::decode(decoder, &item, &what);
        dependencies.push((key.text.clone(), breed.unwrap_or_else(BreedUse::unreadable)));
    }
    dependencies
}

/// The health checks of something, each of which asks a port that it knows.
pub(crate) fn decode_checks(
    decoder: &mut Decoder<'_>,
    fields: &mut Fields<'_>,
    owner: &str,
    knows: impl Fn(&str) -> bool,
) -> Option<Vec<HealthCheck>> {
    let field = fields.take("health_checks")?;
    let checks = HealthCheck::decode_all(decoder, &field, owner);
    for check in &checks {
        if let Some(port) = check.port().filter(|port| !knows(port)) {
            let message = format!("a health check of {owner} asks port `{port}`, which it does not have");
            decoder.refuse(&field, message, "name one of its ports");
        }
    }
    Some(checks)
}
