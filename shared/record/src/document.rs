//! The Elasticsearch document of one record: the field names that users of Vamp's old logs query (`ci`, `ft`, `ST`,
//! `Tt` …), and what the native gateway knows beyond them. As ever, connections have fewer of them than requests.
//!
//! No cookie, no header, no query string goes into a document: it is read by more people than may see secrets.

use std::sync::Arc;

use jiff::Timestamp;

use crate::json::JsonWriter;
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
    ways: Vec<Way>,
    json: JsonWriter,
}

/// What records have in common that went the same way by the same table: most neighbours did.
#[derive(Debug)]
struct Way {
    labels: Arc<RouteLabels>,
    endpoint: Option<Arc<str>>,
    lookup: Option<Arc<str>>,
    epoch: u64,
    revision: u64,
    /// The fields that say so, with a comma behind them.
    fields: Vec<u8>,
}

impl Way {
    fn of(record: &Record) -> Self {
        let Record { labels, endpoint, endpoint_lookup: lookup, epoch, revision, .. } = record;
        let (labels, endpoint, lookup) = (Arc::clone(labels), endpoint.clone(), lookup.clone());
        Self {
            labels,
            endpoint,
            lookup,
            epoch: *epoch,
            revision: *revision,
            fields: written(|json, out| write_way(record, json, out)),
        }
    }

    fn is_of(&self, record: &Record) -> bool {
        let same = |one: &Option<Arc<str>>, other: &Option<Arc<str>>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        Arc::ptr_eq(&self.labels, &record.labels)
            && same(&self.endpoint, &record.endpoint)
            && same(&self.lookup, &record.endpoint_lookup)
            && (self.epoch, self.revision) == (record.epoch, record.revision)
    }
}

impl Documents {
    /// For the gateway process `process`, started as `boot`, in `namespace`.
    pub fn new(namespace: &str, process: &str, boot: &str) -> Self {
        let quoted = |text: &str| written(|json, out| json.string(text, out));
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
        Writer {
            documents: self,
            started: Stamp::default(),
            ended: Stamp::default(),
            ways: Vec::new(),
            json: JsonWriter::new(),
        }
    }
}

