//! The variables that an instance gets: values with everything that they refer to put in its place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use vamp_model::value::{Part, ValueReference, parse, references};
use vamp_model::{
    Breed, Cluster, Deployment, HealthCheck, Offers, Probe, Service, VIOLATIONS_MAX, Variable, listed_of,
};

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

/// LIMIT: bytes of all variables of an instance, for the same reason; many may refer to one that is long.
const ENVIRONMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A deployment, to be looked up by name: each of many values refers to parts of it.
pub(crate) struct Index<'d> {
    pub(crate) deployment: &'d Deployment,
    clusters: HashMap<&'d str, Found<'d>>,
    /// The services in the order of the document.
    services: Vec<Own<'d>>,
    /// Where they are, by cluster and breed.
    places: HashMap<(&'d str, &'d str), usize>,
    /// Values that the deployment gives, by cluster and variable.
    shared: HashMap<(&'d str, &'d str), &'d str>,
    /// What breeds depend on, with the first cluster that has it.
    dependencies: HashMap<&'d str, &'d str>,
}

/// A cluster with what its breeds have.
struct Found<'d> {
    cluster: &'d Cluster,
    offers: Offers<'d>,
    /// Where no breed has something, the first one says so.
    first: Option<&'d Breed>,
    /// Whether one of its breeds is not written out.
    is_unknown: bool,
    /// The first of each name, with the place of its service.
    variables: HashMap<&'d str, (usize, &'d Variable)>,
    constants: HashMap<&'d str, &'d str>,
}

/// A service whose breed is written out.
struct Own<'d> {
    cluster: &'d Cluster,
    breed: &'d Breed,
    /// Values that stand with the service.
    given: HashMap<&'d str, &'d str>,
    variables: HashMap<&'d str, &'d Variable>,
    constants: HashMap<&'d str, &'d str>,
    /// What its breed depends on, by alias.
    dependencies: HashMap<&'d str, &'d str>,
}

/// Of two with one name the first counts.
fn first<'d, T>(all: impl DoubleEndedIterator<Item = (&'d str, T)>) -> HashMap<&'d str, T> {
    all.rev().collect()
}

impl<'d> Own<'d> {
    fn of(cluster: &'d Cluster, service: &'d Service, breed: &'d Breed) -> Self {
        let dependencies = breed.dependencies.iter();
        Self {
            cluster,
            breed,
            given: first(service.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            variables: first(breed.environment.iter().map(|variable| (variable.name.as_str(), variable))),
            constants: first(breed.constants.iter().map(|(name, value)| (name.as_str(), value.as_str()))),
            dependencies: first(dependencies.map(|(alias, dependency)| (alias.as_str(), dependency.name()))),
        }
    }
}

impl<'d> Index<'d> {
    pub(crate) fn of(deployment: &'d Deployment) -> Self {
        let mut index = Self {
            deployment,
            clusters: HashMap::new(),
            services: Vec::new(),
            places: HashMap::new(),
            shared: HashMap::new(),
            dependencies: HashMap::new(),
        };
        for found in deployment.body.environment.iter().rev() {
            index.shared.insert((&found.cluster, &found.name), &found.value);
        }
        let mut names: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, cluster) in deployment.body.clusters.iter().enumerate() {
            for service in &cluster.services {
                names.entry(service.breed.name()).or_insert(at);
            }
            index.add(cluster);
        }
        for wanted in index.services.iter().flat_map(|own| own.dependencies.values()) {
            if index.dependencies.contains_key(wanted) {
                continue;
            }
            let first = meeting(&names, wanted).map(|(_, at)| *at).min();
            let cluster = first.and_then(|at| deployment.body.clusters.get(at));
            index.dependencies.extend(cluster.map(|cluster| (*wanted, cluster.name.as_str())));
        }
        index
    }

    fn add(&mut self, cluster: &'d Cluster) {
        let breeds = || cluster.services.iter().filter_map(breed);
        let mut part = Found {
            cluster,
            offers: Offers::of(breeds()),
            first: breeds().next(),
            is_unknown: cluster.services.iter().any(|service| breed(service).is_none()),
            variables: HashMap::new(),
            constants: HashMap::new(),
        };
        for (service, breed) in cluster.services.iter().filter_map(|service| Some((service, breed(service)?))) {
            let at = self.services.len();
            for variable in &breed.environment {
                part.variables.entry(&variable.name).or_insert((at, variable));
            }
            for (name, value) in &breed.constants {
                part.constants.entry(name).or_insert(value);
            }
            self.places.entry((&cluster.name, &breed.name)).or_insert(at);
            self.services.push(Own::of(cluster, service, breed));
        }
        self.clusters.entry(&cluster.name).or_insert(part);
    }

