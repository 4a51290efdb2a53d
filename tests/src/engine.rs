//! A real Docker engine: the one that `tests/run` started, or one of the test's own, which it may stop.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::process::{Process, Signal, own_binary, until_stopped};
use crate::{eventually, free_port};

const MEND: &str = "run the tests with `tests/run` as root, or start one and set \
    VAMP_TEST_DOCKER=$(tests/components/docker start FOLDER)";
/// Time for the engine to do anything on a machine that does other things too.
const PATIENCE: Duration = Duration::from_mins(1);

/// A Docker engine.
#[derive(Debug)]
pub struct Engine {
    folder: PathBuf,
    client: reqwest::Client,
    /// Of an engine of the test's own; removed after the engine.
    own: Option<tempfile::TempDir>,
}

impl Engine {
    /// The engine that all tests share.
    pub fn shared() -> Self {
        let address = std::env::var("VAMP_TEST_DOCKER").unwrap_or_else(|_| panic!("this test needs Docker: {MEND}"));
        let socket = address.strip_prefix("unix://").unwrap_or_else(|| panic!("`{address}` is no socket: {MEND}"));
        Self::at(Path::new(socket).parent().expect("a socket is in a folder"), None)
    }

    /// An engine of the test's own.
    pub fn start() -> Self {
        let own = tempfile::Builder::new().prefix("vamp-engine-").tempdir().expect("a temporary directory");
        let folder = own.path().to_owned();
        component("start", &folder);
        Self::at(&folder, Some(own))
    }

    fn at(folder: &Path, own: Option<tempfile::TempDir>) -> Self {
        // Another test of the process may have set the provider already: either way there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = reqwest::Client::builder().no_proxy().unix_socket(folder.join("docker.sock")).timeout(PATIENCE);
        let client = builder.pool_max_idle_per_host(0).build().expect("a client without options builds");
        Self { folder: folder.to_owned(), client, own }
    }

    /// Its address, as `--docker-host` takes it.
    pub fn address(&self) -> String {
        format!("unix://{}", self.folder.join("docker.sock").display())
    }

    /// Ends it as an operator does, and starts it again on what is there.
    pub fn restart(&self) {
        assert!(self.own.is_some(), "others use this engine");
        component("again", &self.folder);
    }

    /// Freezes it: its socket takes connections, nothing answers.
    pub fn pause(&self) {
        until_stopped(self.signal("STOP"));
    }

    /// Ends [`Engine::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) -> u32 {
        assert!(self.own.is_some(), "others use this engine");
        let pid = std::fs::read_to_string(self.folder.join("pid")).expect("the engine's pid is kept");
        let pid = pid.trim().parse().expect("the engine's pid is a number");
        let status = Command::new("kill").args([format!("-{signal}"), format!("{pid}")]).status();
        assert!(status.is_ok_and(|status| status.success()), "SIG{signal} to the engine: does this run as root?");
        pid
    }

    /// Asks its API.
    pub async fn ask(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> (StatusCode, Value) {
        let request = self.client.request(method, format!("http://engine/{path}"));
        let request = request.header("content-type", "application/json").header("x-registry-auth", "e30=");
        let response = request.body(body).send().await.expect("the engine answers");
        let status = response.status();
        let text = response.text().await.expect("the engine's answer is whole");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The same, and fails the test unless it did it.
    #[track_caller]
    pub fn must(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> impl Future<Output = Value> {
        let asked = self.ask(method, path, body);
        async move {
            let (status, value) = asked.await;
            assert!(status.is_success(), "{status}: {value:#}");
            value
        }
    }

    /// The containers that carry this label, running or not.
    pub async fn containers(&self, label: &str) -> Vec<Value> {
        let filters = serde_json::json!({"label": [label]}).to_string();
        let filters = url::form_urlencoded::byte_serialize(filters.as_bytes()).collect::<String>();
        let all = self.must(Method::GET, &format!("containers/json?all=true&filters={filters}"), "").await;
        all.as_array().cloned().unwrap_or_default()
    }

    /// Makes an image that runs one of our own programs, with a shell beside it. No registry has a part in that.
    pub async fn import(&self, program: &str, repository: &str, tag: &str) {
        let image = image_of(program);
        let changes =
            url::form_urlencoded::byte_serialize(format!("CMD [\"/{program}\"]").as_bytes()).collect::<String>();
        let path = format!("images/create?fromSrc=-&repo={repository}&tag={tag}&changes={changes}");
        let said = self.must(Method::POST, &path, image).await.to_string();
        assert!(!said.contains("error"), "{said}");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.own.is_some() {
            component("stop", &self.folder);
        }
    }
}

fn component(verb: &str, folder: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("components/docker");
    // Its output would stay open as long as the engine lives.
    let status = Command::new(script).arg(verb).arg(folder).stdin(Stdio::null()).stdout(Stdio::null()).status();
    let is_done = status.is_ok_and(|status| status.success());
    assert!(is_done || std::thread::panicking(), "an engine of this test's own: {verb}: see above; {MEND}");
}

/// A tar of a file system with the program, a shell, and what both need.
fn image_of(program: &str) -> Vec<u8> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let scratch = root.path().join("tmp");
    std::fs::create_dir(&scratch).expect("a folder can be made");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(scratch, everybody).expect("the owner sets permissions");
    let own = own_binary(program);
    for (file, name) in
        [(own.as_path(), program), (Path::new("/bin/sh"), "bin/sh"), (Path::new("/bin/sleep"), "bin/sleep")]
    {
        copy(file, &root.path().join(name));
        let told = Command::new("ldd").arg(file).output().expect("ldd starts");
        for line in String::from_utf8_lossy(&told.stdout).lines() {
            let library = line.split_whitespace().find(|word| word.starts_with('/'));
            if let Some(library) = library {
                copy(Path::new(library), &root.path().join(library.trim_start_matches('/')));
            }
        }
    }
    let tar = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).output().expect("tar starts");
    assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
    tar.stdout
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("a file is in a folder")).expect("a folder can be made");
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("{} can't be copied: {error}", from.display()));
}

