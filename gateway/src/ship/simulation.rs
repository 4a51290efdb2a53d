//! The ship machine between real buffers and a made-up server that does anything servers do: each seed is one story,
//! and what went wrong in one comes back with its seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use vamp_record::client::ItemOutcome;

use super::machine::{Action, BULK_DOCUMENTS_MAX, Document, Fault, IN_FLIGHT_MAX, Input, Notice, ShipMachine};
use super::queue::Recorder;
use super::testing::record;

/// How the server treats requests for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// 429 or 503 for the whole request.
    Shedding,
    /// Some items of each request find no room.
    Crowded,
    /// The connection breaks, at any point.
    Breaking,
    /// Something else answers.
    Nonsense,
    /// Anything, at each request anew.
    Any,
}

const MOODS: [Mood; 6] = [Mood::Well, Mood::Shedding, Mood::Crowded, Mood::Breaking, Mood::Nonsense, Mood::Any];

/// A server that keeps what it was given, and its word about what it refuses for good.
struct Server {
    mood: Mood,
    has_template: bool,
    bytes_max: usize,
    stored: BTreeSet<u64>,
    /// From here on, there are no documents that it never takes.
    tame_from: u64,
}

/// Documents that the server refuses.
fn is_refused(sequence: u64) -> bool {
    sequence % 101 == 7
}

/// Documents for which it refuses the whole request.
fn is_poison(sequence: u64) -> bool {
    sequence % 1_009 == 500
}

impl Server {
    fn bulk(&mut self, body: &[u8], dice: &mut StdRng) -> Result<Vec<ItemOutcome>, Fault> {
        assert!(self.has_template, "documents come after the template");
        let sequences: Vec<u64> = body
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| std::str::from_utf8(line).unwrap().trim().parse().unwrap())
            .collect();
        let mood = match self.mood {
            Mood::Any => MOODS[dice.random_range(0..MOODS.len() - 1)],
            mood => mood,
        };
        let retry_after = dice.random_bool(0.3).then(|| Duration::from_secs(dice.random_range(0..5)));
        match mood {
            Mood::Shedding => return Err(Fault::Refused { reason: "429".to_owned(), retry_after }),
            Mood::Nonsense if dice.random_bool(0.5) => return Ok(vec![ItemOutcome::Stored; sequences.len() + 1]),
            Mood::Nonsense => return Err(Fault::Lost("no JSON".to_owned())),
            Mood::Breaking => {
                let done = dice.random_range(0..=sequences.len());
                sequences[..done].iter().for_each(|sequence| drop(self.store(*sequence)));
                return Err(Fault::Lost("reset".to_owned()));
            }
            _ => {}
        }
        if body.len() > self.bytes_max {
            return Err(Fault::TooLarge);
        }
        if sequences.iter().any(|sequence| is_poison(*sequence)) {
            return Err(Fault::Malformed("400".to_owned()));
        }
        let is_crowded = mood == Mood::Crowded;
        let outcome = |sequence: &u64| {
            if is_crowded && dice.random_bool(0.4) { ItemOutcome::Busy } else { self.store(*sequence) }
        };
        Ok(sequences.iter().map(outcome).collect())
    }

    fn never_takes(&self, sequence: u64) -> bool {
        sequence % 499 == 3 && sequence < self.tame_from && !is_refused(sequence) && !is_poison(sequence)
    }

    fn store(&mut self, sequence: u64) -> ItemOutcome {
        if is_refused(sequence) || is_poison(sequence) {
            return ItemOutcome::Rejected("mapping".to_owned());
        }
        // A second `create` of an id answers 409, which the client takes for stored.
        if self.never_takes(sequence) {
            return ItemOutcome::Busy;
        }
        self.stored.insert(sequence);
        ItemOutcome::Stored
    }
}

struct World {
    seed: u64,
    now: Duration,
    dice: StdRng,
    recorder: std::sync::Arc<Recorder>,
    machine: ShipMachine,
    server: Server,
    /// Inputs on their way, by when they arrive.
    coming: BTreeMap<(Duration, u64), Input>,
    arrivals: u64,
    pushed: u64,
    next_sequence: u64,
    /// Taken from the buffers, not yet in the machine.
    writing: usize,
    open_bulks: usize,
    downs: usize,
    ups: usize,
}

