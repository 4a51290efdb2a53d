//! The driver on a store in process, whose time is made up, and on a real etcd.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use vamp_routing::CompiledTable;
use vamp_routing::wire::{Encoded, Endpoint, Gateway, Route, Share, Sticky, Target};
use vamp_store::memory::Handle;
use vamp_store::tables::{Publishable, Publisher};
use vamp_store::testing::Etcd;
use vamp_store::values;

use super::*;
use crate::limits::Limits;
use crate::plane::{DataPlane, PlaneSettings};

/// Longer than anything waits for; on the store in process this is made-up time.
const DEADLINE: Duration = Duration::from_mins(1);

/// Serves nothing, and remembers all that it was given.
struct Plane {
    table: Mutex<Arc<CompiledTable>>,
    applied: Mutex<Vec<Generation>>,
    degradations: watch::Sender<Vec<Degradation>>,
}

impl Plane {
    fn empty() -> Arc<Self> {
        Arc::new(Self {
            table: Mutex::default(),
            applied: Mutex::default(),
            degradations: watch::Sender::new(Vec::new()),
        })
    }
}

#[async_trait::async_trait]
impl Serve for Plane {
    fn compile(&self, manifest: &Manifest, stock: &Stock) -> Result<CompiledTable, String> {
        let previous = Arc::clone(&self.table.lock().unwrap());
        stock.compile(manifest, &previous)
    }

    async fn apply(&self, table: CompiledTable) -> Vec<Degradation> {
        tokio::task::yield_now().await;
        self.applied.lock().unwrap().push(table.generation());
        *self.table.lock().unwrap() = Arc::new(table);
        self.degradations.borrow().clone()
    }

    fn degradations(&self) -> watch::Receiver<Vec<Degradation>> {
        self.degradations.subscribe()
    }
}

/// One boot of a gateway process.
struct Process {
    plane: Arc<Plane>,
    status: watch::Receiver<SyncStatus>,
    held: watch::Receiver<Option<Held>>,
    stop: watch::Sender<Course>,
    task: JoinHandle<()>,
}

impl Process {
    fn start(store: &SharedStore, directory: &TempDir) -> Self {
        Self::start_in(store, directory, "default")
    }

    fn start_in(store: &SharedStore, directory: &TempDir, namespace: &str) -> Self {
        let plane = Plane::empty();
        Self::start_with(settings_for(store, directory, namespace), Course::Follow, plane)
    }

    /// One that takes over from another one with this table.
    fn take_over(store: &SharedStore, directory: &TempDir, table: Option<Bytes>) -> Self {
        let settings = SyncSettings { inherited: table, ..settings_for(store, directory, "default") };
        Self::start_with(settings, Course::Hold, Plane::empty())
    }

    fn start_with(settings: SyncSettings, course: Course, plane: Arc<Plane>) -> Self {
        let held = settings.held.subscribe();
        let (sender, status) = watch::channel(SyncStatus::default());
        let (stop, stopped) = watch::channel(course);
        let served: Arc<dyn Serve> = plane.clone();
        let task = tokio::spawn(run(settings, served, sender, stopped));
        Self { plane, status, held, stop, task }
    }

    async fn hold(&self) -> Held {
        self.stop.send_replace(Course::Hold);
        self.is_held().await
    }

    async fn is_held(&self) -> Held {
        let mut held = self.held.clone();
        let held = timeout(DEADLINE, held.wait_for(Option::is_some)).await.expect("it is held").unwrap().clone();
        held.unwrap()
    }

    async fn until(&self, what: &str, holds: impl FnMut(&SyncStatus) -> bool) -> SyncStatus {
        let mut status = self.status.clone();
        if let Ok(held) = timeout(DEADLINE, status.wait_for(holds)).await {
            return held.unwrap().clone();
        }
        panic!("{what}: not within {DEADLINE:?}, it is {:?}", self.status.borrow())
    }

