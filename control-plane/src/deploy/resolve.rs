//! The variables that an instance gets: values with everything that they refer to put in its place.

use std::collections::{BTreeMap, HashSet};

use vamp_model::value::{Part, ValueReference, parse, references};
use vamp_model::{Breed, Cluster, Deployment, HealthCheck, Service, VIOLATIONS_MAX, Variable, listed};

use super::{breed, inner_gateway, meets};

/// What values may refer to beside other values.
pub(crate) trait Values {
    /// Where clients inside find the gateways.
    fn gateway_host(&self) -> &str;
    /// The port of a gateway.
    fn gateway_port(&self, gateway: &str) -> Option<u16>;
}

/// A value that can't be made yet, or never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unresolved {
    /// Why, in words.
    pub(crate) why: String,
    mend: String,
    lack: Lack,
}

/// What a value lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lack {
    /// Something that can't be there.
    Sense,
    /// A value that somebody has to give.
    Value,
    /// A breed: one that is not known here, or the dependency that it refers to.
    Breed,
}

impl Unresolved {
    fn new(why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { why: why.into(), mend: mend.into(), lack: Lack::Sense }
    }

    fn lacking(self, lack: Lack) -> Self {
        Self { lack, ..self }
    }

    /// The same, told of the variable that needs the value.
    fn of(self, variable: &str) -> Self {
        Self { why: format!("variable `{variable}`: {}", self.why), ..self }
    }
}

/// LIMIT: values that refer to values; a longer chain is most likely a circle.
const DEPTH_MAX: usize = 16;

/// LIMIT: references followed for one variable. Each value may name others several times, and these others again: what
/// is followed can double with each step.
const REFERENCES_MAX: u32 = 1_000;

/// LIMIT: bytes of one variable with all its values in place: Linux starts no program with a longer one.
const VALUE_BYTES_MAX: usize = 128 * 1024;

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
        let value = scope.variable(variable, &mut Way::new(values))?;
        environment.insert(variable.alias.clone().unwrap_or_else(|| variable.name.clone()), value);
    }
    Ok(environment)
}

/// How far the references of one variable have been followed.
struct Way<'d> {
    values: &'d dyn Values,
    /// The variables whose values are being put together, by breed and name: each needs the next one.
    open: Vec<(&'d str, &'d str)>,
    followed: u32,
}

impl<'d> Way<'d> {
    fn new(values: &'d dyn Values) -> Self {
        Self { values, open: Vec::new(), followed: 0 }
    }
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

    fn variable(self, variable: &'d Variable, way: &mut Way<'d>) -> Result<String, Unresolved> {
        let name = &variable.name;
        let Some((text, is_of_breed)) = self.given(variable) else {
            let why = format!("variable `{name}` of breed `{}` has no value", self.breed.name);
            let mend = format!("give it a value: `environment_variables: {{{name}: …}}`");
            return Err(Unresolved::new(why, mend).lacking(Lack::Value));
        };
        let own = (self.breed.name.as_str(), name.as_str());
        if way.open.contains(&own) || way.open.len() >= DEPTH_MAX {
            let why = format!("variable `{name}` of breed `{}` refers to itself", self.breed.name);
            return Err(Unresolved::new(why, "give one of the variables that it refers to a value of its own"));
        }
        way.open.push(own);
        let value = self.value(text, is_of_breed, way).map_err(|unresolved| unresolved.of(name));
        way.open.pop();
        value
    }

    /// What stands in the way of a value: each reference by itself, once, as far as they may be followed together. One that
    /// leads nowhere hides no other.
    fn unresolved(self, variable: &'d Variable) -> Vec<Unresolved> {
        let mut unresolved = Vec::new();
        let mut followed = HashSet::new();
        let mut way = Way { open: vec![(&self.breed.name, &variable.name)], ..Way::new(&AnyPort) };
        if let Some((text, is_of_breed)) = self.given(variable) {
            for reference in references(text) {
                if way.followed > REFERENCES_MAX {
                    break;
                }
                if followed.insert(reference.clone()) {
                    let found = self.follow(&reference, is_of_breed, &mut way);
                    unresolved.extend(found.err().map(|unresolved| unresolved.of(&variable.name)));
                }
            }
        }
        if unresolved.is_empty() {
            unresolved.extend(self.variable(variable, &mut Way::new(&AnyPort)).err());
        }
        unresolved
    }

    fn value(self, text: &str, is_of_breed: bool, way: &mut Way<'d>) -> Result<String, Unresolved> {
        let parts = parse(text).map_err(|error| Unresolved::new(error.message, error.hint))?;
        let mut value = String::new();
        for part in parts {
            match part {
                Part::Text(text) => value.push_str(&text),
                Part::Reference(reference) => value.push_str(&self.follow(&reference, is_of_breed, way)?),
            }
            if value.len() > VALUE_BYTES_MAX {
                let why = format!("it would be longer than {VALUE_BYTES_MAX} bytes");
                return Err(Unresolved::new(why, "shorten it, or hand the content over in a file"));
            }
        }
        Ok(value)
    }

