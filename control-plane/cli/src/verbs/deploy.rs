//! `vamp deploy`, `merge`, `undeploy` and `scale`: what runs behind gateways.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::apply::{name_files, read};
use super::changes::tell_dry_run;
use super::outcome::{tell_progress, told_to_program};
use super::{after_write, items, patiently, tell, text, written};
use crate::arguments::{
    BlueprintArguments, DeployArguments, Deploying, MergeArguments, ScaleArguments, UndeployArguments, Waiting,
    WaitingForServices, Writing,
};
use crate::client::{Answer, Client, Request};
use crate::failure::Failure;
use crate::output::{cell, print, remark, table};

/// LIMIT: how often the state is asked for while waiting.
const PAUSE: Duration = Duration::from_millis(200);

/// LIMIT: how often a scale is read and written by one call. Each time somebody else changed the deployment in between.
const SCALE_TRIES_MAX: u32 = 10;

/// Writes do not wait for gateways: waiting for services includes that.
pub(super) const AT_ONCE: Waiting = Waiting { wait: false, timeout: Duration::ZERO };

/// Deploys a blueprint.
pub(crate) async fn deploy(arguments: DeployArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.deploying.server)?;
    let query = written(&arguments.deploying.writing, None);
    let named = arguments.name.as_deref().or(arguments.deployment.as_deref());
    let path: Vec<&str> = ["deployments"].into_iter().chain(named).collect();
    let method = if named.is_some() { Method::PUT } else { Method::POST };
    let answer = send(&client, &arguments.blueprint, Request { query, ..Request::new(method, &path) }).await?;
    finish(&client, &answer, arguments.deploying.waiting, &arguments.deploying.writing, "deployed").await
}

/// Merges a blueprint into a deployment.
pub(crate) async fn merge(arguments: MergeArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.deploying.server)?;
    let path = ["deployments", &arguments.deployment];
    let query = written(&arguments.deploying.writing, None);
    // A name that was mistyped would become another deployment.
    match client.send(Request::get(&path)).await {
        Err(Failure::Refused { status: 404, mut problem }) => {
            if let Some(Value::String(detail)) = problem.get_mut("detail") {
                detail.push_str(": `vamp deploy` makes one");
            }
            return Err(Failure::Refused { status: 404, problem });
        }
        found => drop(found?),
    }
    let answer = send(&client, &arguments.blueprint, Request { query, ..Request::new(Method::PUT, &path) }).await?;
    finish(&client, &answer, arguments.deploying.waiting, &arguments.deploying.writing, "merged").await
}

/// Removes a deployment, or some of its services.
pub(crate) async fn undeploy(arguments: UndeployArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.deploying.server)?;
    let name = arguments.deployment.as_str();
    let path = ["deployments", name];
    let mut gone = arguments.services.clone();
    if !arguments.service.is_empty() {
        let deployment = client.send(Request::get(&path)).await?.json();
        for breed in &arguments.service {
            gone.push((cluster_of(&deployment, breed)?, breed.clone()));
        }
    }
    if gone.is_empty() {
        let query = written(&arguments.deploying.writing, None);
        let answer = client.send(Request { query, ..Request::new(Method::DELETE, &path) }).await?;
        tell(&answer, &arguments.deploying.writing, ("undeployed", &format!("deployments/{name} undeployed")))?;
        return if arguments.deploying.waiting.wait {
            until_gone(&client, name, arguments.deploying.waiting.timeout).await
        } else {
            Ok(())
        };
    }
    // Together, so that services that need each other can go at once.
    let mut clusters = serde_json::Map::new();
    for (cluster, breed) in &gone {
        let services = clusters.entry(cluster.clone()).or_insert_with(|| json!([]));
        if let Some(services) = services.as_array_mut() {
            services.push(json!(breed));
        }
    }
    let request = Request {
        query: written(&arguments.deploying.writing, None).into_iter().chain([("delete", "true".to_owned())]).collect(),
        body: Some(("application/json", json!({"name": name, "clusters": clusters}).to_string())),
        ..Request::new(Method::PUT, &path)
    };
    let answer = client.send(request).await?;
    let gone = gone.iter().map(|(cluster, breed)| format!("deployments/{name} {cluster}/{breed} undeployed"));
    tell(&answer, &arguments.deploying.writing, ("undeployed", &gone.collect::<Vec<_>>().join("\n")))?;
    after_write(&answer.json(), AT_ONCE)?;
    if !arguments.deploying.waiting.wait {
        return Ok(());
    }
    match until_done(&client, name, arguments.deploying.waiting.timeout, &arguments.deploying.writing).await {
        // The last services went, and the deployment with them.
        Err(Failure::Refused { status: 404, .. }) if !arguments.deploying.writing.dry_run => Ok(()),
        waited => waited,
    }
}

