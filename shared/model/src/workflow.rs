//! Workflows: what runs beside deployments, all the time, at times or after events. They are read, checked and kept;
//! nothing runs them yet, so that the only status there is to tell the truth is `suspended`.

use serde_json::{Map, Value, json};

use crate::blueprint::{decode_dialects, decode_network, decode_variables};
use crate::breed::{Argument, BreedUse, Offers, arguments_to_json, decode_arguments, decode_checks};
use crate::decode::{Decoder, Fields, VIOLATIONS_MAX};
use crate::health::{HealthCheck, all_to_json};
use crate::lookup;
use crate::near::listed;
use crate::scale::ScaleUse;
use crate::schedule::Schedule;
use crate::value::{ValueReference, parse_in_workflow};
use crate::violation::step;

/// What runs beside deployments.
#[derive(Debug, Clone, PartialEq)]
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// What users keep beside it.
    pub metadata: Map<String, Value>,
    /// What is started.
    pub breed: BreedUse,
    /// When.
    pub schedule: Schedule,
    /// What each instance may use; `None`: the default.
    pub scale: Option<ScaleUse>,
    /// Values for variables of the breed.
    pub environment: Vec<(String, String)>,
    /// For the platform, after those of the breed.
    pub arguments: Vec<Argument>,
    /// The network; `None`: the default.
    pub network: Option<String>,
    /// How instances are checked; `None`: as the breed says.
    pub health_checks: Option<Vec<HealthCheck>>,
    /// For the platforms.
    pub dialects: Map<String, Value>,
}

/// The statuses of the original that are true of what does not run.
const AT_REST: [&str; 2] = ["suspended", "suspending"];
/// Those that are not.
const AT_WORK: [&str; 4] = ["starting", "running", "stopping", "restarting"];

/// What values of workflows may refer to beside the variables and constants of the breed.
const GIVEN: [&str; 3] = ["workflow", "namespace", "data"];

impl Workflow {
    pub(crate) const FIELDS: &'static [&'static str] = &[
        "name",
        "kind",
        "metadata",
        "breed",
        "status",
        "schedule",
        "scale",
        "environment_variables",
        "arguments",
        "network",
        "health_checks",
        "dialects",
    ];

    pub(crate) fn decode<'t>(
        decoder: &mut Decoder<'t>,
        fields: &mut Fields<'t>,
        name: String,
        metadata: Map<String, Value>,
    ) -> Option<Self> {
        let owner = fields.owner.clone();
        // What the original shows of one that runs.
        fields.ignore(&["instances", "health"]);
        let mut required = |name: &str, hint: &str| {
            let field = fields.take(name);
            if field.is_none() {
                decoder.refuse_at(fields.place, &fields.pointer, format!("{owner} has no {name}"), hint);
            }
            field
        };
        let breed = required("breed", "add `breed: NAME`, or the breed itself");
        let schedule = required("schedule", "add `schedule: daemon`, `{event: TAG}` or `{time: PT5M}`");
        let breed = breed.and_then(|field| BreedUse::decode(decoder, &field, &format!("the breed of {owner}")));
        let schedule = schedule.and_then(|field| Schedule::decode(decoder, &field, &owner));
        check_status(decoder, fields, &owner);
        let scale = fields.take("scale");
        let scale = scale.and_then(|field| ScaleUse::decode(decoder, &field, &format!("the scale of {owner}")));
        let inline = breed.as_ref().and_then(BreedUse::inline);
        let check_value = |text: &str| parse_in_workflow(text).map(drop);
        let environment = decode_variables(decoder, fields, &owner, check_value);
        let arguments = decode_arguments(decoder, fields, &owner);
        let offers = inline.map(|breed| Offers::of([breed]));
        let health_checks =
            decode_checks(decoder, fields, &owner, |port| offers.as_ref().is_none_or(|offers| offers.has_port(port)));
        let network = decode_network(decoder, fields);
        let dialects = decode_dialects(decoder, fields);
        for (pointer, message, hint) in breed
            .as_ref()
            .and_then(BreedUse::inline)
            .map(|breed| faults(&owner, &environment, breed))
            .unwrap_or_default()
        {
            decoder.refuse_below(fields, &pointer, message, hint);
        }
        Some(Self {
            name,
            metadata,
            breed: breed?,
            schedule: schedule?,
            scale,
            environment,
            arguments,
            network,
            health_checks,
            dialects,
        })
    }

    /// What of the workflow does not fit its breed: where, what, and the mend.
    pub fn faults(&self, breed: &crate::Breed) -> Vec<(String, String, String)> {
        faults(&format!("workflow `{}`", self.name), &self.environment, breed)
    }

    pub(crate) fn to_json(&self) -> Value {
        let environment: Map<String, Value> =
            self.environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        object.insert("kind".into(), json!("workflows"));
        object.insert("metadata".into(), json!(self.metadata));
        object.insert("lookup_name".into(), json!(lookup::workflow(&self.name)));
        object.insert("breed".into(), self.breed.to_json());
        object.insert("status".into(), json!("suspended"));
        object.insert("schedule".into(), self.schedule.to_json());
        if let Some(scale) = &self.scale {
            object.insert("scale".into(), scale.to_json());
        }
        object.insert("environment_variables".into(), Value::Object(environment));
        object.insert("arguments".into(), arguments_to_json(&self.arguments));
        if let Some(network) = &self.network {
            object.insert("network".into(), json!(network));
        }
        if let Some(checks) = &self.health_checks {
            object.insert("health_checks".into(), all_to_json(checks));
        }
        object.insert("dialects".into(), json!(self.dialects));
        Value::Object(object)
    }
}

