//! A gateway with one table, clients that speak raw bytes, origins that do what a test says.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use vamp_record::{Reason, Record};
use vamp_routing::CompiledTable;
use vamp_routing::wire::{Balance, Endpoint, Gateway, Generation, Route, Share, Sticky, Table, Target};
pub(crate) use vamp_store::testing::free_port;

use crate::limits::Limits;
use crate::plane::{DataPlane, PlaneSettings};
use crate::ship::Recorder;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for what must happen.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A gateway process with one table.
pub(crate) struct Vamp {
    pub(crate) plane: Arc<DataPlane>,
    pub(crate) address: SocketAddr,
    recorder: Arc<Recorder>,
    taken: Mutex<Vec<Record>>,
}

/// Limits of which a test shortens what it waits for.
pub(crate) fn limits() -> Limits {
    Limits { connect_timeout: Duration::from_secs(2), ..Limits::default() }
}

/// A route to these endpoints.
pub(crate) fn route(name: &str, weight_percent: u16, origins: &[SocketAddr]) -> Route {
    let endpoints = origins.iter().enumerate().map(|(index, address)| Endpoint {
        name: format!("{name}-{index}"),
        lookup: format!("{name}-{index}-lookup"),
        address: address.to_string(),
    });
    Route {
        name: name.to_owned(),
        lookup: format!("{name}-lookup"),
        weight: Share(weight_percent * 100),
        condition: None,
        condition_strength: Share::WHOLE,
        balance: Balance::RoundRobin,
        rewrites: Vec::new(),
        target: Target::Endpoints(endpoints.collect()),
    }
}

/// A gateway with these routes on a port that is free now.
pub(crate) fn gateway(routes: Vec<Route>) -> Gateway {
    Gateway {
        name: "shop".to_owned(),
        lookup: "shop-lookup".to_owned(),
        port: Some(free_port()),
        virtual_hosts: Vec::new(),
        sticky: Sticky::None,
        tcp: None,
        routes,
    }
}

impl Vamp {
    /// One gateway with one route to these origins.
    pub(crate) async fn before(origins: &[SocketAddr]) -> Self {
        Self::with(limits(), gateway(vec![route("only", 100, origins)])).await
    }

    pub(crate) async fn with(limits: Limits, gateway: Gateway) -> Self {
        let settings = PlaneSettings {
            bind: vec![Ipv4Addr::LOCALHOST.into()],
            virtual_hosts_port: None,
            threads: 1,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            targets: vamp_routing::Targets::default(),
            limits,
        };
        Self::start(settings, gateway).await
    }

    pub(crate) async fn start(settings: PlaneSettings, gateway: Gateway) -> Self {
        let port = gateway.port.or(settings.virtual_hosts_port).unwrap();
        let table = Table { generation: Generation { epoch: 3, revision: 7 }, gateways: vec![gateway] };
        let table = CompiledTable::compile(&table, None).unwrap();
        let recorder = Recorder::new(settings.threads, 100_000);
        let plane = DataPlane::start(settings, Arc::clone(&recorder)).unwrap();
        let degradations = plane.apply(table).await;
        assert_eq!(degradations, []);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { plane, address, recorder, taken: Mutex::default() }
    }