/// A real registry of images, alone with its test.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    address: String,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts one on a free port of 127.0.0.1, which engines take without TLS.
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("vamp-registry-").tempdir().expect("a temporary directory");
        let address = format!("127.0.0.1:{}", free_port());
        let process = Self::serve(folder.path(), &address, "");
        let mut registry = Self { process, address, folder };
        registry.answers().await;
        registry
    }

    /// Goes on with the same images, for nobody but one user; `line` is the user's line of an `htpasswd` with bcrypt.
    pub async fn close_to_all_but(&mut self, line: &str) {
        self.process.signal(Signal::Terminate);
        self.process.wait(PATIENCE).await;
        let users = self.folder.path().join("users");
        std::fs::write(&users, line).expect("a file can be written");
        let access = format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", users.display());
        self.process = Self::serve(self.folder.path(), &self.address, &access);
        self.answers().await;
    }

    fn serve(folder: &Path, address: &str, more: &str) -> Process {
        let data = folder.join("data");
        let settings = format!(
            "version: 0.1\nlog: {{level: warn}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {address}}}\n{more}",
            data.display()
        );
        let file = folder.join("registry.yml");
        std::fs::write(&file, settings).expect("a file can be written");
        let arguments = [Path::new("serve"), &file];
        let nothing: [(&str, &str); 0] = [];
        Process::spawn(Path::new("docker-registry"), arguments, nothing, &folder.join("log"))
    }

    async fn answers(&mut self) {
        let url = format!("http://{}/v2/", self.address);
        eventually(PATIENCE, "the registry answers", async || {
            assert!(!self.process.has_ended(), "the registry ended:\n{}", self.process.tail());
            let answer = crate::components::http_client().get(&url).send().await;
            let is_ready = |status: StatusCode| status.is_success() || status == StatusCode::UNAUTHORIZED;
            answer.is_ok_and(|answer| is_ready(answer.status())).then_some(())
        })
        .await;
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn pause(&self) {
        self.process.signal(Signal::Stop);
    }

    /// Ends [`Registry::pause`].
    pub fn resume(&self) {
        self.process.signal(Signal::Continue);
    }

    /// Where it listens, as images name it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Takes an image of the engine, which forgets it.
    pub async fn take(&self, engine: &Engine, image: &str, tag: &str) {
        let there = format!("{}/{image}", self.address);
        engine.must(Method::POST, &format!("images/{image}:{tag}/tag?repo={there}&tag={tag}"), "").await;
        let said = engine.must(Method::POST, &format!("images/{there}/push?tag={tag}"), "").await.to_string();
        assert!(!said.contains("errorDetail"), "{said}");
        engine.must(Method::DELETE, &format!("images/{there}:{tag}"), "").await;
        engine.must(Method::DELETE, &format!("images/{image}:{tag}"), "").await;
    }
}
