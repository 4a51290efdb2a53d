//! What a person reads: answers in every form, what changes, what happens, and what instances write.

use vamp_tests::installation::PATIENCE;
use vamp_tests::{eventually, free_port};

use crate::blueprints::{blueprint, demo};
use crate::dev::{Dev, end, until_said};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_comes_in_the_form_that_is_asked_for() {
    let dev = Dev::start().await;
    dev.write(
        "conditions.yaml",
        "- {kind: conditions, name: a, condition: path is /a, metadata: {team: shop, tier: 1}}\n- {kind: conditions, name: b, condition: path is /b}\n",
    );
    dev.done(&["apply", "-f", "conditions.yaml"]).await;
    assert_eq!(dev.done(&["get", "conditions", "-o", "name"]).await, "conditions/a\nconditions/b\n");
    assert_eq!(dev.done(&["get", "conditions", "-l", "team=shop,tier", "-o", "name"]).await, "conditions/a\n");
    assert_eq!(dev.done(&["get", "conditions", "-o", "jsonpath={[*].condition}"]).await, "path is /a path is /b\n");
    assert_eq!(dev.done(&["get", "condition", "a", "-o", "jsonpath=$.metadata.team"]).await, "shop\n");
    let weights = dev.done(&["get", "gateway", "shop", "-o", "jsonpath={.routes.*.weight}"]).await;
    assert_eq!(weights, "90% 10%\n");
    assert!(dev.done(&["get", "conditions", "-o", "wide"]).await.contains("team=shop,tier=1"));
    assert!(dev.done(&["get", "condition", "a", "-o", "yaml"]).await.contains("condition: \"path is /a\""));
    let described = dev.done(&["describe", "gateway", "shop", "-o", "json"]).await;
    let described: serde_json::Value = serde_json::from_str(&described).unwrap();
    assert_eq!((&described["artifact"]["name"], &described["history"][0]["version"]), (&"shop".into(), &1.into()));
    assert!(dev.done(&["rollout", "status", "-o", "jsonpath={.applied}/{.of}"]).await.starts_with("1/1"));
    dev.fails(&["get", "conditions", "-o", "jsonpath={range}"], 2, "range").await;
    dev.fails(&["get", "conditions", "-o", "xml"], 2, "jsonpath=PATH").await;
    dev.fails(&["get", "conditions", "-l", "=a"], 2, "KEY=VALUE").await;
    dev.fails(&["rollout", "status", "-o", "name"], 2, "`-o name` is for artifacts").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_sees_each_change_also_over_a_restart() {
    let mut dev = Dev::start().await;
    let names = dev.following(&["get", "conditions", "--watch", "-o", "name"], "names");
    let rows = dev.following(&["get", "gateway", "shop", "-w"], "rows");
    let events = dev.following(&["events", "--type", "archive", "--follow", "-o", "json"], "events");
    until_said(&rows, "shop").await;
    until_said(&events, "gateways:shop").await;
    dev.write("beta.yaml", "kind: conditions\nname: beta\ncondition: has cookie beta\n");
    dev.done(&["apply", "-f", "beta.yaml", "--reason", "a try"]).await;
    dev.done(&["split", "shop", "40/60"]).await;
    until_said(&names, "conditions/beta").await;
    until_said(&rows, "60%").await;
    until_said(&events, "a try").await;
    dev.restart().await;
    dev.done(&["delete", "condition", "beta"]).await;
    dev.done(&["split", "shop", "30/70"]).await;
    until_said(&rows, "70%").await;
    until_said(&events, "archive:delete").await;
    for process in [names, rows, events] {
        end(process).await;
    }
    let told = dev.done(&["events", "--tag", "conditions:beta", "--since", "1h", "-o", "jsonpath={[*].tags[1]}"]).await;
    assert_eq!(told, "archive:create archive:delete\n");
    dev.fails(&["events", "--since", "yesterday"], 2, "15m").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_instances_write_can_be_read_and_followed() {
    let dev = Dev::start().await;
    dev.write("store.yaml", &blueprint("store", free_port(), &[demo("1", 1, &[])], ""));
    dev.done(&["deploy", "-f", "store.yaml", "--wait"]).await;
    // The line is on its way when the service answers.
    eventually(PATIENCE, "its line is kept", async || {
        let told = dev.done(&["logs", "store"]).await;
        let lines = told.matches("version 1 listens on").count();
        assert!(lines < 2, "{told}");
        (lines == 1).then_some(())
    })
    .await;
    let instance = dev.done(&["logs", "store", "web/web:1", "-o", "jsonpath={[0].instance}"]).await;
    assert!(dev.done(&["logs", "store", instance.trim(), "--tail", "1"]).await.contains("listens on"));
    assert_eq!(dev.done(&["logs", "store", "--tail", "0"]).await, "");
    // One that comes while somebody follows is followed from its first line on.
    let follower = dev.following(&["logs", "store", "-f"], "follower");
    until_said(&follower, instance.trim()).await;
    dev.done(&["scale", "store", "web/web:1", "--instances", "2", "--wait"]).await;
    let instances = dev.done(&["get", "instances", "-o", "jsonpath={[*].instances[*].name}"]).await;
    let newcomer = instances.split_whitespace().find(|name| *name != instance.trim()).unwrap();
    until_said(&follower, &format!("{newcomer}  version 1 listens on")).await;
    assert_eq!(follower.log().matches("listens on").count(), 2, "each line once: {}", follower.tail());
    end(follower).await;
    dev.fails(&["logs", "store", "web/web:9"], 3, "no such instance").await;
    dev.fails(&["logs", "nothing"], 3, "nothing").await;
    dev.done(&["undeploy", "store", "--wait"]).await;
}
