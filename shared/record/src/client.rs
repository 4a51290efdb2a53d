//! A small client of the Elasticsearch API as Elasticsearch 7.17, 8 and 9 and OpenSearch 2 and 3 have in common: bulk,
//! search and index templates. Nothing asks the server for its version; features are tried.

use std::fmt;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::elastic_url::{Credentials, ElasticUrl, ElasticUrlError};
use crate::template::Template;

/// LIMIT: bytes of one bulk body. Servers take up to 100 MB; well before that, larger ones only cost memory.
pub const BULK_BYTES_MAX: usize = 5 << 20;

/// LIMIT: bytes of an answer that are read. A bulk of [`BULK_BYTES_MAX`] with an error for each item stays below.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// LIMIT: of a server's own words that go into an error.
const REASON_CHARACTERS_MAX: usize = 400;

/// A server that does not take the connection in this time is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A bulk that takes longer is sent again: its ids make that harmless.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Why Elasticsearch did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ElasticError {
    /// No connection, or it broke; the server may have done what was asked.
    #[error("Elasticsearch at {address} does not answer: check that it runs and that the address is right")]
    Unreachable {
        /// Where it should be, without credentials.
        address: String,
        /// What happened.
        #[source]
        cause: reqwest::Error,
    },
    /// It refused the whole request.
    #[error("Elasticsearch at {address} answered {status}: {reason}")]
    Refused {
        /// Where it is, without credentials.
        address: String,
        /// The status.
        status: u16,
        /// What it said, shortened.
        reason: String,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// Something else answered.
    #[error("{address} does not answer like Elasticsearch ({reason}): check the address")]
    Unexpected {
        /// Where it is, without credentials.
        address: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// What became of one item of a bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemOutcome {
    /// It is stored, now or by an earlier try (409 on its id).
    Stored,
    /// The server can't take it now: send it again.
    Busy,
    /// The server will never take it, and why.
    Rejected(String),
}

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// All matching documents, not only those delivered.
    pub total: u64,
    /// The documents delivered: each hit's `_source`.
    pub documents: Vec<Value>,
    /// The aggregations by name; an empty object when there were none.
    pub aggregations: Value,
}

/// A client of one Elasticsearch or OpenSearch address.
#[derive(Debug, Clone)]
pub struct ElasticClient {
    http: reqwest::Client,
    base: String,
}

