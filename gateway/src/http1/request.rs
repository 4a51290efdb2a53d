//! Request heads: read, checked, and understood as far as a gateway must.

#![allow(
    clippy::indexing_slicing,
    reason = "hot path over one head: offsets come from slices of that very head, indexes from its list of fields"
)]

use super::field::{Coding, ConnectionTokens, Kind, Length, may_be_tunnelled, nominate};
use super::scan::{self, LineFault, Lines, Storage};
use super::target::{Target, is_host};
use super::{Body, Fault};

/// How large a head may be.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "`_max` names the bound, as everywhere")]
pub(crate) struct HeadLimits {
    /// Bytes of the whole head.
    pub(crate) head_bytes_max: usize,
    /// Bytes of the request target.
    pub(crate) target_bytes_max: usize,
    /// Number of fields.
    pub(crate) fields_max: usize,
}

impl HeadLimits {
    /// Bytes at which an incomplete head of so many bytes is looked at again although its end has not come: when it
    /// reaches a limit, and now and then before, because it may be malformed already.
    pub(crate) fn look_again_at(&self, bytes: usize) -> usize {
        let limits = [self.target_bytes_max + LINE_EXTRA_BYTES, self.head_bytes_max];
        limits.into_iter().filter(|limit| *limit > bytes).fold(2 * bytes, usize::min)
    }
}

/// The head of one request, borrowed from the bytes that it was read from.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about one head")]
pub(crate) struct RequestHead<'b, 'f> {
    pub(super) lines: Lines<'b, 'f>,
    pub(super) target: Target<'b>,
    /// Whether the request line can't pass as it is: HTTP/1.0, or an absolute target.
    pub(super) needs_new_line: bool,
    pub(super) length: Length,
    /// Bytes of input that the head takes, with an empty line before it.
    pub(crate) bytes: usize,
    /// The method as sent.
    pub(crate) method: &'b [u8],
    /// What the request is for: `Host`, or the authority of an absolute target; `None` only in HTTP/1.0.
    pub(crate) host: Option<&'b [u8]>,
    /// Minor version: 0 or 1.
    pub(crate) minor: u8,
    /// The body that follows.
    pub(crate) body: Body,
    /// Whether the client keeps the connection.
    pub(crate) persistent: bool,
    /// Whether the client asks for another protocol that may be tunnelled.
    pub(crate) upgrade: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
}

/// Whether a head that was incomplete before the bytes at `from` came can be complete now: whether an empty line ends
/// in them. Saves parsing a trickled head again with each byte.
pub(crate) fn may_be_complete(input: &[u8], from: usize) -> bool {
    let from = from.saturating_sub(2);
    memchr::memchr_iter(b'\n', &input[from.min(input.len())..])
        .any(|at| matches!(input.get(from + at + 1..), Some([b'\n', ..] | [b'\r', b'\n', ..])))
}

impl<'b, 'f> RequestHead<'b, 'f> {
    /// Reads one head from the start of `input`. `Ok(None)`: more bytes are needed.
    pub(crate) fn parse(input: &'b [u8], storage: &'f mut Storage, limits: &HeadLimits) -> Result<Option<Self>, Fault> {
        // RFC 9112, 2.2: one empty line before the request is skipped; old clients send it after a body.
        let skipped = match input {
            b"\r" => return Ok(None),
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        let start = &input[skipped..];
        if matches!(start, [b'\r', b'\n', ..] | [b'\n', ..]) {
            return Err(Fault::Malformed("the request starts with empty lines: send the request line first"));
        }
        let Some(line) = scan::request_line(start).map_err(|found| fault(found, start, limits))? else {
            return too_large_already(start, limits).map_or(Ok(None), Err);
        };
        let end = scan::fields(start, line.end, storage, limits.fields_max, false);
        let Some(end) = end.map_err(|found| fault(found, start, limits))? else {
            return too_large_already(start, limits).map_or(Ok(None), Err);
        };
        let target = &start[line.target_start..line.target_end];
        if target.len() > limits.target_bytes_max {
            return Err(Fault::TargetTooLong);
        }
        if end > limits.head_bytes_max {
            return Err(Fault::HeadTooLarge);
        }
        let line = Line { method: &start[..line.method_end], target, minor: line.minor };
        Self::understand(scan::lines(&start[..end], storage), &line, skipped).map(Some)
    }

    fn understand(mut lines: Lines<'b, 'f>, line: &Line<'b>, skipped: usize) -> Result<Self, Fault> {
        if line.method == b"CONNECT" {
            return Err(Fault::NotImplemented("CONNECT is for forward proxies, this is a gateway: ask for a path"));
        }
        let target = Target::read(line.target, line.method)?;
        let mut facts = Facts::default();
        for field in &*lines.fields {
            if field.kind != Kind::Other {
                facts.note(field.kind, lines.value(field))?;
            }
        }
        if facts.length.needs_reshaping() {
            // The length is written anew, once; all lines that say it go.
            lines.turn(Kind::ContentLength, Kind::HopByHop);
        }
        let nominates = facts.tokens.nominates();
        if nominates.ok_or(Fault::Malformed("Connection names more fields than it takes: name fewer"))? {
            nominate(&mut lines);
        }
        let host = match (facts.host, line.minor) {
            (None, 1) => return Err(Fault::Malformed("the request has no Host field: send the host it is for")),
            (host, _) => target.authority.or(host),
        };
        let body = facts.framing(line.minor, &lines)?;
        let persistent = facts.tokens.persistent(line.minor);
        Ok(Self {
            bytes: skipped + lines.raw.len(),
            lines,
            target,
            needs_new_line: line.minor == 0 || target.authority.is_some(),
            length: facts.length,
            method: line.method,
            host,
            minor: line.minor,
            body,
            persistent,
            // Bytes of a body could not be told from bytes of the new protocol; h2c would hide requests from the gateway.
            upgrade: line.minor == 1 && facts.tokens.upgrade && facts.upgrades == Some(true) && body.is_empty(),
            expects_continue: line.minor == 1 && facts.expects_continue && !body.is_empty(),
        })
    }

    /// Path as sent up to `?`.
    pub(crate) fn path(&self) -> &'b [u8] {
        self.target.path
    }

