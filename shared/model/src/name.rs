//! Which names artifacts may have.

use crate::artifact::Kind;

/// LIMIT: bytes of a name. Names become keys of the store and parts of URLs; etcd and proxies take a few kilobytes.
const NAME_BYTES_MAX: usize = 512;

/// Says what is wrong with a name, if something is: message and hint.
pub(crate) fn fault(kind: Kind, name: &str) -> Option<(String, String)> {
    let shown: String = name.chars().take(80).collect();
    let refused = |why: &str, hint: &str| Some((format!("the name `{}` {why}", shown.escape_debug()), hint.to_owned()));
    if name.is_empty() {
        return refused("is empty", "give it at least one character");
    }
    if name.len() > NAME_BYTES_MAX {
        return refused(&format!("is longer than {NAME_BYTES_MAX} bytes"), "shorten it");
    }
    if name.contains(|found: char| found.is_whitespace() || found.is_control() || matches!(found, '[' | ']')) {
        return refused("has white space or a bracket", "use letters, digits and signs such as `-`, `_`, `.`, `:`");
    }
    match kind {
        Kind::Gateway => match name.split('/').count() {
            _ if name.split('/').any(str::is_empty) => refused("has an empty segment", "remove the surplus `/`"),
            1..=4 => None,
            count => refused(&format!("has {count} segments"), "use 1 to 4 segments parted by `/`"),
        },
        Kind::Instances => match name.split('/').filter(|segment| !segment.is_empty()).count() {
            3 => None,
            _ => refused("is no service", "write DEPLOYMENT/CLUSTER/SERVICE"),
        },
        _ if name.contains('/') => refused("has a `/`", "only names of gateways have segments; use `-` or `.`"),
        _ => None,
    }
}
