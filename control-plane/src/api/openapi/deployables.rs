//! The schemas of what can be deployed, and of what is.

use serde_json::{Value, json};
use vamp_model::Kind;

use super::schemas::{answered, members, metadata, nullable_text, number, route_of_gateway, text, unread, with_common};
use super::{list_of, reference};

/// Of the artifacts and their parts.
pub(super) fn all() -> Vec<Value> {
    vec![breeds(), clusters(), promises(), deployments(), workflows()]
}

fn map_of(item: &Value, description: &str) -> Value {
    json!({"type": "object", "additionalProperties": item, "description": description})
}

fn one_or_many(item: &Value, description: &str) -> Value {
    json!({"anyOf": [item, {"type": "array", "items": item}], "description": description})
}

fn scalar() -> Value {
    json!({"type": ["string", "number", "boolean"]})
}

fn scalar_or_null() -> Value {
    json!({"type": ["string", "number", "boolean", "null"]})
}

fn size() -> Value {
    json!({
        "cpu": {"type": ["number", "string"], "description": "Processors of each instance: `0.25`, or `250m`."},
        "memory": text("Memory of each instance, with its unit: `64MB`, `1Gi`."),
        "instances": {"type": "integer", "minimum": 0, "maximum": 1000, "default": 1, "description": "How many."},
    })
}

fn named(description: &str, mut properties: Value, kind: Kind) -> Value {
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("name".to_owned(), text("Without white space, brackets and slashes."));
    }
    members(description, with_common(kind, properties))
}

/// The fields of a breed without those that every artifact has.
fn breed() -> Value {
    let variables = map_of(
        &scalar_or_null(),
        "Variables of the instance. A value may refer to others: `$alias.host`, `$alias.ports.NAME`, `$NAME`; `$$` is a dollar sign. Without value: a deployment must give one. `NAME[ALIAS]` is known as NAME and given as ALIAS.",
    );
    json!({
        "deployable": {"anyOf": [{"type": "string"}, reference("Deployable")], "description": "What is started: an image, or a deployable."},
        "ports": map_of(&json!({"type": ["string", "integer"]}), "Ports by name: `8080`, `8080/http`, `5432/tcp`."),
        "environment_variables": variables,
        "env": map_of(&scalar_or_null(), "Short for `environment_variables`."),
        "constants": map_of(&scalar(), "Values that others may refer to."),
        "arguments": {"type": ["object", "array"], "items": {"type": "object"}, "description": "For the platform: `privileged`, and what its driver knows."},
        "dependencies": map_of(&reference("BreedInDependency"), "Breeds that must run, by the alias that the values use."),
        "health_checks": one_or_many(&reference("HealthCheck"), "How instances are checked."),
    })
}

/// The same as it stands in another document.
fn inline_breed() -> Value {
    let own = json!({"name": text("Its name."), "kind": unread(), "metadata": metadata(), "lookup_name": unread()});
    with(breed(), own)
}

/// Both together.
fn with(mut properties: Value, more: Value) -> Value {
    if let (Some(properties), Value::Object(more)) = (properties.as_object_mut(), more) {
        properties.extend(more);
    }
    properties
}

fn breeds() -> Value {
    let named_breed =
        json!({"type": "string", "description": "The name of a stored breed; a `*` at its end stands for anything."});
    let by_reference =
        members("A stored breed.", json!({"reference": text("Its name."), "ref": text("Short for `reference`.")}));
    let any_breed = json!({"anyOf": [named_breed, by_reference, reference("BreedInline"), members("A breed.", json!({"breed": {}}))]});
    let check = json!({
        "protocol": {"enum": ["HTTP", "HTTPS", "TCP", "COMMAND", "MESOS_HTTP", "MESOS_HTTPS", "MESOS_TCP"], "description": "HTTP when left out; COMMAND when there is a command."},
        "path": text("Of HTTP: `/` when left out. 200 to 399 is a success."),
        "port": text("The name of a port of the breed."),
        "command": text("Of COMMAND: runs beside the instance; 0 is a success."),
        "initial_delay": time("From the start to the first try; 0 when left out."),
        "timeout": time("How long a try may take, at least 1 s."),
        "interval": time("From one try to the next, at least 1 s."),
        "failures": number("Failures in a row after which the instance is not well."),
        "successes": number("Successes in a row after which it is well again; 1 when left out."),
    });
    json!({
        "Breed": named("Something that can be deployed.", breed(), Kind::Breed),
        "BreedInline": members("A breed, written out.", inline_breed()),
        "BreedInDependency": any_breed,
        "Deployable": members("What is started.", json!({
            "type": text("`container/docker` (also `docker`), `command` (also `cmd`); left out: what the control plane takes for it."),
            "definition": text("The image, or the command."),
        })),
        "HealthCheck": members("How it is found out whether an instance is well.", check),
        "Scale": named("How many instances, and what each may use.", size(), Kind::Scale),
        "ScaleInService": {"anyOf": [
            {"type": "string", "description": "The name of a stored scale."},
            members("A scale, or a reference to a stored one.", with_reference(size())),
        ]},
    })
}

