//! From text to tree. What the original's grammar takes is taken with its meaning; what is new stands only where that
//! grammar takes nothing.

use super::acl;
use super::cursor::{Cursor, Fault, is_blank};
use super::request::{HostForm, Subject};
use super::tree::{Node, Relation, TextRelation, is_one_of};
use super::values::{Agent, Networks, network};

/// LIMIT: parentheses inside parentheses. Reading, evaluating and dropping a tree go as deep on the stack.
const DEPTH_MAX: usize = 64;

/// LIMIT: regular expressions in one condition; with their own limit, 4 MiB when compiled.
const PATTERNS_MAX: usize = 32;

/// LIMIT: values in one list. Longer ones belong to the application.
const LIST_MAX: usize = 1_000;

const SUBJECTS: &str = "write one of `path`, `method`, `host`, `source`, `user-agent`, `header NAME`, `cookie NAME`, \
                        `query NAME`, `has header NAME`, `not`, `(` or an ACL in `< >`";
const OPERATORS: &str =
    "write one of `is`, `!=`, `has`, `misses`, `starts`, `ends`, `under`, `matches`, `in` between them";
const QUOTE: &str = "put a value that has blanks or parentheses in quotes";

/// What may be used up while one condition is read.
#[derive(Debug)]
pub(super) struct Budget {
    depth: usize,
    patterns: usize,
}

impl Budget {
    fn new() -> Self {
        Self { depth: DEPTH_MAX, patterns: PATTERNS_MAX }
    }

    fn enter(&mut self, at: usize) -> Result<(), Fault> {
        let deeper = self.depth.checked_sub(1);
        let too_deep =
            || Fault::new(at, format!("more than {DEPTH_MAX} parentheses are open"), "simplify the condition");
        self.depth = deeper.ok_or_else(too_deep)?;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth = self.depth.saturating_add(1);
    }

    /// Builds a test, counting its regular expression.
    pub(super) fn test(
        &mut self,
        relation: TextRelation,
        subject: Subject,
        text: &str,
        fold: bool,
        at: usize,
    ) -> Result<Node, Fault> {
        if relation == TextRelation::Matches {
            let fewer = self.patterns.checked_sub(1);
            self.patterns = fewer.ok_or_else(|| {
                Fault::new(at, format!("there are more than {PATTERNS_MAX} regular expressions"), "join some by `|`")
            })?;
        }
        relation.test(subject, text, fold).map_err(|reason| {
            let hint = "mend the regular expression; look-around and back references do not exist here";
            Fault::new(at, format!("the regular expression `{text}` can't be used: {reason}"), hint)
        })
    }
}

/// Reads a whole text: as a condition, else as one ACL without its brackets.
pub(super) fn read(text: &str) -> Result<Node, Fault> {
    let fault = match Parser::new(text).whole() {
        Ok(node) => return Ok(node),
        Err(fault) => fault,
    };
    if is_compared(text) {
        return Err(fault);
    }
    match acl::read(text, 0, &mut Budget::new()) {
        Ok(node) => Ok(node),
        Err(acl_fault) if acl::is_likely(text) => Err(acl_fault),
        Err(_) => Err(fault),
    }
}

/// Whether a text is meant in this language's words although it begins like an ACL: `path matches (` is not the ACL
/// `path` with two values, nor is `path alike /a`.
fn is_compared(text: &str) -> bool {
    let mut cursor = Cursor::new(text);
    cursor.blanks();
    let word = cursor.word();
    cursor.skip(word.len());
    if operator(&mut cursor.clone()).is_some() {
        return true;
    }
    cursor.blanks();
    let is_value = |found: char| found.is_ascii_uppercase() || matches!(found, '/' | '-' | '"' | '\'');
    matches!(word, "path" | "method") && !cursor.peek().is_some_and(is_value)
}

struct Parser<'text> {
    cursor: Cursor<'text>,
    budget: Budget,
}

/// What stands between subject and value.
#[derive(Debug, Clone, Copy)]
struct Operator {
    kind: OperatorKind,
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OperatorKind {
    Text(TextRelation),
    In,
}

impl<'text> Parser<'text> {
    fn new(text: &'text str) -> Self {
        Self { cursor: Cursor::new(text), budget: Budget::new() }
    }

