//! How it is found out whether an instance is well.

use serde_json::{Map, Value, json};

use crate::decode::{Decoder, Field, Fields};
use crate::tree::Content;
use crate::unit::Seconds;

/// One check of each instance of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is done.
    pub probe: Probe,
    /// From the start of the instance to the first try.
    pub initial_delay: Seconds,
    /// How long one try may take, at least 1 s.
    pub timeout: Seconds,
    /// From one try to the next, at least 1 s.
    pub interval: Seconds,
    /// Failures in a row after which the instance is not well; 0 counts as 1.
    pub failures: u32,
    /// Successes in a row after which it is well again, at least 1.
    pub successes: u32,
}

/// What a health check does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Probe {
    /// `GET path`; an answer from 200 to 399 is a success.
    Http {
        /// Name of the breed's port.
        port: String,
        /// The path, with its query.
        path: String,
        /// Whether it is asked over TLS; the certificate is not checked.
        tls: bool,
    },
    /// A connection.
    Tcp {
        /// Name of the breed's port.
        port: String,
    },
    /// A command beside the instance; the exit code 0 is a success.
    Command(String),
}

const PROTOCOL_HINT: &str = "use HTTP, HTTPS, TCP or COMMAND";
const EXAMPLE: &str =
    "write `- {path: /health, port: web, initial_delay: 5s, timeout: 3s, interval: 10s, failures: 3}`";

impl HealthCheck {
    const FIELDS: &'static [&'static str] =
        &["protocol", "path", "port", "command", "initial_delay", "timeout", "interval", "failures", "successes"];

    /// The port of the breed that it asks.
    pub fn port(&self) -> Option<&str> {
        match &self.probe {
            Probe::Http { port, .. } | Probe::Tcp { port } => Some(port),
            Probe::Command(_) => None,
        }
    }

    /// A list of them, or one.
    pub(crate) fn decode_all(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Vec<Self> {
        if let Content::List(items) = &field.node.content {
            let items = items.iter().enumerate();
            let checks = items.filter_map(|(index, node)| {
                let item = Field { pointer: format!("{}/{index}", field.pointer), node };
                Self::decode(decoder, &item, &format!("health check {} of {owner}", index.saturating_add(1)))
            });
            return checks.collect();
        }
        Self::decode(decoder, field, &format!("the health check of {owner}")).into_iter().collect()
    }

    fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Self> {
        let mut fields = decoder.fields(field, what)?;
        let probe = decode_probe(decoder, &mut fields, what);
        let mut time = |name: &str, default: Option<u32>, least: u32| {
            let Some(field) = fields.take(name) else {
                if default.is_none() {
                    decoder.refuse_at(fields.place, &fields.pointer, format!("{what} has no {name}"), EXAMPLE);
                }
                return default.map(Seconds);
            };
            let time = Seconds::decode(decoder, &field, &format!("the {name} of {what}"))?;
            if time.0 < least {
                decoder.refuse(
                    &field,
                    format!("the {name} of {what} is {} s", time.0),
                    format!("give at least {least} s"),
                );
            }
            Some(time)
        };
        let initial_delay = time("initial_delay", Some(0), 0);
        let timeout = time("timeout", None, 1);
        let interval = time("interval", None, 1);
        let failures = count(decoder, &mut fields, "failures", what);
        let successes = if fields.has("successes") { count(decoder, &mut fields, "successes", what) } else { Some(1) };
        decoder.finish(&fields, Self::FIELDS);
        Some(Self {
            probe: probe?,
            initial_delay: initial_delay?,
            timeout: timeout?,
            interval: interval?,
            failures: failures?,
            successes: successes?.max(1),
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::new();
        match &self.probe {
            Probe::Http { port, path, tls } => {
                object.insert("protocol".into(), json!(if *tls { "HTTPS" } else { "HTTP" }));
                object.insert("path".into(), json!(path));
                object.insert("port".into(), json!(port));
            }
            Probe::Tcp { port } => {
                object.insert("protocol".into(), json!("TCP"));
                object.insert("port".into(), json!(port));
            }
            Probe::Command(command) => {
                object.insert("protocol".into(), json!("COMMAND"));
                object.insert("command".into(), json!(command));
            }
        }
        object.insert("initial_delay".into(), self.initial_delay.to_json());
        object.insert("timeout".into(), self.timeout.to_json());
        object.insert("interval".into(), self.interval.to_json());
        object.insert("failures".into(), json!(self.failures));
        object.insert("successes".into(), json!(self.successes));
        Value::Object(object)
    }
}

fn decode_probe(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, what: &str) -> Option<Probe> {
    let protocol = fields.take("protocol");
    let name = protocol.as_ref().and_then(|field| decoder.text(field, &format!("the protocol of {what}")));
    let name = name.map(str::to_ascii_uppercase);
    let mut text = |name: &str| {
        let field = fields.take(name)?;
        decoder.text(&field, &format!("the {name} of {what}")).map(str::to_owned)
    };
    let (path, port, command) = (text("path"), text("port"), text("command"));
    let name = name.unwrap_or_else(|| if command.is_some() { "COMMAND" } else { "HTTP" }.to_owned());
    let mut missing = |thing: &str| {
        decoder.refuse_at(fields.place, &fields.pointer, format!("{what} has no {thing}"), EXAMPLE);
    };
    match name.as_str() {
        "HTTP" | "HTTPS" | "MESOS_HTTP" | "MESOS_HTTPS" => {
            let tls = name.ends_with("HTTPS");
            let path = path.unwrap_or_else(|| "/".to_owned());
            let path = if path.starts_with('/') { path } else { format!("/{path}") };
            if port.is_none() {
                missing("port");
            }
            Some(Probe::Http { port: port?, path, tls })
        }
        "TCP" | "MESOS_TCP" => {
            if port.is_none() {
                missing("port");
            }
            Some(Probe::Tcp { port: port? })
        }
        "COMMAND" => {
            if command.is_none() {
                missing("command");
            }
            Some(Probe::Command(command?))
        }
        _ => {
            if let Some(field) = protocol {
                decoder.refuse(&field, format!("{what} has the protocol `{name}`"), PROTOCOL_HINT);
            }
            None
        }
    }
}

fn count(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, name: &str, what: &str) -> Option<u32> {
    let Some(field) = fields.take(name) else {
        decoder.refuse_at(fields.place, &fields.pointer, format!("{what} has no {name}"), EXAMPLE);
        return None;
    };
    let text = decoder.text(&field, &format!("the {name} of {what}"))?;
    let count = text.parse().ok();
    if count.is_none() {
        decoder.refuse(&field, format!("the {name} of {what} is `{}`", text.escape_debug()), "write a number from 0");
    }
    count
}

/// As documents show them.
pub(crate) fn all_to_json(checks: &[HealthCheck]) -> Value {
    checks.iter().map(HealthCheck::to_json).collect()
}
