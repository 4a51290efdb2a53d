//! The machine in a made-up world: a store that fails, loses its history and is put back to old copies, a disk that
//! fills up, a process that is killed, publishers that compete. Each run follows from its seed.
//!
//! `VAMP_SIMULATION_SEEDS=10000` runs more seeds, `VAMP_SIMULATION_SEED=7` only that one.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use vamp_routing::wire::{Degradation, Digest, Generation, Registration};
use vamp_store::{Lease, Position};

use super::super::lanes::LEASE;
use super::super::status::SyncState;
use super::{Action, Found, Identity, Input, LeaseFault, ReadFault, Seen, SyncMachine, TableId};

const SEEDS: u64 = 500;
const STEPS: u32 = 600;

/// What comes of reading and compiling a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Good,
    /// Its values can't be had now.
    Damaged,
    /// A newer product wrote its values.
    Newer,
    /// It does not compile.
    Faulty,
}

#[derive(Debug, Clone, Default)]
struct Store {
    revision: u64,
    manifest: Option<Seen>,
    registration: Option<(Registration, i64)>,
    leases: HashMap<i64, Duration>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is broken or not")]
struct World {
    dice: StdRng,
    now: Duration,
    machine: SyncMachine,
    boot: u32,
    store: Store,
    backup: Option<Store>,
    is_up: bool,
    next_lease: i64,
    compacted: u64,
    /// What stood at the manifest's key, with the revision of each.
    history: Vec<(u64, Seen)>,
    /// The position of the watch.
    watch: Option<u64>,
    /// Whether the watch says nothing any more, as on a connection that broke without a word.
    is_deaf: bool,
    kinds: HashMap<Digest, Kind>,
    newest: Generation,
    asked: Vec<(Action, Option<TableId>)>,
    answers: Vec<Input>,
    served: Option<TableId>,
    degradations: Vec<Degradation>,
    is_told: bool,
    is_disk_full: bool,
    disk: Vec<TableId>,
    is_disk_damaged: bool,
    /// The newest table that was acknowledged as safe on this disk.
    durable: Option<Generation>,
    trace: Vec<String>,
}

fn machine(now: Duration, boot: u32, found: Found) -> SyncMachine {
    let identity = Identity {
        id: "gateway".to_owned(),
        boot: boot.to_string(),
        admin: "http://127.0.0.1:1988".to_owned(),
        version: "0".to_owned(),
    };
    SyncMachine::new(now, u64::from(boot), identity, found)
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: StdRng::seed_from_u64(seed),
            now: Duration::ZERO,
            machine: machine(Duration::ZERO, 0, Found::default()),
            boot: 0,
            store: Store { revision: 1, ..Store::default() },
            backup: None,
            is_up: true,
            next_lease: 0,
            compacted: 0,
            history: Vec::new(),
            watch: None,
            is_deaf: false,
            kinds: HashMap::new(),
            newest: Generation::default(),
            asked: Vec::new(),
            answers: Vec::new(),
            served: None,
            degradations: Vec::new(),
            is_told: true,
            is_disk_full: false,
            disk: Vec::new(),
            is_disk_damaged: false,
            durable: None,
            trace: Vec::new(),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.dice.random_range(0..100) < percent
    }

    /// Passes one thing on to the machine and checks what must hold after each.
    fn step(&mut self, input: Input) {
        self.trace.push(format!("{:?} {input:?}", self.now));
        let actions = self.machine.step(self.now, input);
        for action in actions {
            self.trace.push(format!("  -> {action:?}"));
            if let Action::Watch { after } = action {
                self.watch = Some(after.0);
                self.is_deaf = false;
                continue;
            }
            let same_lane = |other: &Action| lane(other) == lane(&action);
            assert!(!self.asked.iter().any(|(other, _)| same_lane(other)), "two requests of one lane: {action:?}");
            // What is kept is what is served when the write begins.
            let table = if action == Action::Keep { self.machine.served() } else { None };
            self.asked.push((action, table));
        }
        let due = self.machine.due();
        assert!(due.is_none_or(|due| due > self.now), "due at {due:?}, now is {:?}", self.now);
        if let Some((registration, _)) = &self.store.registration
            && registration.boot == self.boot.to_string()
        {
            let served = self.served.map(|served| served.generation);
            assert!(registration.applied <= served, "acknowledged {:?}, served {served:?}", registration.applied);
        }
        if !self.is_disk_damaged {
            let kept = self.disk.iter().map(|table| table.generation).max();
            assert!(self.durable <= kept, "acknowledged as safe {:?}, on disk {kept:?}", self.durable);
        }
    }