    fn whole(mut self) -> Result<Node, Fault> {
        self.cursor.blanks();
        if self.cursor.is_done() {
            return Err(Fault::new(0, "the condition is empty", SUBJECTS));
        }
        let node = self.any()?;
        self.cursor.blanks();
        match self.cursor.peek() {
            None => Ok(node),
            Some(')') => Err(Fault::new(self.cursor.at(), "`)` closes nothing", "remove it, or add a `(` before")),
            Some(_) => {
                let found = self.found();
                let hint = format!("join tests by `AND` or `OR`; {QUOTE}");
                Err(Fault::new(self.cursor.at(), format!("{found} can't follow here"), hint))
            }
        }
    }

    fn any(&mut self) -> Result<Node, Fault> {
        let mut nodes = vec![self.all()?];
        while eat_or(&mut self.cursor) {
            nodes.push(self.all()?);
        }
        Ok(Node::any(nodes))
    }

    fn all(&mut self) -> Result<Node, Fault> {
        let mut nodes = vec![self.factor()?];
        while eat_and(&mut self.cursor) {
            nodes.push(self.factor()?);
        }
        Ok(Node::all(nodes))
    }

    fn factor(&mut self) -> Result<Node, Fault> {
        let mut negate = false;
        self.cursor.blanks();
        while self.cursor.eat("!") || self.cursor.eat_word("not") {
            negate = !negate;
            self.cursor.blanks();
        }
        let at = self.cursor.at();
        let node = match self.cursor.peek() {
            Some('(') => self.group(at)?,
            Some('<') => self.acl(at)?,
            _ => self.operand()?,
        };
        Ok(node.negated_if(negate))
    }

    fn group(&mut self, at: usize) -> Result<Node, Fault> {
        self.cursor.eat("(");
        self.budget.enter(at)?;
        let node = self.any()?;
        self.budget.leave();
        self.cursor.blanks();
        if self.cursor.eat(")") {
            return Ok(node);
        }
        if self.cursor.is_done() {
            return Err(Fault::new(at, "`(` is not closed", "add a `)`"));
        }
        let hint = format!("join tests by `AND` or `OR`, or close the parenthesis; {QUOTE}");
        Err(Fault::new(self.cursor.at(), format!("{} can't follow here", self.found()), hint))
    }

    fn acl(&mut self, at: usize) -> Result<Node, Fault> {
        self.cursor.eat("<");
        let start = self.cursor.at();
        let text = self.cursor.take_while(|found| !matches!(found, '<' | '>'));
        if !self.cursor.eat(">") {
            return Err(Fault::new(at, "`<` is not closed", "add a `>`; an ACL can't have `<` inside"));
        }
        // One ACL may stand for several tests, which are written in parentheses.
        self.budget.enter(at)?;
        let node = acl::read(text, start, &mut self.budget)?;
        self.budget.leave();
        Ok(node)
    }

    fn operand(&mut self) -> Result<Node, Fault> {
        let at = self.cursor.at();
        let word = self.cursor.word();
        match word.to_ascii_lowercase().as_str() {
            "has" | "contains" => self.presence(word, at),
            "misses" => self.presence(word, at).map(Node::negated),
            "path" => self.test_of(word, Subject::Path),
            "method" => self.test_of(word, Subject::Method),
            "source" => self.test_of(word, Subject::Source),
            "host" => self.test_of(word, Subject::Host(HostForm::Full)),
            "user-agent" | "user.agent" | "useragent" => self.test_of(word, Subject::UserAgent),
            "header" => self.named_test(word, Subject::Header),
            "cookie" => self.named_test(word, Subject::Cookie),
            "query" => self.named_test(word, Subject::Query),
            _ => self.glued_test(word),
        }
    }

    /// The original needs no blank before `has`: `hosthas x`.
    fn glued_test(&mut self, word: &str) -> Result<Node, Fault> {
        let subjects = [
            ("host", Subject::Host(HostForm::Full)),
            ("user-agent", Subject::UserAgent),
            ("user.agent", Subject::UserAgent),
            ("useragent", Subject::UserAgent),
        ];
        for (name, subject) in subjects {
            let Some((start, rest)) = word.split_at_checked(name.len()) else { continue };
            let is_operator = ["has", "contains", "misses"].iter().any(|operator| rest.eq_ignore_ascii_case(operator));
            if start.eq_ignore_ascii_case(name) && is_operator {
                return self.test_of(start, subject);
            }
        }
        let at = self.cursor.at();
        let message = match self.cursor.peek() {
            None => "a test is missing at the end".to_owned(),
            Some(')') => "a test is missing before `)`".to_owned(),
            Some('{') => return Err(Fault::new(at, "`{` begins no test", "write an ACL in `< >`, not in `{ }`")),
            Some(_) => format!("{} begins no test", self.found()),
        };
        Err(Fault::new(at, message, SUBJECTS))
    }

