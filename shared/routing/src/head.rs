//! What a routing decision may look at: the head of one request, borrowed.

use std::net::{IpAddr, Ipv4Addr};

/// The head of one request, as the client sent it, before any rewrite.
pub trait Head {
    /// The method, as sent (`GET`).
    fn method(&self) -> &[u8];
    /// The path of the request target up to `?`, as sent: nothing is decoded.
    fn path(&self) -> &[u8];
    /// The query after `?`, as sent; `None` when there is no `?`.
    fn query(&self) -> Option<&[u8]>;
    /// The host the request is for: `Host`, or the authority of an absolute target (RFC 9112, 3.2.2). May carry a port.
    fn host(&self) -> &[u8];
    /// The client's address, after the trusted-proxy rules.
    fn source(&self) -> IpAddr;
    /// The header fields in order, names as sent.
    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])>;
}

/// A connection of which nothing is known but who opened it: all that there is to decide on where connections are carried.
#[derive(Debug, Clone, Copy)]
pub struct Client(
    /// The client's address, after the trusted-proxy rules.
    pub IpAddr,
);

impl Head for Client {
    fn method(&self) -> &[u8] {
        b""
    }

    fn path(&self) -> &[u8] {
        b""
    }

    fn query(&self) -> Option<&[u8]> {
        None
    }

    fn host(&self) -> &[u8] {
        b""
    }

    fn source(&self) -> IpAddr {
        self.0
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        std::iter::empty()
    }
}

/// An owned head, for `explain`, `simulate` and tests.
#[derive(Debug, Clone)]
pub struct PlainHead {
    /// The method, `GET` by default.
    pub method: String,
    /// Path and query, `/` by default.
    pub target: String,
    /// `Host`.
    pub host: String,
    /// Client address, `127.0.0.1` by default.
    pub source: IpAddr,
    /// Header fields in order, without `Host`.
    pub fields: Vec<(String, String)>,
}

impl Default for PlainHead {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            target: "/".to_owned(),
            host: String::new(),
            source: IpAddr::V4(Ipv4Addr::LOCALHOST),
            fields: Vec::new(),
        }
    }
}

impl Head for PlainHead {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn path(&self) -> &[u8] {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path).as_bytes()
    }

    fn query(&self) -> Option<&[u8]> {
        self.target.split_once('?').map(|(_, query)| query.as_bytes())
    }

    fn host(&self) -> &[u8] {
        self.host.as_bytes()
    }

    fn source(&self) -> IpAddr {
        self.source
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let host = (!self.host.is_empty()).then_some((b"Host".as_slice(), self.host.as_bytes()));
        host.into_iter().chain(self.fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }
}