    /// The store does what one request asks for (or not), and the disk too; the answer comes later.
    fn execute(&mut self, index: usize) {
        let (action, table) = self.asked.remove(index);
        let is_store = !matches!(action, Action::Apply(_) | Action::Keep);
        let (is_done, is_known) = match self.dice.random_range(0..100) {
            _ if is_store && !self.is_up => (false, false),
            0..=7 if is_store => (false, false),
            8..=12 if is_store => (true, false),
            _ => (true, true),
        };
        let answer = self.answer(&action, table, is_done, is_known);
        self.answers.push(answer);
    }

    fn answer(&mut self, action: &Action, table: Option<TableId>, is_done: bool, is_known: bool) -> Input {
        let lost = || "lost".to_owned();
        match action {
            Action::List if is_known => {
                let seen = self.store.manifest.clone().unwrap_or(Seen::Nothing);
                Input::Listed(Ok((seen, Position(self.store.revision))))
            }
            Action::List => Input::Listed(Err(lost())),
            Action::Read(_, _) if !is_known => Input::Read(Err(ReadFault::Store)),
            Action::Read(id, _) => Input::Read(match self.kinds[&id.digest] {
                Kind::Damaged => Err(ReadFault::Damaged("damaged".to_owned())),
                Kind::Newer => Err(ReadFault::Unreadable("newer".to_owned())),
                _ => Ok(()),
            }),
            Action::Apply(id) if self.kinds[&id.digest] == Kind::Good => {
                assert!(self.served.is_none_or(|served| served.generation < id.generation), "served gets older");
                self.served = Some(*id);
                self.degradations = self.draw_degradations();
                self.is_told = true;
                Input::Applied(Ok(self.degradations.clone()))
            }
            Action::Apply(_) => Input::Applied(Err("does not compile".to_owned())),
            Action::Keep if self.is_disk_full => Input::Kept(Err("disk full".to_owned())),
            Action::Keep => {
                self.disk.extend(table);
                self.is_disk_damaged = false;
                Input::Kept(Ok(()))
            }
            Action::Grant => {
                self.next_lease += 1;
                if is_done {
                    self.store.leases.insert(self.next_lease, self.now + LEASE);
                }
                Input::Granted(if is_known { Ok(Lease(self.next_lease)) } else { Err(LeaseFault::Other) })
            }
            Action::KeepAlive(lease) => {
                let is_alive = self.store.leases.contains_key(&lease.0);
                if is_done && is_alive {
                    self.store.leases.insert(lease.0, self.now + LEASE);
                }
                Input::KeptAlive(*lease, under_lease(is_known, is_alive))
            }
            Action::Register(lease, registration) => {
                let is_alive = self.store.leases.contains_key(&lease.0);
                if is_done && is_alive {
                    self.register(*lease, registration);
                }
                Input::Registered(*lease, under_lease(is_known, is_alive))
            }
            Action::Watch { .. } => unreachable!("watches are opened at once"),
        }
    }

    fn register(&mut self, lease: Lease, registration: &Registration) {
        self.store.revision += 1;
        self.store.registration = Some((registration.clone(), lease.0));
        let is_safe = !registration.problems.iter().any(|problem| problem.message.contains("not safe on disk"));
        if is_safe && registration.boot == self.boot.to_string() {
            self.durable = self.durable.max(registration.applied);
        }
    }

