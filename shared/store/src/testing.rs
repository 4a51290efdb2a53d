//! Real stores for tests: started on free ports in a temporary directory, stopped by process id.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test that cannot start its store must fail, loudly"
)]

use std::hash::{BuildHasher as _, RandomState};
use std::net::Ipv4Addr;
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{SharedStore, StoreError};

const START_DEADLINE: Duration = Duration::from_secs(20);

/// TLS files of a test's own authority, made by the `openssl` program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// Plain HTTP.
    None,
    /// TLS with client certificates.
    Tls,
}

/// One etcd server.
#[derive(Debug)]
pub struct Etcd {
    directory: TempDir,
    security: Security,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl Etcd {
    /// Starts a server with an empty database.
    ///
    /// # Panics
    /// When etcd is not installed or does not start: a test without it would prove nothing.
    pub async fn start() -> Self {
        Self::start_with(Security::None).await
    }

    /// As [`Etcd::start`], with TLS when asked.
    pub async fn start_with(security: Security) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut etcd = Self { directory, security, client_port: 0, peer_port: 0, child: None };
        if security == Security::Tls {
            etcd.make_certificates().await;
        }
        // Another process may take a port between the look and the start.
        for _ in 0..5 {
            (etcd.client_port, etcd.peer_port) = (free_port(), free_port());
            if etcd.run().await {
                return etcd;
            }
        }
        panic!("etcd did not start, its log is:\n{}", etcd.log());
    }

    /// `host:port` of the client listener.
    pub fn endpoint(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// A store URL with the prefix `test`; `more` is appended to its parameters.
    pub fn url(&self, more: &str) -> String {
        let tls = match self.security {
            Security::None => String::new(),
            Security::Tls => {
                let path = |name| self.path(name);
                format!("ca={}&cert={}&key={}&", path("ca.pem"), path("client.pem"), path("client.key"))
            }
        };
        format!("etcd://{}/test?{tls}{more}", self.endpoint()).trim_end_matches(['?', '&']).to_owned()
    }

    /// A connection to it.
    pub fn store(&self) -> SharedStore {
        crate::connect(&self.url("").parse().expect("a store URL")).expect("settings of a store")
    }

    /// Stops answering without closing anything, as a machine that hangs.
    pub async fn pause(&self) {
        self.signal("-STOP").await;
    }

    /// Goes on after [`Etcd::pause`].
    pub async fn go_on(&self) {
        self.signal("-CONT").await;
    }

    /// Kills it without warning and waits until it is gone.
    pub async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().await.expect("etcd can be killed");
        }
    }

    /// Starts it again after [`Etcd::kill`], on the same ports and data.
    pub async fn restart(&mut self) {
        assert!(self.run().await, "etcd did not start again, its log is:\n{}", self.log());
    }

    /// Runs `etcdctl` against it.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.endpoint()])
            .args(arguments)
            .output()
            .await
            .expect("etcdctl runs: install it with `apt-get install etcd-client`, or run tests/run");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "etcdctl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        printed
    }

    /// Forgets all history, as its operator's compaction does.
    pub async fn compact(&self) {
        let status = self.ctl(&["get", "-w", "fields", "none"]).await;
        let revision = status.lines().find_map(|line| line.strip_prefix("\"Revision\" : ")).expect("a revision");
        self.ctl(&["compact", revision]).await;
    }

    /// Saves the database into a file of its directory.
    pub async fn save(&self) -> String {
        let file = self.path("backup.db");
        self.ctl(&["snapshot", "save", &file]).await;
        file
    }

    /// Kills it and starts it from a file that [`Etcd::save`] wrote.
    pub async fn restore(&mut self, file: &str) {
        self.kill().await;
        std::fs::remove_dir_all(self.path("data")).expect("the data directory can be removed");
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let (data, cluster) = (self.path("data"), format!("default={peer}"));
        let arguments = ["snapshot", "restore", file, "--data-dir", &data, "--name", "default"];
        let peers = ["--initial-cluster", &cluster, "--initial-advertise-peer-urls", &peer];
        self.ctl(&[&arguments[..], &peers[..]].concat()).await;
        self.restart().await;
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    async fn signal(&self, signal: &str) {
        let process = self.child.as_ref().and_then(Child::id).expect("etcd runs").to_string();
        let status = Command::new("kill").args([signal, &process]).status().await.expect("kill runs");
        assert!(status.success(), "kill {signal} {process}");
    }

    /// Whether it came up.
    async fn run(&mut self) -> bool {
        let scheme = if self.security == Security::Tls { "https" } else { "http" };
        let (client, peer) =
            (format!("{scheme}://127.0.0.1:{}", self.client_port), format!("http://127.0.0.1:{}", self.peer_port));
        let log = std::fs::File::create(self.path("log")).expect("a log file");
        let mut command = Command::new("etcd");
        command.args(["--data-dir", &self.path("data"), "--name", "default", "--log-level", "warn", "--logger", "zap"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}"), "--unsafe-no-fsync"]);
        if self.security == Security::Tls {
            command.args(["--cert-file", &self.path("server.pem"), "--key-file", &self.path("server.key")]);
            command.args(["--client-cert-auth", "--trusted-ca-file", &self.path("ca.pem")]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        let child = command.spawn();
        let mut child = child.expect("etcd runs: install it with `apt-get install etcd-server`, or run tests/run");
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if child.try_wait().expect("a state of etcd").is_some() {
                return false;
            }
            if self.answers().await {
                self.child = Some(child);
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    /// Whether it answers requests: it takes connections before it has found its leader, itself.
    async fn answers(&self) -> bool {
        let is_open = tokio::net::TcpStream::connect(self.endpoint()).await.is_ok();
        is_open && !matches!(self.store().get("answers").await, Err(StoreError::Unreachable { .. }))
    }

    async fn make_certificates(&self) {
        let script = r#"
            set -eu; cd "$1"
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-authority -keyout ca.key -out ca.pem
            for name in server client; do
                openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout $name.key -out $name.csr
                printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' > $name.ext
                openssl x509 -req -days 2 -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $name.ext -out $name.pem
            done"#;
        let output = Command::new("sh").args(["-c", script, "sh", &self.path("")]).output().await.expect("sh runs");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "certificates need `openssl` (apt-get install openssl):\n{printed}");
    }
}

/// A port that was free a moment ago, below those that the system gives to clients, so that who listens there finds it
/// free again later; given to nobody else in this process.
pub fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u16 = 20_000;
    // Another process begins elsewhere.
    static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(()));
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    loop {
        let given = GIVEN.fetch_add(1, Ordering::Relaxed);
        assert!(given < COUNT, "all ports from {FIRST} on were given or are taken");
        let place = (*START % u64::from(COUNT) + u64::from(given)) % u64::from(COUNT);
        let port = FIRST + u16::try_from(place).expect("a place below the count");
        if std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `holds` does.
///
/// # Panics
/// When it does not within `deadline`.
pub async fn eventually(what: &str, deadline: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
