//! Rewrites of paths: stored ones, and those written in a route.

use serde_json::{Map, Value, json};

use crate::condition::{check, take_reference};
use crate::decode::{Decoder, Field, Fields, one_or_many};
use crate::tree::Content;

/// A rewrite that routes refer to by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Rewrite {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What it does.
    pub rule: RewriteRule,
}

/// Replaces the path when a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewriteRule {
    /// The new path; `%[path]` stands for the old one.
    pub path: String,
    /// The condition, in the condition language.
    pub condition: String,
}

/// A rewrite of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RewriteUse {
    /// Written in the route.
    Inline(RewriteRule),
    /// The stored rewrite of this name, as it is when the table is made.
    Stored(String),
}

const HINT: &str = "write `- path: \"/new if path is /old\"`, or the name of a stored rewrite";

impl Rewrite {
    pub(crate) const FIELDS: &'static [&'static str] = &["name", "kind", "metadata", "path"];

    pub(crate) fn to_json(&self) -> Value {
        json!({"name": self.name, "kind": "rewrites", "metadata": self.metadata, "path": self.rule.to_text()})
    }
}

impl RewriteRule {
    pub(crate) fn decode(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>) -> Option<Self> {
        let what = fields.owner.clone();
        let Some(field) = fields.take("path") else {
            decoder.refuse_at(fields.place, &fields.pointer, format!("{what} has no path"), HINT);
            return None;
        };
        let whole = decoder.text(&field, &what)?;
        // The last ` if ` parts path and condition, in any case of its letters.
        let Some(at) = whole.to_ascii_lowercase().rfind(" if ") else {
            decoder.refuse(&field, format!("{what} has no condition: `{whole}`"), HINT);
            return None;
        };
        let path = whole.get(..at).unwrap_or_default().trim();
        let given = whole.get(at.saturating_add(" if ".len())..).unwrap_or_default();
        // The original wants a proxy's condition in braces, and adds them when they are missing.
        let inner = given.trim();
        let condition = inner.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')).unwrap_or(inner).trim();
        if path.is_empty() || path.contains(|found: char| found.is_whitespace() || found.is_control()) {
            decoder.refuse(&field, format!("{what} has no usable new path: `{path}`"), HINT);
            return None;
        }
        let offset = whole.rfind(condition).and_then(|at| whole.get(..at)).map_or(0, |before| before.chars().count());
        check(decoder, &field, &format!("the condition of {what}"), whole, condition, offset)
            .then(|| Self { path: path.to_owned(), condition: condition.to_owned() })
    }

    fn to_text(&self) -> String {
        format!("{} if {}", self.path, self.condition)
    }
}

impl RewriteUse {
    /// A list of them, or one.
    pub(crate) fn decode_all(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Vec<Self> {
        let items = one_or_many(field).into_iter().enumerate();
        let rewrites = items.filter_map(|(index, item)| {
            Self::decode(decoder, &item, &format!("rewrite {} of {owner}", index.saturating_add(1)))
        });
        rewrites.collect()
    }

    /// A name, a map with a reference, or the rewrite itself.
    fn decode(decoder: &mut Decoder<'_>, item: &Field<'_>, what: &str) -> Option<Self> {
        if !matches!(item.node.content, Content::Map(_)) {
            let name = decoder.text(item, what)?;
            if let Some((message, _)) = crate::name::fault(crate::Kind::Rewrite, name) {
                decoder.refuse(item, format!("{what}: {message}"), HINT);
            }
            return Some(Self::Stored(name.to_owned()));
        }
        let mut fields = decoder.fields(item, what)?;
        fields.ignore(&["kind", "metadata", "lookup_name"]);
        if fields.has("reference") || fields.has("ref") {
            let name = take_reference(decoder, &mut fields)?;
            decoder.finish(&fields, &["reference"]);
            return Some(Self::Stored(name));
        }
        let rule = RewriteRule::decode(decoder, &mut fields);
        decoder.finish(&fields, &["path", "reference"]);
        rule.map(Self::Inline)
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Inline(rule) => json!({"path": rule.to_text()}),
            Self::Stored(name) => json!({"reference": name}),
        }
    }
}
