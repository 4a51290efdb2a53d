//! What of a request a test looks at. Nothing here allocates, but for targets beyond [`URL_BYTES`].

use std::io::Write as _;
use std::net::IpAddr;

use crate::Head;

/// Bytes of path and query that are joined without allocating; only tests of the whole target join them.
const URL_BYTES: usize = 1024;

/// Bytes of the longest address, `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`, and to spare.
const ADDRESS_BYTES: usize = 48;

/// Which form of the host is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostForm {
    /// As sent, with the port if there is one.
    Full,
    /// Without the port.
    Name,
    /// One or the other.
    Either,
}

impl HostForm {
    /// The port counts only for a value that names one.
    pub(super) fn of(value: &str) -> Self {
        let after_address = value.rsplit_once(']').map_or(value, |(_, after)| after);
        if after_address.contains(':') { Self::Full } else { Self::Name }
    }
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Subject {
    Path,
    /// Path and query.
    Url,
    Method,
    Host(HostForm),
    Source,
    /// The same as the header, in the language's older words.
    UserAgent,
    /// Whole values of the header of this name.
    Header(Box<str>),
    /// Values of the header of this name, parted at commas.
    HeaderItems(Box<str>),
    Cookie(Box<str>),
    Query(Box<str>),
}

impl Subject {
    /// Whether `holds` is true for one of the values.
    pub(super) fn any<H: Head>(&self, head: &H, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            Self::Path => holds(head.path()),
            Self::Url => with_url(head, holds),
            Self::Method => holds(head.method()),
            Self::Host(form) => {
                let host = head.host();
                !host.is_empty()
                    && match form {
                        HostForm::Full => holds(host),
                        HostForm::Name => holds(without_port(host)),
                        HostForm::Either => holds(host) || holds(without_port(host)),
                    }
            }
            Self::Source => with_address(head.source(), holds),
            Self::UserAgent => fields(head, b"user-agent").any(holds),
            Self::Header(name) => fields(head, name.as_bytes()).any(holds),
            Self::HeaderItems(name) => fields(head, name.as_bytes())
                .flat_map(|value| value.split(|byte| *byte == b','))
                .any(|item| holds(item.trim_ascii())),
            Self::Cookie(name) => {
                fields(head, b"cookie").flat_map(cookies).any(|(found, value)| found == name.as_bytes() && holds(value))
            }
            Self::Query(name) => head
                .query()
                .is_some_and(|query| parameters(query).any(|(found, value)| found == name.as_bytes() && holds(value))),
        }
    }

    /// How many values there are.
    pub(super) fn count<H: Head>(&self, head: &H) -> usize {
        let mut count: usize = 0;
        self.any(head, |_| {
            count = count.saturating_add(1);
            false
        });
        count
    }
}

fn fields<'head, H: Head>(head: &'head H, name: &'head [u8]) -> impl Iterator<Item = &'head [u8]> {
    head.fields().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn cookies(field: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    field.split(|byte| *byte == b';').filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        Some((name.trim_ascii(), value.get(1..)?.trim_ascii()))
    })
}

fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at_checked(at).unwrap_or((pair, &[]));
        (name, value.get(1..).unwrap_or_default())
    })
}

/// `example.org:80` and `[::1]:80` without their ports.
fn without_port(host: &[u8]) -> &[u8] {
    let Some(at) = host.iter().rposition(|byte| *byte == b':') else { return host };
    let Some((name, port)) = host.split_at_checked(at) else { return host };
    let is_port = port.iter().skip(1).all(u8::is_ascii_digit);
    let is_inside_address = name.contains(&b':') && !name.ends_with(b"]");
    if is_port && !is_inside_address { name } else { host }
}

fn with_address(address: IpAddr, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    let mut text = [0; ADDRESS_BYTES];
    let mut free = text.as_mut_slice();
    if write!(free, "{}", address.to_canonical()).is_err() {
        return false;
    }
    let length = ADDRESS_BYTES.saturating_sub(free.len());
    text.get(..length).is_some_and(&mut holds)
}

fn with_url<H: Head>(head: &H, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    let path = head.path();
    let Some(query) = head.query() else { return holds(path) };
    let mut text = [0; URL_BYTES];
    let mut free = text.as_mut_slice();
    if [path, b"?", query].iter().all(|part| free.write_all(part).is_ok()) {
        let length = URL_BYTES.saturating_sub(free.len());
        return text.get(..length).is_some_and(&mut holds);
    }
    holds(&[path, query].join(&b'?'))
}
