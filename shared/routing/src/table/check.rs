//! What must hold of each gateway before it can decide anything.

use std::collections::HashSet;
use std::sync::Arc;

use super::{CompiledGateway, Problem};
use crate::condition::Condition;
use crate::cookie;
use crate::wire::{self, Share, Sticky, Target};

// LIMIT: routes of one gateway. Wheels hold a route in 16 bits; what is larger is a mistake.
const ROUTES_MAX: usize = 10_000;

/// Problems as they are found.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, gateway: &str, path: &str, message: impl Into<String>) {
        self.0.push(Problem { gateway: gateway.to_owned(), path: path.to_owned(), message: message.into() });
    }

    pub(super) fn none_or_all(mut self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() {
            return Ok(());
        }
        // By gateway and place, whatever the order in which they were found.
        self.0.sort_by(|a, b| (&a.gateway, &a.path, &a.message).cmp(&(&b.gateway, &b.path, &b.message)));
        Err(self.0)
    }
}

/// Names that stand twice. The gateways are sorted by name.
pub(super) fn names(gateways: &[Arc<CompiledGateway>], problems: &mut Problems) {
    for (before, after) in gateways.iter().zip(gateways.iter().skip(1)) {
        if before.wire.name == after.wire.name {
            problems.add(&after.wire.name, "", "the gateway stands twice in the table: publish it once");
        }
    }
    let mut seen = HashSet::new();
    for gateway in gateways {
        if !seen.insert(gateway.wire.lookup.as_str()) {
            problems.add(&gateway.wire.name, "lookup", "another gateway has the same lookup name: rename one of them");
        }
    }
}

/// One gateway by itself.
pub(super) fn gateway(wire: &wire::Gateway, problems: &mut Problems) {
    if wire.name.is_empty() {
        problems.add("", "name", "a gateway needs a name");
    }
    if wire.port == Some(0) {
        problems.add(&wire.name, "port", "port 0 can't be listened on: choose one from 1 to 65535");
    }
    if wire.routes.len() > ROUTES_MAX {
        let message = format!("{} routes are more than {ROUTES_MAX}: split the gateway", wire.routes.len());
        problems.add(&wire.name, "routes", message);
    }
    weights(wire, problems);
    let mut names = HashSet::with_capacity(wire.routes.len());
    let mut lookups = HashSet::with_capacity(wire.routes.len());
    for route in &wire.routes {
        if !names.insert(route.name.as_str()) {
            problems.add(&wire.name, &place(route), "the route stands twice: keep one of them");
        } else if !lookups.insert(route.lookup.as_str()) {
            problems.add(&wire.name, &place(route), "another route has the same lookup name: rename one of them");
        }
        if route.condition_strength > Share::WHOLE {
            let path = format!("{}.condition_strength", place(route));
            problems.add(&wire.name, &path, "a strength is at most 100 %");
        }
        endpoints(wire, route, problems);
    }
    if wire.tcp.is_some() {
        connections(wire, problems);
    } else if wire.sticky != Sticky::None {
        cookies(wire, problems);
    }
}

/// What asks for a request where there are only connections.
fn connections(wire: &wire::Gateway, problems: &mut Problems) {
    if !wire.virtual_hosts.is_empty() {
        let message =
            "a TCP gateway has no virtual hosts, which only requests name: remove them, or make it an HTTP gateway";
        problems.add(&wire.name, "virtual_hosts", message);
    }
    for route in wire.routes.iter().filter(|route| !route.rewrites.is_empty()) {
        let message = "a TCP gateway has no paths to rewrite: remove the rewrites, or make it an HTTP gateway";
        problems.add(&wire.name, &format!("{}.rewrites", place(route)), message);
    }
}

