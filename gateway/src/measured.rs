//! A request's decision as the data path makes it, for measurements from outside. Nothing here serves.

use vamp_routing::{CompiledTable, Entry, Head, LevelRef, Problem, wire};

use crate::serving::Serving;
use crate::upstream::Registry;

/// The first gateway of a table in service, with the accounts of its splits, and nothing that listens.
#[derive(Debug)]
pub struct Decisions(Serving);

impl Decisions {
    /// Puts a table into service for so many threads, as a gateway does.
    pub fn new(table: &wire::Table, threads: usize) -> Result<Self, Vec<Problem>> {
        let table = CompiledTable::compile(table, None)?;
        Ok(Self(Serving::empty(None, threads).follow(table, &mut Registry::default(), threads)))
    }

    /// Decides one request of `thread`, a number below that of the threads that nobody else calls with meanwhile: takes
    /// the tickets that it needs, and counts. The route (by its place), if one takes it.
    pub fn decide<H: Head>(&self, thread: usize, head: &H) -> Option<usize> {
        let decision = self.0.decide(thread, Entry::Gateway(0), head).ok()?;
        Some(decision.chain.last().route)
    }

    /// The part of it that threads share: takes a ticket of the weights, and counts where it falls. The ticket, if the
    /// weights have something to decide.
    pub fn draw(&self, thread: usize) -> Option<u64> {
        self.0.draw(thread, LevelRef { gateway: 0, level: 0 })
    }
}
