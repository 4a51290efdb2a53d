//! What must hold for any bytes. Each function is a target: it panics when a promise is broken.
//!
//! The targets run under a fuzzer (`tests/fuzz/run`, needs a nightly compiler), and, on any compiler, for all inputs of
//! the corpus and a bounded number grown from them (`tests/seeds.rs`). [`TARGETS`] names them all.
//!
//! What is private to a crate that is large is built here from its source.

mod addresses;
mod clients;
mod files;
mod messages;
mod values;

// The codec needs nothing of the gateway.
#[allow(dead_code, unused_imports, reason = "the targets use a part of it")]
#[path = "../../../gateway/src/http1/mod.rs"]
mod http1;
/// The last good tables on disk.
#[allow(dead_code, reason = "the targets use a part of it")]
#[path = "../../../gateway/src/sync/keep.rs"]
mod keep;
/// PROXY headers.
#[allow(dead_code, reason = "the targets use a part of it")]
#[path = "../../../gateway/src/proxy_header.rs"]
mod proxy_header;
/// Settings from a file.
#[path = "../../../gateway/src/settings_file.rs"]
mod settings_file;
/// Where the store is. The crate around it would bring etcd's client along.
#[allow(dead_code, reason = "the targets use a part of it")]
#[path = "../../../shared/store/src/url.rs"]
mod store_url;
/// The second reader: strict, slow and obvious, and written for proxies in general.
#[allow(dead_code, reason = "the targets use a part of it")]
#[path = "../../src/conformance/wire.rs"]
mod strict;

pub use addresses::{access, elastic_url, store_url};
pub use clients::{client_address, cookies, proxy_header};
pub use files::{kept_table, settings};
pub use messages::{begins_with_a_plain_request, begins_with_a_plain_response};
pub use messages::{requests, requests_taken, response_is_taken, responses};
pub use values::{compose, condition, counts, document, registration, wire};

/// A target, by name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 16] = [
    ("access", access),
    ("client_address", client_address),
    ("compose", compose),
    ("condition", condition),
    ("cookies", cookies),
    ("counts", counts),
    ("document", document),
    ("elastic_url", elastic_url),
    ("kept_table", kept_table),
    ("proxy_header", proxy_header),
    ("registration", registration),
    ("requests", requests),
    ("responses", responses),
    ("settings", settings),
    ("store_url", store_url),
    ("wire", wire),
];
