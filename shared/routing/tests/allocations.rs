//! A decision allocates nothing, whatever decides: only a rewrite writes a new path.

#![allow(unsafe_code, reason = "a global allocator that counts can't be written without")]
#![allow(clippy::unwrap_used, reason = "a test fails by panic")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use vamp_routing::wire::{Balance, Endpoint, Gateway, Generation, Rewrite, Route, Share, Sticky, Table, Target, Tcp};
use vamp_routing::{Client, CompiledTable, Draws, Entry, LevelRef, PlainHead};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Ticket(u64);

impl Draws for Ticket {
    fn draw(&mut self, _at: LevelRef) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn gateway(name: &str, sticky: Sticky, routes: Vec<Route>) -> Gateway {
    let virtual_hosts = vec![format!("{name}.example"), format!("*.{name}.example")];
    Gateway { name: name.to_owned(), lookup: name.to_owned(), port: None, virtual_hosts, sticky, tcp: None, routes }
}

/// One that carries connections.
fn tcp(name: &str, sticky: Sticky) -> Gateway {
    let routes = vec![route("a", 9_000, None), route("b", 1_000, Some("source in 10.0.0.0/8"))];
    Gateway { virtual_hosts: Vec::new(), tcp: Some(Tcp::default()), ..gateway(name, sticky, routes) }
}

fn route(name: &str, weight: u16, condition: Option<&str>) -> Route {
    let endpoint = Endpoint { name: name.to_owned(), lookup: "e".to_owned(), address: "10.0.0.1:80".to_owned() };
    Route {
        name: name.to_owned(),
        lookup: name.to_owned(),
        weight: Share(weight),
        condition: condition.map(str::to_owned),
        condition_strength: Share(if weight == 0 { 5_000 } else { 10_000 }),
        balance: Balance::default(),
        rewrites: Vec::new(),
        target: Target::Endpoints(vec![endpoint]),
    }
}

fn table() -> CompiledTable {
    let conditions = [
        "user-agent == Firefox and has header X-Test",
        "cookie group has beta or path under /admin",
        "path matches ^/v[0-9]+/ or host == shop.example",
        "source in 10.0.0.0/8 and query debug == 1",
    ];
    let mut conditional: Vec<_> =
        conditions.iter().map(|condition| route(&condition.len().to_string(), 0, Some(condition))).collect();
    conditional.push(route("rest", 10_000, None));
    let mut link = route("link", 10_000, None);
    link.target = Target::Gateway("sticky".to_owned());
    link.rewrites = vec![Rewrite { path: "/new".to_owned(), condition: "path is /old".to_owned() }];
    let gateways = vec![
        gateway("two", Sticky::None, vec![route("a", 9_000, None), route("b", 1_000, None)]),
        gateway("wheel", Sticky::None, vec![route("a", 1, None), route("b", 4_999, None), route("c", 5_000, None)]),
        gateway("sticky", Sticky::Instance, vec![route("a", 5_000, None), route("b", 5_000, None)]),
        gateway("conditions", Sticky::None, conditional),
        gateway("chain", Sticky::Route, vec![link]),
        tcp("tcp", Sticky::None),
        tcp("tcp-sticky", Sticky::Instance),
    ];
    CompiledTable::compile(&Table { generation: Generation::default(), gateways }, None).unwrap()
}

#[track_caller]
fn check(target: &str, fields: &[(&str, &str)]) {
    let table = table();
    let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut draws = Ticket(0);
    for gateway in table.gateways().iter().filter(|gateway| gateway.wire.tcp.is_none()) {
        let host = format!("WWW.{}.example:80", gateway.wire.name);
        let head = PlainHead { target: target.to_owned(), host, fields: fields.clone(), ..PlainHead::default() };
        // The first ticket writes the wheel out, the first match takes a regular expression's scratch.
        assert!(table.route(Entry::VirtualHosts, &head, &mut draws).is_ok());
        let before = ALLOCATIONS.with(Cell::get);
        for _ in 0..100 {
            let verdict = table.route(Entry::VirtualHosts, &head, &mut draws);
            assert!(verdict.is_ok_and(|decision| decision.rewritten_path.is_none()));
        }
        let allocations = ALLOCATIONS.with(Cell::get) - before;
        assert_eq!(allocations, 0, "{target} {fields:?} at {}", gateway.wire.name);
    }
}

#[test]
fn no_decision_about_a_connection_allocates() {
    let table = table();
    for name in ["tcp", "tcp-sticky"] {
        let entry = Entry::Gateway(table.find(name).unwrap());
        let before = ALLOCATIONS.with(Cell::get);
        for source in [[10, 0, 0, 1], [192, 0, 2, 7]] {
            assert!(table.route(entry, &Client(source.into()), &mut Ticket(0)).is_ok());
        }
        assert_eq!(ALLOCATIONS.with(Cell::get) - before, 0, "{name}");
    }
}

#[test]
fn no_decision_allocates() {
    check("/", &[]);
    check("/v1/x?debug=1&x=2", &[("User-Agent", "Mozilla/5.0 Firefox/128.0"), ("X-Test", "1")]);
    check("/admin", &[("Cookie", "a=b; vamp_sticky=a.e; group=beta"), ("Cookie", "vamp_chain=link")]);
    check("/x", &[("Cookie", "vamp_sticky=gone.e; vamp_chain=\"")]);
}
