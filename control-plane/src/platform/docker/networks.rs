//! Networks of containers: made when the first one needs them, gone with the last one, if they were made here.

use std::collections::HashMap;

use bollard::models::{NetworkConnectRequest, NetworkCreateRequest};
use bollard::query_parameters::ListContainersOptions;

use super::container::NAMESPACE;
use super::engine::{Engine, Failure};
use super::options::HOST_NETWORK;

/// Makes the networks that are missing.
pub(super) async fn make(engine: &Engine, namespace: &str, networks: &[String]) -> Result<(), Failure> {
    for network in networks.iter().filter(|network| *network != HOST_NETWORK) {
        match engine.look(|docker| docker.inspect_network(network, None)).await {
            Ok(_) => continue,
            Err(failure) if failure.is_absent() => {}
            Err(failure) => return Err(failure),
        }
        let request = NetworkCreateRequest {
            name: network.clone(),
            labels: Some(HashMap::from([(NAMESPACE.to_owned(), namespace.to_owned())])),
            ..NetworkCreateRequest::default()
        };
        match engine.work(|docker| docker.create_network(request)).await {
            Err(failure) if !failure.is_conflict() => return Err(failure),
            _ => {}
        }
    }
    Ok(())
}

/// Puts a container into all of its networks but the first, in which it was made.
pub(super) async fn connect(engine: &Engine, container: &str, networks: &[String]) -> Result<(), Failure> {
    for network in networks.iter().skip(1) {
        let request = NetworkConnectRequest { container: container.to_owned(), endpoint_config: None };
        engine.work(|docker| docker.connect_network(network, request)).await?;
    }
    Ok(())
}

/// Removes those of these networks that were made here and have no container any more.
pub(super) async fn tidy(engine: &Engine, namespace: &str, networks: &[String]) -> Result<(), Failure> {
    for network in networks {
        let told = match engine.look(|docker| docker.inspect_network(network, None)).await {
            Ok(told) => told,
            Err(failure) if failure.is_absent() => continue,
            Err(failure) => return Err(failure),
        };
        let owner = told.labels.as_ref().and_then(|labels| labels.get(NAMESPACE));
        if owner.map(String::as_str) != Some(namespace) {
            continue;
        }
        // Also those that do not run: they would not start without it.
        let filters = HashMap::from([("network".to_owned(), vec![network.clone()])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        if !engine.look(|docker| docker.list_containers(Some(options))).await?.is_empty() {
            continue;
        }
        match engine.work(|docker| docker.remove_network(network)).await {
            // Somebody came, or was faster.
            Err(Failure::Answered { status: 403 | 404 | 409, .. }) | Ok(()) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
