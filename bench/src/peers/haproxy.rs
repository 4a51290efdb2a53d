//! HAProxy, with its log sent as syslog on the site of the Vamp workload, as the old gateway did.

use super::{PROXY_CORE, Ports, Running, Stage, version};
use crate::Failure;
use crate::process::Process;
use crate::workload::Site;

pub(super) fn start(stage: &Stage, ports: Ports) -> Result<(String, Running), Failure> {
    let path = stage.write("haproxy.cfg", &configuration(stage, ports))?;
    Ok((version("haproxy", &["-v"])?, Running::One(Process::start(PROXY_CORE, &["haproxy", "-db", "-f", &path])?)))
}

pub(crate) fn configuration(stage: &Stage, ports: Ports) -> String {
    let mut text = "global\n  nbthread 1\n  maxconn 4000\n\
        defaults\n  mode http\n  option forwardfor\n  timeout connect 3s\n  timeout client 60s\n  timeout server 60s\n"
        .to_owned();
    for (index, site) in [Site::Small, Site::Medium, Site::Large].into_iter().enumerate() {
        text.push_str(&format!(
            "frontend front{index}\n  bind 127.0.0.1:{}\n  default_backend back{index}\n\
             backend back{index}\n  server origin {}\n",
            ports.of(site),
            stage.origin(site)
        ));
    }
    text.push_str(&format!(
        "frontend vamp\n  bind 127.0.0.1:{}\n  log {} local0\n  option httplog\n  acl canary hdr(X-Canary) yes\n  \
         use_backend canary if canary\n  default_backend split\n\
         backend split\n  balance roundrobin\n  server one {} weight 90\n  server two {} weight 10\n\
         backend canary\n  server two {}\n",
        ports.of(Site::Vamp),
        stage.sink,
        stage.origin(Site::Vamp),
        stage.canary,
        stage.canary
    ));
    text
}