impl ElasticClient {
    /// Reads the credentials that `url` names and prepares the connections; asks nothing of the server yet.
    pub fn new(url: &ElasticUrl) -> Result<Self, ElasticUrlError> {
        // `reqwest` takes the process's provider of cryptography. Only the first call has an effect.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut headers = HeaderMap::new();
        if let Some(authorization) = url.credentials()?.as_ref().map(Credentials::authorization) {
            let mut value = HeaderValue::from_str(&authorization).map_err(|_| ElasticUrlError::Secret)?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut http = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A redirect would carry documents and credentials to an address that nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = url.ca()? {
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(ElasticUrlError::Client)?;
            http = http.tls_certs_only(certificates);
        } else if url.base().starts_with("http://") {
            // Nobody shows a certificate: a system that trusts none will do.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(ElasticUrlError::Client)?;
        Ok(Self { http, base: url.base() })
    }

    /// Where it is, without credentials.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// Sends `items` actions in `body`; the outcomes are in their order.
    pub async fn bulk(&self, body: Vec<u8>, items: usize) -> Result<Vec<ItemOutcome>, ElasticError> {
        debug_assert!(body.len() <= 2 * BULK_BYTES_MAX, "the shipper bounds its bodies");
        let path = "_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason";
        let answer: BulkAnswer = self.ask(Method::POST, path, "application/x-ndjson", body).await?;
        if answer.outcomes.len() != items {
            return Err(self.unexpected(format!("{} outcomes for {items} items", answer.outcomes.len())));
        }
        Ok(answer.outcomes)
    }

    /// Searches `index` (a name or pattern; none such is no error). Counts all hits, also above 10,000.
    pub async fn search(&self, index: &str, mut query: Value) -> Result<Found, ElasticError> {
        if let Some(query) = query.as_object_mut() {
            query.entry("track_total_hits").or_insert(Value::Bool(true));
        }
        let path = format!("{index}/_search?ignore_unavailable=true&allow_no_indices=true");
        let answer: Value = self.ask(Method::POST, &path, "application/json", query.to_string().into_bytes()).await?;
        Found::read(answer).ok_or_else(|| self.unexpected("no hits.total".to_owned()))
    }

    /// Makes what was written up to now visible to searches of `index`.
    pub async fn refresh(&self, index: &str) -> Result<(), ElasticError> {
        let path = format!("{index}/_refresh?ignore_unavailable=true&allow_no_indices=true");
        self.ask::<Value>(Method::POST, &path, "application/json", Vec::new()).await.map(drop)
    }

    /// Writes a template in the form that the server knows.
    pub async fn put_template(&self, template: Template) -> Result<(), ElasticError> {
        let name = template.name();
        let composable = self.put(&format!("_index_template/{name}"), &template.composable()).await;
        match composable {
            Err(ElasticError::Refused { status: 400 | 404 | 405, reason, .. }) if is_unknown_endpoint(&reason) => {
                self.put(&format!("_template/{name}"), &template.legacy()).await
            }
            other => other,
        }
    }

    async fn put(&self, path: &str, body: &Value) -> Result<(), ElasticError> {
        self.ask::<Value>(Method::PUT, path, "application/json", body.to_string().into_bytes()).await.map(drop)
    }

    async fn ask<A: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<A, ElasticError> {
        let url = format!("{}/{path}", self.base);
        let request = self.http.request(method, url).header(CONTENT_TYPE, content_type).body(body);
        let mut answer = request.send().await.map_err(|cause| self.unreachable(cause))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|cause| self.unreachable(cause))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.unexpected(format!("more than {ANSWER_BYTES_MAX} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !answer.status().is_success() {
            return Err(self.refused(answer.status(), answer.headers(), &bytes));
        }
        serde_json::from_slice(&bytes).map_err(|error| self.unexpected(error.to_string()))
    }

    fn unreachable(&self, cause: reqwest::Error) -> ElasticError {
        ElasticError::Unreachable { address: self.base.clone(), cause: cause.without_url() }
    }

    fn unexpected(&self, reason: String) -> ElasticError {
        ElasticError::Unexpected { address: self.base.clone(), reason }
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> ElasticError {
        let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        ElasticError::Refused {
            address: self.base.clone(),
            status: status.as_u16(),
            reason: shortened(&String::from_utf8_lossy(body)),
            retry_after: seconds.map(Duration::from_secs),
        }
    }
}

/// What servers without composable templates say: that they know no such address, or take it for an index.
fn is_unknown_endpoint(reason: &str) -> bool {
    !reason.contains("illegal_argument_exception") || reason.contains("no handler found")
}

fn shortened(reason: &str) -> String {
    let one_line = |character: char| if character.is_control() { ' ' } else { character };
    reason.chars().take(REASON_CHARACTERS_MAX).map(one_line).collect()
}

struct BulkAnswer {
    outcomes: Vec<ItemOutcome>,
}

impl<'de> Deserialize<'de> for BulkAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BulkVisitor)
    }
}

/// Reads the answer to a bulk request. Servers say first whether there were errors; without, the items are counted only:
/// there is one for each request that the gateway answered.
struct BulkVisitor;

