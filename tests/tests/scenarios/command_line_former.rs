//! Verbs of the original's client: those that are other verbs here do the same, those that are gone say what does.

use crate::dev::{Dev, end, until_said};

#[tokio::test(flavor = "multi_thread")]
async fn verbs_of_the_original_do_what_they_did() {
    let dev = Dev::start().await;
    assert!(dev.done(&["list", "gateways"]).await.contains("shop"));
    assert!(dev.done(&["info"]).await.contains("namespace: default"));

    dev.write("breed.yaml", "name: web:1\ndeployable: {type: command, definition: serve}\nports: {http: 8080/http}\n");
    assert_eq!(dev.done(&["create", "breed", "-f", "breed.yaml"]).await, "breeds/web:1 created\n");
    dev.write("bad.yaml", "name: web:2\ndeployable: {type: command, definition: serve}\nprots: {}\n");
    dev.fails(&["create", "breed", "-f", "bad.yaml"], 9, "bad.yaml:3:1: ").await;
    dev.fails(&["deploy", "-f", "bad.yaml"], 9, "bad.yaml:").await;
    dev.write("blueprint.yaml", "{name: store, clusters: {web: 'web:1'}}");
    dev.done(&["create", "blueprint", "--file", "blueprint.yaml"]).await;
    assert_eq!(dev.done(&["list", "blueprints", "-o", "name"]).await, "blueprints/store\n");
    let rows = dev.following(&["get", "deployments", "--watch"], "rows");
    until_said(&rows, "PHASE").await;
    dev.done(&["deploy", "store", "other"]).await;
    // There is no such program.
    until_said(&rows, "Failed").await;
    end(rows).await;
    let told = dev.done(&["list", "deployments"]).await;
    assert!(told.contains("PHASE") && told.contains("READY") && told.contains("other"), "{told}");
    dev.done(&["undeploy", "other", "--service", "web:1"]).await;
    dev.fails(&["undeploy", "other", "-s", "web:9"], 3, "other").await;

    dev.done(&["emit", "1.5", "--tags", "deployments:store,metrics:rate"]).await;
    let emitted = dev.done(&["events", "--tag", "metrics:rate", "-o", "jsonpath={[0].value}"]).await;
    assert_eq!(emitted, "1.5\n");

    let routes = dev.done(&["get", "gateway", "shop", "-o", "json"]).await;
    let routes: serde_json::Value = serde_json::from_str(&routes).unwrap();
    let routes: Vec<String> = routes["routes"].as_object().unwrap().keys().cloned().collect();
    let [first, second] = routes.as_slice() else { panic!("{routes:?}") };
    dev.done(&["update-gateway", "shop", "-w", &format!("{first}@70%,{second}@30%")]).await;
    assert_eq!(dev.done(&["get", "gateway", "shop", "-o", "jsonpath={.routes.*.weight}"]).await, "70% 30%\n");
    dev.fails(&["update-gateway", "shop", "-w", &format!("{first}@70%,{second}@70%")], 9, "140").await;
    dev.fails(&["update-gateway", "shop", "-w", "nothing@70%"], 2, first).await;
    dev.done(&["update-gateway", "shop", "-r", second, "-c", "User-Agent == Firefox", "-s", "50%"]).await;
    let shown = dev.done(&["get", "gateway", "shop", "-o", "yaml"]).await;
    assert!(shown.contains("User-Agent == Firefox") && shown.contains("condition_strength: 50%"), "{shown}");
    dev.done(&["update-gateway", "shop", "-r", second, "-c", "User-Agent == Safari"]).await;
    let shown = dev.done(&["get", "gateway", "shop", "-o", "yaml"]).await;
    assert!(shown.contains("User-Agent == Safari") && shown.contains("condition_strength: 50%"), "{shown}");
    dev.done(&["update-gateway", "shop", "--route", second, "--condition", "null"]).await;
    assert!(!dev.done(&["get", "gateway", "shop", "-o", "yaml"]).await.contains("Safari"));

    dev.fails(&["generate", "breed", "-s", "web:1", "-t", "web:2", "-d", "image:2"], 2, "vamp get breed").await;
    dev.fails(&["login", "-u", "ada"], 2, "vamp context set").await;
}
