//! Clients that take without giving, in numbers: whoever asks properly is served all the same, what each costs is
//! bounded, and everything comes back when they leave.

#![allow(clippy::print_stdout, reason = "the figures, for who wants to know how far the bounds are")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use vamp_tests::crowd::{self, Crowd, Kind};
use vamp_tests::installation::{Gateway, Installation, PATIENCE};
use vamp_tests::load::{Load, Plan, Report};
use vamp_tests::memory_group::MemoryGroup;
use vamp_tests::origin::{Behaviour, Origin};
use vamp_tests::{eventually, free_port};

use crate::{gateway_document, load_on};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// An answer that no socket takes at once.
const LARGE: u64 = 4 * MIB;

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A gateway with three ports: one for small answers, one for large ones, one that carries connections.
struct Scene {
    gateway: Gateway,
    _installation: Installation,
    small: u16,
    large: u16,
    carried: u16,
    _origins: [Origin; 2],
    _deaf: JoinSet<()>,
}

/// A server that sends for as long as it is taken, and takes nothing.
fn deaf_server() -> (SocketAddr, JoinSet<()>) {
    let socket = TcpSocket::new_v4().unwrap();
    // What its connections have too: they stall soon.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1024).unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            connections.spawn(async move { while stream.write_all(&[7; 16 * 1024]).await.is_ok() {} });
            while connections.try_join_next().is_some() {}
        }
    });
    (address, serving)
}

impl Scene {
    async fn set(shell: &str, answer_bytes: u64) -> Self {
        crowd::raise_open_files();
        let installation = Installation::start().await;
        let gateway = installation.gateway_after("g1", shell);
        gateway.until_live().await;
        installation.rollout_where("it is registered", |rollout| rollout["gateways"][0].is_object()).await;
        let origins = [Origin::start("1").await, Origin::start("2").await];
        origins[1].behave(Behaviour::Large(answer_bytes));
        let (small, large, carried) = (free_port(), free_port(), free_port());
        installation.serve("small", &gateway_document("small", small, &[(&origins[0], 100)])).await;
        installation.serve("large", &gateway_document("large", large, &[(&origins[1], 100)])).await;
        let (address, deaf) = deaf_server();
        let document = format!("{{name: carried, port: {carried}/tcp, routes: {{'[{address}]': {{weight: 100%}}}}}}");
        installation.serve("carried", &document).await;
        Self { _installation: installation, gateway, small, large, carried, _origins: origins, _deaf: deaf }
    }

    async fn clients(&self) -> f64 {
        self.gateway.metric("vamp_gateway_connections", "client").await
    }

    async fn refused(&self, reason: &str) -> f64 {
        self.gateway.metric("vamp_gateway_connections_refused_total", reason).await
    }

    /// As soon as what came is dealt with, nothing is done in a second in which nothing changes; a gateway that spins never
    /// gets there. The admin listener answers before and after.
    async fn does_not_spin(&self) {
        self.clients().await;
        eventually(PATIENCE, "a second of which less than a fifth is used", async || {
            let before = self.gateway.processor_time();
            tokio::time::sleep(Duration::from_secs(1)).await;
            let used = self.gateway.processor_time().saturating_sub(before);
            (used < Duration::from_millis(200)).then_some(())
        })
        .await;
        self.clients().await;
    }

    /// Resident bytes, as soon as they stay as they are.
    async fn settled_bytes(&self) -> u64 {
        let mut looks = [0; 5];
        eventually(PATIENCE, "the memory settles", async || {
            tokio::time::sleep(Duration::from_millis(50)).await;
            looks.rotate_left(1);
            looks[4] = self.gateway.resident_bytes();
            let (least, most) = (*looks.iter().min()?, *looks.iter().max()?);
            (most - least <= 64 * KIB).then_some(most)
        })
        .await
    }
}

