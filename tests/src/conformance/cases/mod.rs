//! The cases, by family.

mod bodies;
mod conversation;
mod fields;
mod responses;
mod targets;

use super::origin::{Script, Then};
use super::{Case, Level, Want};

pub(super) fn all() -> Vec<Case> {
    [fields::cases(), targets::cases(), bodies::cases(), conversation::cases(), responses::cases()].concat()
}

/// A case that must be refused, unless it is made to want something else.
fn case(family: &'static str, name: impl Into<String>, cite: &'static str, sent: impl AsRef<[u8]>) -> Case {
    Case {
        family,
        name: name.into(),
        cite,
        level: Level::Must,
        methods: vec!["GET"],
        pieces: vec![sent.as_ref().to_vec()],
        script: Script::default(),
        want: Want::Refused,
    }
}

impl Case {
    fn wants(mut self, want: Want) -> Self {
        self.want = want;
        self
    }

    fn should(mut self) -> Self {
        self.level = Level::Should;
        self
    }

    fn methods(mut self, methods: &[&'static str]) -> Self {
        self.methods = methods.to_vec();
        self
    }

    /// Sends more after a while.
    fn then(mut self, piece: impl AsRef<[u8]>) -> Self {
        self.pieces.push(piece.as_ref().to_vec());
        self
    }

    /// What the origin answers.
    fn answered(mut self, answer: impl AsRef<[u8]>) -> Self {
        self.script.answer = answer.as_ref().to_vec();
        self
    }

    /// The origin closes after its answer.
    fn closing(mut self, then: Then) -> Self {
        self.script.then = then;
        self
    }

    /// The origin answers as soon as it has the head.
    fn early(mut self) -> Self {
        self.script.early = true;
        self
    }

    /// The answer comes in two pieces.
    fn cut(mut self, at: usize) -> Self {
        self.script.cut = Some(at);
        self
    }
}

/// A text with its escapes, short enough for a name.
fn named(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

/// One byte for each character below U+0100, so that texts can hold any byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}
