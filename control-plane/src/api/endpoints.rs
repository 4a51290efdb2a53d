//! The table of all endpoints: the router answers from it, and the OpenAPI document is made from it.

use std::future::ready;

use axum::body::Body;
use axum::http::{Method, Response};
use futures_util::future::BoxFuture;
use vamp_model::{Kind, nearest};

use super::address::{BadEscape, Parameters, Template};
use super::ask::Ask;
use super::problem::{Code, Problem};
use super::query::Parameter;
use super::{
    audit, compose, config, deployments, events, history, logs, measured, metrics, read, schemas, several, status,
    traffic, write,
};

/// What a handler gives back.
pub(super) type Answer = Result<Response<Body>, Problem>;

type Plain = fn(Ask) -> BoxFuture<'static, Answer>;
type OfKind = fn(Ask, Kind) -> BoxFuture<'static, Answer>;

/// What answers.
#[derive(Clone, Copy)]
pub(super) enum Handler {
    Plain(Plain),
    OfKind(OfKind, Kind),
}

impl Handler {
    pub(super) fn call(self, ask: Ask) -> BoxFuture<'static, Answer> {
        match self {
            Self::Plain(handler) => handler(ask),
            Self::OfKind(handler, kind) => handler(ask, kind),
        }
    }
}

/// What travels in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    Nothing,
    Artifact(Kind),
    /// One or several of a kind.
    Artifacts(Kind),
    /// One or several of any kind.
    AnyArtifacts,
    List(Kind),
    History,
    Version(Kind),
    Explain,
    Explanation,
    Split,
    Metrics,
    Rollout,
    Info,
    NewEvents,
    /// Which events are wanted; may be left out.
    EventQuery,
    Events,
    FoundEvents,
    Stream,
    Changes,
    Audit,
    Difference,
    Health,
    /// One number.
    Number,
    /// Settings by name.
    Config,
    /// One of them.
    Setting,
    Document,
    /// A deployment, or a blueprint from which the same follows.
    Deployment,
    /// A blueprint, or the name of one.
    Deploy,
    /// The same, for the services that are to go; nothing for all of them.
    Undeploy,
    Scale,
    Sla,
    DeploymentStatus,
    LogLines,
    /// Where schemas are.
    Schemas,
    /// A Docker Compose file.
    Compose,
    /// A blueprint as YAML, with comments.
    CommentedBlueprint,
}

impl Schema {
    /// Whether a request may come without a body.
    pub(super) fn may_be_missing(self) -> bool {
        matches!(self, Self::Undeploy | Self::EventQuery)
    }

    /// Whether the body may be the script of a breed.
    pub(super) fn may_be_script(self) -> bool {
        self == Self::Artifact(Kind::Breed)
    }
}

/// Which preconditions an endpoint looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preconditions {
    None,
    /// `If-None-Match`.
    Read,
    /// `If-Match`, and `If-None-Match: *`.
    Write,
}

/// One method at one address.
pub(super) struct Endpoint {
    pub(super) method: Method,
    pub(super) template: Template,
    /// Unique; names the operation for client generators.
    pub(super) operation: String,
    pub(super) summary: String,
    pub(super) parameters: &'static [Parameter],
    pub(super) preconditions: Preconditions,
    pub(super) body: Schema,
    /// Status, what it means, what the answer holds.
    pub(super) answers: Vec<(u16, &'static str, Schema)>,
    /// Errors beside those that every endpoint can answer.
    pub(super) errors: &'static [Code],
    pub(super) handler: Handler,
}

const PAGED: &[Parameter] = &[Parameter::Page, Parameter::PerPage];
const FINDING: &[Parameter] = &[
    Parameter::Tag,
    Parameter::Type,
    Parameter::From,
    Parameter::Until,
    Parameter::Aggregator,
    Parameter::Field,
    Parameter::Page,
    Parameter::PerPage,
];
const LISTING: &[Parameter] =
    &[Parameter::Label, Parameter::Page, Parameter::PerPage, Parameter::ExpandReferences, Parameter::OnlyReferences];
const LISTING_DEPLOYMENTS: &[Parameter] = &[
    Parameter::Label,
    Parameter::Page,
    Parameter::PerPage,
    Parameter::AsBlueprint,
    Parameter::ExpandReferences,
    Parameter::OnlyReferences,
];
const WRITING: &[Parameter] = &[Parameter::ValidateOnly, Parameter::Wait, Parameter::Reason];
const LAGGARDS: &str = "Stored; with `wait`: not every gateway process serves it yet, `rollout` says which do not.";

/// All endpoints.
pub(super) struct Endpoints(Vec<Endpoint>);

/// The endpoint that a request is for.
pub(super) struct Found<'e> {
    pub(super) endpoint: &'e Endpoint,
    pub(super) parameters: Parameters,
}

