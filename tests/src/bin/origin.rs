//! A service as a program of its own: answers `VERSION` and what it was asked at `PORT`, until somebody ends it.

#![allow(clippy::expect_used, reason = "a service of tests may end by a panic")]

use vamp_tests::origin::Origin;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let port = variable("PORT").parse().expect("PORT is a port");
    let _origin = Origin::start_on(&variable("VERSION"), port).await;
    std::future::pending::<()>().await;
}
