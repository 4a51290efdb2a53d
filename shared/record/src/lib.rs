//! What one request leaves behind: the record, its Elasticsearch document, template and client, and every Prometheus
//! name. Both programs and their readers (Kibana, workflows, alert rules) agree on it here; so they do on how a
//! management address is opened to readers ([`listener`]) and who may ask there ([`access`]).

pub mod access;
pub mod client;
pub mod document;
pub mod elastic_url;
mod json;
pub mod listener;
pub mod metric;
mod reason;
mod record;
pub mod split;
pub mod template;
pub mod traffic;

pub use client::ElasticClient;
pub use elastic_url::ElasticUrl;
pub use reason::Reason;
pub use record::{Record, RouteLabels, Texts};
