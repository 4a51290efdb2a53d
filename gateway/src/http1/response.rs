//! Response heads: read, checked, and written for the client.

#![allow(
    clippy::indexing_slicing,
    reason = "hot path over one head: offsets come from slices of that very head, indexes from its list of fields"
)]

use super::field::{Coding, ConnectionTokens, Kind, Length, may_be_tunnelled, nominate};
use super::onward::{write_field, write_length};
use super::scan::{self, LineFault, Lines, StatusLine, Storage};
use super::{Body, HeadLimits, ResponseFault};

/// The head of one response, borrowed from the bytes that it was read from.
#[derive(Debug)]
pub(crate) struct ResponseHead<'b, 'f> {
    lines: Lines<'b, 'f>,
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
        storage: &'f mut Storage,
        limits: &HeadLimits,
        to_head: bool,
        upgrade: bool,
    ) -> Result<Option<Self>, ResponseFault> {
        let incomplete =
            || if input.len() < limits.head_bytes_max { Ok(None) } else { Err(ResponseFault::HeadTooLarge) };
        let Some(line) = scan::status_line(input).map_err(fault)? else { return incomplete() };
        if line.status < 100 {
            return Err(BAD_LINE);
        }
        let end = scan::fields(input, line.end, storage, limits.fields_max, true).map_err(fault)?;
        let Some(end) = end else { return incomplete() };
        if end > limits.head_bytes_max {
            return Err(ResponseFault::HeadTooLarge);
        }
        if line.status == 101 && !upgrade {
            return Err(ResponseFault::UnaskedUpgrade);
        }
        Self::understand(scan::lines(&input[..end], storage), line, to_head).map(Some)
    }

    fn understand(mut lines: Lines<'b, 'f>, line: StatusLine, to_head: bool) -> Result<Self, ResponseFault> {
        let StatusLine { minor, status, .. } = line;
        let mut tokens = ConnectionTokens::default();
        let mut length = Length::default();
        let mut coded = false;
        let mut reshaped = false;
        for index in 0..lines.fields.len() {
            let field = lines.fields[index];
            let spaced = lines.is_spaced(&field);
            match field.kind {
                Kind::ContentLength | Kind::TransferEncoding if spaced => {
                    return Err(ResponseFault::Malformed("a field that frames the body has a space before its colon"));
                }
                Kind::Connection => tokens.read(lines.value(&field)),
                Kind::ContentLength => {
                    length
                        .read(lines.value(&field))
                        .ok_or(ResponseFault::Malformed("Content-Length is not one number"))?;
                }
                Kind::TransferEncoding => coded = true,
                Kind::Upgrade if status == 101 && !may_be_tunnelled(lines.value(&field)) => {
                    return Err(ResponseFault::UnaskedUpgrade);
                }
                Kind::HopByHop | Kind::Upgrade => (),
                // Fields that mean something in requests only.
                _ if spaced => {
                    lines.fields[index].kind = Kind::Reshaped;
                    reshaped = true;
                }
                Kind::Other => (),
                _ => lines.fields[index].kind = Kind::Other,
            }
        }
        let body = framing(line, to_head, coded.then_some(&lines), length)?;
        strip_framing(&mut lines, status, length);
        if tokens.nominates().ok_or(ResponseFault::Malformed("Connection names too many fields"))? {
            nominate(&mut lines);
        }
        let persistent = tokens.persistent(minor) && body != Body::UntilClose;
        Ok(Self { bytes: lines.raw.len(), lines, minor, length, reshaped, status, body, persistent })
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
        self.lines.write_runs(start, out, |kind| match kind {
            Kind::Connection | Kind::HopByHop | Kind::Nominated | Kind::Reshaped => false,
            Kind::TransferEncoding => toward.relay == Relay::AsIs && toward.minor == 1,
            Kind::Upgrade => switches,
            _ => true,
        });
        if self.reshaped {
            let fields = self.lines.fields.iter().filter(|field| field.kind == Kind::Reshaped);
            fields.for_each(|field| write_field(out, self.lines.name(field), self.lines.value(field)));
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
    StatusLine { status, minor, .. }: StatusLine,
    to_head: bool,
    coded: Option<&Lines<'_, '_>>,
    length: Length,
) -> Result<Body, ResponseFault> {
    if let Some(lines) = coded {
        if minor == 0 || length.bytes.is_some() {
            return Err(ResponseFault::Malformed("Transfer-Encoding contradicts Content-Length or HTTP/1.0"));
        }
        if Coding::read(lines.values(Kind::TransferEncoding)) != Coding::Chunked {
            return Err(ResponseFault::Malformed("Transfer-Encoding is something else than `chunked`"));
        }
    }
    if status == 101 {
        return Ok(Body::UntilClose);
    }
    if to_head || status < 200 || status == 204 || status == 304 {
        return Ok(Body::None);
    }
    if coded.is_some() {
        return Ok(Body::CHUNKED);
    }
    Ok(length.bytes.map_or(Body::UntilClose, Body::Length))
}

/// Removes lines about framing that the response must not have (RFC 9110, 8.6; RFC 9112, 6.1), or that are written anew.
fn strip_framing(lines: &mut Lines<'_, '_>, status: u16, length: Length) {
    let bodiless = status < 200 || status == 204;
    if bodiless || length.needs_reshaping() {
        lines.turn(Kind::ContentLength, Kind::HopByHop);
    }
    if bodiless {
        lines.turn(Kind::TransferEncoding, Kind::HopByHop);
    }
}

const BAD_LINE: ResponseFault = ResponseFault::Malformed("the status line is not `HTTP/1.1 200 Words`");

#[cold]
fn fault(found: LineFault) -> ResponseFault {
    match found {
        LineFault::TooMany => ResponseFault::HeadTooLarge,
        LineFault::First | LineFault::Version => BAD_LINE,
        LineFault::Name | LineFault::Value => {
            ResponseFault::Malformed("a line of the response head is not `name: value`, or holds a control character")
        }
        LineFault::End => ResponseFault::Malformed("a line of the response head does not end in CR LF"),
    }
}
