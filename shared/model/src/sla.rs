//! What a cluster promises, and what follows when it does not keep it.

use serde_json::{Map, Value, json};

use crate::Kind;
use crate::decode::{Decoder, Field, Fields, one_or_many};
use crate::tree::{Content, to_object};
use crate::unit::Seconds;

/// A promise that clusters refer to by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Sla {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What it says.
    pub body: SlaBody,
}

/// What is promised.
#[derive(Debug, Clone, PartialEq)]
pub struct SlaBody {
    /// When it is broken.
    pub rule: SlaRule,
    /// What follows: all of it.
    pub escalations: Vec<EscalationUse>,
}

/// When a promise is broken.
#[derive(Debug, Clone, PartialEq)]
pub enum SlaRule {
    /// A figure of the cluster's gateways leaves its bounds.
    Window {
        /// Which figure.
        figure: Figure,
        /// Above it the cluster is scaled up.
        upper: f64,
        /// Below it the cluster is scaled down.
        lower: f64,
        /// Over which time the figure is taken.
        interval: Seconds,
        /// How long nothing is done after something was done.
        cooldown: Seconds,
    },
    /// When an event says so.
    EscalationOnly,
    /// A type that this build does not know; kept as it was written.
    Other {
        /// The type.
        kind: String,
        /// All other fields.
        parameters: Map<String, Value>,
    },
}

/// A figure that a promise is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    /// Mean time to answer, milliseconds.
    ResponseTime,
    /// Answers of 500 and above, and those that were cut or never came, in percent of all.
    ErrorRate,
    /// Requests in a second for each instance.
    RequestRate,
    /// Processor time of all instances, in percent of what the scale allows.
    Cpu,
}

impl Figure {
    const ALL: [(Self, &'static str); 4] = [
        (Self::ResponseTime, "response_time_sliding_window"),
        (Self::ErrorRate, "error_rate_sliding_window"),
        (Self::RequestRate, "request_rate_sliding_window"),
        (Self::Cpu, "cpu_sliding_window"),
    ];

    /// As documents write it.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(figure, _)| *figure == self).map_or("", |(_, word)| word)
    }
}

/// What follows, by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Escalation {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What it does.
    pub body: EscalationBody,
}

/// What follows as others use it.
#[derive(Debug, Clone, PartialEq)]
pub enum EscalationUse {
    /// The stored one of this name.
    Stored(String),
    /// Written out.
    Inline(EscalationBody),
}

/// What is done.
#[derive(Debug, Clone, PartialEq)]
pub enum EscalationBody {
    /// All of them.
    ToAll(Vec<EscalationUse>),
    /// The first that changes something; from the last to the first when scaling down.
    ToOne(Vec<EscalationUse>),
    /// Another scale.
    Scale(Scaling),
    /// A type that this build does not know; kept as it was written.
    Other {
        /// The type.
        kind: String,
        /// All other fields.
        parameters: Map<String, Value>,
    },
}

/// How a scale is changed, step by step.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// What of it.
    pub what: Scaled,
    /// The least.
    pub minimum: f64,
    /// The most.
    pub maximum: f64,
    /// The step.
    pub scale_by: f64,
    /// The cluster; `None`: the one that made the promise.
    pub target: Option<String>,
}

/// What of a scale is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scaled {
    /// The number of instances.
    Instances,
    /// Processors of each.
    Cpu,
    /// Memory of each, in millions of bytes.
    Memory,
}

impl Scaled {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Instances, "scale_instances"), (Self::Cpu, "scale_cpu"), (Self::Memory, "scale_memory")];

    /// As documents write it.
    pub fn word(self) -> &'static str {
        Self::ALL.into_iter().find(|(scaled, _)| *scaled == self).map_or("", |(_, word)| word)
    }
}

/// The promise of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub enum SlaUse {
    /// The stored one of this name.
    Stored {
        /// Its name.
        reference: String,
        /// What follows here; empty: what follows there.
        escalations: Vec<EscalationUse>,
    },
    /// Written out.
    Inline(SlaBody),
}

const SLA_EXAMPLE: &str = "write `{type: response_time_sliding_window, threshold: {upper: 800, lower: 100}, window: {interval: 60, cooldown: 120}, escalations: […]}`";
const SCALE_EXAMPLE: &str = "write `{type: scale_instances, minimum: 1, maximum: 6, scale_by: 1}`";

