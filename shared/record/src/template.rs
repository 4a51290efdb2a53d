//! The index template of `vamp-vga-*`: which fields are indexed, and as what.
//!
//! Fields that are not named here are kept but not indexed (`dynamic: false`), so that no client can make an index
//! grow fields.

use serde_json::{Value, json};

/// The template's name on the server.
pub const NAME: &str = "vamp-vga";

/// The indices that it applies to; also what to search.
pub const INDEX_PATTERN: &str = "vamp-vga-*";

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

/// For `PUT _index_template/vamp-vga`: Elasticsearch from 7.8, OpenSearch.
pub(crate) fn composable() -> Value {
    json!({
        "index_patterns": [INDEX_PATTERN],
        // Above Elasticsearch's own templates (100 to 200), below what an operator writes to override ours.
        "priority": 500,
        "template": { "settings": settings(), "mappings": mappings() },
    })
}

/// For `PUT _template/vamp-vga`: servers without composable templates.
pub(crate) fn legacy() -> Value {
    // Order 0 was the old product's template of the same pattern: this one goes above it.
    json!({ "index_patterns": [INDEX_PATTERN], "order": 1, "settings": settings(), "mappings": mappings() })
}

fn settings() -> Value {
    json!({ "index": { "refresh_interval": "5s" } })
}

fn mappings() -> Value {
    let mut properties = serde_json::Map::new();
    properties.insert("@timestamp".to_owned(), json!({ "type": "date" }));
    for name in KEYWORDS {
        let characters_max = if name == "r" { 2 * KEYWORD_CHARACTERS_MAX } else { KEYWORD_CHARACTERS_MAX };
        properties.insert(name.to_owned(), json!({ "type": "keyword", "ignore_above": characters_max }));
    }
    for name in LONGS {
        properties.insert(name.to_owned(), json!({ "type": "long" }));
    }
    json!({ "dynamic": false, "properties": properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_carry_the_same_mapping() {
        assert_eq!(composable()["template"]["mappings"], legacy()["mappings"]);
        let fields = legacy()["mappings"]["properties"].as_object().unwrap().len();
        assert_eq!(fields, 1 + KEYWORDS.len() + LONGS.len(), "no field is named twice");
    }
}
