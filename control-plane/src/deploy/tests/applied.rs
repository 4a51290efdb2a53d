//! Files that are applied again and again, while people and promises move what runs.

use super::*;

fn blueprint(text: &str) -> Blueprint {
    match read_as(text, Format::Yaml, Kind::Blueprint, Some("shop")).unwrap().remove(0).artifact {
        Artifact::Blueprint(blueprint) => blueprint,
        other => panic!("no blueprint: {other:?}"),
    }
}

impl World {
    /// Stores the blueprint and deploys it, as one change does.
    fn apply(&mut self, text: &str) -> Result<(), Refusal> {
        let before = Self(self.0.clone());
        let file = blueprint(text);
        self.put(Artifact::Blueprint(file.clone()));
        let asked = self.ask_after("shop", Action::Apply(Box::new(file)), &before);
        if asked.is_err() {
            self.0 = before.0;
        }
        asked
    }

    fn applies(&mut self, text: &str) {
        self.apply(text).unwrap();
        let after = self.0.clone();
        self.apply(text).unwrap();
        assert_eq!(self.0, after, "applied again it changes nothing");
    }

    /// Gives the routes of the cluster's gateway these weights, as a person does.
    fn weigh(&mut self, weights: &[(&str, u16)]) {
        let mut next = self.gateway("shop/web/http").clone();
        for route in &mut next.routes {
            let (_, weight) = weights.iter().find(|(service, _)| route.path.to_string().contains(service)).unwrap();
            if let vamp_model::RouteUse::Inline(body) = &mut route.content {
                body.weight = Some(Share(weight * 100));
            }
        }
        self.put(Artifact::Gateway(next));
    }

    #[track_caller]
    fn has_weights(&self, weights: &[u16]) {
        let found: Vec<u16> = self.weights("shop/web/http").into_iter().map(|(_, weight)| weight).collect();
        assert_eq!(found, weights);
    }

    fn instances_of(&self, service: &str) -> u32 {
        size_of(self.deployment("shop").cluster("web").unwrap().service(service).unwrap()).instances
    }
}

/// A cluster with these services, and with gateways that say this.
fn web(services: &[&str], gateways: &str) -> String {
    let service = |name: &&str| {
        format!(
            "{{breed: {{name: '{name}', deployable: i, ports: {{http: 80/http}}, env: {{LEVEL: info}}}}, scale: {{cpu: 1, memory: 1GB, instances: 2}}}}"
        )
    };
    let services: Vec<_> = services.iter().map(service).collect();
    format!(
        "{{gateways: {{9050: web/http}}, clusters: {{web: {{services: [{}], gateways: {gateways}}}}}}}",
        services.join(", ")
    )
}

fn routes(weights: &[(&str, &str)]) -> String {
    let routes: Vec<_> = weights.iter().map(|(service, said)| format!("'{service}': {{{said}}}")).collect();
    format!("{{http: {{routes: {{{}}}}}}}", routes.join(", "))
}

#[test]
fn a_file_is_deployed_and_what_changed_in_it_follows() {
    let mut world = World::new();
    let one = web(&["a"], "{}");
    world.applies(&one);
    world.has_weights(&[100]);
    // A new version comes in at nothing, a changed one is replaced.
    let two = web(&["a", "b"], "{}");
    world.applies(&two);
    world.has_weights(&[100, 0]);
    let other = two.replacen("LEVEL: info", "LEVEL: debug", 1);
    world.applies(&other);
    let service = world.deployment("shop").cluster("web").unwrap().service("a").unwrap();
    assert_eq!(breed(service).unwrap().environment[0].value.as_deref(), Some("debug"));
    // One that the file no longer names stays, and is named.
    world.applies(&one);
    world.has_weights(&[100, 0]);
    assert_eq!(left_over(world.deployment("shop"), &blueprint(&one).body), [("web", "b")]);
}