    async fn serves(&self, revision: u64) -> SyncStatus {
        let table = Some(generation(revision));
        let is_served = |status: &SyncStatus| {
            (status.state, status.applied, status.acknowledged) == (SyncState::Current, table, table)
        };
        self.until(&format!("table {revision} is served and acknowledged"), is_served).await
    }

    async fn stop(self) {
        self.stop.send_replace(Course::Leave);
        self.task.await.unwrap();
    }

    /// As a kill does, but the disk may end what it has begun.
    async fn kill(self) {
        self.task.abort();
        drop(self.task.await);
    }
}

fn settings_for(store: &SharedStore, directory: &TempDir, namespace: &str) -> SyncSettings {
    SyncSettings {
        store: Arc::clone(store),
        namespace: namespace.to_owned(),
        gateway_id: "g1".to_owned(),
        boot: rand::random::<u64>().to_string(),
        admin_url: "http://127.0.0.1:1988".to_owned(),
        data_dir: directory.path().join("data"),
        version: "0.1.0".to_owned(),
        inherited: None,
        held: watch::Sender::default(),
    }
}

fn generation(revision: u64) -> Generation {
    Generation { epoch: 1, revision }
}

fn gateway(name: &str, port: u16) -> Gateway {
    let endpoint = Endpoint { name: "e".to_owned(), lookup: "e".to_owned(), address: "127.0.0.1:1".to_owned() };
    let route = Route {
        name: "[127.0.0.1:1]".to_owned(),
        lookup: "r".to_owned(),
        weight: Share::WHOLE,
        condition: None,
        condition_strength: Share::WHOLE,
        balance: wire::Balance::default(),
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![endpoint]),
    };
    Gateway {
        name: name.to_owned(),
        lookup: name.to_owned(),
        port: Some(port),
        virtual_hosts: Vec::new(),
        sticky: Sticky::None,
        tcp: None,
        routes: vec![route],
    }
}

/// Publishes these gateways as this revision; the values as stored.
async fn publish(store: &SharedStore, revision: u64, gateways: &[Gateway]) -> Vec<Encoded> {
    let values: Vec<Encoded> = gateways.iter().map(wire::encode_gateway).collect();
    let publishable = gateways.iter().zip(&values).map(|(gateway, value)| Publishable { name: &gateway.name, value });
    let publishable: Vec<_> = publishable.collect();
    Publisher::new(Arc::clone(store), "default").publish(generation(revision), None, &publishable).await.unwrap();
    values
}

/// Publishes a table that differs from all others.
async fn publish_some(store: &SharedStore, revision: u64) {
    let port = 9000 + u16::try_from(revision).unwrap();
    publish(store, revision, &[gateway("shop", port)]).await;
}

async fn registration(store: &SharedStore) -> Option<Registration> {
    let entry = store.get(&layout::registration("default", "g1")).await.unwrap()?;
    Some(serde_json::from_slice(&entry.value).unwrap())
}

fn world() -> (SharedStore, Handle, TempDir) {
    let (store, handle) = vamp_store::memory::open();
    (store, handle, tempfile::tempdir().unwrap())
}

