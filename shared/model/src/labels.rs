//! Labels: the members of an artifact's `metadata` that are texts, numbers or booleans, and selectors over them.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

/// One condition on the labels of an artifact, as a user writes it: `team=shop`, `team!=shop`, `team` or `!team`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    key: String,
    wanted: Wanted,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Equal(String),
    NotEqual(String),
    Present,
    Absent,
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` selects nothing: write `KEY=VALUE`, `KEY!=VALUE`, `KEY` or `!KEY`")]
pub struct BadSelector {
    /// The text.
    pub given: String,
}

impl Selector {
    /// Whether an artifact with this metadata is meant. One without the label is also one that has another value.
    pub fn selects(&self, metadata: &Map<String, Value>) -> bool {
        let label = metadata.get(&self.key).and_then(text);
        match &self.wanted {
            Wanted::Equal(wanted) => label.as_ref() == Some(wanted),
            Wanted::NotEqual(wanted) => label.as_ref() != Some(wanted),
            Wanted::Present => label.is_some(),
            Wanted::Absent => label.is_none(),
        }
    }
}

/// The value of a label; what is no single value is no label.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl FromStr for Selector {
    type Err = BadSelector;

    fn from_str(given: &str) -> Result<Self, BadSelector> {
        let (key, wanted) = if let Some((key, value)) = given.split_once("!=") {
            (key, Wanted::NotEqual(value.trim().to_owned()))
        } else if let Some((key, value)) = given.split_once('=') {
            // Who knows the selectors of Kubernetes writes `==` too.
            (key, Wanted::Equal(value.strip_prefix('=').unwrap_or(value).trim().to_owned()))
        } else if let Some(key) = given.trim_start().strip_prefix('!') {
            (key, Wanted::Absent)
        } else {
            (given, Wanted::Present)
        };
        let key = key.trim();
        if key.is_empty() || key.contains(['!', ',']) || key.chars().any(char::is_control) {
            return Err(BadSelector { given: given.to_owned() });
        }
        Ok(Self { key: key.to_owned(), wanted })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            Wanted::Equal(value) => write!(f, "{}={value}", self.key),
            Wanted::NotEqual(value) => write!(f, "{}!={value}", self.key),
            Wanted::Present => f.write_str(&self.key),
            Wanted::Absent => write!(f, "!{}", self.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(selector: &str, selected: bool) {
        let metadata = json!({"team": "shop", "tier": 1, "old": false, "notes": {"a": 1}, "none": null});
        let parsed: Selector = selector.parse().unwrap();
        assert_eq!(parsed.selects(metadata.as_object().unwrap()), selected, "{selector}");
        assert_eq!(parsed.to_string().parse(), Ok(parsed), "{selector} is written as it is read");
    }

    #[test]
    fn labels_are_the_single_values_of_the_metadata() {
        check("team=shop", true);
        check("team==shop", true);
        check(" team = shop ", true);
        check("team=Shop", false);
        check("tier=1", true);
        check("old=false", true);
        check("team!=shop", false);
        check("owner!=shop", true);
        check("team", true);
        check("!team", false);
        check("!owner", true);
        check("notes", false);
        check("none", false);
        check("owner=", false);
    }

    #[test]
    fn what_selects_nothing_is_refused_with_the_mend() {
        for text in ["", "=shop", "!=shop", "!", "a,b=c", "!!a"] {
            let error = text.parse::<Selector>().unwrap_err();
            assert!(error.to_string().contains("KEY=VALUE"), "{text}: {error}");
        }
    }
}
