//! What the ship machine promises, one claim at a time.

use super::*;

/// A machine whose template is there, with these documents handed in; and what it sends.
fn machine_with(documents: &[&str]) -> (ShipMachine, Vec<(u64, String)>) {
    let mut machine = ShipMachine::new(Duration::ZERO, 1);
    let actions = machine.step(Duration::ZERO, Input::Tick);
    assert!(matches!(*actions, [Action::PutTemplate]), "{actions:?}");
    machine.step(Duration::ZERO, Input::Template(Ok(())));
    let actions = machine.step(Duration::from_secs(1), Input::Tick);
    assert!(matches!(*actions, [Action::Take { .. }]), "{actions:?}");
    let documents = documents.iter().map(|text| Document::new(Bytes::from((*text).to_owned()))).collect();
    let actions = machine.step(Duration::from_secs(1), Input::Taken { documents, unwritable: 0, more: false });
    (machine, sent(actions))
}

fn sent(actions: Vec<Action>) -> Vec<(u64, String)> {
    let sent = |action| match action {
        Action::Send { bulk, body, .. } => Some((bulk, String::from_utf8(body).unwrap())),
        _ => None,
    };
    actions.into_iter().filter_map(sent).collect()
}

/// Answers one bulk request now; what is sent then, at once or after the wait.
fn answer(machine: &mut ShipMachine, bulk: u64, answer: Result<Vec<ItemOutcome>, Fault>) -> Vec<(u64, String)> {
    let mut all = sent(machine.step(machine.now, Input::Answer { bulk, answer }));
    if all.is_empty() && machine.now < machine.resume_at {
        all = sent(machine.step(machine.resume_at, Input::Tick));
    }
    all
}

fn bodies(sent: &[(u64, String)]) -> Vec<&str> {
    sent.iter().map(|(_, body)| body.as_str()).collect()
}

#[test]
fn nothing_is_taken_before_the_template_is_there() {
    let mut machine = ShipMachine::new(Duration::ZERO, 1);
    machine.step(Duration::ZERO, Input::Tick);
    assert!(machine.step(Duration::from_hours(1), Input::Waiting).is_empty());
    let refused = Fault::Refused { reason: "503".to_owned(), retry_after: None };
    let actions = machine.step(Duration::from_hours(1), Input::Template(Err(refused)));
    assert!(matches!(*actions, [Action::Tell(Notice::Down(_))]), "{actions:?}");
    let actions = machine.step(machine.due().unwrap(), Input::Tick);
    assert!(matches!(*actions, [Action::PutTemplate]), "{actions:?}");
}

#[test]
fn what_found_no_room_is_sent_again_as_it_was_and_what_is_refused_is_not() {
    let (mut machine, first) = machine_with(&["a", "b", "c"]);
    assert_eq!(bodies(&first), ["abc"]);
    let outcomes = vec![ItemOutcome::Stored, ItemOutcome::Busy, ItemOutcome::Rejected("mapping".to_owned())];
    machine.step(machine.now, Input::Answer { bulk: first[0].0, answer: Ok(outcomes) });
    assert_eq!((machine.tally.shipped, machine.tally.refused, machine.held()), (1, 1, 1));
    // With it go new documents, if there are any: the machine asks for them first.
    let actions = machine.step(machine.now + LINGER, Input::Tick);
    assert!(matches!(*actions, [Action::Take { .. }]), "{actions:?}");
    let again = machine.step(machine.now, Input::Taken { documents: Vec::new(), unwritable: 0, more: false });
    assert_eq!(bodies(&sent(again)), ["b"]);
}

#[test]
fn a_request_that_is_too_large_is_halved_at_once_down_to_the_document_to_blame() {
    let (mut machine, first) = machine_with(&["a", "b", "c", "dd"]);
    let halves = answer(&mut machine, first[0].0, Err(Fault::TooLarge));
    assert_eq!(bodies(&halves), ["ab", "c"]);
    let began_at = machine.now;
    let mut open: VecDeque<_> = halves.into();
    while let Some((bulk, body)) = open.pop_front() {
        let outcome = if body == "dd" { Err(Fault::TooLarge) } else { Ok(vec![ItemOutcome::Stored; body.len()]) };
        open.extend(answer(&mut machine, bulk, outcome));
    }
    assert_eq!((machine.tally.shipped, machine.tally.refused, machine.held()), (3, 1, 0));
    assert_eq!(machine.now, began_at, "no wait");
    assert_eq!(machine.bytes_max, BULK_BYTES_MAX, "the others are not to suffer");
}

#[test]
fn a_lost_answer_sends_the_same_documents_after_the_template() {
    let (mut machine, first) = machine_with(&["a", "b"]);
    machine.step(machine.now, Input::Answer { bulk: first[0].0, answer: Err(Fault::Lost("reset".to_owned())) });
    let actions = machine.step(machine.resume_at, Input::Tick);
    assert!(matches!(*actions, [Action::PutTemplate]), "{actions:?}");
    let again = sent(machine.step(machine.now, Input::Template(Ok(()))));
    assert_eq!(bodies(&again), ["ab"]);
}

#[test]
fn the_server_says_how_long_to_wait_but_not_longer_than_a_minute() {
    for (asked_s, waited_s) in [(7, 7), (3_600, 60)] {
        let (mut machine, first) = machine_with(&["a"]);
        let retry_after = Some(Duration::from_secs(asked_s));
        let refused = Fault::Refused { reason: "429".to_owned(), retry_after };
        machine.step(machine.now, Input::Answer { bulk: first[0].0, answer: Err(refused) });
        assert_eq!(machine.due(), Some(machine.now + Duration::from_secs(waited_s)));
    }
}

#[test]
fn answers_that_come_late_or_twice_change_nothing() {
    let (mut machine, first) = machine_with(&["a"]);
    machine.give_up(5);
    assert_eq!((machine.tally.shutdown, machine.held()), (6, 0));
    machine.step(machine.now, Input::Answer { bulk: first[0].0, answer: Ok(vec![ItemOutcome::Stored]) });
    assert_eq!((machine.tally.shutdown, machine.tally.shipped), (6, 0));
}