impl Endpoints {
    /// The table.
    pub(super) fn new() -> Self {
        let mut all = health();
        all.extend(about());
        all.extend(all_of_events());
        all.extend(any_kind());
        all.push(docker_compose());
        for kind in Kind::ALL {
            let own = if kind == Kind::Deployment { vec![get_deployment()] } else { item(kind) };
            let of_kind = [collection(kind), own, past(kind)].into_iter().flatten();
            let may_write = kind.is_written_by_users();
            all.extend(of_kind.filter(|endpoint| may_write || endpoint.method == Method::GET));
        }
        all.push(create_breed());
        all.extend(deployments());
        all.extend(parts_of_deployments());
        all.extend(logs_of_deployments());
        all.extend(live());
        all.extend(numbers());
        all.extend(configuration());
        Self(all)
    }

    /// In the order of the table.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter()
    }

    /// The endpoint for a method and a path; `Ok(Err(allowed))` answers `OPTIONS`.
    pub(super) fn find(&self, method: &Method, path: &str) -> Result<Result<Found<'_>, String>, Problem> {
        let matching = self.0.iter().filter_map(|endpoint| Some((endpoint, endpoint.template.matches(path)?)));
        let Some((best, parameters)) = matching.max_by_key(|(endpoint, _)| endpoint.template.literals()) else {
            return Err(Problem::unknown_address(path, &self.near(path)));
        };
        let parameters = parameters.map_err(|BadEscape| {
            Problem::bad_request(
                "the address has a `%` that is not followed by the code of a UTF-8 text",
                "write it as `%25`",
            )
        })?;
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        let mut here = self.0.iter().filter(|endpoint| endpoint.template == best.template);
        if let Some(endpoint) = here.clone().find(|endpoint| endpoint.method == *wanted) {
            return Ok(Ok(Found { endpoint, parameters }));
        }
        let mut allowed = vec!["OPTIONS"];
        if here.any(|endpoint| endpoint.method == Method::GET) {
            allowed.push("HEAD");
        }
        let here = self.0.iter().filter(|endpoint| endpoint.template == best.template);
        allowed.extend(here.map(|endpoint| endpoint.method.as_str()));
        let allowed = allowed.join(", ");
        if *method == Method::OPTIONS {
            return Ok(Err(allowed));
        }
        Err(Problem::method_not_allowed(&super::query::shown(method.as_str()), best.template.text(), &allowed))
    }

    /// Addresses that a path may have been meant for.
    fn near(&self, path: &str) -> Vec<&str> {
        let below = format!("/api/v1{path}");
        let moved = self.0.iter().find(|endpoint| endpoint.template.matches(&below).is_some());
        if let Some(moved) = moved {
            return vec![moved.template.text()];
        }
        let shapes = self.0.iter().filter_map(|endpoint| Some((endpoint.template.shape_like(path)?, endpoint)));
        let shapes: Vec<_> = shapes.collect();
        let best = nearest(path, shapes.iter().map(|(shape, _)| shape.as_str()));
        let mut near: Vec<&str> = Vec::new();
        for (shape, endpoint) in &shapes {
            if Some(shape.as_str()) == best && !near.contains(&endpoint.template.text()) {
                near.push(endpoint.template.text());
            }
        }
        near
    }
}

