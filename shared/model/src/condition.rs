//! Conditions: stored ones, and what a route says of its own.

use serde_json::{Map, Value, json};
use vamp_routing::condition as language;

use crate::decode::{Decoder, Field, Fields};
use crate::tree::Content;

/// LIMIT: bytes of one condition. The longest that the original's builder writes has some 200.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A condition that routes refer to by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// The text, in the condition language.
    pub text: String,
}

/// The condition of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConditionUse {
    /// Written in the route.
    Inline(String),
    /// The stored condition of this name, as it is when the table is made.
    Stored(String),
}

impl Condition {
    pub(crate) const FIELDS: &'static [&'static str] = &["name", "kind", "metadata", "condition"];

    pub(crate) fn decode(
        decoder: &mut Decoder<'_>,
        fields: &mut Fields<'_>,
        name: String,
        metadata: Map<String, Value>,
    ) -> Option<Self> {
        let Some(field) = fields.take("condition") else {
            decoder.refuse_at(
                fields.place,
                &fields.pointer,
                format!("{} has no text", fields.owner),
                "add `condition: \"User-Agent == Firefox\"`",
            );
            return None;
        };
        let text = decode_text(decoder, &field, &fields.owner)?;
        Some(Self { name, metadata, text })
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"name": self.name, "kind": "conditions", "metadata": self.metadata, "condition": self.text})
    }
}

impl ConditionUse {
    /// A plain text is always inline; a map has either the text or a reference.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Self> {
        if !matches!(field.node.content, Content::Map(_)) {
            if matches!(&field.node.content, Content::Text(text) if text.trim().is_empty()) {
                return None;
            }
            return decode_text(decoder, field, what).map(Self::Inline);
        }
        let mut fields = decoder.fields(field, what)?;
        let reference = take_reference(decoder, &mut fields);
        let text = fields.take("condition");
        fields.ignore(&["kind", "metadata", "lookup_name"]);
        if reference.is_none() && text.is_none() {
            decoder.refuse(
                field,
                format!("{what} has neither text nor reference"),
                "add `condition: \"…\"` or `reference: NAME`",
            );
        }
        if let (Some(_), Some(text)) = (&reference, &text) {
            decoder.refuse(text, format!("{what} has a text beside a reference"), "keep one of them");
        }
        decoder.finish(&fields, &["condition", "reference"]);
        match reference {
            Some(name) => Some(Self::Stored(name)),
            None => decode_text(decoder, &text?, what).map(Self::Inline),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Inline(text) => json!({"condition": text}),
            Self::Stored(name) => json!({"reference": name}),
        }
    }
}

/// `reference: name` or, short, `ref: name`.
pub(crate) fn take_reference(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>) -> Option<String> {
    let long = fields.take("reference");
    let short = fields.take("ref");
    if let (Some(_), Some(short)) = (&long, &short) {
        decoder.refuse(short, format!("{} has `reference` and `ref`", fields.owner), "keep one of them");
    }
    let field = long.or(short)?;
    let name = decoder.text(&field, &format!("the reference of {}", fields.owner))?;
    if let Some((message, hint)) = crate::name::fault(crate::Kind::Condition, name) {
        decoder.refuse(&field, message, hint);
    }
    Some(name.to_owned())
}

/// Reads a condition and hands on where the language finds fault with it.
pub(crate) fn decode_text(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<String> {
    let text = decoder.text(field, what)?;
    check(decoder, field, what, text, text, 0).then(|| text.to_owned())
}

/// Checks a condition that stands `offset` characters inside `whole`, the text of `field`.
pub(crate) fn check(
    decoder: &mut Decoder<'_>,
    field: &Field<'_>,
    what: &str,
    whole: &str,
    text: &str,
    offset: usize,
) -> bool {
    if text.len() > TEXT_BYTES_MAX {
        decoder.refuse(field, format!("{what} is longer than {TEXT_BYTES_MAX} bytes"), "shorten it");
        return false;
    }
    let Err(error) = language::Condition::parse(text) else { return true };
    let place = decoder.place_inside(field.node, whole, offset.saturating_add(error.position));
    let message = format!("{what}: {} at character {}", error.message, error.position);
    decoder.refuse_at(place, &field.pointer, message, error.hint);
    false
}
