//! What an artifact needs others for.

use crate::artifact::{Artifact, Kind};
use crate::condition::ConditionUse;
use crate::gateway::{Gateway, RouteUse};
use crate::path::RoutePath;
use crate::route::RouteBody;
use crate::violation::step;

/// One artifact named by another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Kind of the artifact that is named.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Where it is named, as a JSON pointer.
    pub pointer: String,
}

/// Every artifact that this one names, in the order of the document.
pub fn references(artifact: &Artifact) -> Vec<Reference> {
    let mut found = Vec::new();
    match artifact {
        Artifact::Gateway(gateway) => of_gateway(gateway, &mut found),
        Artifact::Route(route) => of_body(&route.body, "", &mut found),
        Artifact::Condition(_) => {}
    }
    found
}

fn of_gateway(gateway: &Gateway, found: &mut Vec<Reference>) {
    for route in &gateway.routes {
        let pointer = step("/routes", &route.path.to_string());
        if let RoutePath::Gateway(name) = &route.path {
            found.push(Reference { kind: Kind::Gateway, name: name.clone(), pointer: pointer.clone() });
        }
        match &route.content {
            RouteUse::Inline(body) => of_body(body, &pointer, found),
            RouteUse::Stored { reference, .. } => {
                found.push(Reference { kind: Kind::Route, name: reference.clone(), pointer });
            }
        }
    }
}

fn of_body(body: &RouteBody, pointer: &str, found: &mut Vec<Reference>) {
    if let Some(ConditionUse::Stored(name)) = &body.condition {
        let pointer = step(pointer, "condition");
        found.push(Reference { kind: Kind::Condition, name: name.clone(), pointer });
    }
}
