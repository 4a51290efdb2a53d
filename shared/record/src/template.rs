//! The index templates: which fields are indexed, and as what.
//!
//! Fields that are not named here are kept but not indexed (`dynamic: false`), so that no client can make an index
//! grow fields.

use serde_json::{Value, json};

/// What is kept in indices of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// `vamp-vga-*`: one document per request.
    Records,
    /// `vamp-pulse-*`: events of the control plane.
    Events,
}

/// LIMIT: characters of a keyword that are indexed; the old template's bound. `r` holds a whole request line.
const KEYWORD_CHARACTERS_MAX: usize = 1024;

const KEYWORDS: [&str; 22] = [
    "b",
    "boot",
    "ci",
    "cut",
    "decided_by",
    "endpoint",
    "ft",
    "gateway",
    "host",
    "method",
    "path",
    "process",
    "protocol",
    "r",
    "reason",
    "request_id",
    "route",
    "s",
    "t",
    "ts",
    "tsc",
    "via",
];

const LONGS: [&str; 17] = [
    "B",
    "ST",
    "Tc",
    "Tq",
    "Tr",
    "Tt",
    "Tw",
    "bytes_in",
    "connect_us",
    "cp",
    "duration_us",
    "epoch",
    "head_us",
    "rc",
    "revision",
    "upstream_status",
    "upstream_us",
];

impl Template {
    /// Its name on the server.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "vamp-vga",
            Self::Events => "vamp-pulse",
        }
    }

    /// The indices that it applies to; also what to search.
    pub fn index_pattern(self) -> &'static str {
        match self {
            Self::Records => "vamp-vga-*",
            Self::Events => "vamp-pulse-*",
        }
    }

    /// For `PUT _index_template/NAME`: Elasticsearch from 7.8, OpenSearch.
    pub(crate) fn composable(self) -> Value {
        json!({
            "index_patterns": [self.index_pattern()],
            // Above Elasticsearch's own templates (100 to 200), below what an operator writes to override ours.
            "priority": 500,
            "template": { "settings": settings(), "mappings": self.mappings() },
        })
    }

    /// For `PUT _template/NAME`: servers without composable templates.
    pub(crate) fn legacy(self) -> Value {
        // Order 0 were the old product's templates of the same patterns: these go above them.
        json!({
            "index_patterns": [self.index_pattern()],
            "order": 1,
            "settings": settings(),
            "mappings": self.mappings(),
        })
    }

    fn mappings(self) -> Value {
        let mut properties = serde_json::Map::new();
        let mut add = |name: &str, kind: Value| drop(properties.insert(name.to_owned(), kind));
        add("@timestamp", json!({ "type": "date" }));
        match self {
            Self::Records => {
                for name in KEYWORDS {
                    let characters_max = if name == "r" { 2 * KEYWORD_CHARACTERS_MAX } else { KEYWORD_CHARACTERS_MAX };
                    add(name, json!({ "type": "keyword", "ignore_above": characters_max }));
                }
                for name in LONGS {
                    add(name, json!({ "type": "long" }));
                }
            }
            Self::Events => {
                add("timestamp", json!({ "type": "date" }));
                for name in ["namespace", "tags", "type"] {
                    add(name, json!({ "type": "keyword", "ignore_above": KEYWORD_CHARACTERS_MAX }));
                }
                add("id", json!({ "type": "long" }));
                // A value that is a number: what is aggregated.
                add("number", json!({ "type": "double" }));
            }
        }
        json!({ "dynamic": false, "properties": properties })
    }
}

fn settings() -> Value {
    json!({ "index": { "refresh_interval": "5s" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_carry_the_same_mapping() {
        for template in [Template::Records, Template::Events] {
            assert_eq!(template.composable()["template"]["mappings"], template.legacy()["mappings"]);
        }
        let fields = Template::Records.legacy()["mappings"]["properties"].as_object().unwrap().len();
        assert_eq!(fields, 1 + KEYWORDS.len() + LONGS.len(), "no field is named twice");
    }
}
