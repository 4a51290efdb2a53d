//! `-o jsonpath=…`: the part of `JSONPath` that scripts need, written as for kubectl (`{.a.b}`, text around it, several of
//! it) or as in RFC 9535 (`$.a.b`). What is not understood is refused, never ignored.

use serde_json::Value;

/// What to write of an answer: texts, and the values at paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Path(Vec<Step>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Member(String),
    /// From the end where it is negative.
    Item(i64),
    All,
}

/// Reads a template.
pub(crate) fn parse(text: &str) -> Result<Template, String> {
    if !text.contains('{') {
        return if text.starts_with(['$', '.', '[', '@']) {
            Ok(Template(vec![Piece::Path(path(text)?)]))
        } else {
            Err(format!("`{text}` is no path: write it as `{{.name}}` or `$.name`"))
        };
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((before, inside)) = rest.split_once('{') {
        if !before.is_empty() {
            pieces.push(Piece::Text(before.to_owned()));
        }
        let end = end_of(inside).ok_or_else(|| format!("`{{{inside}` has no `}}` at its end"))?;
        let (inside, after) = inside.split_at_checked(end).unwrap_or((inside, ""));
        pieces.push(piece(inside.trim())?);
        rest = after.strip_prefix('}').unwrap_or(after);
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(Template(pieces))
}

/// Where the brace closes: not within quotes.
fn end_of(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut is_escaped = false;
    for (at, found) in text.char_indices() {
        match quote {
            _ if is_escaped => is_escaped = false,
            _ if found == '\\' => is_escaped = true,
            Some(open) if found == open => quote = None,
            None if found == '\'' || found == '"' => quote = Some(found),
            None if found == '}' => return Some(at),
            _ => {}
        }
    }
    None
}

fn piece(text: &str) -> Result<Piece, String> {
    if let Some(quoted) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        return Ok(Piece::Text(unescape(quoted)));
    }
    if text == "end" || text.starts_with("range") {
        return Err("`{range}` is not understood: use `[*]`, or `-o json` and a program such as jq".to_owned());
    }
    path(text).map(Piece::Path)
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(found) = rest.next() {
        match (found, found == '\\') {
            (_, true) => match rest.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                other => plain.extend(other),
            },
            _ => plain.push(found),
        }
    }
    plain
}

fn path(text: &str) -> Result<Vec<Step>, String> {
    let refused = |what: &str| format!("`{text}` is no path that is understood: {what}");
    let mut steps = Vec::new();
    let mut rest = text.strip_prefix(['$', '@']).unwrap_or(text);
    while !rest.is_empty() {
        if rest.starts_with("..") {
            return Err(refused("`..` is not; name the members on the way"));
        }
        let step;
        (step, rest) = if let Some(inside) = rest.strip_prefix('[') {
            bracket(inside).map_err(|what| refused(&what))?
        } else {
            member(rest.strip_prefix('.').unwrap_or(rest))
        };
        // `{.}` is the whole answer.
        let is_whole = step == Step::Member(String::new()) && steps.is_empty() && rest.is_empty();
        match step {
            _ if is_whole => {}
            Step::Member(name) if name.is_empty() => return Err(refused("a name is missing after `.`")),
            step => steps.push(step),
        }
    }
    Ok(steps)
}

/// A name behind a dot, in which a backslash takes the meaning from the next character.
fn member(text: &str) -> (Step, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, found)) = characters.next() {
        match found {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            '.' | '[' => {
                end = at;
                break;
            }
            found => name.push(found),
        }
    }
    let rest = text.get(end..).unwrap_or_default();
    if name == "*" { (Step::All, rest) } else { (Step::Member(name), rest) }
}

