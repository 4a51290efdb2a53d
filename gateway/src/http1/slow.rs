//! A second reader of request heads, slow and obvious, that the real one is compared with.

#![expect(clippy::string_slice, reason = "test input, cut where the test says")]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What both readers must agree on.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    bytes: usize,
    method: String,
    path: String,
    query: Option<String>,
    host: Option<String>,
    minor: u8,
    framing: String,
    persistent: bool,
    upgrade: bool,
    onward: Vec<String>,
}

const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 2048, target_bytes_max: 300, fields_max: 12 };

/// `None`: incomplete.
type Outcome = Option<Result<Facts, u16>>;

fn quick(input: &[u8]) -> Outcome {
    let mut storage = Storage::new();
    let head = match RequestHead::parse(input, &mut storage, &LIMITS) {
        Ok(None) => return None,
        Ok(Some(head)) => head,
        Err(fault) => return Some(Err(fault.status())),
    };
    let text = |bytes: &[u8]| -> String { bytes.iter().map(|byte| char::from(*byte)).collect() };
    let peer = PeerText::new("192.0.2.1".parse().unwrap(), false);
    let mut out = Vec::new();
    head.write_onward(
        &Onward {
            path: None,
            peer: &peer,
            client: "192.0.2.1".parse().unwrap(),
            trusted: false,
            host: b"local",
            request_id: b"ID",
            cookies: &[b"ours"],
        },
        &mut out,
    );
    let mut onward: Vec<String> = text(&out).split("\r\n").map(str::to_owned).collect();
    onward.sort_unstable();
    Some(Ok(Facts {
        bytes: head.bytes,
        method: text(head.method),
        path: text(head.path()),
        query: head.query().map(text),
        host: head.host.map(text),
        minor: head.minor,
        framing: match head.body {
            Body::None => "none".to_owned(),
            Body::Length(length) => length.to_string(),
            Body::Chunked(_) => "chunked".to_owned(),
            Body::UntilClose => "close".to_owned(),
        },
        persistent: head.persistent,
        upgrade: head.upgrade,
        onward,
    }))
}

fn slow(input: &[u8]) -> Outcome {
    let skipped = if input.starts_with(b"\r\n") { 2 } else { 0 };
    let text: String = input[skipped..].iter().map(|byte| char::from(*byte)).collect();
    let end = text.find("\r\n\r\n")?;
    let bytes = skipped + text[..end].chars().count() + 4;
    Some(slow_head(&text[..end]).map(|facts| Facts { bytes, ..facts }))
}

fn slow_head(head: &str) -> Result<Facts, u16> {
    let mut lines = head.split("\r\n");
    let [method, target, version] = lines.next().unwrap().split(' ').collect::<Vec<_>>()[..] else { return Err(400) };
    let fields = lines.map(slow_field).collect::<Result<Vec<_>, u16>>()?;
    if !slow_token(method) || method == "CONNECT" {
        return Err(400);
    }
    let minor = match version {
        "HTTP/1.0" => 0,
        "HTTP/1.1" => 1,
        _ => return Err(505),
    };
    if !target.chars().all(|character| ('!'..='~').contains(&character) && character != '#') {
        return Err(400);
    }
    let (authority, mut rest) = slow_target(target, method)?;
    if rest.is_empty() {
        rest = if method == "OPTIONS" { "*".into() } else { "/".into() };
    } else if rest.starts_with('?') {
        rest.insert(0, '/');
    }
    let named = |name: &str| -> Vec<&String> {
        fields.iter().filter(|(found, _)| found.to_ascii_lowercase() == name).map(|(_, value)| value).collect()
    };
    let listed = |name: &str| -> Vec<String> {
        named(name)
            .iter()
            .flat_map(|value| value.split(',').map(|item| item.trim_matches([' ', '\t']).to_ascii_lowercase()))
            .collect()
    };
    let hosts = named("host");
    if hosts.len() > 1 || (hosts.is_empty() && minor == 1) || hosts.iter().any(|host| !slow_host(host)) {
        return Err(400);
    }
    let framing = slow_framing(&listed("content-length"), &listed("transfer-encoding"), minor)?;
    let connection: BTreeSet<String> = listed("connection").into_iter().collect();
    let persistent = !connection.contains("close") && (minor == 1 || connection.contains("keep-alive"));
    let protocols = listed("upgrade");
    let upgrade = minor == 1
        && connection.contains("upgrade")
        && !protocols.is_empty()
        && !protocols.iter().any(|protocol| is_http(protocol))
        && ["none", "0"].contains(&framing.as_str());
    let host = authority.clone().or(hosts.first().map(|host| (*host).clone()));
    let facts = Facts {
        bytes: 0,
        method: method.to_owned(),
        path: rest.split('?').next().unwrap().to_owned(),
        query: rest.split_once('?').map(|(_, query)| query.to_owned()),
        host: host.clone(),
        minor,
        framing: framing.clone(),
        persistent,
        upgrade,
        onward: Vec::new(),
    };
    let onward = slow_onward(&facts, &rest, authority.is_some(), &fields, &connection);
    Ok(Facts { onward, ..facts })
}

