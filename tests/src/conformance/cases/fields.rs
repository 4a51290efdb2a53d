//! Header fields: their syntax, those that frame the body, and those that concern one connection only.

use super::super::{Case, Seen, Want};
use super::{bytes, case, named};

const GET: &str = "GET {t} HTTP/1.1\r\nHost: a.example\r\n";

pub(super) fn cases() -> Vec<Case> {
    [syntax(), lengths(), codings(), both(), connection_named()].concat()
}

/// RFC 9112, 5 and 2.2; RFC 9110, 5.
fn syntax() -> Vec<Case> {
    let mut cases = Vec::new();
    for line in [
        "X : y",
        "X\t: y",
        "X\u{b}: y",
        " X: y",
        "\tX: y",
        ": y",
        "X",
        "X y: z",
        "X\u{0}Y: z",
        "X\u{7f}: y",
        "X(: y",
        "X,Y: z",
        "\"X\": y",
        "X/Y: z",
        "X@: y",
        "X[]: y",
        "X\u{80}: y",
        "X{}: y",
        "X=y",
        "X;: y",
        "X\u{a0}: y",
    ] {
        let cite = if line.contains(" :") || line.contains("\t:") { "RFC 9112, 5.1" } else { "RFC 9110, 5.1" };
        let sent = bytes(&format!("{GET}{line}\r\n\r\n"));
        cases.push(case("field syntax", format!("name: {}", named(line)), cite, sent));
    }
    for value in ["a\u{0}b", "a\u{1}b", "a\u{7}b", "a\u{b}b", "a\u{c}b", "a\u{1b}b", "a\u{7f}b", "a\rb", "\r", "a\r"] {
        let sent = bytes(&format!("{GET}X: {value}\r\n\r\n"));
        // RFC 9110, 5.5: NUL, CR and LF are refused or replaced; other control characters may be.
        let is_must = value.contains(['\0', '\r']);
        let case = case("field syntax", format!("value: {}", named(value)), "RFC 9110, 5.5", sent);
        cases.push(if is_must { case } else { case.wants(Want::RefusedOr(1)).should() });
    }
    for (name, lines) in [
        ("folded line", "X: a\r\n b\r\n"),
        ("folded with a tab", "X: a\r\n\tb\r\n"),
        ("folded line of spaces only", "X: a\r\n \r\n"),
        ("folded Host", "X: a\r\n Host: b\r\n"),
    ] {
        let sent = format!("{GET}{lines}\r\n");
        cases.push(case("field syntax", name, "RFC 9112, 5.2", sent).wants(Want::RefusedOr(1)));
    }
    for (name, sent) in [
        ("a bare LF ends a field", "GET {t} HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
        ("a bare LF ends the head", "GET {t} HTTP/1.1\r\nHost: a\r\n\n"),
        ("bare LFs everywhere", "GET {t} HTTP/1.1\nHost: a\n\n"),
        ("a bare CR ends a field", "GET {t} HTTP/1.1\r\nHost: a\rX: y\r\n\r\n"),
        ("CR CR LF ends a field", "GET {t} HTTP/1.1\r\nHost: a\r\r\nX: y\r\n\r\n"),
        ("white space between first line and fields", "GET {t} HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("a tab before the first field", "GET {t} HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n"),
    ] {
        cases.push(case("field syntax", name, "RFC 9112, 2.2", sent).wants(Want::RefusedOr(1)));
    }
    for (name, line) in [
        ("no space after the colon", "X:y"),
        ("much space around the value", "X: \t y \t "),
        ("an empty value", "X:"),
        ("bytes above ASCII in a value", "X: b\u{fc}cher"),
        ("every sign of a token", "!#$%&'*+-.^_`|~1aZ: y"),
        ("a name of one letter", "x: y"),
    ] {
        let sent = bytes(&format!("{GET}{line}\r\n\r\n"));
        cases.push(case("field syntax", name, "RFC 9110, 5.1 and 5.5", sent).wants(Want::Passed(1)));
    }
    cases
}

/// RFC 9112, 6.3; RFC 9110, 8.6.
fn lengths() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in [
        "+5",
        "-5",
        "0x5",
        "5.0",
        "5 5",
        "5;",
        "5,",
        ",5",
        "5,6",
        "5, 6",
        "5e0",
        "1_0",
        "\"5\"",
        "",
        "abc",
        "5\u{b}",
        "\u{a0}5",
        "0 5",
        "18446744073709551621",
        "99999999999999999999999",
        "4294967301x",
        "5\t5",
        "--5",
        "five",
        "5\u{0}",
    ] {
        let sent = bytes(&format!("POST {{t}} HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\nhello"));
        cases.push(case("content length", named(value), "RFC 9112, 6.3", sent).methods(&["POST"]));
    }
    for (name, lines) in [
        ("two that differ", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        ("two that differ in case", "Content-Length: 5\r\ncontent-length: 0\r\n"),
        ("two with others between", "Content-Length: 5\r\nX: y\r\nContent-Length: 4\r\n"),
    ] {
        let sent = format!("POST {{t}} HTTP/1.1\r\nHost: a\r\n{lines}\r\nhello");
        cases.push(case("content length", name, "RFC 9112, 6.3", sent).methods(&["POST"]));
    }
    for (name, lines) in [
        ("the same twice", "Content-Length: 5\r\nContent-Length: 5\r\n"),
        ("the same in a list", "Content-Length: 5, 5\r\n"),
        ("leading zeros", "Content-Length: 005\r\n"),
    ] {
        let sent = format!("POST {{t}} HTTP/1.1\r\nHost: a\r\n{lines}\r\nhello");
        cases.push(case("content length", name, "RFC 9112, 6.3", sent).methods(&["POST"]).wants(Want::RefusedOr(1)));
    }
    let body = "POST {t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    cases.push(case("content length", "a body of its length", "RFC 9112, 6.2", body).methods(&["POST"]).wants(
        Want::Judged(|seen| match &*seen.origin.requests {
            [request] if request.body == b"hello" => Ok(()),
            requests => Err(format!("the origin got {requests:?}")),
        }),
    ));
    let get = "GET {t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET {t}/2 HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.push(
        case("content length", "a body of GET is no second request", "RFC 9110, 9.3.1", get)
            .methods(&["GET", "GET"])
            .wants(Want::RefusedOr(2)),
    );
    cases
}

