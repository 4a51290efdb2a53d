//! Gives each gateway its port.

use std::collections::{BTreeMap, HashMap, HashSet};

use vamp_model::Gateway;

use super::{Finding, PlanSettings, Warning};

/// A gateway keeps the port that its author gave, else the one it had, else it gets the lowest free one of the range.
/// A port that is free again is given again.
pub(super) fn assign(
    gateways: &BTreeMap<&str, &Gateway>,
    former: &BTreeMap<String, u16>,
    settings: &PlanSettings,
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, u16> {
    let mut owners: HashMap<u16, &str> = HashMap::new();
    let mut assigned = BTreeMap::new();
    // Who has a port already owns it: the newcomer is the one that is refused.
    let (holders, newcomers): (Vec<&Gateway>, Vec<&Gateway>) = gateways
        .values()
        .filter(|gateway| wanted(gateway, former).is_some())
        .partition(|gateway| former.get(&gateway.name).copied() == wanted(gateway, former));
    for gateway in holders.into_iter().chain(newcomers) {
        let Some(port) = wanted(gateway, former) else { continue };
        let name = gateway.name.as_str();
        if gateway.port.is_some() && settings.reserved_ports.contains(&port) {
            let message = format!("gateway `{name}` wants port {port}, which the product itself uses");
            findings.push(Finding::gateway(name, "/port", message, "give another port, or leave it out"));
        } else if let Some(owner) = owners.get(&port) {
            let message = format!("gateway `{name}` wants port {port}, which belongs to gateway `{owner}`");
            findings.push(Finding::gateway(name, "/port", message, "give another port, or leave it out"));
        } else {
            owners.insert(port, name);
            assigned.insert(name.to_owned(), port);
        }
    }
    let reserved: HashSet<u16> = settings.reserved_ports.iter().copied().collect();
    let mut free = settings.port_range.clone().filter(|port| !owners.contains_key(port) && !reserved.contains(port));
    for gateway in gateways.values().filter(|gateway| wanted(gateway, former).is_none()) {
        if let Some(port) = free.next() {
            assigned.insert(gateway.name.clone(), port);
            continue;
        }
        let (first, last) = (settings.port_range.start(), settings.port_range.end());
        let message = format!("no port from {first} to {last} is free for gateway `{}`", gateway.name);
        findings.push(Finding::gateway(
            &gateway.name,
            "/port",
            message,
            "give a port, delete gateways, or widen `--port-range`",
        ));
    }
    assigned
}

fn wanted(gateway: &Gateway, former: &BTreeMap<String, u16>) -> Option<u16> {
    gateway.port.or_else(|| former.get(&gateway.name).copied())
}

/// An outgoing connection may hold any ephemeral port at the moment when a gateway wants to bind it.
pub(super) fn warn_of_overlap(settings: &PlanSettings) -> Option<Warning> {
    let ephemeral = settings.ephemeral_ports.as_ref()?;
    let range = &settings.port_range;
    let overlaps = range.start() <= ephemeral.end() && ephemeral.start() <= range.end();
    overlaps.then(|| Warning {
        gateway: None,
        message: format!(
            "the port range {}-{} overlaps the ephemeral ports {}-{} of this host: a gateway's port may be taken by an \
             outgoing connection; move `--port-range`, or reserve it in net.ipv4.ip_local_reserved_ports",
            range.start(),
            range.end(),
            ephemeral.start(),
            ephemeral.end()
        ),
    })
}