#[tokio::test(start_paused = true)]
async fn while_held_nothing_changes_and_then_the_newest_table_is_served() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;
    assert_eq!(process.hold().await.generation, Some(generation(1)));
    let told = registration(&store).await;
    publish_some(&store, 2).await;
    publish_some(&store, 3).await;
    process.until("a newer table is seen", |status| status.state == SyncState::Updating).await;
    // Longer than a lease, and than the time after which a process registers again.
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(*process.plane.applied.lock().unwrap(), [1].map(generation));
    assert_eq!((process.status.borrow().kept, registration(&store).await), (Some(generation(1)), told));
    process.stop.send_replace(Course::Follow);
    process.serves(3).await;
    assert_eq!(*process.held.borrow(), None);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_registration_goes_over_to_the_next_process_without_a_gap() {
    let (store, _handle, directory) = world();
    let before = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    before.serves(1).await;
    let boot = registration(&store).await.unwrap().boot;
    let Held { generation: served, table } = before.hold().await;
    let after = Process::take_over(&store, &directory, table);
    assert_eq!(after.is_held().await.generation, served);
    assert_eq!(registration(&store).await.unwrap().boot, boot, "it is not its turn");
    before.stop.send_replace(Course::HandOver);
    before.task.await.unwrap();
    assert_eq!(registration(&store).await.unwrap().boot, boot, "nobody else is there");
    after.stop.send_replace(Course::Follow);
    after.serves(1).await;
    assert_ne!(registration(&store).await.unwrap().boot, boot);
    // The lease of the process before ends, and takes nothing along.
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(registration(&store).await.is_some());
    }
    assert_eq!(after.status.borrow().outcomes.kept, 1, "whether the table was on disk was not its to know");
    after.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_can_not_serve_the_table_before_it_says_so() {
    let (store, _handle, directory) = world();
    let after = Process::take_over(&store, &directory, Some(Bytes::from_static(b"no table")));
    assert_eq!(after.is_held().await, Held::default());
    assert!(after.plane.applied.lock().unwrap().is_empty());
    after.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_published_table_is_served_kept_and_acknowledged() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    let status = process.until("the store is empty", |status| status.state == SyncState::Empty).await;
    assert!(status.is_ready());
    for revision in 1..=5 {
        publish_some(&store, revision).await;
        let status = process.serves(revision).await;
        assert_eq!(status.kept, Some(generation(revision)));
        let told = registration(&store).await.unwrap();
        assert_eq!((told.applied, told.digest), (status.applied, status.digest));
        assert_eq!((told.problems, told.refused), (Vec::new(), None));
    }
    assert_eq!(*process.plane.applied.lock().unwrap(), [1, 2, 3, 4, 5].map(generation));
    process.stop().await;
    assert_eq!(registration(&store).await, None, "a stop takes the registration away at once");
}