    /// Query as sent, after `?`.
    pub(crate) fn query(&self) -> Option<&'b [u8]> {
        self.target.query
    }

    /// All fields as sent, in order.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.fields.iter().map(|field| (self.lines.name(field), self.lines.value(field)))
    }

    /// The values of the fields of one kind, in order.
    pub(super) fn values(&self, wanted: Kind) -> impl DoubleEndedIterator<Item = &'b [u8]> {
        self.lines.values(wanted)
    }

    /// Whether a repetition of the request changes nothing (RFC 9110, 9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        matches!(self.method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
    }
}

/// The request line.
struct Line<'b> {
    method: &'b [u8],
    target: &'b [u8],
    minor: u8,
}

/// What the fields say together.
#[derive(Default)]
struct Facts<'b> {
    tokens: ConnectionTokens,
    length: Length,
    coded: bool,
    host: Option<&'b [u8]>,
    /// Whether all protocols that `Upgrade` offers may be tunnelled; `None` without it.
    upgrades: Option<bool>,
    expects_continue: bool,
}

impl<'b> Facts<'b> {
    #[inline]
    fn note(&mut self, kind: Kind, value: &'b [u8]) -> Result<(), Fault> {
        match kind {
            Kind::Host => {
                if self.host.is_some() {
                    return Err(Fault::Malformed("the request has more than one Host field: send one"));
                }
                if !is_host(value) {
                    return Err(Fault::Malformed("Host is not `host` or `host:port`: send only these"));
                }
                self.host = Some(value);
            }
            Kind::Connection => self.tokens.read(value),
            Kind::ContentLength => {
                self.length.read(value).ok_or(Fault::Malformed("Content-Length is not one number: send it once"))?;
            }
            Kind::TransferEncoding => self.coded = true,
            Kind::Upgrade => {
                // Every field counts: the upstream chooses among all that they offer.
                self.upgrades = Some(self.upgrades.unwrap_or(true) && may_be_tunnelled(value));
            }
            Kind::Expect => self.expects_continue |= value.eq_ignore_ascii_case(b"100-continue"),
            _ => (),
        }
        Ok(())
    }

    /// RFC 9112, 6.3: where the body ends, or why that can't be known.
    #[inline]
    fn framing(&self, minor: u8, lines: &Lines<'_, '_>) -> Result<Body, Fault> {
        if self.coded {
            return self.coded_framing(minor, lines);
        }
        Ok(self.length.bytes.map_or(Body::None, Body::Length))
    }

    fn coded_framing(&self, minor: u8, lines: &Lines<'_, '_>) -> Result<Body, Fault> {
        if minor == 0 {
            return Err(Fault::Malformed("Transfer-Encoding does not exist in HTTP/1.0: send Content-Length"));
        }
        if self.length.bytes.is_some() {
            return Err(Fault::Malformed(
                "Content-Length and Transfer-Encoding contradict each other: send one of them",
            ));
        }
        match Coding::read(lines.values(Kind::TransferEncoding)) {
            Coding::Chunked => Ok(Body::CHUNKED),
            Coding::Unknown => {
                Err(Fault::NotImplemented("of the transfer codings only `chunked` is known here: send that alone"))
            }
            Coding::None | Coding::Broken => {
                Err(Fault::Malformed("Transfer-Encoding does not end in one `chunked`: send that alone"))
            }
        }
    }
}

const BAD_LINE: Fault =
    Fault::Malformed("the request line is not `METHOD /path HTTP/1.1`: send it so, with single spaces");

/// Whether an incomplete head is over a limit whatever comes.
fn too_large_already(start: &[u8], limits: &HeadLimits) -> Option<Fault> {
    let line_end = memchr::memchr(b'\n', &start[..start.len().min(limits.target_bytes_max + LINE_EXTRA_BYTES)]);
    if line_end.is_none() && start.len() >= limits.target_bytes_max + LINE_EXTRA_BYTES {
        return Some(Fault::TargetTooLong);
    }
    (start.len() >= limits.head_bytes_max).then_some(Fault::HeadTooLarge)
}

/// LIMIT: bytes of a request line beside its target: the longest registered method has 17, ` HTTP/1.1` and CR LF 12.
const LINE_EXTRA_BYTES: usize = 64;

/// What is wrong with a line, in words and status of HTTP.
#[cold]
fn fault(found: LineFault, start: &[u8], limits: &HeadLimits) -> Fault {
    match found {
        LineFault::TooMany => Fault::TooManyFields,
        LineFault::Version => Fault::Version,
        LineFault::Name => Fault::Malformed(
            "a line of the request head is not `name: value`: no space before the colon, no folded lines",
        ),
        LineFault::Value => {
            Fault::Malformed("a header field holds a control character: percent-encode it, or leave it out")
        }
        LineFault::End => Fault::Malformed("a line of the request head does not end in CR LF: end each line so"),
        LineFault::First if start.len() > limits.head_bytes_max => Fault::HeadTooLarge,
        LineFault::First => BAD_LINE,
    }
}
