//! The variables that an instance gets: values with everything that they refer to put in its place.

use std::collections::BTreeMap;

use vamp_model::value::{Part, ValueReference, parse, references};
use vamp_model::{Breed, Cluster, Deployment, HealthCheck, Service, Variable};

use super::{breed, inner_gateway, meets};

/// What values may refer to beside other values.
pub(crate) trait Values {
    /// Where clients inside find the gateways.
    fn gateway_host(&self) -> &str;
    /// The port of a gateway.
    fn gateway_port(&self, gateway: &str) -> Option<u16>;
}

/// A value that can't be made yet, or never; in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unresolved(pub(crate) String);

/// LIMIT: values that refer to values; a longer chain is most likely a circle.
const DEPTH_MAX: u32 = 16;

/// The variables of an instance of a service, by the name under which it gets them.
pub(crate) fn environment(
    deployment: &Deployment,
    cluster: &Cluster,
    service: &Service,
    breed: &Breed,
    values: &dyn Values,
) -> Result<BTreeMap<String, String>, Unresolved> {
    let mut environment = BTreeMap::new();
    for variable in &breed.environment {
        let scope = Scope { deployment, cluster, service, breed };
        let value = scope.variable(variable, values, 0)?;
        environment.insert(variable.alias.clone().unwrap_or_else(|| variable.name.clone()), value);
    }
    Ok(environment)
}

/// Whose value it is.
#[derive(Clone, Copy)]
struct Scope<'d> {
    deployment: &'d Deployment,
    cluster: &'d Cluster,
    service: &'d Service,
    breed: &'d Breed,
}

impl<'d> Scope<'d> {
    /// Where the value of a variable stands: with the service, in the deployment, in the breed.
    fn given(self, variable: &'d Variable) -> Option<(&'d str, bool)> {
        let own = self.service.environment.iter().find(|(name, _)| *name == variable.name);
        let shared = || {
            let all = &self.deployment.body.environment;
            all.iter().find(|found| found.cluster == self.cluster.name && found.name == variable.name)
        };
        let own = own.map(|(_, value)| value.as_str());
        match own.or_else(|| shared().map(|found| found.value.as_str())) {
            Some(value) => Some((value, false)),
            None => variable.value.as_deref().map(|value| (value, true)),
        }
    }

    fn variable(self, variable: &'d Variable, values: &dyn Values, depth: u32) -> Result<String, Unresolved> {
        let name = &variable.name;
        let Some((text, is_of_breed)) = self.given(variable) else {
            return Err(Unresolved(format!("variable `{name}` of breed `{}` has no value", self.breed.name)));
        };
        if depth > DEPTH_MAX {
            return Err(Unresolved(format!("variable `{name}` of breed `{}` refers to itself", self.breed.name)));
        }
        let parts = parse(text).map_err(|error| Unresolved(format!("variable `{name}`: {}", error.message)))?;
        let mut value = String::new();
        for part in parts {
            match part {
                Part::Text(text) => value.push_str(&text),
                Part::Reference(reference) => {
                    let found = self.follow(&reference, is_of_breed, values, depth.saturating_add(1));
                    value.push_str(&found.map_err(|why| Unresolved(format!("variable `{name}`: {}", why.0)))?);
                }
            }
        }
        Ok(value)
    }

    fn follow(
        self,
        reference: &ValueReference,
        is_of_breed: bool,
        values: &dyn Values,
        depth: u32,
    ) -> Result<String, Unresolved> {
        if let ValueReference::Local(name) = reference {
            return self.own(name, values, depth);
        }
        let cluster = self.cluster_of(reference, is_of_breed)?;
        let missing = || Unresolved(format!("`{reference}` is nothing that cluster `{}` has", cluster.name));
        match reference {
            ValueReference::Local(_) => Err(missing()),
            ValueReference::Host(_) => Ok(values.gateway_host().to_owned()),
            ValueReference::Port { port, .. } => {
                let gateway = inner_gateway(&self.deployment.name, &cluster.name, port);
                values.gateway_port(&gateway).map(|port| port.to_string()).ok_or_else(missing)
            }
            ValueReference::Variable { name, .. } => {
                let others = cluster.services.iter().filter_map(|service| Some((service, breed(service)?)));
                let mut found = others.filter_map(|(service, breed)| {
                    let variable = breed.environment.iter().find(|variable| variable.name == *name)?;
                    Some((Self { deployment: self.deployment, cluster, service, breed }, variable))
                });
                let (scope, variable) = found.next().ok_or_else(missing)?;
                scope.variable(variable, values, depth)
            }
            ValueReference::Constant { name, .. } => {
                let mut constants = cluster.services.iter().filter_map(breed).flat_map(|breed| &breed.constants);
                let found = constants.find(|(constant, _)| constant == name);
                found.map(|(_, value)| value.clone()).ok_or_else(missing)
            }
        }
    }