/// The cluster in which a breed runs: one has it at most.
fn cluster_of(deployment: &Value, breed: &str) -> Result<String, Failure> {
    let clusters = deployment.get("clusters").and_then(Value::as_object).into_iter().flatten();
    let is_it = |service: &Value| {
        let found = service.get("breed").and_then(|breed| breed.get("name").or_else(|| breed.get("reference")));
        found.and_then(Value::as_str) == Some(breed)
    };
    let mut having = clusters.filter(|(_, cluster)| items(cluster, "services").any(is_it));
    having.next().map(|(cluster, _)| cluster.clone()).ok_or_else(|| {
        let what = format!("deployment `{}` has no service `{breed}`", text(deployment, "name"));
        Failure::Usage { what }
    })
}

/// Gives a service another scale.
pub(crate) async fn scale(arguments: ScaleArguments) -> Result<(), Failure> {
    let given = [
        ("instances", arguments.instances.map(|instances| json!(instances))),
        ("cpu", arguments.cpu.as_ref().map(|cpu| json!(cpu))),
        ("memory", arguments.memory.as_ref().map(|memory| json!(memory))),
    ];
    let given: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    if given.is_empty() {
        let what = "nothing is given: use --instances, --cpu or --memory".to_owned();
        return Err(Failure::Usage { what });
    }
    let Deploying { server, waiting, writing } = &arguments.deploying;
    let client = Client::new(server)?;
    let (cluster, breed) = &arguments.service;
    let path = ["deployments", &arguments.deployment, "clusters", cluster, "services", breed, "scale"];
    let answer = rescale(&client, &path, &given, &written(writing, None)).await?;
    finish(&client, &answer, *waiting, writing, "scaled").await
}

