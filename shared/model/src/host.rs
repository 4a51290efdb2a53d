//! Host names: those of virtual hosts, those made from a gateway's name, and addresses of targets.

use std::net::{Ipv4Addr, Ipv6Addr};

/// LIMIT: RFC 1035: 255 octets on the wire, which is 253 characters.
const HOST_CHARACTERS_MAX: usize = 253;
/// LIMIT: RFC 1035.
const LABEL_CHARACTERS_MAX: usize = 63;

/// Reads the name of a virtual host, exact or `*.suffix`; in lower case. Or says what is wrong: message and hint.
pub(crate) fn parse_virtual_host(text: &str) -> Result<String, (String, &'static str)> {
    let host = text.trim().to_ascii_lowercase();
    let refused = |why: &str, hint| Err((format!("the virtual host `{}` {why}", text.escape_debug()), hint));
    if host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return refused("names a port", "write the name only: virtual hosts match whatever port the client names");
    }
    if !host.is_ascii() {
        return refused("is not ASCII", "write it in its `xn--` form, as it travels in the Host header");
    }
    if host == "*" {
        return refused("would take every host", "give a suffix such as `*.example.com`");
    }
    let name = host.strip_prefix("*.").unwrap_or(&host);
    if name.contains('*') {
        return refused("has a `*` that is not its first label", "write `*.suffix`");
    }
    if is_host_name(name) {
        return Ok(host);
    }
    refused("is no host name", "use letters, digits, `-` and `.`, such as `shop.example.com` or `*.example.com`")
}

/// The host name that a gateway gets by itself: its segments from last to first, each fit for a host name, then the
/// suffix (`vamp`).
pub fn generated_virtual_host(gateway: &str, suffix: &str) -> String {
    let mut labels: Vec<String> = gateway.split('/').rev().map(fit_label).collect();
    labels.push(suffix.trim_matches('.').to_owned());
    labels.join(".").to_lowercase()
}

fn fit_label(segment: &str) -> String {
    if !segment.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return segment.to_owned();
    }
    segment.chars().map(|found| if found.is_ascii_alphanumeric() { found } else { '-' }).collect()
}

/// Host and port of a target: `host:port`, IPv6 in brackets. Or says what is wrong: message and hint.
pub(crate) fn parse_address(text: &str) -> Result<(String, u16), (String, &'static str)> {
    const HINT: &str = "write `[host:port]`, such as `[127.0.0.1:8081]`, `[[::1]:8081]` or `[app.local:8081]`";
    let refused = |why: &str| Err((format!("the address `{}` {why}", text.escape_debug()), HINT));
    if text.contains("://") || text.contains(['/', '?', '@', '#']) {
        return refused("is a URL: only host and port are read");
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return refused("has no port");
    };
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let Some(port) = port.parse::<u16>().ok().filter(|port| digits && *port > 0) else {
        return refused("has no port from 1 to 65535");
    };
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok((host.to_owned(), port)),
            Err(_) => refused("has no IPv6 address in its brackets"),
        };
    }
    if host.contains(':') {
        return refused("has an IPv6 address without brackets");
    }
    // `127.1` or `2130706433` would be resolved as an address although it is none of the usual writing.
    let numeric = host.rsplit('.').next().is_some_and(|label| label.starts_with(|first: char| first.is_ascii_digit()));
    if numeric && host.parse::<Ipv4Addr>().is_err() && !label_has_letter(host) {
        return refused("has an IPv4 address that is not four numbers from 0 to 255");
    }
    if is_host_name(host.strip_suffix('.').unwrap_or(host)) {
        Ok((host.to_owned(), port))
    } else {
        refused("has no host name")
    }
}

/// Whether the last label has a letter that makes it a name; `0x7f` is still a number to resolvers.
fn label_has_letter(host: &str) -> bool {
    let label = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    !label.starts_with("0x") && label.bytes().any(|byte| byte.is_ascii_alphabetic() || byte == b'-')
}

fn is_host_name(name: &str) -> bool {
    let label_is_fine = |label: &str| {
        (1..=LABEL_CHARACTERS_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_CHARACTERS_MAX && name.split('.').all(label_is_fine)
}
