//! Templates: parts of documents that other documents import.

use serde_json::{Map, Value, json};

use crate::artifact::Kind;
use crate::decode::{Decoder, Fields};
use crate::import::{self, Named};
use crate::tree::{Content, Node};

/// Part of a document that others import.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// The fields that it gives to who imports it; an `import` among them is followed then.
    pub definition: Map<String, Value>,
}

impl Template {
    pub(crate) const FIELDS: &'static [&'static str] = &["name", "kind", "metadata", "definition"];

    pub(crate) fn decode(
        decoder: &mut Decoder<'_>,
        fields: &mut Fields<'_>,
        name: String,
        metadata: Map<String, Value>,
    ) -> Option<Self> {
        let owner = fields.owner.clone();
        let (long, short) = (fields.take("definition"), fields.take("def"));
        if let (Some(_), Some(short)) = (&long, &short) {
            decoder.refuse(short, format!("{owner} has `definition` and `def`"), "keep one of them");
        }
        let Some(field) = long.or(short) else {
            let hint = "add `definition: {…}`: the fields that it gives to who imports it";
            decoder.refuse_at(fields.place, &fields.pointer, format!("{owner} has no definition"), hint);
            return None;
        };
        let Content::Map(entries) = &field.node.content else {
            let message = format!("the definition of {owner} is {}", field.node.sort());
            decoder.refuse(&field, message, "write it as a map of fields");
            return None;
        };
        let mut inner = decoder.fields(&field, &format!("the definition of {owner}"))?;
        if let Some(named) = inner.take(import::FIELD) {
            import::decode(decoder, &named, &inner.owner);
        }
        let definition = entries.iter().map(|(key, node)| (key.text.clone(), kept(node))).collect();
        Some(Self { name, metadata, definition })
    }

    /// What its definition imports in turn.
    pub fn imports(&self) -> Vec<(Kind, String)> {
        let named = self.definition.get(import::FIELD).map(import::named_in).unwrap_or_default();
        named.into_iter().map(|Named { kind, name, .. }| (kind, name)).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"name": self.name, "kind": "templates", "metadata": self.metadata, "definition": self.definition})
    }
}

/// The value without places. A number that is written in its own way is kept as text, which every field takes too:
/// `1.10` must not become `1.1` before it is known whether it is a name.
fn kept(node: &Node) -> Value {
    match &node.content {
        Content::Number(number, text) if number.to_string() != *text => Value::String(text.clone()),
        Content::List(items) => items.iter().map(kept).collect(),
        Content::Map(entries) => entries.iter().map(|(key, node)| (key.text.clone(), kept(node))).collect(),
        _ => node.to_value(),
    }
}
