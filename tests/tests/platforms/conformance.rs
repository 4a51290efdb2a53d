//! What every platform promises, as one suite.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use vamp_control_plane::platform::health::{Checked, Health, HealthCheck, Monitor, Probe};
use vamp_control_plane::platform::{
    Deployable, InstanceId, InstanceSpec, Labels, LogOutput, LogQuery, PlatformError, Restart, SharedPlatform, State,
};
use vamp_tests::eventually;

use crate::order::{GRACE, PATIENCE, answering, ask, find, id, labels, log, order, running, until, written};

/// A platform under test.
#[async_trait::async_trait]
pub(crate) trait Subject {
    /// The driver of now.
    fn platform(&self) -> SharedPlatform;
    /// Drops the driver and opens another one on the same product.
    async fn reopen(&mut self);
    /// The test service.
    fn service(&self) -> Deployable;
    /// Something that is not there, and its name.
    fn unknown(&self) -> (Deployable, &'static str);
    /// A command beside the test service that ends with this exit code; its last word is a script.
    fn command(&self, code: u8) -> Vec<String>;
}

/// Runs the whole suite; the subject must be empty.
pub(crate) async fn conformance(subject: &mut dyn Subject) {
    let platform = subject.platform();
    assert!(platform.list(&Labels::new()).await.unwrap().is_empty());
    runs_what_was_ordered(&platform, subject.service()).await;
    starts_one_however_often_it_is_told(&platform, subject.service()).await;
    tells_a_changed_order(&platform, subject.service()).await;
    finds_by_labels(&platform, subject.service()).await;
    starts_again_what_crashed(&platform, subject.service()).await;
    waits_longer_after_each_failure(&platform, subject.service()).await;
    leaves_work_that_is_done(&platform, subject.service()).await;
    stops_and_starts_again(&platform, subject.service()).await;
    ends_by_force_what_does_not_listen(&platform, subject.service()).await;
    removes_without_a_trace(&platform, subject.service()).await;
    keeps_and_follows_logs(&platform, subject.service()).await;
    tells_what_is_used(&platform, subject.service()).await;
    tells_health(subject).await;
    runs_commands_beside(subject).await;
    names_what_is_unknown(subject).await;
    drop(platform);
    finds_again_what_runs(subject).await;
    assert!(subject.platform().list(&Labels::new()).await.unwrap().is_empty(), "something is left behind");
}

async fn remove(platform: &SharedPlatform, id: &InstanceId) {
    platform.remove(id, GRACE).await.unwrap();
    assert_eq!(find(platform, id).await, None);
}

/// An order that fails at once: the service has no port to listen at.
fn failing(name: &str, service: Deployable) -> InstanceSpec {
    InstanceSpec { ports: Vec::new(), ..order(name, service) }
}

async fn runs_what_was_ordered(platform: &SharedPlatform, service: Deployable) {
    let order = order("runs", service);
    let mut hints = platform.hints();
    let before = *hints.borrow_and_update();
    let instance = running(platform, &order).await;
    assert_eq!((&instance.labels, &instance.digest), (&order.labels, &order.digest()));
    assert_eq!(instance.restarts, 0);
    assert!(instance.started_at_unix_ms.is_some());
    // What it gives is a lock, which must not be held.
    let is_hinted = tokio::time::timeout(PATIENCE, hints.wait_for(|hint| *hint != before)).await.is_ok();
    assert!(is_hinted, "nothing says that it is worth to look again");
    assert_eq!(ask(&instance, "/env/GREETING").await.unwrap(), (200, "good day = \"x\"".to_owned()));
    // The test's own environment is none of its business.
    assert_eq!(ask(&instance, "/env/CARGO_MANIFEST_DIR").await.unwrap().0, 404);
    let port = ask(&instance, "/env/PORT").await.unwrap();
    assert_eq!(ask(&instance, "/env/PORT_WEB").await.unwrap(), port);
    remove(platform, &order.id).await;
}

async fn starts_one_however_often_it_is_told(platform: &SharedPlatform, service: Deployable) {
    let order = order("once", service);
    let told = futures_util::future::join_all((0..16).map(|_| platform.ensure(&order))).await;
    for told in told {
        told.unwrap();
    }
    let first = answering(platform, &order.id).await;
    platform.ensure(&order).await.unwrap();
    assert_eq!(find(platform, &order.id).await.unwrap(), first);
    remove(platform, &order.id).await;
}

async fn tells_a_changed_order(platform: &SharedPlatform, service: Deployable) {
    let first = order("changed", service);
    let before = running(platform, &first).await;
    let mut second = first.clone();
    second.environment.0.insert("GREETING".to_owned(), "hush".to_owned());
    let error = platform.ensure(&second).await.unwrap_err();
    assert!(matches!(&error, PlatformError::Changed { id } if id == "changed"), "{error}");
    assert!(!format!("{error:?}").contains("hush"));
    assert_eq!(find(platform, &first.id).await.unwrap(), before, "it runs on as it was");
    remove(platform, &first.id).await;
    let after = running(platform, &second).await;
    assert_ne!(after.digest, before.digest);
    assert_eq!(ask(&after, "/env/GREETING").await.unwrap().1, "hush");
    remove(platform, &first.id).await;
}

async fn finds_by_labels(platform: &SharedPlatform, service: Deployable) {
    let orders: Vec<_> = ["left", "right"].map(|name| order(name, service.clone())).into();
    for order in &orders {
        platform.ensure(order).await.unwrap();
    }
    let found = async |entries: &[(&str, &str)]| {
        let all = platform.list(&labels(entries)).await.unwrap();
        all.into_iter().map(|instance| instance.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]).await, ["left", "right"]);
    assert_eq!(found(&[("io.vamp.deployment", "shop")]).await, ["left", "right"]);
    assert_eq!(found(&[("io.vamp.deployment", "shop"), ("io.vamp.service", "right")]).await, ["right"]);
    assert!(found(&[("io.vamp.deployment", "sho")]).await.is_empty());
    assert!(found(&[("io.vamp.cluster", "shop")]).await.is_empty());
    for order in &orders {
        remove(platform, &order.id).await;
    }
}

