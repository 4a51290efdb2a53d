//! Routes: stored ones, and those written in a gateway.

use serde_json::{Map, Value, json};
use vamp_routing::wire::{Balance, Share};

use crate::condition::ConditionUse;
use crate::decode::{Decoder, Field, Fields};
use crate::percent;
use crate::rewrite::RewriteUse;

/// A route that gateways refer to by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// What it says.
    pub body: RouteBody,
}

/// What a route says, besides where it leads.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteBody {
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// Its share of what no condition took; none: a part of what the others leave.
    pub weight: Option<Share>,
    /// Which requests it takes before the weights.
    pub condition: Option<ConditionUse>,
    /// The share of those that it takes; set when there is a condition.
    pub condition_strength: Option<Share>,
    /// How it chooses among its endpoints; none: the default.
    pub balance: Option<Balance>,
    /// Path rewrites, in order.
    pub rewrites: Vec<RewriteUse>,
}

impl Route {
    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        object.insert("kind".into(), json!("routes"));
        object.insert("metadata".into(), json!(self.body.metadata));
        object.insert("lookup_name".into(), json!(crate::lookup::stored_route(&self.name)));
        object.extend(self.body.to_fields());
        Value::Object(object)
    }
}

impl RouteBody {
    pub(crate) const FIELDS: &'static [&'static str] =
        &["weight", "condition", "condition_strength", "balance", "rewrites", "metadata"];

    /// Takes the fields of a route; `metadata` is the caller's.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, metadata: Map<String, Value>) -> Self {
        let owner = fields.owner.clone();
        let weight =
            fields.take("weight").and_then(|field| percent::decode(decoder, &field, &format!("the weight of {owner}")));
        let condition = fields
            .take("condition")
            .and_then(|field| ConditionUse::decode(decoder, &field, &format!("the condition of {owner}")));
        let strength = fields
            .take("condition_strength")
            .and_then(|field| percent::decode(decoder, &field, &format!("the condition strength of {owner}")));
        let balance = fields.take("balance").and_then(|field| decode_balance(decoder, &field, &owner));
        let rewrites =
            fields.take("rewrites").map(|field| RewriteUse::decode_all(decoder, &field, &owner)).unwrap_or_default();
        if let Some(field) = fields.take("selector") {
            decoder.refuse(
                &field,
                format!("{owner} has a selector, and routes that follow labels are not built"),
                "write the addresses as routes `[host:port]`",
            );
        }
        let condition_strength = strength.or_else(|| condition.is_some().then_some(Share::WHOLE));
        Self { metadata, weight, condition, condition_strength, balance, rewrites }
    }

    pub(crate) fn to_fields(&self) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("weight".into(), json!(self.weight.map(percent::format)));
        object.insert("balance".into(), json!(self.balance.map_or("default", balance_name)));
        object.insert("condition".into(), self.condition.as_ref().map_or(Value::Null, ConditionUse::to_json));
        object.insert("condition_strength".into(), json!(self.condition_strength.map(percent::format)));
        object.insert("rewrites".into(), self.rewrites.iter().map(RewriteUse::to_json).collect());
        object
    }
}

fn balance_name(balance: Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "roundrobin",
        Balance::LeastConn => "leastconn",
    }
}

fn decode_balance(decoder: &mut Decoder<'_>, field: &Field<'_>, owner: &str) -> Option<Balance> {
    let text = decoder.text(field, &format!("the balance of {owner}"))?;
    match text.to_ascii_lowercase().as_str() {
        "default" | "" => None,
        "roundrobin" => Some(Balance::RoundRobin),
        "leastconn" => Some(Balance::LeastConn),
        other => {
            let message = format!("{owner} has the balance `{text}`, which this build does not have");
            let hint = match other {
                "source" => "leave it out: a gateway keeps its clients by `sticky: route` or `sticky: instance`",
                _ => "use `roundrobin`, `leastconn` or `default`",
            };
            decoder.refuse(field, message, hint);
            None
        }
    }
}
