//! The sticky cookie: its name, its value, and reading it back.
//!
//! One cookie per sticky gateway. The value names the route and, for instance-sticky gateways, the endpoint behind it,
//! by their lookup names; clients are not meant to read it.

use crate::Head;

/// Name of the cookie of a sticky gateway: `vamp_<gateway lookup>`.
pub(crate) fn name(gateway_lookup: &str) -> String {
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

/// The values of the cookies of this name, in the order in which the client sent them (RFC 6265, section 5.4). There can
/// be several: of other paths or domains, or of another port of the same host.
pub(crate) fn values<'head, H: Head>(head: &'head H, name: &str) -> impl Iterator<Item = &'head [u8]> {
    let fields = head.fields().filter(|(field, _)| field.eq_ignore_ascii_case(b"cookie"));
    fields.flat_map(|(_, value)| pairs(value)).filter_map(move |pair| value_of(pair, name.as_bytes()))
}

fn pairs(field: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ends = memchr::memchr_iter(b';', field).chain([field.len()]);
    ends.scan(0, |start, end| Some(std::mem::replace(start, end + 1)..end)).filter_map(|pair| field.get(pair))
}

/// The value of a pair, if it is of this name. Blanks around name and value are not part of them.
fn value_of<'pair>(pair: &'pair [u8], name: &[u8]) -> Option<&'pair [u8]> {
    let rest = pair.trim_ascii_start().strip_prefix(name)?;
    Some(rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii())
}

/// Whether a lookup name can stand in a cookie's name and value as it is, and be told from the separator.
pub(crate) fn is_plain(lookup: &str) -> bool {
    !lookup.is_empty() && lookup.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fields: &[&str], found: &[&str]) {
        let field = |value: &&str| ("cOOkie".to_owned(), (*value).to_owned());
        let head = crate::PlainHead { fields: fields.iter().map(field).collect(), ..crate::PlainHead::default() };
        let values: Vec<_> = values(&head, "vamp_a").map(|value| str::from_utf8(value).unwrap()).collect();
        assert_eq!(values, found, "{fields:?}");
    }

    #[test]
    fn cookies_are_read_as_clients_write_them() {
        check(&[], &[]);
        check(&["vamp_a=r"], &["r"]);
        check(&["x=y; vamp_a=r.i; z=1"], &["r.i"]);
        check(&["x=y;vamp_a=r"], &["r"]);
        check(&[" vamp_a = r ; "], &["r"]);
        check(&["vamp_a=1;;vamp_a=2", "x=y", "vamp_a=3"], &["1", "2", "3"]);
        check(&["vamp_a=r=s"], &["r=s"]);
        check(&["vamp_a="], &[""]);
        check(&["vamp_a", "vamp_ab=r", "Vamp_a=r", "x=vamp_a=r", "xvamp_a=r", ";", ""], &[]);
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
