//! The Elasticsearch document of one record: the field names that users of Vamp's old logs query (`ci`, `ft`, `ST`,
//! `Tt` …), and what the native gateway knows beyond them.
//!
//! No cookie, no header, no query string goes into a document: it is read by more people than may see secrets.

use jiff::Timestamp;
use serde::Serialize;

use crate::{Record, Text};

/// Writes the documents of one gateway process.
///
/// A document's id is made of process, boot and sequence: the same record sent twice is stored once.
#[derive(Debug, Clone)]
pub struct Documents {
    namespace: String,
    process: String,
    boot: String,
}

impl Documents {
    /// For the gateway process `process`, started as `boot`, in `namespace`.
    pub fn new(namespace: &str, process: &str, boot: &str) -> Self {
        Self { namespace: index_part(namespace), process: process.to_owned(), boot: boot.to_owned() }
    }

    /// Appends the two lines of a bulk `create` to `bulk`: action and document, each with its line end.
    pub fn write(&self, record: &Record, sequence: u64, bulk: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let ended = timestamp(record.ended_unix_ns());
        let create = Create {
            _index: &format!("vamp-vga-{}-{}", self.namespace, ended.strftime("%Y-%m-%d")),
            _id: &format!("{}-{}-{sequence}", self.process, self.boot),
        };
        serde_json::to_writer(&mut *bulk, &Action { create })?;
        bulk.push(b'\n');
        serde_json::to_writer(&mut *bulk, &self.body(record, ended))?;
        bulk.push(b'\n');
        Ok(())
    }

    fn body<'a>(&'a self, record: &'a Record, ended: Timestamp) -> Body<'a> {
        let labels = &*record.labels;
        let request_line = format!("{} {} HTTP/1.{}", record.method.kept, record.path.kept, record.http_minor);
        Body {
            timestamp: ended.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
            ci: record.client.ip().to_canonical().to_string(),
            cp: record.client.port(),
            t: timestamp(record.started_unix_ns).strftime("%d/%b/%Y:%H:%M:%S%.3f").to_string(),
            ft: frontends(record),
            b: &labels.route_lookup,
            s: record.endpoint_lookup.as_deref().unwrap_or("<NOSRV>"),
            tq: whole_ms(Some(record.head_us)),
            tw: 0,
            tc: connect_ms(record),
            tr: whole_ms(record.upstream_us),
            tt: whole_ms(Some(record.duration_us)),
            status: if record.status == 0 { -1 } else { i32::from(record.status) },
            bytes_to_client: record.bytes_out,
            tsc: record.reason.termination_state(),
            rc: record.retries,
            r: request_line,
            gateway: labels.gateways.iter().map(|(name, _, _)| name.as_str()).collect(),
            route: (!labels.route.is_empty()).then_some(&*labels.route),
            via: labels.via.iter().map(|(name, _)| name.as_str()).collect(),
            decided_by: (!labels.decided_by.is_empty()).then_some(labels.decided_by),
            epoch: record.epoch,
            revision: record.revision,
            reason: record.reason.as_str(),
            upstream_status: (record.upstream_status != 0).then_some(record.upstream_status),
            endpoint: record.endpoint.as_deref(),
            method: &record.method.kept,
            host: &record.host.kept,
            path: &record.path.kept,
            cut: cut_fields(record),
            request_id: (!record.request_id.kept.is_empty()).then_some(&*record.request_id.kept),
            bytes_in: record.bytes_in,
            head_us: record.head_us,
            connect_us: record.connect_us,
            upstream_us: record.upstream_us,
            duration_us: record.duration_us,
            process: &self.process,
            boot: &self.boot,
        }
    }
}

/// A namespace as part of an index name: Elasticsearch takes lower case and few signs only.
fn index_part(namespace: &str) -> String {
    let part = |character: char| match character.to_ascii_lowercase() {
        plain @ ('a'..='z' | '0'..='9' | '-' | '_' | '.') => plain,
        _ => '_',
    };
    // LIMIT: an index name has up to 255 bytes; the rest of the name takes 20.
    namespace.chars().map(part).take(200).collect()
}

fn timestamp(unix_ns: u64) -> Timestamp {
    // Every `u64` of nanoseconds (up to the year 2554) is a timestamp.
    Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// HAProxy wrote a line for each of its frontends that a request passed; here the one document names all of them, so
/// that a count by `ft` is right for a gateway, for its weights (`o_…`) and for a route.
fn frontends(record: &Record) -> Vec<String> {
    let labels = &*record.labels;
    let mut frontends = Vec::with_capacity(2 * labels.gateways.len() + labels.via.len() + 1);
    for (_, lookup, weights_decided) in &labels.gateways {
        frontends.push(lookup.clone());
        if *weights_decided {
            frontends.push(format!("o_{lookup}"));
        }
    }
    frontends.extend(labels.via.iter().map(|(_, lookup)| lookup.clone()));
    if !labels.route_lookup.is_empty() {
        frontends.push(labels.route_lookup.clone());
    }
    frontends
}

/// Milliseconds as HAProxy wrote them: −1 where the phase was not reached.
fn whole_ms(us: Option<u64>) -> i64 {
    us.map_or(-1, |us| i64::try_from(us.saturating_add(500) / 1_000).unwrap_or(i64::MAX))
}

fn connect_ms(record: &Record) -> i64 {
    match record.connect_us {
        // A pooled connection takes no time to connect.
        None if record.endpoint.is_some() => 0,
        measured => whole_ms(measured),
    }
}

fn cut_fields(record: &Record) -> Vec<&'static str> {
    let texts: [(&'static str, &Text); 4] = [
        ("method", &record.method),
        ("host", &record.host),
        ("path", &record.path),
        ("request_id", &record.request_id),
    ];
    texts.into_iter().filter(|(_, text)| text.cut).map(|(name, _)| name).collect()
}

#[derive(Serialize)]
struct Action<'a> {
    create: Create<'a>,
}

