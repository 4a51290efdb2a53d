//! Orders, and what is asked of the instances that follow from them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use vamp_control_plane::platform::{
    Deployable, Environment, HostPort, Instance, InstanceId, InstanceSpec, Labels, LogQuery, PortSpec, Reach, Restart,
    SharedPlatform, State,
};
use vamp_tests::components::http_client;

/// Time for anything that a machine that does other things too needs to get on.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// What an instance gets to end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(20);

pub(crate) fn id(text: &str) -> InstanceId {
    text.parse().unwrap()
}

pub(crate) fn labels(entries: &[(&str, &str)]) -> Labels {
    entries.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// An instance of the test service with one port, `web`.
pub(crate) fn order(name: &str, deployable: Deployable) -> InstanceSpec {
    InstanceSpec {
        id: id(name),
        labels: labels(&[("io.vamp.deployment", "shop"), ("io.vamp.service", name)]),
        deployable,
        environment: Environment(BTreeMap::from([("GREETING".to_owned(), "good day = \"x\"".to_owned())])),
        ports: vec![PortSpec { name: "web".to_owned(), container: 8080, host: HostPort::Any }],
        reach: Reach::Host,
        cpu_milli: None,
        memory_bytes: None,
        networks: Vec::new(),
        restart: Restart::Always,
        arguments: Vec::new(),
        dialect: serde_json::Map::new(),
    }
}

/// The instance, if there is one.
pub(crate) async fn find(platform: &SharedPlatform, id: &InstanceId) -> Option<Instance> {
    let all = platform.list(&Labels::new()).await.unwrap();
    let mut found = all.into_iter().filter(|instance| instance.id == *id);
    let one = found.next();
    assert!(found.next().is_none(), "two instances of one id");
    one
}

/// Waits until the instance is as wanted.
pub(crate) async fn until(
    platform: &SharedPlatform,
    id: &InstanceId,
    what: &str,
    is_so: impl Fn(&Instance) -> bool,
) -> Instance {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = find(platform, id).await;
        if let Some(found) = found.clone().filter(&is_so) {
            return found;
        }
        let wrote = if Instant::now() > deadline { log(platform, id).await } else { String::new() };
        assert!(Instant::now() <= deadline, "instance {id}: not {what}: it is {found:?}, and wrote:\n{wrote}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Everything that an instance wrote.
pub(crate) async fn log(platform: &SharedPlatform, id: &InstanceId) -> String {
    use futures_util::StreamExt as _;
    let query = LogQuery { tail_lines: 100, is_following: false };
    let lines = platform.logs(id, query).await.unwrap();
    lines.map(|line| line.unwrap().text + "\n").collect().await
}

/// Waits until an instance has written a text this often: what it writes is copied while it runs on.
pub(crate) async fn written(platform: &SharedPlatform, id: &InstanceId, text: &str, count: usize) {
    let what = format!("{count} times `{text}` in its log");
    vamp_tests::eventually(PATIENCE, &what, async || {
        (log(platform, id).await.matches(text).count() >= count).then_some(())
    })
    .await;
    let log = log(platform, id).await;
    assert_eq!(log.matches(text).count(), count, "{text}: {log}");
}

/// Starts an instance and waits until it answers.
pub(crate) async fn running(platform: &SharedPlatform, order: &InstanceSpec) -> Instance {
    platform.ensure(order).await.unwrap();
    answering(platform, &order.id).await
}

/// Waits until an instance answers.
pub(crate) async fn answering(platform: &SharedPlatform, id: &InstanceId) -> Instance {
    answered(platform, id, "/").await.0
}

/// An instance and its answer to what may be asked more than once: a connection that breaks on its way is made again.
pub(crate) async fn answered(platform: &SharedPlatform, id: &InstanceId, path: &str) -> (Instance, (u16, String)) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = until(platform, id, "running", |now| now.state == State::Running).await;
        let error = match ask(&found, path).await {
            Ok(answer) => return (found, answer),
            Err(error) => error,
        };
        let wrote = if Instant::now() > deadline { log(platform, id).await } else { String::new() };
        assert!(Instant::now() <= deadline, "instance {id} gives no answer, {error}: {found:?}, it wrote:\n{wrote}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The status and the body of an answer; an error is what kept it away.
pub(crate) async fn ask(instance: &Instance, path: &str) -> Result<(u16, String), String> {
    let port = instance.ports.get("web").ok_or_else(|| "no port `web`".to_owned())?;
    // From loopback nothing leads to an address of the instance's own.
    let client = if instance.host == "127.0.0.1" { http_client() } else { reqwest::Client::new() };
    let told = |error: reqwest::Error| format!("{error:?}");
    let answer = client.get(format!("http://{}:{port}{path}", instance.host)).send().await.map_err(told)?;
    let status = answer.status().as_u16();
    Ok((status, answer.text().await.map_err(told)?))
}