    /// An answer arrives.
    fn deliver(&mut self, index: usize) {
        let input = self.answers.remove(index);
        self.step(input);
    }

    /// The watch says what came since, some of it, nothing, or that it is over.
    fn listen(&mut self, is_healthy: bool) {
        let Some(after) = self.watch.filter(|_| !self.is_deaf) else { return };
        if after < self.compacted || after > self.store.revision {
            self.watch = None;
            return self.step(Input::Watched(Err("compacted".to_owned())));
        }
        let new: Vec<(u64, Seen)> = self.history.iter().filter(|(at, _)| *at > after).cloned().collect();
        let told = if is_healthy { new.len() } else { self.dice.random_range(0..=new.len()) };
        match told.checked_sub(1).and_then(|last| new.get(last)) {
            Some((at, seen)) => {
                self.watch = Some(*at);
                // Now and then an event is lost on its way.
                if is_healthy || !self.chance(3) {
                    self.step(Input::Watched(Ok(Some(seen.clone()))));
                }
            }
            None if new.is_empty() => {
                self.watch = Some(self.store.revision);
                self.step(Input::Watched(Ok(None)));
            }
            None => {}
        }
    }

    fn cut(&mut self) {
        if self.watch.take().is_some() {
            self.step(Input::Watched(Err("cut".to_owned())));
        }
    }

    fn draw_kind(&mut self) -> Kind {
        match self.dice.random_range(0..10) {
            0 => Kind::Damaged,
            1 => Kind::Newer,
            2 => Kind::Faulty,
            _ => Kind::Good,
        }
    }

    /// The table that follows the one in the store, as a control plane that reads the store first would publish.
    fn publish(&mut self, kind: Kind) {
        let mut generation = match &self.store.manifest {
            Some(Seen::Table { id, .. }) => id.generation,
            _ => self.newest,
        };
        generation.revision += 1;
        if self.chance(5) {
            generation = Generation { epoch: generation.epoch + 1, revision: 1 };
        }
        self.publish_as(generation, kind);
    }

    fn publish_as(&mut self, generation: Generation, kind: Kind) {
        let mut digest = Digest([0; 32]);
        digest.0[..8].copy_from_slice(&(self.kinds.len() as u64).to_be_bytes());
        self.kinds.insert(digest, kind);
        self.newest = self.newest.max(generation);
        let bytes = Bytes::copy_from_slice(&digest.0);
        self.write_manifest(Some(Seen::Table { id: TableId { generation, digest }, bytes }));
    }

    fn write_manifest(&mut self, manifest: Option<Seen>) {
        self.store.revision += 1;
        self.history.push((self.store.revision, manifest.clone().unwrap_or(Seen::Nothing)));
        self.store.manifest = manifest;
    }

    fn expire_leases(&mut self) {
        let now = self.now;
        self.store.leases.retain(|_, ends| *ends > now);
        self.forget_dead_registration();
    }

    fn forget_dead_registration(&mut self) {
        if self.store.registration.as_ref().is_some_and(|(_, lease)| !self.store.leases.contains_key(lease)) {
            self.store.registration = None;
            self.store.revision += 1;
        }
    }