fn time(description: &str) -> Value {
    json!({"type": ["string", "integer"], "description": format!("{description} Seconds, or with a unit: `30s`, `5m`.")})
}

fn with_reference(mut properties: Value) -> Value {
    if let Some(properties) = properties.as_object_mut() {
        properties.insert("reference".to_owned(), text("The name of a stored one, in place of the rest."));
        properties.insert("ref".to_owned(), text("Short for `reference`."));
        properties.insert("kind".to_owned(), text("Not looked at."));
        properties.insert("metadata".to_owned(), metadata());
    }
    properties
}

fn inner_gateway() -> Value {
    json!({
        "sticky": {"enum": ["route", "service", "instance", "none", null]},
        "virtual_hosts": {"type": ["array", "string"], "items": {"type": "string"}},
        "routes": {
            "type": ["object", "array", "string"],
            "additionalProperties": route_of_gateway(),
            "items": {"type": ["string", "object"], "additionalProperties": route_of_gateway()},
            "description": "In a cluster by the breeds of its services, before a deployment by `CLUSTER/PORT`.",
        },
        "selector": {"type": "null"},
        "lookup_name": unread(),
        "kind": unread(),
        "metadata": metadata(),
        "internal": unread(),
        "deployed": unread(),
        "service": unread(),
    })
}

fn clusters() -> Value {
    let dialects = || map_of(&json!({}), "For one platform each, in its own words.");
    let service = || {
        json!({
            "breed": reference("BreedInDependency"),
            "reference": text("Short for `breed: {reference: …}`."),
            "ref": text("Short for `reference`."),
            "environment_variables": map_of(&scalar(), "Values for variables of the breed."),
            "env": map_of(&scalar(), "Short for `environment_variables`."),
            "scale": reference("ScaleInService"),
            "arguments": {"type": ["object", "array"], "items": {"type": "object"}},
            "health_checks": one_or_many(&reference("HealthCheck"), "In place of those of the breed; an empty list: none."),
            "network": nullable_text("The network; `BRIDGE` when left out."),
            "dialects": dialects(),
            "dialect": dialects(),
            "health": unread(),
            "status": unread(),
            "instances": unread(),
            "dependencies": unread(),
        })
    };
    let any_service = json!({"anyOf": [{"type": "string"}, reference("Service"), reference("BreedInline")]});
    let shared = || {
        json!({
            "gateways": map_of(&reference("GatewayInCluster"), "What is said of the gateway of each port; where there is one port, also without its name."),
            "sla": reference("SlaInCluster"),
            "metadata": metadata(),
        })
    };
    let services = json!({"services": one_or_many(&any_service, "Versions of the service, in order.")});
    let cluster = with(with(service(), shared()), services);
    let only = with(inline_breed(), shared());
    let mut outer = inner_gateway();
    if let Some(outer) = outer.as_object_mut() {
        outer.insert("port".to_owned(), json!({"type": ["string", "integer", "null"], "description": "`9050`, `9050/http`; 0 or left out: one from the range."}));
    }
    json!({
        "Blueprint": named("Clusters of services that can be deployed together.", topology(), Kind::Blueprint),
        "Cluster": {"anyOf": [
            {"type": "string", "description": "Its only service, by the name of the breed."},
            {"type": "array", "items": any_service},
            members("Versions of one service; without `services` the cluster is its only service.", cluster),
            members("Its only service, by its breed.", only),
        ]},
        "Service": members("One version of a service.", with(service(), runtime_of_service())),
        "GatewayInCluster": {"anyOf": [members("A gateway before a port of a cluster.", inner_gateway()), {"type": ["string", "array", "object", "null"]}]},
        "GatewayInDeployment": {"anyOf": [{"type": ["string", "array"], "items": {"type": ["string", "object"]}}, members("A gateway by which clients come in.", outer)]},
    })
}

