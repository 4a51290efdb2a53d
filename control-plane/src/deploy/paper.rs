//! Changes that build on each other before any of them is made.

use std::collections::BTreeMap;

use vamp_model::{Artifact, Kind};

use super::Known;
use crate::core::WriteRequest;

/// What is stored with writes upon it that are not made yet.
pub(super) struct Paper<'k> {
    known: &'k dyn Known,
    writes: Vec<WriteRequest>,
}

impl<'k> Paper<'k> {
    pub(super) fn new(known: &'k dyn Known) -> Self {
        Self { known, writes: Vec::new() }
    }

    /// Of two writes of the same artifact the later one knows of the earlier.
    pub(super) fn apply(&mut self, writes: Vec<WriteRequest>) {
        for write in writes {
            self.writes.retain(|known| (known.kind, &known.name) != (write.kind, &write.name));
            self.writes.push(write);
        }
    }

    pub(super) fn into_writes(self) -> Vec<WriteRequest> {
        self.writes
    }

    fn written(&self) -> BTreeMap<(Kind, &str), Option<&Artifact>> {
        self.writes.iter().map(|write| ((write.kind, write.name.as_str()), write.artifact.as_ref())).collect()
    }
}

impl Known for Paper<'_> {
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        match self.writes.iter().find(|write| write.kind == kind && write.name == name) {
            Some(write) => write.artifact.as_ref(),
            None => self.known.artifact(kind, name),
        }
    }

    fn gateway_names(&self) -> Vec<&str> {
        let written = self.written();
        let is_gone = |name: &&str| matches!(written.get(&(Kind::Gateway, *name)), Some(None));
        let mut names: Vec<&str> = self.known.gateway_names().into_iter().filter(|name| !is_gone(name)).collect();
        let made = written.iter().filter(|((kind, _), artifact)| *kind == Kind::Gateway && artifact.is_some());
        names.extend(made.map(|((_, name), _)| *name));
        names.sort_unstable();
        names.dedup();
        names
    }
}
