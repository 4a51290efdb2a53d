//! Response heads: read, checked, and written for the client.

#![allow(
    clippy::indexing_slicing,
    reason = "hot path over one head: offsets come from slices of that very head, indexes from its list of fields"
)]

use httparse::{Header, ParserConfig, Status};

use super::field::{Coding, ConnectionTokens, Kind, Length, Storage, classify, may_be_tunnelled, nominate};
use super::onward::{offset, write_field, write_length, write_runs};
use super::request::lines_end_in_crlf;
use super::{Body, HeadLimits, ResponseFault};

/// The head of one response, borrowed from the bytes that it was read from.
#[derive(Debug)]
pub(crate) struct ResponseHead<'b, 'f> {
    raw: &'b [u8],
    headers: &'f [Header<'b>],
    kinds: &'f [Kind],
    minor: u8,
    length: Length,
    reshaped: bool,
    /// Bytes of input that the head takes.
    pub(crate) bytes: usize,
    /// The status code, 100 to 999.
    pub(crate) status: u16,
    /// The body that follows.
    pub(crate) body: Body,
    /// Whether the upstream keeps the connection.
    pub(crate) persistent: bool,
}

/// How the body reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relay {
    /// As it comes.
    AsIs,
    /// It ends when the upstream closes; the client gets chunks, so that it can tell the end from a cut.
    Chunked,
    /// It comes in chunks, which an HTTP/1.0 client does not know; the client's connection ends with the content.
    Bare,
}

/// What the gateway decided about a response.
pub(crate) struct Toward<'a> {
    /// Minor version of the client.
    pub(crate) minor: u8,
    /// How the body goes on.
    pub(crate) relay: Relay,
    /// Whether the client's connection stays open.
    pub(crate) persistent: bool,
    /// Whole header lines to add.
    pub(crate) lines: &'a [u8],
}

