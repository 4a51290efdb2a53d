//! A document as a tree in which each node knows its place in the text; YAML and JSON both become one.

use serde_json::{Map, Number, Value};

use crate::violation::Violation;

/// LIMIT: bytes of one text. 100,000 routes of about 100 bytes are 10 MB; no person writes more in one request.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// LIMIT: nesting. The deepest document of the product has 6 levels; metadata may nest further. It also bounds the
/// recursion of everything that walks the tree.
pub(crate) const DEPTH_MAX: usize = 64;
/// LIMIT: nodes of one text: a route has up to 10, so this is the 100,000 routes of the largest table.
pub(crate) const NODES_MAX: usize = 1_000_000;

/// Where something stands, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) line: u32,
    /// In characters.
    pub(crate) column: u32,
    /// Where it comes from when it stands there because something is imported, from 1; 0: it is written there.
    pub(crate) origin: u32,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1, origin: 0 };

    pub(crate) fn new(line: usize, column: usize) -> Self {
        let bounded = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Self { line: bounded(line), column: bounded(column), origin: 0 }
    }
}

/// Why a text is no document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxFault {
    pub(crate) place: Place,
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl SyntaxFault {
    pub(crate) fn new(place: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { place, message: message.into(), hint: hint.into() }
    }

    pub(crate) fn into_violation(self) -> Violation {
        Violation {
            line: Some(self.place.line),
            column: Some(self.place.column),
            ..Violation::new("", self.message, self.hint)
        }
    }

    pub(crate) fn too_deep(place: Place) -> Self {
        Self::new(place, format!("nested deeper than {DEPTH_MAX} levels"), "flatten the document")
    }

    pub(crate) fn too_many_nodes(place: Place) -> Self {
        Self::new(place, format!("more than {NODES_MAX} values in one text"), "send it in several requests")
    }

    pub(crate) fn duplicate_key(place: Place, key: &str) -> Self {
        Self::new(place, format!("`{key}` stands twice in one map"), "keep one of them, or give the other its own name")
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Key {
    pub(crate) place: Place,
    pub(crate) text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    /// The text is kept: a name such as `1.10` must not become `1.1`.
    Number(Number, String),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text; keys are unique.
    Map(Vec<(Key, Node)>),
}

impl Node {
    /// The value without places.
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(value, _) => Value::Number(value.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(nodes) => Value::Array(nodes.iter().map(Self::to_value).collect()),
            Content::Map(entries) => Value::Object(to_object(entries)),
        }
    }

    /// What it is, for messages.
    pub(crate) fn sort(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a truth value",
            Content::Number(..) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }
}

pub(crate) fn to_object(entries: &[(Key, Node)]) -> Map<String, Value> {
    entries.iter().map(|(key, node)| (key.text.clone(), node.to_value())).collect()
}

/// A map under construction; refuses a key that it has.
#[derive(Default)]
pub(crate) struct MapBuilder {
    pub(crate) entries: Vec<(Key, Node)>,
    seen: std::collections::HashSet<String>,
}

impl MapBuilder {
    /// Must be called when the key is read, before its value.
    pub(crate) fn claim(&mut self, key: &Key) -> Result<(), SyntaxFault> {
        if self.seen.insert(key.text.clone()) { Ok(()) } else { Err(SyntaxFault::duplicate_key(key.place, &key.text)) }
    }
}

/// The number that a plain YAML scalar stands for in the core schema (YAML 1.2.2, 10.3.2), if it is one that JSON has.
pub(crate) fn core_number(text: &str) -> Option<Number> {
    let radix = |digits: &str, radix| i64::from_str_radix(digits, radix).ok().map(Number::from);
    if let Some(digits) = text.strip_prefix("0x") {
        return digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| radix(digits, 16))?;
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| radix(digits, 8))?;
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        || !unsigned.bytes().any(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let signed = text.strip_prefix('+').unwrap_or(text);
    let integer = signed.parse::<i64>().map(Number::from).or_else(|_| signed.parse::<u64>().map(Number::from));
    integer.ok().or_else(|| signed.parse::<f64>().ok().and_then(Number::from_f64))
}
