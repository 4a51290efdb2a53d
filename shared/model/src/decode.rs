//! Walks a tree, takes out what an artifact needs, and collects every violation on the way.

use crate::import::Origin;
use crate::near::nearest;
use crate::tree::{Content, Key, Node, Place};
use crate::violation::{Violation, step};

/// LIMIT: violations reported at once; who has more mends these first.
pub const VIOLATIONS_MAX: usize = 100;

/// Collects violations over one text.
pub(crate) struct Decoder<'t> {
    source: &'t str,
    violations: Vec<Violation>,
    /// Where what is imported comes from.
    pub(crate) origins: Vec<Origin>,
}

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Field<'t> {
    pub(crate) pointer: String,
    pub(crate) node: &'t Node,
}

/// The fields of one map, each to be taken once.
pub(crate) struct Fields<'t> {
    /// The thing that has these fields, for messages.
    pub(crate) owner: String,
    pub(crate) pointer: String,
    pub(crate) place: Place,
    node: &'t Node,
    entries: Vec<(&'t Key, &'t Node)>,
}

impl<'t> Decoder<'t> {
    pub(crate) fn new(source: &'t str) -> Self {
        Self { source, violations: Vec::new(), origins: Vec::new() }
    }

    pub(crate) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    pub(crate) fn count(&self) -> usize {
        self.violations.len()
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether as many violations are known as are told: more are not worth looking for their places.
    pub(crate) fn is_full(&self) -> bool {
        self.violations.len() >= VIOLATIONS_MAX
    }

    pub(crate) fn refuse_at(
        &mut self,
        place: Place,
        pointer: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if !self.is_full() {
            self.violations.push(at(place, &self.origins, Violation::new(pointer, message, hint)));
        }
    }

    /// Refuses what stands below these fields at a pointer, taken or not, as near to it as its author wrote something.
    pub(crate) fn refuse_below(
        &mut self,
        fields: &Fields<'_>,
        below: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        if !self.is_full() {
            let (place, pointer) = nearest_to(fields.node, &fields.pointer, below);
            self.refuse_at(place, &pointer, message, hint);
        }
    }

    pub(crate) fn refuse(&mut self, field: &Field<'_>, message: impl Into<String>, hint: impl Into<String>) {
        self.refuse_at(field.node.place, &field.pointer, message, hint);
    }

    /// The fields of a map; anything else is refused.
    pub(crate) fn fields<'n>(&mut self, field: &Field<'n>, owner: &str) -> Option<Fields<'n>> {
        let Content::Map(entries) = &field.node.content else {
            self.refuse(field, format!("{owner} is {}", field.node.sort()), "write it as a map of its fields");
            return None;
        };
        Some(Fields {
            owner: owner.to_owned(),
            pointer: field.pointer.clone(),
            place: field.node.place,
            node: field.node,
            entries: entries.iter().map(|(key, node)| (key, node)).collect(),
        })
    }

    /// A text, or a scalar taken as the text that it was written as.
    pub(crate) fn text<'n>(&mut self, field: &Field<'n>, what: &str) -> Option<&'n str> {
        match &field.node.content {
            Content::Text(text) | Content::Number(_, text) => Some(text),
            Content::Bool(value) => Some(if *value { "true" } else { "false" }),
            Content::Null | Content::List(_) | Content::Map(_) => {
                self.refuse(field, format!("{what} is {}", field.node.sort()), "write it as a text");
                None
            }
        }
    }

    /// Refuses every field that was not taken.
    pub(crate) fn finish(&mut self, fields: &Fields<'_>, known: &[&str]) {
        for (key, _) in &fields.entries {
            if self.is_full() {
                return;
            }
            let hint = match nearest(&key.text, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", known.join(", ")),
            };
            let message = format!("{} has no field `{}`", fields.owner, key.text);
            self.refuse_at(key.place, &step(&fields.pointer, &key.text), message, hint);
        }
    }

    /// The place of a character (from 1) of a text that was read from `node`, as near as the text's notation allows.
    pub(crate) fn place_inside(&self, node: &Node, text: &str, position: usize) -> Place {
        // It is looked for from the start of the source, which is not done for what is not told.
        if self.is_full() || node.place.origin > 0 {
            return node.place;
        }
        let before: String = text.chars().take(position.saturating_sub(1)).collect();
        let start = usize::try_from(node.place.column).unwrap_or(usize::MAX).saturating_sub(1);
        let line = self.source.lines().nth(usize::try_from(node.place.line).unwrap_or(usize::MAX).saturating_sub(1));
        let raw = line.unwrap_or_default();
        let raw = raw.char_indices().nth(start).and_then(|(at, _)| raw.get(at..)).unwrap_or_default();
        let quotes = usize::from(raw.starts_with(['"', '\'']));
        // Escapes, folded lines and block texts shift characters: then the start of the text is all that is sure.
        if raw.get(quotes..).unwrap_or_default().starts_with(&before) && !before.contains('\n') {
            let offset = quotes.saturating_add(position.saturating_sub(1));
            let shift = u32::try_from(offset).unwrap_or(u32::MAX);
            return Place { column: node.place.column.saturating_add(shift), ..node.place };
        }
        node.place
    }
}

