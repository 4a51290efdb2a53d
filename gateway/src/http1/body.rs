//! Message bodies: where they end. A body is measured while it passes, its bytes are not touched.

#![allow(
    clippy::indexing_slicing,
    reason = "hot loop over the input: each index is below the length that the loop head has compared it with"
)]

use super::field::is_token_byte;

/// Where the body of a message ends, and how much of it has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none.
    None,
    /// This many bytes are left.
    Length(u64),
    /// Ends with the last chunk and its trailers.
    Chunked(Chunked),
    /// Ends when the sender closes.
    UntilClose,
}

/// What of an input belongs to the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// So many bytes, from the start.
    pub(crate) bytes: usize,
    /// Whether the body ends there.
    pub(crate) complete: bool,
}

/// Why a chunked body is refused. What was read of it must never be presented as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyFault {
    /// Not what RFC 9112, 7.1 allows.
    #[error("the chunked body is malformed: {0}")]
    Malformed(&'static str),
    /// Extensions and trailers over the limit.
    #[error(
        "the chunked body has more than {} bytes of chunk extensions and trailers: send less",
        Chunked::EXTRA_BYTES_MAX
    )]
    TooMuchExtra,
}

impl Body {
    /// A chunked body from its start.
    pub(crate) const CHUNKED: Self = Self::Chunked(Chunked::START);

    /// Whether nothing will come.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }

    /// Takes what belongs to the body.
    #[inline]
    pub(crate) fn advance(&mut self, input: &[u8]) -> Result<Taken, BodyFault> {
        self.decode(input, |_| ())
    }

    /// Takes what belongs to the body and hands out its content, without framing.
    #[inline]
    pub(crate) fn decode(&mut self, input: &[u8], mut content: impl FnMut(&[u8])) -> Result<Taken, BodyFault> {
        match self {
            Self::None => Ok(Taken { bytes: 0, complete: true }),
            Self::Length(left) => {
                let bytes = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= bytes as u64;
                content(&input[..bytes]);
                Ok(Taken { bytes, complete: *left == 0 })
            }
            Self::UntilClose => {
                content(input);
                Ok(Taken { bytes: input.len(), complete: false })
            }
            Self::Chunked(chunked) => chunked.take(input, content),
        }
    }
}

/// Place inside a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chunked {
    state: State,
    /// Of the size: digits read so far. Of a trailer: bytes of its name read so far.
    count: u8,
    /// Content bytes left of the current chunk.
    left: u64,
    /// Bytes of extensions and trailers so far.
    extra: u16,
    /// Start of the current trailer's name, lower case.
    name: [u8; LONGEST_FORBIDDEN],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    /// White space after the size: only an extension may follow.
    Gap,
    Extension,
    SizeEnd,
    Content,
    ContentCr,
    ContentLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerEnd,
    End,
}

/// Fields that decide framing, address or identity of a message: as trailers they would come after the decision
/// (RFC 9110, 6.5.1).
const FORBIDDEN_TRAILERS: [&[u8]; 18] = [
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];
const LONGEST_FORBIDDEN: usize = 17;

impl Chunked {
    const START: Self = Self { state: State::Size, count: 0, left: 0, extra: 0, name: [0; LONGEST_FORBIDDEN] };

    /// LIMIT: bytes of chunk extensions and trailers in one body. They are passed on, never used; 16 KiB is what peers
    /// take for a whole head.
    pub(crate) const EXTRA_BYTES_MAX: u16 = 16 * 1024;

    /// LIMIT: hexadecimal digits of one size: 60 bits, so that no shift overflows.
    const DIGITS_MAX: u8 = 15;

    #[inline]
    fn take(&mut self, input: &[u8], mut content: impl FnMut(&[u8])) -> Result<Taken, BodyFault> {
        let mut at = 0;
        while at < input.len() {
            if self.state == State::Content {
                let rest = &input[at..];
                let bytes = usize::try_from(self.left).map_or(rest.len(), |left| left.min(rest.len()));
                content(&rest[..bytes]);
                self.left -= bytes as u64;
                at += bytes;
                if self.left == 0 {
                    self.state = State::ContentCr;
                }
                continue;
            }
            let byte = input[at];
            at += 1;
            if self.state == State::End {
                expect(byte, b'\n', "the body does not end in CR LF")?;
                return Ok(Taken { bytes: at, complete: true });
            }
            self.step(byte)?;
        }
        Ok(Taken { bytes: at, complete: false })
    }

