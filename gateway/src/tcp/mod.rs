//! The life of one connection of a TCP gateway: decided once, by whence it comes, then carried as it is until both sides
//! have said their last; its record is finished exactly once.
//!
//! While nothing moves it holds no buffer, and no table. What ends before both sides ended it is reset, both ways: nobody
//! is to take a part for the whole.

mod hear;
mod opening;
mod passage;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use tokio::net::TcpStream;
use vamp_routing::wire::Tcp;

use self::opening::Opening;
use crate::proxy::timer::Timer;
use crate::worker::{Served, Worker};

/// Serves one connection to the gateway at this index of the table to its end.
pub(crate) fn serve(
    worker: Rc<Worker>,
    client: TcpStream,
    peer: SocketAddr,
    serving: Served,
    (gateway, options): (usize, Tcp),
) -> impl Future<Output = ()> {
    let accepted = Instant::now();
    let timer = Timer::new(accepted + worker.limits.head_timeout);
    let opening = Opening { worker, client, peer, gateway, options, accepted, timer };
    // Opening is short and its state large: it has a box of its own while it lasts.
    let opened = Box::pin(opening.open(serving));
    async move {
        if let Some(mut passage) = opened.await {
            passage.carry().await;
        }
    }
}

#[cfg(test)]
mod size {
    use super::*;

    /// Connections of both kinds have futures of one size: that of the larger.
    #[test]
    fn the_future_of_a_tcp_connection_is_small() {
        fn size<A, B, C, D, E, F>(_: fn(A, B, C, D, E) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 640, "{} bytes: put what is large and rare into a box", size(serve));
    }
}
