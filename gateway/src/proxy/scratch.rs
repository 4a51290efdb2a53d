//! The buffers that all connections of one thread share. They are borrowed for one synchronous step and never across
//! an await, so that a connection that waits holds no memory.

use std::cell::RefCell;

use rand::RngExt as _;

use crate::http1::Storage;

/// LIMIT: bytes before the place that sockets are read into. The head that goes on is put there, in front of the body
/// that came with it, so that both leave in one write; larger heads take two.
const HEADROOM_BYTES: usize = 4 * 1024;

/// LIMIT: bytes read at once. 64 KiB is measured: larger reads give 6 % at 100 KB, smaller ones lose.
pub(crate) const READ_BYTES: usize = 64 * 1024;

/// LIMIT: bytes of an answer read at once behind the first [`READ_FAST_BYTES`]. What a stalled client leaves of a read is
/// kept until it goes on, and clients that stall in the same way all leave the same: up to the whole of it. Shorter
/// answers are the many; their cost is what counts.
const READ_LONG_BYTES: usize = 32 * 1024;
const READ_FAST_BYTES: u64 = 256 * 1024;

/// LIMIT: bytes behind what was read, for the end of a chunk that is framed in place.
const TAILROOM_BYTES: usize = 8;

/// LIMIT: spare buffers kept per thread, and their size: requests in flight on pooled connections hold one each.
const SPARES_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 8 * 1024;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// The buffers of one thread.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Headroom, what was read, tailroom.
    pub(crate) buffer: Vec<u8>,
    /// Where heads are written.
    pub(crate) head: Vec<u8>,
    /// Where the fields of the head that is read are.
    pub(crate) fields: Storage,
    spares: Vec<Vec<u8>>,
    request_id: RequestIds,
}

/// Uses the thread's buffers for one synchronous step.
pub(crate) fn with<T>(step: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(step)
}

impl Scratch {
    /// Where what is read starts.
    pub(crate) const START: usize = HEADROOM_BYTES;

    fn new() -> Self {
        Self {
            buffer: vec![0; HEADROOM_BYTES + READ_BYTES + TAILROOM_BYTES],
            head: Vec::with_capacity(4096),
            fields: Storage::new(),
            spares: Vec::new(),
            request_id: RequestIds::new(),
        }
    }

    /// Where a socket is read into.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        self.buffer.get_mut(Self::START..Self::START + READ_BYTES).unwrap_or_default()
    }

    /// Where an answer is read into of which this much went before.
    pub(crate) fn room_behind(&mut self, passed_bytes: u64) -> &mut [u8] {
        let bytes = if passed_bytes < READ_FAST_BYTES { READ_BYTES } else { READ_LONG_BYTES };
        self.buffer.get_mut(Self::START..Self::START + bytes).unwrap_or_default()
    }

    /// Puts bytes that were kept to where a read would have put them; tells where they end.
    pub(crate) fn load(&mut self, kept: &[u8]) -> usize {
        let end = Self::START + kept.len();
        if self.buffer.len() < end + TAILROOM_BYTES {
            self.buffer.resize(end + TAILROOM_BYTES, 0);
        }
        self.buffer.get_mut(Self::START..end).into_iter().for_each(|room| room.copy_from_slice(kept));
        end
    }

    /// Puts the written head in front of what starts at `at`; tells where both together start, or `None` when there is
    /// no room.
    pub(crate) fn place_head(&mut self, at: usize) -> Option<usize> {
        let start = at.checked_sub(self.head.len())?;
        self.buffer.get_mut(start..at)?.copy_from_slice(&self.head);
        Some(start)
    }

    /// A buffer of its own for a request, nearly always without an allocation.
    pub(crate) fn take_spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    /// Gives it back.
    pub(crate) fn give_spare(&mut self, mut spare: Vec<u8>) {
        if self.spares.len() < SPARES_MAX && spare.capacity() > 0 && spare.capacity() <= SPARE_BYTES_MAX {
            spare.clear();
            self.spares.push(spare);
        }
    }

    /// A new request id.
    pub(crate) fn next_request_id(&mut self) -> [u8; 32] {
        self.request_id.next()
    }
}

/// Request ids: a random number per thread and a count, so that no two requests anywhere share one.
#[derive(Debug)]
struct RequestIds {
    /// The thread's number in the first half; the second is written over.
    text: [u8; 32],
    count: u64,
}

impl RequestIds {
    fn new() -> Self {
        let mut random = rand::rng();
        let mut text = [0; 32];
        let (thread, _) = text.split_at_mut(16);
        thread.copy_from_slice(&hexadecimal(random.random()));
        Self { text, count: random.random() }
    }

    /// 32 hexadecimal digits.
    fn next(&mut self) -> [u8; 32] {
        self.count = self.count.wrapping_add(1);
        // The finalizer of SplitMix64, a bijection: ids that follow each other do not look alike in a search.
        let mut mixed = self.count;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let (_, count) = self.text.split_at_mut(16);
        count.copy_from_slice(&hexadecimal(mixed));
        self.text
    }
}

/// 16 digits, all at once: one nibble per byte, then `0` or `a` added to each.
fn hexadecimal(number: u64) -> [u8; 16] {
    let mut spread = u128::from(number);
    spread = (spread | (spread << 32)) & 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff;
    spread = (spread | (spread << 16)) & 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff;
    spread = (spread | (spread << 8)) & 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff;
    spread = (spread | (spread << 4)) & (EACH * 0x0f);
    let letters = ((spread + EACH * 6) >> 4) & EACH;
    (spread + EACH * u128::from(b'0') + letters * u128::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// One in each byte.
const EACH: u128 = 0x0101_0101_0101_0101_0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_32_hexadecimal_digits_and_differ() {
        let mut ids = RequestIds::new();
        let many: std::collections::BTreeSet<_> = (0..10_000).map(|_| ids.next()).collect();
        assert_eq!(many.len(), 10_000);
        assert!(many.iter().flatten().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit)));
    }

    #[test]
    fn hexadecimal_digits_are_those_of_the_number() {
        for number in [0, 1, 9, 10, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX] {
            assert_eq!(hexadecimal(number), format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn a_head_is_placed_before_a_body_when_it_fits() {
        let mut scratch = Scratch::new();
        let end = scratch.load(b"body");
        scratch.head.extend_from_slice(b"head");
        let start = scratch.place_head(Scratch::START).unwrap();
        assert_eq!(&scratch.buffer[start..end], b"headbody");
        scratch.head.resize(Scratch::START + 1, 0);
        assert_eq!(scratch.place_head(Scratch::START), None);
    }
}