async fn starts_again_what_crashed(platform: &SharedPlatform, service: Deployable) {
    let order = order("crash", service);
    let before = running(platform, &order).await;
    for crashes in 1..=2 {
        let instance = answering(platform, &order.id).await;
        ask(&instance, "/crash/7").await.expect_err("it ends without an answer");
        let seen = until(platform, &order.id, "it was started again", |now| now.restarts == crashes).await;
        assert!(seen.started_at_unix_ms >= before.started_at_unix_ms);
    }
    let after = answering(platform, &order.id).await;
    assert_eq!((after.restarts, &after.digest), (2, &before.digest));
    assert_eq!(ask(&after, "/env/GREETING").await.unwrap().1, "good day = \"x\"");
    remove(platform, &order.id).await;
}

async fn waits_longer_after_each_failure(platform: &SharedPlatform, service: Deployable) {
    let order = failing("fails", service);
    platform.ensure(&order).await.unwrap();
    let waits = |instance: &vamp_control_plane::platform::Instance| {
        instance.restarts >= 2 && matches!(instance.state, State::Restarting(exit) if exit.code == Some(2))
    };
    until(platform, &order.id, "it failed, and waits to be started again", waits).await;
    eventually(PATIENCE, "it says why it fails", async || {
        log(platform, &order.id).await.contains("PORT is not set").then_some(())
    })
    .await;
    platform.stop(&order.id, GRACE).await.unwrap();
    let stopped = find(platform, &order.id).await.unwrap();
    assert!(matches!(stopped.state, State::Exited(_)), "{stopped:?}");
    remove(platform, &order.id).await;
}

async fn leaves_work_that_is_done(platform: &SharedPlatform, service: Deployable) {
    let order = InstanceSpec { restart: Restart::Never, ..failing("done", service) };
    platform.ensure(&order).await.unwrap();
    let done = until(platform, &order.id, "it is done", |now| matches!(now.state, State::Exited(_))).await;
    assert!(matches!(done.state, State::Exited(exit) if exit.code == Some(2) && exit.at_unix_ms > 0), "{done:?}");
    platform.ensure(&order).await.unwrap();
    assert_eq!(find(platform, &order.id).await.unwrap(), done);
    remove(platform, &order.id).await;
}

async fn stops_and_starts_again(platform: &SharedPlatform, service: Deployable) {
    let order = order("stops", service);
    let before = running(platform, &order).await;
    for _ in 0..2 {
        platform.stop(&order.id, GRACE).await.unwrap();
        let stopped = find(platform, &order.id).await.unwrap();
        assert!(matches!(stopped.state, State::Exited(exit) if exit.code == Some(0)), "{stopped:?}");
        ask(&before, "/").await.unwrap_err();
    }
    eventually(PATIENCE, "it says why it ended", async || {
        log(platform, &order.id).await.contains("told to end").then_some(())
    })
    .await;
    running(platform, &order).await;
    remove(platform, &order.id).await;
    platform.stop(&order.id, GRACE).await.unwrap();
}

