//! One test in the words of HAProxy: the typed subset that stored conditions use. What is not in it is refused; nothing
//! is ever handed on as text.
//!
//! Departures from HAProxy, all towards what the author meant: `hdr(host)` compares as `host` does; the match method
//! of `req.fhdr(n) -m v`, as the original's builder writes it, is a value; `-m ip` looks at each of several addresses;
//! `!` may stand before.

use super::cursor::{Cursor, Fault, is_blank};
use super::parse::Budget;
use super::request::{HostForm, Subject};
use super::tree::{Comparison, Node, Relation, Test, TextRelation, is_one_of};
use super::values::{Networks, network};

const SUBSET: &str = "an ACL may use `path`, `url`, `method`, `src`, `hdr(NAME)`, `req.hdr(NAME)`, `req.fhdr(NAME)`, \
                      `cook(NAME)`, `urlp(NAME)`, `always_true` and `always_false`, with `_beg`, `_end`, `_sub`, \
                      `_reg`, `_dir`, `_cnt` or `-m`; better, write the test without `< >`";
const VALUE_MISSING: &str = "write the values after it";

/// A word of an ACL: quotes taken off, escapes replaced.
#[derive(Debug)]
struct Word {
    text: String,
    at: usize,
    is_quoted: bool,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Text(TextRelation),
    Found,
    Address,
    Count,
}

/// Reads an ACL that stands `offset` bytes inside the condition.
pub(super) fn read(text: &str, offset: usize, budget: &mut Budget) -> Result<Node, Fault> {
    let words = words(text, offset)?;
    let mut words = words.as_slice();
    // The builder's name for its rule of addresses, which HAProxy takes for the test itself.
    if let [first, rest @ ..] = words
        && first.text == "network_allowed"
    {
        words = rest;
        let tests = words.split(|word| !word.is_quoted && word.text == "or");
        return Ok(Node::any(tests.map(|test| read_one(test, offset, budget)).collect::<Result<_, _>>()?));
    }
    read_one(words, offset, budget)
}

/// Whether a text without brackets was meant as an ACL.
pub(super) fn is_likely(text: &str) -> bool {
    let first = text.split(is_blank).find(|word| !word.is_empty()).unwrap_or_default();
    let name = first.trim_start_matches('!').split('(').next().unwrap_or_default();
    let base = name.strip_prefix("req.").unwrap_or(name);
    name == "rand"
        || (first != name && fetch_base(base).is_some())
        || (fetch_base(base).is_some() && name.contains('_'))
}

fn read_one(mut words: &[Word], offset: usize, budget: &mut Budget) -> Result<Node, Fault> {
    if let Some(word) = words.iter().find(|word| !word.is_quoted && is_connective(&word.text)) {
        // To HAProxy these are values like any, which no author has meant.
        let hint = "put each ACL in `< >` to join it with others, or a value in quotes";
        return Err(Fault::new(word.at, format!("`{}` does not join ACLs", word.text), hint));
    }
    let mut negate = false;
    let (mut fetch, at) = match words.split_first() {
        Some((first, rest)) => {
            words = rest;
            (first.text.as_str(), first.at)
        }
        None => return Err(Fault::new(offset, "the ACL is empty", SUBSET)),
    };
    while let Some(rest) = fetch.strip_prefix('!') {
        negate = !negate;
        fetch = rest;
    }
    // `< ! path /a >`
    if fetch.is_empty()
        && let Some((first, rest)) = words.split_first()
    {
        fetch = first.text.as_str();
        words = rest;
    }
    match fetch {
        "always_true" => return Ok(Node::Always(!negate)),
        "always_false" => return Ok(Node::Always(negate)),
        _ => {}
    }
    let (name, argument) = match fetch.split_once('(') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(')').unwrap_or(rest))),
        None => (fetch, None),
    };
    if name == "rand" {
        let hint = "remove it and give the route a `condition_strength`, which takes that share exactly";
        return Err(Fault::new(at, "`rand` would take a share by chance", hint));
    }
    let (subject, method) = subject(name, argument, at)?;
    let node = Reader { subject, name: fetch, at, fold: false, budget }.read(method, words)?;
    Ok(node.negated_if(negate))
}

