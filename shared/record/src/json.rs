//! JSON written by hand, for the one place where it is written for each request.

use std::net::IpAddr;

use crate::record::Text;

/// What is written, on its way into a vector. Small pieces go into an array first: a vector looks at its room, and calls
/// a function, for each of them.
#[derive(Debug)]
pub(crate) struct JsonWriter {
    bytes: [u8; Self::ROOM_BYTES],
    used: usize,
}

/// Digits of the largest number.
const DIGITS_MAX: usize = 20;

/// `00` to `99`: two digits for one division.
#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "numbers below 100, and places below 200; evaluated when compiled"
)]
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut number = 0;
    while number < 100 {
        pairs[2 * number] = b'0' + (number / 10) as u8;
        pairs[2 * number + 1] = b'0' + (number % 10) as u8;
        number += 1;
    }
    pairs
};

impl JsonWriter {
    /// LIMIT: more than nearly all documents have; a longer one leaves in pieces.
    const ROOM_BYTES: usize = 2_048;

    pub(crate) fn new() -> Self {
        Self { bytes: [0; Self::ROOM_BYTES], used: 0 }
    }

    /// Moves what was written to the end of `out`.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes.get(..self.used).unwrap_or_default());
        self.used = 0;
    }

    /// Appends bytes whose number is known when compiled.
    #[inline]
    pub(crate) fn literal<const N: usize>(&mut self, bytes: &[u8; N], out: &mut Vec<u8>) {
        let room = self.bytes.get_mut(self.used..).and_then(|rest| rest.first_chunk_mut::<N>());
        if let Some(room) = room {
            *room = *bytes;
            self.used += N;
        } else {
            self.flush(out);
            out.extend_from_slice(bytes);
        }
    }

    /// Appends bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let room = self.bytes.get_mut(self.used..).and_then(|rest| rest.get_mut(..bytes.len()));
        if let Some(room) = room {
            room.copy_from_slice(bytes);
            self.used += bytes.len();
        } else {
            self.flush(out);
            out.extend_from_slice(bytes);
        }
    }

    /// Appends a whole number.
    #[inline]
    pub(crate) fn number(&mut self, number: u64, out: &mut Vec<u8>) {
        let digits = number.checked_ilog10().map_or(1, |power| power as usize + 1);
        if self.bytes.len() - self.used < DIGITS_MAX {
            self.flush(out);
        }
        let room = self.bytes.get_mut(self.used..self.used + digits).unwrap_or_default();
        let mut rest = number;
        let (ones, pairs) = room.as_rchunks_mut::<2>();
        for pair in pairs.iter_mut().rev() {
            let index = 2 * (rest % 100) as usize;
            *pair = PAIRS.get(index..index + 2).and_then(|pair| pair.first_chunk()).copied().unwrap_or_default();
            rest /= 100;
        }
        if let [digit] = ones {
            *digit = b'0' + (rest % 10) as u8;
        }
        self.used += digits;
    }

    /// Appends a number that may be −1.
    pub(crate) fn number_or_none(&mut self, number: Option<u64>, out: &mut Vec<u8>) {
        match number {
            Some(number) => self.number(number, out),
            None => self.literal(b"-1", out),
        }
    }

    /// Appends an address, without quotes.
    pub(crate) fn address(&mut self, address: IpAddr, out: &mut Vec<u8>) {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [first, rest @ ..] = address.octets();
                self.number(first.into(), out);
                for octet in rest {
                    self.literal(b".", out);
                    self.number(octet.into(), out);
                }
            }
            // Its digits and colons need no escape.
            IpAddr::V6(address) => self.raw(address.to_string().as_bytes(), out),
        }
    }

    /// Appends a string in quotes.
    pub(crate) fn string(&mut self, text: &str, out: &mut Vec<u8>) {
        self.literal(b"\"", out);
        self.escaped(text, out);
        self.literal(b"\"", out);
    }

    /// Appends bytes that somebody sent, made fit to be read, without quotes; tells whether they had to be cut for that.
    pub(crate) fn text(&mut self, bytes: &[u8], limit_bytes: usize, out: &mut Vec<u8>) -> bool {
        if is_plain(bytes) && bytes.len() <= limit_bytes {
            self.raw(bytes, out);
            return false;
        }
        let text = Text::bounded(bytes, limit_bytes);
        self.escaped(&text.kept, out);
        text.cut
    }

    fn escaped(&mut self, text: &str, out: &mut Vec<u8>) {
        if is_plain(text.as_bytes()) {
            self.raw(text.as_bytes(), out);
            return;
        }
        for character in text.chars() {
            match character {
                '"' => self.literal(b"\\\"", out),
                '\\' => self.literal(b"\\\\", out),
                control if control < ' ' => self.raw(format!("\\u{:04x}", u32::from(control)).as_bytes(), out),
                other => self.raw(other.encode_utf8(&mut [0; 4]).as_bytes(), out),
            }
        }
    }

    /// Appends a list of strings.
    pub(crate) fn list<'v>(&mut self, values: impl Iterator<Item = &'v str>, out: &mut Vec<u8>) {
        self.literal(b"[", out);
        for (index, value) in values.enumerate() {
            if index > 0 {
                self.literal(b",", out);
            }
            self.string(value, out);
        }
        self.literal(b"]", out);
    }
}

