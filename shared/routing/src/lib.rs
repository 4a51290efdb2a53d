//! A routing decision is a pure function: no socket, clock, random source, async runtime or store.
//!
//! The control plane and the gateway agree on this crate: it holds the wire table that travels between them
//! ([`wire`]), the condition language ([`condition`]), and the compiled table ([`CompiledTable`]) that answers one
//! question: *which route takes this request, and why*. What has a side effect — a ticket of a split — is asked of
//! the caller through [`Draws`], so that `explain` and `simulate` get the gateway's own answer without moving traffic.

pub mod condition;
pub mod cookie;
mod head;
mod source;
mod split;
mod table;
mod target;
pub mod wire;

pub use head::{Client, Head, PlainHead};
pub use table::{
    Chain, CompiledGateway, CompiledRoute, CompiledTable, CookiePlan, DecidedBy, Decision, Draws, Entry, Explanation,
    Front, Hop, Level, LevelKey, LevelRef, Part, Problem, Refusal, Rule, Verdict,
};
pub use target::Targets;
