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

// The codec is private to the gateway, and needs nothing of it: it is built here from its source.
#[allow(dead_code, unused_imports, reason = "the targets use a part of it")]
#[path = "../../../gateway/src/http1/mod.rs"]
mod http1;
/// The second reader: strict, slow and obvious, and written for proxies in general.
#[allow(dead_code, reason = "the targets use a part of it")]
#[path = "../../src/conformance/wire.rs"]
mod strict;

use http1::{Body, HeadLimits, Onward, PeerText, Relay, RequestHead, ResponseHead, Storage, Toward};

const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 4_096, target_bytes_max: 512, fields_max: 32 };

/// The bytes of a body that is there whole: its raw bytes, its content, and what is behind it. `None`: incomplete, or
/// refused. Cut at a place that the input chooses, the same comes out.
fn body(body: Body, input: &[u8]) -> Option<(usize, Vec<u8>)> {
    let read = |cuts: &[usize]| {
        let (mut state, mut content, mut at) = (body, Vec::new(), 0);
        for end in cuts.iter().copied().chain([input.len()]) {
            if state.is_empty() {
                return Some((at, content));
            }
            let taken = state.decode(&input[at..end], |bytes| content.extend_from_slice(bytes)).ok()?;
            at += taken.bytes;
            if taken.complete {
                return Some((at, content));
            }
        }
        None
    };
    let whole = read(&[]);
    let cut = input.first().map_or(0, |byte| usize::from(*byte) % input.len());
    assert_eq!(read(&[cut]), whole, "a body in two pieces is another");
    whole
}

/// A stream of requests: each is refused, or goes on as exactly one request in canonical form, with the same body; and
/// where the strict reader reads the input too, both see its end at the same place.
pub fn requests(data: &[u8]) {
    let peer = PeerText::new(std::net::Ipv4Addr::LOCALHOST.into(), false);
    let mut rest = data;
    loop {
        let mut storage = Storage::new();
        let Ok(Some(head)) = RequestHead::parse(rest, &mut storage, &LIMITS) else { return };
        let Some((raw, content)) = body(head.body, &rest[head.bytes..]) else { return };
        let mut onward = Vec::new();
        let told = Onward { path: None, peer: &peer, trusted: false, host: b"local", request_id: b"id", cookies: &[b"ours"] };
        head.write_onward(&told, &mut onward);
        onward.extend_from_slice(&rest[head.bytes..head.bytes + raw]);
        let (request, taken) = match strict::next_request(&onward) {
            Ok(Some(read)) => read,
            other => panic!("what goes on is not one request: {other:?}"),
        };
        assert_eq!(taken, onward.len(), "bytes go on behind the request");
        assert_eq!(request.body, content, "another body goes on");
        strict::check_request(&request).unwrap_or_else(|fault| panic!("{fault}"));
        let end = head.bytes + raw;
        let skipped = if rest.starts_with(b"\r\n") { 2 } else { 0 };
        if let Ok(Some((_, taken))) = strict::next_request(&rest[skipped..]) {
            assert_eq!(skipped + taken, end, "two readers see two ends");
        }
        rest = &rest[end..];
    }
}

/// A response is refused, or reaches the client as exactly one response in canonical form, with the same content. The
/// first byte chooses what was asked.
pub fn responses(data: &[u8]) {
    let Some((asked, mut rest)) = data.split_first() else { return };
    let (to_head, upgrade, minor) = (asked & 1 != 0, asked & 2 != 0, u8::from(asked & 4 == 0));
    let method = if to_head { "HEAD" } else { "GET" };
    for _ in 0..16 {
        let mut storage = Storage::new();
        let parsed = ResponseHead::parse(rest, &mut storage, &LIMITS, to_head, upgrade);
        let Ok(Some(head)) = parsed else { return };
        let relay = head.relay(minor);
        let behind = &rest[head.bytes..];
        let is_interim = head.is_interim();
        let mut toward = Vec::new();
        head.write_toward(&Toward { minor, relay, persistent: false, lines: b"" }, &mut toward);
        let taken = match (head.body, body(head.body, behind)) {
            (Body::UntilClose, _) => {
                assert!(head.status == 101 || !head.persistent, "a connection whose end ends the body is kept");
                return;
            }
            (_, None) => return,
            (_, Some((raw, content))) => {
                match relay {
                    Relay::AsIs => toward.extend_from_slice(&behind[..raw]),
                    Relay::Bare => toward.extend_from_slice(&content),
                    Relay::Chunked => panic!("a body of known end is framed anew"),
                }
                let read = strict::responses(&toward, &[method], true);
                assert_eq!(read.fault, None, "the client can't read it");
                let [message] = &*read.messages else { panic!("the client reads {} messages", read.messages.len()) };
                assert_eq!((message.status(), &message.body, message.complete), (head.status, &content, true));
                raw
            }
        };
        if !is_interim {
            return;
        }
        rest = &behind[taken..];
    }
}

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
