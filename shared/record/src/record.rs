//! The record of one answered request, or of one carried connection.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::Reason;

/// Names of one decision, shared by all records that it leads to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RouteLabels {
    /// Gateways passed, first to last: name and lookup, and whether the weights decided there.
    pub gateways: Vec<(String, String, bool)>,
    /// Routes (key and lookup) taken at the gateways before the last: those that led to the next gateway.
    pub via: Vec<(String, String)>,
    /// Route key and lookup at the last gateway; empty when no route was reached.
    pub route: String,
    /// Lookup of the route.
    pub route_lookup: String,
    /// `condition`, `cookie`, `source`, `weight`, `only_route`, or empty.
    pub decided_by: &'static str,
}

/// The texts of one request as it sent them, in one allocation: each request makes one, so that what is done here is
/// paid by all. They are made fit to be read only when they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    bytes: Box<[u8]>,
    /// Where method, host and path end; the request id is the rest.
    ends: [u16; 3],
    /// Which of the four had more than is kept, a bit each.
    cut: u8,
}

/// A bounded text, as it is shown: never longer than its limit, and it says when it was cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// What was kept, as UTF-8 (other bytes escaped as `\xNN`).
    pub(crate) kept: String,
    /// Whether there was more.
    pub(crate) cut: bool,
}

/// What one answered request leaves behind, or one connection of a TCP gateway: that has no status, no texts and no head.
#[derive(Debug, Clone)]
pub struct Record {
    /// Whether it is of a connection, not of a request.
    pub is_tcp: bool,
    /// Wall clock at the first byte of the request, or when the connection was accepted, nanoseconds since 1970 (UTC).
    pub started_unix_ns: u64,
    /// Names of the decision.
    pub labels: Arc<RouteLabels>,
    /// Epoch and revision of the table that decided.
    pub epoch: u64,
    /// See `epoch`.
    pub revision: u64,
    /// How it ended.
    pub reason: Reason,
    /// Status sent to the client, 0 when none was.
    pub status: u16,
    /// Status of the upstream, 0 when it gave none.
    pub upstream_status: u16,
    /// Client address after the trusted-proxy rules, port of the peer.
    pub client: SocketAddr,
    /// Method, host as decided on, path without query, and the request id sent upstream.
    pub texts: Texts,
    /// Minor HTTP version of the client: 0 or 1.
    pub http_minor: u8,
    /// Address of the endpoint that answered, if one did.
    pub endpoint: Option<Arc<str>>,
    /// Lookup of the endpoint.
    pub endpoint_lookup: Option<Arc<str>>,
    /// Tries after the first.
    pub retries: u8,
    /// Body bytes from the client; of a connection, all bytes.
    pub bytes_in: u64,
    /// Bytes to the client, head and body.
    pub bytes_out: u64,
    /// First byte of the request to its whole head.
    pub head_us: u64,
    /// Connecting upstream; `None` on a pooled connection.
    pub connect_us: Option<u64>,
    /// Request sent to the upstream's head read.
    pub upstream_us: Option<u64>,
    /// Whole head read to last byte sent: the active time, without keep-alive idle. Of a connection, all of its time.
    pub duration_us: u64,
}

impl Texts {
    /// LIMIT: bytes of a method. The longest registered one has 17.
    pub const METHOD_BYTES_MAX: usize = 32;
    /// LIMIT: bytes of a host. A DNS name has up to 253, a port 6 more.
    pub const HOST_BYTES_MAX: usize = 260;
    /// LIMIT: bytes of a path. Old log lines were cut at 1,024 in sum; longer keywords cost an index more than they tell.
    pub const PATH_BYTES_MAX: usize = 1024;
    /// LIMIT: bytes of a request id. A UUID has 36, a W3C trace parent 55.
    pub const REQUEST_ID_BYTES_MAX: usize = 128;

    /// Keeps the start of each.
    pub fn new(method: &[u8], host: &[u8], path: &[u8], request_id: &[u8]) -> Self {
        let mut cut = 0;
        let mut part = |bit: u8, text: &'_ [u8], limit_bytes: usize| {
            cut |= u8::from(text.len() > limit_bytes) << bit;
            text.len().min(limit_bytes)
        };
        let lengths = [
            part(0, method, Self::METHOD_BYTES_MAX),
            part(1, host, Self::HOST_BYTES_MAX),
            part(2, path, Self::PATH_BYTES_MAX),
            part(3, request_id, Self::REQUEST_ID_BYTES_MAX),
        ];
        let mut bytes = Vec::with_capacity(lengths.iter().sum());
        let mut ends = [0; 4];
        for ((text, length), end) in [method, host, path, request_id].into_iter().zip(lengths).zip(&mut ends) {
            bytes.extend_from_slice(text.get(..length).unwrap_or_default());
            // The limits add up to less than 64 KiB.
            *end = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        }
        let [method, host, path, _] = ends;
        Self { bytes: bytes.into_boxed_slice(), ends: [method, host, path], cut }
    }

    /// The method.
    pub fn method(&self) -> &[u8] {
        self.part(0, self.ends[0])
    }

    /// The host as decided on.
    pub fn host(&self) -> &[u8] {
        self.part(self.ends[0], self.ends[1])
    }

    /// The path without query.
    pub fn path(&self) -> &[u8] {
        self.part(self.ends[1], self.ends[2])
    }

    /// The request id sent upstream.
    pub fn request_id(&self) -> &[u8] {
        self.bytes.get(usize::from(self.ends[2])..).unwrap_or_default()
    }

    fn part(&self, start: u16, end: u16) -> &[u8] {
        self.bytes.get(usize::from(start)..usize::from(end)).unwrap_or_default()
    }

    /// Name, text and limit of each, and whether it had more.
    pub(crate) fn named(&self) -> [(&'static str, &[u8], usize, bool); 4] {
        let cut = |bit: u8| self.cut & (1 << bit) != 0;
        [
            ("method", self.method(), Self::METHOD_BYTES_MAX, cut(0)),
            ("host", self.host(), Self::HOST_BYTES_MAX, cut(1)),
            ("path", self.path(), Self::PATH_BYTES_MAX, cut(2)),
            ("request_id", self.request_id(), Self::REQUEST_ID_BYTES_MAX, cut(3)),
        ]
    }
}

