//! The product as an operator runs it: etcd, control plane and gateways, each a process of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use crate::components::{Etcd, http_client};
use crate::process::{Process, Signal, own_binary};
use crate::{eventually, free_port};

/// Time for anything that a machine that does other things too needs to get on.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An answer of the REST API.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body, JSON; `null` when it is none.
    pub body: Value,
}

impl Answer {
    /// Fails the test unless the status is one of these.
    #[track_caller]
    pub fn expect(self, statuses: &[u16]) -> Value {
        assert!(statuses.contains(&self.status.as_u16()), "not one of {statuses:?}: {} {:#}", self.status, self.body);
        self.body
    }
}

/// One etcd and one control plane; gateways are started beside them.
#[derive(Debug)]
pub struct Installation {
    /// The store.
    pub etcd: Etcd,
    folder: tempfile::TempDir,
    control_plane: Process,
    api_port: u16,
    namespace: String,
    database: String,
    /// Arguments of the control plane beside those that every installation has.
    more: Vec<String>,
    client: reqwest::Client,
}

/// Puts a YAML document at a path; `None` when nobody answers.
pub type Put = Box<dyn Fn(String, String) -> futures_util::future::BoxFuture<'static, Option<Answer>> + Send + Sync>;

impl Installation {
    /// Starts etcd and the control plane on free ports.
    pub async fn start() -> Self {
        Self::start_in("default").await
    }

    /// As [`Installation::start`], in a namespace.
    pub async fn start_in(namespace: &str) -> Self {
        Self::start_with(namespace, None, &[]).await
    }

    /// As [`Installation::start_in`], with more arguments of the control plane.
    pub async fn start_with_arguments(namespace: &str, more: &[&str]) -> Self {
        Self::start_with(namespace, None, more).await
    }

    /// As [`Installation::start`], on a database that a server keeps.
    pub async fn start_on(database: &str) -> Self {
        Self::start_with("default", Some(database), &[]).await
    }

    async fn start_with(namespace: &str, database: Option<&str>, more: &[&str]) -> Self {
        let etcd = Etcd::start().await;
        let folder = tempfile::Builder::new().prefix("vamp-").tempdir().expect("a temporary directory");
        let api_port = free_port();
        let file = || format!("sqlite:{}", folder.path().join("vamp.db").display());
        let database = database.map_or_else(file, str::to_owned);
        let more: Vec<String> = more.iter().map(|argument| (*argument).to_owned()).collect();
        let control_plane = launch_control_plane(&etcd, folder.path(), api_port, namespace, &database, &more);
        let (namespace, client) = (namespace.to_owned(), http_client());
        let mut started = Self { etcd, folder, control_plane, api_port, namespace, database, more, client };
        started.until_answering().await;
        started
    }

    /// Starts another control plane on the same database and store; what runs on this host is not its.
    pub async fn second_control_plane(&self) -> ControlPlane {
        let folder = self.folder.path().join("second");
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let port = free_port();
        let process = launch_control_plane(&self.etcd, &folder, port, &self.namespace, &self.database, &self.more);
        let mut second =
            ControlPlane { process, url: format!("http://127.0.0.1:{port}/api/v1"), client: http_client() };
        eventually(PATIENCE, "the second control plane answers", async || {
            assert!(!second.process.has_ended(), "it ended:\n{}", second.process.tail());
            second.get("info").await.map(drop)
        })
        .await;
        second
    }

    /// Kills the control plane as a crash does.
    pub async fn kill_control_plane(&mut self) {
        self.control_plane.kill().await;
    }

    /// Kills the control plane and starts it again on the same database.
    pub async fn restart_control_plane(&mut self) {
        self.control_plane.kill().await;
        let (folder, port, namespace) = (self.folder.path(), self.api_port, &self.namespace);
        self.control_plane = launch_control_plane(&self.etcd, folder, port, namespace, &self.database, &self.more);
        self.until_answering().await;
    }

    /// The same on another database.
    pub async fn restart_control_plane_on(&mut self, database: &str) {
        self.database = database.to_owned();
        self.restart_control_plane().await;
    }

