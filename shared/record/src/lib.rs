//! What one request leaves behind: the record, its Elasticsearch document, template and client, and every Prometheus
//! name. Both programs and their readers (Kibana, workflows, alert rules) agree on it here.

pub mod access;
mod reason;
mod record;
pub mod split;

pub use reason::Reason;
pub use record::{Record, RouteLabels, Text};