    fn own(&self, cluster: &Cluster, breed: &Breed) -> Option<&Own<'d>> {
        self.services.get(*self.places.get(&(cluster.name.as_str(), breed.name.as_str()))?)
    }

    /// The first cluster that has what a breed depends on.
    pub(crate) fn depended_on(&self, wanted: &str) -> Option<&'d str> {
        self.dependencies.get(wanted).copied()
    }

    /// The variables of an instance of a service, by the name under which it gets them.
    pub(crate) fn environment(
        &self,
        cluster: &Cluster,
        breed: &Breed,
        values: &dyn Values,
    ) -> Result<BTreeMap<String, String>, Unresolved> {
        let (mut environment, mut bytes) = (BTreeMap::new(), 0_usize);
        let Some(own) = self.own(cluster, breed) else { return Ok(environment) };
        for variable in &own.breed.environment {
            let value = Scope { index: self, own }.variable(variable, &mut Way::new(values))?;
            bytes = bytes.saturating_add(variable.name.len()).saturating_add(value.len());
            if bytes > ENVIRONMENT_BYTES_MAX {
                let why = format!("all variables together would be longer than {ENVIRONMENT_BYTES_MAX} bytes");
                return Err(Unresolved::new(why, "shorten them, or hand the content over in a file"));
            }
            environment.insert(variable.alias.clone().unwrap_or_else(|| variable.name.clone()), value);
        }
        Ok(environment)
    }

    /// Whether a value for a variable stands with the service itself.
    pub(super) fn has_own(&self, cluster: &Cluster, breed: &Breed, variable: &str) -> bool {
        self.own(cluster, breed).is_some_and(|own| own.given.contains_key(variable))
    }

    /// What is wrong with the values of a service.
    pub(super) fn faults(&self, cluster: &Cluster, breed: &Breed) -> Vec<Fault> {
        let mut faults = Vec::new();
        let Some(own) = self.own(cluster, breed) else { return faults };
        for variable in &own.breed.environment {
            let unresolved = Scope { index: self, own }.unresolved(variable).into_iter();
            faults.extend(unresolved.map(|Unresolved { why, mend, lack }| Fault {
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
}

/// How far the references of one variable have been followed.
struct Way<'i> {
    values: &'i dyn Values,
    /// The variables whose values are being put together, by breed and name: each needs the next one.
    open: Vec<(&'i str, &'i str)>,
    followed: u32,
}

impl<'i> Way<'i> {
    fn new(values: &'i dyn Values) -> Self {
        Self { values, open: Vec::new(), followed: 0 }
    }
}

/// Whose value it is.
#[derive(Clone, Copy)]
struct Scope<'i> {
    index: &'i Index<'i>,
    own: &'i Own<'i>,
}

impl<'i> Scope<'i> {
    /// Where the value of a variable stands: with the service, in the deployment, in the breed.
    fn given(self, variable: &'i Variable) -> Option<(&'i str, bool)> {
        let own = self.own.given.get(variable.name.as_str());
        let shared = || self.index.shared.get(&(self.own.cluster.name.as_str(), variable.name.as_str()));
        match own.or_else(shared) {
            Some(value) => Some((value, false)),
            None => variable.value.as_deref().map(|value| (value, true)),
        }
    }

    fn variable(self, variable: &'i Variable, way: &mut Way<'i>) -> Result<String, Unresolved> {
        let (name, breed) = (&variable.name, &self.own.breed.name);
        let Some((text, is_of_breed)) = self.given(variable) else {
            let why = format!("variable `{name}` of breed `{breed}` has no value");
            let mend = format!("give it a value: `environment_variables: {{{name}: …}}`");
            return Err(Unresolved::new(why, mend).lacking(Lack::Value));
        };
        let own = (breed.as_str(), name.as_str());
        if way.open.contains(&own) || way.open.len() >= DEPTH_MAX {
            let why = format!("variable `{name}` of breed `{breed}` refers to itself");
            return Err(Unresolved::new(why, "give one of the variables that it refers to a value of its own"));
        }
        way.open.push(own);
        let value = self.value(text, is_of_breed, way).map_err(|unresolved| unresolved.of(name));
        way.open.pop();
        value
    }

    /// What stands in the way of a value: each reference by itself, once, as far as they may be followed together. One that
    /// leads nowhere hides no other.
    fn unresolved(self, variable: &'i Variable) -> Vec<Unresolved> {
        let mut unresolved = Vec::new();
        let mut followed = HashSet::new();
        let mut way = Way { open: vec![(&self.own.breed.name, &variable.name)], ..Way::new(&AnyPort) };
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

    fn value(self, text: &str, is_of_breed: bool, way: &mut Way<'i>) -> Result<String, Unresolved> {
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

    fn follow(self, reference: &ValueReference, is_of_breed: bool, way: &mut Way<'i>) -> Result<String, Unresolved> {
        way.followed = way.followed.saturating_add(1);
        if way.followed > REFERENCES_MAX {
            let why = format!("more than {REFERENCES_MAX} references would be followed for it");
            return Err(Unresolved::new(why, "write some of the values out"));
        }
        if let ValueReference::Local(name) = reference {
            return self.own(name, way);
        }
        let found = self.cluster_of(reference, is_of_breed)?;
        found.offers(reference)?;
        let cluster = &found.cluster.name;
        let missing = || {
            let why = format!("`{reference}` is nothing that cluster `{cluster}` has");
            Unresolved::new(why, "deploy the cluster first")
        };
        match reference {
            ValueReference::Local(_) => Err(missing()),
            ValueReference::Host(_) => Ok(way.values.gateway_host().to_owned()),
            ValueReference::Port { port, .. } => {
                let gateway = inner_gateway(&self.index.deployment.name, cluster, port);
                way.values.gateway_port(&gateway).map(|port| port.to_string()).ok_or_else(missing)
            }
            ValueReference::Variable { name, .. } => {
                let (at, variable) = found.variables.get(name.as_str()).ok_or_else(missing)?;
                let own = self.index.services.get(*at).ok_or_else(missing)?;
                Self { own, ..self }.variable(variable, way)
            }
            ValueReference::Constant { name, .. } => {
                found.constants.get(name.as_str()).map(|value| (*value).to_owned()).ok_or_else(missing)
            }
        }
    }

    fn own(self, name: &str, way: &mut Way<'i>) -> Result<String, Unresolved> {
        if let Some(variable) = self.own.variables.get(name) {
            return self.variable(variable, way);
        }
        self.own.constants.get(name).map(|value| (*value).to_owned()).ok_or_else(|| {
            let why = format!("`${name}` is neither a variable nor a constant of breed `{}`", self.own.breed.name);
            Unresolved::new(why, "declare it in the breed, or write `$$` for a dollar sign")
        })
    }

    /// The cluster that a reference names: in a breed's own values by the alias of a dependency.
    fn cluster_of(self, reference: &ValueReference, is_of_breed: bool) -> Result<&'i Found<'i>, Unresolved> {
        let named = reference.cluster().unwrap_or_default();
        let (name, lack) = match self.own.dependencies.get(named).filter(|_| is_of_breed) {
            Some(wanted) => (self.index.depended_on(wanted), Lack::Breed),
            None => (Some(named), Lack::Sense),
        };
        name.and_then(|name| self.index.clusters.get(name)).ok_or_else(|| {
            let deployment = self.index.deployment;
            let why = format!("`{reference}` names no cluster of deployment `{}`", deployment.name);
            let all = deployment.body.clusters.iter().map(|cluster| cluster.name.as_str());
            Unresolved::new(why, format!("it has {}", listed_of(all))).lacking(lack)
        })
    }
}

impl Found<'_> {
    /// Whether one of the breeds of a cluster has what a reference names.
    fn offers(&self, reference: &ValueReference) -> Result<(), Unresolved> {
        if self.first.is_some() && self.offers.has(reference) {
            return Ok(());
        }
        let refused = self.first.and_then(|breed| breed.lacks(reference));
        let none = || (format!("cluster `{}` has no service", self.cluster.name), String::new());
        let (why, mend) = refused.unwrap_or_else(none);
        let unresolved = Unresolved::new(format!("`{reference}`: {why}"), mend);
        Err(if self.is_unknown { unresolved.lacking(Lack::Breed) } else { unresolved })
    }
}

/// Those of sorted names that meet a dependency.
pub(super) fn meeting<'n, 'd, V>(
    names: &'n BTreeMap<&'d str, V>,
    wanted: &'n str,
) -> impl Iterator<Item = (&'d str, &'n V)> {
    let prefix = wanted.strip_suffix('*').unwrap_or(wanted);
    let from = names.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).map(|(name, value)| (*name, value));
    from.take_while(move |(name, _)| name.starts_with(prefix)).filter(move |(name, _)| meets(wanted, name))
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
    let ports: HashSet<&str> = breed.ports.iter().map(|port| port.name.as_str()).collect();
    let has_port = |check: &&HealthCheck| check.port().is_none_or(|port| ports.contains(port));
    let of_cluster = || cluster.health_checks.iter().flatten().filter(has_port);
    match &service.health_checks {
        Some(own) if own.is_empty() => Vec::new(),
        Some(own) => {
            let known: HashSet<&Probe> = own.iter().map(|check| &check.probe).collect();
            own.iter().chain(of_cluster().filter(|check| !known.contains(&check.probe))).collect()
        }
        None if cluster.health_checks.is_some() => of_cluster().collect(),
        None => breed.health_checks.iter().flatten().collect(),
    }
}
