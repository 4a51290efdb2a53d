//! Deployments as users build them up: merged, scaled, taken apart.

mod again;
mod hold;
mod kept;
mod large;
mod outer;
mod values;

use std::collections::BTreeMap;

use vamp_model::{Artifact, Format, Gateway, Kind, read, read_as};
use vamp_routing::wire::Share;

use super::*;

mod applied;

/// What is stored, as the core would have it.
#[derive(Default)]
struct World(BTreeMap<(Kind, String), Artifact>);

impl Known for World {
    fn artifact(&self, kind: Kind, name: &str) -> Option<&Artifact> {
        self.0.get(&(kind, name.to_owned()))
    }

    fn gateway_names(&self) -> Vec<&str> {
        self.0.keys().filter(|(kind, _)| *kind == Kind::Gateway).map(|(_, name)| name.as_str()).collect()
    }
}

const BREEDS: &str = "
- {kind: breeds, name: 'web:1', deployable: i, ports: {http: 80/http}, env: {STORE: '$db.host:$db.ports.sql', LEVEL: info}, dependencies: {db: 'store:9'}}
- {kind: breeds, name: 'web:2', deployable: i, ports: {http: 80/http, admin: 81/http}, env: {TOKEN: ~, GREETING: 'hello $TOKEN'}}
- {kind: breeds, name: 'store:9', deployable: i, ports: {sql: 5432/http}, constants: {schema: shop}}
- {kind: scales, name: small, cpu: 0.1, memory: 32MB, instances: 3}
";

const SHOP: &str = "
gateways: {9050: web/http}
clusters:
  web: 'web:1'
  store: {breed: 'store:9', scale: small}
";

impl World {
    fn new() -> Self {
        let mut world = Self::default();
        for document in read(BREEDS, Format::Yaml).unwrap() {
            world.put(document.artifact);
        }
        world
    }

    fn put(&mut self, artifact: Artifact) {
        self.0.insert((artifact.kind(), artifact.name().to_owned()), artifact);
    }

    fn ask(&mut self, deployment: &str, action: Action) -> Result<(), Refusal> {
        let before = self.0.clone();
        self.ask_after(deployment, action, &Self(before))
    }

    /// As part of a change before which this was stored.
    fn ask_after(&mut self, deployment: &str, action: Action, before: &Self) -> Result<(), Refusal> {
        let writes = writes(&DeployRequest::new(deployment, action), self, before)?;
        let touched: Vec<String> = writes.iter().map(|write| write.name.clone()).collect();
        for write in writes {
            match write.artifact {
                Some(artifact) => self.put(artifact),
                None => drop(self.0.remove(&(write.kind, write.name))),
            }
        }
        let findings = check_gateways(&touched.iter().map(String::as_str).collect(), self);
        assert_eq!(findings, [], "what follows keeps to its own rules");
        Ok(())
    }

    fn merge(&mut self, deployment: &str, text: &str) -> Result<(), Refusal> {
        let read = read_as(text, Format::Yaml, Kind::Blueprint, Some("b")).unwrap().remove(0).artifact;
        let Artifact::Blueprint(blueprint) = read else { panic!("no blueprint") };
        self.ask(deployment, Action::Merge(Box::new(blueprint)))
    }

    #[track_caller]
    fn refuses(&mut self, deployment: &str, text: &str, part: &str) {
        let before = self.0.clone();
        let Err(Refusal::Findings(findings)) = self.merge(deployment, text) else { panic!("not refused") };
        let texts: Vec<String> = findings.iter().map(|found| found.violation.to_string()).collect();
        assert!(texts.len() == 1 && texts[0].contains(part), "{texts:#?}");
        assert_eq!(self.0, before);
    }

    fn gateway(&self, name: &str) -> &Gateway {
        gateway(name, self).unwrap_or_else(|| panic!("no gateway {name} in {:?}", self.gateway_names()))
    }

    fn weights(&self, name: &str) -> Vec<(String, u16)> {
        let routes = self.gateway(name).routes.iter();
        let weight = |content: &vamp_model::RouteUse| match content {
            vamp_model::RouteUse::Inline(body) => body.weight.unwrap_or(Share::NONE).0 / 100,
            vamp_model::RouteUse::Stored { .. } => panic!("a stored route"),
        };
        routes.map(|route| (route.path.to_string(), weight(&route.content))).collect()
    }

