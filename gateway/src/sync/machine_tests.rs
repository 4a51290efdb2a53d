//! What the machine promises, one claim at a time; the simulation mixes them.

use super::*;

const LEASED: Lease = Lease(1);

fn id(revision: u64) -> TableId {
    TableId { generation: Generation { epoch: 1, revision }, digest: Digest([u8::try_from(revision).unwrap(); 32]) }
}

fn table(revision: u64) -> Seen {
    Seen::Table { id: id(revision), bytes: Bytes::new() }
}

fn degradation(message: &str) -> Degradation {
    Degradation { gateway: Some("shop".to_owned()), message: message.to_owned() }
}

/// A machine whose lease and list were answered, so that only what a test is about goes on.
struct Bench {
    machine: SyncMachine,
    now: Duration,
    /// What the machine last asked to be written about itself.
    told: Option<Registration>,
}

impl Bench {
    fn new(kept: Option<TableId>, seen: Seen) -> (Self, Vec<Action>) {
        let identity = Identity { id: "g".into(), boot: "b".into(), admin: "http://a".into(), version: "1".into() };
        let found = Found { served: kept, ..Found::default() };
        let machine = SyncMachine::new(Duration::ZERO, 7, identity, found);
        let mut bench = Self { machine, now: Duration::ZERO, told: None };
        assert_eq!(bench.tell(Input::Tick), [Action::List, Action::Grant]);
        bench.tell(Input::Granted(Ok(LEASED)));
        let actions = bench.tell(Input::Listed(Ok((seen, Position(5)))));
        (bench, actions)
    }

    /// A machine that serves, keeps and has acknowledged this table.
    fn serving(revision: u64) -> Self {
        let (mut bench, actions) = Bench::new(Some(id(revision)), table(revision));
        assert_eq!(actions, [Action::Watch { after: Position(5) }]);
        assert_eq!(bench.machine.state(), SyncState::Current);
        bench.tell(Input::Registered(LEASED, Ok(())));
        bench
    }

    /// All that the machine asks for, but not registrations: they are answered at once.
    fn tell(&mut self, input: Input) -> Vec<Action> {
        let mut actions = self.machine.step(self.now, input);
        while let Some(at) = actions.iter().position(|action| matches!(action, Action::Register(_, _))) {
            let Action::Register(lease, registration) = actions.remove(at) else { unreachable!() };
            self.told = Some(*registration);
            actions.extend(self.machine.step(self.now, Input::Registered(lease, Ok(()))));
        }
        actions
    }

    fn later(&mut self, milliseconds: u64) -> Vec<Action> {
        self.now += Duration::from_millis(milliseconds);
        self.tell(Input::Tick)
    }

    fn see(&mut self, seen: Seen) -> Vec<Action> {
        self.tell(Input::Watched(Ok(Some(seen))))
    }

    /// Reads, applies and keeps what the machine was told of.
    fn take(&mut self, revision: u64) {
        assert_eq!(self.tell(Input::Read(Ok(()))), [Action::Apply(id(revision))]);
        assert_eq!(self.tell(Input::Applied(Ok(Vec::new()))), [Action::Keep]);
        assert_eq!(self.tell(Input::Kept(Ok(()))), []);
    }

    #[track_caller]
    fn check(&self, state: SyncState, applied: Option<u64>, problems: &[&str]) {
        let told = self.told.as_ref().expect("a registration");
        let texts: Vec<&str> = told.problems.iter().map(|problem| problem.message.as_str()).collect();
        let generation = applied.map(|revision| id(revision).generation);
        assert_eq!((self.machine.state(), told.applied), (state, generation));
        assert_eq!(texts.len(), problems.len(), "{texts:?}");
        for (text, problem) in texts.iter().zip(problems) {
            assert!(text.contains(problem), "{text}");
        }
    }
}

#[test]
fn an_empty_store_is_an_answer() {
    let (bench, actions) = Bench::new(None, Seen::Nothing);
    assert_eq!(actions, [Action::Watch { after: Position(5) }]);
    bench.check(SyncState::Empty, None, &[]);
    assert!(bench.machine.was_confirmed_empty());
}

