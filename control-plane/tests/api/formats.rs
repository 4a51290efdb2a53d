//! JSON and YAML, in and out.

use reqwest::Method;

use crate::world::{World, gateway, send};

#[tokio::test]
async fn both_formats_are_read_and_written() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let json = world.get("gateways/shop").await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    for media_type in ["application/yaml", "application/x-yaml"] {
        let request = world.ask(Method::GET, "gateways/shop").header("accept", media_type);
        let yaml = send(request).await;
        assert_eq!(yaml.header("content-type"), Some(media_type));
        assert!(yaml.text.contains("port: 9050/http"), "{}", yaml.text);
        let request = world.ask(Method::PUT, "gateways/shop").header("content-type", media_type);
        let written = send(request.body(yaml.text)).await;
        assert_eq!(written.header("etag"), Some("\"1\""));
        let mut written = written.expect(200);
        assert_eq!(written.as_object_mut().unwrap().remove("unchanged"), Some(true.into()));
        assert_eq!(written, json.body);
    }
    let request = world.ask(Method::GET, "gateways").header("accept", "application/yaml;q=0.9, text/html");
    assert!(send(request).await.text.starts_with("- "));
}

#[tokio::test]
async fn keys_of_users_maps_and_the_order_of_routes_are_kept() {
    let world = World::start().await;
    let document = "metadata: {Team: Web, aB: {cD: 1}}\nroutes:\n  \"[192.0.2.9:80]\": {weight: 1%}\n  \"[192.0.2.1:80]\": {weight: 2%}\n  \"[192.0.2.5:80]\": {weight: 3%}\n  \"[192.0.2.3:80]\": {weight: 4%}\n  \"[192.0.2.2:80]\": {weight: 90%}\n";
    world.put("gateways/shop", document).await.expect(201);
    let read = world.get("gateways/shop").await.expect(200);
    assert_eq!(read["metadata"], serde_json::json!({"Team": "Web", "aB": {"cD": 1}}));
    let routes: Vec<_> = read["routes"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(routes, ["[192.0.2.9:80]", "[192.0.2.1:80]", "[192.0.2.5:80]", "[192.0.2.3:80]", "[192.0.2.2:80]"]);
}

#[tokio::test]
async fn a_body_that_says_not_how_it_is_written_is_refused() {
    let world = World::start().await;
    let put = || world.ask(Method::PUT, "gateways/shop").body(gateway("shop", 9050));
    send(put()).await.problem(415, "unsupported-media-type");
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
        let answer = send(put().header("content-type", media_type)).await;
        assert!(answer.problem(415, "unsupported-media-type")["message"].as_str().unwrap().len() > 20);
    }
    let zipped = put().header("content-type", "application/yaml").header("content-encoding", "gzip");
    send(zipped).await.problem(415, "unsupported-media-type");
    let not_utf8 =
        world.ask(Method::PUT, "gateways/shop").header("content-type", "application/yaml").body(vec![0x61, 0xff]);
    send(not_utf8).await.problem(400, "bad-request");
    world.get("gateways/shop").await.expect(404);
}

#[tokio::test]
async fn an_answer_that_nobody_can_write_is_refused_before_anything_is_done() {
    let world = World::start().await;
    let put = world
        .ask(Method::PUT, "gateways/shop")
        .header("content-type", "application/yaml")
        .header("accept", "text/html");
    send(put.body(gateway("shop", 9050))).await.problem(406, "not-acceptable");
    world.get("gateways/shop").await.expect(404);
}
