//! The schemas of what is sent and answered.

use serde_json::{Map, Value, json};
use vamp_model::Kind;

use super::{Code, list_of, reference};

pub(super) fn all() -> Value {
    let mut all = Map::new();
    let parts = [
        artifacts(),
        parts_of_artifacts(),
        problems(),
        rollout(),
        split(),
        metrics(),
        explain(),
        history(),
        events(),
        about(),
    ];
    for part in parts.into_iter().chain(super::deployables::all()) {
        if let Value::Object(part) = part {
            all.extend(part);
        }
    }
    Value::Object(all)
}

/// A map with these members, of which none has to be sent.
pub(super) fn members(description: &str, properties: Value) -> Value {
    let member = |name: &str, value: Value| (name.to_owned(), value);
    Value::Object(Map::from_iter([
        member("type", "object".into()),
        member("description", description.into()),
        member("properties", properties),
        member("additionalProperties", false.into()),
    ]))
}

/// A map of an answer: it has all of these members, but for those that may be left out.
pub(super) fn answered(description: &str, properties: Value, left_out: &[&str]) -> Value {
    let names = properties.as_object().into_iter().flat_map(Map::keys);
    let required: Vec<&str> = names.map(String::as_str).filter(|name| !left_out.contains(name)).collect();
    let required = Value::from(required);
    let mut schema = members(description, properties);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("required".to_owned(), required);
    }
    schema
}

pub(super) fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

pub(super) fn nullable_text(description: &str) -> Value {
    json!({"type": ["string", "null"], "description": description})
}

pub(super) fn number(description: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "description": description})
}

pub(super) fn metadata() -> Value {
    json!({"type": "object", "description": "Anything; kept as written.", "additionalProperties": true})
}

/// What every artifact has, and what an answer to a write adds.
pub(super) fn with_common(kind: Kind, mut properties: Value) -> Value {
    let common = json!({
        "kind": {"enum": [kind.plural(), kind.singular()], "description": "May be left out where the address says it."},
        "metadata": metadata(),
        "import": {"type": ["string", "array"], "items": {"type": "string"}, "writeOnly": true, "description": "What is laid below this document before it is read, in order: the names of templates, or `KIND/NAME`."},
        "lookup_name": {"type": "string", "readOnly": true, "description": "The name that access logs know it by."},
        "rollout": {"allOf": [reference("Rollout")], "readOnly": true, "description": "In answers to writes with `wait`."},
        "warnings": {"type": "array", "items": reference("Warning"), "readOnly": true, "description": "In answers to writes, when there are any."},
        "unchanged": {"const": true, "readOnly": true, "description": "In answers to writes that changed nothing: the artifact was stored so already."},
        "stored_version": {"type": "integer", "minimum": 1, "readOnly": true, "description": "In lists that answer writes: the version of the artifact, which is the `ETag` where it is answered alone."},
        "changes": {"type": "array", "items": reference("PlannedChange"), "readOnly": true, "description": "In the first artifact of answers to `validate_only`: everything that would change."},
    });
    if let (Some(properties), Value::Object(common)) = (properties.as_object_mut(), common) {
        properties.extend(common);
    }
    properties
}