    /// Moves all of a gateway to one route.
    fn move_all(&mut self, name: &str, to: &str) {
        let mut next = self.gateway(name).clone();
        for route in &mut next.routes {
            if let vamp_model::RouteUse::Inline(body) = &mut route.content {
                body.weight = Some(if route.path.to_string() == to { Share::WHOLE } else { Share::NONE });
            }
        }
        self.put(Artifact::Gateway(next));
    }

    fn deployment(&self, name: &str) -> &Deployment {
        deployment(name, self).unwrap()
    }
}

fn shares(pairs: &[(&str, u16)]) -> Vec<(String, u16)> {
    pairs.iter().map(|(name, share)| ((*name).to_owned(), *share)).collect()
}

#[test]
fn a_blueprint_becomes_a_deployment_with_its_gateways() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    assert_eq!(world.gateway_names(), ["shop/9050", "shop/store/sql", "shop/web/http"]);
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 100)]));
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/web/http", 100)]));
    assert_eq!(world.gateway("shop/9050").port, Some(9050));
    let store = world.deployment("shop").cluster("store").unwrap().service("store:9").unwrap().clone();
    assert_eq!(size_of(&store).instances, 3);
    assert_eq!(breed(&store).unwrap().ports.len(), 1);
}

#[test]
fn a_new_version_comes_in_at_nothing_and_moves_no_traffic() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    world.merge("shop", "clusters: {web: {breed: 'web:2', env: {TOKEN: x}}}").unwrap();
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 100), ("shop/web/web:2/http", 0)]));
    // The first of its port takes all of it.
    assert_eq!(world.weights("shop/web/admin"), shares(&[("shop/web/web:2/admin", 100)]));
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/web/http", 100)]));
    // What was merged before keeps its share when it is merged again.
    world.move_all("shop/web/http", "shop/web/web:2/http");
    world.merge("shop", "clusters: {web: {breed: 'web:2', env: {TOKEN: y}}}").unwrap();
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 0), ("shop/web/web:2/http", 100)]));
    let service = world.deployment("shop").cluster("web").unwrap().service("web:2").unwrap();
    assert_eq!(service.environment, [("TOKEN".to_owned(), "y".to_owned())]);
}

#[test]
fn a_weight_for_one_version_leaves_the_rest_to_the_others_in_proportion() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let new = |version: u8, weight: &str| {
        let service =
            format!("{{breed: {{name: 'web:{version}', deployable: 'web:{version}', ports: {{http: 80/http}}}}}}");
        let gateway = format!("{{routes: {{'web:{version}': {{weight: {weight}}}}}}}");
        format!("clusters: {{web: {{services: {service}, gateways: {{http: {gateway}}}}}}}")
    };
    let three = |first: u16, second: u16, third: u16| {
        shares(&[("shop/web/web:1/http", first), ("shop/web/web:2/http", second), ("shop/web/web:3/http", third)])
    };
    world.merge("shop", &new(2, "30%")).unwrap();
    assert_eq!(world.weights("shop/web/http"), three(70, 30, 0)[..2]);
    world.merge("shop", &new(3, "10%")).unwrap();
    assert_eq!(world.weights("shop/web/http"), three(63, 27, 10));
    world.merge("shop", &new(3, "0%")).unwrap();
    assert_eq!(world.weights("shop/web/http"), three(70, 30, 0));
    world.merge("shop", &new(3, "100%")).unwrap();
    assert_eq!(world.weights("shop/web/http"), three(0, 0, 100));
    // Nobody else has any of it, in proportion to which the rest could be shared.
    world.refuses("shop", &new(3, "40%"), "the weights of gateway `shop/web/http` add up to 40%");
}

#[test]
fn all_weights_may_be_given_and_must_add_up() {
    let both = |first: &str, second: &str| {
        format!(
            "clusters: {{web: {{services: ['web:1', {{breed: 'web:2', env: {{TOKEN: x}}}}], gateways: {{http: {{routes: {{'web:1': {first}, 'web:2': {second}}}}}}}}}, store: 'store:9'}}"
        )
    };
    let mut world = World::new();
    world.merge("shop", &both("{weight: 90%}", "{condition: has cookie beta}")).unwrap();
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 90), ("shop/web/web:2/http", 10)]));
    world.merge("shop", &both("{weight: 20%}", "{weight: 80%}")).unwrap();
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 20), ("shop/web/web:2/http", 80)]));
    world.merge("shop", &both("{}", "{weight: 50%}")).unwrap();
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 50), ("shop/web/web:2/http", 50)]));
    let mut other = World::new();
    other.merge("shop", &both("{}", "{}")).unwrap();
    assert_eq!(other.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 50), ("shop/web/web:2/http", 50)]));
}

