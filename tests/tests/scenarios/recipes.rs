//! The recipes of the original's runner, as users have them: the same bodies in the same order, awaited by the same events.
//!
//! Images are swapped for a program of the host, ports for free ones. Their workflows are kept, and what these would do the
//! tests do: the requests, the questions, the writes. What can't be carried over:
//! - events `workflows:N scheduled` and `unscheduled`, since nothing runs workflows;
//! - "Auto Scaling with Built-in SLA", which publishes response times that nobody measured and awaits that the promise is
//!   kept by them: promises go by what gateways count, as the scenarios of promises show;
//! - gateways of a cluster without the name of a port, where breeds are stored: they are refused, the port is named;
//! - `balance: source` of "TCP Deployment", which is refused: `sticky` keeps clients;
//! - a gateway that is deleted after the deployment to which it leads: what others need is not undeployed, so it goes first.

mod runner;

use reqwest::Method;
use serde_json::{Value, json};
use vamp_tests::installation::PATIENCE;
use vamp_tests::{eventually, free_port};

use self::runner::{BURST, Runner, breed, of_service};

const SCALE: &str = "{cpu: 0.2, memory: 64MB, instances: 1}";

#[tokio::test(flavor = "multi_thread")]
async fn http_deployment() {
    let runner = Runner::start().await;
    let breed = breed("runner", "8081/http", "{SAVA_RUNNER_ID: breed, SAVA_RUNNER_HTTP_PORT1: '8081'}");
    let body = format!(
        "
name: sava
gateways: {{{}: sava/port}}
clusters:
  sava:
    services:
      breed: {breed}
      environment_variables: {{SAVA_RUNNER_ID: runner}}
      scale: {SCALE}
environment_variables: {{sava.SAVA_RUNNER_ID: deployment, sava.SAVA_RUNNER_HTTP_PORT1: '8085'}}
",
        runner.port
    );
    runner.create("deployments/sava", &body, &of_service("sava", "sava", "runner", "deployed")).await;
    runner.workflow("runner-http").await;
    // The service wins over the deployment, and that over the breed.
    runner.until_answered(runner.port, "env/SAVA_RUNNER_ID", "runner").await;
    runner.until_answered(runner.port, "env/SAVA_RUNNER_HTTP_PORT1", "8085").await;
    runner.end_workflow("runner-http").await;
    let part = "{name: sava, clusters: {sava: {services: {breed: runner}}}}";
    runner.delete("deployments/sava", part, &of_service("sava", "sava", "runner", "undeployed")).await;
    runner.end().await;
}

/// A blueprint in which one service asks another one, through the gateway before it.
fn two(name: &str, port: u16, protocol: &str, said: &str) -> String {
    let frontend = breed("frontend", &format!("8080/{protocol}"), "{BACKEND: ~}");
    let backend = breed("backend", &format!("8095/{protocol}"), "{ID: breed}");
    format!(
        "
name: {name}
kind: deployments
gateways: {{{port}/{protocol}: frontend/port}}
clusters:
  frontend:
    services:
      breed: {frontend}
      environment_variables: {{BACKEND: 'http://$backend.host:$backend.ports.port'}}
      scale: {SCALE}
  backend:
    services:
    - breed: {backend}
      environment_variables: {{ID: '{said}'}}
      scale: {SCALE}
"
    )
}

const BOTH: &str = "clusters: {frontend: {services: {breed: frontend}}, backend: {services: {breed: backend}}}";

