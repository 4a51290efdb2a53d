//! Where records go during a measurement: a server that takes bulk requests as Elasticsearch does, and one that takes
//! syslog lines. Both cost as little as they can, and both read all that they get.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::Failure;

/// Serves both until it is killed: bulk requests on TCP, syslog lines on UDP of the same address.
pub(crate) fn run(listen: SocketAddr) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let lines = UdpSocket::bind(listen).await?;
        tokio::spawn(async move {
            let mut line = vec![0; 64 * 1024];
            while lines.recv(&mut line).await.is_ok() {}
        });
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(async move { drop(serve(client).await) });
        }
    })
}

/// Answers one connection; requests come with `Content-Length`.
async fn serve(mut client: TcpStream) -> std::io::Result<()> {
    let mut input = Vec::new();
    loop {
        let Some((head, length)) = next(&input) else {
            if client.read_buf(&mut input).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let is_bulk = input.get(..head).is_some_and(|head| head.windows(5).any(|part| part == b"_bulk"));
        let body = input.get(head..head + length).unwrap_or_default();
        let answer = if is_bulk { taken(body) } else { "{\"acknowledged\":true}".to_owned() };
        let head_line = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length:";
        client.write_all(format!("{head_line} {}\r\n\r\n{answer}", answer.len()).as_bytes()).await?;
        input.drain(..head + length);
    }
}

/// Bytes of the first head and of its body, when both are there.
fn next(input: &[u8]) -> Option<(usize, usize)> {
    let head = input.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(input.get(..head)?).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    (input.len() >= head + length).then_some((head, length))
}

/// What a server answers that has stored all documents: two lines each.
#[expect(clippy::naive_bytecount, reason = "the sink's time is no part of a figure")]
fn taken(body: &[u8]) -> String {
    let documents = body.iter().filter(|byte| **byte == b'\n').count() / 2;
    let items = vec!["{\"create\":{\"status\":201}}"; documents].join(",");
    format!("{{\"errors\":false,\"items\":[{items}]}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_taken_when_it_is_whole() {
        let request = b"POST /_bulk HTTP/1.1\r\nContent-Length: 4\r\n\r\na\nb\n";
        assert_eq!(next(&request[..request.len() - 1]), None);
        assert_eq!(next(request), Some((request.len() - 4, 4)));
    }

    #[test]
    fn each_document_gets_an_item() {
        let answer: serde_json::Value = serde_json::from_str(&taken(b"{}\n{}\n{}\n{}\n")).unwrap();
        assert_eq!(answer["items"].as_array().map(Vec::len), Some(2));
    }
}
