//! `import`: what other documents give to this one before it is read.
//!
//! What is imported is laid one over the other in the order in which it is named, and the document itself on top: maps
//! are united key by key, lists get what they do not have yet, of everything else the later one stays. Names and kinds
//! are never imported. What comes of it is an ordinary document, and that is what is stored.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::Value;

use crate::artifact::{Artifact, Kind};
use crate::decode::{Decoder, Field, one_or_many};
use crate::name;
use crate::tree::{Content, Key, Node, Place};
use crate::violation::step;

/// The field that names what is imported.
pub(crate) const FIELD: &str = "import";

/// LIMIT: artifacts that import each other in a row. Each step holds a frame of the stack.
const DEPTH_MAX: usize = 16;

/// LIMIT: imports of one document, those of its templates with them: one that imports two which import two doubles with
/// each step. Each import walks through what is there already.
const IMPORTS_MAX: usize = 64;

/// LIMIT: imports of one text: a call has up to 10,000 documents.
const IMPORTS_OF_TEXT_MAX: usize = 20_000;

/// LIMIT: values that all imports of one text bring. Each keeps some 100 bytes to tell where it comes from.
const NODES_MAX: usize = 250_000;

/// LIMIT: bytes of their texts, and of the names that lead to them.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What belongs to the imported artifact itself, and not to what imports it.
const OWN_FIELDS: [&str; 4] = ["name", "kind", "lookup_name", FIELD];

/// Short and long names of fields, of which a document may have one.
const SYNONYMS: [(&str, &str); 3] = [("env", "environment_variables"), ("dialect", "dialects"), ("def", "definition")];

const HINT: &str = "write `import: TEMPLATE`, `import: KIND/NAME`, or a list of these";

/// One artifact that is imported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) pointer: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind, self.name)
    }
}

/// Where an imported value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    source: std::sync::Arc<str>,
    pointer: String,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {}, at `{}`", self.source, self.pointer)
    }
}

/// Takes the imports of a document, and refuses what names none.
pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Vec<Named> {
    let items = one_or_many(field);
    if items.is_empty() {
        decoder.refuse(field, format!("{owner} imports nothing"), HINT);
    }
    if items.len() > IMPORTS_MAX {
        let message = format!("{owner} names {} imports, and can have {IMPORTS_MAX}", items.len());
        decoder.refuse(field, message, "write some of it out");
        return Vec::new();
    }
    let mut named = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = decoder.text(&item, &format!("an import of {owner}")) else { continue };
        match parse(text) {
            Ok((kind, name)) => named.push(Named { kind, name, place: item.node.place, pointer: item.pointer }),
            Err((message, hint)) => decoder.refuse(&item, format!("{owner}: {message}"), hint),
        }
    }
    named
}

/// The imports of a definition that is stored.
pub(crate) fn named_in(value: &Value) -> Vec<Named> {
    let one = std::slice::from_ref(value);
    let items = value.as_array().map_or(one, Vec::as_slice).iter().filter_map(Value::as_str);
    let named = items.filter_map(|text| parse(text).ok());
    named.map(|(kind, name)| Named { kind, name, place: Place::START, pointer: String::new() }).collect()
}

/// `NAME` of a template, or `KIND/NAME`.
fn parse(text: &str) -> Result<(Kind, String), (String, String)> {
    let (kind, name) = match text.split_once('/') {
        None => (Kind::Template, text),
        Some((word, name)) => match word.parse::<Kind>() {
            Ok(kind) if kind != Kind::Instances => (kind, name),
            _ => {
                let message = format!("the import `{}` begins with no kind", text.escape_debug());
                return Err((message, format!("write KIND/NAME, where KIND is one of {}", Kind::listed())));
            }
        },
    };
    match name::fault(kind, name) {
        Some((message, hint)) => Err((format!("an import: {message}"), hint)),
        None => Ok((kind, name.to_owned())),
    }
}

pub(crate) fn too_many_nodes() -> String {
    format!("all imports together bring more than {NODES_MAX} values, or than {} MiB", BYTES_MAX >> 20)
}

/// How much of the bounds is used, and where each imported value comes from.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    imports_of_text: usize,
    nodes: usize,
    bytes: usize,
    /// Of the document that is being read.
    pub(crate) imports: usize,
    /// Of the document that is being read.
    pub(crate) origins: Vec<Origin>,
}

