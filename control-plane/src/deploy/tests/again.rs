//! What is deployed once more: the same file, and what was exported.

use proptest::prelude::*;
use vamp_model::{ConditionUse, RouteUse};
use vamp_routing::wire::Sticky;

use super::*;

fn file(cpu: &str, instances: u32) -> String {
    format!(
        "clusters: {{web: {{breed: {{name: a, deployable: i, ports: {{http: 80/http}}}}, scale: {{cpu: {cpu}, memory: 64MB, instances: {instances}}}}}}}"
    )
}

impl World {
    fn size(&self) -> Size {
        size_of(self.deployment("shop").cluster("web").unwrap().service("a").unwrap())
    }

    fn rescale(&mut self, instances: u32) {
        let from = self.size();
        let (cluster, service) = ("web".to_owned(), "a".to_owned());
        let scale = Rescale { cluster, service, from, to: Size { instances, ..from } };
        self.ask("shop", Action::Rescale(vec![scale])).unwrap();
    }

    /// Exports and merges it, as two programs would.
    fn import_export(&mut self) {
        let text = self.exported();
        self.import(&text);
    }

    fn exported(&self) -> String {
        vamp_model::to_json(&Artifact::Blueprint(export(self.deployment("shop"), self))).to_string()
    }

    fn import(&mut self, text: &str) {
        let read = read_as(text, Format::Json, Kind::Blueprint, Some("shop")).unwrap().remove(0).artifact;
        let Artifact::Blueprint(blueprint) = read else { panic!("no blueprint") };
        self.ask("shop", Action::Merge(Box::new(blueprint))).unwrap();
    }

    fn has(&self, instances: u32, given: Option<u64>) {
        let noted =
            self.deployment("shop").metadata.get("io.vamp.given").map(|notes| notes["web/a"]["instances"].clone());
        assert_eq!((self.size().instances, noted.and_then(|noted| noted.as_u64())), (instances, given));
        assert_eq!(self.deployment("shop").metadata.get("io.vamp.had"), None);
    }
}

#[test]
fn a_file_that_did_not_change_takes_no_scaling_back() {
    let mut world = World::new();
    world.merge("shop", &file("1", 1)).unwrap();
    world.rescale(2);
    world.rescale(4);
    world.merge("shop", &file("1", 1)).unwrap();
    assert_eq!(world.size().instances, 4);
    // What changed in it is taken, and nothing else.
    world.merge("shop", &file("0.5", 1)).unwrap();
    assert_eq!((world.size().instances, world.size().cpu.0), (4, 500));
    world.import_export();
    assert_eq!((world.size().instances, world.size().cpu.0), (4, 500));
    world.merge("shop", &file("0.5", 1)).unwrap();
    assert_eq!(world.size().instances, 4);
    world.merge("shop", &file("0.5", 3)).unwrap();
    assert_eq!(world.size().instances, 3);
    assert!(world.deployment("shop").metadata.is_empty(), "it has what it was given");
    // One that is back at what it was given is nobody's business any more.
    world.rescale(5);
    world.rescale(3);
    assert!(world.deployment("shop").metadata.is_empty());
    world.rescale(5);
    let scale = ScaleUse::Inline(Size { instances: 6, ..world.size() });
    world.ask("shop", Action::Scale { cluster: "web".to_owned(), service: "a".to_owned(), scale }).unwrap();
    world.merge("shop", &file("0.5", 3)).unwrap();
    assert_eq!(world.size().instances, 6);
    world.merge("shop", "clusters: {web: {name: b, deployable: i, ports: {http: 80/http}}}").unwrap();
    world.move_all("shop/web/http", "shop/web/b/http");
    world.ask("shop", Action::RemoveServices(vec![("web".to_owned(), "a".to_owned())])).unwrap();
    assert!(world.deployment("shop").metadata.is_empty(), "it is gone");
}

