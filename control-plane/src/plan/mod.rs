//! From what is stored to the routing table that follows from it.
//!
//! Pure and total: the same picture always gives the same plan, whatever the order of its parts, and a plan made from a
//! picture with the ports of a former plan is that plan. References are expanded here, so a stored route or condition
//! is live: changing it changes every gateway that uses it, in one table. What a former plan gives of gateways of which
//! nothing has changed may be part of the picture, and the plan is the same as without it.

mod expand;
mod finding;
mod hosts;
mod lint;
mod ports;
mod targets;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use vamp_model::{Condition, Gateway, Instances, Rewrite, Route};
use vamp_routing::{CompiledGateway, wire};

pub(crate) use finding::{Finding, Warning};
pub(crate) use lint::lint;

/// What the planner needs to know that is not in an artifact.
#[derive(Debug, Clone)]
pub(crate) struct PlanSettings {
    /// Ports for gateways that do not name one.
    pub port_range: RangeInclusive<u16>,
    /// The ports that this host's kernel hands out for outgoing connections, if known: an overlap is warned of.
    pub ephemeral_ports: Option<RangeInclusive<u16>>,
    /// Ports that no gateway may have: the one of the virtual hosts, those of listeners of the product on the hosts of
    /// the gateways.
    pub reserved_ports: Vec<u16>,
    /// Suffix of the host name that each gateway gets by itself; none: it gets none.
    pub virtual_hosts_suffix: Option<String>,
    /// Where the product itself listens: no route may lead there.
    pub own_addresses: Vec<SocketAddr>,
    /// Targets that are allowed although they would be refused.
    pub allowed_targets: Vec<IpNet>,
}

impl Default for PlanSettings {
    fn default() -> Self {
        Self {
            port_range: 20_000..=29_999,
            ephemeral_ports: None,
            reserved_ports: Vec::new(),
            virtual_hosts_suffix: Some("vamp".to_owned()),
            own_addresses: Vec::new(),
            allowed_targets: Vec::new(),
        }
    }
}

/// Everything that is stored, at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picture<'p> {
    /// The gateways.
    pub gateways: Vec<&'p Gateway>,
    /// The stored routes.
    pub routes: Vec<&'p Route>,
    /// The stored conditions.
    pub conditions: Vec<&'p Condition>,
    /// The stored rewrites.
    pub rewrites: Vec<&'p Rewrite>,
    /// Where the instances of deployed services are.
    pub instances: Vec<&'p Instances>,
    /// The port that each gateway had in the former plan.
    pub assigned_ports: BTreeMap<String, u16>,
    /// Gateways that a former plan gives as they would be now, because they, all that they refer to and their ports are
    /// the same. They are not planned anew.
    pub kept: HashMap<&'p str, &'p CompiledGateway>,
    /// Settings.
    pub settings: PlanSettings,
}

/// The table that follows from a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The gateways of the table, sorted by name, but for those of [`Picture::kept`].
    pub gateways: Vec<wire::Gateway>,
    /// The port of each gateway: to be kept with the artifacts and given to the next plan.
    pub assigned_ports: BTreeMap<String, u16>,
    /// What works, but most likely not as meant.
    pub warnings: Vec<Warning>,
}

/// Makes the table, or names everything that stands in its way.
pub(crate) fn plan(picture: &Picture<'_>) -> Result<Plan, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut warnings = Vec::new();
    let gateways: BTreeMap<&str, &Gateway> =
        picture.gateways.iter().map(|gateway| (gateway.name.as_str(), *gateway)).collect();
    let settings = &picture.settings;
    let assigned_ports = ports::assign(&gateways, &picture.assigned_ports, settings, &mut findings);
    warnings.extend(ports::warn_of_overlap(settings));
    let stored = expand::Stored::new(picture);
    let mut planned = Vec::with_capacity(gateways.len());
    for gateway in gateways.values().filter(|gateway| !picture.kept.contains_key(gateway.name.as_str())) {
        let port = assigned_ports.get(&gateway.name).copied();
        let wire = expand::gateway(gateway, &gateways, &stored, port, &mut findings, &mut warnings);
        targets::check(&wire, settings, &mut findings);
        planned.push(wire);
    }
    hosts::claim(&mut planned, &picture.kept, settings.virtual_hosts_suffix.as_deref(), &mut findings);
    if findings.is_empty() { Ok(Plan { gateways: planned, assigned_ports, warnings }) } else { Err(findings) }
}
