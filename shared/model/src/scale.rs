//! Scales: how many instances, and what each may use.

use serde_json::{Map, Value, json};

use crate::Kind;
use crate::decode::{Decoder, Field, Fields};
use crate::tree::Content;
use crate::unit::{Cpu, Memory};

/// A scale that services refer to by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What it says.
    pub size: Size,
}

/// How many instances, and what each may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Processors of each.
    pub cpu: Cpu,
    /// Memory of each.
    pub memory: Memory,
    /// How many.
    pub instances: u32,
}

/// The scale of a service.
#[derive(Debug, Clone, PartialEq)]
pub enum ScaleUse {
    /// The stored one of this name.
    Stored(String),
    /// Written out.
    Inline(Size),
}

/// LIMIT: instances of one service; a platform of this product's size runs thousands in all.
pub const INSTANCES_MAX: u32 = 1_000;

const EXAMPLE: &str = "write `{cpu: 0.2, memory: 64MB, instances: 2}`";

impl Size {
    pub(crate) const FIELDS: &'static [&'static str] = &["cpu", "memory", "instances"];

    pub(crate) fn decode(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>) -> Option<Self> {
        let owner = fields.owner.clone();
        let mut required = |name: &str| {
            let field = fields.take(name);
            if field.is_none() {
                decoder.refuse_at(fields.place, &fields.pointer, format!("{owner} has no {name}"), EXAMPLE);
            }
            field
        };
        let (cpu, memory) = (required("cpu"), required("memory"));
        let instances = match fields.take("instances") {
            None => Some(1),
            Some(field) => decode_instances(decoder, &field, &owner),
        };
        let cpu = cpu.and_then(|field| Cpu::decode(decoder, &field, &format!("the cpu of {owner}")));
        let memory = memory.and_then(|field| Memory::decode(decoder, &field, &format!("the memory of {owner}")));
        Some(Self { cpu: cpu?, memory: memory?, instances: instances? })
    }

    /// The fields of a document.
    pub fn to_fields(self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("cpu".into(), self.cpu.to_json());
        object.insert("memory".into(), self.memory.to_json());
        object.insert("instances".into(), json!(self.instances));
        object
    }
}

fn decode_instances(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Option<u32> {
    let text = decoder.text(field, &format!("the instances of {owner}"))?;
    let count = text.parse().ok().filter(|count| *count <= INSTANCES_MAX);
    if count.is_none() {
        let message = format!("the instances of {owner} are `{}`", text.escape_debug());
        decoder.refuse(field, message, format!("write a number from 0 to {INSTANCES_MAX}"));
    }
    count
}

impl Scale {
    pub(crate) const FIELDS: &'static [&'static str] = &["name", "kind", "metadata", "cpu", "memory", "instances"];

    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        object.insert("kind".into(), json!("scales"));
        object.insert("metadata".into(), json!(self.metadata));
        object.extend(self.size.to_fields());
        Value::Object(object)
    }
}

impl ScaleUse {
    /// A name, a map with a reference, or the scale itself.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Self> {
        if !matches!(field.node.content, Content::Map(_)) {
            let name = decoder.text(field, what)?;
            if let Some((message, hint)) = crate::name::fault(Kind::Scale, name) {
                decoder.refuse(field, format!("{what}: {message}"), hint);
            }
            return Some(Self::Stored(name.to_owned()));
        }
        let mut fields = decoder.fields(field, what)?;
        if fields.has("reference") || fields.has("ref") {
            let name = crate::condition::take_reference(decoder, &mut fields)?;
            decoder.finish(&fields, &["reference"]);
            return Some(Self::Stored(name));
        }
        fields.ignore(&["kind", "metadata"]);
        let size = Size::decode(decoder, &mut fields);
        decoder.finish(&fields, Size::FIELDS);
        size.map(Self::Inline)
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Stored(name) => json!({"reference": name}),
            Self::Inline(size) => Value::Object(size.to_fields()),
        }
    }
}