#[derive(Serialize)]
struct Create<'a> {
    _index: &'a str,
    _id: &'a str,
}

/// The fields; their types stand in [`crate::template`].
#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "@timestamp")]
    timestamp: String,
    ci: String,
    cp: u16,
    t: String,
    ft: Vec<String>,
    b: &'a str,
    s: &'a str,
    #[serde(rename = "Tq")]
    tq: i64,
    #[serde(rename = "Tw")]
    tw: i64,
    #[serde(rename = "Tc")]
    tc: i64,
    #[serde(rename = "Tr")]
    tr: i64,
    #[serde(rename = "Tt")]
    tt: i64,
    #[serde(rename = "ST")]
    status: i32,
    #[serde(rename = "B")]
    bytes_to_client: u64,
    tsc: &'static str,
    rc: u8,
    r: String,
    gateway: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    via: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<&'a str>,
    epoch: u64,
    revision: u64,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<&'a str>,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cut: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    bytes_in: u64,
    head_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    duration_us: u64,
    process: &'a str,
    boot: &'a str,
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{Reason, RouteLabels};

    fn record() -> Record {
        Record {
            // 2026-11-21T23:59:59.000Z; it ends after midnight.
            started_unix_ns: 1_795_305_599_000_000_000,
            labels: Arc::new(RouteLabels {
                gateways: vec![("shop".into(), "aa".into(), true), ("shop/web/port".into(), "bb".into(), false)],
                via: vec![("shop/web/port".into(), "cc".into())],
                route: "shop/web/v1/port".into(),
                route_lookup: "dd".into(),
                decided_by: "condition",
            }),
            epoch: 1,
            revision: 42,
            reason: Reason::Completed,
            status: 200,
            upstream_status: 200,
            client: SocketAddr::from(([127, 0, 0, 1], 4711)),
            method: Text::bounded(b"GET", Text::METHOD_BYTES_MAX),
            host: Text::bounded(b"shop.example", Text::HOST_BYTES_MAX),
            path: Text::bounded(b"/a\"b\\c\n\xff", Text::PATH_BYTES_MAX),
            http_minor: 1,
            endpoint: Some("127.0.0.1:8081".into()),
            endpoint_lookup: Some("ee".into()),
            request_id: Text::bounded(b"r-1", Text::REQUEST_ID_BYTES_MAX),
            retries: 1,
            bytes_in: 10,
            bytes_out: 2_000,
            head_us: 400_000,
            connect_us: None,
            upstream_us: Some(1_499),
            duration_us: 700_500,
        }
    }

    fn written(record: &Record) -> (Value, Value) {
        let mut bulk = Vec::new();
        Documents::new("Team/A", "gw-1", "b7").write(record, 9, &mut bulk).unwrap();
        let lines: Vec<Value> = bulk
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        let [action, body]: [Value; 2] = lines.try_into().unwrap();
        (action, body)
    }

    #[test]
    fn the_day_of_the_index_is_the_day_on_which_the_request_ended_in_utc() {
        let (action, body) = written(&record());
        assert_eq!(action, json!({"create": {"_index": "vamp-vga-team_a-2026-11-22", "_id": "gw-1-b7-9"}}));
        assert_eq!(body["@timestamp"], "2026-11-22T00:00:00.100Z");
        assert_eq!(body["t"], "21/Nov/2026:23:59:59.000");
    }

    #[test]
    fn each_gateway_its_weights_and_each_route_can_be_counted_by_ft() {
        assert_eq!(written(&record()).1["ft"], json!(["aa", "o_aa", "bb", "cc", "dd"]));
    }

    #[test]
    fn old_field_names_have_the_old_meaning() {
        let (_, body) = written(&record());
        let old = |name: &str| body[name].clone();
        assert_eq!(
            json!([old("ci"), old("cp"), old("b"), old("s"), old("ST"), old("B"), old("tsc"), old("rc")]),
            json!(["127.0.0.1", 4711, "dd", "ee", 200, 2000, "----", 1])
        );
        assert_eq!(json!([old("Tq"), old("Tw"), old("Tc"), old("Tr"), old("Tt")]), json!([400, 0, 0, 1, 701]));
    }

    #[test]
    fn any_bytes_of_a_path_make_one_line_of_json() {
        let (_, body) = written(&record());
        assert_eq!(body["path"], "/a\"b\\c\\x0a\\xff");
        assert_eq!(body["r"], "GET /a\"b\\c\\x0a\\xff HTTP/1.1");
    }

    #[test]
    fn a_request_that_reached_nothing_says_so() {
        let mut record = record();
        record.labels = Arc::default();
        record.endpoint = None;
        record.endpoint_lookup = None;
        record.upstream_us = None;
        record.upstream_status = 0;
        record.status = 0;
        record.path = Text::bounded(&[b'a'; 5_000], Text::PATH_BYTES_MAX);
        let (_, body) = written(&record);
        assert_eq!(json!([body["s"], body["Tc"], body["Tr"], body["ST"]]), json!(["<NOSRV>", -1, -1, -1]));
        assert_eq!(json!([body["ft"], body["gateway"], body["cut"]]), json!([[], [], ["path"]]));
        assert_eq!(body["path"].as_str().unwrap().len(), Text::PATH_BYTES_MAX);
        assert!(body.get("route").is_none() && body.get("upstream_status").is_none());
    }
}