/// Obfuscated codings (RFC 9112, 6.1): an origin that reads them otherwise sees another request.
fn codings() -> Vec<Case> {
    const SMUGGLED: &str = "0\r\n\r\nGET {t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut cases = Vec::new();
    for line in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunkedx",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: chun ked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{0}",
        "Transfer-Encoding: 'chunked'",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding:",
        "Transfer-Encoding: x",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding\u{b}: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\u{a0}",
        "Transfer-Encoding: \u{1}chunked",
        "Transfer-Encoding: chunked\rX: y",
        "Transfer-Encoding: chunked\u{85}",
        "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: c\u{68}unked; x",
        "Transfer-Encoding: chunk",
        "Transfer-Encoding: chunked chunked",
    ] {
        let sent = bytes(&format!("POST {{t}} HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n{SMUGGLED}"));
        let wanted = case("transfer coding", named(line), "RFC 9112, 6.1", sent).methods(&["POST", "GET"]);
        cases.push(wanted.wants(Want::Judged(nothing_smuggled)));
    }
    for line in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: CHUNKED",
        "transfer-encoding:chunked",
        "Transfer-Encoding: \t chunked \t",
    ] {
        let sent = format!("POST {{t}} HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        cases.push(case("transfer coding", named(line), "RFC 9112, 7", sent).methods(&["POST"]).wants(Want::Passed(1)));
    }
    let old = "POST {t} HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    cases.push(case("transfer coding", "in HTTP/1.0", "RFC 9112, 6.1", old).methods(&["POST"]).wants(Want::Judged(
        |seen| {
            if !seen.closed {
                return Err("the connection stayed open after faulty framing".to_owned());
            }
            Ok(())
        },
    )));
    cases
}

