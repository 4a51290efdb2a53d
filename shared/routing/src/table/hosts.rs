//! Which gateway a host belongs to, on the port that virtual hosts share.

use std::collections::HashMap;

/// LIMIT: bytes of a host name (RFC 1035, section 2.3.4): a longer one belongs to nobody.
const HOST_BYTES_MAX: usize = 255;

/// Hosts to gateways.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<[u8]>, usize>,
    /// Without `*`, with the dot: `.example.org`.
    suffixes: HashMap<Box<[u8]>, usize>,
    /// Most dots of a suffix: a host of a hundred labels is not looked up a hundred times.
    dots_max: usize,
}

impl Hosts {
    /// Gives a host, or all hosts below `*.suffix`, to a gateway; the one that has it already, if there is one.
    pub(super) fn claim(&mut self, host: &str, gateway: usize) -> Option<usize> {
        let host = host.to_ascii_lowercase();
        let (map, key) = match host.strip_prefix('*') {
            Some(suffix) => {
                self.dots_max = self.dots_max.max(dots(suffix.as_bytes()).count());
                (&mut self.suffixes, suffix)
            }
            None => (&mut self.exact, host.as_str()),
        };
        let owner = *map.entry(key.as_bytes().into()).or_insert(gateway);
        (owner != gateway).then_some(owner)
    }

    /// The gateway of a host as a request names it: in any case, with or without port and final dot. An exact name goes
    /// before a suffix, a longer suffix before a shorter one.
    pub(super) fn find(&self, host: &[u8]) -> Option<usize> {
        let host = without_port(host);
        let host = host.strip_suffix(b".").unwrap_or(host);
        let mut buffer = [0; HOST_BYTES_MAX];
        let lower = buffer.get_mut(..host.len())?;
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        let lower = &*lower;
        if let Some(gateway) = self.exact.get(lower) {
            return Some(*gateway);
        }
        if self.suffixes.is_empty() {
            return None;
        }
        let surplus = dots(lower).count().saturating_sub(self.dots_max);
        let mut suffixes = dots(lower).skip(surplus).filter(|dot| *dot > 0).filter_map(|dot| lower.get(dot..));
        suffixes.find_map(|suffix| self.suffixes.get(suffix)).copied()
    }
}

fn dots(host: &[u8]) -> impl Iterator<Item = usize> {
    memchr::memchr_iter(b'.', host)
}

/// A host without its port. The colons of an IPv6 address stand in brackets.
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    match memchr::memrchr(b':', host) {
        Some(colon) if !host.ends_with(b"]") => host.get(..colon).unwrap_or(host),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let mut hosts = Hosts::default();
        for (index, host) in ["shop.example.org", "*.example.org", "*.eu.example.org", "[::1]"].iter().enumerate() {
            assert_eq!(hosts.claim(host, index), None);
        }
        hosts
    }

    #[track_caller]
    fn check(host: &str, gateway: Option<usize>) {
        assert_eq!(hosts().find(host.as_bytes()), gateway, "{host}");
    }

    #[test]
    fn an_exact_name_goes_before_suffixes_and_longer_ones_before_shorter() {
        check("shop.example.org", Some(0));
        check("Shop.Example.ORG:8080", Some(0));
        check("shop.example.org.", Some(0));
        check("a.example.org", Some(1));
        check("a.b.example.org", Some(1));
        check("a.eu.example.org", Some(2));
        check(&format!("{}eu.example.org", "a.".repeat(100)), Some(2));
        check(&format!("{}us.example.org", "a.".repeat(100)), Some(1));
        check("[::1]:80", Some(3));
        check("[::1]", Some(3));
    }

    #[test]
    fn nobody_has_what_nobody_claimed() {
        check("example.org", None);
        check(".example.org", None);
        check("", None);
        check(":80", None);
        check(&"a".repeat(300), None);
    }

    #[test]
    fn a_name_is_claimed_once() {
        let mut hosts = hosts();
        assert_eq!(hosts.claim("SHOP.example.org", 7), Some(0));
        assert_eq!(hosts.claim("*.example.org", 7), Some(1));
        assert_eq!(hosts.claim("shop.example.org", 0), None);
    }
}
