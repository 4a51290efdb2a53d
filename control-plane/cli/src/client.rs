//! Speaks with the control plane.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_MATCH};
use serde_json::Value;

use crate::arguments::{Output, Server};
use crate::failure::Failure;

/// LIMIT: an answer that takes longer than the longest wait of the API (60 s) and some more does not come any more.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(75);

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
    pub(crate) output: Output,
}

impl<'a> Request<'a> {
    pub(crate) fn new(method: Method, path: &'a [&'a str]) -> Self {
        Self { method, path, query: Vec::new(), body: None, if_match: None, output: Output::Json }
    }

    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self::new(Method::GET, path)
    }
}

/// An answer that is no refusal.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) etag: Option<String>,
    /// Addresses the next page, if there is one.
    pub(crate) has_more: bool,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// A client of one control plane.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: url::Url,
    token: Option<String>,
}

impl Client {
    pub(crate) fn new(server: &Server) -> Result<Self, Failure> {
        // Only the first call has an effect.
        drop(rustls::crypto::ring::default_provider().install_default());
        if !matches!(server.host.scheme(), "http" | "https") || server.host.cannot_be_a_base() {
            return Err(Failure::Usage { what: format!("`{}` is no address: write http://HOST:PORT", server.host) });
        }
        let mut http = reqwest::Client::builder()
            .timeout(ANSWER_TIMEOUT)
            .connect_timeout(Duration::from_secs(5))
            // A redirect would carry the token to an address that nobody named.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &server.ca {
            let pem = std::fs::read(path).map_err(|cause| Failure::File { path: path.clone(), cause })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|_| Failure::Usage { what: format!("`{}` holds no PEM certificates", path.display()) })?;
            http = http.tls_certs_only(certificates);
        }
        let http = http
            .build()
            .map_err(|error| Failure::Usage { what: format!("TLS can't be set up: {error}; name --ca") })?;
        Ok(Self { http, base: server.host.clone(), token: token(server)? })
    }

    /// Sends a request; an answer of 400 and above is a failure.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(request.path);
        }
        let accept = match request.output {
            Output::Yaml => "application/yaml",
            Output::Table | Output::Json => "application/json",
        };
        let mut call = self.http.request(request.method, url).query(&request.query).header(ACCEPT, accept);
        if let Some(token) = &self.token {
            call = call.bearer_auth(token);
        }
        if let Some(version) = request.if_match {
            call = call.header(IF_MATCH, version);
        }
        if let Some((content_type, body)) = request.body {
            call = call.header(CONTENT_TYPE, content_type).body(body);
        }
        let unreachable =
            |cause: reqwest::Error| Failure::Unreachable { host: self.base.to_string(), cause: cause.without_url() };
        let answer = call.send().await.map_err(unreachable)?;
        let status = answer.status();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let etag = header(ETAG);
        let has_more = header(reqwest::header::LINK).is_some_and(|links| links.contains("rel=\"next\""));
        let text = answer.text().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Answer { etag, has_more, text });
        }
        let problem = serde_json::from_str(&text)
            .unwrap_or_else(|_| serde_json::json!({"title": format!("{} answers without a reason", self.base)}));
        Err(Failure::Refused { status: status.as_u16(), problem })
    }
}

fn token(server: &Server) -> Result<Option<String>, Failure> {
    let Some(path) = &server.token_file else {
        return Ok(std::env::var("VAMP_TOKEN").ok().filter(|token| !token.is_empty()));
    };
    let text = std::fs::read_to_string(path).map_err(|cause| Failure::File { path: path.clone(), cause })?;
    match text.lines().map(str::trim).find(|line| !line.is_empty()) {
        Some(token) => Ok(Some(token.to_owned())),
        None => Err(Failure::Usage { what: format!("token file `{}` is empty", path.display()) }),
    }
}
