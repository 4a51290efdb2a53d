//! `vamp version` and `vamp completion`.

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::{Value, json};

use super::text;
use crate::arguments::{Program, VersionArguments};
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::show;
use crate::output::{print, warn};

const OWN: &str = env!("CARGO_PKG_VERSION");

/// Shows the versions of this program and of the control plane.
pub(crate) async fn version(arguments: VersionArguments) -> Result<(), Failure> {
    let output = &arguments.asking.output.output;
    if arguments.client {
        return show(&json!({"client": OWN}), output, |_| format!("client {OWN}"));
    }
    let asked = async {
        let client = Client::new(&arguments.asking.server)?;
        client.send(Request::get(&["info"])).await.map(|answer| answer.json())
    };
    match asked.await {
        Ok(info) => {
            let server = text(&info, "version").to_owned();
            if is_far(OWN, &server) {
                warn(&format!(
                    "client {OWN} and server {server} are more than one minor version apart: use a nearer one"
                ));
            }
            let known = json!({"client": OWN, "server": server, "api": info.get("api").unwrap_or(&Value::Null)});
            show(&known, output, |_| format!("client {OWN}\nserver {server}"))
        }
        Err(failure) => {
            // The half that is known is told nevertheless.
            show(&json!({"client": OWN}), output, |_| format!("client {OWN}"))?;
            Err(failure)
        }
    }
}

/// Whether two versions are more than one minor version apart.
fn is_far(one: &str, other: &str) -> bool {
    let numbers = |version: &str| -> Option<(u64, u64)> {
        let mut numbers = version.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    match (numbers(one), numbers(other)) {
        (Some((major, minor)), Some((other_major, other_minor))) => {
            major != other_major || minor.abs_diff(other_minor) > 1
        }
        _ => false,
    }
}

/// Writes the completion of a shell.
pub(crate) fn completion(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Program::command(), "vamp", &mut script);
    print(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_are_far_apart_are_told() {
        for (one, other, expected) in
            [("0.1.0", "0.2.9", false), ("0.1.0", "0.3.0", true), ("1.0.0", "2.0.0", true), ("0.1.0", "?", false)]
        {
            assert_eq!(is_far(one, other), expected, "{one} {other}");
        }
    }
}
