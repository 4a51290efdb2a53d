//! How the values of flags are read.

use std::time::Duration;

use vamp_model::{Kind, Selector};

use super::Weights;
use crate::format::Output;

/// What is told of a form that is none for a change.
pub(crate) const NOT_OF_CHANGE: &str =
    "use table, yaml, json, name or jsonpath=PATH: what came of a change has no wide table";

pub(super) fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

pub(super) fn two_ports(text: &str) -> Result<[u16; 2], String> {
    let refused = || "write two ports, as in `8081,8082`".to_owned();
    let (first, second) = text.split_once(',').ok_or_else(refused)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refused);
    Ok([port(first)?, port(second)?])
}

/// The address of a control plane.
pub(super) fn host(text: &str) -> Result<url::Url, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        _ if text.contains("://") => Err("it begins with neither http:// nor https://, or names no host".to_owned()),
        // `localhost:8080` is an address with the scheme `localhost`, too.
        _ => Err(format!("it says neither http:// nor https://: write `http://{text}`")),
    }
}

pub(super) fn kind(text: &str) -> Result<&'static str, String> {
    let short = [("gw", "gateways"), ("dep", "deployments"), ("bp", "blueprints")];
    if let Some((_, kind)) = short.iter().find(|(short, _)| text.eq_ignore_ascii_case(short)) {
        return Ok(kind);
    }
    text.parse::<Kind>().map(Kind::plural).map_err(|error| error.to_string())
}

pub(super) fn weights(text: &str) -> Result<Weights, String> {
    let is_weight = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let parts: Vec<_> = text.split('/').map(|part| part.trim().trim_end_matches('%')).collect();
    if parts.iter().all(|part| is_weight(part)) {
        Ok(Weights(parts.into_iter().map(|part| format!("{part}%")).collect()))
    } else {
        Err("write weights in percent with `/` between them, as in `90/10` or `33.34/33.33/33.33`".to_owned())
    }
}

pub(super) fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write a header field as `Name: value`".to_owned()),
    }
}

/// `NAME=VALUE`.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE, as in `TAG=1.2`".to_owned()),
    }
}

pub(super) fn cluster_and_breed(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((cluster, breed)) if !cluster.is_empty() && !breed.is_empty() => {
            Ok((cluster.to_owned(), breed.to_owned()))
        }
        _ => Err("write CLUSTER/BREED, as in `web/web:1`".to_owned()),
    }
}

pub(super) fn route_weight(text: &str) -> Result<(String, String), String> {
    let refused = || "write ROUTE=WEIGHT, as in `web:1=90`".to_owned();
    let (route, weight) = text.rsplit_once('=').ok_or_else(refused)?;
    let weight = weight.trim().trim_end_matches('%');
    let is_weight = !weight.is_empty() && weight.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if route.is_empty() || !is_weight { Err(refused()) } else { Ok((route.to_owned(), format!("{weight}%"))) }
}

/// A weight as the original's client takes it.
pub(super) fn route_at_weight(text: &str) -> Result<(String, String), String> {
    let refused = || "write ROUTE@WEIGHT, as in `web:1@90%`".to_owned();
    let (route, weight) = text.rsplit_once('@').ok_or_else(refused)?;
    if route.is_empty() { Err(refused()) } else { percent(weight).map(|weight| (route.to_owned(), weight)) }
}

pub(super) fn percent(text: &str) -> Result<String, String> {
    let number = text.trim().trim_end_matches('%');
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if is_number { Ok(format!("{number}%")) } else { Err("write a part in percent, as in `50%`".to_owned()) }
}

pub(super) fn long_wait_time(text: &str) -> Result<Duration, String> {
    let refused = || "write a time with its unit, as in `90s` or `5m`, up to 1h".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
    let time = Duration::try_from(time).map_err(|_| refused())?;
    if time.is_zero() || time > Duration::from_hours(1) { Err(refused()) } else { Ok(time) }
}