fn get(path: &str, operation: &str, summary: &str, answer: Schema, handler: Handler) -> Endpoint {
    Endpoint {
        method: Method::GET,
        template: Template::new(path.to_owned()),
        operation: operation.to_owned(),
        summary: summary.to_owned(),
        parameters: &[],
        preconditions: Preconditions::None,
        body: Schema::Nothing,
        answers: vec![(200, "It is here.", answer)],
        errors: &[],
        handler,
    }
}

fn health() -> Vec<Endpoint> {
    let live = Handler::Plain(|ask| Box::pin(ready(Ok(status::live(&ask)))));
    let is_ready = Handler::Plain(|ask| Box::pin(status::ready(ask)));
    let openapi = Handler::Plain(|ask| Box::pin(ready(Ok(status::openapi(&ask)))));
    vec![
        get("/live", "isLive", "Whether the process answers.", Schema::Health, live),
        Endpoint {
            errors: &[Code::Unavailable],
            ..get("/ready", "isReady", "Whether changes can be made: the database answers.", Schema::Health, is_ready)
        },
        get("/openapi.json", "getOpenapi", "This document.", Schema::Document, openapi),
    ]
}

fn about() -> Vec<Endpoint> {
    let info = Handler::Plain(|ask| Box::pin(status::info(ask)));
    let all_schemas = Handler::Plain(|ask| Box::pin(ready(Ok(schemas::list(&ask)))));
    let schema = Handler::Plain(|ask| Box::pin(ready(schemas::get(&ask))));
    let changes = Handler::Plain(|ask| Box::pin(audit::changes(ask)));
    let verify = Handler::Plain(|ask| Box::pin(audit::verify(ask)));
    let rollout = Handler::Plain(|ask| Box::pin(ready(Ok(traffic::rollout(&ask)))));
    vec![
        get("/api/v1/info", "getInfo", "What runs here.", Schema::Info, info),
        get("/api/v1/schemas", "listSchemas", "The JSON Schemas of documents, by kind.", Schema::Schemas, all_schemas),
        Endpoint {
            errors: &[Code::NotFound],
            ..get(
                "/api/v1/schemas/{name}",
                "getSchema",
                "The JSON Schema (2020-12) of the documents of a kind, or of any kind (`documents`), for editors.",
                Schema::Document,
                schema,
            )
        },
        Endpoint {
            parameters: &[Parameter::Below, Parameter::Limit],
            ..get(
                "/api/v1/audit/changes",
                "listChanges",
                "What was changed, by whom and why, newest first.",
                Schema::Changes,
                changes,
            )
        },
        Endpoint {
            parameters: &[Parameter::Head],
            errors: &[Code::Unavailable],
            ..get(
                "/api/v1/audit/verify",
                "verifyAudit",
                "Reads the whole history and says whether it is what was written.",
                Schema::Audit,
                verify,
            )
        },
        get(
            "/api/v1/rollout",
            "getRollout",
            "Which gateway process serves which revision, and what does not work there.",
            Schema::Rollout,
            rollout,
        ),
    ]
}

