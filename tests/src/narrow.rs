//! A proxy that takes no long requests, as many stand before a server whose owner did not think of bulks.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Passes requests on whose bodies are short enough, each over a connection of its own.
#[derive(Debug)]
pub struct Narrow {
    address: SocketAddr,
    refused: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Narrow {
    /// Starts one to `target` that answers 413 to bodies above `bytes_max`.
    pub async fn start(target: SocketAddr, bytes_max: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port for the proxy");
        let address = listener.local_addr().expect("the proxy's address");
        let refused = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&refused);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, target, bytes_max, Arc::clone(&count)));
            }
        });
        Self { address, refused, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests it refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Narrow {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request: what a client waits for after it, it asks for over another connection.
async fn serve(client: TcpStream, target: SocketAddr, bytes_max: u64, refused: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let start = head.len();
        if client.read_line(&mut head).await? == 0 {
            return Ok(());
        }
        let line = head.get(start..).unwrap_or_default().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(u64::MAX);
        }
        if line == "\r\n" {
            head.insert_str(start, "connection: close\r\n");
            break;
        }
    }
    if length > bytes_max {
        refused.fetch_add(1, Ordering::Relaxed);
        tokio::io::copy(&mut (&mut client).take(length), &mut tokio::io::sink()).await?;
        let answer = "HTTP/1.1 413 Too Large\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlarge";
        return client.write_all(answer.as_bytes()).await;
    }
    let mut server = TcpStream::connect(target).await?;
    server.write_all(head.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