impl SlaBody {
    /// Takes all fields, since a type that is not known may have any.
    pub(crate) fn decode<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>) -> Option<Self> {
        let owner = fields.owner.clone();
        let kind = fields.take("type");
        if kind.is_none() {
            decoder.refuse_at(fields.place, &fields.pointer, format!("{owner} has no type"), SLA_EXAMPLE);
        }
        let kind = kind.and_then(|kind| decoder.text(&kind, &format!("the type of {owner}")));
        let escalations = take_escalations(decoder, fields, &owner);
        // What else it has depends on its type.
        let Some(kind) = kind else {
            fields.take_rest();
            return None;
        };
        let figure = Figure::ALL.into_iter().find(|(_, word)| *word == kind);
        let rule = match figure {
            Some((figure, _)) => decode_window(decoder, fields, figure),
            None if kind == "escalation_only" => {
                decoder.finish(fields, &["type", "escalations"]);
                Some(SlaRule::EscalationOnly)
            }
            None => Some(SlaRule::Other { kind: kind.to_owned(), parameters: fields.take_rest() }),
        };
        Some(Self { rule: rule?, escalations })
    }

    pub(crate) fn to_fields(&self) -> Map<String, Value> {
        let mut object = Map::new();
        match &self.rule {
            SlaRule::Window { figure, upper, lower, interval, cooldown } => {
                object.insert("type".into(), json!(figure.word()));
                object.insert("threshold".into(), json!({"upper": number(*upper), "lower": number(*lower)}));
                object.insert("window".into(), json!({"interval": interval.0, "cooldown": cooldown.0}));
            }
            SlaRule::EscalationOnly => {
                object.insert("type".into(), json!("escalation_only"));
            }
            SlaRule::Other { kind, parameters } => {
                object.insert("type".into(), json!(kind));
                object.extend(parameters.clone());
            }
        }
        object.insert("escalations".into(), self.escalations.iter().map(EscalationUse::to_json).collect());
        object
    }
}

impl Sla {
    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        object.insert("kind".into(), json!("slas"));
        object.insert("metadata".into(), json!(self.metadata));
        object.extend(self.body.to_fields());
        Value::Object(object)
    }
}

impl Escalation {
    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        object.insert("kind".into(), json!("escalations"));
        object.insert("metadata".into(), json!(self.metadata));
        object.extend(self.body.to_fields());
        Value::Object(object)
    }
}

impl SlaUse {
    pub(crate) fn decode<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, what: &str) -> Option<Self> {
        if !matches!(field.node.content, Content::Map(_)) {
            let reference = decoder.text(field, what)?.to_owned();
            check_name(decoder, field, Kind::Sla, &reference);
            return Some(Self::Stored { reference, escalations: Vec::new() });
        }
        let mut fields = decoder.fields(field, what)?;
        if fields.has("reference") || fields.has("ref") {
            let reference = crate::condition::take_reference(decoder, &mut fields)?;
            let escalations = take_escalations(decoder, &mut fields, what);
            decoder.finish(&fields, &["reference", "escalations"]);
            return Some(Self::Stored { reference, escalations });
        }
        fields.ignore(&["kind", "metadata"]);
        SlaBody::decode(decoder, &mut fields).map(Self::Inline)
    }

    /// As documents show it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Stored { reference, escalations } => {
                json!({
                    "reference": reference,
                    "escalations": escalations.iter().map(EscalationUse::to_json).collect::<Vec<_>>(),
                })
            }
            Self::Inline(body) => Value::Object(body.to_fields()),
        }
    }
}

impl EscalationUse {
    fn decode<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, what: &str) -> Option<Self> {
        if !matches!(field.node.content, Content::Map(_)) {
            let reference = decoder.text(field, what)?.to_owned();
            check_name(decoder, field, Kind::Escalation, &reference);
            return Some(Self::Stored(reference));
        }
        let mut fields = decoder.fields(field, what)?;
        if fields.has("reference") || fields.has("ref") {
            let reference = crate::condition::take_reference(decoder, &mut fields)?;
            decoder.finish(&fields, &["reference"]);
            return Some(Self::Stored(reference));
        }
        fields.ignore(&["kind", "metadata"]);
        EscalationBody::decode(decoder, &mut fields).map(Self::Inline)
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Stored(reference) => json!({"reference": reference}),
            Self::Inline(body) => Value::Object(body.to_fields()),
        }
    }
}

