//! The Elasticsearch document of one record: the field names that users of Vamp's old logs query (`ci`, `ft`, `ST`,
//! `Tt` …), and what the native gateway knows beyond them.
//!
//! No cookie, no header, no query string goes into a document: it is read by more people than may see secrets.

use std::sync::Arc;

use jiff::Timestamp;

use crate::json::{self, push_number, push_string, push_text};
use crate::{Record, RouteLabels, Texts};

/// Writes the documents of one gateway process.
///
/// A document's id is made of process, boot and sequence: the same record sent twice is stored once.
#[derive(Debug, Clone)]
pub struct Documents {
    /// The action line up to the day of the index.
    action: Vec<u8>,
    /// From there to the sequence.
    id: Vec<u8>,
    /// The end of a document.
    process: Vec<u8>,
}

/// Writes a number of documents after each other. It keeps what neighbours have in common: one is written for each
/// request, so that its cost is a part of what a request costs.
#[derive(Debug)]
pub struct Writer<'d> {
    documents: &'d Documents,
    started: Stamp,
    ended: Stamp,
    labels: Vec<(Arc<RouteLabels>, Vec<u8>)>,
}

impl Documents {
    /// For the gateway process `process`, started as `boot`, in `namespace`.
    pub fn new(namespace: &str, process: &str, boot: &str) -> Self {
        let quoted = |text: &str| {
            let mut quoted = Vec::new();
            push_string(&mut quoted, text);
            quoted
        };
        let mut id = b"\",\"_id\":".to_vec();
        id.extend_from_slice(&quoted(&format!("{process}-{boot}-")));
        // The sequence follows within the quotes.
        id.pop();
        let namespace = index_part(namespace);
        Self {
            action: format!("{{\"create\":{{\"_index\":\"vamp-vga-{namespace}-").into_bytes(),
            id,
            process: [b",\"process\":", &*quoted(process), b",\"boot\":", &quoted(boot), b"}\n"].concat(),
        }
    }

    /// Writes the next documents.
    pub fn writer(&self) -> Writer<'_> {
        Writer { documents: self, started: Stamp::default(), ended: Stamp::default(), labels: Vec::new() }
    }
}

impl Writer<'_> {
    /// LIMIT: decisions whose names are kept. Few lead to most records; looking through more costs more than it saves.
    const LABELS_MAX: usize = 32;

    /// Appends the two lines of a bulk `create` to `bulk`: action and document, each with its line end.
    pub fn write(&mut self, record: &Record, sequence: u64, bulk: &mut Vec<u8>) {
        self.ended.set(record.ended_unix_ns());
        self.started.set(record.started_unix_ns);
        bulk.extend_from_slice(&self.documents.action);
        bulk.extend_from_slice(&self.ended.day);
        bulk.extend_from_slice(&self.documents.id);
        push_number(bulk, sequence);
        bulk.extend_from_slice(b"\"}}\n");
        self.write_old_fields(record, bulk);
        bulk.extend_from_slice(self.names(&record.labels));
        write_new_fields(record, bulk);
        bulk.extend_from_slice(&self.documents.process);
    }

    /// The fields that users of Vamp's old logs query, but for those that the decision names.
    fn write_old_fields(&self, record: &Record, bulk: &mut Vec<u8>) {
        bulk.extend_from_slice(b"{\"@timestamp\":\"");
        bulk.extend_from_slice(&self.ended.second);
        push_milliseconds(bulk, self.ended.milliseconds);
        bulk.extend_from_slice(b"Z\",\"t\":\"");
        bulk.extend_from_slice(&self.started.log_second);
        push_milliseconds(bulk, self.started.milliseconds);
        bulk.extend_from_slice(b"\",\"ci\":\"");
        json::push_address(bulk, record.client.ip());
        bulk.extend_from_slice(b"\",\"cp\":");
        push_number(bulk, record.client.port());
        bulk.extend_from_slice(b",\"s\":");
        push_string(bulk, record.endpoint_lookup.as_deref().unwrap_or("<NOSRV>"));
        bulk.extend_from_slice(b",\"Tq\":");
        push_number(bulk, whole_ms(Some(record.head_us)));
        bulk.extend_from_slice(b",\"Tw\":0,\"Tc\":");
        push_number(bulk, connect_ms(record));
        bulk.extend_from_slice(b",\"Tr\":");
        push_number(bulk, whole_ms(record.upstream_us));
        bulk.extend_from_slice(b",\"Tt\":");
        push_number(bulk, whole_ms(Some(record.duration_us)));
        bulk.extend_from_slice(b",\"ST\":");
        push_number(bulk, if record.status == 0 { -1 } else { i32::from(record.status) });
        bulk.extend_from_slice(b",\"B\":");
        push_number(bulk, record.bytes_out);
        bulk.extend_from_slice(b",\"tsc\":\"");
        bulk.extend_from_slice(record.reason.termination_state().as_bytes());
        bulk.extend_from_slice(b"\",\"rc\":");
        push_number(bulk, record.retries);
        bulk.extend_from_slice(b",\"r\":\"");
        push_text(bulk, record.texts.method(), Texts::METHOD_BYTES_MAX);
        bulk.push(b' ');
        push_text(bulk, record.texts.path(), Texts::PATH_BYTES_MAX);
        bulk.extend_from_slice(b" HTTP/1.");
        push_number(bulk, record.http_minor);
        bulk.extend_from_slice(b"\",");
    }

    /// The fields that the decision names, with a comma behind them.
    fn names(&mut self, labels: &Arc<RouteLabels>) -> &[u8] {
        let known = self.labels.iter().position(|(known, _)| Arc::ptr_eq(known, labels));
        let at = known.unwrap_or_else(|| {
            if self.labels.len() == Self::LABELS_MAX {
                self.labels.clear();
            }
            self.labels.push((Arc::clone(labels), names(labels)));
            self.labels.len() - 1
        });
        self.labels.get(at).map(|(_, written)| &**written).unwrap_or_default()
    }
}

