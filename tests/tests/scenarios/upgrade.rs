//! A new program takes over from the one that runs: nothing is refused, nothing fails, and what goes wrong leaves the
//! old one serving.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use vamp_tests::free_port;
use vamp_tests::installation::{Gateway, Installation, PATIENCE, find};
use vamp_tests::load::{Load, Plan, Report};
use vamp_tests::origin::{Behaviour, Origin};
use vamp_tests::process::own_binary;

use crate::{gateway_document, load_on};

/// Longer than the drain time-out of each gateway here, for a machine that does other things too.
const GONE: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_new_program_takes_over_under_load_and_nothing_fails() {
    upgrades_under_load(3, Duration::from_secs(3), "30s").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: tests/nightly runs it"]
async fn twenty_upgrades_under_load_fail_nothing_and_cut_no_download_of_30_s() {
    upgrades_under_load(20, Duration::from_secs(30), "45s").await;
}

async fn upgrades_under_load(upgrades: u8, download: Duration, drain_timeout: &str) {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2", "--drain-timeout", drain_timeout]).await;
    let (one, two, slow) = (Origin::start("1").await, Origin::start("2").await, Origin::start("slow").await);
    let (port, slow_port) = (free_port(), free_port());
    let shop = |first: u8| gateway_document("shop", port, &[(&one, first), (&two, 100 - first)]);
    installation.serve("shop", &shop(50)).await;
    installation.serve("slow", &gateway_document("slow", slow_port, &[(&slow, 100)])).await;
    slow.behave(Behaviour::Drip(download));

    let watching = Watching::start(&installation);
    let lasting = Load::start(load_on(port));
    let fresh = Load::start(Plan { header_lines: "Connection: close\r\n".to_owned(), ..load_on(port) });
    let mut before = Vec::new();
    let mut downloads = Vec::new();
    for upgrade in 0..upgrades {
        downloads.push(Load::start(Plan { connections: 1, requests: Some(1), patience: GONE, ..load_on(slow_port) }));
        vamp_tests::eventually(PATIENCE, "the download is under way", async || {
            (slow.requests() > u64::from(upgrade)).then_some(())
        })
        .await;
        let mut idle = Idle::open(port).await;
        let pid = gateway.pid();
        before.push(gateway.upgrade().await);
        assert_ne!(gateway.pid(), pid);
        lasting.flow(100).await;
        fresh.flow(100).await;
        // Tables follow from the store in the new process.
        installation.serve("shop", &shop(upgrade % 100 + 1)).await;
        assert!(idle.ask().await.contains("connection: close"), "the answer of the process before is the last there");
    }
    for download in downloads {
        download.report().await.assert_flawless();
    }
    for before in before {
        gateway.until_gone(before, GONE).await;
    }
    flawless(&lasting.finish().await);
    flawless(&fresh.finish().await);
    watching.finish().await;
    gateway.stop().await;
}

/// An endpoint that switches to another protocol, which repeats what it is told.
async fn switching() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await? > 2 {
                    line.clear();
                }
                let switched = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
                stream.write_all(switched).await?;
                let (mut reader, mut writer) = tokio::io::split(stream);
                tokio::io::copy(&mut reader, &mut writer).await
            });
        }
    });
    (address, serving)
}

/// A client's end of such a protocol.
struct Tunnel(BufReader<TcpStream>);

