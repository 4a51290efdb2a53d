//! Connections to endpoints: made, kept, counted.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;
use vamp_record::Reason;

use super::Lease;
use crate::counters::ThreadCounters;
use crate::worker::Worker;

/// Why there is no connection to an endpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The endpoint's host refused, or has no way there.
    #[error("endpoint `{address}` refused the connection: start it, or take it off the route")]
    Refused {
        /// Address of the endpoint.
        address: Arc<str>,
        /// What the system said of the last address tried.
        #[source]
        cause: io::Error,
    },
    /// It did not answer in time.
    #[error("endpoint `{address}` did not accept a connection in time: see whether its host is up and reachable")]
    TimedOut {
        /// Address of the endpoint.
        address: Arc<str>,
    },
    /// Its name has no address.
    #[error("endpoint `{address}` does not resolve: mend its name or its DNS record")]
    Unresolved {
        /// Address of the endpoint.
        address: Arc<str>,
    },
    /// This host has no descriptor or port left: no other endpoint would fare better.
    #[error(
        "this host has no socket left to connect to `{address}`: raise its limit of open files or its range of ports"
    )]
    Exhausted {
        /// Address of the endpoint.
        address: Arc<str>,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
}

impl ConnectError {
    /// How a request ends that finds no other endpoint.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::TimedOut { .. } => Reason::ConnectTimeout,
            Self::Exhausted { .. } => Reason::Overload,
            Self::Refused { .. } | Self::Unresolved { .. } => Reason::ConnectFailed,
        }
    }

    /// Whether no other endpoint would fare better.
    pub(crate) fn is_of_this_host(&self) -> bool {
        matches!(self, Self::Exhausted { .. })
    }
}

/// A connection to an endpoint, counted while it is open.
#[derive(Debug)]
pub(crate) struct Connection {
    /// The socket.
    pub(crate) stream: TcpStream,
    counters: Arc<ThreadCounters>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, counters: Arc<ThreadCounters>) -> Self {
        counters.upstreams.add(1);
        counters.upstreams_opened.add(1);
        Self { stream, counters }
    }

    /// Whether it is open and nothing came that nobody asked for. Costs no system call unless something came.
    pub(super) fn is_quiet(&self) -> bool {
        // Asks the kernel only where the runtime knows of something, which may be left over from the read before.
        matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.counters.upstreams.subtract(1);
    }
}

impl Lease {
    /// An open connection of this thread that no request uses.
    pub(crate) fn idle(&self, worker: &Worker) -> Option<Connection> {
        worker.pools.take(&self.endpoint)
    }

    /// A new connection. How it went counts for or against the endpoint.
    pub(crate) async fn connect(&self, worker: &Worker) -> Result<Connection, ConnectError> {
        let address = || Arc::clone(&self.endpoint.address);
        let mut opened = self.open(worker).await;
        if matches!(opened, Err(Failure { exhausted: true, .. })) {
            // What no request uses makes room.
            worker.pools.sweep(Instant::now(), Duration::ZERO);
            opened = self.open(worker).await;
        }
        match opened {
            Ok(Some(stream)) => {
                self.endpoint.connected();
                // Without it a small request could wait for the acknowledgement of the one before. It can't fail on an
                // open socket, and a connection without it still serves.
                drop(stream.set_nodelay(true));
                Ok(Connection::new(stream, Arc::clone(&worker.counters)))
            }
            Ok(None) => Err(ConnectError::Unresolved { address: address() }),
            Err(Failure { exhausted: true, cause }) => Err(ConnectError::Exhausted { address: address(), cause }),
            Err(Failure { cause, .. }) => {
                self.endpoint.failed();
                Err(if cause.kind() == io::ErrorKind::TimedOut {
                    ConnectError::TimedOut { address: address() }
                } else {
                    ConnectError::Refused { address: address(), cause }
                })
            }
        }
    }

    /// Keeps a connection for a later request: one on which the answer ended and that both sides leave open.
    pub(crate) fn give_back(&self, worker: &Worker, connection: Connection, now: std::time::Instant) {
        worker.pools.put(&self.endpoint, connection, now.into());
    }

    /// Tries the addresses in turn. Each has its part of the time, so that one that does not answer leaves some for
    /// the next; `None` when there is no address.
    async fn open(&self, worker: &Worker) -> Result<Option<TcpStream>, Failure> {
        let addresses = self.endpoint.addresses();
        let deadline = Instant::now() + worker.limits.connect_timeout;
        let mut outcome = Ok(None);
        for (tried, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
            let time = deadline.saturating_duration_since(Instant::now()) / left;
            outcome = match tokio::time::timeout(time, connect(*address, worker)).await {
                Ok(Ok(stream)) => return Ok(Some(stream)),
                Ok(Err(cause)) => Err(Failure { exhausted: has_no_socket_left(&cause, *address), cause }),
                Err(_) => Err(Failure { exhausted: false, cause: io::ErrorKind::TimedOut.into() }),
            };
        }
        outcome
    }
}

/// A new connection, unless it would take one of the last descriptors.
async fn connect(address: SocketAddr, worker: &Worker) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if worker.last_descriptors.include(&socket) {
        return Err(io::Error::from_raw_os_error(libc::EMFILE));
    }
    socket.connect(address).await
}

/// Why the last address gave no connection.
struct Failure {
    exhausted: bool,
    cause: io::Error,
}

/// Whether this host, not the endpoint, is at its limits. An IPv6 address that can't be reached for want of IPv6 gives
/// the same code as a host that has no port left.
fn has_no_socket_left(error: &io::Error, address: SocketAddr) -> bool {
    has_no_descriptor_left(error) || (error.raw_os_error() == Some(libc::EADDRNOTAVAIL) && address.is_ipv4())
}

/// Whether the process or the host has no descriptor (or no memory for one) left.
pub(crate) fn has_no_descriptor_left(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