/// Whether a word, unless quoted, joins conditions.
pub(super) fn is_connective(word: &str) -> bool {
    matches!(word.to_ascii_lowercase().as_str(), "and" | "or" | "not" | "&&" | "||" | "&" | "|")
}

/// The known name that a fetch begins with, and what follows it (`_beg`).
fn fetch_base(name: &str) -> Option<(&'static str, &str)> {
    const BASES: [&str; 9] = ["path", "url_param", "urlp", "url", "method", "src", "hdr", "fhdr", "cook"];
    let mut found = BASES.iter().filter_map(|base| Some((*base, name.strip_prefix(*base)?)));
    found.find(|(_, suffix)| suffix.is_empty() || suffix.starts_with('_'))
}

fn subject(name: &str, argument: Option<&str>, at: usize) -> Result<(Subject, Method), Fault> {
    let unknown = || Fault::new(at, format!("the ACL `{name}` is not known"), SUBSET);
    let (base, suffix) = fetch_base(name.strip_prefix("req.").unwrap_or(name)).ok_or_else(unknown)?;
    let method = match suffix {
        "" if base == "src" => Method::Address,
        "_cnt" if matches!(base, "hdr" | "fhdr" | "cook") => Method::Count,
        "" => Method::Text(TextRelation::Is),
        _ => named_method(suffix.trim_start_matches('_')).filter(|_| base != "src").ok_or_else(unknown)?,
    };
    let takes_name = matches!(base, "url_param" | "urlp" | "hdr" | "fhdr" | "cook");
    let argument = argument.unwrap_or_default().trim();
    // What parts, quotes or closes something in an ACL is in no name that could be found.
    let is_name = |text: &str| {
        !text.is_empty() && text.chars().all(|found| found.is_ascii_graphic() && !"()<>,\"'\\".contains(found))
    };
    if takes_name && !is_name(argument) {
        let hint = format!("write `{name}(NAME)`");
        return Err(Fault::new(at, format!("the ACL `{name}` has no name that can be looked up"), hint));
    }
    if !takes_name && !argument.is_empty() {
        return Err(Fault::new(
            at,
            format!("the ACL `{name}` takes nothing in parentheses"),
            format!("write `{name}`"),
        ));
    }
    let argument: Box<str> = argument.into();
    let subject = match base {
        "path" => Subject::Path,
        "url" => Subject::Url,
        "method" => Subject::Method,
        "src" => Subject::Source,
        "hdr" | "fhdr" if argument.eq_ignore_ascii_case("host") => Subject::Host(HostForm::Name),
        "hdr" => Subject::HeaderItems(argument),
        "fhdr" => Subject::Header(argument),
        "cook" => Subject::Cookie(argument),
        _ => Subject::Query(argument),
    };
    Ok((subject, method))
}

fn named_method(name: &str) -> Option<Method> {
    Some(match name {
        "str" => Method::Text(TextRelation::Is),
        "beg" => Method::Text(TextRelation::Starts),
        "end" => Method::Text(TextRelation::Ends),
        "sub" => Method::Text(TextRelation::Has),
        "reg" => Method::Text(TextRelation::Matches),
        "dir" => Method::Text(TextRelation::Segment),
        "found" => Method::Found,
        "ip" => Method::Address,
        _ => return None,
    })
}

struct Reader<'text, 'budget> {
    subject: Subject,
    /// As written, for messages.
    name: &'text str,
    at: usize,
    fold: bool,
    budget: &'budget mut Budget,
}

