//! A control plane that is measured, and a client for it.

use std::path::Path;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::process::{Process, await_listening, free_port};

/// One that publishes nowhere.
pub(crate) struct ControlPlane {
    pub(crate) process: Process,
    pub(crate) runtime: Runtime,
    root: String,
    client: Client,
}

impl ControlPlane {
    /// Starts the program with a database; it listens when this returns.
    pub(crate) fn start(vamp: &Path, database: &str, arguments: &[&str]) -> Result<Self, Failure> {
        let port = free_port()?;
        let (listen, vamp) = (format!("127.0.0.1:{port}"), vamp.to_string_lossy());
        let fixed = [&*vamp, "control-plane", "--listen", &listen, "--store", "memory:", "--database", database];
        let process = Process::start_anywhere(&[&fixed, arguments].concat())?;
        await_listening("the control plane", port)?;
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().no_proxy().timeout(Duration::from_mins(2)).build()?;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { process, runtime, root: format!("http://{listen}"), client })
    }

    /// A request to an address below its root.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.root))
    }

    /// The answer to a request, which must be a success.
    pub(crate) fn answer(&self, request: RequestBuilder) -> Result<String, Failure> {
        self.found(request)?.ok_or_else(|| "the address was not found".into())
    }

    /// The same in JSON; `None`: there is no such thing.
    pub(crate) fn json(&self, request: RequestBuilder) -> Result<Option<Value>, Failure> {
        Ok(self.found(request)?.map(|text| serde_json::from_str(&text)).transpose()?)
    }

    fn found(&self, request: RequestBuilder) -> Result<Option<String>, Failure> {
        self.runtime.block_on(async {
            let answer = request.send().await?;
            if answer.status() == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            let is_success = answer.status().is_success();
            let text = answer.text().await?;
            if is_success { Ok(Some(text)) } else { Err(text.into()) }
        })
    }
}
