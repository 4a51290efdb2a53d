//! What a decision does to a request: the split, cookies, rewrites, and the refusals.

use std::net::Ipv4Addr;

use vamp_record::Reason;
use vamp_routing::wire::{Rewrite, Share, Sticky};

use super::fixture::*;
use crate::plane::PlaneSettings;

async fn telling(name: &'static str) -> Origin {
    Origin::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len())).await
}

#[tokio::test]
async fn weights_split_requests_exactly() {
    let (old, new) = (telling("old").await, telling("new").await);
    let routes = vec![route("old", 90, &[old.address]), route("new", 10, &[new.address])];
    let vamp = Vamp::with(limits(), gateway(routes)).await;
    let mut client = vamp.client().await;
    let mut hits = 0;
    for _ in 0..100 {
        client.send(GET).await;
        hits += usize::from(client.answer().await.body == "new");
    }
    assert_eq!(hits, 10);
    let records = vamp.records(100).await;
    assert_eq!(records.iter().filter(|record| record.labels.route == "new").count(), 10);
}

#[tokio::test]
async fn a_sticky_client_is_told_its_route_once_and_kept_there() {
    let (old, new) = (telling("old").await, telling("new").await);
    let routes = vec![route("old", 50, &[old.address]), route("new", 50, &[new.address])];
    let vamp = Vamp::with(limits(), wire_sticky(routes, Sticky::Route)).await;
    let first = vamp.ask(GET).await;
    let cookie = first.field("Set-Cookie").expect("a cookie").to_owned();
    assert!(
        cookie.starts_with("vamp_shop-lookup=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    let pair = cookie.split(';').next().unwrap();
    for _ in 0..10 {
        let answer = vamp.ask(&format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: mine=1; {pair}\r\n\r\n")).await;
        assert_eq!((answer.body.as_str(), answer.field("Set-Cookie")), (first.body.as_str(), None));
    }
    let heads = [old.heads(), new.heads()].concat();
    assert!(heads.iter().all(|head| !head.contains("vamp_")), "the application does not see it");
    assert_eq!(heads.iter().filter(|head| head.contains("Cookie: mine=1\n")).count(), 10);
}

fn wire_sticky(routes: Vec<vamp_routing::wire::Route>, sticky: Sticky) -> vamp_routing::wire::Gateway {
    vamp_routing::wire::Gateway { sticky, ..gateway(routes) }
}

#[tokio::test]
async fn an_instance_sticky_client_stays_at_its_endpoint_while_that_lives() {
    let (one, two) = (telling("one").await, telling("two").await);
    let vamp =
        Vamp::with(limits(), wire_sticky(vec![route("only", 100, &[one.address, two.address])], Sticky::Instance))
            .await;
    let first = vamp.ask(GET).await;
    let pair = first.field("Set-Cookie").expect("a cookie").split(';').next().unwrap().to_owned();
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {pair}\r\n\r\n");
    for _ in 0..6 {
        let answer = vamp.ask(&request).await;
        assert_eq!((answer.body.as_str(), answer.field("Set-Cookie")), (first.body.as_str(), None));
    }
    let (gone, stays) = if first.body == "one" { (one, two) } else { (two, one) };
    drop(gone);
    let moved = vamp.ask(&request).await;
    assert_eq!(moved.status, 200);
    assert_ne!(moved.body, first.body);
    assert_ne!(moved.field("Set-Cookie").expect("a new cookie").split(';').next(), Some(pair.as_str()));
    drop(stays);
}

#[tokio::test]
async fn rewrites_change_the_path_for_the_origin_only() {
    let origin = Origin::echoing().await;
    let mut only = route("only", 100, &[origin.address]);
    only.rewrites = vec![Rewrite { path: "/v2%[path]".to_owned(), condition: "path under /api".to_owned() }];
    let vamp = Vamp::with(limits(), gateway(vec![only])).await;
    assert!(vamp.ask("GET /api/x?y=1 HTTP/1.1\r\nHost: a\r\n\r\n").await.body.starts_with("GET /v2/api/x?y=1 "));
    assert!(vamp.ask("GET /other HTTP/1.1\r\nHost: a\r\n\r\n").await.body.starts_with("GET /other "));
    assert_eq!(vamp.records(2).await[0].texts.path(), b"/api/x");
}

#[tokio::test]
async fn what_no_route_takes_is_answered_with_its_reason() {
    let origin = telling("x").await;
    let mut zero = route("only", 0, &[origin.address]);
    zero.weight = Share::NONE;
    let vamp = Vamp::with(limits(), gateway(vec![zero])).await;
    let mut client = vamp.client().await;
    for _ in 0..2 {
        client.send(GET).await;
        assert_eq!(client.answer().await.status, 503);
    }
    let records = vamp.records(2).await;
    assert_eq!((records[0].reason, records[0].labels.gateways[0].0.as_str()), (Reason::NoWeight, "shop"));

    let vamp = Vamp::before(&[]).await;
    assert_eq!(vamp.ask(GET).await.status, 503);
    assert_eq!(vamp.reasons(1).await, [Reason::NoEndpoint]);

    let settings = PlaneSettings {
        bind: vec![Ipv4Addr::LOCALHOST.into()],
        virtual_hosts_port: Some(free_port()),
        threads: 1,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        targets: vamp_routing::Targets::default(),
        limits: limits(),
    };
    let hosted = vamp_routing::wire::Gateway {
        port: None,
        virtual_hosts: vec!["known.example".to_owned()],
        ..gateway(vec![route("only", 100, &[origin.address])])
    };
    let vamp = Vamp::start(settings, hosted).await;
    assert_eq!(vamp.ask("GET / HTTP/1.1\r\nHost: known.example:80\r\n\r\n").await.status, 200);
    assert_eq!(vamp.ask("GET / HTTP/1.1\r\nHost: other.example\r\n\r\n").await.status, 404);
    assert_eq!(vamp.ask("GET http://known.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n").await.status, 200);
    assert_eq!(vamp.reasons(3).await, [Reason::Completed, Reason::UnknownHost, Reason::Completed]);
}