/// Whether JSON takes the bytes as they are: eight are looked at together.
fn is_plain(bytes: &[u8]) -> bool {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH * 0x80;
    let (eights, rest) = bytes.as_chunks::<8>();
    let odd = eights.iter().fold(0, |odd, eight| {
        let word = u64::from_le_bytes(*eight);
        let below = word.wrapping_sub(EACH * u64::from(b' ')) & !word;
        // In each of these a byte is 0 where the word has that byte.
        let [quote, backslash, delete] = [b'"', b'\\', 0x7f].map(|byte| word ^ (EACH * u64::from(byte)));
        let zero = |word: u64| word.wrapping_sub(EACH) & !word;
        odd | word | below | zero(quote) | zero(backslash) | zero(delete)
    });
    odd & HIGH == 0 && rest.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is written after so many bytes: pieces leave in the middle of anything.
    fn written(before: usize, write: impl FnOnce(&mut JsonWriter, &mut Vec<u8>)) -> Vec<u8> {
        let (mut writer, mut out) = (JsonWriter::new(), Vec::new());
        writer.raw(&vec![b' '; before], &mut out);
        write(&mut writer, &mut out);
        writer.flush(&mut out);
        out.split_off(before)
    }

    fn before() -> impl Strategy<Value = usize> {
        prop_oneof![Just(0), JsonWriter::ROOM_BYTES - 60..JsonWriter::ROOM_BYTES + 1]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn eight_at_a_time_sees_what_one_at_a_time_sees(bytes in prop::collection::vec(prop_oneof![20 => b' '..=b'~', 1 => any::<u8>()], 0..30)) {
            let slow = bytes.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'"' && *byte != b'\\');
            prop_assert_eq!(is_plain(&bytes), slow);
        }

        #[test]
        fn any_string_is_read_back(before in before(), text in any::<String>()) {
            let out = written(before, |writer, out| writer.string(&text, out));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_list_is_read_back(before in before(), texts in any::<Vec<String>>()) {
            let out = written(before, |writer, out| writer.list(texts.iter().map(|text| &**text), out));
            prop_assert_eq!(serde_json::from_slice::<Vec<String>>(&out).unwrap(), texts);
        }

        #[test]
        fn any_bytes_are_one_string_within_their_limit(before in before(), bytes in any::<Vec<u8>>(), limit in 0_usize..80) {
            let mut cut = false;
            let out = written(before, |writer, out| {
                writer.literal(b"\"", out);
                cut = writer.text(&bytes, limit, out);
                writer.literal(b"\"", out);
            });
            let shown: String = serde_json::from_slice(&out).unwrap();
            prop_assert!(shown.len() <= limit && !shown.chars().any(char::is_control));
            prop_assert_eq!((shown, cut), { let text = Text::bounded(&bytes, limit); (text.kept, text.cut) });
        }

        #[test]
        fn any_address_is_written_as_it_is_shown(before in before(), address in any::<IpAddr>()) {
            let out = written(before, |writer, out| writer.address(address, out));
            prop_assert_eq!(out, address.to_canonical().to_string().into_bytes());
        }

        #[test]
        fn any_number_is_written_as_it_is_shown(before in before(), number in prop_oneof![any::<u64>(), 0_u64..2_000, Just(u64::MAX)]) {
            let out = written(before, |writer, out| writer.number(number, out));
            prop_assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
