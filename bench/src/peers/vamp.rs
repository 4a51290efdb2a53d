//! The product: a gateway that only counts its records, and one that ships them, each with a control plane and an etcd.

use super::{PROXY_CORE, Ports, Running, Stage};
use crate::Failure;
use crate::process::Process;
use crate::product::{GatewayRun, Product};
use crate::workload::Site;

/// One of the two.
pub(super) struct Instance(Product);

impl Instance {
    pub(super) fn process(&self) -> &Process {
        self.0.gateway()
    }

    /// Whether each request left its record, and the weights were kept: what was not done costs nothing, so that its
    /// figures would count nothing.
    pub(super) fn check(&self, stage: &Stage) -> Result<(), Failure> {
        let dropped = self.0.metric("vamp_gateway_records_dropped_total", "")?;
        let requests = self.0.metric("vamp_gateway_requests_total", "")?;
        let canary = self.0.metric("vamp_gateway_requests_total", &format!("[{}]", stage.canary))?;
        if dropped > 0.0 || requests == 0.0 || (canary - requests / 10.0).abs() > 1.0 {
            return Err(format!(
                "of {requests} requests {canary} went to the canary, and {dropped} records were dropped"
            )
            .into());
        }
        Ok(())
    }
}

pub(super) fn start(stage: &Stage, ports: Ports) -> Result<(String, Running), Failure> {
    let folder = |name: &str| {
        let folder = stage.directory.join(name);
        std::fs::create_dir_all(&folder).map(|()| folder)
    };
    let plain = Product::start(&GatewayRun::pinned(PROXY_CORE), &folder("plain")?)?;
    for site in [Site::Small, Site::Medium, Site::Large] {
        put(&plain, ports.of(site), &routes(stage, site))?;
    }
    let mut run = GatewayRun::pinned(PROXY_CORE);
    run.arguments.extend(["--elasticsearch".to_owned(), format!("http://{}", stage.sink)]);
    let records = Product::start(&run, &folder("records")?)?;
    put(&records, ports.of(Site::Vamp), &routes(stage, Site::Vamp))?;
    let version = format!("vamp-gateway {}", env!("CARGO_PKG_VERSION"));
    Ok((version, Running::Two { plain: Box::new(Instance(plain)), records: Box::new(Instance(records)) }))
}

/// The routes of a site.
pub(crate) fn routes(stage: &Stage, site: Site) -> serde_json::Value {
    if site != Site::Vamp {
        return serde_json::json!({ format!("[{}]", stage.origin(site)): { "weight": "100%" } });
    }
    serde_json::json!({
        format!("[{}]", stage.origin(Site::Vamp)): { "weight": "90%" },
        format!("[{}]", stage.canary): { "weight": "10%", "condition": "header X-Canary == yes" },
    })
}

fn put(product: &Product, port: u16, routes: &serde_json::Value) -> Result<(), Failure> {
    let name = format!("bench-{port}");
    product.put_gateway(&name, &serde_json::json!({ "name": name, "port": port, "routes": routes }))
}
