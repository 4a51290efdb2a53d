//! Documents, template and client against real servers: Elasticsearch and OpenSearch as `tests/run` starts them, named
//! in `VAMP_TEST_ELASTICSEARCH` (`es8=http://127.0.0.1:9200,os2=http://…`). Each test runs against each server.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use serde_json::{Value, json};
use vamp_record::client::{ElasticError, ItemOutcome};
use vamp_record::document::Documents;
use vamp_record::template::Template;
use vamp_record::{ElasticClient, Reason, Record, RouteLabels, Texts};

const GATEWAY: &str = "93a45182d84bf6fc0c3c23c33a9501c7d74be2bb";
const STABLE: &str = "62a11db802baf59987a3ece9e10d8754eca16a09";
const CANARY: &str = "4fc954e54146595f408e4e775911e86bbb376066";

fn servers() -> Vec<(String, ElasticClient)> {
    let named = std::env::var("VAMP_TEST_ELASTICSEARCH").unwrap_or_default();
    assert!(!named.is_empty(), "VAMP_TEST_ELASTICSEARCH names no server: run tests/run, which starts them and sets it");
    let server = |pair: &str| {
        let (name, url) = pair.split_once('=').unwrap_or_else(|| panic!("`{pair}` is not name=URL"));
        (name.to_owned(), ElasticClient::new(&url.parse().unwrap()).unwrap())
    };
    named.split(',').map(server).collect()
}

/// A namespace of its own for each test and run: servers outlive tests.
fn fresh_namespace() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}-{}", now_unix_ns(), std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn now_unix_ns() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

fn record(route_lookup: &str, status: u16, duration_ms: u64) -> Record {
    Record {
        // It ended now, so that it is inside of every window up to now.
        is_tcp: false,
        started_unix_ns: now_unix_ns() - duration_ms * 1_000_000,
        labels: Arc::new(RouteLabels {
            gateways: vec![("vamp/sava/port/_".into(), GATEWAY.into(), route_lookup == STABLE)],
            via: Vec::new(),
            route: format!("route {route_lookup}"),
            route_lookup: route_lookup.into(),
            decided_by: if route_lookup == STABLE { "weight" } else { "condition" },
        }),
        epoch: 1,
        revision: 7,
        reason: if status == 503 { Reason::NoEndpoint } else { Reason::Completed },
        status,
        upstream_status: status,
        client: SocketAddr::from(([10, 0, 0, 1], 4711)),
        texts: Texts::new(b"GET", b"shop.example", b"/cart", b"id"),
        http_minor: 1,
        endpoint: Some("127.0.0.1:8081".into()),
        endpoint_lookup: Some("f52646a39457170e02fb276840a696267e0815eb".into()),
        retries: 0,
        bytes_in: 0,
        bytes_out: 1_234,
        head_us: 0,
        connect_us: None,
        upstream_us: Some(duration_ms * 1_000),
        duration_us: duration_ms * 1_000,
    }
}

async fn store(client: &ElasticClient, namespace: &str, records: &[Record]) -> Vec<ItemOutcome> {
    let documents = Documents::new(namespace, "gw-1", "boot-1");
    let mut body = Vec::new();
    for (sequence, record) in records.iter().enumerate() {
        documents.writer().write(record, u64::try_from(sequence).unwrap(), &mut body);
    }
    let outcomes = client.bulk(body, records.len()).await.unwrap();
    client.refresh(&index(namespace)).await.unwrap();
    outcomes
}

fn index(namespace: &str) -> String {
    format!("vamp-vga-{namespace}-*")
}

/// The search body of `elasticsearch_metrics.js`, Vamp's client: a filter on term, range and the last seconds.
fn old_query(frontend: &str, range: Option<Value>, aggregation: &Value) -> Value {
    let mut filter = vec![json!({"term": {"ft": frontend}}), json!({"range": {"@timestamp": {"gt": "now-500s"}}})];
    filter.extend(range.map(|range| json!({ "range": range })));
    json!({"query": {"bool": {"filter": {"bool": {"must": filter}}}}, "aggregations": {"agg": aggregation}, "size": 0})
}

