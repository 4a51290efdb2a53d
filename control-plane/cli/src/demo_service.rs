//! The service behind the demo gateway: it answers its version and what it was asked.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Json;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One version of it, running.
#[derive(Debug)]
pub(crate) struct DemoService {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl DemoService {
    /// Starts `version` on a port of 127.0.0.1.
    pub(crate) async fn start(version: &'static str, port: u16) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let answer = async move |method: Method, uri: Uri| answer(version, &method, &uri);
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
    Json(body).into_response()
}
