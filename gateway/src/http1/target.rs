//! The request target and the host: what the request is for (RFC 9112, 3.2 and 3.3).

use std::net::Ipv6Addr;

use super::Fault;

const BAD_TARGET: Fault = Fault::Malformed(
    "the request target is not a path: send `/path?query`, percent-encode other characters, and leave the fragment out",
);
const BAD_AUTHORITY: Fault =
    Fault::Malformed("the absolute request target has no plain `host` or `host:port`: leave user names out");

/// A request target, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// Host and port of an absolute target, which replace `Host`.
    pub(super) authority: Option<&'b [u8]>,
    /// Path as sent up to `?`; `/` when an absolute target has none, `*` for the whole server.
    pub(super) path: &'b [u8],
    /// What follows `?`.
    pub(super) query: Option<&'b [u8]>,
    /// Path and query as sent, for forwarding; empty when an absolute target has neither.
    pub(super) rest: &'b [u8],
}

impl<'b> Target<'b> {
    /// Takes a target apart, or says why it is none that may pass.
    pub(super) fn read(target: &'b [u8], method: &[u8]) -> Result<Self, Fault> {
        // Without an early end, so that it is done many bytes at once.
        if !target.iter().fold(true, |fits, byte| fits & (byte.wrapping_sub(b'!') <= b'~' - b'!'))
            || memchr::memchr(b'#', target).is_some()
        {
            return Err(BAD_TARGET);
        }
        match target {
            [b'/', ..] => Ok(Self::of_path(None, target)),
            b"*" if method == b"OPTIONS" => Ok(Self { authority: None, path: b"*", query: None, rest: b"*" }),
            _ => Self::absolute(target, method),
        }
    }

    #[cold]
    fn absolute(target: &'b [u8], method: &[u8]) -> Result<Self, Fault> {
        let scheme = [b"http://".as_slice(), b"https://"]
            .into_iter()
            .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
            .ok_or(BAD_TARGET)?;
        let after = target.get(scheme.len()..).unwrap_or_default();
        let end = after.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(after.len());
        let (authority, rest) = after.split_at(end);
        if authority.is_empty() || !is_host(authority) {
            return Err(BAD_AUTHORITY);
        }
        // RFC 9112, 3.2.4: `OPTIONS http://host` means the whole server.
        if rest.is_empty() && method == b"OPTIONS" {
            return Ok(Self { authority: Some(authority), path: b"*", query: None, rest: b"*" });
        }
        Ok(Self::of_path(Some(authority), rest))
    }

    fn of_path(authority: Option<&'b [u8]>, rest: &'b [u8]) -> Self {
        let (path, query) = match memchr::memchr(b'?', rest).and_then(|mark| rest.split_at_checked(mark)) {
            Some((path, query)) => (path, query.get(1..)),
            None => (rest, None),
        };
        Self { authority, path: if path.is_empty() { b"/" } else { path }, query, rest }
    }
}

/// Whether it is a host with or without port as this gateway takes it: a name, an IPv4 address or an IPv6 address in
/// brackets. User names and characters that no host name has are refused. Empty is a host: the one of requests whose
/// target has none (RFC 9112, 3.2).
pub(super) fn is_host(host: &[u8]) -> bool {
    let name_ends = host.iter().position(|byte| !IN_NAME.get(usize::from(*byte)).is_some_and(|is| *is));
    match name_ends.map(|end| host.split_at(end)) {
        None => true,
        Some(([], _)) => is_bracketed_host(host),
        Some((_, [b':', port @ ..])) => is_port(port),
        Some(_) => false,
    }
}

/// Bytes that a host name may have here.
#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
static IN_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    // The others are not ASCII.
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
        byte += 1;
    }
    table
};

#[cold]
fn is_bracketed_host(host: &[u8]) -> bool {
    let Some(rest) = host.strip_prefix(b"[") else { return false };
    let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
    let (address, after) = rest.split_at(end);
    let address = std::str::from_utf8(address).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
    let port_fits = match after {
        [_] => true,
        [_, b':', port @ ..] => is_port(port),
        _ => false,
    };
    address.is_some() && port_fits
}

fn is_port(port: &[u8]) -> bool {
    port.len() <= 5
        && port
            .iter()
            .try_fold(0_u32, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(*byte - b'0')))
            .is_some_and(|number| u16::try_from(number).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_host(host: &str, accepted: bool) {
        assert_eq!(is_host(host.as_bytes()), accepted, "{host:?}");
    }

    #[test]
    fn names_and_addresses_are_hosts_with_and_without_port() {
        for host in [
            "",
            "a",
            "a.example",
            "A.example:80",
            "a.example.",
            "a_b",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "a:",
            "xn--bcher-kva.example",
        ] {
            check_host(host, true);
        }
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_no_host() {
        for host in [
            "a b",
            "a/b",
            "a@b",
            "user:pw@a",
            "a:80:80",
            "a:x",
            "a:99999",
            "a:123456",
            "[::1",
            "::1",
            "[::1]x",
            "[]",
            "[x]",
            "a,b",
            "a?b",
            "a#b",
            "a\\b",
            "a;b",
            ":80",
            "b\u{fc}cher",
            "a\tb",
            "[::1]:x",
        ] {
            check_host(host, false);
        }
    }

    #[track_caller]
    fn check(method: &str, target: &'static str, expected: Option<(Option<&str>, &str, Option<&str>)>) {
        let read = Target::read(target.as_bytes(), method.as_bytes()).ok();
        let read = read.map(|read| (read.authority, read.path, read.query));
        let expected = expected
            .map(|(authority, path, query)| (authority.map(str::as_bytes), path.as_bytes(), query.map(str::as_bytes)));
        assert_eq!(read, expected, "{method} {target}");
    }

    #[test]
    fn targets_are_taken_apart_as_sent() {
        check("GET", "/", Some((None, "/", None)));
        check("GET", "/a%2fb//../c?x=/?&y", Some((None, "/a%2fb//../c", Some("x=/?&y"))));
        check("GET", "/?", Some((None, "/", Some(""))));
        check("GET", "http://a.example:80/p?q", Some((Some("a.example:80"), "/p", Some("q"))));
        check("GET", "HTTP://a.example", Some((Some("a.example"), "/", None)));
        check("GET", "https://a.example?q", Some((Some("a.example"), "/", Some("q"))));
        check("OPTIONS", "*", Some((None, "*", None)));
        check("OPTIONS", "http://a.example", Some((Some("a.example"), "*", None)));
    }

    #[test]
    fn targets_that_are_no_path_are_refused() {
        for target in [
            "*",
            "a.example:80",
            "/a#b",
            "a",
            "ftp://a/",
            "http://",
            "http:///x",
            "http://u@a/",
            "http://a:b@c/",
            "/\u{e4}",
            "/a\u{7f}",
            "http:/a",
        ] {
            check("GET", target, None);
        }
        check("GET", "//", Some((None, "//", None)));
    }
}