impl Text {
    /// Keeps what fits into `limit_bytes` of text. Bytes that are not UTF-8 and control characters become `\xNN`, so
    /// that no reader's terminal or parser is driven by a client.
    pub(crate) fn bounded(bytes: &[u8], limit_bytes: usize) -> Self {
        let mut text = Self::default();
        for chunk in bytes.utf8_chunks() {
            let whole = chunk.valid().chars().all(|character| text.push(character, limit_bytes))
                && chunk.invalid().iter().all(|byte| text.push_escaped(*byte, limit_bytes));
            if !whole {
                text.cut = true;
                return text;
            }
        }
        text
    }

    /// Whether it fitted.
    fn push(&mut self, character: char, limit_bytes: usize) -> bool {
        if character.is_control() {
            let mut utf8 = [0; 4];
            return character.encode_utf8(&mut utf8).bytes().all(|byte| self.push_escaped(byte, limit_bytes));
        }
        let fits = self.kept.len() + character.len_utf8() <= limit_bytes;
        if fits {
            self.kept.push(character);
        }
        fits
    }

    /// Whether it fitted.
    fn push_escaped(&mut self, byte: u8, limit_bytes: usize) -> bool {
        use std::fmt::Write as _;
        // Writing to a string does not fail.
        self.kept.len() + 4 <= limit_bytes && write!(self.kept, "\\x{byte:02x}").is_ok()
    }
}

impl Record {
    /// Wall clock at the end of the request, nanoseconds since 1970 (UTC): start plus measured durations, so that a
    /// clock that is set meanwhile can't end a request before it began.
    pub(crate) fn ended_unix_ns(&self) -> u64 {
        self.started_unix_ns.saturating_add(self.head_us.saturating_add(self.duration_us).saturating_mul(1_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], limit_bytes: usize, kept: &str, cut: bool) {
        assert_eq!(Text::bounded(bytes, limit_bytes), Text { kept: kept.to_owned(), cut });
    }

    #[test]
    fn plain_text_is_kept_whole() {
        check(b"/shop?", 6, "/shop?", false);
        check("/größe".as_bytes(), 100, "/größe", false);
    }

    #[test]
    fn the_texts_of_a_request_are_kept_up_to_their_limits() {
        let long = [b'x'; 2_000];
        let texts = Texts::new(b"GET", b"", &long, b"id");
        assert_eq!((texts.method(), texts.host(), texts.request_id()), (&b"GET"[..], &b""[..], &b"id"[..]));
        assert_eq!(texts.path(), &long[..Texts::PATH_BYTES_MAX]);
        assert_eq!(
            texts.named().map(|(name, _, _, cut)| (name, cut)),
            [("method", false), ("host", false), ("path", true), ("request_id", false)]
        );
        assert_eq!(Texts::default(), Texts::new(b"", b"", b"", b""));
    }

    #[test]
    fn a_character_that_the_limit_of_the_texts_cuts_is_not_shown_as_broken() {
        for more in 0..4 {
            let host = format!("{}{}", "x".repeat(Texts::HOST_BYTES_MAX - more), "\u{1f600}");
            let texts = Texts::new(b"", host.as_bytes(), b"", b"");
            let shown = Text::bounded(texts.host(), Texts::HOST_BYTES_MAX);
            let wanted = Text::bounded(host.as_bytes(), Texts::HOST_BYTES_MAX);
            assert_eq!((shown.kept, shown.cut || texts.named()[1].3), (wanted.kept, true), "{more}");
        }
    }

    #[test]
    fn text_is_cut_between_characters_and_says_so() {
        check(b"/shop", 4, "/sho", true);
        check("aö".as_bytes(), 2, "a", true);
        check(b"ab\xff", 5, "ab", true);
    }

    #[test]
    fn bytes_that_could_drive_a_terminal_or_parser_are_escaped() {
        check(b"a\x1b[2J\n\xff\x00", 100, "a\\x1b[2J\\x0a\\xff\\x00", false);
        check("\u{85}".as_bytes(), 100, "\\xc2\\x85", false);
    }
}
