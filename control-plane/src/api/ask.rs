//! One request, as a handler sees it: found, allowed, its parameters and body read.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use vamp_model::{Document, Format, Kind, Stored, Violation, read_as, read_value, read_with};
use vamp_record::access::Access;

use super::address::Parameters;
use super::endpoints::Endpoints;
use super::problem::Problem;
use super::query::Query;
use super::written::{self, Written};
use crate::core::{Core, Premise};
use crate::persist::Cause;
use crate::reconcile::{Platforms, States};

/// LIMIT: requests answered at once, and as many again may wait for a rollout at a time-out of a minute. One costs a few kilobytes beside its body.
const REQUESTS_MAX: usize = 512;
/// LIMIT: requests that wait for a rollout at once; they hold nothing but their place.
const WAITING_MAX: usize = 256;
/// LIMIT: streams of events at once; each asks the database once for each event that is kept.
const STREAMS_MAX: usize = 64;
/// LIMIT: bytes of all bodies that are held at once, in steps of [`BODY_STEP_BYTES`]: four of the largest.
const BODIES_STEPS_MAX: usize = 64 * 1024 * 1024 / BODY_STEP_BYTES;
/// What is taken of that bound at a time.
pub(super) const BODY_STEP_BYTES: usize = 64 * 1024;

/// LIMIT: bytes of a body that is read on the thread that serves connections; longer ones would hold up the others for
/// more than some milliseconds.
const INLINE_BYTES_MAX: usize = 128 * 1024;

/// What all requests share.
pub(crate) struct Api {
    pub(super) core: Arc<Core>,
    /// How far each service has come.
    pub(super) states: watch::Receiver<States>,
    /// Where they run.
    pub(super) platforms: Platforms,
    pub(super) access: Access,
    pub(super) about: About,
    pub(super) endpoints: Endpoints,
    /// The OpenAPI document, as it is served.
    pub(super) openapi: String,
    pub(super) requests: Semaphore,
    pub(super) waiting: Semaphore,
    pub(super) streams: Arc<Semaphore>,
    /// One reading of the whole history at a time.
    pub(super) audits: Semaphore,
    pub(super) bodies: Arc<Semaphore>,
    /// Becomes true when the control plane goes down.
    pub(super) stopping: watch::Receiver<bool>,
    /// Drawn at the start; request ids begin with it.
    pub(super) boot: u32,
    pub(super) requests_seen: std::sync::atomic::AtomicU64,
}

/// What a control plane tells of itself.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// Its namespace.
    pub(crate) namespace: String,
    /// When it started.
    pub(crate) started: jiff::Timestamp,
}

impl Api {
    /// An API over a core.
    pub(crate) fn new(
        core: Arc<Core>,
        (states, platforms): (watch::Receiver<States>, Platforms),
        access: Access,
        about: About,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let endpoints = Endpoints::new();
        let openapi = super::openapi::text(&endpoints);
        Self {
            core,
            states,
            platforms,
            access,
            about,
            endpoints,
            openapi,
            requests: Semaphore::new(REQUESTS_MAX),
            waiting: Semaphore::new(WAITING_MAX),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            audits: Semaphore::new(1),
            bodies: Arc::new(Semaphore::new(BODIES_STEPS_MAX)),
            stopping,
            boot: rand::random(),
            requests_seen: std::sync::atomic::AtomicU64::new(0),
        }
    }
}

/// One request.
pub(super) struct Ask {
    pub(super) api: Arc<Api>,
    pub(super) parameters: Parameters,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    /// It can be read again.
    pub(super) body: Arc<Vec<u8>>,
    /// What the body imports, as it was when it was read last.
    pub(super) premises: Vec<Premise>,
    /// How the answer is written.
    pub(super) written: Written,
    /// Method and path, who asks, and why.
    pub(super) cause: Cause,
}

impl Ask {
    /// `{name}`.
    pub(super) fn name(&self) -> &str {
        &self.parameters.name
    }

    /// `{version}`.
    pub(super) fn version(&self) -> Result<u64, Problem> {
        let text = &self.parameters.version;
        text.parse().map_err(|_| {
            let detail = format!("`{}` is no version", super::query::shown(text));
            Problem::bad_request(detail, "versions are numbers: 1, 2, 3 …")
        })
    }

    /// The artifacts of the body, of one kind or of any; with a name, exactly one.
    pub(super) async fn documents(&mut self, kind: Option<Kind>, name: Option<&str>) -> Result<Vec<Document>, Problem> {
        if let (Some(Kind::Breed), Some(name)) = (kind, name)
            && written::is_script(&self.headers)?
        {
            return self.script(name);
        }
        let name = name.map(str::to_owned);
        self.read(move |text, format, stored| read_with(text, format, kind, name.as_deref(), stored)).await
    }

    /// A breed of which the body is the script.
    fn script(&self, name: &str) -> Result<Vec<Document>, Problem> {
        let script = self.text()?;
        if script.trim().is_empty() {
            return Err(Problem::bad_request("the script is empty", "send the script as the body"));
        }
        let breed = json!({"deployable": {"type": written::SCRIPT, "definition": script}});
        read_as(&breed.to_string(), Format::Json, Kind::Breed, Some(name)).map_err(Problem::bad_document)
    }

    /// What a reader makes of the body, with what is stored to import from.
    pub(super) async fn read<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&str, Format, &Stored<'_>) -> Result<T, Vec<Violation>> + Send + 'static,
    ) -> Result<T, Problem> {
        let format = written::sent(&self.headers)?;
        // Most bodies import nothing: then it does not matter how new is what is known.
        let may_import = self.text()?.contains("import");
        let current = if may_import {
            let current = self.api.core.shared.refresh().await;
            current.map_err(|error| Problem::database("reading the database", &error))?
        } else {
            self.api.core.shared.current()
        };
        let body = Arc::clone(&self.body);
        // What is imported may be much more than what is sent.
        let is_long = may_import || body.len() > INLINE_BYTES_MAX;
        let read_all = move || {
            let text = std::str::from_utf8(&body).unwrap_or_default();
            let seen = RefCell::new(BTreeMap::new());
            let stored = |kind, name: &str| {
                let version = current.stored(kind, name).map(|stored| stored.version);
                seen.borrow_mut().insert((kind, name.to_owned()), version);
                current.artifact(kind, name)
            };
            let read = read(text, format, &stored);
            (read, seen.into_inner())
        };
        let (read, seen) = if is_long {
            tokio::task::spawn_blocking(read_all).await.map_err(|_| Problem::panicked())?
        } else {
            read_all()
        };
        self.premises = seen.into_iter().map(|((kind, name), version)| Premise { kind, name, version }).collect();
        read.map_err(Problem::bad_document)
    }

    /// A body that is no artifact, in JSON or YAML.
    pub(super) fn value(&self) -> Result<Value, Problem> {
        let format = written::sent(&self.headers)?;
        read_value(self.text()?, format).map_err(Problem::bad_document)
    }

    /// The body of a request that only takes JSON.
    pub(super) fn json_text(&self) -> Result<&str, Problem> {
        if written::sent(&self.headers)? == Format::Yaml {
            return Err(Problem::unsupported_media_type("this address takes no YAML", "send `application/json`"));
        }
        self.text()
    }

    fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.body).map_err(|error| {
            let detail = format!("the body is not UTF-8 from byte {} on", error.valid_up_to());
            Problem::bad_request(detail, "send it in UTF-8")
        })
    }
}
