//! Every Prometheus metric: name, kind, labels and what it says. Code names metrics by this enum only, so that a name
//! has one spelling and the reference lists all of them.
//!
//! Label values come from the configuration and from fixed lists, never from a request: no client makes a series.

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows; it starts again at 0 with the process.
    Counter,
    /// It goes up and down.
    Gauge,
    /// Counts by upper bound, with a sum.
    Histogram,
}

impl Kind {
    /// The word of the exposition format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Upper bounds of the duration histograms, in seconds. From half a millisecond (a local service) to a minute (the
/// default time-out), about two for each factor of five.
pub const DURATION_BOUNDS_SECONDS: [f64; 13] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 10.0, 60.0];

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $variant:ident = $kind:ident $name:literal [$($label:literal),*];)+) => {
        /// A metric of the product.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Metric { $($(#[doc = $help])+ $variant,)+ }

        impl Metric {
            /// All of them, in the order of the reference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name that is scraped.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How it behaves.
            pub fn kind(self) -> Kind {
                match self { $(Self::$variant => Kind::$kind,)+ }
            }

            /// Names of its labels.
            pub fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($label),*],)+ }
            }

            /// What it says, for `# HELP` and the reference.
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => concat!($($help),+).trim_ascii(),)+ }
            }
        }
    };
}

