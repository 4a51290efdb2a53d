//! Caddy, with its access log dropped on the site of the Vamp workload: it writes files only.

use std::fmt::Write as _;

use super::{PROXY_CORE, Ports, Running, Stage, fetched, version};
use crate::Failure;
use crate::process::Process;
use crate::workload::Site;

pub(super) fn start(stage: &Stage, ports: Ports) -> Result<(String, Running), Failure> {
    let program = fetched("caddy")?;
    let path = stage.write("Caddyfile", &configuration(stage, ports)?)?;
    let home = stage.directory.to_str().ok_or("the temporary directory is not UTF-8")?;
    let environment = [("GOMAXPROCS", "1"), ("HOME", home), ("XDG_DATA_HOME", home), ("XDG_CONFIG_HOME", home)];
    let command = [&*program, "run", "--adapter", "caddyfile", "--config", &path];
    let process = Process::start_with(PROXY_CORE, &environment, &command)?;
    Ok((version(&program, &["version"])?, Running::One(process)))
}

fn configuration(stage: &Stage, ports: Ports) -> Result<String, Failure> {
    let mut text = "{\n  admin off\n  auto_https off\n  persist_config off\n}\n".to_owned();
    for site in [Site::Small, Site::Medium, Site::Large] {
        writeln!(text, "http://127.0.0.1:{} {{\n  reverse_proxy {}\n}}", ports.of(site), stage.origin(site))?;
    }
    writeln!(
        text,
        "http://127.0.0.1:{} {{\n  log {{\n    output discard\n  }}\n  @canary header X-Canary yes\n  reverse_proxy @canary {two}\n  \
         reverse_proxy {one} {two} {{\n    lb_policy weighted_round_robin 90 10\n  }}\n}}",
        ports.of(Site::Vamp),
        one = stage.origin(Site::Vamp),
        two = stage.canary,
    )?;
    Ok(text)
}
