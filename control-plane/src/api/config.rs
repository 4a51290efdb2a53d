//! Settings that clients need, under the names by which the original had them. Nothing that is secret is among them.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::endpoints::Answer;
use super::problem::Problem;
use super::query::{self, Parameter};

/// `GET /api/v1/config`
pub(super) fn all(ask: &Ask) -> Answer {
    let settings = settings(ask);
    let value = if ask.query.switch(Parameter::Flatten)? { Value::Object(settings) } else { nested(settings) };
    Ok(ask.written.answer(StatusCode::OK, &value))
}

/// `GET /api/v1/config/{name}`
pub(super) fn one(ask: &Ask) -> Result<Response<Body>, Problem> {
    let settings = settings(ask);
    let known: Vec<&str> = settings.keys().map(String::as_str).collect();
    let missing = || {
        let name = query::shown(ask.name());
        Problem::no_part(format!("there is no setting `{name}` here: there are {}", known.join(", ")))
    };
    let value = settings.get(ask.name()).ok_or_else(missing)?;
    Ok(ask.written.answer(StatusCode::OK, value))
}

fn settings(ask: &Ask) -> Map<String, Value> {
    let plan = &ask.api.core.shared.settings.plan;
    let ports = format!("{}-{}", plan.port_range.start(), plan.port_range.end());
    Map::from_iter([
        // Where gateways are for services and for scripts: each recipe asks for it.
        ("vamp.gateway-driver.host".to_owned(), json!(ask.api.platforms.gateway_host())),
        ("vamp.namespace".to_owned(), json!(ask.api.about.namespace)),
        ("vamp.operation.gateway.port-range".to_owned(), json!(ports)),
    ])
}

/// `a.b: 1` as `{a: {b: 1}}`.
fn nested(settings: Map<String, Value>) -> Value {
    let mut root = Map::new();
    for (name, value) in settings {
        insert(&mut root, &name, value);
    }
    Value::Object(root)
}

fn insert(into: &mut Map<String, Value>, name: &str, value: Value) {
    let Some((first, rest)) = name.split_once('.') else {
        into.insert(name.to_owned(), value);
        return;
    };
    let inner = into.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_maps() {
        let flat = json!({"vamp.gateway-driver.host": "h", "vamp.namespace": "n"});
        let nested = nested(flat.as_object().unwrap().clone());
        assert_eq!(nested, json!({"vamp": {"gateway-driver": {"host": "h"}, "namespace": "n"}}));
    }
}
