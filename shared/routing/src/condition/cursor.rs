//! A place in a text, and what stands there.

use super::ConditionError;

/// What is wrong, and where in bytes; it becomes a [`ConditionError`] once the whole text is at hand.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) message: String,
    /// Bytes from the start of the text.
    pub(super) at: usize,
    pub(super) hint: String,
}

impl Fault {
    pub(super) fn new(at: usize, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), at, hint: hint.into() }
    }

    pub(super) fn in_text(self, text: &str) -> ConditionError {
        let before = text.char_indices().take_while(|(at, _)| *at < self.at).count();
        ConditionError { message: self.message, position: before.saturating_add(1), hint: self.hint }
    }
}

/// A place in a text; copying it is how the parser looks ahead.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'text> {
    rest: &'text str,
    /// Bytes before `rest`.
    at: usize,
}

impl<'text> Cursor<'text> {
    pub(super) fn new(text: &'text str) -> Self {
        Self { rest: text, at: 0 }
    }

    /// Bytes before this place.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// Passes `symbol` if it stands here.
    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest;
                self.at = self.at.saturating_add(symbol.len());
                true
            }
            None => false,
        }
    }

    /// The word here, not passed: letters, digits, `-`, `_`, `.`.
    pub(super) fn word(&self) -> &'text str {
        let mut ahead = *self;
        ahead.take_while(|found| found.is_ascii_alphanumeric() || matches!(found, '-' | '_' | '.'))
    }

    /// Passes the word here if it is this one, in any case.
    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        self.word().eq_ignore_ascii_case(word) && self.skip(word.len())
    }

    /// Passes blanks; whether there were any.
    pub(super) fn blanks(&mut self) -> bool {
        !self.take_while(is_blank).is_empty()
    }

    pub(super) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'text str {
        let end = self.rest.find(|found| !wanted(found)).unwrap_or(self.rest.len());
        let taken = self.rest.get(..end).unwrap_or_default();
        self.skip(end);
        taken
    }

    /// Passes so many bytes; false, and nothing done, when they do not end between two characters.
    pub(super) fn skip(&mut self, bytes: usize) -> bool {
        let Some((_, rest)) = self.rest.split_at_checked(bytes) else { return false };
        self.rest = rest;
        self.at = self.at.saturating_add(bytes);
        true
    }
}

/// The blanks of the language; others are characters like any.
pub(super) fn is_blank(found: char) -> bool {
    matches!(found, ' ' | '\n' | '\r' | '\t' | '\u{c}')
}
