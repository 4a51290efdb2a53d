//! A gateway that carries connections, and servers behind it that speak raw bytes.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use vamp_routing::wire::{Gateway, Route, Tcp};

use crate::limits::Limits;
use crate::plane::PlaneSettings;
pub(super) use crate::proxy::tests::fixture::{Vamp, apply, eventually, limits, route, soon};

/// A gateway that carries connections over these routes, on a port that is free now.
pub(super) fn gateway(routes: Vec<Route>) -> Gateway {
    Gateway { tcp: Some(Tcp::default()), ..crate::proxy::tests::fixture::gateway(routes) }
}

/// One thread, and whatever comes over loopback is a trusted proxy.
pub(super) fn settings(limits: Limits) -> PlaneSettings {
    PlaneSettings {
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        virtual_hosts_port: None,
        threads: 1,
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        proxy_protocol: false,
        targets: vamp_routing::Targets::default(),
        limits,
    }
}

/// One gateway with one route to these servers.
pub(super) async fn before(servers: &[SocketAddr]) -> Vamp {
    Vamp::start(settings(limits()), gateway(vec![route("only", 100, servers)])).await
}

/// A client's connection to the gateway.
pub(super) async fn connect(vamp: &Vamp) -> TcpStream {
    let stream = soon("a connection", TcpStream::connect(vamp.address)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// The same, of a client whose kernel takes no more than about so many bytes before it does.
pub(super) async fn connect_with_room(vamp: &Vamp, bytes: u32) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(bytes).unwrap();
    soon("a connection", socket.connect(vamp.address)).await.unwrap()
}

/// A server that does what a test says with each connection.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start<F, S>(serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TcpStream) -> F + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                running.spawn(serve(stream));
            }
        });
        Self { address, connections, task }
    }

    /// Says its name at once, then repeats what it is told.
    pub(super) async fn named(name: &'static str) -> Self {
        Self::start(move |mut stream| async move {
            stream.write_all(name.as_bytes()).await.unwrap();
            let (mut reader, mut writer) = stream.split();
            drop(tokio::io::copy(&mut reader, &mut writer).await);
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Exactly these bytes come next.
pub(super) async fn says(stream: &mut TcpStream, wanted: &[u8]) {
    let mut read = vec![0; wanted.len()];
    soon("bytes", stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(wanted));
}

/// Everything until the other side's end.
pub(super) async fn rest(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    soon("the end", stream.read_to_end(&mut read)).await?;
    Ok(read)
}

/// Whether the connection ends by a reset, after whatever came before.
pub(super) async fn is_reset(stream: &mut TcpStream) -> bool {
    rest(stream).await.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

/// Closes with a reset.
pub(super) fn reset(stream: TcpStream) {
    crate::proxy::flow::reset_on_close(&stream);
    drop(stream);
}