    /// The address of the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    async fn until_answering(&mut self) {
        let url = format!("{}/live", self.address());
        eventually(PATIENCE, "the control plane answers", async || {
            assert!(!self.control_plane.has_ended(), "the control plane ended:\n{}", self.control_plane.tail());
            self.client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()).then_some(())
        })
        .await;
    }

    /// The split of a gateway, as soon as each of its processes told what it counted: one that is slow is left out.
    pub async fn split(&self, gateway: &str) -> Value {
        eventually(PATIENCE, "each process tells what it counted", async || {
            let split = self.get(&format!("gateways/{gateway}/split")).await.expect(&[200]);
            (split["counted"] == split["of"]).then_some(split)
        })
        .await
    }

    /// Where the control plane is, for its client.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.api_port)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.address())
    }

    /// `GET /api/v1/{path}`.
    pub async fn get(&self, path: &str) -> Answer {
        answer(self.client.get(self.url(path))).await
    }

    /// The same, again and again, beside other things.
    pub fn asker(&self, path: &str) -> impl Fn() -> futures_util::future::BoxFuture<'static, Value> + Send + 'static {
        let (client, url) = (self.client.clone(), self.url(path));
        move || {
            let asked = client.get(&url);
            Box::pin(async move { answer(asked).await.body })
        }
    }

    /// `PUT /api/v1/{path}` with a YAML document.
    pub async fn put(&self, path: &str, yaml: &str) -> Answer {
        let request = self.client.put(self.url(path)).header("content-type", "application/yaml");
        answer(request.body(yaml.to_owned())).await
    }

    /// As [`Installation::put`], beside other things, and when the control plane may be gone.
    pub fn putter(&self) -> Put {
        let (client, root) = (self.client.clone(), self.url(""));
        Box::new(move |path, yaml| {
            let request = client.put(format!("{root}{path}")).header("content-type", "application/yaml").body(yaml);
            Box::pin(async move {
                let response = request.send().await.ok()?;
                let status = response.status();
                // An answer that breaks off has its status, which is an answer.
                Some(Answer { status, body: response.json().await.unwrap_or_default() })
            })
        })
    }

    /// `POST /api/v1/{path}` with a JSON document.
    pub async fn post(&self, path: &str, json: &Value) -> Answer {
        answer(self.client.post(self.url(path)).json(json)).await
    }

    /// `DELETE /api/v1/{path}`.
    pub async fn delete(&self, path: &str) -> Answer {
        answer(self.client.delete(self.url(path))).await
    }

    /// Writes a gateway, and fails the test unless every gateway process serves it when this returns.
    pub async fn serve(&self, name: &str, yaml: &str) -> Value {
        let body = self.put(&format!("gateways/{name}?wait=20s"), yaml).await.expect(&[200, 201]);
        let rollout = &body["rollout"];
        assert_eq!(rollout["applied"], rollout["of"], "{body:#}");
        assert!(rollout["of"].as_u64() > Some(0), "no gateway is registered: {body:#}");
        body
    }

    /// The rollout as the API shows it, as soon as `holds` for it.
    pub async fn rollout_where(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        eventually(PATIENCE, what, async || {
            let body = self.get("rollout").await.body;
            holds(&body).then_some(body)
        })
        .await
    }

    /// The orders by which the programs of the control plane run now.
    pub fn orders(&self) -> Vec<Value> {
        let folders = std::fs::read_dir(instances_folder(self.folder.path())).into_iter().flatten().flatten();
        // A folder may go while it is looked at.
        let plans = folders.filter_map(|folder| std::fs::read(folder.path().join("plan.json")).ok());
        plans.filter_map(|plan| Some(serde_json::from_slice::<Value>(&plan).ok()?["spec"].take())).collect()
    }

    /// Starts a gateway process and waits until the control plane knows it.
    pub async fn gateway(&self, id: &str) -> Gateway {
        self.gateway_with(id, &[]).await
    }

    /// As [`Installation::gateway`], with further arguments.
    pub async fn gateway_with(&self, id: &str, arguments: &[&str]) -> Gateway {
        let gateway = self.gateway_alone(id, arguments);
        gateway.until_live().await;
        self.rollout_where("the gateway is registered", |rollout| find(rollout, id).is_some()).await;
        gateway
    }

    /// Starts a gateway process and waits for nothing.
    pub fn gateway_alone(&self, id: &str, arguments: &[&str]) -> Gateway {
        let mut command = self.gateway_arguments();
        command.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        Gateway::launch(self.folder.path(), id, command, &[])
    }

    /// As [`Installation::gateway_alone`], behind the commands of a shell, which run in the gateway's process first.
    pub fn gateway_after(&self, id: &str, shell: &str) -> Gateway {
        let command = self.gateway_arguments();
        Gateway::launch(self.folder.path(), id, command, &["/bin/sh", "-c", &format!("{shell}; exec \"$@\""), "sh"])
    }

    fn gateway_arguments(&self) -> Vec<String> {
        let store = self.etcd.store_url("vamp");
        vec!["--store".to_owned(), store, "--namespace".to_owned(), self.namespace.clone()]
    }
}

