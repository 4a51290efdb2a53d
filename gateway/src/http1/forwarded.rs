//! Who the client is, behind proxies that are trusted to say so.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::RequestHead;
use super::field::{Kind, items, trim};

/// Whether the peer may say for whom it speaks.
pub(crate) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The client's address: the peer, unless it is trusted; then the right-most address of `X-Forwarded-For` (or, without
/// it, of `Forwarded`) that is not trusted itself. What is left of an entry that is no address is not believed.
pub(crate) fn client_address(peer: IpAddr, trusted: &[IpNet], head: &RequestHead<'_, '_>) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let mut client = peer;
    let step = |address: Option<IpAddr>| {
        let address = address?;
        client = address;
        // Goes on to the left only from a trusted one.
        is_trusted(address, trusted).then_some(())
    };
    if head.values(Kind::ForwardedFor).next().is_some() {
        entries_from_right(head, Kind::ForwardedFor).map(address).try_for_each(step);
    } else {
        entries_from_right(head, Kind::Forwarded).map(|entry| address(forwarded_for(entry)?)).try_for_each(step);
    }
    client
}

fn entries_from_right<'b>(head: &RequestHead<'b, '_>, kind: Kind) -> impl Iterator<Item = &'b [u8]> {
    head.values(kind).rev().flat_map(|value| value.rsplit(|byte| *byte == b',').map(trim))
}

/// An address with or without port, IPv6 with or without brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse::<IpAddr>().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

/// The value of `for` in one element of `Forwarded` (RFC 7239, 4).
fn forwarded_for(element: &[u8]) -> Option<&[u8]> {
    element.split(|byte| *byte == b';').map(trim).find_map(|pair| {
        let (name, value) = pair.split_at_checked(4)?;
        if !name.eq_ignore_ascii_case(b"for=") {
            return None;
        }
        Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
    })
}

/// The peer's address as text, written once per connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PeerText {
    bytes: [u8; Self::BYTES_MAX],
    length: u8,
    v6: bool,
}

impl PeerText {
    /// LIMIT: an IPv6 address with an embedded IPv4 address has 45 characters.
    const BYTES_MAX: usize = 45;

    /// Writes it.
    pub(crate) fn new(address: IpAddr) -> Self {
        use std::io::Write as _;
        let address = address.to_canonical();
        let mut bytes = [0; Self::BYTES_MAX];
        let mut rest = bytes.as_mut_slice();
        // It fits: see the limit.
        let written = write!(rest, "{address}").map_or(0, |()| Self::BYTES_MAX - rest.len());
        Self { bytes, length: u8::try_from(written).unwrap_or_default(), v6: address.is_ipv6() }
    }

    /// The text, without brackets.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// As `Forwarded` wants it: an IPv6 address in brackets and quotes.
    pub(super) fn write_forwarded(&self, out: &mut Vec<u8>) {
        if self.v6 {
            out.extend_from_slice(b"\"[");
            out.extend_from_slice(self.as_bytes());
            out.extend_from_slice(b"]\"");
        } else {
            out.extend_from_slice(self.as_bytes());
        }
    }
}

/// Whether a list holds nothing but white space.
pub(super) fn is_blank(value: &[u8]) -> bool {
    items(value).all(<[u8]>::is_empty)
}
