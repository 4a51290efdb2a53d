//! Where everything stands below the store's prefix: `v1/{namespace}/…`, never below the old product's keys.

/// Why a text names no namespace and no gateway process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write 1 to 64 letters, digits, `-`, `_` or `.`, not starting with `.`")]
pub struct NoName;

/// The name of a namespace or a gateway process: part of a key, and of labels and file names elsewhere.
pub fn name(text: &str) -> Result<String, NoName> {
    let is_sound = (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && !text.starts_with('.');
    if is_sound { Ok(text.to_owned()) } else { Err(NoName) }
}

/// The manifest of a namespace's table.
pub fn manifest(namespace: &str) -> String {
    format!("v1/{namespace}/table/manifest")
}

/// One part of a content-addressed value (a gateway or a page of the manifest).
pub fn value_part(namespace: &str, digest: &str, part: usize) -> String {
    format!("v1/{namespace}/table/values/{digest}/{part}")
}

/// All values of a namespace.
pub fn values(namespace: &str) -> String {
    format!("v1/{namespace}/table/values/")
}

/// The registration (and acknowledgement) of one gateway process.
pub fn registration(namespace: &str, gateway_id: &str) -> String {
    format!("v1/{namespace}/gateways/{gateway_id}")
}

/// All registrations of a namespace.
pub fn registrations(namespace: &str) -> String {
    format!("v1/{namespace}/gateways/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_key_and_no_hidden_file() {
        let longest = "x".repeat(64);
        for sound in ["a", "default", "gateway-01.eu_west", &longest] {
            assert_eq!(name(sound).as_deref(), Ok(sound));
        }
        for refused in ["", ".", "..", ".a", "a/b", "a b", "\u{e4}", &"x".repeat(65)] {
            assert_eq!(name(refused), Err(NoName), "{refused}");
        }
    }
}
