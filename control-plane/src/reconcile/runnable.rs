//! What could not be run is said when it is deployed, and not only when it is started.

use std::collections::BTreeMap;

use vamp_model::{Deployment, Kind, step};

use super::Platforms;
use super::order::{Order, orders_of};
use crate::causes::with_causes;
use crate::core::{Found, Judgement, Objection, OrderKey, Runs, Unseen};
use crate::plan::{Finding, Warning};
use crate::platform::{Environment, InstanceSpec, PlatformError, SpecError};

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

    /// What speaks against an order, as far as it says so itself.
    fn objection(&self, order: &Order) -> Option<Objection> {
        if let Some((what, mend)) = self.missing(&order.kind) {
            return Some(Objection { what, mend, may_be: false });
        }
        match &order.spec {
            Err(why) => Some(Objection { what: why.clone(), mend: "correct it", may_be: false }),
            Ok(spec) => spec.check().err().map(|error| objection_to_spec(&error)),
        }
    }
}

/// What is looked up of an order.
fn key_of(kind: String, spec: &InstanceSpec) -> OrderKey {
    let untold = InstanceSpec { environment: Environment::default(), ..spec.clone() };
    OrderKey { kind, digest: untold.digest() }
}

const CORRECT: &str = "correct it, or leave it out";

fn objection_to_spec(error: &SpecError) -> Objection {
    Objection { what: with_causes(error), mend: CORRECT, may_be: false }
}

/// What a platform has against an order.
fn objection_to(error: PlatformError) -> Objection {
    match error {
        PlatformError::UnknownCommand { command, .. } => Objection {
            what: format!("command `{command}` is not a program here yet"),
            mend: "correct the name, or install it",
            may_be: true,
        },
        PlatformError::Unseen { command, seconds, .. } => Objection {
            what: format!(
                "nobody knows whether command `{command}` is a program here, no answer came within {seconds} s"
            ),
            mend: "see whether the file systems of its folder, its program and `PATH` answer",
            may_be: true,
        },
        PlatformError::Spec { cause, .. } => objection_to_spec(&cause),
        error => Objection { what: with_causes(&error), mend: CORRECT, may_be: false },
    }
}

#[async_trait::async_trait]
impl Runs for Platforms {
    fn judge(
        &self,
        before: Option<&Deployment>,
        after: &Deployment,
        ports: &BTreeMap<String, u16>,
        found: &Found,
    ) -> Judgement {
        let ordered = before.map(|before| orders_of(before, &self.gateway_host, ports)).unwrap_or_default();
        // What was deployed before is left alone: a driver that is gone stands in the way of no other change.
        let is_old = |order: &Order| {
            let found = ordered.iter().find(|former| former.wanted.name == order.wanted.name);
            found.is_some_and(|former| former.kind == order.kind && former.wanted.template == order.wanted.template)
        };
        let mut judgement = Judgement::default();
        for order in orders_of(after, &self.gateway_host, ports).into_iter().filter(|order| !is_old(order)) {
            let objection = match (self.objection(&order), order.spec) {
                (Some(objection), _) => Some(objection),
                (None, Err(_)) => None,
                (None, Ok(spec)) => {
                    let key = key_of(order.kind, &spec);
                    let Some(found) = found.get(&key) else {
                        judgement.unseen.push(Unseen { key, spec });
                        continue;
                    };
                    found.clone()
                }
            };
            let Some(Objection { what, mend, may_be }) = objection else { continue };
            let name = &order.wanted.name;
            let message = format!("service `{}` of cluster `{}`: {what}", name.service, name.cluster);
            if may_be {
                judgement.warnings.push(Warning { gateway: None, message: format!("{message}: {mend}") });
            } else {
                let pointer = step("/clusters", &name.cluster);
                judgement.findings.push(Finding::new(Kind::Deployment, &after.name, pointer, message, mend));
            }
        }
        judgement
    }

