//! Services that come, change and go on platforms that fail, delay, lie and recover, under a control plane that is killed
//! between any two steps: what must hold at each moment, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::machine::{Action, Machine, Picture, Seen, ServiceName, Wanted};

/// What really runs.
#[derive(Debug, Clone)]
struct Real {
    service: ServiceName,
    template: String,
    number: u32,
    /// Steps until it is ready.
    warming: u32,
    /// Ended until it is started again.
    stopped: bool,
    /// Steps until its platform shows it.
    hidden: u32,
    /// Steps until it is gone, once its removal is under way.
    going: Option<u32>,
}

/// An instance that runs, and is not well.
#[derive(Debug, Clone, Copy)]
struct Sick {
    /// For so many steps.
    for_steps: u32,
    /// Until it is well again by itself.
    left: u32,
}

/// After how many steps another one is to take its place.
const UNWELL_AFTER: u32 = 8;

/// What happens between two steps.
#[derive(Debug, Clone)]
enum Event {
    Nothing,
    /// Another count.
    Scale(usize, u32),
    /// Another order.
    Change(usize),
    /// The service goes, or comes back.
    Toggle(usize),
    /// The platform does not answer for some steps.
    Silence(u32),
    /// Starts fail for some steps.
    FailStarts(u32),
    /// Starts are called failed for some steps, and did start.
    StartedButFailed(u32),
    /// Starts are taken for some steps, and nothing is seen of them for a while.
    LateStart(u32),
    /// The platform tells for some steps what ran before them.
    StaleList(u32),
    /// Removals take their time for some steps.
    SlowRemovals(u32),
    /// Removals fail for some steps.
    FailRemovals(u32),
    /// Where requests go can't be changed for some steps.
    FailRoutes(u32),
    /// Somebody ends every instance.
    Stop,
    /// An instance stops to be well for some steps.
    Sicken(usize, u32),
    /// An instance that is well is not any more for some steps, or until it is started again.
    Hang(usize, u32),
    /// An instance ends and is gone.
    Crash(usize),
    /// The control plane forgets everything that it keeps in memory.
    Kill,
    /// Gateways do not acknowledge for some steps.
    Lag(u32),
    /// The turn comes from a control plane whose instances run on elsewhere, and take requests until there are others.
    TakeOver,
    /// Only the first of the actions is carried out, as when the control plane is killed in between.
    Interrupt(usize),
}

struct World {
    wanted: Vec<(Wanted, bool)>,
    real: BTreeMap<String, Real>,
    sick: BTreeMap<String, Sick>,
    routed: BTreeMap<ServiceName, Vec<String>>,
    /// Services whose targets are another control plane's.
    unmet: BTreeSet<ServiceName>,
    /// What the gateways have of it.
    served: BTreeMap<ServiceName, Vec<String>>,
    machine: Machine,
    now: Duration,
    silent: u32,
    failing: u32,
    lying: u32,
    late: u32,
    slow: u32,
    holding: u32,
    fixed: u32,
    lagging: u32,
    /// For how many steps, and what is told then.
    stale: (u32, Vec<Seen>),
    limit: usize,
    /// Steps until an instance that is started is ready.
    warming: u32,
}

fn name(index: usize) -> ServiceName {
    ServiceName { deployment: "d".to_owned(), cluster: format!("c{}", index / 2), service: format!("s{index}") }
}

