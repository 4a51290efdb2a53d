//! A second reader of response heads, slow and obvious, that the real one is compared with.

#![expect(clippy::string_slice, reason = "test input, cut where the test says")]

use proptest::prelude::*;

use super::slow::is_http;
use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 2048, target_bytes_max: 300, fields_max: 12 };

/// What both readers must agree on.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    status: u16,
    framing: String,
    persistent: bool,
    /// The lines that an HTTP/1.1 client on a connection that stays gets, sorted.
    toward: Vec<String>,
}

/// What the response answers.
#[derive(Debug, Clone, Copy)]
struct Asked {
    to_head: bool,
    upgrade: bool,
}

fn quick(input: &[u8], asked: Asked) -> Option<Facts> {
    let mut storage = Storage::new();
    let head = ResponseHead::parse(input, &mut storage, &LIMITS, asked.to_head, asked.upgrade).ok()??;
    let relay = head.relay(1);
    let mut out = Vec::new();
    head.write_toward(&Toward { minor: 1, relay, persistent: true, lines: b"" }, &mut out);
    let text: String = out.iter().map(|byte| char::from(*byte)).collect();
    let mut toward: Vec<String> = text.split("\r\n").map(plain).collect();
    toward.sort_unstable();
    let framing = match head.body {
        Body::None => "none".to_owned(),
        Body::Length(length) => length.to_string(),
        Body::Chunked(_) => "chunked".to_owned(),
        Body::UntilClose => "close".to_owned(),
    };
    Some(Facts { status: head.status, framing, persistent: head.persistent, toward })
}

/// A line as the slow reader writes it: name lower case, no space around the value, none before the colon.
fn plain(line: &str) -> String {
    match line.split_once(':') {
        Some((name, value)) if !line.starts_with("HTTP/") => {
            format!("{}:{}", name.to_ascii_lowercase(), value.trim_matches([' ', '\t']))
        }
        _ => line.to_owned(),
    }
}