#[test]
fn what_does_not_fit_is_named_and_nothing_is_kept() {
    let mut world = World::new();
    world.refuses("shop", "clusters: {web: 'web:3'}", "there is no breed `web:3`");
    world.refuses("shop", "clusters: {web: 'web:2'}", "variable `TOKEN` of breed `web:2` has no value");
    world.refuses("shop", "clusters: {store: {breed: 'store:9', scale: big}}", "there is no scale `big`");
    world.refuses("shop", "clusters: {store: {breed: 'store:9', sla: fast}}", "there is no SLA `fast`");
    let alone = "clusters: {api: {name: a, deployable: i, dependencies: {db: 'store*'}}}";
    world.refuses("shop", alone, "breed `a` depends on `store*` (as `db`), which is not deployed");
    world.merge("shop", SHOP).unwrap();
    world.merge("shop", alone).unwrap();
    world.refuses("shop", "clusters: {other: 'store:9'}", "the breed `store:9` in two services");
    let circle = "clusters: {a: {name: a2, deployable: i, dependencies: {b: b2}}, b: {name: b2, deployable: i, dependencies: {a: a2}}}";
    world.refuses("shop", circle, "in a circle: a2 → b2 → a2");
    let env = "clusters: {web: {breed: 'web:1', env: {LEVEL: '$store.ports.http'}}, store: 'store:9'}";
    world.refuses("shop", env, "breed `store:9` has no port `http`");
    let unknown = "clusters: {web: {breed: 'web:1', env: {LEVELS: x}}, store: 'store:9'}";
    world.refuses("shop", unknown, "has no variable `LEVELS`");
    let itself = "clusters: {c: {name: c1, deployable: i, env: {A: $B, B: $A}}}";
    let Err(Refusal::Findings(findings)) = world.merge("shop", itself) else { panic!() };
    assert!(findings[0].violation.message.contains("refers to itself"), "{findings:?}");
    world.put(read("{kind: gateways, name: other/9050, routes: {}}", Format::Yaml).unwrap().remove(0).artifact);
    world.refuses(
        "other",
        "{gateways: {9050: store/sql}, clusters: {store: 'store:9'}}",
        "does not belong to the deployment",
    );
}

struct Ports;

impl Values for Ports {
    fn gateway_host(&self) -> &'static str {
        "10.0.0.1"
    }

    fn gateway_port(&self, gateway: &str) -> Option<u16> {
        (gateway == "shop/store/sql").then_some(20_007)
    }
}

fn environment_of(
    world: &World,
    cluster: &str,
    service: &str,
) -> Result<BTreeMap<String, String>, resolve::Unresolved> {
    let deployment = world.deployment("shop");
    let cluster = deployment.cluster(cluster).unwrap();
    let service = cluster.service(service).unwrap();
    Index::of(deployment).environment(cluster, breed(service).unwrap(), &Ports)
}

#[test]
fn values_are_put_in_the_place_of_references() {
    let mut world = World::new();
    let text = "
clusters:
  web: {services: ['web:1', {breed: 'web:2', env: {TOKEN: 'a$$b ${store.constants.schema} $web.env.LEVEL'}}]}
  store: 'store:9'
env: {web.LEVEL: debug}
";
    world.merge("shop", text).unwrap();
    let first = environment_of(&world, "web", "web:1").unwrap();
    assert_eq!((first["STORE"].as_str(), first["LEVEL"].as_str()), ("10.0.0.1:20007", "debug"));
    let second = environment_of(&world, "web", "web:2").unwrap();
    assert_eq!(second["GREETING"], "hello a$b shop debug");
    // What a later blueprint says wins.
    world.merge("shop", "{clusters: {web: 'web:1'}, env: {web.LEVEL: warn}}").unwrap();
    assert_eq!(environment_of(&world, "web", "web:1").unwrap()["LEVEL"], "warn");
}

