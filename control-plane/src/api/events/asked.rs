//! Which events are asked for: by query parameters, or by a body as the original takes it.

use serde::Deserialize;

use super::super::ask::Ask;
use super::super::problem::Problem;
use super::super::query::{self, Parameter};
use super::{OneOrMore, TAGS_MAX, check_kind, check_tag};
use crate::core::now_unix_ms;
use crate::persist::{Aggregator, EventQuery};

/// LIMIT: members of a value on the way to the number that is aggregated.
const FIELD_PARTS_MAX: usize = 16;

/// What a request asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) query: EventQuery,
    pub(super) aggregation: Option<Aggregation>,
}

/// One number over the events.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Aggregation {
    pub(super) aggregator: Aggregator,
    /// Where it stands in the value; empty: the value is the number.
    pub(super) path: Vec<String>,
}

/// The parameters that say the same as a body.
const SAID_BY_BODY: [Parameter; 6] =
    [Parameter::Tag, Parameter::Type, Parameter::From, Parameter::Until, Parameter::Aggregator, Parameter::Field];

/// A query as a body has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    tags: Option<OneOrMore>,
    #[serde(rename = "type")]
    kind: Option<String>,
    timestamp: Option<Bounds>,
    aggregator: Option<Aggregate>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounds {
    lt: Option<String>,
    lte: Option<String>,
    gt: Option<String>,
    gte: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Aggregate {
    #[serde(rename = "type")]
    kind: String,
    field: Option<String>,
}

impl Asked {
    /// Reads what a request asks for.
    pub(super) fn of(ask: &Ask) -> Result<Self, Problem> {
        let asked = if ask.body.is_empty() { Self::of_parameters(ask)? } else { Self::of_body(ask)? };
        let tags = &asked.query.tags;
        if tags.len() > TAGS_MAX {
            return Err(Problem::bad_request("the request has too many tags", format!("ask for up to {TAGS_MAX}")));
        }
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        asked.query.kind.as_deref().map_or(Ok(()), check_kind)?;
        Ok(asked)
    }

    fn of_parameters(ask: &Ask) -> Result<Self, Problem> {
        let (from_unix_ms, until_unix_ms) = ask.query.times(now_unix_ms())?;
        let tags = ask.query.tags().map(str::to_owned).collect();
        let kind = ask.query.kind().map(str::to_owned);
        let aggregation = match (ask.query.aggregator()?, ask.query.text(Parameter::Field)) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(Problem::bad_request("`field` is given without `aggregator`", "say what becomes of it"));
            }
            (Some(aggregator), field) => Some(Aggregation { aggregator, path: path(field, kind.as_deref())? }),
        };
        Ok(Self { query: EventQuery { tags, kind, from_unix_ms, until_unix_ms, ..EventQuery::default() }, aggregation })
    }

    fn of_body(ask: &Ask) -> Result<Self, Problem> {
        if let Some(parameter) = SAID_BY_BODY.into_iter().find(|parameter| ask.query.text(*parameter).is_some()) {
            let detail = format!("events are asked for by the body and by the query parameter `{}`", parameter.name());
            return Err(Problem::bad_request(detail, "use one of them"));
        }
        let refused = |error: serde_json::Error| {
            let mend = "send `{\"tags\": [\"deployments:shop\"], \"type\": \"event\", \"timestamp\": {\"gte\": \"now-1h\"}, \
                        \"aggregator\": {\"type\": \"count\"}}`, or parts of it";
            Problem::bad_request(format!("the body asks for no events ({error})"), mend)
        };
        let body: Body = serde_json::from_value(ask.value()?).map_err(refused)?;
        let (from_unix_ms, until_unix_ms) = body.timestamp.unwrap_or_default().read(now_unix_ms())?;
        let aggregation = match body.aggregator {
            None => None,
            Some(Aggregate { kind: text, field }) => {
                let aggregator = query::aggregator(&text).ok_or_else(|| {
                    let detail = format!("`{}` is no type of an aggregator", query::shown(&text));
                    Problem::bad_request(detail, query::AGGREGATORS)
                })?;
                Some(Aggregation { aggregator, path: path(field.as_deref(), body.kind.as_deref())? })
            }
        };
        let tags = body.tags.map(OneOrMore::into_tags).unwrap_or_default();
        let query = EventQuery { tags, kind: body.kind, from_unix_ms, until_unix_ms, ..EventQuery::default() };
        Ok(Self { query, aggregation })
    }
}

