//! Asks the admin listeners of gateways, all at once, each within a bounded time and a bounded size.

use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use vamp_record::split::SplitAnswer;
use vamp_record::traffic::{TrafficAnswer, TrafficQuestion};
use vamp_routing::wire::Registration;

use crate::causes::with_causes;

/// LIMIT: a gateway process that does not answer in this time is not counted; a listener on the same network takes
/// milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// LIMIT: bytes of one answer: some 30,000 gateways of two routes each.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// LIMIT: gateway processes asked at once, each with an answer in memory.
const CONCURRENCY: usize = 16;
/// LIMIT: bytes of one answer about the traffic of some gateways: ten times what it is with three routes each.
const TRAFFIC_BYTES_MAX: usize = 5 << 20;
/// LIMIT: gateway processes asked for their traffic at once. It is asked every second, so that slow ones must not make
/// others wait; their answers are small.
const TRAFFIC_CONCURRENCY: usize = 64;

/// How gateways are asked.
#[derive(Clone, Default)]
pub(crate) struct AskSettings {
    /// Sent as `Authorization: Bearer`; needed by admin listeners on addresses that are not loopback.
    pub token: Option<String>,
    /// Certificate authorities (PEM) of the admin listeners, beside those that the system trusts.
    pub ca_pem: Option<Vec<u8>>,
}

impl std::fmt::Debug for AskSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("AskSettings").field("token", &token).field("has_ca", &self.ca_pem.is_some()).finish()
    }
}

/// Why gateways can't be asked with these settings.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The token can't be sent.
    #[error("the gateway token can't be sent in a header: use visible ASCII characters")]
    Token,
    /// The client can't be made.
    #[error("the client for the gateways can't be made: check the certificate authority")]
    Client(#[source] reqwest::Error),
}

/// Asks gateways.
#[derive(Debug)]
pub(crate) struct Asker {
    http: reqwest::Client,
}

impl Asker {
    pub(crate) fn new(settings: &AskSettings) -> Result<Self, AskError> {
        // `reqwest` takes the process's provider of cryptography. Only the first call has an effect.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut headers = HeaderMap::new();
        if let Some(token) = &settings.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| AskError::Token)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // Gateways are near: no proxy of the environment, and no way to send the token elsewhere by a redirect.
        let http = || {
            reqwest::Client::builder()
                .default_headers(headers.clone())
                .timeout(ANSWER_TIMEOUT)
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
        };
        let http = match &settings.ca_pem {
            Some(pem) => {
                let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(AskError::Client)?;
                http().tls_certs_merge(certificates).build()
            }
            // A system that trusts no certificate will do for gateways that show none.
            None => http().build().or_else(|_| http().tls_certs_only([]).build()),
        };
        Ok(Self { http: http.map_err(AskError::Client)? })
    }

    /// The counts of each, in any order, or why there are none.
    pub(crate) async fn ask<'r>(
        &self,
        registrations: Vec<&'r Registration>,
    ) -> Vec<(&'r Registration, Result<SplitAnswer, String>)> {
        let ask = |registration| async move { (registration, self.ask_one(registration).await) };
        let questions: Vec<_> = registrations.into_iter().map(ask).collect();
        futures_util::stream::iter(questions).buffer_unordered(CONCURRENCY).collect().await
    }

    async fn ask_one(&self, registration: &Registration) -> Result<SplitAnswer, String> {
        let request = self.http.get(address(registration, "splits"));
        let body = read(request, ANSWER_BYTES_MAX).await?;
        let mut answer: SplitAnswer = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        check_id(&answer.counts.id, registration)?;
        // A gateway speaks for itself only.
        answer.before.retain(|before| before.id == registration.id);
        Ok(answer)
    }

    /// The traffic of some gateways as each process counted it, in any order, or why that is not known. Those that did
    /// not answer within `patience` are left out.
    pub(crate) async fn traffic<'r>(
        &self,
        registrations: Vec<&'r Registration>,
        question: &TrafficQuestion,
        patience: Duration,
    ) -> Vec<(&'r Registration, Result<TrafficAnswer, String>)> {
        let ask = |registration| async move { (registration, self.traffic_of_one(registration, question).await) };
        let questions: Vec<_> = registrations.into_iter().map(ask).collect();
        let mut answers = Vec::with_capacity(questions.len());
        let mut coming = futures_util::stream::iter(questions).buffer_unordered(TRAFFIC_CONCURRENCY);
        let work = async {
            while let Some(answer) = coming.next().await {
                answers.push(answer);
            }
        };
        // What has come by then is what there is.
        drop(tokio::time::timeout(patience, work).await);
        answers
    }

    async fn traffic_of_one(
        &self,
        registration: &Registration,
        question: &TrafficQuestion,
    ) -> Result<TrafficAnswer, String> {
        let request = self.http.post(address(registration, "traffic")).json(question);
        let body = read(request, TRAFFIC_BYTES_MAX).await?;
        let answer: TrafficAnswer = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
        check_id(&answer.id, registration)?;
        Ok(answer)
    }
}

fn address(registration: &Registration, path: &str) -> String {
    format!("{}/{path}", registration.admin.trim_end_matches('/'))
}

/// The body of an answer that went well.
async fn read(request: reqwest::RequestBuilder, bytes_max: usize) -> Result<Vec<u8>, String> {
    // Without the address: it is told beside it, and could carry what its author put into it.
    let failed = |error: reqwest::Error| with_causes(&error.without_url());
    let mut response = request.send().await.map_err(failed)?;
    if !response.status().is_success() {
        return Err(format!("it answered {}: check the gateway token", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len().saturating_add(chunk.len()) > bytes_max {
            return Err(format!("its answer is larger than {bytes_max} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreadable(error: &serde_json::Error) -> String {
    format!("its answer can't be read: {error}")
}

fn check_id(id: &str, registration: &Registration) -> Result<(), String> {
    if id == registration.id {
        return Ok(());
    }
    Err(format!("gateway `{id}` answers at its address: give each its own --admin"))
}
