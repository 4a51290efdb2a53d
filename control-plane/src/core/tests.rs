//! Changes, end to end, on a database file and an in-process store.

use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use vamp_model::{Artifact, Format, Kind, read};
use vamp_routing::wire::Generation;
use vamp_store::memory::Handle;
use vamp_store::testing::eventually;
use vamp_store::{SharedStore, tables};

use super::*;
use crate::persist::{Cause, Database};
use crate::publish::StoreState;

const EVENTS: Retention = Retention { age_max_ms: 1000 * 3600, count_max: 1000 };

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A control plane without HTTP that can be killed, and whose database and store outlive it.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: SharedStore,
    pub(crate) handle: Handle,
    pub(crate) core: Arc<Core>,
    pub(crate) tasks: Option<Tasks>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let (store, handle) = vamp_store::memory::open();
        let directory = tempfile::tempdir().unwrap();
        let (core, tasks) = start(&directory, "vamp.db", &store).await;
        Self { directory, store, handle, core, tasks: Some(tasks) }
    }

    /// Another control plane beside this one.
    pub(crate) async fn second(&self, database: &str) -> (Arc<Core>, Tasks) {
        start(&self.directory, database, &self.store).await
    }

    /// Without a word, in the middle of whatever it does.
    pub(crate) fn kill(&mut self) {
        drop(self.tasks.take());
    }

    pub(crate) async fn restart(&mut self) {
        self.kill();
        let (core, tasks) = start(&self.directory, "vamp.db", &self.store).await;
        (self.core, self.tasks) = (core, Some(tasks));
    }

    pub(crate) async fn published(&self) -> Option<Generation> {
        published(&self.store).await
    }

    pub(crate) async fn is_published(&self, generation: Generation) {
        eventually("the table is published", DEADLINE, async || self.published().await == Some(generation)).await;
        eventually("it is reported", DEADLINE, async || self.core.rollout().published).await;
    }
}

pub(crate) async fn start(directory: &tempfile::TempDir, database: &str, store: &SharedStore) -> (Arc<Core>, Tasks) {
    start_asking(directory, database, store, None).await
}

/// As [`start`], with who says what can be run.
pub(crate) async fn start_asking(
    directory: &tempfile::TempDir,
    database: &str,
    store: &SharedStore,
    runs: Option<Arc<dyn Runs>>,
) -> (Arc<Core>, Tasks) {
    let address = format!("sqlite:{}", directory.path().join(database).display());
    let database = Database::open(&address, now_unix_ms()).await.unwrap();
    let settings = CoreSettings {
        namespace: "default".to_owned(),
        plan: PlanSettings { port_range: 20_000..=20_003, ..PlanSettings::default() },
        ask: AskSettings::default(),
        events: EVENTS,
        elastic: None,
        runs,
    };
    Core::start(Arc::new(database), Arc::clone(store), settings).await.unwrap()
}

pub(crate) async fn published(store: &SharedStore) -> Option<Generation> {
    tables::read_manifest(store.as_ref(), "default").await.unwrap().map(|stored| stored.manifest.generation)
}

pub(crate) fn artifacts(text: &str) -> Vec<Artifact> {
    read(text, Format::Yaml).unwrap().into_iter().map(|document| document.artifact).collect()
}

/// Creates or replaces everything in the text, in one change.
pub(crate) async fn put(core: &Core, text: &str) -> Result<Changed, ChangeError> {
    let writes = artifacts(text).into_iter().map(|artifact| WriteRequest::replace(artifact, None)).collect();
    make(core, writes).await
}

pub(crate) async fn make(core: &Core, writes: Vec<WriteRequest>) -> Result<Changed, ChangeError> {
    core.change(ChangeRequest {
        writes,
        deploys: Vec::new(),
        premises: Vec::new(),
        validate_only: false,
        cause: Cause::own("test"),
    })
    .await
}

pub(crate) const SHOP: &str = "
kind: gateways
name: shop
routes: {'[127.0.0.1:81]': {weight: 90%}, '[127.0.0.1:82]': {weight: 10%}}
";

const SHOP_50: &str = "
kind: gateways
name: shop
routes: {'[127.0.0.1:81]': {weight: 50%}, '[127.0.0.1:82]': {weight: 50%}}
";