    /// `has header n`
    fn presence(&mut self, word: &str, at: usize) -> Result<Node, Fault> {
        self.cursor.skip(word.len());
        self.cursor.blanks();
        let what = self.cursor.word();
        let subject: fn(Box<str>) -> Subject = match what.to_ascii_lowercase().as_str() {
            "header" => Subject::Header,
            "cookie" => Subject::Cookie,
            "query" => Subject::Query,
            _ => {
                let hint = "write `has header NAME`, `has cookie NAME`, `has query NAME`, or the subject before";
                return Err(Fault::new(at, format!("`{word}` is not followed by what it asks for"), hint));
            }
        };
        self.cursor.skip(what.len());
        let name = self.name(what)?;
        Ok(Node::test(subject(name.into()), Relation::Present))
    }

    /// `header n has v`
    fn named_test(&mut self, word: &str, subject: fn(Box<str>) -> Subject) -> Result<Node, Fault> {
        self.cursor.skip(word.len());
        let mut before = self.cursor;
        let mut name = self.name(word)?;
        before.blanks();
        let is_quoted = matches!(before.peek(), Some('"' | '\''));
        // `header n==v`: to the original that is a name, which nothing can follow.
        if !is_quoted
            && operator(&mut self.cursor.clone()).is_none()
            && let Some(end) = name.find(['=', '!']).filter(|end| *end > 0)
        {
            name.truncate(end);
            self.cursor = before;
            self.cursor.skip(end);
        }
        let shown = format!("{word} {name}");
        self.compared(&shown, subject(name.into()))
    }

    fn name(&mut self, word: &str) -> Result<String, Fault> {
        let had_blanks = self.cursor.blanks();
        let at = self.cursor.at();
        let missing = || Fault::new(at, format!("`{word}` has no name"), format!("write `{word} NAME`"));
        if !had_blanks && !matches!(self.cursor.peek(), Some('"' | '\'')) {
            return Err(missing());
        }
        let name = string(&mut self.cursor, is_plain)?;
        if name.is_empty() { Err(missing()) } else { Ok(name) }
    }

    fn test_of(&mut self, word: &str, subject: Subject) -> Result<Node, Fault> {
        self.cursor.skip(word.len());
        self.compared(word, subject)
    }

    /// Operator and value.
    fn compared(&mut self, shown: &str, subject: Subject) -> Result<Node, Fault> {
        self.cursor.blanks();
        let at = self.cursor.at();
        let is_source = subject == Subject::Source;
        let Some(operator) = operator(&mut self.cursor) else {
            let message = if self.cursor.is_done() {
                format!("`{shown}` is compared with nothing")
            } else {
                format!("{} is no operator that can follow `{shown}`", self.found())
            };
            return Err(Fault::new(at, message, OPERATORS));
        };
        self.cursor.blanks();
        let value_at = self.cursor.at();
        let node = match operator.kind {
            OperatorKind::In => self.list(shown, subject)?,
            OperatorKind::Text(TextRelation::Is) if is_source => {
                let text = self.value(shown)?;
                Node::test(subject, Relation::Inside(Networks::new(vec![read_network(&text, value_at)?])))
            }
            OperatorKind::Text(relation) => {
                let text = self.value(shown)?;
                self.text_test(relation, subject, &text, value_at)?
            }
        };
        Ok(node.negated_if(operator.negated))
    }

