//! Sticky and conditional traffic beside plain one, request after request through one table: who takes a ticket of what,
//! and that each level stays exact whatever happens beside it.

use std::collections::HashMap;

use proptest::prelude::*;
use vamp_routing::{CompiledTable, CookiePlan, DecidedBy, Entry, Hop};

use super::second::{Asked, Named, Second, World, asked, world};
use super::{Tickets, table, words};

/// Clients that keep the cookies that they are given.
const CLIENTS: usize = 3;

/// What one level gave to each of its sides, from its first ticket on.
struct Account {
    shares: Vec<u16>,
    delivered: Vec<u64>,
}

impl Account {
    /// Whole numbers: ten thousand times the error. Any window of tickets is off by less than 2.
    fn check(&self, level: &str) -> Result<(), TestCaseError> {
        let tickets: u64 = self.delivered.iter().sum();
        for (share, delivered) in self.shares.iter().zip(&self.delivered) {
            let error = (10_000 * delivered).abs_diff(tickets * u64::from(*share));
            prop_assert!(error < 20_000, "{}: {:?} of {:?}", level, self.delivered, self.shares);
            prop_assert!(*share > 0 || *delivered == 0, "{}: {:?} of {:?}", level, self.delivered, self.shares);
        }
        Ok(())
    }
}

fn accounts(world: &World) -> HashMap<String, Account> {
    let mut accounts = HashMap::new();
    for (index, (_, routes)) in world.gateways.iter().enumerate() {
        let mut add = |level: String, shares: Vec<u16>| {
            let delivered = vec![0; shares.len()];
            accounts.insert(level, Account { shares, delivered });
        };
        add(format!("g{index}"), routes.iter().map(|route| route.weight).collect());
        for (number, route) in routes.iter().enumerate() {
            if let Some((_, strength)) = &route.condition {
                add(format!("g{index}/r{number}"), vec![*strength, 10_000 - strength]);
            }
        }
    }
    accounts
}

/// The tickets that a hop took, by what decided there: no more, no less, and none of another level.
fn check_tickets(world: &World, hop: &Hop, drawn: &[&String]) -> Result<(), TestCaseError> {
    let weights = format!("g{}", hop.gateway);
    let own = format!("g{}/r{}", hop.gateway, hop.route);
    let strength = world.gateways[hop.gateway].1[hop.route].condition.as_ref().map_or(0, |(_, strength)| *strength);
    let passed_by = |levels: &[&String]| levels.len() <= 1 && levels.iter().all(|level| **level != weights);
    let is_right = match (hop.decided_by, drawn) {
        (DecidedBy::Cookie, drawn) => drawn.is_empty(),
        (DecidedBy::Condition, []) => strength == 10_000,
        (DecidedBy::Condition, [level]) => **level == own && 0 < strength && strength < 10_000,
        // At most one strength passed it by before.
        (DecidedBy::Weight, [before @ .., last]) => **last == weights && passed_by(before),
        (DecidedBy::OnlyRoute, before) => passed_by(before),
        _ => false,
    };
    prop_assert!(is_right, "{:?} took {:?}", hop, drawn);
    Ok(())
}

/// Counts what a hop took on the side where the request ended up.
fn count(accounts: &mut HashMap<String, Account>, hop: &Hop, drawn: &[&String]) {
    for level in drawn {
        let account = accounts.get_mut(*level).unwrap();
        let side = if level.contains('/') {
            // Taken, or left to the weights.
            usize::from(hop.decided_by != DecidedBy::Condition)
        } else {
            hop.route
        };
        account.delivered[side] += 1;
    }
}

/// Sends the requests, each by nobody or by a client that comes back with its cookies.
fn check(world: &World, requests: &[(Option<usize>, Asked)]) -> Result<(), TestCaseError> {
    let compiled = CompiledTable::compile(&table(world.publish()), None).unwrap();
    let mut tickets = Tickets { next: world.levels(), down: world.down.clone(), ..Tickets::new(&compiled) };
    let mut next = world.levels();
    let mut accounts = accounts(world);
    let mut jars: Vec<HashMap<usize, Named>> = vec![HashMap::new(); CLIENTS];
    for (client, asked) in requests {
        let mut asked = asked.clone();
        let mut jar = client.map(|client| &mut jars[client]);
        if let Some(jar) = &jar {
            asked.cookies = jar.values().copied().collect();
        }
        let mut second = Second::new(world, &asked, std::mem::take(&mut next));
        let decided = compiled.route(Entry::Gateway(0), &asked.head(), &mut tickets);
        prop_assert_eq!(words::verdict(&compiled, &decided), second.decide());
        let drawn = std::mem::take(&mut tickets.asked);
        prop_assert_eq!(&drawn, &second.drawn);
        next = second.next;
        for hop in decided.iter().flat_map(|decision| decision.chain.hops()) {
            let gateway = format!("g{}", hop.gateway);
            let of_hop = |level: &&String| level.split('/').next() == Some(&gateway);
            let drawn: Vec<&String> = drawn.iter().filter(of_hop).collect();
            check_tickets(world, &hop, &drawn)?;
            count(&mut accounts, &hop, &drawn);
            if let Some(jar) = &mut jar
                && hop.cookie == CookiePlan::Set
            {
                jar.insert(hop.gateway, (hop.gateway, hop.route, Some(0)));
            }
        }
        if decided.is_err() {
            // No weight in the end: the tickets taken on the way there are taken all the same.
            for (level, side) in drawn.iter().zip(&second.fell) {
                accounts.get_mut(level).unwrap().delivered[*side] += 1;
            }
        }
        for (level, account) in &accounts {
            account.check(level)?;
        }
    }
    // Nobody else took a ticket: what a level counted is how far it came.
    let began = world.levels();
    for (level, account) in &accounts {
        let came = tickets.next.get(level).unwrap_or(&0) - began.get(level).unwrap_or(&0);
        prop_assert_eq!(account.delivered.iter().sum::<u64>(), came, "{}", level);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn cookies_and_full_conditions_take_no_ticket_and_each_level_stays_exact(
        world in world(),
        requests in proptest::collection::vec((proptest::option::of(0..CLIENTS), asked()), 1..80),
    ) {
        check(&world, &requests)?;
    }
}