async fn ends_by_force_what_does_not_listen(platform: &SharedPlatform, service: Deployable) {
    let mut order = order("stubborn", service);
    order.environment.0.insert("STUBBORN".to_owned(), "yes".to_owned());
    let before = running(platform, &order).await;
    platform.stop(&order.id, Duration::from_secs(1)).await.unwrap();
    let stopped = find(platform, &order.id).await.unwrap();
    let is_killed = |exit: &vamp_control_plane::platform::Exit| exit.signal == Some(9) || exit.code == Some(137);
    assert!(matches!(&stopped.state, State::Exited(exit) if is_killed(exit)), "{stopped:?}");
    ask(&before, "/").await.unwrap_err();
    remove(platform, &order.id).await;
}

async fn removes_without_a_trace(platform: &SharedPlatform, service: Deployable) {
    let order = order("removed", service);
    let before = running(platform, &order).await;
    let removals = futures_util::future::join_all((0..4).map(|_| platform.remove(&order.id, GRACE))).await;
    for removal in removals {
        removal.unwrap();
    }
    assert_eq!(find(platform, &order.id).await, None);
    ask(&before, "/").await.unwrap_err();
    platform.remove(&id("never-was"), GRACE).await.unwrap();
    let query = LogQuery { tail_lines: 1, is_following: false };
    let Err(error) = platform.logs(&order.id, query).await else { panic!("logs of what is gone") };
    assert!(matches!(&error, PlatformError::NotFound { id } if id == "removed"), "{error}");
    // A new one of this id has nothing of the old one.
    running(platform, &order).await;
    written(platform, &order.id, "listens at", 1).await;
    remove(platform, &order.id).await;
}

async fn keeps_and_follows_logs(platform: &SharedPlatform, service: Deployable) {
    let order = order("logs", service);
    let instance = running(platform, &order).await;
    for text in ["one", "two"] {
        ask(&instance, &format!("/say/{text}")).await.unwrap();
        // Each output has a pipe of its own: of two texts in them at once, the second may be copied first.
        written(platform, &order.id, text, 2).await;
    }
    let query = LogQuery { tail_lines: 2, is_following: true };
    let mut lines = platform.logs(&order.id, query).await.unwrap();
    let mut next = async || {
        let line = tokio::time::timeout(PATIENCE, lines.next()).await.expect("a line comes");
        line.expect("there are more lines").unwrap()
    };
    let mut outputs = Vec::new();
    for text in ["two", "two", "three", "three"] {
        if outputs.len() == 2 {
            ask(&instance, "/say/three").await.unwrap();
        }
        let line = next().await;
        assert_eq!(line.text, text);
        assert!(Some(line.at_unix_ms) >= instance.started_at_unix_ms);
        outputs.push(line.output);
    }
    assert_eq!(outputs.iter().filter(|output| **output == LogOutput::Error).count(), 2);
    // They outlive a restart, and end with the instance.
    drop(ask(&instance, "/crash/1").await);
    assert!(next().await.text.starts_with("listens at"));
    remove(platform, &order.id).await;
    let rest = tokio::time::timeout(PATIENCE, lines.collect::<Vec<_>>()).await.expect("the lines end");
    assert!(rest.len() <= 1, "{rest:?}");
}

async fn tells_what_is_used(platform: &SharedPlatform, service: Deployable) {
    let orders = ["works", "rests", "ends"].map(|name| order(name, service.clone()));
    for order in &orders {
        running(platform, order).await;
    }
    platform.stop(&orders[2].id, GRACE).await.unwrap();
    let used = async |ids: &[InstanceId]| {
        let told = platform.usage(&ids.iter().cloned().collect()).await.unwrap();
        told.into_iter().map(|(id, usage)| (id, usage.unwrap())).collect::<BTreeMap<_, _>>()
    };
    let (works, rests) = (&orders[0].id, &orders[1].id);
    let ids = [works.clone(), orders[2].id.clone(), id("never-was")];
    let before = used(&ids).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), [works], "who runs, of those that were asked about");
    let instance = find(platform, works).await.unwrap();
    assert_eq!(ask(&instance, "/work/30").await.unwrap().0, 200);
    assert_eq!(ask(&instance, "/take/1").await.unwrap().0, 200);
    let after = used(&[works.clone(), rests.clone()]).await;
    let worked = after[works].processor_time.saturating_sub(before[works].processor_time);
    assert!(worked >= Duration::from_millis(150), "half of it, whatever the host took: {before:?} {after:?}");
    assert!(after[works].processor_time > after[rests].processor_time, "{after:?}");
    assert!(after.values().all(|usage| usage.memory_bytes > 100_000), "{after:?}");
    assert!(used(&[]).await.is_empty());
    for order in &orders {
        remove(platform, &order.id).await;
    }
}