impl Tunnel {
    async fn open(port: u16) -> Self {
        let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
        let ask = b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(ask).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 101 "), "{line}");
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0);
        }
        Self(stream)
    }

    async fn echoes(&mut self, word: &[u8]) {
        self.0.write_all(word).await.unwrap();
        let mut heard = vec![0; word.len()];
        tokio::time::timeout(PATIENCE, self.0.read_exact(&mut heard)).await.expect("in time").unwrap();
        assert_eq!(heard, word);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_while_the_store_is_away_serves_the_same_table_and_cuts_no_tunnel() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2", "--drain-timeout", "1h"]).await;
    let (origin, (address, serving)) = (Origin::start("1").await, switching().await);
    let (port, tunnels) = (free_port(), free_port());
    let shop = gateway_document("shop", port, &[(&origin, 100)]);
    installation.serve("shop", &shop).await;
    let document = format!("name: tunnels\nport: {tunnels}/http\nroutes: {{\"[{address}]\": {{weight: 100%}}}}\n");
    installation.serve("tunnels", &document).await;
    let mut tunnel = Tunnel::open(tunnels).await;
    tunnel.echoes(b"before").await;
    let load = Load::start(load_on(port));
    load.flow(100).await;
    installation.etcd.pause();
    let before = gateway.upgrade().await;
    load.flow(200).await;
    tunnel.echoes(b"the process before carries it on").await;
    Tunnel::open(tunnels).await.echoes(b"the new one takes new ones").await;
    // With the store back the new process follows it.
    installation.etcd.resume();
    // Its lease may have ended meanwhile.
    installation.rollout_where("the new process is registered", |rollout| find(rollout, "g1").is_some()).await;
    installation.serve("shop", &shop).await;
    installation.delete("gateways/tunnels?wait=10s").await.expect(&[200]);
    tunnel.echoes(b"still there").await;
    drop(tunnel);
    gateway.until_gone(before, GONE).await;
    flawless(&load.finish().await);
    serving.abort();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_over_upgrades_is_exact_in_each_process_and_misses_no_request() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
    let (one, two) = (Origin::start("1").await, Origin::start("2").await);
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&one, 70), (&two, 30)])).await;
    let (lasting, mut asked, mut before) = (Load::start(load_on(port)), 0, Vec::new());
    for _ in 0..3 {
        let mut idle = Idle::open(port).await;
        before.push(gateway.upgrade().await);
        lasting.flow(200).await;
        // Counted by the process before, after the new one took over.
        idle.ask().await;
        asked += 2;
    }
    for before in before {
        gateway.until_gone(before, GONE).await;
    }
    let report = lasting.finish().await;
    flawless(&report);
    // The last count of a process that ended may be on its way to its successor.
    let split = vamp_tests::eventually(PATIENCE, "all is counted", async || {
        let split = installation.split("shop").await;
        (split["tickets"].as_u64()? >= report.answered + asked).then_some(split)
    })
    .await;
    assert_eq!(split["tickets"], report.answered + asked, "{split:#}");
    let processes = split["processes"].as_array().unwrap();
    assert_eq!(processes.len(), 4, "{split:#}");
    for process in processes {
        for route in process["weights"]["routes"].as_array().unwrap() {
            assert!(route["error"].as_f64().unwrap().abs() < 1.0, "{split:#}");
        }
    }
    gateway.stop().await;
}

/// Every request was answered by the first connection that it was sent on.
#[track_caller]
fn flawless(report: &Report) {
    report.assert_flawless();
    assert_eq!(report.crossed, 0, "a connection was closed while a request was on its way: {report:#?}");
}

/// A connection that waits between two requests.
struct Idle(TcpStream);

impl Idle {
    async fn open(port: u16) -> Self {
        let mut idle = Self(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap());
        assert!(!idle.ask().await.contains("connection: close"));
        idle
    }

    /// The head of the next answer, in small letters.
    async fn ask(&mut self) -> String {
        self.0.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}\n") {
            assert!(self.0.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        }
        String::from_utf8(answer).unwrap().to_lowercase()
    }

    /// Waits until the gateway closes it.
    async fn closed(&mut self) {
        assert_eq!(self.0.read(&mut [0; 64]).await.unwrap_or(0), 0);
    }
}

/// Looks at the rollout again and again: there is one gateway, whatever process it is.
struct Watching {
    ends: Arc<AtomicBool>,
    task: JoinHandle<u32>,
}

