//! `-o` on verbs that change: one document on standard output, with what each artifact became, and nothing else there.

use serde_json::{Value, json};
use vamp_tests::free_port;

use crate::blueprints::{blueprint, demo, service};
use crate::dev::Dev;

const BETA: &str = "kind: conditions\nname: beta\ncondition: has cookie beta\n";

/// What a verb with `-o json` tells, and what it says beside.
async fn json_of(dev: &Dev, arguments: &[&str]) -> (Value, String) {
    let arguments = [arguments, &["-o", "json"]].concat();
    let (output, errors, code) = dev.vamp(&arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {output}{errors}");
    let told = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {output}"));
    (told, errors)
}

/// What came of each artifact: kind, name, outcome, version.
fn outcomes(told: &Value) -> Vec<String> {
    let artifacts = told.as_array().map_or_else(|| vec![told], |artifacts| artifacts.iter().collect());
    let member = |artifact: &Value, name: &str| artifact[name].to_string().trim_matches('"').to_owned();
    let line = |artifact: &&Value| ["kind", "name", "outcome", "stored_version"].map(|name| member(artifact, name));
    artifacts.iter().map(|artifact| line(artifact).join(" ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_is_told_to_programs() {
    let dev = Dev::start().await;
    dev.write("beta.yaml", BETA);
    let (told, errors) = json_of(&dev, &["apply", "-f", "beta.yaml"]).await;
    assert_eq!((outcomes(&told), errors.as_str()), (vec!["conditions beta applied 1".to_owned()], ""));
    assert_eq!(told["condition"], "has cookie beta");
    dev.write("more.yaml", "kind: conditions\nname: more\ncondition: has cookie more\n");
    let (told, _) = json_of(&dev, &["apply", "-f", "beta.yaml", "-f", "more.yaml", "--wait"]).await;
    assert_eq!(outcomes(&told), ["conditions beta unchanged 1", "conditions more applied 1"]);
    assert_eq!(dev.done(&["apply", "-f", ".", "-o", "name"]).await, "conditions/beta\nconditions/more\n");
    let path = "jsonpath={[0].outcome} {[0].stored_version}";
    assert_eq!(dev.done(&["apply", "-f", ".", "-o", path]).await, "unchanged 1\n");
    dev.write("breed.yaml", "name: web:1\ndeployable: {type: command, definition: serve}\nports: {http: 8080/http}\n");
    let (told, _) = json_of(&dev, &["create", "breed", "-f", "breed.yaml"]).await;
    assert_eq!(outcomes(&told), ["breeds web:1 created 1"]);

    let weights = |told: &Value| -> Vec<Value> {
        told["routes"].as_object().unwrap().values().map(|route| route["weight"].clone()).collect()
    };
    let (told, _) = json_of(&dev, &["split", "shop", "50/50", "--wait"]).await;
    assert_eq!((outcomes(&told), weights(&told)), (vec!["gateways shop applied 2".to_owned()], vec![json!("50%"); 2]));
    assert_eq!((&told["rollout"]["applied"], &told["rollout"]["of"]), (&json!(1), &json!(1)), "{told:#}");
    let routes: Vec<String> = told["routes"].as_object().unwrap().keys().cloned().collect();
    let set = ["gateway", "set-weights", "shop", &format!("{}=30", routes[0]), &format!("{}=70", routes[1])];
    let (told, _) = json_of(&dev, &set).await;
    assert_eq!(
        (outcomes(&told), weights(&told)),
        (vec!["gateways shop applied 3".to_owned()], vec![json!("30%"), json!("70%")])
    );
    let former = ["update-gateway", "shop", "-w", &format!("{}@30%,{}@70%", routes[0], routes[1])];
    assert_eq!(outcomes(&json_of(&dev, &former).await.0), ["gateways shop unchanged 3"]);
    let (told, _) = json_of(&dev, &["undo", "gateway", "shop", "--to", "1", "--wait"]).await;
    assert_eq!(
        (outcomes(&told), weights(&told)),
        (vec!["gateways shop restored 4".to_owned()], vec![json!("90%"), json!("10%")])
    );
    let mut edit = dev.command(&["edit", "gateway", "shop", "-o", "json"]);
    let left = edit.env("VISUAL", "true").output().await.unwrap();
    assert_eq!(outcomes(&serde_json::from_slice(&left.stdout).unwrap()), ["gateways shop unchanged 4"]);
    let (told, _) = json_of(&dev, &["delete", "condition", "more"]).await;
    assert_eq!((&told["name"], &told["outcome"]), (&json!("more"), &json!("deleted")));

    // A form that a change does not have is told before anything is sent.
    dev.fails(&["delete", "condition", "beta", "-o", "wide"], 2, "no wide table").await;
    dev.fails(&["split", "shop", "0/100", "-o", "wide"], 2, "no wide table").await;
    dev.fails(&["apply", "-f", "beta.yaml", "-o", "xml"], 2, "use table, yaml, json").await;
    assert!(dev.done(&["split", "shop", "-o", "wide"]).await.contains("90%"));
    // What is refused is told as always, and nothing on standard output.
    let (output, errors, code) = dev.vamp(&["split", "shop", "50/40", "-o", "json"]).await;
    assert!(output.is_empty() && errors.contains("90") && code == 9, "{output}{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_stored_is_a_document_that_can_be_applied() {
    let dev = Dev::start().await;
    dev.write("beta.yaml", BETA);
    let written = dev.done(&["apply", "-f", "beta.yaml", "--dry-run", "-o", "yaml"]).await;
    dev.fails(&["get", "condition", "beta"], 3, "beta").await;
    dev.write("written.yaml", &written);
    assert_eq!(dev.done(&["apply", "-f", "written.yaml"]).await, "conditions/beta applied\n");
    assert_eq!(dev.done(&["get", "condition", "beta", "-o", "yaml"]).await, written);
    let (told, _) = json_of(&dev, &["split", "shop", "0/100", "--dry-run"]).await;
    let shown = dev.done(&["get", "gateway", "shop", "-o", "json"]).await;
    let mut expected: Value = serde_json::from_str(&shown).unwrap();
    for (route, weight) in expected["routes"].as_object_mut().unwrap().values_mut().zip(["0%", "100%"]) {
        route["weight"] = weight.into();
    }
    assert_eq!(told, expected, "what is read, with new weights");

    dev.write(
        "store.yaml",
        &format!("kind: blueprints\n{}", blueprint("store", free_port(), &[demo("1", 1, &[])], "")),
    );
    let (told, _) = json_of(&dev, &["apply", "-f", "store.yaml", "--dry-run"]).await;
    assert_eq!(outcomes(&told), ["blueprints store null null", "deployments store null null"]);
    dev.write("store.json", &told[0].to_string());
    let stored = dev.done(&["apply", "-f", "store.json", "--store-only", "-o", "name"]).await;
    assert_eq!(stored, "blueprints/store\n");
    let told = dev.done(&["deploy", "store", "--dry-run", "-o", "jsonpath={.kind} {.name}"]).await;
    assert_eq!(told, "deployments store\n");
    dev.fails(&["get", "deployment", "store"], 3, "store").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_is_told_beside_the_document() {
    let dev = Dev::start().await;
    let port = free_port();
    let both = blueprint("store", port, &[demo("1", 1, &[]), demo("2", 1, &[])], "");
    dev.write("store.yaml", &format!("kind: blueprints\n{both}"));
    let (told, errors) = json_of(&dev, &["apply", "-f", "store.yaml", "--wait"]).await;
    assert_eq!(outcomes(&told), ["blueprints store applied 1", "deployments store deployed 1"]);
    assert!(errors.contains("web/web:1 1/1") && errors.matches("Done").count() == 2, "{errors}");

    let scale = ["scale", "store", "web/web:1", "--instances", "2", "--wait"];
    let (told, errors) = json_of(&dev, &scale).await;
    let instances = &told["clusters"]["web"]["services"][0]["scale"]["instances"];
    assert_eq!((outcomes(&told), instances), (vec!["deployments store scaled 2".to_owned()], &json!(2)));
    assert!(errors.contains("web/web:1 2/2"), "{errors}");
    let (told, _) = json_of(&dev, &["merge", "store", "-f", "store.yaml"]).await;
    assert_eq!(told["name"], "store", "{told:#}");

    // What was kept is told also when it is not reached in time.
    let never = service("1", "deployable: {type: command, definition: /no/such/program}", 1, &[]);
    dev.write("never.yaml", &blueprint("never", free_port(), &[never], ""));
    let late = ["deploy", "-f", "never.yaml", "--wait", "--timeout", "1s", "-o", "name"];
    let (output, errors, code) = dev.vamp(&late).await;
    assert_eq!((output.as_str(), code), ("deployments/never\n", 6), "{errors}");
    assert!(errors.contains("vamp rollout status never --wait"), "{errors}");

    // Warnings stand beside it, too.
    dev.done(&["gateway", "set-weights", "store/web/http", "web:1=0", "web:2=100", "--wait"]).await;
    let second = blueprint("store", port, &[demo("2", 1, &[])], "");
    dev.write("store.yaml", &format!("kind: blueprints\n{second}"));
    let (told, errors) = json_of(&dev, &["apply", "-f", "store.yaml"]).await;
    assert_eq!(told[0]["outcome"], "applied");
    assert!(errors.contains("`vamp undeploy store web/web:1`"), "{errors}");
    let (told, _) = json_of(&dev, &["undeploy", "store", "web/web:1", "--wait"]).await;
    let services = told["clusters"]["web"]["services"].as_array().unwrap();
    assert_eq!((services.len(), &told["outcome"]), (1, &json!("undeployed")), "{told:#}");
    assert_eq!(dev.done(&["undeploy", "store", "--wait", "-o", "name"]).await, "deployments/store\n");
    dev.fails(&["get", "deployment", "store"], 3, "store").await;
}
