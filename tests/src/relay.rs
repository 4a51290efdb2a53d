//! A TCP relay that can be cut: the network between two programs, under the test's control.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes bytes between its own address and a target while it is whole.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Relay {
    /// Starts one to `target`, whole.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port for the relay");
        let address = listener.local_addr().expect("the relay's address");
        let whole = watch::Sender::new(true);
        let state = whole.clone();
        let task = tokio::spawn(async move {
            let state = Arc::new(state);
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target, state.subscribe()));
            }
        });
        Self { address, whole, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection, and each new one at once.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Ends [`Relay::cut`].
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, target: SocketAddr, mut whole: watch::Receiver<bool>) {
    if !*whole.borrow() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
        _ = whole.wait_for(|whole| !whole) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Load, Plan};
    use crate::origin::Origin;

    #[tokio::test]
    async fn a_cut_relay_answers_nothing_until_it_is_mended() {
        let origin = Origin::start("1").await;
        let relay = Relay::start(origin.address()).await;
        let plan = || Plan { requests: Some(5), connections: 1, ..Plan::new(relay.address()) };
        Load::start(plan()).report().await.assert_flawless();
        relay.cut();
        assert_eq!(Load::start(plan()).report().await.failed, 5);
        relay.mend();
        Load::start(plan()).report().await.assert_flawless();
    }
}
