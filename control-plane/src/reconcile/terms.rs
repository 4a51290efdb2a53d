//! By what an instance is known to take requests: what held when it was ordered. An order that came later, with other
//! ports or checks, says nothing of the instances of the one before, which serve until they are replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::machine::{Seen, ServiceName};
use super::order::{Order, known_by};
use crate::platform::Instance;
use crate::platform::health::{HealthCheck, Probe};

/// Of one order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// How its instances are checked.
    pub checks: Vec<HealthCheck>,
    /// The ports that must be open.
    pub ports: Vec<String>,
}

/// Of all orders of which instances may be there: service and template.
#[derive(Debug, Default)]
pub(super) struct AllTerms(BTreeMap<(ServiceName, String), Terms>);

impl AllTerms {
    /// Takes note of the orders of now.
    pub(super) fn note(&mut self, orders: &[Order]) {
        for order in orders {
            let terms = Terms { checks: order.checks.clone(), ports: order.ports.clone() };
            self.0.insert((order.wanted.name.clone(), order.wanted.template.clone()), terms);
        }
    }

    /// Forgets orders of which nothing is there any more, and nothing can be there unseen.
    pub(super) fn keep<'s>(&mut self, instances: impl Iterator<Item = &'s Seen>, unknown: &BTreeSet<ServiceName>) {
        let seen: BTreeSet<(&ServiceName, &str)> =
            instances.map(|seen| (&seen.service, seen.template.as_str())).collect();
        self.0
            .retain(|(service, template), _| unknown.contains(service) || seen.contains(&(service, template.as_str())));
    }

    /// Those of an instance that somebody wants; of an order that a former control plane gave, those of now as far as they
    /// fit the ports that the instance has.
    pub(super) fn of(&self, instance: &Instance, orders: &[Order]) -> Option<Terms> {
        let (service, template, _) = known_by(instance)?;
        let order = orders.iter().find(|order| order.wanted.name == service)?;
        let known = self.0.get(&(service, template.clone())).cloned();
        Some(known.unwrap_or_else(|| {
            let has = |port: &str| instance.ports.contains_key(port);
            if order.wanted.template == template {
                return Terms { checks: order.checks.clone(), ports: order.ports.clone() };
            }
            let checks = order.checks.iter().filter(|check| check.port().is_none_or(has));
            Terms { checks: checks.cloned().collect(), ports: Vec::new() }
        }))
    }
}

impl HealthCheck {
    /// The port that it asks.
    fn port(&self) -> Option<&str> {
        match &self.probe {
            Probe::Http { port, .. } | Probe::Tcp { port } => Some(port),
            Probe::Command { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::machine::Wanted;
    use super::super::order::labels;
    use super::*;
    use crate::platform::State;

    fn order(template: &str, port: &str) -> Order {
        let name = ServiceName { deployment: "d".to_owned(), cluster: "c".to_owned(), service: "s".to_owned() };
        let check = HealthCheck {
            probe: Probe::Tcp { port: port.to_owned() },
            initial_delay: Duration::ZERO,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            failures: 1,
            successes: 1,
        };
        let wanted = Wanted { name, template: template.to_owned(), count: 1, needs: Vec::new() };
        let (kind, ports) = ("command".to_owned(), vec![port.to_owned()]);
        Order { wanted, kind, spec: Err("not of this test".to_owned()), checks: vec![check], ports }
    }

    fn instance(order: &Order, port: &str) -> Instance {
        Instance {
            id: "i".parse().unwrap(),
            labels: labels(&order.wanted.name, &order.wanted.template, 0),
            digest: String::new(),
            state: State::Running,
            host: "127.0.0.1".to_owned(),
            ports: BTreeMap::from([(port.to_owned(), 80)]),
            started_at_unix_ms: None,
            restarts: 0,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn an_instance_is_held_to_what_was_said_when_it_was_ordered() {
        let (first, second) = (order("1", "old"), order("2", "new"));
        let (old, new) = (instance(&first, "old"), instance(&second, "new"));
        let mut terms = AllTerms::default();
        terms.note(std::slice::from_ref(&first));
        let second = [second];
        terms.note(&second);
        let of = |terms: &AllTerms, instance: &Instance| terms.of(instance, &second).unwrap();
        assert_eq!(of(&terms, &old), Terms { checks: first.checks.clone(), ports: first.ports.clone() });
        assert_eq!(of(&terms, &new), Terms { checks: second[0].checks.clone(), ports: second[0].ports.clone() });
        // A control plane that did not give the first order asks for nothing that its instances do not have.
        let mut after = AllTerms::default();
        after.note(&second);
        assert_eq!(of(&after, &old), Terms::default());
        assert_eq!(of(&after, &new).ports, ["new"]);
        assert_eq!(terms.of(&old, &[]), None, "nobody wants it");
        // What can't be seen may still be there.
        terms.keep([].iter(), &BTreeSet::from([first.wanted.name.clone()]));
        assert_eq!(terms.0.len(), 2);
        terms.keep([].iter(), &BTreeSet::new());
        assert!(terms.0.is_empty());
    }
}