#[test]
fn a_new_table_is_read_applied_kept_and_then_acknowledged() {
    let (mut bench, actions) = Bench::new(None, table(1));
    assert_eq!(actions, [Action::Watch { after: Position(5) }, Action::Read(id(1), Bytes::new())]);
    assert_eq!(bench.tell(Input::Read(Ok(()))), [Action::Apply(id(1))]);
    assert_eq!(bench.machine.state(), SyncState::Updating);
    assert_eq!(bench.tell(Input::Applied(Ok(Vec::new()))), [Action::Keep]);
    assert_eq!(bench.machine.served(), Some(id(1)));
    bench.check(SyncState::Current, None, &[]);
    bench.tell(Input::Kept(Ok(())));
    bench.check(SyncState::Current, Some(1), &[]);
}

#[test]
fn the_table_on_disk_is_acknowledged_before_the_store_tells_a_newer_one() {
    let bench = Bench::serving(3);
    bench.check(SyncState::Current, Some(3), &[]);
}

#[test]
fn tables_that_come_meanwhile_coalesce_to_the_newest() {
    let mut bench = Bench::serving(1);
    assert_eq!(bench.see(table(2)), [Action::Read(id(2), Bytes::new())]);
    assert_eq!(bench.see(table(3)), []);
    assert_eq!(bench.tell(Input::Read(Ok(()))), [Action::Apply(id(2))]);
    assert_eq!(bench.see(table(4)), []);
    assert_eq!(bench.see(table(5)), []);
    let actions = bench.tell(Input::Applied(Ok(Vec::new())));
    assert_eq!(actions, [Action::Read(id(5), Bytes::new()), Action::Keep]);
    bench.tell(Input::Kept(Ok(())));
    bench.take(5);
    bench.check(SyncState::Current, Some(5), &[]);
}

#[test]
fn an_older_table_is_passed_by_and_reported_until_a_newer_one_comes() {
    let mut bench = Bench::serving(3);
    assert_eq!(bench.see(table(2)), []);
    bench.check(SyncState::Ahead, Some(3), &["the store has table 1.2, which is older than table 1.3 in use"]);
    assert_eq!(bench.machine.outcomes().outdated, 1);
    assert_eq!(bench.see(table(4)), [Action::Read(id(4), Bytes::new())]);
    bench.take(4);
    bench.check(SyncState::Current, Some(4), &[]);
}

#[test]
fn a_higher_epoch_is_newer_whatever_its_revision() {
    let mut bench = Bench::serving(9);
    let newer = TableId { generation: Generation { epoch: 2, revision: 1 }, digest: Digest([1; 32]) };
    let seen = Seen::Table { id: newer, bytes: Bytes::new() };
    assert_eq!(bench.see(seen), [Action::Read(newer, Bytes::new())]);
}

#[test]
fn another_table_under_the_same_number_is_passed_by_and_reported() {
    let mut bench = Bench::serving(3);
    let other = TableId { digest: Digest([9; 32]), ..id(3) };
    assert_eq!(bench.see(Seen::Table { id: other, bytes: Bytes::new() }), []);
    bench.check(SyncState::Ahead, Some(3), &["another table under the number 1.3"]);
}

#[test]
fn a_store_that_lost_its_table_is_reported() {
    let mut bench = Bench::serving(3);
    assert_eq!(bench.see(Seen::Nothing), []);
    bench.check(SyncState::Ahead, Some(3), &["the store has no table, table 1.3 stays in use"]);
}