/// A control plane beside that of an [`Installation`].
#[derive(Debug)]
pub struct ControlPlane {
    process: Process,
    url: String,
    client: reqwest::Client,
}

impl ControlPlane {
    /// What it answers; `None`: nothing, or no success.
    pub async fn get(&self, path: &str) -> Option<Value> {
        let answer = self.client.get(format!("{}/{path}", self.url)).send().await.ok()?;
        if answer.status().is_success() { answer.json().await.ok() } else { None }
    }

    /// Freezes it, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }
}

/// A gateway of a rollout by its id.
pub fn find<'rollout>(rollout: &'rollout Value, id: &str) -> Option<&'rollout Value> {
    rollout["gateways"].as_array()?.iter().find(|gateway| gateway["id"] == id)
}

/// Where a control plane with this folder keeps its programs.
fn instances_folder(folder: &Path) -> PathBuf {
    folder.join("instances")
}

/// Ports for the instances of one control plane: others that run at the same time have other ones.
pub fn instance_ports() -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let first = 30_000 + TAKEN.fetch_add(1, Ordering::Relaxed) % 40 * 50;
    format!("{first}-{}", first + 49)
}

/// Ports for the gateways of one database, whichever control plane acts on it: those of others that run at the same time
/// have other ones.
pub fn gateway_ports(database: &str) -> String {
    static DATABASES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let mut databases = DATABASES.lock().unwrap_or_else(PoisonError::into_inner);
    let part = databases.iter().position(|known| known == database).unwrap_or_else(|| {
        databases.push(database.to_owned());
        databases.len() - 1
    });
    let first = 20_000 + part % 100 * 100;
    format!("{first}-{}", first + 99)
}

fn launch_control_plane(
    etcd: &Etcd,
    folder: &Path,
    port: u16,
    namespace: &str,
    database: &str,
    more: &[String],
) -> Process {
    let arguments = [
        "control-plane".to_owned(),
        "--listen".to_owned(),
        format!("127.0.0.1:{port}"),
        "--store".to_owned(),
        etcd.store_url("vamp"),
        "--database".to_owned(),
        database.to_owned(),
        "--namespace".to_owned(),
        namespace.to_owned(),
        "--process-dir".to_owned(),
        instances_folder(folder).display().to_string(),
        "--instance-ports".to_owned(),
        instance_ports(),
        "--port-range".to_owned(),
        gateway_ports(database),
    ];
    let arguments = arguments.into_iter().chain(more.iter().cloned());
    Process::spawn(&own_binary("vamp"), arguments, NO_ENVIRONMENT, &folder.join("control-plane.log"))
}

const NO_ENVIRONMENT: [(&str, &str); 0] = [];

async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("the control plane answers");
    let status = response.status();
    Answer { status, body: response.json().await.unwrap_or_default() }
}

/// One gateway process.
#[derive(Debug)]
pub struct Gateway {
    /// Its id.
    pub id: String,
    process: Process,
    /// The process that took over last.
    successor: Option<Stranger>,
    admin: SocketAddr,
    folder: PathBuf,
    program: Vec<String>,
    client: reqwest::Client,
}

