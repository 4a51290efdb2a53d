//! What was, what would be, and the way back.

use vamp_tests::components::http_client;
use vamp_tests::free_port;
use vamp_tests::process::own_binary;

use crate::dev::Dev;

#[tokio::test(flavor = "multi_thread")]
async fn every_version_has_its_reason_and_any_of_them_comes_back() {
    let dev = Dev::start().await;
    dev.done(&["split", "shop", "50/50", "--reason", "half for the new one"]).await;
    dev.done(&["split", "shop", "0/100", "--reason", "all of it"]).await;
    let history = dev.done(&["history", "gateway", "shop"]).await;
    assert!(history.contains("half for the new one") && history.contains("local"), "{history}");
    assert_eq!(dev.done(&["history", "gateway", "shop", "-o", "jsonpath={[*].version}"]).await, "3 2 1\n");

    // Like diff: what differs is exit code 1, and nothing is said of it on standard error.
    let (output, errors, code) = dev.vamp(&["diff", "gateway", "shop"]).await;
    assert_eq!((code, errors.as_str()), (1, ""), "{output}");
    assert!(output.contains("version 2 → 3") && output.contains("\"50%\" → \"100%\""), "{output}");
    let (output, _, code) = dev.vamp(&["diff", "gateway", "shop", "1", "2"]).await;
    assert!(code == 1 && output.contains("\"90%\" → \"50%\""), "{output}");
    let (output, _, code) = dev.vamp(&["diff", "gateway", "shop", "1", "-o", "jsonpath={.from}-{.to}"]).await;
    assert_eq!((output.as_str(), code), ("1-3\n", 1));
    assert_eq!(dev.done(&["diff", "gateway", "shop", "3", "3"]).await, "");
    dev.fails(&["diff", "gateway", "shop", "9"], 3, "no version 9").await;
    dev.fails(&["diff"], 2, "--filename").await;

    let tried = dev.done(&["undo", "gateway", "shop", "--dry-run"]).await;
    assert!(tried.contains("~ gateways/shop"), "{tried}");
    assert!(dev.done(&["undo", "gateway", "shop", "--wait"]).await.contains("as in version 2 again"));
    dev.done(&["undo", "gateway", "shop", "--to", "1", "--reason", "enough"]).await;
    assert_eq!(dev.done(&["get", "gateway", "shop", "-o", "jsonpath={.routes.*.weight}"]).await, "90% 10%\n");
    dev.fails(&["undo", "gateway", "shop", "--to", "9"], 3, "version 9").await;
    dev.fails(&["history", "gateway", "never"], 3, "never").await;

    dev.write("beta.yaml", "kind: conditions\nname: beta\ncondition: has cookie beta\n");
    dev.done(&["apply", "-f", "beta.yaml"]).await;
    dev.fails(&["undo", "condition", "beta"], 2, "vamp delete").await;
    dev.done(&["delete", "condition", "beta"]).await;
    dev.done(&["undo", "condition", "beta"]).await;
    assert_eq!(dev.done(&["get", "conditions", "-o", "name"]).await, "conditions/beta\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_shown_before_it_is_made() {
    let dev = Dev::start().await;
    dev.write("beta.yaml", "kind: conditions\nname: beta\ncondition: has cookie beta\n");
    let (output, _, code) = dev.vamp(&["diff", "-f", "beta.yaml"]).await;
    assert!(code == 1 && output.contains("+ conditions/beta\n+   name: beta"), "{output}");
    let told = dev.done(&["apply", "-f", "beta.yaml", "--dry-run"]).await;
    assert!(told.contains("conditions/beta would be applied") && told.contains("+ conditions/beta"), "{told}");
    dev.fails(&["get", "condition", "beta"], 3, "beta").await;
    dev.done(&["apply", "-f", "."]).await;
    let (output, _, code) = dev.vamp(&["diff", "-f", "beta.yaml"]).await;
    assert_eq!((output.as_str(), code), ("nothing would change\n", 0));
    assert!(dev.done(&["delete", "condition", "beta", "--dry-run"]).await.contains("- conditions/beta"));
    assert!(dev.done(&["split", "shop", "0/100", "--dry-run"]).await.contains("\"90%\" → \"0%\""));
    assert_eq!(dev.done(&["history", "gateway", "shop", "-o", "jsonpath={[*].version}"]).await, "1\n");
    dev.fails(&["split", "shop", "0/100", "--dry-run", "--wait"], 2, "--dry-run").await;
    let blueprint = "{name: store, clusters: {web: {breed: {name: a, deployable: {type: command, definition: x}, ports: {http: 80}}}}}";
    dev.write("store.json", blueprint);
    let told = dev.done(&["deploy", "-f", "store.json", "--dry-run"]).await;
    assert!(told.contains("+ deployments/store") && told.contains("+ gateways/store/web/http"), "{told}");
    dev.fails(&["get", "deployment", "store"], 3, "store").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_was_removed_serves_again_as_soon_as_undo_has_waited() {
    let dev = Dev::start().await;
    let (port, origin) = (free_port(), own_binary("origin"));
    let blueprint = |gateways: &str, name: &str| {
        format!(
            "
name: slice
{gateways}
clusters:
  web:
    breed:
      name: {name}
      deployable: {{type: command, definition: \"{}\"}}
      ports: {{http: 80/http}}
      environment_variables: {{VERSION: {name}}}
    scale: {{cpu: 0.1, memory: 256MB, instances: 1}}
",
            origin.display()
        )
    };
    dev.write("slice.yaml", &blueprint(&format!("gateways: {{{port}: web/http}}"), "a1"));
    dev.write("canary.yaml", &blueprint("", "a2"));
    dev.done(&["deploy", "-f", "slice.yaml", "--wait"]).await;
    dev.done(&["merge", "slice", "-f", "canary.yaml", "--wait"]).await;
    dev.done(&["undeploy", "slice", "--wait"]).await;
    let told = dev.done(&["undo", "deployment", "slice", "--to", "2", "--wait"]).await;
    assert!(told.contains("as in version 2 again") && told.matches("Done").count() == 2, "{told}");
    let client = http_client();
    for _ in 0..20 {
        let answer = client.get(format!("http://127.0.0.1:{port}/")).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<serde_json::Value>().await.unwrap_or_default());
        assert!(status.is_success() && body["version"] == "a1", "{status} {body}");
    }
    dev.done(&["undeploy", "slice", "--wait"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_is_written_or_kept_with_what_is_wrong() {
    let dev = Dev::start().await;
    let edit = async |script: &str, arguments: &[&str]| {
        let mut command = dev.command(arguments);
        command.env("VISUAL", script).env("TMPDIR", dev.path(""));
        let output = command.output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code().unwrap())
    };
    let gateway = ["edit", "gateway", "shop", "--wait"];
    let (output, errors, code) = edit("sed -i s/90%/80%/", &gateway).await;
    assert_eq!(code, 9, "weights of 90 %: {output}{errors}");
    let kept = errors.split('`').find(|word| word.contains("vamp-gateways-shop")).unwrap();
    assert!(std::fs::read_to_string(kept).unwrap().contains("80%") && errors.contains("90"), "{errors}");
    std::fs::remove_file(kept).unwrap();

    let (output, errors, code) = edit("sed -i -e s/90%/80%/ -e s/10%/20%/", &gateway).await;
    assert_eq!((output.as_str(), code), ("gateways/shop edited\n", 0), "{errors}");
    assert_eq!(dev.done(&["get", "gateway", "shop", "-o", "jsonpath={.routes.*.weight}"]).await, "80% 20%\n");
    let (output, _, code) = edit("true", &gateway).await;
    assert_eq!((output.as_str(), code), ("gateways/shop is left as it is\n", 0));
    let (_, errors, code) = edit("false", &gateway).await;
    assert!(code == 1 && errors.contains("set VISUAL or EDITOR"), "{errors}");
    // Somebody else writes it while the editor is open.
    let other = format!(
        "{} split shop 70/30 >/dev/null; sed -i -e s/80%/75%/ -e s/20%/25%/",
        vamp_tests::process::own_binary("vamp").display()
    );
    let (_, errors, code) = edit(&other, &gateway).await;
    assert!(code == 4 && errors.contains("your edit is kept"), "{errors}");
    assert_eq!(dev.done(&["get", "gateway", "shop", "-o", "jsonpath={.routes.*.weight}"]).await, "70% 30%\n");
    let left = std::fs::read_dir(dev.path(""))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("vamp-gateways-shop"));
    assert_eq!(left.count(), 1, "only the edit that was refused is kept");
    dev.fails(&["edit", "deployment", "shop"], 2, "vamp merge").await;
}
