//! `$NAME`, `${NAME}`, `${NAME:-default}` and the like in Docker Compose files.

use std::collections::BTreeSet;

use super::Variables;

/// LIMIT: defaults within defaults; people write two.
const DEPTH_MAX: usize = 8;
/// LIMIT: bytes of one value with everything in its place: what an instance takes in all its variables.
const VALUE_BYTES_MAX: usize = 128 * 1024;

/// A text with everything in its place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) text: String,
    /// Variables without value and without default.
    pub(super) unset: BTreeSet<String>,
}

/// What is wrong, and where: the character, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) position: usize,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

const HINT: &str = "write `${NAME}`, `${NAME:-default}`, or `$$` for a dollar sign";

/// Puts values in the place of variables; `$$` is a dollar sign.
pub(super) fn interpolate(text: &str, variables: Variables<'_>) -> Result<Read, Fault> {
    let mut read = Read::default();
    expand(text, 1, variables, 0, &mut read)?;
    Ok(read)
}

fn expand(text: &str, first: usize, variables: Variables<'_>, depth: usize, read: &mut Read) -> Result<(), Fault> {
    let fault = |at: usize, message: &str| {
        let before = text.get(..at).map_or(0, |before| before.chars().count());
        Fault { position: first.saturating_add(before), message: message.to_owned(), hint: HINT }
    };
    if depth > DEPTH_MAX {
        return Err(fault(0, "defaults stand too deep within each other"));
    }
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('$')) {
        let dollar = at.saturating_add(found);
        push(read, text.get(at..dollar).unwrap_or_default()).map_err(|message| fault(dollar, message))?;
        let after = text.get(dollar.saturating_add(1)..).unwrap_or_default();
        let taken = if after.starts_with('$') {
            push(read, "$").map_err(|message| fault(dollar, message))?;
            1
        } else if let Some(braced) = after.strip_prefix('{') {
            let end = end_of(braced).ok_or_else(|| fault(dollar, "`${` has no `}`"))?;
            let inner = braced.get(..end).unwrap_or_default();
            let place = fault(dollar.saturating_add(2), "").position;
            substitute(inner, place, variables, depth, read)?;
            end.saturating_add(2)
        } else {
            let name = name_of(after);
            if name.is_empty() {
                return Err(fault(dollar, "a `$` stands before no name"));
            }
            put(name, variables(name), read).map_err(|message| fault(dollar, message))?;
            name.len()
        };
        at = dollar.saturating_add(1).saturating_add(taken);
    }
    let rest = text.get(at..).unwrap_or_default();
    push(read, rest).map_err(|message| fault(at, message))
}

/// Where the brace closes that was opened before this text.
fn end_of(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut before = ' ';
    for (at, found) in text.char_indices() {
        match found {
            '{' if before == '$' => open = open.saturating_add(1),
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
        before = found;
    }
    None
}

fn name_of(text: &str) -> &str {
    let is_part = |found: char| found.is_ascii_alphanumeric() || found == '_';
    let end = text.find(|found: char| !is_part(found)).unwrap_or(text.len());
    let name = text.get(..end).unwrap_or_default();
    if name.starts_with(|first: char| first.is_ascii_digit()) { "" } else { name }
}

/// What stands between braces.
fn substitute(
    inner: &str,
    position: usize,
    variables: Variables<'_>,
    depth: usize,
    read: &mut Read,
) -> Result<(), Fault> {
    let fault = |message: String| Fault { position, message, hint: HINT };
    let name = name_of(inner);
    if name.is_empty() {
        return Err(fault("`${…}` begins with no name".to_owned()));
    }
    let rest = inner.get(name.len()..).unwrap_or_default();
    let value = variables(name);
    let (is_colon, operator) = match rest.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, rest),
    };
    let value = value.filter(|value| !(is_colon && value.is_empty()));
    let argument = operator.get(1..).unwrap_or_default();
    let before = name.chars().count().saturating_add(usize::from(is_colon)).saturating_add(1);
    let place = position.saturating_add(before);
    match (operator.chars().next(), value) {
        (None, value) if !is_colon => put(name, value, read).map_err(|message| fault(message.to_owned())),
        (Some('-' | '?'), Some(value)) => push(read, &value).map_err(|message| fault(message.to_owned())),
        (Some('-'), None) | (Some('+'), Some(_)) => expand(argument, place, variables, depth.saturating_add(1), read),
        (Some('+'), None) => Ok(()),
        (Some('?'), None) => {
            let hint = "give it a value: `--env NAME=VALUE`";
            let why = if argument.is_empty() { String::new() } else { format!(": {}", super::shown(argument)) };
            Err(Fault { position, message: format!("the variable `{name}` is needed{why}"), hint })
        }
        _ => Err(fault(format!("`${{{}}}` is not understood", super::shown(inner)))),
    }
}

fn put(name: &str, value: Option<String>, read: &mut Read) -> Result<(), &'static str> {
    if let Some(value) = value {
        return push(read, &value);
    }
    read.unset.insert(name.chars().take(80).collect());
    Ok(())
}

fn push(read: &mut Read, text: &str) -> Result<(), &'static str> {
    if read.text.len().saturating_add(text.len()) > VALUE_BYTES_MAX {
        return Err("the value is too long with everything in its place");
    }
    read.text.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<String> {
        match name {
            "TAG" => Some("1.2".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str, unset: &[&str]) {
        let read = interpolate(text, &variables).unwrap();
        assert_eq!(read.text, expected, "{text}");
        assert_eq!(read.unset.iter().map(String::as_str).collect::<Vec<_>>(), unset, "{text}");
    }

    #[test]
    fn variables_are_put_in_place_as_compose_does() {
        check("app:$TAG", "app:1.2", &[]);
        check("app:${TAG}-x", "app:1.2-x", &[]);
        check("${NONE:-a}${NONE-b}${EMPTY:-c}${EMPTY-d}", "abc", &[]);
        check("${TAG:+yes}${NONE:+no}${EMPTY+set}${EMPTY:+no}", "yesset", &[]);
        check("${A:-${B:-deep}}", "deep", &[]);
        check("${A:-{}}", "{}", &[]);
        check("$$TAG costs $$5", "$TAG costs $5", &[]);
        check("a${NONE}b$ALSO", "ab", &["ALSO", "NONE"]);
        check("${TAG:?needed}", "1.2", &[]);
    }

    #[test]
    fn what_is_no_variable_is_refused_with_its_place() {
        for (text, position) in [
            ("ab${TAG", 3),
            ("$", 1),
            ("ü$1", 2),
            ("x${NONE:?say it}", 4),
            ("${TAG!}", 3),
            ("${TAG:}", 3),
            ("${:-x}", 3),
            ("${A:-$}", 6),
        ] {
            let fault = interpolate(text, &variables).unwrap_err();
            assert_eq!(fault.position, position, "{text}: {fault:?}");
        }
        let deep = format!("{}x{}", "${A:-".repeat(20), "}".repeat(20));
        assert!(interpolate(&deep, &variables).is_err());
        let long = |_: &str| Some("x".repeat(VALUE_BYTES_MAX));
        assert!(interpolate("$A$B", &long).is_err());
    }
}