impl<'b, 'f> ResponseHead<'b, 'f> {
    /// Reads one head from the start of `input`. `Ok(None)`: more bytes are needed. `to_head`: it answers HEAD;
    /// `upgrade`: the request asked for another protocol.
    pub(crate) fn parse(
        input: &'b [u8],
        storage: &'f mut Storage<'b>,
        limits: &HeadLimits,
        to_head: bool,
        upgrade: bool,
    ) -> Result<Option<Self>, ResponseFault> {
        let (headers, kinds) = storage.limited(limits.fields_max);
        let mut parsed = httparse::Response::new(&mut []);
        let mut config = ParserConfig::default();
        // RFC 9112, 5.1: in a response the space before the colon is removed.
        config.allow_spaces_after_header_name_in_responses(true);
        let bytes = match config.parse_response_with_uninit_headers(&mut parsed, input, headers) {
            Ok(Status::Complete(bytes)) => bytes,
            Ok(Status::Partial) if input.len() < limits.head_bytes_max => return Ok(None),
            Ok(Status::Partial) | Err(httparse::Error::TooManyHeaders) => return Err(ResponseFault::HeadTooLarge),
            Err(_) => return Err(ResponseFault::Malformed("the response head is not what HTTP/1.1 allows")),
        };
        let (Some(status @ 100..=999), Some(minor)) = (parsed.code, parsed.version) else {
            return Err(ResponseFault::Malformed("the status line is not `HTTP/1.1 200 Words`"));
        };
        let headers: &'f [Header<'b>] = parsed.headers;
        let raw = &input[..bytes];
        if bytes > limits.head_bytes_max {
            return Err(ResponseFault::HeadTooLarge);
        }
        if raw.starts_with(b"\r\n") || raw.starts_with(b"\n") || !lines_end_in_crlf(raw, headers) {
            return Err(ResponseFault::Malformed("a line of the response head does not end in CR LF"));
        }
        if status == 101 && !upgrade {
            return Err(ResponseFault::UnaskedUpgrade);
        }
        Self::understand(raw, headers, &mut kinds[..headers.len()], (status, minor), to_head).map(Some)
    }

    fn understand(
        raw: &'b [u8],
        headers: &'f [Header<'b>],
        kinds: &'f mut [Kind],
        (status, minor): (u16, u8),
        to_head: bool,
    ) -> Result<Self, ResponseFault> {
        let mut tokens = ConnectionTokens::default();
        let mut length = Length::default();
        let mut coded = false;
        let mut reshaped = false;
        for (header, kind) in headers.iter().zip(kinds.iter_mut()) {
            *kind = classify(header.name.as_bytes());
            let spaced = raw[offset(raw, header) + header.name.len()] != b':';
            match kind {
                Kind::ContentLength | Kind::TransferEncoding if spaced => {
                    return Err(ResponseFault::Malformed("a field that frames the body has a space before its colon"));
                }
                Kind::Connection => tokens.read(header.value),
                Kind::ContentLength => {
                    length.read(header.value).ok_or(ResponseFault::Malformed("Content-Length is not one number"))?;
                }
                Kind::TransferEncoding => coded = true,
                Kind::Upgrade if status == 101 && !may_be_tunnelled(header.value) => {
                    return Err(ResponseFault::UnaskedUpgrade);
                }
                Kind::HopByHop | Kind::Upgrade => (),
                // Fields that mean something in requests only.
                _ if spaced => {
                    *kind = Kind::Reshaped;
                    reshaped = true;
                }
                _ => *kind = Kind::Other,
            }
        }
        let body = framing(status, minor, to_head, coded.then_some((headers, &*kinds)), length)?;
        strip_framing(kinds, status, length);
        if tokens.nominates().ok_or(ResponseFault::Malformed("Connection names too many fields"))? {
            nominate(headers, kinds);
        }
        let persistent = tokens.persistent(minor) && body != Body::UntilClose;
        Ok(Self { raw, headers, kinds, minor, length, reshaped, bytes: raw.len(), status, body, persistent })
    }

    /// Whether it is not yet the answer: another head follows.
    pub(crate) fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// How the body reaches a client of this minor version.
    pub(crate) fn relay(&self, client_minor: u8) -> Relay {
        match (self.body, client_minor) {
            (Body::UntilClose, 1) if self.status != 101 => Relay::Chunked,
            (Body::Chunked(_), 0) => Relay::Bare,
            _ => Relay::AsIs,
        }
    }

    /// Appends the head for the client to `out`.
    pub(crate) fn write_toward(&self, toward: &Toward<'_>, out: &mut Vec<u8>) {
        let start = if self.minor == 1 {
            0
        } else {
            out.extend_from_slice(b"HTTP/1.1");
            b"HTTP/1.0".len()
        };
        let switches = self.status == 101;
        write_runs(out, self.raw, start, self.headers, self.kinds, |kind| match kind {
            Kind::Connection | Kind::HopByHop | Kind::Nominated | Kind::Reshaped => false,
            Kind::TransferEncoding => toward.relay == Relay::AsIs && toward.minor == 1,
            Kind::Upgrade => switches,
            _ => true,
        });
        if self.reshaped {
            let lines = self.headers.iter().zip(self.kinds).filter(|(_, kind)| **kind == Kind::Reshaped);
            lines.for_each(|(header, _)| write_field(out, header.name.as_bytes(), header.value));
        }
        if let Some(bytes) = self.length.bytes
            && self.length.needs_reshaping()
            && self.status != 204
            && self.status >= 200
        {
            write_length(out, bytes);
        }
        if toward.relay == Relay::Chunked {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        out.extend_from_slice(toward.lines);
        if switches {
            out.extend_from_slice(b"Connection: upgrade\r\n");
        } else if self.status >= 200 {
            match (toward.persistent, toward.minor) {
                (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
                (true, 0) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
                (true, _) => (),
            }
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// RFC 9112, 6.3, for responses: where the body ends, or why that can't be known.
#[inline]
fn framing(
    status: u16,
    minor: u8,
    to_head: bool,
    coded: Option<(&[Header<'_>], &[Kind])>,
    length: Length,
) -> Result<Body, ResponseFault> {
    let chunked = if let Some((headers, kinds)) = coded {
        let lines = headers.iter().zip(kinds).filter(|(_, kind)| **kind == Kind::TransferEncoding);
        if minor == 0 || length.bytes.is_some() {
            return Err(ResponseFault::Malformed("Transfer-Encoding contradicts Content-Length or HTTP/1.0"));
        }
        if Coding::read(lines.map(|(header, _)| header.value)) != Coding::Chunked {
            return Err(ResponseFault::Malformed("Transfer-Encoding is something else than `chunked`"));
        }
        true
    } else {
        false
    };
    if status == 101 {
        return Ok(Body::UntilClose);
    }
    if to_head || status < 200 || status == 204 || status == 304 {
        return Ok(Body::None);
    }
    if chunked {
        return Ok(Body::CHUNKED);
    }
    Ok(length.bytes.map_or(Body::UntilClose, Body::Length))
}

/// Removes lines about framing that the response must not have (RFC 9110, 8.6; RFC 9112, 6.1), or that are written anew.
fn strip_framing(kinds: &mut [Kind], status: u16, length: Length) {
    let bodiless = status < 200 || status == 204;
    if bodiless || length.needs_reshaping() {
        for kind in kinds.iter_mut() {
            if *kind == Kind::ContentLength || (bodiless && *kind == Kind::TransferEncoding) {
                *kind = Kind::HopByHop;
            }
        }
    }
}