impl World {
    fn new(seed: u64, records_max: usize) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let bytes_max = if dice.random_bool(0.5) { usize::MAX } else { dice.random_range(100..2_000) };
        Self {
            seed,
            now: Duration::ZERO,
            machine: ShipMachine::new(Duration::ZERO, seed),
            recorder: Recorder::new(2, records_max),
            server: Server {
                mood: Mood::Well,
                has_template: false,
                bytes_max,
                stored: BTreeSet::new(),
                tame_from: u64::MAX,
            },
            dice,
            coming: BTreeMap::new(),
            arrivals: 0,
            pushed: 0,
            next_sequence: 0,
            writing: 0,
            open_bulks: 0,
            downs: 0,
            ups: 0,
        }
    }

    fn arrive(&mut self, longest_ms: u64, input: Input) {
        let at = self.now + Duration::from_millis(self.dice.random_range(0..=longest_ms));
        self.arrivals += 1;
        self.coming.insert((at, self.arrivals), input);
    }

    fn push(&mut self, records: u64) {
        for _ in 0..records {
            self.recorder.push(usize::try_from(self.pushed % 2).unwrap(), record(self.pushed));
            self.pushed += 1;
        }
    }

    fn step(&mut self, input: Input) {
        if let Input::Taken { documents, .. } = &input {
            self.writing -= documents.len();
        }
        self.open_bulks -= usize::from(matches!(input, Input::Answer { .. }));
        for action in self.machine.step(self.now, input) {
            self.act(action);
        }
        self.recorder.book(self.machine.tally());
        self.check();
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::PutTemplate => {
                let is_done = matches!(self.server.mood, Mood::Well | Mood::Crowded) || self.dice.random_bool(0.3);
                self.server.has_template |= is_done;
                let refused = Fault::Refused { reason: "503".to_owned(), retry_after: None };
                self.arrive(500, Input::Template(if is_done { Ok(()) } else { Err(refused) }));
            }
            Action::Take { records_max } => {
                let taken: usize = self.recorder.take(records_max).iter().map(Vec::len).sum();
                self.writing += taken;
                let documents = (0..taken).map(|_| self.document()).collect();
                self.arrive(20, Input::Taken { documents, unwritable: 0, more: taken >= records_max });
            }
            Action::Send { bulk, body, documents } => {
                self.open_bulks += 1;
                assert!(self.open_bulks <= IN_FLIGHT_MAX, "seed {}", self.seed);
                assert!((1..=BULK_DOCUMENTS_MAX).contains(&documents), "seed {}", self.seed);
                let answer = self.server.bulk(&body, &mut self.dice);
                // As a request does that hangs until its time-out.
                self.arrive(if answer.is_ok() { 200 } else { 5_000 }, Input::Answer { bulk, answer });
            }
            Action::Tell(Notice::Down(_)) => self.downs += 1,
            Action::Tell(Notice::Up) => self.ups += 1,
            Action::Tell(Notice::Refused(..)) => {}
        }
    }

    fn document(&mut self) -> Document {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let width = self.dice.random_range(6..12_usize);
        Document::new(Bytes::from(format!("{sequence:>width$}\n")))
    }

    /// The account holds at every moment, and says what is really held.
    fn check(&self) {
        let counts = self.recorder.counts();
        let dropped: u64 = counts.dropped().iter().map(|(_, dropped)| dropped).sum();
        assert_eq!(counts.answered, counts.tally.shipped + dropped + counts.queued, "seed {}", self.seed);
        let taken = self.next_sequence - counts.tally.settled();
        let held = u64::try_from(self.machine.held() + self.writing).unwrap();
        assert_eq!(taken, held, "seed {} at {:?}", self.seed, self.now);
        assert!(held <= 3 * u64::try_from(BULK_DOCUMENTS_MAX).unwrap() + 512, "seed {}: {held} held", self.seed);
        let notices = self.downs - self.ups;
        assert!(notices <= 1, "seed {}: each trouble is told once", self.seed);
    }

    /// Goes on to whatever happens next, but not beyond `until`.
    fn go_on(&mut self, until: Duration) {
        let arrival = self.coming.keys().next().copied();
        let due = self.machine.due();
        let next = arrival.map(|(at, _)| at).into_iter().chain(due).min().unwrap_or(until).max(self.now).min(until);
        self.now = next;
        match arrival {
            Some(key) if key.0 <= next => {
                let input = self.coming.remove(&key).unwrap();
                self.step(input);
            }
            _ => self.step(Input::Tick),
        }
    }

    fn run_until(&mut self, until: Duration) {
        let mut steps = 0;
        while self.now < until {
            self.go_on(until);
            steps += 1;
            assert!(steps < 200_000, "seed {}: it spins at {:?}", self.seed, self.now);
        }
    }

    fn run_for(&mut self, seconds: u64) {
        self.run_until(self.now + Duration::from_secs(seconds));
    }

    /// What the server has is what was counted, each once.
    fn check_end(&self) {
        let counts = self.recorder.counts();
        let tally = counts.tally;
        let stored = u64::try_from(self.server.stored.len()).unwrap();
        let refused = (0..self.next_sequence).filter(|number| is_refused(*number) || is_poison(*number)).count();
        let seed = self.seed;
        assert_eq!(counts.queued, 0, "seed {seed}");
        assert_eq!(tally.shutdown, 0, "seed {seed}");
        assert_eq!(tally.refused, u64::try_from(refused).unwrap(), "seed {seed}");
        let never =
            u64::try_from((0..self.next_sequence).filter(|number| self.server.never_takes(*number)).count()).unwrap();
        assert_eq!(tally.given_up, never, "seed {seed}");
        assert_eq!(stored, tally.shipped, "seed {seed}");
        assert!(self.server.stored.iter().all(|sequence| *sequence < self.next_sequence), "seed {seed}: invented");
    }
}

