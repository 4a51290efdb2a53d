//! Stable hashed names, as the original computes them: logs, metrics and dashboards of users key on them.

use sha1::{Digest as _, Sha1};

const GATEWAY: &str = "io.vamp.model.artifact.Gateway";
const ROUTE: &str = "io.vamp.model.artifact.DefaultRoute";
const BREED: &str = "io.vamp.model.artifact.DefaultBreed";
const DEPLOYMENT: &str = "io.vamp.model.artifact.Deployment";
const WORKFLOW: &str = "io.vamp.model.artifact.Workflow";
const INSTANCE: &str = "io.vamp.model.artifact.InternalRouteTarget";
const EXTERNAL: &str = "io.vamp.model.artifact.ExternalRouteTarget";
const NAMESPACE: &str = "io.vamp.common.Namespace";

/// Lookup name of a gateway.
pub fn gateway(name: &str) -> String {
    hash(GATEWAY, name)
}

/// Lookup name of a breed.
pub(crate) fn breed(name: &str) -> String {
    hash(BREED, name)
}

/// Lookup name of a deployment.
pub(crate) fn deployment(name: &str) -> String {
    hash(DEPLOYMENT, name)
}

/// Lookup name of a workflow.
pub(crate) fn workflow(name: &str) -> String {
    hash(WORKFLOW, name)
}

/// Lookup name of a stored route.
pub(crate) fn stored_route(name: &str) -> String {
    hash(ROUTE, name)
}

/// Lookup name of a route inside its gateway. `path` is the route's key as its author wrote it.
pub fn route(gateway: &str, path: &str) -> String {
    let segments: Vec<&str> = if path.starts_with('[') { vec![path] } else { path.split('/').collect() };
    let padded = |given: &[&str]| {
        let stars = std::iter::repeat_n("*", 4_usize.saturating_sub(given.len()));
        given.iter().copied().chain(stars).collect::<Vec<_>>().join("/")
    };
    // The name of the gateway counts as one segment, however many it has.
    hash(GATEWAY, &format!("{}/{}", padded(&[gateway]), padded(&segments)))
}

/// Lookup name of an instance behind a route.
pub fn instance(name: &str) -> String {
    hash(INSTANCE, name)
}

/// Lookup name of an address behind a route.
pub fn external(address: &str) -> String {
    hash(EXTERNAL, address)
}

/// Lookup name of a namespace.
pub fn namespace(name: &str) -> String {
    hash(NAMESPACE, name)
}

/// The original renders the digest as one big number, so leading zeros are missing.
fn hash(class: &str, name: &str) -> String {
    let digest = Sha1::digest(format!("class {class}@{name}v1"));
    let hex = digest
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xF])
        .filter_map(|nibble| char::from_digit(u32::from(nibble), 16));
    hex.skip_while(|digit| *digit == '0').collect()
}