/// Changes what is given of a scale, and keeps the rest as it is at that moment: what a promise or somebody else did in
/// between is read anew, and never written over.
async fn rescale(
    client: &Client,
    path: &[&str],
    given: &[(&str, Value)],
    query: &[(&'static str, String)],
) -> Result<Answer, Failure> {
    let mut tries = 1;
    loop {
        let found = client.send(Request::get(path)).await?;
        let mut scale = found.json();
        for (name, value) in given {
            if let Some(scale) = scale.as_object_mut() {
                scale.insert((*name).to_owned(), value.clone());
            }
        }
        let request = Request {
            query: query.to_vec(),
            body: Some(("application/json", scale.to_string())),
            if_match: found.etag,
            ..Request::new(Method::PUT, path)
        };
        match client.send(request).await {
            Err(Failure::Refused { status: 412, .. }) if tries < SCALE_TRIES_MAX => tries += 1,
            answer => return answer,
        }
    }
}

/// Sends a blueprint, or the name of one; what is wrong with a file has its name.
async fn send(client: &Client, arguments: &BlueprintArguments, request: Request<'_>) -> Result<Answer, Failure> {
    let (body, files) = match (&arguments.blueprint, &arguments.filename) {
        (Some(name), _) => (("application/json", json!({"reference": name}).to_string()), Vec::new()),
        (None, Some(path)) => {
            let file = read(path)?;
            (("application/yaml", file.text.clone()), vec![file])
        }
        (None, None) => return Err(Failure::Usage { what: "name a blueprint, or a file with -f".to_owned() }),
    };
    let sent = client.send(Request { body: Some(body), ..request }).await;
    sent.map_err(|failure| name_files(failure, &files))
}

async fn finish(
    client: &Client,
    answer: &Answer,
    waiting: WaitingForServices,
    said: &Writing,
    done: &str,
) -> Result<(), Failure> {
    let deployment = answer.json();
    let name = text(&deployment, "name");
    if !told_to_program(answer, said, |_| done)? {
        print(&format!("deployments/{name} {}{done}", if said.dry_run { "would be " } else { "" }))?;
        if said.dry_run {
            tell_dry_run(&deployment)?;
        }
    }
    after_write(&deployment, AT_ONCE)?;
    if waiting.wait { until_done(client, name, waiting.timeout, said).await } else { Ok(()) }
}

/// Waits until every service is as it is wanted, and tells what changes meanwhile.
pub(super) async fn until_done(client: &Client, name: &str, timeout: Duration, said: &Writing) -> Result<(), Failure> {
    let (status, is_done) = followed(client, name, timeout).await?;
    if is_done {
        return tell_progress(said, &states(&status));
    }
    remark(&states(&status));
    Err(not_done(name))
}

/// Where a deployment stands as soon as it is done, or when the time is over, and which of the two; tells what changes
/// meanwhile.
pub(super) async fn followed(client: &Client, name: &str, timeout: Duration) -> Result<(Value, bool), Failure> {
    let begun = Instant::now();
    let mut told = String::new();
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        let status = patiently(client, &["deployments", name, "status"], left).await?.json();
        let is_done = status.get("done").and_then(Value::as_bool) == Some(true);
        let is_over = begun.elapsed() >= timeout;
        let line = in_a_line(&status);
        // Who does not wait reads it in the rows.
        if line != told && !timeout.is_zero() {
            remark(&line);
            told = line;
        }
        if is_done || is_over {
            return Ok((status, is_done));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

pub(super) fn not_done(name: &str) -> Failure {
    let what = format!("deployment `{name}` is not done yet; follow it with `vamp rollout status {name} --wait`");
    Failure::NotInTime { what }
}

async fn until_gone(client: &Client, name: &str, timeout: Duration) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let left = timeout.saturating_sub(begun.elapsed());
        match patiently(client, &["deployments", name, "status"], left).await {
            Err(Failure::Refused { status: 404, .. }) => return Ok(()),
            Err(failure) => return Err(failure),
            Ok(_) if begun.elapsed() < timeout => tokio::time::sleep(PAUSE).await,
            Ok(answer) => {
                remark(&states(&answer.json()));
                let what = format!("some instances of deployment `{name}` are still there");
                return Err(Failure::NotInTime { what });
            }
        }
    }
}

fn in_a_line(status: &Value) -> String {
    let services = items(status, "services").map(|service| {
        let [ready, wanted] = ["ready", "wanted"].map(|name| service.get(name).map_or_else(|| "?".to_owned(), cell));
        format!("{}/{} {ready}/{wanted}", text(service, "cluster"), text(service, "service"))
    });
    services.collect::<Vec<_>>().join("  ")
}

/// Services in rows.
pub(super) fn states(status: &Value) -> String {
    let rows: Vec<_> = items(status, "services")
        .map(|service| {
            let [ready, wanted] =
                ["ready", "wanted"].map(|name| service.get(name).map_or_else(|| "?".to_owned(), cell));
            vec![
                text(service, "cluster").to_owned(),
                text(service, "service").to_owned(),
                text(service, "phase").to_owned(),
                format!("{ready}/{wanted}"),
                service.get("message").map_or_else(|| warning(service), cell),
            ]
        })
        .collect();
    table(&["CLUSTER", "SERVICE", "PHASE", "READY", "MESSAGE"], &rows)
}

/// What is not kept of the order of an instance that does all right.
fn warning(service: &Value) -> String {
    let warnings = items(service, "instances").find_map(|instance| items(instance, "warnings").next());
    warnings.map_or_else(|| "-".to_owned(), cell)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::Router;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::super::tests::answered_by;
    use super::*;
    use crate::context::Target;

    /// A scale of which a promise adds an instance after each of the first reads, and which is written at its version only.
    async fn scale_that_moves(moves: u64) -> Client {
        // Its version, and how many instances it has.
        let version = Arc::new(AtomicU64::new(1));
        let tag = |version: u64| [("etag", format!("\"{version}\""))];
        let read = {
            let version = Arc::clone(&version);
            move || {
                let seen = version.load(Ordering::SeqCst);
                version.fetch_add(u64::from(seen <= moves), Ordering::SeqCst);
                std::future::ready((tag(seen), json!({"cpu": 1, "instances": seen}).to_string()))
            }
        };
        let write = move |headers: HeaderMap, body: String| {
            let is_seen = headers.get("if-match") == tag(version.load(Ordering::SeqCst))[0].1.parse().ok().as_ref();
            std::future::ready(if is_seen {
                (StatusCode::OK, body)
            } else {
                (StatusCode::PRECONDITION_FAILED, "{}".to_owned())
            })
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let address = Router::new().route("/api/v1/scale", get(read).put(write));
        tokio::spawn(async { axum::serve(listener, address).await });
        Client::of(Target::own(host)).unwrap()
    }

    #[tokio::test]
    async fn what_a_promise_did_while_a_scale_is_changed_is_kept() {
        let given = [("cpu", json!("250m"))];
        let written = rescale(&scale_that_moves(3).await, &["scale"], &given, &[]).await.unwrap().json();
        assert_eq!(written, json!({"cpu": "250m", "instances": 4}));
        let client = scale_that_moves(u64::from(SCALE_TRIES_MAX)).await;
        assert_eq!(rescale(&client, &["scale"], &given, &[]).await.unwrap_err().exit_code(), 4);
        let client = scale_that_moves(u64::from(SCALE_TRIES_MAX) - 1).await;
        assert!(rescale(&client, &["scale"], &given, &[]).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_wrong_in_a_file_is_told_with_its_name_and_with_no_line_where_there_is_none() {
        let violation = json!({"pointer": "/clusters/a", "line": 4, "column": 2, "message": "it has no service"});
        let refused = (400, json!({"title": "no", "violations": [violation]}));
        let client = answered_by(vec![refused.clone(), refused]).await;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, "name: a\nclusters:\n  a:\n  {}\n").unwrap();
        let request = || Request::new(Method::PUT, &["deployments", "a"]);
        let written = BlueprintArguments { blueprint: None, filename: Some(path.clone()) };
        let told = send(&client, &written, request()).await.unwrap_err().to_string();
        assert!(told.ends_with(&format!("\n  {}:4:2: it has no service", path.display())), "{told}");
        let named = BlueprintArguments { blueprint: Some("a".to_owned()), filename: None };
        let told = send(&client, &named, request()).await.unwrap_err().to_string();
        assert!(told.ends_with("\n  /clusters/a: it has no service"), "{told}");
    }
}