#[test]
fn weights_that_the_file_does_not_say_anew_stay_as_they_were_moved() {
    let mut world = World::new();
    let stated = web(&["a", "b"], &routes(&[("a", "weight: 90%"), ("b", "weight: 10%")]));
    world.applies(&stated);
    world.has_weights(&[90, 10]);
    world.weigh(&[("/a/", 30), ("/b/", 70)]);
    world.applies(&stated);
    world.has_weights(&[30, 70]);
    // What is changed beside them does not bring them back.
    world.applies(&stated.replacen("LEVEL: info", "LEVEL: debug", 1));
    world.has_weights(&[30, 70]);
    let sticky = stated.replace("{http: {", "{http: {sticky: route, ");
    world.applies(&sticky);
    world.has_weights(&[30, 70]);
    assert_eq!(world.gateway("shop/web/http").sticky, vamp_routing::wire::Sticky::Route);
    // Nor does a newcomer that is to get nothing.
    let newcomer = routes(&[("a", "weight: 90%"), ("b", "weight: 10%"), ("c", "weight: 0%")]);
    world.applies(&web(&["a", "b", "c"], &newcomer));
    world.has_weights(&[30, 70, 0]);
    // And a file that says nothing of weights any more leaves them, too.
    world.applies(&web(&["a", "b", "c"], "{}"));
    world.has_weights(&[30, 70, 0]);
}

#[test]
fn weights_that_the_file_says_anew_win() {
    let mut world = World::new();
    world.applies(&web(&["a", "b"], &routes(&[("a", "weight: 90%"), ("b", "weight: 10%")])));
    world.weigh(&[("/a/", 30), ("/b/", 70)]);
    world.applies(&web(&["a", "b"], &routes(&[("a", "weight: 80%"), ("b", "weight: 20%")])));
    world.has_weights(&[80, 20]);
    // What is not said gets what is left, as in a new gateway.
    world.applies(&web(&["a", "b", "c"], &routes(&[("a", "weight: 50%"), ("b", "weight: 20%")])));
    world.has_weights(&[50, 20, 30]);
    // Of what the file leaves, a service that it does not name takes the rest.
    world.applies(&web(&["a", "b"], &routes(&[("a", "weight: 60%"), ("b", "weight: 15%")])));
    world.has_weights(&[60, 15, 25]);
    world.applies(&web(&["a", "b"], &routes(&[("a", "weight: 60%"), ("b", "weight: 40%")])));
    world.has_weights(&[60, 40, 0]);
    // A newcomer's weight alone does not make the others equal.
    world.weigh(&[("/a/", 98), ("/b/", 2), ("/c/", 0)]);
    world.applies(&web(&["a", "b", "d"], &routes(&[("d", "weight: 50%")])));
    world.has_weights(&[49, 1, 0, 50]);
    world.weigh(&[("/a/", 60), ("/b/", 40), ("/c/", 0), ("/d/", 0)]);
    // What nobody is left to take is refused with the sum.
    let refused = world.apply(&web(&["a", "b"], &routes(&[("a", "weight: 60%"), ("b", "weight: 30%")])));
    let Err(Refusal::Findings(findings)) = refused else { panic!("{refused:?}") };
    assert!(findings[0].violation.message.contains("add up to 90%"), "{findings:?}");
}

#[test]
fn weights_of_a_file_that_was_never_stored_are_said_anew() {
    let mut world = World::new();
    world.merge("shop", &web(&["a", "b"], "{}")).unwrap();
    world.has_weights(&[50, 50]);
    let mut other = World(world.0.clone());
    other.applies(&web(&["a", "b"], "{}"));
    other.has_weights(&[50, 50]);
    world.applies(&web(&["a", "b"], &routes(&[("a", "weight: 90%"), ("b", "weight: 10%")])));
    world.has_weights(&[90, 10]);
}

