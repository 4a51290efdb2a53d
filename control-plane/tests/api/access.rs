//! Who may ask.

use std::net::SocketAddr;

use reqwest::Method;
use vamp_control_plane::start;

use crate::world::{World, send, settings};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn on_loopback_no_web_page_can_drive_it() {
    let world = World::start().await;
    let host = world.running.address.to_string();
    let get = || world.ask(Method::GET, "info");
    send(get().header("host", "evil.example")).await.problem(403, "forbidden");
    send(get().header("origin", "https://evil.example")).await.problem(403, "forbidden");
    send(get().header("origin", "null")).await.problem(403, "forbidden");
    send(get().header("origin", format!("http://{host}"))).await.expect(200);
    send(get().header("host", "localhost:8080")).await.expect(200);
    for path in ["/nothing", "/openapi.json", "/live"] {
        let request = world.client.get(world.url(path)).header("host", "evil.example");
        send(request).await.problem(403, "forbidden");
    }
}

#[tokio::test]
async fn with_tokens_whoever_has_none_learns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens");
    std::fs::write(&file, format!("# team a\n{TOKEN}\n")).unwrap();
    let world = World::start_with(&["--token-file", file.to_str().unwrap()]).await;
    let refused = world.get("info").await;
    refused.problem(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"vamp\""));
    world.get("no/such/address").await.problem(401, "unauthorized");
    let wrong = send(world.ask(Method::GET, "info").header("authorization", "Bearer fedcba9876543210")).await;
    assert!(!wrong.problem(401, "unauthorized").to_string().contains("fedcba"));
    for scheme in ["Bearer", "token"] {
        let request = world.ask(Method::GET, "info").header("authorization", format!("{scheme} {TOKEN}"));
        let info = send(request.header("host", "vamp.example")).await.expect(200);
        assert!(!info.to_string().contains(TOKEN));
    }
}

#[tokio::test]
async fn it_does_not_open_to_others_without_tokens_and_tls() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, TOKEN).unwrap();
    let weak = folder.path().join("weak");
    std::fs::write(&weak, "secret").unwrap();
    let missing = folder.path().join("missing");
    let database = format!("sqlite:{}", folder.path().join("vamp.db").display());
    let paths = [&tokens, &weak, &missing].map(|path| path.to_str().unwrap().to_owned());
    let [tokens, weak, missing] = &paths;
    let all = "0.0.0.0:0";
    let cases: [(&[&str], &str); 5] = [
        (&["--listen", all], "token file"),
        (&["--listen", all, "--token-file", tokens], "--insecure-http"),
        (&["--token-file", weak], "line 1"),
        (&["--token-file", missing], "--token-file"),
        (&["--tls-cert", tokens, "--tls-key", tokens], "certificate chain"),
    ];
    for (arguments, says) in cases {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--database", &database]);
        let error = start(settings(&arguments), vamp_store::memory()).await.unwrap_err();
        let text = chain(&error);
        assert!(text.contains(says) && !text.contains("secret"), "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let world = World::start().await;
    let address = world.running.address.to_string();
    let error = start(settings(&["--listen", &address]), vamp_store::memory()).await.unwrap_err();
    assert!(chain(&error).contains(&address), "{}", chain(&error));
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost
/// -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE`; it opens nothing but this test.
const CERTIFICATE: &str = include_str!("../../../shared/record/tests/localhost.crt");
const KEY: &str = include_str!("../../../shared/record/tests/localhost.key");

#[tokio::test]
async fn it_speaks_tls_with_the_certificate_that_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    std::fs::write(&certificate, CERTIFICATE).unwrap();
    std::fs::write(&key, KEY).unwrap();
    let world =
        World::start_with(&["--tls-cert", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]).await;
    let trusted = reqwest::Certificate::from_pem(CERTIFICATE.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
    let SocketAddr::V4(address) = world.running.address else { panic!("it listens on IPv4") };
    send(client.get(format!("https://{address}/api/v1/info"))).await.expect(200);
    let plain = world.client.get(world.url("/api/v1/info")).send().await;
    assert!(plain.is_err());
}
