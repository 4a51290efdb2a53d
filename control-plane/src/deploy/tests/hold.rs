//! Gateways that are led elsewhere, and gateways of ports that are gone.

use super::*;

fn web(port: &str, outer: &str) -> String {
    format!(
        "gateways: {{9050: {outer}}}\nclusters: {{web: {{breed: {{name: a, deployable: i, ports: {{{port}: 80/http}}}}, scale: {{cpu: 1, memory: 64MB, instances: 4}}}}}}"
    )
}

const OTHER: &str = "gateways: {9050: api/http}\nclusters: {api: {breed: {name: b, deployable: i, ports: {http: 80/http}}, scale: {cpu: 1, memory: 64MB, instances: 2}}}";

impl World {
    /// The instances that take requests, each by one of its ports.
    fn run(&mut self, service: &str, ports: &[&str]) {
        let instances: Vec<String> =
            ports.iter().map(|port| format!("{{name: i, ports: {{{port}: '127.0.0.1:1'}}}}")).collect();
        let text = format!("instances: [{}]", instances.join(", "));
        self.put(read_as(&text, Format::Yaml, Kind::Instances, Some(service)).unwrap().remove(0).artifact);
        for request in follow(&waiting(self), self, &[]) {
            self.ask(&request.deployment, request.action).unwrap();
        }
    }

    #[track_caller]
    fn leads(&self, to: &str) {
        assert_eq!(self.weights("shop/9050"), shares(&[(to, 100)]));
    }
}

#[test]
fn a_gateway_stays_on_a_port_that_goes_until_as_many_answer_on_the_new_one() {
    let mut world = World::new();
    world.merge("shop", &web("old", "web/old")).unwrap();
    world.run("shop/web/a", &["old"; 4]);
    world.merge("shop", &web("new", "web/new")).unwrap();
    world.leads("shop/web/old");
    assert_eq!(world.deployment("shop").body.gateways[0].body.routes[0].path.to_string(), "web/new");
    assert_eq!(waiting(&world), ["shop".to_owned()].into());
    world.run("shop/web/a", &["new", "old", "old", "old"]);
    world.leads("shop/web/old");
    // Merged once more, it waits as before.
    world.merge("shop", &web("new", "web/new")).unwrap();
    world.leads("shop/web/old");
    world.run("shop/web/a", &["new", "new", "old", "old"]);
    world.leads("shop/web/new");
    assert!(world.gateway("shop/9050").metadata.is_empty());
    assert!(world.gateway_names().contains(&"shop/web/old"), "some still answer there");
    world.run("shop/web/a", &["new"; 4]);
    assert_eq!(world.gateway_names(), ["shop/9050", "shop/web/new"]);
    assert!(waiting(&world).is_empty());
}

#[test]
fn what_is_not_there_is_not_held_back_from_who_refuses_it() {
    let mut world = World::new();
    world.merge("shop", &web("http", "web/http")).unwrap();
    world.run("shop/web/a", &["http"; 4]);
    let elsewhere = "{routes: {api/http: {weight: 100%, condition: {reference: nowhere}}}}";
    world.merge("shop", &OTHER.replace("{9050: api/http}", &format!("{{9050: {elsewhere}}}"))).unwrap();
    world.leads("shop/api/http");
}

#[test]
fn a_gateway_stays_on_a_cluster_until_the_other_one_is_there() {
    let mut world = World::new();
    world.merge("shop", &web("http", "web/http")).unwrap();
    world.run("shop/web/a", &["http"; 4]);
    world.merge("shop", OTHER).unwrap();
    world.leads("shop/web/http");
    world.run("shop/api/b", &["http"]);
    world.leads("shop/web/http");
    world.run("shop/api/b", &["http"; 2]);
    world.leads("shop/api/http");
    // Back to what is there: at once.
    world.merge("shop", &web("http", "web/http")).unwrap();
    world.leads("shop/web/http");
    assert!(waiting(&world).is_empty());
}

#[test]
fn nothing_is_held_where_nothing_answers_and_who_writes_the_gateway_decides() {
    let mut world = World::new();
    world.merge("shop", &web("old", "web/old")).unwrap();
    world.merge("shop", &web("new", "web/new")).unwrap();
    world.leads("shop/web/new");
    assert_eq!(world.gateway_names(), ["shop/9050", "shop/web/new"]);
    world.run("shop/web/a", &["new"; 4]);
    world.merge("shop", OTHER).unwrap();
    let mut decided = world.gateway("shop/9050").clone();
    decided.metadata.clear();
    world.put(Artifact::Gateway(decided));
    world.run("shop/api/b", &["http"; 2]);
    world.leads("shop/web/new");
}

#[test]
fn a_port_that_a_gateway_leads_to_does_not_go_by_itself() {
    let mut world = World::new();
    world.merge("shop", &web("old", "web/old")).unwrap();
    let renamed = web("new", "web/new").replace("gateways: {9050: web/new}\n", "");
    world.refuses(
        "shop",
        &renamed,
        "no service of cluster `web` would have port `old` any more, and gateway `shop/9050`",
    );
}

#[test]
fn an_old_version_with_another_port_comes_back_without_a_gap() {
    let mut world = World::new();
    world.merge("shop", &web("old", "web/old")).unwrap();
    let first = world.deployment("shop").clone();
    world.merge("shop", &web("new", "web/new")).unwrap();
    world.run("shop/web/a", &["new"; 4]);
    world.ask("shop", Action::Restore { then: Box::new(first), gateways: Vec::new() }).unwrap();
    world.leads("shop/web/new");
    world.run("shop/web/a", &["old"; 4]);
    world.leads("shop/web/old");
    assert_eq!(world.gateway_names(), ["shop/9050", "shop/web/old"]);
}