    fn text_test(&mut self, relation: TextRelation, subject: Subject, text: &str, at: usize) -> Result<Node, Fault> {
        let relation = match (relation, &subject) {
            // As the original has it: all of a host, and a part of a `User-Agent`.
            (TextRelation::Has, Subject::Host(_)) => TextRelation::Is,
            (TextRelation::Is | TextRelation::Has, Subject::UserAgent) => match Agent::named(text) {
                Some(agent) => return Ok(Node::test(subject, Relation::Agent(agent))),
                None => TextRelation::Has,
            },
            (TextRelation::Under, Subject::Host(_) | Subject::Source | Subject::Method | Subject::UserAgent) => {
                let hint = "use `ends` or `starts`; `under` is for what has segments between slashes";
                return Err(Fault::new(at, "`under` does not fit this subject", hint));
            }
            (relation, _) => relation,
        };
        self.budget.test(relation, subject, text, false, at)
    }

    fn value(&mut self, shown: &str) -> Result<String, Fault> {
        let at = self.cursor.at();
        match self.cursor.peek() {
            None | Some(')') => Err(Fault::new(at, format!("the value for `{shown}` is missing"), "write it here")),
            Some('(') => {
                let hint = format!("{QUOTE}; a list stands after `in`");
                Err(Fault::new(at, format!("the value for `{shown}` can't begin with `(`"), hint))
            }
            Some(_) => string(&mut self.cursor, is_plain),
        }
    }

    /// What follows `in`.
    fn list(&mut self, shown: &str, subject: Subject) -> Result<Node, Fault> {
        let at = self.cursor.at();
        let is_source = subject == Subject::Source;
        let items = if self.cursor.eat("(") {
            self.items(at)?
        } else if is_source {
            vec![(self.value(shown)?, at)]
        } else {
            return Err(Fault::new(at, "`in` is not followed by a list", "write `in (a, b, c)`"));
        };
        if is_source {
            let networks: Result<Vec<_>, _> = items.iter().map(|(text, at)| read_network(text, *at)).collect();
            return Ok(Node::test(subject, Relation::Inside(Networks::new(networks?))));
        }
        Ok(is_one_of(subject, items.into_iter().map(|(text, _)| text.into()).collect(), false))
    }

    fn items(&mut self, open_at: usize) -> Result<Vec<(String, usize)>, Fault> {
        let mut items = Vec::new();
        loop {
            self.cursor.blanks();
            let at = self.cursor.at();
            if items.len() == LIST_MAX {
                let hint = "use `starts`, `ends` or `matches`, or split it";
                return Err(Fault::new(at, format!("the list has more than {LIST_MAX} values"), hint));
            }
            if matches!(self.cursor.peek(), None | Some(')' | '(' | ',')) {
                return Err(Fault::new(at, "a value of the list is missing", "write it here, or remove the comma"));
            }
            items.push((string(&mut self.cursor, |found| is_plain(found) && found != ',')?, at));
            self.cursor.blanks();
            if self.cursor.eat(")") {
                return Ok(items);
            }
            if self.cursor.is_done() {
                return Err(Fault::new(open_at, "`(` is not closed", "add a `)`"));
            }
            if !self.cursor.eat(",") {
                let hint = format!("part the values of a list by commas; {QUOTE}");
                return Err(Fault::new(self.cursor.at(), format!("{} can't follow here", self.found()), hint));
            }
        }
    }

