//! Real servers next to ours: an etcd of one's own, and the Elasticsearch servers that `tests/run` started.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use crate::process::{Process, Signal};
use crate::{eventually, free_port};

/// Time for a component to come up on a machine that does other things too.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A real etcd of one member, alone with its test.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    folder: tempfile::TempDir,
    client_port: u16,
    peer_port: u16,
}

impl Etcd {
    /// Starts one on free ports with an empty data directory. A port that was free may be taken before it is bound: then on
    /// others.
    pub async fn start() -> Self {
        for _ in 0..3 {
            let folder = tempfile::Builder::new().prefix("vamp-etcd-").tempdir().expect("a temporary directory");
            let (client_port, peer_port) = (free_port(), free_port());
            let process = launch(folder.path(), client_port, peer_port);
            let mut etcd = Self { process, folder, client_port, peer_port };
            if etcd.gets_ready().await || !etcd.process.tail().contains("address already in use") {
                etcd.until_ready().await;
                return etcd;
            }
        }
        panic!("three times others took the ports that were free for etcd");
    }

    /// Its client address, `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// The store URL for a prefix, as `--store` takes it.
    pub fn store_url(&self, prefix: &str) -> String {
        format!("etcd://{}/{prefix}", self.address())
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn pause(&self) {
        self.process.signal(Signal::Stop);
    }

    /// Ends [`Etcd::pause`].
    pub fn resume(&self) {
        self.process.signal(Signal::Continue);
    }

    /// Kills it as a crash does (SIGKILL); the data stays.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again on the same ports and data, after [`Etcd::kill`], and waits until it answers.
    pub async fn restart(&mut self) {
        self.kill().await;
        self.process = launch(self.folder.path(), self.client_port, self.peer_port);
        self.until_ready().await;
    }

    /// Keeps a copy of its data, taken while it is down, for [`Etcd::restore`]. It runs again when this returns.
    pub async fn back_up(&mut self) {
        self.kill().await;
        copy_folder(&self.data_folder(), &self.folder.path().join("backup"));
        self.restart().await;
    }

    /// Puts the data of [`Etcd::back_up`] back, as an operator does after a loss, and starts it.
    pub async fn restore(&mut self) {
        self.kill().await;
        std::fs::remove_dir_all(self.data_folder()).expect("the data folder can be removed");
        copy_folder(&self.folder.path().join("backup"), &self.data_folder());
        self.restart().await;
    }

    fn data_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    async fn until_ready(&mut self) {
        assert!(self.gets_ready().await, "etcd ended at its start:\n{}", self.process.tail());
    }

    /// Waits until it answers, or has ended.
    async fn gets_ready(&mut self) -> bool {
        let health = format!("http://{}/health", self.address());
        eventually(START_PATIENCE, "etcd answers", async || {
            if self.process.has_ended() {
                return Some(false);
            }
            let answer = http_client().get(&health).send().await.ok()?.text().await.ok()?;
            answer.contains("true").then_some(true)
        })
        .await
    }
}

fn launch(folder: &Path, client_port: u16, peer_port: u16) -> Process {
    let client = format!("http://127.0.0.1:{client_port}");
    let peer = format!("http://127.0.0.1:{peer_port}");
    let arguments = [
        "--data-dir".to_owned(),
        folder.join("data").display().to_string(),
        "--listen-client-urls".to_owned(),
        client.clone(),
        "--advertise-client-urls".to_owned(),
        client,
        "--listen-peer-urls".to_owned(),
        peer.clone(),
        "--initial-advertise-peer-urls".to_owned(),
        peer.clone(),
        "--initial-cluster".to_owned(),
        format!("default={peer}"),
    ];
    Process::spawn(Path::new("etcd"), arguments, [("ETCD_UNSUPPORTED_ARCH", "arm64")], &folder.join("etcd.log"))
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder can be listed") {
        let entry = entry.expect("a folder can be listed");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("an entry has a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a file can be copied");
        }
    }
}

/// One of the search servers that run beside the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchServer {
    /// `es7`, `es8` or `os2`.
    pub name: String,
    /// `http://127.0.0.1:port`.
    pub url: String,
}

/// The Elasticsearch and OpenSearch servers of `VAMP_TEST_ELASTICSEARCH` (`es7=URL,es8=URL,os2=URL`).
pub fn search_servers() -> Vec<SearchServer> {
    const MEND: &str =
        "run the tests with `tests/run`, or start a server and set VAMP_TEST_ELASTICSEARCH=es8=http://127.0.0.1:PORT";
    let text =
        std::env::var("VAMP_TEST_ELASTICSEARCH").unwrap_or_else(|_| panic!("this test needs Elasticsearch: {MEND}"));
    let servers = read_search_servers(&text).unwrap_or_else(|part| panic!("`{part}` is not NAME=URL: {MEND}"));
    assert!(!servers.is_empty(), "VAMP_TEST_ELASTICSEARCH is empty: {MEND}");
    servers
}

fn read_search_servers(text: &str) -> Result<Vec<SearchServer>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, url) = part.split_once('=').ok_or_else(|| part.to_owned())?;
            url.starts_with("http")
                .then(|| SearchServer { name: name.to_owned(), url: url.to_owned() })
                .ok_or_else(|| part.to_owned())
        })
        .collect()
}

/// A plain HTTP client without proxies.
pub fn http_client() -> reqwest::Client {
    // Another test of the process may have set the provider already: either way there is one.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder()
        .no_proxy()
        .local_address(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST))
        .timeout(Duration::from_secs(30))
        .build()
        .expect("a client without options builds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_search_servers_are_read() {
        let servers = read_search_servers("es7=http://127.0.0.1:1, os2=http://127.0.0.1:2,").unwrap();
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[1], SearchServer { name: "os2".to_owned(), url: "http://127.0.0.1:2".to_owned() });
        assert_eq!(read_search_servers("http://127.0.0.1:1").unwrap_err(), "http://127.0.0.1:1");
    }

    #[tokio::test]
    async fn etcd_keeps_its_data_over_a_kill_and_gives_old_data_back() {
        let mut etcd = Etcd::start().await;
        write(&etcd, "first").await;
        etcd.back_up().await;
        write(&etcd, "second").await;
        etcd.restart().await;
        assert_eq!(read(&etcd).await, "second");
        etcd.restore().await;
        assert_eq!(read(&etcd).await, "first");
    }

    async fn write(etcd: &Etcd, value: &str) {
        let mut client = etcd_client::Client::connect([etcd.address()], None).await.unwrap();
        client.put("key", value, None).await.unwrap();
    }

    async fn read(etcd: &Etcd) -> String {
        let mut client = etcd_client::Client::connect([etcd.address()], None).await.unwrap();
        client.get("key", None).await.unwrap().kvs()[0].value_str().unwrap().to_owned()
    }
}
