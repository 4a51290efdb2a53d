//! More than one message: pipelining, ends of connections, `Expect`, early answers, upgrades, cut requests.

use super::super::{Case, Seen, Want};
use super::{Then, case};

const GET: &str = "GET {t} HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    [pipelines(), persistence(), expectations(), early(), upgrades(), cuts()].concat()
}

fn pipelines() -> Vec<Case> {
    let mut cases = Vec::new();
    for count in [2, 5, 20] {
        let all: Vec<_> = (0..count).map(|number| format!("GET {{t}}/{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
        let sent = all.concat();
        cases.push(
            case("pipelining", format!("{count} at once"), "RFC 9112, 9.3.2", sent)
                .methods(&vec!["GET"; count])
                .wants(Want::Judged(in_order)),
        );
    }
    let mixed = "POST {t}/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloPOST {t}/1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\n\r\nGET {t}/2 HTTP/1.1\r\nHost: a\r\n\r\n";
    cases.push(
        case("pipelining", "bodies between", "RFC 9112, 9.3.2", mixed)
            .methods(&["POST", "POST", "GET"])
            .wants(Want::Judged(in_order)),
    );
    cases.push(
        case(
            "pipelining",
            "a head in two pieces behind another",
            "RFC 9112, 9.3.2",
            "GET {t}/0 HTTP/1.1\r\nHost: a\r\n\r\nGET {t}/1 HT",
        )
        .then("TP/1.1\r\nHost: a\r\n\r\n")
        .methods(&["GET", "GET"])
        .wants(Want::Judged(in_order)),
    );
    cases.push(
        case("pipelining", "a byte at a time", "RFC 9112, 2.2", "G")
            .then("ET {t}")
            .then(" HTTP/1.1\r")
            .then("\nHost: a\r\n\r")
            .then("\n")
            .wants(Want::Passed(1)),
    );
    cases.push(
        case(
            "pipelining",
            "a bad one behind a good one",
            "RFC 9112, 9.3.2",
            format!("{GET}GET {{t}}/bad HTTP/1.1\r\nHost : a\r\n\r\n"),
        )
        .methods(&["GET", "GET"])
        .wants(Want::Judged(|seen| {
            if seen.origin.requests.len() == 1 && seen.closed {
                Ok(())
            } else {
                Err("the bad one was not refused alone".to_owned())
            }
        })),
    );
    cases
}

fn in_order(seen: &Seen) -> Result<(), String> {
    let answers = seen.finals();
    let sent = String::from_utf8_lossy(&seen.sent).matches(" HTTP/1.1\r\n").count();
    if seen.origin.requests.len() != sent || answers.len() != sent {
        return Err(format!(
            "{sent} sent, {} reached the origin, {} were answered",
            seen.origin.requests.len(),
            answers.len()
        ));
    }
    Ok(())
}

fn persistence() -> Vec<Case> {
    let mut cases = Vec::new();
    let closes: fn(&Seen) -> Result<(), String> = |seen| {
        if seen.closed && seen.finals().len() == 1 { Ok(()) } else { Err("the connection stayed open".to_owned()) }
    };
    for (name, sent) in [
        ("Connection: close", "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        ("Connection: CLOSE in a list", "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n"),
        ("HTTP/1.0", "GET {t} HTTP/1.0\r\nHost: a\r\n\r\n"),
        ("close and keep-alive", "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n"),
    ] {
        cases.push(case("persistence", name, "RFC 9112, 9.6", sent).wants(Want::Judged(closes)));
    }
    cases.push(
        case(
            "persistence",
            "nothing is answered behind close",
            "RFC 9112, 9.6",
            format!("GET {{t}} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n{GET}"),
        )
        .methods(&["GET", "GET"])
        .wants(Want::Judged(|seen| {
            if seen.finals().len() == 1 && seen.origin.requests.len() == 1 {
                Ok(())
            } else {
                Err("the second was taken".to_owned())
            }
        })),
    );
    for (name, sent) in [
        ("HTTP/1.1", GET),
        ("HTTP/1.0 with keep-alive", "GET {t} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"),
    ] {
        cases.push(
            case("persistence", format!("kept: {name}"), "RFC 9112, 9.3", sent)
                .then(sent)
                .methods(&["GET", "GET"])
                .wants(Want::Passed(2))
                .should(),
        );
    }
    cases.push(
        case("persistence", "an origin that closes does not close the client's connection", "RFC 9112, 9.3", GET)
            .then(GET)
            .methods(&["GET", "GET"])
            .answered("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            .closing(Then::Close)
            .wants(Want::Passed(2))
            .should(),
    );
    cases
}

fn expectations() -> Vec<Case> {
    let head = "POST {t} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    let whole: fn(&Seen) -> Result<(), String> = |seen| match (&*seen.origin.requests, &*seen.finals()) {
        ([request], [answer]) if request.body == b"hello" && answer.status() == 200 => Ok(()),
        (requests, answers) => Err(format!("{} requests, {} answers", requests.len(), answers.len())),
    };
    vec![
        case("expect", "the body comes with it", "RFC 9110, 10.1.1", format!("{head}hello"))
            .methods(&["POST"])
            .wants(Want::Judged(whole)),
        case("expect", "the body comes unasked", "RFC 9110, 10.1.1", head)
            .then("hello")
            .methods(&["POST"])
            .wants(Want::Judged(whole)),
        case("expect", "the origin says 100", "RFC 9110, 15.2.1", head)
            .then("hello")
            .methods(&["POST"])
            .early()
            .answered("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .wants(Want::Judged(|seen| {
                if seen.finals().len() == 1 { Ok(()) } else { Err(format!("{} answers", seen.finals().len())) }
            })),
        case("expect", "the origin refuses before the body", "RFC 9110, 10.1.1", head)
            .methods(&["POST"])
            .early()
            .answered("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
            .wants(Want::Judged(|seen| match *seen.finals() {
                // A proxy that says 100 itself waits for the body; then it is the client who gives up.
                [answer] if answer.status() == 417 || answer.status() >= 400 => Ok(()),
                [] => Ok(()),
                ref answers => Err(format!("the client got {} answers", answers.len())),
            })),
        case(
            "expect",
            "what follows a refused body is no request",
            "CVE-2025-32094",
            format!("{head}GET {{t}}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"),
        )
        .methods(&["POST", "GET"])
        .early()
        .answered("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
        .wants(Want::Judged(|seen| {
            let smuggled = seen.origin.requests.iter().any(|request| request.line.contains("/smuggled"));
            if smuggled { Err("a body was taken for a request".to_owned()) } else { Ok(()) }
        })),
        case(
            "expect",
            "of a GET without body",
            "RFC 9110, 10.1.1",
            "GET {t} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
        )
        .wants(Want::RefusedOr(1)),
        case(
            "expect",
            "of HTTP/1.0 is ignored",
            "RFC 9110, 10.1.1",
            "POST {t} HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
        )
        .methods(&["POST"])
        .wants(Want::Judged(|seen| {
            let interim = seen.answers.messages.iter().any(|answer| answer.status() < 200);
            if interim { Err("an HTTP/1.0 client got an interim answer".to_owned()) } else { Ok(()) }
        })),
        case(
            "expect",
            "of something unknown",
            "RFC 9110, 10.1.1",
            "GET {t} HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n",
        )
        .wants(Want::RefusedOr(1))
        .should(),
    ]
}

/// The origin answers before it has the whole request: the connection must not be used as if it had.
fn early() -> Vec<Case> {
    let judge: fn(&Seen) -> Result<(), String> = |seen| {
        let smuggled = seen.origin.requests.iter().any(|request| request.line.contains("/smuggled"));
        match (smuggled, &*seen.finals()) {
            (true, _) => Err("the rest of a body was taken for a request".to_owned()),
            (false, [_, _, ..]) => Err("more answers than requests".to_owned()),
            _ => Ok(()),
        }
    };
    let answer = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno";
    vec![
        case(
            "early answers",
            "the body never comes",
            "RFC 9112, 9.3",
            "POST {t} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhel",
        )
        .methods(&["POST"])
        .early()
        .answered(answer)
        .wants(Want::Judged(judge)),
        case(
            "early answers",
            "a request inside the rest of the body",
            "CVE-2025-4366",
            "POST {t} HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\n\r\nhel",
        )
        .then("GET {t}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        .methods(&["POST"])
        .early()
        .answered(answer)
        .wants(Want::Judged(judge)),
        case(
            "early answers",
            "chunks that go on",
            "CVE-2025-4366",
            "POST {t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        )
        .then("0\r\n\r\n")
        .methods(&["POST"])
        .early()
        .answered(answer)
        .wants(Want::Judged(judge)),
        case(
            "early answers",
            "and the origin closes",
            "RFC 9112, 9.6",
            "POST {t} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhel",
        )
        .methods(&["POST"])
        .early()
        .answered("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
        .closing(Then::Close)
        .wants(Want::Judged(judge)),
    ]
}

fn upgrades() -> Vec<Case> {
    let ask = "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
    let smuggled: fn(&Seen) -> Result<(), String> = |seen| {
        if seen.origin.requests.iter().any(|request| request.line.contains("/smuggled")) && seen.finals().len() < 2 {
            return Err("bytes reached the origin before it agreed to another protocol".to_owned());
        }
        Ok(())
    };
    vec![
        case("upgrades", "accepted", "RFC 9110, 7.8", ask).answered(switch).wants(Want::Judged(|seen| match *seen.finals() {
            [answer] if answer.status() == 101 && seen.raw.ends_with(b"hello") => Ok(()),
            ref answers => Err(format!("the client got {} answers and not the tunnel", answers.len())),
        })),
        case("upgrades", "refused with 426", "RFC 9110, 7.8", ask)
            .answered("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno")
            .wants(Want::Judged(|seen| match *seen.finals() {
                [answer] if answer.status() == 426 => Ok(()),
                ref answers => Err(format!("the client got {} answers", answers.len())),
            })),
        case("upgrades", "a refused one is no tunnel", "CVE-2026-2833", ask)
            .then("GET {t}/smuggled HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n")
            .methods(&["GET", "GET"])
            .wants(Want::Judged(|seen| {
                if seen.origin.requests.len() > 1 { Err("a tunnel stood although the origin refused it".to_owned()) } else { Ok(()) }
            })),
        case("upgrades", "a request sent before the answer", "CVE-2026-2833", format!("{ask}GET {{t}}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))
            .methods(&["GET", "GET"])
            .wants(Want::Judged(smuggled)),
        case("upgrades", "an unasked 101", "RFC 9110, 15.2.2", GET).answered(switch).wants(Want::Judged(no_switch)),
        case("upgrades", "an unasked 101 to an offer without Connection", "RFC 9110, 7.8", "GET {t} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")
            .answered(switch)
            .wants(Want::Judged(no_switch)),
        case("upgrades", "h2c is not offered to the origin", "RFC 9113, 3.1; h2c smuggling (2020)", "GET {t} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")
            .wants(Want::Judged(|seen| {
                let offered = seen.origin.requests.iter().any(|request| request.has("upgrade") || request.has("http2-settings"));
                if offered { Err("h2c was offered to the origin".to_owned()) } else { Ok(()) }
            })),
        case("upgrades", "of HTTP/1.0 is ignored", "RFC 9110, 7.8", "GET {t} HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .answered(switch)
            .wants(Want::Judged(no_switch)),
    ]
}

fn no_switch(seen: &Seen) -> Result<(), String> {
    let switched = seen.answers.messages.iter().any(|answer| answer.status() == 101);
    if switched { Err("the client was switched to a protocol that it did not ask for".to_owned()) } else { Ok(()) }
}

/// Requests that end before their end never reach the origin as whole ones.
fn cuts() -> Vec<Case> {
    let judge: fn(&Seen) -> Result<(), String> = |seen| {
        if seen.origin.requests.is_empty() {
            Ok(())
        } else {
            Err("half a request reached the origin as a whole one".to_owned())
        }
    };
    let mut cases = Vec::new();
    for (name, sent) in [
        ("in the request line", "GET {t} HT"),
        ("in a field", "GET {t} HTTP/1.1\r\nHost: a\r\nX: "),
        ("before the empty line", "GET {t} HTTP/1.1\r\nHost: a\r\n"),
        ("in a body of known length", "POST {t} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"),
        ("in a chunk", "POST {t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        ("before the last chunk", "POST {t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        (
            "before the end of the trailers",
            "POST {t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n",
        ),
    ] {
        // No request is whole, so that none is waited for.
        cases.push(case("cut requests", name, "RFC 9112, 8", sent).methods(&[]).wants(Want::Judged(judge)));
    }
    cases
}