/// Where something stands below a node, and its pointer as its author spelled it. Steps that the author left out, because
/// one thing may stand in place of a list or of a map, are passed by.
fn nearest_to(mut node: &Node, pointer: &str, below: &str) -> (Place, String) {
    let (mut place, mut pointer) = (node.place, pointer.to_owned());
    for wanted in below.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")) {
        match &node.content {
            Content::Map(map) => {
                let Some((key, value)) = map.iter().find(|(key, _)| is_spelling_of(&key.text, &wanted)) else {
                    continue;
                };
                (place, pointer, node) = (key.place, step(&pointer, &key.text), value);
            }
            Content::List(items) => {
                let Some(item) = wanted.parse().ok().and_then(|index: usize| items.get(index)) else { continue };
                (place, pointer, node) = (item.place, step(&pointer, &wanted), item);
            }
            _ => {}
        }
    }
    (place, pointer)
}

/// Whether a key is a word, or one of its short forms.
fn is_spelling_of(key: &str, wanted: &str) -> bool {
    spellings(wanted).iter().any(|spelled| spelled == key)
        // A variable with the name under which the instance gets it.
        || key.strip_prefix(wanted).is_some_and(|alias| alias.starts_with('[') && alias.ends_with(']'))
}

/// A key and its short forms.
pub(crate) fn spellings(key: &str) -> Vec<String> {
    const LONG: &str = "environment_variables";
    let mut spellings = vec![key.to_owned()];
    match key.split_once(&format!(".{LONG}.")) {
        Some((cluster, name)) => spellings.extend([format!("{cluster}.{name}"), format!("{cluster}.env.{name}")]),
        None if key == LONG => spellings.push("env".to_owned()),
        None => {}
    }
    spellings
}

/// A violation with its place in the text; of what is imported, that is where the import stands, and the text tells where
/// it comes from.
pub(crate) fn at(place: Place, origins: &[Origin], violation: Violation) -> Violation {
    let origin = place.origin.checked_sub(1).and_then(|index| origins.get(usize::try_from(index).ok()?));
    let message = match origin {
        Some(origin) => format!("{} ({origin})", violation.message),
        None => violation.message,
    };
    Violation { line: Some(place.line), column: Some(place.column), message, ..violation }
}

impl<'t> Fields<'t> {
    /// Takes a field out; null counts as absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Field<'t>> {
        let at = self.entries.iter().position(|(key, _)| key.text == name)?;
        let (key, node) = self.entries.remove(at);
        (node.content != Content::Null).then(|| Field { pointer: step(&self.pointer, &key.text), node })
    }

    /// A field that is left in place.
    pub(crate) fn find(&self, name: &str) -> Option<Field<'t>> {
        let (key, node) = self.entries.iter().find(|(key, _)| key.text == name)?;
        (node.content != Content::Null).then(|| Field { pointer: step(&self.pointer, &key.text), node })
    }

    /// Takes fields out that are read by nobody: what the product itself writes into documents.
    pub(crate) fn ignore(&mut self, names: &[&str]) {
        self.entries.retain(|(key, _)| !names.contains(&key.text.as_str()));
    }

    /// Takes everything that is left.
    pub(crate) fn take_entries(&mut self) -> Vec<(Key, Node)> {
        std::mem::take(&mut self.entries).into_iter().map(|(key, node)| (key.clone(), node.clone())).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, node)| key.text == name && node.content != Content::Null)
    }
}

/// The entries of a map, also those without value; anything else is refused.
pub(crate) fn entries<'t>(decoder: &mut Decoder<'_>, field: &Field<'t>, what: &str) -> Vec<(&'t Key, Field<'t>)> {
    let Content::Map(map) = &field.node.content else {
        decoder.refuse(field, format!("{what} are {}", field.node.sort()), "write them as a map: `name: value`");
        return Vec::new();
    };
    map.iter().map(|(key, node)| (key, Field { pointer: step(&field.pointer, &key.text), node })).collect()
}

/// The items of a list, or the one thing that stands in its place.
pub(crate) fn one_or_many<'t>(field: &Field<'t>) -> Vec<Field<'t>> {
    match &field.node.content {
        Content::List(items) => {
            let items = items.iter().enumerate();
            items.map(|(index, node)| Field { pointer: format!("{}/{index}", field.pointer), node }).collect()
        }
        _ => vec![field.clone()],
    }
}
