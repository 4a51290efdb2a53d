//! What every address has in common: methods, unknown addresses and parameters, bounds, request ids.

use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, gateway, send, yaml_of};

#[tokio::test]
async fn an_unknown_address_is_answered_with_near_ones() {
    let world = World::start().await;
    for (path, near) in [
        ("/api/v1/gateway", "/api/v1/gateways"),
        ("/api/v1/gatways/shop", "/api/v1/gateways/{name}"),
        ("/gateways/shop", "/api/v1/gateways/{name}"),
        ("/api/v1/rollouts", "/api/v1/rollout"),
        ("/", "/api/v1"),
        ("/api/v2/anything", "/openapi.json"),
    ] {
        let answer = send(world.client.get(world.url(path))).await;
        let message = answer.problem(404, "unknown-address")["message"].to_string();
        assert!(message.contains(near), "{path}: {message}");
    }
    send(world.client.get(world.url("/api/v1/gateways/%zz"))).await.problem(400, "bad-request");
}

#[tokio::test]
async fn a_method_that_an_address_does_not_take_is_answered_with_those_that_it_takes() {
    let world = World::start().await;
    for (method, path, allowed) in [
        (Method::DELETE, "gateways", "OPTIONS, HEAD, GET, POST, PUT"),
        (Method::POST, "gateways/shop", "OPTIONS, HEAD, GET, PUT, DELETE"),
        (Method::PATCH, "gateways/shop", "OPTIONS, HEAD, GET, PUT, DELETE"),
        (Method::GET, "gateways/shop/explain", "OPTIONS, POST"),
        (Method::PUT, "rollout", "OPTIONS, HEAD, GET"),
    ] {
        let answer = send(world.ask(method.clone(), path)).await;
        answer.problem(405, "method-not-allowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    let options = send(world.ask(Method::OPTIONS, "gateways/shop")).await;
    assert_eq!((options.status.as_u16(), options.header("allow")), (204, Some("OPTIONS, HEAD, GET, PUT, DELETE")));
    assert_eq!(options.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let got = world.get("gateways/shop").await;
    let head = send(world.ask(Method::HEAD, "gateways/shop")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    for name in ["etag", "content-type", "content-length"] {
        assert_eq!(head.header(name), got.header(name), "{name}");
    }
    assert_eq!(send(world.ask(Method::HEAD, "gateways/none")).await.status.as_u16(), 404);
}

#[tokio::test]
async fn a_parameter_that_an_address_does_not_know_is_refused_with_the_near_one() {
    let world = World::start().await;
    for (path, near) in [
        ("gateways?perpage=3", "`per_page`"),
        ("gateways?wait=5s", "page, per_page"),
        ("gateways/shop?page=1", "it takes expand_references, only_references"),
        ("audit/changes?limi=3", "`limit`"),
        ("rollout?verbose", "it takes none"),
    ] {
        let answer = world.get(path).await;
        let message = answer.problem(400, "bad-request")["message"].to_string();
        assert!(message.contains(near), "{path}: {message}");
    }
    let answer = world.put("gateways/shop?validateonly=true", &gateway("shop", 9050)).await;
    assert!(answer.problem(400, "bad-request")["message"].to_string().contains("`validate_only`"));
    world.get("gateways/shop").await.expect(404);
}

#[tokio::test]
async fn a_body_over_its_bound_is_refused() {
    let world = World::start().await;
    let large = format!("metadata: {{a: \"{}\"}}", "x".repeat(17 * 1024 * 1024));
    // The listener may close while the body is still on its way; what it said is then lost in a reset.
    let request = yaml_of(world.ask(Method::PUT, "gateways/shop"), &large).header("expect", "100-continue");
    if let Ok(response) = request.send().await {
        assert_eq!(response.status().as_u16(), 413);
    }
    let head = format!(
        "PUT /api/v1/gateways/shop HTTP/1.1\r\nHost: {}\r\nContent-Type: application/yaml\r\nContent-Length: 17000000\r\n\r\n",
        world.running.address
    );
    assert!(raw(&world, &head).await.starts_with("HTTP/1.1 413"));
    world.get("gateways/shop").await.expect(404);
}

#[tokio::test]
async fn a_body_that_breaks_off_changes_nothing() {
    let world = World::start().await;
    let head = format!(
        "PUT /api/v1/gateways/shop HTTP/1.1\r\nHost: {}\r\nContent-Type: application/yaml\r\nContent-Length: 100\r\n\r\nport: 9050",
        world.running.address
    );
    let mut stream = TcpStream::connect(world.running.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    assert!(!String::from_utf8_lossy(&answer).starts_with("HTTP/1.1 2"));
    world.get("gateways/shop").await.expect(404);
}

#[tokio::test]
async fn a_request_with_two_hosts_is_refused() {
    let world = World::start().await;
    let head = format!(
        "GET /api/v1/info HTTP/1.1\r\nHost: {}\r\nHost: evil.example\r\nConnection: close\r\n\r\n",
        world.running.address
    );
    assert!(raw(&world, &head).await.starts_with("HTTP/1.1 400"));
}

/// What is answered to a head, until the connection closes or is quiet.
async fn raw(world: &World, head: &str) -> String {
    let mut stream = TcpStream::connect(world.running.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_keeps_that_of_the_client() {
    let world = World::start().await;
    let first = world.get("info").await;
    let second = world.get("nothing").await;
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    let id = second.header("x-request-id").unwrap();
    assert_eq!(second.body["instance"], format!("urn:vamp:request:{id}"));
    let own = send(world.ask(Method::GET, "info").header("x-request-id", "mine-1")).await;
    assert_eq!(own.header("x-request-id"), Some("mine-1"));
    let bad = send(world.ask(Method::GET, "info").header("x-request-id", "a b\tc")).await;
    assert_ne!(bad.header("x-request-id"), Some("a b\tc"));
}

#[tokio::test]
async fn requests_under_way_are_answered_when_it_stops() {
    let world = World::start().await;
    world.register("slow", None).await;
    world.rollout_where("it is known", |rollout| rollout["of"] == 1).await;
    let request = yaml_of(world.ask(Method::PUT, "gateways/shop?wait=20s"), &gateway("shop", 9050));
    let write = tokio::spawn(send(request));
    world.rollout_where("the change is made", |rollout| rollout["revision"] == 1).await;
    let World { running, store: _store, folder: _folder, .. } = world;
    running.stop().await;
    write.await.unwrap().expect(202);
}

/// Sends a text, and answers what came back before the connection ended.
async fn until_closed(world: &World, text: &str) -> String {
    let mut stream = TcpStream::connect(world.running.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn who_sends_too_slowly_is_let_go() {
    let world = World::start().await;
    let host = world.running.address;
    let body = format!(
        "PUT /api/v1/gateways/x HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/yaml\r\nContent-Length: 10\r\n\r\nport"
    );
    let kept = format!("GET /live HTTP/1.1\r\nHost: {host}\r\n\r\n");
    // From here on time passes as soon as everybody waits for it.
    tokio::time::pause();
    assert_eq!(until_closed(&world, "").await, "");
    assert_eq!(until_closed(&world, "GET /live HT").await, "");
    assert!(until_closed(&world, &kept).await.starts_with("HTTP/1.1 200"));
    assert!(until_closed(&world, &body).await.starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn what_services_run_on_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let processes = folder.path().display().to_string();
    let world = World::start_with(&["--docker-host", "unix:///no/such/engine", "--process-dir", &processes]).await;
    let platforms = &world.get("info").await.expect(200)["platforms"];
    let of = |kind: &str| platforms.as_array().unwrap().iter().find(|platform| platform["type"] == kind).unwrap();
    let programs = of("command");
    assert_eq!((&programs["driver"], &programs["address"]), (&"process".into(), &"127.0.0.1".into()));
    for limit in ["cpu", "memory"] {
        assert!(programs[limit].as_str().is_some_and(|told| !told.is_empty()), "{programs:#}");
    }
    // One that does not answer is told, and holds up nothing.
    let docker = of("container/docker");
    assert!(docker["error"].as_str().unwrap().contains("/no/such/engine"), "{docker:#}");
}