#[test]
fn a_manifest_that_cannot_be_read_is_refused_and_reported() {
    let mut bench = Bench::serving(3);
    let unreadable = |generation| Seen::Unreadable { generation, reason: "not a manifest".to_owned() };
    assert_eq!(bench.see(unreadable(None)), []);
    bench.check(SyncState::Refused, Some(3), &["the table in the store is refused: not a manifest"]);
    bench.see(unreadable(Some(id(4).generation)));
    let refused = bench.told.clone().unwrap().refused.unwrap();
    assert_eq!((refused.generation, refused.reason.as_str()), (id(4).generation, "not a manifest"));
    assert_eq!(bench.machine.outcomes().refused, 2);
    bench.see(table(3));
    bench.check(SyncState::Current, Some(3), &[]);
    assert_eq!(bench.told.unwrap().refused, None);
}

#[test]
fn a_table_that_does_not_compile_is_refused_whole_and_never_tried_again() {
    let mut bench = Bench::serving(3);
    bench.see(table(4));
    bench.tell(Input::Read(Ok(())));
    assert_eq!(bench.tell(Input::Applied(Err("gateway `shop`: no".to_owned()))), []);
    bench.check(SyncState::Refused, Some(3), &[]);
    let refused = bench.told.clone().unwrap().refused.unwrap();
    assert_eq!((refused.generation, refused.reason.as_str()), (id(4).generation, "gateway `shop`: no"));
    for _ in 0..20 {
        let actions = bench.later(1000);
        assert!(!actions.iter().any(|action| matches!(action, Action::Read(_, _))), "{actions:?}");
        if actions.contains(&Action::List) {
            bench.tell(Input::Listed(Ok((table(4), Position(9)))));
        }
    }
    assert_eq!(bench.machine.outcomes().refused, 1);
    assert_eq!(bench.see(table(5)), [Action::Read(id(5), Bytes::new())]);
    bench.take(5);
    assert_eq!(bench.told.unwrap().refused, None);
}

#[test]
fn a_refusal_is_over_when_the_store_goes_back_to_a_table_that_is_served() {
    let mut bench = Bench::serving(3);
    bench.see(table(5));
    bench.tell(Input::Read(Err(ReadFault::Unreadable("newer".to_owned()))));
    assert!(bench.told.as_ref().unwrap().refused.is_some());
    bench.see(table(4));
    bench.take(4);
    assert_eq!(bench.told.as_ref().unwrap().refused, None);
    bench.check(SyncState::Current, Some(4), &[]);
}

#[test]
fn a_damaged_table_is_refused_and_tried_again_until_it_is_whole() {
    let mut bench = Bench::serving(3);
    bench.see(table(4));
    for _ in 0..10 {
        assert_eq!(bench.tell(Input::Read(Err(ReadFault::Damaged("a value is missing".to_owned())))), []);
        assert_eq!(bench.told.as_ref().unwrap().refused.as_ref().unwrap().reason, "a value is missing");
        let actions = bench.later(5000);
        assert!(actions.contains(&Action::Read(id(4), Bytes::new())), "{actions:?}");
    }
    assert_eq!(bench.machine.outcomes().refused, 1, "counted once");
    bench.take(4);
    bench.check(SyncState::Current, Some(4), &[]);
}

#[test]
fn values_that_are_gone_with_their_table_are_no_refusal() {
    let mut bench = Bench::serving(3);
    bench.see(table(4));
    bench.see(table(5));
    let actions = bench.tell(Input::Read(Err(ReadFault::Damaged("collected".to_owned()))));
    assert_eq!(actions, [Action::Read(id(5), Bytes::new())]);
    assert_eq!(bench.told.unwrap().refused, None);
}

#[test]
fn a_full_disk_does_not_hold_back_the_acknowledgement() {
    let mut bench = Bench::serving(3);
    bench.see(table(4));
    bench.tell(Input::Read(Ok(())));
    bench.tell(Input::Applied(Ok(Vec::new())));
    bench.check(SyncState::Current, Some(3), &[]);
    bench.tell(Input::Kept(Err("no space left on device".to_owned())));
    let problem = "the last good table is not safe on disk: no space left on device";
    bench.check(SyncState::Current, Some(4), &[problem]);
    assert_eq!(bench.machine.kept(), Some(id(3)));
    let actions = bench.later(1000);
    assert!(actions.contains(&Action::Keep), "{actions:?}");
    // The next table does not wait for the disk at all.
    bench.see(table(5));
    bench.tell(Input::Read(Ok(())));
    bench.tell(Input::Applied(Ok(Vec::new())));
    bench.check(SyncState::Current, Some(5), &[problem]);
    // What ends now is the write of the table before.
    assert_eq!(bench.tell(Input::Kept(Ok(()))), [Action::Keep]);
    bench.check(SyncState::Current, Some(5), &[problem]);
    bench.tell(Input::Kept(Ok(())));
    bench.check(SyncState::Current, Some(5), &[]);
}

