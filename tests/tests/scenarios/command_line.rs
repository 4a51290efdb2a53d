//! What a person types: `vamp dev` and the client's verbs, with their output and exit codes.

use std::path::Path;
use std::process::Output;

use vamp_tests::components::http_client;
use vamp_tests::installation::PATIENCE;
use vamp_tests::process::{Process, Signal, own_binary};
use vamp_tests::{eventually, free_port};

/// A running `vamp dev` on ports and in a directory of its own.
struct Dev {
    process: Process,
    arguments: Vec<String>,
    api: String,
    shop: u16,
    folder: tempfile::TempDir,
}

impl Dev {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (api, shop) = (free_port(), free_port());
        let arguments = [
            "dev".to_owned(),
            format!("--data-dir={}", folder.path().join("data").display()),
            format!("--api-port={api}"),
            format!("--admin-port={}", free_port()),
            format!("--shop-port={shop}"),
            format!("--virtual-hosts-port={}", free_port()),
            format!("--demo-ports={},{}", free_port(), free_port()),
        ];
        let process = launch(&arguments, folder.path());
        let mut dev =
            Self { process, arguments: arguments.to_vec(), api: format!("http://127.0.0.1:{api}"), shop, folder };
        dev.until_welcome(1).await;
        dev
    }

    async fn until_welcome(&mut self, times: usize) {
        eventually(PATIENCE, "vamp dev says what to try", async || {
            assert!(!self.process.has_ended(), "{}", self.process.tail());
            (self.process.log().matches("Try these in another terminal").count() == times).then_some(())
        })
        .await;
    }

    /// Ends it as Ctrl-C does, and starts it again.
    async fn restart(&mut self) {
        self.interrupt().await;
        self.process = launch(&self.arguments, self.folder.path());
        self.until_welcome(2).await;
    }

    async fn interrupt(&mut self) {
        self.process.signal(Signal::Interrupt);
        let status = self.process.wait(PATIENCE).await;
        assert!(status.success(), "Ctrl-C ended it with {status}:\n{}", self.process.tail());
    }

    /// Versions that answered `count` requests through the gateway.
    async fn versions(&self, count: usize) -> Vec<String> {
        let client = http_client();
        let mut versions = Vec::new();
        for _ in 0..count {
            let answer = client.get(format!("http://127.0.0.1:{}/", self.shop)).send().await.unwrap();
            let body: serde_json::Value = answer.json().await.unwrap();
            versions.push(body["version"].as_str().unwrap().to_owned());
        }
        versions
    }

    /// Runs a verb; its standard output, standard error and exit code.
    async fn vamp(&self, arguments: &[&str]) -> (String, String, i32) {
        let output: Output = tokio::process::Command::new(own_binary("vamp"))
            .args(arguments)
            .env("VAMP_HOST", &self.api)
            .current_dir(self.folder.path())
            .output()
            .await
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code().unwrap())
    }

    /// Runs a verb that must succeed; its standard output.
    async fn done(&self, arguments: &[&str]) -> String {
        let (output, errors, code) = self.vamp(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {output}{errors}");
        output
    }

    /// Runs a verb that must fail with this code and these words.
    async fn fails(&self, arguments: &[&str], code: i32, words: &str) {
        let (output, errors, found) = self.vamp(arguments).await;
        assert_eq!(found, code, "{arguments:?}: {output}{errors}");
        assert!(errors.contains(words), "{arguments:?} does not say `{words}`: {errors}");
    }
}

fn launch(arguments: &[String], folder: &Path) -> Process {
    let environment: [(&str, &str); 0] = [];
    Process::spawn(&own_binary("vamp"), arguments, environment, &folder.join("log"))
}

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

    std::fs::write(
        dev.folder.path().join("firefox.yaml"),
        "kind: conditions\nname: firefox\ncondition: User-Agent == Firefox\n",
    )
    .unwrap();
    let applied = dev.done(&["apply", "-f", "firefox.yaml", "--wait"]).await;
    assert!(applied.contains("conditions/firefox applied"), "{applied}");
    let checked = dev.done(&["apply", "-f", "firefox.yaml", "--dry-run"]).await;
    assert!(checked.contains("would be applied"), "{checked}");

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
    std::fs::write(dev.folder.path().join("bad.yaml"), "kind: gateways\nname: bad\nport: 99999/http\nroutes: {}\n")
        .unwrap();
    dev.fails(&["apply", "-f", "bad.yaml"], 9, "bad.yaml:3:").await;
    dev.fails(&["apply", "-f", "nowhere.yaml"], 2, "nowhere.yaml").await;
    dev.fails(&["get", "gateway", "nothing"], 3, "nothing").await;
    dev.fails(&["get", "breads"], 2, "there is no kind").await;
    dev.fails(&["split", "shop", "50/40/10"], 2, "2 routes").await;
    dev.fails(&["split", "shop", "50/40"], 9, "90").await;
    dev.fails(&["get", "gateways", "--host", "http://127.0.0.1:1"], 8, "VAMP_HOST").await;
}