/// RFC 9112, 6.1 and 6.3: with both, the connection ends in any case, and never both are sent on.
fn both() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, lines, body) in [
        ("length first", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("coding first", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"),
        ("length 0", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        (
            "length of another request",
            "Content-Length: 48\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\nGET {t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("odd coding", "Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n", "hello"),
        ("identity", "Content-Length: 5\r\nTransfer-Encoding: identity\r\n", "hello"),
        (
            "coding named by Connection",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: transfer-encoding\r\n",
            "0\r\n\r\n",
        ),
    ] {
        let sent = format!("POST {{t}} HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}");
        let wanted = case("length and coding", name, "RFC 9112, 6.1 and 6.3", sent).methods(&["POST", "GET"]);
        cases.push(wanted.wants(Want::Judged(|seen| {
            nothing_smuggled(seen)?;
            if seen.closed { Ok(()) } else { Err("the connection stayed open".to_owned()) }
        })));
    }
    cases
}

/// Whatever a proxy makes of it: the second request never reaches the origin as one that the proxy did not see, and the
/// connection ends unless the request was read as the standard says.
fn nothing_smuggled(seen: &Seen) -> Result<(), String> {
    let smuggled = seen.origin.requests.iter().filter(|request| request.line.contains("/smuggled")).count();
    let answered = seen.finals().iter().filter(|answer| answer.status() < 400).count();
    if smuggled > 0 && answered < seen.origin.requests.len() {
        return Err("a request reached the origin that the proxy did not see".to_owned());
    }
    if seen.origin.requests.is_empty() && !seen.closed {
        return Err("the connection stayed open after faulty framing".to_owned());
    }
    Ok(())
}

/// RFC 9110, 7.6.1: what `Connection` names ends here, in both directions.
fn connection_named() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, lines, gone) in [
        ("one name", "Connection: X-Secret\r\nX-Secret: 1\r\n", "x-secret"),
        ("in another case", "connection: x-sECRET\r\nX-Secret: 1\r\n", "x-secret"),
        ("in a list", "Connection: a, X-Secret ,b\r\nX-Secret: 1\r\n", "x-secret"),
        ("in a second line", "Connection: a\r\nConnection: X-Secret\r\nX-Secret: 1\r\n", "x-secret"),
        ("with close", "Connection: close, X-Secret\r\nX-Secret: 1\r\n", "x-secret"),
        ("named before it stands", "X-Secret: 1\r\nConnection: X-Secret\r\n", "x-secret"),
        ("two of them", "Connection: X-Secret\r\nX-Secret: 1\r\nX-Secret: 2\r\n", "x-secret"),
        ("Keep-Alive", "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "keep-alive"),
        ("Proxy-Connection", "Proxy-Connection: keep-alive\r\n", "proxy-connection"),
        ("TE", "Connection: TE\r\nTE: trailers\r\n", "te"),
    ] {
        let sent = format!("{GET}{lines}\r\n");
        let judge: fn(&Seen) -> Result<(), String> = match gone {
            "x-secret" => |seen| is_gone(seen, "x-secret"),
            "keep-alive" => |seen| is_gone(seen, "keep-alive"),
            "proxy-connection" => |seen| is_gone(seen, "proxy-connection"),
            _ => |seen| is_gone(seen, "te"),
        };
        let wanted = case("connection fields", name, "RFC 9110, 7.6.1", sent).wants(Want::Judged(judge));
        // What is not named there should go as well.
        let is_named = lines.to_ascii_lowercase().contains(&format!("{gone}\r\n")) || gone == "x-secret";
        cases.push(if is_named { wanted } else { wanted.should() });
    }
    for named in ["Host", "Content-Length", "Transfer-Encoding"] {
        let sent = format!(
            "POST {{t}} HTTP/1.1\r\nHost: a\r\nConnection: {named}\r\nContent-Length: 5\r\n\r\nhelloGET {{t}}/2 HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        cases.push(
            case("connection fields", format!("{named} can't be named away"), "RFC 9110, 7.6.1", sent)
                .methods(&["POST", "GET"])
                .wants(Want::RefusedOr(2)),
        );
    }
    for (name, lines) in [
        ("X-Forwarded-For can't be named away", "Connection: X-Forwarded-For\r\n"),
        ("X-Forwarded-For can't be sent and named", "Connection: X-Forwarded-For\r\nX-Forwarded-For: 1.2.3.4\r\n"),
    ] {
        let sent = format!("{GET}{lines}\r\n");
        cases.push(case("connection fields", name, "RFC 9110, 7.6.1", sent).should().wants(Want::Judged(|seen| {
            let told = seen.origin.requests.first().is_some_and(|request| request.has("x-forwarded-for"));
            if told { Ok(()) } else { Err("the origin was not told the client's address".to_owned()) }
        })));
    }
    for (name, lines, gone) in [
        ("named in an answer", "Connection: X-Secret\r\nX-Secret: 1\r\n", "x-secret"),
        ("Keep-Alive in an answer", "Keep-Alive: timeout=5\r\n", "keep-alive"),
        ("Proxy-Connection in an answer", "Proxy-Connection: close\r\n", "proxy-connection"),
    ] {
        let judge: fn(&Seen) -> Result<(), String> = match gone {
            "x-secret" => |seen| is_kept_back(seen, "x-secret"),
            "keep-alive" => |seen| is_kept_back(seen, "keep-alive"),
            _ => |seen| is_kept_back(seen, "proxy-connection"),
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{lines}\r\nok");
        let wanted = case("connection fields", name, "RFC 9110, 7.6.1", format!("{GET}\r\n")).answered(answer);
        let wanted = wanted.wants(Want::Judged(judge));
        cases.push(if gone == "x-secret" { wanted } else { wanted.should() });
    }
    cases
}

fn is_gone(seen: &Seen, name: &str) -> Result<(), String> {
    match &*seen.origin.requests {
        [request] if request.has(name) => Err(format!("`{name}` reached the origin")),
        [_] => Ok(()),
        requests => Err(format!("the origin got {} requests, not 1", requests.len())),
    }
}

fn is_kept_back(seen: &Seen, name: &str) -> Result<(), String> {
    match *seen.finals() {
        [answer] if answer.has(name) => Err(format!("`{name}` reached the client")),
        [answer] if answer.status() == 200 => Ok(()),
        ref answers => Err(format!("the client got {} answers, not one 200", answers.len())),
    }
}