metrics! {
    /// Requests with an answer, by gateway and route names and class of the status (`none` when nothing was sent); each
    /// connection of a TCP gateway, when it ends, as `none`.
    Requests = Counter "vamp_gateway_requests_total" ["gateway", "route", "code"];
    /// How requests, and connections of TCP gateways, ended, by the reason of their record.
    Ended = Counter "vamp_gateway_requests_ended_total" ["gateway", "reason"];
    /// Time from a request's whole head to the last byte of its answer; of a TCP gateway, how long connections lasted.
    Duration = Histogram "vamp_gateway_request_duration_seconds" ["gateway", "route"];
    /// Time from a request's start at the upstream to the head of its answer.
    UpstreamDuration = Histogram "vamp_gateway_upstream_duration_seconds" ["gateway", "route"];
    /// Tries after the first at an upstream.
    Retries = Counter "vamp_gateway_retries_total" ["gateway", "route"];
    /// Body bytes from clients; of a connection of a TCP gateway, all bytes, when it ends.
    BytesIn = Counter "vamp_gateway_received_bytes_total" ["gateway", "route"];
    /// Bytes sent to clients, heads and bodies; of a connection of a TCP gateway, when it ends.
    BytesOut = Counter "vamp_gateway_sent_bytes_total" ["gateway", "route"];
    /// Requests by lookup name of gateway and route, as the exporter for HAProxy named them.
    FrontendRequests = Counter "haproxy_frontend_http_requests_total" ["frontend"];
    /// Answers by lookup name of gateway and route and class of the status, as the exporter for HAProxy named them.
    FrontendResponses = Counter "haproxy_frontend_http_responses_total" ["frontend", "code"];
    /// Records of answered requests: each is shipped, dropped or still queued.
    RecordsAnswered = Counter "vamp_gateway_records_answered_total" [];
    /// Records stored as documents in Elasticsearch.
    RecordsShipped = Counter "vamp_gateway_records_shipped_total" [];
    /// Records dropped, by reason: `queue_full`, `refused` by the server, `given_up` because the server took only others,
    /// `shutdown`, `not_configured`.
    RecordsDropped = Counter "vamp_gateway_records_dropped_total" ["reason"];
    /// Records that wait to be shipped.
    RecordsQueued = Gauge "vamp_gateway_records_queued" [];
    /// Bulk requests to Elasticsearch, by outcome: `stored`, `partly`, `refused`, `lost`.
    ShipRequests = Counter "vamp_gateway_ship_requests_total" ["outcome"];
    /// Whether the newest bulk request to Elasticsearch was taken: 1, else 0.
    ShipUp = Gauge "vamp_gateway_ship_up" [];
    /// Epoch of the routing table that is served.
    TableEpoch = Gauge "vamp_gateway_table_epoch" [];
    /// Revision of the routing table that is served.
    TableRevision = Gauge "vamp_gateway_table_revision" [];
    /// Gateways in the routing table that is served.
    TableGateways = Gauge "vamp_gateway_table_gateways" [];
    /// What does not work although the table is served: ports that can't be bound, a last good file not written.
    Problems = Gauge "vamp_gateway_problems" [];
    /// State of the synchronisation with the store: 1 for the present one of `starting`, `empty`, `current`, `updating`,
    /// `refused`, `ahead`, `disconnected`.
    SyncState = Gauge "vamp_gateway_sync_state" ["state"];
    /// Seconds since the store last confirmed that the table is the newest; infinite if it never did.
    SyncStaleness = Gauge "vamp_gateway_sync_staleness_seconds" [];
    /// Tables since the start, by what became of them: `applied`, `refused`, `outdated`, and on disk `kept`, `not_kept`.
    SyncTables = Counter "vamp_gateway_sync_tables_total" ["outcome"];
    /// Listening addresses by state: `bound`, `failing`.
    Listeners = Gauge "vamp_gateway_listeners" ["state"];
    /// Open connections by side: `client`, `upstream`.
    Connections = Gauge "vamp_gateway_connections" ["side"];
    /// Connections since the start by side: `client`, `upstream`.
    ConnectionsOpened = Counter "vamp_gateway_connections_opened_total" ["side"];
    /// How often accepting connections paused because no file descriptor was left.
    AcceptPauses = Counter "vamp_gateway_accept_pauses_total" [];
    /// Clients turned away, with 503 or (by a TCP gateway) without a word, by reason: `connections` (all in use), `memory` (nearly used up), `descriptors` (none
    /// left), `client` (too many of one address).
    ConnectionsRefused = Counter "vamp_gateway_connections_refused_total" ["reason"];
    /// Connections that waited for a request and were closed to make room for others.
    ConnectionsSentOff = Counter "vamp_gateway_connections_sent_off_total" [];
    /// What the process has room for, as found at its start: `connections`, `open_files`, `memory_bytes`.
    Capacity = Gauge "vamp_gateway_capacity" ["of"];
    /// Bytes of memory that the process has resident.
    Memory = Gauge "vamp_gateway_resident_memory_bytes" [];
    /// Longest time since the start that a thread of the data path spent on a new table at a stretch.
    SwapStall = Gauge "vamp_gateway_swap_stall_seconds" [];
    /// Split tickets delivered, by gateway, level (`weights`, or `condition:` and the route whose condition it is) and route.
    SplitDelivered = Gauge "vamp_gateway_split_delivered" ["gateway", "level", "route"];
    /// 1, with the version and the id of the process.
    Info = Gauge "vamp_gateway_info" ["version", "id"];
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The reference page, as the enum has it.
    fn reference() -> String {
        let mut page = String::from(
            "# Metrics\n\nMade from the code; do not edit by hand.\n\nEvery series of `GET /metrics` on a gateway's admin \
             listener, in the text format of Prometheus. Values of labels are\nnames of the configuration and words of \
             fixed lists; nothing that a client sends becomes a label.\n\n| metric | kind | labels | meaning |\n\
             |---|---|---|---|\n",
        );
        for metric in Metric::ALL {
            let labels: Vec<_> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
            let (name, kind) = (metric.name(), metric.kind().as_str());
            page.push_str(&format!("| `{name}` | {kind} | {} | {} |\n", labels.join(", "), metric.help()));
        }
        page
    }

    #[test]
    fn the_reference_of_metrics_is_fresh() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
        let fresh = reference();
        if std::env::var_os("VAMP_UPDATE_GENERATED").is_some() {
            std::fs::write(&path, &fresh).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == fresh, "{} is not fresh: VAMP_UPDATE_GENERATED=1 cargo test -p vamp-record", path.display());
    }

    #[test]
    fn names_follow_the_conventions_and_are_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for metric in Metric::ALL {
            let name = metric.name();
            assert!(seen.insert(name), "{name} twice");
            assert!(name.starts_with("vamp_") || name.starts_with("haproxy_frontend_"), "{name}");
            assert_eq!(metric.kind() == Kind::Counter, name.ends_with("_total"), "{name}");
            assert!(metric.help().ends_with('.') && !metric.help().contains("  "), "{name}: {}", metric.help());
        }
    }

    #[test]
    fn no_label_could_carry_what_a_client_wrote() {
        for label in Metric::ALL.iter().flat_map(|metric| metric.labels()) {
            assert!(!["path", "host", "method", "client", "user_agent", "status"].contains(label), "{label}");
        }
    }
}