#[test]
fn a_slow_disk_holds_back_the_acknowledgement_for_a_second() {
    let mut bench = Bench::serving(3);
    bench.see(table(4));
    bench.tell(Input::Read(Ok(())));
    bench.tell(Input::Applied(Ok(Vec::new())));
    bench.later(999);
    bench.check(SyncState::Current, Some(3), &[]);
    assert!(bench.machine.due().unwrap() <= bench.now + Duration::from_millis(1));
    bench.later(1);
    bench.check(SyncState::Current, Some(4), &["the disk did not take it within a second"]);
    bench.tell(Input::Kept(Ok(())));
    bench.check(SyncState::Current, Some(4), &[]);
}

#[test]
fn a_damaged_file_is_reported_until_the_table_is_written_again() {
    let identity = Identity { id: "g".into(), boot: "b".into(), admin: "http://a".into(), version: "1".into() };
    let found = Found { served: Some(id(2)), problem: Some("table 3 is cut".to_owned()), ..Found::default() };
    let machine = SyncMachine::new(Duration::ZERO, 7, identity, found);
    let mut bench = Bench { machine, now: Duration::ZERO, told: None };
    assert_eq!(bench.tell(Input::Tick), [Action::List, Action::Keep, Action::Grant]);
    bench.tell(Input::Granted(Ok(LEASED)));
    bench.check(SyncState::Starting, Some(2), &["table 3 is cut"]);
    bench.tell(Input::Kept(Ok(())));
    bench.check(SyncState::Starting, Some(2), &[]);
}

#[test]
fn degradations_are_acknowledged_as_they_come_and_go() {
    let mut bench = Bench::serving(3);
    bench.tell(Input::Degraded(vec![degradation("port 80 is taken")]));
    bench.check(SyncState::Current, Some(3), &["port 80 is taken"]);
    bench.tell(Input::Degraded(Vec::new()));
    bench.check(SyncState::Current, Some(3), &[]);
}

#[test]
fn a_registration_has_a_bound() {
    let mut bench = Bench::serving(3);
    let many = (0..5000).map(|port| degradation(&format!("port {port}: {}", "é".repeat(5000)))).collect();
    bench.tell(Input::Degraded(many));
    let told = bench.told.as_ref().unwrap();
    assert_eq!(told.problems.len(), REGISTERED_PROBLEMS_MAX + 1);
    assert!(told.problems.last().unwrap().message.contains("4950 more"));
    assert!(serde_json::to_vec(told).unwrap().len() < 256 << 10);
    assert_eq!(bench.machine.problems().len(), 5000);
}

#[test]
fn a_lost_lease_is_replaced_and_the_registration_written_under_the_new_one() {
    let mut bench = Bench::serving(3);
    let actions = bench.later(3000);
    assert_eq!(actions, [Action::KeepAlive(LEASED)]);
    assert_eq!(bench.tell(Input::KeptAlive(LEASED, Err(LeaseFault::Ended))), []);
    bench.told = None;
    assert_eq!(bench.later(200), [Action::Grant]);
    bench.tell(Input::Granted(Ok(Lease(2))));
    bench.check(SyncState::Current, Some(3), &[]);
    assert_eq!(bench.machine.lease(), Some(Lease(2)));
}

