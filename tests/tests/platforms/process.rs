//! Programs of this host keep the contract, and outlive whoever started them.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use vamp_control_plane::platform::process::{Grouping, ProcessPlatform, ProcessSettings};
use vamp_control_plane::platform::{Deployable, HostPort, InstanceSpec, Labels, PlatformError, SharedPlatform, State};
use vamp_tests::eventually;
use vamp_tests::process::own_binary;

use crate::conformance::{Subject, conformance};
use crate::order::{GRACE, PATIENCE, answering, ask, find, id, log, order, running, until};

/// Ports of one test, outside of those that the system gives to clients; the driver looks whether they are free.
fn some_ports() -> RangeInclusive<u16> {
    let first = rand::random_range(20_000..30_000);
    first..=first + 500
}

fn service() -> Deployable {
    let program = own_binary("instance").display().to_string();
    Deployable::Command { program, arguments: Vec::new() }
}

fn shell(script: &str) -> Deployable {
    Deployable::Command { program: "sh".to_owned(), arguments: vec!["-c".to_owned(), script.to_owned()] }
}

fn settings(folder: &Path) -> ProcessSettings {
    let mut settings = ProcessSettings::new(folder.join("instances"));
    settings.program = own_binary("vamp");
    settings.port_range = some_ports();
    settings.backoff_first = Duration::from_millis(100);
    settings.look_patience = Duration::from_secs(20);
    settings
}

fn open(settings: ProcessSettings) -> SharedPlatform {
    Arc::new(ProcessPlatform::open(settings).unwrap())
}

struct Programs {
    folder: tempfile::TempDir,
    platform: Option<SharedPlatform>,
}

#[async_trait::async_trait]
impl Subject for Programs {
    fn platform(&self) -> SharedPlatform {
        self.platform.clone().unwrap()
    }
    async fn reopen(&mut self) {
        self.platform = None;
        self.platform = Some(open(settings(self.folder.path())));
    }
    fn service(&self) -> Deployable {
        service()
    }
    fn unknown(&self) -> (Deployable, &'static str) {
        let program = "no-such-program".to_owned();
        (Deployable::Command { program, arguments: Vec::new() }, "no-such-program")
    }
    fn command(&self, code: u8) -> Vec<String> {
        vec!["sh".to_owned(), "-c".to_owned(), format!("exit {code}")]
    }
}

#[tokio::test]
async fn programs_of_the_host_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let platform = Some(open(settings(folder.path())));
    conformance(&mut Programs { folder, platform }).await;
}

/// A control plane in a process of its own, and its instance.
async fn owner(folder: &Path, order: &InstanceSpec) -> tokio::process::Child {
    let ports = some_ports();
    let mut owner = tokio::process::Command::new(own_binary("platform-owner"))
        .arg(folder.join("instances"))
        .args([ports.start().to_string(), ports.end().to_string()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut order_to = owner.stdin.take().unwrap();
    order_to.write_all(&serde_json::to_vec(order).unwrap()).await.unwrap();
    drop(order_to);
    let mut said = BufReader::new(owner.stdout.take().unwrap()).lines();
    let first = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("it starts").unwrap();
    assert_eq!(first.as_deref(), Some("started"));
    owner
}

#[tokio::test]
async fn instances_outlive_a_control_plane_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let order = order("outlives", service());
    let mut owner = owner(folder.path(), &order).await;
    // One folder has one control plane.
    let error = ProcessPlatform::open(settings(folder.path())).unwrap_err();
    assert!(matches!(error, PlatformError::InUse { .. }), "{error}");
    owner.kill().await.unwrap();
    let platform = open(settings(folder.path()));
    let found = answering(&platform, &order.id).await;
    assert_eq!((found.restarts, &found.digest), (0, &order.digest()));
    platform.ensure(&order).await.unwrap();
    assert_eq!(find(&platform, &order.id).await.unwrap(), found);
    // It is looked after as before.
    drop(ask(&found, "/crash/5").await);
    until(&platform, &order.id, "it is started again", |now| now.restarts == 1).await;
    let again = answering(&platform, &order.id).await;
    assert_eq!(again.ports, found.ports, "its ports are its own");
    platform.remove(&order.id, GRACE).await.unwrap();
}

#[tokio::test]
async fn an_instance_whose_start_was_cut_off_is_started_by_the_next_ensure() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(settings(folder.path()));
    let order = order("cut-off", service());
    running(&platform, &order).await;
    platform.stop(&order.id, GRACE).await.unwrap();
    // As a control plane leaves it that is killed between the folder and the supervisor.
    std::fs::remove_file(folder.path().join("instances/cut-off/status.json")).unwrap();
    let found = find(&platform, &order.id).await.unwrap();
    assert!(matches!(found.state, State::Exited(_)), "it would be waited for: {:?}", found.state);
    running(&platform, &order).await;
    platform.remove(&order.id, GRACE).await.unwrap();
}

