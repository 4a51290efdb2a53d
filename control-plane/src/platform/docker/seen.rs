//! What was seen last of each container, for when one of them does not tell about itself while the engine does.

use std::collections::{BTreeSet, HashMap};
use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::platform::Instance;

/// By the names that the engine gives to containers; as many as it listed last.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<String, Last>>);

#[derive(Debug, Default)]
struct Last {
    instance: Option<Instance>,
    /// Since when it is silent.
    silent: Option<Instant>,
}

impl Seen {
    /// It told about itself.
    pub(super) fn told(&self, container: &str, instance: &Instance) {
        let last = Last { instance: Some(instance.clone()), silent: None };
        self.lock().insert(container.to_owned(), last);
    }

    /// Whether it was silent a moment ago, so that who asks often does not wait for it each time.
    pub(super) fn is_silent(&self, container: &str, pause: Duration) -> bool {
        let silent = self.lock().get(container).and_then(|last| last.silent);
        silent.is_some_and(|since| since.elapsed() < pause)
    }

    /// What is known of one that told nothing: what it told last, unless the list of all says that it changed since.
    pub(super) fn untold(&self, container: &str, listed: Instance, is_asked: bool) -> Instance {
        let mut all = self.lock();
        let last = all.entry(container.to_owned()).or_default();
        if is_asked {
            last.silent = Some(Instant::now());
        }
        match &last.instance {
            Some(seen) if discriminant(&seen.state) == discriminant(&listed.state) => seen.clone(),
            Some(seen) => Instance { restarts: seen.restarts, ..listed },
            None => listed,
        }
    }

    /// Forgets those that are gone.
    pub(super) fn keep(&self, containers: &BTreeSet<String>) {
        self.lock().retain(|container, _| containers.contains(container));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Last>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance of whose container nothing is told.
pub(super) fn warned(mut instance: Instance) -> Instance {
    instance.warnings.push(
        "the engine lists this container, and tells no more of it when it is asked about it alone: \
         `docker inspect` it, and restart the engine if that hangs"
            .to_owned(),
    );
    instance
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use axum::extract::State as Shared;
    use axum::http::{StatusCode, Uri};
    use axum::response::{IntoResponse as _, Response};
    use serde_json::{Value, json};

    use crate::platform::docker::{DockerPlatform, DockerSettings, Patience};
    use crate::platform::{Exit, Instance, Labels, Platform as _, PlatformError, State};

    const STARTED: u64 = 1_500;
    const WELL: u8 = 0;
    const STUCK: u8 = 1;
    const ENDED: u8 = 2;

    fn labels(id: &str) -> Value {
        json!({"io.vamp.platform.namespace": "n", "io.vamp.platform.id": id, "io.vamp.platform.digest": "d",
            "io.vamp.platform.labels": "[]", "io.vamp.platform.ports": r#"{"web": {"container": 80, "host": 30001}}"#})
    }

    /// Answers as an engine of which one container can become stuck.
    async fn answer(Shared(phase): Shared<Arc<AtomicU8>>, uri: Uri) -> Response {
        let phase = phase.load(Ordering::Relaxed);
        let path = uri.path();
        let json = |value: Value| ([("content-type", "application/json")], value.to_string()).into_response();
        let inspected = |id: &str| {
            let state = json!({"Status": "running", "StartedAt": "1970-01-01T00:00:01.5Z"});
            json!({"Id": id, "Config": {"Labels": labels(id)}, "RestartCount": 3, "State": state})
        };
        match path {
            "/version" => json(json!({"ApiVersion": "1.43", "MinAPIVersion": "1.24"})),
            _ if path.ends_with("/_ping") => "OK".into_response(),
            _ if path.ends_with("/containers/json") => {
                let listed = |id: &str, state: &str| json!({"Id": id, "Labels": labels(id), "State": state});
                let other = if phase == ENDED { "exited" } else { "running" };
                json(json!([listed("other", other), listed("well", "running")]))
            }
            _ if path.contains("other") && phase != WELL => std::future::pending().await,
            _ if path.ends_with("/other/json") => json(inspected("other")),
            _ if path.ends_with("/well/json") => json(inspected("well")),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    async fn listed(platform: &DockerPlatform) -> [Instance; 2] {
        platform.list(&Labels::new()).await.unwrap().try_into().unwrap()
    }

    #[tokio::test]
    async fn a_container_that_is_stuck_hides_no_other_and_stays_as_it_was_seen() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: super::super::EngineAddress = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        let phase = Arc::new(AtomicU8::new(WELL));
        let engine = axum::Router::new().fallback(answer).with_state(Arc::clone(&phase));
        let serving = tokio::spawn(async move { axum::serve(listener, engine).await });
        let second = std::time::Duration::from_secs(1);
        // A part of the look is for each container: enough for one that is well, on a machine that stalls.
        let patience = Patience { look: 10 * second, work: 2 * second, ..Patience::default() };
        let open = || {
            let settings = DockerSettings { patience, ..DockerSettings::new(address.clone(), "n".to_owned()) };
            DockerPlatform::open(settings)
        };
        let platform = open();
        let before = listed(&platform).await;
        assert_eq!((before[0].started_at_unix_ms, before[0].restarts), (Some(STARTED), 3));
        phase.store(STUCK, Ordering::Relaxed);
        for _ in 0..2 {
            let [other, well] = listed(&platform).await;
            assert_eq!(well, before[1]);
            assert!(other.warnings[0].contains("docker inspect"), "{other:?}");
            assert_eq!(Instance { warnings: Vec::new(), ..other }, before[0]);
        }
        // Nor does it make the engine silent when something is to become of it.
        let refused = platform.remove(&before[0].id, second).await.unwrap_err();
        assert!(matches!(refused, PlatformError::Unreachable { .. }), "{refused:?}");
        assert_eq!(listed(&platform).await[1], before[1]);
        phase.store(ENDED, Ordering::Relaxed);
        let [other, _] = listed(&platform).await;
        assert_eq!((other.state, other.restarts), (State::Exited(Exit::default()), 3), "how it ended is not known");
        // One that never told anything is what the list says.
        phase.store(STUCK, Ordering::Relaxed);
        let [other, well] = listed(&open()).await;
        assert_eq!(well, before[1]);
        assert_eq!((other.state, other.started_at_unix_ms), (State::Running, None));
        assert_eq!((other.ports, other.host), (before[0].ports.clone(), before[0].host.clone()));
        // A container that tells again is believed again, after a while in which it is not asked.
        phase.store(WELL, Ordering::Relaxed);
        let again = async {
            while listed(&platform).await != before {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(60 * second, again).await.unwrap();
        serving.abort();
    }
}
