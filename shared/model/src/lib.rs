//! Artifacts and their documents: read, checked, written. Pure: text in, artifacts or violations out.
//!
//! [`read`] collects everything that is wrong with a text at once, each with its place and its mend. Field names and
//! short forms are those of the original's documents, so that what users have stored reads the same.

mod artifact;
mod condition;
mod decode;
mod document;
mod emit;
mod gateway;
pub mod host;
mod json;
pub mod lookup;
mod name;
mod near;
mod path;
pub mod percent;
mod reference;
mod route;
mod tcp;
mod tree;
mod violation;
pub mod weights;
mod yaml;

pub use artifact::{Artifact, Kind, UnknownKind, to_json};
pub use condition::{Condition, ConditionUse};
pub(crate) use document::metadata;
pub use document::{Document, Format, read, read_as};
pub use emit::to_yaml;
pub use gateway::{Gateway, GatewayRoute, RouteUse};
pub use near::nearest;
pub use path::RoutePath;
pub use reference::{Reference, references};
pub use route::{Rewrite, Route, RouteBody};
pub use violation::{Violation, step};