async fn tells_health(subject: &mut dyn Subject) {
    let platform = subject.platform();
    let order = order("health", subject.service());
    let instance = running(&platform, &order).await;
    let check = |probe| HealthCheck {
        probe,
        initial_delay: Duration::ZERO,
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(20),
        failures: 2,
        successes: 2,
    };
    let port = "web".to_owned();
    let http = check(Probe::Http { port: port.clone(), path: "/health".to_owned(), is_tls: false });
    let tcp = check(Probe::Tcp { port });
    let monitor = Monitor::start(platform.clone()).unwrap();
    let watch = |checks: &[&HealthCheck]| {
        let checks = checks.iter().map(|check| (*check).clone()).collect();
        monitor.watch([Checked { instance: instance.clone(), checks }]);
    };
    let until = async |what: &str, is_so: fn(&Health) -> bool| {
        let reached = async || Some(monitor.health(&order.id)).filter(is_so);
        eventually(PATIENCE, what, reached).await
    };
    assert_eq!(monitor.health(&order.id), Health::Unknown);
    watch(&[&http, &tcp, &check(Probe::Command { command: subject.command(0) })]);
    until("all checks pass", |health| *health == Health::Passing).await;
    ask(&instance, "/fail").await.unwrap();
    let failing = until("one check fails", |health| matches!(health, Health::Failing { .. })).await;
    assert!(matches!(&failing, Health::Failing { reason } if reason.contains("status 503")), "{failing:?}");
    ask(&instance, "/heal").await.unwrap();
    until("it passes again", |health| *health == Health::Passing).await;
    watch(&[&check(Probe::Command { command: subject.command(4) })]);
    let failing = until("a command fails", |health| matches!(health, Health::Failing { .. })).await;
    assert!(matches!(&failing, Health::Failing { reason } if reason.contains("exit code 4")), "{failing:?}");
    platform.stop(&order.id, GRACE).await.unwrap();
    watch(&[&tcp]);
    until("nothing listens", |health| matches!(health, Health::Failing { .. })).await;
    remove(&platform, &order.id).await;
}

async fn runs_commands_beside(subject: &mut dyn Subject) {
    let platform = subject.platform();
    let order = order("beside", subject.service());
    running(&platform, &order).await;
    assert_eq!(platform.run(&order.id, &subject.command(3), PATIENCE).await.unwrap().code, Some(3));
    let script = |text: &str| {
        let mut command = subject.command(0);
        command.splice(command.len() - 1.., [text.to_owned()]);
        command
    };
    let outcome = platform.run(&order.id, &script("echo \"to $GREETING\"; echo also >&2"), PATIENCE).await.unwrap();
    assert_eq!((outcome.code, outcome.output.as_str()), (Some(0), "to good day = \"x\"\nalso"));
    let error = platform.run(&order.id, &script("sleep 600"), Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(&error, PlatformError::Late { id, .. } if id == "beside"), "{error}");
    platform.stop(&order.id, GRACE).await.unwrap();
    let error = platform.run(&order.id, &subject.command(0), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, PlatformError::NotRunning { id } if id == "beside"), "{error}");
    remove(&platform, &order.id).await;
    let error = platform.run(&order.id, &subject.command(0), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, PlatformError::NotFound { id } if id == "beside"), "{error}");
}

async fn names_what_is_unknown(subject: &mut dyn Subject) {
    let platform = subject.platform();
    let (unknown, name) = subject.unknown();
    let error = platform.ensure(&order("unknown", unknown)).await.unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    let is_unknown = matches!(error, PlatformError::UnknownCommand { .. } | PlatformError::UnknownImage { .. });
    assert!(is_unknown, "{error:?}");
    assert_eq!(find(&platform, &id("unknown")).await, None);
}

async fn finds_again_what_runs(subject: &mut dyn Subject) {
    let order = order("kept", subject.service());
    let before = running(&subject.platform(), &order).await;
    let answer = ask(&before, "/").await.unwrap();
    for _ in 0..2 {
        subject.reopen().await;
        let platform = subject.platform();
        assert_eq!(find(&platform, &order.id).await.unwrap(), before);
        platform.ensure(&order).await.unwrap();
        assert_eq!(find(&platform, &order.id).await.unwrap(), before);
        assert_eq!(ask(&before, "/").await.unwrap(), answer, "the same process");
    }
    remove(&subject.platform(), &order.id).await;
}