impl Watching {
    fn start(installation: &Installation) -> Self {
        let rollout = installation.asker("rollout");
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let task = tokio::spawn(async move {
            let mut looks = 0;
            while !told.load(Ordering::Relaxed) {
                let rollout = rollout().await;
                let gateways = rollout["gateways"].as_array().unwrap();
                assert!(gateways.len() == 1 && gateways[0]["id"] == "g1" && rollout["of"] == 1, "{rollout:#}");
                looks += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            looks
        });
        Self { ends, task }
    }

    async fn finish(self) {
        self.ends.store(true, Ordering::Relaxed);
        assert!(self.task.await.unwrap() > 10, "the rollout was looked at");
    }
}

/// A program that an operator could have put in the place of the gateway by mistake.
fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_program_that_does_not_get_ready_leaves_the_old_one_serving() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2"]).await;
    let origin = Origin::start("1").await;
    // So many sockets that their hand-over takes several messages.
    more_gateways(&installation, &origin, 140).await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let folder = tempfile::tempdir().unwrap();
    let real = own_binary("vamp-gateway").display().to_string();
    let (pid, load) = (gateway.pid(), Load::start(load_on(port)));
    let cases = [
        (folder.path().join("missing"), "can't be started"),
        (script(folder.path(), "ends", "echo it is broken >&2; exit 7"), "it is broken"),
        (script(folder.path(), "hangs", "exec sleep 1000"), "not ready within"),
        (script(folder.path(), "deaf", "exec sleep 1000 <&-"), "can't be heard"),
        (script(folder.path(), "loses", &format!("ulimit -n 100; exec {real} \"$@\"")), "limit of open files"),
        (
            script(folder.path(), "elsewhere", &format!("exec {real} \"$@\" --data-dir {}", folder.path().display())),
            "data-dir",
        ),
    ];
    for (binary, words) in cases {
        let timeout = if words.contains("within") { "1s" } else { "60s" };
        let said = gateway.ask_for_upgrade(&["--timeout", timeout, "--binary", &binary.display().to_string()]).await;
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(1), "{}: {text}", binary.display());
        assert!(text.contains(words) && text.contains("serves on"), "{}: {text}", binary.display());
        load.flow(50).await;
        // Tables are followed again.
        installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    }
    assert_eq!(gateway.pid(), pid);
    let report = load.finish().await;
    report.assert_flawless();
    assert_eq!(report.closed, 0, "whoever was not to take over closed nothing: {report:#?}");
    let before = gateway.upgrade().await;
    Load::start(Plan { requests: Some(200), ..load_on(port) }).report().await.assert_flawless();
    gateway.until_gone(before, GONE).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_socket_is_accepted_on_with_fewer_and_with_more_threads() {
    let installation = Installation::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("settings.yaml");
    let threads = |count: u8| std::fs::write(&config, format!("threads: {count}\ndrain-timeout: 10s\n")).unwrap();
    threads(3);
    let mut gateway = installation.gateway_with("g1", &["--config", &config.display().to_string()]).await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let mut before = None;
    for count in [1, 4, 2] {
        threads(count);
        let former = gateway.upgrade().await;
        if let Some(before) = before.replace(former) {
            gateway.until_gone(before, GONE).await;
        }
        // The kernel spreads connections over all sockets, by the client's port.
        let plan = Plan { requests: Some(300), header_lines: "Connection: close\r\n".to_owned(), ..load_on(port) };
        flawless(&Load::start(plan).report().await);
    }
    gateway.until_gone(before.unwrap(), GONE).await;
    let plan = Plan { requests: Some(300), header_lines: "Connection: close\r\n".to_owned(), ..load_on(port) };
    flawless(&Load::start(plan).report().await);
    // What the table drops is closed, on the inherited sockets too.
    installation.delete("gateways/shop?wait=10s").await.expect(&[200]);
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_either_process_around_an_upgrade_is_that_process_only() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway("g1").await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let _idle = Idle::open(port).await;
    drop(gateway.upgrade().await);
    gateway.kill_predecessor().await;
    Load::start(Plan { requests: Some(200), ..load_on(port) }).report().await.assert_flawless();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_crashes_takes_the_one_before_along_where_a_supervisor_starts_another_one() {
    let installation = Installation::start().await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&place).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let shell = format!("export VAMP_DRAIN_TIMEOUT=1h NOTIFY_SOCKET={}", place.display());
    let mut gateway = installation.gateway_after("g1", &shell);
    tokio::task::block_in_place(|| supervisor.recv(&mut [0; 256])).unwrap();
    installation.rollout_where("the gateway is registered", |rollout| find(rollout, "g1").is_some()).await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let mut idle = Idle::open(port).await;
    drop(gateway.upgrade().await);
    // It would have kept the connection for three quarters of an hour, and nobody would have served meanwhile.
    assert!(!gateway.kill_successor(GONE).await.success());
    idle.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_drains_after_an_upgrade_ends_at_once_when_it_is_told_to_stop() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--drain-timeout", "1h"]).await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let mut idle = Idle::open(port).await;
    origin.behave(Behaviour::Slow(Duration::from_secs(2)));
    let load = Load::start(Plan { connections: 1, requests: Some(1), ..load_on(port) });
    vamp_tests::eventually(PATIENCE, "a request is under way", async || (origin.requests() == 2).then_some(())).await;
    let before = gateway.upgrade().await;
    gateway.hurry_predecessor();
    idle.closed().await;
    flawless(&load.report().await);
    gateway.until_gone(before, GONE).await;
    origin.behave(Behaviour::Answer);
    Load::start(Plan { requests: Some(100), ..load_on(port) }).report().await.assert_flawless();
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two thousand gateways take a while: tests/nightly runs it"]
async fn four_thousand_sockets_go_over() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--threads", "2", "--drain-timeout", "2s"]).await;
    let origin = Origin::start("1").await;
    let ports = more_gateways(&installation, &origin, 2_000).await;
    let load = Load::start(load_on(ports[0]));
    load.flow(100).await;
    let before = gateway.upgrade().await;
    gateway.until_gone(before, GONE).await;
    flawless(&load.finish().await);
    for port in ports {
        let plan = Plan { connections: 1, requests: Some(1), ..load_on(port) };
        Load::start(plan).report().await.assert_flawless();
    }
    gateway.stop().await;
}

