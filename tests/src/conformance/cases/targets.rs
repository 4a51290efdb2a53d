//! The request line and the host: what the request is for (RFC 9112, 3).

use super::super::{Case, Seen, Want};
use super::{bytes, case, named};

pub(super) fn cases() -> Vec<Case> {
    [lines(), hosts(), absolute()].concat()
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "GET",
        "GET ",
        "GET {t}",
        "GET  {t} HTTP/1.1",
        "GET {t}  HTTP/1.1",
        "GET\t{t} HTTP/1.1",
        "GET {t}\tHTTP/1.1",
        " GET {t} HTTP/1.1",
        "GET {t} HTTP/1.1 ",
        "GET {t} x HTTP/1.1",
        "GET {t} HTTP/1.1 x",
        "GET {t}\u{b}HTTP/1.1",
        "GET {t}\u{0} HTTP/1.1",
        "GET {t}\u{7f} HTTP/1.1",
        "G\u{0}T {t} HTTP/1.1",
        "G(T {t} HTTP/1.1",
        "G\u{e9}T {t} HTTP/1.1",
        "{t} HTTP/1.1",
        "GET {t} HTTP/1,1",
        "GET {t} HTTP/ 1.1",
        "GET {t} HTTP/1.1.1",
        "GET {t} HTTP/11",
        "GET {t} HTTP/1.",
        "GET {t} HTTP/.1",
        "GET {t} HTP/1.1",
        "GET {t} http/1.1",
        "GET {t} HTTP/0.9",
        "GET {t} HTTP/2.0",
        "GET {t} HTTP/3.0",
        "GET {t} HTTP/1.10",
        "GET {t} HTTP/01.1",
        "GET {t} HTTP/1.1\u{0}",
        "GET {t}\u{1} HTTP/1.1",
        "GET {t} HTTP/1.1\rX",
    ] {
        let sent = bytes(&format!("{line}\r\nHost: a\r\n\r\n"));
        let sent_case = case("request line", named(line), "RFC 9112, 3", sent);
        // RFC 9112, 3: other white space between the words may be taken; RFC 9110, 2.5: other versions should be refused.
        let spaced = ["GET  {t}", "{t}  HTTP", "GET\t{t}", "{t}\tHTTP", "HTTP/1.1 ", " GET", "\u{b}HTTP"]
            .iter()
            .any(|odd| line.contains(odd));
        let other_version = ["HTTP/0.9", "HTTP/2.0", "HTTP/3.0"].iter().any(|version| line.ends_with(version));
        cases.push(match (spaced, other_version) {
            (true, _) => sent_case.wants(Want::RefusedOr(1)),
            (_, true) => sent_case.should(),
            _ => sent_case,
        });
    }
    for target in ["{t}#x", "{t}?a#x", "x{t}", "?{t}", "//\u{0}{t}", "{t}\u{e9}", "{t}\"\u{80}"] {
        let sent = bytes(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        cases.push(
            case("request line", format!("target {}", named(target)), "RFC 9112, 3.2", sent).wants(Want::RefusedOr(1)),
        );
    }
    for target in
        ["{t}", "{t}?q=1&r=/?", "{t}%2f%2e%2e", "{t}/../x", "{t}//x", "{t};a=b", "{t}?", "{t}/%00x", "{t}*~!$'()"]
    {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        cases.push(
            case("request line", format!("target {}", named(target)), "RFC 9110, 7.7", sent).wants(Want::RefusedOr(1)),
        );
    }
    for (name, sent) in [
        ("one empty line before", "\r\nGET {t} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an unknown method", "BREW {t} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a method of one letter", "X {t} HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("HTTP/1.0", "GET {t} HTTP/1.0\r\nHost: a\r\n\r\n"),
        ("HTTP/1.0 without host", "GET {t} HTTP/1.0\r\n\r\n"),
    ] {
        cases.push(case("request line", name, "RFC 9112, 2.2 and 3", sent).wants(Want::RefusedOr(1)));
    }
    let connect = "CONNECT {t}.example:443 HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.push(
        case("request line", "CONNECT", "RFC 9110, 9.3.6", connect)
            .methods(&["CONNECT"])
            .wants(Want::Judged(no_tunnel)),
    );
    cases.push(
        case("request line", "CONNECT to a path", "RFC 9110, 9.3.6", "CONNECT {t} HTTP/1.1\r\nHost: a\r\n\r\n")
            .methods(&["CONNECT"])
            .wants(Want::Judged(no_tunnel)),
    );
    cases
}

