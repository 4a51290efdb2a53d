//! What containers use, as their control groups count it.

use std::time::Duration;

use bollard::models::{ContainerMemoryStats, ContainerStatsResponse};
use bollard::query_parameters::StatsOptions;
use futures_util::TryStreamExt as _;

use super::engine::{Engine, Failure};
use crate::platform::Usage;

/// Asks about one container, once; `None`: it does not run, or is not there any more. Who calls bounds the time.
pub(super) async fn of(engine: &Engine, container: &str) -> Result<Option<Usage>, Failure> {
    // Without `one-shot` the engine waits for a second sample.
    let once = StatsOptions { stream: false, one_shot: true };
    let asked = engine.ask_apart(|docker| async move { docker.stats(container, Some(once)).try_next().await });
    match asked.await {
        Ok(told) => Ok(told.and_then(|told| read(&told))),
        // It ended meanwhile.
        Err(failure) if failure.is_absent() || failure.is_conflict() => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// What the engine told; of a container that does not run it tells nothing, or zeros.
fn read(told: &ContainerStatsResponse) -> Option<Usage> {
    let nanoseconds = told.cpu_stats.as_ref()?.cpu_usage.as_ref()?.total_usage.filter(|total| *total > 0)?;
    let memory_bytes = told.memory_stats.as_ref().map_or(0, memory);
    Some(Usage { processor_time: Duration::from_nanos(nanoseconds), memory_bytes })
}

/// As `docker stats` shows it: without files that are only kept because there is room.
fn memory(told: &ContainerMemoryStats) -> u64 {
    let counted = |name: &str| told.stats.as_ref().and_then(|stats| stats.get(name).copied());
    // The first is the name in control groups of version 1, the second that in version 2.
    let cache = counted("total_inactive_file").or_else(|| counted("inactive_file")).unwrap_or_default();
    told.usage.unwrap_or_default().saturating_sub(cache)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use axum::http::{StatusCode, Uri};
    use axum::response::{IntoResponse as _, Response};

    use super::*;
    use crate::platform::docker::{DockerPlatform, DockerSettings, Patience};
    use crate::platform::{InstanceId, Platform as _, PlatformError};

    /// Answers as an engine of which one container is stuck and another one can't be read.
    async fn answer(uri: Uri) -> Response {
        let path = uri.path();
        let json = |text: &'static str| ([("content-type", "application/json")], text).into_response();
        match path {
            "/version" => json(r#"{"ApiVersion": "1.43", "MinAPIVersion": "1.24"}"#),
            _ if path.ends_with("/_ping") => "OK".into_response(),
            _ if path.contains("stuck") => std::future::pending().await,
            _ if path.contains("broken") => {
                (StatusCode::INTERNAL_SERVER_ERROR, "{\"message\": \"it is broken\"}").into_response()
            }
            _ if path.ends_with("/stats") => json(r#"{"cpu_stats": {"cpu_usage": {"total_usage": 1500000000}}}"#),
            _ => StatusCode::NOT_FOUND.into_response(),
        }
    }

    #[tokio::test]
    async fn a_container_that_tells_nothing_hides_no_other_and_the_engine_is_not_taken_for_silent() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("tcp://{}", listener.local_addr().unwrap()).parse().unwrap();
        let serving = tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        let patience = Patience { look: Duration::from_secs(8), ..Patience::default() };
        let platform =
            DockerPlatform::open(DockerSettings { patience, ..DockerSettings::new(address, "n".to_owned()) });
        let ids = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<BTreeSet<InstanceId>>();
        let told = platform.usage(&ids(&["broken", "stuck", "well", "well-too"])).await.unwrap();
        let of = |name: &str| &told[&name.parse::<InstanceId>().unwrap()];
        for well in ["well", "well-too"] {
            assert_eq!(of(well).as_ref().unwrap().processor_time, Duration::from_millis(1_500));
        }
        assert!(matches!(of("broken"), Err(PlatformError::Refused { .. })), "{told:?}");
        assert!(matches!(of("stuck"), Err(PlatformError::Late { .. })), "{told:?}");
        // Also when nothing else was asked: the engine itself answers.
        let told = platform.usage(&ids(&["stuck"])).await.unwrap();
        assert!(matches!(told.values().next(), Some(Err(PlatformError::Late { .. }))), "{told:?}");
        serving.abort();
        assert!(serving.await.unwrap_err().is_cancelled());
        let silent = platform.usage(&ids(&["well"])).await;
        assert!(matches!(silent, Err(PlatformError::Unreachable { .. })), "{silent:?}");
    }

    fn told(text: &str) -> Option<Usage> {
        read(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn an_answer_is_read_in_both_versions_of_control_groups() {
        let usage = |memory_bytes| Some(Usage { processor_time: Duration::from_millis(1_500), memory_bytes });
        let cpu = r#""cpu_stats": {"cpu_usage": {"total_usage": 1500000000}}"#;
        let first = r#"{"usage": 900, "stats": {"total_inactive_file": 400, "inactive_file": 1}}"#;
        assert_eq!(told(&format!(r#"{{{cpu}, "memory_stats": {first}}}"#)), usage(500));
        let second = r#"{"usage": 900, "stats": {"inactive_file": 100}}"#;
        assert_eq!(told(&format!(r#"{{{cpu}, "memory_stats": {second}}}"#)), usage(800));
        assert_eq!(told(&format!(r#"{{{cpu}, "memory_stats": {{}}}}"#)), usage(0));
    }

    #[test]
    fn a_container_that_does_not_run_uses_nothing() {
        assert_eq!(told(r#"{"cpu_stats": {"cpu_usage": {"total_usage": 0}}, "memory_stats": {}}"#), None);
        assert_eq!(told("{}"), None);
    }
}