/// What values for variables of a workflow do not fit its breed.
fn faults(owner: &str, environment: &[(String, String)], breed: &crate::Breed) -> Vec<(String, String, String)> {
    let mut faults = Vec::new();
    let variables: Vec<&str> = breed.environment.iter().map(|known| known.name.as_str()).collect();
    let listed = format!("it has {}", listed(&variables));
    let offers = Offers::of([breed]);
    for (name, value) in environment {
        if faults.len() >= VIOLATIONS_MAX {
            break;
        }
        let pointer = step("/environment_variables", name);
        if !offers.has_variable(name) {
            let message = format!("{owner} sets the variable `{name}`, which breed `{}` does not have", breed.name);
            faults.push((pointer.clone(), message, listed.clone()));
        }
        for reference in parse_in_workflow(value).unwrap_or_default() {
            let is_known = |name: &str| GIVEN.contains(&name) || offers.has_variable(name) || offers.has_constant(name);
            let why = match &reference {
                ValueReference::Local(name) if is_known(name) => continue,
                ValueReference::Local(_) => format!("breed `{}` has nothing of that name", breed.name),
                _ => "a workflow has no clusters".to_owned(),
            };
            let message = format!("variable `{name}` of {owner} refers to `{reference}`: {why}");
            let hint = "name a variable or a constant of the breed, `$workflow`, `$namespace` or `$data`";
            faults.push((pointer.clone(), message, hint.to_owned()));
        }
    }
    faults
}

/// A status that would not be true is refused: a workflow that is shown as running, and does nothing, helps nobody.
fn check_status(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, owner: &str) {
    let Some(field) = fields.take("status") else { return };
    let Some(text) = decoder.text(&field, &format!("the status of {owner}")) else { return };
    let word = text.to_ascii_lowercase();
    if AT_REST.contains(&word.as_str()) {
        return;
    }
    let message = if AT_WORK.contains(&word.as_str()) {
        format!("the status of {owner} is `{word}`, and nothing runs workflows yet")
    } else {
        format!("the status of {owner} is `{}`, which is none", text.escape_debug())
    };
    decoder.refuse(&field, message, "write `suspended`, or leave it out");
}
