//! `vamp split`: how a gateway's requests were split, and how they are to be.

use reqwest::Method;
use serde_json::Value;

use super::{after_write, as_written, items, tell, text, written};
use crate::arguments::{NOT_OF_CHANGE, SetWeightsArguments, SplitArguments, Waiting, Weights, Writing};
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::format::{Output, show};
use crate::output::{cell, table};

/// Shows a split, or sets its weights.
pub(crate) async fn split(arguments: SplitArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.changing.server)?;
    if let Some(weights) = &arguments.weights {
        return set(&client, &arguments, weights).await;
    }
    let path = ["gateways", &arguments.gateway, "split"];
    let answer = client.send(Request::get(&path)).await?.json();
    show(&answer, &arguments.changing.writing.output, |_| tables(&answer))
}

/// Gives the routes of a gateway new weights, in their order, unless somebody else wrote the gateway meanwhile.
async fn set(client: &Client, arguments: &SplitArguments, weights: &Weights) -> Result<(), Failure> {
    if arguments.changing.writing.output == Output::Wide {
        return Err(Failure::Usage { what: format!("`-o wide`: {NOT_OF_CHANGE}") });
    }
    let path = ["gateways", &arguments.gateway];
    let (mut gateway, etag) = as_written(client, "gateways", &arguments.gateway).await?;
    let routes = gateway.get_mut("routes").and_then(Value::as_object_mut);
    let count = routes.as_ref().map_or(0, |routes| routes.len());
    if count != weights.0.len() {
        let what = format!(
            "gateway `{}` has {count} routes, and {} weights are given: give one for each, in their order",
            arguments.gateway,
            weights.0.len()
        );
        return Err(Failure::Usage { what });
    }
    for ((_, route), weight) in routes.into_iter().flatten().zip(&weights.0) {
        if let Some(route) = route.as_object_mut() {
            route.insert("weight".to_owned(), weight.as_str().into());
        }
    }
    let request = Request {
        query: written(&arguments.changing.writing, Some(arguments.changing.waiting)),
        body: Some(("application/json", gateway.to_string())),
        if_match: etag,
        ..Request::new(Method::PUT, &path)
    };
    let answer = client.send(request).await?;
    let done = format!("gateways/{} split {}", arguments.gateway, weights.0.join("/"));
    tell(&answer, &arguments.changing.writing, ("applied", &done))?;
    after_write(&answer.json(), arguments.changing.waiting)
}

/// Gives routes of a gateway new weights by their names, unless somebody else wrote the gateway meanwhile.
pub(crate) async fn set_weights(arguments: SetWeightsArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.changing.server)?;
    let gateway = &arguments.gateway;
    let weights: Vec<String> = arguments.weights.iter().map(|(route, weight)| format!("{route} {weight}")).collect();
    let change = |document: &mut Value| weigh(document, gateway, &arguments.weights);
    let done = format!("weights {}", weights.join(", "));
    put_gateway(&client, gateway, change, (&arguments.changing.writing, arguments.changing.waiting), &done).await
}

/// Reads a gateway, changes it, and writes it back, unless somebody else wrote it meanwhile.
pub(super) async fn put_gateway(
    client: &Client,
    name: &str,
    change: impl FnOnce(&mut Value) -> Result<(), Failure>,
    (said, waiting): (&Writing, Waiting),
    done: &str,
) -> Result<(), Failure> {
    let path = ["gateways", name];
    let (mut gateway, etag) = as_written(client, "gateways", name).await?;
    change(&mut gateway)?;
    let request = Request {
        query: written(said, Some(waiting)),
        body: Some(("application/json", gateway.to_string())),
        if_match: etag,
        ..Request::new(Method::PUT, &path)
    };
    let answer = client.send(request).await?;
    tell(&answer, said, ("applied", &format!("gateways/{name} {done}")))?;
    after_write(&answer.json(), waiting)
}

