//! Artifacts as they are stored, one or a page of them.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{ETAG, LINK};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use vamp_model::{Artifact, Kind, contract, expand, nearest, to_json};

use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::query::{Form, Page, Parameter};
use super::runtime::Runtime;
use super::{conditional, deployments};
use crate::core::Current;
use crate::persist::{Snapshot, Stored};

static TOTAL_COUNT: HeaderName = HeaderName::from_static("x-total-count");

/// `GET /api/v1/{kind}`
pub(super) async fn list(ask: Ask, kind: Kind) -> Answer {
    let page = ask.query.page()?;
    let (selectors, form) = (ask.query.labels()?, ask.query.form()?);
    let is_exported = ask.query.switch(Parameter::AsBlueprint)?;
    let current = now(&ask).await?;
    let snapshot = &current.snapshot;
    let is_selected = |stored: &&Stored| {
        let metadata = || current.artifact(kind, &stored.name).and_then(Artifact::metadata);
        selectors.iter().all(|selector| metadata().is_some_and(|metadata| selector.selects(metadata)))
    };
    let artifacts = snapshot.artifacts.get(kind.plural()).into_iter().flat_map(|of_kind| of_kind.values());
    let artifacts: Vec<&Stored> = artifacts.map(AsRef::as_ref).filter(is_selected).collect();
    let mut documents = Vec::new();
    for stored in slice(artifacts.iter().copied(), page) {
        // One that can't be read is named, and hides no other.
        let unreadable = |damage: &str| json!({"kind": kind, "name": stored.name, "unreadable": damage});
        documents.push(match stored.damage.as_deref() {
            Some(damage) => unreadable(damage),
            None => match current.artifact(kind, &stored.name) {
                Some(Artifact::Deployment(deployment)) if is_exported => {
                    deployments::as_blueprint(current.export(deployment), form)
                }
                _ => with_runtime(&ask, &current, kind, stored, form)
                    .unwrap_or_else(|_| unreadable("it is no document any more")),
            },
        });
    }
    let path = format!("/api/v1/{}{}", kind.plural(), ask.query.without_page());
    Ok(paged(&ask, page, artifacts.len(), &path, documents))
}

/// `GET /api/v1/{kind}/{name}`
pub(super) async fn get(ask: Ask, kind: Kind) -> Answer {
    let form = ask.query.form()?;
    let current = now(&ask).await?;
    let Some(stored) = find(&current.snapshot, kind, ask.name()) else {
        return Err(not_there(&current.snapshot, kind, ask.name()));
    };
    if let Some(damage) = &stored.damage {
        return Err(Problem::damaged(kind, ask.name(), stored.version, damage));
    }
    if form == Form::Expanded {
        // What it shows of others has versions of its own: no tag stands for all of it.
        return Ok(ask.written.answer(StatusCode::OK, &with_runtime(&ask, &current, kind, stored, form)?));
    }
    // What runs is another from moment to moment, under the same version.
    let is_known = conditional::is_known(&ask.headers, stored.version)? && kind != Kind::Deployment;
    let mut answer = if is_known {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
        answer
    } else {
        ask.written.answer(StatusCode::OK, &with_runtime(&ask, &current, kind, stored, form)?)
    };
    answer.headers_mut().insert(ETAG, conditional::tag(stored.version));
    Ok(answer)
}

/// The items of a page.
pub(super) fn slice<T>(items: impl Iterator<Item = T>, page: Page) -> impl Iterator<Item = T> {
    let before = page.number.saturating_sub(1).saturating_mul(page.size);
    items.skip(usize::try_from(before).unwrap_or(usize::MAX)).take(usize::try_from(page.size).unwrap_or(usize::MAX))
}

/// A page of a list, with the links to the others.
pub(super) fn paged(ask: &Ask, page: Page, total: usize, path: &str, items: Vec<Value>) -> Response<Body> {
    let mut answer = ask.written.answer(StatusCode::OK, &Value::Array(items));
    let headers = answer.headers_mut();
    headers.insert(TOTAL_COUNT.clone(), HeaderValue::from(total));
    if let Ok(links) = HeaderValue::from_str(&links(page, u64::try_from(total).unwrap_or(u64::MAX), path)) {
        headers.insert(LINK, links);
    }
    answer
}

/// RFC 8288. There is a `next` as long as there is a next page, so that a client can follow it to the end.
fn links(page: Page, total: u64, path: &str) -> String {
    let last = total.div_ceil(page.size).max(1);
    let sign = if path.contains('?') { '&' } else { '?' };
    let link =
        |number: u64, relation: &str| format!("<{path}{sign}page={number}&per_page={}>; rel=\"{relation}\"", page.size);
    let mut links = vec![link(1, "first")];
    if page.number > 1 {
        links.push(link((page.number - 1).min(last), "prev"));
    }
    if page.number < last {
        links.push(link(page.number + 1, "next"));
    }
    links.push(link(last, "last"));
    links.join(", ")
}

async fn now(ask: &Ask) -> Result<Arc<Current>, Problem> {
    let current = ask.api.core.shared.refresh().await;
    current.map_err(|error| Problem::database("reading the database", &error))
}