fn topology() -> Value {
    json!({
        "gateways": map_of(&reference("GatewayInDeployment"), "Where clients come in: `9050: web/http`."),
        "clusters": map_of(&reference("Cluster"), "Clusters by name, in order."),
        "environment_variables": map_of(&scalar(), "`CLUSTER.NAME`: values for the variables of all breeds of a cluster."),
        "env": map_of(&scalar(), "Short for `environment_variables`."),
        "dialects": map_of(&json!({}), "For one platform each, in its own words."),
        "dialect": map_of(&json!({}), "Short for `dialects`."),
    })
}

/// What is shown of a deployment that runs, and ignored when it is sent.
fn runtime() -> Value {
    json!({
        "status": {"type": "object", "readOnly": true, "description": "All services together: the phase of the one that stands worst, why, and instances that are wanted and ready."},
        "ports": {"type": "object", "readOnly": true, "additionalProperties": {"type": "string"}, "description": "The port of the gateway before each port: `CLUSTER.PORT`."},
        "hosts": {"type": "object", "readOnly": true, "additionalProperties": {"type": "string"}, "description": "Where services find the gateway before each cluster."},
        "health": {"readOnly": true, "description": "Not looked at."},
    })
}

fn runtime_of_service() -> Value {
    json!({
        "status": {"type": "object", "readOnly": true, "description": "Of one that is deployed: `intention`, `since`, and `phase` with `name`, `since` and, where something is wrong, `notification`."},
        "instances": {"type": "array", "readOnly": true, "items": {"type": "object"}, "description": "Of one that is deployed: `name`, `host`, `ports` by name, `deployed` (it runs), `ready`, and `state` in words."},
        "health": {"type": "object", "readOnly": true, "description": "Of one that is deployed: how many instances are `staged`, `running`, `healthy` and `unhealthy`."},
    })
}

fn promises() -> Value {
    let amount = |description: &str| json!({"type": "number", "description": description});
    let sla = json!({
        "type": text("`response_time_sliding_window` (ms), `error_rate_sliding_window` (%), `request_rate_sliding_window` (1/s for each instance), `cpu_sliding_window` (%), `escalation_only`, or anything else."),
        "threshold": members("Bounds of the figure.", json!({"upper": amount("Above it the cluster is scaled up."), "lower": amount("Below it the cluster is scaled down.")})),
        "window": members("Times.", json!({"interval": time("Over which the figure is taken."), "cooldown": time("How long nothing is done after something was done.")})),
        "escalations": one_or_many(&reference("EscalationInSla"), "What follows, all of it."),
    });
    let escalation = json!({
        "type": text("`scale_instances`, `scale_cpu`, `scale_memory`, `to_one`, `to_all`, or anything else."),
        "minimum": amount("The least."),
        "maximum": amount("The most."),
        "scale_by": amount("The step."),
        "target": nullable_text("The cluster; its own when left out."),
        "escalations": one_or_many(&reference("EscalationInSla"), "Of a group."),
        "to_one": {"description": "The first that changes something."},
        "to_all": {"description": "All of them."},
    });
    // A type that is not known keeps what was written.
    let open = |mut schema: Value| {
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("additionalProperties".to_owned(), true.into());
        }
        schema
    };
    json!({
        "Sla": open(named("What a cluster promises.", sla.clone(), Kind::Sla)),
        "SlaInCluster": {"anyOf": [{"type": "string", "description": "The name of a stored one."}, open(members("A promise, or a reference to a stored one.", with_reference(sla)))]},
        "Escalation": open(named("What follows when a promise is not kept.", escalation.clone(), Kind::Escalation)),
        "EscalationInSla": {"anyOf": [{"type": "string", "description": "The name of a stored one."}, open(members("What follows, or a reference to a stored one.", with_reference(escalation)))]},
    })
}