/// Gives routes of a gateway's document new weights.
pub(super) fn weigh(document: &mut Value, gateway: &str, weights: &[(String, String)]) -> Result<(), Failure> {
    let mut done: Vec<(String, &str)> = Vec::new();
    for (given, weight) in weights {
        let (path, route) = route_meant(document, gateway, given)?;
        if let Some((_, other)) = done.iter().find(|(known, _)| *known == path) {
            let what = format!("route `{path}` is given a weight twice, as `{other}` and as `{given}`: leave one out");
            return Err(Failure::Usage { what });
        }
        if let Some(route) = route.as_object_mut() {
            route.insert("weight".to_owned(), weight.as_str().into());
        }
        done.push((path, given));
    }
    Ok(())
}

/// The route that is meant: by its path, or by the breed of the service that it leads to.
pub(super) fn route_meant<'d>(
    document: &'d mut Value,
    gateway: &str,
    given: &str,
) -> Result<(String, &'d mut Value), Failure> {
    let routes = document.get_mut("routes").and_then(Value::as_object_mut);
    let known: Vec<String> = routes.iter().flat_map(|routes| routes.keys().cloned()).collect();
    let is_meant = |path: &&String| *path == given || path.split('/').nth(2) == Some(given);
    let meant: Vec<&String> = known.iter().filter(is_meant).collect();
    let found = match (routes, meant.as_slice()) {
        (Some(routes), [path]) => routes.get_mut(*path).map(|route| ((*path).clone(), route)),
        _ => None,
    };
    found.ok_or_else(|| {
        let what = format!("gateway `{gateway}` has no route `{given}`: it has {}", known.join(", "));
        Failure::Usage { what }
    })
}

/// Wanted and delivered, and what decided.
pub(super) fn tables(split: &Value) -> String {
    let mut told = level(split);
    for strength in items(split, "strengths") {
        told.push_str(&format!("\ncondition of {}\n{}", text(strength, "condition_of"), level(strength)));
    }
    let rows: Vec<_> = items(split, "decided_by")
        .map(|route| {
            let columns = ["route", "requests", "condition", "cookie", "source", "weight", "only_route"];
            columns.iter().map(|column| route.get(column).map_or_else(|| "-".to_owned(), cell)).collect()
        })
        .collect();
    let headings = ["ROUTE", "REQUESTS", "BY CONDITION", "BY COOKIE", "BY SOURCE", "BY WEIGHT", "ONLY ROUTE"];
    told.push_str(&format!("\n{}", table(&headings, &rows)));
    let number = |member| split.get(member).map_or_else(|| "?".to_owned(), cell);
    told.push_str(&format!("\ncounted {} of {} gateway processes\n", number("counted"), number("of")));
    told
}

fn level(level: &Value) -> String {
    let rows: Vec<_> = items(level, "routes")
        .map(|side| {
            let route = match text(side, "route") {
                "" => "(the rest)",
                route => route,
            };
            let error = side.get("error").and_then(Value::as_f64).unwrap_or_default();
            let delivered = side.get("delivered").map_or_else(|| "-".to_owned(), cell);
            vec![route.to_owned(), text(side, "wanted").to_owned(), delivered, format!("{error:+.2}")]
        })
        .collect();
    table(&["ROUTE", "WANTED", "DELIVERED", "ERROR (REQUESTS)"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_gets_one_weight() {
        let mut document =
            json!({"routes": {"d/c/web:1/http": {"weight": "100%"}, "d/c/web:2/http": {"weight": "0%"}}});
        let given = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs.iter().map(|(route, weight)| ((*route).to_owned(), (*weight).to_owned())).collect()
        };
        weigh(&mut document, "g", &given(&[("web:1", "40%"), ("d/c/web:2/http", "60%")])).unwrap();
        assert_eq!(document["routes"]["d/c/web:2/http"]["weight"], "60%");
        let twice = weigh(&mut document, "g", &given(&[("web:1", "50%"), ("d/c/web:1/http", "100%")])).unwrap_err();
        assert!(twice.to_string().contains("`d/c/web:1/http` is given a weight twice"), "{twice}");
    }
}