pub(super) async fn snapshot(ask: &Ask) -> Result<Arc<Snapshot>, Problem> {
    ask.api.core.snapshot().await.map_err(|error| Problem::database("reading the database", &error))
}

/// The artifact as it is now, if it is.
pub(super) async fn current(ask: &Ask, kind: Kind, name: &str) -> Result<Option<Stored>, Problem> {
    Ok(find(&*snapshot(ask).await?, kind, name).cloned())
}

fn find<'s>(snapshot: &'s Snapshot, kind: Kind, name: &str) -> Option<&'s Stored> {
    snapshot.artifacts.get(kind.plural())?.get(name).map(Arc::as_ref)
}

/// The refusal of a name that nothing has, with a near one that something has.
pub(super) async fn missing(ask: &Ask, kind: Kind) -> Problem {
    missing_named(ask, kind, ask.name()).await
}

/// The same for a name that does not stand in the address.
pub(super) async fn missing_named(ask: &Ask, kind: Kind, name: &str) -> Problem {
    match snapshot(ask).await {
        Ok(snapshot) => not_there(&snapshot, kind, name),
        Err(problem) => problem,
    }
}

fn not_there(snapshot: &Snapshot, kind: Kind, name: &str) -> Problem {
    let names = snapshot.artifacts.get(kind.plural()).into_iter().flat_map(|artifacts| artifacts.keys());
    Problem::no_artifact(kind, name, nearest(name, names.map(String::as_str)))
}

/// A stored document with what runs of it, where the whole of it is shown.
fn with_runtime(ask: &Ask, current: &Current, kind: Kind, stored: &Stored, form: Form) -> Result<Value, Problem> {
    let mut document = shown(current, kind, stored, form)?;
    if kind == Kind::Deployment && form != Form::Contracted {
        let states = ask.api.states.borrow();
        let (ports, host) = (&current.snapshot.ports, ask.api.platforms.gateway_host());
        Runtime { states: &states, ports, host }.add(&stored.name, &mut document);
    }
    Ok(document)
}

/// A stored document as it is shown: a gateway shows the port that it has, also when its author named none.
fn shown(current: &Current, kind: Kind, stored: &Stored, form: Form) -> Result<Value, Problem> {
    let port = if kind == Kind::Gateway { current.snapshot.ports.get(&stored.name).copied() } else { None };
    let artifact = current.artifact(kind, &stored.name).filter(|_| form != Form::Stored).cloned();
    let Some(mut artifact) = artifact else { return with_port(stored.document.as_deref().unwrap_or("null"), port) };
    match form {
        Form::Contracted => contract(&mut artifact),
        Form::Expanded | Form::Stored => expand(&mut artifact, &|kind, name| current.artifact(kind, name)),
    }
    with_port(&to_json(&artifact).to_string(), port)
}

/// A document with its port, where it has none.
pub(super) fn with_port(document: &str, port: Option<u16>) -> Result<Value, Problem> {
    let mut value: Value =
        serde_json::from_str(document).map_err(|error| Problem::internal("reading a stored document", &error))?;
    if let (Some(port), Some(shown)) = (port, value.get_mut("port")) {
        match shown.as_str() {
            None => *shown = format!("{port}/http").into(),
            Some("0/tcp") => *shown = format!("{port}/tcp").into(),
            Some(_) => {}
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(number: u64, total: u64, expected: &[(&str, u64)]) {
        let links = links(Page { number, size: 30 }, total, "/x");
        let expected: Vec<_> = expected
            .iter()
            .map(|(relation, page)| format!("</x?page={page}&per_page=30>; rel=\"{relation}\""))
            .collect();
        assert_eq!(links, expected.join(", "));
    }

    #[test]
    fn links_lead_through_all_pages_and_no_further() {
        check(2, 65, &[("first", 1), ("prev", 1), ("next", 3), ("last", 3)]);
        check(1, 65, &[("first", 1), ("next", 2), ("last", 3)]);
        check(3, 65, &[("first", 1), ("prev", 2), ("last", 3)]);
        check(9, 65, &[("first", 1), ("prev", 3), ("last", 3)]);
        check(1, 0, &[("first", 1), ("last", 1)]);
        check(1, 30, &[("first", 1), ("last", 1)]);
    }

    #[test]
    fn a_port_that_was_given_by_the_product_is_shown() {
        assert_eq!(with_port(r#"{"port":null}"#, Some(20_000)).unwrap()["port"], "20000/http");
        assert_eq!(with_port(r#"{"port":"9050/http"}"#, Some(20_000)).unwrap()["port"], "9050/http");
        assert_eq!(with_port(r#"{"port":"0/tcp"}"#, Some(20_000)).unwrap()["port"], "20000/tcp");
        assert_eq!(with_port(r#"{"port":"9050/tcp"}"#, Some(9_050)).unwrap()["port"], "9050/tcp");
        assert_eq!(with_port(r#"{"port":null}"#, None).unwrap()["port"], Value::Null);
    }
}