#[test]
fn an_export_that_did_not_change_takes_no_step_back_that_a_promise_made_since() {
    let mut world = World::new();
    world.merge("shop", &file("1", 1)).unwrap();
    world.rescale(3);
    let text = world.exported();
    world.rescale(5);
    world.import(&text);
    world.has(5, Some(1));
    // Nor one that gave back all of it.
    world.rescale(1);
    world.import(&text);
    world.has(1, None);
    // What is changed in it is taken.
    let mut changed: serde_json::Value = serde_json::from_str(&text).unwrap();
    changed.pointer_mut("/clusters/web/services/0/scale/instances").map(|scale| *scale = 4.into()).unwrap();
    world.import(&changed.to_string());
    world.has(4, None);
    // Where it was given something else meanwhile, it is as it was exported.
    world.merge("shop", &file("1", 2)).unwrap();
    world.import(&text);
    world.has(3, Some(1));
    // In a deployment of its own, too.
    let mut other = World::new();
    other.import(&text);
    other.has(3, Some(1));
    // An export from before it said what there was.
    let mut old: serde_json::Value = serde_json::from_str(&text).unwrap();
    old["metadata"].as_object_mut().unwrap().remove("io.vamp.had").unwrap();
    world.rescale(6);
    world.import(&old.to_string());
    world.has(3, Some(1));
}

/// What somebody makes of a gateway.
fn edit() -> impl Strategy<Value = (Option<u16>, bool, Sticky, Vec<String>)> {
    let sticky = prop_oneof![Just(Sticky::None), Just(Sticky::Route), Just(Sticky::Instance)];
    let hosts = prop::collection::vec("[a-z]{1,8}\\.example", 0..2);
    (prop::option::of(0..=10_000_u16), any::<bool>(), sticky, hosts)
}

proptest! {
    #[test]
    fn what_is_exported_changes_nothing_when_it_is_merged(
        versions in 1..4_usize,
        edits in prop::collection::vec(edit(), 2),
        is_named in any::<bool>(),
        scale in prop::option::of(1..5_u32),
    ) {
        let mut world = World::new();
        let services: Vec<String> = (0..versions)
            .map(|number| format!("{{name: v{number}, deployable: i, ports: {{http: 80/http}}}}"))
            .collect();
        let outer = if is_named { "front: {port: 0/http, routes: {web/http: {}, api/http: {}}}" } else { "9050: web/http" };
        world.merge("shop", &format!(
            "gateways: {{{outer}}}\nclusters: {{web: {{services: [{}]}}, api: {{name: a, deployable: i, ports: {{http: 80/http}}}}}}",
            services.join(", ")
        )).unwrap();
        let outer = if is_named { "shop/front" } else { "shop/9050" };
        for (name, (share, has_condition, sticky, hosts)) in [outer, "shop/web/http"].into_iter().zip(edits) {
            let mut next = world.gateway(name).clone();
            let routes = next.routes.len();
            for (index, route) in next.routes.iter_mut().enumerate() {
                let RouteUse::Inline(body) = &mut route.content else { panic!("a stored route") };
                // The first gets a share, the last the rest; or nobody says what.
                body.weight = share.map(|share| match index {
                    _ if routes == 1 => Share::WHOLE,
                    0 => Share(share),
                    index if index + 1 == routes => Share(10_000 - share),
                    _ => Share::NONE,
                });
                if has_condition && index == 0 {
                    body.condition = Some(ConditionUse::Inline("has cookie beta".to_owned()));
                    body.condition_strength = Some(Share::WHOLE);
                }
            }
            (next.sticky, next.virtual_hosts) = (sticky, hosts);
            world.put(Artifact::Gateway(next));
        }
        if let Some(instances) = scale {
            let scale = ScaleUse::Inline(Size { instances, ..DEFAULT_SIZE });
            world.ask("shop", Action::Scale { cluster: "web".to_owned(), service: "v0".to_owned(), scale }).unwrap();
        }
        let before = world.0.clone();
        world.import_export();
        prop_assert_eq!(&world.0, &before);
    }
}
