//! Ports of the host for instances: each has one owner, from its start to its removal.

use std::collections::BTreeMap;
use std::net::{IpAddr, TcpListener};
use std::ops::RangeInclusive;

use super::{HostPort, InstanceId, InstanceSpec, PlatformError, PortSpec, Reach};

/// Who owns which port.
pub(super) type Owners = BTreeMap<u16, InstanceId>;

/// A port for each that is wanted: one that no instance owns, and that nobody listens on now.
pub(super) fn choose(
    spec: &InstanceSpec,
    host: IpAddr,
    range: &RangeInclusive<u16>,
    mut owners: Owners,
) -> Result<BTreeMap<String, u16>, PlatformError> {
    let mut chosen = BTreeMap::new();
    let fixed = |port: &PortSpec| match (spec.reach, port.host) {
        (Reach::Host, HostPort::Fixed(number)) => Some(number),
        _ => None,
    };
    for port in &spec.ports {
        let Some(number) = fixed(port) else { continue };
        if let Some(owner) = owners.get(&number) {
            return Err(PlatformError::PortTaken { port: number, owner: format!("instance `{owner}`") });
        }
        if !is_free(host, number) {
            return Err(taken_by_a_stranger(number));
        }
        owners.insert(number, spec.id.clone());
        chosen.insert(port.name.clone(), number);
    }
    // Not always from the first one on: a port that was just given up may still be dialled by somebody.
    let middle = rand::random_range(range.clone());
    let mut candidates = (middle..=*range.end()).chain(*range.start()..middle);
    for port in spec.ports.iter().filter(|port| fixed(port).is_none()) {
        let found = candidates.find(|number| !owners.contains_key(number) && is_free(host, *number));
        let number = found.ok_or(PlatformError::NoPort { first: *range.start(), last: *range.end() })?;
        chosen.insert(port.name.clone(), number);
    }
    Ok(chosen)
}

/// A port that is wanted, and that no instance has.
pub(super) fn taken_by_a_stranger(port: u16) -> PlatformError {
    PlatformError::PortTaken { port, owner: "a program that is none of ours".to_owned() }
}

/// Whether nobody listens there. Somebody may before the instance does; then it fails, and is started again.
fn is_free(host: IpAddr, port: u16) -> bool {
    TcpListener::bind((host, port)).is_ok()
}
