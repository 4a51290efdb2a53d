//! What gateways counted lately.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use vamp_model::Kind;

use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::read;
use crate::samples::{Counts, Known, number};

/// `GET /api/v1/metrics/gateways/{name}`
pub(super) async fn of_gateway(ask: Ask) -> Answer {
    match figures_of(&ask, ask.name()).await? {
        Some(figures) => Ok(figures),
        None => Err(read::missing(&ask, Kind::Gateway).await),
    }
}

/// All figures of a gateway, if it is one.
pub(super) async fn figures_of(ask: &Ask, gateway: &str) -> Result<Option<Response<Body>>, Problem> {
    let window = ask.query.window()?;
    let found = ask.api.core.artifact(Kind::Gateway, gateway).await;
    if found.map_err(|error| Problem::database("reading the database", &error))?.is_none() {
        return Ok(None);
    }
    let known = ask.api.core.shared.samples.read(gateway, window);
    Ok(Some(ask.written.answer(StatusCode::OK, &shown(gateway, window, &known))))
}

fn shown(gateway: &str, window: Duration, known: &Known) -> Value {
    let mut all = Counts::default();
    known.routes.values().for_each(|counts| all.add(counts));
    let mut value = figures(&all, known.length_ms);
    let routes = known.routes.iter().map(|(route, counts)| {
        let mut value = figures(counts, known.length_ms);
        value.insert("route".to_owned(), route.as_str().into());
        Value::Object(value)
    });
    value.insert("routes".to_owned(), routes.collect());
    value.insert("gateway".to_owned(), gateway.into());
    value.insert("window_seconds".to_owned(), window.as_secs().into());
    value.insert("known_seconds".to_owned(), (number(known.length_ms) / 1_000.0).into());
    Value::Object(value)
}

/// What is not known is null, never zero.
fn figures(counts: &Counts, known_ms: u64) -> Map<String, Value> {
    let known = (known_ms > 0).then_some(counts);
    let time = known.and_then(Counts::mean_ms).map(|mean| {
        let [p50, p95, p99] = [50.0, 95.0, 99.0].map(|percent| counts.percentile_ms(percent));
        json!({"mean": mean, "p50": p50, "p95": p95, "p99": p99})
    });
    let values = [
        ("requests", json!(known.map(|counts| counts.requests))),
        ("errors", json!(known.map(|counts| counts.errors))),
        ("requests_per_second", json!(known.map(|counts| number(counts.requests) * 1_000.0 / number(known_ms)))),
        ("error_percent", json!(known.and_then(Counts::error_percent))),
        ("response_time_ms", json!(time)),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_not_known_is_null() {
        let window = Duration::from_mins(1);
        let value = shown("shop", window, &Known::default());
        assert_eq!((&value["known_seconds"], &value["requests"]), (&json!(0.0), &Value::Null));
        assert_eq!((&value["requests_per_second"], &value["response_time_ms"]), (&Value::Null, &Value::Null));
        // A time without requests is known, and has no mean.
        let value = shown("shop", window, &Known { length_ms: 60_000, routes: BTreeMap::new() });
        assert_eq!((&value["requests"], &value["requests_per_second"]), (&json!(0), &json!(0.0)));
        assert_eq!((&value["error_percent"], &value["response_time_ms"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn routes_add_up_to_their_gateway() {
        let counts = |requests, errors| {
            let mut counts = Counts { requests, errors, duration_us: requests * 20_000, ..Counts::default() };
            counts.buckets[5] = requests;
            counts
        };
        let routes = BTreeMap::from([("a".to_owned(), counts(30, 3)), ("b".to_owned(), counts(10, 1))]);
        let value = shown("shop", Duration::from_mins(1), &Known { length_ms: 20_000, routes });
        assert_eq!((&value["requests"], &value["errors"]), (&json!(40), &json!(4)));
        assert_eq!((&value["requests_per_second"], &value["error_percent"]), (&json!(2.0), &json!(10.0)));
        assert_eq!(value["response_time_ms"]["mean"], json!(20.0));
        assert_eq!((&value["routes"][1]["route"], &value["routes"][1]["requests"]), (&json!("b"), &json!(10)));
    }
}