impl World {
    fn new(counts: &[u32]) -> Self {
        let wanted = counts.iter().enumerate().map(|(index, count)| {
            let needs = if index >= 2 { vec!["c0".to_owned()] } else { Vec::new() };
            (Wanted { name: name(index), template: "t0".to_owned(), count: *count, needs }, true)
        });
        Self {
            wanted: wanted.collect(),
            real: BTreeMap::new(),
            sick: BTreeMap::new(),
            routed: BTreeMap::new(),
            unmet: BTreeSet::new(),
            served: BTreeMap::new(),
            machine: Machine::default(),
            now: Duration::ZERO,
            silent: 0,
            failing: 0,
            lying: 0,
            late: 0,
            slow: 0,
            holding: 0,
            fixed: 0,
            lagging: 0,
            stale: (0, Vec::new()),
            limit: usize::MAX,
            warming: 2,
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        self.wanted.iter().filter(|(_, is_wanted)| *is_wanted).map(|(wanted, _)| wanted.clone()).collect()
    }

    fn is_ready(&self, id: &str) -> bool {
        let is_up = |real: &Real| real.warming == 0 && !real.stopped && real.hidden == 0 && real.going.is_none();
        self.real.get(id).is_some_and(is_up) && !self.sick.contains_key(id)
    }

    fn happen(&mut self, event: &Event) {
        let services = self.wanted.len();
        match event {
            Event::Nothing => {}
            Event::Scale(index, count) => self.wanted[index % services].0.count = *count,
            Event::Change(index) => {
                let wanted = &mut self.wanted[index % services].0;
                wanted.template = format!("{}x", wanted.template);
            }
            Event::Toggle(index) => {
                let (wanted, is_wanted) = &mut self.wanted[index % services];
                *is_wanted = !*is_wanted;
                // Who removes a service takes its routes away in the same change.
                if !*is_wanted {
                    self.routed.remove(&wanted.name);
                    self.unmet.remove(&wanted.name);
                }
            }
            Event::Silence(steps) => self.silent = *steps,
            Event::FailStarts(steps) => self.failing = *steps,
            Event::StartedButFailed(steps) => self.lying = *steps,
            Event::LateStart(steps) => self.late = *steps,
            Event::StaleList(steps) => self.stale = (*steps, self.seen()),
            Event::SlowRemovals(steps) => self.slow = *steps,
            Event::FailRemovals(steps) => self.holding = *steps,
            Event::FailRoutes(steps) => self.fixed = *steps,
            Event::Stop => self.real.values_mut().for_each(|real| real.stopped = true),
            Event::Sicken(index, steps) => {
                if let Some(id) = self.real.keys().nth(index % self.real.len().max(1)).cloned() {
                    self.sick.insert(id, Sick { for_steps: 0, left: *steps });
                }
            }
            Event::Hang(index, steps) => {
                let well: Vec<String> = self.real.keys().filter(|id| self.is_ready(id)).cloned().collect();
                if let Some(id) = well.get(index % well.len().max(1)) {
                    self.sick.insert(id.clone(), Sick { for_steps: 0, left: *steps });
                }
            }
            Event::Crash(index) => {
                if let Some(id) = self.real.keys().nth(index % self.real.len().max(1)).cloned() {
                    self.real.remove(&id);
                }
            }
            Event::Kill => self.machine = Machine::default(),
            Event::TakeOver => {
                self.machine = Machine::default();
                self.real.clear();
                self.stale = (0, Vec::new());
                let has_some = self.routed.iter().filter(|(_, ids)| !ids.is_empty());
                self.unmet = has_some.map(|(service, _)| service.clone()).collect();
            }
            Event::Lag(steps) => self.lagging = *steps,
            Event::Interrupt(limit) => self.limit = *limit,
        }
    }

    /// What runs, as a platform that tells the truth shows it.
    fn seen(&self) -> Vec<Seen> {
        let shown = self.real.iter().filter(|(_, real)| real.hidden == 0);
        let seen = shown.map(|(id, real)| {
            let seen = Seen {
                id: id.clone(),
                service: real.service.clone(),
                template: real.template.clone(),
                number: real.number,
                ready: self.is_ready(id),
                running: !real.stopped,
                stopped: real.stopped,
            };
            if real.going.is_some() { seen.going() } else { seen }
        });
        seen.collect()
    }

    fn picture(&self) -> Picture {
        let all = (0..self.wanted.len()).map(name);
        let seen = if self.stale.0 > 0 { self.stale.1.clone() } else { self.seen() };
        Picture {
            seen: if self.silent > 0 { Vec::new() } else { seen },
            unknown: if self.silent > 0 { all.collect() } else { BTreeSet::new() },
            routed: self.routed.clone(),
            unmet: self.unmet.clone(),
            unwell: self.unwell(),
            acknowledged: self.served == self.routed,
        }
    }

    /// The instances that are not well for more than a moment.
    fn unwell(&self) -> BTreeSet<String> {
        self.sick.iter().filter(|(_, sick)| sick.for_steps >= UNWELL_AFTER).map(|(id, _)| id.clone()).collect()
    }

    /// How many instances of a service work and get requests from the gateways, or will.
    fn working(&self, service: &ServiceName) -> usize {
        let sent = [&self.served, &self.routed].into_iter().filter_map(|sent| sent.get(service)).flatten();
        sent.collect::<BTreeSet<_>>().into_iter().filter(|id| self.is_ready(id)).count()
    }

    fn step(&mut self) {
        self.now += Duration::from_secs(1);
        let wanted = self.wanted();
        let picture = self.picture();
        for seen in picture.seen.iter().filter(|seen| seen.ready) {
            self.unmet.remove(&seen.service);
        }
        let picture = Picture { unmet: self.unmet.clone(), ..picture };
        let actions = self.machine.step(self.now, &wanted, &picture);
        for action in &actions {
            if let Action::Start(service, _) = action {
                let service = wanted.iter().find(|wanted| wanted.name == *service).expect("it is wanted");
                has_what_it_needs(service, &picture.seen);
            }
        }
        if self.silent > 0 {
            assert_eq!(actions, [], "nothing is done about what can't be seen");
        }
        let limit = std::mem::replace(&mut self.limit, usize::MAX);
        for action in actions.into_iter().take(limit) {
            self.act(action);
        }
        if self.lagging == 0 {
            self.served.clone_from(&self.routed);
        }
        let counters = [
            &mut self.silent,
            &mut self.failing,
            &mut self.lying,
            &mut self.late,
            &mut self.slow,
            &mut self.holding,
            &mut self.fixed,
            &mut self.lagging,
            &mut self.stale.0,
        ];
        for counter in counters {
            *counter = counter.saturating_sub(1);
        }
        for real in self.real.values_mut() {
            real.warming = real.warming.saturating_sub(1);
            real.hidden = real.hidden.saturating_sub(1);
            real.going = real.going.map(|steps| steps.saturating_sub(1));
        }
        self.real.retain(|_, real| real.going != Some(0));
        for sick in self.sick.values_mut() {
            (sick.for_steps, sick.left) = (sick.for_steps + 1, sick.left.saturating_sub(1));
        }
        self.sick.retain(|id, sick| sick.left > 0 && self.real.contains_key(id));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start(service, number) => {
                let wanted = self.wanted().into_iter().find(|wanted| wanted.name == service).expect("it is wanted");
                // One more takes the place of one that is not well.
                assert!(number < wanted.count || !self.unwell().is_empty());
                if self.failing > 0 {
                    return self.machine.failed(&service, self.now);
                }
                let id = format!("{}-{}-{number}", service, wanted.template);
                // An order for what is there already makes no second one; nobody gives it for what is seen to run.
                match self.real.get_mut(&id) {
                    Some(real) if real.stopped => {
                        (real.stopped, real.warming) = (false, self.warming);
                        self.sick.remove(&id);
                    }
                    Some(real) => {
                        let is_shown = self.stale.0 == 0 && real.hidden == 0;
                        assert!(!is_shown, "{id} was started twice");
                    }
                    None => {
                        let hidden = if self.late > 0 { 4 } else { 0 };
                        let template = wanted.template;
                        let real = Real {
                            service: service.clone(),
                            template,
                            number,
                            warming: self.warming,
                            stopped: false,
                            hidden,
                            going: None,
                        };
                        self.real.insert(id, real);
                    }
                }
                if self.lying > 0 {
                    return self.machine.failed(&service, self.now);
                }
                self.machine.succeeded(&service);
            }
            Action::Route(..) if self.fixed > 0 => {}
            Action::Route(service, targets) => self.route(service, targets),
            Action::Remove(id) => {
                let mut used = self.routed.values().chain(self.served.values()).flatten();
                assert!(!used.any(|used| *used == id), "{id} was removed and gets requests");
                if self.holding > 0 {
                    return self.machine.removal_failed(&id, self.now);
                }
                if self.slow > 0 {
                    if let Some(real) = self.real.get_mut(&id) {
                        real.going.get_or_insert(4);
                    }
                    return;
                }
                self.real.remove(&id);
                self.sick.remove(&id);
            }
        }
    }

