//! Addresses of servers and of whoever asks: they may hold secrets, or lie.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Uri};
use vamp_record::access::{Access, Tokens};
use vamp_record::elastic_url::ElasticUrl;

use crate::store_url::{Product, StoreUrl};

/// What an input writes where a secret may stand.
const SECRET: &str = "s3cret";

/// Whether the secret stands in front of an `@`, where people write passwords, and not in the scheme. Then nothing that is
/// printed has it.
fn holds_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    !scheme.contains(SECRET) && rest.rsplit_once('@').is_some_and(|(before, _)| before.contains(SECRET))
}

fn shows_secret(printed: &str) -> bool {
    printed.to_ascii_lowercase().contains(SECRET)
}

/// A store's address is refused without repeating what may be a password, or printed so that it is read as the same;
/// each endpoint is a host and a port that can be connected to.
pub fn store_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let url = match text.parse::<StoreUrl>() {
        Ok(url) => url,
        Err(error) => {
            assert!(!holds_secret(&text) || !shows_secret(&error.to_string()), "{error}");
            return;
        }
    };
    let printed = url.to_string();
    assert_eq!(printed.parse::<StoreUrl>().as_ref(), Ok(&url), "`{printed}`");
    let Product::Etcd(etcd) = &url.0 else { return };
    assert!(!etcd.endpoints.is_empty() && !etcd.prefix.is_empty(), "{printed}");
    for endpoint in &etcd.endpoints {
        let uri: Uri = format!("http://{endpoint}").parse().unwrap_or_else(|error| panic!("`{endpoint}`: {error}"));
        assert!(uri.port_u16().is_some_and(|port| port > 0), "`{endpoint}` has no port");
        let host = uri.host().unwrap_or_default();
        let in_brackets = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let is_address = in_brackets.is_none_or(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        assert!(is_address && !host.is_empty(), "`{endpoint}` names no host");
    }
}

/// An Elasticsearch address is refused without repeating what may be a password, or printed without what is for this
/// program only, so that it is read as the same server.
pub fn elastic_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let printed = match text.parse::<ElasticUrl>() {
        Ok(url) => url.to_string(),
        Err(error) => {
            assert!(!holds_secret(&text) || !shows_secret(&error.to_string()), "{error}");
            return;
        }
    };
    let (place, _) = text.split_once('?').unwrap_or((&text, ""));
    assert!(!holds_secret(place) || !shows_secret(&printed), "`{printed}`");
    assert!(!printed.contains(['@', '?', '#']) && !printed.ends_with('/'), "`{printed}`");
    assert_eq!(printed.parse::<ElasticUrl>().unwrap().to_string(), printed);
}

/// Lines are a token file, then after an empty one `Host`, `Origin` and `Authorization` of a request. Whoever is let in
/// has one of the tokens, or speaks to this machine by a name that no DNS server can change and not from another's page.
/// No token is repeated.
pub fn access(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (file, asked) = text.split_once("\n\n").unwrap_or(("", &text));
    let mut asked = asked.lines();
    let (host, origin, authorization) = (asked.next(), asked.next(), asked.next());
    let mut fields = HeaderMap::new();
    for (name, value) in [(HOST, host), (ORIGIN, origin), (AUTHORIZATION, authorization)] {
        let value = value.filter(|value| !value.is_empty()).map(HeaderValue::from_str);
        let Ok(value) = value.transpose() else { return };
        value.map(|value| fields.insert(name, value));
    }
    let target = Uri::from_static("/");
    if Access::Loopback.check(&target, &fields).is_ok() {
        let host = host.unwrap_or_default();
        assert!(is_here(host), "`{host}` is not this machine");
        if let Some(origin) = origin.filter(|origin| !origin.is_empty()) {
            let (_, authority) = origin.split_once("://").unwrap();
            assert!(authority.eq_ignore_ascii_case(host), "a page of `{origin}` drives `{host}`");
        }
    }
    let known = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match Tokens::parse(file) {
        Err(error) => {
            let told = error.to_string();
            // No message has such a character by itself.
            assert!(known.filter(|line| line.contains('|')).all(|line| !told.contains(line)), "{told}");
        }
        Ok(tokens) => {
            let is_in = Access::Tokens(tokens).check(&target, &fields).is_ok();
            let given = authorization.and_then(|value| value.split_once(' '));
            let given = given.filter(|(scheme, _)| ["bearer", "token"].contains(&&*scheme.to_ascii_lowercase()));
            let is_known = given.is_some_and(|(_, given)| known.into_iter().any(|token| token == given.trim()));
            assert_eq!(is_in, is_known, "{authorization:?}");
        }
    }
}

/// Whether an authority names this machine, whoever answers for names.
fn is_here(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() && !host.ends_with(':') && host != "[" => host,
        _ => authority,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || [bare, authority].iter().any(|text| text.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback()))
}
