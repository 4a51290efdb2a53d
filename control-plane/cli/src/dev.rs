//! `vamp dev`: control plane, gateway and a demo in one process, on embedded defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use reqwest::Method;
use serde_json::json;
use vamp_gateway::signals::until_told_to_stop;

use crate::arguments::DevArguments;
use crate::client::{Client, Request};
use crate::context::Target;
use crate::demo_service::DemoService;
use crate::failure::Failure;
use crate::output::print;
use crate::verbs::until_one_serves;

/// LIMIT: how long the welcome waits for the gateway.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// Settings of a part of the product, as its own program would read them.
#[derive(Debug, Parser)]
#[command(no_binary_name = true)]
struct Embedded<Settings: clap::Args> {
    #[command(flatten)]
    settings: Settings,
}

/// Runs until it is told to stop.
pub(crate) async fn dev(arguments: DevArguments) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.data_dir)
        .map_err(|cause| Failure::File { path: arguments.data_dir.clone(), cause })?;
    let demo = start_demo(arguments.demo_ports).await?;
    // One store for both: the in-process one.
    let store = vamp_store::memory();
    let settings = control_plane_settings(&arguments)?;
    let control_plane = vamp_control_plane::start(settings, store.clone())
        .await
        .map_err(|cause| Failure::Start { what: "the control plane did not start", cause: Box::new(cause) })?;
    let settings = gateway_settings(&arguments)?;
    let gateway = match vamp_gateway::start(settings, store).await {
        Ok(gateway) => gateway,
        Err(cause) => {
            control_plane.stop().await;
            return Err(Failure::Start { what: "the gateway did not start", cause: Box::new(cause) });
        }
    };
    let outcome = async {
        let host = url::Url::parse(&format!("http://{}", control_plane.address))
            .map_err(|error| Failure::Usage { what: format!("{} is no address: {error}", control_plane.address) })?;
        let client = Client::of(Target::own(host))?;
        write_demo(&arguments, &client, &demo).await?;
        // What is told to be tried is to work.
        until_one_serves(&client, SERVED_WITHIN).await?;
        print(&welcome(&arguments, &demo))?;
        until_told_to_stop().await;
        print("stopping: requests under way are finished first")
    }
    .await;
    gateway.stop().await;
    control_plane.stop_with_instances().await;
    outcome
}

async fn start_demo(ports: [u16; 2]) -> Result<[DemoService; 2], Failure> {
    let start = async |version, port| {
        DemoService::start(version, port).await.map_err(|cause| Failure::Start {
            what: "the demo service did not start: name two free ports with --demo-ports",
            cause: Box::new(cause),
        })
    };
    Ok([start("1", ports[0]).await?, start("2", ports[1]).await?])
}

fn control_plane_settings(arguments: &DevArguments) -> Result<vamp_control_plane::settings::Settings, Failure> {
    let reserved = [arguments.api_port, arguments.admin_port, arguments.demo_ports[0], arguments.demo_ports[1]];
    let reserved = reserved.map(|port| port.to_string()).join(",");
    embedded(&[
        ("listen", loopback(arguments.api_port).to_string()),
        ("store", "memory:".to_owned()),
        ("database", format!("sqlite:{}", below(&arguments.data_dir, "vamp.db"))),
        ("virtual-hosts-port", arguments.virtual_hosts_port.to_string()),
        ("reserved-ports", reserved),
        ("process-dir", below(&arguments.data_dir, "instances")),
    ])
}

fn gateway_settings(arguments: &DevArguments) -> Result<vamp_gateway::Settings, Failure> {
    embedded(&[
        ("store", "memory:".to_owned()),
        ("gateway-id", "dev".to_owned()),
        ("data-dir", below(&arguments.data_dir, "gateway")),
        ("bind", IpAddr::V4(Ipv4Addr::LOCALHOST).to_string()),
        ("admin", loopback(arguments.admin_port).to_string()),
        ("virtual-hosts-port", arguments.virtual_hosts_port.to_string()),
    ])
}

/// Settings by their flags, so that defaults and checks stand in one place; what is not named here may come from the
/// environment, as in the separate programs.
fn embedded<Settings: clap::Args>(flags: &[(&str, String)]) -> Result<Settings, Failure> {
    let flags = flags.iter().map(|(name, value)| format!("--{name}={value}"));
    match Embedded::try_parse_from(flags) {
        Ok(embedded) => Ok(embedded.settings),
        Err(error) => Err(Failure::Usage { what: error.to_string() }),
    }
}

fn below(folder: &Path, name: &str) -> String {
    folder.join(name).display().to_string()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Writes the demo gateway through the API, unless a former start did: what its user made of it stays.
async fn write_demo(arguments: &DevArguments, client: &Client, demo: &[DemoService; 2]) -> Result<(), Failure> {
    let path = ["gateways", "shop"];
    match client.send(Request::get(&path)).await {
        Err(Failure::Refused { status: 404, .. }) => {}
        other => return other.map(drop),
    }
    let [one, two] = demo.each_ref().map(|version| format!("[{}]", version.address()));
    let gateway = json!({
        "name": "shop",
        "port": format!("{}/http", arguments.shop_port),
        "routes": {one: {"weight": "90%"}, two: {"weight": "10%"}},
    });
    let request = Request { body: Some(("application/json", gateway.to_string())), ..Request::new(Method::PUT, &path) };
    client.send(request).await.map(drop)
}

fn welcome(arguments: &DevArguments, demo: &[DemoService; 2]) -> String {
    let [one, two] = demo.each_ref().map(DemoService::address);
    let (api, admin) = (loopback(arguments.api_port), loopback(arguments.admin_port));
    let (shop, hosts) = (loopback(arguments.shop_port), loopback(arguments.virtual_hosts_port));
    let host = if arguments.api_port == 8080 { String::new() } else { format!(" --host http://{api}") };
    // What `cargo run` starts has this in its environment; others have the program itself.
    let vamp = if std::env::var_os("CARGO_MANIFEST_DIR").is_some() { "cargo run --release --" } else { "vamp" };
    format!(
        "
Vamp runs. Its data is in {data}; Ctrl-C stops it.

  REST API             http://{api}/api/v1
  gateway `shop`       http://{shop}
  virtual hosts        http://{hosts}
  admin and metrics    http://{admin}/metrics
  service, version 1   http://{one}
  service, version 2   http://{two}

Try these in another terminal:

  for i in 1 2 3 4 5 6 7 8 9 10; do curl -s http://{shop}/; echo; done
  {vamp} split shop 50/50 --wait{host}
  {vamp} split shop{host}
",
        data = arguments.data_dir.display()
    )
}
