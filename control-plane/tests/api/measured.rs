//! The addresses at which scripts of the original ask for settings, health and metrics.

use serde_json::{Value, json};

use crate::metrics::{ROUTE, admin};
use crate::world::{World, gateway};

const DEPLOYMENT: &str = "
name: sava
clusters:
  sava:
    services:
    - breed: {name: 'sava:1.0', deployable: {type: command, definition: serve}, ports: {port: 8080/http}}
    - breed: {name: 'sava:1.1', deployable: {type: command, definition: serve}, ports: {port: 8080/http}}
";

async fn publish(world: &World, kind: &str, tags: &[&str], value: f64) {
    world.post_json("events", &json!({"type": kind, "tags": tags, "value": value})).await.expect(201);
}

#[tokio::test]
async fn settings_that_recipes_ask_for_are_told_and_no_other() {
    let world = World::start_with(&["--gateway-host", "10.0.0.2", "--namespace", "lab"]).await;
    for address in ["config", "configuration"] {
        let flat = world.get(&format!("{address}?flatten=true")).await.expect(200);
        assert_eq!(flat["vamp.gateway-driver.host"], "10.0.0.2");
        assert_eq!(flat.as_object().unwrap().len(), 3, "what is added here is read by everybody: {flat:#}");
        let nested = world.get(address).await.expect(200);
        assert_eq!(nested["vamp"]["gateway-driver"]["host"], "10.0.0.2");
        assert_eq!(world.get(&format!("{address}/vamp.namespace")).await.expect(200), "lab");
        world.get(&format!("{address}/vamp.persistence.database.sql.password")).await.problem(404, "not-found");
    }
}

#[tokio::test]
async fn what_gateways_counted_is_told_as_one_number() {
    let world = World::start().await;
    world.put("gateways/shop", &gateway("shop", 9050)).await.expect(201);
    world.register_at("g1", None, &admin().await).await;
    world.rollout_where("it is known", |rollout| rollout["of"] == 1).await;
    let unknown = world.get("metrics/gateways/shop/rate").await;
    assert!(unknown.problem(404, "not-found")["message"].as_str().unwrap().contains("from this question on"));
    world.get_where("metrics/gateways/shop", |metrics| metrics["known_seconds"].as_f64() >= Some(2.0)).await;
    let number = async |path: &str| world.get(path).await.expect(200).as_f64().unwrap();
    assert!(number("metrics/gateways/shop/rate").await > 1.0);
    assert!((number("metrics/gateways/shop/responseTime?window=120").await - 40.0).abs() < 1e-9);
    assert!((number("metrics/gateways/shop/errorRate").await - 10.0).abs() < 1e-9);
    assert!((number("health/gateways/shop").await - 0.9).abs() < 1e-9);
    let route = ROUTE.replace('[', "%5B").replace(']', "%5D");
    assert!(number(&format!("metrics/gateways/shop/routes/{route}/rate")).await > 1.0);
    assert!((number(&format!("health/gateways/shop/routes/{route}")).await - 0.9).abs() < 1e-9);
    world.get("metrics/gateways/shop/routes/other/rate").await.problem(404, "not-found");
    world.get("metrics/gateways/shpo/rate").await.problem(404, "not-found");
    world.get("health/gateways/shop?window=1h").await.problem(400, "bad-request");
}

#[tokio::test]
async fn what_somebody_measured_and_published_wins() {
    let world = World::start().await;
    world.post("deployments", DEPLOYMENT).await.expect(201);
    let (gateway, route) = ("sava/sava/port", "sava/sava/sava:1.0/port");
    let (of_gateway, of_route) = (format!("gateways:{gateway}"), format!("routes:{route}"));
    publish(&world, "metrics", &[&of_gateway, "gateway", "metrics:rate"], 100.0).await;
    publish(&world, "metrics", &[&of_gateway, &of_route, "route", "metrics:rate"], 7.0).await;
    publish(&world, "health", &[&of_gateway, "gateway", "health"], 0.5).await;
    publish(&world, "health", &["deployments:sava", "clusters:sava", "cluster", "health"], 0.25).await;
    let coded = |text: &str| text.replace('/', "%2F");
    let cluster = "metrics/deployments/sava/clusters/sava";
    for (path, expected) in [
        (format!("metrics/gateways/{gateway}/rate"), 100.0),
        (format!("metrics/gateways/{}/rate", coded(gateway)), 100.0),
        (format!("metrics/gateways/{gateway}/routes/{route}/rate"), 7.0),
        (format!("metrics/gateways/{}/routes/{}/rate", coded(gateway), coded(route)), 7.0),
        (format!("{cluster}/ports/port/rate"), 100.0),
        (format!("{cluster}/services/sava:1.0/ports/port/rate"), 7.0),
        (format!("health/gateways/{gateway}"), 0.5),
        ("health/deployments/sava/clusters/sava".to_owned(), 0.25),
    ] {
        assert_eq!(world.get(&path).await.expect(200).as_f64(), Some(expected), "{path}");
    }
    // Any other figure is what was published of it; without a window it is about the last two minutes.
    publish(&world, "metrics", &[&of_gateway, "gateway", "metrics:cpu"], 0.75).await;
    publish(&world, "metrics", &[&of_gateway, "gateway", "metrics:cpu"], 0.5).await;
    publish(&world, "metrics", &[&of_gateway, &of_route, "route", "metrics:queue.length"], 3.0).await;
    for (path, expected) in [
        (format!("metrics/gateways/{gateway}/cpu"), 0.5),
        (format!("metrics/gateways/{}/cpu", coded(gateway)), 0.5),
        (format!("metrics/gateways/{}/routes/{}/queue.length", coded(gateway), coded(route)), 3.0),
        (format!("{cluster}/ports/port/cpu"), 0.5),
        (format!("{cluster}/services/sava:1.0/ports/port/queue.length"), 3.0),
    ] {
        assert_eq!(world.get(&path).await.expect(200).as_f64(), Some(expected), "{path}");
    }
    for path in [format!("metrics/gateways/{gateway}/queue.length"), format!("{cluster}/ports/port/memory")] {
        let unknown = world.get(&path).await.problem(404, "not-found").clone();
        assert!(unknown["message"].as_str().unwrap().contains("nobody published"), "{unknown:#}");
    }
    world.get("metrics/gateways/none/cpu").await.problem(404, "not-found");
    // What is no gateway with its last part is told whole.
    let misspelt = world.get("metrics/gateways/sava/sava/prot").await;
    let message = misspelt.problem(404, "not-found")["message"].as_str().unwrap().to_owned();
    assert!(message.contains("`sava/sava/prot`"), "{message}");
    // The name of a gateway may still be written plain.
    assert_eq!(world.get(&format!("metrics/gateways/{gateway}")).await.expect(200)["gateway"], gateway);
    // One about a part is none about the whole: nothing can run here, and so nothing is well.
    let failed = |status: &Value| status["services"].as_array().is_some_and(|services| services.len() == 2);
    world.get_where("deployments/sava/status", failed).await;
    assert_eq!(world.get("health/deployments/sava").await.expect(200).as_f64(), Some(0.0));
    assert_eq!(
        world.get("health/deployments/sava/clusters/sava/services/sava:1.1").await.expect(200).as_f64(),
        Some(0.0)
    );
    world.get("health/deployments/none").await.problem(404, "not-found");
    let sla = "deployments/sava/clusters/sava/sla";
    let promise =
        "{type: escalation_only, escalations: [{type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}]}";
    world.post(sla, promise).await.expect(200);
    assert_eq!(world.get(sla).await.expect(200)["type"], "escalation_only");
}
