//! Addresses of the API: which template a path matches, and how the path of an artifact is written.
//!
//! Names of gateways have up to four segments, so `{name}` takes one or more of them, with `/` written plain or as
//! `%2F`. A plain last segment that a template names (`split`, `history` …) belongs to the template: a gateway that is
//! really called `a/split` is written `a%2Fsplit`.

use std::fmt::Write as _;

/// Last segments that are not part of a name when they are written plain.
const SUBRESOURCES: [&str; 4] = ["split", "explain", "history", "restore"];

/// One path of the API: `/api/v1/gateways/{name}/history/{version}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Name,
    Version,
    Cluster,
    Service,
    Port,
    /// The name of a figure.
    Metric,
    /// A path of a route: one or more segments, as in a name.
    Route,
}

impl Part {
    /// How many segments it may take beyond its one.
    fn takes_several(&self) -> bool {
        matches!(self, Self::Name | Self::Route)
    }

    /// Whether a segment can be this part.
    fn fits(&self, segment: &str) -> bool {
        match self {
            Self::Literal(literal) => segment == literal,
            _ => true,
        }
    }
}

/// What the variable parts of a path say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `{name}`, decoded.
    pub(super) name: String,
    /// `{version}`, decoded, not yet read as a number.
    pub(super) version: String,
    /// `{cluster}`, decoded.
    pub(super) cluster: String,
    /// `{service}`, decoded.
    pub(super) service: String,
    /// `{port}`, decoded.
    pub(super) port: String,
    /// `{metric}`.
    pub(super) metric: String,
    /// `{route}`, decoded.
    pub(super) route: String,
}

impl Parameters {
    fn part(&mut self, part: &Part) -> &mut String {
        match part {
            Part::Version => &mut self.version,
            Part::Cluster => &mut self.cluster,
            Part::Service => &mut self.service,
            Part::Port => &mut self.port,
            Part::Metric => &mut self.metric,
            Part::Route => &mut self.route,
            Part::Name | Part::Literal(_) => &mut self.name,
        }
    }
}

/// LIMIT: segments of a path that is looked up: each part that may take several is tried with every number of them. Two
/// names of four are among so many.
const SEGMENTS_MAX: usize = 32;

/// A path that is no text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadEscape;

impl Template {
    /// Reads a template; each variable part stands at most once.
    pub(super) fn new(text: String) -> Self {
        let parts = text.split('/').skip(1).map(|part| match part {
            "{name}" => Part::Name,
            "{version}" => Part::Version,
            "{cluster}" => Part::Cluster,
            "{service}" => Part::Service,
            "{port}" => Part::Port,
            "{metric}" => Part::Metric,
            "{route}" => Part::Route,
            literal => Part::Literal(literal.to_owned()),
        });
        Self { parts: parts.collect(), text }
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// How much of it is fixed: of two templates that match, the one with more is meant.
    pub(super) fn literals(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Literal(_) | Part::Metric)).count()
    }

    /// The variable parts of a path, if it is one of this template.
    pub(super) fn matches(&self, path: &str) -> Option<Result<Parameters, BadEscape>> {
        let path = path.strip_prefix('/')?;
        let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
        if segments.len() > SEGMENTS_MAX {
            return None;
        }
        let mut found = Parameters::default();
        let mut rest = segments.as_slice();
        for (part, width) in self.parts.iter().zip(widths(&self.parts, rest)?) {
            let (own, others) = rest.split_at_checked(width)?;
            rest = others;
            if let Part::Literal(_) = part {
                continue;
            }
            match decode(&own.join("/")) {
                Ok(text) => *found.part(part) = text,
                Err(bad) => return Some(Err(bad)),
            }
        }
        Some(Ok(found))
    }

    /// What a path would have to be to match, with its own segments in the place of name and version.
    pub(super) fn shape_like(&self, path: &str) -> Option<String> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let surplus = segments.len().checked_sub(self.parts.len())?;
        if surplus > 0 && !self.parts.contains(&Part::Name) {
            return None;
        }
        let mut segments = segments.into_iter();
        let mut shape = String::new();
        for part in &self.parts {
            let width = if *part == Part::Name { surplus + 1 } else { 1 };
            for own in segments.by_ref().take(width) {
                shape.push('/');
                shape.push_str(if let Part::Literal(literal) = part { literal } else { own });
            }
        }
        Some(shape)
    }
}

