//! The whole system as a fixture: real components as child processes, faulty origins, load that verifies every
//! answer, and [`world::World`], which runs control plane and gateways in one process.
//!
//! Nothing here has a fixed port, and nothing waits for time to pass: [`eventually`] waits for a state.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a fixture that fails is a failed test, and the panic tells which"
)]

pub mod components;
pub mod conformance;
pub mod crowd;
pub mod engine;
pub mod installation;
pub mod load;
pub mod memory_group;
pub mod narrow;
pub mod origin;
pub mod process;
pub mod relay;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Waits until `probe` gives a value, and says what it waited for when it never does.
pub async fn eventually<T>(deadline: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    // LIMIT: asks twenty to a hundred times a second, so that a busy machine still gets on.
    let mut pause = Duration::from_millis(10);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// A port of 127.0.0.1 that nobody listens on and nobody else here was given, outside the range from which the system
/// gives ports to clients, so that a component that is stopped finds its port free when it comes back.
pub fn free_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    for _ in 0..1_000 {
        let port = rand::random_range(10_000..20_000);
        let is_free = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free && GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return port;
        }
    }
    panic!("no free port between 10000 and 19999 on 127.0.0.1: end the programs that hold them");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let given: BTreeSet<_> = (0..300).map(|_| free_port()).collect();
        assert_eq!(given.len(), 300);
    }

    #[tokio::test]
    async fn waiting_ends_when_the_state_is_reached() {
        let mut asked = 0;
        let reached = eventually(Duration::from_secs(5), "three questions", async || {
            asked += 1;
            (asked == 3).then_some("yes")
        });
        assert_eq!(reached.await, "yes");
    }

    #[tokio::test]
    #[should_panic(expected = "a state that never comes")]
    async fn waiting_in_vain_names_the_state() {
        eventually(Duration::from_millis(30), "a state that never comes", async || None::<()>).await;
    }
}
