//! `vamp dev` as a person starts it, and verbs that are typed beside it.

use std::path::{Path, PathBuf};

use vamp_tests::components::http_client;
use vamp_tests::installation::{PATIENCE, gateway_ports, instance_ports};
use vamp_tests::process::{Process, Signal, own_binary};
use vamp_tests::{eventually, free_port};

/// A running `vamp dev` on ports and in a directory of its own.
pub(crate) struct Dev {
    process: Process,
    arguments: Vec<String>,
    /// The address of a container engine, if there is to be one.
    engine: Option<&'static str>,
    api: String,
    shop: u16,
    folder: tempfile::TempDir,
}

impl Dev {
    pub(crate) async fn start() -> Self {
        Self::start_beside(None).await
    }

    pub(crate) async fn start_beside(engine: Option<&'static str>) -> Self {
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
        let process = launch(&arguments, folder.path(), engine);
        let mut dev = Self {
            process,
            arguments: arguments.to_vec(),
            engine,
            api: format!("http://127.0.0.1:{api}"),
            shop,
            folder,
        };
        dev.until_welcome(1).await;
        dev
    }

    pub(crate) async fn until_welcome(&mut self, times: usize) {
        eventually(PATIENCE, "vamp dev says what to try", async || {
            assert!(!self.process.has_ended(), "{}", self.process.tail());
            (self.process.log().matches("Try these in another terminal").count() == times).then_some(())
        })
        .await;
    }

    /// Ends it as Ctrl-C does, and starts it again.
    pub(crate) async fn restart(&mut self) {
        self.interrupt().await;
        self.process = launch(&self.arguments, self.folder.path(), self.engine);
        self.until_welcome(2).await;
    }

    pub(crate) async fn interrupt(&mut self) {
        self.process.signal(Signal::Interrupt);
        let status = self.process.wait(PATIENCE).await;
        assert!(status.success(), "Ctrl-C ended it with {status}:\n{}", self.process.tail());
    }

    /// Versions that answered `count` requests through the gateway.
    pub(crate) async fn versions(&self, count: usize) -> Vec<String> {
        let client = http_client();
        let mut versions = Vec::new();
        for _ in 0..count {
            let answer = client.get(format!("http://127.0.0.1:{}/", self.shop)).send().await.unwrap();
            let body: serde_json::Value = answer.json().await.unwrap();
            versions.push(body["version"].as_str().unwrap().to_owned());
        }
        versions
    }

    /// A verb, which finds this control plane and no settings of who runs the tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(own_binary("vamp"));
        command.args(arguments).current_dir(self.folder.path()).kill_on_drop(true);
        command.env("VAMP_HOST", &self.api).env("XDG_CONFIG_HOME", self.path("config"));
        for name in ["VAMP_TOKEN", "VAMP_CLIENT_TOKEN_FILE", "VAMP_CONTEXT", "VAMP_CA", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command
    }

    /// A verb that goes on until it is told to end; its output is in the file.
    pub(crate) fn following(&self, arguments: &[&str], file: &str) -> Process {
        let environment = [("VAMP_HOST", self.api.clone())];
        Process::spawn(&own_binary("vamp"), arguments, environment, &self.path(file))
    }

    /// A path in the folder in which verbs run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file there.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Where its API is.
    pub(crate) fn api(&self) -> &str {
        &self.api
    }

    /// Runs a verb; its standard output, standard error and exit code.
    pub(crate) async fn vamp(&self, arguments: &[&str]) -> (String, String, i32) {
        let output = self.command(arguments).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code().unwrap())
    }

    /// Runs a verb that must succeed; its standard output.
    pub(crate) async fn done(&self, arguments: &[&str]) -> String {
        let (output, errors, code) = self.vamp(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {output}{errors}");
        output
    }

    /// Runs a verb that must fail with this code and these words.
    pub(crate) async fn fails(&self, arguments: &[&str], code: i32, words: &str) {
        let (output, errors, found) = self.vamp(arguments).await;
        assert_eq!(found, code, "{arguments:?}: {output}{errors}");
        assert!(errors.contains(words), "{arguments:?} does not say `{words}`: {errors}");
    }
}

fn launch(arguments: &[String], folder: &Path, engine: Option<&'static str>) -> Process {
    let ports =
        [("VAMP_PORT_RANGE", gateway_ports(&folder.display().to_string())), ("VAMP_INSTANCE_PORTS", instance_ports())];
    let environment = ports.into_iter().chain(engine.map(|engine| ("VAMP_DOCKER_HOST", engine.to_owned())));
    Process::spawn(&own_binary("vamp"), arguments, environment, &folder.join("log"))
}

/// Waits until a verb that follows has written this.
pub(crate) async fn until_said(process: &Process, words: &str) {
    eventually(PATIENCE, &format!("it says `{words}`"), async || process.log().contains(words).then_some(())).await;
}

/// Ends a verb that follows by Ctrl-C, which is its proper end.
pub(crate) async fn end(mut process: Process) {
    process.signal(Signal::Interrupt);
    let status = process.wait(PATIENCE).await;
    assert!(status.success(), "Ctrl-C ended it with {status}:\n{}", process.tail());
}
