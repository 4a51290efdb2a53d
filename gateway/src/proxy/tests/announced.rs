//! Clients that a proxy in front announces with a PROXY header.

use std::net::Ipv4Addr;

use vamp_record::Reason;

use super::fixture::*;
use crate::plane::PlaneSettings;

async fn behind(trusted: &str, origin: &Origin) -> Vamp {
    let settings = PlaneSettings {
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        virtual_hosts_port: None,
        threads: 1,
        trusted_proxies: vec![trusted.parse().unwrap()],
        proxy_protocol: true,
        targets: vamp_routing::Targets::default(),
        limits: limits(),
    };
    Vamp::start(settings, gateway(vec![route("only", 100, &[origin.address])])).await
}

const FIRST: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n";

#[tokio::test]
async fn the_client_is_the_one_that_the_proxy_announces_for_the_whole_connection() {
    let origin = Origin::answering(HELLO).await;
    let vamp = behind("127.0.0.0/8", &origin).await;
    let second = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\xc0\0\x02\x01\xdc\x04\x01\xbb";
    for header in [FIRST, second, b"PROXY UNKNOWN\r\n"] {
        let mut client = vamp.client().await;
        // The announced client is no trusted proxy: what it says of others is not believed.
        client.send([header, b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n"].concat()).await;
        assert_eq!(client.answer().await.status, 200);
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 200);
    }
    let records = vamp.records(6).await;
    let clients: Vec<_> = records.iter().map(|record| record.client.ip().to_string()).collect();
    assert_eq!(clients, ["192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.8", "198.51.100.1", "127.0.0.1"]);
    let heads = origin.heads();
    assert!(heads[0].contains("X-Forwarded-For: 192.0.2.7\n"), "{}", heads[0]);
    assert!(heads[3].contains("X-Forwarded-For: 192.0.2.8"), "{}", heads[3]);
    assert!(heads.iter().all(|head| head.starts_with("GET / HTTP/1.1\n")));
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let origin = Origin::answering(HELLO).await;
    let vamp = behind("127.0.0.1/32", &origin).await;
    let mut client = vamp.client().await;
    for byte in [FIRST, GET.as_bytes()].concat() {
        client.send([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(vamp.records(1).await[0].client.ip().to_string(), "192.0.2.7");
}

#[tokio::test]
async fn without_a_good_header_from_a_trusted_proxy_nothing_is_forwarded() {
    let origin = Origin::answering(HELLO).await;
    let vamp = behind("127.0.0.0/8", &origin).await;
    let stranger = behind("192.0.2.0/24", &origin).await;
    let twice = [FIRST, FIRST, GET.as_bytes()].concat();
    let broken = [b"PROXY TCP4 192.0.2.7\r\n", GET.as_bytes()].concat();
    let good = [FIRST, GET.as_bytes()].concat();
    for (vamp, bytes) in
        [(&vamp, GET.as_bytes()), (&vamp, &broken), (&vamp, &twice), (&stranger, &good), (&stranger, GET.as_bytes())]
    {
        let mut client = vamp.client().await;
        client.send(bytes).await;
        let answer = client.answer().await;
        assert_eq!((answer.status, answer.field("Connection")), (400, Some("close")));
        assert!(answer.body.contains(": "), "thing and mend: {}", answer.body);
    }
    assert_eq!(vamp.reasons(3).await, [Reason::BadRequest; 3]);
    assert_eq!(stranger.reasons(2).await, [Reason::BadRequest; 2]);
    assert_eq!(origin.heads(), [""; 0]);
}