    fn follow(self, reference: &ValueReference, is_of_breed: bool, way: &mut Way<'d>) -> Result<String, Unresolved> {
        way.followed = way.followed.saturating_add(1);
        if way.followed > REFERENCES_MAX {
            let why = format!("more than {REFERENCES_MAX} references would be followed for it");
            return Err(Unresolved::new(why, "write some of the values out"));
        }
        if let ValueReference::Local(name) = reference {
            return self.own(name, way);
        }
        let cluster = self.cluster_of(reference, is_of_breed)?;
        offers(cluster, reference)?;
        let missing = || {
            let why = format!("`{reference}` is nothing that cluster `{}` has", cluster.name);
            Unresolved::new(why, "deploy the cluster first")
        };
        match reference {
            ValueReference::Local(_) => Err(missing()),
            ValueReference::Host(_) => Ok(way.values.gateway_host().to_owned()),
            ValueReference::Port { port, .. } => {
                let gateway = inner_gateway(&self.deployment.name, &cluster.name, port);
                way.values.gateway_port(&gateway).map(|port| port.to_string()).ok_or_else(missing)
            }
            ValueReference::Variable { name, .. } => {
                let others = cluster.services.iter().filter_map(|service| Some((service, breed(service)?)));
                let mut found = others.filter_map(|(service, breed)| {
                    let variable = breed.environment.iter().find(|variable| variable.name == *name)?;
                    Some((Self { deployment: self.deployment, cluster, service, breed }, variable))
                });
                let (scope, variable) = found.next().ok_or_else(missing)?;
                scope.variable(variable, way)
            }
            ValueReference::Constant { name, .. } => {
                let mut constants = cluster.services.iter().filter_map(breed).flat_map(|breed| &breed.constants);
                let found = constants.find(|(constant, _)| constant == name);
                found.map(|(_, value)| value.clone()).ok_or_else(missing)
            }
        }
    }

    fn own(self, name: &str, way: &mut Way<'d>) -> Result<String, Unresolved> {
        if let Some(variable) = self.breed.environment.iter().find(|variable| variable.name == name) {
            return self.variable(variable, way);
        }
        let constant = self.breed.constants.iter().find(|(constant, _)| constant == name);
        constant.map(|(_, value)| value.clone()).ok_or_else(|| {
            let why = format!("`${name}` is neither a variable nor a constant of breed `{}`", self.breed.name);
            Unresolved::new(why, "declare it in the breed, or write `$$` for a dollar sign")
        })
    }

    /// The cluster that a reference names: in a breed's own values by the alias of a dependency.
    fn cluster_of(self, reference: &ValueReference, is_of_breed: bool) -> Result<&'d Cluster, Unresolved> {
        let named = reference.cluster().unwrap_or_default();
        let clusters = &self.deployment.body.clusters;
        let dependency = self.breed.dependencies.iter().find(|(alias, _)| is_of_breed && alias == named);
        let (found, lack) = match dependency {
            Some((_, dependency)) => {
                let has = |service: &Service| meets(dependency.name(), service.breed.name());
                (clusters.iter().find(|cluster| cluster.services.iter().any(has)), Lack::Breed)
            }
            None => (self.deployment.cluster(named), Lack::Sense),
        };
        found.ok_or_else(|| {
            let why = format!("`{reference}` names no cluster of deployment `{}`", self.deployment.name);
            let all: Vec<&str> = clusters.iter().map(|cluster| cluster.name.as_str()).collect();
            Unresolved::new(why, format!("it has {}", listed(&all))).lacking(lack)
        })
    }
}

/// Whether one of the breeds of a cluster has what a reference names.
fn offers(cluster: &Cluster, reference: &ValueReference) -> Result<(), Unresolved> {
    let mut unknown = false;
    let mut refused = None;
    for service in &cluster.services {
        match breed(service).map(|breed| breed.offers(reference)) {
            Some(Ok(())) => return Ok(()),
            Some(Err((why, mend))) => refused = refused.or(Some((why, mend))),
            None => unknown = true,
        }
    }
    let (why, mend) = refused.unwrap_or_else(|| (format!("cluster `{}` has no service", cluster.name), String::new()));
    let unresolved = Unresolved::new(format!("`{reference}`: {why}"), mend);
    Err(if unknown { unresolved.lacking(Lack::Breed) } else { unresolved })
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

/// A variable of a service that can't get its value.
pub(super) struct Fault {
    pub(super) variable: String,
    pub(super) why: String,
    pub(super) mend: String,
    pub(super) lack: Lack,
}

/// What is wrong with the values of a service.
pub(super) fn faults(deployment: &Deployment, cluster: &Cluster, service: &Service, breed: &Breed) -> Vec<Fault> {
    let mut faults = Vec::new();
    let scope = Scope { deployment, cluster, service, breed };
    for variable in &breed.environment {
        faults.extend(scope.unresolved(variable).into_iter().map(|Unresolved { why, mend, lack }| Fault {
            variable: variable.name.clone(),
            why,
            mend,
            lack,
        }));
        cut(&mut faults, |fault| fault.lack);
    }
    // A value that only refers to one that is missing would say the same again.
    let reasons: HashSet<String> = faults.iter().map(|fault| fault.why.clone()).collect();
    faults.retain(|fault| !reasons_in(&fault.why).any(|reason| reasons.contains(reason)));
    faults
}

/// What stands behind the variables that lead to it: `variable `a`: variable `b`: …`.
fn reasons_in(why: &str) -> impl Iterator<Item = &str> {
    let ends = why.match_indices(": ").take(DEPTH_MAX);
    ends.filter_map(|(at, colon)| why.get(at.saturating_add(colon.len())..))
}

/// Cuts what is told where readers of documents do. What only lacks something hides nothing that makes no sense: of each
/// sort as many are kept.
pub(super) fn cut<F, Sort: Ord>(faults: &mut Vec<F>, sort: impl Fn(&F) -> Sort) {
    let mut told = BTreeMap::new();
    faults.retain(|fault| {
        let count = told.entry(sort(fault)).or_insert(0_usize);
        *count = count.saturating_add(1);
        *count <= VIOLATIONS_MAX
    });
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
