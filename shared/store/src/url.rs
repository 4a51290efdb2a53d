//! Where the store is, as a user writes it: `etcd://h1:2379,h2:2379/prefix?ca=F&cert=F&key=F&user=U&password-file=F`
//! or `memory:`.

use std::path::PathBuf;

/// The environment variable with the store user's password.
pub(crate) const PASSWORD_VARIABLE: &str = "VAMP_STORE_PASSWORD";

const DEFAULT_PREFIX: &str = "vamp";
const ETCD_PORT: u16 = 2379;

/// Which store, without secrets: printing it is safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreUrl(pub(crate) Product);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Product {
    Memory,
    Etcd(EtcdUrl),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EtcdUrl {
    /// `host:port`, at least one.
    pub(crate) endpoints: Vec<String>,
    /// Without slashes at its ends, never empty.
    pub(crate) prefix: String,
    pub(crate) ca: Option<PathBuf>,
    /// Client certificate and its key.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<PathBuf>,
}

/// Why a text names no store. The text itself is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreUrlError {
    /// No product that we know.
    #[error("store URL: `{scheme}` is no store: write `etcd://host:2379/prefix` or `memory:`")]
    UnknownProduct {
        /// What stands before the colon.
        scheme: String,
    },
    /// The in-process store has no address.
    #[error("store URL: `memory:` takes nothing after the colon")]
    MemoryWithAddress,
    /// A password before the host would end up in process lists and logs.
    #[error(
        "store URL: user and password do not stand before the host: write `?user=NAME`, and the password into {PASSWORD_VARIABLE} or a file named by `password-file=`"
    )]
    Credentials,
    /// One endpoint is not `host:port`.
    #[error("store URL: endpoint {position} is not `host:port`: {reason}")]
    Endpoint {
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The prefix can't be part of a key.
    #[error(
        "store URL: the prefix after the host has an empty, `.` or `..` segment, one with blanks around it, or a control character"
    )]
    Prefix,
    /// A parameter that we do not know.
    #[error("store URL: unknown parameter `{name}`: known are ca, cert, key, user, password-file")]
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// A parameter that stands twice or is empty.
    #[error("store URL: parameter `{name}` must stand once and have a value")]
    Parameter {
        /// Its name.
        name: String,
    },
    /// Parameters that need each other.
    #[error("store URL: `{present}` needs `{missing}`")]
    Incomplete {
        /// What is there.
        present: &'static str,
        /// What is not.
        missing: &'static str,
    },
}

impl std::str::FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(StoreUrlError::UnknownProduct { scheme: "(no scheme)".to_owned() });
        };
        match scheme {
            "memory" if rest.is_empty() => Ok(Self(Product::Memory)),
            "memory" => Err(StoreUrlError::MemoryWithAddress),
            "etcd" => parse_etcd(rest.strip_prefix("//").unwrap_or_default()).map(|url| Self(Product::Etcd(url))),
            // Only a plain word is repeated: what else stands before a colon may be a secret.
            _ if scheme.len() <= 16 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(StoreUrlError::UnknownProduct { scheme: scheme.to_owned() })
            }
            _ => Err(StoreUrlError::UnknownProduct { scheme: "(not shown)".to_owned() }),
        }
    }
}

fn parse_etcd(rest: &str) -> Result<EtcdUrl, StoreUrlError> {
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (hosts, prefix) = place.split_once('/').unwrap_or((place, ""));
    if place.contains('@') {
        return Err(StoreUrlError::Credentials);
    }
    let endpoints = hosts.split(',').enumerate().map(|(index, host)| parse_endpoint(index + 1, host));
    let mut url = EtcdUrl {
        endpoints: endpoints.collect::<Result<_, _>>()?,
        prefix: parse_prefix(prefix)?,
        ..EtcdUrl::default()
    };
    let (mut cert, mut key) = (None, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let path = || PathBuf::from(value.as_ref());
        let is_first = match name.as_ref() {
            "ca" => url.ca.replace(path()).is_none(),
            "cert" => cert.replace(path()).is_none(),
            "key" => key.replace(path()).is_none(),
            "user" => url.user.replace(value.to_string()).is_none(),
            "password-file" => url.password_file.replace(path()).is_none(),
            "password" => return Err(StoreUrlError::Credentials),
            // A password may have a `?` in it; then what follows is no parameter.
            _ if rest.contains('@') => return Err(StoreUrlError::Credentials),
            _ => return Err(StoreUrlError::UnknownParameter { name: name.to_string() }),
        };
        if !is_first || value.is_empty() {
            return Err(StoreUrlError::Parameter { name: name.to_string() });
        }
    }
    url.identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (Some(_), None) => return Err(StoreUrlError::Incomplete { present: "cert", missing: "key" }),
        (None, Some(_)) => return Err(StoreUrlError::Incomplete { present: "key", missing: "cert" }),
        (None, None) => None,
    };
    if url.identity.is_some() && url.ca.is_none() {
        return Err(StoreUrlError::Incomplete { present: "cert", missing: "ca" });
    }
    if url.password_file.is_some() && url.user.is_none() {
        return Err(StoreUrlError::Incomplete { present: "password-file", missing: "user" });
    }
    Ok(url)
}