pub(super) fn wait_time(text: &str) -> Result<Duration, String> {
    let refused = || "write a time with its unit, as in `5s`, up to 60s".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
    let time = Duration::try_from(time).map_err(|_| refused())?;
    // LIMIT: what the API waits at most.
    if time.is_zero() || time > Duration::from_mins(1) { Err(refused()) } else { Ok(time) }
}

/// `table`, `json` and so on.
pub(super) fn output(text: &str) -> Result<Output, String> {
    text.parse()
}

/// The same for what came of a change, which has no columns.
pub(super) fn output_of_change(text: &str) -> Result<Output, String> {
    match text.parse() {
        Ok(Output::Wide) => Err(NOT_OF_CHANGE.to_owned()),
        Err(_) if !text.starts_with("jsonpath=") => Err(NOT_OF_CHANGE.to_owned()),
        output => output,
    }
}

/// One label of `-l`.
pub(super) fn selector(text: &str) -> Result<Selector, String> {
    text.parse().map_err(|error: vamp_model::BadSelector| error.to_string())
}

/// A moment for the API, from a moment or from how long ago it was.
pub(super) fn since(text: &str) -> Result<String, String> {
    let refused = || "write how long ago, as in `15m`, or a moment, as in `2026-01-31T12:00:00Z`".to_owned();
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(moment.to_string());
    }
    let ago: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
    if ago.is_negative() { Err(refused()) } else { Ok(format!("now-{}s", ago.as_secs())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(weights(text).unwrap().0, expected);
    }

    #[test]
    fn weights_are_read_with_and_without_percent_signs() {
        check("90/10", &["90%", "10%"]);
        check("33.34%/33.33%/33.33%", &["33.34%", "33.33%", "33.33%"]);
        check("100", &["100%"]);
        assert!(weights("90-10").is_err() && weights("90/").is_err() && weights("-1/101").is_err());
    }

    #[test]
    fn weights_are_read_as_the_original_writes_them() {
        assert_eq!(route_at_weight("a/b@c@70%"), Ok(("a/b@c".to_owned(), "70%".to_owned())));
        assert_eq!(route_at_weight("web:1@30"), Ok(("web:1".to_owned(), "30%".to_owned())));
        assert!(route_at_weight("@30%").is_err() && route_at_weight("web:1").is_err() && percent("half").is_err());
    }

    #[test]
    fn moments_are_read_as_such_and_by_how_long_ago_they_were() {
        assert_eq!(since("15m").as_deref(), Ok("now-900s"));
        assert_eq!(since("2026-01-31T12:00:00Z").as_deref(), Ok("2026-01-31T12:00:00Z"));
        assert!(since("-5m").is_err() && since("yesterday").is_err());
    }

    #[test]
    fn addresses_that_are_none_are_refused_with_what_to_write() {
        assert_eq!(host("https://vamp.example:8443").unwrap().as_str(), "https://vamp.example:8443/");
        for text in ["127.0.0.1:18480", "localhost:8080", "vamp.example"] {
            assert!(host(text).unwrap_err().contains(&format!("write `http://{text}`")), "{text}");
        }
        for text in ["ftp://a", "http://", "http://a:b"] {
            assert!(host(text).unwrap_err().contains("names no host"), "{text}");
        }
    }

    #[test]
    fn what_came_of_a_change_has_no_wide_table() {
        assert_eq!(output_of_change("name"), Ok(Output::Name));
        for text in ["wide", "xml", "jsonpath"] {
            assert_eq!(output_of_change(text).unwrap_err(), NOT_OF_CHANGE, "{text}");
        }
        let of_path = "jsonpath={..a}";
        assert_eq!(output_of_change(of_path), output(of_path));
        assert!(output_of_change(of_path).is_err());
    }

    #[test]
    fn kinds_have_their_short_names() {
        assert_eq!(kind("gw"), Ok("gateways"));
        assert_eq!(kind("Condition"), Ok("conditions"));
        assert_eq!(kind("breed"), Ok("breeds"));
        assert!(kind("bread").is_err());
    }
}
