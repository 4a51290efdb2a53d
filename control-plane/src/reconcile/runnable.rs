//! What could not be run is said when it is deployed, and not only when it is started.

use std::collections::BTreeMap;

use vamp_model::{Deployment, Kind, step};

use super::Platforms;
use super::order::{Order, orders_of};
use crate::causes::with_causes;
use crate::core::Runs;
use crate::plan::{Finding, Warning};
use crate::platform::PlatformError;

impl Platforms {
    /// Why nothing here runs deployables of a type; `None`: something does.
    pub(super) fn missing(&self, kind: &str) -> Option<(String, &'static str)> {
        if self.by_kind.contains_key(kind) {
            return None;
        }
        let mend = match kind {
            "command" => "give the control plane `--process-dir`",
            "container/docker" => "give the control plane `--docker-host` (`VAMP_DOCKER_HOST`)",
            _ => "use the type command or container/docker",
        };
        Some((format!("nothing runs deployables of the type `{kind}` here"), mend))
    }

    /// What speaks against an order: what is wrong, the mend, and whether it may be right all the same.
    fn objection(&self, order: &Order) -> Option<(String, &'static str, bool)> {
        if let Some((what, mend)) = self.missing(&order.kind) {
            return Some((what, mend, false));
        }
        let spec = match &order.spec {
            Ok(spec) => spec,
            Err(why) => return Some((why.clone(), "correct it", false)),
        };
        let runner = self.by_kind.get(&order.kind)?;
        match runner.platform.check(spec) {
            Ok(()) => None,
            Err(PlatformError::UnknownCommand { command, .. }) => {
                let what = format!("command `{command}` is not a program here yet");
                Some((what, "correct the name, or install it", true))
            }
            Err(PlatformError::Spec { cause, .. }) => Some((with_causes(&cause), "correct it, or leave it out", false)),
            Err(error) => Some((with_causes(&error), "correct it, or leave it out", false)),
        }
    }
}

impl Runs for Platforms {
    fn check(
        &self,
        before: Option<&Deployment>,
        after: &Deployment,
        ports: &BTreeMap<String, u16>,
    ) -> (Vec<Finding>, Vec<Warning>) {
        let ordered = before.map(|before| orders_of(before, &self.gateway_host, ports)).unwrap_or_default();
        // What was deployed before is left alone: a driver that is gone stands in the way of no other change.
        let is_old = |order: &Order| {
            let found = ordered.iter().find(|former| former.wanted.name == order.wanted.name);
            found.is_some_and(|former| former.kind == order.kind && former.wanted.template == order.wanted.template)
        };
        let (mut findings, mut warnings) = (Vec::new(), Vec::new());
        for order in orders_of(after, &self.gateway_host, ports).iter().filter(|order| !is_old(order)) {
            let Some((what, mend, may_be)) = self.objection(order) else { continue };
            let name = &order.wanted.name;
            let message = format!("service `{}` of cluster `{}`: {what}", name.service, name.cluster);
            if may_be {
                warnings.push(Warning { gateway: None, message: format!("{message}: {mend}") });
            } else {
                let pointer = step("/clusters", &name.cluster);
                findings.push(Finding::new(Kind::Deployment, &after.name, pointer, message, mend));
            }
        }
        (findings, warnings)
    }
}
