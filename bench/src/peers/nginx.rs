//! nginx, with its access log sent as syslog on the site of the Vamp workload.

use super::{PROXY_CORE, Ports, Running, Stage, version};
use crate::Failure;
use crate::process::Process;
use crate::workload::Site;

pub(super) fn start(stage: &Stage, ports: Ports) -> Result<(String, Running), Failure> {
    let path = stage.write("nginx.conf", &configuration(stage, ports))?;
    let prefix = stage.directory.to_str().ok_or("the temporary directory is not UTF-8")?;
    let command = ["nginx", "-e", "/dev/null", "-p", prefix, "-c", &path];
    Ok((version("nginx", &["-v"])?, Running::One(Process::start(PROXY_CORE, &command)?)))
}

fn configuration(stage: &Stage, ports: Ports) -> String {
    let mut text = "daemon off;\nmaster_process off;\npid nginx.pid;\nevents { worker_connections 4096; }\nhttp {\n  \
        access_log off;\n  keepalive_requests 1000000000;\n  proxy_http_version 1.1;\n  \
        proxy_set_header Connection \"\";\n  proxy_set_header X-Forwarded-For $remote_addr;\n  \
        client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n"
        .to_owned();
    for (index, site) in [Site::Small, Site::Medium, Site::Large].into_iter().enumerate() {
        text.push_str(&format!(
            "  upstream back{index} {{ server {}; keepalive 512; keepalive_requests 1000000000; }}\n  \
             server {{ listen 127.0.0.1:{}; location / {{ proxy_pass http://back{index}; }} }}\n",
            stage.origin(site),
            ports.of(site)
        ));
    }
    text.push_str(&format!(
        "  upstream split {{ server {one} weight=90; server {two} weight=10; keepalive 512; keepalive_requests 1000000000; }}\n  \
         upstream canary {{ server {two}; keepalive 512; keepalive_requests 1000000000; }}\n  \
         map $http_x_canary $to {{ default split; yes canary; }}\n  \
         server {{ listen 127.0.0.1:{port}; access_log syslog:server={sink} combined; \
         location / {{ proxy_pass http://$to; }} }}\n}}\n",
        one = stage.origin(Site::Vamp),
        two = stage.canary,
        port = ports.of(Site::Vamp),
        sink = stage.sink,
    ));
    text
}
