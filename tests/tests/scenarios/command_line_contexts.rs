//! Which control plane is asked, and what programs around the client rely on.

use std::os::unix::fs::PermissionsExt as _;

use vamp_tests::installation::PATIENCE;
use vamp_tests::process::Signal;

use crate::dev::{Dev, until_said};

#[tokio::test(flavor = "multi_thread")]
async fn a_control_plane_is_kept_under_a_name() {
    let dev = Dev::start().await;
    let vamp = async |arguments: &[&str]| {
        let output = dev.command(arguments).env_remove("VAMP_HOST").output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
    };
    let (_, errors, code) = vamp(&["context", "set", "here"]).await;
    assert!(code == 2 && errors.contains("--host"), "{errors}");
    assert_eq!(vamp(&["context", "set", "here", "--host", dev.api()]).await.2, 0);
    let (_, errors, code) = vamp(&["context", "set", "away", "--host", "ftp://a"]).await;
    assert!(code == 2 && errors.contains("http://"), "{errors}");
    let (_, errors, code) =
        vamp(&["context", "set", "away", "--host", "http://127.0.0.1:1", "--token-file", "token"]).await;
    assert!(code == 0 && errors.contains("warning: file `") && errors.contains("can't be read"), "{errors}");
    let file = dev.path("config").join("vamp").join("config.yaml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    assert_eq!(vamp(&["get", "gateways", "-o", "name"]).await.0, "gateways/shop\n");
    let (_, errors, code) = vamp(&["get", "gateways", "--context", "away"]).await;
    assert!(code == 2 && errors.contains("token"), "its token file is missing: {errors}");
    dev.write("token", "a secret\n");
    let (_, errors, code) = vamp(&["get", "gateways", "--context", "away"]).await;
    assert!(code == 8 && !errors.contains("a secret"), "{errors}");
    let (list, _, _) = vamp(&["context", "list"]).await;
    assert!(list.contains("*  here") && list.contains("away") && !list.contains("a secret"), "{list}");
    assert_eq!(vamp(&["context", "use", "away"]).await.2, 0);
    let (shown, _, _) = vamp(&["context", "show"]).await;
    assert!(shown.contains("context away") && shown.contains("http://127.0.0.1:1"), "{shown}");
    let (shown, _, _) = vamp(&["context", "show", "--host", dev.api()]).await;
    assert!(shown.contains("flag") && !shown.contains("token\n"), "the token of a context goes nowhere else: {shown}");
    assert_eq!(vamp(&["get", "gateways", "--host", dev.api(), "-o", "name"]).await.0, "gateways/shop\n");
    assert_eq!(vamp(&["context", "delete", "away"]).await.2, 0);
    assert_eq!(vamp(&["context", "use", "away"]).await.2, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_around_it_find_what_they_rely_on() {
    let dev = Dev::start().await;
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(dev.done(&["version"]).await, format!("client {own}\nserver {own}\n"));
    assert_eq!(dev.done(&["version", "-o", "jsonpath={.server}"]).await, format!("{own}\n"));
    let (output, errors, code) = dev.vamp(&["version", "--host", "http://127.0.0.1:1"]).await;
    assert_eq!((output, code), (format!("client {own}\n"), 8), "{errors}");
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef vamp"), ("fish", "complete -c vamp")] {
        let script = dev.done(&["completion", shell]).await;
        assert!(script.contains(word) && script.contains("set-weights"), "{shell}");
    }
    // Colours only where they are wanted, and never in data for programs.
    let colours = async |variables: &[(&str, &str)], arguments: &[&str]| {
        let output = dev.command(arguments).envs(variables.iter().copied()).output().await.unwrap();
        [output.stdout, output.stderr].concat().contains(&0x1b)
    };
    let failing = ["get", "gateway", "nothing"];
    assert!(!colours(&[], &failing).await);
    assert!(colours(&[("CLICOLOR_FORCE", "1")], &failing).await);
    assert!(!colours(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], &failing).await);
    assert!(!colours(&[("CLICOLOR_FORCE", "1")], &["get", "gateways", "-o", "json"]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_failure_has_its_code_and_leaves_standard_output_alone() {
    let dev = Dev::start().await;
    dev.write("bad.yaml", "kind: gateways\nname: bad\nport: 99999/http\nroutes: {}\n");
    dev.write("gone.yaml", "name: gone\nclusters: {web: nothing}\n");
    let away = "--host=http://127.0.0.1:1";
    let failing: &[(&[&str], i32)] = &[
        (&["get", "gateway", "nothing"], 3),
        (&["describe", "gateway", "nothing"], 3),
        (&["apply", "-f", "bad.yaml"], 9),
        (&["apply", "-f", "nowhere.yaml"], 2),
        (&["diff", "-f", "bad.yaml"], 9),
        (&["diff", "gateway", "nothing"], 3),
        (&["edit", "gateway", "nothing"], 3),
        (&["history", "gateway", "nothing"], 3),
        (&["undo", "gateway", "nothing"], 3),
        (&["delete", "gateway", "nothing"], 3),
        (&["split", "nothing"], 3),
        (&["explain", "nothing"], 3),
        (&["deploy", "nothing"], 3),
        (&["deploy", "-f", "gone.yaml"], 9),
        (&["merge", "nothing", "-f", "gone.yaml"], 3),
        (&["undeploy", "nothing"], 3),
        (&["scale", "nothing", "web/web:1", "--instances", "1"], 3),
        (&["gateway", "set-weights", "nothing", "a=1"], 3),
        (&["logs", "nothing"], 3),
        (&["get", "gateways", "--watch", away], 8),
        (&["rollout", "status", away], 8),
        (&["audit", "list", away], 8),
        (&["audit", "verify", away], 8),
        (&["events", "--follow", away], 8),
        (&["logs", "nothing", "-f", away], 8),
        (&["events", "--tag", ""], 9),
        (&["context", "use", "nothing"], 2),
        (&["completion", "csh"], 2),
        (&["frobnicate"], 2),
    ];
    for (arguments, code) in failing {
        let (output, errors, found) = dev.vamp(arguments).await;
        assert_eq!(found, *code, "{arguments:?}: {output}{errors}");
        assert!(output.is_empty() && errors.starts_with("error: "), "{arguments:?}: {output}|{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_waiting_is_told_that_the_work_goes_on() {
    let dev = Dev::start().await;
    // It runs, and nothing ever answers its health check.
    let blueprint = "
name: slow
clusters:
  web:
    breed:
      name: a
      deployable: {type: command, definition: sleep 1000}
      ports: {http: 80}
      health_checks: {path: /, port: http, timeout: 1s, interval: 1s, failures: 3}
    scale: {cpu: 0.1, memory: 256MB, instances: 1}
";
    dev.write("slow.yaml", blueprint);
    let slow = dev.path("slow.yaml").display().to_string();
    let mut waiting = dev.following(&["deploy", "-f", &slow, "--wait"], "waiting");
    until_said(&waiting, "web/a 0/1").await;
    waiting.signal(Signal::Interrupt);
    let status = waiting.wait(PATIENCE).await;
    assert_eq!(status.code(), Some(130), "{}", waiting.tail());
    assert!(waiting.log().contains("interrupted: what was sent before goes on"), "{}", waiting.tail());
    assert_eq!(dev.done(&["get", "deployments", "-o", "name"]).await, "deployments/slow\n");
    dev.done(&["undeploy", "slow", "--wait"]).await;
}
