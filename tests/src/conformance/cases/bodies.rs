//! Chunked bodies of requests (RFC 9112, 7): where two readers could end them differently, nothing goes on as whole.

use super::super::{Case, Seen, Want};
use super::{bytes, case, named};

const HEAD: &str = "POST {t} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[expect(clippy::too_many_lines, reason = "a list of cases")]
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for body in [
        "x\r\n",
        "-1\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "1_0\r\n",
        " 1\r\na\r\n0\r\n\r\n",
        "\t1\r\na\r\n0\r\n\r\n",
        "1\na\n0\n\n",
        "1\r\na\n0\r\n\r\n",
        "1\na\r\n0\r\n\r\n",
        "1\r\na\r\n0\n\r\n",
        "1\r\na\r\n0\r\n\n",
        "1\r\na\r\n0\n\n",
        "1\r\nab\r\n0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "1\r\n\r\na\r\n0\r\n\r\n",
        "1\ra\r\n0\r\n\r\n",
        "1\r\r\na\r\n0\r\n\r\n",
        "1,\r\na\r\n0\r\n\r\n",
        "1 1\r\na\r\n0\r\n\r\n",
        "\r\n1\r\na\r\n0\r\n\r\n",
        "ffffffffffffffff1\r\na\r\n",
        "10000000000000001\r\na\r\n0\r\n\r\n",
        "1;x\ny\r\na\r\n0\r\n\r\n",
        "1;x\ry\r\na\r\n0\r\n\r\n",
        "1;\u{0}\r\na\r\n0\r\n\r\n",
        "1;x\n\r\na\r\n0\r\n\r\n",
        ";x\r\na\r\n0\r\n\r\n",
        "1.0\r\na\r\n0\r\n\r\n",
        "1a;\u{b}\r\n",
        "g\r\n",
        "1\u{0}\r\na\r\n0\r\n\r\n",
        "0\r\nA: b\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\n A: b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA\r\n\r\n",
        "0\r\n: b\r\n\r\n",
        "0\r\nA: \u{0}\r\n\r\n",
        "0\r\nA: b\rC: d\r\n\r\n",
        "0\r\nA(: b\r\n\r\n",
    ] {
        let sent = bytes(&format!("{HEAD}{body}"));
        cases.push(
            case("chunked request", named(body), "RFC 9112, 7.1", sent).methods(&["POST"]).wants(Want::NeverWhole),
        );
    }
    for trailer in [
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Host: b",
        "Connection: close",
        "X-Forwarded-For: 1.2.3.4",
        "Authorization: x",
    ] {
        let sent = format!("{HEAD}1\r\na\r\n0\r\n{trailer}\r\n\r\n");
        let wanted = case("chunked request", format!("trailer {trailer}"), "RFC 9110, 6.5.1", sent).methods(&["POST"]);
        cases.push(wanted.wants(Want::Judged(|seen| {
            let raw = String::from_utf8_lossy(&seen.origin.raw).to_ascii_lowercase();
            let body = raw.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let names =
                ["content-length:", "transfer-encoding:", "host:", "connection:", "x-forwarded-for:", "authorization:"];
            let whole = !seen.origin.requests.is_empty();
            if whole && names.iter().any(|name| body.contains(name)) {
                Err("the trailer reached the origin".to_owned())
            } else {
                Ok(())
            }
        })));
    }
    for (name, body, content) in [
        ("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("several chunks", "2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n", "hello"),
        ("no chunk", "0\r\n\r\n", ""),
        ("several zeros", "000\r\n\r\n", ""),
        ("capital digits", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("leading zeros", "0005\r\nhello\r\n0\r\n\r\n", "hello"),
        ("an extension", "5;a=b\r\nhello\r\n0\r\n\r\n", "hello"),
        ("an extension in quotes", "5;a=\"b c\"\r\nhello\r\n0;x\r\n\r\n", "hello"),
        ("a trailer", "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", "hello"),
    ] {
        let judge: fn(&Seen) -> Result<(), String> = match content {
            "hello" => |seen| has_body(seen, b"hello"),
            "" => |seen| has_body(seen, b""),
            _ => |seen| has_body(seen, b"0123456789"),
        };
        let wanted = case("chunked request", format!("good: {name}"), "RFC 9112, 7.1", format!("{HEAD}{body}"));
        cases.push(wanted.methods(&["POST"]).wants(Want::Judged(judge)));
    }
    let many: String = "1\r\na\r\n".repeat(3_000);
    let wanted =
        case("chunked request", "good: 3,000 chunks of a byte", "RFC 9112, 7.1", format!("{HEAD}{many}0\r\n\r\n"));
    cases.push(wanted.methods(&["POST"]).wants(Want::Passed(1)));
    let long = format!("{HEAD}1;{}\r\na\r\n0\r\n\r\n", "x".repeat(100_000));
    cases.push(
        case("chunked request", "an extension of 100,000 bytes", "RFC 9112, 7.1.1", long)
            .methods(&["POST"])
            .wants(Want::NeverWhole)
            .should(),
    );
    let trailers = format!("{HEAD}0\r\n{}\r\n", "a: b\r\n".repeat(20_000));
    cases.push(
        case("chunked request", "120,000 bytes of trailers", "RFC 9112, 7.1.2", trailers)
            .methods(&["POST"])
            .wants(Want::NeverWhole)
            .should(),
    );
    cases.push(
        case("chunked request", "good: in pieces", "RFC 9112, 7.1", format!("{HEAD}5\r"))
            .then("\nhel")
            .then("lo\r\n0")
            .then("\r\n\r")
            .then("\n")
            .methods(&["POST"])
            .wants(Want::Judged(|seen| has_body(seen, b"hello"))),
    );
    cases
}

fn has_body(seen: &Seen, body: &[u8]) -> Result<(), String> {
    match (&*seen.origin.requests, &*seen.finals()) {
        ([request], [answer]) if request.body == body && answer.status() == 200 => Ok(()),
        (requests, answers) => Err(format!("the origin got {requests:?}, the client {} answers", answers.len())),
    }
}