/// What the native gateway knows beyond the old fields.
fn write_new_fields(record: &Record, bulk: &mut Vec<u8>) {
    bulk.extend_from_slice(b"\"epoch\":");
    push_number(bulk, record.epoch);
    bulk.extend_from_slice(b",\"revision\":");
    push_number(bulk, record.revision);
    bulk.extend_from_slice(b",\"reason\":\"");
    bulk.extend_from_slice(record.reason.as_str().as_bytes());
    bulk.push(b'"');
    if record.upstream_status != 0 {
        bulk.extend_from_slice(b",\"upstream_status\":");
        push_number(bulk, record.upstream_status);
    }
    if let Some(endpoint) = &record.endpoint {
        bulk.extend_from_slice(b",\"endpoint\":");
        push_string(bulk, endpoint);
    }
    write_texts(record, bulk);
    bulk.extend_from_slice(b",\"bytes_in\":");
    push_number(bulk, record.bytes_in);
    bulk.extend_from_slice(b",\"head_us\":");
    push_number(bulk, record.head_us);
    if let Some(connect_us) = record.connect_us {
        bulk.extend_from_slice(b",\"connect_us\":");
        push_number(bulk, connect_us);
    }
    if let Some(upstream_us) = record.upstream_us {
        bulk.extend_from_slice(b",\"upstream_us\":");
        push_number(bulk, upstream_us);
    }
    bulk.extend_from_slice(b",\"duration_us\":");
    push_number(bulk, record.duration_us);
}

fn write_texts(record: &Record, bulk: &mut Vec<u8>) {
    let mut cut = Vec::new();
    for (name, text, limit_bytes, had_more) in record.texts.named() {
        if name == "request_id" && text.is_empty() {
            continue;
        }
        bulk.extend_from_slice(b",\"");
        bulk.extend_from_slice(name.as_bytes());
        bulk.extend_from_slice(b"\":\"");
        if push_text(bulk, text, limit_bytes) || had_more {
            cut.push(name);
        }
        bulk.push(b'"');
    }
    if !cut.is_empty() {
        bulk.extend_from_slice(b",\"cut\":");
        push_list(bulk, cut.into_iter());
    }
}

/// The fields that a decision names.
fn names(labels: &RouteLabels) -> Vec<u8> {
    let mut written = b"\"ft\":".to_vec();
    push_list(&mut written, frontends(labels).iter().map(|name| &**name));
    written.extend_from_slice(b",\"b\":");
    push_string(&mut written, &labels.route_lookup);
    written.extend_from_slice(b",\"gateway\":");
    push_list(&mut written, labels.gateways.iter().map(|(name, _, _)| &**name));
    let via = labels.via.iter().map(|(name, _)| &**name);
    if via.len() > 0 {
        written.extend_from_slice(b",\"via\":");
        push_list(&mut written, via);
    }
    for (name, value) in [("route", &*labels.route), ("decided_by", labels.decided_by)] {
        if !value.is_empty() {
            written.extend_from_slice(format!(",\"{name}\":").as_bytes());
            push_string(&mut written, value);
        }
    }
    written.push(b',');
    written
}