fn artifacts() -> Value {
    let gateway = json!({
        "name": text("1 to 4 segments parted by `/`. May be left out where the address says it."),
        "port": {"type": ["string", "integer", "null"], "description": "`9050` or `9050/http` for requests, `9050/tcp` for connections; left out: it keeps the one it has, or is given one (`0/tcp` for connections)."},
        "sticky": {"enum": ["route", "service", "instance", "none", null], "description": "Whether clients stay on their route, or on the instance behind it: by a cookie, and on a TCP gateway by their address."},
        "virtual_hosts": {"type": ["array", "string"], "items": {"type": "string"}, "description": "Host names on the shared port: exact, or `*.suffix`."},
        "accept_proxy": {"type": "boolean", "description": "Of a TCP gateway: each connection must come from a trusted proxy of the gateway process and begin with a PROXY header, version 1 or 2."},
        "send_proxy": {"enum": ["v1", "v2", "none", null], "description": "Of a TCP gateway: the PROXY header that endpoints get before the client's bytes."},
        "routes": {
            "type": ["object", "array", "string"],
            "description": "Where requests go, by path: `[host:port]`, or the name of another gateway. Their order is the order of conditions. Also as a list of paths and maps of one path.",
            "additionalProperties": route_of_gateway(),
            "items": {"type": ["string", "object"], "additionalProperties": route_of_gateway()},
        },
        "internal": {"type": "boolean", "readOnly": true, "description": "It stands inside a deployment."},
        "selector": {"type": "null", "description": "Not built yet."},
        "deployed": unread(),
        "service": unread(),
        "proxy": unread(),
        "active": unread(),
    });
    let mut route = route_fields();
    let condition = json!({
        "name": text("Without white space, brackets and slashes."),
        "condition": text("Which requests it matches: `User-Agent == Firefox and not has cookie beta`."),
    });
    if let Some(route) = route.as_object_mut() {
        route.insert("name".to_owned(), text("Without white space, brackets and slashes."));
    }
    let rewrite = json!({
        "name": text("Without white space, brackets and slashes."),
        "path": text("`NEW-PATH if CONDITION`."),
    });
    json!({
        "Gateway": members("A place where traffic comes in and is split.", with_common(Kind::Gateway, gateway)),
        "Route": members("A stored route that gateways refer to.", with_common(Kind::Route, route)),
        "Condition": members("A stored condition that routes refer to.", with_common(Kind::Condition, condition)),
        "Rewrite": members("A stored rewrite of paths that routes refer to.", with_common(Kind::Rewrite, rewrite)),
    })
}

/// What stands at the path of a route in a gateway.
pub(super) fn route_of_gateway() -> Value {
    let stored = json!({"type": ["string", "null"], "description": "The name of a stored route; nothing: a route without more."});
    json!({"anyOf": [reference("RouteInGateway"), stored]})
}

/// What the product shows, or showed once, and does not read back.
pub(super) fn unread() -> Value {
    json!({"readOnly": true, "description": "Not looked at."})
}

fn route_fields() -> Value {
    let rewrite = json!({"anyOf": [reference("RewriteInRoute"), {"type": "string", "description": "The name of a stored rewrite."}]});
    json!({
        "weight": nullable_text("Its share, `0%` to `100%` with up to two decimals; left out: it shares the rest."),
        "condition": {
            "description": "Requests that it takes whatever the weights: a text, or a reference to a stored condition.",
            "anyOf": [{"type": ["string", "null"]}, reference("ConditionInRoute")],
        },
        "condition_strength": nullable_text("How many of the requests that match: `100%` when left out."),
        "balance": nullable_text("How it chooses among its endpoints: `roundrobin`, `leastconn` or `default`."),
        "rewrites": {"anyOf": [{"type": "array", "items": rewrite}, rewrite], "description": "Paths that are changed on the way, in order."},
        "selector": {"type": "null", "description": "Not built yet."},
        "targets": unread(),
    })
}

fn parts_of_artifacts() -> Value {
    let mut route = route_fields();
    if let Some(route) = route.as_object_mut() {
        route.insert(
            "reference".to_owned(),
            text("The name of a stored route; then only `weight` may stand beside it."),
        );
        route.insert("ref".to_owned(), text("Short for `reference`."));
        route.insert("kind".to_owned(), unread());
        route.insert("metadata".to_owned(), metadata());
        route.insert(
            "lookup_name".to_owned(),
            json!({"type": "string", "readOnly": true, "description": "The name that access logs know it by."}),
        );
    }
    let condition = json!({
        "condition": text("Which requests it matches."),
        "reference": text("The name of a stored condition."),
        "ref": text("Short for `reference`."),
        "kind": unread(),
        "lookup_name": unread(),
        "metadata": metadata(),
    });
    let rewrite = json!({
        "path": text("`NEW-PATH if CONDITION`."),
        "reference": text("The name of a stored rewrite, in place of the path."),
        "ref": text("Short for `reference`."),
        "kind": unread(),
        "lookup_name": unread(),
        "metadata": metadata(),
    });
    json!({
        "RouteInGateway": members("A route as it stands in a gateway.", route),
        "ConditionInRoute": members("A condition as it stands in a route.", condition),
        "RewriteInRoute": members("A path that is changed on the way.", rewrite),
    })
}