impl EscalationBody {
    /// Takes all fields, since a type that is not known may have any.
    pub(crate) fn decode<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>) -> Option<Self> {
        let owner = fields.owner.clone();
        for (short, make) in [("to_all", Self::ToAll as fn(Vec<EscalationUse>) -> Self), ("to_one", Self::ToOne)] {
            if !fields.has("type") && fields.has(short) {
                let field = fields.take(short)?;
                let inner = decode_group(decoder, &field, &owner);
                decoder.finish(fields, &[short]);
                return Some(make(inner));
            }
        }
        let kind = fields.take("type");
        if kind.is_none() {
            decoder.refuse_at(fields.place, &fields.pointer, format!("{owner} has no type"), SCALE_EXAMPLE);
        }
        let Some(kind) = kind.and_then(|kind| decoder.text(&kind, &format!("the type of {owner}"))) else {
            fields.take_rest();
            return None;
        };
        match kind {
            "to_all" | "to_one" => {
                let inner = take_escalations(decoder, fields, &owner);
                decoder.finish(fields, &["type", "escalations"]);
                Some(if kind == "to_all" { Self::ToAll(inner) } else { Self::ToOne(inner) })
            }
            _ => match Scaled::ALL.into_iter().find(|(_, word)| *word == kind) {
                Some((what, _)) => decode_scale(decoder, fields, what),
                None => Some(Self::Other { kind: kind.to_owned(), parameters: fields.take_rest() }),
            },
        }
    }

    pub(crate) fn to_fields(&self) -> Map<String, Value> {
        let group = |kind: &str, inner: &[EscalationUse]| json!({"type": kind, "escalations": inner.iter().map(EscalationUse::to_json).collect::<Vec<_>>()});
        let value = match self {
            Self::ToAll(inner) => group("to_all", inner),
            Self::ToOne(inner) => group("to_one", inner),
            Self::Scale(Scaling { what, minimum, maximum, scale_by, target }) => json!({
                "type": what.word(),
                "minimum": number(*minimum),
                "maximum": number(*maximum),
                "scale_by": number(*scale_by),
                "target": target,
            }),
            Self::Other { kind, parameters } => {
                let mut object = Map::new();
                object.insert("type".into(), json!(kind));
                object.extend(parameters.clone());
                Value::Object(object)
            }
        };
        match value {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }

    /// The clusters that it scales beside its own.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Self::ToAll(inner) | Self::ToOne(inner) => {
                let bodies = inner.iter().filter_map(|escalation| match escalation {
                    EscalationUse::Inline(body) => Some(body),
                    EscalationUse::Stored(_) => None,
                });
                bodies.flat_map(Self::targets).collect()
            }
            Self::Scale(Scaling { target, .. }) => target.as_deref().into_iter().collect(),
            Self::Other { .. } => Vec::new(),
        }
    }
}

fn check_name(decoder: &mut Decoder<'_>, field: &Field<'_>, kind: Kind, name: &str) {
    if let Some((message, hint)) = crate::name::fault(kind, name) {
        decoder.refuse(field, message, hint);
    }
}

fn take_escalations<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>, owner: &str) -> Vec<EscalationUse> {
    let Some(field) = fields.take("escalations") else { return Vec::new() };
    decode_list(decoder, &field, owner)
}

/// `to_one: [ … ]`, or `to_one: {escalations: [ … ]}`.
fn decode_group<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, owner: &str) -> Vec<EscalationUse> {
    if let Content::Map(map) = &field.node.content
        && map.iter().any(|(key, _)| key.text == "escalations")
        && let Some(mut fields) = decoder.fields(field, owner)
    {
        let inner = take_escalations(decoder, &mut fields, owner);
        decoder.finish(&fields, &["escalations"]);
        return inner;
    }
    decode_list(decoder, field, owner)
}

fn decode_list<'t>(decoder: &mut Decoder<'t>, field: &Field<'t>, owner: &str) -> Vec<EscalationUse> {
    let mut escalations = Vec::new();
    for (index, item) in one_or_many(field).iter().enumerate() {
        let what = format!("escalation {} of {owner}", index.saturating_add(1));
        escalations.extend(EscalationUse::decode(decoder, item, &what));
    }
    escalations
}