#[test]
fn a_late_answer_about_an_ended_lease_delays_nothing() {
    let mut bench = Bench::serving(3);
    assert_eq!(bench.later(3000), [Action::KeepAlive(LEASED)]);
    let actions = bench.machine.step(bench.now, Input::Degraded(vec![degradation("port 80 is taken")]));
    assert!(matches!(actions[..], [Action::Register(LEASED, _)]), "{actions:?}");
    bench.machine.step(bench.now, Input::Registered(LEASED, Err(LeaseFault::Ended)));
    bench.tell(Input::KeptAlive(LEASED, Ok(())));
    assert_eq!(bench.later(200), [Action::Grant]);
}

#[test]
fn a_registration_whose_fate_is_not_known_is_written_again() {
    let mut bench = Bench::serving(3);
    let taken = Input::Degraded(vec![degradation("port 80 is taken")]);
    let actions = bench.machine.step(bench.now, taken);
    assert!(matches!(actions[..], [Action::Register(_, _)]), "{actions:?}");
    bench.machine.step(bench.now, Input::Registered(LEASED, Err(LeaseFault::Other)));
    // It is as it was before, but the store may hold what was said meanwhile.
    assert_eq!(bench.machine.step(bench.now, Input::Degraded(Vec::new())), []);
    bench.told = None;
    bench.later(200);
    bench.check(SyncState::Current, Some(3), &[]);
}

#[test]
fn after_a_cut_all_is_read_and_told_anew() {
    let mut bench = Bench::serving(3);
    assert_eq!(bench.tell(Input::Watched(Err("cut".to_owned()))), []);
    assert_eq!(bench.machine.state(), SyncState::Disconnected);
    assert_eq!(bench.machine.fault(), Some("cut"));
    bench.told = None;
    assert_eq!(bench.later(100), [Action::List]);
    let actions = bench.tell(Input::Listed(Ok((table(3), Position(8)))));
    assert_eq!(actions, [Action::Watch { after: Position(8) }]);
    bench.check(SyncState::Current, Some(3), &[]);
}

#[test]
fn a_list_that_the_watch_overtook_is_not_believed() {
    let mut bench = Bench::serving(3);
    while !bench.later(1000).contains(&Action::List) {
        bench.tell(Input::KeptAlive(LEASED, Ok(())));
    }
    bench.see(table(4));
    assert_eq!(bench.tell(Input::Listed(Ok((table(3), Position(8))))), []);
    bench.take(4);
    bench.check(SyncState::Current, Some(4), &[]);
    assert_eq!(bench.machine.outcomes().outdated, 0);
}

#[test]
fn a_watch_that_says_nothing_is_found_out() {
    let mut bench = Bench::serving(3);
    while !bench.later(500).contains(&Action::List) {
        bench.tell(Input::KeptAlive(LEASED, Ok(())));
    }
    assert!(bench.now < Duration::from_secs(15), "{:?}", bench.now);
    let actions = bench.tell(Input::Listed(Ok((table(4), Position(8)))));
    assert_eq!(actions, [Action::Watch { after: Position(8) }, Action::Read(id(4), Bytes::new())]);
}

#[test]
fn the_age_of_what_is_known_is_told() {
    let mut bench = Bench::serving(3);
    assert_eq!(bench.machine.confirmed(), Some(Duration::ZERO));
    bench.later(700);
    bench.tell(Input::Watched(Ok(None)));
    assert_eq!(bench.machine.confirmed(), Some(Duration::from_millis(700)));
}

#[test]
fn a_store_that_is_away_is_asked_again_within_two_seconds() {
    let (mut bench, _) = Bench::new(Some(id(3)), table(3));
    bench.tell(Input::Watched(Err("cut".to_owned())));
    for _ in 0..100 {
        bench.tell(Input::KeptAlive(LEASED, Err(LeaseFault::Other)));
        let actions = bench.later(1500);
        assert!(actions.contains(&Action::List), "{actions:?}");
        bench.tell(Input::Listed(Err("away".to_owned())));
        assert_eq!(bench.machine.state(), SyncState::Disconnected);
    }
}
