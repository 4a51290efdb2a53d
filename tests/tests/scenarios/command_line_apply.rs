//! A file is applied, again and again: what it describes runs, and what people moved since stays where it is.

use vamp_tests::components::http_client;
use vamp_tests::free_port;

use crate::blueprints::{blueprint, demo};
use crate::dev::Dev;

/// Versions that answered ten requests.
async fn versions(port: u16) -> Vec<String> {
    let client = http_client();
    let mut versions = Vec::new();
    for _ in 0..10 {
        let answer = client.get(format!("http://127.0.0.1:{port}/")).send().await.unwrap();
        let body: serde_json::Value = answer.json().await.unwrap();
        versions.push(body["version"].as_str().unwrap().to_owned());
    }
    versions.sort_unstable();
    versions
}

fn ten(one: usize, two: usize) -> Vec<&'static str> {
    [vec!["1"; one], vec!["2"; two]].concat()
}

/// How many versions the artifacts of the deployment have had.
async fn history(dev: &Dev) -> Vec<String> {
    let mut counts = Vec::new();
    for artifact in [["blueprint", "store"], ["deployment", "store"], ["gateway", "store/web/http"]] {
        let versions = ["history", artifact[0], artifact[1], "-o", "jsonpath={[0].version}"];
        counts.push(dev.done(&versions).await.trim().to_owned());
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_applied_changed_and_applied_again() {
    let dev = Dev::start().await;
    let port = free_port();
    dev.write("store.yaml", &format!("kind: blueprints\n{}", blueprint("store", port, &[demo("1", 1, &[])], "")));
    let tried = dev.done(&["apply", "-f", "store.yaml", "--dry-run"]).await;
    for part in
        ["blueprints/store would be applied", "deployments/store would be deployed", "+ gateways/store/web/http"]
    {
        assert!(tried.contains(part), "{tried}");
    }
    dev.fails(&["get", "blueprint", "store"], 3, "store").await;
    let applied = dev.done(&["apply", "-f", "store.yaml", "--wait"]).await;
    assert!(applied.contains("blueprints/store applied\ndeployments/store deployed"), "{applied}");
    assert_eq!(versions(port).await, ten(10, 0));

    // A second version comes in, and gets what it is given.
    let both = blueprint("store", port, &[demo("1", 1, &[]), demo("2", 1, &[])], "");
    dev.write("store.yaml", &format!("kind: blueprints\n{both}"));
    dev.done(&["apply", "-f", "store.yaml", "--wait"]).await;
    assert_eq!(versions(port).await, ten(10, 0));
    dev.done(&["gateway", "set-weights", "store/web/http", "web:1=30", "web:2=70", "--wait"]).await;
    assert_eq!(versions(port).await, ten(3, 7));
    dev.done(&["scale", "store", "web/web:2", "--instances", "2", "--wait"]).await;

    let reached = dev.done(&["rollout", "status", "deployment/store", "--wait"]).await;
    assert_eq!((reached.matches("Done").count(), reached.lines().count()), (2, 3), "{reached}");
    assert_eq!(dev.done(&["rollout", "status", "store", "-o", "jsonpath={.done}"]).await, "true\n");
    dev.fails(&["rollout", "status", "gateway/store"], 2, "name a deployment").await;
    dev.fails(&["rollout", "status", "other"], 3, "other").await;

    // The same file again changes nothing.
    let before = history(&dev).await;
    let (output, _, code) = dev.vamp(&["diff", "-f", "store.yaml"]).await;
    assert_eq!((output.as_str(), code), ("nothing would change\n", 0));
    let told = dev.done(&["apply", "-f", "store.yaml", "--wait"]).await;
    assert!(told.contains("blueprints/store unchanged\ndeployments/store unchanged"), "{told}");
    assert_eq!(history(&dev).await, before);
    assert_eq!(versions(port).await, ten(3, 7));

    // Another order is carried out, and what was moved stays.
    let changed = blueprint("store", port, &[demo("1", 1, &[]), demo("2", 1, &["constants: {a: b}"])], "");
    dev.write(
        "store.yaml",
        &format!("kind: blueprints\n{}", changed.replace("VERSION: \"2\"", "VERSION: \"2\", MORE: x")),
    );
    dev.done(&["apply", "-f", "store.yaml", "--wait"]).await;
    assert_eq!(versions(port).await, ten(3, 7));
    let instances =
        dev.done(&["get", "deployment", "store", "-o", "jsonpath={.clusters.web.services[1].scale.instances}"]).await;
    assert_eq!(instances, "2\n");

    // What the file no longer names is left, and the way out is named.
    dev.done(&["gateway", "set-weights", "store/web/http", "web:1=0", "web:2=100", "--wait"]).await;
    let second = blueprint("store", port, &[demo("2", 1, &[])], "");
    dev.write("store.yaml", &format!("kind: blueprints\n{second}"));
    let (output, errors, code) = dev.vamp(&["apply", "-f", "store.yaml", "--wait"]).await;
    assert!(code == 0 && errors.contains("`vamp undeploy store web/web:1`"), "{output}{errors}");
    dev.done(&["undeploy", "store", "web/web:1", "--wait"]).await;
    let (_, errors, _) = dev.vamp(&["apply", "-f", "store.yaml", "--wait"]).await;
    assert!(!errors.contains("undeploy"), "{errors}");
    assert_eq!(versions(port).await, ten(0, 10));
    // With its last service the deployment goes.
    dev.done(&["undeploy", "store", "web/web:2", "--wait"]).await;
    dev.fails(&["get", "deployment", "store"], 3, "store").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_of_one_file_may_stand_in_any_order() {
    let dev = Dev::start().await;
    let port = free_port();
    let file = format!(
        "kind: gateways\nname: front\nport: {port}/http\nroutes: {{store/web/http: {{condition: {{reference: beta}}}}}}\n\
         ---\nkind: blueprints\nname: store\nclusters: {{web: {{services: [{{breed: 'web:1', scale: small}}]}}}}\n\
         ---\nkind: conditions\nname: beta\ncondition: path is /\n\
         ---\nkind: scales\nname: small\ncpu: 0.1\nmemory: 64MB\n\
         ---\nkind: breeds\nname: web:1\ndeployable: {{type: command, definition: '{} demo-service'}}\nports: {{http: 8080}}\n",
        vamp_tests::process::own_binary("vamp").display()
    );
    dev.write("all.yaml", &file);
    dev.done(&["apply", "-f", "all.yaml", "--wait"]).await;
    assert_eq!(versions(port).await, ten(10, 0));
    dev.done(&["delete", "gateway", "front"]).await;
    dev.done(&["undeploy", "store", "--wait"]).await;
    // What is only stored describes, and runs nothing.
    dev.write("other.yaml", "kind: blueprints\nname: other\nclusters: {web: 'web:1'}\n");
    let told = dev.done(&["apply", "-f", "other.yaml", "--store-only", "--wait"]).await;
    assert_eq!(told, "blueprints/other applied\n");
    dev.fails(&["get", "deployment", "other"], 3, "other").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_that_are_set_leave_a_port_to_be_assigned() {
    let dev = Dev::start().await;
    let gateway =
        "kind: gateways\nname: two\nroutes: {'[127.0.0.1:1]': {weight: 50%}, '[127.0.0.1:2]': {weight: 50%}}\n";
    dev.write("two.yaml", gateway);
    dev.done(&["apply", "-f", "two.yaml"]).await;
    let assigned = dev.done(&["get", "gateway", "two", "-o", "jsonpath={.port}"]).await;
    dev.done(&["split", "two", "90/10"]).await;
    dev.done(&["gateway", "set-weights", "two", "[127.0.0.1:1]=80", "[127.0.0.1:2]=20"]).await;
    let mut edit = dev.command(&["edit", "gateway", "two"]);
    let edited = edit.env("VISUAL", "sed -i -e s/80%/70%/ -e s/20%/30%/").output().await.unwrap();
    assert!(edited.status.success(), "{edited:?}");
    assert_eq!(dev.done(&["get", "gateway", "two", "-o", "jsonpath={.routes.*.weight}"]).await, "70% 30%\n");
    let client = http_client();
    for version in 1..=4 {
        let address = format!("{}/api/v1/gateways/two/history/{version}", dev.api());
        let stored: serde_json::Value = client.get(address).send().await.unwrap().json().await.unwrap();
        assert_eq!(stored["port"], serde_json::Value::Null, "{stored:#}");
    }
    assert_eq!(dev.done(&["get", "gateway", "two", "-o", "jsonpath={.port}"]).await, assigned);
}
