//! Services that are named where a host stands, and addresses of services where no reference can stand.
//!
//! Their gateways have hosts and ports of their own, so that neither would lead anywhere. What is meant is not known for
//! sure: it is told, and left as it is.

use std::collections::HashMap;

use super::Reader;
use super::environment::addresses;
use super::service::{Service, Variable};

impl Reader<'_, '_> {
    /// Tells of services that values name without a port.
    pub(super) fn tell_hosts(&mut self, from: &[Variable], services: &[Service]) {
        let by_name = by_name(services);
        let found = from.iter().flat_map(|from| hosts(&from.value).into_iter().map(move |host| (from, host)));
        for (from, Host { name, scheme }) in found {
            let Some(named) = by_name.get(name) else { continue };
            let reference = match scheme {
                None => format!("${}.host", named.name),
                Some(scheme) => format!("${0}.host:${0}.ports.{1}", named.name, named.port_for(scheme)),
            };
            let why = format!(
                "`{}` is left as it is: if the host of that service is meant, write `{reference}`",
                scheme.map_or_else(|| name.to_owned(), |scheme| format!("{scheme}://{name}"))
            );
            self.notes.add(from.place, &from.path, &why);
        }
    }

    /// Tells of other services that the words of a command name: nothing is put in their place there.
    pub(super) fn tell_commands(&mut self, services: &[Service]) {
        let by_name = by_name(services);
        for service in services {
            let is_other = |name: &str| name != service.written && by_name.contains_key(name);
            for word in &service.words {
                let with_port = addresses(&word.value)
                    .into_iter()
                    .map(|address| (address.name, format!("{}:{}", address.name, address.port)));
                let alone = hosts(&word.value).into_iter().map(|host| (host.name, host.name.to_owned()));
                for (_, shown) in with_port.chain(alone).filter(|(name, _)| is_other(name)) {
                    let why = format!(
                        "`{shown}` is left as it is: if that service is meant, give its address in a variable under \
                         `environment`, and let the program read that"
                    );
                    self.notes.add(word.place, &word.path, &why);
                }
            }
        }
    }
}

/// Texts may have many more words than there are services.
fn by_name(services: &[Service]) -> HashMap<&str, &Service> {
    services.iter().map(|service| (service.written.as_str(), service)).collect()
}

impl Service {
    /// The name of the port that a URL without one means, as far as it can be told.
    fn port_for(&self, scheme: &str) -> String {
        let known = SCHEMES.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
        let own = self.ports.iter().find(|port| Some(port.number) == known).or(self.ports.first());
        own.map_or_else(|| "NAME".to_owned(), super::ports::Port::name)
    }
}

/// Ports that URLs leave out.
const SCHEMES: [(&str, u16); 9] = [
    ("http", 80),
    ("https", 443),
    ("postgres", 5432),
    ("postgresql", 5432),
    ("mysql", 3306),
    ("redis", 6379),
    ("amqp", 5672),
    ("mongodb", 27017),
    ("nats", 4222),
];

/// What may be a host without a port.
#[derive(Debug, PartialEq, Eq)]
struct Host<'t> {
    name: &'t str,
    /// Of the URL that it stands in.
    scheme: Option<&'t str>,
}

/// Every word of a text, or of a list in it, and the hosts of its URLs. What stands before an `@` is a user.
fn hosts(text: &str) -> Vec<Host<'_>> {
    let mut scheme = None;
    let mut hosts = Vec::new();
    for word in text.split(|found: char| found.is_whitespace() || matches!(found, ',' | ';' | '"' | '\'')) {
        let authority = match word.split_once("://") {
            Some((before, rest)) => {
                scheme = Some(before.rsplit_once('=').map_or(before, |(_, scheme)| scheme));
                rest.split(['/', '?', '#']).next()
            }
            // A URL may have several hosts.
            None if scheme.is_some() => word.split(['/', '?', '#']).next(),
            None => Some(word.rsplit_once('=').map_or(word, |(_, value)| value)),
        };
        let authority = authority.unwrap_or_default();
        let name = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if !name.is_empty() && !name.contains(':') {
            hosts.push(Host { name, scheme });
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::hosts;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, Option<&str>)]) {
        let found: Vec<_> = hosts(text).iter().map(|host| (host.name, host.scheme)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn hosts_are_found_in_lists_options_and_urls() {
        check("db", &[("db", None)]);
        check("db, cache;web", &[("db", None), ("cache", None), ("web", None)]);
        check("http://db", &[("db", Some("http"))]);
        check("postgres://user:pa@ss@db/shop?x=y", &[("db", Some("postgres"))]);
        check("mongodb://a,b/x", &[("a", Some("mongodb")), ("b", Some("mongodb"))]);
        check("--host=db --url=http://web?x", &[("db", None), ("web", Some("http"))]);
        check("sh -c 'ping db'", &[("sh", None), ("-c", None), ("ping", None), ("db", None)]);
        check("http://db:80/web", &[]);
        check("user@db", &[("db", None)]);
        check("", &[]);
    }
}
