//! Envoy, with its access log written into shared memory on the site of the Vamp workload.

use serde_json::{Value, json};

use super::{PROXY_CORE, Ports, Running, Stage, fetched, version};
use crate::Failure;
use crate::process::Process;
use crate::workload::Site;

pub(super) fn start(stage: &Stage, ports: Ports) -> Result<(String, Running), Failure> {
    let program = fetched("envoy")?;
    let path = stage.write("envoy.json", &configuration(stage, ports).to_string())?;
    let command = [&*program, "-c", &path, "--concurrency", "1", "--disable-hot-restart", "-l", "off"];
    Ok((version(&program, &["--version"])?, Running::One(Process::start(PROXY_CORE, &command)?)))
}

fn configuration(stage: &Stage, ports: Ports) -> Value {
    let plain = [Site::Small, Site::Medium, Site::Large];
    let to = |name: String| json!([{ "match": { "prefix": "/" }, "route": { "cluster": name, "timeout": "60s" } }]);
    let weighted = json!([{ "name": "one", "weight": 90 }, { "name": "two", "weight": 10 }]);
    let split = json!([
        { "match": { "prefix": "/", "headers": [{ "name": "x-canary", "string_match": { "exact": "yes" } }] },
          "route": { "cluster": "two" } },
        { "match": { "prefix": "/" }, "route": { "weighted_clusters": { "clusters": weighted } } },
    ]);
    let listeners: Vec<Value> = plain
        .into_iter()
        .map(|site| listener(ports.of(site), &to(format!("{site:?}")), &json!([])))
        .chain([listener(
            ports.of(Site::Vamp),
            &split,
            &json!([{
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    "path": "/dev/null",
                },
            }]),
        )])
        .collect();
    let clusters: Vec<Value> = plain
        .into_iter()
        .map(|site| cluster(&format!("{site:?}"), stage.origin(site)))
        .chain([cluster("one", stage.origin(Site::Vamp)), cluster("two", stage.canary)])
        .collect();
    json!({ "static_resources": { "listeners": listeners, "clusters": clusters } })
}

fn listener(port: u16, routes: &Value, log: &Value) -> Value {
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "use_remote_address": true,
        "access_log": log,
        "generate_request_id": false,
        "http_filters": [{
            "name": "envoy.filters.http.router",
            "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
        }],
        "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
    });
    json!({
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager", "typed_config": manager,
        }] }],
    })
}

fn cluster(name: &str, address: std::net::SocketAddr) -> Value {
    let endpoint = json!({ "endpoint": { "address": { "socket_address": {
        "address": address.ip().to_string(), "port_value": address.port(),
    } } } });
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "3s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
    })
}