#[test]
fn a_service_goes_when_it_gets_nothing_any_more() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    world.merge("shop", "clusters: {web: {breed: 'web:2', env: {TOKEN: x}}}").unwrap();
    let remove = |world: &mut World, cluster: &str, service: &str| {
        world.ask("shop", Action::RemoveServices(vec![(cluster.to_owned(), service.to_owned())]))
    };
    let Err(Refusal::Findings(findings)) = remove(&mut world, "web", "web:1") else { panic!() };
    assert!(findings[0].violation.message.contains("still gets 100%"), "{findings:?}");
    let Err(Refusal::Findings(findings)) = remove(&mut world, "store", "store:9") else { panic!() };
    assert!(findings[0].violation.message.contains("which would go"), "{findings:?}");
    assert_eq!(
        remove(&mut world, "web", "web:3").unwrap_err(),
        Refusal::Missing("deployment `shop` has no service `web:3` in a cluster `web`".to_owned())
    );
    world.move_all("shop/web/http", "shop/web/web:2/http");
    remove(&mut world, "web", "web:1").unwrap();
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:2/http", 100)]));
    // The last service of a cluster takes its gateways along, and those that lead nowhere else.
    remove(&mut world, "web", "web:2").unwrap();
    assert_eq!(world.gateway_names(), ["shop/store/sql"]);
    remove(&mut world, "store", "store:9").unwrap();
    assert!(world.gateway_names().is_empty() && deployment("shop", &world).is_err());
}

#[test]
fn a_service_stays_that_values_and_promises_of_others_lead_to() {
    let value = "web: {services: {breed: {name: w, deployable: i, env: {AT: x}}, env: {AT: '$store.host'}}}";
    let promise = "web: {services: {breed: {name: w, deployable: i}}, sla: {type: response_time_sliding_window,
      threshold: {upper: 100, lower: 1}, window: {interval: 60, cooldown: 60},
      escalations: [{type: scale_instances, minimum: 1, maximum: 2, scale_by: 1, target: store}]}}";
    for (web, part) in [(value, "variable `AT`: `$store.host`"), (promise, "the SLA of cluster `web`")] {
        let mut world = World::new();
        world
            .merge("shop", &format!("clusters: {{{web}, store: 'store:9', other: {{name: o, deployable: i}}}}"))
            .unwrap();
        let remove =
            |cluster: &str, service: &str| Action::RemoveServices(vec![(cluster.to_owned(), service.to_owned())]);
        let Err(Refusal::Findings(findings)) = world.ask("shop", remove("store", "store:9")) else { panic!("{web}") };
        let texts: Vec<String> = findings.iter().map(|found| found.violation.to_string()).collect();
        assert!(texts.len() == 1 && texts[0].contains("what stays could not run as it is"), "{texts:#?}");
        assert!(texts[0].contains(part), "{texts:#?}");
        world.ask("shop", remove("other", "o")).unwrap();
    }
}

#[test]
fn a_deployment_goes_with_all_that_is_its_own() {
    let mut world = World::new();
    world.put(read("{kind: gateways, name: shop, routes: {}}", Format::Yaml).unwrap().remove(0).artifact);
    world.put(read("{kind: gateways, name: shop/extra, routes: {}}", Format::Yaml).unwrap().remove(0).artifact);
    world.merge("shop", SHOP).unwrap();
    let instances = read_as("instances: []", Format::Yaml, Kind::Instances, Some("shop/web/web:1"));
    world.put(instances.unwrap().remove(0).artifact);
    world.ask("shop", Action::Remove).unwrap();
    assert_eq!(world.gateway_names(), ["shop", "shop/extra"]);
    assert!(world.artifact(Kind::Instances, "shop/web/web:1").is_none());
    assert!(matches!(world.ask("shop", Action::Remove), Err(Refusal::Missing(_))));
}

#[test]
fn scale_and_promise_are_replaced_where_they_are() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let scale = |cluster: &str| Action::Scale {
        cluster: cluster.to_owned(),
        service: "web:1".to_owned(),
        scale: ScaleUse::Stored("small".to_owned()),
    };
    world.ask("shop", scale("web")).unwrap();
    assert_eq!(size_of(world.deployment("shop").cluster("web").unwrap().service("web:1").unwrap()).instances, 3);
    assert!(
        matches!(world.ask("shop", scale("wbe")), Err(Refusal::Missing(what)) if what.contains("no cluster `wbe`"))
    );
    // A merge that says nothing of the scale leaves it.
    world.merge("shop", "clusters: {web: 'web:1'}").unwrap();
    assert_eq!(size_of(world.deployment("shop").cluster("web").unwrap().service("web:1").unwrap()).instances, 3);
}

