//! Listening sockets, made on the control thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// LIMIT: connections that the kernel has accepted and no thread has taken yet, per thread and port. The kernel lowers
/// it to `net.core.somaxconn` (4,096 by default). At 20,000 new connections a second it bridges a fifth of a second.
const BACKLOG: i32 = 4_096;

/// Where ports are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BindAddress {
    /// All addresses of the host, IPv4 and IPv6.
    All,
    /// This one.
    One(IpAddr),
}

impl BindAddress {
    /// The addresses of a setting; none means all.
    pub(crate) fn of(addresses: &[IpAddr]) -> Vec<Self> {
        if addresses.is_empty() { vec![Self::All] } else { addresses.iter().copied().map(Self::One).collect() }
    }

    /// Whether a socket that another process bound is one that this would bind.
    pub(crate) fn is_of(self, socket: &TcpListener) -> bool {
        let Ok(local) = socket.local_addr() else { return false };
        let only_v6 = local.is_ipv6() && SockRef::from(socket).only_v6().unwrap_or(true);
        match self {
            Self::One(address) => local.ip() == address && only_v6 == address.is_ipv6(),
            Self::All if local.is_ipv6() => local.ip().is_unspecified() && !only_v6,
            // The fallback of a host without IPv6.
            Self::All => local.ip().is_unspecified() && !has_ipv6(),
        }
    }

    /// As [`BindAddress::listen`], but refused where another program listens. Sockets that share a port share its
    /// connections too, so that a second gateway with the same port would take a part of them, and nobody would know.
    pub(crate) fn listen_alone(self, port: u16, threads: usize) -> io::Result<Vec<TcpListener>> {
        let address = match self {
            Self::One(address) => address,
            Self::All if has_ipv6() => Ipv6Addr::UNSPECIFIED.into(),
            Self::All => Ipv4Addr::UNSPECIFIED.into(),
        };
        let asking = socket(SocketAddr::new(address, port), self != Self::All)?;
        asking.bind(&SocketAddr::new(address, port).into())?;
        drop(asking);
        self.listen(port, threads)
    }

    /// One socket for each thread, all or none, that take connections from now on.
    pub(crate) fn listen(self, port: u16, threads: usize) -> io::Result<Vec<TcpListener>> {
        match self {
            Self::One(address) => listen(SocketAddr::new(address, port), true, threads),
            Self::All => listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port), false, threads).or_else(|error| {
                // A host (or container) without IPv6 still has IPv4.
                let no_ipv6 = matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL));
                if no_ipv6 {
                    listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port), false, threads)
                } else {
                    Err(error)
                }
            }),
        }
    }
}

impl std::fmt::Display for BindAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all addresses"),
            Self::One(address) => address.fmt(f),
        }
    }
}

fn has_ipv6() -> bool {
    static HAS_IPV6: OnceLock<bool> = OnceLock::new();
    *HAS_IPV6.get_or_init(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).is_ok())
}

fn socket(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    // A port whose last connections wait in TIME_WAIT is free.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn listen(address: SocketAddr, only_v6: bool, threads: usize) -> io::Result<Vec<TcpListener>> {
    let socket = || {
        let socket = socket(address, only_v6)?;
        socket.set_reuse_port(true)?;
        // Accepted connections inherit it: one system call less for each.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(socket)
    };
    // All are bound before the first listens: a connection never waits at a socket that is closed again.
    let sockets = (0..threads.max(1)).map(|_| socket()).collect::<io::Result<Vec<_>>>()?;
    let listening = sockets.into_iter().map(|socket| socket.listen(BACKLOG).map(|()| socket.into()));
    listening.collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use vamp_store::testing::free_port;

    use super::*;

    #[test]
    fn all_addresses_are_ipv4_and_ipv6() {
        let port = free_port();
        let sockets = BindAddress::All.listen(port, 2).unwrap();
        assert_eq!(sockets.len(), 2);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let has_ipv6 = TcpListener::bind("[::1]:0").is_ok();
        assert_eq!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_ok(), has_ipv6);
    }

    #[test]
    fn one_address_is_that_one() {
        let port = free_port();
        let _sockets = BindAddress::One(Ipv4Addr::LOCALHOST.into()).listen(port, 1).unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(TcpStream::connect((Ipv4Addr::new(127, 0, 0, 2), port)).is_err());
    }

    #[test]
    fn a_socket_is_known_again_by_what_it_was_bound_for() {
        let port = free_port();
        let addresses = [BindAddress::All, BindAddress::One(Ipv4Addr::LOCALHOST.into())];
        for (place, address) in addresses.into_iter().enumerate() {
            let sockets = address.listen(port, 1).unwrap();
            let known: Vec<_> = addresses.into_iter().map(|address| address.is_of(&sockets[0])).collect();
            assert_eq!(known, [place == 0, place == 1], "{address}");
        }
    }

    #[test]
    fn who_listens_alone_shares_the_port_with_nobody_who_would() {
        for other in [BindAddress::All, BindAddress::One(Ipv4Addr::LOCALHOST.into())] {
            let port = free_port();
            let sockets = other.listen(port, 2).unwrap();
            for alone in [BindAddress::All, BindAddress::One(Ipv4Addr::LOCALHOST.into())] {
                let error = alone.listen_alone(port, 2).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{alone} beside {other}");
            }
            drop(sockets);
            assert_eq!(other.listen_alone(port, 2).unwrap().len(), 2);
        }
    }

    #[test]
    fn a_port_of_another_listener_is_refused() {
        for taken in ["127.0.0.1:0", "0.0.0.0:0"] {
            let other = TcpListener::bind(taken).unwrap();
            let error = BindAddress::All.listen(other.local_addr().unwrap().port(), 2).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{taken}");
        }
    }
}