/// Arguments of a gateway whose clients may take their time, behind what a shell does first: a crowd stands still.
fn patient(first: &str, more: &str) -> String {
    let times = "--head-timeout 5m --body-idle-timeout 5m --keep-alive-timeout 5m --response-idle-timeout 5m";
    format!("{first} set -- \"$@\" {times} --body-bytes-per-second-min 0 {more}")
}

/// What one client of each kind may cost in memory on average: what is promised, for builds of any profile. A stalled
/// client leaves up to the whole of a 32 KiB read; one of a TCP gateway up to the whole of a 64 KiB read each way.
const BOUNDS: [(Kind, u64); 5] = [
    (Kind::Idle, 2 * KIB),
    (Kind::SlowHead, 4 * KIB),
    (Kind::SlowBody, 8 * KIB),
    (Kind::Stalled, 40 * KIB),
    (Kind::Deaf, 136 * KIB),
];

/// What the measurement may be off by in sum: some buffers of the process, which come and go with its load. Crowds are so
/// large that it is 3 KiB for each stalled client, and a fraction of a KiB for each idle one.
const SLACK_BYTES: u64 = 512 * KIB;

/// Who is served within this beside a crowd is not held up by it: the goal is 50 ms (100 with stalled readers) on a machine
/// that does nothing else, which a test can't ask for; a crowd that is waited for costs seconds.
const HEALTHY_P99_MAX: Duration = Duration::from_secs(1);

