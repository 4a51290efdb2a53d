//! What a person types: `vamp dev` and the client's verbs, with their output and exit codes.

use crate::dev::Dev;

fn count(versions: &[String], version: &str) -> usize {
    versions.iter().filter(|found| *found == version).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_command_starts_everything_and_a_second_start_finds_its_data() {
    let mut dev = Dev::start().await;
    let versions = dev.versions(20).await;
    assert_eq!((count(&versions, "1"), count(&versions, "2")), (18, 2), "{versions:?}");
    dev.done(&["split", "shop", "0/100", "--wait"]).await;
    assert_eq!(count(&dev.versions(10).await, "2"), 10);
    dev.restart().await;
    assert_eq!(count(&dev.versions(10).await, "2"), 10, "what was set before the restart holds after it");
    dev.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verbs_write_read_and_explain() {
    let dev = Dev::start().await;
    assert!(dev.done(&["get", "gateways"]).await.contains("shop"));
    assert!(dev.done(&["get", "gateway", "shop", "-o", "yaml"]).await.contains("routes:"));
    assert!(dev.done(&["get", "gw", "-o", "json"]).await.trim_start().starts_with('['));

    dev.write("firefox.yaml", "kind: conditions\nname: firefox\ncondition: User-Agent == Firefox\n");
    let applied = dev.done(&["apply", "-f", "firefox.yaml", "--wait"]).await;
    assert!(applied.contains("conditions/firefox applied"), "{applied}");
    let checked = dev.done(&["apply", "-f", "firefox.yaml", "--dry-run"]).await;
    assert_eq!(checked, "conditions/firefox unchanged\nnothing would change\n");

    let explained = dev.done(&["explain", "shop", "-H", "User-Agent: Firefox"]).await;
    assert!(explained.contains("decided by weight") && explained.contains("weights 90/10"), "{explained}");
    dev.versions(10).await;
    let split = dev.done(&["split", "shop"]).await;
    assert!(split.contains("counted 1 of 1") && split.contains("90%"), "{split}");
    let told = dev.done(&["describe", "gateway", "shop"]).await;
    assert!(["Split", "Rollout", "History"].iter().all(|part| told.contains(part)), "{told}");
    assert!(dev.done(&["rollout", "status", "--wait"]).await.contains("1 of 1 gateway processes"));
    dev.done(&["delete", "condition", "firefox", "--wait"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_that_fails_says_why_and_with_which_code() {
    let dev = Dev::start().await;
    dev.write("bad.yaml", "kind: gateways\nname: bad\nport: 99999/http\nroutes: {}\n");
    dev.fails(&["apply", "-f", "bad.yaml"], 9, "bad.yaml:3:").await;
    dev.fails(&["apply", "-f", "nowhere.yaml"], 2, "nowhere.yaml").await;
    dev.fails(&["get", "gateway", "nothing"], 3, "nothing").await;
    dev.fails(&["get", "breads"], 2, "there is no kind").await;
    dev.fails(&["split", "shop", "50/40/10"], 2, "2 routes").await;
    dev.fails(&["split", "shop", "50/40"], 9, "90").await;
    dev.fails(&["get", "gateways", "--host", "http://127.0.0.1:1"], 8, "VAMP_HOST").await;
}