/// How many segments each part takes. A part that may take several takes as few as it can, so that what a template names
/// after it belongs to the template.
fn widths(parts: &[Part], segments: &[&str]) -> Option<Vec<usize>> {
    let Some((part, others)) = parts.split_first() else { return segments.is_empty().then(Vec::new) };
    let most = segments.len().checked_sub(others.len())?;
    let most = if part.takes_several() { most } else { most.min(1) };
    (1..=most).find_map(|width| {
        let (own, rest) = segments.split_at_checked(width)?;
        if !own.iter().all(|segment| part.fits(segment)) {
            return None;
        }
        let mut all = vec![width];
        all.extend(widths(others, rest)?);
        Some(all)
    })
}

/// Takes percent escapes out of a path.
fn decode(text: &str) -> Result<String, BadEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(BadEscape) };
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| BadEscape)?);
    }
    String::from_utf8(bytes).map_err(|_| BadEscape)
}

/// The path of an artifact, which leads back to it.
pub(super) fn of_artifact(kind: vamp_model::Kind, name: &str) -> String {
    let is_ambiguous = name.split('/').skip(1).any(|segment| SUBRESOURCES.contains(&segment));
    let mut path = format!("/api/v1/{}/", kind.plural());
    for byte in name.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@');
        if is_plain || (byte == b'/' && !is_ambiguous) {
            path.push(char::from(byte));
        } else {
            let _infallible = write!(path, "%{byte:02X}");
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vamp_model::Kind;

    use super::*;

    #[track_caller]
    fn check(template: &str, path: &str, expected: Option<(&str, &str)>) {
        let found = Template::new(template.to_owned()).matches(path).map(Result::unwrap);
        let expected = expected.map(|(name, version)| (name.to_owned(), version.to_owned()));
        assert_eq!(found.map(|found| (found.name, found.version)), expected, "{template} {path}");
    }

    #[test]
    fn a_name_takes_all_segments_that_the_template_leaves() {
        check("/g/{name}", "/g/shop", Some(("shop", "")));
        check("/g/{name}", "/g/shop/", Some(("shop", "")));
        check("/g/{name}", "/g/sava:1.0/sava/web", Some(("sava:1.0/sava/web", "")));
        check("/g/{name}", "/g/sava:1.0%2Fsava%2fweb", Some(("sava:1.0/sava/web", "")));
        check("/g/{name}/split", "/g/a/b/split", Some(("a/b", "")));
        check("/g/{name}/split", "/g/a%2Fsplit/split", Some(("a/split", "")));
        check("/g/{name}/split", "/g/a%2Fsplit", None);
        check("/g/{name}/split", "/g/split", None);
        check("/g/{name}/history/{version}", "/g/a/b/history/7", Some(("a/b", "7")));
        check("/g/{name}/history/{version}", "/g/a/b/history", None);
        check("/g/{name}/{metric}", "/g/a/b/rate", Some(("a/b", "")));
        check("/g/{name}/{metric}", "/g/a/b/own.figure", Some(("a/b", "")));
        check("/g/{name}/{metric}", "/g/a%2Fb", None);
        check("/g", "/g/x", None);
        check("/g", "/h", None);
    }

    #[test]
    fn a_route_is_parted_from_the_name_of_its_gateway() {
        let template = Template::new("/g/{name}/routes/{route}/{metric}".to_owned());
        for path in ["/g/d/c/p/routes/d/c/s:1/p/rate", "/g/d%2Fc%2Fp/routes/d%2Fc%2Fs:1%2Fp/rate"] {
            let found = template.matches(path).unwrap().unwrap();
            let found = [&found.name, &found.route, &found.metric].map(String::as_str);
            assert_eq!(found, ["d/c/p", "d/c/s:1/p", "rate"], "{path}");
        }
        assert_eq!(template.matches("/g/shop/routes/rate"), None);
    }

    #[test]
    fn an_escape_that_is_none_is_told_apart_from_no_match() {
        for path in ["/g/%", "/g/%4", "/g/%zz", "/g/%ff"] {
            assert_eq!(Template::new("/g/{name}".to_owned()).matches(path), Some(Err(BadEscape)), "{path}");
        }
    }

    proptest! {
        #[test]
        fn the_path_of_an_artifact_leads_back_to_it(name in "[^\\[\\]\\s/]{1,8}(/(split|history|[^\\[\\]\\s/]{1,8})){0,3}") {
            let template = Template::new("/api/v1/gateways/{name}".to_owned());
            let path = of_artifact(Kind::Gateway, &name);
            prop_assert!(path.is_ascii());
            prop_assert_eq!(template.matches(&path).unwrap().unwrap().name, name.clone());
            for tail in ["split", "history", "history/{version}"] {
                let template = Template::new(format!("/api/v1/gateways/{{name}}/{tail}"));
                prop_assert_eq!(template.matches(&path), None);
            }
        }
    }
}