fn problems() -> Value {
    let types: Vec<String> = Code::ALL.iter().map(|code| code.uri()).collect();
    let violation = json!({
        "pointer": text("Where in the document (RFC 6901); of several documents it begins with the index of one."),
        "line": number("Line in the body, from 1, where it stands there."),
        "column": number("Column in that line, in characters from 1."),
        "message": text("What is wrong, naming the thing."),
        "hint": text("How to mend it."),
        "kind": text("Kind of the artifact that it concerns, where that may be another than the one that was sent."),
        "name": text("Its name."),
    });
    let problem = json!({
        "type": {"enum": types, "description": "Which problem; stable over releases."},
        "title": text("The same for each problem of a type."),
        "status": number("The status of the answer."),
        "detail": text("What is wrong, naming the thing."),
        "instance": text("The request, as the log of the control plane has it: `urn:vamp:request:ID`."),
        "message": text("Everything in one text, for clients that read nothing else."),
        "hint": text("How to mend it."),
        "violations": list_of(&reference("Violation")),
        "users": {"type": "array", "description": "Of `in-use`: who needs it.", "items": reference("ArtifactName")},
    });
    json!({
        "Problem": {
            "type": "object",
            "description": "An error (RFC 9457).",
            "properties": problem,
            "required": ["type", "title", "status", "detail", "instance", "message"],
        },
        "Violation": members("One thing that is wrong, where it stands, and how to mend it.", violation),
        "ArtifactName": answered("Which artifact.", json!({"kind": text("Its kind."), "name": text("Its name.")}), &[]),
        "Warning": answered("What works, but most likely not as meant.", json!({
            "gateway": text("The gateway that it concerns, if one."),
            "message": text("What, and how to mend it."),
        }), &["gateway"]),
    })
}

fn rollout() -> Value {
    let generation = json!({"epoch": number("The history of the database."), "revision": number("The table in it.")});
    let store = json!({
        "address": text("Where it is, without credentials."),
        "state": {"enum": ["starting", "current", "publishing", "unreachable", "contested", "no_table"]},
        "published": {"anyOf": [reference("Generation"), {"type": "null"}]},
        "problem": text("What is wrong and how to mend it."),
    });
    let gateway = json!({
        "id": text("Its id, stable over restarts."),
        "boot": text("Its boot."),
        "admin": text("Where its admin listener answers."),
        "version": text("The product's version."),
        "applied": {"anyOf": [reference("Generation"), {"type": "null"}]},
        "in_sync": {"type": "boolean", "description": "It serves the table in question, or a newer one."},
        "problems": {"type": "array", "items": {"type": "object"}, "description": "What does not work although the table is applied: `gateway`, where it concerns one, and `message`."},
        "refused": {"type": "object", "description": "The newest table that it refused, and why."},
    });
    let rollout = json!({
        "revision": number("Revision of the table."),
        "applied": number("Gateway processes that serve it, or a newer one."),
        "of": number("Gateway processes that should."),
        "gateways": list_of(&reference("GatewayProcess")),
        "unknown": {"type": "boolean", "description": "The store does not answer: gateways are as last known."},
        "published": {"type": "boolean", "description": "The table is in the store, where gateways find it."},
        "store": reference("Store"),
    });
    json!({
        "Rollout": answered("How far a table has come.", rollout, &[]),
        "GatewayProcess": answered("One gateway process.", gateway, &["refused"]),
        "Generation": answered("Which table: ordered by epoch, then revision.", generation, &[]),
        "Store": answered("How the store stands to what is wanted.", store, &["problem"]),
    })
}

