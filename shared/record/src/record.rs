//! The record of one answered request.

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
    /// `condition`, `cookie`, `weight`, `only_route`, or empty.
    pub decided_by: &'static str,
}

/// A bounded text out of a request: never longer than its limit, and it says when it was cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// What was kept, as UTF-8 (other bytes escaped as `\xNN`).
    pub kept: String,
    /// Whether there was more.
    pub cut: bool,
}

/// What one answered request leaves behind.
#[derive(Debug, Clone)]
pub struct Record {
    /// Wall clock at the first byte of the request, nanoseconds since 1970 (UTC).
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
    /// Method.
    pub method: Text,
    /// Host as decided on.
    pub host: Text,
    /// Path without query.
    pub path: Text,
    /// Minor HTTP version of the client: 0 or 1.
    pub http_minor: u8,
    /// Address of the endpoint that answered, if one did.
    pub endpoint: Option<Arc<str>>,
    /// Lookup of the endpoint.
    pub endpoint_lookup: Option<Arc<str>>,
    /// The request id sent upstream.
    pub request_id: Text,
    /// Tries after the first.
    pub retries: u8,
    /// Body bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client, head and body.
    pub bytes_out: u64,
    /// First byte of the request to its whole head.
    pub head_us: u64,
    /// Connecting upstream; `None` on a pooled connection.
    pub connect_us: Option<u64>,
    /// Request sent to the upstream's head read.
    pub upstream_us: Option<u64>,
    /// Whole head read to last byte sent: the active time, without keep-alive idle.
    pub duration_us: u64,
}

impl Text {
    /// LIMIT: of a method. The longest registered one has 17 bytes.
    pub const METHOD_BYTES_MAX: usize = 32;
    /// LIMIT: of a host. A DNS name has up to 253 bytes, a port 6 more.
    pub const HOST_BYTES_MAX: usize = 260;
    /// LIMIT: of a path. Old log lines were cut at 1,024 bytes in sum; longer keywords cost an index more than they tell.
    pub const PATH_BYTES_MAX: usize = 1024;
    /// LIMIT: of a request id. A UUID has 36 bytes, a W3C trace parent 55.
    pub const REQUEST_ID_BYTES_MAX: usize = 128;

    /// Keeps what fits into `limit_bytes` of text. Bytes that are not UTF-8 and control characters become `\xNN`, so
    /// that no reader's terminal or parser is driven by a client.
    pub fn bounded(bytes: &[u8], limit_bytes: usize) -> Self {
        // The common case by far: one copy.
        if bytes.len() <= limit_bytes
            // Without an early end, so that it is done many bytes at once.
            && bytes.iter().fold(true, |plain, byte| plain & (byte.wrapping_sub(b' ') <= b'~' - b' '))
            && let Ok(plain) = std::str::from_utf8(bytes)
        {
            return Self { kept: plain.to_owned(), cut: false };
        }
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