    /// An old copy takes the store's place.
    fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else { return };
        self.compacted = backup.revision;
        self.history.clear();
        self.store = backup;
        // Its leases begin anew.
        let ends = self.now + LEASE;
        self.store.leases.values_mut().for_each(|lease| *lease = ends);
        self.cut();
    }

    /// The process dies and starts again; what it had asked for may still happen.
    fn restart(&mut self) {
        while !self.asked.is_empty() {
            if self.chance(30) {
                self.execute(0);
            } else {
                self.asked.remove(0);
            }
        }
        self.answers.clear();
        self.watch = None;
        self.boot += 1;
        let kept = self.disk.iter().copied().max_by_key(|table| table.generation);
        let generation = kept.map(|table| table.generation);
        assert!(self.is_disk_damaged || self.durable <= generation, "{:?} is lost, {kept:?} is there", self.durable);
        let problem = self.is_disk_damaged.then(|| "damaged".to_owned());
        if self.is_disk_damaged {
            self.durable = None;
        }
        self.served = kept;
        self.degradations = self.draw_degradations();
        self.is_told = true;
        let found = Found { served: kept, degradations: self.degradations.clone(), problem, ..Found::default() };
        self.machine = machine(self.now, self.boot, found);
        self.trace.push(format!("{:?} boot {}", self.now, self.boot));
        self.step(Input::Tick);
    }

    fn draw_degradations(&mut self) -> Vec<Degradation> {
        let count = self.dice.random_range(0..3);
        let one = |port| Degradation { gateway: Some("shop".to_owned()), message: format!("port {port} is taken") };
        (0..count).map(one).collect()
    }

    fn tell_degradations(&mut self) {
        if !std::mem::replace(&mut self.is_told, true) {
            self.step(Input::Degraded(self.degradations.clone()));
        }
    }

    /// Time goes on to when the machine has something to do.
    fn wait(&mut self) {
        if let Some(due) = self.machine.due() {
            self.now = self.now.max(due);
        }
        self.expire_leases();
        self.step(Input::Tick);
    }

    /// Somebody asks for something, or something breaks.
    fn meddle(&mut self) {
        match self.dice.random_range(0..16) {
            0..=2 => {
                let kind = self.draw_kind();
                self.publish(kind);
            }
            3 if self.chance(50) => self.is_deaf = true,
            3 => self.cut(),
            4 => self.is_up = !self.is_up,
            5 => self.compacted = self.store.revision,
            6 => self.backup = Some(self.store.clone()),
            7 => self.restore(),
            8 => {
                self.store.leases.clear();
                self.forget_dead_registration();
            }
            9 => self.restart(),
            10 => self.is_disk_full = !self.is_disk_full,
            11 => {
                self.degradations = self.draw_degradations();
                self.is_told = false;
            }
            12 => {
                let reason = "not a manifest".to_owned();
                let generation = self.chance(50).then_some(self.newest);
                self.write_manifest(Some(Seen::Unreadable { generation, reason }));
            }
            13 if self.chance(20) => self.write_manifest(None),
            14 if self.chance(20) => {
                // The newest file can no longer be read.
                let newest = self.disk.iter().map(|table| table.generation).max();
                self.disk.retain(|table| Some(table.generation) < newest);
                self.is_disk_damaged = true;
            }
            15 => {
                for kind in self.kinds.values_mut().filter(|kind| **kind == Kind::Damaged) {
                    *kind = Kind::Good;
                }
            }
            _ => {}
        }
    }

    fn chaos(&mut self) {
        match self.dice.random_range(0..100) {
            0..=9 => self.meddle(),
            10..=39 if !self.asked.is_empty() => {
                let index = self.dice.random_range(0..self.asked.len());
                self.execute(index);
            }
            40..=69 if !self.answers.is_empty() => {
                let index = self.dice.random_range(0..self.answers.len());
                self.deliver(index);
            }
            70..=79 if self.is_up => self.listen(false),
            80..=82 => self.tell_degradations(),
            83..=87 => self.wait(),
            _ => {
                self.now += Duration::from_millis(self.dice.random_range(0..400));
                self.expire_leases();
                if self.machine.due().is_some_and(|due| due <= self.now) {
                    self.step(Input::Tick);
                }
            }
        }
    }

    /// Everything works: all that was asked for is answered at once; how many requests that took.
    fn settle(&mut self, time: Duration) -> usize {
        let until = self.now + time;
        let mut requests = 0;
        while self.now < until {
            while !self.asked.is_empty() || !self.answers.is_empty() {
                if self.answers.is_empty() {
                    requests += 1;
                    let (action, table) = self.asked.remove(0);
                    let answer = self.answer(&action, table, true, true);
                    self.answers.push(answer);
                } else {
                    self.deliver(0);
                }
            }
            if !self.is_deaf && self.watch.is_some_and(|after| after != self.store.revision) {
                self.listen(true);
                continue;
            }
            self.tell_degradations();
            self.wait();
        }
        requests
    }

    /// In the end, with everything mended, the newest table is served, kept and acknowledged.
    fn check_end(&mut self) {
        (self.is_up, self.is_disk_full, self.degradations) = (true, false, Vec::new());
        self.is_told = false;
        self.newest.revision += 1;
        self.publish_as(self.newest, Kind::Good);
        // One check of the watch and one wait of each kind, but not so long that all is told anew.
        self.settle(Duration::from_secs(20));
        assert_eq!(self.served.map(|served| served.generation), Some(self.newest), "served after 20 s");
        let wanted = Some(self.machine.registration());
        assert_eq!(self.store.registration.clone().map(|(told, _)| told), wanted, "told after 20 s");
        self.newest.revision += 1;
        self.publish_as(self.newest, Kind::Good);
        self.settle(Duration::from_secs(4));
        assert_eq!(self.served.map(|served| served.generation), Some(self.newest), "served after the watch was mended");
        // Applying drew degradations; they heal too, and so does the disk.
        self.degradations.clear();
        self.is_told = false;
        self.settle(Duration::from_secs(40));
        let newest = Some(self.newest);
        assert_eq!(self.served.map(|served| served.generation), newest, "served");
        assert_eq!(self.machine.served(), self.served, "what the machine takes for served");
        assert_eq!(self.disk.iter().map(|table| table.generation).max(), newest, "on disk");
        assert_eq!(self.machine.state(), SyncState::Current);
        assert_eq!((self.machine.problems(), self.machine.refused()), (Vec::new(), None));
        let (registration, _) = self.store.registration.clone().expect("a registration");
        assert_eq!(registration.boot, self.boot.to_string());
        assert_eq!((registration.applied, registration.problems, registration.refused), (newest, Vec::new(), None));
        assert_eq!(registration.digest, self.served.map(|served| served.digest));
        let requests = self.settle(Duration::from_mins(10));
        assert!(requests < 350, "{requests} requests in ten quiet minutes");
    }
}