fn slow(input: &[u8], asked: Asked) -> Option<Facts> {
    let text: String = input.iter().map(|byte| char::from(*byte)).collect();
    let mut lines = text[..text.find("\r\n\r\n")?].split("\r\n");
    let status_line = lines.next()?;
    let minor = match status_line.get(..8)? {
        "HTTP/1.0" => 0,
        "HTTP/1.1" => 1,
        _ => return None,
    };
    let printable = |text: &str| text.chars().all(|c| c == '\t' || (c >= ' ' && c != '\u{7f}'));
    let code = status_line.get(8..)?;
    let digits = code.get(1..4)?;
    let words = code.get(4..)?;
    let valid = code.starts_with(' ')
        && digits.chars().all(|c| c.is_ascii_digit())
        && (words.is_empty() || words.starts_with(' '))
        && printable(words);
    let status: u16 = digits.parse().ok().filter(|status| valid && *status >= 100)?;
    let mut fields = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':')?;
        let bare = name.trim_end_matches([' ', '\t']);
        let token = !bare.is_empty()
            && bare.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
            && printable(value);
        let frames = ["content-length", "transfer-encoding"].contains(&bare.to_ascii_lowercase().as_str());
        if !token || (frames && bare != name) {
            return None;
        }
        fields.push((bare.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
    if fields.len() > LIMITS.fields_max || (status == 101 && !asked.upgrade) {
        return None;
    }
    facts(status, minor, status_line, &fields, asked)
}

fn facts(status: u16, minor: u8, status_line: &str, fields: &[(String, String)], asked: Asked) -> Option<Facts> {
    let listed = |wanted: &str| -> Vec<String> {
        let values = fields.iter().filter(|(name, _)| name == wanted);
        values
            .flat_map(|(_, value)| value.split(',').map(|item| item.trim_matches([' ', '\t']).to_ascii_lowercase()))
            .collect()
    };
    if status == 101 && listed("upgrade").iter().any(|protocol| is_http(protocol)) {
        return None;
    }
    let (lengths, codings) = (listed("content-length"), listed("transfer-encoding"));
    let numeric = |text: &String| !text.is_empty() && text.len() <= 18 && text.chars().all(|c| c.is_ascii_digit());
    let mut values: Vec<u64> =
        lengths.iter().filter(|text| numeric(text)).filter_map(|text| text.parse().ok()).collect();
    if values.len() != lengths.len() {
        return None;
    }
    values.dedup();
    if values.len() > 1 || (!codings.is_empty() && (codings != ["chunked"] || !values.is_empty() || minor == 0)) {
        return None;
    }
    let bodiless = asked.to_head || status < 200 || status == 204 || status == 304;
    let framing = match (status, values.first()) {
        (101, _) => "close".to_owned(),
        _ if bodiless => "none".to_owned(),
        _ if !codings.is_empty() => "chunked".to_owned(),
        (_, Some(length)) => length.to_string(),
        (_, None) => "close".to_owned(),
    };
    let connection = listed("connection");
    let says = |token: &str| connection.iter().any(|found| found == token);
    let persistent = !says("close") && (minor == 1 || says("keep-alive")) && framing != "close";
    let mut toward = vec![format!("HTTP/1.1{}", &status_line[8..]), String::new(), String::new()];
    let no_length = status < 200 || status == 204;
    for (name, value) in fields {
        let passes = match name.as_str() {
            "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "http2-settings"
            | "proxy-authorization"
            | "content-length" => false,
            "upgrade" => status == 101,
            "transfer-encoding" => !no_length,
            _ => !says(name),
        };
        if passes {
            toward.push(format!("{name}:{value}"));
        }
    }
    if let (false, Some(length)) = (no_length, values.first()) {
        toward.push(format!("content-length:{length}"));
    }
    if framing == "close" && status != 101 {
        toward.push("transfer-encoding:chunked".to_owned());
    }
    if status == 101 {
        toward.push("connection:upgrade".to_owned());
    }
    toward.sort_unstable();
    Some(Facts { status, framing, persistent, toward })
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => prop::sample::select(vec![
            "Content-Length: 5", "content-length: 0", "Content-Length: 5, 5", "Content-Length: 6", "Content-Length: x", "Content-Length:",
            "Content-Length : 5", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding: identity", "transfer-encoding : chunked", "Transfer-Encoding:",
        ]),
        6 => prop::sample::select(vec![
            "Connection: close", "Connection: keep-alive", "Connection: X-Gone", "Connection: upgrade", "Upgrade: x", "Upgrade: h2c", "X-Gone: 1", "Keep-Alive: 5",
            "Connection: Content-Length, set-cookie", "Connection: transfer-encoding", "Proxy-Connection: x",
        ]),
        6 => prop::sample::select(vec![
            "Server: x", "Set-Cookie: a=b", "Odd : x", "Odder \t: y", "X-Request-Id: 1", "Host: a", "Cookie: c", "Trailer: X", "Empty:", "Obs: \u{e4}", "Forwarded : z",
        ]),
        1 => prop::sample::select(vec![" folded", "no colon", ": empty", "Na me: x", "Nul: \u{0}", "Cr: a\rb", "Lf: a\nb", "Del: \u{7f}"]),
    ]
    .prop_map(str::to_owned)
}

fn first_line() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 304 Not",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 101 Switching",
        "HTTP/1.1 404",
        "HTTP/1.1 404 ",
        "HTTP/1.1 999 \u{e4}",
        "HTTP/1.1 099 X",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/2 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 200\tOK",
        "ICY 200 OK",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn responses_are_read_alike(first in first_line(), lines in prop::collection::vec(line(), 0..5), to_head in any::<bool>(), upgrade in any::<bool>()) {
        let text = format!("{}\r\n\r\nbody", [vec![first], lines].concat().join("\r\n"));
        let input: Vec<u8> = text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
        let asked = Asked { to_head, upgrade };
        prop_assert_eq!(quick(&input, asked), slow(&input, asked), "{:?}", text);
        // No piece of a head is taken for a whole one.
        let end = text.find("\r\n\r\n").unwrap() + 4;
        for cut in 0..input.len().min(end) {
            if let Some(facts) = quick(&input[..cut], asked) {
                prop_assert_eq!(Some(facts), quick(&input, asked), "{:?} cut at {}", text, cut);
            }
        }
    }
}
