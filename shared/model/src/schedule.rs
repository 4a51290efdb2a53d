//! When a workflow runs.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::decode::{Decoder, Field, one_or_many};
use crate::period::{Period, is_moment};
use crate::tree::Content;

/// When a workflow runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// All the time.
    Daemon,
    /// Whenever there is an event that has all of these tags.
    Event(Vec<String>),
    /// Again and again.
    Time {
        /// From one run to the next.
        period: Period,
        /// The first run; `None`: nothing is said.
        start: Option<Start>,
        /// How often; `None`: for ever.
        repeat: Option<u32>,
    },
}

/// When the first run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// When the workflow begins.
    Now,
    /// At a time, as RFC 3339 writes it.
    At(String),
}

/// LIMIT: tags of one schedule; events have up to a few.
const TAGS_MAX: usize = 64;

const HINT: &str = "write `daemon`, `{event: TAG}`, `{event: [TAG, TAG]}`, `{time: PT5M}` or `{time: {period: PT5M, start: now, repeat: 3}}`";
const PERIOD_HINT: &str = "write it as ISO 8601 has it, such as PT30S, PT5M or P1DT12H";
const START_HINT: &str = "write `now`, or a time with its offset such as 2026-03-01T08:00:00Z";

impl Schedule {
    pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Option<Self> {
        let what = format!("the schedule of {owner}");
        if let Content::Text(text) = &field.node.content {
            if text == "daemon" {
                return Some(Self::Daemon);
            }
            decoder.refuse(field, format!("{what} is `{}`", text.escape_debug()), HINT);
            return None;
        }
        let mut fields = decoder.fields(field, &what)?;
        let (event, time) = (fields.take("event"), fields.take("time"));
        decoder.finish(&fields, &["event", "time"]);
        match (event, time) {
            (Some(event), None) => decode_event(decoder, &event, &what),
            (None, Some(time)) => decode_time(decoder, &time, &what),
            (Some(_), Some(time)) => {
                decoder.refuse(&time, format!("{what} has `event` and `time`"), "keep one of them");
                None
            }
            (None, None) => {
                decoder.refuse(field, format!("{what} says nothing"), HINT);
                None
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Daemon => json!("daemon"),
            Self::Event(tags) => json!({"event": {"tags": tags}}),
            Self::Time { period, start, repeat } => {
                let mut time = Map::new();
                time.insert("period".into(), json!(period.to_string()));
                match start {
                    Some(Start::Now) => drop(time.insert("start".into(), json!("now"))),
                    Some(Start::At(moment)) => drop(time.insert("start".into(), json!(moment))),
                    None => {}
                }
                if let Some(repeat) = repeat {
                    time.insert("repeat".into(), json!(repeat));
                }
                json!({"time": time})
            }
        }
    }
}

/// A tag, a list of tags, or a map with either.
fn decode_event(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Schedule> {
    let given = if matches!(field.node.content, Content::Map(_)) {
        let mut fields = decoder.fields(field, what)?;
        let tags = fields.take("tags");
        decoder.finish(&fields, &["tags"]);
        tags
    } else {
        Some(field.clone())
    };
    let mut tags: Vec<String> = Vec::new();
    let mut seen = HashSet::new();
    let items: Vec<_> = given.iter().flat_map(one_or_many).collect();
    if items.is_empty() {
        decoder.refuse(field, format!("{what} waits for an event without tags"), HINT);
    }
    for item in items {
        let Some(tag) = decoder.text(&item, &format!("a tag of {what}")) else { continue };
        if tag.trim().is_empty() {
            decoder.refuse(
                &item,
                format!("{what} has an empty tag"),
                "name a tag of the events, such as `deployments:shop`",
            );
        } else if seen.insert(tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.len() > TAGS_MAX {
        decoder.refuse(field, format!("{what} has {} tags", tags.len()), format!("name up to {TAGS_MAX}"));
    }
    (!tags.is_empty()).then_some(Schedule::Event(tags))
}

/// A period, or a map with one.
fn decode_time(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Schedule> {
    if !matches!(field.node.content, Content::Map(_)) {
        let period = decode_period(decoder, field, what)?;
        return Some(Schedule::Time { period, start: None, repeat: None });
    }
    let mut fields = decoder.fields(field, what)?;
    let (period, start, repeat) = (fields.take("period"), fields.take("start"), fields.take("repeat"));
    decoder.finish(&fields, &["period", "start", "repeat"]);
    if period.is_none() {
        decoder.refuse(field, format!("{what} has no period"), PERIOD_HINT);
    }
    let period = period.and_then(|field| decode_period(decoder, &field, what));
    let start = start.and_then(|field| decode_start(decoder, &field, what));
    let repeat = repeat.and_then(|field| {
        let text = decoder.text(&field, &format!("`repeat` of {what}"))?;
        let count = text.parse().ok().filter(|count| *count > 0);
        if count.is_none() {
            let message = format!("`repeat` of {what} is `{}`", text.escape_debug());
            decoder.refuse(&field, message, "write how often it runs, from 1; leave it out for no end");
        }
        count
    });
    Some(Schedule::Time { period: period?, start, repeat })
}

fn decode_period(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Period> {
    let text = decoder.text(field, &format!("the period of {what}"))?;
    // The original takes an empty one for a second.
    let period = if text.is_empty() { Some(Period::SECOND) } else { Period::parse(text) };
    if period.is_none() {
        decoder.refuse(field, format!("the period of {what} is `{}`, which is none", text.escape_debug()), PERIOD_HINT);
    }
    period
}

fn decode_start(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Start> {
    let text = decoder.text(field, &format!("the start of {what}"))?;
    match text {
        "now" => Some(Start::Now),
        _ if is_moment(text) => Some(Start::At(text.to_owned())),
        _ => {
            decoder.refuse(field, format!("the start of {what} is `{}`", text.escape_debug()), START_HINT);
            None
        }
    }
}
