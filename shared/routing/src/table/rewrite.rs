//! Path rewrites: each replaces the path that the one before left, when its condition holds for that path.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::condition::Condition;
use crate::head::Head;

/// LIMIT: bytes of a path that a rewrite makes. Targets have up to 16 KiB; `%[path]` twice in each of ten rewrites would
/// make a thousand times that. A rewrite that would exceed it is left out.
const PATH_BYTES_MAX: usize = 32 * 1024;

/// Stands for the current path.
const CURRENT: &str = "%[path]";

/// One rewrite, ready to apply.
#[derive(Debug)]
pub(super) struct Rewrite {
    template: Template,
    condition: Condition,
}

/// The new path: texts between which the current path stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template {
    texts: Box<[String]>,
}

/// What came of a rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewritten {
    /// The path is the new one.
    Applied,
    /// Its condition does not hold.
    DidNotMatch,
    /// The new path would be too long.
    TooLong,
}

impl Rewrite {
    pub(super) fn new(template: Template, condition: Condition) -> Self {
        Self { template, condition }
    }

    /// Puts the new path into `path` if the condition holds for the head as the rewrites before left it.
    pub(super) fn apply<H: Head>(&self, head: &H, path: &mut Option<String>) -> Rewritten {
        let current = Onward { head, path: path.as_deref() };
        if !self.condition.matches(&current) {
            return Rewritten::DidNotMatch;
        }
        let Some(new) = self.template.fill(&as_text(current.path())) else { return Rewritten::TooLong };
        *path = (new.as_bytes() != head.path()).then_some(new);
        Rewritten::Applied
    }
}

impl Template {
    /// Reads the new path of a rewrite, or says what is wrong and how to mend it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let texts: Box<[String]> = text.split(CURRENT).map(str::to_owned).collect();
        if texts.iter().any(|text| text.contains("%[")) {
            return Err(format!("the new path `{text}` has a `%[…]` that is not known: only `{CURRENT}` is"));
        }
        if let Some(odd) = text.chars().find(|found| !found.is_ascii_graphic() || matches!(found, '?' | '#')) {
            let odd = odd.escape_debug();
            return Err(format!("the new path `{text}` has `{odd}`: percent-encode it; the query stays by itself"));
        }
        if !text.starts_with('/') && !text.starts_with(CURRENT) {
            return Err(format!("the new path `{text}` does not start with `/`: write `/{text}`"));
        }
        Ok(Self { texts })
    }

    fn fill(&self, current: &str) -> Option<String> {
        let texts: usize = self.texts.iter().map(String::len).sum();
        let length = texts.saturating_add(current.len().saturating_mul(self.texts.len().saturating_sub(1)));
        (length <= PATH_BYTES_MAX).then(|| self.texts.join(current))
    }
}

/// The path as a text: bytes that are not ASCII, which no path should have, percent-encoded.
fn as_text(path: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(path) {
        Ok(text) if text.is_ascii() => Cow::Borrowed(text),
        _ => {
            let mut text = String::with_capacity(path.len() * 2);
            for byte in path {
                if byte.is_ascii() {
                    text.push(char::from(*byte));
                } else if write!(text, "%{byte:02X}").is_err() {
                    break;
                }
            }
            Cow::Owned(text)
        }
    }
}

/// A head whose path was rewritten: what later rewrites and the next gateway of a chain see.
pub(super) struct Onward<'head, H> {
    pub(super) head: &'head H,
    pub(super) path: Option<&'head str>,
}

impl<H: Head> Head for Onward<'_, H> {
    fn method(&self) -> &[u8] {
        self.head.method()
    }

    fn path(&self) -> &[u8] {
        self.path.map_or_else(|| self.head.path(), str::as_bytes)
    }

    fn query(&self) -> Option<&[u8]> {
        self.head.query()
    }

    fn host(&self) -> &[u8] {
        self.head.host()
    }

    fn source(&self) -> IpAddr {
        self.head.source()
    }

    fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.head.fields()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PlainHead;

    #[track_caller]
    fn check(template: &str, path: &str, expected: Result<&str, Rewritten>) {
        let head = PlainHead { target: path.to_owned(), ..PlainHead::default() };
        let rewrite = Rewrite::new(Template::parse(template).unwrap(), Condition::parse("path under /").unwrap());
        let mut rewritten = None;
        let outcome = rewrite.apply(&head, &mut rewritten);
        match expected {
            Ok(new) => assert_eq!((outcome, rewritten.as_deref()), (Rewritten::Applied, Some(new))),
            Err(expected) => assert_eq!((outcome, rewritten.as_deref()), (expected, None)),
        }
    }

    #[test]
    fn the_current_path_stands_where_it_is_named() {
        check("/new", "/old?q", Ok("/new"));
        check("/a%[path]/b", "/old?q", Ok("/a/old/b"));
        check("%[path]%[path]", "/old", Ok("/old/old"));
        check("/50%25%[path]", "/é%20", Ok("/50%25/%C3%A9%20"));
    }

    #[test]
    fn a_path_does_not_grow_without_end() {
        check("%[path]%[path]", &"/a".repeat(PATH_BYTES_MAX / 4), Ok(&"/a".repeat(PATH_BYTES_MAX / 2)));
        check("%[path]%[path]", &"/a".repeat(PATH_BYTES_MAX / 4 + 1), Err(Rewritten::TooLong));
    }

    #[test]
    fn what_no_request_line_can_carry_is_refused() {
        for wrong in ["", "a", "/a b", "/a?b", "/a#b", "/%[url]", "/\r\n", "/é", "http://x/"] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
    }
}
