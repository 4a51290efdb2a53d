//! Streams of HTTP/1.1: what clients and upstreams may send.

use crate::http1::{Body, HeadLimits, Onward, PeerText, Relay, RequestHead, ResponseHead, Storage, Toward};
use crate::strict;

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
        let told = Onward {
            path: None,
            peer: &peer,
            client: std::net::Ipv4Addr::LOCALHOST.into(),
            trusted: false,
            host: b"local",
            request_id: b"id",
            cookies: &[b"ours"],
        };
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