impl Reader<'_, '_> {
    fn read(mut self, mut method: Method, mut words: &[Word]) -> Result<Node, Fault> {
        while let [flag, rest @ ..] = words {
            if flag.is_quoted || !flag.text.starts_with('-') {
                break;
            }
            words = rest;
            match flag.text.as_str() {
                "--" => break,
                "-i" => self.fold = true,
                // Names are never looked up here.
                "-n" => {}
                "-m" => {
                    let Some((name, rest)) = words.split_first() else {
                        return Err(Fault::new(flag.at, "`-m` has no method", "write `-m str`, or the like"));
                    };
                    match named_method(&name.text) {
                        // Without values it is what the builder writes for `is`.
                        Some(named) if named == Method::Found || !rest.is_empty() => {
                            (method, words) = (named, rest);
                        }
                        _ => return self.values(Method::Text(TextRelation::Is), words),
                    }
                }
                _ => {
                    let message = format!("the flag `{}` is not known here", flag.text);
                    return Err(Fault::new(flag.at, message, "flags are `-i`, `-m METHOD` and `--`"));
                }
            }
        }
        self.values(method, words)
    }

    fn values(self, method: Method, words: &[Word]) -> Result<Node, Fault> {
        if words.is_empty() && method != Method::Found {
            return Err(Fault::new(self.at, format!("the ACL `{}` has no value", self.name), VALUE_MISSING));
        }
        let is_source = self.subject == Subject::Source;
        match method {
            Method::Found => Ok(match self.subject {
                Subject::Path | Subject::Url | Subject::Method | Subject::Source => Node::Always(true),
                Subject::Host(_) => Node::test(Subject::Host(HostForm::Full), Relation::Present),
                subject => Node::test(subject, Relation::Present),
            }),
            Method::Address => self.addresses(words),
            Method::Text(_) if is_source => self.addresses(words),
            Method::Count => self.counts(words),
            Method::Text(TextRelation::Is) => {
                let texts = words.iter().map(|word| Box::from(word.text.as_str())).collect();
                Ok(is_one_of(self.subject, texts, self.fold))
            }
            Method::Text(relation) => self.texts(relation, words),
        }
    }

    fn texts(self, relation: TextRelation, words: &[Word]) -> Result<Node, Fault> {
        let test = |word: &Word| {
            if word.text.trim_matches('/').is_empty() && relation == TextRelation::Segment {
                return Err(Fault::new(word.at, "the segment is empty", "write what stands between two slashes"));
            }
            self.budget.test(relation, self.subject.clone(), &word.text, self.fold, word.at)
        };
        words.iter().map(test).collect::<Result<_, _>>().map(Node::any)
    }

    fn addresses(self, words: &[Word]) -> Result<Node, Fault> {
        let mut networks = Vec::new();
        for word in words {
            for text in word.text.split(',').filter(|text| !text.is_empty()) {
                networks.push(network(text).ok_or_else(|| {
                    let message = format!("`{text}` is no address and no network");
                    Fault::new(word.at, message, "write `10.1.2.3` or `10.0.0.0/8`")
                })?);
            }
        }
        if networks.is_empty() {
            // Commas alone: a list of nothing could not be written down again.
            let at = words.first().map_or(0, |word| word.at);
            return Err(Fault::new(at, "the list has no address", "write `10.1.2.3` or `10.0.0.0/8`"));
        }
        let subject = match self.subject {
            Subject::Header(name) => Subject::HeaderItems(name),
            other => other,
        };
        Ok(Node::test(subject, Relation::Inside(Networks::new(networks))))
    }

    fn counts(self, words: &[Word]) -> Result<Node, Fault> {
        let named = |word: &Word| {
            Comparison::ALL.iter().find(|(name, _)| *name == word.text).map(|(_, comparison)| *comparison)
        };
        let (comparison, numbers) = match words {
            [first, rest @ ..] => named(first).map_or((Comparison::Equal, words), |comparison| (comparison, rest)),
            [] => (Comparison::Equal, words),
        };
        if numbers.is_empty() {
            return Err(Fault::new(self.at, format!("the ACL `{}` has no number", self.name), VALUE_MISSING));
        }
        let subject = match self.subject {
            Subject::Host(_) => Subject::Host(HostForm::Full),
            other => other,
        };
        let test = |word: &Word| {
            let number = word.text.parse().map_err(|_| {
                let hint = "write `eq`, `gt`, `ge`, `lt` or `le` and a whole number";
                Fault::new(word.at, format!("`{}` is no number", word.text), hint)
            })?;
            Ok(count(subject.clone(), comparison, number))
        };
        numbers.iter().map(test).collect::<Result<_, _>>().map(Node::any)
    }
}