    /// Of those that work, as many as are wanted still get requests. What a platform tells wrongly is not held against
    /// who believes it.
    fn route(&mut self, service: ServiceName, targets: Vec<String>) {
        let is_true = self.stale.0 == 0;
        for id in targets.iter().filter(|_| is_true) {
            let real = self.real.get(id).unwrap_or_else(|| panic!("requests are sent to {id}, which is gone"));
            assert!(real.going.is_none(), "requests are sent to {id}, which is being removed");
        }
        let wanted = self.wanted().into_iter().find(|wanted| wanted.name == service).map_or(0, |wanted| wanted.count);
        let is_served = wanted > 0 && self.unmet.contains(&service);
        assert!(!is_served, "requests for {service} are taken from who serves them");
        let kept = self.working(&service).min(usize::try_from(wanted).unwrap());
        let left = targets.iter().filter(|id| self.is_ready(id)).count();
        assert!(!is_true || left >= kept, "{left} of {kept} working targets of {service} are left: {targets:?}");
        self.routed.insert(service, targets);
    }

    /// Everything is as it is wanted, and nothing else is there.
    fn is_settled(&self) -> bool {
        let mut expected = BTreeSet::new();
        for wanted in self.wanted() {
            let ids: Vec<String> =
                (0..wanted.count).map(|number| format!("{}-{}-{number}", wanted.name, wanted.template)).collect();
            let mut routed = self.routed.get(&wanted.name).cloned().unwrap_or_default();
            routed.sort();
            let mut sorted = ids.clone();
            sorted.sort();
            if routed != sorted {
                return false;
            }
            expected.extend(ids);
        }
        self.real.keys().cloned().collect::<BTreeSet<_>>() == expected
    }
}

