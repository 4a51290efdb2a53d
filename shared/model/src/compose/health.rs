//! Health checks of services: a command in the instance.

use serde_json::{Value, json};

use super::{Reader, shown};
use crate::decode::Field;
use crate::tree::Content;

/// What Docker takes when a file says nothing, seconds and times.
const INTERVAL: u32 = 30;
const TIMEOUT: u32 = 30;
const RETRIES: u32 = 3;

impl Reader<'_, '_> {
    /// The checks as a breed says them; `None`: the file says nothing that could be carried over.
    pub(super) fn health_checks(&mut self, field: &Field<'_>, service: &str) -> Option<Value> {
        let what = format!("the health check of service `{service}`");
        let mut fields = self.decoder.fields(field, &what)?;
        let disabled = fields.take("disable").and_then(|field| self.switch(&field, &what)).unwrap_or_default();
        let test = fields.take("test").and_then(|field| self.test(&field, &what));
        let mut time = |name: &str, default: u32, least: u32| {
            let Some(field) = fields.take(name) else { return Some(default) };
            let said = self.text(&field, &format!("the {name} of {what}"))?;
            let seconds = seconds(&said);
            if seconds.is_none() {
                let message = format!("the {name} of {what} is `{}`", shown(&said));
                self.decoder.refuse(&field, message, "write a time with its unit, such as 10s or 1m30s");
            }
            seconds.map(|seconds| seconds.max(least))
        };
        let (interval, timeout) = (time("interval", INTERVAL, 1), time("timeout", TIMEOUT, 1));
        let delay = time("start_period", 0, 0);
        let retries = match fields.take("retries") {
            Some(field) => self.number(&field, &format!("the retries of {what}")),
            None => Some(RETRIES),
        };
        self.leave(&mut fields, |key| {
            (key == "start_interval").then_some("checks are made at their interval from the start on")
        });
        let (interval, timeout, delay, retries) = (interval?, timeout?, delay?, retries?);
        match (disabled, test) {
            (true, _) | (_, Some(Test::None)) => Some(json!([])),
            (false, Some(Test::Command(command))) => Some(json!([{
                "command": command,
                "initial_delay": format!("{delay}s"),
                "timeout": format!("{timeout}s"),
                "interval": format!("{interval}s"),
                "failures": retries.max(1),
            }])),
            (false, None) => {
                self.note(field, "it has no test of its own, and those of images are not known here");
                None
            }
        }
    }

    fn test(&mut self, field: &Field<'_>, what: &str) -> Option<Test> {
        let Content::List(items) = &field.node.content else {
            return self.text(field, &format!("the test of {what}")).map(Test::Command);
        };
        let mut words = Vec::new();
        for (index, node) in items.iter().enumerate() {
            let item = Field { pointer: format!("{}/{index}", field.pointer), node };
            words.push(self.text(&item, &format!("the test of {what}"))?);
        }
        match words.split_first() {
            Some((first, _)) if first == "NONE" => Some(Test::None),
            Some((first, rest)) if first == "CMD-SHELL" && !rest.is_empty() => Some(Test::Command(rest.join(" "))),
            Some((first, rest)) if first == "CMD" && !rest.is_empty() => {
                Some(Test::Command(rest.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")))
            }
            _ => {
                let hint = "begin the list with `CMD`, `CMD-SHELL` or `NONE`";
                self.decoder.refuse(field, format!("the test of {what} is not understood"), hint);
                None
            }
        }
    }
}

enum Test {
    None,
    Command(String),
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |found: char| found.is_ascii_alphanumeric() || "-_./:=,@%+".contains(found);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `1m30s`, `500ms`, `10s`, in seconds, rounded up.
fn seconds(text: &str) -> Option<u32> {
    let mut nanoseconds = 0_u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|found: char| !found.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.find(|found: char| found.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(letters)?;
        let each = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            // A bare 0 needs no unit.
            "" if number == "0" && next.is_empty() => 1,
            _ => return None,
        };
        nanoseconds = nanoseconds.checked_add(number.parse::<u64>().ok()?.checked_mul(each)?)?;
        rest = next;
    }
    u32::try_from(nanoseconds.div_ceil(1_000_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units() {
        for (text, expected) in [
            ("10s", Some(10)),
            ("1m30s", Some(90)),
            ("500ms", Some(1)),
            ("0", Some(0)),
            ("1h", Some(3_600)),
            ("10", None),
            ("", None),
            ("s", None),
            ("1.5s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("http://a:80/b"), "http://a:80/b");
        assert_eq!(quoted("it's a $B"), r"'it'\''s a $B'");
        assert_eq!(quoted(""), "''");
    }
}