/// The supervisor's number, as its folder tells.
fn supervisor(folder: &Path, id: &str) -> i32 {
    let text = std::fs::read(folder.join("instances").join(id).join("status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_slice(&text).unwrap();
    i32::try_from(status["supervisor"].as_i64().unwrap()).unwrap()
}

fn kill(pid: i32) {
    let status = std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn an_instance_outlives_its_supervisor_and_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(settings(folder.path()));
    let order = order("orphan", service());
    let before = running(&platform, &order).await;
    let answer = ask(&before, "/").await.unwrap();
    let first = supervisor(folder.path(), "orphan");
    kill(first);
    // What it writes meanwhile waits in the pipe.
    ask(&before, "/say/alone").await.unwrap();
    assert_eq!(find(&platform, &order.id).await.unwrap().state, State::Running);
    eventually(PATIENCE, "another supervisor", async || {
        platform.ensure(&order).await.unwrap();
        (supervisor(folder.path(), "orphan") != first).then_some(())
    })
    .await;
    assert_eq!(find(&platform, &order.id).await.unwrap(), before);
    assert_eq!(ask(&before, "/").await.unwrap(), answer, "the same process");
    eventually(PATIENCE, "what it wrote is kept", async || {
        (log(&platform, &order.id).await.matches("alone").count() == 2).then_some(())
    })
    .await;
    // Its end is seen, and it is started again.
    drop(ask(&before, "/crash/6").await);
    until(&platform, &order.id, "it is started again", |now| now.restarts == 1).await;
    answering(&platform, &order.id).await;
    // Without a supervisor it is ended all the same.
    kill(supervisor(folder.path(), "orphan"));
    platform.remove(&order.id, GRACE).await.unwrap();
    ask(&before, "/").await.unwrap_err();
}

#[tokio::test]
async fn a_supervisor_whose_folder_is_gone_ends_with_its_instance() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(settings(folder.path()));
    let order = order("vanished", service());
    let before = running(&platform, &order).await;
    let pid = supervisor(folder.path(), "vanished");
    std::fs::remove_dir_all(folder.path().join("instances/vanished")).unwrap();
    eventually(PATIENCE, "the supervisor ends", async || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
    ask(&before, "/").await.unwrap_err();
}

#[tokio::test]
async fn everything_that_an_instance_started_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(settings(folder.path()));
    let mut order = order("family", shell("trap '' TERM; sleep 600 & echo $! > child; wait; sleep 600"));
    order.ports.clear();
    platform.ensure(&order).await.unwrap();
    let file = folder.path().join("instances/family/work/child");
    let child = eventually(PATIENCE, "the child is there", async || {
        std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<i32>().ok())
    })
    .await;
    assert!(Path::new(&format!("/proc/{child}")).exists());
    platform.remove(&order.id, Duration::from_millis(200)).await.unwrap();
    eventually(PATIENCE, "the child is gone", async || {
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn ports_have_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(settings(folder.path()));
    let port = vamp_tests::free_port();
    let fixed = |name: &str| {
        let mut order = order(name, service());
        order.ports[0].host = HostPort::Fixed(port);
        order
    };
    let first = running(&platform, &fixed("first")).await;
    assert_eq!(first.ports["web"], port);
    let error = platform.ensure(&fixed("second")).await.unwrap_err();
    assert!(error.to_string().contains("instance `first`"), "{error}");
    // Also while its owner is down.
    platform.stop(&id("first"), GRACE).await.unwrap();
    let error = platform.ensure(&fixed("second")).await.unwrap_err();
    assert!(matches!(error, PlatformError::PortTaken { .. }), "{error}");
    platform.remove(&id("first"), GRACE).await.unwrap();
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let error = platform.ensure(&fixed("second")).await.unwrap_err();
    assert!(error.to_string().contains("none of ours"), "{error}");
    assert!(platform.list(&Labels::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_range_without_a_free_port_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", vamp_tests::free_port())).unwrap();
    let port = taken.local_addr().unwrap().port();
    let platform = open(ProcessSettings { port_range: port..=port, ..settings(folder.path()) });
    let error = platform.ensure(&order("none", service())).await.unwrap_err();
    assert!(matches!(error, PlatformError::NoPort { .. }), "{error}");
}

#[tokio::test]
async fn without_control_groups_memory_is_limited_for_each_process_and_the_rest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(ProcessSettings { groups: Grouping::Off, ..settings(folder.path()) });
    let mut order = order("memory", service());
    order.memory_bytes = Some(64 << 20);
    order.cpu_milli = Some(100);
    let instance = running(&platform, &order).await;
    assert_eq!(ask(&instance, "/take/10000000").await.unwrap(), (200, "10000000".to_owned()));
    assert_eq!(ask(&instance, "/take/100000000").await.unwrap().0, 507);
    let told = instance.warnings.join("; ");
    assert!(told.contains("limit of cpu not enforced") && told.contains("`--process-cgroup off`"), "{told}");
    assert!(told.contains("limit of memory enforced for each process alone"), "{told}");
    assert!(platform.info().await.unwrap().cpu.contains("not kept"));
    platform.remove(&order.id, GRACE).await.unwrap();
    // Nobody misses a limit that nobody set.
    let unlimited = crate::order::order("free", service());
    assert_eq!(running(&platform, &unlimited).await.warnings, Vec::<String>::new());
    platform.remove(&unlimited.id, GRACE).await.unwrap();
}

#[tokio::test]
async fn a_control_group_that_can_not_be_made_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    // A file of each tree that has groups, which can't be one itself.
    let groups = Grouping::At("/cgroup.procs/vamp".into());
    let platform = open(ProcessSettings { groups, ..settings(folder.path()) });
    let order = InstanceSpec { cpu_milli: Some(100), ..order("unlimited", service()) };
    let told = running(&platform, &order).await.warnings.join("; ");
    assert!(told.contains("limit of cpu not enforced") && told.contains("give `--process-cgroup`"), "{told}");
    platform.remove(&order.id, GRACE).await.unwrap();
}

const NEEDS_ROOT: &str = "this test makes control groups below /sys/fs/cgroup, which only root may: run `tests/run` as \
     root, or leave out those that need it with `-- --skip control_groups --skip processors_and_memory`";

/// Control groups of one test, which are gone with it.
struct Groups(String);

impl Groups {
    fn new() -> Self {
        assert!(is_root(), "{NEEDS_ROOT}");
        Self(format!("vamp-test-{:x}", rand::random::<u64>()))
    }

    fn open(&self, folder: &Path) -> SharedPlatform {
        let groups = Grouping::At(Path::new("/").join(&self.0));
        open(ProcessSettings { groups, ..settings(folder) })
    }

    /// All groups below those of this test.
    fn found(&self) -> Vec<PathBuf> {
        let script = format!("find /sys/fs/cgroup -mindepth 2 -type d -path '*/{}/*'", self.0);
        let told = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        String::from_utf8(told.stdout).unwrap().lines().map(PathBuf::from).collect()
    }

    /// The group of this test that has a file.
    fn with(&self, file: &str) -> PathBuf {
        let found = self.found().into_iter().find(|group| group.join(file).exists());
        found.unwrap_or_else(|| panic!("no group with {file} in {:?}", self.found()))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let script = format!("find /sys/fs/cgroup -depth -type d -path '*/{}*' -exec rmdir {{}} +", self.0);
        std::process::Command::new("sh").args(["-c", &script]).status().unwrap();
    }
}

fn is_root() -> bool {
    let told = std::process::Command::new("id").arg("-u").output().unwrap();
    told.stdout == b"0\n"
}

/// A counter in a file of a control group.
fn counter(file: &Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.trim().parse().unwrap_or_default()
}

#[tokio::test]
async fn processors_and_memory_are_limited_for_all_of_an_instance() {
    let (folder, groups) = (tempfile::tempdir().unwrap(), Groups::new());
    let platform = groups.open(folder.path());
    let mut order = order("limited", service());
    order.cpu_milli = Some(200);
    order.memory_bytes = Some(64 << 20);
    let instance = running(&platform, &order).await;
    assert_eq!(instance.warnings, Vec::<String>::new());
    assert!(platform.info().await.unwrap().cpu.contains("waits"));
    let stat = groups.with("cpu.stat").join("cpu.stat");
    assert_eq!(ask(&instance, "/work/30").await.unwrap().0, 200);
    assert!(counter(&stat, "nr_throttled ") > 0, "{}", std::fs::read_to_string(&stat).unwrap());
    // Who takes more memory is ended, that is told, and it is started again within the same limits.
    assert_eq!(ask(&instance, "/take/10000000").await.unwrap().0, 200);
    eventually(PATIENCE, "it is told that it ended for its memory", async || {
        let found = find(&platform, &order.id).await.unwrap();
        drop(ask(&found, "/take/200000000").await);
        matches!(found.state, State::Restarting(exit) if exit.is_out_of_memory).then_some(())
    })
    .await;
    let again = answering(&platform, &order.id).await;
    let before = counter(&stat, "nr_throttled ");
    assert_eq!(ask(&again, "/work/30").await.unwrap().0, 200);
    assert!(counter(&stat, "nr_throttled ") > before);
    platform.remove(&order.id, GRACE).await.unwrap();
    assert_eq!(groups.found(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn an_instance_stays_in_its_control_groups_until_it_is_removed() {
    let (folder, groups) = (tempfile::tempdir().unwrap(), Groups::new());
    let platform = groups.open(folder.path());
    // What it starts leaves its process group, and goes with its control group all the same.
    let script = "setsid sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 600; done' & wait";
    let mut order = order("stays", shell(script));
    order.ports.clear();
    order.cpu_milli = Some(500);
    platform.ensure(&order).await.unwrap();
    let file = folder.path().join("instances/stays/work/child");
    let child = eventually(PATIENCE, "the child is there", async || {
        std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u32>().ok())
    })
    .await;
    let members = || -> BTreeSet<u32> {
        let told = std::fs::read_to_string(groups.with("cpu.stat").join("cgroup.procs")).unwrap();
        told.lines().map(|line| line.parse().unwrap()).collect()
    };
    // The child says its number before it starts what it waits for.
    let before = eventually(PATIENCE, "a shell, its child, and what that waits for are there", async || {
        Some(members()).filter(|members| members.len() == 3)
    })
    .await;
    assert!(before.contains(&child), "{child}: {before:?}");
    drop(platform);
    // The next control plane has other groups: who runs stays where it is, over its supervisor's death too.
    let platform = open(ProcessSettings { groups: Grouping::Off, ..settings(folder.path()) });
    let first = supervisor(folder.path(), "stays");
    kill(first);
    eventually(PATIENCE, "another supervisor", async || {
        platform.ensure(&order).await.unwrap();
        (supervisor(folder.path(), "stays") != first).then_some(())
    })
    .await;
    assert_eq!(members(), before);
    platform.remove(&order.id, Duration::from_millis(200)).await.unwrap();
    assert_eq!(groups.found(), Vec::<PathBuf>::new());
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
}

#[tokio::test]
async fn control_groups_that_go_between_two_starts_of_an_instance_are_made_again() {
    let (folder, groups) = (tempfile::tempdir().unwrap(), Groups::new());
    let platform = groups.open(folder.path());
    let mut order = order("returns", shell("[ -e ready ] && exec sleep 600; exit 1"));
    order.ports.clear();
    order.cpu_milli = Some(500);
    order.memory_bytes = Some(64 << 20);
    platform.ensure(&order).await.unwrap();
    // By then it waits long for its next start. Systemd takes away what is empty when a unit stops.
    eventually(PATIENCE, "its control groups are taken away", async || {
        until(&platform, &order.id, "waiting for its next start", |found| {
            found.restarts >= 5 && matches!(found.state, State::Restarting(_))
        })
        .await;
        let found = groups.found();
        // A start that comes before this is done needs them.
        let is_done = !found.is_empty() && found.iter().all(|group| std::fs::remove_dir(group).is_ok());
        is_done.then_some(())
    })
    .await;
    std::fs::write(folder.path().join("instances/returns/work/ready"), "").unwrap();
    until(&platform, &order.id, "running", |found| found.state == State::Running).await;
    let holds = |files: [&str; 2], value: &str| {
        let all = groups.found();
        let paths = all.iter().flat_map(|group| files.iter().map(move |file| group.join(file)));
        let texts: Vec<_> = paths.filter_map(|path| std::fs::read_to_string(path).ok()).collect();
        assert!(texts.iter().any(|text| text.starts_with(value)), "{texts:?}");
    };
    holds(["cpu.cfs_quota_us", "cpu.max"], "50000");
    holds(["memory.limit_in_bytes", "memory.max"], "67108864");
    let members = std::fs::read_to_string(groups.with("cpu.stat").join("cgroup.procs")).unwrap();
    assert!(!members.is_empty(), "{}", log(&platform, &order.id).await);
    platform.remove(&order.id, GRACE).await.unwrap();
    assert_eq!(groups.found(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn control_groups_of_what_is_gone_go_at_the_next_start() {
    let (folder, groups) = (tempfile::tempdir().unwrap(), Groups::new());
    let platform = groups.open(folder.path());
    let order = InstanceSpec { cpu_milli: Some(500), ..order("vanishes", service()) };
    running(&platform, &order).await;
    let pid = supervisor(folder.path(), "vanishes");
    // Neither its supervisor nor its folder is left to tell of it.
    kill(pid);
    std::fs::remove_dir_all(folder.path().join("instances/vanishes")).unwrap();
    assert_eq!(groups.found().len(), 1);
    drop(platform);
    let other = tempfile::tempdir().unwrap();
    let others = groups.open(other.path());
    running(&others, &order).await;
    // Those of other folders are left alone.
    let platform = eventually(PATIENCE, "the group is gone", async || {
        let platform = groups.open(folder.path());
        (groups.found().len() == 1).then_some(platform)
    })
    .await;
    assert!(platform.list(&Labels::new()).await.unwrap().is_empty());
    answering(&others, &order.id).await;
    others.remove(&order.id, GRACE).await.unwrap();
    assert_eq!(groups.found(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn values_of_variables_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let platform = open(settings(folder.path()));
    let order = order("private", service());
    running(&platform, &order).await;
    let instance = folder.path().join("instances/private");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&instance), mode(&instance.join("plan.json"))), (0o700, 0o600));
    platform.remove(&order.id, GRACE).await.unwrap();
}

#[tokio::test]
async fn what_the_driver_does_not_know_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let platform = open(settings(folder.path()));
    let refused = async |change: &dyn Fn(&mut InstanceSpec), name: &str| {
        let mut order = order("refused", service());
        change(&mut order);
        let error = platform.ensure(&order).await.unwrap_err();
        let text =
            format!("{error}: {}", std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default());
        assert!(text.contains(name), "{text}");
    };
    refused(&|order| order.arguments.push(("privileged".to_owned(), "true".to_owned())), "`privileged`").await;
    refused(&|order| drop(order.dialect.insert("cpu".to_owned(), 1.into())), "dialect `cpu`").await;
    refused(&|order| drop(order.dialect.insert("working_directory".to_owned(), "x".into())), "absolute path").await;
    let image = || Deployable::Docker { image: "demo:1".to_owned(), command: Vec::new() };
    refused(&|order| order.deployable = image(), "does not run container images").await;
    assert!(platform.list(&Labels::new()).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_instance_runs_in_the_folder_of_its_dialect() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let mut script = std::fs::File::create(home.join("work")).unwrap();
    script.write_all(b"#!/bin/sh\npwd\nsleep 600\n").unwrap();
    drop(script);
    std::fs::set_permissions(home.join("work"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let platform = open(settings(folder.path()));
    let mut order = order("home", Deployable::Command { program: "./work".to_owned(), arguments: Vec::new() });
    order.dialect.insert("working_directory".to_owned(), home.display().to_string().into());
    platform.ensure(&order).await.unwrap();
    eventually(PATIENCE, "it says where it is", async || {
        log(&platform, &order.id).await.contains(&home.display().to_string()).then_some(())
    })
    .await;
    platform.remove(&order.id, GRACE).await.unwrap();
}