/// What is only about being there is asked so.
fn count(subject: Subject, comparison: Comparison, number: u32) -> Node {
    let present = |subject| Node::test(subject, Relation::Present);
    match (comparison, number) {
        (Comparison::Greater, 0) | (Comparison::GreaterOrEqual, 1) => present(subject),
        (Comparison::Equal | Comparison::LessOrEqual, 0) | (Comparison::Less, 1) => present(subject).negated(),
        (Comparison::GreaterOrEqual, 0) => Node::Always(true),
        (Comparison::Less, 0) => Node::Always(false),
        _ => {
            let relation = Relation::Count(comparison, number);
            Node::Test(Box::new(Test { fold: matches!(subject, Subject::Host(_)), subject, relation }))
        }
    }
}

/// Parts an ACL at blanks; quotes and backslashes as in HAProxy's configuration.
fn words(text: &str, offset: usize) -> Result<Vec<Word>, Fault> {
    let mut cursor = Cursor::new(text);
    let mut words = Vec::new();
    loop {
        cursor.blanks();
        if cursor.is_done() {
            return Ok(words);
        }
        let at = offset.saturating_add(cursor.at());
        let mut word = Word { text: String::new(), at, is_quoted: false };
        while let Some(found) = cursor.peek().filter(|found| !is_blank(*found)) {
            if found == '\\' {
                escape(&mut cursor, &mut word.text, false);
            } else if matches!(found, '"' | '\'') {
                word.is_quoted = true;
                quoted(&mut cursor, &mut word.text, found)
                    .ok_or_else(|| Fault::new(at, "a quote in the ACL is not closed", format!("add a `{found}`")))?;
            } else {
                cursor.skip(found.len_utf8());
                word.text.push(found);
            }
        }
        words.push(word);
    }
}

/// Passes a text in quotes; nothing is special in single ones. `None` when they are not closed.
fn quoted(cursor: &mut Cursor<'_>, text: &mut String, quote: char) -> Option<()> {
    cursor.skip(quote.len_utf8());
    loop {
        match cursor.peek()? {
            found if found == quote => {
                cursor.skip(quote.len_utf8());
                return Some(());
            }
            '\\' if quote == '"' => escape(cursor, text, true),
            found => {
                cursor.skip(found.len_utf8());
                text.push(found);
            }
        }
    }
}

/// Passes a backslash and what it escapes. Before what needs none it stays, so that `\.` reaches regular expressions.
fn escape(cursor: &mut Cursor<'_>, text: &mut String, in_quotes: bool) {
    cursor.eat("\\");
    let Some(found) = cursor.peek() else {
        text.push('\\');
        return;
    };
    let replaced = match found {
        ' ' | '\\' | '#' | '"' | '\'' => Some(found),
        '$' if in_quotes => Some(found),
        'r' => Some('\r'),
        'n' => Some('\n'),
        't' => Some('\t'),
        'x' => {
            let mut ahead = *cursor;
            ahead.eat("x");
            let digits: String = ahead.word().chars().take(2).collect();
            let code = u8::from_str_radix(&digits, 16).ok().filter(|code| digits.len() == 2 && code.is_ascii());
            if code.is_some() {
                cursor.skip(2);
            }
            code.map(char::from)
        }
        _ => None,
    };
    match replaced {
        Some(character) => {
            cursor.skip(if found == 'x' { 1 } else { found.len_utf8() });
            text.push(character);
        }
        None => text.push('\\'),
    }
}
