//! What must hold of the promise of a cluster before it is taken: that everything it names is there, and that it can be
//! measured.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use vamp_model::{Artifact, Cluster, EscalationBody, EscalationUse, Kind, Scaling, SlaRule, SlaUse};

use super::Known;
use crate::plan::Finding;
use crate::samples::KEPT;

/// One thing that is wrong.
pub(super) struct Fault {
    /// Where it stands below the promise.
    pub(super) below: String,
    pub(super) why: String,
    pub(super) mend: String,
    /// Nothing of the name is stored.
    pub(super) is_of_name: bool,
}

impl Fault {
    fn new(below: &str, why: String, mend: impl Into<String>) -> Self {
        Self { below: below.to_owned(), why, mend: mend.into(), is_of_name: false }
    }

    fn of_name(below: &str, kind: Kind, name: &str) -> Self {
        let fault = Self::new(below, format!("there is no {kind} `{name}`"), "create it first, or write it out");
        Self { is_of_name: true, ..fault }
    }
}

/// The clusters that a promise may name.
type Clusters<'c> = HashMap<&'c str, &'c Cluster>;

/// What is wrong.
pub(super) fn faults<'c>(sla: &'c SlaUse, clusters: &'c Clusters<'c>, known: &'c dyn Known) -> Vec<Fault> {
    let (rule, escalations) = match sla {
        SlaUse::Inline(body) => (&body.rule, &body.escalations),
        SlaUse::Stored { reference, escalations } => match known.artifact(Kind::Sla, reference) {
            Some(Artifact::Sla(stored)) if escalations.is_empty() => (&stored.body.rule, &stored.body.escalations),
            Some(Artifact::Sla(stored)) => (&stored.body.rule, escalations),
            _ => return vec![Fault::of_name("", Kind::Sla, reference)],
        },
    };
    let mut faults = Vec::new();
    if let SlaRule::Window { interval, .. } = rule
        && u64::from(interval.0) > KEPT.as_secs()
    {
        let kept = KEPT.as_secs();
        let message = format!("the window is {} s long, and numbers are kept for {kept} s", interval.0);
        faults.push(Fault::new("/window", message, format!("give an interval of up to {kept} s")));
    }
    let mut check = Check { clusters, known, seen: BTreeSet::new(), faults };
    check.all(escalations, "");
    check.faults
}

/// What is wrong with stored SLAs and escalations that are written anew: they are live in the clusters that have them.
pub(crate) fn check_promises<'c>(
    written: &BTreeSet<(Kind, &str)>,
    deployments: impl Iterator<Item = &'c Artifact>,
    known: &'c dyn Known,
) -> Vec<Finding> {
    let mut users: BTreeMap<(Kind, &str, String, String), Vec<String>> = BTreeMap::new();
    for artifact in deployments {
        let Artifact::Deployment(deployment) = artifact else { continue };
        let clusters = deployment.body.by_name();
        for cluster in &deployment.body.clusters {
            let Some(sla) = &cluster.sla else { continue };
            let Some((kind, name)) = reached(sla, known).into_iter().find(|found| written.contains(found)) else {
                continue;
            };
            for Fault { why, mend, .. } in faults(sla, &clusters, known) {
                let user = format!("{}/{}", deployment.name, cluster.name);
                users.entry((kind, name, why, mend)).or_default().push(user);
            }
        }
    }
    let finding = |((kind, name, message, hint), users): ((Kind, &str, String, String), Vec<String>)| {
        Finding::new(kind, name, "", format!("{message}; it is the promise of {}", users.join(", ")), hint)
    };
    users.into_iter().map(finding).collect()
}

/// Stored parts of a promise.
fn reached<'c>(sla: &'c SlaUse, known: &'c dyn Known) -> BTreeSet<(Kind, &'c str)> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&EscalationUse> = Vec::new();
    match sla {
        SlaUse::Inline(body) => open.extend(&body.escalations),
        SlaUse::Stored { reference, escalations } => {
            reached.insert((Kind::Sla, reference.as_str()));
            match known.artifact(Kind::Sla, reference) {
                Some(Artifact::Sla(stored)) if escalations.is_empty() => open.extend(&stored.body.escalations),
                _ => open.extend(escalations),
            }
        }
    }
    while let Some(part) = open.pop() {
        let body = match part {
            EscalationUse::Inline(body) => body,
            EscalationUse::Stored(name) if reached.insert((Kind::Escalation, name.as_str())) => {
                let Some(Artifact::Escalation(stored)) = known.artifact(Kind::Escalation, name) else { continue };
                &stored.body
            }
            EscalationUse::Stored(_) => continue,
        };
        if let EscalationBody::ToAll(inner) | EscalationBody::ToOne(inner) = body {
            open.extend(inner);
        }
    }
    reached
}

struct Check<'c> {
    clusters: &'c Clusters<'c>,
    known: &'c dyn Known,
    /// Stored escalations may refer to each other, in circles too: each is looked at once.
    seen: BTreeSet<&'c str>,
    faults: Vec<Fault>,
}

impl<'c> Check<'c> {
    fn all(&mut self, parts: &'c [EscalationUse], below: &str) {
        for (index, part) in parts.iter().enumerate() {
            let below = format!("{below}/escalations/{index}");
            match part {
                EscalationUse::Inline(escalation) => self.one(escalation, &below),
                EscalationUse::Stored(name) if self.seen.insert(name) => self.stored(name, &below),
                EscalationUse::Stored(_) => {}
            }
        }
    }

    fn stored(&mut self, name: &str, below: &str) {
        match self.known.artifact(Kind::Escalation, name) {
            Some(Artifact::Escalation(stored)) => self.one(&stored.body, below),
            _ => self.faults.push(Fault::of_name(below, Kind::Escalation, name)),
        }
    }

    fn one(&mut self, escalation: &'c EscalationBody, below: &str) {
        match escalation {
            EscalationBody::ToAll(inner) | EscalationBody::ToOne(inner) => self.all(inner, below),
            EscalationBody::Scale(Scaling { target: Some(target), .. })
                if !self.clusters.contains_key(target.as_str()) =>
            {
                let message = format!("it scales the cluster `{target}`, which is not there");
                self.faults.push(Fault::new(&format!("{below}/target"), message, "name a cluster of the deployment"));
            }
            EscalationBody::Scale(_) | EscalationBody::Other { .. } => {}
        }
    }
}