#[tokio::test(start_paused = true)]
async fn a_restart_without_the_store_serves_the_table_from_disk() {
    let (store, handle, directory) = world();
    publish_some(&store, 7).await;
    let process = Process::start(&store, &directory);
    process.serves(7).await;
    process.kill().await;
    handle.refuse();
    let process = Process::start(&store, &directory);
    let status = process.until("it serves", |status| status.applied == Some(generation(7))).await;
    assert!(status.is_ready() && status.problems.is_empty(), "{status:?}");
    process.until("it knows that the store is away", |status| status.state == SyncState::Disconnected).await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    assert_eq!(*process.plane.applied.lock().unwrap(), [generation(7)]);
    handle.answer();
    process.serves(7).await;
    assert_eq!(*process.plane.applied.lock().unwrap(), [generation(7)], "the same table is not applied twice");
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_store_and_disk_it_is_not_ready() {
    let (store, handle, directory) = world();
    handle.refuse();
    let process = Process::start(&store, &directory);
    let status = process.until("the store is away", |status| status.state == SyncState::Disconnected).await;
    assert!(!status.is_ready() && status.last_confirmed.is_none(), "{status:?}");
    assert!(status.fault.unwrap().contains("does not answer"));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_the_newest_table_is_live_without_waiting_for_a_look() {
    let (store, handle, directory) = world();
    let process = Process::start(&store, &directory);
    for (revision, outage) in [(1, 1), (2, 30), (3, 600)] {
        handle.refuse();
        process.until("the store is away", |status| status.state == SyncState::Disconnected).await;
        tokio::time::sleep(Duration::from_secs(outage)).await;
        handle.answer();
        handle.compact();
        let started = Instant::now();
        publish_some(&store, revision).await;
        process.serves(revision).await;
        // Made-up time: the waits of the machine, not of this machine. A look comes after 9.6 s at the earliest.
        assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    }
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cut_watch_and_a_lost_history_lose_no_table() {
    let (store, handle, directory) = world();
    let process = Process::start(&store, &directory);
    for revision in 1..=20 {
        publish_some(&store, revision).await;
        if revision % 2 == 0 {
            handle.compact();
        }
        handle.cut();
        process.serves(revision).await;
    }
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_ended_lease_is_replaced() {
    let (store, handle, directory) = world();
    publish_some(&store, 1).await;
    let process = Process::start(&store, &directory);
    process.serves(1).await;
    for _ in 0..3 {
        handle.end_leases();
        assert_eq!(registration(&store).await, None);
        vamp_store::testing::eventually("it registers again", DEADLINE, async || {
            registration(&store).await.is_some_and(|told| told.applied == Some(generation(1)))
        })
        .await;
    }
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_tables_at_once_end_in_the_newest_and_never_go_back() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    for revision in 1..=500 {
        publish_some(&store, revision).await;
        if revision % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    process.serves(500).await;
    let applied = process.plane.applied.lock().unwrap().clone();
    assert!(applied.is_sorted_by(|before, after| before < after), "{applied:?}");
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn only_values_that_are_not_at_hand_are_read() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    let values = publish(&store, 1, &[gateway("a", 9001), gateway("b", 9002)]).await;
    process.serves(1).await;
    publish(&store, 2, &[gateway("a", 9001), gateway("b", 9003)]).await;
    let unchanged = layout::value_part("default", &values[0].digest.to_string(), 0);
    store.delete(&unchanged, Expected::Anything).await.unwrap();
    process.serves(2).await;
    // Those of the table from disk are at hand too.
    process.kill().await;
    let process = Process::start(&store, &directory);
    publish(&store, 3, &[gateway("b", 9003), gateway("c", 9004)]).await;
    process.serves(3).await;
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_of_many_gateways_is_read_page_by_page() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    let mut gateways: Vec<Gateway> =
        (0..1500).map(|number| gateway(&format!("g{number:05}"), 10_000 + number)).collect();
    publish(&store, 1, &gateways).await;
    process.serves(1).await;
    gateways[700].port = Some(9);
    publish(&store, 2, &gateways).await;
    process.serves(2).await;
    process.kill().await;
    let process = Process::start(&store, &directory);
    process.serves(2).await;
    assert_eq!(process.plane.table.lock().unwrap().gateways().len(), 1500);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_one_gateway_among_many_reads_its_value_and_its_page_and_compiles_it_alone() {
    let (store, _handle, directory) = world();
    let counting = Arc::new(Moody::new(store));
    let store = Arc::clone(&counting) as SharedStore;
    let process = Process::start(&store, &directory);
    let mut gateways: Vec<Gateway> =
        (0..1500).map(|number| gateway(&format!("g{number:05}"), 10_000 + number)).collect();
    publish(&store, 1, &gateways).await;
    process.serves(1).await;
    let mut publisher = Publisher::new(Arc::clone(&store), "default");
    publisher.found().await.unwrap();
    let in_service = || Arc::clone(&process.plane.table.lock().unwrap());
    for (revision, changed) in (2..).zip([0, 700, 1499]) {
        let before = in_service();
        gateways[changed].virtual_hosts = vec![format!("moved-{revision}.example")];
        let values: Vec<Encoded> = gateways.iter().map(wire::encode_gateway).collect();
        let publishable = gateways.iter().zip(&values);
        let publishable: Vec<_> =
            publishable.map(|(gateway, value)| Publishable { name: &gateway.name, value }).collect();
        let read_before = counting.reads.load(Ordering::Relaxed);
        publisher.publish(generation(revision), None, &publishable).await.unwrap();
        process.serves(revision).await;
        assert_eq!(counting.reads.load(Ordering::Relaxed) - read_before, 2, "one page and one value");
        let after = in_service();
        let shared =
            before.gateways().iter().zip(after.gateways()).filter(|(before, after)| Arc::ptr_eq(before, after));
        assert_eq!(shared.count(), 1499);
    }
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_table_that_does_not_compile_is_refused_and_the_last_good_one_stays() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;
    publish(&store, 2, &[gateway("a", 9001), gateway("b", 9001)]).await;
    let status = process.until("it is refused", |status| status.state == SyncState::Refused).await;
    assert_eq!((status.applied, status.outcomes.refused), (Some(generation(1)), 1));
    let refused = status.refused.unwrap();
    assert!(refused.generation == generation(2) && refused.reason.contains("9001"), "{refused:?}");
    vamp_store::testing::eventually("it is reported", DEADLINE, async || {
        registration(&store).await.unwrap().refused == Some(refused.clone())
    })
    .await;
    publish_some(&store, 3).await;
    assert_eq!(process.serves(3).await.refused, None);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_is_no_manifest_is_refused_with_its_number_if_it_has_one() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;
    let write = async |text: &'static str| {
        let manifest = layout::manifest("default");
        store.put(&manifest, Bytes::from_static(text.as_bytes()), Expected::Anything, None).await.unwrap();
    };
    write("no manifest").await;
    let status = process.until("it is refused", |status| status.state == SyncState::Refused).await;
    assert!(status.problems[0].message.starts_with("the table in the store is refused: not a manifest"));
    assert_eq!((status.refused, status.applied), (None, Some(generation(1))));
    write(r#"{"format": 99, "generation": {"epoch": 1, "revision": 5}, "shape": "unheard of"}"#).await;
    let status = process.until("its number is told", |status| status.refused.is_some()).await;
    let refused = status.refused.unwrap();
    assert!(refused.generation == generation(5) && refused.reason.contains("format 99"), "{refused:?}");
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_value_is_refused_and_taken_when_it_is_whole_again() {
    let (store, _handle, directory) = world();
    let value = wire::encode_gateway(&gateway("shop", 9002));
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;
    let mut damaged = value.bytes.clone();
    damaged.truncate(damaged.len() / 2);
    let entries = [wire::ManifestEntry { name: "shop".to_owned(), digest: value.digest }];
    let (manifest, _) = wire::encode_manifest(generation(2), None, &entries);
    for bytes in [damaged, b"\0\x01".to_vec(), Vec::new()] {
        values::put_value(store.as_ref(), "default", value.digest, &bytes).await.unwrap();
        store.put(&layout::manifest("default"), manifest.clone().into(), Expected::Anything, None).await.unwrap();
        let status = process.until("it is refused", |status| status.refused.is_some()).await;
        assert_eq!(status.applied, Some(generation(1)));
    }
    values::put_value(store.as_ref(), "default", value.digest, &value.bytes).await.unwrap();
    process.serves(2).await;
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_value_of_another_gateway_is_refused() {
    let (store, _handle, directory) = world();
    let value = wire::encode_gateway(&gateway("shop", 9002));
    let entries = [wire::ManifestEntry { name: "other".to_owned(), digest: value.digest }];
    values::put_value(store.as_ref(), "default", value.digest, &value.bytes).await.unwrap();
    let (manifest, _) = wire::encode_manifest(generation(1), None, &entries);
    store.put(&layout::manifest("default"), manifest.into(), Expected::Anything, None).await.unwrap();
    let process = Process::start(&store, &directory);
    let status = process.until("it is refused", |status| status.refused.is_some()).await;
    assert!(status.refused.unwrap().reason.contains("names gateway `other`, its value is of `shop`"));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_put_back_to_an_old_copy_is_reported_and_the_newer_table_stays() {
    let (store, handle, directory) = world();
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;
    let backup = handle.back_up();
    publish_some(&store, 2).await;
    process.serves(2).await;
    handle.restore(backup);
    let status = process.until("it is reported", |status| status.state == SyncState::Ahead).await;
    assert_eq!((status.applied, status.outcomes.outdated), (Some(generation(2)), 1));
    vamp_store::testing::eventually("the old registration is replaced", DEADLINE, async || {
        let told = registration(&store).await;
        told.is_some_and(|told| told.applied == Some(generation(2)) && told.problems.len() == 1)
    })
    .await;
    // Also over a restart.
    process.kill().await;
    let process = Process::start(&store, &directory);
    process.until("it is reported again", |status| status.state == SyncState::Ahead).await;
    publish_some(&store, 3).await;
    assert_eq!(process.serves(3).await.problems, []);
    assert_eq!(*process.plane.applied.lock().unwrap(), [2, 3].map(generation));
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_never_stops_a_rollout_and_heals_by_itself() {
    let (store, _handle, directory) = world();
    let blocked = directory.path().join("data");
    std::fs::write(&blocked, b"a file where the directory should be").unwrap();
    let process = Process::start(&store, &directory);
    for revision in 1..=3 {
        publish_some(&store, revision).await;
        let status = process.serves(revision).await;
        assert_eq!(status.kept, None);
        let told = registration(&store).await.unwrap();
        assert_eq!(told.applied, Some(generation(revision)));
        assert!(told.problems[0].message.contains("not safe on disk"), "{told:?}");
    }
    std::fs::remove_file(&blocked).unwrap();
    let status = process.until("the disk took it", |status| status.problems.is_empty()).await;
    assert_eq!(status.kept, Some(generation(3)));
    vamp_store::testing::eventually("the control plane knows", DEADLINE, async || {
        registration(&store).await.unwrap().problems.is_empty()
    })
    .await;
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_file_makes_room_for_the_table_before_it() {
    let (store, handle, directory) = world();
    let process = Process::start(&store, &directory);
    for revision in 1..=2 {
        publish_some(&store, revision).await;
        process.serves(revision).await;
    }
    process.kill().await;
    let newest = directory.path().join("data/table-1.2.vamp");
    let mut content = std::fs::read(&newest).unwrap();
    *content.last_mut().unwrap() ^= 1;
    std::fs::write(&newest, content).unwrap();
    handle.refuse();
    let process = Process::start(&store, &directory);
    let is_served = |status: &SyncStatus| status.applied == Some(generation(1)) && !status.problems.is_empty();
    let status = process.until("the older one is served, and it is told why", is_served).await;
    assert!(status.problems[0].message.contains("does not match its checksum"), "{:?}", status.problems);
    assert!(directory.path().join("data/table-1.2.vamp.refused").exists());
    handle.answer();
    assert_eq!(process.serves(2).await.problems, []);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_of_another_namespace_is_set_aside() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;
    process.stop().await;
    let process = Process::start_in(&store, &directory, "other");
    let status = process.until("the store is empty", |status| status.state == SyncState::Empty).await;
    assert_eq!(status.applied, None);
    assert!(status.problems[0].message.contains("is of namespace `default`"), "{:?}", status.problems);
    process.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_does_not_work_is_acknowledged_as_it_comes_and_goes() {
    let (store, _handle, directory) = world();
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;
    let taken = Degradation { gateway: Some("shop".to_owned()), message: "port 9001 is taken".to_owned() };
    for degradations in [vec![taken.clone()], Vec::new(), vec![taken]] {
        process.plane.degradations.send_replace(degradations.clone());
        vamp_store::testing::eventually("the control plane knows", DEADLINE, async || {
            registration(&store).await.unwrap().problems == degradations
        })
        .await;
    }
    process.stop().await;
}

/// A store that can fall silent: requests are taken and never answered. It counts the values that are read.
#[derive(Debug)]
struct Moody {
    store: SharedStore,
    is_silent: watch::Sender<bool>,
    reads: AtomicUsize,
}

impl Moody {
    fn new(store: SharedStore) -> Self {
        Self { store, is_silent: watch::Sender::new(false), reads: AtomicUsize::new(0) }
    }

    /// The store, if it is in the mood to answer.
    async fn answering(&self) -> &SharedStore {
        let mut is_silent = self.is_silent.subscribe();
        drop(is_silent.wait_for(|is_silent| !is_silent).await);
        &self.store
    }
}

#[async_trait::async_trait]
impl vamp_store::Store for Moody {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.answering().await.get(key).await
    }
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
        lease: Option<Lease>,
    ) -> Result<vamp_store::Version, StoreError> {
        self.answering().await.put(key, value, expected, lease).await
    }
    async fn delete(&self, key: &str, expected: Expected) -> Result<bool, StoreError> {
        self.answering().await.delete(key, expected).await
    }
    async fn list(&self, prefix: &str) -> Result<vamp_store::Listing, StoreError> {
        self.answering().await.list(prefix).await
    }
    async fn list_keys(&self, prefix: &str) -> Result<Vec<(String, vamp_store::Version)>, StoreError> {
        self.answering().await.list_keys(prefix).await
    }
    async fn watch(&self, prefix: &str, after: Position) -> Result<Box<dyn Watch>, StoreError> {
        self.answering().await.watch(prefix, after).await
    }
    async fn grant(&self, time_to_live: Duration) -> Result<Lease, StoreError> {
        self.answering().await.grant(time_to_live).await
    }
    async fn keep_alive(&self, lease: Lease) -> Result<(), StoreError> {
        self.answering().await.keep_alive(lease).await
    }
    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        self.answering().await.revoke(lease).await
    }
    fn max_value_bytes(&self) -> usize {
        self.store.max_value_bytes()
    }
    fn address(&self) -> &str {
        self.store.address()
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_falls_silent_blocks_neither_a_start_nor_a_stop() {
    let (inner, _handle, directory) = world();
    let is_silent = watch::Sender::new(false);
    let store: SharedStore = Arc::new(Moody { is_silent: is_silent.clone(), ..Moody::new(inner) });
    publish_some(&store, 1).await;
    let process = Process::start(&store, &directory);
    process.serves(1).await;
    is_silent.send_replace(true);
    process.until("the silence is noticed", |status| status.state == SyncState::Disconnected).await;
    let stopped = Instant::now();
    process.stop().await;
    assert!(stopped.elapsed() <= STOP_PATIENCE, "a stop took {:?}", stopped.elapsed());
    let started = Instant::now();
    let process = Process::start(&store, &directory);
    process.until("the table from disk is served", |status| status.applied == Some(generation(1))).await;
    assert_eq!(started.elapsed(), Duration::ZERO, "it waited for the store");
    is_silent.send_replace(false);
    process.serves(1).await;
    process.stop().await;
}

#[tokio::test]
async fn a_taken_port_of_the_real_data_plane_is_acknowledged_until_it_is_free() {
    let (store, _handle, directory) = world();
    let port = vamp_store::testing::free_port();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let settings = PlaneSettings {
        bind: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        virtual_hosts_port: None,
        threads: 1,
        trusted_proxies: Vec::new(),
        proxy_protocol: false,
        targets: vamp_routing::Targets::default(),
        limits: Limits::default(),
    };
    let plane = DataPlane::start(settings, crate::ship::Recorder::new(1, 16)).unwrap();
    let (sender, status) = watch::channel(SyncStatus::default());
    let (stop, stopped) = watch::channel(Course::Follow);
    let task = tokio::spawn(run(settings_for(&store, &directory, "default"), plane.clone(), sender, stopped));
    publish(&store, 1, &[gateway("shop", port)]).await;
    let told = async |problems: usize| {
        vamp_store::testing::eventually("the control plane knows", DEADLINE, async || {
            let told = registration(&store).await;
            told.is_some_and(|told| told.applied == Some(generation(1)) && told.problems.len() == problems)
        })
        .await;
    };
    told(1).await;
    assert_eq!(status.borrow().problems[0].gateway.as_deref(), Some("shop"));
    drop(taken);
    told(0).await;
    stop.send_replace(Course::Leave);
    task.await.unwrap();
    plane.drain().await;
}

#[tokio::test]
async fn on_etcd_tables_survive_what_happens_to_it() {
    let mut etcd = Etcd::start().await;
    let store = etcd.store();
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(&store, &directory);
    publish_some(&store, 1).await;
    process.serves(1).await;

    // It hangs: what is served stays, also over a restart, and a stop does not wait for it.
    etcd.pause().await;
    let status = process.until("the silence is noticed", |status| status.state == SyncState::Disconnected).await;
    assert_eq!(status.applied, Some(generation(1)));
    process.stop().await;
    let process = Process::start(&store, &directory);
    process.until("the table from disk is served", |status| status.applied == Some(generation(1))).await;
    etcd.go_on().await;
    process.serves(1).await;
    publish_some(&store, 2).await;
    process.serves(2).await;

    // It dies, and comes back without its history.
    let backup = etcd.save().await;
    etcd.kill().await;
    process.until("its end is noticed", |status| status.state == SyncState::Disconnected).await;
    etcd.restart().await;
    publish_some(&store, 3).await;
    etcd.compact().await;
    process.serves(3).await;

    // It is put back to an old copy.
    etcd.restore(&backup).await;
    let status = process.until("the old copy is reported", |status| status.state == SyncState::Ahead).await;
    assert_eq!(status.applied, Some(generation(3)));
    vamp_store::testing::eventually("the control plane knows", DEADLINE, async || {
        let told = registration(&store).await;
        told.is_some_and(|told| told.applied == Some(generation(3)) && told.problems.len() == 1)
    })
    .await;
    publish_some(&store, 4).await;
    assert_eq!(process.serves(4).await.problems, []);
    process.stop().await;
    // A leave that the store answers late is not waited for: its lease ends it then.
    vamp_store::testing::eventually("it is gone", DEADLINE, async || registration(&store).await.is_none()).await;
}

#[tokio::test]
async fn on_etcd_a_killed_gateway_is_gone_within_its_lease_and_back_at_once() {
    let etcd = Etcd::start().await;
    let store = etcd.store();
    let directory = tempfile::tempdir().unwrap();
    publish_some(&store, 1).await;
    let process = Process::start(&store, &directory);
    process.serves(1).await;
    process.kill().await;
    vamp_store::testing::eventually("the lease ends", DEADLINE, async || registration(&store).await.is_none()).await;
    let process = Process::start(&store, &directory);
    process.serves(1).await;
    // The lease is kept: it is there after more than its time to live.
    tokio::time::sleep(LEASE + Duration::from_secs(3)).await;
    assert_eq!(registration(&store).await.unwrap().applied, Some(generation(1)));
    process.stop().await;
}

#[tokio::test]
async fn who_stops_says_so_in_its_own_registration_and_in_no_other() {
    let store = vamp_store::memory();
    let key = layout::registration("default", "g1");
    let of_boot = |boot: &str| Registration {
        id: "g1".to_owned(),
        boot: boot.to_owned(),
        admin: String::new(),
        version: String::new(),
        applied: None,
        digest: None,
        problems: Vec::new(),
        refused: None,
        leaves: false,
    };
    let value = serde_json::to_vec(&of_boot("b2")).unwrap();
    store.put(&key, value.into(), Expected::Anything, None).await.unwrap();
    let lease = store.grant(LEASE).await.unwrap();
    for (boot, leaves) in [("b1", false), ("b2", true)] {
        let last = Registration { leaves: true, ..of_boot(boot) };
        take_leave(&store, &key, &last, lease).await;
        assert_eq!(registration(&store).await.unwrap(), Registration { leaves, ..of_boot("b2") }, "{boot} stops");
    }
}
