//! Reads the documents of one text, each with what it imports from the others and from what is stored.

use std::collections::HashMap;

use serde_json::Value;

use crate::artifact::{Artifact, Kind, to_json};
use crate::decode::{Decoder, Field, VIOLATIONS_MAX};
use crate::document::{self, Document};
use crate::expand::expand;
use crate::import::{self, Ledger, Named};
use crate::template::Template;
use crate::tree::{Content, Node};
use crate::violation::{Violation, step};

/// What is stored, for those who import it.
pub type Stored<'s> = dyn Fn(Kind, &str) -> Option<&'s Artifact> + 's;

/// An artifact by kind and name.
type Identity = (Kind, String);

/// One text that is being read.
pub(crate) struct Reading<'a, 's> {
    text: &'a str,
    /// What all documents are, where the address says it.
    kind: Option<Kind>,
    name: Option<&'a str>,
    stored: &'a Stored<'s>,
    items: Vec<Item>,
    /// Empty when nothing imports anything.
    index: HashMap<Identity, usize>,
    ledger: Ledger,
    /// Violations that were found.
    told: usize,
}

struct Item {
    root: String,
    identity: Option<Identity>,
    state: State,
}

enum State {
    Waiting(Node),
    /// It waits for what it imports.
    Open,
    Read(Box<Document>),
    Refused(Vec<Violation>),
}

/// Why something is not imported.
enum Fault {
    /// It, or what it imports in turn, does not exist.
    Missing(Named),
    /// What and the mend.
    Refused(String, String),
    /// It is refused itself, and says why.
    Told,
}

impl<'a, 's> Reading<'a, 's> {
    pub(crate) fn new(text: &'a str, kind: Option<Kind>, name: Option<&'a str>, stored: &'a Stored<'s>) -> Self {
        Self { text, kind, name, stored, items: Vec::new(), index: HashMap::new(), ledger: Ledger::default(), told: 0 }
    }

    /// Reads all documents, or tells everything that is wrong with them.
    pub(crate) fn documents(self, nodes: Vec<Node>) -> Result<Vec<Document>, Vec<Violation>> {
        self.documents_where(nodes, |_| true)
    }

    /// Reads the documents that are wanted, by their number, and of the others only what these import.
    pub(crate) fn documents_where(
        mut self,
        nodes: Vec<Node>,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Document>, Vec<Violation>> {
        let several = nodes.len() > 1;
        let any_imports = nodes.iter().any(|node| imports(node) || is_template(node, self.kind));
        for (index, node) in nodes.into_iter().enumerate() {
            let identity = if any_imports { self.identity(&node) } else { None };
            self.index
                .extend(identity.clone().filter(|known| !self.index.contains_key(known)).map(|known| (known, index)));
            let root = if several { format!("/{index}") } else { String::new() };
            self.items.push(Item { root, identity, state: State::Waiting(node) });
        }
        // What imports nothing comes first: it is there when others are written out.
        for with_imports in [false, true] {
            for at in 0..self.items.len() {
                let is_turn =
                    |item: &Item| matches!(&item.state, State::Waiting(node) if imports(node) == with_imports);
                if is_wanted(at) && self.items.get(at).is_some_and(is_turn) {
                    self.read(at, &mut Vec::new());
                }
            }
        }
        self.check_templates();
        let mut documents = Vec::with_capacity(self.items.len());
        let mut violations = Vec::new();
        for (at, item) in self.items.into_iter().enumerate() {
            match item.state {
                State::Read(document) if is_wanted(at) => documents.push(*document),
                State::Refused(more) => violations.extend(more),
                State::Read(_) | State::Waiting(_) | State::Open => {}
            }
        }
        violations.truncate(VIOLATIONS_MAX);
        if violations.is_empty() { Ok(documents) } else { Err(violations) }
    }

    /// A part of a document with what it imports, and a decoder that knows where that comes from.
    pub(crate) fn part<'d>(mut self, node: Node) -> (Node, Decoder<'d>)
    where
        'a: 'd,
    {
        let mut decoder = Decoder::new(self.text);
        let node = self.resolve(node, "", "the document", &mut decoder, &mut Vec::new());
        decoder.origins = std::mem::take(&mut self.ledger.origins);
        (node, decoder)
    }

