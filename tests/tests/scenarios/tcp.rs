//! TCP gateways on real processes: exact splits over threads, connections that outlive tables and the program, clients
//! kept by their address, and one record for each connection.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use vamp_tests::installation::{Gateway, Installation, PATIENCE};
use vamp_tests::{eventually, free_port};

/// A server that says its name, one letter, and repeats what it is told.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(name: u8) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut running = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                running.spawn(async move {
                    stream.write_all(&[name]).await?;
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await
                });
                while running.try_join_next().is_some() {}
            }
        });
        Self { address, connections, task }
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A TCP gateway with these routes and weights in percent, and `beside`.
fn document(port: u16, routes: &[(&Server, u8)], beside: &str) -> String {
    let route = |(server, weight): &(&Server, u8)| format!("  \"[{}]\": {{weight: {weight}%}}\n", server.address);
    let routes: String = routes.iter().map(route).collect();
    format!("name: db\nport: {port}/tcp\n{beside}\nroutes:\n{routes}")
}

/// A client's connection, and the name of the server that it reached.
struct Client {
    stream: TcpStream,
    server: u8,
}

impl Client {
    async fn connect(port: u16) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, port).await
    }

    /// From this address of the loopback network.
    async fn from(source: Ipv4Addr, port: u16) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let connecting = socket.connect((Ipv4Addr::LOCALHOST, port).into());
        let mut stream = tokio::time::timeout(PATIENCE, connecting).await.unwrap().unwrap();
        stream.set_nodelay(true).unwrap();
        let server = tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        Self { stream, server }
    }

    /// Says something, which must come back.
    async fn talk(&mut self, words: &[u8]) {
        self.stream.write_all(words).await.unwrap();
        let mut read = vec![0; words.len()];
        tokio::time::timeout(PATIENCE, self.stream.read_exact(&mut read)).await.unwrap().unwrap();
        assert!(read == words, "something else came back");
    }

    /// Ends it from this side, and waits for the other.
    async fn end(mut self) -> u8 {
        self.stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(rest.is_empty(), "more came than was asked for");
        self.server
    }
}

/// Records of the gateway, once there are this many; there must never be more.
async fn until_recorded(gateway: &Gateway, wanted: u64) {
    eventually(PATIENCE, "a record for each connection", async || {
        let answered = whole(gateway.metric("vamp_gateway_records_answered_total", "").await);
        assert!(answered <= wanted, "{answered} records of {wanted} connections");
        (answered == wanted).then_some(())
    })
    .await;
}

