//! The accounts of splits under real threads, while tables are swapped: whatever meets whatever, each account gave out
//! tickets without a gap and none twice, and counted each.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use vamp_routing::PlainHead;

use super::tests::table;
use super::*;

/// Threads that draw at once.
const THREADS: [usize; 4] = [1, 2, 4, 8];

/// LIMIT: requests of one thread between two edits. More says the same for longer.
const REQUESTS: u64 = 60;

/// Shares of 2 to 20 routes in hundredths of a percent, of which some may be 0.
fn shares() -> impl Strategy<Value = Vec<u16>> {
    let cuts = proptest::collection::vec(prop_oneof![0..=10_000_u16, 0..=3_u16], 1..20);
    let shares = cuts.prop_map(|mut cuts| {
        cuts.sort_unstable();
        let mut before = 0;
        let mut shares: Vec<_> = cuts.iter().map(|cut| cut - std::mem::replace(&mut before, *cut)).collect();
        shares.push(10_000 - before);
        shares
    });
    shares.prop_filter("a split needs two sides", |shares| shares.iter().filter(|share| **share > 0).count() > 1)
}

/// What somebody changes at the gateway.
#[derive(Debug, Clone)]
enum Edit {
    /// Where its routes lead, but not their shares.
    Endpoints,
    /// The shares.
    Shares(Vec<u16>),
    /// The shares, and back at once: before anybody may have seen it.
    ThereAndBack(Vec<u16>),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![Just(Edit::Endpoints), shares().prop_map(Edit::Shares), shares().prop_map(Edit::ThereAndBack),]
}

/// One draw: the account (by its address, which stays taken while the test holds the tables), the ticket, the side.
type Draw = (usize, u64, usize);

/// A table that was in service, and its shares.
type InService = (Arc<Serving>, Vec<u16>);

/// Draws as the gateway does, and notes it.
struct Noted<'s> {
    serving: &'s Serving,
    thread: usize,
    draw: Option<Draw>,
}

impl Draws for Noted<'_> {
    fn draw(&mut self, at: LevelRef) -> u64 {
        let (level, account) = self.serving.account(at).unwrap();
        let ticket = Tickets { serving: self.serving, thread: self.thread }.draw(at);
        self.draw = Some((std::ptr::from_ref(account).addr(), ticket, level.pick(ticket)));
        ticket
    }
}

/// The present table and all before it.
struct Service {
    newest: ArcSwap<Serving>,
    drawn: AtomicU64,
    ended: AtomicBool,
}

impl Service {
    /// One thread's requests until the service ends; some are slow, and keep their table meanwhile.
    fn requests(&self, thread: usize, seed: u64) -> Vec<Draw> {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(thread as u64));
        let mut draws = Vec::new();
        while !self.ended.load(Ordering::Relaxed) {
            let serving = self.newest.load_full();
            let requests = if random.random_ratio(1, 8) { random.random_range(1..40) } else { 1 };
            for _ in 0..requests {
                if random.random_ratio(1, 4) {
                    std::thread::yield_now();
                }
                let mut noted = Noted { serving: &serving, thread, draw: None };
                let decision = serving.table.route(Entry::Gateway(0), &PlainHead::default(), &mut noted).unwrap();
                let draw = noted.draw.unwrap();
                assert_eq!(decision.chain.last().route, draw.2);
                draws.push(draw);
                self.drawn.fetch_add(1, Ordering::Relaxed);
            }
        }
        draws
    }

    fn until_drawn(&self, more: u64) {
        let (start, goal) = (Instant::now(), self.drawn.load(Ordering::Relaxed) + more);
        while self.drawn.load(Ordering::Relaxed) < goal {
            // LIMIT: a thread that panicked draws no more; the others must end for that to be told.
            if start.elapsed() > Duration::from_mins(1) {
                self.ended.store(true, Ordering::Relaxed);
                panic!("not {more} requests in a minute");
            }
            std::thread::yield_now();
        }
    }
}

