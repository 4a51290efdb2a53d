//! The service behind the demo gateway: it answers its version and what it was asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use vamp_gateway::signals::until_told_to_stop;

use crate::arguments::DemoServiceArguments;
use crate::failure::Failure;
use crate::output::print;

/// Runs one version of it until it is told to stop.
pub(crate) async fn run(arguments: DemoServiceArguments) -> Result<(), Failure> {
    let DemoServiceArguments { service_version, port } = arguments;
    let started = DemoService::start(&service_version, port).await;
    let service = started.map_err(|cause| Failure::Start {
        what: "the demo service did not start: name a free port in PORT",
        cause: Box::new(cause),
    })?;
    print(&format!("version {service_version} listens on {}", service.address()))?;
    until_told_to_stop().await;
    Ok(())
}

/// One version of it, running.
#[derive(Debug)]
pub(crate) struct DemoService {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl DemoService {
    /// Starts `version` on a port of 127.0.0.1.
    pub(crate) async fn start(version: &str, port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let version: Arc<str> = version.into();
        let answered = Arc::clone(&version);
        let answer = async move |method: Method, uri: Uri| answer(&answered, &method, &uri);
        let router = axum::Router::new().fallback(answer);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!("the demo service {version} ended: {error}");
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for DemoService {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(version: &str, method: &Method, uri: &Uri) -> Response {
    let body =
        serde_json::json!({"service": "shop", "version": version, "method": method.as_str(), "path": uri.path()});
    // Read in terminals, too.
    ([(CONTENT_TYPE, "application/json")], format!("{body}\n")).into_response()
}
