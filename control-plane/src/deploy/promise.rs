//! What must hold of the promise of a cluster before it is taken: that everything it names is there, and that it can be
//! measured.

use std::collections::BTreeSet;

use vamp_model::{Artifact, EscalationBody, EscalationUse, Kind, SlaRule, SlaUse, Topology};

use super::Known;
use crate::samples::KEPT;

/// What is wrong, and the mend.
pub(super) fn faults<'c>(sla: &'c SlaUse, body: &'c Topology, known: &'c dyn Known) -> Vec<(String, String)> {
    let (rule, escalations) = match sla {
        SlaUse::Inline(body) => (&body.rule, &body.escalations),
        SlaUse::Stored { reference, escalations } => match known.artifact(Kind::Sla, reference) {
            Some(Artifact::Sla(stored)) if escalations.is_empty() => (&stored.body.rule, &stored.body.escalations),
            Some(Artifact::Sla(stored)) => (&stored.body.rule, escalations),
            _ => {
                let message = format!("there is no SLA `{reference}`");
                return vec![(message, "create it first, or write it out".to_owned())];
            }
        },
    };
    let mut faults = Vec::new();
    if let SlaRule::Window { interval, .. } = rule
        && u64::from(interval.0) > KEPT.as_secs()
    {
        let kept = KEPT.as_secs();
        let message = format!("the window is {} s long, and numbers are kept for {kept} s", interval.0);
        faults.push((message, format!("give an interval of up to {kept} s")));
    }
    let mut check = Check { body, known, seen: BTreeSet::new(), faults };
    check.all(escalations);
    check.faults
}

struct Check<'c> {
    body: &'c Topology,
    known: &'c dyn Known,
    /// Stored escalations may refer to each other, in circles too: each is looked at once.
    seen: BTreeSet<&'c str>,
    faults: Vec<(String, String)>,
}

impl<'c> Check<'c> {
    fn all(&mut self, parts: &'c [EscalationUse]) {
        for part in parts {
            match part {
                EscalationUse::Inline(escalation) => self.one(escalation),
                EscalationUse::Stored(name) if self.seen.insert(name) => self.stored(name),
                EscalationUse::Stored(_) => {}
            }
        }
    }

    fn stored(&mut self, name: &str) {
        if let Some(Artifact::Escalation(stored)) = self.known.artifact(Kind::Escalation, name) {
            return self.one(&stored.body);
        }
        let message = format!("there is no escalation `{name}`");
        self.faults.push((message, "create it first, or write it out".to_owned()));
    }

    fn one(&mut self, escalation: &'c EscalationBody) {
        match escalation {
            EscalationBody::ToAll(inner) | EscalationBody::ToOne(inner) => self.all(inner),
            EscalationBody::Scale { target: Some(target), .. } if self.body.cluster(target).is_none() => {
                let message = format!("it scales the cluster `{target}`, which is not there");
                self.faults.push((message, "name a cluster of the deployment".to_owned()));
            }
            EscalationBody::Scale { .. } | EscalationBody::Other { .. } => {}
        }
    }
}
