//! What a request is compared with, prepared once when a condition is read.

use std::net::IpAddr;

use ipnet::IpNet;
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

/// LIMIT: bytes of one regular expression when compiled. Ordinary ones have some KiB; a counted repetition of counted
/// repetitions would take gigabytes.
const PATTERN_BYTES_MAX: usize = 128 * 1024;

/// LIMIT: bytes of what one regular expression remembers while it runs, per thread. Beyond it, it runs slower.
const PATTERN_CACHE_BYTES_MAX: usize = 256 * 1024;

/// LIMIT: nesting inside a regular expression, so that reading it does not exhaust the stack.
const PATTERN_DEPTH_MAX: u32 = 50;

/// A text to be found inside others.
#[derive(Debug, Clone)]
pub(super) struct Needle {
    finder: Box<Finder<'static>>,
    text: Box<str>,
}

impl Needle {
    /// With `fold`, `text` is in lower case.
    pub(super) fn new(text: Box<str>) -> Self {
        let finder = Box::new(Finder::new(text.as_bytes()).into_owned());
        Self { finder, text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn is_in(&self, value: &[u8], fold: bool) -> bool {
        if !fold {
            return self.finder.find(value).is_some();
        }
        let needle = self.text.as_bytes();
        let Some(first) = needle.first() else { return true };
        let Some(last_start) = value.len().checked_sub(needle.len()) else { return false };
        let starts = value.get(..=last_start).unwrap_or_default();
        memchr::memchr2_iter(*first, first.to_ascii_uppercase(), starts)
            .any(|at| value.get(at..).is_some_and(|rest| starts_with(rest, needle, true)))
    }
}

impl PartialEq for Needle {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// A regular expression.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    fold: bool,
}

impl Pattern {
    /// The error says what is wrong with `source`.
    pub(super) fn new(source: &str, fold: bool) -> Result<Self, String> {
        let compiled = RegexBuilder::new(source)
            .unicode(false)
            .case_insensitive(fold)
            .size_limit(PATTERN_BYTES_MAX)
            .dfa_size_limit(PATTERN_CACHE_BYTES_MAX)
            .nest_limit(PATTERN_DEPTH_MAX)
            .build();
        match compiled {
            Ok(regex) => Ok(Self { regex, fold }),
            Err(regex::Error::CompiledTooBig(_)) => Err("it is too large when compiled".to_owned()),
            Err(error) => {
                // The crate draws a picture of several lines; its last one says it in words.
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default();
                Err(last.strip_prefix("error: ").unwrap_or(last).to_owned())
            }
        }
    }

    pub(super) fn source(&self) -> &str {
        self.regex.as_str()
    }

    pub(super) fn is_match(&self, value: &[u8]) -> bool {
        self.regex.is_match(value)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source() == other.source() && self.fold == other.fold
    }
}

/// Some texts, to be compared as a whole: sorted, each once, in lower case with `fold`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OneOf(Box<[Box<str>]>);

impl OneOf {
    pub(super) fn new(mut texts: Vec<Box<str>>) -> Self {
        texts.sort_unstable();
        texts.dedup();
        Self(texts.into_boxed_slice())
    }

    pub(super) fn texts(&self) -> &[Box<str>] {
        &self.0
    }

    pub(super) fn has(&self, value: &[u8], fold: bool) -> bool {
        let order = |text: &str| {
            if fold { text.bytes().cmp(value.iter().map(u8::to_ascii_lowercase)) } else { text.as_bytes().cmp(value) }
        };
        self.0.binary_search_by(|text| order(text)).is_ok()
    }
}

/// Some networks: sorted, each once.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Networks(Box<[IpNet]>);

impl Networks {
    pub(super) fn new(mut networks: Vec<IpNet>) -> Self {
        networks.sort_unstable();
        networks.dedup();
        Self(networks.into_boxed_slice())
    }

    pub(super) fn networks(&self) -> &[IpNet] {
        &self.0
    }

    /// An IPv4 address that came in over an IPv6 socket counts as what it is.
    pub(super) fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// An address, or a network as `ADDRESS/BITS` or `ADDRESS/MASK`.
pub(super) fn network(text: &str) -> Option<IpNet> {
    if let Some((address, mask)) = text.split_once('/')
        && let (Ok(address), Ok(mask)) = (address.parse(), mask.parse())
    {
        return IpNet::with_netmask(address, mask).ok().map(|network| network.trunc());
    }
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network.map(|network| network.trunc())
}

/// A browser by the name that users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) name: &'static str,
    /// All of these are in its `User-Agent`.
    marks: &'static [&'static str],
}

const AGENTS: &[Agent] = &[
    Agent { name: "Chrome", marks: &["Chrome"] },
    Agent { name: "Firefox", marks: &["Firefox"] },
    // Chrome and others say `Safari` too, but without `Version`.
    Agent { name: "Safari", marks: &["Safari", "Version"] },
    Agent { name: "Edge", marks: &["Edge"] },
    Agent { name: "IE", marks: &["MSIE"] },
];

impl Agent {
    pub(super) fn named(name: &str) -> Option<Self> {
        AGENTS.iter().find(|agent| agent.name.eq_ignore_ascii_case(name)).copied()
    }

    /// Each mark is in some field: as the original has it, one test for each mark.
    pub(super) fn marks(&self) -> &'static [&'static str] {
        self.marks
    }
}

/// Whether `value` starts so; with `fold`, `start` is in lower case.
pub(super) fn starts_with(value: &[u8], start: &[u8], fold: bool) -> bool {
    value.get(..start.len()).is_some_and(|found| equals(found, start, fold))
}

/// Whether `value` ends so; with `fold`, `end` is in lower case.
pub(super) fn ends_with(value: &[u8], end: &[u8], fold: bool) -> bool {
    let start = value.len().checked_sub(end.len());
    start.and_then(|start| value.get(start..)).is_some_and(|found| equals(found, end, fold))
}

/// Whether `value` is `top`, or goes on below it after `/`.
pub(super) fn is_under(value: &[u8], top: &[u8]) -> bool {
    value.strip_prefix(top).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

/// Whether `wanted` stands in `value` between slashes, question marks or its ends; with `fold`, it is in lower case.
pub(super) fn has_segment(value: &[u8], wanted: &[u8], fold: bool) -> bool {
    let parts = |found: &u8| matches!(found, b'/' | b'?');
    let is_edge = |at: Option<usize>| at.and_then(|at| value.get(at)).is_none_or(parts);
    let ends = value.len().saturating_add(1).saturating_sub(wanted.len());
    (0..ends).any(|at| {
        let end = at.saturating_add(wanted.len());
        value.get(at..end).is_some_and(|found| equals(found, wanted, fold))
            && is_edge(at.checked_sub(1))
            && is_edge(Some(end))
    })
}

fn equals(value: &[u8], text: &[u8], fold: bool) -> bool {
    if fold { value.eq_ignore_ascii_case(text) } else { value == text }
}
