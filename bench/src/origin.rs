//! An origin that costs as little as an HTTP server can: it answers each complete head with the same bytes.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Failure;

/// LIMIT: the most that one read takes; the heads of the load are far smaller.
const READ_BYTES: usize = 16 * 1024;

/// What bodies are made of.
pub(crate) const BODY_BYTE: u8 = b'x';

/// Serves until it is killed.
pub(crate) fn run(listen: SocketAddr, bytes: usize) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {bytes}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + bytes, BODY_BYTE);
    let answer: &'static [u8] = Vec::leak(answer);
    runtime.block_on(async move {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            tokio::spawn(serve(client, answer));
        }
    })
}

/// Answers one connection; heads may come in pieces or several at once.
async fn serve(mut client: TcpStream, answer: &'static [u8]) {
    let mut buffer = vec![0; READ_BYTES];
    let mut last = [0_u8; 4];
    while let Ok(read @ 1..) = client.read(&mut buffer).await {
        let mut heads = 0;
        for byte in buffer.iter().take(read) {
            last.rotate_left(1);
            last[3] = *byte;
            heads += usize::from(&last == b"\r\n\r\n");
        }
        for _ in 0..heads {
            if client.write_all(answer).await.is_err() {
                return;
            }
        }
    }
}
