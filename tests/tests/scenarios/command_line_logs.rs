//! Who follows what instances write misses no line and sees none twice, whatever becomes of the control plane.

use vamp_tests::eventually;
use vamp_tests::installation::{Installation, PATIENCE};
use vamp_tests::process::{Process, own_binary};

use crate::dev::end;

/// An instance that counts, many lines within a millisecond.
const COUNTER: &str = "
name: counter
clusters:
  web:
    services:
    - breed:
        name: count
        deployable: {type: command, definition: 'n=0; while sleep 0.02; do for i in 1 2 3 4 5; do n=$((n+1)); echo number $n; done; done'}
      scale: {cpu: 0.1, memory: 64MB, instances: 1}
";

fn numbers(follower: &Process) -> Vec<u64> {
    let log = follower.log();
    let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.filter_map(|line| line.trim().rsplit_once("number ")?.1.parse().ok()).collect()
}

async fn until_seen(follower: &Process, count: usize) {
    eventually(PATIENCE, "lines come", async || (numbers(follower).len() >= count).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_followed_over_the_death_of_the_control_plane() {
    let mut installation = Installation::start().await;
    installation.put("deployments/counter", COUNTER).await.expect(&[201]);
    eventually(PATIENCE, "it writes", async || {
        let lines = installation.get("deployments/counter/logs?tail=1").await;
        (lines.status.is_success() && lines.body[0]["text"].is_string()).then_some(())
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let environment = [("VAMP_HOST", installation.address())];
    let arguments = ["logs", "counter", "--follow", "--tail", "10000"];
    let follower = Process::spawn(&own_binary("vamp"), arguments, environment, &folder.path().join("log"));
    until_seen(&follower, 50).await;
    for _ in 0..2 {
        installation.kill_control_plane().await;
        let seen = numbers(&follower).len();
        installation.restart_control_plane().await;
        until_seen(&follower, seen + 100).await;
    }
    let seen = numbers(&follower);
    let expected: Vec<u64> = (1..).take(seen.len()).collect();
    assert_eq!(seen, expected, "each line once, in order");
    end(follower).await;
    installation.delete("deployments/counter").await.expect(&[200]);
    eventually(PATIENCE, "nothing is left of it", async || {
        (installation.get("deployments/counter/status").await.status.as_u16() == 404).then_some(())
    })
    .await;
}