fn metrics() -> Value {
    let maybe = |kind: &str, description: &str| json!({"type": [kind, "null"], "description": description});
    let figures = json!({
        "requests": maybe("integer", "Requests that ended; connections of a TCP gateway. Null when nothing is known."),
        "errors": maybe("integer", "Those answered with 5xx, cut, or not served by anybody."),
        "requests_per_second": maybe("number", "Over the time that is known."),
        "error_percent": maybe("number", "Errors in percent of the requests; null without requests."),
        "response_time_ms": {"anyOf": [reference("ResponseTime"), {"type": "null"}], "description": "Whole head read to last byte sent; of a TCP gateway, how long connections lasted. Null without requests."},
    });
    let with = |more: Value| {
        let mut figures = figures.clone();
        if let (Some(figures), Value::Object(more)) = (figures.as_object_mut(), more) {
            figures.extend(more);
        }
        figures
    };
    let gateway = with(json!({
        "gateway": text("The gateway."),
        "window_seconds": number("The time that was asked about."),
        "known_seconds": {"type": "number", "description": "How much of it is known: a second in which a gateway process could not be read is not."},
        "routes": list_of(&reference("RouteMetrics")),
    }));
    let route = with(json!({"route": text("The route; empty for requests that reached none.")}));
    let time = json!({
        "mean": maybe("number", "The mean."),
        "p50": maybe("number", "Half of the requests took no longer."),
        "p95": maybe("number", "95% of them took no longer."),
        "p99": maybe("number", "99% of them took no longer."),
    });
    json!({
        "Metrics": answered("What was counted at a gateway.", gateway, &[]),
        "RouteMetrics": answered("What was counted of one route.", route, &[]),
        "ResponseTime": answered("Milliseconds.", time, &[]),
    })
}

fn split() -> Value {
    let side = json!({
        "route": text("The route; empty for what a condition's strength leaves to the weights."),
        "wanted": text("The wanted share: `90%`."),
        "delivered": number("Requests that it got."),
        "error": {"type": "number", "description": "Delivered minus wanted, in requests."},
    });
    let level = json!({
        "condition_of": text("The route whose condition it is; absent for the weights."),
        "tickets": number("Requests that it decided: the sum of the deliveries."),
        "since_unix_ms": number("When the account began, milliseconds since 1970 (UTC)."),
        "routes": list_of(&reference("Share")),
    });
    let decided = json!({
        "route": text("The route."),
        "requests": number("All of them."),
        "condition": number("Taken by its condition."),
        "cookie": number("Kept by a cookie."),
        "source": number("Kept by the client's address."),
        "weight": number("Given by the weights."),
        "only_route": number("The only route with weight."),
    });
    let process = json!({
        "id": text("Its id."),
        "boot": text("Its boot."),
        "state": {"enum": ["read", "unread", "ended"]},
        "problem": text("Why it could not be read."),
        "at_unix_ms": number("When it was read, milliseconds since 1970 (UTC)."),
        "summed": {"type": "boolean", "description": "It is part of the sum."},
        "weights": reference("SplitLevel"),
        "strengths": list_of(&reference("SplitLevel")),
        "decided_by": list_of(&reference("DecidedBy")),
    });
    let mut split = json!({
        "gateway": text("The gateway."),
        "counted": number("Gateway processes whose counts were read just now."),
        "of": number("Gateway processes that announce themselves."),
        "unknown": {"type": "boolean", "description": "The store does not answer: processes are as last known."},
        "strengths": list_of(&reference("SplitLevel")),
        "decided_by": list_of(&reference("DecidedBy")),
        "processes": list_of(&reference("ProcessSplit")),
    });
    if let (Some(split), Some(level)) = (split.as_object_mut(), level.as_object()) {
        split.extend(level.clone().into_iter().filter(|(name, _)| name != "condition_of"));
    }
    json!({
        "Split": answered("Wanted and delivered shares of one gateway; `routes` are its weights, summed.", split, &["since_unix_ms"]),
        "SplitLevel": answered("One place where a share is decided.", level, &["condition_of", "since_unix_ms"]),
        "Share": answered("One side of a split.", side, &[]),
        "DecidedBy": answered("Requests of one route by what decided.", decided, &[]),
        "ProcessSplit": answered("The account of one gateway process.", process, &["problem", "at_unix_ms", "weights"]),
    })
}