/// Writes so many gateways on one origin, in one change; their ports.
async fn more_gateways(installation: &Installation, origin: &Origin, count: usize) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    while ports.len() < count {
        ports.insert(free_port());
    }
    let more = |port: &u16| {
        let route = format!("[{}]", origin.address());
        json!({"name": format!("more-{port}"), "port": format!("{port}/http"), "routes": {route: {"weight": "100%"}}})
    };
    let more: Vec<_> = ports.iter().map(more).collect();
    installation.post("gateways?wait=30s", &more.into()).await.expect(&[200, 201]);
    ports.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_told_to_stop_while_it_hands_over_stops() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway("g1").await;
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("pid");
    let hangs =
        script(folder.path(), "hangs", &format!("echo $$ > {}.part; mv {0}.part {0}; exec sleep 1000", mark.display()));
    let binary = hangs.display().to_string();
    let arguments = ["--binary", binary.as_str()];
    let (asked, (pid, busy)) = tokio::join!(gateway.ask_for_upgrade(&arguments), async {
        let runs = async || std::fs::read_to_string(&mark).ok();
        let pid = vamp_tests::eventually(PATIENCE, "the new program runs", runs).await;
        let busy = gateway.ask_for_upgrade(&[]).await;
        gateway.begin_stop();
        (pid, busy)
    });
    assert_eq!(busy.status.code(), Some(4), "{busy:?}");
    assert_eq!(asked.status.code(), Some(1), "{asked:?}");
    assert!(String::from_utf8_lossy(&asked.stderr).contains("told to stop"), "{asked:?}");
    gateway.until_ended().await;
    assert!(!Path::new(&format!("/proc/{}", pid.trim())).exists(), "the new program is gone");
    let nobody = gateway.ask_for_upgrade(&[]).await;
    assert_eq!(nobody.status.code(), Some(3), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_is_told_who_the_service_is() {
    let installation = Installation::start().await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify");
    let supervisor = UnixDatagram::bind(&place).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut message = [0; 256];
        let bytes = supervisor.recv(&mut message).unwrap();
        String::from_utf8_lossy(&message[..bytes]).into_owned()
    };
    let mut gateway = installation.gateway_after("g1", &format!("export NOTIFY_SOCKET={}", place.display()));
    assert_eq!(tokio::task::block_in_place(heard), "READY=1");
    let before = gateway.upgrade().await;
    let (mut messages, wanted) = (Vec::new(), format!("MAINPID={}\nREADY=1", gateway.pid()));
    while !messages.contains(&wanted) {
        assert!(messages.len() < 2, "{messages:?}");
        messages.push(tokio::task::block_in_place(heard));
    }
    gateway.until_gone(before, GONE).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_a_hundred_requests_and_closes_what_is_idle() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway("g1").await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(Idle::open(port).await);
    }
    origin.behave(Behaviour::Slow(Duration::from_secs(15)));
    let load = Load::start(Plan { connections: 100, requests: Some(100), ..load_on(port) });
    vamp_tests::eventually(PATIENCE, "all requests are under way", async || (origin.requests() == 120).then_some(()))
        .await;
    gateway.begin_stop();
    for idle in &mut idle {
        idle.closed().await;
    }
    let (status, reason) = gateway.admin("ready").await.expect("it answers while requests are under way");
    assert_eq!((status.as_u16(), reason.contains("stopping")), (503, true), "{reason}");
    gateway.until_ended().await;
    let report = load.report().await;
    flawless(&report);
    assert_eq!(report.answered, 100);
}

