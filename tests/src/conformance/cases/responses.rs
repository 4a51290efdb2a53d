//! What comes from the origin: framing that must not be believed, answers that must not be taken for another's, and
//! what clients of HTTP/1.0 and HEAD must not get.

use super::super::{Case, Seen, Want};
use super::{Then, bytes, case, named};

const GET: &str = "GET {t} HTTP/1.1\r\nHost: a\r\n\r\n";

pub(super) fn cases() -> Vec<Case> {
    [framing(), syntax(), chunks(), cuts(), bodiless(), interim(), old_clients(), surplus()].concat()
}

/// The client gets an error in place of it, or a message that is visibly not whole; nothing that it could misread.
fn kept_back(seen: &Seen) -> Result<(), String> {
    if let Some(fault) = &seen.answers.fault {
        return Err(format!("the client got what it can't read: {fault}"));
    }
    match *seen.finals() {
        [] if seen.closed => Ok(()),
        [answer] if answer.status() >= 500 => Ok(()),
        [answer] if !answer.complete => Ok(()),
        [answer] => Err(format!("it reached the client as a whole {}", answer.status())),
        ref answers => Err(format!("the client got {} answers", answers.len())),
    }
}

/// The same, or one that is right: some faults may be repaired.
fn kept_back_or_right(seen: &Seen) -> Result<(), String> {
    if let Some(fault) = &seen.answers.fault {
        return Err(format!("the client got what it can't read: {fault}"));
    }
    match seen.finals().len() {
        0 if seen.closed => Ok(()),
        1 => Ok(()),
        answers => Err(format!("the client got {answers} answers")),
    }
}

