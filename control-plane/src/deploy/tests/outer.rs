//! The gateways by which clients come in, over merges.

use vamp_model::{ConditionUse, RouteUse};
use vamp_routing::wire::Sticky;

use super::*;

const TWO: &str = "
gateways: {9050: {routes: {web/http: {}, store/sql: {}}}}
clusters:
  web: 'web:1'
  store: 'store:9'
";
const CANARY: &str = "web: {breed: 'web:2', env: {TOKEN: x}}";

impl World {
    fn change(&mut self, name: &str, change: impl FnOnce(&mut Gateway)) {
        let mut next = self.gateway(name).clone();
        change(&mut next);
        self.put(Artifact::Gateway(next));
    }
}

fn body(route: &mut vamp_model::GatewayRoute) -> &mut vamp_model::RouteBody {
    let RouteUse::Inline(body) = &mut route.content else { panic!("a stored route") };
    body
}

#[test]
fn a_merge_that_names_a_gateway_moves_none_of_its_traffic() {
    let mut world = World::new();
    world.merge("shop", TWO).unwrap();
    world.change("shop/9050", |gateway| {
        for (route, share) in gateway.routes.iter_mut().zip([9_900, 100]) {
            body(route).weight = Some(Share(share));
        }
        body(&mut gateway.routes[1]).condition = Some(ConditionUse::Inline("has cookie beta".to_owned()));
        gateway.sticky = Sticky::Route;
        gateway.virtual_hosts = vec!["shop.example".to_owned()];
    });
    let before = world.gateway("shop/9050").clone();
    let next = TWO
        .replace("web: 'web:1'", CANARY)
        .replace("web/http: {}, store/sql: {}", "web/http: {}, store/sql: {weight: 1%}");
    world.merge("shop", &next.replace(": {weight: 1%}", ": {}")).unwrap();
    assert_eq!(world.gateway("shop/9050"), &before);
    world.merge("shop", &next).unwrap();
    assert_eq!(world.gateway("shop/9050"), &before, "a weight alone says nothing of the condition");
    world.merge("shop", &next.replace("weight: 1%", "condition: has cookie gamma")).unwrap();
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/web/http", 99), ("shop/store/sql", 1)]));
    assert_ne!(world.gateway("shop/9050").routes[1], before.routes[1]);
    let stated = next.replace("web/http: {}", "web/http: {weight: 40%}").replace("1%", "60%");
    world.merge("shop", &stated.replace("{9050: {", "{9050: {sticky: none, virtual_hosts: [other.example], ")).unwrap();
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/web/http", 40), ("shop/store/sql", 60)]));
    let gateway = world.gateway("shop/9050");
    assert_eq!((gateway.sticky, gateway.virtual_hosts.as_slice()), (Sticky::None, &["other.example".to_owned()][..]));
}

#[test]
fn the_set_of_routes_of_a_gateway_follows_the_file_and_who_came_otherwise_stays() {
    let mut world = World::new();
    world.merge("shop", &TWO.replace("web/http: {}, store/sql: {}", "web/http: {}")).unwrap();
    let extra = "{kind: gateways, name: x, routes: {'[192.0.2.1:80]': {weight: 0%}}}";
    let Artifact::Gateway(extra) = read(extra, Format::Yaml).unwrap().remove(0).artifact else { panic!() };
    world.change("shop/9050", |gateway| gateway.routes.extend(extra.routes));
    world.merge("shop", TWO).unwrap();
    let all = [("shop/web/http", 100), ("shop/store/sql", 0), ("[192.0.2.1:80]", 0)];
    assert_eq!(world.weights("shop/9050"), shares(&all), "a route that is new gets nothing yet");
    // What the file names no longer leaves its share to the others that it names.
    world.merge("shop", &TWO.replace("web/http: {}, ", "")).unwrap();
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/store/sql", 100), ("[192.0.2.1:80]", 0)]));
    world.merge("shop", &TWO.replace("store/sql: {}", "")).unwrap();
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/web/http", 100), ("[192.0.2.1:80]", 0)]));
}

#[test]
fn weights_that_were_left_open_are_kept_as_they_were_shared_out() {
    let mut world = World::new();
    world.merge("shop", TWO).unwrap();
    world.merge("shop", &format!("clusters: {{{CANARY}}}")).unwrap();
    for name in ["shop/9050", "shop/web/http"] {
        world.change(name, |gateway| gateway.routes.iter_mut().for_each(|route| body(route).weight = None));
    }
    let before = world.0.clone();
    world.merge("shop", TWO).unwrap();
    assert_eq!(world.0, before);
    // A newcomer gets nothing of it.
    world.merge("shop", "clusters: {web: {name: c, deployable: i, ports: {http: 80/http}}}").unwrap();
    let all = [("shop/web/web:1/http", 50), ("shop/web/web:2/http", 50), ("shop/web/c/http", 0)];
    assert_eq!(world.weights("shop/web/http"), shares(&all));
}

#[test]
fn a_service_that_gets_all_of_a_port_keeps_that_port() {
    let mut world = World::new();
    world.merge("shop", TWO).unwrap();
    world.merge("shop", &format!("clusters: {{{CANARY}}}")).unwrap();
    let renamed = "clusters: {web: {breed: {name: 'web:1', deployable: i, ports: {other: 80/http}}}}";
    world.refuses("shop", renamed, "gets 100%, and its service would have the port no longer");
    world.move_all("shop/web/http", "shop/web/web:2/http");
    world.merge("shop", renamed).unwrap();
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:2/http", 100)]));
}
