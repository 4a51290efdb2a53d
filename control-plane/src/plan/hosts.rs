//! Gives each gateway that carries requests its virtual hosts; a name has one owner.

use std::collections::HashMap;

use vamp_model::host::generated_virtual_host;
use vamp_routing::{CompiledGateway, wire};

use super::Finding;

/// Puts the generated name before the given ones, and refuses a name that two gateways claim. Those of `kept` have done
/// so among themselves.
pub(super) fn claim(
    gateways: &mut [wire::Gateway],
    kept: &HashMap<&str, &CompiledGateway>,
    suffix: Option<&str>,
    findings: &mut Vec<Finding>,
) {
    let mut owners: HashMap<String, (String, bool)> = HashMap::new();
    let mut kept_owners: HashMap<&str, (&str, bool)> = HashMap::new();
    for (name, gateway) in kept {
        let generated = suffix.map(|suffix| generated_virtual_host(name, suffix));
        let hosts = gateway.wire.virtual_hosts.iter();
        kept_owners.extend(hosts.map(|host| (host.as_str(), (*name, Some(host) == generated.as_ref()))));
    }
    let owner_of_kept = |host: &str| kept_owners.get(host).map(|(name, is_generated)| (*name, *is_generated));
    for gateway in gateways.iter_mut().filter(|gateway| gateway.tcp.is_none()) {
        let generated = suffix.map(|suffix| generated_virtual_host(&gateway.name, suffix));
        let given = std::mem::take(&mut gateway.virtual_hosts);
        let given = given.into_iter().filter(|host| Some(host) != generated.as_ref()).map(|host| (host, false));
        for (host, is_generated) in generated.clone().map(|host| (host, true)).into_iter().chain(given) {
            let owner = owners.get(&host).map(|(name, is_generated)| (name.as_str(), *is_generated));
            if let Some((owner, owner_generated)) = owner.or_else(|| owner_of_kept(&host)) {
                let by_itself =
                    if is_generated || owner_generated { " (a name made from a gateway's own name)" } else { "" };
                let message = format!(
                    "gateway `{}` claims the virtual host `{host}`{by_itself}, which belongs to gateway `{owner}`",
                    gateway.name
                );
                findings.push(Finding::gateway(
                    &gateway.name,
                    "/virtual_hosts",
                    message,
                    "remove it from one of them, or rename one",
                ));
                continue;
            }
            owners.insert(host.clone(), (gateway.name.clone(), is_generated));
            gateway.virtual_hosts.push(host);
        }
    }
}