/// Connections that both sides ended.
async fn completed(gateway: &Gateway) -> u64 {
    whole(gateway.metric("vamp_gateway_requests_ended_total", "reason=\"completed\"").await)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
fn whole(count: f64) -> u64 {
    count as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_on_two_threads_are_split_exactly_and_recorded_once_each() {
    const CONNECTIONS: u64 = 1_000;
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
    let (one, two) = (Server::start(b'1').await, Server::start(b'2').await);
    let port = free_port();
    installation.serve("db", &document(port, &[(&one, 90), (&two, 10)], "")).await;
    let mut clients = JoinSet::new();
    for _ in 0..10 {
        clients.spawn(async move {
            for number in 0..CONNECTIONS / 10 {
                let mut client = Client::connect(port).await;
                client.talk(format!("hello {number}").as_bytes()).await;
                client.end().await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!((one.connections(), two.connections()), (900, 100));
    until_recorded(&gateway, CONNECTIONS).await;
    assert_eq!(completed(&gateway).await, CONNECTIONS);
    let split = installation.split("db").await;
    assert_eq!((&split["tickets"], &split["routes"][0]["error"]), (&CONNECTIONS.into(), &0.0.into()), "{split:#}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_last_survive_a_hundred_swaps_under_load_and_new_ones_follow_each() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
    let (one, two, three) = (Server::start(b'1').await, Server::start(b'2').await, Server::start(b'3').await);
    let port = free_port();
    installation.serve("db", &document(port, &[(&one, 100)], "")).await;
    let mut lasting = Vec::new();
    for _ in 0..20 {
        lasting.push(Client::connect(port).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let load = tokio::spawn(async move {
        let mut made = 0_u64;
        while !stopped.load(Ordering::Relaxed) {
            let mut client = Client::connect(port).await;
            client.talk(b"short").await;
            client.end().await;
            made += 1;
        }
        made
    });
    for swap in 0..100_u8 {
        // The route of the lasting connections is gone, with its server, in all but the first.
        installation.serve("db", &document(port, &[(&two, swap), (&three, 100 - swap)], "")).await;
        let client = &mut lasting[usize::from(swap) % 20];
        client.talk(&vec![swap; 10_000]).await;
        assert_eq!(client.server, b'1');
    }
    installation.serve("db", &document(port, &[(&two, 100)], "")).await;
    assert_eq!(Client::connect(port).await.end().await, b'2');
    stop.store(true, Ordering::Relaxed);
    let made = load.await.unwrap();
    assert!(made > 0, "there was no load");
    for mut client in lasting {
        client.talk(b"to the end").await;
        assert_eq!(client.end().await, b'1');
    }
    // Each of them ended as both sides wanted, or `end` had failed; their routes, and what these counted, are gone.
    until_recorded(&gateway, made + 21).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_kept_by_their_address_in_every_process_and_only_the_needed_share_moves() {
    let installation = Installation::start().await;
    let mut gateways = Vec::new();
    for (id, address) in [("g1", "127.0.0.1"), ("g2", "127.0.0.2")] {
        gateways.push(installation.gateway_with(id, &["--threads", "2", "--bind", address]).await);
    }
    let (one, two) = (Server::start(b'1').await, Server::start(b'2').await);
    let port = free_port();
    let sources: Vec<_> = (1..=100_u8).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect();
    let ask = async |beside: &str, weights: [u8; 2]| {
        let routes = [(&one, weights[0]), (&two, weights[1])];
        installation.serve("db", &document(port, &routes, beside)).await;
        let mut servers = HashMap::new();
        for source in &sources {
            servers.insert(*source, Client::from(*source, port).await.end().await);
        }
        servers
    };
    let on_two = |servers: &HashMap<Ipv4Addr, u8>| servers.values().filter(|server| **server == b'2').count();
    let before = ask("sticky: route", [80, 20]).await;
    assert_eq!(ask("sticky: route", [80, 20]).await, before);
    let more = ask("sticky: route", [60, 40]).await;
    assert!(before.iter().all(|(source, server)| *server == b'1' || more[source] == b'2'), "somebody went back");
    assert!(on_two(&more) > on_two(&before));
    assert_eq!(on_two(&ask("sticky: route", [100, 0]).await), 0, "weight 0 takes everybody off");
    assert_eq!(ask("sticky: route", [80, 20]).await, before);
    // The control plane and both processes say where a client goes, and all say the same.
    for source in sources.iter().take(10) {
        let body = serde_json::json!({"source": source});
        let told = installation.post("gateways/db/explain", &body).await.expect(&[200]);
        let server = if before[source] == b'1' { &one } else { &two };
        assert_eq!(told["route"], format!("[{}]", server.address), "{told:#}");
        assert_eq!(told["decided_by"], "source", "{told:#}");
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((*source, 0).into()).unwrap();
        let mut other = socket.connect(SocketAddr::from(([127, 0, 0, 2], port))).await.unwrap();
        assert_eq!(other.read_u8().await.unwrap(), before[source], "the other process has it otherwise");
    }
    let split = installation.split("db").await;
    let kept: u64 = split["decided_by"].as_array().unwrap().iter().map(|route| route["source"].as_u64().unwrap()).sum();
    assert!(kept >= 410 && split["tickets"] == 0, "{split:#}");
    for gateway in &mut gateways {
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_in_the_process_before_over_an_upgrade_and_new_ones_meet_the_new_one() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2", "--drain-timeout", "60s"]).await;
    let (one, two) = (Server::start(b'1').await, Server::start(b'2').await);
    let port = free_port();
    installation.serve("db", &document(port, &[(&one, 100)], "")).await;
    let mut lasting = Client::connect(port).await;
    lasting.talk(b"before").await;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let load = tokio::spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            let mut client = Client::connect(port).await;
            client.talk(b"short").await;
            client.end().await;
        }
    });
    let before = gateway.upgrade().await;
    installation.serve("db", &document(port, &[(&two, 100)], "")).await;
    for _ in 0..50 {
        assert_eq!(Client::connect(port).await.end().await, b'2');
        lasting.talk(&[b'x'; 10_000]).await;
    }
    stop.store(true, Ordering::Relaxed);
    load.await.unwrap();
    assert_eq!(lasting.end().await, b'1');
    gateway.until_gone(before, Duration::from_mins(1)).await;
    gateway.stop().await;
}