impl Bounds {
    /// The first moment, and the first that is too late.
    fn read(self, now_unix_ms: u64) -> Result<(Option<u64>, Option<u64>), Problem> {
        let read = |name: &str, text: Option<String>| {
            let moment = |text: String| {
                query::moment(&text, now_unix_ms).ok_or_else(|| {
                    let detail = format!("`{name}` of `timestamp` is `{}`", query::shown(&text));
                    Problem::bad_request(detail, query::MOMENTS)
                })
            };
            text.map(moment).transpose()
        };
        let one = |names: &str, first: Option<u64>, second: Option<u64>| match (first, second) {
            (Some(_), Some(_)) => Err(Problem::bad_request(format!("`timestamp` has {names}"), "keep one of the two")),
            (first, second) => Ok(first.or(second)),
        };
        // Moments are whole milliseconds.
        let after = |moment: u64| moment.saturating_add(1);
        let from = one("`gt` and `gte`", read("gt", self.gt)?.map(after), read("gte", self.gte)?)?;
        let until = one("`lt` and `lte`", read("lt", self.lt)?, read("lte", self.lte)?.map(after))?;
        Ok((from, until))
    }
}

/// The way to a number. The original keeps the value of an event under its type, and so it is named by scripts.
fn path(field: Option<&str>, kind: Option<&str>) -> Result<Vec<String>, Problem> {
    let Some(field) = field else { return Ok(Vec::new()) };
    let mut parts = field.split('.');
    let first = parts.next().unwrap_or_default();
    let parts: Vec<String> = parts.map(str::to_owned).collect();
    let is_sound = (first == "value" || kind == Some(first)) && parts.iter().all(|part| !part.is_empty());
    if is_sound && parts.len() <= FIELD_PARTS_MAX {
        return Ok(parts);
    }
    let mend = "use `value` for the value itself, or `value.NAME` for a member of it";
    Err(Problem::bad_request(format!("`{}` is no field of an event", query::shown(field)), mend))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(text: &str) -> Result<(Option<u64>, Option<u64>), Problem> {
        serde_json::from_str::<Bounds>(text).unwrap().read(100_000_000)
    }

    #[test]
    fn bounds_in_time_are_whole_milliseconds() {
        for (text, expected) in [
            ("{}", (None, None)),
            (r#"{"gt": "1970-01-01T00:00:01Z"}"#, (Some(1001), None)),
            (r#"{"gte": "1970-01-01T00:00:01Z", "lt": "now"}"#, (Some(1000), Some(100_000_000))),
            (r#"{"lte": "now-90s"}"#, (None, Some(99_910_001))),
        ] {
            assert_eq!(bounds(text).ok(), Some(expected), "{text}");
        }
        for (text, part) in [
            (r#"{"gt": "now", "gte": "now"}"#, "`gt` and `gte`"),
            (r#"{"lt": "now", "lte": "now"}"#, "`lt` and `lte`"),
            (r#"{"lt": "soon"}"#, "`lt` of `timestamp` is `soon`"),
        ] {
            let message = bounds(text).unwrap_err().message();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn a_field_is_the_value_or_a_member_of_it() {
        assert_eq!(path(None, None).ok(), Some(Vec::new()));
        assert_eq!(path(Some("value"), None).ok(), Some(Vec::new()));
        assert_eq!(path(Some("value.cpu.mean"), None).ok(), Some(vec!["cpu".to_owned(), "mean".to_owned()]));
        assert_eq!(path(Some("metrics"), Some("metrics")).ok(), Some(Vec::new()));
        for bad in ["", "cpu", "value.", "value..a"] {
            assert!(path(Some(bad), Some("metrics")).is_err(), "{bad}");
        }
    }
}
