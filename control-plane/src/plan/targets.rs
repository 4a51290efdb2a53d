//! Refuses addresses that no route should lead to: link-local and metadata services, and the product's own listeners.
//!
//! A name that resolves to such an address is the gateway's to refuse; here only addresses are known.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use vamp_model::step;
use vamp_routing::wire;

use super::{Finding, PlanSettings};

/// Metadata services outside the link-local ranges: AWS over IPv6, Alibaba Cloud, and names that clouds give theirs.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA_V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
const METADATA_NAMES: [&str; 3] = ["metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"];

/// Reports every target of a gateway that may not be one.
pub(super) fn check(gateway: &wire::Gateway, settings: &PlanSettings, findings: &mut Vec<Finding>) {
    for route in &gateway.routes {
        let wire::Target::Endpoints(endpoints) = &route.target else { continue };
        for endpoint in endpoints {
            let Some(why) = refusal(&endpoint.address, settings) else { continue };
            let message = format!("route `{}` of gateway `{}` leads to {why}", route.name, gateway.name);
            let pointer = step("/routes", &route.name);
            findings.push(Finding::gateway(
                &gateway.name,
                pointer,
                message,
                "choose another target; if it is meant, open it with `--allow-target`",
            ));
        }
    }
}

fn refusal(address: &str, settings: &PlanSettings) -> Option<&'static str> {
    let (host, port) = address.rsplit_once(':')?;
    let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        if name == "localhost" && is_own(IpAddr::V4(Ipv4Addr::LOCALHOST), port, settings) {
            return Some("the product's own listener");
        }
        return METADATA_NAMES.contains(&name.as_str()).then_some("a metadata service");
    };
    let ip = inner(ip);
    if settings.allowed_targets.iter().any(|net| net.contains(&ip)) {
        return None;
    }
    match ip {
        IpAddr::V4(v4) if v4 == METADATA_V4 => Some("a metadata service"),
        IpAddr::V6(v6) if v6 == METADATA_V6 => Some("a metadata service"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address, where metadata services answer"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("a link-local address"),
        _ if ip.is_unspecified() => Some("the unspecified address, which is none"),
        _ if ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST) => Some("a multicast or broadcast address"),
        _ if is_own(ip, port, settings) => Some("the product's own listener"),
        _ => None,
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

fn is_own(ip: IpAddr, port: &str, settings: &PlanSettings) -> bool {
    let Ok(port) = port.parse::<u16>() else { return false };
    let hits = |own: &SocketAddr| {
        let own_ip = own.ip().to_canonical();
        // A listener on all addresses answers on loopback; on which others is not known here.
        own.port() == port && (own_ip == ip || (own_ip.is_unspecified() && ip.is_loopback()))
    };
    settings.own_addresses.iter().any(hits)
}
