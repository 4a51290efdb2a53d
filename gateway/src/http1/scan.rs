//! Where the lines of a head and their parts begin and end: the one pass over its bytes.
//!
//! Strict where parsers differ: lines end in CR LF, names are followed by their colon, nothing is folded.

#![allow(
    clippy::indexing_slicing,
    reason = "hot path over one head: each place was found in that very head, up to its length"
)]

use super::field::{Kind, classify, is_token_byte};

/// LIMIT: fields for which room is kept between heads; heads with more make it anew.
const USUAL_FIELDS: usize = 64;

/// One line of a head that has a name and a value: places in the head.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// Where the name, and so the line, starts.
    pub(super) start: usize,
    name_end: usize,
    value_start: usize,
    value_end: usize,
    /// What the gateway does about it.
    pub(super) kind: Kind,
}

/// Room for the fields of one head, used for head after head.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    fields: Vec<Field>,
}

impl Storage {
    /// Empty room.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

/// The lines of one head.
#[derive(Debug)]
pub(super) struct Lines<'b, 'f> {
    /// From the first byte of the first line to the end of the empty line.
    pub(super) raw: &'b [u8],
    /// All lines but the first, in order.
    pub(super) fields: &'f mut [Field],
}

impl<'b> Lines<'b, '_> {
    pub(super) fn name(&self, field: &Field) -> &'b [u8] {
        &self.raw[field.start..field.name_end]
    }

    /// Without white space around it.
    pub(super) fn value(&self, field: &Field) -> &'b [u8] {
        &self.raw[field.value_start..field.value_end]
    }

    /// Whether white space stands before the colon.
    pub(super) fn is_spaced(&self, field: &Field) -> bool {
        self.raw[field.name_end] != b':'
    }

    /// The values of the fields of one kind, in order.
    pub(super) fn values(&self, wanted: Kind) -> impl DoubleEndedIterator<Item = &'b [u8]> {
        self.fields.iter().filter(move |field| field.kind == wanted).map(|field| self.value(field))
    }

    /// Makes fields of one kind fields of another.
    pub(super) fn turn(&mut self, from: Kind, to: Kind) {
        self.fields.iter_mut().filter(|field| field.kind == from).for_each(|field| field.kind = to);
    }

    /// Where the fields start.
    pub(super) fn fields_start(&self) -> usize {
        self.fields.first().map_or(self.raw.len() - 2, |field| field.start)
    }

    /// Copies the head from `start` to its empty line (without that) in runs between the lines that do not pass.
    #[inline]
    pub(super) fn write_runs(&self, start: usize, out: &mut Vec<u8>, passes: impl Fn(Kind) -> bool) {
        let mut from = start;
        for (index, field) in self.fields.iter().enumerate() {
            if !passes(field.kind) {
                out.extend_from_slice(&self.raw[from..field.start]);
                from = self.fields.get(index + 1).map_or(self.raw.len() - 2, |next| next.start);
            }
        }
        out.extend_from_slice(&self.raw[from..self.raw.len() - 2]);
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineFault {
    /// The first line is not what it should be.
    First,
    /// The first line names a version other than 1.0 and 1.1.
    Version,
    /// A name is no token, or its colon does not follow it.
    Name,
    /// A value holds a control character.
    Value,
    /// A line does not end in CR LF.
    End,
    /// There are more fields than may be.
    TooMany,
}

/// The first line of a request: places in the head.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestLine {
    pub(super) method_end: usize,
    pub(super) target_start: usize,
    pub(super) target_end: usize,
    pub(super) minor: u8,
    /// Where the next line starts.
    pub(super) end: usize,
}

/// The first line of a response.
#[derive(Debug, Clone, Copy)]
pub(super) struct StatusLine {
    pub(super) minor: u8,
    pub(super) status: u16,
    /// Where the next line starts.
    pub(super) end: usize,
}

/// Ends the function with `None` when the input ends here: more bytes are needed.
macro_rules! byte {
    ($input:expr, $at:expr) => {
        match $input.get($at) {
            Some(byte) => *byte,
            None => return Ok(None),
        }
    };
}

/// Reads `METHOD target HTTP/1.x`.
pub(super) fn request_line(input: &[u8]) -> Result<Option<RequestLine>, LineFault> {
    let method_end = token_end(input, 0);
    if byte!(input, method_end) != b' ' || method_end == 0 {
        return Err(LineFault::First);
    }
    let target_start = method_end + 1;
    let target_end = end_of_plain::<b'!'>(input, target_start);
    if byte!(input, target_end) != b' ' || target_end == target_start {
        return Err(LineFault::First);
    }
    let Some(minor) = version(input, target_end + 1)? else { return Ok(None) };
    let end = line_end(input, target_end + 9, LineFault::First)?;
    Ok(end.map(|end| RequestLine { method_end, target_start, target_end, minor, end }))
}

/// Reads `HTTP/1.x 200 Words`.
pub(super) fn status_line(input: &[u8]) -> Result<Option<StatusLine>, LineFault> {
    let Some(minor) = version(input, 0)? else { return Ok(None) };
    if byte!(input, 8) != b' ' {
        return Err(LineFault::First);
    }
    let mut status = 0;
    for at in 9..12 {
        match byte!(input, at) {
            digit @ b'0'..=b'9' => status = status * 10 + u16::from(digit - b'0'),
            _ => return Err(LineFault::First),
        }
    }
    // RFC 9112, 4: the space stands there even without words; servers leave it out.
    let words_end = match byte!(input, 12) {
        b' ' => end_of_text(input, 13),
        _ => 12,
    };
    let end = line_end(input, words_end, LineFault::First)?;
    Ok(end.map(|end| StatusLine { minor, status, end }))
}

