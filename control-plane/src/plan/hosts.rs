//! Gives each gateway its virtual hosts; a name has one owner.

use std::collections::HashMap;

use vamp_model::host::generated_virtual_host;
use vamp_routing::wire;

use super::Finding;

/// Puts the generated name before the given ones, and refuses a name that two gateways claim.
pub(super) fn claim(gateways: &mut [wire::Gateway], suffix: Option<&str>, findings: &mut Vec<Finding>) {
    let mut owners: HashMap<String, (String, bool)> = HashMap::new();
    for gateway in gateways {
        let generated = suffix.map(|suffix| generated_virtual_host(&gateway.name, suffix));
        let given = std::mem::take(&mut gateway.virtual_hosts);
        let given = given.into_iter().filter(|host| Some(host) != generated.as_ref()).map(|host| (host, false));
        for (host, is_generated) in generated.clone().map(|host| (host, true)).into_iter().chain(given) {
            if let Some((owner, owner_generated)) = owners.get(&host) {
                let by_itself =
                    if is_generated || *owner_generated { " (a name made from a gateway's own name)" } else { "" };
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
