//! From tree to text, which parses to the same tree: in the language's own words, and in brackets where it has none.

use std::fmt::{Formatter, Result, Write as _};

use super::acl::is_connective;
use super::request::Subject;
use super::tree::{Comparison, Node, Relation, Test};

pub(super) fn node(node: &Node, f: &mut Formatter<'_>) -> Result {
    match node {
        Node::Always(true) => f.write_str("<always_true>"),
        Node::Always(false) => f.write_str("<always_false>"),
        Node::Test(test) => write_test(test, f),
        Node::Not(inner) => {
            f.write_str("not ")?;
            grouped(inner, f)
        }
        Node::All(nodes) => joined(nodes, " and ", f, |inner, f| match inner {
            Node::Any(_) => grouped(inner, f),
            _ => self::node(inner, f),
        }),
        Node::Any(nodes) => joined(nodes, " or ", f, self::node),
    }
}

fn joined(
    nodes: &[Node],
    connective: &str,
    f: &mut Formatter<'_>,
    write: impl Fn(&Node, &mut Formatter<'_>) -> Result,
) -> Result {
    for (index, inner) in nodes.iter().enumerate() {
        if index > 0 {
            f.write_str(connective)?;
        }
        write(inner, f)?;
    }
    Ok(())
}

/// In parentheses if it is more than one test.
fn grouped(inner: &Node, f: &mut Formatter<'_>) -> Result {
    if !matches!(inner, Node::All(_) | Node::Any(_)) {
        return node(inner, f);
    }
    f.write_char('(')?;
    node(inner, f)?;
    f.write_char(')')
}

fn write_test(test: &Test, f: &mut Formatter<'_>) -> Result {
    let is_host = matches!(test.subject, Subject::Host(_));
    let is_named = matches!(test.subject, Subject::Header(_) | Subject::Cookie(_) | Subject::Query(_));
    let has_words = match &test.relation {
        Relation::Present => is_named,
        Relation::Count(..) | Relation::Segment(_) => false,
        Relation::Has(_) => !is_host,
        Relation::Inside(_) => test.subject == Subject::Source,
        _ => true,
    };
    let needs_brackets = matches!(test.subject, Subject::Url | Subject::HeaderItems(_)) || (test.fold && !is_host);
    if has_words && !needs_brackets { write_words(test, f) } else { write_acl(test, f) }
}

fn write_words(test: &Test, f: &mut Formatter<'_>) -> Result {
    if test.relation == Relation::Present {
        f.write_str("has ")?;
        return write_subject(&test.subject, f);
    }
    write_subject(&test.subject, f)?;
    match &test.relation {
        Relation::Is(texts) => match texts.texts() {
            [only] if test.subject != Subject::UserAgent => write_value(" is ", only, f),
            texts => write_list(texts.iter().map(|one| quoted(one)), f),
        },
        Relation::Has(needle) => write_value(" has ", needle.text(), f),
        Relation::Starts(value) => write_value(" starts ", value, f),
        Relation::Ends(value) => write_value(" ends ", value, f),
        Relation::Under(value) if value.is_empty() => f.write_str(" under /"),
        Relation::Under(value) => write_value(" under ", value, f),
        Relation::Matches(pattern) => write_value(" matches ", pattern.source(), f),
        Relation::Inside(networks) => write_list(networks.networks().iter(), f),
        Relation::Agent(agent) => write_value(" is ", agent.name, f),
        // These have no words; `write_test` does not come here with them.
        Relation::Present | Relation::Count(..) | Relation::Segment(_) => Ok(()),
    }
}

fn write_subject(subject: &Subject, f: &mut Formatter<'_>) -> Result {
    match subject {
        Subject::Path | Subject::Url => f.write_str("path"),
        Subject::Method => f.write_str("method"),
        Subject::Host(_) => f.write_str("host"),
        Subject::Source => f.write_str("source"),
        Subject::UserAgent => f.write_str("user-agent"),
        Subject::Header(name) | Subject::HeaderItems(name) => write_value("header ", name, f),
        Subject::Cookie(name) => write_value("cookie ", name, f),
        Subject::Query(name) => write_value("query ", name, f),
    }
}

fn write_value(before: &str, value: &str, f: &mut Formatter<'_>) -> Result {
    f.write_str(before)?;
    f.write_str(&quoted(value))
}

fn write_list<Item: std::fmt::Display>(items: impl Iterator<Item = Item>, f: &mut Formatter<'_>) -> Result {
    f.write_str(" in (")?;
    for (index, item) in items.enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_char(')')
}

/// In quotes unless it is sure to be read as one value.
fn quoted(value: &str) -> std::borrow::Cow<'_, str> {
    let is_safe = |found: char| found.is_ascii_alphanumeric() || "._-/:*@+^$~%?".contains(found);
    if !value.is_empty() && value.chars().all(is_safe) && !value.eq_ignore_ascii_case("not") {
        return value.into();
    }
    format!("\"{}\"", value.replace('"', "\"\"")).into()
}