    fn own(self, name: &str, values: &dyn Values, depth: u32) -> Result<String, Unresolved> {
        if let Some(variable) = self.breed.environment.iter().find(|variable| variable.name == name) {
            return self.variable(variable, values, depth);
        }
        let constant = self.breed.constants.iter().find(|(constant, _)| constant == name);
        let missing =
            || Unresolved(format!("`${name}` is neither a variable nor a constant of breed `{}`", self.breed.name));
        constant.map(|(_, value)| value.clone()).ok_or_else(missing)
    }

    /// The cluster that a reference names: in a breed's own values by the alias of a dependency.
    fn cluster_of(self, reference: &ValueReference, is_of_breed: bool) -> Result<&'d Cluster, Unresolved> {
        let named = reference.cluster().unwrap_or_default();
        let clusters = &self.deployment.body.clusters;
        let dependency = self.breed.dependencies.iter().find(|(alias, _)| is_of_breed && alias == named);
        let found = match dependency {
            Some((_, dependency)) => clusters
                .iter()
                .find(|cluster| cluster.services.iter().any(|service| meets(dependency.name(), service.breed.name()))),
            None => self.deployment.cluster(named),
        };
        found.ok_or_else(|| {
            Unresolved(format!("`{reference}` names no cluster of deployment `{}`", self.deployment.name))
        })
    }
}

/// Stands for the gateways while a deployment is only checked.
struct AnyPort;

impl Values for AnyPort {
    fn gateway_host(&self) -> &'static str {
        "gateway"
    }

    fn gateway_port(&self, _gateway: &str) -> Option<u16> {
        Some(1)
    }
}

/// What is wrong with the values of a service, and the mend.
pub(super) fn faults(
    deployment: &Deployment,
    cluster: &Cluster,
    service: &Service,
    breed: &Breed,
) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    for (name, _) in &service.environment {
        if !breed.environment.iter().any(|variable| variable.name == *name) {
            let message = format!("breed `{}` has no variable `{name}`", breed.name);
            faults.push((message, "declare it in the breed, or remove it".to_owned()));
        }
    }
    for variable in &breed.environment {
        let scope = Scope { deployment, cluster, service, breed };
        if let Err(Unresolved(why)) = scope.variable(variable, &AnyPort, 0) {
            let hint = format!("give it a value: `environment_variables: {{{}: …}}`", variable.name);
            faults.push((why, hint));
            continue;
        }
        // A port that no service has would have a gateway only in the check.
        let text = scope.given(variable).map(|(text, _)| text).unwrap_or_default();
        let is_of_breed = scope.given(variable).is_some_and(|(_, is_of_breed)| is_of_breed);
        for reference in references(text) {
            let ValueReference::Port { port, .. } = &reference else { continue };
            let Ok(target) = scope.cluster_of(&reference, is_of_breed) else { continue };
            let mut breeds = target.services.iter().filter_map(super::breed);
            if !breeds.any(|breed| breed.ports.iter().any(|found| found.name == *port)) {
                let message = format!("`{reference}`: cluster `{}` has no port `{port}`", target.name);
                faults.push((message, "name a port of one of its breeds".to_owned()));
            }
        }
    }
    // A value that only refers to one that is missing would say the same again.
    let reasons: Vec<String> = faults.iter().map(|(why, _)| why.clone()).collect();
    faults.retain(|(why, _)| !reasons.iter().any(|other| other != why && why.ends_with(other.as_str())));
    faults
}

/// The health checks of a service: its own with those of its cluster beside them, or its cluster's, or its breed's.
pub(crate) fn health_checks<'d>(cluster: &'d Cluster, service: &'d Service, breed: &'d Breed) -> Vec<&'d HealthCheck> {
    let has_port =
        |check: &&HealthCheck| check.port().is_none_or(|port| breed.ports.iter().any(|known| known.name == port));
    let of_cluster = || cluster.health_checks.iter().flatten().filter(has_port);
    match &service.health_checks {
        Some(own) if own.is_empty() => Vec::new(),
        Some(own) => {
            let others = of_cluster().filter(|check| !own.iter().any(|known| known.probe == check.probe));
            own.iter().chain(others).collect()
        }
        None if cluster.health_checks.is_some() => of_cluster().collect(),
        None => breed.health_checks.iter().flatten().collect(),
    }
}