    /// Kind and name, as far as they can be told before anything is imported.
    fn identity(&self, node: &Node) -> Option<Identity> {
        let said = |field: &str| match &member(node, field)?.content {
            Content::Text(text) | Content::Number(_, text) => Some(text.as_str()),
            _ => None,
        };
        let kind = self.kind.or_else(|| said("kind")?.parse().ok())?;
        Some((kind, said("name").or(self.name)?.to_owned()))
    }

    fn read(&mut self, at: usize, open: &mut Vec<Identity>) {
        let Some(item) = self.items.get_mut(at) else { return };
        if !matches!(item.state, State::Waiting(_)) {
            return;
        }
        // More faults than are told are not looked for.
        if self.told >= VIOLATIONS_MAX {
            item.state = State::Refused(Vec::new());
            return;
        }
        let State::Waiting(node) = std::mem::replace(&mut item.state, State::Open) else { return };
        let (root, identity) = (item.root.clone(), item.identity.clone());
        let mut decoder = Decoder::new(self.text);
        // Those of who waits for this one.
        let others = std::mem::take(&mut self.ledger.origins);
        let imports_of_others = std::mem::take(&mut self.ledger.imports);
        let node = if imports(&node) {
            let owner = identity.as_ref().map_or("the document".to_owned(), |(kind, name)| format!("{kind} `{name}`"));
            open.extend(identity.clone());
            let node = self.resolve(node, &root, &owner, &mut decoder, open);
            open.truncate(open.len().saturating_sub(usize::from(identity.is_some())));
            node
        } else {
            node
        };
        decoder.origins = std::mem::replace(&mut self.ledger.origins, others);
        self.ledger.imports = imports_of_others;
        // A document without what it imports would have faults that it has not.
        let document =
            if decoder.is_clean() { document::decode(&mut decoder, &node, root, self.kind, self.name) } else { None };
        let state = match document {
            Some(document) if decoder.is_clean() => State::Read(Box::new(document.with_origins(decoder.origins))),
            _ => {
                self.told = self.told.saturating_add(decoder.count());
                State::Refused(decoder.into_violations())
            }
        };
        if let Some(item) = self.items.get_mut(at) {
            item.state = state;
        }
    }

    /// The document with what it imports below it, and without the field that names that.
    fn resolve(
        &mut self,
        mut node: Node,
        root: &str,
        owner: &str,
        decoder: &mut Decoder<'_>,
        open: &mut Vec<Identity>,
    ) -> Node {
        let Content::Map(entries) = &mut node.content else { return node };
        let Some(at) = entries.iter().position(|(key, _)| key.text == import::FIELD) else { return node };
        let (_, named) = entries.remove(at);
        if named.content == Content::Null {
            return node;
        }
        let field = Field { pointer: step(root, import::FIELD), node: &named };
        let mut below = None;
        for named in import::decode(decoder, &field, owner) {
            match self.fetch(&named, open) {
                Ok(fetched) => below = Some(import::lay_over(below, fetched)),
                Err(Fault::Told) => {
                    let message = format!("{owner} imports the {named}, which is refused itself");
                    decoder.refuse_at(named.place, &named.pointer, message, "mend that one first");
                }
                Err(Fault::Missing(missing)) => {
                    let through = if missing.to_string() == named.to_string() {
                        String::new()
                    } else {
                        format!(", which leads to the {missing}")
                    };
                    let message = format!("{owner} imports the {named}{through}, which does not exist");
                    decoder.refuse_at(
                        named.place,
                        &named.pointer,
                        message,
                        "create it first, or send it in the same call",
                    );
                }
                Err(Fault::Refused(what, mend)) => {
                    decoder.refuse_at(
                        named.place,
                        &named.pointer,
                        format!("{owner} imports the {named}: {what}"),
                        mend,
                    );
                }
            }
        }
        import::lay_over(below, node)
    }

