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

/// The entries of the lists, the last one first. Empty ones are none (RFC 9110, 5.6.1).
fn entries_from_right<'b>(head: &RequestHead<'b, '_>, kind: Kind) -> impl Iterator<Item = &'b [u8]> {
    let entries = head.values(kind).rev().flat_map(|value| value.rsplit(|byte| *byte == b',').map(trim));
    entries.filter(|entry| !entry.is_empty())
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

/// What upstreams are told of a connection's client side, written once per connection.
#[derive(Debug, Clone)]
pub(crate) struct PeerText {
    /// The address, and the lines that tell it.
    text: Box<[u8]>,
    /// Where the address ends; the lines follow.
    address_ends: u8,
    secure: bool,
    v6: bool,
}

impl PeerText {
    /// Writes it. `secure`: the client came over TLS.
    pub(crate) fn new(address: IpAddr, secure: bool) -> Self {
        use std::io::Write as _;
        let address = address.to_canonical();
        let (proto, v6) = (if secure { "https" } else { "http" }, address.is_ipv6());
        let (open, close) = if v6 { ("\"[", "]\"") } else { ("", "") };
        let mut text = Vec::new();
        // Writing to a vector does not fail.
        drop(write!(text, "{address}"));
        // An address has up to 45 characters.
        let address_ends = u8::try_from(text.len()).unwrap_or_default();
        drop(write!(
            text,
            "X-Forwarded-For: {address}\r\nX-Forwarded-Proto: {proto}\r\nForwarded: for={open}{address}{close};proto={proto}"
        ));
        Self { text: text.into_boxed_slice(), address_ends, secure, v6 }
    }

    /// The address, without brackets.
    pub(super) fn address(&self) -> &[u8] {
        self.text.get(..usize::from(self.address_ends)).unwrap_or_default()
    }

    /// Whether the client came over TLS.
    pub(crate) fn secure(&self) -> bool {
        self.secure
    }

    /// `http` or `https`.
    pub(super) fn proto(&self) -> &[u8] {
        if self.secure { b"https" } else { b"http" }
    }

    /// All that is told of a client nobody spoke for, up to the value of `Forwarded`, which the host ends.
    pub(super) fn lines(&self) -> &[u8] {
        self.text.get(usize::from(self.address_ends)..).unwrap_or_default()
    }

    /// As `Forwarded` wants it: an IPv6 address in brackets and quotes.
    pub(super) fn write_forwarded(&self, out: &mut Vec<u8>) {
        if self.v6 {
            out.extend_from_slice(b"\"[");
            out.extend_from_slice(self.address());
            out.extend_from_slice(b"]\"");
        } else {
            out.extend_from_slice(self.address());
        }
    }
}

/// Whether a list holds nothing but white space.
pub(super) fn is_blank(value: &[u8]) -> bool {
    items(value).all(<[u8]>::is_empty)
}
