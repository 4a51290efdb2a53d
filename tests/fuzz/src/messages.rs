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

/// Fields that mean the same to everybody, and nothing to a connection. `host`: whether one is needed.
fn are_plain(fields: &[strict::Field], host: bool) -> bool {
    let of_the_connection = ["connection", "upgrade", "expect", "te", "trailer", "keep-alive", "proxy-connection"];
    let is_plain = |(name, value): &strict::Field| {
        let is_host = value.bytes().all(|byte| byte.is_ascii_lowercase()) && !value.is_empty();
        !of_the_connection.contains(&&**name)
            && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
            && (name != "host" || is_host)
            && (name != "content-length" || value.len() <= 9)
    };
    let hosts = fields.iter().filter(|(name, _)| name == "host").count();
    fields.len() <= LIMITS.fields_max && fields.iter().all(is_plain) && (!host || hosts == 1)
}

/// Whether a body in chunks has nothing beside them.
fn has_plain_chunks(mut raw: &[u8]) -> bool {
    loop {
        let Some(line) = raw.windows(2).position(|two| two == b"\r\n") else { return false };
        let digits = String::from_utf8_lossy(&raw[..line]).into_owned();
        let is_size = (1..=7).contains(&line) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let Some(size) = usize::from_str_radix(&digits, 16).ok().filter(|_| is_size) else { return false };
        raw = &raw[line + 2..];
        match size {
            0 => return raw.starts_with(b"\r\n"),
            _ if raw.len() < size + 2 => return false,
            _ => raw = &raw[size + 2..],
        }
    }
}

/// Whether these bytes begin with a whole request that every server must take: within the limits, and in the plainest
/// words.
pub fn begins_with_a_plain_request(bytes: &[u8]) -> bool {
    let (Ok(Some((request, _))), Ok(Some((_, _, body)))) = (strict::next_request(bytes), strict::head(bytes)) else {
        return false;
    };
    let is_path = |target: &str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~?=&".contains(&byte);
        target.starts_with('/') && target.len() <= LIMITS.target_bytes_max && target.bytes().all(is_plain)
    };
    let words: Vec<_> = request.line.split(' ').collect();
    let is_line =
        matches!(*words, ["GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "PATCH", target, "HTTP/1.1"] if is_path(target));
    is_line
        && body <= LIMITS.head_bytes_max
        && are_plain(&request.fields, true)
        && (!request.has("transfer-encoding") || has_plain_chunks(&bytes[body..]))
}

/// The same for the answer to a request.
pub fn begins_with_a_plain_response(bytes: &[u8], to_head: bool) -> bool {
    let Ok(Some((line, fields, body))) = strict::head(bytes) else { return false };
    let read = strict::responses(bytes, &[if to_head { "HEAD" } else { "GET" }], false);
    let Some(response) = read.messages.first() else { return false };
    let status = response.status();
    let bodiless = to_head || status == 204 || status == 304;
    let is_framed = response.has("content-length") || response.has("transfer-encoding");
    let reason = line.get(12..).unwrap_or_default();
    let is_line = line.starts_with("HTTP/1.1 ") && (reason.starts_with(' ') || reason.is_empty());
    is_line
        && reason.bytes().all(|byte| byte == b' ' || byte.is_ascii_alphabetic())
        && (200..600).contains(&status)
        && body <= LIMITS.head_bytes_max
        && are_plain(&fields, false)
        && response.complete
        && bodiless != is_framed
        && (!response.has("transfer-encoding") || has_plain_chunks(&bytes[body..]))
}

/// Whether the one thing is wrong that a reader may mend and go on (RFC 9110, 8.6): the same length, said several times.
fn says_one_length_again(bytes: &[u8]) -> bool {
    let Ok(Some((_, fields, _))) = strict::head(bytes) else { return false };
    let of =
        |wanted: &'static str| fields.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let lengths: std::collections::BTreeSet<_> = of("content-length")
        .flat_map(|value| value.split(','))
        .map(|length| length.trim_matches([' ', '\t']))
        .collect();
    lengths.len() == 1 && of("transfer-encoding").next().is_none()
}

/// A stream of requests: each is refused, or goes on as exactly one request in canonical form, with the same body; and
/// where the strict reader reads the input too, both see its end at the same place. What is plain is not refused. What the
/// strict reader refuses, and is taken all the same, is the last request of its connection.
pub fn requests(data: &[u8]) {
    requests_taken(data);
}

/// The same; how many were taken.
pub fn requests_taken(data: &[u8]) -> usize {
    let mut count = 0;
    let peer = PeerText::new(std::net::Ipv4Addr::LOCALHOST.into(), false);
    let mut rest = data;
    loop {
        let mut storage = Storage::new();
        let parsed = RequestHead::parse(rest, &mut storage, &LIMITS).ok().flatten();
        let read = parsed.and_then(|head| Some((body(head.body, &rest[head.bytes..])?, head)));
        let Some(((raw, content), head)) = read else {
            assert!(!begins_with_a_plain_request(rest), "a plain request is refused");
            return count;
        };
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
        match strict::next_request(&rest[skipped..]) {
            Ok(Some((_, taken))) => assert_eq!(skipped + taken, end, "two readers see two ends"),
            other => assert!(
                !head.persistent || says_one_length_again(&rest[skipped..]),
                "a connection goes on behind what a strict reader refuses: {other:?}"
            ),
        }
        count += 1;
        rest = &rest[end..];
    }
}

/// A response is refused, or reaches the client as exactly one response in canonical form, with the same content; what is
/// plain is not refused. The first byte chooses what was asked.
pub fn responses(data: &[u8]) {
    response_is_taken(data);
}

/// The same; whether it was taken, the last one behind interim ones.
pub fn response_is_taken(data: &[u8]) -> bool {
    let Some((asked, mut rest)) = data.split_first() else { return false };
    let (to_head, upgrade, minor) = (asked & 1 != 0, asked & 2 != 0, u8::from(asked & 4 == 0));
    let method = if to_head { "HEAD" } else { "GET" };
    for _ in 0..16 {
        let mut storage = Storage::new();
        let parsed = ResponseHead::parse(rest, &mut storage, &LIMITS, to_head, upgrade);
        let Ok(Some(head)) = parsed else {
            assert!(!begins_with_a_plain_response(rest, to_head), "a plain response is refused");
            return false;
        };
        let relay = head.relay(minor);
        let behind = &rest[head.bytes..];
        let is_interim = head.is_interim();
        let mut toward = Vec::new();
        head.write_toward(&Toward { minor, relay, persistent: false, lines: b"" }, &mut toward);
        let taken = match (head.body, body(head.body, behind)) {
            (Body::UntilClose, _) => {
                assert!(head.status == 101 || !head.persistent, "a connection whose end ends the body is kept");
                return true;
            }
            (_, None) => {
                assert!(!begins_with_a_plain_response(rest, to_head), "the body of a plain response is refused");
                return false;
            }
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
            return true;
        }
        rest = &behind[taken..];
    }
    false
}