impl Gateway {
    fn launch(folder: &Path, id: &str, mut arguments: Vec<String>, before: &[&str]) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let folder = folder.join(id);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        arguments.extend(["--gateway-id".to_owned(), id.to_owned(), "--admin".to_owned(), admin.to_string()]);
        arguments.extend(["--data-dir".to_owned(), folder.join("data").display().to_string()]);
        if !arguments.iter().any(|argument| argument == "--bind") {
            arguments.extend(["--bind".to_owned(), "127.0.0.1".to_owned()]);
        }
        let mut program: Vec<_> = before.iter().map(|part| (*part).to_owned()).collect();
        program.push(own_binary("vamp-gateway").display().to_string());
        program.extend(arguments);
        let process = spawn(&program, &folder);
        Self { id: id.to_owned(), process, successor: None, admin, folder, program, client: http_client() }
    }

    /// Kills it as a crash does.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again after its end, with the same settings and data.
    pub fn start_again(&mut self) {
        self.process = spawn(&self.program, &self.folder);
    }

    /// Tells it to stop, and waits for its end, which must be a good one.
    pub async fn stop(&mut self) {
        self.stop_within(Duration::from_mins(1)).await;
    }

    /// The same within a time of the test's own.
    pub async fn stop_within(&mut self, deadline: Duration) {
        self.begin_stop();
        self.until_ended_within(deadline).await;
    }

    /// Waits for its end, which must be a good one; of a process that took over only the end is seen.
    pub async fn until_ended(&mut self) {
        self.until_ended_within(Duration::from_mins(1)).await;
    }

    async fn until_ended_within(&mut self, deadline: Duration) {
        let before = self.successor.take().map_or(Predecessor::Child, Predecessor::Stranger);
        self.until_gone(before, deadline).await;
    }

    /// What `vamp-gateway upgrade` says to this gateway, with further arguments.
    pub async fn ask_for_upgrade(&self, arguments: &[&str]) -> std::process::Output {
        let mut command = tokio::process::Command::new(own_binary("vamp-gateway"));
        command.arg("upgrade").arg("--data-dir").arg(self.data_dir()).args(arguments);
        command.kill_on_drop(true).output().await.expect("vamp-gateway starts")
    }

    /// Lets a new program take over, which is this gateway from now on; the process before.
    pub async fn upgrade(&mut self) -> Predecessor {
        let said = self.ask_for_upgrade(&[]).await;
        assert!(said.status.success(), "no upgrade: {said:?}\n{}", self.process.tail());
        let said = String::from_utf8(said.stdout).expect("words");
        let pid = said.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
        let next = Stranger { pid: pid.unwrap_or_else(|| panic!("no process id in: {said}")), mark: self.data_dir() };
        assert!(next.is_alive(), "it said: {said}");
        match self.successor.replace(next) {
            None => Predecessor::Child,
            Some(before) => Predecessor::Stranger(before),
        }
    }

    /// Waits until the process before is gone; the first one must have ended well.
    pub async fn until_gone(&mut self, before: Predecessor, deadline: Duration) {
        match before {
            Predecessor::Child => {
                let status = self.process.wait(deadline).await;
                assert!(status.success(), "the first gateway ended with {status}:\n{}", self.process.tail());
            }
            Predecessor::Stranger(before) => {
                eventually(deadline, "the process before is gone", async || (!before.is_alive()).then_some(())).await;
            }
        }
    }

    /// Tells the process before, the first one, to stop: it waits for no further request.
    pub fn hurry_predecessor(&self) {
        self.process.signal(Signal::Terminate);
    }

    /// Kills the process before as a crash does.
    pub async fn kill_predecessor(&mut self) {
        self.process.kill().await;
    }

    /// Kills the process that took over, and tells how the first one ends.
    pub async fn kill_successor(&mut self, deadline: Duration) -> std::process::ExitStatus {
        self.successor.take().expect("there was an upgrade").signal("KILL");
        self.process.wait(deadline).await
    }

    /// Tells it to stop, and waits for nothing.
    pub fn begin_stop(&self) {
        match &self.successor {
            None => self.process.signal(Signal::Terminate),
            Some(now) => now.signal("TERM"),
        }
    }

    /// Freezes it: its lease lives for a while, connections stay open, and nothing answers.
    pub fn freeze(&self) {
        self.process.signal(Signal::Stop);
    }

    /// Lets it go on after [`Gateway::freeze`].
    pub fn thaw(&self) {
        self.process.signal(Signal::Continue);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.successor.as_ref().map_or_else(|| self.process.pid().expect("the gateway runs"), |now| now.pid)
    }

    /// Bytes of memory that it has resident.
    pub fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The most of it since [`Gateway::forget_peak`].
    pub fn peak_bytes(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// Counts the peak from now on.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("Linux, as the gateway's user");
    }

    /// Bytes of memory that count for the limit of data (`ulimit -d`).
    pub fn data_bytes(&self) -> u64 {
        self.memory("VmData:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let figure = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux");
        figure.trim().trim_end_matches(" kB").parse::<u64>().expect("a figure") * 1024
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    /// Time that it had a processor, in steps of a hundredth of a second.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
        let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until its admin listener answers.
    pub async fn until_live(&self) {
        eventually(PATIENCE, "the gateway is live", async || {
            self.admin("live").await.filter(|(status, _)| status.is_success()).map(drop)
        })
        .await;
    }

    /// Waits until it is ready for traffic.
    pub async fn until_ready(&self) {
        eventually(PATIENCE, "the gateway is ready", async || {
            self.admin("ready").await.filter(|(status, _)| status.is_success()).map(drop)
        })
        .await;
    }

    /// What its admin listener answers, if it answers.
    pub async fn admin(&self, path: &str) -> Option<(StatusCode, String)> {
        let answer = self.client.get(format!("http://{}/{path}", self.admin)).send().await.ok()?;
        Some((answer.status(), answer.text().await.ok()?))
    }

    /// The sum of a metric over its series whose labels contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> f64 {
        // A connection that is kept to a process which hands over is closed, and another one leads to the new process.
        let asked = async || self.admin("metrics").await;
        let (_, text) = eventually(PATIENCE, "the admin listener answers", asked).await;
        text.lines().filter_map(|line| sample(line, name, labels)).sum()
    }
}