/// The minor version at `at`.
fn version(input: &[u8], at: usize) -> Result<Option<u8>, LineFault> {
    let rest = input.get(at..).unwrap_or_default();
    match rest.get(..8) {
        Some(b"HTTP/1.1") => Ok(Some(1)),
        Some(b"HTTP/1.0") => Ok(Some(0)),
        None if b"HTTP/1.1".starts_with(rest) || rest == b"HTTP/1." => Ok(None),
        _ if matches!(rest, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..]) => Err(LineFault::Version),
        _ => Err(LineFault::First),
    }
}

/// Reads fields from `at` to the empty line into `storage`; tells where the head ends. `spaces`: white space before the
/// colon is taken, as responses may have it (RFC 9112, 5.1).
pub(super) fn fields(
    input: &[u8],
    mut at: usize,
    storage: &mut Storage,
    fields_max: usize,
    spaces: bool,
) -> Result<Option<usize>, LineFault> {
    let fields = &mut storage.fields;
    fields.clear();
    fields.shrink_to(USUAL_FIELDS);
    loop {
        if matches!(byte!(input, at), b'\r' | b'\n') {
            return line_end(input, at, LineFault::End);
        }
        if fields.len() == fields_max {
            return Err(LineFault::TooMany);
        }
        let name_end = token_end(input, at);
        let colon = if spaces { after_blanks(input, name_end) } else { name_end };
        if byte!(input, colon) != b':' || name_end == at {
            return Err(LineFault::Name);
        }
        let value_start = after_blanks(input, colon + 1);
        let text_end = end_of_text(input, value_start);
        let Some(next) = line_end(input, text_end, LineFault::Value)? else { return Ok(None) };
        let mut value_end = text_end;
        while value_end > value_start && is_blank(input[value_end - 1]) {
            value_end -= 1;
        }
        fields.push(Field { start: at, name_end, value_start, value_end, kind: classify(&input[at..name_end]) });
        at = next;
    }
}

/// The fields that [`fields`] read.
pub(super) fn lines<'b, 'f>(raw: &'b [u8], storage: &'f mut Storage) -> Lines<'b, 'f> {
    Lines { raw, fields: &mut storage.fields }
}

/// Where the next line starts, if this one ends at `at`.
#[inline]
fn line_end(input: &[u8], at: usize, otherwise: LineFault) -> Result<Option<usize>, LineFault> {
    match byte!(input, at) {
        b'\r' => match byte!(input, at + 1) {
            b'\n' => Ok(Some(at + 2)),
            _ => Err(otherwise),
        },
        b'\n' => Err(LineFault::End),
        _ => Err(otherwise),
    }
}

#[inline]
fn token_end(input: &[u8], from: usize) -> usize {
    let mut at = from;
    while input.get(at).is_some_and(|byte| is_token_byte(*byte)) {
        at += 1;
    }
    at
}

#[inline]
fn after_blanks(input: &[u8], from: usize) -> usize {
    let mut at = from;
    while input.get(at).is_some_and(|byte| is_blank(*byte)) {
        at += 1;
    }
    at
}

#[inline]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Where text ends: at the first control character that is no tab.
#[inline]
fn end_of_text(input: &[u8], from: usize) -> usize {
    let mut at = end_of_plain::<b' '>(input, from);
    while input.get(at) == Some(&b'\t') {
        at = end_of_plain::<b' '>(input, at + 1);
    }
    at
}

/// The first byte that is below `LEAST` or DEL: eight at a time.
#[inline]
fn end_of_plain<const LEAST: u8>(input: &[u8], from: usize) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH * 0x80;
    let (eights, rest) = input.get(from..).unwrap_or_default().as_chunks::<8>();
    let mut at = from;
    for eight in eights {
        let word = u64::from_le_bytes(*eight);
        // The lowest bit that is set is right: borrows only reach the bytes above a true one.
        let below = word.wrapping_sub(EACH * u64::from(LEAST)) & !word;
        let delete = word ^ (EACH * 0x7f);
        let found = (below | (delete.wrapping_sub(EACH) & !delete)) & HIGH;
        if found != 0 {
            return at + usize::try_from(found.trailing_zeros() / 8).unwrap_or_default();
        }
        at += 8;
    }
    at + rest.iter().position(|byte| *byte < LEAST || *byte == 0x7f).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn eight_at_a_time_finds_what_one_at_a_time_finds(input in prop::collection::vec(prop_oneof![8 => 0x1f_u8..=0x22, 1 => 0x7d_u8..=0x81, 4 => any::<u8>()], 0..40), from in 0_usize..45) {
            let slow = |least: u8| {
                let found = input.iter().skip(from).position(|byte| *byte < least || *byte == 0x7f);
                found.map_or(input.len().max(from), |found| from + found)
            };
            prop_assert_eq!(end_of_plain::<b' '>(&input, from), slow(b' '));
            prop_assert_eq!(end_of_plain::<b'!'>(&input, from), slow(b'!'));
        }
    }

    #[test]
    fn the_room_for_fields_does_not_stay_large() {
        let head = format!("{}\r\n", "a: b\r\n".repeat(200));
        let mut storage = Storage::new();
        assert_eq!(fields(head.as_bytes(), 0, &mut storage, 300, false), Ok(Some(head.len())));
        assert_eq!(fields(b"a: b\r\n\r\n", 0, &mut storage, 300, false), Ok(Some(8)));
        assert!(storage.fields.capacity() <= USUAL_FIELDS);
    }
}
