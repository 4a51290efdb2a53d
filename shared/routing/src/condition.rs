//! The condition language: parsed to a tree, evaluated as a tree.
//!
//! A condition is tests joined by `and`, `or`, `not` and parentheses; `and` binds tighter than `or`. A test is
//! `SUBJECT OPERATOR VALUE` or `has|misses header|cookie|query NAME`:
//!
//! | subject | what is compared |
//! |---|---|
//! | `path`, `method` | as sent; the path up to `?`, nothing decoded |
//! | `host` | without case, and the port only when the value names one |
//! | `source` | the client's address, after the trusted-proxy rules |
//! | `user-agent`, `header N` | the whole value of any field of that name (names without case) |
//! | `cookie N` | any cookie of exactly that name |
//! | `query N` | any parameter of exactly that name between `&`, as sent |
//!
//! | operator | holds when some value |
//! |---|---|
//! | `is`, `==`, `=` | equals; `!=`, `!`, `not` negate it |
//! | `has`, `contains` | contains; `misses` negates it |
//! | `starts`, `ends` | starts or ends so |
//! | `under` | equals, or goes on with `/` after it |
//! | `matches` | is matched somewhere by the regular expression (bytes; classes as in ASCII) |
//! | `in` | is one of `(a, b)`; for `source`, networks |
//!
//! A negated test is the exact opposite: it also holds when the header, cookie or parameter is absent. As ever in this
//! language, `host has v` means *equals*, and `user-agent is v` means *contains* or, for the known names (`Chrome`,
//! `Firefox`, `Safari`, `Edge`, `IE`), what stands for that browser.
//!
//! `< … >` holds one test in the words of HAProxy, out of a typed subset; a text that is no condition but is such a
//! test is taken for it. [`std::fmt::Display`] writes a condition so that it parses to the same tree.

mod acl;
mod cursor;
mod parse;
mod print;
mod request;
mod tree;
mod values;

use crate::Head;

/// LIMIT: bytes of one condition. The longest that the original's builder writes has some 200.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A parsed condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    root: tree::Node,
}

/// Why a text is not a condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} at character {position}: {hint}")]
pub struct ConditionError {
    /// What is wrong.
    pub message: String,
    /// Where, in characters from 1.
    pub position: usize,
    /// How to mend it.
    pub hint: String,
}

impl Condition {
    /// Reads a condition, or says what is wrong, where, and how to mend it.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(ConditionError {
                message: format!("the condition has {} bytes, {TEXT_BYTES_MAX} are allowed", text.len()),
                position: 1,
                hint: "split it over several routes".to_owned(),
            });
        }
        parse::read(text).map(|root| Self { root }).map_err(|fault| fault.in_text(text))
    }

    /// The first of its tests that looks at more than the client's address, as text: a connection has nothing more.
    pub fn test_of_requests(&self) -> Option<String> {
        self.root.test_of_requests().map(|node| Self { root: node.clone() }.to_string())
    }

    /// Whether the condition holds for this request.
    pub fn matches<H: Head>(&self, head: &H) -> bool {
        self.root.holds(head)
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        print::node(&self.root, f)
    }
}
