//! The sticky cookie: its name, its value, and reading it back.
//!
//! One cookie per sticky gateway. The value names the route and, for instance-sticky gateways, the endpoint behind it,
//! by their lookup names; clients are not meant to read it.

use crate::Head;

/// Name of the cookie of a sticky gateway: `vamp_<gateway lookup>`.
pub fn name(gateway_lookup: &str) -> String {
    format!("{PREFIX}{gateway_lookup}")
}

const PREFIX: &str = "vamp_";

/// Between route and endpoint in a value.
const SEPARATOR: char = '.';

/// The value that names a route and, if given, an endpoint.
pub(crate) fn value(route_lookup: &str, endpoint_lookup: Option<&str>) -> String {
    match endpoint_lookup {
        Some(endpoint) => format!("{route_lookup}{SEPARATOR}{endpoint}"),
        None => route_lookup.to_owned(),
    }
}

/// Route and endpoint lookups that a value names.
pub(crate) fn parse(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut parts = value.splitn(2, |byte| *byte == SEPARATOR as u8);
    (parts.next().unwrap_or_default(), parts.next())
}

/// The field value of `Set-Cookie` that makes the client come back to its route: for its session, on all paths, hidden
/// from scripts (RFC 6265, section 4.1).
pub fn set_cookie(name: &str, value: &str, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}")
}

/// Name and value of each pair in a `Cookie` field (RFC 6265, section 5.4), blanks around them left out. Pairs without
/// `=` have an empty name.
pub(crate) fn pairs(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|byte| *byte == b';').map(|pair| {
        let pair = pair.trim_ascii();
        match memchr::memchr(b'=', pair) {
            Some(at) => {
                let (name, rest) = pair.split_at(at);
                (name.trim_ascii_end(), rest.get(1..).unwrap_or_default().trim_ascii_start())
            }
            None => (&[][..], pair),
        }
    })
}

/// The values of the cookies of this name, in the order in which the client sent them. There can be several: of other
/// paths or domains, or of another port of the same host.
pub(crate) fn values<'head, H: Head>(head: &'head H, name: &str) -> impl Iterator<Item = &'head [u8]> {
    let fields = head.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
    fields
        .flat_map(|(_, value)| pairs(value))
        .filter(move |(found, _)| *found == name.as_bytes())
        .map(|(_, value)| value)
}

/// Whether a lookup name can stand in a cookie's name and value as it is, and be told from the separator.
pub(crate) fn is_plain(lookup: &str) -> bool {
    !lookup.is_empty() && lookup.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_as_clients_write_them() {
        let read: Vec<_> = pairs(b"a=b; c = d;e;=f; g=h=i").collect();
        let expected: [(&[u8], &[u8]); 5] = [(b"a", b"b"), (b"c", b"d"), (b"", b"e"), (b"", b"f"), (b"g", b"h=i")];
        assert_eq!(read, expected);
    }

    #[test]
    fn a_value_names_route_and_endpoint() {
        assert_eq!(parse(value("r1", Some("e1")).as_bytes()), (&b"r1"[..], Some(&b"e1"[..])));
        assert_eq!(parse(value("r1", None).as_bytes()), (&b"r1"[..], None));
        assert_eq!(parse(b""), (&b""[..], None));
    }

    #[test]
    fn the_cookie_is_for_the_session_and_hidden_from_scripts() {
        assert_eq!(set_cookie("vamp_a", "r", false), "vamp_a=r; Path=/; HttpOnly; SameSite=Lax");
        assert!(set_cookie("vamp_a", "r", true).ends_with("; Secure"));
    }
}
