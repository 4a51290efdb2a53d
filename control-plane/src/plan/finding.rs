//! What stands in the way of a table.

use serde::Serialize;
use vamp_model::{Kind, Violation};

/// A violation that only shows when all artifacts are seen together, and the artifact that it concerns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Kind of the artifact.
    pub kind: Kind,
    /// Name of the artifact.
    pub name: String,
    /// What is wrong; [`vamp_model::Document::locate`] finds its place in the text.
    pub violation: Violation,
}

impl Finding {
    pub(crate) fn new(
        kind: Kind,
        name: &str,
        pointer: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { kind, name: name.to_owned(), violation: Violation::new(pointer, message, hint) }
    }

    pub(super) fn gateway(
        name: &str,
        pointer: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self::new(Kind::Gateway, name, pointer, message, hint)
    }
}

/// Something that works, but most likely not as meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warning {
    /// The gateway that it concerns, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// What, and how to mend it.
    pub message: String,
}