    pub(crate) async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, read: Vec::new() }
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        let mut client = self.client().await;
        client.send(request).await;
        client.answer().await
    }

    /// The records of all requests, once there are this many; fails when there are more.
    pub(crate) async fn records(&self, count: usize) -> Vec<Record> {
        soon(&format!("{count} records"), async {
            loop {
                let new = self.recorder.take(usize::MAX).into_iter().flatten();
                let mut taken = {
                    let mut taken = self.taken.lock().unwrap();
                    taken.extend(new);
                    taken.clone()
                };
                assert!(taken.len() <= count, "{} records instead of {count}: {taken:#?}", taken.len());
                if taken.len() == count {
                    taken.sort_by_key(|record| record.started_unix_ns);
                    return taken;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await
    }

    /// The reasons of all requests, once there are this many.
    pub(crate) async fn reasons(&self, count: usize) -> Vec<Reason> {
        self.records(count).await.iter().map(|record| record.reason).collect()
    }
}

/// A client that sends raw bytes.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    read: Vec<u8>,
}

/// An answer as the client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields, lines joined by `\n`.
    pub(crate) head: String,
    pub(crate) body: String,
    /// Whether the body ended as its framing says.
    pub(crate) whole: bool,
}

impl Answer {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        soon("send", self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The side that reads answers, and the one that writes requests.
    pub(crate) fn split(self) -> (Client<OwnedReadHalf>, OwnedWriteHalf) {
        let (answers, requests) = self.stream.into_split();
        (Client { stream: answers, read: self.read }, requests)
    }
}

impl<S: AsyncRead + Unpin> Client<S> {
    /// The next answer, to a request that is not HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_to("GET").await
    }

    pub(crate) async fn answer_to(&mut self, method: &str) -> Answer {
        soon("an answer", self.read_answer(method)).await
    }

    async fn read_answer(&mut self, method: &str) -> Answer {
        let head = self.head().await.expect("an answer's head");
        let status: u16 = head[9..12].parse().unwrap();
        let answer = Answer { status, head, body: String::new(), whole: true };
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        let (body, whole) = if bodiless {
            (Vec::new(), true)
        } else if answer.field("Transfer-Encoding").is_some() {
            self.chunks().await
        } else if let Some(length) = answer.field("Content-Length") {
            self.exactly(length.parse().unwrap()).await
        } else {
            let whole = self.rest().await.is_ok();
            (std::mem::take(&mut self.read), whole)
        };
        Answer { body: String::from_utf8_lossy(&body).into_owned(), whole, ..answer }
    }

    async fn head(&mut self) -> Option<String> {
        let end = self.until(b"\r\n\r\n").await?;
        let head: Vec<u8> = self.read.drain(..end).collect();
        Some(String::from_utf8(head).unwrap().trim_end().replace("\r\n", "\n"))
    }

    /// Reads until these bytes came; tells where they end.
    pub(crate) async fn until(&mut self, wanted: &[u8]) -> Option<usize> {
        loop {
            if let Some(at) = self.read.windows(wanted.len()).position(|window| window == wanted) {
                return Some(at + wanted.len());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.read).await, Ok(1..))
    }

    async fn rest(&mut self) -> std::io::Result<()> {
        while self.stream.read_buf(&mut self.read).await? > 0 {}
        Ok(())
    }

    async fn exactly(&mut self, length: usize) -> (Vec<u8>, bool) {
        while self.read.len() < length && self.more().await {}
        let whole = self.read.len() >= length;
        let length = length.min(self.read.len());
        (self.read.drain(..length).collect(), whole)
    }

    async fn chunks(&mut self) -> (Vec<u8>, bool) {
        let mut body = Vec::new();
        loop {
            let Some(end) = self.until(b"\r\n").await else { return (body, false) };
            let line: Vec<u8> = self.read.drain(..end).collect();
            let size = String::from_utf8(line).unwrap();
            let size = usize::from_str_radix(size.trim().split(';').next().unwrap(), 16).unwrap();
            if size == 0 {
                break;
            }
            let (chunk, whole) = self.exactly(size + 2).await;
            body.extend_from_slice(&chunk[..chunk.len().min(size)]);
            if !whole {
                return (body, false);
            }
        }
        loop {
            let Some(end) = self.until(b"\r\n").await else { return (body, false) };
            let line: Vec<u8> = self.read.drain(..end).collect();
            if line == b"\r\n" {
                return (body, true);
            }
        }
    }

    /// Waits until the gateway closes; whatever it still sent is returned.
    pub(crate) async fn closed(mut self) -> String {
        soon("the connection is closed", async { while self.more().await {} }).await;
        String::from_utf8_lossy(&self.read).into_owned()
    }
}

/// An origin that does what a test says with each connection.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
}

/// One connection at an origin.
pub(crate) struct Upstream {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
    seen: Arc<Seen>,
}

impl Origin {
    /// Starts an origin; `serve` is called with each connection.
    pub(crate) async fn start<F, S>(serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(Upstream) -> F + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(Upstream { stream, read: Vec::new(), seen: Arc::clone(&shared) }));
            }
        });
        Self { address, seen, task }
    }

    /// Answers each request with these bytes and keeps the connection.
    pub(crate) async fn answering(bytes: impl Into<String>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut upstream| {
            let bytes = bytes.clone();
            async move {
                while upstream.head().await.is_some() {
                    upstream.send(&bytes).await;
                }
            }
        })
        .await
    }

    /// Answers each request with these bytes, then closes.
    pub(crate) async fn closing(bytes: impl Into<String>) -> Self {
        let bytes = bytes.into();
        Self::start(move |mut upstream| {
            let bytes = bytes.clone();
            async move {
                upstream.head().await;
                upstream.send(&bytes).await;
            }
        })
        .await
    }

    /// Answers each request with its own head as body.
    pub(crate) async fn echoing() -> Self {
        Self::start(|mut upstream| async move {
            while let Some(head) = upstream.head().await {
                let body = head.replace('\n', "\r\n");
                upstream.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
            }
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The heads that came, lines joined by `\n`.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// The next request's head; `None` when the gateway closed.
    pub(crate) async fn head(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.read.drain(..at + 4).collect();
                let head = String::from_utf8(head).unwrap().trim_end().replace("\r\n", "\n");
                self.seen.heads.lock().unwrap().push(head.clone());
                return Some(head);
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return None;
            }
        }
    }

    /// The next bytes of a body; shorter when the gateway closed.
    pub(crate) async fn body(&mut self, length: usize) -> Vec<u8> {
        while self.read.len() < length && matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {}
        let length = length.min(self.read.len());
        self.read.drain(..length).collect()
    }

    /// All bytes until these came, with them.
    pub(crate) async fn until(&mut self, wanted: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = self.read.windows(wanted.len()).position(|window| window == wanted) {
                return self.read.drain(..at + wanted.len()).collect();
            }
            if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                return std::mem::take(&mut self.read);
            }
        }
    }

    /// Sends; an origin does not mind that the gateway left.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        drop(self.stream.write_all(bytes.as_ref()).await);
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Waits until the gateway closes.
    pub(crate) async fn closed(&mut self) {
        while matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {}
    }
}

/// Waits for a state.
pub(crate) async fn eventually(what: &str, state: impl Fn() -> bool) {
    let began = Instant::now();
    while !state() {
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Puts a table with this gateway into service.
pub(crate) async fn apply(vamp: &Vamp, gateways: Vec<Gateway>) {
    let generation = vamp.plane.serving().table.generation();
    let table = Table { generation: Generation { revision: generation.revision + 1, ..generation }, gateways };
    let table = vamp.plane.compile(&table).unwrap();
    assert_eq!(vamp.plane.apply(table).await, []);
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(crate) const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