fn decode_window<'t>(decoder: &mut Decoder<'t>, fields: &mut Fields<'t>, figure: Figure) -> Option<SlaRule> {
    let owner = fields.owner.clone();
    let mut part = |name: &str| {
        let field = fields.take(name);
        if field.is_none() {
            decoder.refuse_at(fields.place, &fields.pointer, format!("{owner} has no {name}"), SLA_EXAMPLE);
        }
        let field = field?;
        decoder.fields(&field, &format!("the {name} of {owner}"))
    };
    let (threshold, window) = (part("threshold"), part("window"));
    decoder.finish(fields, &["type", "threshold", "window", "escalations"]);
    let bounds = threshold.and_then(|threshold| decode_threshold(decoder, threshold, &owner));
    let times = window.and_then(|window| decode_times(decoder, window, &owner));
    let ((upper, lower), (interval, cooldown)) = (bounds?, times?);
    Some(SlaRule::Window { figure, upper, lower, interval, cooldown })
}

/// The upper and the lower bound.
fn decode_threshold(decoder: &mut Decoder<'_>, mut threshold: Fields<'_>, owner: &str) -> Option<(f64, f64)> {
    let upper = take_number(decoder, &mut threshold, "upper", SLA_EXAMPLE);
    let lower = take_number(decoder, &mut threshold, "lower", SLA_EXAMPLE);
    decoder.finish(&threshold, &["upper", "lower"]);
    let (upper, lower) = (upper?, lower?);
    if lower > upper {
        let message = format!("the threshold of {owner} has a lower bound above the upper one");
        decoder.refuse_at(threshold.place, &threshold.pointer, message, "exchange them");
    }
    Some((upper, lower))
}

/// The interval and the cooldown.
fn decode_times(decoder: &mut Decoder<'_>, mut window: Fields<'_>, owner: &str) -> Option<(Seconds, Seconds)> {
    let interval = take_seconds(decoder, &mut window, "interval");
    let cooldown = take_seconds(decoder, &mut window, "cooldown");
    decoder.finish(&window, &["interval", "cooldown"]);
    let interval = interval?;
    if interval.0 == 0 {
        let message = format!("the window of {owner} has no length");
        decoder.refuse_at(window.place, &window.pointer, message, "give at least 1 s");
    }
    Some((interval, cooldown?))
}

fn decode_scale(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, what: Scaled) -> Option<EscalationBody> {
    let owner = fields.owner.clone();
    let minimum = take_number(decoder, fields, "minimum", SCALE_EXAMPLE);
    let maximum = take_number(decoder, fields, "maximum", SCALE_EXAMPLE);
    let scale_by = take_number(decoder, fields, "scale_by", SCALE_EXAMPLE);
    let target = fields.take("target");
    let target = target.and_then(|field| decoder.text(&field, &format!("the target of {owner}"))).map(str::to_owned);
    decoder.finish(fields, &["type", "minimum", "maximum", "scale_by", "target"]);
    let (minimum, maximum, scale_by) = (minimum?, maximum?, scale_by?);
    if minimum > maximum || minimum < 0.0 || scale_by <= 0.0 {
        let message = format!("{owner} scales by {scale_by} between {minimum} and {maximum}");
        let hint = "give a step above 0 and a minimum from 0 to the maximum";
        decoder.refuse_at(fields.place, &fields.pointer, message, hint);
    }
    Some(EscalationBody::Scale(Scaling { what, minimum, maximum, scale_by, target }))
}

fn take_number(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, name: &str, example: &str) -> Option<f64> {
    let Some(field) = fields.take(name) else {
        decoder.refuse_at(fields.place, &fields.pointer, format!("{} has no {name}", fields.owner), example);
        return None;
    };
    let text = decoder.text(&field, &format!("the {name} of {}", fields.owner))?;
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    if number.is_none() {
        let message = format!("the {name} of {} is `{}`", fields.owner, text.escape_debug());
        decoder.refuse(&field, message, "write a number");
    }
    number
}

fn take_seconds(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, name: &str) -> Option<Seconds> {
    let Some(field) = fields.take(name) else {
        decoder.refuse_at(fields.place, &fields.pointer, format!("{} has no {name}", fields.owner), SLA_EXAMPLE);
        return None;
    };
    Seconds::decode(decoder, &field, &format!("the {name} of {}", fields.owner))
}

/// Whole numbers without decimals, as people write them.
fn number(value: f64) -> Value {
    /// LIMIT: up to here every whole number is exact in 64 bits of floating point.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT_MAX {
        return format!("{value:.0}").parse::<i64>().map_or(Value::Null, Value::from);
    }
    json!(value)
}

impl Fields<'_> {
    /// Everything that is left.
    fn take_rest(&mut self) -> Map<String, Value> {
        to_object(&self.take_entries())
    }
}