/// A route and a condition that two gateways share.
const SHARED: &str = "
- {kind: conditions, name: firefox, condition: user-agent == Firefox}
- {kind: routes, name: canary, weight: 10%, condition: {reference: firefox}}
- {kind: gateways, name: one, routes: {'[127.0.0.1:81]': {weight: 90%}, '[127.0.0.1:82]': canary}}
- {kind: gateways, name: two, routes: {'[127.0.0.1:83]': {weight: 90%}, '[127.0.0.1:84]': canary}}
";

async fn stored_count(core: &Core) -> usize {
    core.snapshot().await.unwrap().artifacts.values().map(imbl::OrdMap::len).sum()
}

#[track_caller]
fn versions(changed: &Changed) -> Vec<(u64, bool)> {
    changed.outcomes.iter().map(|outcome| (outcome.version, outcome.created)).collect()
}

#[tokio::test]
async fn a_change_is_kept_planned_and_published() {
    let world = World::new().await;
    let changed = put(&world.core, SHOP).await.unwrap();
    assert_eq!(versions(&changed), [(1, true)]);
    assert_eq!(changed.generation.revision, 1);
    assert_eq!(changed.outcomes[0].port, Some(20_000));
    world.is_published(changed.generation).await;
    let manifest = tables::read_manifest(world.store.as_ref(), "default").await.unwrap().unwrap().manifest;
    let digests = manifest.entries.iter().map(|entry| entry.digest);
    let gateways = tables::read_gateways(world.store.as_ref(), "default", digests).await.unwrap();
    let (_, shop, _) = &gateways[0];
    assert_eq!((shop.name.as_str(), shop.port), ("shop", Some(20_000)));
    assert_eq!(shop.routes.iter().map(|route| route.weight.0).collect::<Vec<_>>(), [9000, 1000]);
    let status = world.core.status();
    assert_eq!((status.store.state, status.problems.len()), (StoreState::Current, 0));
}

#[tokio::test]
async fn the_revision_rises_only_when_the_table_changes() {
    let world = World::new().await;
    let unused = put(&world.core, "{kind: conditions, name: unused, condition: method is GET}").await.unwrap();
    assert_eq!(unused.generation.revision, 0);
    put(&world.core, SHOP).await.unwrap();
    let described = put(&world.core, &format!("{SHOP}metadata: {{owner: me}}")).await.unwrap();
    assert_eq!((versions(&described), described.generation.revision), (vec![(2, false)], 1));
    let shifted = put(&world.core, SHOP_50).await.unwrap();
    assert_eq!(shifted.generation.revision, 2);
}