/// A server of changing moods, then a well one: in the end everything is settled, whatever came before.
fn story(seed: u64) {
    let mut world = World::new(seed, 5_000);
    for _ in 0..world.dice.random_range(1..8) {
        world.server.mood = MOODS[world.dice.random_range(0..MOODS.len())];
        for _ in 0..world.dice.random_range(1..20) {
            let records = world.dice.random_range(0..800);
            world.push(records);
            if world.dice.random_bool(0.5) {
                world.step(Input::Waiting);
            }
            let seconds = world.dice.random_range(0..20);
            world.run_for(seconds);
        }
    }
    world.server.mood = Mood::Well;
    world.run_for(60);
    // Those that are never taken are given up, but only while others are taken.
    world.server.tame_from = world.next_sequence;
    for _ in 0..500 {
        world.push(1);
        world.run_for(10);
    }
    world.run_for(60);
    world.check_end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answered_is_stored_plus_dropped_plus_queued_whatever_the_server_does(seed: u64) {
        story(seed);
    }
}

/// What one run of `seconds` without a server costs it in requests.
#[test]
fn an_outage_costs_about_one_request_a_minute_and_bounded_memory() {
    let mut world = World::new(1, 5_000);
    world.server.bytes_max = usize::MAX;
    world.push(100);
    world.run_for(10);
    world.server.mood = Mood::Shedding;
    for _ in 0..60 {
        world.push(1_000);
        world.step(Input::Waiting);
        world.run_for(60);
    }
    let bulks: u64 = super::Bulk::ALL.iter().map(|outcome| world.recorder.counts().tally.bulks(*outcome)).sum();
    assert!(bulks <= 140, "{bulks} requests in an hour of outage");
    let counts = world.recorder.counts();
    assert!(counts.queue_full > 0 && counts.queued <= 15_000, "{counts:?}");
    assert_eq!((world.downs, world.ups), (1, 0), "one line in the log for the hour");
    world.server.mood = Mood::Well;
    world.run_for(900);
    world.check_end();
}

#[test]
fn a_stop_ships_what_is_held_without_waiting_for_the_next_round() {
    let mut world = World::new(2, 5_000);
    world.server.bytes_max = usize::MAX;
    world.run_for(2);
    world.push(1);
    world.step(Input::Stop);
    let told_at = world.now;
    while !world.machine.is_done() {
        world.go_on(told_at + Duration::from_mins(1));
    }
    assert_eq!(world.recorder.counts().tally.shipped, 1);
    assert!(world.now < told_at + Duration::from_secs(2), "{:?}", world.now);
}

#[test]
fn a_stop_without_a_server_drops_by_reason() {
    let mut world = World::new(3, 5_000);
    world.server.mood = Mood::Shedding;
    world.push(300);
    world.run_for(60);
    world.step(Input::Stop);
    world.run_for(5);
    let left = world.recorder.take(usize::MAX).iter().map(Vec::len).sum::<usize>() + world.writing;
    world.machine.give_up(u64::try_from(left).unwrap());
    world.recorder.book(world.machine.tally());
    let counts = world.recorder.counts();
    assert_eq!((counts.tally.shutdown, counts.queued), (300, 0));
}
