//! `If-Match` and `If-None-Match` (RFC 9110, 13.1): an artifact's entity tag is its version in quotes.

use axum::http::header::{IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::problem::Problem;

/// What a write expects to find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Precondition {
    /// Nothing was said.
    None,
    /// `If-None-Match: *`: nothing may be there.
    Absent,
    /// `If-Match: *`: something must be there.
    Present,
    /// `If-Match: "3", "4"`: one of these versions must be there. Empty when no tag can be that of a version.
    Versions(Vec<u64>),
}

impl Precondition {
    /// What the headers of a write say.
    pub(super) fn of_write(headers: &HeaderMap) -> Result<Self, Problem> {
        let matching = tags(headers, &IF_MATCH)?;
        let none_matching = tags(headers, &IF_NONE_MATCH)?;
        match (matching, none_matching) {
            (None, None) => Ok(Self::None),
            (None, Some(Tags::Any)) => Ok(Self::Absent),
            (Some(Tags::Any), None) => Ok(Self::Present),
            (Some(Tags::These(tags)), None) => Ok(Self::Versions(tags)),
            (None, Some(Tags::These(_))) => {
                let mend = "write `If-None-Match: *` to create only, or `If-Match` with the version that you saw";
                Err(Problem::bad_request("`If-None-Match` with a version says nothing about a write", mend))
            }
            (Some(_), Some(_)) => {
                Err(Problem::bad_request("`If-Match` and `If-None-Match` contradict each other", "send one of them"))
            }
        }
    }
}

/// Whether the client has this version already (`If-None-Match` of a read).
pub(super) fn is_known(headers: &HeaderMap, version: u64) -> Result<bool, Problem> {
    Ok(match tags(headers, &IF_NONE_MATCH)? {
        None => false,
        Some(Tags::Any) => true,
        Some(Tags::These(versions)) => versions.contains(&version),
    })
}

/// The entity tag of a version.
pub(super) fn tag(version: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or(HeaderValue::from_static("\"\""))
}

#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    These(Vec<u64>),
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut found = None;
    for value in headers.get_all(name) {
        let text = value.to_str().unwrap_or_default().trim();
        if text == "*" && found.is_none() {
            found = Some(Tags::Any);
            continue;
        }
        let Tags::These(versions) = found.get_or_insert(Tags::These(Vec::new())) else {
            return Err(refuse(name));
        };
        for tag in text.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
            // A weak tag is good enough for a read; none is ever given out, so no write has one to send.
            let strong = if *name == IF_NONE_MATCH { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
            let quoted = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            match quoted {
                Some(text) => versions.extend(text.parse::<u64>()),
                None if tag.starts_with("W/\"") => {}
                None => return Err(refuse(name)),
            }
        }
    }
    Ok(found)
}

fn refuse(name: &HeaderName) -> Problem {
    let detail =
        format!("`{}` is no list of entity tags", if *name == IF_MATCH { "If-Match" } else { "If-None-Match" });
    Problem::bad_request(detail, "write the version in quotes, as in `\"3\"`, or `*`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), value.parse().unwrap())])
    }

    #[track_caller]
    fn check_match(value: &str, expected: Option<&Precondition>) {
        assert_eq!(Precondition::of_write(&headers(&IF_MATCH, value)).ok().as_ref(), expected, "{value}");
    }

    #[test]
    fn a_write_names_the_versions_that_it_saw() {
        check_match("*", Some(&Precondition::Present));
        check_match("\"3\"", Some(&Precondition::Versions(vec![3])));
        check_match("\"3\" , \"4\"", Some(&Precondition::Versions(vec![3, 4])));
        check_match("\"abc\"", Some(&Precondition::Versions(vec![])));
        check_match("W/\"3\"", Some(&Precondition::Versions(vec![])));
        check_match("3", None);
        check_match("*, \"3\"", None);
    }

    #[test]
    fn a_write_may_ask_that_nothing_is_there() {
        assert_eq!(Precondition::of_write(&headers(&IF_NONE_MATCH, "*")).unwrap(), Precondition::Absent);
        assert!(Precondition::of_write(&headers(&IF_NONE_MATCH, "\"3\"")).is_err());
    }

    #[test]
    fn a_read_is_spared_what_the_client_has() {
        for (value, expected) in
            [("\"3\"", true), ("W/\"3\"", true), ("\"2\", \"3\"", true), ("*", true), ("\"2\"", false)]
        {
            assert_eq!(is_known(&headers(&IF_NONE_MATCH, value), 3).unwrap(), expected, "{value}");
        }
        assert!(!is_known(&HeaderMap::new(), 3).unwrap());
    }
}