/// When all descriptors must be back after a crowd has left.
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Crowds of these sizes, in the order of [`BOUNDS`].
async fn healthy_clients_beside(sizes: [usize; 5]) {
    let scene = Scene::set(&patient("", "--connections-max 17000"), LARGE).await;
    let load = Load::start(Plan { connections: 4, ..load_on(scene.small) });
    load.flow(2_000).await;
    let descriptors = scene.gateway.descriptors();
    let mut crowds = Vec::new();
    let mut before = scene.settled_bytes().await;
    let mut expected = scene.clients().await;
    for ((kind, each_max), count) in BOUNDS.into_iter().zip(sizes) {
        let port = match kind {
            Kind::Stalled => scene.large,
            Kind::Deaf => scene.carried,
            _ => scene.small,
        };
        let crowd = Crowd::gather(at(port), kind, count).await;
        assert_eq!(crowd.len(), count, "{kind:?}: all are let in");
        expected += f64::from(u32::try_from(count).unwrap());
        eventually(PATIENCE, "all are connected", async || (scene.clients().await >= expected).then_some(())).await;
        let after = scene.settled_bytes().await;
        let bytes = after.saturating_sub(before);
        println!("{count} {kind:?}: {} bytes each", bytes / count as u64);
        let bound = each_max * count as u64;
        assert!(bytes <= bound + SLACK_BYTES, "{kind:?}: {bytes} bytes for {count} clients");
        before = after;
        crowds.push(crowd);
    }
    for crowd in &crowds[1..3] {
        crowd.trickle();
    }
    load.flow(1_000).await;
    assert!(scene.clients().await >= expected, "the crowd is still there");
    let left = Instant::now();
    drop(crowds);
    // Connections to endpoints are kept for later: as many as there were requests at once.
    eventually(BACK_WITHIN, "descriptors are back", async || {
        (scene.gateway.descriptors() <= descriptors + 64).then_some(())
    })
    .await;
    println!("descriptors back after {:?}", left.elapsed());
    let report = load.finish().await;
    report.assert_flawless();
    let [median, p99] = [50, 99].map(|percent| report.percentile(percent));
    println!("{} healthy requests: median {median:?}, p99 {p99:?}, slowest {:?}", report.answered, report.slowest);
    assert!(p99 <= HEALTHY_P99_MAX, "{p99:?} beside the crowd");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_client_is_served_beside_a_crowd_whose_cost_is_bounded() {
    healthy_clients_beside([4_000, 200, 200, 200, 50]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs 20,000 open files and a minute: tests/nightly"]
async fn a_healthy_client_is_served_beside_fourteen_thousand_others() {
    healthy_clients_beside([10_000, 2_000, 2_000, 500, 100]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_256_descriptors_and_400_clients_each_gets_an_answer_and_nothing_spins() {
    let scene = Scene::set("ulimit -n 256", LARGE).await;
    let room = scene.gateway.metric("vamp_gateway_capacity", "connections").await;
    assert!((16.0..128.0).contains(&room), "{room}");
    let crowd = Crowd::gather(at(scene.small), Kind::Idle, 400).await;
    assert!(crowd.turned_away > 0 && crowd.len() >= 16, "{} of 400 turned away", crowd.turned_away);
    assert!(scene.refused("connections").await > 0.0);
    scene.does_not_spin().await;
    drop(crowd);
    eventually(PATIENCE, "clients are let in again", async || {
        (crowd::ask(&mut crowd::connect(at(scene.small), 1).await).await == Some(200)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_for_whom_no_descriptor_is_left_are_turned_away_until_there_are_some() {
    let scene = Scene::set(&patient("ulimit -n 256;", "--connections-max 10000"), LARGE).await;
    // Each needs a second one for its endpoint.
    let crowd = Crowd::gather(at(scene.large), Kind::Stalled, 400).await;
    assert!(crowd.turned_away > 100, "{} of 400 turned away", crowd.turned_away);
    scene.does_not_spin().await;
    drop(crowd);
    eventually(PATIENCE, "clients are let in again", async || {
        (crowd::ask(&mut crowd::connect(at(scene.small), 1).await).await == Some(200)).then_some(())
    })
    .await;
    assert!(scene.refused("descriptors").await > 0.0);
    let log = scene.gateway.log();
    assert!(log.contains("--connections-max is 10000, but there is room for") && !log.contains("panicked"), "{log}");
}

/// Who keeps sending is served beside a crowd of newcomers. A connection of the load on which nothing came for a second, as
/// this process had no turn, makes room for one of them, and is turned away as one when it comes back.
#[track_caller]
fn check_served(report: &Report) {
    let is_turned_away = |failure: &String| failure.contains("503");
    let turned_away = report.failures.iter().filter(|failure| is_turned_away(failure)).count();
    assert_eq!((report.wrong, report.failures.len()), (0, turned_away), "{report:#?}");
    assert!(report.failed <= report.answered / 100, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_short_of_memory_turns_newcomers_away_and_lives() {
    let scene = Scene::set(&patient("", ""), LARGE).await;
    let load = Load::start(Plan { connections: 4, ..load_on(scene.small) });
    load.flow(500).await;
    // 16 MiB are left to requests under way, 8 MiB are free: the flood needs 60.
    crowd::set_limit(scene.gateway.pid(), &format!("data={}:", (scene.gateway.data_bytes() + 24 * MIB).max(64 * MIB)));
    let flood = Crowd::gather(at(scene.large), Kind::Stalled, 2_000).await;
    assert!(flood.turned_away > 0, "all of {} were let in", flood.len());
    assert!(scene.refused("memory").await > 0.0);
    load.flow(500).await;
    println!("{} stalled clients were let in, {} turned away", flood.len(), flood.turned_away);
    drop(flood);
    eventually(PATIENCE, "clients are let in again", async || {
        (crowd::ask(&mut crowd::connect(at(scene.small), 1).await).await == Some(200)).then_some(())
    })
    .await;
    check_served(&load.finish().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_in_a_memory_group_turns_newcomers_away_and_is_never_ended_by_the_kernel() {
    let Some(group) = MemoryGroup::with_limit(64 * MIB) else { return };
    let mut scene = Scene::set(&patient(&format!("{};", group.enter()), "--connections-max 10000"), LARGE).await;
    let log = scene.gateway.log();
    assert!(log.contains("and 64 MiB of memory by the control group"), "{log}");
    let load = Load::start(Plan { connections: 4, ..load_on(scene.small) });
    load.flow(500).await;
    // There are places for more than fit.
    let flood = Crowd::gather(at(scene.large), Kind::Stalled, 4_000).await;
    assert!(flood.turned_away > 0, "all of {} were let in", flood.len());
    assert!(scene.refused("memory").await > 0.0);
    // Asking tells whether the answer has its `Retry-After`.
    let newcomer = async || crowd::ask(&mut crowd::connect(at(scene.small), 1).await).await;
    eventually(PATIENCE, "a newcomer is turned away", async || (newcomer().await == Some(503)).then_some(())).await;
    load.flow(500).await;
    println!("{} stalled clients were let in, {} turned away", flood.len(), flood.turned_away);
    drop(flood);
    eventually(PATIENCE, "clients are let in again", async || (newcomer().await == Some(200)).then_some(())).await;
    check_served(&load.finish().await);
    assert_eq!(group.killed(), 0, "the kernel ended processes of the group");
    scene.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_gets_its_share_of_connections() {
    let scene = Scene::set("set -- \"$@\" --connections-per-client-max 10", LARGE).await;
    // The crowd comes from sixteen addresses, the load from one more.
    let crowd = Crowd::gather(at(scene.small), Kind::Idle, 200).await;
    assert_eq!((crowd.len(), crowd.turned_away), (160, 40));
    assert!((39.5..40.5).contains(&scene.refused("client").await));
    Load::start(Plan { requests: Some(100), ..load_on(scene.small) }).report().await.assert_flawless();
}

/// So many connections, one after the other on each of 64 ways, each for one request.
async fn storm(count: usize) {
    let scene = Scene::set(":", LARGE).await;
    let began = Instant::now();
    let asked = (0..count).map(|number| async move {
        let mut stream = crowd::connect(at(scene.small), number).await;
        crowd::ask(&mut stream).await
    });
    let answers: Vec<_> = futures_util::stream::iter(asked).buffer_unordered(64).collect().await;
    assert_eq!(answers.iter().filter(|status| **status == Some(200)).count(), count);
    println!("{count} connections in {:?}", began.elapsed());
    eventually(PATIENCE, "all are gone", async || (scene.clients().await < 1.0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_of_a_storm_is_answered() {
    storm(5_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute: tests/nightly"]
async fn every_connection_of_a_long_storm_is_answered() {
    storm(100_000).await;
}

/// A body of so many bytes each way, in the memory of a small one.
async fn bodies(bytes: u64) {
    let scene = Scene::set(":", bytes).await;
    for _ in 0..3 {
        upload(scene.small, MIB).await;
        // Cut after a part: the buffers have their size from now on.
        download(scene.large, MIB).await;
    }
    let before = scene.settled_bytes().await;
    scene.gateway.forget_peak();
    upload(scene.small, bytes).await;
    download(scene.large, bytes).await;
    let after = scene.gateway.peak_bytes();
    println!("{bytes} bytes each way: {} bytes more", after.saturating_sub(before));
    assert!(after <= before + 2 * MIB, "{before} bytes before, {after} after");
}

async fn upload(port: u16, bytes: u64) {
    let mut stream = TcpStream::connect(at(port)).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::io::copy(&mut tokio::io::repeat(7).take(bytes), &mut stream).await.unwrap();
    let mut start = [0; 12];
    stream.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
}

async fn download(port: u16, bytes: u64) {
    let mut stream = TcpStream::connect(at(port)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
    let copied = tokio::io::copy(&mut (&mut stream).take(bytes), &mut tokio::io::sink()).await.unwrap();
    assert_eq!(copied, bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_pass_in_the_memory_of_small_ones() {
    bodies(64 * MIB).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "moves two GiB: tests/nightly"]
async fn bodies_of_a_gibibyte_pass_in_the_memory_of_small_ones() {
    bodies(1024 * MIB).await;
}