/// How long a process may be there that has a second to drain: its end, and a machine that does other things too. A limit
/// that is not kept at all leaves requests that are never answered to their own time-out of a minute.
const OVER_THE_LIMIT: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_an_upgrade_keep_the_limit_for_draining() {
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &["--drain-timeout", "1s"]).await;
    let origin = Origin::start("1").await;
    let port = free_port();
    installation.serve("shop", &gateway_document("shop", port, &[(&origin, 100)])).await;
    origin.behave(Behaviour::Silent);
    for round in 1..=2 {
        let load = Load::start(Plan { connections: 4, requests: Some(4), patience: GONE, ..load_on(port) });
        vamp_tests::eventually(PATIENCE, "all requests are under way", async || {
            (origin.requests() == round * 4).then_some(())
        })
        .await;
        if round == 1 {
            let before = gateway.upgrade().await;
            gateway.until_gone(before, OVER_THE_LIMIT).await;
        } else {
            gateway.stop_within(OVER_THE_LIMIT).await;
        }
        let report = load.report().await;
        assert_eq!((report.failed, report.wrong), (4, 0), "they were cut, and not presented as whole: {report:#?}");
    }
}

/// Where the units for systemd are.
fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_the_unit_takes_a_setting_that_was_changed() {
    let unit = std::fs::read_to_string(units().join("vamp-gateway.service")).unwrap();
    let command = |name: &str| unit.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    assert_eq!(command("ExecReload="), "/usr/bin/vamp-gateway upgrade");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("gateway.yaml");
    let start = command("ExecStart=/usr/bin/vamp-gateway ").replace("/etc/vamp/gateway.yaml", file.to_str().unwrap());
    let set = |clients: u32| std::fs::write(&file, format!("connections-max: {clients}\n")).unwrap();
    set(1_001);
    let installation = Installation::start().await;
    let mut gateway = installation.gateway_with("g1", &start.split(' ').collect::<Vec<_>>()).await;
    let has = async |gateway: &Gateway, clients: f64| {
        let told = gateway.metric("vamp_gateway_capacity", "connections").await;
        ((told - clients).abs() < 0.5).then_some(())
    };
    vamp_tests::eventually(PATIENCE, "the first setting", async || has(&gateway, 1_001.0).await).await;
    set(1_002);
    let before = gateway.upgrade().await;
    vamp_tests::eventually(PATIENCE, "the changed setting", async || has(&gateway, 1_002.0).await).await;
    gateway.until_gone(before, GONE).await;
    gateway.stop().await;
    // What a unit puts into the environment stays over a reload: paths only.
    let kept = unit.lines().filter(|line| line.starts_with("Environment"));
    assert_eq!(kept.collect::<Vec<_>>(), ["Environment=VAMP_DATA_DIR=/var/lib/vamp-gateway"]);
}

/// Keys that older versions of systemd pass by, which the units may have: since 254.
const NEWER: [&str; 1] = ["Unknown key 'DelegateSubgroup' in section [Service], ignoring"];

#[test]
fn the_units_for_systemd_are_read_without_a_complaint() {
    let programs = own_binary("vamp-gateway");
    let programs = format!("{}/", programs.parent().unwrap().display());
    for unit in std::fs::read_dir(units()).unwrap() {
        let unit = unit.unwrap();
        // Programs must be where the unit says.
        let text = std::fs::read_to_string(unit.path()).unwrap().replace("/usr/bin/", &programs);
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join(unit.file_name());
        std::fs::write(&copy, text).unwrap();
        let verified = std::process::Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output();
        let said =
            verified.unwrap_or_else(|error| panic!("no systemd-analyze: {error}: run tests/run, which installs it"));
        // What it does not know it passes by, with a word.
        let stderr = String::from_utf8_lossy(&said.stderr);
        let complaints: Vec<_> = stderr.lines().filter(|line| !NEWER.iter().any(|key| line.contains(key))).collect();
        assert_eq!((said.status.success(), complaints), (true, Vec::new()), "{unit:?}");
    }
}

#[test]
fn the_units_for_systemd_say_only_what_the_programs_know() {
    let mut commands = 0;
    for unit in std::fs::read_dir(units()).unwrap() {
        let text = std::fs::read_to_string(unit.unwrap().path()).unwrap();
        for command in text.lines().filter_map(|line| line.strip_prefix("Exec")?.split_once("=/usr/bin/")) {
            let mut words = command.1.split(' ');
            let program = own_binary(words.next().unwrap());
            let status = std::process::Command::new(program).args(words).arg("--help").output().unwrap().status;
            assert!(status.success(), "{}", command.1);
            commands += 1;
        }
    }
    assert_eq!(commands, 3, "a start of each program, and the reload of the gateway");
}
