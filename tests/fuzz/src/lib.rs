//! What must hold for any bytes. Each function is a target: it panics when a promise is broken.
//!
//! The targets run under a fuzzer (`fuzz_targets/`, needs a nightly compiler and `cargo-fuzz`), and, on any compiler,
//! for a bounded number of inputs grown from seeds (`tests/seeds.rs`).

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use sha2::Digest as _;
use vamp_model::Format;
use vamp_routing::condition::Condition;
use vamp_routing::wire::{self, Digest};
use vamp_routing::{Head as _, PlainHead};

/// A condition is refused with a place inside its text, or is what its print says; it answers for any head.
///
/// The first line is the condition, the others are target, host and header fields of a request.
pub fn condition(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, request) = text.split_once('\n').unwrap_or((&text, ""));
    let condition = match Condition::parse(text) {
        Ok(condition) => condition,
        Err(error) => {
            assert!((1..=text.chars().count() + 1).contains(&error.position), "`{text}`: {error}");
            assert!(!error.message.is_empty() && !error.hint.is_empty(), "`{text}`: {error}");
            return;
        }
    };
    let mut lines = request.lines().map(str::to_owned);
    let target = lines.next().unwrap_or_default();
    let host = lines.next().unwrap_or_default();
    let field = |line: String| line.split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    let head = PlainHead { target, host, fields: lines.filter_map(field).collect(), ..PlainHead::default() };
    assert!(head.path().len() <= head.target.len());
    let holds = condition.matches(&head);
    // A print can be longer than the text; only one that fits the bound can be read.
    let printed = condition.to_string();
    if printed.len() <= 16 * 1024 {
        let again = Condition::parse(&printed).unwrap_or_else(|error| panic!("`{text}` as `{printed}`: {error}"));
        assert_eq!(again, condition, "`{text}` as `{printed}`");
        assert_eq!(again.matches(&head), holds, "`{text}` as `{printed}`");
    }
}

/// Bytes are refused or decode to what encodes to the same digest: as they are, and packed as a value would be.
pub fn wire(data: &[u8]) {
    let digest = Digest(sha2::Sha256::digest(data).into());
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(data).unwrap();
    for bytes in [data, &packed.finish().unwrap()] {
        if let Ok(gateway) = wire::decode_gateway(digest, bytes) {
            let encoded = wire::encode_gateway(&gateway);
            assert_eq!(wire::decode_gateway(encoded.digest, &encoded.bytes), Ok(gateway));
        }
        if let Ok(entries) = wire::decode_page(digest, bytes) {
            assert!(entries.len() < data.len());
        }
    }
    if let Ok(manifest) = wire::decode_manifest(data)
        && manifest.pages.is_empty()
    {
        let (again, _) = wire::encode_manifest(manifest.generation, manifest.parent, &manifest.entries);
        assert_eq!(wire::decode_manifest(&again).map(|again| again.digest), Ok(manifest.digest));
    }
}

/// A document is refused with reasons, or is read to artifacts.
pub fn document(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for format in [Format::Json, Format::Yaml] {
        if let Err(violations) = vamp_model::read(&text, format) {
            assert!(!violations.is_empty(), "refused without a reason: {text}");
        }
    }
}