/// A condition that asks for a request where there are only connections.
pub(super) fn condition(wire: &wire::Gateway, route: &wire::Route, condition: &Condition, problems: &mut Problems) {
    if wire.tcp.is_some()
        && let Some(test) = condition.test_of_requests()
    {
        let message = format!(
            "the condition tests `{test}`, and a TCP gateway knows only the `source` of a connection: test that, or make it an HTTP gateway"
        );
        problems.add(&wire.name, &format!("{}.condition", place(route)), message);
    }
}

fn weights(wire: &wire::Gateway, problems: &mut Problems) {
    let sum: u64 = wire.routes.iter().map(|route| u64::from(route.weight.0)).sum();
    if sum != 0 && sum != u64::from(Share::WHOLE.0) {
        let message =
            format!("weights add up to {}.{:02} %: make them add up to 100 %, or all 0", sum / 100, sum % 100);
        problems.add(&wire.name, "routes", message);
    }
}

/// The path of a route inside its gateway.
pub(super) fn place(route: &wire::Route) -> String {
    format!("routes[{:?}]", route.name)
}

fn endpoints(wire: &wire::Gateway, route: &wire::Route, problems: &mut Problems) {
    let Target::Endpoints(endpoints) = &route.target else { return };
    let mut lookups = HashSet::with_capacity(endpoints.len());
    for (index, endpoint) in endpoints.iter().enumerate() {
        let path = || format!("{}.endpoints[{index}]", place(route));
        if !lookups.insert(endpoint.lookup.as_str()) {
            problems.add(&wire.name, &path(), "another endpoint has the same lookup name: rename one of them");
        }
        if !is_address(&endpoint.address) {
            let message =
                format!("`{}` is no address: write `host:port`, with a port from 1 to 65535", endpoint.address);
            problems.add(&wire.name, &format!("{}.address", path()), message);
        }
    }
}

/// Whether a text is `host:port`, the host an IPv4 address, an IPv6 address in brackets, or a name.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0) && port.bytes().all(|byte| byte.is_ascii_digit());
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            (1..=253).contains(&host.len())
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    };
    is_port && is_host
}

/// Whether a request could ask for it: a name or an address in brackets, without port; or `*.` and a name.
pub(super) fn is_virtual_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let is_odd = |found: char| found.is_whitespace() || found.is_control() || matches!(found, ':' | '/' | '*');
    name.len() <= 253 && !name.contains(is_odd) && name.split('.').all(|label| !label.is_empty())
}

/// Lookup names that a sticky gateway writes into its cookies.
fn cookies(wire: &wire::Gateway, problems: &mut Problems) {
    let mut check = |route: Option<&wire::Route>, lookup: &str| {
        if !cookie::is_plain(lookup) {
            let message =
                format!("the lookup name `{}` can't stand in a cookie: publish it anew", lookup.escape_debug());
            problems.add(&wire.name, &route.map_or_else(|| "lookup".to_owned(), place), message);
        }
    };
    check(None, &wire.lookup);
    for route in &wire.routes {
        check(Some(route), &route.lookup);
        if let (Sticky::Instance, Target::Endpoints(endpoints)) = (wire.sticky, &route.target) {
            for endpoint in endpoints {
                check(Some(route), &endpoint.lookup);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{is_address, is_virtual_host};

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for sound in ["127.0.0.1:80", "[::1]:8080", "db.example.org:65535", "my_host:1"] {
            assert!(is_address(sound), "{sound}");
        }
        for wrong in ["", "host", ":80", "host:0", "host:65536", "host:+1", "[::1]", "::1:80", "a b:80", "[x]:80", "h:"]
        {
            assert!(!is_address(wrong), "{wrong}");
        }
    }

    #[test]
    fn virtual_hosts_are_names_without_port() {
        for sound in ["localhost", "shop.example.org", "*.example.org", "[::1]", "_.shop.vamp"] {
            assert!(is_virtual_host(sound), "{sound}");
        }
        for wrong in ["", "*", "*.", "a.*.b", "a:80", "[::1]:80", "[x]", "a b", "a..b", ".a", "a/b"] {
            assert!(!is_virtual_host(wrong), "{wrong}");
        }
    }
}
