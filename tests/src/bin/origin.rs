//! A service as a program of its own: answers `VERSION` and what it was asked at `PORT`, after `DELAY_MS` if that is set,
//! until somebody ends it. It listens on loopback, or at `ADDRESS`. At `/status/CODE` it answers with that status.

#![allow(clippy::expect_used, reason = "a service of tests may end by a panic")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use vamp_tests::origin::{Behaviour, Origin};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let port: u16 = variable("PORT").parse().expect("PORT is a port");
    let address = std::env::var("ADDRESS").map_or(Ok(IpAddr::from(Ipv4Addr::LOCALHOST)), |text| text.parse());
    let address = SocketAddr::from((address.expect("ADDRESS is an address"), port));
    let origin = Origin::start_on(&variable("VERSION"), address).await;
    if let Ok(delay_ms) = variable("DELAY_MS").parse() {
        origin.behave(Behaviour::Slow(Duration::from_millis(delay_ms)));
    }
    std::future::pending::<()>().await;
}
