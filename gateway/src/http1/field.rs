//! Header fields: which ones the gateway cares about, and the few values that it must understand.

use super::scan::{Field, Lines};

/// What the gateway does about a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Passes.
    Other,
    /// Concerns one connection only, never passes.
    HopByHop,
    Connection,
    TransferEncoding,
    ContentLength,
    Host,
    Upgrade,
    Expect,
    Cookie,
    ForwardedFor,
    ForwardedProto,
    ForwardedHost,
    Forwarded,
    RequestId,
    /// An underscore twin of a forwarding field: some applications read it as the field itself.
    ForwardedTwin,
    /// Named by `Connection`, never passes.
    Nominated,
    /// Passes, but the line is written anew because it is not in canonical form.
    Reshaped,
}

/// What a field of this name is.
#[inline]
pub(super) fn classify(name: &[u8]) -> Kind {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        2 if is(b"te") => Kind::HopByHop,
        4 if is(b"host") => Kind::Host,
        6 if is(b"cookie") => Kind::Cookie,
        6 if is(b"expect") => Kind::Expect,
        7 if is(b"upgrade") => Kind::Upgrade,
        9 if is(b"forwarded") => Kind::Forwarded,
        10 if is(b"connection") => Kind::Connection,
        10 if is(b"keep-alive") => Kind::HopByHop,
        12 if is(b"x-request-id") => Kind::RequestId,
        14 if is(b"content-length") => Kind::ContentLength,
        14 if is(b"http2-settings") => Kind::HopByHop,
        15 if is(b"x-forwarded-for") => Kind::ForwardedFor,
        16 if is(b"x-forwarded-host") => Kind::ForwardedHost,
        16 if is(b"proxy-connection") => Kind::HopByHop,
        17 if is(b"transfer-encoding") => Kind::TransferEncoding,
        17 if is(b"x-forwarded-proto") => Kind::ForwardedProto,
        19 if is(b"proxy-authorization") => Kind::HopByHop,
        15..=17 if matches!(name, [b'x' | b'X', ..]) && is_forwarding_twin(name) => Kind::ForwardedTwin,
        _ => Kind::Other,
    }
}

#[cold]
fn is_forwarding_twin(name: &[u8]) -> bool {
    [b"x-forwarded-for".as_slice(), b"x-forwarded-host", b"x-forwarded-proto"].iter().any(|known| {
        name.len() == known.len()
            && name.iter().zip(*known).all(|(byte, known)| {
                let byte = if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
                byte == *known
            })
    })
}

/// What the `Connection` fields of a head ask for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ConnectionTokens {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade: bool,
    /// How many other fields are named.
    named: usize,
}

impl ConnectionTokens {
    /// LIMIT: fields that `Connection` names. Clients name one or two; each is compared with all fields of the head.
    pub(super) const NAMED_MAX: usize = 64;

    /// Whether other fields are named; `None`: too many.
    pub(super) fn nominates(self) -> Option<bool> {
        (self.named <= Self::NAMED_MAX).then_some(self.named > 0)
    }

    pub(super) fn read(&mut self, value: &[u8]) {
        for token in items(value) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else if !token.is_empty() {
                self.named += 1;
            }
        }
    }

    /// Whether the connection stays open after a message of this minor version.
    pub(super) fn persistent(self, minor: u8) -> bool {
        !self.close && (minor == 1 || self.keep_alive)
    }
}

/// Marks the fields that `Connection` names. Fields that frame or address the message, and those that the gateway
/// reads for itself, can't be named away: a client could take from the upstream what the gateway decided by.
///
/// The names are read once, whatever the number of fields: it takes no longer than [`ConnectionTokens::NAMED_MAX`] lets it.
pub(super) fn nominate(lines: &mut Lines<'_, '_>) {
    for index in 0..lines.fields.len() {
        let Some(naming) = lines.fields.get(index).filter(|field| field.kind == Kind::Connection) else { continue };
        for token in items(lines.value(naming)).filter(|token| !token.is_empty()) {
            for at in 0..lines.fields.len() {
                let named = lines.fields.get(at).filter(|field| lines.name(field).eq_ignore_ascii_case(token));
                let may_be_named =
                    |field: &Field| matches!(field.kind, Kind::Other | Kind::Cookie | Kind::Expect | Kind::Reshaped);
                if named.is_some_and(may_be_named)
                    && let Some(field) = lines.fields.get_mut(at)
                {
                    field.kind = Kind::Nominated;
                }
            }
        }
    }
}

