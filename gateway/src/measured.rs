//! Tables in service and their decisions as the data path makes them, for measurements from outside. Nothing here serves.

use vamp_routing::{CompiledTable, Entry, Head, LevelRef, Problem, wire};

use crate::serving::{ListenerId, Serving};
use crate::upstream::Registry;

/// A table in service, with the accounts of its splits, and nothing that listens.
#[derive(Debug)]
pub struct Decisions {
    serving: Serving,
    registry: Registry,
    threads: usize,
}

/// A table that was in service. Dropping it frees what the one after it does not share.
#[derive(Debug)]
pub struct Replaced(#[expect(dead_code, reason = "held to be dropped")] Serving);

impl Decisions {
    /// Puts a table into service for so many threads, as a gateway does.
    pub fn new(table: &wire::Table, threads: usize) -> Result<Self, Vec<Problem>> {
        Ok(Self::of(CompiledTable::compile(table, None)?, None, threads))
    }

    /// The same with a table that is compiled, and the port of its virtual hosts.
    pub fn of(table: CompiledTable, virtual_hosts_port: Option<u16>, threads: usize) -> Self {
        let mut registry = Registry::default();
        let serving = Serving::empty(virtual_hosts_port, threads).follow(table, &mut registry, threads);
        Self { serving, registry, threads }
    }

    /// Puts the next table into service; the one before.
    pub fn follow(&mut self, table: CompiledTable) -> Replaced {
        let next = self.serving.follow(table, &mut self.registry, self.threads);
        Replaced(std::mem::replace(&mut self.serving, next))
    }

    /// The table.
    pub fn table(&self) -> &CompiledTable {
        &self.serving.table
    }

    /// Decides one request of `thread`, a number below that of the threads that nobody else calls with meanwhile, at the
    /// first gateway: takes the tickets that it needs, and counts. The route (by its place), if one takes it.
    pub fn decide<H: Head>(&self, thread: usize, head: &H) -> Option<usize> {
        let decision = self.serving.decide(thread, Entry::Gateway(0), head).ok()?;
        Some(decision.chain.last().route)
    }

    /// The same for a request that comes in on this port.
    pub fn decide_at<H: Head>(&self, thread: usize, port: u16, head: &H) -> Option<usize> {
        let entry = self.serving.entry(ListenerId(port))?;
        Some(self.serving.decide(thread, entry, head).ok()?.chain.last().route)
    }

    /// The part of it that threads share: takes a ticket of the weights, and counts where it falls. The ticket, if the
    /// weights have something to decide.
    pub fn draw(&self, thread: usize) -> Option<u64> {
        self.serving.draw(thread, LevelRef { gateway: 0, level: 0 })
    }
}
