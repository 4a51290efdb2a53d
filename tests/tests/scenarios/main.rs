//! What the product promises, shown on the whole of it: real processes, a real etcd, real search servers, traffic that
//! verifies every answer. One file per promise.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "what fails here is a failed test, and the panic tells which"
)]

mod abuse;
mod bad_input;
mod blueprints;
mod command_line;
mod command_line_apply;
mod command_line_contexts;
mod command_line_former;
mod command_line_history;
mod command_line_import;
mod command_line_logs;
mod command_line_output;
mod command_line_reading;
mod conformance;
mod cost;
mod deployments;
mod described;
mod dev;
mod durability;
mod fleet_split;
mod gateway_faults;
mod main_job;
mod other_database;
mod recipes;
mod shipping;
mod sla;
mod store_faults;
mod tcp;
mod upgrade;
mod upstream_faults;

use std::net::{Ipv4Addr, SocketAddr};

use vamp_tests::load::Plan;
use vamp_tests::origin::Origin;

/// A gateway document with these routes: address and weight in percent.
fn gateway_document(name: &str, port: u16, routes: &[(&Origin, u8)]) -> String {
    use std::fmt::Write as _;
    let mut document = format!("name: {name}\nport: {port}/http\nroutes:\n");
    for (origin, weight) in routes {
        writeln!(document, "  \"[{}]\": {{weight: {weight}%}}", origin.address()).unwrap();
    }
    document
}

/// Load on a gateway's port.
fn load_on(port: u16) -> Plan {
    Plan::new(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}
