//! Where a route leads, as its key says.

use std::fmt;

/// The key of a route in a gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoutePath {
    /// `[host:port]`: one address outside the product. The text between the outer brackets.
    External(String),
    /// Another gateway: `gateway`, `deployment/port` or `deployment/cluster/port`.
    Gateway(String),
    /// The instances of a service: `deployment/cluster/service/port`.
    Instances(String),
}

impl RoutePath {
    /// Reads a key, or says what is wrong with it: message and hint.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
            let fault = |(message, hint): (String, &str)| (format!("route `{text}`: {message}"), hint.to_owned());
            return crate::host::parse_address(address).map(|_| Self::External(address.to_owned())).map_err(fault);
        }
        let refused = |why: &str, hint: &str| Err((format!("route `{}` {why}", text.escape_debug()), hint.to_owned()));
        match text.split('/').count() {
            _ if text.contains("://") => refused("is a URL", "write host and port in brackets: `[host:port]`"),
            _ if text.split('/').any(str::is_empty) => refused("has an empty segment", "remove the surplus `/`"),
            1..=3 => match crate::name::fault(crate::Kind::Gateway, text) {
                Some((message, _)) => {
                    refused(&format!("names no gateway: {message}"), "write `[host:port]` or the name of a gateway")
                }
                None => Ok(Self::Gateway(text.to_owned())),
            },
            4 => match crate::name::fault(crate::Kind::Gateway, text) {
                Some((message, _)) => refused(&message, "write DEPLOYMENT/CLUSTER/SERVICE/PORT"),
                None => Ok(Self::Instances(text.to_owned())),
            },
            count => refused(&format!("has {count} segments"), "write `[host:port]` or the name of a gateway"),
        }
    }
}

impl RoutePath {
    /// The service whose instances it leads to (`deployment/cluster/service`), and the name of their port.
    pub fn service(&self) -> Option<(&str, &str)> {
        match self {
            Self::Instances(path) => path.rsplit_once('/'),
            Self::External(_) | Self::Gateway(_) => None,
        }
    }
}

impl fmt::Display for RoutePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::External(address) => write!(f, "[{address}]"),
            Self::Gateway(name) | Self::Instances(name) => f.write_str(name),
        }
    }
}