#[expect(clippy::too_many_lines, reason = "a list of cases")]
fn framing() -> Vec<Case> {
    let mut cases = Vec::new();
    for lines in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5, 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: abc",
        "Content-Length:",
        "Content-Length: 5 5",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 5;",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        "Transfer-Encoding: \u{b}chunked",
    ] {
        let answer = bytes(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhello"));
        cases.push(
            case("answer framing", named(lines), "RFC 9112, 6.3", GET).answered(answer).closing(Then::Close).wants(
                Want::Judged(|seen| {
                    if seen.finals().iter().any(|answer| {
                        answer.status() < 500 && answer.complete && !answer.until_close && answer.body != b"hello"
                    }) {
                        Err("the client got another body than the origin sent".to_owned())
                    } else {
                        kept_back_or_right(seen)
                    }
                }),
            ),
        );
    }
    for lines in
        ["Content-Length: 5\r\nContent-Length: 6", "Content-Length: abc", "Content-Length: -5", "Content-Length: 5, 6"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhello");
        cases.push(
            case("answer framing", format!("an error in place of {}", named(lines)), "RFC 9112, 6.3", GET)
                .answered(answer)
                .closing(Then::Close)
                .wants(Want::Judged(kept_back)),
        );
    }
    for lines in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        let answer = format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        cases.push(
            case("answer framing", format!("both: {}", named(lines)), "RFC 9112, 6.3", GET).answered(answer).wants(
                Want::Judged(|seen| match *seen.finals() {
                    [answer] if answer.status() == 200 && answer.body != b"hi" => {
                        Err("the client got another body".to_owned())
                    }
                    _ => kept_back_or_right(seen),
                }),
            ),
        );
    }
    for (name, answer) in [
        ("a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
        (
            "chunks with a trailer",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        ("words of two words", "HTTP/1.1 200 Very Well\r\nContent-Length: 5\r\n\r\nhello"),
        ("no words", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\nhello"),
        ("HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    ] {
        cases.push(
            case("answer framing", format!("good: {name}"), "RFC 9112, 6.3", GET)
                .answered(answer)
                .wants(Want::Judged(is_hello)),
        );
    }
    cases.push(
        case("answer framing", "good: until the end", "RFC 9112, 6.3", GET)
            .answered("HTTP/1.1 200 OK\r\n\r\nhello")
            .closing(Then::Close)
            .wants(Want::Judged(is_hello)),
    );
    cases.push(
        case("answer framing", "good: a head in two pieces", "RFC 9112, 2.2", GET)
            .answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .cut(20)
            .wants(Want::Judged(is_hello)),
    );
    cases.push(
        case("answer framing", "good: a body in two pieces", "RFC 9112, 2.2", GET)
            .answered("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            .cut(41)
            .wants(Want::Judged(is_hello)),
    );
    cases
}

fn is_hello(seen: &Seen) -> Result<(), String> {
    match *seen.finals() {
        [answer] if answer.status() == 200 && answer.body == b"hello" && answer.complete => Ok(()),
        ref answers => Err(format!("the client got {answers:?}")),
    }
}

fn syntax() -> Vec<Case> {
    let mut cases = Vec::new();
    for answer in [
        "garbage\r\n\r\n",
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 \r\n\r\n",
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1200 OK\r\nContent-Length: 0\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\u{0}b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rY: b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 O\u{0}K\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
        " HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX Y: b\r\nContent-Length: 0\r\n\r\n",
    ] {
        cases.push(
            case("answer syntax", named(answer), "RFC 9112, 4 and 5", GET)
                .answered(bytes(answer))
                .closing(Then::Close)
                .wants(Want::Judged(kept_back_or_right)),
        );
    }
    cases.push(
        case("answer syntax", "a space before a colon is removed", "RFC 9112, 5.1", GET)
            .answered("HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 5\r\n\r\nhello")
            .wants(Want::Judged(kept_back_or_right)),
    );
    cases.push(
        case("answer syntax", "no answer", "RFC 9110, 15.6.3", GET)
            .answered("")
            .closing(Then::Close)
            .wants(Want::Judged(kept_back)),
    );
    cases.push(
        case("answer syntax", "a reset in place of an answer", "RFC 9110, 15.6.3", GET)
            .answered("")
            .closing(Then::Reset)
            .wants(Want::Judged(kept_back)),
    );
    let huge = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(1_000_000));
    cases.push(
        case("answer syntax", "a head of a megabyte", "RFC 9110, 5.4", GET)
            .answered(huge)
            .closing(Then::Close)
            .wants(Want::Judged(kept_back_or_right))
            .should(),
    );
    cases
}

fn chunks() -> Vec<Case> {
    let mut cases = Vec::new();
    for body in [
        "x\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "1\na\n0\n\n",
        "fffffffffffffffff\r\na\r\n",
        "1\r\na0\r\n\r\n",
        "1\r\na\r\n\r\n",
        "1;\u{0}\r\na\r\n0\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "1 1\r\na\r\n0\r\n\r\n",
    ] {
        let answer = bytes(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
        cases.push(
            case("chunked answer", named(body), "RFC 9112, 7.1", GET).answered(answer).closing(Then::Close).wants(
                Want::Judged(|seen| {
                    if seen
                        .finals()
                        .iter()
                        .any(|answer| answer.status() < 500 && answer.complete && !answer.until_close)
                    {
                        return Err("the client got it as a whole answer".to_owned());
                    }
                    Ok(())
                }),
            ),
        );
    }
    cases
}

fn cuts() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, answer) in [
        ("in the status line", "HTTP/1.1 20"),
        ("in the head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("before the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("in the body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"),
        ("in a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"),
        ("before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        ("in the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: "),
    ] {
        for (word, then) in [("closed", Then::Close), ("reset", Then::Reset)] {
            let wanted =
                case("cut answers", format!("{name}, {word}"), "RFC 9112, 8", GET).answered(answer).closing(then);
            cases.push(wanted.wants(Want::Judged(kept_back)));
        }
    }
    let reset = case("cut answers", "without length, reset", "RFC 9112, 8", GET)
        .answered("HTTP/1.1 200 OK\r\n\r\nhello")
        .closing(Then::Reset);
    cases.push(reset.wants(Want::Judged(kept_back)).should());
    cases
}

/// RFC 9112, 6.3: answers that have no body whatever their fields say.
fn bodiless() -> Vec<Case> {
    let one: fn(&Seen) -> Result<(), String> = |seen| {
        if let Some(fault) = &seen.answers.fault {
            return Err(format!("the client got what it can't read: {fault}"));
        }
        if seen.finals().len() == 1 { Ok(()) } else { Err(format!("the client got {} answers", seen.finals().len())) }
    };
    let mut cases = Vec::new();
    for (name, answer) in [
        ("204", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
        ("204 with a coding", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
        ("304", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
        ("304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
        ("304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello"),
    ] {
        cases.push(case("bodiless answers", name, "RFC 9112, 6.3", GET).answered(answer).wants(Want::Judged(one)));
    }
    for (name, answer) in [
        ("HEAD with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        ("HEAD with a coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("HEAD with a body", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ("HEAD with neither", "HTTP/1.1 200 OK\r\n\r\n"),
    ] {
        let sent = "HEAD {t} HTTP/1.1\r\nHost: a\r\n\r\n";
        cases.push(
            case("bodiless answers", name, "RFC 9110, 9.3.2", sent)
                .methods(&["HEAD"])
                .answered(answer)
                .wants(Want::Judged(one)),
        );
    }
    cases.push(
        case("bodiless answers", "204 says no length on", "RFC 9110, 8.6", GET)
            .answered("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
            .should()
            .wants(Want::Judged(|seen| match *seen.finals() {
                [answer] if !answer.has("content-length") && !answer.has("transfer-encoding") => Ok(()),
                ref answers => Err(format!("the client got {answers:?}")),
            })),
    );
    cases
}

fn interim() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let mut cases = Vec::new();
    for (name, before) in [
        ("100", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("102", "HTTP/1.1 102 Processing\r\n\r\n"),
        ("103", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        ("two", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n"),
        ("103 with a length", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n"),
    ] {
        cases.push(
            case("interim answers", format!("{name} before the answer"), "RFC 9110, 15.2", GET)
                .answered(format!("{before}{ok}"))
                .wants(Want::Judged(is_hello)),
        );
        let old = "GET {t} HTTP/1.0\r\nHost: a\r\n\r\n";
        cases.push(
            case("interim answers", format!("{name} never to HTTP/1.0"), "RFC 9110, 15.2", old)
                .answered(format!("{before}{ok}"))
                .wants(Want::Judged(|seen| {
                    let interim = seen.answers.messages.iter().any(|answer| answer.status() < 200);
                    if interim { Err("an HTTP/1.0 client got an interim answer".to_owned()) } else { is_hello(seen) }
                })),
        );
    }
    let flood = format!("{}{ok}", "HTTP/1.1 102 Processing\r\n\r\n".repeat(5_000));
    cases.push(case("interim answers", "a flood of them ends", "RFC 9110, 15.2", GET).answered(flood).should().wants(
        Want::Judged(|seen| {
            if seen.answers.messages.len() > 1_000 {
                Err(format!("{} interim answers", seen.answers.messages.len()))
            } else {
                Ok(())
            }
        }),
    ));
    cases
}

/// RFC 9112, 6.1: a client of HTTP/1.0 gets no chunks.
fn old_clients() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, answer, then) in [
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", Then::Keep),
        ("until the end", "HTTP/1.1 200 OK\r\n\r\nhello", Then::Close),
    ] {
        for sent in
            ["GET {t} HTTP/1.0\r\nHost: a\r\n\r\n", "GET {t} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"]
        {
            let kept = if sent.contains("keep-alive") { " on a kept connection" } else { "" };
            cases.push(
                case("HTTP/1.0 clients", format!("{name}{kept}"), "RFC 9112, 6.1", sent)
                    .answered(answer)
                    .closing(then)
                    .wants(Want::Judged(|seen| match *seen.finals() {
                        [answer] if answer.has("transfer-encoding") => {
                            Err("an HTTP/1.0 client got a transfer coding".to_owned())
                        }
                        [answer] if answer.body == b"hello" => Ok(()),
                        ref answers => Err(format!("the client got {answers:?}")),
                    })),
            );
        }
    }
    cases
}

/// RFC 9112, 6.3: what comes behind an answer is never the answer to the next request.
fn surplus() -> Vec<Case> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    let mut cases = Vec::new();
    for (name, more) in [
        ("another answer", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
        ("garbage", "xxxxx"),
        ("an empty line", "\r\n"),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-Le"),
        ("a longer body than said", "more"),
    ] {
        let wanted = case("surplus answers", name, "RFC 9112, 6.3", GET)
            .then(GET)
            .methods(&["GET", "GET"])
            .answered(format!("{ok}{more}"));
        cases.push(wanted.wants(Want::Judged(|seen| {
            if let Some(fault) = &seen.answers.fault {
                return Err(format!("the client got what it can't read: {fault}"));
            }
            match seen.finals().iter().find(|answer| answer.status() == 200 && answer.body != b"hello") {
                Some(answer) => {
                    Err(format!("the client got {:?} in place of its answer", String::from_utf8_lossy(&answer.body)))
                }
                None => Ok(()),
            }
        })));
    }
    cases
}