/// What stands behind `[`, and what follows `]`.
fn bracket(text: &str) -> Result<(Step, &str), String> {
    if let Some(quote) = text.chars().next().filter(|found| *found == '\'' || *found == '"') {
        let inside = text.get(1..).unwrap_or_default();
        let (name, rest) = inside.split_once(quote).ok_or("a quote is not closed")?;
        let rest = rest.strip_prefix(']').ok_or("`]` is missing after a quoted name")?;
        return Ok((Step::Member(name.to_owned()), rest));
    }
    let (inside, rest) = text.split_once(']').ok_or("`]` is missing")?;
    match inside.trim() {
        "*" => Ok((Step::All, rest)),
        filter if filter.starts_with('?') => Err("filters are not; use `-l`, or `-o json` and jq".to_owned()),
        number => match number.parse() {
            Ok(number) => Ok((Step::Item(number), rest)),
            Err(_) => Err(format!("`[{number}]` is neither a number, `*` nor a quoted name")),
        },
    }
}

impl Template {
    /// The text for an answer; what is not there is left out, several values of a path are parted by blanks.
    pub(crate) fn text(&self, answer: &Value) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Path(steps) => {
                    let found: Vec<_> = select(answer, steps).into_iter().map(plain).collect();
                    text.push_str(&found.join(" "));
                }
            }
        }
        text
    }
}

fn select<'v>(answer: &'v Value, steps: &[Step]) -> Vec<&'v Value> {
    let mut found = vec![answer];
    for step in steps {
        found = found.into_iter().flat_map(|value| below(value, step)).collect();
    }
    found
}

fn below<'v>(value: &'v Value, step: &Step) -> Vec<&'v Value> {
    match (step, value) {
        (Step::Member(name), Value::Object(members)) => members.get(name).into_iter().collect(),
        (Step::Item(number), Value::Array(items)) => {
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let index = if *number < 0 { length.saturating_add(*number) } else { *number };
            usize::try_from(index).ok().and_then(|index| items.get(index)).into_iter().collect()
        }
        (Step::All, Value::Array(items)) => items.iter().collect(),
        (Step::All, Value::Object(members)) => members.values().collect(),
        _ => Vec::new(),
    }
}

/// Texts stand without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let answer = json!({
            "name": "shop", "port": 9050, "sticky": null,
            "routes": {"[127.0.0.1:1]": {"weight": "90%"}, "a.b": {"weight": "10%"}},
            "hosts": ["a", "b", "c"], "gateways": [{"id": "g1"}, {"id": "g2"}],
        });
        assert_eq!(parse(template).unwrap().text(&answer), expected, "{template}");
    }

    #[test]
    fn values_are_found_by_both_ways_of_writing() {
        for name in ["{.name}", "$.name", ".name", "{$.name}", "{['name']}", "$[\"name\"]", "{.name}", "{@.name}"] {
            check(name, "shop");
        }
        check("{.port}/{.sticky}", "9050/null");
        check("{.routes['[127.0.0.1:1]'].weight}", "90%");
        check("{.routes.a\\.b.weight}", "10%");
        check("{.routes.*.weight}", "90% 10%");
        check("{.hosts}", "[\"a\",\"b\",\"c\"]");
        check("{.hosts[0]} {.hosts[-1]} {.hosts[9]}", "a c ");
        check("{.hosts[*]}", "a b c");
        check("$.gateways[*].id", "g1 g2");
    }

    #[test]
    fn texts_stand_around_values() {
        check("name: {.name}{\"\\n\"}port:{\"\\t\"}{.port}", "name: shop\nport:\t9050");
        check("{\"}\"}{.name}", "}shop");
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        check("{.nothing.at.all}", "");
        check("{.name.more}", "");
        check("{.name[0]}", "");
    }

    #[test]
    fn the_whole_answer_has_a_path() {
        for whole in ["{.}", "$", "{$}", "."] {
            assert_eq!(parse(whole).unwrap().text(&json!([1, "a"])), "[1,\"a\"]", "{whole}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (template, words) in [
            ("name", "`{.name}`"),
            ("{.name", "no `}`"),
            ("{range .items[*]}{.name}{end}", "range"),
            ("{..name}", "`..`"),
            ("{.a[?(@.b==1)]}", "filters"),
            ("{.a[1:2]}", "`[1:2]`"),
            ("{.a['b}", "no `}`"),
            ("{.a[0}", "`]` is missing"),
            ("{.a.}", "a name is missing"),
            ("$.a..b", "`..`"),
        ] {
            let error = parse(template).unwrap_err();
            assert!(error.contains(words), "{template}: {error}");
        }
    }
}
