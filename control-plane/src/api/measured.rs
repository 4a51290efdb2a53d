//! Health and metrics as one number each, at the addresses that scripts of the original ask.
//!
//! The original told the newest event that a workflow had published in the last seconds, and nothing else. Such an event
//! still wins, so that a workflow that measures by itself is heard; without one the number is what gateways counted and
//! what the reconciler sees.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::Value;
use vamp_model::{Artifact, Kind};

use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::{metrics, read};
use crate::core::now_unix_ms;
use crate::persist::EventQuery;
use crate::reconcile::ServiceState;
use crate::samples::{Counts, number};

/// LIMIT: events that are looked through for one that is about the whole and not about a part of it.
const EVENTS_MAX: u64 = 100;

/// `GET /api/v1/metrics/gateways/{name}/{metric}`, and of one route.
pub(super) async fn of_gateway(ask: Ask) -> Answer {
    let gateway = ask.name().to_owned();
    let route = Some(ask.parameters.route.clone()).filter(|route| !route.is_empty());
    if route.is_none() && figure(&ask.parameters.metric).is_none() {
        // The name of a gateway may be written plain: then what looks like a metric is the end of it.
        let whole = format!("{gateway}/{}", ask.parameters.metric);
        if let Some(figures) = metrics::figures_of(&ask, &whole).await? {
            return Ok(figures);
        }
        let is_there = matches!(ask.api.core.artifact(Kind::Gateway, &gateway).await, Ok(Some(_)) | Err(_));
        return match metric(&ask, &gateway, None).await {
            Err(_) if !is_there => Err(read::missing_named(&ask, Kind::Gateway, &whole).await),
            answer => answer,
        };
    }
    metric(&ask, &gateway, route.as_deref()).await
}

/// `GET /api/v1/metrics/deployments/{name}/clusters/{cluster}/ports/{port}/{metric}`, and of one service.
pub(super) async fn of_deployment(ask: Ask) -> Answer {
    let (deployment, found) = (ask.name(), &ask.parameters);
    let gateway = format!("{deployment}/{}/{}", found.cluster, found.port);
    let route = format!("{deployment}/{}/{}/{}", found.cluster, found.service, found.port);
    let route = Some(route).filter(|_| !found.service.is_empty());
    metric(&ask, &gateway, route.as_deref()).await
}

async fn metric(ask: &Ask, gateway: &str, route: Option<&str>) -> Answer {
    let metric = ask.parameters.metric.as_str();
    if let Some(value) = told(ask, &subject(gateway, route), &format!("metrics:{metric}")).await? {
        return Ok(answer(ask, &value));
    }
    let Some(figure) = figure(metric) else {
        check(ask, gateway, route).await?;
        let detail =
            format!("nobody published `metrics:{metric}` of gateway `{gateway}` in that time, and it is not counted");
        return Err(Problem::no_part(detail));
    };
    let (counts, known_ms) = counted(ask, gateway, route).await?;
    let value = figure(&counts, known_ms);
    let without = || Problem::no_part(format!("gateway `{gateway}` had no requests in that time"));
    value.map(|value| answer(ask, &value.into())).ok_or_else(without)
}

/// How a figure follows from what is counted, by its name in the original, and one of this product; `None`: it is only
/// told.
fn figure(metric: &str) -> Option<fn(&Counts, u64) -> Option<f64>> {
    match metric {
        "rate" => Some(|counts, known_ms| Some(number(counts.requests) * 1_000.0 / number(known_ms))),
        "responseTime" => Some(|counts, _| counts.mean_ms()),
        "errorRate" => Some(|counts, _| counts.error_percent()),
        _ => None,
    }
}

/// `GET /api/v1/health/gateways/{name}`, and of one route: the part of the requests that did not fail, 0 to 1.
pub(super) async fn health_of_gateway(ask: Ask) -> Answer {
    let gateway = ask.name().to_owned();
    let route = Some(ask.parameters.route.clone()).filter(|route| !route.is_empty());
    if let Some(value) = told(&ask, &subject(&gateway, route.as_deref()), "health").await? {
        return Ok(answer(&ask, &value));
    }
    let (counts, _) = counted(&ask, &gateway, route.as_deref()).await?;
    let failed = counts.error_percent().unwrap_or_default() / 100.0;
    Ok(answer(&ask, &(1.0 - failed).into()))
}