/// Edits a gateway under requests; all tables in the order in which they were in service, and all draws.
fn edit_under_requests(threads: usize, first: &[u16], edits: &[Edit], seed: u64) -> (Vec<InService>, Vec<Draw>) {
    let mut registry = Registry::default();
    let mut make = |before: &Serving, shares: &[u16], port: u16| {
        Arc::new(before.follow(table(shares, port), &mut registry, threads))
    };
    let start = make(&Serving::empty(None, threads), first, 1);
    let service = Service { newest: ArcSwap::new(Arc::clone(&start)), drawn: AtomicU64::new(0), ended: false.into() };
    let mut tables = vec![(start, first.to_vec())];
    let draws = std::thread::scope(|scope| {
        let service = &service;
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || service.requests(thread, seed))).collect();
        let requests = REQUESTS * threads.len() as u64;
        service.until_drawn(requests);
        for (port, edit) in (2..).zip(edits) {
            let present = tables.last().unwrap().1.clone();
            let steps = match edit {
                Edit::Endpoints => vec![present],
                Edit::Shares(shares) => vec![shares.clone()],
                Edit::ThereAndBack(shares) => vec![shares.clone(), present],
            };
            for shares in steps {
                let next = make(&tables.last().unwrap().0, &shares, port);
                service.newest.store(Arc::clone(&next));
                tables.push((next, shares));
            }
            service.until_drawn(requests);
        }
        service.ended.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    (tables, draws)
}

/// Whether an account gave out consecutive tickets, counted each where it fell, and is as exact as it promises.
fn check_account(serving: &Serving, shares: &[u16], draws: &[Draw]) -> Result<(), TestCaseError> {
    let (level, account) = serving.account(LevelRef { gateway: 0, level: 0 }).unwrap();
    let mut tickets: Vec<u64> = draws.iter().map(|(_, ticket, _)| *ticket).collect();
    tickets.sort_unstable();
    let first = account.next() - tickets.len() as u64;
    prop_assert!(first < level.period, "it began at {} of a period of {}", first, level.period);
    let wanted: Vec<u64> = (first..account.next()).collect();
    prop_assert_eq!(&tickets, &wanted, "tickets lost, or drawn twice");
    let mut fell = vec![0; shares.len()];
    for (_, _, side) in draws {
        fell[*side] += 1;
    }
    prop_assert_eq!(account.delivered(shares.len()), &fell[..], "counts are not what was drawn");
    for (share, fell) in shares.iter().zip(&fell) {
        // Whole numbers: ten thousand times the error. Any window of tickets is off by less than 2.
        let error = (10_000 * fell).abs_diff(tickets.len() as u64 * u64::from(*share));
        prop_assert!(error < 20_000, "{:?}: {:?} after {}", shares, fell, tickets.len());
        prop_assert!(*share > 0 || *fell == 0, "{} requests to a route of weight 0", fell);
    }
    Ok(())
}

fn check(threads: usize, first: &[u16], edits: &[Edit], seed: u64) -> Result<(), TestCaseError> {
    let (tables, draws) = edit_under_requests(threads, first, edits, seed);
    let address =
        |serving: &Serving| std::ptr::from_ref(serving.account(LevelRef { gateway: 0, level: 0 }).unwrap().1).addr();
    let mut accounts: BTreeMap<usize, (&Serving, &[u16])> = BTreeMap::new();
    for (serving, shares) in &tables {
        accounts.insert(address(serving), (serving, shares));
    }
    // An account stays exactly over tables of the same shares that follow each other.
    let changes = tables.windows(2).filter(|pair| pair[0].1 != pair[1].1).count();
    prop_assert_eq!(accounts.len(), 1 + changes, "accounts of {:?}", edits);
    for pair in tables.windows(2) {
        prop_assert_eq!(pair[0].1 == pair[1].1, address(&pair[0].0) == address(&pair[1].0));
    }
    let mut counted = 0;
    for (address, (serving, shares)) in accounts {
        let own: Vec<Draw> = draws.iter().filter(|(account, ..)| *account == address).copied().collect();
        counted += own.len();
        check_account(serving, shares, &own)?;
    }
    prop_assert_eq!(counted, draws.len(), "draws from an account that no table has");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_ticket_is_lost_or_drawn_twice_while_tables_are_swapped(
        threads in proptest::sample::select(&THREADS[..]),
        first in shares(),
        edits in proptest::collection::vec(edit(), 1..8),
        seed in any::<u64>(),
    ) {
        check(threads, &first, &edits, seed)?;
    }
}

#[test]
fn each_number_of_threads_keeps_its_account_through_rapid_changes_there_and_back() {
    let (ours, theirs) = ([9_000, 1_000], vec![1, 4_993, 13, 4_993]);
    let edits: Vec<Edit> =
        (0..40).map(|edit| if edit % 4 == 3 { Edit::Endpoints } else { Edit::ThereAndBack(theirs.clone()) }).collect();
    for threads in THREADS {
        check(threads, &ours, &edits, 7).unwrap();
    }
}
