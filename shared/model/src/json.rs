//! JSON text (RFC 8259, nothing more) to a tree.

use crate::tree::{Content, DEPTH_MAX, Key, MapBuilder, NODES_MAX, Node, Place, SyntaxFault};

struct Reader<'a> {
    rest: std::str::Chars<'a>,
    line: usize,
    column: usize,
    nodes: usize,
}

/// Reads one value, or several one after the other (JSON lines).
pub(crate) fn read(text: &str) -> Result<Vec<Node>, SyntaxFault> {
    let mut reader = Reader { rest: text.chars(), line: 1, column: 1, nodes: 0 };
    let mut documents = Vec::new();
    while reader.skip_blanks().is_some() {
        documents.push(reader.value(0)?);
    }
    documents.retain(|node| node.content != Content::Null);
    Ok(documents)
}

impl Reader<'_> {
    fn place(&self) -> Place {
        Place::new(self.line, self.column)
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        let found = self.rest.next()?;
        if found == '\n' {
            self.line = self.line.saturating_add(1);
            self.column = 1;
        } else {
            self.column = self.column.saturating_add(1);
        }
        Some(found)
    }

    fn skip_blanks(&mut self) -> Option<char> {
        while let Some(' ' | '\t' | '\r' | '\n') = self.peek() {
            self.next();
        }
        self.peek()
    }

    fn fault(&self, expected: &str) -> SyntaxFault {
        let found =
            self.peek().map_or_else(|| "the end of the text".to_owned(), |found| format!("`{}`", found.escape_debug()));
        SyntaxFault::new(self.place(), format!("not JSON: found {found} instead of {expected}"), "mend the syntax here")
    }

    fn value(&mut self, depth: usize) -> Result<Node, SyntaxFault> {
        let first = self.skip_blanks();
        let place = self.place();
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > NODES_MAX {
            return Err(SyntaxFault::too_many_nodes(place));
        }
        if depth >= DEPTH_MAX && matches!(first, Some('{' | '[')) {
            return Err(SyntaxFault::too_deep(place));
        }
        let content = match first {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Content::Text(self.text()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('t') => self.word("true", Content::Bool(true))?,
            Some('f') => self.word("false", Content::Bool(false))?,
            Some('n') => self.word("null", Content::Null)?,
            _ => return Err(self.fault("a value")),
        };
        Ok(Node { place, content })
    }

    fn word(&mut self, word: &str, content: Content) -> Result<Content, SyntaxFault> {
        for expected in word.chars() {
            if self.peek() != Some(expected) {
                return Err(self.fault(&format!("`{word}`")));
            }
            self.next();
        }
        Ok(content)
    }

    fn list(&mut self, depth: usize) -> Result<Content, SyntaxFault> {
        self.next();
        let mut nodes = Vec::new();
        if self.skip_blanks() == Some(']') {
            self.next();
            return Ok(Content::List(nodes));
        }
        loop {
            nodes.push(self.value(depth.saturating_add(1))?);
            match self.skip_blanks() {
                Some(',') => self.next(),
                Some(']') => {
                    self.next();
                    return Ok(Content::List(nodes));
                }
                _ => return Err(self.fault("`,` or `]`")),
            };
        }
    }

    fn map(&mut self, depth: usize) -> Result<Content, SyntaxFault> {
        self.next();
        let mut builder = MapBuilder::default();
        if self.skip_blanks() == Some('}') {
            self.next();
            return Ok(Content::Map(builder.entries));
        }
        loop {
            if self.skip_blanks() != Some('"') {
                return Err(self.fault("a key in double quotes"));
            }
            let key = Key { place: self.place(), text: self.text()? };
            builder.claim(&key)?;
            if self.skip_blanks() != Some(':') {
                return Err(self.fault("`:`"));
            }
            self.next();
            let node = self.value(depth.saturating_add(1))?;
            builder.entries.push((key, node));
            match self.skip_blanks() {
                Some(',') => self.next(),
                Some('}') => {
                    self.next();
                    return Ok(Content::Map(builder.entries));
                }
                _ => return Err(self.fault("`,` or `}`")),
            };
        }
    }

    fn text(&mut self) -> Result<String, SyntaxFault> {
        self.next();
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.next();
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                Some(found) if found >= ' ' => {
                    text.push(found);
                    self.next();
                }
                _ => return Err(self.fault("a character of a text, or `\"` at its end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxFault> {
        self.next();
        let found = match self.peek() {
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                self.next();
                return self.unicode_escape();
            }
            _ => return Err(self.fault("an escape such as `\\n` or `\\u0041`")),
        };
        self.next();
        Ok(found)
    }

    fn unicode_escape(&mut self) -> Result<char, SyntaxFault> {
        let place = self.place();
        let lonely = || SyntaxFault::new(place, "not JSON: half of a surrogate pair", "write the character itself");
        let first = self.hex4()?;
        if !(0xD800..0xE000).contains(&first) {
            return char::from_u32(first).ok_or_else(lonely);
        }
        if first >= 0xDC00 || self.peek() != Some('\\') {
            return Err(lonely());
        }
        self.next();
        if self.peek() != Some('u') {
            return Err(lonely());
        }
        self.next();
        let second = self.hex4()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(lonely());
        }
        char::from_u32(0x1_0000 + ((first & 0x3FF) << 10) + (second & 0x3FF)).ok_or_else(lonely)
    }

    fn hex4(&mut self) -> Result<u32, SyntaxFault> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = self
                .peek()
                .and_then(|digit| digit.to_digit(16))
                .ok_or_else(|| self.fault("four hexadecimal digits"))?;
            value = value * 16 + digit;
            self.next();
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Content, SyntaxFault> {
        let place = self.place();
        let mut text = String::new();
        while let Some(found @ ('0'..='9' | '-' | '+' | '.' | 'e' | 'E')) = self.peek() {
            text.push(found);
            self.next();
        }
        match serde_json::from_str(&text) {
            Ok(number) => Ok(Content::Number(number, text)),
            Err(_) => {
                Err(SyntaxFault::new(place, format!("not JSON: `{text}` is no number"), "quote it if it is a text"))
            }
        }
    }
}
