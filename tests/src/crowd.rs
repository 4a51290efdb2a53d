//! Many clients that are no users: they hold connections, and do as little as they can.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// LIMIT: connections that are made at the same time.
const AT_ONCE: usize = 64;

/// How long one client waits for its connection and its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long nothing of what a client sends is taken when nothing will be.
const STALLED_AFTER: Duration = Duration::from_millis(500);

/// What a client of a crowd does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Asks once and keeps the connection.
    Idle,
    /// Sends a head that does not end.
    SlowHead,
    /// Sends a body that does not end.
    SlowBody,
    /// Asks, and takes nothing of the answer.
    Stalled,
    /// Of a TCP gateway: sends for as long as it is taken, and takes nothing.
    Deaf,
}

/// Clients that hold their connections until this is dropped.
#[derive(Debug)]
pub struct Crowd {
    streams: Vec<TcpStream>,
    /// Clients that were turned away with 503.
    pub turned_away: usize,
}

impl Crowd {
    /// Opens so many connections, and does on each what its kind does first. Clients that are turned away are counted,
    /// and must have been told why; everything else must work.
    pub async fn gather(address: SocketAddr, kind: Kind, count: usize) -> Self {
        let clients = futures_util::stream::iter((0..count).map(|number| begin(address, kind, number)));
        let streams: Vec<_> = clients.buffer_unordered(AT_ONCE).filter_map(async |stream| stream).collect().await;
        let turned_away = count - streams.len();
        Self { streams, turned_away }
    }

    /// Clients that have a connection.
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Whether nobody has a connection.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Lets each send one more byte of what does not end.
    pub fn trickle(&self) {
        for stream in &self.streams {
            stream.try_write(b"x").expect("the connection is open");
        }
    }
}

/// A connection from one of several addresses, so that ports suffice.
pub async fn connect(address: SocketAddr, number: usize) -> TcpStream {
    connect_with(address, number, None).await
}

async fn connect_with(address: SocketAddr, number: usize, receive_bytes: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket: raise the limit of open files (`ulimit -n`)");
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes).expect("a small buffer");
    }
    let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number % 16).expect("below 16"));
    socket.bind((source, 0).into()).expect("a port of this address is free");
    let connected = tokio::time::timeout(PATIENCE, socket.connect(address)).await;
    connected.expect("a connection in time").expect("the port is open")
}

/// One exchange of a small answer; its status, and `None` when the connection ended without one.
pub async fn ask(stream: &mut TcpStream) -> Option<u16> {
    let request = b"GET /?n=1 HTTP/1.1\r\nHost: crowd\r\n\r\n";
    // A client that is turned away may find the connection closed already, with the answer waiting.
    drop(stream.write_all(request).await);
    status(stream).await
}

async fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut answer = Vec::new();
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.expect("an answer in time");
        if read.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&answer).into_owned();
    let status = head.get(9..12)?.parse().ok()?;
    assert!(status != 503 || head.contains("\r\nRetry-After: "), "{head}");
    Some(status)
}

async fn begin(address: SocketAddr, kind: Kind, number: usize) -> Option<TcpStream> {
    let receive_bytes = matches!(kind, Kind::Stalled | Kind::Deaf).then_some(4096);
    let mut stream = connect_with(address, number, receive_bytes).await;
    let first: &[u8] = match kind {
        Kind::Idle => match ask(&mut stream).await {
            Some(200) => return Some(stream),
            Some(503) => return None,
            other => panic!("client {number}: {other:?}"),
        },
        Kind::SlowHead => b"GET / HTTP/1.1\r\nHost: crowd\r\nX-Slow: ",
        Kind::SlowBody => b"POST / HTTP/1.1\r\nHost: crowd\r\nContent-Length: 1000000\r\n\r\nx",
        Kind::Stalled => b"GET / HTTP/1.1\r\nHost: crowd\r\n\r\n",
        Kind::Deaf => {
            // Until nothing more was taken for a while.
            while let Ok(sent) = tokio::time::timeout(STALLED_AFTER, stream.write(&[7; 16 * 1024])).await {
                sent.ok()?;
            }
            return Some(stream);
        }
    };
    stream.write_all(first).await.ok()?;
    if kind == Kind::Stalled {
        let mut start = [0; 12];
        let peeked = tokio::time::timeout(PATIENCE, stream.peek(&mut start)).await.expect("an answer in time");
        return (peeked.is_ok() && &start == b"HTTP/1.1 200").then_some(stream);
    }
    Some(stream)
}

/// Raises this process's limit of open files as far as it may.
pub fn raise_open_files() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit of open files");
    let hard: u64 = line.split_whitespace().nth(1).and_then(|hard| hard.parse().ok()).unwrap_or(1 << 20);
    set_limit(std::process::id(), &format!("nofile={hard}:{hard}"));
    hard
}

/// Changes a limit of a process: `data=1000:`, as `prlimit` has it.
pub fn set_limit(pid: u32, limit: &str) {
    let set = std::process::Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--{limit}")]).status();
    assert!(set.is_ok_and(|status| status.success()), "prlimit (util-linux) sets {limit}");
}
