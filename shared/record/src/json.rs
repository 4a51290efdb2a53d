//! JSON written by hand, for the one place where it is written for each request.

use std::net::IpAddr;

use crate::record::Text;

/// Appends a whole number.
#[inline]
pub(crate) fn push_number<N: itoa::Integer>(out: &mut Vec<u8>, number: N) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an address, without quotes.
pub(crate) fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            push_number(out, first);
            for octet in rest {
                out.push(b'.');
                push_number(out, octet);
            }
        }
        // Its digits and colons need no escape.
        IpAddr::V6(address) => out.extend_from_slice(address.to_string().as_bytes()),
    }
}

/// Appends a string in quotes.
pub(crate) fn push_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends bytes that somebody sent, made fit to be read, without quotes; tells whether they had to be cut for that.
pub(crate) fn push_text(out: &mut Vec<u8>, bytes: &[u8], limit_bytes: usize) -> bool {
    if is_plain(bytes) && bytes.len() <= limit_bytes {
        out.extend_from_slice(bytes);
        return false;
    }
    let text = Text::bounded(bytes, limit_bytes);
    push_escaped(out, &text.kept);
    text.cut
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            control if control < ' ' => out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes()),
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
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

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn eight_at_a_time_sees_what_one_at_a_time_sees(bytes in prop::collection::vec(prop_oneof![20 => b' '..=b'~', 1 => any::<u8>()], 0..30)) {
            let slow = bytes.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'"' && *byte != b'\\');
            prop_assert_eq!(is_plain(&bytes), slow);
        }

        #[test]
        fn any_string_is_read_back(text in any::<String>()) {
            let mut out = Vec::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_one_string_within_their_limit(bytes in any::<Vec<u8>>(), limit in 0_usize..80) {
            let mut out = b"\"".to_vec();
            let cut = push_text(&mut out, &bytes, limit);
            out.push(b'"');
            let shown: String = serde_json::from_slice(&out).unwrap();
            prop_assert!(shown.len() <= limit && !shown.chars().any(char::is_control));
            prop_assert_eq!((shown, cut), { let text = Text::bounded(&bytes, limit); (text.kept, text.cut) });
        }

        #[test]
        fn any_address_is_written_as_it_is_shown(address in any::<IpAddr>()) {
            let mut out = Vec::new();
            push_address(&mut out, address);
            prop_assert_eq!(out, address.to_canonical().to_string().into_bytes());
        }

        #[test]
        fn any_number_is_written_as_it_is_shown(number in any::<i64>()) {
            let mut out = Vec::new();
            push_number(&mut out, number);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
