//! What users store: the kinds, and what all kinds have in common.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::condition::Condition;
use crate::gateway::Gateway;
use crate::route::Route;

/// A kind of artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A place where traffic comes in and is split.
    Gateway,
    /// A stored route that gateways refer to.
    Route,
    /// A stored condition that routes refer to.
    Condition,
}

impl Kind {
    /// Every kind that this build knows, as [`Kind::plural`] writes them.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Route, Self::Condition];

    /// As documents and addresses write it: `gateways`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Gateway => "gateways",
            Self::Route => "routes",
            Self::Condition => "conditions",
        }
    }

    /// One of it: `gateway`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Route => "route",
            Self::Condition => "condition",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.singular())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.plural())
    }
}

/// A word that is no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no kind `{given}`: use gateways, routes or conditions")]
pub struct UnknownKind {
    /// The word.
    pub given: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Singular and plural both.
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let found = Self::ALL.into_iter().find(|kind| text == kind.plural() || text == kind.singular());
        found.ok_or_else(|| UnknownKind { given: text.to_owned() })
    }
}

/// A thing that users name and store.
#[derive(Debug, Clone, PartialEq)]
pub enum Artifact {
    /// A gateway.
    Gateway(Gateway),
    /// A stored route.
    Route(Route),
    /// A stored condition.
    Condition(Condition),
}

impl Artifact {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Gateway(_) => Kind::Gateway,
            Self::Route(_) => Kind::Route,
            Self::Condition(_) => Kind::Condition,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Gateway(gateway) => &gateway.name,
            Self::Route(route) => &route.name,
            Self::Condition(condition) => &condition.name,
        }
    }
}

/// The artifact in the documents' field names, as it is stored and shown; [`crate::read`] reads it back as the same
/// artifact.
pub fn to_json(artifact: &Artifact) -> serde_json::Value {
    match artifact {
        Artifact::Gateway(gateway) => gateway.to_json(),
        Artifact::Route(route) => route.to_json(),
        Artifact::Condition(condition) => condition.to_json(),
    }
}