fn no_tunnel(seen: &Seen) -> Result<(), String> {
    let opened = seen.finals().iter().any(|answer| answer.status() < 300);
    if opened && seen.origin.requests.is_empty() { Err("a tunnel was opened".to_owned()) } else { Ok(()) }
}

fn hosts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, lines) in [
        ("none", ""),
        ("two that differ", "Host: a\r\nHost: b\r\n"),
        ("two alike", "Host: a\r\nHost: a\r\n"),
        ("two, one empty", "Host: a\r\nHost:\r\n"),
        ("two in another case", "Host: a\r\nhOST: b\r\n"),
    ] {
        cases.push(case("host", name, "RFC 9112, 3.2", format!("GET {{t}} HTTP/1.1\r\n{lines}\r\n")));
    }
    for host in [
        "a b",
        "a/b",
        "a@b",
        "user:pw@a",
        "a:80:80",
        "a:x",
        "a:99999",
        "a,b",
        "a?b",
        "a#b",
        "a\\b",
        "[::1",
        "::1",
        "[::1]x",
        "[]",
        "[x]",
        "a\tb",
        "a;b",
        ":80",
        "b\u{fc}cher",
        "a\u{0}b",
        "http://a",
        "a:-1",
        "a: 80",
        "<a>",
        "\"a\"",
        "a^b",
        "a|b",
        "a`b",
        "a{b",
    ] {
        let sent = bytes(&format!("GET {{t}} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        cases.push(case("host", named(host), "RFC 9112, 3.2; RFC 3986, 3.2.2", sent));
    }
    for host in [
        "a.example",
        "A.Example:80",
        "a.example.",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:80",
        "xn--bcher-kva.example",
        "a_b",
        "a:",
    ] {
        let sent = format!("GET {{t}} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        cases.push(case("host", format!("good: {host}"), "RFC 9112, 3.2", sent).wants(Want::Passed(1)));
    }
    cases
}

fn absolute() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, target, host) in [
        ("same host", "http://a.example{t}", "a.example"),
        ("another host", "http://b.example{t}", "a.example"),
        ("with a port", "http://b.example:80{t}", "a.example"),
        ("scheme in capitals", "HTTP://b.example{t}", "a.example"),
        ("https", "https://b.example{t}", "a.example"),
    ] {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        cases.push(case("absolute form", name, "RFC 9112, 3.2.2", sent).wants(Want::Judged(|seen| {
            let [request] = &*seen.origin.requests else {
                return if seen.closed && seen.origin.requests.is_empty() {
                    Ok(())
                } else {
                    Err("not one request".to_owned())
                };
            };
            let target = request.line.split(' ').nth(1).unwrap_or_default();
            let authority = target.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
            let sent = String::from_utf8_lossy(&seen.sent).into_owned();
            let wanted =
                sent.split("://").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default().to_owned();
            let named = authority.map(str::to_owned).or_else(|| request.field("host").map(str::to_owned));
            if named.as_deref() == Some(&*wanted) {
                Ok(())
            } else {
                Err(format!("the origin was told the host {named:?}, not {wanted:?}"))
            }
        })));
    }
    for target in [
        "http://{t}",
        "http:///x{t}",
        "http://u@a{t}",
        "http://a:b@c{t}",
        "ftp://a{t}",
        "http:/a{t}",
        "http://a b{t}",
        "http://[::1{t}",
        "http://a:x{t}",
    ] {
        let sent = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        cases.push(case("absolute form", named(target), "RFC 9110, 4.2", sent));
    }
    cases.push(
        case("absolute form", "OPTIONS *", "RFC 9112, 3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a\r\nX: {t}\r\n\r\n")
            .methods(&["OPTIONS"])
            .wants(Want::RefusedOr(1)),
    );
    cases.push(case("absolute form", "GET *", "RFC 9112, 3.2.4", "GET * HTTP/1.1\r\nHost: a\r\nX: {t}\r\n\r\n"));
    cases
}
