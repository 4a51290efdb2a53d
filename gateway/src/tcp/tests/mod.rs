//! TCP gateways on real sockets, between clients and servers that do what a test says.

mod announced;
mod changes;
mod faults;
mod fixture;
mod passing;