/// `GET /api/v1/health/deployments/{name}`, and of a cluster or a service: the part of the instances that can take
/// requests, 0 to 1; of several services, the product.
pub(super) async fn health_of_deployment(ask: Ask) -> Answer {
    let (cluster, service) = (&ask.parameters.cluster, &ask.parameters.service);
    let mut subject = vec![format!("deployments:{}", ask.name())];
    subject.extend(Some(format!("clusters:{cluster}")).filter(|_| !cluster.is_empty()));
    subject.extend(Some(format!("services:{service}")).filter(|_| !service.is_empty()));
    if let Some(value) = told(&ask, &subject, "health").await? {
        return Ok(answer(&ask, &value));
    }
    let states = ask.api.states.borrow();
    let is_meant = |name: &str, wanted: &str| wanted.is_empty() || name == wanted;
    let own = states.iter().filter(|(name, _)| name.deployment == ask.name());
    let own = own.filter(|(name, _)| is_meant(&name.cluster, cluster) && is_meant(&name.service, service));
    let health = own.map(|(_, state)| ready(state)).reduce(|one, other| one * other);
    let missing = || Problem::no_part(format!("nothing runs that is called {}", subject.join(", ")));
    health.map(|health| answer(&ask, &health.into())).ok_or_else(missing)
}

fn ready(state: &ServiceState) -> f64 {
    if state.wanted == 0 { 1.0 } else { (f64::from(state.ready) / f64::from(state.wanted)).min(1.0) }
}

fn answer(ask: &Ask, value: &Value) -> Response<Body> {
    ask.written.answer(StatusCode::OK, value)
}

fn subject(gateway: &str, route: Option<&str>) -> Vec<String> {
    let route = route.map(|route| format!("routes:{route}"));
    [format!("gateways:{gateway}")].into_iter().chain(route).collect()
}

/// The newest number that somebody published about a subject. One about a part of it has the tags of the whole too.
async fn told(ask: &Ask, subject: &[String], what: &str) -> Result<Option<Value>, Problem> {
    let window = u64::try_from(ask.query.window()?.as_millis()).unwrap_or(u64::MAX);
    let kind = what.split(':').next().unwrap_or_default().to_owned();
    let query = EventQuery {
        tags: subject.iter().cloned().chain([what.to_owned()]).collect(),
        kind: None,
        from_unix_ms: Some(now_unix_ms().saturating_sub(window)),
        limit: EVENTS_MAX,
        ..EventQuery::default()
    };
    let events = ask.api.core.events(&query).await.map_err(|error| Problem::database("reading the events", &error))?;
    let is_of_part = |tag: &str| {
        let part =
            tag.split_once(':').filter(|(group, _)| ["routes", "clusters", "services", "instances"].contains(group));
        part.is_some() && !subject.iter().any(|own| own == tag)
    };
    let of_whole = events.into_iter().filter(|event| event.kind == kind || event.kind == "event");
    let mut of_whole = of_whole.filter(|event| !event.tags.iter().any(|tag| is_of_part(tag)));
    Ok(of_whole.find_map(|event| Some(event.value).filter(Value::is_number)))
}

/// Whether there is such a gateway, with such a route.
async fn check(ask: &Ask, gateway: &str, route: Option<&str>) -> Result<(), Problem> {
    match ask.api.core.artifact(Kind::Gateway, gateway).await {
        Ok(Some(Artifact::Gateway(found))) => {
            let has = |route: &str| found.routes.iter().any(|known| known.path.to_string() == route);
            match route.filter(|route| !has(route)) {
                Some(route) => Err(Problem::no_part(format!("gateway `{gateway}` has no route `{route}`"))),
                None => Ok(()),
            }
        }
        Ok(_) => Err(read::missing_named(ask, Kind::Gateway, gateway).await),
        Err(error) => Err(Problem::database("reading the database", &error)),
    }
}

/// What was counted at a gateway, or of one route, and how much of the time is known.
async fn counted(ask: &Ask, gateway: &str, route: Option<&str>) -> Result<(Counts, u64), Problem> {
    let window = ask.query.window()?;
    check(ask, gateway, route).await?;
    let known = ask.api.core.shared.samples.read(gateway, window);
    if known.length_ms == 0 {
        let detail = format!("nothing is known of gateway `{gateway}` yet: it is counted from this question on");
        return Err(Problem::no_part(detail));
    }
    let mut counts = Counts::default();
    let own = known.routes.iter().filter(|(name, _)| route.is_none_or(|route| route == name.as_str()));
    own.for_each(|(_, found)| counts.add(found));
    Ok((counts, known.length_ms))
}
