//! YAML 1.2 text to a tree. Anchors, aliases and custom tags are refused, so a text never unfolds to more than it holds.

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use crate::tree::{Content, DEPTH_MAX, Key, MapBuilder, NODES_MAX, Node, Place, SyntaxFault, core_number};

/// A collection that is not closed yet.
enum Open {
    List(Place, Vec<Node>),
    Map(Place, MapBuilder, Option<Key>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    nodes: usize,
    documents: Vec<Node>,
}

/// Reads all documents of a stream; empty ones are left out.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, SyntaxFault> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            SyntaxFault::new(place(*error.marker()), format!("not YAML: {}", error.info()), "mend the syntax here")
        })?;
        builder.take(event, span)?;
    }
    builder.documents.retain(|node| node.content != Content::Null);
    Ok(builder.documents)
}

fn place(marker: saphyr_parser::Marker) -> Place {
    Place::new(marker.line().max(1), marker.col().saturating_add(1))
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), SyntaxFault> {
        let at = place(span.start);
        match event {
            Event::Alias(_) => Err(refuse_anchor(at)),
            Event::Scalar(_, _, anchor, _) | Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                Err(refuse_anchor(at))
            }
            Event::Scalar(text, style, _, tag) => self.scalar(at, &text, style, tag.as_deref()),
            Event::SequenceStart(_, tag) => self.start(at, tag.as_deref(), Open::List(at, Vec::new())),
            Event::MappingStart(_, tag) => self.start(at, tag.as_deref(), Open::Map(at, MapBuilder::default(), None)),
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn scalar(&mut self, at: Place, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<(), SyntaxFault> {
        let forced_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        if let Some(tag) = tag.filter(|_| !forced_text) {
            return Err(refuse_tag(at, tag));
        }
        // A key is a name whatever it looks like: `9050:` is the key "9050".
        if let Some(Open::Map(_, builder, key @ None)) = self.open.last_mut() {
            let found = Key { place: at, text: text.to_owned() };
            builder.claim(&found)?;
            *key = Some(found);
            return Ok(());
        }
        let content =
            if forced_text || style != ScalarStyle::Plain { Content::Text(text.to_owned()) } else { plain(text) };
        self.close(Node { place: at, content })
    }

    fn start(&mut self, at: Place, tag: Option<&Tag>, open: Open) -> Result<(), SyntaxFault> {
        if let Some(tag) = tag {
            return Err(refuse_tag(at, tag));
        }
        if matches!(self.open.last(), Some(Open::Map(_, _, None))) {
            return Err(SyntaxFault::new(
                at,
                "a list or map as the key of a map",
                "use a text as the key; quote it if it has brackets",
            ));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(SyntaxFault::too_deep(at));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), SyntaxFault> {
        match self.open.pop() {
            Some(Open::List(place, nodes)) => self.close(Node { place, content: Content::List(nodes) }),
            Some(Open::Map(place, builder, _)) => self.close(Node { place, content: Content::Map(builder.entries) }),
            None => Ok(()),
        }
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node) -> Result<(), SyntaxFault> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES_MAX {
            return Err(SyntaxFault::too_many_nodes(node.place));
        }
        match self.open.last_mut() {
            Some(Open::List(_, nodes)) => nodes.push(node),
            Some(Open::Map(_, builder, key)) => {
                if let Some(key) = key.take() {
                    builder.entries.push((key, node));
                }
            }
            None => self.documents.push(node),
        }
        Ok(())
    }
}

fn refuse_anchor(at: Place) -> SyntaxFault {
    SyntaxFault::new(
        at,
        "anchors (`&`) and aliases (`*`) are not read",
        "write the value out, or quote it if it is a text",
    )
}

fn refuse_tag(at: Place, tag: &Tag) -> SyntaxFault {
    SyntaxFault::new(at, format!("the tag `{tag}` is not read"), "remove the tag, or quote the value if it is a text")
}

/// A plain scalar in the core schema.
fn plain(text: &str) -> Content {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Content::Null,
        "true" | "True" | "TRUE" => Content::Bool(true),
        "false" | "False" | "FALSE" => Content::Bool(false),
        _ => core_number(text)
            .map_or_else(|| Content::Text(text.to_owned()), |number| Content::Number(number, text.to_owned())),
    }
}
