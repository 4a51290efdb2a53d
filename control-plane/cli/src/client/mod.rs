//! Speaks with the control plane.

mod stream;

use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MATCH};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::arguments::Server;
use crate::context::{self, Target};
use crate::failure::Failure;

pub(crate) use stream::Stream;

/// LIMIT: an answer that takes longer than the longest wait of the API (60 s) and some more does not come any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);
/// LIMIT: a stream in which nothing comes for three of its heartbeats (15 s) is dead.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// LIMIT: the largest page that the API gives.
const PAGE: u32 = 1_000;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Segments after `/api/v1`; each may have any character.
    pub(crate) path: &'a [&'a str],
    pub(crate) query: Vec<(&'static str, String)>,
    /// Content type and body.
    pub(crate) body: Option<(&'static str, String)>,
    /// Version that is expected to be there.
    pub(crate) if_match: Option<String>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, if_match: None }
    }

    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }
}

/// An answer that is no refusal.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) etag: Option<String>,
    /// Nothing of it was there before.
    pub(crate) is_created: bool,
    /// Addresses the next page, if there is one.
    has_more: bool,
    text: String,
}

impl Answer {
    /// The version of the one artifact that it is about.
    pub(crate) fn version(&self) -> Option<u64> {
        self.etag.as_deref()?.trim_matches('"').parse().ok()
    }

    /// One that was not sent.
    #[cfg(test)]
    pub(crate) fn of(json: &Value, etag: Option<&str>) -> Self {
        Self { etag: etag.map(str::to_owned), is_created: false, has_more: false, text: json.to_string() }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// A client of one control plane.
pub(crate) struct Client {
    http: reqwest::Client,
    target: Target,
    token: Option<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("target", &self.target).finish_non_exhaustive()
    }
}

impl Client {
    /// Of the control plane that flags, environment or the current context name.
    pub(crate) fn new(server: &Server) -> Result<Self, Failure> {
        Self::of(context::target(server)?)
    }

    /// Of one control plane.
    pub(crate) fn of(target: Target) -> Result<Self, Failure> {
        // Only the first call has an effect.
        drop(rustls::crypto::ring::default_provider().install_default());
        if !matches!(target.host.scheme(), "http" | "https") || target.host.cannot_be_a_base() {
            return Err(Failure::Usage { what: format!("`{}` is no address: write http://HOST:PORT", target.host) });
        }
        let http = build(reqwest::Client::builder().timeout(ANSWER_TIMEOUT), &target)?;
        let token = match &target.token_file {
            Some(path) => Some(token(path)?),
            None => std::env::var("VAMP_TOKEN").ok().filter(|token| target.takes_variable && !token.is_empty()),
        };
        Ok(Self { http, target, token })
    }

    /// Sends a request; an answer of 400 and above is a failure.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let mut call = self.call(&self.http, request.method, request.path, &request.query);
        // What users write goes as YAML. Nobody sees the lines of what a verb wrote.
        let is_own = request.body.as_ref().is_some_and(|(content_type, _)| *content_type == "application/json");
        if let Some(version) = request.if_match {
            call = call.header(IF_MATCH, version);
        }
        if let Some((content_type, body)) = request.body {
            call = call.header(CONTENT_TYPE, content_type).body(body);
        }
        let answer = self.granted(call.header(ACCEPT, "application/json")).await;
        let answer = answer.map_err(|failure| if is_own { failure.without_lines() } else { failure })?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let etag = header(ETAG);
        let is_created = answer.status() == StatusCode::CREATED;
        let has_more = header(reqwest::header::LINK).is_some_and(|links| links.contains("rel=\"next\""));
        let text = answer.text().await.map_err(|cause| self.unreachable(cause))?;
        Ok(Answer { etag, is_created, has_more, text })
    }

    /// All items of a list, or the first ones.
    pub(crate) async fn list(
        &self,
        path: &[&str],
        query: &[(&'static str, String)],
        limit: Option<u32>,
    ) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        let size = limit.unwrap_or(PAGE).clamp(1, PAGE);
        for page in 1_u32.. {
            let mut query = query.to_vec();
            query.extend([("page", page.to_string()), ("per_page", size.to_string())]);
            let answer = self.send(Request { query, ..Request::get(path) }).await?;
            if let Value::Array(items) = answer.json() {
                all.extend(items);
            }
            if !answer.has_more || limit.is_some() {
                break;
            }
        }
        Ok(all)
    }

    /// Opens a stream of events.
    pub(crate) async fn follow<'c>(
        &'c self,
        path: &'c [&'c str],
        query: Vec<(&'static str, String)>,
    ) -> Result<Stream<'c>, Failure> {
        let http = build(reqwest::Client::builder().read_timeout(SILENCE_TIMEOUT), &self.target)?;
        Stream::open(self, http, path, query).await
    }

    fn call(
        &self,
        http: &reqwest::Client,
        method: Method,
        path: &[&str],
        query: &[(&'static str, String)],
    ) -> reqwest::RequestBuilder {
        let mut url = self.target.host.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        let call = http.request(method, url).query(query);
        match &self.token {
            Some(token) => call.bearer_auth(token),
            None => call,
        }
    }

    /// The head of an answer that is no refusal.
    async fn granted(&self, call: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        let answer = call.send().await.map_err(|cause| self.unreachable(cause))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.map_err(|cause| self.unreachable(cause))?;
        let problem = serde_json::from_str(&text)
            .unwrap_or_else(|_| serde_json::json!({"title": format!("{} answers without a reason", self.target.host)}));
        Err(Failure::Refused { status: status.as_u16(), problem })
    }

    fn unreachable(&self, cause: reqwest::Error) -> Failure {
        Failure::Unreachable { host: self.target.host.to_string(), cause: cause.without_url() }
    }
}

fn build(http: reqwest::ClientBuilder, target: &Target) -> Result<reqwest::Client, Failure> {
    // A redirect would carry the token to an address that nobody named.
    let mut http = http.connect_timeout(CONNECT_TIMEOUT).redirect(reqwest::redirect::Policy::none());
    if let Some(path) = &target.ca {
        let pem = std::fs::read(path).map_err(|cause| Failure::File { path: path.clone(), cause })?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|_| Failure::Usage { what: format!("`{}` holds no PEM certificates", path.display()) })?;
        http = http.tls_certs_only(certificates);
    } else if target.host.scheme() == "http" {
        // Nobody shows a certificate: a system that trusts none will do.
        http = http.tls_certs_only([]);
    }
    http.build().map_err(|error| Failure::Usage { what: format!("TLS can't be set up: {error}; name --ca") })
}

/// The token in a file.
pub(crate) fn token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|cause| Failure::File { path: path.to_owned(), cause })?;
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(token) => Ok(token.to_owned()),
        None => Err(Failure::Usage { what: format!("token file `{}` is empty", path.display()) }),
    }
}
