//! What an artifact needs others for.

use crate::artifact::{Artifact, Kind};
use crate::blueprint::{InnerGateway, Service, Topology};
use crate::breed::{Breed, BreedUse};
use crate::condition::ConditionUse;
use crate::gateway::{Gateway, RouteUse};
use crate::path::RoutePath;
use crate::rewrite::RewriteUse;
use crate::route::RouteBody;
use crate::scale::ScaleUse;
use crate::sla::{EscalationBody, EscalationUse, SlaUse};
use crate::violation::step;
use crate::workflow::Workflow;

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
        Artifact::Sla(sla) => of_escalations(&sla.body.escalations, "", &mut found),
        Artifact::Escalation(escalation) => of_escalation(&escalation.body, "", &mut found),
        Artifact::Breed(breed) => of_breed(breed, "", &mut found),
        Artifact::Blueprint(blueprint) => of_topology(&blueprint.body, &mut found),
        Artifact::Deployment(deployment) => of_topology(&deployment.body, &mut found),
        Artifact::Workflow(workflow) => of_workflow(workflow, &mut found),
        Artifact::Template(template) => {
            let imports = template.imports().into_iter();
            let pointer = "/definition/import";
            found.extend(imports.map(|(kind, name)| Reference { kind, name, pointer: pointer.to_owned() }));
        }
        Artifact::Condition(_) | Artifact::Rewrite(_) | Artifact::Scale(_) | Artifact::Instances(_) => {}
    }
    found
}

fn of_gateway(gateway: &Gateway, found: &mut Vec<Reference>) {
    for route in &gateway.routes {
        let pointer = step("/routes", &route.path.to_string());
        if let RoutePath::Gateway(name) = &route.path {
            found.push(Reference { kind: Kind::Gateway, name: name.clone(), pointer: pointer.clone() });
        }
        if let Some((service, _)) = route.path.service() {
            found.push(Reference { kind: Kind::Instances, name: service.to_owned(), pointer: pointer.clone() });
        }
        of_route(&route.content, pointer, found);
    }
}

fn of_route(route: &RouteUse, pointer: String, found: &mut Vec<Reference>) {
    match route {
        RouteUse::Inline(body) => of_body(body, &pointer, found),
        RouteUse::Stored { reference, .. } => {
            found.push(Reference { kind: Kind::Route, name: reference.clone(), pointer });
        }
    }
}

fn of_inner_gateway(gateway: &InnerGateway, pointer: &str, found: &mut Vec<Reference>) {
    for route in &gateway.routes {
        let pointer = step(&step(pointer, "routes"), &route.path.to_string());
        of_route(&route.content, pointer, found);
    }
}

fn of_breed(breed: &Breed, pointer: &str, found: &mut Vec<Reference>) {
    for (alias, dependency) in &breed.dependencies {
        let pointer = step(&step(pointer, "dependencies"), alias);
        match dependency {
            BreedUse::Stored(name) => found.push(Reference { kind: Kind::Breed, name: name.clone(), pointer }),
            BreedUse::Inline(breed) => of_breed(breed, &pointer, found),
        }
    }
}

fn of_topology(body: &Topology, found: &mut Vec<Reference>) {
    for gateway in &body.gateways {
        of_inner_gateway(&gateway.body, &step("/gateways", &gateway.key), found);
    }
    for cluster in &body.clusters {
        let pointer = step("/clusters", &cluster.name);
        for (port, gateway) in &cluster.gateways {
            of_inner_gateway(gateway, &step(&step(&pointer, "gateways"), port), found);
        }
        if let Some(sla) = &cluster.sla {
            of_sla(sla, &step(&pointer, "sla"), found);
        }
        for (index, service) in cluster.services.iter().enumerate() {
            of_service(service, &format!("{pointer}/services/{index}"), found);
        }
    }
}

fn of_workflow(workflow: &Workflow, found: &mut Vec<Reference>) {
    if let BreedUse::Stored(name) = &workflow.breed {
        found.push(Reference { kind: Kind::Breed, name: name.clone(), pointer: "/breed".to_owned() });
    }
    if let Some(ScaleUse::Stored(name)) = &workflow.scale {
        found.push(Reference { kind: Kind::Scale, name: name.clone(), pointer: "/scale".to_owned() });
    }
}

fn of_service(service: &Service, pointer: &str, found: &mut Vec<Reference>) {
    match &service.breed {
        BreedUse::Stored(name) => {
            found.push(Reference { kind: Kind::Breed, name: name.clone(), pointer: step(pointer, "breed") });
        }
        // What a breed that is written out needs is the deployment's to find: it may run there already.
        BreedUse::Inline(_) => {}
    }
    if let Some(ScaleUse::Stored(name)) = &service.scale {
        found.push(Reference { kind: Kind::Scale, name: name.clone(), pointer: step(pointer, "scale") });
    }
}

fn of_sla(sla: &SlaUse, pointer: &str, found: &mut Vec<Reference>) {
    match sla {
        SlaUse::Stored { reference, escalations } => {
            found.push(Reference { kind: Kind::Sla, name: reference.clone(), pointer: pointer.to_owned() });
            of_escalations(escalations, pointer, found);
        }
        SlaUse::Inline(body) => of_escalations(&body.escalations, pointer, found),
    }
}

fn of_escalations(escalations: &[EscalationUse], pointer: &str, found: &mut Vec<Reference>) {
    for (index, escalation) in escalations.iter().enumerate() {
        let pointer = format!("{pointer}/escalations/{index}");
        match escalation {
            EscalationUse::Stored(name) => {
                found.push(Reference { kind: Kind::Escalation, name: name.clone(), pointer });
            }
            EscalationUse::Inline(body) => of_escalation(body, &pointer, found),
        }
    }
}

fn of_escalation(body: &EscalationBody, pointer: &str, found: &mut Vec<Reference>) {
    if let EscalationBody::ToAll(inner) | EscalationBody::ToOne(inner) = body {
        of_escalations(inner, pointer, found);
    }
}

fn of_body(body: &RouteBody, pointer: &str, found: &mut Vec<Reference>) {
    if let Some(ConditionUse::Stored(name)) = &body.condition {
        let pointer = step(pointer, "condition");
        found.push(Reference { kind: Kind::Condition, name: name.clone(), pointer });
    }
    for (index, rewrite) in body.rewrites.iter().enumerate() {
        if let RewriteUse::Stored(name) = rewrite {
            let pointer = format!("{pointer}/rewrites/{index}");
            found.push(Reference { kind: Kind::Rewrite, name: name.clone(), pointer });
        }
    }
}
