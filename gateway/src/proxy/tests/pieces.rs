//! However the network cuts a conversation, both sides get the same of it.

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::AsyncWriteExt as _;

use super::fixture::*;

/// Sends bytes in pieces of random size, with breaks that let the other side read them apart.
async fn send_in_pieces(stream: &mut (impl tokio::io::AsyncWrite + Unpin), bytes: &[u8], random: &mut StdRng) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let size = match random.random_range(0..4) {
            0 => 1,
            1 => random.random_range(1..=20),
            _ => random.random_range(1..=5_000),
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        if stream.write_all(piece).await.is_err() {
            return;
        }
        rest = after;
        for _ in 0..random.random_range(0..3) {
            tokio::task::yield_now().await;
        }
    }
}

fn framed(body: &[u8], framing: usize, random: &mut StdRng) -> (String, Vec<u8>) {
    if framing == 0 {
        return (format!("Content-Length: {}\r\n", body.len()), body.to_vec());
    }
    let mut wire = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(random.random_range(1..=rest.len()));
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = after;
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    ("Transfer-Encoding: chunked\r\n".to_owned(), wire)
}

fn text(random: &mut StdRng) -> Vec<u8> {
    let length = match random.random_range(0..4) {
        0 => 0,
        1 => random.random_range(1..=100),
        2 => random.random_range(1..=5_000),
        _ => random.random_range(1..=150_000),
    };
    (0..length).map(|_| random.random_range(b'a'..=b'z')).collect()
}

/// Reads a request's body by its head.
async fn body_of(upstream: &mut Upstream, head: &str) -> Vec<u8> {
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")) {
        return upstream.body(length.parse().unwrap()).await;
    }
    let mut body = Vec::new();
    loop {
        let line = upstream.until(b"\r\n").await;
        let size = usize::from_str_radix(String::from_utf8(line).unwrap().trim(), 16).unwrap();
        let chunk = upstream.body(size + 2).await;
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

/// Answers each request with its body backwards, in random framing and pieces; now and then closes after an answer.
async fn reversing(mut upstream: Upstream, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while let Some(head) = upstream.head().await {
        let mut body = body_of(&mut upstream, &head).await;
        body.reverse();
        let (closes, framing) = (random.random_range(0..6) == 0, random.random_range(0..3));
        let (fields, wire) = match framing {
            2 if closes => (String::new(), body),
            framing => framed(&body, framing.min(1), &mut random),
        };
        let close = if closes { "Connection: close\r\n" } else { "" };
        let answer = [format!("HTTP/1.1 200 OK\r\n{fields}{close}\r\n").as_bytes(), &wire].concat();
        send_in_pieces(&mut upstream.stream, &answer, &mut random).await;
        if closes {
            return;
        }
    }
}

async fn check(seed: u64) {
    let connections = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let origin = Origin::start(move |upstream| {
        let number = connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        reversing(upstream, seed * 1_000 + number)
    })
    .await;
    let vamp = Vamp::before(&[origin.address]).await;
    let mut random = StdRng::seed_from_u64(seed);
    let bodies: Vec<Vec<u8>> = (0..20).map(|_| text(&mut random)).collect();
    let mut wire = Vec::new();
    for body in &bodies {
        let framing = random.random_range(0..2);
        let (fields, body) = framed(body, framing, &mut random);
        wire.extend_from_slice(format!("PUT /x HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
        wire.extend_from_slice(&body);
    }
    let client = vamp.client().await;
    let (mut answers, mut requests) = client.split();
    let sending = async move {
        send_in_pieces(&mut requests, &wire, &mut random).await;
        requests
    };
    let receiving = async move {
        for (number, body) in bodies.iter().enumerate() {
            let answer = answers.answer().await;
            let expected: Vec<u8> = body.iter().rev().copied().collect();
            assert!(answer.whole && answer.body.as_bytes() == expected, "seed {seed}, answer {number}");
        }
    };
    let (_open, ()) = tokio::join!(sending, receiving);
    vamp.records(20).await;
}

#[tokio::test]
async fn conversations_in_any_pieces_give_the_same() {
    for seed in 0..12 {
        check(seed).await;
    }
}
