//! Blueprints as scenarios deploy them: one cluster `web` with versions of a service, behind one port.

use vamp_tests::process::own_binary;

/// A service `web:VERSION`, started as a program that this says; `more` are lines of its breed.
pub(crate) fn service(version: &str, deployable: &str, instances: u32, more: &[&str]) -> String {
    let more: Vec<String> = more.iter().map(|line| format!("        {line}\n")).collect();
    let more = more.concat();
    format!(
        "
    - breed:
        name: web:{version}
        {deployable}
        ports: {{http: 8080/http}}
{more}      scale: {{cpu: 1, memory: 256MB, instances: {instances}}}"
    )
}

/// A blueprint with these services; `more` is said of the cluster.
pub(crate) fn blueprint(name: &str, port: u16, services: &[String], more: &str) -> String {
    let services = services.concat();
    format!("name: {name}\ngateways: {{{port}: web/http}}\nclusters:\n  web:\n    services:{services}\n{more}")
}

/// A program of the tests that answers which version it is.
pub(crate) fn origin() -> String {
    format!("deployable: {{type: command, definition: \"{}\"}}", own_binary("origin").display())
}

/// The demo service of the product, in one version.
pub(crate) fn demo(version: &str, instances: u32, more: &[&str]) -> String {
    let program =
        format!("deployable: {{type: command, definition: \"{} demo-service\"}}", own_binary("vamp").display());
    let variables = format!("environment_variables: {{VERSION: \"{version}\"}}");
    let check = "health_checks: {port: http, path: /, timeout: 5s, interval: 1s, failures: 3}";
    let more: Vec<&str> = [variables.as_str(), check].into_iter().chain(more.iter().copied()).collect();
    service(version, &program, instances, &more)
}
