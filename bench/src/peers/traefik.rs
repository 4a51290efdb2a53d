//! Traefik, with its access log dropped on the site of the Vamp workload: it writes files only.

use std::fmt::Write as _;

use super::{PROXY_CORE, Ports, Running, Stage, fetched, version};
use crate::Failure;
use crate::process::Process;
use crate::workload::Site;

pub(super) fn start(stage: &Stage, ports: Ports) -> Result<(String, Running), Failure> {
    let program = fetched("traefik")?;
    let (fixed, dynamic) = configuration(stage, ports)?;
    let dynamic = stage.write("traefik-dynamic.yml", &dynamic)?;
    let path = stage.write("traefik.yml", &format!("{fixed}providers:\n  file:\n    filename: {dynamic}\n"))?;
    let configuration = format!("--configFile={path}");
    let process = Process::start_with(PROXY_CORE, &[("GOMAXPROCS", "1")], &[&program, &configuration])?;
    Ok((version(&program, &["version"])?, Running::One(process)))
}

fn configuration(stage: &Stage, ports: Ports) -> Result<(String, String), Failure> {
    let mut fixed = "global:\n  checkNewVersion: false\n  sendAnonymousUsage: false\nlog:\n  level: ERROR\n\
        accessLog:\n  filePath: /dev/null\n  bufferingSize: 100\nentryPoints:\n"
        .to_owned();
    let mut routers = String::new();
    let mut services = String::new();
    for site in Site::ALL {
        let log = site == Site::Vamp;
        writeln!(
            fixed,
            "  {site:?}:\n    address: 127.0.0.1:{}\n    observability:\n      accessLogs: {log}",
            ports.of(site)
        )?;
        writeln!(
            routers,
            "    {site:?}:\n      entryPoints: [{site:?}]\n      rule: PathPrefix(`/`)\n      service: {site:?}"
        )?;
    }
    let canary = "    canary:\n      entryPoints: [Vamp]\n      rule: Header(`X-Canary`, `yes`)\n      service: two\n";
    routers.push_str(canary);
    let mut server = |name: &str, address: std::net::SocketAddr| {
        writeln!(services, "    {name}:\n      loadBalancer:\n        servers: [{{url: 'http://{address}'}}]")
    };
    for site in [Site::Small, Site::Medium, Site::Large] {
        server(&format!("{site:?}"), stage.origin(site))?;
    }
    server("one", stage.origin(Site::Vamp))?;
    server("two", stage.canary)?;
    services
        .push_str("    Vamp:\n      weighted:\n        services: [{name: one, weight: 90}, {name: two, weight: 10}]\n");
    Ok((fixed, format!("http:\n  routers:\n{routers}  services:\n{services}")))
}
