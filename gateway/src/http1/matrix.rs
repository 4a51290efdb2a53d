//! The framing matrices: what each malformed head is answered with, and what a good one becomes.

#![expect(clippy::string_slice, reason = "test input, cut where the test says")]

use super::*;

const LIMITS: HeadLimits = HeadLimits { head_bytes_max: 65_536, target_bytes_max: 16_384, fields_max: 128 };

/// Status 0: accepted.
#[track_caller]
fn check_request(lines: &str, status: u16) {
    check_raw(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"), status);
}

#[track_caller]
fn check_raw(input: &str, status: u16) {
    let bytes: Vec<u8> = input.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect();
    let mut storage = Storage::new();
    let found = match RequestHead::parse(&bytes, &mut storage, &LIMITS) {
        Ok(Some(_)) => 0,
        Ok(None) => 1,
        Err(fault) => fault.status(),
    };
    assert_eq!(found, status, "{input:?}");
}

#[test]
fn bodies_that_two_readers_could_end_differently_are_refused() {
    for (lines, status) in [
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
        ("Content-Length: 5, 6\r\n", 400),
        ("Content-Length: 5,\r\n", 400),
        ("Content-Length: +5\r\n", 400),
        ("Content-Length: -5\r\n", 400),
        ("Content-Length: 0x5\r\n", 400),
        ("Content-Length: 5.0\r\n", 400),
        ("Content-Length: 5 5\r\n", 400),
        ("Content-Length: 1_0\r\n", 400),
        ("Content-Length: \"5\"\r\n", 400),
        ("Content-Length: \r\n", 400),
        ("Content-Length: 18446744073709551621\r\n", 400),
        ("Content-Length : 5\r\n", 400),
        ("Content-Length\t: 5\r\n", 400),
        ("Content-Length\u{b}: 5\r\n", 400),
        (" Content-Length: 5\r\n", 400),
        ("X: y\r\n Content-Length: 5\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", 0),
        ("Content-Length: 5, 5\r\n", 0),
        ("Content-Length: 005\r\n", 0),
    ] {
        check_request(lines, status);
    }
}

#[test]
fn transfer_codings_other_than_one_chunked_are_refused() {
    for (value, status) in [
        ("chunked", 0),
        ("CHUNKED", 0),
        ("\tchunked \t", 0),
        ("gzip, chunked", 501),
        ("identity, chunked", 501),
        ("gzip", 400),
        ("identity", 400),
        ("chunked, identity", 400),
        ("chunked, chunked", 400),
        ("chunked,", 400),
        (",chunked", 400),
        ("chunked;q=1", 400),
        ("chunked chunked", 400),
        ("xchunked", 400),
        ("chunkedx", 400),
        ("\"chunked\"", 400),
        ("'chunked'", 400),
        ("chunked\u{0}", 400),
        ("\u{b}chunked", 400),
        ("\u{a0}chunked", 400),
        ("chun\rked", 400),
        ("", 400),
    ] {
        check_request(&format!("Transfer-Encoding: {value}\r\n"), status);
    }
    check_request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400);
    check_request("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 400);
    check_request("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501);
    check_request("Transfer-Encoding : chunked\r\n", 400);
    check_request("Transfer-Encoding:\r\n chunked\r\n", 400);
    check_request("Transfer-Encoding\r\n: chunked\r\n", 400);
    check_raw("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
}

#[test]
fn field_lines_are_name_colon_value() {
    for lines in [
        "no colon\r\n",
        ": empty\r\n",
        "Na me: x\r\n",
        "Name : x\r\n",
        "Name\t: x\r\n",
        "N\u{e4}me: x\r\n",
        "N(me: x\r\n",
        "X: \u{0}\r\n",
        "X: a\u{1}\r\n",
        "X: a\rb\r\n",
        "X: a\r\r\n",
        "X: a\nY: b\r\n",
        "X: a\n",
        "X: a\u{7f}\r\n",
        "X: a\r\n folded\r\n",
        "X: a\r\n\tfolded\r\n",
        "X: a\r\n \r\n",
    ] {
        check_request(lines, 400);
    }
    check_request("X: \u{e4}\tb\r\nY:\r\nZ:c\r\n", 0);
    check_raw("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
    check_raw("GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n", 400);
    check_raw("GET / HTTP/1.1\nHost: a\r\n\r\n", 400);
    check_raw("GET / HTTP/1.1\r\nHost: a\n\n", 400);
    check_raw("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
}

#[test]
fn hosts_are_one_and_plain() {
    let with = |lines: &str| format!("GET / HTTP/1.1\r\n{lines}\r\n");
    for (lines, status) in [
        ("", 400),
        ("Host: a\r\nHost: a\r\n", 400),
        ("Host: a\r\nHost: b\r\n", 400),
        ("Host: a b\r\n", 400),
        ("Host: u@a\r\n", 400),
        ("Host: a/b\r\n", 400),
        ("Host: a:b\r\n", 400),
        ("Host: a, b\r\n", 400),
        ("Host: [::1\r\n", 400),
        ("Host: a:80\r\n", 0),
        ("Host:\r\n", 0),
    ] {
        check_raw(&with(lines), status);
    }
    check_raw("GET / HTTP/1.0\r\n\r\n", 0);
    check_raw("GET http://b/ HTTP/1.1\r\n\r\n", 400);
    check_raw("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 0);
}

#[test]
fn request_lines_are_method_path_version() {
    for (line, status) in [
        ("GET / HTTP/1.1", 0),
        ("M-SEARCH / HTTP/1.1", 0),
        ("OPTIONS * HTTP/1.1", 0),
        ("GET * HTTP/1.1", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET\t/ HTTP/1.1", 400),
        (" GET / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /#x HTTP/1.1", 400),
        ("GET /\u{e4} HTTP/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("G(T / HTTP/1.1", 400),
        ("GET a:80 HTTP/1.1", 400),
        ("GET http://u:p@a/ HTTP/1.1", 400),
        ("GET ftp://a/ HTTP/1.1", 400),
        ("CONNECT a:80 HTTP/1.1", 501),
        ("GET / HTTP/2.0", 505),
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/3", 505),
        ("GET / http/1.1", 400),
        ("GET / HTTP/x.y", 400),
        ("GET / HTTP/1.10", 400),
        ("GET / HTTPS/1.1", 400),
    ] {
        check_raw(&format!("{line}\r\nHost: a\r\n\r\n"), status);
    }
    check_raw("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0);
    check_raw("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check_raw("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    check_raw("\u{16}\u{3}\u{1}\u{2}", 400);
}

#[test]
fn limits_hold_at_the_limit_and_one_above() {
    let target = |bytes: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(bytes - 1));
    check_raw(&target(LIMITS.target_bytes_max), 0);
    check_raw(&target(LIMITS.target_bytes_max + 1), 414);
    check_raw(&format!("GET /{}", "x".repeat(LIMITS.target_bytes_max + 100)), 414);
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    check_raw(&fields(LIMITS.fields_max), 0);
    check_raw(&fields(LIMITS.fields_max + 1), 431);
    let frame = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    let head = |bytes: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(bytes - frame));
    check_raw(&head(LIMITS.head_bytes_max), 0);
    check_raw(&head(LIMITS.head_bytes_max + 1), 431);
    check_raw(&head(LIMITS.head_bytes_max + 100)[..LIMITS.head_bytes_max], 431);
    check_raw(&head(LIMITS.head_bytes_max)[..LIMITS.head_bytes_max - 1], 1);
}

#[test]
fn an_incomplete_head_is_looked_at_when_it_reaches_a_limit() {
    for (bytes, again) in [(1, 2), (10_000, 16_448), (16_448, 32_896), (40_000, 65_536), (65_536, 131_072)] {
        assert_eq!(LIMITS.look_again_at(bytes), again, "{bytes}");
    }
}

#[test]
fn an_empty_line_is_seen_when_it_ends_in_the_new_bytes() {
    for (input, from, seen) in [
        ("a\r\n\r\n", 0, true),
        ("a\r\n\r\n", 4, true),
        ("a\r\nb\r\n", 0, false),
        ("a\n\nb", 1, true),
        ("a\n\r\n", 3, true),
        ("a\r\n\r\nb: c\r\nd", 8, false),
        ("", 0, false),
    ] {
        assert_eq!(may_be_complete(input.as_bytes(), from), seen, "{input:?} from {from}");
    }
}

struct Sent<'a> {
    path: Option<&'a str>,
    trusted: bool,
    peer: &'a str,
    cookies: &'a [&'a [u8]],
}

const PLAIN: Sent<'_> = Sent { path: None, trusted: false, peer: "192.0.2.1", cookies: &[] };

#[track_caller]
fn check_onward(input: &str, sent: &Sent<'_>, expected: &str) {
    let mut storage = Storage::new();
    let head = RequestHead::parse(input.as_bytes(), &mut storage, &LIMITS).unwrap().unwrap();
    let mut out = Vec::new();
    let peer: std::net::IpAddr = sent.peer.parse().unwrap();
    let trusted = [peer.into()];
    head.write_onward(
        &Onward {
            path: sent.path.map(str::as_bytes),
            peer: &PeerText::new(peer, false),
            client: client_address(peer, if sent.trusted { &trusted } else { &[] }, &head),
            trusted: sent.trusted,
            host: b"127.0.0.1:9050",
            request_id: b"ID",
            cookies: sent.cookies,
        },
        &mut out,
    );
    assert_eq!(String::from_utf8(out).unwrap(), expected.replace('\n', "\r\n"), "{input:?}");
}

const TOLD: &str = "X-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: http\nForwarded: for=192.0.2.1;proto=http;host=\"a\"\nX-Forwarded-Host: a\n";

#[test]
fn a_request_goes_on_without_what_concerns_its_connection() {
    check_onward(
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-Foo\r\nX-Foo: 1\r\nAccept: */*\r\nTE: trailers\r\nX-Request-Id: r1\r\nUpgrade: h2c\r\n\r\nrest",
        &PLAIN,
        &format!("GET /x HTTP/1.1\nHost: a\nAccept: */*\nX-Request-Id: r1\n{TOLD}\n"),
    );
    check_onward(
        "GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        &PLAIN,
        &format!("GET /x HTTP/1.1\nHost: a\nUpgrade: websocket\nConnection: upgrade\n{TOLD}X-Request-Id: ID\n\n"),
    );
    check_onward(
        "GET http://a/x HTTP/1.0\r\nHost: other\r\nX-Request-Id: a b\r\n\r\n",
        &PLAIN,
        &format!("GET /x HTTP/1.1\nHost: a\n{TOLD}X-Request-Id: ID\n\n"),
    );
    check_onward(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 05\r\n\r\n",
        &PLAIN,
        &format!("POST / HTTP/1.1\nHost: a\nContent-Length: 5\n{TOLD}X-Request-Id: ID\n\n"),
    );
}

#[test]
fn connection_names_a_bounded_number_of_fields() {
    let naming = |count: usize| format!("Connection: close, {}\r\nConnection: X-Last\r\n", "x-1,,".repeat(count - 1));
    check_request(&naming(64), 0);
    check_request(&naming(65), 400);
    let response = |count: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{}\r\n", naming(count));
    check_response(&response(64), false, false, Some(("length", false)));
    check_response(&response(65), false, false, None);
    check_onward(
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nConnection: x-a, Host\r\nX-B: 1\r\nx-a: 2\r\nX-Request-Id: r\r\nConnection: X-B\r\n\r\n",
        &PLAIN,
        &format!("GET / HTTP/1.1\nHost: a\nX-Request-Id: r\n{TOLD}\n"),
    );
}

#[test]
fn http_is_never_offered_for_a_tunnel() {
    for offers in [
        "Upgrade: h2c\r\n",
        "Upgrade: h2c\r\nUpgrade: websocket\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
        "Upgrade: websocket, h2c\r\n",
        "Upgrade: H2C-14\r\n",
        "Upgrade: HTTP/2.0\r\n",
        "Upgrade: TLS/1.2, HTTP/1.1\r\n",
        "Upgrade: websocket,\r\n",
        "Upgrade: \r\n",
    ] {
        check_onward(
            &format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n{offers}X-Request-Id: r\r\n\r\n"),
            &PLAIN,
            &format!("GET / HTTP/1.1\nHost: a\nX-Request-Id: r\n{TOLD}\n"),
        );
    }
    check_response("HTTP/1.1 101 Switch\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", false, true, None);
}

#[test]
fn a_request_without_host_goes_on_with_the_address_that_it_came_to() {
    check_onward(
        "GET / HTTP/1.0\r\n\r\n",
        &PLAIN,
        "GET / HTTP/1.1\nHost: 127.0.0.1:9050\nX-Forwarded-For: 192.0.2.1\nX-Forwarded-Proto: http\nForwarded: for=192.0.2.1;proto=http\nX-Request-Id: ID\n\n",
    );
}

#[test]
fn what_an_untrusted_peer_says_of_itself_is_replaced_and_a_trusted_one_gone_on_with() {
    let input = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nx_forwarded_for: 8.8.8.8\r\nForwarded: for=9.9.9.9\r\nX-Forwarded-For: 7.7.7.7\r\nX-Request-Id: r\r\n\r\n";
    check_onward(input, &PLAIN, &format!("GET / HTTP/1.1\nHost: a\nX-Request-Id: r\n{TOLD}\n"));
    check_onward(
        input,
        &Sent { trusted: true, ..PLAIN },
        "GET / HTTP/1.1\nHost: a\nX-Forwarded-Proto: https\nx_forwarded_for: 8.8.8.8\nX-Request-Id: r\nX-Forwarded-For: 9.9.9.9, 7.7.7.7, 192.0.2.1\nX-Forwarded-Host: a\nForwarded: for=9.9.9.9, for=192.0.2.1;proto=http;host=\"a\"\n\n",
    );
    check_onward(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: r\r\n\r\n",
        &Sent { peer: "2001:db8::1", ..PLAIN },
        "GET / HTTP/1.1\nHost: a\nX-Request-Id: r\nX-Forwarded-For: 2001:db8::1\nX-Forwarded-Proto: http\nForwarded: for=\"[2001:db8::1]\";proto=http;host=\"a\"\nX-Forwarded-Host: a\n\n",
    );
}

#[test]
fn what_a_trusted_peer_told_in_one_way_goes_on_in_both() {
    let trusted = Sent { trusted: true, ..PLAIN };
    let rest = "X-Forwarded-Proto: http\nX-Forwarded-Host: a\nForwarded";
    check_onward(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: r\r\nForwarded: for=\"[2001:db8::1]\"\r\n\r\n",
        &trusted,
        &format!(
            "GET / HTTP/1.1\nHost: a\nX-Request-Id: r\nX-Forwarded-For: 2001:db8::1, 192.0.2.1\n{rest}: for=\"[2001:db8::1]\", for=192.0.2.1;proto=http;host=\"a\"\n\n"
        ),
    );
    check_onward(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: r\r\nX-Forwarded-For: 2001:db8::1\r\n\r\n",
        &trusted,
        &format!(
            "GET / HTTP/1.1\nHost: a\nX-Request-Id: r\nX-Forwarded-For: 2001:db8::1, 192.0.2.1\n{rest}: for=\"[2001:db8::1]\", for=192.0.2.1;proto=http;host=\"a\"\n\n"
        ),
    );
}

#[test]
fn rewrites_replace_the_path_and_keep_the_query() {
    let rewritten = Sent { path: Some("/new"), ..PLAIN };
    let rest = format!("Host: a\n{TOLD}X-Request-Id: ID\n\n");
    check_onward("GET /old?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", &rewritten, &format!("GET /new?q=1 HTTP/1.1\n{rest}"));
    check_onward("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &rewritten, &format!("OPTIONS * HTTP/1.1\n{rest}"));
    check_onward("GET http://a?q HTTP/1.1\r\nHost: b\r\n\r\n", &PLAIN, &format!("GET /?q HTTP/1.1\n{rest}"));
}

#[test]
fn the_application_does_not_see_the_gateways_cookies() {
    let ours = Sent { cookies: &[b"vamp_x"], ..PLAIN };
    let rest = format!("{TOLD}X-Request-Id: ID\n\n");
    check_onward(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1; vamp_x=r.i; b=\"2\"\r\n\r\n",
        &ours,
        &format!("GET / HTTP/1.1\nHost: a\nCookie: a=1; b=\"2\"\n{rest}"),
    );
    check_onward(
        "GET / HTTP/1.1\r\nHost: a\r\nCookie: vamp_x=r\r\nX: y\r\n\r\n",
        &ours,
        &format!("GET / HTTP/1.1\nHost: a\nX: y\n{rest}"),
    );
}

#[track_caller]
fn check_client(peer: &str, fields: &str, expected: &str) {
    let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let input = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let mut storage = Storage::new();
    let head = RequestHead::parse(input.as_bytes(), &mut storage, &LIMITS).unwrap().unwrap();
    assert_eq!(client_address(peer.parse().unwrap(), &trusted, &head).to_string(), expected, "{peer} {fields:?}");
}

#[test]
fn the_client_is_the_right_most_untrusted_address() {
    check_client("192.0.2.1", "X-Forwarded-For: 9.9.9.9\r\n", "192.0.2.1");
    check_client("::ffff:192.0.2.1", "", "192.0.2.1");
    check_client("10.0.0.1", "", "10.0.0.1");
    check_client("10.0.0.1", "X-Forwarded-For: 9.9.9.9\r\n", "9.9.9.9");
    check_client("::ffff:10.0.0.1", "X-Forwarded-For: 8.8.8.8, 9.9.9.9, 10.0.0.2\r\n", "9.9.9.9");
    check_client("10.0.0.1", "X-Forwarded-For: 8.8.8.8\r\nX-Forwarded-For: 9.9.9.9:1234\r\n", "9.9.9.9");
    check_client("10.0.0.1", "X-Forwarded-For: [2001:db9::1]:80, 10.0.0.3\r\n", "2001:db9::1");
    check_client("10.0.0.1", "X-Forwarded-For: 8.8.8.8, garbage, 10.0.0.3\r\n", "10.0.0.3");
    check_client("10.0.0.1", "X-Forwarded-For: \r\n", "10.0.0.1");
    check_client("10.0.0.1", "X-Forwarded-For: 8.8.8.8, 9.9.9.9,, \r\nX-Forwarded-For: \r\n", "9.9.9.9");
    check_client("10.0.0.1", "X-Forwarded-For: 10.1.1.1, 10.2.2.2\r\n", "10.1.1.1");
    check_client("10.0.0.1", "Forwarded: for=8.8.8.8, by=x; For=\"[2001:db9::1]:80\"\r\n", "2001:db9::1");
    check_client("10.0.0.1", "Forwarded: for=_hidden\r\n", "10.0.0.1");
    let many = format!("X-Forwarded-For: {}9.9.9.9{}\r\n", "1.1.1.1, ".repeat(1000), ", 10.0.0.1".repeat(1000));
    check_client("10.0.0.1", &many, "9.9.9.9");
}

/// What a response is taken for: body and whether the upstream's connection stays; or that it is refused.
#[track_caller]
fn check_response(input: &str, to_head: bool, upgrade: bool, expected: Option<(&str, bool)>) {
    let mut storage = Storage::new();
    let parsed = ResponseHead::parse(input.as_bytes(), &mut storage, &LIMITS, to_head, upgrade);
    let found = parsed.ok().map(|head| {
        let head = head.expect("a whole head");
        let body = match head.body {
            Body::None => "none",
            Body::Length(_) => "length",
            Body::Chunked(_) => "chunked",
            Body::UntilClose => "close",
        };
        (body, head.persistent)
    });
    assert_eq!(found, expected, "{input:?}");
}

#[test]
fn responses_end_where_the_rfc_says() {
    let ok = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    check_response(&ok("Content-Length: 5\r\n"), false, false, Some(("length", true)));
    check_response(&ok("Content-Length: 5\r\nContent-Length: 5\r\n"), false, false, Some(("length", true)));
    check_response(&ok("Transfer-Encoding: chunked\r\n"), false, false, Some(("chunked", true)));
    check_response(&ok(""), false, false, Some(("close", false)));
    check_response(&ok("Content-Length: 5\r\n"), true, false, Some(("none", true)));
    check_response(&ok("Content-Length: 5\r\nConnection: close\r\n"), false, false, Some(("length", false)));
    check_response("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, false, Some(("length", false)));
    check_response(
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n",
        false,
        false,
        Some(("length", true)),
    );
    check_response("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", false, false, Some(("none", true)));
    check_response("HTTP/1.1 304 Not\r\nTransfer-Encoding: chunked\r\n\r\n", false, false, Some(("none", true)));
    check_response("HTTP/1.1 100 Go on\r\n\r\n", false, false, Some(("none", true)));
    check_response(
        "HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        false,
        true,
        Some(("close", false)),
    );
    check_response("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", false, false, Some(("length", true)));
}

#[test]
fn responses_that_could_be_ended_differently_are_refused() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\u{0}\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switch\r\nUpgrade: x\r\n\r\n",
        "garbage\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
    ] {
        check_response(head, false, false, None);
    }
}

#[track_caller]
fn check_toward(input: &str, client_minor: u8, persistent: bool, expected: &str) {
    let mut storage = Storage::new();
    let head = ResponseHead::parse(input.as_bytes(), &mut storage, &LIMITS, false, true).unwrap().unwrap();
    let toward =
        Toward { minor: client_minor, relay: head.relay(client_minor), persistent, lines: b"Set-Cookie: s\r\n" };
    let mut out = Vec::new();
    head.write_toward(&toward, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected.replace('\n', "\r\n"), "{input:?}");
}

#[test]
fn a_response_goes_on_without_what_concerns_its_connection() {
    check_toward(
        "HTTP/1.1 200 Fine\r\nServer: x\r\nConnection: close, X-Gone\r\nX-Gone: 1\r\nContent-Length: 5\r\nKeep-Alive: 5\r\n\r\n",
        1,
        true,
        "HTTP/1.1 200 Fine\nServer: x\nContent-Length: 5\nSet-Cookie: s\n\n",
    );
    check_toward(
        "HTTP/1.0 200 OK\r\nX : y\r\n\r\n",
        1,
        true,
        "HTTP/1.1 200 OK\nX: y\nTransfer-Encoding: chunked\nSet-Cookie: s\n\n",
    );
    check_toward(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        1,
        false,
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nSet-Cookie: s\nConnection: close\n\n",
    );
    check_toward(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        0,
        false,
        "HTTP/1.1 200 OK\nSet-Cookie: s\nConnection: close\n\n",
    );
    check_toward(
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        0,
        true,
        "HTTP/1.1 200 OK\nContent-Length: 5\nSet-Cookie: s\nConnection: keep-alive\n\n",
    );
    check_toward(
        "HTTP/1.1 204 No\r\nContent-Length: 5\r\nX: y\r\n\r\n",
        1,
        true,
        "HTTP/1.1 204 No\nX: y\nSet-Cookie: s\n\n",
    );
    check_toward(
        "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        1,
        false,
        "HTTP/1.1 101 Switching\nUpgrade: websocket\nSet-Cookie: s\nConnection: upgrade\n\n",
    );
}