impl Ledger {
    /// Counts one import; when it is one too many, says why.
    pub(crate) fn count(&mut self, in_a_row: usize) -> Result<(), String> {
        self.imports = self.imports.saturating_add(1);
        self.imports_of_text = self.imports_of_text.saturating_add(1);
        if in_a_row >= DEPTH_MAX {
            Err(format!("there are more than {DEPTH_MAX} imports in a row"))
        } else if self.imports > IMPORTS_MAX {
            Err(format!("the document has more than {IMPORTS_MAX} imports, those of its templates with them"))
        } else if self.imports_of_text > IMPORTS_OF_TEXT_MAX {
            Err(format!("all documents together have more than {IMPORTS_OF_TEXT_MAX} imports"))
        } else if self.nodes > NODES_MAX || self.bytes > BYTES_MAX {
            Err(too_many_nodes())
        } else {
            Ok(())
        }
    }

    /// The fields of an artifact as if they stood where it is imported; `None` when they are too many.
    pub(crate) fn plant(&mut self, fields: Value, artifact: &Artifact, place: Place) -> Option<Node> {
        let source = format!("{} `{}`", artifact.kind(), artifact.name()).into();
        let pointer = if matches!(artifact, Artifact::Template(_)) { "/definition" } else { "" };
        let fields = match fields {
            Value::Object(mut fields) => {
                fields.retain(|name, _| !OWN_FIELDS.contains(&name.as_str()));
                Value::Object(fields)
            }
            other => other,
        };
        self.node(fields, &source, pointer, place)
    }

    fn node(&mut self, value: Value, source: &std::sync::Arc<str>, pointer: &str, at: Place) -> Option<Node> {
        self.nodes = self.nodes.saturating_add(1);
        self.bytes = self.bytes.saturating_add(value.as_str().map_or(0, str::len)).saturating_add(pointer.len());
        if self.nodes > NODES_MAX || self.bytes > BYTES_MAX {
            return None;
        }
        self.origins.push(Origin { source: source.clone(), pointer: pointer.to_owned() });
        let place = Place { origin: u32::try_from(self.origins.len()).ok()?, ..at };
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(value) => Content::Bool(value),
            Value::Number(number) => {
                let text = number.to_string();
                Content::Number(number, text)
            }
            Value::String(text) => Content::Text(text),
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                let nodes = items.map(|(index, item)| self.node(item, source, &format!("{pointer}/{index}"), at));
                Content::List(nodes.collect::<Option<_>>()?)
            }
            Value::Object(fields) => {
                let entries = fields.into_iter().map(|(name, value)| {
                    let node = self.node(value, source, &step(pointer, &name), at)?;
                    Some((Key { place: node.place, text: name }, node))
                });
                Content::Map(entries.collect::<Option<_>>()?)
            }
        };
        Some(Node { place, content })
    }
}

/// Lays one document over another.
pub(crate) fn lay_over(below: Option<Node>, mut above: Node) -> Node {
    let Some(below) = below else { return above };
    if let (Content::Map(known), Content::Map(entries)) = (&below.content, &mut above.content) {
        for (short, long) in SYNONYMS {
            for (has, other) in [(short, long), (long, short)] {
                if known.iter().any(|(key, _)| key.text == has)
                    && !entries.iter().any(|(key, _)| key.text == has)
                    && let Some((key, _)) = entries.iter_mut().find(|(key, _)| key.text == other)
                {
                    has.clone_into(&mut key.text);
                }
            }
        }
    }
    merge(below, above)
}

fn merge(below: Node, above: Node) -> Node {
    let content = match (below.content, above.content) {
        (Content::Map(mut entries), Content::Map(more)) => {
            let mut known: HashMap<String, usize> =
                entries.iter().enumerate().map(|(index, (key, _))| (key.text.clone(), index)).collect();
            for (key, node) in more {
                if let Some((former, found)) = known.get(&key.text).and_then(|index| entries.get_mut(*index)) {
                    former.place = key.place;
                    let below = std::mem::replace(found, Node { place: key.place, content: Content::Null });
                    *found = merge(below, node);
                } else {
                    known.insert(key.text.clone(), entries.len());
                    entries.push((key, node));
                }
            }
            Content::Map(entries)
        }
        (Content::List(mut items), Content::List(more)) => {
            let known: HashSet<String> = items.iter().map(canonical).collect();
            items.extend(more.into_iter().filter(|item| !known.contains(&canonical(item))));
            Content::List(items)
        }
        (_, above) => above,
    };
    Node { place: above.place, content }
}

/// The same text for values that are the same, whatever the order of their keys.
fn canonical(node: &Node) -> String {
    match &node.content {
        Content::Map(entries) => {
            let mut entries: Vec<_> =
                entries.iter().map(|(key, node)| format!("{:?}:{}", key.text, canonical(node))).collect();
            entries.sort_unstable();
            format!("{{{}}}", entries.join(","))
        }
        Content::List(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        _ => node.to_value().to_string(),
    }
}