#[tokio::test]
async fn what_is_written_as_it_was_takes_no_version_and_no_event() {
    let world = World::new().await;
    put(&world.core, SHOP).await.unwrap();
    let again = put(&world.core, SHOP).await.unwrap();
    assert_eq!((versions(&again), again.generation.revision), (vec![(1, false)], 1));
    assert_eq!(world.core.changes(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stored_route_is_live_in_every_gateway_that_uses_it() {
    let world = World::new().await;
    let first = put(&world.core, SHARED).await.unwrap();
    assert_eq!(first.generation.revision, 1);
    let changed = put(&world.core, "{kind: conditions, name: firefox, condition: has cookie beta}").await.unwrap();
    assert_eq!(changed.generation.revision, 2);
    world.is_published(changed.generation).await;
    let manifest = tables::read_manifest(world.store.as_ref(), "default").await.unwrap().unwrap().manifest;
    let digests = manifest.entries.iter().map(|entry| entry.digest);
    for (_, gateway, _) in tables::read_gateways(world.store.as_ref(), "default", digests).await.unwrap() {
        assert_eq!(gateway.routes[1].condition.as_deref(), Some("has cookie beta"), "{}", gateway.name);
    }
}

#[tokio::test]
async fn several_documents_are_one_change_or_none() {
    let world = World::new().await;
    let text = format!("---{SHOP}---\nkind: gateways\nname: bad\nroutes: {{nowhere: {{}}}}\n");
    let ChangeError::Findings(findings) = put(&world.core, &text).await.unwrap_err() else { panic!("no findings") };
    assert_eq!((findings.len(), findings[0].name.as_str()), (1, "bad"));
    assert_eq!(stored_count(&world.core).await, 0);
    // One that needs the other may stand before it.
    let text = format!("---\nkind: gateways\nname: front\nroutes: {{shop: {{}}}}\n---{SHOP}");
    assert_eq!(put(&world.core, &text).await.unwrap().generation.revision, 1);
    assert_eq!(world.core.changes(None, 10).await.unwrap().len(), 1);
    let twice = put(&world.core, &format!("---{SHOP}---{SHOP_50}")).await.unwrap_err();
    assert!(matches!(twice, ChangeError::Twice { .. }), "{twice}");
    assert!(matches!(make(&world.core, Vec::new()).await.unwrap_err(), ChangeError::Empty));
}

#[tokio::test]
async fn each_mode_says_what_it_expects() {
    let world = World::new().await;
    let shop = || artifacts(SHOP).remove(0);
    let delete = |expected| vec![WriteRequest::delete(Kind::Gateway, "shop", expected)];
    let missing = make(&world.core, delete(None)).await.unwrap_err();
    assert!(matches!(missing, ChangeError::Missing { .. }), "{missing}");
    let absent = make(&world.core, vec![WriteRequest::replace(shop(), Some(1))]).await.unwrap_err();
    assert!(matches!(absent, ChangeError::VersionMismatch { expected: 1, found: None, .. }), "{absent}");
    make(&world.core, vec![WriteRequest::create(shop())]).await.unwrap();
    let exists = make(&world.core, vec![WriteRequest::create(shop())]).await.unwrap_err();
    assert!(matches!(exists, ChangeError::Exists { version: 1, .. }), "{exists}");
    let old = make(&world.core, vec![WriteRequest::replace(shop(), Some(7))]).await.unwrap_err();
    assert!(matches!(old, ChangeError::VersionMismatch { expected: 7, found: Some(1), .. }), "{old}");
    let removed = make(&world.core, delete(Some(1))).await.unwrap();
    assert_eq!((versions(&removed), removed.outcomes[0].port), (vec![(2, false)], None));
    assert!(removed.outcomes[0].document.contains("127.0.0.1:81"));
    // A version never names two contents.
    let again = make(&world.core, vec![WriteRequest::create(shop())]).await.unwrap();
    assert_eq!(versions(&again), [(3, true)]);
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted_and_its_users_are_named() {
    let world = World::new().await;
    put(&world.core, SHARED).await.unwrap();
    let delete = |kind, name| WriteRequest::delete(kind, name, None);
    let error = make(&world.core, vec![delete(Kind::Route, "canary"), delete(Kind::Condition, "firefox")]).await;
    let ChangeError::InUse(used) = error.unwrap_err() else { panic!("it was not refused") };
    // The condition's only user goes in the same call.
    let expected = InUse {
        kind: Kind::Route,
        name: "canary".to_owned(),
        users: vec![(Kind::Gateway, "one".to_owned()), (Kind::Gateway, "two".to_owned())],
    };
    assert_eq!(used, [expected]);
    assert_eq!(used[0].to_string(), "route `canary` is in use by gateway `one`, gateway `two`");
    let all = [
        delete(Kind::Condition, "firefox"),
        delete(Kind::Route, "canary"),
        delete(Kind::Gateway, "one"),
        delete(Kind::Gateway, "two"),
    ];
    make(&world.core, all.to_vec()).await.unwrap();
    assert_eq!(stored_count(&world.core).await, 0);
}

#[tokio::test]
async fn references_may_not_dangle_and_findings_have_their_place() {
    let world = World::new().await;
    let cases = [
        ("kind: gateways\nname: a\nroutes:\n  '[127.0.0.1:81]': gone\n", 4, "stored route `gone`"),
        ("kind: gateways\nname: a\nroutes:\n  gone: {}\n", 4, "gateway `gone`"),
        (
            "kind: gateways\nname: a\nroutes:\n  '[127.0.0.1:81]':\n    condition: {reference: gone}\n",
            5,
            "condition `gone`",
        ),
        ("kind: routes\nname: a\nweight: 10%\ncondition: {reference: gone}\n", 4, "condition `gone`"),
        ("kind: gateways\nname: a\nroutes:\n  '[169.254.169.254:80]': {}\n", 4, "link-local"),
        ("kind: gateways\nname: a\nroutes:\n  a: {}\n", 4, "gateway `a`"),
    ];
    for (text, line, message) in cases {
        let documents = read(text, Format::Yaml).unwrap();
        let writes = vec![WriteRequest::create(documents[0].artifact.clone())];
        let ChangeError::Findings(findings) = make(&world.core, writes).await.unwrap_err() else {
            panic!("{text}: no findings")
        };
        let located = documents[0].locate(findings.into_iter().map(|finding| finding.violation).collect());
        assert_eq!(located[0].line, Some(line), "{text}: {located:?}");
        assert!(located[0].message.contains(message), "{text}: {located:?}");
    }
    assert_eq!(stored_count(&world.core).await, 0);
}

#[tokio::test]
async fn a_change_that_is_only_validated_keeps_nothing() {
    let world = World::new().await;
    let request = |text| ChangeRequest {
        writes: artifacts(text).into_iter().map(|artifact| WriteRequest::replace(artifact, None)).collect(),
        deploys: Vec::new(),
        premises: Vec::new(),
        validate_only: true,
        cause: Cause::own("test"),
    };
    let planned = world.core.change(request(SHOP)).await.unwrap();
    assert_eq!((versions(&planned), planned.generation.revision), (vec![(0, true)], 1));
    assert_eq!(stored_count(&world.core).await, 0);
    assert!(world.core.changes(None, 1).await.unwrap().is_empty());
    let bad = "{kind: gateways, name: a, routes: {b: {}}}";
    assert!(matches!(world.core.change(request(bad)).await.unwrap_err(), ChangeError::Findings(_)));
}

#[tokio::test]
async fn an_old_version_comes_back_as_a_new_one() {
    let world = World::new().await;
    for text in [SHOP, SHOP_50] {
        put(&world.core, text).await.unwrap();
    }
    make(&world.core, vec![WriteRequest::delete(Kind::Gateway, "shop", None)]).await.unwrap();
    let restore = |name: &str, version, expected| RestoreRequest {
        kind: Kind::Gateway,
        name: name.to_owned(),
        version,
        expected,
        validate_only: false,
        cause: Cause::own("restore"),
    };
    let back = world.core.restore(restore("shop", 1, None)).await.unwrap();
    assert_eq!(versions(&back), [(4, true)]);
    let history = world.core.history(Kind::Gateway, "shop").await.unwrap();
    assert_eq!((history.len(), &history[0].stored.document), (4, &history[3].stored.document));
    for deleted_or_unknown in [3, 9] {
        let error = world.core.restore(restore("shop", deleted_or_unknown, None)).await.unwrap_err();
        assert!(matches!(error, ChangeError::NoSuchVersion { .. }), "{error}");
    }
    let error = world.core.restore(restore("shop", 2, Some(1))).await.unwrap_err();
    assert!(matches!(error, ChangeError::VersionMismatch { found: Some(4), .. }), "{error}");
    assert!(matches!(world.core.restore(restore("no", 1, None)).await.unwrap_err(), ChangeError::Missing { .. }));
}

#[tokio::test]
async fn ports_are_kept_and_given_again() {
    let world = World::new().await;
    let gateway = |name: &str, port: &str| format!("{{kind: gateways, name: {name}, port: {port}, routes: {{}}}}");
    let port = |changed: Changed| changed.outcomes[0].port.unwrap();
    assert_eq!(port(put(&world.core, &gateway("a", "0")).await.unwrap()), 20_000);
    assert_eq!(port(put(&world.core, &gateway("b", "0")).await.unwrap()), 20_001);
    assert_eq!(port(put(&world.core, &gateway("b", "9050")).await.unwrap()), 9050);
    assert_eq!(port(put(&world.core, &gateway("b", "0")).await.unwrap()), 9050, "an update without a port keeps it");
    make(&world.core, vec![WriteRequest::delete(Kind::Gateway, "a", None)]).await.unwrap();
    assert_eq!(port(put(&world.core, &gateway("c", "0")).await.unwrap()), 20_000, "a port that is free is given again");
    let ChangeError::Findings(findings) = put(&world.core, &gateway("d", "9050")).await.unwrap_err() else {
        panic!("the port was given twice")
    };
    assert!(findings[0].violation.message.contains("belongs to gateway `b`"), "{findings:?}");
    for name in ["d", "e", "f"] {
        put(&world.core, &gateway(name, "0")).await.unwrap();
    }
    let full = put(&world.core, &gateway("g", "0")).await.unwrap_err();
    assert!(full.to_string().contains("no port from 20000 to 20003 is free"), "{full}");
}

/// Each writer adds one to a number in the metadata, and reads again whenever it was not the first.
async fn count_up(core: Arc<Core>, times: u64) {
    let mut done = 0;
    while done < times {
        let snapshot = core.snapshot().await.unwrap();
        let stored = &snapshot.artifacts["gateways"]["shop"];
        let mut value: serde_json::Value = serde_json::from_str(stored.document.as_deref().unwrap()).unwrap();
        value["metadata"]["count"] = (value["metadata"]["count"].as_u64().unwrap_or_default() + 1).into();
        let artifact = read(&value.to_string(), Format::Json).unwrap().remove(0).artifact;
        match make(&core, vec![WriteRequest::replace(artifact, Some(stored.version))]).await {
            Ok(_) => done += 1,
            Err(ChangeError::VersionMismatch { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_update_is_lost_between_writers_of_two_control_planes_on_one_database() {
    let world = World::new().await;
    put(&world.core, SHOP).await.unwrap();
    let (other, _tasks) = world.second("vamp.db").await;
    let writers = (0..8).map(|writer| {
        let core = if writer % 2 == 0 { &world.core } else { &other };
        tokio::spawn(count_up(Arc::clone(core), 15))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for core in [&world.core, &other] {
        let snapshot = core.snapshot().await.unwrap();
        let stored = &snapshot.artifacts["gateways"]["shop"];
        assert_eq!(stored.version, 121);
        assert!(stored.document.as_deref().unwrap().contains(r#""count":120"#), "{stored:?}");
    }
    assert_eq!(other.status().position, world.core.status().position);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_without_an_expectation_are_all_made_one_after_the_other() {
    let world = World::new().await;
    let (other, _tasks) = world.second("vamp.db").await;
    let writers = (0..40).map(|writer| {
        let core = Arc::clone(if writer % 2 == 0 { &world.core } else { &other });
        let text = format!("{{kind: conditions, name: c{writer}, condition: 'path is /{writer}'}}");
        tokio::spawn(async move { put(&core, &text).await.unwrap() })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    assert_eq!(stored_count(&world.core).await, 40);
    assert_eq!(stored_count(&other).await, 40);
}

#[tokio::test]
async fn a_restart_finds_everything_and_makes_no_new_revision() {
    let mut world = World::new().await;
    put(&world.core, SHARED).await.unwrap();
    let changed = put(&world.core, SHOP).await.unwrap();
    let before = world.core.snapshot().await.unwrap();
    world.restart().await;
    assert_eq!(world.core.snapshot().await.unwrap(), before);
    assert_eq!(world.core.rollout().revision, changed.generation.revision);
}

#[tokio::test]
async fn a_table_that_follows_from_other_settings_is_a_new_revision() {
    let mut world = World::new().await;
    put(&world.core, SHOP).await.unwrap();
    world.kill();
    let address = format!("sqlite:{}", world.directory.path().join("vamp.db").display());
    let database = Arc::new(Database::open(&address, 1).await.unwrap());
    let plan = PlanSettings { virtual_hosts_suffix: None, ..PlanSettings::default() };
    let namespace = "default".to_owned();
    let settings =
        CoreSettings { namespace, plan, ask: AskSettings::default(), events: EVENTS, elastic: None, runs: None };
    let (core, _tasks) = Core::start(database, Arc::clone(&world.store), settings).await.unwrap();
    assert_eq!(core.rollout().revision, 2);
    assert!(core.changes(None, 1).await.unwrap()[0].cause.what.contains("settings"));
    assert_eq!(core.snapshot().await.unwrap().artifacts["gateways"]["shop"].version, 1);
}

/// Does by hand in the database what the product never does.
pub(crate) async fn by_hand(world: &World, statement: &'static str) {
    let address = format!("sqlite:{}", world.directory.path().join("vamp.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&address).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_port_that_something_else_changed_is_neither_used_nor_written_over() {
    let mut world = World::new().await;
    let gateway =
        |name: &str, port: &str| format!("{{kind: gateways, name: {name}, {port} routes: {{'[127.0.0.1:81]': {{}}}}}}");
    put(&world.core, &gateway("given", "port: 9050,")).await.unwrap();
    put(&world.core, &gateway("assigned", "")).await.unwrap();
    let published = world.core.rollout().revision;
    let last = async |core: &Core| core.changes(None, 1).await.unwrap()[0].sequence;
    let before = last(&world.core).await;
    for (damage, mend, words) in [
        (
            "UPDATE ports SET port = 9999 WHERE gateway = 'given'",
            "UPDATE ports SET port = 9050 WHERE gateway = 'given'",
            "is 9999, and the history leads to 9050",
        ),
        (
            "UPDATE ports SET port = 20003 WHERE gateway = 'assigned'",
            "UPDATE ports SET port = 20000 WHERE gateway = 'assigned'",
            "is 20003, and the history leads to 20000",
        ),
        (
            "DELETE FROM ports WHERE gateway = 'given'",
            "INSERT INTO ports (gateway, port) VALUES ('given', 9050)",
            "is none, and the history leads to 9050",
        ),
        (
            "INSERT INTO ports (gateway, port) VALUES ('stranger', 9060)",
            "DELETE FROM ports WHERE gateway = 'stranger'",
            "is 9060, and the history leads to none",
        ),
    ] {
        world.kill();
        by_hand(&world, damage).await;
        world.restart().await;
        let problems = world.core.status().problems.join("; ");
        assert!(problems.contains(words), "{damage}: {problems}");
        assert_eq!((last(&world.core).await, world.core.rollout().revision), (before, published), "{damage}");
        let refused = put(&world.core, &gateway("other", "")).await.unwrap_err();
        assert!(matches!(&refused, ChangeError::Findings(found) if found.len() == 1), "{damage}: {refused}");
        let fault = world.core.audit(&[]).await.unwrap().fault;
        assert!(fault.is_some_and(|fault| fault.contains("has not the port")), "{damage}");
        world.kill();
        by_hand(&world, mend).await;
        world.restart().await;
        assert_eq!(world.core.status().problems, [""; 0], "{mend}");
        assert_eq!(world.core.audit(&[]).await.unwrap().fault, None, "{mend}");
    }
    // Without hands in the database: it goes, and comes back.
    world.kill();
    by_hand(&world, "DELETE FROM ports WHERE gateway = 'given'").await;
    world.restart().await;
    make(&world.core, vec![WriteRequest::delete(Kind::Gateway, "given", None)]).await.unwrap();
    put(&world.core, &gateway("given", "port: 9050,")).await.unwrap();
    assert_eq!(world.core.audit(&[]).await.unwrap().fault, None);
    assert_eq!(*world.core.snapshot().await.unwrap(), world.core.shared.persistence.snapshot().await.unwrap());
}

#[tokio::test]
async fn explain_answers_from_the_wanted_table_without_any_gateway() {
    let world = World::new().await;
    put(&world.core, SHARED).await.unwrap();
    let head = PlainHead { fields: vec![("User-Agent".to_owned(), "Firefox/120".to_owned())], ..PlainHead::default() };
    let explained = world.core.explain("one", &head).await.unwrap();
    assert_eq!(explained.route.as_deref(), Some("[127.0.0.1:82]"));
    let unknown = world.core.explain("none", &head).await.unwrap_err();
    assert!(matches!(unknown, SplitError::UnknownGateway { .. }), "{unknown}");
}

#[tokio::test]
async fn a_change_is_bounded() {
    let world = World::new().await;
    let shop = WriteRequest::replace(artifacts(SHOP).remove(0), None);
    let error = make(&world.core, vec![shop; 10_001]).await.unwrap_err();
    assert!(matches!(error, ChangeError::TooMany { count: 10_001, limit: 10_000 }), "{error}");
}

#[tokio::test]
async fn a_change_whose_imports_are_not_what_they_were_is_not_kept() {
    let world = World::new().await;
    put(&world.core, "{kind: templates, name: t, definition: {a: 1}}").await.unwrap();
    let request = |version| ChangeRequest {
        writes: artifacts(SHOP).into_iter().map(|artifact| WriteRequest::replace(artifact, None)).collect(),
        deploys: Vec::new(),
        premises: vec![Premise { kind: Kind::Template, name: "t".to_owned(), version }],
        validate_only: false,
        cause: Cause::own("test"),
    };
    for version in [None, Some(2)] {
        let refused = world.core.change(request(version)).await.unwrap_err();
        assert!(matches!(&refused, ChangeError::Outdated { name, .. } if name == "t"), "{refused}");
    }
    assert_eq!(stored_count(&world.core).await, 1);
    world.core.change(request(Some(1))).await.unwrap();
    assert_eq!(stored_count(&world.core).await, 2);
}

#[tokio::test]
async fn a_turn_to_act_that_can_not_be_renewed_is_told_until_it_can() {
    let world = World::new().await;
    eventually("it acts", DEADLINE, async || world.core.shared.acting.is_so()).await;
    assert_eq!(world.core.status().problems, [""; 0]);
    by_hand(&world, "ALTER TABLE state RENAME TO elsewhere").await;
    let is_told =
        || world.core.status().problems.iter().any(|problem| problem.contains("the turn to act can't be read"));
    eventually("it is told", DEADLINE, async || is_told()).await;
    by_hand(&world, "ALTER TABLE elsewhere RENAME TO state").await;
    eventually("it is told no longer", DEADLINE, async || world.core.status().problems.is_empty()).await;
}