impl<'de> Visitor<'de> for BulkVisitor {
    type Value = BulkAnswer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer to a bulk request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<BulkAnswer, A::Error> {
        let mut errors = None;
        let mut outcomes = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match (&*key, errors) {
                ("errors", _) => errors = Some(map.next_value::<bool>()?),
                ("items", Some(false)) => {
                    let items = map.next_value::<Vec<IgnoredAny>>()?;
                    outcomes = items.iter().map(|_| ItemOutcome::Stored).collect();
                }
                ("items", _) => {
                    let items = map.next_value::<Vec<BulkItem>>()?;
                    outcomes = items.into_iter().map(|item| item.create.outcome()).collect();
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(BulkAnswer { outcomes })
    }
}

#[derive(Deserialize)]
struct BulkItem {
    create: ItemAnswer,
}

#[derive(Deserialize)]
struct ItemAnswer {
    status: u16,
    #[serde(default)]
    error: Option<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: Option<String>,
}

impl ItemAnswer {
    fn outcome(self) -> ItemOutcome {
        match self.status {
            // 409: this id is there, so an earlier try was done although its answer was lost.
            200..=299 | 409 => ItemOutcome::Stored,
            // 401 and 403 (also a full disk's write block on some versions) are mended on the server, not here.
            429 | 401 | 403 | 500.. => ItemOutcome::Busy,
            status => {
                let error = self.error.unwrap_or(ItemError { kind: String::new(), reason: None });
                let reason = error.reason.unwrap_or_default();
                ItemOutcome::Rejected(shortened(&format!("{status} {}: {reason}", error.kind)))
            }
        }
    }
}

impl Found {
    fn read(mut answer: Value) -> Option<Self> {
        let hits = answer.get("hits")?;
        // An object since Elasticsearch 7, a number before and where a proxy asks for `rest_total_hits_as_int`.
        let total = hits.get("total")?;
        let total = total.as_u64().or_else(|| total.get("value")?.as_u64())?;
        let documents = hits.get("hits").and_then(Value::as_array).into_iter().flatten();
        let documents = documents.filter_map(|hit| hit.get("_source").cloned()).collect();
        let aggregations = answer.get_mut("aggregations").map(Value::take);
        Some(Self {
            total,
            documents,
            aggregations: aggregations.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_item(answer: &Value, expected: &ItemOutcome) {
        let item: BulkItem = serde_json::from_value(json!({ "create": answer })).unwrap();
        assert_eq!(item.create.outcome(), *expected);
    }

    #[test]
    fn only_what_the_server_may_take_later_is_sent_again() {
        check_item(&json!({"status": 201}), &ItemOutcome::Stored);
        check_item(
            &json!({"status": 409, "error": {"type": "version_conflict_engine_exception"}}),
            &ItemOutcome::Stored,
        );
        for status in [429, 500, 503, 401, 403] {
            check_item(&json!({"status": status, "error": {"type": "x", "reason": "y"}}), &ItemOutcome::Busy);
        }
        check_item(
            &json!({"status": 400, "error": {"type": "mapper_parsing_exception", "reason": "bad\nfield"}}),
            &ItemOutcome::Rejected("400 mapper_parsing_exception: bad field".to_owned()),
        );
    }

    #[test]
    fn items_are_looked_at_unless_the_server_says_that_none_has_an_error() {
        let read = |answer: &str| serde_json::from_str::<BulkAnswer>(answer).unwrap().outcomes;
        let items = r#"[{"create":{"status":201}},{"create":{"status":503}}]"#;
        let (stored, busy) = (ItemOutcome::Stored, ItemOutcome::Busy);
        let mixed = vec![stored.clone(), busy];
        assert_eq!(read(&format!(r#"{{"errors":true,"took":1,"items":{items}}}"#)), mixed);
        assert_eq!(read(&format!(r#"{{"items":{items},"errors":true}}"#)), mixed);
        assert_eq!(read(&format!(r#"{{"items":{items}}}"#)), mixed);
        assert_eq!(read(r#"{"errors":false,"items":[{"create":{"status":201}},{}]}"#), vec![stored; 2]);
        assert!(read(r#"{"errors":false}"#).is_empty());
        assert!(serde_json::from_str::<BulkAnswer>(r#"{"errors":true,"items":[{}]}"#).is_err());
    }

    #[test]
    fn totals_are_read_in_both_forms() {
        for total in [json!(12_345), json!({"value": 12_345, "relation": "eq"})] {
            let found = Found::read(json!({"hits": {"total": total, "hits": [{"_source": {"ST": 200}}]}})).unwrap();
            assert_eq!(found, Found { total: 12_345, documents: vec![json!({"ST": 200})], aggregations: json!({}) });
        }
        assert_eq!(Found::read(json!({"hits": {}})), None);
    }
}
