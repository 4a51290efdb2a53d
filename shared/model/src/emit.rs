//! A value as YAML text that every YAML reader, 1.1 or 1.2, reads back as the same value.

use serde_json::Value;

use crate::tree::core_number;

/// LIMIT: YAML 1.2.2 (7.4.2) lets a key stand before its colon only up to 1,024 characters; a quoted character takes up
/// to 6.
const PLAIN_KEY_CHARACTERS_MAX: usize = 160;

/// Writes a value as one YAML document in block style.
pub fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => list(&mut text, items, 0, true),
        Value::Object(map) if !map.is_empty() => object(&mut text, map, 0, true),
        scalar => {
            text.push_str(&inline(scalar));
            text.push('\n');
        }
    }
    text
}

fn list(text: &mut String, items: &[Value], indent: usize, mut on_line: bool) {
    for item in items {
        if !on_line {
            margin(text, indent);
        }
        on_line = false;
        text.push('-');
        child(text, item, indent, true);
    }
}

fn object(text: &mut String, map: &serde_json::Map<String, Value>, indent: usize, mut on_line: bool) {
    for (key, value) in map {
        if !on_line {
            margin(text, indent);
        }
        on_line = false;
        if key.chars().count() > PLAIN_KEY_CHARACTERS_MAX {
            text.push_str("? ");
            text.push_str(&quoted(key));
            text.push('\n');
            margin(text, indent);
        } else {
            text.push_str(&scalar_text(key));
        }
        text.push(':');
        child(text, value, indent, false);
    }
}

/// What stands after `-` or `key:`.
fn child(text: &mut String, value: &Value, indent: usize, in_list: bool) {
    let inner = indent.saturating_add(2);
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            list(text, items, inner, false);
        }
        Value::Object(map) if !map.is_empty() => {
            text.push(if in_list { ' ' } else { '\n' });
            object(text, map, inner, in_list);
        }
        scalar => {
            text.push(' ');
            text.push_str(&inline(scalar));
            text.push('\n');
        }
    }
}

fn margin(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar_text(text),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

fn scalar_text(text: &str) -> String {
    if is_safe_plain(text) { text.to_owned() } else { quoted(text) }
}

/// Whether the text without quotes is a text to every reader: YAML 1.1 takes more words and digits for something else.
fn is_safe_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let ordinary = |byte: u8| byte.is_ascii_alphanumeric() || b"_./%:-".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(ordinary)
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
        // Dates, times in base 60 and numbers with `_` begin with a digit and have neither of these.
        && (!text.starts_with(|first: char| first.is_ascii_digit()) || text.contains(['/', '%']))
        && core_number(text).is_none()
}

/// Whether a character is seen as itself. `escape_debug` leaves out what is not: controls, marks of direction, kinds of
/// white space, and what is not assigned.
fn is_visible(character: char) -> bool {
    character.is_alphanumeric() || character.escape_debug().eq([character])
}

/// In double quotes. Whatever is not plainly printable is escaped: YAML allows fewer characters than JSON.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' if is_visible(character) => out.push(character),
            _ => out.extend(format!("\\U{:08X}", u32::from(character)).chars()),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_as_itself_is_written_as_it_is() {
        for text in ["5 €", "a → b", "日本", "wéb: ü", "“x” – ½"] {
            assert_eq!(quoted(text), format!("\"{text}\""));
        }
        // Line ends of YAML 1.1, spaces that look like others, marks of order and direction, unassigned ones.
        for hidden in
            ['\u{85}', '\u{a0}', '\u{200b}', '\u{202e}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{e000}', '\u{378}']
        {
            assert_eq!(quoted(&hidden.to_string()), format!("\"\\U{:08X}\"", u32::from(hidden)));
        }
    }
}
