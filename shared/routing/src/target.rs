//! Which addresses routes may lead to: not those where metadata services answer, nor the product's own listeners.
//!
//! The control plane asks for addresses as they were written, the gateway for those that names turn out to have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Metadata services outside the link-local ranges: AWS over IPv6, Alibaba Cloud.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);

/// The rule about the addresses of targets. The default knows no own listeners and makes no exceptions.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    /// Where the product itself listens.
    pub own: Vec<SocketAddr>,
    /// Networks that are allowed whatever they are.
    pub allowed: Vec<IpNet>,
}

impl Targets {
    /// What is at the address that no route should lead to; `None`: it may be a target.
    pub fn refusal(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = inner(address.ip());
        if self.allows(ip) {
            return None;
        }
        match ip {
            IpAddr::V4(v4) if v4 == METADATA_V4 => Some("a metadata service"),
            IpAddr::V6(v6) if v6 == METADATA_V6 => Some("a metadata service"),
            IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address, where metadata services answer"),
            IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
            _ if ip.is_unspecified() => Some("the unspecified address, which is none"),
            _ if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Some("a multicast or broadcast address"),
            _ if self.hits_own(ip, address.port()) => Some("the product's own listener"),
            _ => None,
        }
    }

    /// Whether the product itself listens there, and no exception is made for it.
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let ip = inner(address.ip());
        !self.allows(ip) && self.hits_own(ip, address.port())
    }

    fn allows(&self, ip: IpAddr) -> bool {
        self.allowed.iter().any(|net| net.contains(&ip))
    }

    fn hits_own(&self, ip: IpAddr, port: u16) -> bool {
        self.own.iter().any(|own| {
            let own_ip = own.ip().to_canonical();
            // A listener on all addresses answers on loopback; on which others is not known here.
            own.port() == port && (own_ip == ip || (own_ip.is_unspecified() && ip.is_loopback()))
        })
    }
}

/// The IPv4 address inside an IPv6 one, where it is mapped or translated (RFC 4291, RFC 6052).
fn inner(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip.to_canonical() else { return ip.to_canonical() };
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))),
        _ => IpAddr::V6(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(targets: &Targets, address: &str, refused: bool) {
        assert_eq!(targets.refusal(address.parse().unwrap()).is_some(), refused, "{address}");
    }

    #[test]
    fn applications_may_be_anywhere_but_where_metadata_services_and_the_product_answer() {
        let targets = Targets { own: vec!["0.0.0.0:8080".parse().unwrap()], allowed: Vec::new() };
        for address in ["127.0.0.1:81", "10.1.2.3:8080", "192.168.0.1:80", "[::1]:81", "[fd00::1]:80"] {
            check(&targets, address, false);
        }
        for address in ["169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:80", "100.100.100.200:80", "0.0.0.0:80"]
        {
            check(&targets, address, true);
        }
        for address in ["[::ffff:169.254.169.254]:80", "[64:ff9b::a9fe:a9fe]:80", "[::]:80", "224.0.0.1:80"] {
            check(&targets, address, true);
        }
        for address in ["127.0.0.1:8080", "[::1]:8080", "[::ffff:127.0.0.1]:8080"] {
            check(&targets, address, true);
            assert!(targets.is_own(address.parse().unwrap()));
        }
        let open = Targets { allowed: vec!["169.254.0.0/16".parse().unwrap()], ..Targets::default() };
        check(&open, "169.254.169.254:80", false);
        check(&open, "[fe80::1]:80", true);
    }
}
