//! Refuses addresses that no route should lead to: link-local and metadata services, and the product's own listeners.
//!
//! A name that resolves to such an address is the gateway's to refuse; here only addresses are known.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use vamp_model::step;
use vamp_routing::{Targets, wire};

use super::{Finding, PlanSettings};

/// Names that clouds give their metadata services.
const METADATA_NAMES: [&str; 3] = ["metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"];

/// Reports every target of a gateway that may not be one.
pub(super) fn check(gateway: &wire::Gateway, settings: &PlanSettings, findings: &mut Vec<Finding>) {
    let targets = Targets { own: settings.own_addresses.clone(), allowed: settings.allowed_targets.clone() };
    for route in &gateway.routes {
        let wire::Target::Endpoints(endpoints) = &route.target else { continue };
        for endpoint in endpoints {
            let Some(why) = refusal(&endpoint.address, &targets) else { continue };
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

fn refusal(address: &str, targets: &Targets) -> Option<&'static str> {
    let (host, port) = address.rsplit_once(':')?;
    let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() else {
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap_or(0)));
        if name == "localhost" && targets.is_own(here) {
            return Some("the product's own listener");
        }
        return METADATA_NAMES.contains(&name.as_str()).then_some("a metadata service");
    };
    targets.refusal(SocketAddr::new(ip, port.parse().unwrap_or(0)))
}