#[tokio::test]
async fn old_queries_count_each_gateway_its_weights_and_each_route() {
    for (name, client) in servers() {
        client.put_template(Template::Records).await.unwrap();
        let namespace = fresh_namespace();
        let mut records: Vec<Record> = (0..90).map(|_| record(STABLE, 200, 10)).collect();
        records.extend((0..7).map(|_| record(CANARY, 200, 30)));
        records.extend((0..3).map(|_| record(CANARY, 503, 50)));
        assert!(
            store(&client, &namespace, &records).await.iter().all(|outcome| *outcome == ItemOutcome::Stored),
            "{name}"
        );

        let count = async |frontend: &str, range| {
            client
                .search(&index(&namespace), old_query(frontend, range, &json!({"avg": {"field": "Tt"}})))
                .await
                .unwrap()
        };
        let errors = Some(json!({"ST": {"gte": 500}}));
        let totals = [
            count(GATEWAY, None).await.total,
            count(&format!("o_{GATEWAY}"), None).await.total,
            count(STABLE, None).await.total,
            count(CANARY, None).await.total,
            count(GATEWAY, errors.clone()).await.total,
            count(STABLE, errors.clone()).await.total,
            count(CANARY, errors).await.total,
        ];
        assert_eq!(totals, [100, 90, 90, 10, 3, 0, 3], "{name}");
        assert_eq!(count(GATEWAY, None).await.aggregations["agg"]["value"], json!(12.6), "{name}");
        assert_eq!(count("unknown", None).await.aggregations["agg"]["value"], Value::Null, "{name}");
    }
}

#[tokio::test]
async fn old_queries_get_statistics_and_percentiles_of_times() {
    for (name, client) in servers() {
        client.put_template(Template::Records).await.unwrap();
        let namespace = fresh_namespace();
        let records: Vec<Record> = (1..=101).map(|ms| record(STABLE, 200, ms)).collect();
        store(&client, &namespace, &records).await;
        let aggregate = async |aggregation: Value| {
            let found = client.search(&index(&namespace), old_query(GATEWAY, None, &aggregation)).await.unwrap();
            found.aggregations["agg"].clone()
        };
        let stats = aggregate(json!({"extended_stats": {"field": "Tt"}})).await;
        assert_eq!(
            json!([stats["count"], stats["min"], stats["max"], stats["avg"]]),
            json!([101, 1.0, 101.0, 51.0]),
            "{name}"
        );
        let deviation = stats["std_deviation"].as_f64().unwrap();
        assert!((deviation - 850_f64.sqrt()).abs() < 1e-6, "{name}: {deviation}");
        let percentiles = aggregate(json!({"percentiles": {"field": "Tt", "percents": [50, 99]}})).await;
        let value = |percent: &str| percentiles["values"][percent].as_f64().unwrap();
        assert!((value("50.0") - 51.0).abs() < 1.0 && (value("99.0") - 100.0).abs() < 1.5, "{name}: {percentiles}");
    }
}

/// A saved search, a count over time and a table, as dashboards ask for them.
#[tokio::test]
async fn dashboards_find_records_by_words_over_time_and_by_name() {
    for (name, client) in servers() {
        client.put_template(Template::Records).await.unwrap();
        let namespace = fresh_namespace();
        let mut records: Vec<Record> = (0..40).map(|_| record(STABLE, 200, 10)).collect();
        records.extend((0..10).map(|_| record(CANARY, 503, 50)));
        store(&client, &namespace, &records).await;
        let ask = async |words: String, aggregations: Value| {
            let query = json!({"bool": {
                "must": {"query_string": {"query": words}},
                "filter": {"range": {"@timestamp": {"gte": "now-1h", "lte": "now+1h"}}},
            }});
            let asked = json!({"query": query, "aggs": aggregations, "size": 1, "sort": [{"@timestamp": "desc"}]});
            client.search(&index(&namespace), asked).await.unwrap()
        };

        let over_time = json!({"time": {
            "date_histogram": {"field": "@timestamp", "fixed_interval": "30m"},
            "aggs": {"took": {"avg": {"field": "Tt"}}},
        }});
        let found = ask(format!("ft: \"{GATEWAY}\""), over_time).await;
        assert_eq!((found.total, &found.documents[0]["gateway"]), (50, &json!(["vamp/sava/port/_"])), "{name}");
        let buckets = found.aggregations["time"]["buckets"].as_array().unwrap();
        let counted: u64 = buckets.iter().map(|bucket| bucket["doc_count"].as_u64().unwrap()).sum();
        assert_eq!(counted, 50, "{name}: {buckets:?}");

        let by_name = json!({"routes": {"terms": {"field": "route"}}, "reasons": {"terms": {"field": "reason"}}});
        let found = ask(format!("ft:{GATEWAY} AND NOT ST:[500 TO *]"), by_name.clone()).await;
        assert_eq!(found.total, 40, "{name}");
        let found = ask("gateway: \"vamp/sava/port/_\" AND revision:7".to_owned(), by_name).await;
        let keys = |aggregation: &str| {
            let buckets = found.aggregations[aggregation]["buckets"].as_array().unwrap().iter();
            buckets.map(|bucket| json!([bucket["key"], bucket["doc_count"]])).collect::<Value>()
        };
        let (stable, canary) = (format!("route {STABLE}"), format!("route {CANARY}"));
        assert_eq!(keys("routes"), json!([[stable, 40], [canary, 10]]), "{name}");
        assert_eq!(keys("reasons"), json!([["completed", 40], ["no_endpoint", 10]]), "{name}");
    }
}

