//! Artifacts with everything that they refer to written out, and with as much as can be left to references.

use crate::artifact::{Artifact, Kind};
use crate::blueprint::Topology;
use crate::breed::{Breed, BreedUse};
use crate::condition::ConditionUse;
use crate::gateway::RouteUse;
use crate::rewrite::RewriteUse;
use crate::route::RouteBody;
use crate::scale::ScaleUse;
use crate::sla::{EscalationBody, EscalationUse, SlaUse};

/// LIMIT: references that are written out for one artifact: a breed can need breeds that need the same ones, and what is
/// written out doubles with each step. The rest stay references.
const EXPANDED_MAX: usize = 10_000;

/// LIMIT: artifacts that are written out inside of each other.
const DEPTH_MAX: usize = 32;

/// Writes out everything that an artifact refers to, and what that refers to. What is not there stays a reference; so
/// does what stands inside of itself.
pub fn expand<'s>(artifact: &mut Artifact, stored: &'s dyn Fn(Kind, &str) -> Option<&'s Artifact>) {
    let mut expansion = Expansion { stored, left: EXPANDED_MAX, open: Vec::new() };
    match artifact {
        Artifact::Gateway(gateway) => {
            gateway.routes.iter_mut().for_each(|route| expansion.route(&mut route.content));
        }
        Artifact::Route(route) => expansion.body(&mut route.body),
        Artifact::Sla(sla) => expansion.escalations(&mut sla.body.escalations),
        Artifact::Escalation(escalation) => expansion.escalation(&mut escalation.body),
        Artifact::Breed(breed) => expansion.breed(breed),
        Artifact::Blueprint(blueprint) => expansion.topology(&mut blueprint.body),
        Artifact::Deployment(deployment) => expansion.topology(&mut deployment.body),
        Artifact::Workflow(workflow) => {
            expansion.breed_use(&mut workflow.breed);
            workflow.scale.iter_mut().for_each(|scale| expansion.scale(scale));
        }
        Artifact::Condition(_)
        | Artifact::Rewrite(_)
        | Artifact::Scale(_)
        | Artifact::Template(_)
        | Artifact::Instances(_) => {}
    }
}

/// Leaves nothing of the breeds of services, and of those that breeds need, but their names.
pub fn contract(artifact: &mut Artifact) {
    let contract = |breed: &mut BreedUse| *breed = BreedUse::Stored(breed.name().to_owned());
    let topology = match artifact {
        Artifact::Breed(breed) => {
            return breed.dependencies.iter_mut().for_each(|(_, dependency)| contract(dependency));
        }
        Artifact::Workflow(workflow) => return contract(&mut workflow.breed),
        Artifact::Blueprint(blueprint) => &mut blueprint.body,
        Artifact::Deployment(deployment) => &mut deployment.body,
        _ => return,
    };
    let services = topology.clusters.iter_mut().flat_map(|cluster| &mut cluster.services);
    services.for_each(|service| contract(&mut service.breed));
}

struct Expansion<'s> {
    stored: &'s dyn Fn(Kind, &str) -> Option<&'s Artifact>,
    left: usize,
    /// Those that are being written out, each inside of the one before.
    open: Vec<(Kind, String)>,
}

impl<'s> Expansion<'s> {
    fn find(&mut self, kind: Kind, name: &str) -> Option<&'s Artifact> {
        let is_inside = self.open.iter().any(|(open, inside)| (*open, inside.as_str()) == (kind, name));
        if is_inside || self.open.len() >= DEPTH_MAX {
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        (self.stored)(kind, name)
    }

    fn topology(&mut self, body: &mut Topology) {
        for gateway in &mut body.gateways {
            gateway.body.routes.iter_mut().for_each(|route| self.route(&mut route.content));
        }
        for cluster in &mut body.clusters {
            for (_, gateway) in &mut cluster.gateways {
                gateway.routes.iter_mut().for_each(|route| self.route(&mut route.content));
            }
            cluster.sla.iter_mut().for_each(|sla| self.sla(sla));
            for service in &mut cluster.services {
                self.breed_use(&mut service.breed);
                service.scale.iter_mut().for_each(|scale| self.scale(scale));
            }
        }
    }

    fn breed_use(&mut self, breed: &mut BreedUse) {
        if let BreedUse::Stored(name) = breed
            && let Some(Artifact::Breed(found)) = self.find(Kind::Breed, name)
        {
            *breed = BreedUse::Inline(Box::new(found.clone()));
        }
        if let BreedUse::Inline(breed) = breed {
            self.breed(breed);
        }
    }

    fn breed(&mut self, breed: &mut Breed) {
        self.open.push((Kind::Breed, breed.name.clone()));
        breed.dependencies.iter_mut().for_each(|(_, dependency)| self.breed_use(dependency));
        self.open.pop();
    }

    fn scale(&mut self, scale: &mut ScaleUse) {
        if let ScaleUse::Stored(name) = scale
            && let Some(Artifact::Scale(found)) = self.find(Kind::Scale, name)
        {
            *scale = ScaleUse::Inline(found.size);
        }
    }

    fn sla(&mut self, sla: &mut SlaUse) {
        if let SlaUse::Stored { reference, escalations } = sla
            && let Some(Artifact::Sla(found)) = self.find(Kind::Sla, reference)
        {
            let mut body = found.body.clone();
            if !escalations.is_empty() {
                body.escalations = std::mem::take(escalations);
            }
            *sla = SlaUse::Inline(body);
        }
        match sla {
            SlaUse::Stored { escalations, .. } => self.escalations(escalations),
            SlaUse::Inline(body) => self.escalations(&mut body.escalations),
        }
    }

    fn escalations(&mut self, escalations: &mut [EscalationUse]) {
        for escalation in escalations {
            match escalation {
                EscalationUse::Inline(body) => self.escalation(body),
                EscalationUse::Stored(name) => {
                    let Some(Artifact::Escalation(found)) = self.find(Kind::Escalation, name) else { continue };
                    self.open.push((Kind::Escalation, std::mem::take(name)));
                    let mut body = found.body.clone();
                    self.escalation(&mut body);
                    self.open.pop();
                    *escalation = EscalationUse::Inline(body);
                }
            }
        }
    }

    fn escalation(&mut self, body: &mut EscalationBody) {
        if let EscalationBody::ToAll(inner) | EscalationBody::ToOne(inner) = body {
            self.escalations(inner);
        }
    }

    fn route(&mut self, route: &mut RouteUse) {
        if let RouteUse::Stored { reference, weight } = route
            && let Some(Artifact::Route(found)) = self.find(Kind::Route, reference)
        {
            let body = RouteBody { weight: weight.or(found.body.weight), ..found.body.clone() };
            *route = RouteUse::Inline(body);
        }
        if let RouteUse::Inline(body) = route {
            self.body(body);
        }
    }

    fn body(&mut self, body: &mut RouteBody) {
        if let Some(ConditionUse::Stored(name)) = &body.condition
            && let Some(Artifact::Condition(found)) = self.find(Kind::Condition, name)
        {
            body.condition = Some(ConditionUse::Inline(found.text.clone()));
        }
        for rewrite in &mut body.rewrites {
            if let RewriteUse::Stored(name) = rewrite
                && let Some(Artifact::Rewrite(found)) = self.find(Kind::Rewrite, name)
            {
                *rewrite = RewriteUse::Inline(found.rule.clone());
            }
        }
    }
}
