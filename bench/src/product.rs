//! The product as an operator runs it: etcd, control plane and gateway as processes of their own.

use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::process::{Process, await_listening, free_port};

/// The running product; ends with this value.
pub(crate) struct Product {
    api: String,
    admin: String,
    runtime: tokio::runtime::Runtime,
    client: reqwest::Client,
    gateway: Process,
    _control_plane: Process,
    _etcd: Process,
}

/// How the gateway is started.
#[derive(Debug, Clone, Default)]
pub(crate) struct GatewayRun {
    /// Words before its own: what pins it, or counts it.
    pub(crate) before: Vec<String>,
    /// Words after those that every gateway gets.
    pub(crate) arguments: Vec<String>,
}

impl GatewayRun {
    /// One thread on one core.
    pub(crate) fn pinned(core: usize) -> Self {
        let before = ["taskset", "-c", &core.to_string()].map(str::to_owned).to_vec();
        Self { before, arguments: vec!["--threads".to_owned(), "1".to_owned()] }
    }
}

impl Product {
    /// Starts it below `directory`.
    pub(crate) fn start(run: &GatewayRun, directory: &Path) -> Result<Self, Failure> {
        let binaries = crate::product()?;
        let path = |name: &str| binaries.join(name).to_string_lossy().into_owned();
        let below = |name: &str| directory.join(name).to_string_lossy().into_owned();
        let (client_port, peer_port, api_port, admin_port) = (free_port()?, free_port()?, free_port()?, free_port()?);
        let (clients, peers) = (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
        let cluster = format!("default={peers}");
        let etcd_data = below("etcd");
        let etcd = Process::start_anywhere(&[
            "etcd",
            "--data-dir",
            &etcd_data,
            "--listen-client-urls",
            &clients,
            "--advertise-client-urls",
            &clients,
            "--listen-peer-urls",
            &peers,
            "--initial-advertise-peer-urls",
            &peers,
            "--initial-cluster",
            &cluster,
        ])?;
        await_listening("etcd", client_port)?;

        let store = format!("etcd://127.0.0.1:{client_port}/vamp");
        let (listen, database) = (format!("127.0.0.1:{api_port}"), format!("sqlite:{}", below("vamp.db")));
        let vamp = path("vamp");
        let control_plane = Process::start_anywhere(&[
            &vamp,
            "control-plane",
            "--listen",
            &listen,
            "--store",
            &store,
            "--database",
            &database,
        ])?;
        await_listening("the control plane", api_port)?;

        let (admin, data, program) = (format!("127.0.0.1:{admin_port}"), below("gateway"), path("vamp-gateway"));
        let own = [&program, "--store", &store, "--admin", &admin, "--data-dir", &data, "--bind", "127.0.0.1"];
        let words = run.before.iter().map(String::as_str).chain(own).chain(run.arguments.iter().map(String::as_str));
        let gateway = Process::start_anywhere(&words.collect::<Vec<_>>())?;
        await_listening("the gateway's admin listener", admin_port)?;

        drop(rustls::crypto::ring::default_provider().install_default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let product = Self {
            api: format!("http://127.0.0.1:{api_port}/api/v1"),
            admin: format!("http://{admin}"),
            runtime,
            client,
            gateway,
            _control_plane: control_plane,
            _etcd: etcd,
        };
        product.await_gateway()?;
        Ok(product)
    }

    /// The gateway's process.
    pub(crate) fn gateway(&self) -> &Process {
        &self.gateway
    }

    /// Tells the gateway to end, and waits until it has: counters of instructions and calls are written then.
    pub(crate) fn stop_gateway(&mut self) -> Result<(), Failure> {
        self.gateway.terminate()
    }

    /// Writes a gateway and returns when every gateway process serves it.
    pub(crate) fn put_gateway(&self, name: &str, document: &serde_json::Value) -> Result<(), Failure> {
        let url = format!("{}/gateways/{name}?wait=10s", self.api);
        let (status, body) = self.runtime.block_on(async {
            let answer = self.client.put(url).json(document).send().await?;
            Ok::<_, Failure>((answer.status(), answer.text().await?))
        })?;
        let rollout: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        let count = |member| rollout.pointer(member).and_then(serde_json::Value::as_u64);
        let served = (count("/rollout/applied"), count("/rollout/of")) == (Some(1), Some(1));
        if !matches!(status.as_u16(), 200 | 201) || !served {
            return Err(format!("the change is not served by the one gateway: {status} {body}").into());
        }
        Ok(())
    }

    /// The sum of a metric of the gateway over all its series that have these words among their labels.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> Result<f64, Failure> {
        let url = format!("{}/metrics", self.admin);
        let page = self.runtime.block_on(async { self.client.get(url).send().await?.text().await })?;
        Ok(metric(&page, name, labels))
    }

    /// Waits until the control plane knows of the gateway.
    fn await_gateway(&self) -> Result<(), Failure> {
        for _ in 0..200 {
            let url = format!("{}/rollout", self.api);
            let known = self.runtime.block_on(async {
                let rollout: serde_json::Value = self.client.get(url).send().await?.json().await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
                Ok::<_, Failure>(rollout.pointer("/gateways/0").is_some())
            })?;
            if known {
                return Ok(());
            }
        }
        Err("the gateway did not register with the control plane in 10 s".into())
    }
}

fn metric(page: &str, name: &str, labels: &str) -> f64 {
    let series = page.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
    let values =
        series.filter(|rest| rest.contains(labels)).filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_added() {
        let page = "# TYPE a counter\na{route=\"x\"} 1\na{route=\"y\"} 2\na_more 4\nb 8\n";
        let whole = |name, labels| format!("{}", metric(page, name, labels));
        assert_eq!([whole("a", ""), whole("a", "route=\"y\""), whole("b", "")], ["3", "2", "8"]);
    }
}
