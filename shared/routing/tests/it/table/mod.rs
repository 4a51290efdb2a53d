//! What a table promises: golden files, a second implementation that is slow and obvious, hostile input, and scale.

mod golden;
mod hostile;
mod mixes;
mod scale;
mod second;
mod words;

use std::collections::HashMap;

use vamp_routing::wire::{Balance, Endpoint, Gateway, Generation, Route, Share, Sticky, Table, Target};
use vamp_routing::{CompiledTable, Draws, LevelRef};

/// Draws a ticket for each level by its name: `shop` for the weights, `shop/a` for the strength of route `a`.
pub(crate) struct Tickets<'table> {
    table: &'table CompiledTable,
    /// The next ticket of each level; 0 where there is none yet.
    pub next: HashMap<String, u64>,
    /// Whether a draw takes the ticket.
    pub takes: bool,
    /// Routes and endpoints that are down, `shop/a` and `shop/a/0`.
    pub down: Vec<String>,
    /// The levels that were asked, in order.
    pub asked: Vec<String>,
}

impl<'table> Tickets<'table> {
    /// Tickets from 0 on, everything up.
    pub(crate) fn new(table: &'table CompiledTable) -> Self {
        Self { table, next: HashMap::new(), takes: true, down: Vec::new(), asked: Vec::new() }
    }

    fn route_name(&self, gateway: usize, route: usize) -> String {
        let gateway = &self.table.gateways()[gateway];
        format!("{}/{}", gateway.wire.name, gateway.routes[route].wire.name)
    }
}

impl Draws for Tickets<'_> {
    fn draw(&mut self, at: LevelRef) -> u64 {
        let gateway = &self.table.gateways()[at.gateway];
        let level = match gateway.levels()[at.level].strength_of {
            Some(route) => self.route_name(at.gateway, route),
            None => gateway.wire.name.clone(),
        };
        let next = self.next.entry(level.clone()).or_default();
        let ticket = *next;
        *next += u64::from(self.takes);
        self.asked.push(level);
        ticket
    }

    fn is_up(&self, gateway: usize, route: usize, endpoint: Option<usize>) -> bool {
        let route = self.route_name(gateway, route);
        let place = endpoint.map_or_else(|| route.clone(), |endpoint| format!("{route}/{endpoint}"));
        !self.down.contains(&place)
    }
}

/// A gateway of this name without anything.
pub(crate) fn gateway(name: &str, routes: Vec<Route>) -> Gateway {
    let lookup = format!("g-{}", name.replace('/', "-"));
    Gateway {
        name: name.to_owned(),
        lookup,
        port: None,
        virtual_hosts: Vec::new(),
        sticky: Sticky::None,
        tcp: None,
        routes,
    }
}

/// A route of this name to one endpoint.
pub(crate) fn route(name: &str, weight: u16) -> Route {
    Route {
        name: name.to_owned(),
        lookup: format!("r-{}", name.replace('/', "-")),
        weight: Share(weight),
        condition: None,
        condition_strength: Share::WHOLE,
        balance: Balance::default(),
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![endpoint(0)]),
    }
}

/// One of many endpoints.
pub(crate) fn endpoint(number: u16) -> Endpoint {
    let address = format!("10.0.{}.{}:80", number / 256, number % 256);
    Endpoint { name: address.clone(), lookup: format!("e-{number}"), address }
}

/// A table of these gateways.
pub(crate) fn table(gateways: Vec<Gateway>) -> Table {
    Table { generation: Generation { epoch: 1, revision: 1 }, gateways }
}