fn explain() -> Value {
    let head = json!({
        "method": {"type": "string", "default": "GET"},
        "target": {"type": "string", "default": "/", "description": "Path and query."},
        "host": text("`Host`."),
        "source": {"type": "string", "default": "127.0.0.1", "description": "The client's address."},
        "headers": {"type": "object", "additionalProperties": {"type": ["string", "array"], "items": {"type": "string"}}},
    });
    let rule = json!({
        "gateway": text("The gateway at which it was tried."),
        "route": text("The route that it could have chosen."),
        "rule": text("The rule in words."),
        "result": text("What came of it."),
    });
    let explanation = json!({
        "rules": list_of(&reference("Rule")),
        "chain": {"type": "array", "items": {"type": "string"}, "description": "Gateways passed, by name."},
        "route": text("The route taken, if one."),
        "decided_by": text("What decided at the last gateway, or why none did."),
        "rewritten_path": text("The path after rewrites, if one changed it."),
        "shares": {"type": "array", "description": "The chance of each route for such a request: route and percent."},
    });
    json!({
        "RequestHead": members("The head of a request.", head),
        "Explanation": answered("Each rule tried, in order, and what came of it.", explanation, &["route", "rewritten_path"]),
        "Rule": answered("One rule that was tried.", rule, &["route"]),
    })
}

fn history() -> Value {
    let version = json!({
        "version": number("1, 2, 3 …"),
        "at": text("When it was written, RFC 3339."),
        "change": number("The change that wrote it."),
        "cause": text("What happened."),
        "who": text("Who did it: `local`, `vamp` itself, or the token by the beginning of its SHA-256."),
        "why": text("The `reason` that was given; empty when none was."),
        "deleted": {"type": "boolean", "description": "It is a deletion."},
        "damage": text("Only when it is not what was written: what shows that."),
    });
    let change = json!({
        "sequence": number("1, 2, 3 …"),
        "at": text("When, RFC 3339."),
        "cause": text("What happened."),
        "who": text("Who did it: `local`, `vamp` itself, or the token by the beginning of its SHA-256."),
        "why": text("The `reason` that was given; empty when none was."),
        "revision": number("The revision of the table after it."),
        "hash": text("The hash over it and all before it."),
    });
    let audit = json!({
        "sound": {"type": "boolean", "description": "The history is what was written, from its first change to its last."},
        "changes": number("Changes that fit."),
        "versions": number("Their versions."),
        "head": text("The last change that fits, `NUMBER:HASH`: kept elsewhere, it shows later whether the end is missing."),
        "fault": text("Only when it is not sound: the first place that does not fit."),
    });
    let differences = || {
        json!({"type": "array", "description": "By place.", "items": {"type": "object", "properties": {
            "at": text("Where, a JSON pointer."),
            "from": {"description": "What stood there; left out when nothing did."},
            "to": {"description": "What stands there; left out when nothing does."},
        }}})
    };
    let difference = json!({
        "from": number("The version compared with; 0: nothing."),
        "to": number("The version."),
        "differences": differences(),
    });
    let planned = json!({
        "kind": text("Kind of the artifact."),
        "name": text("Its name."),
        "action": {"enum": ["create", "replace", "delete"]},
        "differences": differences(),
    });
    json!({
        "Version": answered("One version of an artifact.", version, &["damage"]),
        "Change": answered("One change.", change, &[]),
        "Audit": answered("What the history is worth.", audit, &["fault"]),
        "Difference": answered("What one version has that another has not.", difference, &[]),
        "PlannedChange": answered("What a change would make of one artifact.", planned, &[]),
    })
}

