//! The sticky cookie: its name, its value, reading it back and taking it out.
//!
//! One cookie per sticky gateway. The value names the route and, for instance-sticky gateways, the endpoint behind it,
//! by their lookup names; clients are not meant to read it.

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

/// What the application is to see of a `Cookie` field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stripped {
    /// None of the cookies is ours: the field as it came.
    Unchanged,
    /// The field without ours; what is left is as it came, pairs joined by `; `.
    Changed(Vec<u8>),
    /// All of it was ours: no field.
    Gone,
}

/// Takes the cookies of sticky gateways out of a `Cookie` field; those of other names stay, byte for byte.
pub fn strip(field: &[u8]) -> Stripped {
    // The common case: nothing of ours, one search.
    if memchr::memmem::find(field, PREFIX.as_bytes()).is_none() {
        return Stripped::Unchanged;
    }
    let is_ours = |pair: &&[u8]| pair.trim_ascii().starts_with(PREFIX.as_bytes());
    let all = || field.split(|byte| *byte == b';');
    if !all().any(|pair| is_ours(&pair)) {
        return Stripped::Unchanged;
    }
    let kept: Vec<&[u8]> = all().filter(|pair| !is_ours(pair)).map(<[u8]>::trim_ascii).collect();
    if kept.iter().all(|pair| pair.is_empty()) { Stripped::Gone } else { Stripped::Changed(kept.join(&b"; "[..])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(field: &str, left: Option<&str>) {
        let expected = match left {
            Some(left) if left == field => Stripped::Unchanged,
            Some(left) => Stripped::Changed(left.as_bytes().to_vec()),
            None => Stripped::Gone,
        };
        assert_eq!(strip(field.as_bytes()), expected, "{field}");
    }

    #[test]
    fn only_our_cookies_are_taken_out() {
        check("a=b; c=d", Some("a=b; c=d"));
        check("a=b;c=vamp_1", Some("a=b;c=vamp_1"));
        check("vamp_1=x", None);
        check(" vamp_1=x ; vamp_2=y;", None);
        check("a=b; vamp_1=x; c=\"d e\"", Some("a=b; c=\"d e\""));
        check("o_1=x; im_2=y", Some("o_1=x; im_2=y"));
        check("", Some(""));
    }

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
