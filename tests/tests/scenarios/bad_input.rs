//! Whatever comes in: a clear refusal, nothing stored, nothing forwarded, and traffic goes on.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vamp_tests::free_port;
use vamp_tests::installation::Installation;
use vamp_tests::load::Load;
use vamp_tests::origin::Origin;

use crate::{gateway_document, load_on};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_document_changes_nothing() {
    let installation = Installation::start().await;
    let _gateway = installation.gateway("g1").await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let before = installation.get("rollout").await.body["revision"].clone();
    let load = Load::start(load_on(port));
    let address = origin.address();
    let documents = [
        ("name: shop\nroutes: [", "not YAML"),
        ("name: shop\ncolour: red\nroutes: {}\n", "colour"),
        (&*format!("name: shop\nport: {port}/http\nroutes: {{\"[{address}]\": {{weight: 60%}}}}\n"), "weight"),
        (&*format!("name: shop\nport: {port}/http\nroutes: {{nothing: {{weight: 100%}}}}\n"), "nothing"),
        (
            &*format!(
                "name: shop\nport: {port}/http\nroutes: {{\"[{address}]\": {{condition: \"User-Agent = = x\"}}}}\n"
            ),
            "condition",
        ),
        (&*format!("name: shop\nport: {port}/udp\nroutes: {{\"[{address}]\": {{weight: 100%}}}}\n"), "http"),
    ];
    for (document, named) in documents {
        let answer = installation.put("gateways/shop", document).await;
        let body = answer.expect(&[400, 422]);
        assert!(body.to_string().contains(named), "`{named}` is not named: {body:#}");
    }
    let clash = gateway_document("other", port, &[(&origin, 100)]);
    let body = installation.put("gateways/other", &clash).await.expect(&[400, 409, 422]);
    assert!(body.to_string().contains("shop"), "the port's owner is not named: {body:#}");
    installation.get("gateways/other").await.expect(&[404]);
    assert_eq!(installation.get("rollout").await.body["revision"], before);
    load.finish().await.assert_flawless();
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_http_is_answered_and_never_forwarded() {
    let installation = Installation::start().await;
    let _gateway = installation.gateway("g1").await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(70_000));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(20_000));
    let requests = [
        ("GARBAGE\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (&*long_field, 431),
        (&*long_target, 414),
    ];
    for (request, status) in requests {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is a close too.
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer);
        let shown = &request[..request.len().min(60)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {answer}");
    }
    assert_eq!(origin.requests(), 0, "{:?}", origin.heads());
}