    /// What stands here, for a message.
    fn found(&self) -> String {
        let mut ahead = self.cursor;
        let word = ahead.take_while(|found| !is_blank(found) && !matches!(found, '(' | ')'));
        let word = if word.is_empty() { self.cursor.peek().map(String::from).unwrap_or_default() } else { word.into() };
        // LIMIT: characters of a foreign text that a message repeats.
        let short: String = word.chars().take(40).collect();
        format!("`{short}`")
    }
}

/// Passes `or`, `||` or `|`.
fn eat_or(cursor: &mut Cursor<'_>) -> bool {
    cursor.blanks();
    cursor.eat("||") || cursor.eat("|") || cursor.eat_word("or")
}

/// Passes `and`, `&&` or `&`.
fn eat_and(cursor: &mut Cursor<'_>) -> bool {
    cursor.blanks();
    cursor.eat("&&") || cursor.eat("&") || cursor.eat_word("and")
}

/// Passes an operator and the blanks before it.
fn operator(cursor: &mut Cursor<'_>) -> Option<Operator> {
    let is = |negated| Operator { kind: OperatorKind::Text(TextRelation::Is), negated };
    cursor.blanks();
    if cursor.eat("==") || cursor.eat("=") {
        return Some(is(false));
    }
    if cursor.eat("!=") || cursor.eat("!") {
        return Some(is(true));
    }
    if cursor.eat_word("is") {
        // `is not v`, unless `not` is the value.
        return Some(eat_if_value_follows(cursor, negation).unwrap_or(is(false)));
    }
    negation(cursor).or_else(|| named_operator(cursor))
}

/// `not`, or `not` and another operator.
fn negation(cursor: &mut Cursor<'_>) -> Option<Operator> {
    if !cursor.eat_word("not") {
        return None;
    }
    // `not in (a)`, unless `in` is the value.
    let other = eat_if_value_follows(cursor, |cursor| {
        cursor.blanks();
        named_operator(cursor)
    });
    let Operator { kind, negated } =
        other.unwrap_or(Operator { kind: OperatorKind::Text(TextRelation::Is), negated: false });
    Some(Operator { kind, negated: !negated })
}

fn named_operator(cursor: &mut Cursor<'_>) -> Option<Operator> {
    let (kind, negated) = match cursor.word().to_ascii_lowercase().as_str() {
        "has" | "contains" => (OperatorKind::Text(TextRelation::Has), false),
        "misses" => (OperatorKind::Text(TextRelation::Has), true),
        "starts" => (OperatorKind::Text(TextRelation::Starts), false),
        "ends" => (OperatorKind::Text(TextRelation::Ends), false),
        "under" => (OperatorKind::Text(TextRelation::Under), false),
        "matches" => (OperatorKind::Text(TextRelation::Matches), false),
        "in" => (OperatorKind::In, false),
        _ => return None,
    };
    cursor.skip(cursor.word().len());
    Some(Operator { kind, negated })
}

/// Passes what `read` reads, if a value can still follow it; else it was the value itself.
fn eat_if_value_follows<'text>(
    cursor: &mut Cursor<'text>,
    read: impl FnOnce(&mut Cursor<'text>) -> Option<Operator>,
) -> Option<Operator> {
    let mut ahead = *cursor;
    ahead.blanks();
    let operator = read(&mut ahead)?;
    let mut after = ahead;
    let had_blanks = after.blanks();
    let is_list = operator.kind == OperatorKind::In && after.peek() == Some('(');
    let is_quoted = matches!(after.peek(), Some('"' | '\''));
    let is_value = had_blanks && !matches!(after.peek(), None | Some('(' | ')'));
    let mut joined = after;
    if is_list || is_quoted || (is_value && !eat_or(&mut joined) && !eat_and(&mut joined)) {
        *cursor = ahead;
        return Some(operator);
    }
    None
}

/// A text in quotes, or as far as `is_plain` goes.
fn string(cursor: &mut Cursor<'_>, is_plain: impl Fn(char) -> bool) -> Result<String, Fault> {
    let at = cursor.at();
    let Some(quote) = cursor.peek().filter(|found| matches!(found, '"' | '\'')) else {
        let text = cursor.take_while(&is_plain);
        if let Some(stray) = cursor.peek().filter(|found| !is_blank(*found) && is_control(*found)) {
            let message = format!("the control character {stray:?} can't be part of a value");
            return Err(Fault::new(cursor.at(), message, "remove it"));
        }
        return Ok(text.to_owned());
    };
    let mut text = String::new();
    let mut buffer = [0; 4];
    let mark: &str = quote.encode_utf8(&mut buffer);
    cursor.eat(mark);
    loop {
        text.push_str(cursor.take_while(|found| found != quote));
        if !cursor.eat(mark) {
            return Err(Fault::new(at, format!("the quote `{quote}` is not closed"), format!("add a `{quote}`")));
        }
        // A doubled quote is one.
        if !cursor.eat(mark) {
            return Ok(text);
        }
        text.push(quote);
    }
}

fn is_plain(found: char) -> bool {
    !is_blank(found) && !is_control(found) && !matches!(found, '(' | ')')
}

fn is_control(found: char) -> bool {
    found.is_control()
}

fn read_network(text: &str, at: usize) -> Result<ipnet::IpNet, Fault> {
    network(text).ok_or_else(|| {
        let hint = "write an address or a network, `10.1.2.3` or `10.0.0.0/8`; several in parentheses after `in`";
        Fault::new(at, format!("`{text}` is no address and no network"), hint)
    })
}
