//! Containers of a Docker engine.
//!
//! The engine keeps everything: an instance is a container that is known by its labels, so that the next control plane
//! finds it, and the engine starts it again when it ends. Every request has a time, and an engine that does not answer
//! in it makes its instances unknown. `docs/platforms.md` says what is promised.

mod command;
mod connection;
mod container;
mod credentials;
mod engine;
mod events;
mod image;
mod logs;
mod networks;
mod options;
mod platform;
mod seen;
mod usage;

pub use connection::EngineAddress;
pub use credentials::{CredentialsError, CredentialsFile};
pub use engine::Patience;
pub use platform::DockerPlatform;

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;

/// How containers are run.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// Where the engine is.
    pub address: EngineAddress,
    /// Containers of this namespace are ours: one control plane for each namespace of an engine.
    pub namespace: String,
    /// The address of the host at which ports are published, and instances are reached.
    pub publish: IpAddr,
    /// Ports that are given to instances; best outside of those that the system gives to clients.
    pub port_range: RangeInclusive<u16>,
    /// Whether a container may be given the host: its network, paths and devices, and privileges there.
    pub allows_host_access: bool,
    /// What registries are told of who asks for images.
    pub credentials: Option<CredentialsFile>,
    /// How long the engine gets to answer.
    pub patience: Patience,
}

impl DockerSettings {
    /// Containers of a namespace on an engine of this host.
    pub fn new(address: EngineAddress, namespace: String) -> Self {
        Self {
            address,
            namespace,
            publish: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port_range: 30_000..=31_999,
            allows_host_access: false,
            credentials: None,
            patience: Patience::default(),
        }
    }
}