fn deployments() -> Value {
    let instance = json!({
        "name": text("Its name."),
        "ports": map_of(&json!({"type": "string"}), "`host:port` by the breed's port."),
    });
    let seen = json!({
        "name": text("Its name."),
        "state": text("What it does, in words."),
        "ready": {"type": "boolean", "description": "It can take requests."},
        "routed": {"type": "boolean", "description": "Gateways send it requests."},
        "ports": map_of(&json!({"type": "string"}), "`host:port` by the breed's port."),
        "restarts": number("How often it ended and was started again."),
        "warnings": list_of(&json!({"type": "string", "description": "A part of its order that its platform does not keep, with the reason and the mend."})),
    });
    let service = json!({
        "cluster": text("Its cluster."),
        "service": text("Its breed."),
        "intention": {"enum": ["Deployment", "Undeployment"]},
        "phase": {"enum": ["Initiated", "Updating", "Done", "Failed", "Unknown"], "description": "`Failed` is tried again; `Unknown`: its platform does not answer."},
        "message": text("Why it is not done."),
        "since": text("Since when, RFC 3339."),
        "wanted": number("Instances that are wanted."),
        "ready": number("Instances that can take requests."),
        "instances": list_of(&reference("InstanceStatus")),
    });
    json!({
        "Deployment": named("Clusters of services that are deployed.", with(topology(), runtime()), Kind::Deployment),
        "DeploymentStatus": answered("How far a deployment has come.", json!({
            "done": {"type": "boolean", "description": "Everything is as it is wanted."},
            "services": list_of(&reference("ServiceStatus")),
        }), &[]),
        "ServiceStatus": answered("How far a service has come.", service, &["message"]),
        "InstanceStatus": answered("One instance.", seen, &["warnings"]),
        "Instances": answered("Where the instances of a service are that take requests.", json!({
            "name": text("`DEPLOYMENT/CLUSTER/SERVICE`."),
            "kind": {"enum": [Kind::Instances.plural()]},
            "instances": list_of(&reference("Instance")),
        }), &[]),
        "Instance": answered("Where an instance is.", instance, &[]),
    })
}

fn workflows() -> Value {
    let tags =
        json!({"type": ["string", "array"], "items": {"type": "string"}, "description": "All of them must be there."});
    let event = members("Whenever there is an event.", json!({"tags": tags}));
    let period = || text("From one run to the next, as ISO 8601 writes it: `PT5M`, `P1DT12H`.");
    let time = members(
        "Again and again.",
        json!({
            "period": period(),
            "start": text("`now`, or a time with its offset such as `2026-03-01T08:00:00Z`."),
            "repeat": {"type": "integer", "minimum": 1, "description": "How often; without end when left out."},
        }),
    );
    let schedule = members(
        "After events, or at times.",
        json!({"event": {"anyOf": [tags, event]}, "time": {"anyOf": [period(), time]}}),
    );
    let workflow = json!({
        "breed": reference("BreedInDependency"),
        "status": {"enum": ["suspended", "suspending"], "description": "Nothing runs workflows yet: only `suspended` is true."},
        "schedule": {"anyOf": [{"enum": ["daemon"]}, schedule], "description": "All the time, after events, or at times."},
        "scale": reference("ScaleInService"),
        "environment_variables": map_of(&scalar(), "Values for variables of the breed; they may refer to `$workflow`, `$namespace`, `$data`, and what the breed has."),
        "env": map_of(&scalar(), "Short for `environment_variables`."),
        "arguments": {"type": ["object", "array"], "items": {"type": "object"}, "description": "For the platform, after those of the breed."},
        "network": nullable_text("The network."),
        "health_checks": one_or_many(&reference("HealthCheck"), "In place of those of the breed."),
        "dialects": map_of(&json!({}), "For one platform each, in its own words."),
        "dialect": map_of(&json!({}), "Short for `dialects`."),
        "instances": unread(),
        "health": unread(),
    });
    let template = json!({
        "definition": {"type": "object", "additionalProperties": true, "description": "The fields that it gives to documents that import it. An `import` among them is followed then."},
        "def": {"type": "object", "additionalProperties": true, "description": "Short for `definition`."},
    });
    json!({
        "Workflow": named("What runs beside deployments; it is kept, and nothing runs it yet.", workflow, Kind::Workflow),
        "Template": named("Part of a document that others import.", template, Kind::Template),
    })
}