#[test]
fn an_export_deploys_the_same_again() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    world.merge("shop", "clusters: {web: {breed: 'web:2', env: {TOKEN: x}}}").unwrap();
    world.move_all("shop/web/http", "shop/web/web:2/http");
    let text = vamp_model::to_json(&Artifact::Blueprint(export(world.deployment("shop"), &world))).to_string();
    let mut other = World::default();
    other.merge("shop", &text.replace("\"name\":\"shop\"", "\"name\":\"b\"")).unwrap();
    assert_eq!(other.gateway_names(), world.gateway_names());
    for name in world.gateway_names() {
        assert_eq!(other.gateway(name), world.gateway(name), "{name}");
    }
    assert_eq!(other.deployment("shop").body.clusters, world.deployment("shop").body.clusters);
}

#[test]
fn a_gateway_of_a_cluster_is_not_taken_apart_by_hand() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let name = "shop/web/http";
    let faults = |world: &World| check_gateways(&[name].into(), world).len();
    assert_eq!(faults(&world), 0);
    let stored = world.gateway(name).clone();
    world.0.remove(&(Kind::Gateway, name.to_owned()));
    assert_eq!(faults(&world), 1, "deleted");
    world.put(Artifact::Gateway(Gateway { routes: Vec::new(), ..stored.clone() }));
    assert_eq!(faults(&world), 1, "without its route");
    world.put(Artifact::Gateway(stored));
    world.move_all(name, "nowhere");
    assert_eq!(faults(&world), 0, "weights are for everybody to change");
    world.put(Artifact::Gateway(Gateway { name: "other/web/http".to_owned(), ..world.gateway(name).clone() }));
    assert_eq!(check_gateways(&["other/web/http"].into(), &world), [], "nobody's");
    let Err(Refusal::Findings(findings)) = world.merge("other", SHOP) else { panic!() };
    assert!(findings.iter().any(|found| found.violation.message.contains("`other/web/http` exists already")));
}

#[test]
fn health_checks_come_from_the_nearest_place_that_says_something() {
    let breed_checks = "health_checks: {port: http, path: /breed, timeout: 1, interval: 1, failures: 1}";
    let check = |path: &str| format!("{{port: http, path: {path}, timeout: 1, interval: 1, failures: 1}}");
    let paths = |of_cluster: &str, of_service: &str| {
        let text = format!(
            "clusters: {{c: {{services: [{{breed: {{name: b, deployable: i, ports: {{http: 80}}, {breed_checks}}}{of_service}}}]{of_cluster}}}}}"
        );
        let read = read_as(&text, Format::Yaml, Kind::Blueprint, Some("b")).unwrap().remove(0).artifact;
        let Artifact::Blueprint(blueprint) = read else { panic!() };
        let cluster = &blueprint.body.clusters[0];
        let service = &cluster.services[0];
        let checks = resolve::health_checks(cluster, service, breed(service).unwrap());
        let path = |check: &&vamp_model::HealthCheck| match &check.probe {
            vamp_model::Probe::Http { path, .. } => path.clone(),
            other => panic!("{other:?}"),
        };
        checks.iter().map(path).collect::<Vec<_>>()
    };
    let cluster = format!(", health_checks: {}", check("/cluster"));
    let service = format!(", health_checks: {}", check("/service"));
    assert_eq!(paths("", ""), ["/breed"]);
    assert_eq!(paths(&cluster, ""), ["/cluster"]);
    assert_eq!(paths(&cluster, &service), ["/service", "/cluster"]);
    assert_eq!(paths(&cluster, ", health_checks: []"), Vec::<String>::new());
}