    /// One byte that is neither content nor the last one.
    #[inline]
    fn step(&mut self, byte: u8) -> Result<(), BodyFault> {
        self.state = match self.state {
            State::Size => return self.size(byte),
            State::Gap => match byte {
                b' ' | b'\t' => self.spend(State::Gap)?,
                b';' => self.spend(State::Extension)?,
                _ => return Err(BodyFault::Malformed("after a chunk size only an extension or CR LF may come")),
            },
            State::Extension => match byte {
                b'\r' => State::SizeEnd,
                _ if is_text(byte) => self.spend(State::Extension)?,
                _ => return Err(BodyFault::Malformed("a chunk extension holds a control character")),
            },
            State::SizeEnd => {
                expect(byte, b'\n', "a chunk size does not end in CR LF")?;
                self.count = 0;
                if self.left == 0 { State::TrailerStart } else { State::Content }
            }
            State::ContentCr => {
                expect(byte, b'\r', "a chunk is longer than its size says")?;
                State::ContentLf
            }
            State::ContentLf => {
                expect(byte, b'\n', "a chunk does not end in CR LF")?;
                State::Size
            }
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerEnd => {
                return self.trailer(byte);
            }
            // Both are taken before.
            State::Content | State::End => self.state,
        };
        Ok(())
    }

    #[inline]
    fn size(&mut self, byte: u8) -> Result<(), BodyFault> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ if self.count == 0 => return Err(BodyFault::Malformed("a chunk size is no hexadecimal number")),
            b'\r' => {
                self.state = State::SizeEnd;
                return Ok(());
            }
            b';' => {
                self.state = self.spend(State::Extension)?;
                return Ok(());
            }
            b' ' | b'\t' => {
                self.state = self.spend(State::Gap)?;
                return Ok(());
            }
            _ => return Err(BodyFault::Malformed("a chunk size is no hexadecimal number")),
        };
        if self.count == Self::DIGITS_MAX {
            return Err(BodyFault::Malformed("a chunk size has too many digits"));
        }
        self.count += 1;
        self.left = (self.left << 4) | u64::from(digit);
        Ok(())
    }

    #[cold]
    fn trailer(&mut self, byte: u8) -> Result<(), BodyFault> {
        self.state = match (self.state, byte) {
            (State::TrailerStart, b'\r') => State::End,
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => {
                if let Some(place) = self.name.get_mut(usize::from(self.count)) {
                    *place = byte.to_ascii_lowercase();
                }
                self.count = self.count.saturating_add(1);
                self.spend(State::TrailerName)?
            }
            (State::TrailerName, b':') => {
                let name = self.name.get(..usize::from(self.count)).unwrap_or_default();
                if FORBIDDEN_TRAILERS.contains(&name) {
                    return Err(BodyFault::Malformed("a trailer has a name that only a head may have"));
                }
                self.count = 0;
                self.spend(State::TrailerValue)?
            }
            (State::TrailerValue, b'\r') => State::TrailerEnd,
            (State::TrailerValue, _) if is_text(byte) => self.spend(State::TrailerValue)?,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            _ => return Err(BodyFault::Malformed("a trailer is not `name: value`")),
        };
        Ok(())
    }

    /// Counts one byte of extension or trailer.
    fn spend(&mut self, next: State) -> Result<State, BodyFault> {
        self.extra += 1;
        if self.extra > Self::EXTRA_BYTES_MAX { Err(BodyFault::TooMuchExtra) } else { Ok(next) }
    }
}

fn expect(byte: u8, expected: u8, otherwise: &'static str) -> Result<(), BodyFault> {
    if byte == expected { Ok(()) } else { Err(BodyFault::Malformed(otherwise)) }
}