/// The items of a comma-separated list, trimmed; empty ones included.
pub(super) fn items(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Without spaces and tabs around it. Nothing else is white space in HTTP.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Whether no protocol of an `Upgrade` field is HTTP, or TLS, under which HTTP goes on: inside a tunnel the gateway
/// would not see the requests.
pub(super) fn may_be_tunnelled(value: &[u8]) -> bool {
    items(value).all(|protocol| {
        let name = trim(protocol.split(|byte| *byte == b'/').next().unwrap_or_default());
        let starts = |start: &[u8]| name.get(..start.len()).is_some_and(|found| found.eq_ignore_ascii_case(start));
        !name.is_empty() && ![b"h2".as_slice(), b"h3", b"http", b"tls"].into_iter().any(starts)
    })
}

/// What `Content-Length` fields say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Length {
    /// The length, once a field named one.
    pub(super) bytes: Option<u64>,
    /// Whether it was said once, without leading zeros: then the line may pass as it is.
    repeated: bool,
}

impl Length {
    /// LIMIT: digits of a length. 18 digits always fit into 64 bits, and no body has 10^18 bytes.
    const DIGITS_MAX: usize = 18;

    /// Takes one field; several values must agree (RFC 9112, 6.3). `None` when they do not, or when one is no number.
    pub(super) fn read(&mut self, value: &[u8]) -> Option<()> {
        for item in items(value) {
            let bytes = Self::number(item)?;
            if self.bytes.is_some_and(|before| before != bytes) {
                return None;
            }
            self.repeated |= self.bytes.is_some() || (item.len() > 1 && item.starts_with(b"0"));
            self.bytes = Some(bytes);
        }
        Some(())
    }

    /// Whether the field must be written anew as one plain number.
    pub(super) fn needs_reshaping(self) -> bool {
        self.repeated
    }

    fn number(text: &[u8]) -> Option<u64> {
        if text.is_empty() || text.len() > Self::DIGITS_MAX {
            return None;
        }
        text.iter()
            .try_fold(0, |number: u64, byte| byte.is_ascii_digit().then(|| number * 10 + u64::from(*byte - b'0')))
    }
}

/// What `Transfer-Encoding` fields say, taken together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Coding {
    /// No such field.
    #[default]
    None,
    /// `chunked` and nothing else.
    Chunked,
    /// Other codings, and `chunked` last: framed, but not readable here.
    Unknown,
    /// Does not end in `chunked`, or names it twice: where the message ends can't be known.
    Broken,
}

impl Coding {
    /// Takes all such fields of a head, in order.
    pub(super) fn read<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let mut coding = Self::None;
        let mut others = false;
        for item in values.flat_map(items) {
            let ended = matches!(coding, Self::Chunked | Self::Unknown);
            if ended || !is_token(item) {
                return Self::Broken;
            }
            coding = match (item.eq_ignore_ascii_case(b"chunked"), others) {
                (true, false) => Self::Chunked,
                (true, true) => Self::Unknown,
                (false, _) => Self::Broken,
            };
            others |= coding == Self::Broken;
        }
        coding
    }
}

/// Whether it is a token of RFC 9110, 5.6.2.
pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Whether a token may contain it.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
pub(super) fn is_token_byte(byte: u8) -> bool {
    IN_TOKEN[byte as usize]
}

/// Bytes that a token may contain.
#[expect(clippy::indexing_slicing, reason = "a byte is below 256")]
static IN_TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    // The others are not ASCII.
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        byte += 1;
    }
    table
};
