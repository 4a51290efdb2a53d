//! Which ports are to be bound, which are, and what keeps the others from it. A port that can't be bound degrades its
//! gateway only, and is tried again until it can.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};
use vamp_routing::wire::Degradation;

use crate::listen::BindAddress;

/// How long after the first failure a port is tried again; doubled with each further one.
const RETRY_MIN: Duration = Duration::from_millis(200);

/// LIMIT: how long at most. A port that is free is in service again after this time; 10,000 ports that are taken cost
/// a twentieth of a core.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Who wants a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// All gateways with virtual hosts.
    VirtualHosts,
    /// The gateway of this name alone.
    Gateway(String),
}

/// Sockets of one port, one per thread.
pub(super) type Opened = (u16, Vec<TcpListener>);

/// The ports of a process.
#[derive(Debug)]
pub(super) struct Ports {
    addresses: Vec<BindAddress>,
    threads: usize,
    wanted: BTreeMap<u16, Vec<Owner>>,
    /// By port and place in `addresses`.
    bound: BTreeSet<(u16, usize)>,
    failing: BTreeMap<(u16, usize), Failing>,
}

#[derive(Debug)]
struct Failing {
    cause: io::Error,
    wait: Duration,
    retry_at: Instant,
}

impl Ports {
    pub(super) fn new(addresses: Vec<BindAddress>, threads: usize) -> Self {
        Self { addresses, threads, wanted: BTreeMap::new(), bound: BTreeSet::new(), failing: BTreeMap::new() }
    }

    /// Takes what is wanted now, and binds all of it that is not bound, what failed before too.
    pub(super) fn want(&mut self, wanted: BTreeMap<u16, Vec<Owner>>, now: Instant) -> Vec<Opened> {
        self.wanted = wanted;
        self.failing.retain(|(port, _), _| self.wanted.contains_key(port));
        let places = 0..self.addresses.len();
        let all = self.wanted.keys().flat_map(|port| places.clone().map(|place| (*port, place)));
        let missing: Vec<_> = all.filter(|at| !self.bound.contains(at)).collect();
        missing.into_iter().filter_map(|at| self.bind(at, now)).collect()
    }

    /// Binds again what is due.
    pub(super) fn bind_due(&mut self, now: Instant) -> Vec<Opened> {
        let due: Vec<_> =
            self.failing.iter().filter(|(_, failing)| failing.retry_at <= now).map(|(at, _)| *at).collect();
        due.into_iter().filter_map(|at| self.bind(at, now)).collect()
    }

    /// When something is to be bound again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.failing.values().map(|failing| failing.retry_at).min()
    }

    /// The bound ports that are not wanted any more; they count as closed from now on.
    pub(super) fn take_gone(&mut self) -> BTreeSet<u16> {
        let gone: BTreeSet<_> =
            self.bound.iter().map(|(port, _)| *port).filter(|port| !self.wanted.contains_key(port)).collect();
        self.bound.retain(|(port, _)| !gone.contains(port));
        gone
    }

    /// Listening addresses in service.
    pub(super) fn bound(&self) -> usize {
        self.bound.len()
    }

    /// What does not work, by port.
    pub(super) fn degradations(&self) -> Vec<Degradation> {
        let failing = self.failing.iter().filter_map(|((port, place), failing)| {
            let (owner, address) = (self.wanted.get(port)?.first()?, self.addresses.get(*place)?);
            Some(Degradation { gateway: owner.gateway(), message: failing.message(*port, *address) })
        });
        // The compiler lets one gateway have a port; the port of the virtual hosts is this process's own setting.
        let clashes =
            self.wanted.iter().flat_map(|(port, owners)| owners.iter().skip(1).map(move |owner| (port, owner)));
        let clashes = clashes.map(|(port, owner)| Degradation {
            gateway: owner.gateway(),
            message: format!("port {port} is the port of the virtual hosts of this gateway process: give the gateway another port, or start the process with another --virtual-hosts-port"),
        });
        failing.chain(clashes).collect()
    }

    fn bind(&mut self, at: (u16, usize), now: Instant) -> Option<Opened> {
        let (port, place) = at;
        let address = *self.addresses.get(place)?;
        match address.listen(port, self.threads) {
            Ok(sockets) => {
                if self.failing.remove(&at).is_some() {
                    info!(port, "port {port} is bound now on {address}");
                }
                self.bound.insert(at);
                Some((port, sockets))
            }
            Err(cause) => {
                let wait = self.failing.get(&at).map_or(RETRY_MIN, |failing| (failing.wait * 2).min(RETRY_MAX));
                let failing = Failing { cause, wait, retry_at: now + wait };
                if self.failing.get(&at).is_none_or(|before| before.cause.kind() != failing.cause.kind()) {
                    warn!(port, error = %failing.cause, "{}", failing.message(port, address));
                }
                self.failing.insert(at, failing);
                None
            }
        }
    }
}

impl Owner {
    fn gateway(&self) -> Option<String> {
        match self {
            Self::VirtualHosts => None,
            Self::Gateway(name) => Some(name.clone()),
        }
    }
}

impl Failing {
    fn message(&self, port: u16, address: BindAddress) -> String {
        let mend = match self.cause.kind() {
            io::ErrorKind::AddrInUse => "another program has it: stop that program, or choose another port",
            io::ErrorKind::PermissionDenied => {
                "this process may not bind it: choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE"
            }
            io::ErrorKind::AddrNotAvailable => "the address is not one of this host: correct --bind",
            _ if crate::upstream::has_no_descriptor_left(&self.cause) => {
                "this process has no file descriptor left: raise its limit of open files"
            }
            _ => "the system refuses it",
        };
        let cause = &self.cause;
        format!("port {port} can't be bound on {address} ({cause}): {mend}; it is tried again by itself")
    }
}
