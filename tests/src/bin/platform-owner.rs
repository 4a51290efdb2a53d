//! A control plane as far as platforms see one, for tests that kill it: it starts the instance whose order it reads, says
//! so, and waits for its end.
//!
//!     platform-owner FOLDER FIRST-PORT LAST-PORT < ORDER

#![allow(clippy::print_stdout, clippy::expect_used, reason = "what it says is what is tested, and a test reads why")]

use std::ffi::OsString;
use std::process::ExitCode;

use vamp_control_plane::platform::process::{ProcessPlatform, ProcessSettings, as_helper};
use vamp_control_plane::platform::{InstanceSpec, Platform as _};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    as_helper(&arguments).unwrap_or_else(|| own(&arguments))
}

#[tokio::main(flavor = "current_thread")]
async fn own(arguments: &[OsString]) -> ExitCode {
    let [_, folder, first, last] = arguments else { return ExitCode::from(2) };
    let port = |text: &OsString| text.to_str().and_then(|text| text.parse().ok()).expect("a port");
    let mut settings = ProcessSettings::new(folder.into());
    settings.port_range = port(first)..=port(last);
    let platform = ProcessPlatform::open(settings).expect("the folder is free");
    let order: InstanceSpec = serde_json::from_reader(std::io::stdin()).expect("an order");
    platform.ensure(&order).await.expect("the instance starts");
    println!("started");
    std::future::pending().await
}