/// The process from which another one took over.
#[derive(Debug)]
pub enum Predecessor {
    /// The one that the test started.
    Child,
    /// One that took over itself.
    Stranger(Stranger),
}

/// A process that is no child of the test, known by its id and by what stands in its command line. It ends with this.
#[derive(Debug)]
pub struct Stranger {
    pid: u32,
    mark: PathBuf,
}

impl Stranger {
    /// Whether it runs: an id may be another's by now, and one that nobody waited for is gone all the same.
    pub fn is_alive(&self) -> bool {
        let command = std::fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&self.mark.display().to_string())
    }

    /// Sends a signal by its name, as `kill` has it.
    pub fn signal(&self, name: &str) {
        if self.is_alive() {
            let kill = format!("kill -{name} {}", self.pid);
            drop(std::process::Command::new("/bin/sh").args(["-c", &kill]).status());
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}

fn spawn(program: &[String], folder: &Path) -> Process {
    let (name, arguments) = program.split_first().expect("a program has a name");
    Process::spawn(Path::new(name), arguments, NO_ENVIRONMENT, &folder.join("log"))
}

/// The value in a line of the exposition format, if it is of this metric and has these labels.
fn sample(line: &str, name: &str, labels: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (its_labels, value) = rest.rsplit_once(' ')?;
    let is_this_metric = its_labels.is_empty() || its_labels.starts_with('{');
    (is_this_metric && its_labels.contains(labels)).then(|| value.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::sample;

    #[test]
    fn samples_are_read_by_name_and_labels() {
        assert_eq!(sample(r#"a_total{reason="x"} 3"#, "a_total", r#"reason="x""#), Some(3.0));
        assert_eq!(sample("a_total 4", "a_total", ""), Some(4.0));
        assert_eq!(sample(r#"a_total{reason="y"} 3"#, "a_total", r#"reason="x""#), None);
        assert_eq!(sample("a_total_more 4", "a_total", ""), None);
        assert_eq!(sample("# HELP a_total 4", "a_total", ""), None);
    }
}
