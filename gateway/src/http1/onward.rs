//! The head that goes to the upstream: the client's lines in raw runs, without what concerns its connection only, and
//! with what the gateway knows better.

use std::net::IpAddr;

use super::field::{Kind, trim};
use super::forwarded::is_blank;
use super::{PeerText, RequestHead};

/// What the gateway decided about a request that goes on.
pub(crate) struct Onward<'a> {
    /// The path that replaces the client's; the query stays.
    pub(crate) path: Option<&'a [u8]>,
    /// The peer.
    pub(crate) peer: &'a PeerText,
    /// The client: the peer, or for whom a trusted one speaks.
    pub(crate) client: IpAddr,
    /// Whether what the peer says of its own client is kept.
    pub(crate) trusted: bool,
    /// `Host` for a client that sent none.
    pub(crate) host: &'a [u8],
    /// The request id, for a client that sent no sane one.
    pub(crate) request_id: &'a [u8],
    /// Names of the gateway's own cookies, which the application does not see.
    pub(crate) cookies: &'a [&'a [u8]],
}

/// LIMIT: bytes of a request id that is passed on. A UUID has 36 bytes, a W3C trace parent 55.
const REQUEST_ID_BYTES_MAX: usize = 128;

impl RequestHead<'_, '_> {
    /// The id that the client gave the request, if it gave one that can be written anywhere.
    pub(crate) fn request_id(&self) -> Option<&[u8]> {
        let mut ids = self.values(Kind::RequestId);
        let id = ids.next()?;
        let sane = !id.is_empty()
            && id.len() <= REQUEST_ID_BYTES_MAX
            && ids.next().is_none()
            && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=~@".contains(byte));
        sane.then_some(id)
    }

    /// Appends the head for the upstream to `out`.
    pub(crate) fn write_onward(&self, onward: &Onward<'_>, out: &mut Vec<u8>) {
        let keep_id = self.request_id().is_some();
        let rewrite_cookies = !onward.cookies.is_empty();
        let new_line = self.needs_new_line || onward.path.is_some();
        let start = if new_line { self.write_line(onward, out) } else { 0 };
        self.lines.write_runs(start, out, |kind| match kind {
            Kind::Other | Kind::ContentLength | Kind::TransferEncoding | Kind::Reshaped => true,
            Kind::Host => self.target.authority.is_none(),
            Kind::Expect => self.minor == 1,
            Kind::Cookie => !rewrite_cookies,
            Kind::Upgrade => self.upgrade,
            Kind::ForwardedProto | Kind::ForwardedHost | Kind::ForwardedTwin => onward.trusted,
            Kind::RequestId => keep_id,
            // The first two are written anew, from what was said and what is known.
            Kind::ForwardedFor | Kind::Forwarded | Kind::Connection | Kind::HopByHop | Kind::Nominated => false,
        });
        if self.target.authority.is_some() || self.host.is_none() {
            write_field(out, b"Host", self.host.unwrap_or(onward.host));
        }
        if self.length.needs_reshaping() {
            write_length(out, self.length.bytes.unwrap_or_default());
        }
        if rewrite_cookies {
            self.write_cookies(onward.cookies, out);
        }
        if self.upgrade {
            out.extend_from_slice(b"Connection: upgrade\r\n");
        }
        if onward.trusted {
            self.go_on_with_forwarded(onward, out);
        } else {
            out.extend_from_slice(onward.peer.lines());
            if let Some(host) = self.named_host() {
                // Always quoted: a port or an IPv6 address is no token.
                out.extend_from_slice(b";host=\"");
                out.extend_from_slice(host);
                out.extend_from_slice(b"\"\r\nX-Forwarded-Host: ");
                out.extend_from_slice(host);
            }
            out.extend_from_slice(b"\r\n");
        }
        if !keep_id {
            write_field(out, b"X-Request-Id", onward.request_id);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn named_host(&self) -> Option<&[u8]> {
        self.host.filter(|host| !host.is_empty())
    }

    /// Writes the request line anew; tells where the fields start.
    #[cold]
    fn write_line(&self, onward: &Onward<'_>, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(self.method);
        out.push(b' ');
        if let Some(path) = onward.path.filter(|_| self.target.rest != b"*") {
            out.extend_from_slice(path);
            if let Some(query) = self.target.query {
                out.push(b'?');
                out.extend_from_slice(query);
            }
        } else {
            if !self.target.rest.starts_with(self.target.path) {
                out.extend_from_slice(self.target.path);
            }
            out.extend_from_slice(self.target.rest);
        }
        out.extend_from_slice(b" HTTP/1.1\r\n");
        self.lines.fields_start()
    }

    /// The client's cookies without ours; no line when none is left.
    #[cold]
    fn write_cookies(&self, ours: &[&[u8]], out: &mut Vec<u8>) {
        for value in self.values(Kind::Cookie) {
            let is_ours = |pair: &[u8]| {
                let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
                ours.contains(&trim(name))
            };
            let mut lead = b"Cookie: ".as_slice();
            for pair in value.split(|byte| *byte == b';').map(trim).filter(|pair| !pair.is_empty() && !is_ours(pair)) {
                out.extend_from_slice(lead);
                out.extend_from_slice(pair);
                lead = b"; ";
            }
            if lead == b"; " {
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Goes on with what a trusted peer told of its client. Who told it in one way only is gone on with in both: the next
    /// proxy may look at the other.
    #[cold]
    fn go_on_with_forwarded(&self, onward: &Onward<'_>, out: &mut Vec<u8>) {
        let proto = onward.peer.proto();
        let host = self.named_host();
        let client = PeerText::new(onward.client, false);
        let is_peer = client.address() == onward.peer.address();
        out.extend_from_slice(b"X-Forwarded-For: ");
        self.write_earlier(Kind::ForwardedFor, out);
        if !is_peer && self.values(Kind::ForwardedFor).next().is_none() {
            out.extend_from_slice(client.address());
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(onward.peer.address());
        if self.values(Kind::ForwardedProto).next().is_none() {
            out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
            out.extend_from_slice(proto);
        }
        if let Some(host) = host.filter(|_| self.values(Kind::ForwardedHost).next().is_none()) {
            out.extend_from_slice(b"\r\nX-Forwarded-Host: ");
            out.extend_from_slice(host);
        }
        out.extend_from_slice(b"\r\nForwarded: ");
        self.write_earlier(Kind::Forwarded, out);
        if !is_peer && self.values(Kind::Forwarded).next().is_none() {
            out.extend_from_slice(b"for=");
            client.write_forwarded(out);
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"for=");
        onward.peer.write_forwarded(out);
        out.extend_from_slice(b";proto=");
        out.extend_from_slice(proto);
        if let Some(host) = host {
            out.extend_from_slice(b";host=\"");
            out.extend_from_slice(host);
            out.push(b'"');
        }
        out.extend_from_slice(b"\r\n");
    }

    /// What was said before us, as one list to be gone on with.
    fn write_earlier(&self, kind: Kind, out: &mut Vec<u8>) {
        for value in self.values(kind).filter(|value| !is_blank(value)) {
            out.extend_from_slice(value);
            out.extend_from_slice(b", ");
        }
    }
}

pub(super) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_length(out: &mut Vec<u8>, bytes: u64) {
    use std::io::Write as _;
    // Writing to a vector does not fail.
    drop(write!(out, "Content-Length: {bytes}\r\n"));
}