fn slow_field(line: &str) -> Result<(String, String), u16> {
    let (name, value) = line.split_once(':').ok_or(400_u16)?;
    if !slow_token(name)
        || value.chars().any(|character| (character < ' ' && character != '\t') || character == '\u{7f}')
    {
        return Err(400);
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn slow_token(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(character))
}

fn slow_target(target: &str, method: &str) -> Result<(Option<String>, String), u16> {
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((None, target.to_owned()));
    }
    let (scheme, after) = target.split_once("://").ok_or(400_u16)?;
    if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Err(400);
    }
    let end = after.find(['/', '?']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    if authority.is_empty() || !slow_host(authority) {
        return Err(400);
    }
    Ok((Some(authority.to_owned()), rest.to_owned()))
}

/// Whether a lower-case protocol of `Upgrade` carries HTTP on, or is none.
pub(super) fn is_http(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap().trim_matches([' ', '\t']);
    name.is_empty() || ["h2", "h3", "http", "tls"].iter().any(|known| name.starts_with(known))
}

fn slow_host(host: &str) -> bool {
    let pattern = |text: &str, allowed: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(c));
    let port = |text: &str| {
        text.len() <= 5 && text.chars().all(|c| c.is_ascii_digit()) && (text.is_empty() || text.parse::<u16>().is_ok())
    };
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        return address.parse::<std::net::Ipv6Addr>().is_ok()
            && (after.is_empty() || after.strip_prefix(':').is_some_and(port));
    }
    match host.split_once(':') {
        None => pattern(host, "-._~%"),
        Some((name, after)) => !name.is_empty() && pattern(name, "-._~%") && port(after),
    }
}

fn slow_framing(lengths: &[String], codings: &[String], minor: u8) -> Result<String, u16> {
    if !codings.is_empty() {
        if minor == 0 || !lengths.is_empty() || codings.last().unwrap() != "chunked" {
            return Err(400);
        }
        let others = &codings[..codings.len() - 1];
        if others.iter().any(|other| other == "chunked" || !slow_token(other)) {
            return Err(400);
        }
        return if others.is_empty() { Ok("chunked".to_owned()) } else { Err(501) };
    }
    let Some(first) = lengths.first() else { return Ok("none".to_owned()) };
    let number = |text: &String| -> Result<u64, u16> {
        let valid = !text.is_empty() && text.len() <= 18 && text.chars().all(|c| c.is_ascii_digit());
        if valid { text.parse().map_err(|_| 400_u16) } else { Err(400) }
    };
    let value = number(first)?;
    for length in lengths {
        if number(length)? != value {
            return Err(400);
        }
    }
    Ok(value.to_string())
}

