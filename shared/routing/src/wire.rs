//! The language of change: what the control plane publishes and a gateway reads and answers.
//!
//! One value per gateway, addressed by the digest of its content, and one small manifest that names them. All of it
//! is data: the keys under which it is stored are `vamp-store`'s, when to publish is the control plane's.

mod codec;

use serde::{Deserialize, Serialize};

pub(crate) use codec::digest_of_gateway;
pub use codec::{decode_gateway, decode_manifest, decode_page, digest_of_table, encode_gateway, encode_manifest};

/// The wire format that this build writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A share in hundredths of a percent, 0 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(pub u16);

impl Share {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// All: 100 %.
    pub const WHOLE: Self = Self(10_000);
}

/// Which table: ordered by epoch, then revision. A gateway keeps the newer one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Rises when the control plane's database starts a new history.
    pub epoch: u64,
    /// Rises by one with each published table.
    pub revision: u64,
}

/// SHA-256 of a content, in lower-case hexadecimal when written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Whom a gateway keeps on a route: who brings its cookie, or, where connections are carried, who has the same address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sticky {
    /// Each request is decided anew.
    #[default]
    None,
    /// A client stays on its route.
    Route,
    /// A client stays on its route and on the endpoint behind it.
    Instance,
}

/// How a route chooses among its endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// In turn.
    #[default]
    RoundRobin,
    /// Of two drawn endpoints the one with fewer requests in flight.
    LeastConn,
}

/// What a gateway does with connections that it carries as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tcp {
    /// Whether each client connection begins with a PROXY header (version 1 or 2) that says whose it is.
    #[serde(default, skip_serializing_if = "is_false")]
    pub accept_proxy: bool,
    /// The PROXY header that endpoints get before the client's bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy: Option<ProxyVersion>,
}

/// A version of the PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// One gateway of a table, complete: everything that it needs to decide and to forward.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// The name as its author wrote it, 1 to 4 segments.
    pub name: String,
    /// The stable hashed name that logs, metrics and cookies use.
    pub lookup: String,
    /// The port that belongs to this gateway alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Hosts on the shared port: exact names or `*.suffix`, lower case, without port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_hosts: Vec<String>,
    /// Stickiness.
    #[serde(default)]
    pub sticky: Sticky,
    /// It carries connections; without it, HTTP requests. A build that does not know the field refuses the table, and
    /// does not take connections for requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Tcp>,
    /// The routes, in order. Order matters: conditions are tried in it.
    pub routes: Vec<Route>,
}

/// What takes a share of a gateway's traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The key as its author wrote it: `[host:port]` or a path of 1 to 4 segments.
    pub name: String,
    /// The stable hashed name inside its gateway.
    pub lookup: String,
    /// Share of what no condition took.
    pub weight: Share,
    /// The condition, in the condition language, references expanded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Share of the matching requests that the condition takes; the rest go to the weights.
    #[serde(default = "whole", skip_serializing_if = "is_whole")]
    pub condition_strength: Share,
    /// Choice among the endpoints.
    #[serde(default)]
    pub balance: Balance,
    /// Path rewrites, applied in order, each to the result of the one before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<Rewrite>,
    /// Where the share goes.
    pub target: Target,
}

/// Replaces the path when a condition holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// The new path; `%[path]` stands for the current one.
    pub path: String,
    /// The condition, in the condition language.
    pub condition: String,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// To these endpoints; none means 503 for the route's share.
    Endpoints(Vec<Endpoint>),
    /// To another gateway of the same table, by name, decided inside the same request.
    Gateway(String),
}

/// One address behind a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Name of the instance, or the address itself.
    pub name: String,
    /// The stable hashed name.
    pub lookup: String,
    /// `host:port`; the host is an IPv4 address, an IPv6 address in brackets, or a name that the gateway resolves.
    pub address: String,
}

/// A whole table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Which one.
    pub generation: Generation,
    /// The gateways, sorted by name.
    pub gateways: Vec<Gateway>,
}

/// The digest of one gateway's value, under its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// The gateway's name.
    pub name: String,
    /// The digest of its value.
    pub digest: Digest,
}

/// Names a whole table; written last, by compare-and-put, so that a table is seen whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The wire format.
    pub format: u32,
    /// Which table this is.
    pub generation: Generation,
    /// The table that this one follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Generation>,
    /// Digest of the table: of all entries in order, wherever they are stored.
    pub digest: Digest,
    /// The gateways, sorted by name, when there are few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<ManifestEntry>,
    /// Digests of the pages that hold the entries, when there are many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pages: Vec<Digest>,
}

/// What a gateway process says of itself, under its lease: who it is and what it serves. It is also the acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The gateway process's id, stable over restarts.
    pub id: String,
    /// Drawn at each start.
    pub boot: String,
    /// Where its admin listener answers, `http://host:port`.
    pub admin: String,
    /// The product's version.
    pub version: String,
    /// The table that it serves; acknowledges it and all before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Generation>,
    /// Digest of the table that it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What is wrong with the table as served here: a port that could not be bound, a last good file not written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Degradation>,
    /// The newest table that it refused, if it is newer than the applied one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedTable>,
    /// It stops: that its registration ends next does not mean that it serves on unseen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leaves: bool,
}

/// One thing that does not work although the table is applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degradation {
    /// The gateway (artifact) that it concerns, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// What is wrong and how to mend it.
    pub message: String,
}

/// A table that a gateway process would not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedTable {
    /// Which.
    pub generation: Generation,
    /// Why.
    pub reason: String,
}

/// Why bytes are not what they should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes are not of this format.
    #[error("not a {what}: {reason}")]
    Malformed {
        /// What was expected.
        what: &'static str,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// A newer product wrote it.
    #[error(
        "{what} has format {found}, this build reads up to {FORMAT}: update this program before the one that wrote it"
    )]
    NewerFormat {
        /// What was read.
        what: &'static str,
        /// Its format.
        found: u32,
    },
    /// The content is not what its digest says.
    #[error("{what} does not match its digest {expected}: it was changed or cut on its way; publish again")]
    WrongDigest {
        /// What was read.
        what: &'static str,
        /// The digest under which it was stored.
        expected: Digest,
    },
    /// Larger than any table that is meant.
    #[error("{what} is larger than {limit_bytes} bytes when unpacked: split the gateway")]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// The limit.
        limit_bytes: usize,
    },
}

/// A value ready to be stored under its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Its address.
    pub digest: Digest,
    /// Compressed bytes.
    pub bytes: Vec<u8>,
}

fn whole() -> Share {
    Share::WHOLE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_whole(share: &Share) -> bool {
    *share == Share::WHOLE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Digest {
    /// As it is written. A manifest of 10,000 gateways is read and written at each change.
    fn hex(&self) -> [u8; 64] {
        let mut text = [b'0'; 64];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
            let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            digits.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        text
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.revision)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hex;
        impl serde::de::Visitor<'_> for Hex {
            type Value = Digest;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(HEX_EXPECTED)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Hex)
    }
}

const HEX_EXPECTED: &str = "a digest is 64 lower-case hexadecimal digits";

impl std::str::FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut digest = [0; 32];
        if text.len() != 64 {
            return Err(HEX_EXPECTED);
        }
        let value = |digit: u8| match digit {
            b'0'..=b'9' => Ok(digit - b'0'),
            b'a'..=b'f' => Ok(digit - b'a' + 10),
            _ => Err(HEX_EXPECTED),
        };
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            if let [high, low] = *pair {
                *byte = value(high)? << 4 | value(low)?;
            }
        }
        Ok(Self(digest))
    }
}
