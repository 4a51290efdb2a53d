//! Services behind the gateway: each answers its version and what it was asked, and misbehaves when told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// LIMIT: heads kept for inspection; the newest stay.
const HEADS_KEPT: usize = 64;

/// What an origin does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers at once, at `/status/CODE` with that status.
    Answer,
    /// Answers after a while.
    Slow(Duration),
    /// Sends its answer in a hundred pieces over this time.
    Drip(Duration),
    /// Answers with this status.
    Status(u16),
    /// Announces a body, sends half of it and closes.
    CutBody,
    /// Sends half of the head and closes.
    CutHead,
    /// Closes without an answer.
    Close,
    /// Never answers.
    Silent,
    /// Answers and closes although it said it would not.
    CloseAfterAnswer,
    /// Answers with a body of so many zeros.
    Large(u64),
}

/// One running origin.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    version: String,
    behaviour: Mutex<Behaviour>,
    requests: AtomicU64,
    connections: AtomicU64,
    heads: Mutex<Vec<String>>,
}

impl Origin {
    /// Starts an origin that answers `version`.
    pub async fn start(version: &str) -> Self {
        // Not port 0: an origin that was stopped must find its port free when it comes back.
        Self::start_on(version, SocketAddr::from((Ipv4Addr::LOCALHOST, crate::free_port()))).await
    }

    /// The same at an address that somebody else chose.
    pub async fn start_on(version: &str, address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            version: version.to_owned(),
            behaviour: Mutex::new(Behaviour::Answer),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            heads: Mutex::new(Vec::new()),
        });
        let mut origin = Self { shared, address, task: None };
        origin.resume().await;
        origin
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The version that it answers.
    pub fn version(&self) -> &str {
        &self.shared.version
    }

    /// Changes what it does from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// Requests that reached it.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Connections that were opened to it.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// The heads of the last requests, as they arrived.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }

    /// Closes its port and all its connections: from now on they are refused.
    pub async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            drop(task.await);
        }
    }

    /// Listens again, on the same port.
    pub async fn resume(&mut self) {
        if self.task.is_some() {
            return;
        }
        let listener = crate::eventually(Duration::from_secs(10), "the origin's port is free", async || {
            TcpListener::bind(self.address).await.ok()
        })
        .await;
        self.task = Some(tokio::spawn(accept(listener, Arc::clone(&self.shared))));
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and with it every connection.
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        while connections.try_join_next().is_some() {}
        connections.spawn(serve(stream, Arc::clone(&shared)));
    }
}

/// Serves one connection until either side is done with it.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut buffer = Vec::new();
    loop {
        let head = read_head(&mut stream, &mut buffer).await?;
        skip_body(&mut stream, &mut buffer, &head).await?;
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let behaviour = *shared.behaviour.lock().unwrap();
        let answer = answer(&shared.version, &head, behaviour);
        shared.remember(head);
        match behaviour {
            Behaviour::Answer | Behaviour::Status(_) => stream.write_all(&answer).await.ok()?,
            Behaviour::Slow(delay) => {
                tokio::time::sleep(delay).await;
                stream.write_all(&answer).await.ok()?;
            }
            Behaviour::Drip(time) => {
                for piece in answer.chunks(answer.len().div_ceil(100).max(1)) {
                    stream.write_all(piece).await.ok()?;
                    tokio::time::sleep(time / 100).await;
                }
            }
            Behaviour::CutBody => return stream.write_all(&answer[..answer.len() - 4]).await.ok(),
            Behaviour::CutHead => return stream.write_all(&answer[..20]).await.ok(),
            Behaviour::CloseAfterAnswer => return stream.write_all(&answer).await.ok(),
            Behaviour::Large(bytes) => send_zeros(&mut stream, bytes).await?,
            Behaviour::Close => return None,
            Behaviour::Silent => std::future::pending().await,
        }
    }
}

async fn send_zeros(stream: &mut TcpStream, bytes: u64) -> Option<()> {
    let head = format!("HTTP/1.1 200 Told\r\ncontent-length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    let mut zeros = tokio::io::repeat(0).take(bytes);
    tokio::io::copy(&mut zeros, stream).await.ok().map(drop)
}

impl Shared {
    fn remember(&self, head: String) {
        let mut heads = self.heads.lock().unwrap();
        if heads.len() == HEADS_KEPT {
            heads.remove(0);
        }
        heads.push(head);
    }
}

fn answer(version: &str, head: &str, behaviour: Behaviour) -> Vec<u8> {
    let target = head.split(' ').nth(1).unwrap_or_default();
    let echo = target.split_once("n=").map_or("", |(_, n)| n.split('&').next().unwrap_or_default());
    let body = format!("{{\"version\":\"{version}\",\"n\":\"{echo}\"}}\n");
    let path = target.split('?').next().unwrap_or_default();
    let asked = path.strip_prefix("/status/").and_then(|code| code.parse().ok());
    let status = if let Behaviour::Status(code) = behaviour { code } else { asked.unwrap_or(200) };
    let content = if head.starts_with("HEAD ") { "" } else { body.as_str() };
    format!(
        "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{content}",
        body.len()
    )
    .into_bytes()
}

/// The next head up to its empty line; what follows stays in the buffer.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            let head = std::mem::replace(buffer, rest);
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

/// Reads a body of known length, or chunks up to the last one, and forgets it.
async fn skip_body(stream: &mut TcpStream, buffer: &mut Vec<u8>, head: &str) -> Option<()> {
    if let Some(length) = field(head, "content-length").and_then(|length| length.parse::<usize>().ok()) {
        let mut left = length - length.min(buffer.len());
        buffer.drain(..length.min(buffer.len()));
        while left > 0 {
            let room = left.min(64 * 1024);
            let mut piece = vec![0; room];
            match stream.read(&mut piece).await.ok()? {
                0 => return None,
                read => left -= read,
            }
        }
    } else if field(head, "transfer-encoding").is_some() {
        let end = loop {
            if let Some(end) = buffer.windows(5).position(|window| window == b"0\r\n\r\n") {
                break end;
            }
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        buffer.drain(..end + 5);
    }
    Some(())
}

/// The value of a header field in a head as it arrived.
pub fn field<'head>(head: &'head str, name: &str) -> Option<&'head str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