impl Writer<'_> {
    /// LIMIT: ways that are kept. Few lead to most records; looking through more costs more than it saves.
    const WAYS_MAX: usize = 32;

    /// Appends the two lines of a bulk `create` to `bulk`: action and document, each with its line end.
    pub fn write(&mut self, record: &Record, sequence: u64, bulk: &mut Vec<u8>) {
        self.ended.set(record.ended_unix_ns());
        self.started.set(record.started_unix_ns);
        let json = &mut self.json;
        json.raw(&self.documents.action, bulk);
        json.raw(&self.ended.day, bulk);
        json.raw(&self.documents.id, bulk);
        json.number(sequence, bulk);
        json.literal(b"\"}}\n", bulk);
        self.write_old_fields(record, bulk);
        self.write_way(record, bulk);
        let json = &mut self.json;
        write_new_fields(record, json, bulk);
        json.raw(&self.documents.process, bulk);
        json.flush(bulk);
    }

    /// The fields that users of Vamp's old logs query, but for those that the decision names.
    fn write_old_fields(&mut self, record: &Record, bulk: &mut Vec<u8>) {
        let Self { json, started, ended, .. } = self;
        json.literal(b"{\"@timestamp\":\"", bulk);
        json.raw(&ended.second, bulk);
        write_milliseconds(ended.milliseconds, json, bulk);
        json.literal(b"Z\",\"t\":\"", bulk);
        json.raw(&started.log_second, bulk);
        write_milliseconds(started.milliseconds, json, bulk);
        json.literal(b"\",\"ci\":\"", bulk);
        json.address(record.client.ip(), bulk);
        json.literal(b"\",\"cp\":", bulk);
        json.number(record.client.port().into(), bulk);
        if !record.is_tcp {
            json.literal(b",\"Tq\":", bulk);
            json.number(whole_ms(record.head_us), bulk);
        }
        json.literal(b",\"Tw\":0,\"Tc\":", bulk);
        json.number_or_none(connect_ms(record), bulk);
        if !record.is_tcp {
            json.literal(b",\"Tr\":", bulk);
            json.number_or_none(record.upstream_us.map(whole_ms), bulk);
        }
        json.literal(b",\"Tt\":", bulk);
        json.number(whole_ms(record.duration_us), bulk);
        if !record.is_tcp {
            json.literal(b",\"ST\":", bulk);
            json.number_or_none((record.status != 0).then_some(record.status.into()), bulk);
        }
        json.literal(b",\"B\":", bulk);
        json.number(record.bytes_out, bulk);
        let state = record.reason.termination_state();
        if record.is_tcp {
            json.literal(b",\"ts\":\"", bulk);
            json.raw(state.get(..2).unwrap_or(state).as_bytes(), bulk);
        } else {
            json.literal(b",\"tsc\":\"", bulk);
            json.raw(state.as_bytes(), bulk);
        }
        json.literal(b"\",\"rc\":", bulk);
        json.number(record.retries.into(), bulk);
        if record.is_tcp {
            return json.literal(b",", bulk);
        }
        json.literal(b",\"r\":\"", bulk);
        json.text(record.texts.method(), Texts::METHOD_BYTES_MAX, bulk);
        json.literal(b" ", bulk);
        json.text(record.texts.path(), Texts::PATH_BYTES_MAX, bulk);
        json.literal(b" HTTP/1.", bulk);
        json.number(record.http_minor.into(), bulk);
        json.literal(b"\",", bulk);
    }

    /// The fields that say which way the request went.
    fn write_way(&mut self, record: &Record, bulk: &mut Vec<u8>) {
        let known = self.ways.iter().position(|way| way.is_of(record));
        let at = known.unwrap_or_else(|| {
            if self.ways.len() == Self::WAYS_MAX {
                self.ways.clear();
            }
            self.ways.push(Way::of(record));
            self.ways.len() - 1
        });
        if let Some(way) = self.ways.get(at) {
            self.json.raw(&way.fields, bulk);
        }
    }
}

/// What the native gateway knows beyond the old fields.
fn write_new_fields(record: &Record, json: &mut JsonWriter, bulk: &mut Vec<u8>) {
    json.literal(b"\"reason\":\"", bulk);
    json.raw(record.reason.as_str().as_bytes(), bulk);
    json.literal(b"\"", bulk);
    if record.upstream_status != 0 {
        json.literal(b",\"upstream_status\":", bulk);
        json.number(record.upstream_status.into(), bulk);
    }
    if record.is_tcp {
        json.literal(b",\"protocol\":\"tcp\"", bulk);
    } else {
        write_texts(record, json, bulk);
    }
    json.literal(b",\"bytes_in\":", bulk);
    json.number(record.bytes_in, bulk);
    if !record.is_tcp {
        json.literal(b",\"head_us\":", bulk);
        json.number(record.head_us, bulk);
    }
    if let Some(connect_us) = record.connect_us {
        json.literal(b",\"connect_us\":", bulk);
        json.number(connect_us, bulk);
    }
    if let Some(upstream_us) = record.upstream_us {
        json.literal(b",\"upstream_us\":", bulk);
        json.number(upstream_us, bulk);
    }
    json.literal(b",\"duration_us\":", bulk);
    json.number(record.duration_us, bulk);
}

fn write_texts(record: &Record, json: &mut JsonWriter, bulk: &mut Vec<u8>) {
    let mut cut = Vec::new();
    for (name, text, limit_bytes, had_more) in record.texts.named() {
        if name == "request_id" && text.is_empty() {
            continue;
        }
        json.literal(b",\"", bulk);
        json.raw(name.as_bytes(), bulk);
        json.literal(b"\":\"", bulk);
        if json.text(text, limit_bytes, bulk) || had_more {
            cut.push(name);
        }
        json.literal(b"\"", bulk);
    }
    if !cut.is_empty() {
        json.literal(b",\"cut\":", bulk);
        json.list(cut.into_iter(), bulk);
    }
}