#[test]
fn conditions_that_were_changed_by_hand_stay_until_the_file_changes_them() {
    let mut world = World::new();
    let said = |condition: &str| web(&["a", "b"], &routes(&[("b", &format!("condition: {condition}"))]));
    world.applies(&said("path is /beta"));
    let mut edited = world.gateway("shop/web/http").clone();
    edited.routes[1].content =
        blueprint(&said("path is /by-hand")).body.clusters[0].gateways[0].1.routes[0].content.clone();
    world.put(Artifact::Gateway(edited));
    let printed =
        |world: &World| vamp_model::to_json(&Artifact::Gateway(world.gateway("shop/web/http").clone())).to_string();
    world.apply(&said("path is /beta").replace("LEVEL: info", "LEVEL: debug")).unwrap();
    assert!(printed(&world).contains("/by-hand"), "{}", printed(&world));
    world.applies(&said("path is /gamma"));
    assert!(printed(&world).contains("/gamma"), "{}", printed(&world));
    world.applies(&web(&["a", "b"], ""));
    assert!(!printed(&world).contains("/gamma"), "{}", printed(&world));
}

#[test]
fn a_scale_that_was_moved_stays_until_the_file_changes_it() {
    let mut world = World::new();
    let file = web(&["a"], "{}");
    world.applies(&file);
    let scale = ScaleUse::Inline(Size { instances: 5, ..DEFAULT_SIZE });
    world.ask("shop", Action::Scale { cluster: "web".to_owned(), service: "a".to_owned(), scale }).unwrap();
    world.applies(&file);
    assert_eq!(world.instances_of("a"), 5);
    world.applies(&file.replace("instances: 2", "instances: 3"));
    assert_eq!(world.instances_of("a"), 3);
    // One that is stored by itself counts by what it says.
    world.applies(&file.replace("{cpu: 1, memory: 1GB, instances: 2}", "small"));
    assert_eq!(world.instances_of("a"), 3, "small has three, too");
}

#[test]
fn gateways_for_clients_and_variables_that_the_file_drops_go() {
    let mut world = World::new();
    let sla =
        "sla: {type: escalation_only, escalations: [{type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}]}";
    let file = web(&["a"], &format!("{{}}, {sla}"));
    let with_variable = file.replacen("{gateways", "{env: {web.LEVEL: warn}, gateways", 1);
    world.applies(&with_variable);
    assert_eq!(world.gateway_names(), ["shop/9050", "shop/web/http"]);
    // A gateway that was changed by hand stays as it is.
    let mut edited = world.gateway("shop/9050").clone();
    edited.virtual_hosts = vec!["shop.example".to_owned()];
    world.put(Artifact::Gateway(edited));
    world.applies(&with_variable);
    assert_eq!(world.gateway("shop/9050").virtual_hosts, ["shop.example"]);
    world.applies(&web(&["a"], "{}").replace("9050:", "9060:"));
    assert_eq!(world.gateway_names(), ["shop/9060", "shop/web/http"]);
    let deployment = world.deployment("shop");
    assert!(deployment.body.environment.is_empty() && deployment.body.clusters[0].sla.is_none());
    assert_eq!(deployment.body.gateways.len(), 1);
}

#[test]
fn a_file_is_applied_again_after_an_undo_that_led_its_gateway_back() {
    let mut world = World::new();
    let file = |port: &str| {
        format!(
            "{{gateways: {{9050: web/{port}}}, clusters: {{web: {{breed: {{name: a, deployable: i, ports: {{{port}: 80/http}}}}}}}}}}"
        )
    };
    world.applies(&file("http"));
    let then = world.deployment("shop").clone();
    world.applies(&file("main"));
    world.ask("shop", Action::Restore { then: Box::new(then), gateways: Vec::new() }).unwrap();
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/web/http", 100)]));
    world.applies(&file("main"));
    assert_eq!(world.weights("shop/9050"), shares(&[("shop/web/main", 100)]));
}
