//! What users store: the kinds, and what all kinds have in common.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::blueprint::{Blueprint, Deployment};
use crate::breed::Breed;
use crate::condition::Condition;
use crate::gateway::Gateway;
use crate::instances::Instances;
use crate::rewrite::Rewrite;
use crate::route::Route;
use crate::scale::Scale;
use crate::sla::{Escalation, Sla};
use crate::template::Template;
use crate::workflow::Workflow;

/// A kind of artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A place where traffic comes in and is split.
    Gateway,
    /// A stored route that gateways refer to.
    Route,
    /// A stored condition that routes refer to.
    Condition,
    /// A stored rewrite of paths that routes refer to.
    Rewrite,
    /// Something that can be deployed.
    Breed,
    /// How many instances, and what each may use.
    Scale,
    /// What a cluster promises.
    Sla,
    /// What follows when a promise is not kept.
    Escalation,
    /// Clusters of services that can be deployed together.
    Blueprint,
    /// Clusters of services that are deployed.
    Deployment,
    /// What runs beside deployments.
    Workflow,
    /// Part of a document that others import.
    Template,
    /// Where the instances of one service are; written by the control plane itself.
    Instances,
}

impl Kind {
    /// Every kind that this build knows, as [`Kind::plural`] writes them.
    pub const ALL: [Self; 13] = [
        Self::Gateway,
        Self::Route,
        Self::Condition,
        Self::Rewrite,
        Self::Breed,
        Self::Scale,
        Self::Sla,
        Self::Escalation,
        Self::Blueprint,
        Self::Deployment,
        Self::Workflow,
        Self::Template,
        Self::Instances,
    ];

    /// As documents and addresses write it: `gateways`.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Gateway => "gateways",
            Self::Route => "routes",
            Self::Condition => "conditions",
            Self::Rewrite => "rewrites",
            Self::Breed => "breeds",
            Self::Scale => "scales",
            Self::Sla => "slas",
            Self::Escalation => "escalations",
            Self::Blueprint => "blueprints",
            Self::Deployment => "deployments",
            Self::Workflow => "workflows",
            Self::Template => "templates",
            Self::Instances => "instances",
        }
    }

    /// One of it: `gateway`.
    pub fn singular(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Route => "route",
            Self::Condition => "condition",
            Self::Rewrite => "rewrite",
            Self::Breed => "breed",
            Self::Scale => "scale",
            Self::Sla => "SLA",
            Self::Escalation => "escalation",
            Self::Blueprint => "blueprint",
            Self::Deployment => "deployment",
            Self::Workflow => "workflow",
            Self::Template => "template",
            Self::Instances => "instances",
        }
    }

    /// Whether users write it as it stands; of the others the control plane is the author.
    pub fn is_written_by_users(self) -> bool {
        !matches!(self, Self::Deployment | Self::Instances)
    }

    /// The kinds, for a hint: `gateways, routes or conditions`.
    pub fn listed() -> String {
        let names: Vec<&str> =
            Self::ALL.into_iter().filter(|kind| *kind != Self::Instances).map(Self::plural).collect();
        match names.split_last() {
            Some((last, others)) => format!("{} or {last}", others.join(", ")),
            None => String::new(),
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
#[error("there is no kind `{given}`: use {}", Kind::listed())]
pub struct UnknownKind {
    /// The word.
    pub given: String,
}

impl FromStr for Kind {
    type Err = UnknownKind;

    /// Singular and plural both.
    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let is_named = |name: &str| text.eq_ignore_ascii_case(name);
        let found = Self::ALL.into_iter().find(|kind| is_named(kind.plural()) || is_named(kind.singular()));
        found.ok_or_else(|| UnknownKind { given: text.to_owned() })
    }
}

/// A thing that users name and store.
#[derive(Debug, Clone, PartialEq)]
pub enum Artifact {
    /// A place where traffic comes in and is split.
    Gateway(Gateway),
    /// A stored route that gateways refer to.
    Route(Route),
    /// A stored condition that routes refer to.
    Condition(Condition),
    /// A stored rewrite of paths that routes refer to.
    Rewrite(Rewrite),
    /// Something that can be deployed.
    Breed(Breed),
    /// How many instances, and what each may use.
    Scale(Scale),
    /// What a cluster promises.
    Sla(Sla),
    /// What follows when a promise is not kept.
    Escalation(Escalation),
    /// Clusters of services that can be deployed together.
    Blueprint(Blueprint),
    /// Clusters of services that are deployed.
    Deployment(Deployment),
    /// What runs beside deployments.
    Workflow(Workflow),
    /// Part of a document that others import.
    Template(Template),
    /// Where the instances of one service are; written by the control plane itself.
    Instances(Instances),
}

impl Artifact {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Gateway(_) => Kind::Gateway,
            Self::Route(_) => Kind::Route,
            Self::Condition(_) => Kind::Condition,
            Self::Rewrite(_) => Kind::Rewrite,
            Self::Breed(_) => Kind::Breed,
            Self::Scale(_) => Kind::Scale,
            Self::Sla(_) => Kind::Sla,
            Self::Escalation(_) => Kind::Escalation,
            Self::Blueprint(_) => Kind::Blueprint,
            Self::Deployment(_) => Kind::Deployment,
            Self::Workflow(_) => Kind::Workflow,
            Self::Template(_) => Kind::Template,
            Self::Instances(_) => Kind::Instances,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Gateway(found) => &found.name,
            Self::Route(found) => &found.name,
            Self::Condition(found) => &found.name,
            Self::Rewrite(found) => &found.name,
            Self::Breed(found) => &found.name,
            Self::Scale(found) => &found.name,
            Self::Sla(found) => &found.name,
            Self::Escalation(found) => &found.name,
            Self::Blueprint(found) => &found.name,
            Self::Deployment(found) => &found.name,
            Self::Workflow(found) => &found.name,
            Self::Template(found) => &found.name,
            Self::Instances(found) => &found.name,
        }
    }

    /// What its author keeps with it; none of what only the control plane writes.
    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        match self {
            Self::Gateway(found) => Some(&found.metadata),
            Self::Route(found) => Some(&found.body.metadata),
            Self::Condition(found) => Some(&found.metadata),
            Self::Rewrite(found) => Some(&found.metadata),
            Self::Breed(found) => Some(&found.metadata),
            Self::Scale(found) => Some(&found.metadata),
            Self::Sla(found) => Some(&found.metadata),
            Self::Escalation(found) => Some(&found.metadata),
            Self::Blueprint(found) => Some(&found.metadata),
            Self::Deployment(found) => Some(&found.metadata),
            Self::Workflow(found) => Some(&found.metadata),
            Self::Template(found) => Some(&found.metadata),
            Self::Instances(_) => None,
        }
    }
}

/// The artifact in the documents' field names, as it is stored and shown; [`crate::read`] reads it back as the same
/// artifact.
pub fn to_json(artifact: &Artifact) -> Value {
    match artifact {
        Artifact::Gateway(found) => found.to_json(),
        Artifact::Route(found) => found.to_json(),
        Artifact::Condition(found) => found.to_json(),
        Artifact::Rewrite(found) => found.to_json(),
        Artifact::Breed(found) => found.to_json(),
        Artifact::Scale(found) => found.to_json(),
        Artifact::Sla(found) => found.to_json(),
        Artifact::Escalation(found) => found.to_json(),
        Artifact::Blueprint(found) => found.to_json(),
        Artifact::Deployment(found) => found.to_json(),
        Artifact::Workflow(found) => found.to_json(),
        Artifact::Template(found) => found.to_json(),
        Artifact::Instances(found) => found.to_json(),
    }
}