fn push_list<'v>(out: &mut Vec<u8>, values: impl Iterator<Item = &'v str>) {
    let mut lead = b'[';
    for value in values {
        out.push(lead);
        push_string(out, value);
        lead = b',';
    }
    if lead == b'[' {
        out.push(b'[');
    }
    out.push(b']');
}

/// A moment in the forms that documents want; those up to the second are made once a second.
#[derive(Debug, Default)]
struct Stamp {
    unix_seconds: Option<u64>,
    milliseconds: u64,
    /// `2026-11-22`.
    day: Vec<u8>,
    /// `2026-11-22T23:59:59`.
    second: Vec<u8>,
    /// `22/Nov/2026:23:59:59`.
    log_second: Vec<u8>,
}

impl Stamp {
    fn set(&mut self, unix_ns: u64) {
        let unix_seconds = unix_ns / 1_000_000_000;
        self.milliseconds = unix_ns / 1_000_000 % 1_000;
        if self.unix_seconds == Some(unix_seconds) {
            return;
        }
        // Every `u64` of nanoseconds (up to the year 2554) is a timestamp.
        let moment = Timestamp::from_nanosecond(i128::from(unix_ns)).unwrap_or(Timestamp::UNIX_EPOCH);
        let form = |form| moment.strftime(form).to_string().into_bytes();
        self.unix_seconds = Some(unix_seconds);
        self.day = form("%Y-%m-%d");
        self.second = form("%Y-%m-%dT%H:%M:%S");
        self.log_second = form("%d/%b/%Y:%H:%M:%S");
    }
}

/// The fraction of a second.
fn push_milliseconds(out: &mut Vec<u8>, milliseconds: u64) {
    let digit = |power| b'0' + u8::try_from(milliseconds / power % 10).unwrap_or_default();
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
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

/// HAProxy wrote a line for each of its frontends that a request passed; here the one document names all of them, so
/// that a count by `ft` is right for a gateway, for its weights (`o_…`) and for a route.
fn frontends(labels: &RouteLabels) -> Vec<String> {
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
            texts: Texts::new(b"GET", b"shop.example", b"/a\"b\\c\n\xff", b"r-1"),
            http_minor: 1,
            endpoint: Some("127.0.0.1:8081".into()),
            endpoint_lookup: Some("ee".into()),
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
        Documents::new("Team/A", "gw-1", "b7").writer().write(record, 9, &mut bulk);
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
    fn documents_after_each_other_do_not_mix_what_they_have_in_common() {
        let (documents, mut bulk) = (Documents::new("a", "p", "b"), Vec::new());
        let mut writer = documents.writer();
        let mut records = Vec::new();
        for number in 0..100_u64 {
            let mut record = record();
            let route = format!("route {}", number % 40);
            record.labels = Arc::new(RouteLabels { route, ..RouteLabels::default() });
            record.started_unix_ns += number * 431_000_000;
            records.push(record);
        }
        // Each twice, so that what is kept is used.
        let order: Vec<_> = records.iter().flat_map(|record| [record, record]).collect();
        for record in &order {
            writer.write(record, 9, &mut bulk);
        }
        let mut apart = Vec::new();
        for record in order {
            documents.writer().write(record, 9, &mut apart);
        }
        assert_eq!(bulk, apart);
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
        record.texts = Texts::new(b"GET", b"", &[b'a'; 5_000], b"");
        let (_, body) = written(&record);
        assert_eq!(json!([body["s"], body["Tc"], body["Tr"], body["ST"]]), json!(["<NOSRV>", -1, -1, -1]));
        assert_eq!(json!([body["ft"], body["gateway"], body["cut"]]), json!([[], [], ["path"]]));
        assert_eq!(body["path"].as_str().unwrap().len(), Texts::PATH_BYTES_MAX);
        assert!(body.get("route").is_none() && body.get("upstream_status").is_none());
    }
}