fn write_acl(test: &Test, f: &mut Formatter<'_>) -> Result {
    f.write_char('<')?;
    let suffix = if matches!(test.relation, Relation::Count(..)) { "_cnt" } else { "" };
    match &test.subject {
        Subject::Path => f.write_str("path")?,
        Subject::Url => f.write_str("url")?,
        Subject::Method => f.write_str("method")?,
        Subject::Host(_) => write!(f, "req.hdr{suffix}(host)")?,
        Subject::Source => f.write_str("src")?,
        Subject::UserAgent => write!(f, "req.fhdr{suffix}(User-Agent)")?,
        Subject::Header(name) => write!(f, "req.fhdr{suffix}({name})")?,
        Subject::HeaderItems(name) => write!(f, "req.hdr{suffix}({name})")?,
        Subject::Cookie(name) => write!(f, "req.cook{suffix}({name})")?,
        Subject::Query(name) => write!(f, "urlp({name})")?,
    }
    if test.fold && !matches!(test.subject, Subject::Host(_)) {
        f.write_str(" -i")?;
    }
    match &test.relation {
        Relation::Present => f.write_str(" -m found")?,
        Relation::Count(comparison, number) => {
            let name = Comparison::ALL.iter().find(|(_, known)| known == comparison).map_or("eq", |(name, _)| *name);
            write!(f, " {name} {number}")?;
        }
        Relation::Is(texts) => {
            f.write_str(" -m str --")?;
            texts.texts().iter().try_for_each(|one| write_word(one, f))?;
        }
        Relation::Has(needle) => write_method("sub", needle.text(), f)?,
        // `under` always has words.
        Relation::Starts(value) | Relation::Under(value) => write_method("beg", value, f)?,
        Relation::Ends(value) => write_method("end", value, f)?,
        Relation::Segment(value) => write_method("dir", value, f)?,
        Relation::Matches(pattern) => write_method("reg", pattern.source(), f)?,
        Relation::Inside(networks) => {
            f.write_str(" -m ip")?;
            networks.networks().iter().try_for_each(|network| write!(f, " {network}"))?;
        }
        Relation::Agent(agent) => write_method("sub", agent.name, f)?,
    }
    f.write_char('>')
}

fn write_method(method: &str, value: &str, f: &mut Formatter<'_>) -> Result {
    write!(f, " -m {method} --")?;
    write_word(value, f)
}

fn write_word(word: &str, f: &mut Formatter<'_>) -> Result {
    let is_safe = |found: char| found.is_ascii_alphanumeric() || "._-/:*@+^~%?=&,;".contains(found);
    f.write_char(' ')?;
    if !word.is_empty() && word.chars().all(is_safe) && !is_connective(word) {
        return f.write_str(word);
    }
    f.write_char('"')?;
    for found in word.chars() {
        match found {
            '"' | '\\' | '$' => write!(f, "\\{found}")?,
            // These would end the brackets.
            '<' => f.write_str("\\x3c")?,
            '>' => f.write_str("\\x3e")?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}