#[tokio::test(flavor = "multi_thread")]
async fn http_deployment_with_dependencies() {
    with_dependencies("http").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_deployment_with_dependencies() {
    with_dependencies("tcp").await;
}

async fn with_dependencies(protocol: &str) {
    let runner = Runner::start().await;
    let body = two("sava", runner.port, protocol, "backend");
    let deployed = ["frontend", "backend"].map(|name| of_service("sava", name, name, "deployed"));
    let deployed = [deployed[0].as_str(), deployed[1].as_str(), "gateways gateways:sava/backend/port deployed"];
    runner.create_all("deployments/sava", &body, &deployed).await;
    runner.workflow("runner-requester").await;
    runner.until_answered(runner.port, "ask/env/ID", "backend").await;
    runner.end_workflow("runner-requester").await;
    let undeployed = of_service("sava", "backend", "backend", "undeployed");
    runner.delete("deployments/sava", &format!("{{name: sava, {BOTH}}}"), &undeployed).await;
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_deployments() {
    let runner = Runner::start().await;
    let all = [1, 2, 3].map(|number| (format!("sava-{number}"), format!("backend:{number}"), free_port()));
    let bodies: Vec<String> = all.iter().map(|(name, said, port)| two(name, *port, "http", said)).collect();
    let deployed: Vec<String> =
        all.iter().map(|(name, ..)| of_service(name, "frontend", "frontend", "deployed")).collect();
    let deployed: Vec<&str> = deployed.iter().map(String::as_str).collect();
    runner.create_all("", &bodies.join("---\n"), &deployed).await;
    for (_, said, port) in &all {
        runner.until_answered(*port, "ask/env/ID", said).await;
    }
    let parts: Vec<String> =
        all.iter().map(|(name, ..)| format!("{{name: {name}, kind: deployments, {BOTH}}}\n")).collect();
    runner.delete("", &parts.join("---\n"), &of_service("sava-3", "frontend", "frontend", "undeployed")).await;
    runner.end().await;
}

/// What several recipes begin with: two breeds and a scale, stored, and a deployment of the first.
async fn deploy_stored(runner: &Runner, gateways: &str) {
    for version in ["runner:1", "runner:2"] {
        let breed = breed(version, "8081/http", &format!("{{ID: '{version}'}}"));
        runner.create(&format!("breeds/{version}"), &breed, &format!("breeds:{version} archive:update")).await;
    }
    runner.create("scales/small", SCALE, "scales:small archive:update").await;
    let body = format!(
        "name: runner\ngateways: {gateways}\nclusters: {{runner: {{services: {{breed: 'runner:1', scale: small}}}}}}\n"
    );
    let deployed = of_service("runner", "runner", "runner:1", "deployed");
    runner.create_all("deployments/runner", &body, &[&deployed, "gateways gateways:runner/runner/port deployed"]).await;
}

/// Adds the second version, with the shares of both.
async fn merge_second(runner: &Runner, first: u8, second: u8) {
    let body = format!(
        "
name: runner
clusters:
  runner:
    services:
    - {{breed: 'runner:1', scale: small}}
    - {{breed: 'runner:2', scale: small}}
    gateways:
      port:
        routes:
          runner:1: {{weight: {first}%}}
          runner:2: {{weight: {second}%}}
"
    );
    runner.create("deployments/runner", &body, &of_service("runner", "runner", "runner:2", "deployed")).await;
}

async fn undeploy_stored(runner: &Runner) {
    let part = "{name: runner, clusters: {runner: {services: [{breed: 'runner:1'}, {breed: 'runner:2'}]}}}";
    runner.delete("deployments/runner", part, &of_service("runner", "runner", "runner:2", "undeployed")).await;
    for version in ["runner:1", "runner:2"] {
        runner.delete(&format!("breeds/{version}"), "", &format!("breeds:{version} archive:delete")).await;
    }
    runner.delete("scales/small", "", "scales:small archive:delete").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_deployment_with_route_weight() {
    let runner = Runner::start().await;
    deploy_stored(&runner, "{}").await;
    merge_second(&runner, 80, 20).await;
    let gateway = format!("name: runner\nport: {}/http\nroutes: runner/runner/port\n", runner.port);
    runner.create("gateways/runner", &gateway, "gateways gateways:runner deployed").await;
    runner.workflow("runner-route-weight").await;
    for _ in 0..3 {
        assert_eq!(runner.burst(runner.port, "env/ID", "runner:1").await, 40);
    }
    runner.end_workflow("runner-route-weight").await;
    let part = "{name: runner, clusters: {runner: {services: [{breed: 'runner:1'}, {breed: 'runner:2'}]}}}";
    let (status, refused) = runner.send(Method::DELETE, "deployments/runner", part).await;
    assert!(status == 409 && refused["users"][0]["name"] == "runner", "{refused:#}");
    runner.delete("gateways/runner", "", "gateways gateways:runner undeployed").await;
    undeploy_stored(&runner).await;
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_deployment_with_condition_strength() {
    let runner = Runner::start().await;
    let condition = "condition: '< url_beg /env >'\n";
    runner.create("conditions/url_beg", condition, "conditions:url_beg archive:update").await;
    for (name, port) in [("runner1", free_port()), ("runner2", free_port())] {
        let breed = breed(name, "8081/http", &format!("{{ID: {name}}}"));
        let body = format!(
            "{{name: {name}, gateways: {{{port}: runner/port}}, clusters: {{runner: {{breed: {breed}, scale: {SCALE}}}}}}}"
        );
        let deployed = of_service(name, "runner", name, "deployed");
        let gateway = format!("gateways gateways:{name}/runner/port deployed");
        runner.create_all(&format!("deployments/{name}"), &body, &[&deployed, &gateway]).await;
    }
    let gateway = format!(
        "
name: runner
port: {}/http
routes:
  runner1/runner/port: {{weight: 80%}}
  runner2/runner/port: {{weight: 20%, condition_strength: 50%, condition: url_beg}}
",
        runner.port
    )
    .replace("condition: url_beg", "condition: {reference: url_beg}");
    runner.create("gateways/runner", &gateway, "gateways gateways:runner deployed").await;
    for _ in 0..3 {
        // Half of what matches, and a fifth of the other half.
        assert_eq!(runner.burst(runner.port, "env/ID", "runner2").await, 30);
        // What does not match is split by weight alone.
        assert_eq!(runner.burst(runner.port, "/env/ID", "runner2").await, 10);
    }
    runner.delete("gateways/runner", "", "gateways gateways:runner undeployed").await;
    runner.delete("conditions/url_beg", "", "conditions:url_beg archive:delete").await;
    for name in ["runner1", "runner2"] {
        let part = format!("{{name: {name}, clusters: {{runner: {{breed: {name}}}}}}}");
        let undeployed = of_service(name, "runner", name, "undeployed");
        runner.delete(&format!("deployments/{name}"), &part, &undeployed).await;
    }
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tcp_deployment() {
    let runner = Runner::start().await;
    let body = format!(
        "
name: sava
gateways: {{{}/tcp: runner/port}}
clusters:
  runner:
    services: {{breed: {}, scale: {SCALE}}}
    gateways: {{sticky: instance, routes: {{runner: {{balance: source}}}}}}
",
        runner.port,
        breed("runner", "8090/tcp", "{ID: runner}")
    );
    let (status, refused) = runner.send(Method::PUT, "deployments/sava", &body).await;
    assert!(status == 400 && refused["message"].as_str().unwrap().contains("sticky"), "{refused:#}");
    let body = body.replace("balance: source", "balance: roundrobin");
    runner.create("deployments/sava", &body, &of_service("sava", "runner", "runner", "deployed")).await;
    runner.until_answered(runner.port, "env/ID", "runner").await;
    let part = "{name: sava, clusters: {runner: {services: {breed: runner}}}}";
    runner.delete("deployments/sava", part, &of_service("sava", "runner", "runner", "undeployed")).await;
    runner.end().await;
}

/// Gives routes of a gateway other weights as a workflow does: it reads it, changes it, and writes it back.
async fn shift(runner: &Runner, gateway: &str, weights: &[(&str, u8)]) {
    let mut document = runner.get(&format!("gateways/{gateway}")).await;
    for (route, weight) in weights {
        document["routes"][*route]["weight"] = json!(format!("{weight}%"));
    }
    let told = format!("gateways:{gateway} route:weightupdated");
    // A workflow measures some seconds later; this waits until the gateway process has it.
    let answer = runner.create(&format!("gateways/{gateway}?wait=20s"), &document.to_string(), &told).await;
    assert_eq!(answer["rollout"]["applied"], answer["rollout"]["of"], "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_release_introducing_a_new_service_version() {
    let runner = Runner::start().await;
    let blueprint = |version: &str, gateways: &str| {
        format!(
            "name: sava:{version}\n{gateways}clusters: {{sava: {{services: {{breed: 'sava:{version}', scale: tiny}}}}}}\n"
        )
    };
    let store = async |version: &str, gateways: &str| {
        // The blueprint comes before what it names.
        let told = format!("blueprints:sava:{version} archive:update");
        runner.create(&format!("blueprints/sava:{version}"), &blueprint(version, gateways), &told).await;
        let breed = breed(&format!("sava:{version}"), "8080/http", &format!("{{ID: 'sava:{version}'}}"));
        runner
            .create(&format!("breeds/sava:{version}"), &breed, &format!("breeds:sava:{version} archive:update"))
            .await;
    };
    store("1.0", "").await;
    runner.create("scales/tiny", SCALE, "scales:tiny archive:update").await;
    runner.create("deployments/sava", "name: sava:1.0\n", &of_service("sava", "sava", "sava:1.0", "deployed")).await;
    let gateway = format!("name: sava\nport: {}/http\nroutes: sava/sava/port\n", runner.port);
    runner.create("gateways/sava", &gateway, "gateways gateways:sava deployed").await;
    runner.until_answered(runner.port, "env/ID", "sava:1.0").await;
    store("1.1", "").await;
    runner.create("deployments/sava", "name: sava:1.1\n", &of_service("sava", "sava", "sava:1.1", "deployed")).await;
    for name in ["traffic", "canary", "auto-scaling"] {
        runner.workflow(name).await;
    }
    // What is new gets nothing until somebody gives it a share.
    let (inner, old, new) = ("sava/sava/port", "sava/sava/sava:1.0/port", "sava/sava/sava:1.1/port");
    let weights = runner.get("gateways/sava%2Fsava%2Fport").await["routes"].clone();
    assert_eq!((&weights[old]["weight"], &weights[new]["weight"]), (&json!("100%"), &json!("0%")));
    assert_eq!(runner.burst(runner.port, "env/ID", "sava:1.0").await, BURST);
    let host = runner.get("config?flatten=true").await["vamp.gateway-driver.host"].clone();
    assert_eq!(host, "127.0.0.1");
    for weight in [95, 90] {
        shift(&runner, inner, &[(old, weight), (new, 100 - weight)]).await;
        runner.emit("workflows:canary updated", "event", json!(weight)).await;
    }
    assert_eq!(runner.burst(runner.port, "env/ID", "sava:1.0").await, 45);
    // Instances follow the rate of a route, which the gateways tell.
    let rate = "metrics/gateways/sava%2Fsava%2Fport/routes/sava%2Fsava%2Fsava:1.0%2Fport/rate";
    eventually(PATIENCE, "the rate of a route is known", async || {
        runner.ask(runner.port, "env/ID").await?;
        runner.installation.get(rate).await.body.as_f64().filter(|rate| *rate > 0.0)
    })
    .await;
    scale(&runner, "sava", "sava", "sava:1.0", 2).await;
    // What the workflow does when it sees an error: everything goes back to what was there.
    shift(&runner, inner, &[(old, 100), (new, 0)]).await;
    let part = "{name: sava:1.1, clusters: {sava: {services: {breed: 'sava:1.1'}}}}";
    runner.delete("deployments/sava", part, &of_service("sava", "sava", "sava:1.1", "undeployed")).await;
    for name in ["traffic", "canary", "auto-scaling"] {
        runner.end_workflow(name).await;
    }
    runner.delete("gateways/sava", "", "gateways gateways:sava undeployed").await;
    let part = "{name: sava:1.0, clusters: {sava: {services: {breed: 'sava:1.0'}}}}";
    runner.delete("deployments/sava", part, &of_service("sava", "sava", "sava:1.0", "undeployed")).await;
    for version in ["1.0", "1.1"] {
        runner
            .delete(&format!("blueprints/sava:{version}"), "", &format!("blueprints:sava:{version} archive:delete"))
            .await;
        runner.delete(&format!("breeds/sava:{version}"), "", &format!("breeds:sava:{version} archive:delete")).await;
    }
    runner.delete("scales/tiny", "", "scales:tiny archive:delete").await;
    runner.end().await;
}

/// Scales as a workflow does: it reads the scale, changes it, writes it back and tells of it.
async fn scale(runner: &Runner, deployment: &str, cluster: &str, service: &str, instances: u64) {
    let address = format!("deployments/{deployment}/clusters/{cluster}/services/{service}/scale");
    let mut scale = runner.get(&address).await;
    scale["instances"] = json!(instances);
    let scaled = format!("deployment-service-scales:{deployment} archive:update");
    let deployed = of_service(deployment, cluster, service, "deployed");
    runner.create_all(&address, &scale.to_string(), &[&scaled, &deployed]).await;
    runner.emit("workflows:auto-scaling scale", "event", scale).await;
    assert_eq!(runner.get(&address).await["instances"], instances);
}

#[tokio::test(flavor = "multi_thread")]
async fn canary_release_with_weight_check() {
    let runner = Runner::start().await;
    deploy_stored(&runner, &format!("{{{}: runner/port}}", runner.port)).await;
    merge_second(&runner, 100, 0).await;
    runner.workflow("runner-canary").await;
    runner.until_answered(runner.port, "env/ID", "runner:1").await;
    let (old, new) = ("runner/runner/runner:1/port", "runner/runner/runner:2/port");
    let mut weight: u8 = 100;
    while weight > 0 {
        // Each step begins at what was measured, which must be a whole step.
        let measured = runner.burst(runner.port, "env/ID", "runner:1").await * 100 / BURST;
        assert_eq!(measured, usize::from(weight));
        weight -= 20;
        shift(&runner, "runner/runner/port", &[(old, weight), (new, 100 - weight)]).await;
        runner.emit("workflows:runner-canary action:weight", "event", json!(weight)).await;
    }
    assert_eq!(runner.burst(runner.port, "env/ID", "runner:2").await, BURST);
    assert_eq!(runner.get("events?tag=action:weight").await.as_array().map(Vec::len), Some(5));
    runner.end_workflow("runner-canary").await;
    undeploy_stored(&runner).await;
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_scaling() {
    let runner = Runner::start().await;
    deploy_stored(&runner, &format!("{{{}: runner/port}}", runner.port)).await;
    // A workflow that is not there: the runner leaves a step out whose condition is no path.
    assert_eq!(runner.installation.get("workflows/metrics").await.status, 404);
    runner.workflow("runner-auto-scaling").await;
    for (response_time, instances) in [(1100, 2), (1100, 3), (50, 2), (50, 1)] {
        runner.emit("gateways:runner/runner/port metrics:responseTime", "metrics", json!(response_time)).await;
        let address = "metrics/gateways/runner%2Frunner%2Fport/responseTime";
        let told = runner.get(address).await;
        assert_eq!(told.as_f64(), Some(f64::from(response_time)), "what was published wins over what was counted");
        scale(&runner, "runner", "runner", "runner:1", instances).await;
    }
    let scaled = runner.get("events?tag=workflows:auto-scaling&tag=scale").await;
    assert_eq!(scaled.as_array().map(Vec::len), Some(4));
    runner.end_workflow("runner-auto-scaling").await;
    runner.delete("deployments/runner", "", &of_service("runner", "runner", "runner:1", "undeployed")).await;
    runner.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_scaling_with_sla_and_escalation_events() {
    let runner = Runner::start().await;
    let body = format!(
        "
name: sava
gateways: {{{}: sava/port}}
clusters:
  sava:
    services: {{breed: {}, scale: {SCALE}}}
    sla:
      type: response_time_sliding_window
      threshold: {{upper: 1000, lower: 100}}
      window: {{interval: 60, cooldown: 60}}
      escalations:
      - {{type: scale_instances, minimum: 1, maximum: 3, scale_by: 1}}
",
        runner.port,
        breed("sava", "8080/http", "{ID: sava}")
    );
    runner.create("deployments/sava", &body, &of_service("sava", "sava", "sava", "deployed")).await;
    runner.workflow("runner-escalation").await;
    for (what, instances) in [("sla:escalate", 2), ("sla:escalate", 3), ("sla:deescalate", 2)] {
        runner.emit(&format!("deployment:sava cluster:sava {what}"), "event", Value::Null).await;
        // Who asks before the last step is done is told that nothing is done about it.
        eventually(PATIENCE, &format!("{what} makes {instances} instances"), async || {
            let status = runner.get("deployments/sava/status").await;
            (status["done"] == true && status["services"][0]["ready"] == instances).then_some(())
        })
        .await;
        let scale = runner.get("deployments/sava/clusters/sava/services/sava/scale").await;
        assert_eq!(scale["instances"], instances);
    }
    runner.end_workflow("runner-escalation").await;
    let part = "{name: sava, clusters: {sava: {services: {breed: sava}}}}";
    runner.delete("deployments/sava", part, &of_service("sava", "sava", "sava", "undeployed")).await;
    runner.end().await;
}