/// Whether it may stand in an extension or a field value: no control character but the tab.
#[inline]
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// The line that starts a chunk of this size, in the last bytes of a fixed field: its length is told.
pub(crate) fn encode_chunk_head(size: usize, field: &mut [u8; 18]) -> usize {
    field[16..].copy_from_slice(b"\r\n");
    let mut at = 16;
    let mut left = size;
    loop {
        at -= 1;
        field[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
        if left == 0 {
            return field.len() - at;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A whole body and what follows it: content, or the refusal.
    fn read(input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Option<usize>), BodyFault> {
        let mut body = Body::CHUNKED;
        let mut content = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([input.len()]) {
            let taken = body.decode(&input[start..end], |bytes| content.extend_from_slice(bytes))?;
            start += taken.bytes;
            if taken.complete {
                return Ok((content, Some(start)));
            }
            assert_eq!(start, end, "all of an incomplete body is taken");
        }
        Ok((content, None))
    }

    #[track_caller]
    fn check(input: &str, expected: Result<(&str, Option<usize>), ()>) {
        let whole = read(input.as_bytes(), &[]);
        let expected = expected.map(|(content, end)| (content.as_bytes().to_vec(), end));
        assert_eq!(whole.clone().map_err(|_| ()), expected, "{input:?}: {whole:?}");
        for cut in 0..=input.len() {
            assert_eq!(read(input.as_bytes(), &[cut]), whole, "{input:?} cut at {cut}");
        }
        let each: Vec<usize> = (0..=input.len()).collect();
        assert_eq!(read(input.as_bytes(), &each), whole, "{input:?} byte by byte");
    }

    #[test]
    fn chunks_give_their_content_and_end_where_they_end() {
        check("5\r\nhello\r\n0\r\n\r\nNEXT", Ok(("hello", Some(15))));
        check("0\r\n\r\n", Ok(("", Some(5))));
        check("a;x=y\r\n0123456789\r\n00A\r\n0123456789\r\n000\r\n\r\n", Ok(("01234567890123456789", Some(43))));
        check("1 ;x\r\na\r\n0\t; y=\"z\"\r\n\r\n", Ok(("a", Some(22))));
        check("0\r\nETag: \"x\"\r\nX-Sum: 1 2\r\n\r\nN", Ok(("", Some(28))));
        check("5\r\nhel", Ok(("hel", None)));
    }

    #[test]
    fn bad_chunk_framing_is_refused() {
        for input in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1_0\r\n",
            " 1\r\n",
            "1\n",
            "1\r\r",
            "1 \r\n",
            "1 1\r\n",
            "1\ra",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rb",
            "1;\u{1}\r\n",
            "1;x\ny\r\n",
            "1;x\r\r\n",
            "1234567890abcdef\r\n",
            "0000000000000000\r\n",
            "ffffffffffffffffff\r\n",
            "1,\r\n",
            "5\r\nhello0\r\n\r\n",
            "0\r\n\n",
            "0\r\n\rx",
            "0\n\n",
        ] {
            check(input, Err(()));
        }
    }

    #[test]
    fn bad_trailers_are_refused() {
        for trailer in [
            "no colon\r\n",
            ": x\r\n",
            " folded: x\r\n",
            "a: b\r\n folded\r\n",
            "a : b\r\n",
            "a: \u{0}\r\n",
            "a: b\n",
            "a: b\rc",
            "Content-Length: 5\r\n",
            "transfer-encoding: chunked\r\n",
            "Host: a\r\n",
            "X-Forwarded-For: 1.2.3.4\r\n",
            "Te: x\r\n",
        ] {
            check(&format!("0\r\n{trailer}\r\n"), Err(()));
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded_over_the_whole_body() {
        let room = usize::from(Chunked::EXTRA_BYTES_MAX);
        let with = |extra: usize| format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(extra - 1));
        assert!(read(with(room).as_bytes(), &[]).is_ok());
        assert_eq!(read(with(room + 1).as_bytes(), &[]), Err(BodyFault::TooMuchExtra));
        let many = "1;x\r\na\r\n".repeat(room);
        assert_eq!(read(many.as_bytes(), &[]), Err(BodyFault::TooMuchExtra));
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(room / 4 + 1));
        assert_eq!(read(trailers.as_bytes(), &[]), Err(BodyFault::TooMuchExtra));
    }

    #[test]
    fn a_body_of_known_length_ends_there() {
        let mut body = Body::Length(5);
        assert_eq!(body.advance(b"hel"), Ok(Taken { bytes: 3, complete: false }));
        assert_eq!(body.advance(b"loNEXT"), Ok(Taken { bytes: 2, complete: true }));
        assert_eq!(Body::UntilClose.advance(b"abc"), Ok(Taken { bytes: 3, complete: false }));
        assert_eq!(Body::None.advance(b"abc"), Ok(Taken { bytes: 0, complete: true }));
    }

    #[test]
    fn chunk_heads_are_hexadecimal() {
        for (size, expected) in [(1, "1\r\n"), (0, "0\r\n"), (65_536, "10000\r\n"), (0xabc, "abc\r\n")] {
            let mut field = [0; 18];
            let length = encode_chunk_head(size, &mut field);
            assert_eq!(&field[18 - length..], expected.as_bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_encoded_is_decoded(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                let mut field = [0; 18];
                let length = encode_chunk_head(chunk.len(), &mut field);
                wire.extend_from_slice(&field[18 - length..]);
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let end = wire.len();
            wire.extend_from_slice(b"GET ");
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(end)).collect();
            cuts.sort_unstable();
            prop_assert_eq!(read(&wire, &cuts), Ok((chunks.concat(), Some(end))));
        }

        #[test]
        fn no_input_makes_pieces_differ_from_the_whole(input in "[0-9a-fxX;:, \t\r\n]{0,40}", cut in any::<prop::sample::Index>()) {
            let cut = cut.index(input.len() + 1);
            prop_assert_eq!(read(input.as_bytes(), &[cut]), read(input.as_bytes(), &[]));
        }
    }
}
