//! The condition language: parsed to a tree, evaluated as a tree.

use crate::Head;

/// A parsed condition.
#[derive(Debug, Clone)]
pub struct Condition {}

/// Why a text is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {position}: {hint}")]
pub struct ConditionError {
    /// What is wrong.
    pub message: String,
    /// Where, in characters from 1.
    pub position: usize,
    /// How to mend it.
    pub hint: String,
}

impl Condition {
    /// Reads a condition, or says what is wrong, where, and how to mend it.
    pub fn parse(_text: &str) -> Result<Self, ConditionError> {
        todo!()
    }

    /// Whether the condition holds for this request.
    pub fn matches<H: Head>(&self, _head: &H) -> bool {
        todo!()
    }
}
