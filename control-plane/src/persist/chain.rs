//! The hash chain over the history: a byte that is changed, a row that is taken away or put elsewhere, no longer fits.
//!
//! The encoding is fixed, and described in `docs/persistence.md`: SHA-256 over fields, each with its length before it
//! as eight bytes, most significant first; numbers are eight bytes; a missing text has the length 2⁶⁴ − 1 and no bytes.
//! A version's digest is over its row; a change's hash is over the hash of the change before, its own row, and the
//! digests of the versions that it wrote, sorted.

use sha2::{Digest as _, Sha256};

/// A hash that is being made.
struct Hasher(Sha256);

impl Hasher {
    /// What is hashed has its own first field, so that nothing can pass for something else.
    fn new(what: &str) -> Self {
        Self(Sha256::new()).text(what)
    }

    fn bytes(mut self, bytes: Option<&[u8]>) -> Self {
        let length = bytes.map_or(u64::MAX, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.0.update(length.to_be_bytes());
        self.0.update(bytes.unwrap_or_default());
        self
    }

    fn text(self, text: &str) -> Self {
        self.bytes(Some(text.as_bytes()))
    }

    fn number(self, number: u64) -> Self {
        self.bytes(Some(&number.to_be_bytes()))
    }

    /// In hexadecimal digits.
    fn finish(self) -> String {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or_default();
        self.0.finalize().iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

/// One version as its digest sees it. The document is bytes: it may no longer be a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct VersionRow<'r> {
    pub(super) kind: &'r str,
    pub(super) name: &'r str,
    pub(super) version: u64,
    pub(super) document: Option<&'r [u8]>,
    pub(super) at_unix_ms: u64,
    pub(super) sequence: u64,
}

impl VersionRow<'_> {
    pub(super) fn digest(&self) -> String {
        Hasher::new("vamp version 1")
            .text(self.kind)
            .text(self.name)
            .number(self.version)
            .bytes(self.document)
            .number(self.at_unix_ms)
            .number(self.sequence)
            .finish()
    }
}

/// One change as its hash sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeRow {
    pub(super) sequence: u64,
    pub(super) at_unix_ms: u64,
    pub(super) cause: String,
    pub(super) who: String,
    pub(super) why: String,
    pub(super) revision: u64,
    pub(super) epoch: u64,
    pub(super) table: String,
    /// The ports that it gave and took away, JSON; empty when it moved none.
    pub(super) ports: String,
}

impl ChangeRow {
    /// The hash of this change after the one with the hash `previous`; the first comes after an empty one.
    pub(super) fn hash(&self, previous: &str, mut digests: Vec<String>) -> String {
        digests.sort_unstable();
        let hasher = Hasher::new("vamp change 1")
            .text(previous)
            .number(self.sequence)
            .number(self.at_unix_ms)
            .text(&self.cause)
            .text(&self.who)
            .text(&self.why)
            .number(self.revision)
            .number(self.epoch)
            .text(&self.table)
            .text(&self.ports)
            .number(u64::try_from(digests.len()).unwrap_or(u64::MAX));
        digests.iter().fold(hasher, |hasher, digest| hasher.text(digest)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: VersionRow<'static> =
        VersionRow { kind: "gateways", name: "shop", version: 3, document: Some(b"{}"), at_unix_ms: 1000, sequence: 7 };

    /// Released: another value here makes every stored history look forged.
    #[test]
    fn the_encoding_stays_as_it_is() {
        assert_eq!(VERSION.digest(), "2472ea129b81524564e2666d0331e66843213f7b4602a7c9d8a0af32acc668de");
        let change =
            ChangeRow { sequence: 7, cause: "PUT".to_owned(), who: "local".to_owned(), ..ChangeRow::default() };
        assert_eq!(
            change.hash("", vec![VERSION.digest()]),
            "0e55a5379ea595e0c0d6e3a2cb76cf03d2b80e700f41b51c1b7304739dd13188"
        );
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let moved = VersionRow { kind: "gateway", name: "sshop", ..VERSION };
        assert_ne!(VERSION.digest(), moved.digest());
        assert_ne!(
            VersionRow { document: None, ..VERSION }.digest(),
            VersionRow { document: Some(b""), ..VERSION }.digest()
        );
    }

    #[test]
    fn the_order_in_which_a_database_answers_does_not_matter() {
        let change = ChangeRow::default();
        let digests = |order: &[&str]| order.iter().map(|digest| (*digest).to_owned()).collect();
        assert_eq!(change.hash("", digests(&["a", "b"])), change.hash("", digests(&["b", "a"])));
        assert_ne!(change.hash("", digests(&["a", "b"])), change.hash("", digests(&["a"])));
    }
}