fn events() -> Value {
    let event = json!({
        "id": number("1, 2, 3 …, in the order in which they were kept."),
        "timestamp": text("When, RFC 3339."),
        "type": text("Its type, such as `event` or `archive`."),
        "tags": {"type": "array", "items": {"type": "string"}, "description": "What it is about, sorted; with each `a:b` stands `a`."},
        "value": {"description": "What there is to say; null when nothing."},
    });
    let ignored = json!({"description": "Of an event that was read before: taken, and not looked at."});
    let new_event = json!({
        "tags": {"type": ["array", "string"], "items": {"type": "string"}, "description": "What it is about, such as `deployments:shop`; with each `a:b` it gets `a`."},
        "type": text("Its type; `event` when left out."),
        "value": {"description": "What there is to say, anything."},
        "timestamp": text("When, RFC 3339; now when left out."),
        "id": ignored.clone(),
        "version": ignored.clone(),
        "digest": ignored,
    });
    let aggregate = json!({"value": {"type": ["number", "null"], "description": "The number."}});
    let query = json!({
        "tags": {"type": ["array", "string"], "items": {"type": "string"}, "description": "They have all of these."},
        "type": text("Their type."),
        "timestamp": {
            "type": "object",
            "description": "When: at most one of `gt` and `gte`, and one of `lt` and `lte`; RFC 3339, or as `now-15m`.",
            "properties": {"gt": text("After it."), "gte": text("From it on."), "lt": text("Before it."), "lte": text("Up to it.")},
            "additionalProperties": false,
        },
        "aggregator": {
            "type": "object",
            "description": "One number in place of the events.",
            "properties": {
                "type": {"enum": ["count", "average", "min", "max", "sum"]},
                "field": text("`value`, or `value.NAME` for a member of it; `value` when left out."),
            },
            "required": ["type"],
            "additionalProperties": false,
        },
    });
    json!({
        "EventQuery": members("Which events are wanted, as the query parameters say it; one of the two.", query),
        "Event": answered("Something that happened.", event, &[]),
        "NewEvent": members("Something that happened, to be kept.", new_event),
        "Aggregate": answered("One number over events.", aggregate, &[]),
    })
}

fn about() -> Value {
    let info = json!({
        "product": text("`vamp`."),
        "version": text("The product's version."),
        "api": text("`v1`."),
        "namespace": text("The namespace below the store's prefix."),
        "started": text("When the process started, RFC 3339."),
        "kinds": {"type": "array", "items": {"type": "string"}, "description": "The kinds of artifacts."},
        "epoch": number("The history of the database."),
        "revision": number("The revision of the table that is wanted."),
        "database": text("Where the database is."),
        "store": reference("Store"),
        "acts": {"type": "boolean", "description": "It starts, stops and scales what is deployed; of several control planes on one database one does."},
        "events_refused": {"type": ["integer", "null"], "description": "Events that Elasticsearch refused for good, since the first was sent; null: none are sent there."},
        "platforms": list_of(&reference("PlatformInfo")),
        "problems": {"type": "array", "items": {"type": "string"}, "description": "Why no table follows from what is stored, or why the turn to act can't be kept in the database."},
        "warnings": list_of(&reference("Warning")),
        "per_page_max": number("Items of the largest page."),
        "wait_seconds_max": number("The longest `wait`."),
        "body_bytes_max": number("The largest body."),
    });
    let platform = json!({
        "type": text("The type of deployables that it runs."),
        "driver": text("Which driver."),
        "version": text("Version of the product behind it."),
        "address": text("Where it is."),
        "memory": text("How it keeps the memory of a scale."),
        "cpu": text("How it keeps the processors of a scale."),
        "error": text("Why nothing else is known of it."),
    });
    let health = json!({
        "live": {"type": "boolean"},
        "ready": {"type": "boolean"},
        "store": reference("Store"),
    });
    let line = json!({
        "at": text("When it was written, RFC 3339."),
        "cluster": text("Cluster of the instance."),
        "service": text("Its breed."),
        "instance": text("Its name."),
        "output": {"enum": ["stdout", "stderr"]},
        "text": text("Without the end of the line; what is no UTF-8 is replaced."),
    });
    let schema = json!({
        "kind": text("The kind that it describes."),
        "address": text("Where it is."),
    });
    json!({
        "LogLine": answered("One line that an instance wrote.", line, &[]),
        "SchemaAddress": answered("Where the JSON Schema of a kind is.", schema, &[]),
        "Info": answered("What runs here.", info, &[]),
        "PlatformInfo": members("What services run on, and what it keeps of what it is told.", platform),
        "Health": members("Whether it works.", health),
    })
}