#[tokio::test]
async fn a_bulk_that_is_sent_twice_is_stored_once() {
    for (name, client) in servers() {
        client.put_template(Template::Records).await.unwrap();
        let namespace = fresh_namespace();
        let records: Vec<Record> = (0..50).map(|_| record(STABLE, 200, 1)).collect();
        store(&client, &namespace, &records[..30]).await;
        let again = store(&client, &namespace, &records).await;
        assert!(again.iter().all(|outcome| *outcome == ItemOutcome::Stored), "{name}: {again:?}");
        assert_eq!(client.search(&index(&namespace), json!({"size": 0})).await.unwrap().total, 50, "{name}");
    }
}

#[tokio::test]
async fn all_hits_are_counted_above_ten_thousand() {
    for (name, client) in servers() {
        client.put_template(Template::Records).await.unwrap();
        let namespace = fresh_namespace();
        let one = record(STABLE, 200, 1);
        let documents = Documents::new(&namespace, "gw-1", "boot-1");
        for batch in 0..11_u64 {
            let mut body = Vec::new();
            (0..1_000).for_each(|number| documents.writer().write(&one, batch * 1_000 + number, &mut body));
            client.bulk(body, 1_000).await.unwrap();
        }
        client.refresh(&index(&namespace)).await.unwrap();
        assert_eq!(client.search(&index(&namespace), json!({"size": 0})).await.unwrap().total, 11_000, "{name}");
    }
}

#[tokio::test]
async fn odd_documents_neither_stop_a_bulk_nor_add_fields() {
    for (name, client) in servers() {
        client.put_template(Template::Records).await.unwrap();
        let namespace = fresh_namespace();
        let index_name = format!("vamp-vga-{namespace}-2026-11-22");
        let odd: serde_json::Map<String, Value> =
            (0..5_000).map(|number| (format!("x-{number}"), json!("v"))).collect();
        let mut body = Vec::new();
        for (id, document) in [("1", json!(odd)), ("2", json!({"ST": "no number"})), ("3", json!({"ft": ["a", "b"]}))] {
            for line in [json!({"create": {"_index": index_name, "_id": id}}), document] {
                body.extend_from_slice(line.to_string().as_bytes());
                body.push(b'\n');
            }
        }
        let outcomes = client.bulk(body, 3).await.unwrap();
        assert!(
            matches!(&*outcomes, [ItemOutcome::Stored, ItemOutcome::Rejected(_), ItemOutcome::Stored]),
            "{name}: {outcomes:?}"
        );
        client.refresh(&index_name).await.unwrap();
        let found = |query| client.search(&index_name, json!({"query": query}));
        assert_eq!(found(json!({"term": {"ft": "b"}})).await.unwrap().total, 1, "{name}");
        assert_eq!(found(json!({"exists": {"field": "x-1"}})).await.unwrap().total, 0, "{name}");
    }
}

#[tokio::test]
async fn searching_where_nothing_was_written_finds_nothing() {
    for (name, client) in servers() {
        let found = client.search(&index(&fresh_namespace()), json!({"size": 10})).await.unwrap();
        assert_eq!((found.total, found.documents.len()), (0, 0), "{name}");
    }
}

#[tokio::test]
async fn the_template_can_be_written_again_and_nonsense_is_refused_with_the_servers_words() {
    for (name, client) in servers() {
        client.put_template(Template::Records).await.unwrap();
        client.put_template(Template::Records).await.unwrap();
        let error =
            client.search(Template::Records.index_pattern(), json!({"query": {"nonsense": {}}})).await.unwrap_err();
        assert!(matches!(&error, ElasticError::Refused { status: 400, .. }), "{name}: {error:?}");
        assert!(error.to_string().contains("nonsense"), "{name}: {error}");
    }
}