/// The lines of the head that goes on, sorted.
fn slow_onward(
    facts: &Facts,
    rest: &str,
    absolute: bool,
    fields: &[(String, String)],
    connection: &BTreeSet<String>,
) -> Vec<String> {
    let mut lines = vec![format!("{} {rest} HTTP/1.1", facts.method), String::new(), String::new()];
    let mut ids = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-request-id"));
    let id = ids.next().map(|(_, value)| value.clone()).filter(|id| {
        ids.next().is_none()
            && !id.is_empty()
            && id.len() <= 128
            && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:/+=~@".contains(c))
    });
    for (name, value) in fields {
        let lower = name.to_ascii_lowercase();
        let protected = ["host", "content-length", "transfer-encoding", "x-request-id"].contains(&lower.as_str());
        let passes = match lower.as_str() {
            "connection"
            | "te"
            | "keep-alive"
            | "proxy-connection"
            | "http2-settings"
            | "proxy-authorization"
            | "forwarded"
            | "content-length" => false,
            "upgrade" => facts.upgrade,
            "expect" => facts.minor == 1,
            "host" => !absolute,
            "x-request-id" => id.is_some(),
            _ => !["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
                .contains(&lower.replace('_', "-").as_str()),
        };
        let nominated = connection.contains(&lower) && !protected && !(lower == "upgrade" && facts.upgrade);
        if !passes || nominated {
            continue;
        }
        if lower == "cookie" {
            let kept: Vec<&str> = value
                .split(';')
                .map(|pair| pair.trim_matches([' ', '\t']))
                .filter(|pair| !pair.is_empty() && pair.split('=').next().unwrap().trim_matches([' ', '\t']) != "ours")
                .collect();
            if !kept.is_empty() {
                lines.push(format!("cookie:{}", kept.join("; ")));
            }
            continue;
        }
        lines.push(format!("{lower}:{value}"));
    }
    if fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length")) {
        lines.push(format!("content-length:{}", facts.framing));
    }
    let host = facts.host.clone().unwrap_or("local".to_owned());
    if absolute || facts.host.is_none() {
        lines.push(format!("host:{host}"));
    }
    if facts.upgrade {
        lines.push("connection:upgrade".to_owned());
    }
    lines.push("x-forwarded-for:192.0.2.1".to_owned());
    lines.push("x-forwarded-proto:http".to_owned());
    let known = facts.host.clone().filter(|host| !host.is_empty());
    if let Some(host) = &known {
        lines.push(format!("x-forwarded-host:{host}"));
    }
    let told = known.map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    lines.push(format!("forwarded:for=192.0.2.1;proto=http{told}"));
    if id.is_none() {
        lines.push("x-request-id:ID".to_owned());
    }
    lines.sort_unstable();
    lines
}