/// What `write` writes, by itself.
fn written(write: impl FnOnce(&mut JsonWriter, &mut Vec<u8>)) -> Vec<u8> {
    let (mut json, mut out) = (JsonWriter::new(), Vec::new());
    write(&mut json, &mut out);
    json.flush(&mut out);
    out
}

/// The fields that say which way a request went, with a comma behind them.
fn write_way(record: &Record, json: &mut JsonWriter, out: &mut Vec<u8>) {
    let labels = &*record.labels;
    json.literal(b"\"ft\":", out);
    json.list(frontends(labels).iter().map(|name| &**name), out);
    json.literal(b",\"b\":", out);
    json.string(&labels.route_lookup, out);
    json.literal(b",\"s\":", out);
    json.string(record.endpoint_lookup.as_deref().unwrap_or("<NOSRV>"), out);
    json.literal(b",\"gateway\":", out);
    json.list(labels.gateways.iter().map(|(name, _, _)| &**name), out);
    if !labels.via.is_empty() {
        json.literal(b",\"via\":", out);
        json.list(labels.via.iter().map(|(name, _)| &**name), out);
    }
    let endpoint = record.endpoint.as_deref().unwrap_or_default();
    for (name, value) in [("route", &*labels.route), ("decided_by", labels.decided_by), ("endpoint", endpoint)] {
        if !value.is_empty() {
            json.raw(format!(",\"{name}\":").as_bytes(), out);
            json.string(value, out);
        }
    }
    json.literal(b",\"epoch\":", out);
    json.number(record.epoch, out);
    json.literal(b",\"revision\":", out);
    json.number(record.revision, out);
    json.literal(b",", out);
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
fn write_milliseconds(milliseconds: u64, json: &mut JsonWriter, bulk: &mut Vec<u8>) {
    let digit = |power| b'0' + u8::try_from(milliseconds / power % 10).unwrap_or_default();
    json.literal(&[b'.', digit(100), digit(10), digit(1)], bulk);
}

/// A namespace as part of an index name: Elasticsearch takes lower case and few signs only.
pub fn index_part(namespace: &str) -> String {
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

/// Milliseconds as HAProxy wrote them.
fn whole_ms(us: u64) -> u64 {
    us.saturating_add(500) / 1_000
}

fn connect_ms(record: &Record) -> Option<u64> {
    // A pooled connection takes no time to connect.
    record.connect_us.map(whole_ms).or_else(|| record.endpoint.is_some().then_some(0))
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
            is_tcp: false,
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
            record.revision = number % 3;
            record.endpoint = (number % 5 > 0).then(|| format!("127.0.0.1:{number}").into());
            record.started_unix_ns += number * 431_000_000;
            records.push(record);
        }
        // Each twice and all again, so that what is kept is used, and forgotten.
        let twice = || records.iter().flat_map(|record| [record, record]);
        let order: Vec<_> = twice().chain(twice().take(20)).collect();
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
    fn a_connection_has_the_fields_of_the_old_log_and_none_of_a_request() {
        let mut record = record();
        record.is_tcp = true;
        (record.status, record.upstream_status, record.head_us, record.upstream_us) = (0, 0, 0, None);
        record.texts = Texts::default();
        record.connect_us = Some(1_600);
        record.reason = Reason::UpstreamCut;
        let (_, body) = written(&record);
        let wanted = json!({
            "@timestamp": "2026-11-21T23:59:59.700Z", "t": "21/Nov/2026:23:59:59.000", "ci": "127.0.0.1", "cp": 4711,
            "Tw": 0, "Tc": 2, "Tt": 701, "B": 2_000, "ts": "SD", "rc": 1, "ft": ["aa", "o_aa", "bb", "cc", "dd"],
            "b": "dd", "s": "ee", "gateway": ["shop", "shop/web/port"], "via": ["shop/web/port"],
            "route": "shop/web/v1/port", "decided_by": "condition", "endpoint": "127.0.0.1:8081", "epoch": 1,
            "revision": 42, "reason": "upstream_cut", "protocol": "tcp", "bytes_in": 10, "connect_us": 1_600,
            "duration_us": 700_500, "process": "gw-1", "boot": "b7",
        });
        assert_eq!(body, wanted);
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