fn all_of_events() -> Vec<Endpoint> {
    let find = Handler::Plain(|ask| Box::pin(events::find(ask)));
    let publish = Handler::Plain(|ask| Box::pin(events::publish(ask)));
    let stream = Handler::Plain(|ask| Box::pin(events::stream(ask)));
    vec![
        Endpoint {
            parameters: FINDING,
            body: Schema::EventQuery,
            errors: &[Code::Unavailable, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            ..get(
                "/api/v1/events",
                "findEvents",
                "Events by tags, type and time, newest first, or one number over them. A body says the same as the query \
                 parameters, in their place.",
                Schema::FoundEvents,
                find,
            )
        },
        Endpoint {
            method: Method::POST,
            body: Schema::NewEvents,
            answers: vec![(201, "Kept; a list for several.", Schema::Events)],
            errors: &[Code::Unavailable, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            ..get("/api/v1/events", "publishEvents", "Keeps one or several events.", Schema::Nothing, publish)
        },
        Endpoint {
            parameters: &[Parameter::Tag, Parameter::Type],
            body: Schema::EventQuery,
            errors: &[Code::Unavailable, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            ..get(
                "/api/v1/events/stream",
                "followEvents",
                "Events as they come (server-sent events).",
                Schema::Stream,
                stream,
            )
        },
    ]
}

/// Documents of any kind, each of which says its own.
fn any_kind() -> Vec<Endpoint> {
    let endpoint = |method, operation: &str, summary: &str, answers, errors, handler| Endpoint {
        method,
        parameters: WRITING,
        body: Schema::AnyArtifacts,
        answers,
        errors,
        ..get("/api/v1", operation, summary, Schema::AnyArtifacts, handler)
    };
    let written = |status, meaning| {
        vec![
            (200, "Some or all replaced.", Schema::AnyArtifacts),
            (status, meaning, Schema::AnyArtifacts),
            (202, LAGGARDS, Schema::AnyArtifacts),
        ]
    };
    let created = vec![(201, "All created.", Schema::AnyArtifacts), (202, LAGGARDS, Schema::AnyArtifacts)];
    let deleted = vec![(200, "What was removed.", Schema::AnyArtifacts), (202, LAGGARDS, Schema::AnyArtifacts)];
    vec![
        endpoint(
            Method::POST,
            "createArtifacts",
            "Creates artifacts of any kind in one change.",
            created,
            &[Code::Exists, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            Handler::Plain(|ask| Box::pin(several::create(ask))),
        ),
        Endpoint {
            parameters: &[Parameter::ValidateOnly, Parameter::Wait, Parameter::Reason, Parameter::Deploy],
            ..endpoint(
                Method::PUT,
                "putArtifacts",
                "Creates or replaces artifacts of any kind in one change, and deploys its blueprints where that is wanted.",
                written(201, "All created."),
                &[Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
                Handler::Plain(|ask| Box::pin(several::replace(ask))),
            )
        },
        endpoint(
            Method::DELETE,
            "deleteArtifacts",
            "Deletes the artifacts that the documents name by `kind` and `name`, in one change; what else they say is not \
             looked at. Of a deployment the services that its document names, or all of it when it names none.",
            deleted,
            &[Code::NotFound, Code::InUse, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            Handler::Plain(|ask| Box::pin(several::delete(ask))),
        ),
    ]
}

fn docker_compose() -> Endpoint {
    Endpoint {
        method: Method::POST,
        parameters: &[Parameter::Name, Parameter::ValidateOnly, Parameter::Reason],
        body: Schema::Compose,
        answers: vec![
            (201, "Created.", Schema::CommentedBlueprint),
            (200, "With `validate_only`: it would be.", Schema::CommentedBlueprint),
        ],
        errors: &[Code::Exists, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
        ..get(
            "/api/v1/docker-compose",
            "importCompose",
            "Makes a blueprint of a Docker Compose file, and answers it as YAML, with a comment for each thing that was not \
             carried over, and why.",
            Schema::Nothing,
            Handler::Plain(|ask| Box::pin(compose::import(ask))),
        )
    }
}

fn collection(kind: Kind) -> Vec<Endpoint> {
    let path = format!("/api/v1/{}", kind.plural());
    let (one, many) = (capital(kind.singular()), capital(kind.plural()));
    let writes = |method, operation: String, summary: String, answers, errors, handler| Endpoint {
        method,
        parameters: WRITING,
        preconditions: Preconditions::None,
        body: Schema::Artifacts(kind),
        answers,
        errors,
        ..get(&path, &operation, &summary, Schema::Nothing, Handler::OfKind(handler, kind))
    };
    vec![
        Endpoint {
            parameters: if kind == Kind::Deployment { LISTING_DEPLOYMENTS } else { LISTING },
            ..get(
                &path,
                &format!("list{many}"),
                &format!("Lists {}, sorted by name.", kind.plural()),
                Schema::List(kind),
                Handler::OfKind(|ask, kind| Box::pin(read::list(ask, kind)), kind),
            )
        },
        writes(
            Method::POST,
            format!("create{one}"),
            format!("Creates one or several {} in one change.", kind.plural()),
            vec![
                (201, "Created; a list for several.", Schema::Artifacts(kind)),
                (202, LAGGARDS, Schema::Artifacts(kind)),
            ],
            &[Code::Exists, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            |ask, kind| Box::pin(several::create_of_kind(ask, kind)),
        ),
        writes(
            Method::PUT,
            format!("put{many}"),
            format!("Creates or replaces one or several {} in one change.", kind.plural()),
            vec![
                (200, "Some or all replaced; a list for several.", Schema::Artifacts(kind)),
                (201, "All created.", Schema::Artifacts(kind)),
                (202, LAGGARDS, Schema::Artifacts(kind)),
            ],
            &[Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            |ask, kind| Box::pin(several::replace_of_kind(ask, kind)),
        ),
    ]
}

fn item(kind: Kind) -> Vec<Endpoint> {
    let path = format!("/api/v1/{}/{{name}}", kind.plural());
    let one = capital(kind.singular());
    vec![
        Endpoint {
            parameters: &[Parameter::ExpandReferences, Parameter::OnlyReferences],
            preconditions: Preconditions::Read,
            errors: &[Code::NotFound],
            ..get(
                &path,
                &format!("get{one}"),
                &format!("Reads one {kind}; its version is the `ETag`."),
                Schema::Artifact(kind),
                Handler::OfKind(|ask, kind| Box::pin(read::get(ask, kind)), kind),
            )
        },
        Endpoint {
            method: Method::PUT,
            parameters: WRITING,
            preconditions: Preconditions::Write,
            body: Schema::Artifact(kind),
            answers: vec![
                (200, "Replaced, or it was like this already.", Schema::Artifact(kind)),
                (201, "Created.", Schema::Artifact(kind)),
                (202, LAGGARDS, Schema::Artifact(kind)),
            ],
            errors: &[Code::VersionMismatch, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            ..get(
                &path,
                &format!("put{one}"),
                &format!("Creates or replaces one {kind}."),
                Schema::Nothing,
                Handler::OfKind(|ask, kind| Box::pin(write::put(ask, kind)), kind),
            )
        },
        Endpoint {
            method: Method::DELETE,
            parameters: WRITING,
            preconditions: Preconditions::Write,
            answers: vec![(200, "What was removed.", Schema::Artifact(kind)), (202, LAGGARDS, Schema::Artifact(kind))],
            errors: &[Code::NotFound, Code::InUse, Code::VersionMismatch],
            ..get(
                &path,
                &format!("delete{one}"),
                &format!("Deletes one {kind} that nothing uses."),
                Schema::Nothing,
                Handler::OfKind(|ask, kind| Box::pin(write::delete(ask, kind)), kind),
            )
        },
    ]
}

/// As the original's clients send scripts, by either method.
fn create_breed() -> Endpoint {
    let kind = Kind::Breed;
    Endpoint {
        method: Method::POST,
        parameters: WRITING,
        body: Schema::Artifact(kind),
        answers: vec![(201, "Created.", Schema::Artifact(kind)), (202, LAGGARDS, Schema::Artifact(kind))],
        errors: &[Code::Exists, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
        ..get(
            "/api/v1/breeds/{name}",
            "createNamedBreed",
            "Creates one breed.",
            Schema::Nothing,
            Handler::OfKind(|ask, kind| Box::pin(write::create(ask, kind)), kind),
        )
    }
}

fn past(kind: Kind) -> Vec<Endpoint> {
    let path = format!("/api/v1/{}/{{name}}/history", kind.plural());
    let one = capital(kind.singular());
    vec![
        Endpoint {
            parameters: PAGED,
            errors: &[Code::NotFound],
            ..get(
                &path,
                &format!("list{one}Versions"),
                &format!("Lists every version that a {kind} ever had, newest first."),
                Schema::History,
                Handler::OfKind(|ask, kind| Box::pin(history::list(ask, kind)), kind),
            )
        },
        Endpoint {
            errors: &[Code::NotFound],
            ..get(
                &format!("{path}/{{version}}"),
                &format!("get{one}Version"),
                &format!("Reads one version of a {kind}, if it is what was written then."),
                Schema::Version(kind),
                Handler::OfKind(|ask, kind| Box::pin(history::get(ask, kind)), kind),
            )
        },
        Endpoint {
            parameters: &[Parameter::Against],
            errors: &[Code::NotFound],
            ..get(
                &format!("{path}/{{version}}/diff"),
                &format!("diff{one}Version"),
                &format!(
                    "What a version of a {kind} has that another one has not, field by field; both must be what was written."
                ),
                Schema::Difference,
                Handler::OfKind(|ask, kind| Box::pin(history::diff(ask, kind)), kind),
            )
        },
        Endpoint {
            method: Method::POST,
            parameters: WRITING,
            preconditions: Preconditions::Write,
            answers: vec![
                (200, "Restored as a new version.", Schema::Artifact(kind)),
                (201, "Restored; it had been deleted.", Schema::Artifact(kind)),
                (202, LAGGARDS, Schema::Artifact(kind)),
            ],
            errors: &[Code::NotFound, Code::VersionMismatch],
            ..get(
                &format!("{path}/{{version}}/restore"),
                &format!("restore{one}Version"),
                &format!("Makes an old version of a {kind} the newest one, if it is what was written then."),
                Schema::Nothing,
                Handler::OfKind(|ask, kind| Box::pin(history::restore(ask, kind)), kind),
            )
        },
    ]
}

/// What gateway processes know about a gateway.
fn live() -> Vec<Endpoint> {
    vec![
        Endpoint {
            errors: &[Code::NotFound, Code::Unavailable],
            ..get(
                "/api/v1/gateways/{name}/split",
                "getSplit",
                "Wanted and delivered shares of a gateway, of each process and in sum.",
                Schema::Split,
                Handler::Plain(|ask| Box::pin(traffic::split(ask))),
            )
        },
        Endpoint {
            parameters: &[Parameter::Window],
            errors: &[Code::NotFound, Code::Unavailable],
            ..get(
                "/api/v1/metrics/gateways/{name}",
                "getMetrics",
                "Requests, errors and response times of a gateway and its routes in the last seconds, over all processes. \
                 What nobody asked about before is counted from the first question on.",
                Schema::Metrics,
                Handler::Plain(|ask| Box::pin(metrics::of_gateway(ask))),
            )
        },
        Endpoint {
            method: Method::POST,
            body: Schema::Explain,
            answers: vec![(200, "Each rule that was tried, and what came of it.", Schema::Explanation)],
            errors: &[Code::NotFound, Code::Unavailable, Code::TooLarge, Code::UnsupportedMediaType, Code::SlowRequest],
            ..get(
                "/api/v1/gateways/{name}/explain",
                "explain",
                "What the gateway would do with a request, and why; no request is sent and no turn is taken.",
                Schema::Nothing,
                Handler::Plain(|ask| Box::pin(traffic::explain(ask))),
            )
        },
    ]
}

/// Health and metrics as one number each.
fn numbers() -> Vec<Endpoint> {
    let number = |path: &str, operation: &str, summary: &str, handler| Endpoint {
        parameters: &[Parameter::Window],
        errors: &[Code::NotFound, Code::Unavailable],
        ..get(path, operation, summary, Schema::Number, Handler::Plain(handler))
    };
    let metric: Plain = |ask| Box::pin(measured::of_gateway(ask));
    let of_cluster: Plain = |ask| Box::pin(measured::of_deployment(ask));
    let health: Plain = |ask| Box::pin(measured::health_of_gateway(ask));
    let running: Plain = |ask| Box::pin(measured::health_of_deployment(ask));
    let rule = "The newest number that was published about it as an event; else";
    let counted = format!("{rule} what the gateways counted.");
    let well = format!("{rule} the part of its requests that did not fail.");
    let ready = format!("{rule} the part of its instances that can take requests, of several services the product.");
    let cluster = "/api/v1/metrics/deployments/{name}/clusters/{cluster}";
    let of = "/api/v1/health/deployments/{name}";
    vec![
        number("/api/v1/metrics/gateways/{name}/{metric}", "getMetric", &counted, metric),
        number("/api/v1/metrics/gateways/{name}/routes/{route}/{metric}", "getMetricOfRoute", &counted, metric),
        number(&format!("{cluster}/ports/{{port}}/{{metric}}"), "getMetricOfCluster", &counted, of_cluster),
        number(
            &format!("{cluster}/services/{{service}}/ports/{{port}}/{{metric}}"),
            "getMetricOfService",
            &counted,
            of_cluster,
        ),
        number("/api/v1/health/gateways/{name}", "getHealth", &well, health),
        number("/api/v1/health/gateways/{name}/routes/{route}", "getHealthOfRoute", &well, health),
        number(of, "getHealthOfDeployment", &ready, running),
        number(&format!("{of}/clusters/{{cluster}}"), "getHealthOfCluster", &ready, running),
        number(&format!("{of}/clusters/{{cluster}}/services/{{service}}"), "getHealthOfService", &ready, running),
    ]
}

/// Settings that clients need, at both addresses of the original.
fn configuration() -> Vec<Endpoint> {
    let all: Plain = |ask| Box::pin(ready(config::all(&ask)));
    let one: Plain = |ask| Box::pin(ready(config::one(&ask)));
    let of = |path: &str, operation: &str| {
        let summary = "The settings that clients need, by the names of the original; nothing secret.";
        let single = "One of the settings that clients need.";
        [
            Endpoint {
                parameters: &[Parameter::Flatten],
                ..get(path, operation, summary, Schema::Config, Handler::Plain(all))
            },
            Endpoint {
                errors: &[Code::NotFound],
                ..get(
                    &format!("{path}/{{name}}"),
                    &format!("{operation}Setting"),
                    single,
                    Schema::Setting,
                    Handler::Plain(one),
                )
            },
        ]
    };
    [of("/api/v1/config", "getConfig"), of("/api/v1/configuration", "getConfiguration")].into_iter().flatten().collect()
}

fn get_deployment() -> Endpoint {
    Endpoint {
        parameters: &[Parameter::AsBlueprint, Parameter::ExpandReferences, Parameter::OnlyReferences],
        errors: &[Code::NotFound],
        ..get(
            "/api/v1/deployments/{name}",
            "getDeployment",
            "Reads one deployment, with what runs of it; its version is the `ETag`.",
            Schema::Deployment,
            Handler::Plain(|ask| Box::pin(deployments::get(ask))),
        )
    }
}

/// A change of a deployment.
fn of_deployment(method: Method, path: &str, operation: &str, summary: &str, body: Schema, handler: Plain) -> Endpoint {
    Endpoint {
        method,
        parameters: WRITING,
        preconditions: Preconditions::Write,
        body,
        answers: vec![
            (200, "Changed, or it was like this already.", Schema::Artifact(Kind::Deployment)),
            (201, "Created.", Schema::Artifact(Kind::Deployment)),
            (202, LAGGARDS, Schema::Artifact(Kind::Deployment)),
        ],
        errors: &[
            Code::NotFound,
            Code::InUse,
            Code::VersionMismatch,
            Code::TooLarge,
            Code::UnsupportedMediaType,
            Code::SlowRequest,
        ],
        ..get(path, operation, summary, Schema::Nothing, Handler::Plain(handler))
    }
}

/// What is asked of whole deployments.
fn deployments() -> Vec<Endpoint> {
    let one = "/api/v1/deployments/{name}";
    vec![
        of_deployment(
            Method::POST,
            "/api/v1/deployments",
            "deploy",
            "Deploys a blueprint under its own name, or merges it into the deployment of that name.",
            Schema::Deploy,
            |ask| Box::pin(deployments::deploy(ask)),
        ),
        Endpoint {
            parameters: &[Parameter::ValidateOnly, Parameter::Wait, Parameter::Reason, Parameter::Delete],
            ..of_deployment(
                Method::PUT,
                one,
                "mergeDeployment",
                "Merges a blueprint into a deployment, which is made if it is missing; what is there keeps its traffic.",
                Schema::Deploy,
                |ask| Box::pin(deployments::merge(ask)),
            )
        },
        of_deployment(
            Method::DELETE,
            one,
            "undeploy",
            "Removes the services that a blueprint names; without a body, the deployment with all services and gateways.",
            Schema::Undeploy,
            |ask| Box::pin(deployments::undeploy(ask)),
        ),
        Endpoint {
            errors: &[Code::NotFound, Code::VersionMismatch],
            ..of_deployment(
                Method::POST,
                "/api/v1/deployments/{name}/history/{version}/restore",
                "restoreDeploymentVersion",
                "Makes an old version of a deployment the newest one; a service that comes back gets no traffic yet, one that \
                 goes must get none any more. It must be what was written then.",
                Schema::Nothing,
                |ask| Box::pin(deployments::restore(ask)),
            )
        },
    ]
}

const OF_LOGS: &[Parameter] = &[Parameter::Cluster, Parameter::Service, Parameter::Instance, Parameter::Tail];

fn logs_of_deployments() -> Vec<Endpoint> {
    vec![
        Endpoint {
            parameters: OF_LOGS,
            errors: &[Code::NotFound, Code::Unavailable],
            ..get(
                "/api/v1/deployments/{name}/logs",
                "getLogs",
                "The last lines that instances of a deployment wrote, oldest first.",
                Schema::LogLines,
                Handler::Plain(|ask| Box::pin(logs::last(ask))),
            )
        },
        Endpoint {
            parameters: OF_LOGS,
            errors: &[Code::NotFound, Code::Unavailable],
            ..get(
                "/api/v1/deployments/{name}/logs/stream",
                "followLogs",
                "The same, and the lines that come, also of instances that come (server-sent events).",
                Schema::Stream,
                Handler::Plain(|ask| Box::pin(logs::follow(ask))),
            )
        },
    ]
}

/// What is asked of parts of deployments.
fn parts_of_deployments() -> Vec<Endpoint> {
    let service = "/api/v1/deployments/{name}/clusters/{cluster}/services/{service}";
    let scale = format!("{service}/scale");
    let sla = "/api/v1/deployments/{name}/clusters/{cluster}/sla";
    let reads = |path: &str, operation: &str, summary: &str, answer, handler| Endpoint {
        errors: &[Code::NotFound],
        ..get(path, operation, summary, answer, Handler::Plain(handler))
    };
    vec![
        of_deployment(
            Method::DELETE,
            service,
            "undeployService",
            "Removes one service from a deployment; it must get no traffic any more, or be the last of its cluster.",
            Schema::Nothing,
            |ask| Box::pin(deployments::undeploy_service(ask)),
        ),
        reads(
            "/api/v1/deployments/{name}/status",
            "getDeploymentStatus",
            "How far the services of a deployment have come, also of one that is on its way out.",
            Schema::DeploymentStatus,
            |ask| Box::pin(deployments::status(ask)),
        ),
        reads(
            &scale,
            "getScaleOfService",
            "The scale of a service; the version of the deployment is its `ETag`, for `If-Match` of a new scale.",
            Schema::Scale,
            |ask| Box::pin(deployments::scale(ask)),
        ),
        of_deployment(
            Method::PUT,
            &scale,
            "putScaleOfService",
            "Gives a service another scale.",
            Schema::Scale,
            |ask| Box::pin(deployments::set_scale(ask)),
        ),
        reads(
            sla,
            "getSlaOfCluster",
            "What a cluster promises; the version of the deployment is its `ETag`, for `If-Match` of a new promise.",
            Schema::Sla,
            |ask| Box::pin(deployments::sla(ask)),
        ),
        of_deployment(Method::PUT, sla, "putSlaOfCluster", "Gives a cluster another promise.", Schema::Sla, |ask| {
            Box::pin(deployments::set_sla(ask))
        }),
        of_deployment(Method::POST, sla, "postSlaOfCluster", "The same, as in the original.", Schema::Sla, |ask| {
            Box::pin(deployments::set_sla(ask))
        }),
        of_deployment(
            Method::DELETE,
            sla,
            "deleteSlaOfCluster",
            "Takes a cluster's promise back.",
            Schema::Nothing,
            |ask| Box::pin(deployments::remove_sla(ask)),
        ),
    ]
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
