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
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) port: u16,
    pub(super) sockets: Vec<TcpListener>,
    /// The thread that gets the first of them; the others follow in turn.
    pub(super) first_thread: usize,
}

/// The ports of a process.
#[derive(Debug)]
pub(super) struct Ports {
    addresses: Vec<BindAddress>,
    threads: usize,
    wanted: BTreeMap<u16, Vec<Owner>>,
    /// By port and place in `addresses`.
    bound: BTreeSet<(u16, usize)>,
    failing: BTreeMap<(u16, usize), Failing>,
    /// Ports of inherited sockets that are about to be closed.
    closing: BTreeSet<u16>,
    inherited: Option<Inherited>,
}

/// What a process has that takes over from another, until it is its turn. It binds nothing before: a connection that
/// the kernel put into a socket of its own would be lost if the other process serves on.
#[derive(Debug, Default)]
struct Inherited {
    /// By port and place; what is left of them is not wanted.
    sockets: BTreeMap<(u16, usize), Vec<TcpListener>>,
    /// Of no address of ours.
    strange: Vec<Opened>,
    /// Claimed with fewer sockets than there are threads, and how many there were.
    short: Vec<((u16, usize), usize)>,
}

#[derive(Debug)]
struct Failing {
    cause: io::Error,
    wait: Duration,
    retry_at: Instant,
}

impl Ports {
    pub(super) fn new(addresses: Vec<BindAddress>, threads: usize) -> Self {
        let (wanted, failing) = (BTreeMap::new(), BTreeMap::new());
        Self { addresses, threads, wanted, bound: BTreeSet::new(), failing, closing: BTreeSet::new(), inherited: None }
    }

    /// Takes the sockets of another process, and from now on only those until [`Ports::go_on`].
    pub(super) fn inherit(&mut self, sockets: Vec<TcpListener>) {
        let inherited = self.inherited.insert(Inherited::default());
        for socket in sockets {
            let Ok(port) = socket.local_addr().map(|local| local.port()) else { continue };
            match self.addresses.iter().position(|address| address.is_of(&socket)) {
                Some(place) => inherited.sockets.entry((port, place)).or_default().push(socket),
                None => inherited.strange.push(Opened { port, sockets: vec![socket], first_thread: 0 }),
            }
        }
    }

    /// Binds what was not inherited; and the inherited sockets that nobody wants here, to be emptied.
    pub(super) fn go_on(&mut self, now: Instant) -> (Vec<Opened>, Vec<Opened>) {
        let Inherited { sockets, strange: mut unwanted, short } = self.inherited.take().unwrap_or_default();
        unwanted.extend(sockets.into_iter().map(|((port, _), sockets)| Opened { port, sockets, first_thread: 0 }));
        self.closing = unwanted.iter().map(|opened| opened.port).collect();
        let wanted = std::mem::take(&mut self.wanted);
        let mut opened = self.want(wanted, now);
        self.closing.clear();
        for ((port, place), had) in short {
            let Some(address) = self.addresses.get(place).filter(|_| self.bound.contains(&(port, place))) else {
                continue;
            };
            match address.listen(port, self.threads - had) {
                Ok(sockets) => opened.push(Opened { port, sockets, first_thread: had }),
                Err(error) => warn!(
                    port,
                    %error,
                    "port {port} on {address} is served by {had} of {} threads, as before the upgrade: no further socket can be bound",
                    self.threads
                ),
            }
        }
        (opened, unwanted)
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

    /// Takes that the same is wanted as before, and binds what failed.
    pub(super) fn want_again(&mut self, now: Instant) -> Vec<Opened> {
        let failing: Vec<_> = self.failing.keys().copied().collect();
        failing.into_iter().filter_map(|at| self.bind(at, now)).collect()
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
        if let Some(inherited) = &mut self.inherited {
            // More sockets than threads stay: the kernel spreads connections over all, and closing one resets its queue.
            let sockets = inherited.sockets.remove(&at)?;
            if sockets.len() < self.threads {
                inherited.short.push((at, sockets.len()));
            }
            self.bound.insert(at);
            return Some(Opened { port, sockets, first_thread: 0 });
        }
        let listening = if self.closing.contains(&port) {
            address.listen(port, self.threads)
        } else {
            address.listen_alone(port, self.threads)
        };
        match listening {
            Ok(sockets) => {
                if self.failing.remove(&at).is_some() {
                    info!(port, "port {port} is bound now on {address}");
                }
                self.bound.insert(at);
                Some(Opened { port, sockets, first_thread: 0 })
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