/// Lines as the slow reader writes them: names lower case, no space around values, lengths without leading zeros, each once.
fn plain(onward: Vec<String>) -> Vec<String> {
    let mut lines: Vec<String> = onward
        .into_iter()
        .map(|line| match line.split_once(':') {
            Some((name, value)) if slow_token(name) => {
                format!("{}:{}", name.to_ascii_lowercase(), value.trim_matches([' ', '\t']))
            }
            _ => line,
        })
        .collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn check(input: &[u8]) {
    let quick = quick(input).map(|outcome| outcome.map(|facts| Facts { onward: plain(facts.onward), ..facts }));
    let shown = String::from_utf8_lossy(input);
    match (&quick, slow(input)) {
        // The real reader may refuse before the end has come, and which of several faults is named may differ.
        (Some(Err(_)), None | Some(Err(_))) => (),
        (_, slow) => assert_eq!(quick, slow, "{shown:?}"),
    }
    // Pieces: the same, or refused earlier.
    for end in 0..input.len() {
        match self::quick(&input[..end]) {
            None => (),
            Some(Err(status)) => {
                assert_eq!(
                    Some(Err(status)),
                    quick.as_ref().map(|outcome| outcome.as_ref().map(|_| ()).map_err(|s| *s)),
                    "{shown:?} cut at {end}"
                );
                break;
            }
            Some(Ok(facts)) => {
                assert_eq!(facts.bytes, end, "{shown:?} cut at {end}");
                break;
            }
        }
    }
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "Host: a.example", "Host: a.example:80", "host:\t[::1]:80 ", "Host:", "Host: a@b", "Host: a b", "Host : a", "Host: a,b",
        ]).prop_map(str::to_owned),
        8 => prop::sample::select(vec![
            "Content-Length: 5", "content-length: 0", "Content-Length: 5, 5", "Content-Length: 05", "Content-Length: 6", "Content-Length: +5",
            "Content-Length: 5 5", "Content-Length:", "Content-Length: 0x5", "Content-Length: 99999999999999999999", "Content-Length : 5",
            "Transfer-Encoding: chunked", "Transfer-Encoding: Chunked", "transfer-encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: identity", "Transfer-Encoding: chunked,", "Transfer-Encoding:", "Transfer-Encoding: xchunked", "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding : chunked", "Transfer-Encoding: \"chunked\"", "Transfer_Encoding: chunked", "Transfer-Encoding: gzip",
        ]).prop_map(str::to_owned),
        8 => prop::sample::select(vec![
            "Connection: close", "Connection: keep-alive", "Connection: Upgrade", "Connection: X-Gone, cookie", "Connection: Content-Length, Host",
            "Connection: close, x-forwarded-for,", "Connection: transfer-encoding, x-request-id", "Upgrade: websocket", "Upgrade: h2c", "Upgrade: websocket, h2c", "Upgrade: HTTP/2.0", "Upgrade: x/1",
            "X-Gone: 1", "TE: trailers", "Keep-Alive: 5", "Proxy-Connection: x", "HTTP2-Settings: AA", "Expect: 100-continue", "Proxy-Authorization: x",
        ]).prop_map(str::to_owned),
        8 => prop::sample::select(vec![
            "Cookie: a=1; ours=2; b=3", "Cookie: ours=2", "Cookie: a=1", "cookie: ours", "Cookie: ours2=1;;b", "X-Forwarded-For: 9.9.9.9", "X_Forwarded_For: 9.9.9.9",
            "X-Forwarded-Proto: https", "X-Forwarded-Host: evil", "Forwarded: for=9.9.9.9", "X-Request-Id: abc-1", "X-Request-ID: a b", "X-Request-Id:",
            "Accept: */*", "Empty:", "Obs: \u{e4}", "Odd: a:b", "Tab:\ta\tb ", "Via: 1.1 x",
        ]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![" folded", "\tfolded: x", "no colon", ": empty", "Na me: x", "Nul: \u{0}", "Cr: a\rb", "Lf: a\nb", "Del: \u{7f}", "\u{e4}: x"]).prop_map(str::to_owned),
    ]
}

fn first_line() -> impl Strategy<Value = String> {
    let method =
        prop::sample::select(vec!["GET", "GET", "POST", "HEAD", "OPTIONS", "CONNECT", "get", "M-X", "", "G@T"]);
    let target = prop::sample::select(vec![
        "/",
        "/a/b?c=d?e",
        "/?",
        "*",
        "http://b.example/x?y",
        "http://b.example",
        "http://b.example?q",
        "HTTPS://b:1/",
        "http://u@b/",
        "b:80",
        "/a#b",
        "",
        "ftp://x/",
        "/\u{e4}",
        "//x",
    ]);
    let version = prop::sample::select(vec![
        "HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/2.0",
        "HTTP/1.2",
        "http/1.1",
        "HTTP/1.10",
        "HTTP/0.9",
        "",
    ]);
    let gap = prop::sample::select(vec![" ", " ", " ", " ", " ", "  ", "\t"]);
    (method, gap.clone(), target, gap, version)
        .prop_map(|(method, first, target, second, version)| format!("{method}{first}{target}{second}{version}"))
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plain_requests_with_odd_fields_are_read_alike(lines in prop::collection::vec(line(), 0..6)) {
        check(&latin1(&format!("POST /p?q HTTP/1.1\r\nHost: a\r\n{}\r\n\r\nrest", lines.join("\r\n"))));
        check(&latin1(&format!("GET /p?q HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"))));
    }

    #[test]
    fn odd_request_lines_are_read_alike(first in first_line(), lines in prop::collection::vec(line(), 0..3), lead in prop::sample::select(vec!["", "\r\n", "\r\n\r\n", "\n", " "])) {
        check(&latin1(&format!("{lead}{first}\r\nHost: a\r\n{}\r\n\r\n", lines.join("\r\n"))));
    }

    #[test]
    fn one_changed_byte_is_read_alike(lines in prop::collection::vec(line(), 0..4), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut input = latin1(&format!("GET /p HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", lines.join("\r\n")));
        let at = at.index(input.len());
        input[at] = byte;
        check(&input);
    }
}