/// The first instance of a service is started when what it needs is there.
fn has_what_it_needs(service: &Wanted, seen: &[Seen]) {
    let own: Vec<&Seen> = seen.iter().filter(|seen| seen.service == service.name).collect();
    for cluster in &service.needs {
        let of_cluster = |seen: &&Seen| seen.service.cluster == *cluster;
        if own.iter().all(|seen| seen.stopped) {
            assert!(seen.iter().filter(of_cluster).any(|seen| seen.ready), "{service:?} is started without its needs");
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Nothing),
        2 => (0..4_usize, 0..4_u32).prop_map(|(index, count)| Event::Scale(index, count)),
        2 => (0..4_usize).prop_map(Event::Change),
        1 => (0..4_usize).prop_map(Event::Toggle),
        1 => (1..5_u32).prop_map(Event::Silence),
        1 => (1..5_u32).prop_map(Event::FailStarts),
        1 => (1..5_u32).prop_map(Event::StartedButFailed),
        1 => (1..9_u32).prop_map(Event::LateStart),
        1 => (1..5_u32).prop_map(Event::StaleList),
        1 => (1..9_u32).prop_map(Event::SlowRemovals),
        1 => (1..9_u32).prop_map(Event::FailRemovals),
        1 => (1..9_u32).prop_map(Event::FailRoutes),
        1 => Just(Event::Stop),
        2 => (0..16_usize, 1..6_u32).prop_map(|(index, steps)| Event::Sicken(index, steps)),
        1 => (0..16_usize, 1..90_u32).prop_map(|(index, steps)| Event::Hang(index, steps)),
        1 => (0..16_usize).prop_map(Event::Crash),
        1 => Just(Event::Kill),
        1 => (1..40_u32).prop_map(Event::Lag),
        1 => Just(Event::TakeOver),
        2 => (0..3_usize).prop_map(Event::Interrupt),
    ]
}

proptest! {
    #[test]
    fn what_is_wanted_is_reached_and_no_working_target_is_lost_on_the_way(
        counts in prop::collection::vec(0..4_u32, 4),
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut world = World::new(&counts);
        for event in &events {
            world.happen(event);
            world.step();
        }
        // The last faults pass. What nobody wants stays unwanted, but for what the others need.
        let (first, is_wanted) = &mut world.wanted[0];
        (first.count, *is_wanted) = (first.count.max(1), true);
        for _ in 0..300 {
            world.step();
        }
        prop_assert!(world.is_settled(), "{:?} {:?}", world.real.keys(), world.routed);
        prop_assert_eq!(world.machine.step(world.now, &world.wanted(), &world.picture()), []);
    }

    #[test]
    fn who_hangs_for_good_is_replaced(
        counts in prop::collection::vec(1..4_u32, 4),
        hung in prop::collection::vec((0..16_usize, 0..30_u32), 1..12),
        warming in 1..12_u32,
        kill in any::<bool>(),
    ) {
        let mut world = World::new(&counts);
        world.warming = warming;
        for _ in 0..60 {
            world.step();
        }
        for (index, steps) in hung {
            world.happen(&Event::Hang(index, u32::MAX));
            (0..steps).for_each(|_| world.step());
        }
        if kill {
            world.happen(&Event::Kill);
        }
        for _ in 0..600 {
            world.step();
        }
        prop_assert!(world.is_settled() && world.sick.is_empty(), "{:?} {:?}", world.real, world.sick);
    }

    #[test]
    fn what_is_not_wanted_goes(counts in prop::collection::vec(0..4_u32, 4), lag in 0..60_u32) {
        let mut world = World::new(&counts);
        for _ in 0..60 {
            world.step();
        }
        (0..4).for_each(|index| world.happen(&Event::Toggle(index)));
        world.happen(&Event::Lag(lag));
        for _ in 0..120 {
            world.step();
        }
        prop_assert!(world.real.is_empty(), "{:?}", world.real);
    }
}