#[test]
fn an_old_version_is_made_exactly_and_what_gets_traffic_is_not_taken() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let first = world.deployment("shop").clone();
    let second =
        "{gateways: {9051: web/admin}, clusters: {web: {breed: 'web:2', env: {TOKEN: x}}}, env: {web.LEVEL: debug}}";
    world.merge("shop", second).unwrap();
    let both = world.deployment("shop").clone();
    let restore = |world: &mut World, then: &Deployment| {
        world.ask("shop", Action::Restore { then: Box::new(then.clone()), gateways: Vec::new() })
    };
    world.move_all("shop/web/http", "shop/web/web:2/http");
    let before = world.0.clone();
    let Err(Refusal::Findings(findings)) = restore(&mut world, &first) else { panic!() };
    assert!(findings[0].violation.message.contains("still gets 100%"), "{findings:?}");
    assert_eq!(world.0, before);

    world.move_all("shop/web/http", "shop/web/web:1/http");
    restore(&mut world, &first).unwrap();
    assert_eq!(world.deployment("shop"), &first);
    // A gateway that came later goes, one for a port that nothing has any more too.
    assert_eq!(world.gateway_names(), ["shop/9050", "shop/store/sql", "shop/web/http"]);
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 100)]));

    restore(&mut world, &both).unwrap();
    assert_eq!(world.deployment("shop"), &both);
    assert_eq!(world.weights("shop/web/http"), shares(&[("shop/web/web:1/http", 100), ("shop/web/web:2/http", 0)]));
    assert_eq!(world.gateway("shop/9051").port, Some(9051));
    // Also of one that is gone as a whole.
    world.ask("shop", Action::Remove).unwrap();
    restore(&mut world, &first).unwrap();
    assert_eq!(world.deployment("shop"), &first);
}

#[test]
fn a_gateway_that_clients_use_keeps_what_was_made_of_it() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let first = world.deployment("shop").clone();
    let sticky = vamp_routing::wire::Sticky::Route;
    world.put(Artifact::Gateway(Gateway { sticky, ..world.gateway("shop/9050").clone() }));
    world.merge("shop", "clusters: {web: {breed: 'web:2', env: {TOKEN: x}}}").unwrap();
    world.ask("shop", Action::Restore { then: Box::new(first), gateways: Vec::new() }).unwrap();
    assert_eq!(world.gateway("shop/9050").sticky, sticky);
}

#[test]
fn scales_change_together_and_only_from_what_was_seen() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let of = |world: &World, cluster: &str, service: &str| {
        size_of(world.deployment("shop").cluster(cluster).unwrap().service(service).unwrap())
    };
    let (web, store) = (of(&world, "web", "web:1"), of(&world, "store", "store:9"));
    let rescale = |cluster: &str, service: &str, from: Size, instances| Rescale {
        cluster: cluster.to_owned(),
        service: service.to_owned(),
        from,
        to: Size { instances, ..from },
    };
    let both = vec![rescale("web", "web:1", web, 2), rescale("store", "store:9", store, 5)];
    world.ask("shop", Action::Rescale(both.clone())).unwrap();
    assert_eq!((of(&world, "web", "web:1").instances, of(&world, "store", "store:9").instances), (2, 5));
    let before = world.deployment("shop").clone();
    let Err(Refusal::Missing(why)) = world.ask("shop", Action::Rescale(both)) else { panic!("not refused") };
    assert!(why.contains("`web:1`") && why.contains("meanwhile"), "{why}");
    assert_eq!(*world.deployment("shop"), before);
}

#[test]
fn a_promise_that_could_not_be_kept_is_refused_when_it_is_given() {
    let mut world = World::new();
    world.merge("shop", SHOP).unwrap();
    let give = |world: &mut World, text: &str| {
        let sla = Some(vamp_model::read_sla(text, Format::Yaml, &|_, _| None).unwrap());
        world.ask("shop", Action::Sla { cluster: "web".to_owned(), sla })
    };
    let window = |interval: u32| {
        format!(
            "type: cpu_sliding_window\nthreshold: {{upper: 8, lower: 1}}\nwindow: {{interval: {interval}, cooldown: 9}}"
        )
    };
    let scale = |target: &str| {
        format!("escalations: [{{type: scale_instances, minimum: 1, maximum: 2, scale_by: 1, target: {target}}}]")
    };
    give(&mut world, &format!("{}\n{}", window(600), scale("store"))).unwrap();
    for (text, part) in [
        (window(601), "601 s long"),
        (format!("type: escalation_only\n{}", scale("stoer")), "cluster `stoer`, which is not there"),
        ("reference: fast".to_owned(), "there is no SLA `fast`"),
        ("type: escalation_only\nescalations: [more]".to_owned(), "there is no escalation `more`"),
    ] {
        let Err(Refusal::Findings(findings)) = give(&mut world, &text) else { panic!("not refused: {text}") };
        let found: Vec<String> = findings.iter().map(|found| found.violation.to_string()).collect();
        assert!(found.len() == 1 && found[0].contains(part), "{text}: {found:?}");
    }
    world.refuses(
        "shop",
        &format!("clusters: {{web: {{breed: 'web:1', sla: {{{}}}}}}}", window(700).replace('\n', ", ")),
        "700 s long",
    );
}
