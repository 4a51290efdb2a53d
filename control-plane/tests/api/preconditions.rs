//! `ETag`, `If-Match`, `If-None-Match`.

use reqwest::Method;

use crate::world::{Answer, World, gateway, send, yaml_of};

async fn put_if(world: &World, name: &str, value: &str, port: u16) -> Answer {
    let request = yaml_of(world.ask(Method::PUT, "gateways/shop"), &gateway("shop", port));
    send(request.header(name, value)).await
}

#[tokio::test]
async fn a_write_goes_through_at_the_version_that_it_saw() {
    let world = World::start().await;
    put_if(&world, "if-match", "\"1\"", 9050).await.problem(412, "version-mismatch");
    put_if(&world, "if-match", "*", 9050).await.problem(412, "version-mismatch");
    world.get("gateways/shop").await.expect(404);
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let stale = put_if(&world, "if-match", "\"2\"", 9051).await;
    assert!(stale.problem(412, "version-mismatch")["detail"].as_str().unwrap().contains('1'));
    put_if(&world, "if-match", "W/\"1\"", 9051).await.problem(412, "version-mismatch");
    put_if(&world, "if-match", "1", 9051).await.problem(400, "bad-request");
    assert_eq!(put_if(&world, "if-match", "\"1\"", 9051).await.header("etag"), Some("\"2\""));
    assert_eq!(put_if(&world, "if-match", "\"7\", \"2\"", 9052).await.header("etag"), Some("\"3\""));
    assert_eq!(put_if(&world, "if-match", "*", 9053).await.header("etag"), Some("\"4\""));
    assert_eq!(world.get("gateways/shop").await.expect(200)["port"], "9053/http");
}

#[tokio::test]
async fn a_write_may_ask_to_be_the_first() {
    let world = World::start().await;
    put_if(&world, "if-none-match", "*", 9050).await.expect(201);
    put_if(&world, "if-none-match", "*", 9051).await.problem(412, "version-mismatch");
    put_if(&world, "if-none-match", "\"1\"", 9051).await.problem(400, "bad-request");
    let several = yaml_of(world.ask(Method::PUT, "gateways"), &gateway("shop", 9050)).header("if-match", "\"1\"");
    send(several).await.problem(400, "bad-request");
}

#[tokio::test]
async fn a_deletion_goes_through_at_the_version_that_it_saw() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let delete = |tag: &str| world.ask(Method::DELETE, "gateways/shop").header("if-match", tag);
    send(delete("\"2\"")).await.problem(412, "version-mismatch");
    send(delete("\"1\"")).await.expect(200);
}

#[tokio::test]
async fn a_read_is_spared_what_the_client_has() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let get = |tag: &str| world.ask(Method::GET, "gateways/shop").header("if-none-match", tag);
    let known = send(get("\"1\"")).await;
    assert_eq!((known.status.as_u16(), known.text.as_str(), known.header("etag")), (304, "", Some("\"1\"")));
    send(get("\"2\"")).await.expect(200);
}

#[tokio::test]
async fn of_many_writers_at_one_version_one_wins() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    let writes = (0..10).map(|index| {
        let request = yaml_of(world.ask(Method::PUT, "gateways/shop"), &gateway("shop", 9100 + index));
        tokio::spawn(send(request.header("if-match", "\"1\"")))
    });
    let mut statuses = Vec::new();
    for write in writes.collect::<Vec<_>>() {
        statuses.push(write.await.unwrap().status.as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412, 412, 412]);
    assert_eq!(world.get("gateways/shop").await.header("etag"), Some("\"2\""));
}