fn parse_endpoint(position: usize, text: &str) -> Result<String, StoreUrlError> {
    let refuse = |reason| StoreUrlError::Endpoint { position, reason };
    if text.is_empty() {
        return Err(refuse("it is empty"));
    }
    let (host, port) = match text.rsplit_once(':') {
        // The last colon of a bare IPv6 address is not before a port.
        Some((host, port)) if !text.ends_with(']') => {
            (host, port.parse().map_err(|_| refuse("the port is no number up to 65535"))?)
        }
        _ => (text, ETCD_PORT),
    };
    if port == 0 {
        return Err(refuse("port 0 can't be reached"));
    }
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bracketed.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(refuse("what stands in brackets is no IPv6 address"));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if bracketed.is_none() && host.contains(':') {
        return Err(refuse("an IPv6 address stands in brackets"));
    }
    if bracketed.is_none() && (host.is_empty() || !host.bytes().all(is_name)) {
        return Err(refuse("the host is no name and no address"));
    }
    Ok(format!("{host}:{port}"))
}

fn parse_prefix(text: &str) -> Result<String, StoreUrlError> {
    let prefix = text.trim_matches('/');
    if prefix.is_empty() {
        return Ok(DEFAULT_PREFIX.to_owned());
    }
    let is_bad = |segment: &str| {
        matches!(segment, "" | "." | "..") || segment.trim() != segment || segment.chars().any(char::is_control)
    };
    if prefix.split('/').any(is_bad) { Err(StoreUrlError::Prefix) } else { Ok(prefix.to_owned()) }
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Product::Memory => f.write_str("memory:"),
            Product::Etcd(url) => url.fmt(f),
        }
    }
}

impl std::fmt::Display for EtcdUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "etcd://{}/{}", self.endpoints.join(","), self.prefix)?;
        let (cert, key) = self.identity.as_ref().map(|(cert, key)| (cert, key)).unzip();
        let paths =
            [("ca", self.ca.as_ref()), ("cert", cert), ("key", key), ("password-file", self.password_file.as_ref())];
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, path) in paths {
            if let Some(path) = path {
                query.append_pair(name, &path.to_string_lossy());
            }
        }
        if let Some(user) = &self.user {
            query.append_pair("user", user);
        }
        match query.finish() {
            query if query.is_empty() => Ok(()),
            query => write!(f, "?{query}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads_as(text: &str, printed: &str) {
        let url: StoreUrl = text.parse().unwrap();
        assert_eq!(url.to_string(), printed);
        assert_eq!(printed.parse::<StoreUrl>().unwrap(), url);
    }

    #[track_caller]
    fn is_refused(text: &str, message: &str) {
        let error = text.parse::<StoreUrl>().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn urls_are_read_and_printed_whole() {
        reads_as("memory:", "memory:");
        reads_as("etcd://127.0.0.1:2379/vamp", "etcd://127.0.0.1:2379/vamp");
        reads_as("etcd://h1,h2:4001", "etcd://h1:2379,h2:4001/vamp");
        reads_as("etcd://[::1]/a/b/", "etcd://[::1]:2379/a/b");
        reads_as("etcd://[::1]:2380", "etcd://[::1]:2380/vamp");
        reads_as(
            "etcd://h/p?user=u&ca=/ca.pem&cert=/c.pem&key=/k%20.pem&password-file=/p",
            "etcd://h:2379/p?ca=%2Fca.pem&cert=%2Fc.pem&key=%2Fk+.pem&password-file=%2Fp&user=u",
        );
    }

    #[test]
    fn a_wrong_url_is_refused_by_what_is_wrong() {
        is_refused("", "no scheme");
        is_refused("zookeeper://h", "`zookeeper` is no store");
        is_refused("us er s3cret:x", "not shown");
        is_refused("memory://h", "nothing after the colon");
        is_refused("etcd://u:s3cret@h:2379/p", "VAMP_STORE_PASSWORD");
        is_refused("etcd://h/p?password=s3cret", "VAMP_STORE_PASSWORD");
        is_refused("etcd://u:12?s3cret@h:2379/p", "VAMP_STORE_PASSWORD");
        is_refused("etcd:h:2379", "endpoint 1");
        is_refused("etcd://h1,,h2", "endpoint 2");
        is_refused("etcd://h:99999", "the port is no number up to 65535");
        is_refused("etcd://h:0", "port 0");
        is_refused("etcd://::1:2379", "brackets");
        is_refused("etcd://[zz]:2379", "no IPv6 address");
        is_refused("etcd://[[::1]]:2379", "no IPv6 address");
        is_refused("etcd://h h", "no name and no address");
        is_refused("etcd://h/a//b", "prefix");
        is_refused("etcd://h/../b", "prefix");
        is_refused("etcd://h/b /", "prefix");
        is_refused("etcd://h?tls=1", "unknown parameter `tls`");
        is_refused("etcd://h?ca=a&ca=b", "`ca` must stand once");
        is_refused("etcd://h?ca=", "`ca` must stand once and have a value");
        is_refused("etcd://h?cert=a", "`cert` needs `key`");
        is_refused("etcd://h?key=a&ca=b", "`key` needs `cert`");
        is_refused("etcd://h?cert=a&key=b", "`cert` needs `ca`");
        is_refused("etcd://h?password-file=a", "`password-file` needs `user`");
    }
}
