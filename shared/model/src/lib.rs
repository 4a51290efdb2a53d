//! Artifacts and their documents: read, checked, written. Pure: text in, artifacts or violations out.
//!
//! [`read`] collects everything that is wrong with a text at once, each with its place and its mend. Field names and
//! short forms are those of the original's documents, so that what users have stored reads the same.

mod artifact;
mod blueprint;
mod breed;
mod compose;
mod condition;
mod decode;
mod document;
mod emit;
mod expand;
mod gateway;
mod health;
pub mod host;
mod import;
mod instances;
mod json;
mod labels;
pub mod lookup;
mod name;
mod named;
mod near;
mod path;
pub mod percent;
mod period;
mod reading;
mod reference;
mod rewrite;
mod route;
mod scale;
mod schedule;
mod sla;
mod tcp;
mod template;
mod tree;
pub mod unit;
pub mod value;
mod violation;
pub mod weights;
mod workflow;
mod yaml;

pub use artifact::{Artifact, Kind, UnknownKind, to_json};
pub use blueprint::{Blueprint, Cluster, ClusterVariable, Deployment, InnerGateway, OuterGateway, Service, Topology};
pub use breed::{Argument, Breed, BreedPort, BreedUse, DEPLOYABLE_KINDS, Deployable, Offers, Protocol, Variable};
pub use compose::{Composed, Variables, read_compose};
pub use condition::{Condition, ConditionUse};
pub use decode::VIOLATIONS_MAX;
pub(crate) use document::metadata;
pub use document::{
    DeployBody, Document, Format, read, read_as, read_deploy_body, read_scale, read_sla, read_value, read_with,
};
pub use emit::to_yaml;
pub use expand::{contract, expand};
pub use gateway::{Gateway, GatewayRoute, RouteUse};
pub use health::{HealthCheck, Probe};
pub use instances::{Instance, Instances};
pub use labels::{BadSelector, Selector};
pub use named::{Named, read_named};
pub use near::{listed, listed_of, nearest};
pub use path::RoutePath;
pub use period::Period;
pub use reading::Stored;
pub use reference::{Reference, references};
pub use rewrite::{Rewrite, RewriteRule, RewriteUse};
pub use route::{Route, RouteBody};
pub use scale::{INSTANCES_MAX, Scale, ScaleUse, Size};
pub use schedule::{Schedule, Start};
pub use sla::{Escalation, EscalationBody, EscalationUse, Figure, Scaled, Scaling, Sla, SlaBody, SlaRule, SlaUse};
pub use template::Template;
pub use violation::{Violation, step};
pub use workflow::Workflow;