fn under_lease(is_known: bool, is_alive: bool) -> Result<(), LeaseFault> {
    match (is_known, is_alive) {
        (false, _) => Err(LeaseFault::Other),
        (true, false) => Err(LeaseFault::Ended),
        (true, true) => Ok(()),
    }
}

fn lane(action: &Action) -> u8 {
    match action {
        Action::List => 0,
        Action::Watch { .. } => 1,
        Action::Read(_, _) | Action::Apply(_) => 2,
        Action::Keep => 3,
        Action::Grant | Action::KeepAlive(_) => 4,
        Action::Register(_, _) => 5,
    }
}

/// One run; the trace of all that went in and out of the machine.
fn run(seed: u64) -> Vec<String> {
    let mut world = World::new(seed);
    let mut step = 0;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        world.step(Input::Tick);
        for at in 1..=STEPS {
            step = at;
            world.chaos();
        }
        world.check_end();
    }));
    if let Err(panic) = result {
        let reason = panic.downcast_ref::<String>().cloned();
        let reason = reason.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        let last = world.trace[world.trace.len().saturating_sub(60)..].join("\n");
        panic!("seed {seed}, step {step} of {STEPS}: {reason}\nthe last of it:\n{last}");
    }
    world.trace
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect(name))
}

#[test]
fn in_any_order_of_faults_the_newest_table_wins_and_nothing_goes_back() {
    let seeds = match setting("VAMP_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("VAMP_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        run(seed);
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..5 {
        assert!(run(seed) == run(seed), "seed {seed}");
    }
}