    async fn look_up(&self, unseen: Vec<Unseen>) -> Found {
        let looks = unseen.into_iter().map(async |Unseen { key, spec }| {
            let objection = match self.by_kind.get(&key.kind) {
                Some(runner) => runner.platform.check(&spec).await.err().map(objection_to),
                None => None,
            };
            (key, objection)
        });
        futures_util::future::join_all(looks).await.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vamp_model::{Artifact, Format, read};

    use super::*;
    use crate::platform::process::{ProcessPlatform, ProcessSettings};

    fn deployment(command: &str) -> Deployment {
        telling(command, "")
    }

    /// The same, with a variable that has this value.
    fn telling(command: &str, value: &str) -> Deployment {
        let text = format!(
            "{{kind: deployments, name: shop, environment_variables: {{web.OWN: {value:?}}}, clusters: {{web: {{services: \
             [{{breed: {{name: web:1, ports: {{http: 80/http}}, environment_variables: {{OWN: ~}}, deployable: \
             {{type: command, definition: {command}}}}}}}]}}}}}}"
        );
        match read(&text, Format::Yaml).unwrap().pop().map(|document| document.artifact) {
            Some(Artifact::Deployment(deployment)) => deployment,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_is_known_is_said_at_once_and_the_rest_when_it_was_looked_up() {
        let folder = tempfile::tempdir().unwrap();
        let mut platforms = Platforms::new("127.0.0.1".to_owned());
        let process = ProcessPlatform::open(ProcessSettings::new(folder.path().to_owned())).unwrap();
        platforms.add("command", Arc::new(process)).unwrap();
        let (missing, there) = (deployment("/nowhere/web"), deployment("/bin/sh"));
        let ports = BTreeMap::new();
        let first = platforms.judge(None, &missing, &ports, &Found::new());
        assert_eq!((first.findings.len(), first.warnings.len(), first.unseen.len()), (0, 0, 1));
        let key = first.unseen[0].key.clone();
        let mut found = platforms.look_up(first.unseen).await;
        let then = platforms.judge(None, &missing, &ports, &found);
        assert_eq!((then.findings.len(), then.unseen.len()), (0, 0));
        assert!(then.warnings[0].message.contains("`/nowhere/web` is not a program"), "{:?}", then.warnings);
        // A file system that does not answer refuses nothing.
        let silent =
            PlatformError::Unseen { id: "template".to_owned(), command: "/nowhere/web".to_owned(), seconds: 2 };
        found.insert(key, Some(objection_to(silent)));
        let unknown = platforms.judge(None, &missing, &ports, &found);
        assert_eq!((unknown.findings.len(), unknown.unseen.len()), (0, 0));
        assert!(unknown.warnings[0].message.contains("nobody knows"), "{:?}", unknown.warnings);
        // What was deployed before is not looked up again.
        assert!(platforms.judge(Some(&there), &there, &ports, &Found::new()).unseen.is_empty());
        let other = platforms.judge(Some(&missing), &there, &ports, &Found::new()).unseen;
        let found = platforms.look_up(other).await;
        assert!(found.values().all(Option::is_none), "{found:?}");
    }

    #[tokio::test]
    async fn a_gateway_that_gets_another_port_meanwhile_needs_no_other_look() {
        let folder = tempfile::tempdir().unwrap();
        let mut platforms = Platforms::new("127.0.0.1".to_owned());
        let process = ProcessPlatform::open(ProcessSettings::new(folder.path().to_owned())).unwrap();
        platforms.add("command", Arc::new(process)).unwrap();
        let wanted = telling("/bin/sh", "$web.ports.http");
        let on = |port| BTreeMap::from([("shop/web/http".to_owned(), port)]);
        let unseen = platforms.judge(None, &wanted, &on(20_000), &Found::new()).unseen;
        assert_eq!(unseen.len(), 1);
        let found = platforms.look_up(unseen).await;
        let then = platforms.judge(None, &wanted, &on(20_001), &found);
        assert!(then.unseen.is_empty() && then.findings.is_empty(), "{then:?}");
        // What it is told is judged each time all the same.
        let refused = platforms.judge(None, &telling("/bin/sh", "a\u{0}b"), &on(20_001), &found);
        assert!(refused.findings[0].violation.message.contains("`OWN`"), "{refused:?}");
    }
}
