//! Changes that build on each other before any of them is made.

use std::collections::HashMap;

use vamp_model::{Artifact, Kind};

use super::Known;
use crate::core::WriteRequest;

/// Writes in their order. Of two of the same artifact the later one, which knows of the earlier, stands in its place.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    /// Nothing where a later one was written.
    all: Vec<Option<WriteRequest>>,
    last: HashMap<Kind, HashMap<String, usize>>,
}

impl Writes {
    pub(crate) fn add(&mut self, write: WriteRequest) {
        let of_kind = self.last.entry(write.kind).or_default();
        if let Some(former) = of_kind.insert(write.name.clone(), self.all.len())
            && let Some(former) = self.all.get_mut(former)
        {
            *former = None;
        }
        self.all.push(Some(write));
    }

    pub(crate) fn into_vec(self) -> Vec<WriteRequest> {
        self.all.into_iter().flatten().collect()
    }

    fn get(&self, kind: Kind, name: &str) -> Option<&WriteRequest> {
        self.all.get(*self.last.get(&kind)?.get(name)?)?.as_ref()
    }

    /// The names of those that are written, or deleted, of a kind.
    fn names(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.last.get(&kind).into_iter().flat_map(|names| names.keys().map(String::as_str))
    }
}

/// What is stored with writes upon it that are not made yet.
pub(super) struct Paper<'k> {
    known: &'k dyn Known,
    writes: Writes,
}

impl<'k> Paper<'k> {
    pub(super) fn new(known: &'k dyn Known) -> Self {
        Self { known, writes: Writes::default() }
    }

    pub(super) fn apply(&mut self, writes: Vec<WriteRequest>) {
        for write in writes {
            self.writes.add(write);
        }
    }

    pub(super) fn into_writes(self) -> Vec<WriteRequest> {
        self.writes.into_vec()
    }

    /// The names of gateways that are known, as they are after what is written.
    fn with_written<'s>(&'s self, mut names: Vec<&'s str>, is_meant: impl Fn(&str) -> bool) -> Vec<&'s str> {
        names.extend(self.writes.names(Kind::Gateway).filter(|name| is_meant(name)));
        names.sort_unstable();
        names.dedup();
        let is_gone = |write: &WriteRequest| write.artifact.is_none();
        names.retain(|name| !self.writes.get(Kind::Gateway, name).is_some_and(is_gone));
        names
    }
}

impl Known for Paper<'_> {
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        match self.writes.get(kind, name) {
            Some(write) => write.artifact.as_ref(),
            None => self.known.artifact(kind, name),
        }
    }

    fn gateway_names(&self) -> Vec<&str> {
        self.with_written(self.known.gateway_names(), |_| true)
    }

    fn gateway_names_of(&self, deployment: &str) -> Vec<&str> {
        let is_own = |name: &str| name.split_once('/').is_some_and(|(first, _)| first == deployment);
        self.with_written(self.known.gateway_names_of(deployment), is_own)
    }
}