    /// What an import brings.
    fn fetch(&mut self, named: &Named, open: &mut Vec<Identity>) -> Result<Node, Fault> {
        let key = (named.kind, named.name.clone());
        if let Some(at) = open.iter().position(|passed| *passed == key) {
            let round: Vec<_> =
                open.iter().skip(at).chain([&key]).map(|(kind, name)| format!("{kind} `{name}`")).collect();
            let what = format!("they import each other in a circle: {}", round.join(" → "));
            return Err(Fault::Refused(what, "take one of these imports out".to_owned()));
        }
        let bounded = self.ledger.count(open.len());
        bounded.map_err(|what| Fault::Refused(what, "write some of it out, or send it in several calls".to_owned()))?;
        let artifact = self.find(named, open)?;
        open.push(key);
        let fetched = self.unfold(&artifact, named, open);
        open.pop();
        fetched
    }

    /// The fields of an artifact that is imported, above what it imports itself.
    fn unfold(&mut self, artifact: &Artifact, named: &Named, open: &mut Vec<Identity>) -> Result<Node, Fault> {
        let (fields, inner) = match artifact {
            Artifact::Template(template) => (Value::Object(template.definition.clone()), named_in(template)),
            other => (to_json(other), Vec::new()),
        };
        let mut below = None;
        for inner in inner {
            let fetched = self.fetch(&Named { place: named.place, ..inner }, open)?;
            below = Some(import::lay_over(below, fetched));
        }
        let planted = self.ledger.plant(fields, artifact, named.place).ok_or_else(|| {
            Fault::Refused(import::too_many_nodes(), "send the documents in several calls, or write less".to_owned())
        })?;
        Ok(import::lay_over(below, planted))
    }

    /// An artifact of this text, or a stored one, with everything that it refers to written out.
    fn find(&mut self, named: &Named, open: &mut Vec<Identity>) -> Result<Artifact, Fault> {
        let own = self.index.get(&(named.kind, named.name.clone())).copied();
        let mut artifact = if let Some(at) = own {
            self.read(at, open);
            match self.items.get(at).map(|item| &item.state) {
                Some(State::Read(document)) => document.artifact.clone(),
                _ => return Err(Fault::Told),
            }
        } else {
            let stored = (self.stored)(named.kind, &named.name).cloned();
            stored.ok_or_else(|| Fault::Missing(named.clone()))?
        };
        expand(&mut artifact, &|kind, name| self.known(kind, name));
        Ok(artifact)
    }

    fn known(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        let Some(at) = self.index.get(&(kind, name.to_owned())) else { return (self.stored)(kind, name) };
        match &self.items.get(*at)?.state {
            State::Read(document) => Some(&document.artifact),
            _ => None,
        }
    }

    /// Refuses templates that nobody could import. What they name may be missing still, as blueprints may be stored
    /// before their breeds.
    fn check_templates(&mut self) {
        for at in 0..self.items.len() {
            let Some(State::Read(document)) = self.items.get(at).map(|item| &item.state) else { continue };
            let Artifact::Template(template) = &document.artifact else { continue };
            if self.told >= VIOLATIONS_MAX {
                return;
            }
            let (name, imported) = (template.name.clone(), named_in(template));
            let mut violations = Vec::new();
            for named in imported {
                if let Err(Fault::Refused(what, mend)) = self.fetch(&named, &mut vec![(Kind::Template, name.clone())]) {
                    let message = format!("template `{name}` imports the {named}: {what}");
                    violations.push(Violation::new("/definition/import", message, mend));
                }
            }
            self.told = self.told.saturating_add(violations.len());
            (self.ledger.origins, self.ledger.imports) = (Vec::new(), 0);
            if let Some(item) = self.items.get_mut(at)
                && !violations.is_empty()
                && let State::Read(document) = std::mem::replace(&mut item.state, State::Open)
            {
                item.state = State::Refused(document.locate(violations));
            }
        }
    }
}

fn named_in(template: &Template) -> Vec<Named> {
    template.definition.get(import::FIELD).map(import::named_in).unwrap_or_default()
}

fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Content::Map(entries) = &node.content else { return None };
    entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| node)
}

fn imports(node: &Node) -> bool {
    member(node, import::FIELD).is_some()
}

fn is_template(node: &Node, kind: Option<Kind>) -> bool {
    let said = || match &member(node, "kind")?.content {
        Content::Text(text) => text.parse().ok(),
        _ => None,
    };
    kind.or_else(said) == Some(Kind::Template)
}
