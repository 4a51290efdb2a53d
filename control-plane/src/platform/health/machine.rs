//! One check of one instance: counts answers and says when to ask next. No clock and no socket: time is passed in.

use std::time::Duration;

use super::{Health, HealthCheck};

/// LIMIT: an instance is asked a hundred times a second at most, whatever the check says.
const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// One check of one instance. Time is counted from any fixed moment.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    check: HealthCheck,
    health: Health,
    /// Answers in a row that contradict the present health; good ones while it is unknown.
    good: u32,
    bad: u32,
    /// When to ask next; `None` while a question is open.
    next: Option<Duration>,
}

impl Machine {
    /// A check of an instance that started just now.
    pub(super) fn new(check: HealthCheck, now: Duration) -> Self {
        let next = Some(now.saturating_add(check.initial_delay));
        Self { check, health: Health::Unknown, good: 0, bad: 0, next }
    }

    /// The check that it is for.
    pub(super) fn check(&self) -> &HealthCheck {
        &self.check
    }

    /// How the instance is, by this check.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// When to ask next; nothing while a question is open.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    /// The question is being asked.
    pub(super) fn asked(&mut self) {
        self.next = None;
    }

    /// An answer, or why it is bad, to the question that was asked at `asked`; whether the health changed.
    pub(super) fn answered(&mut self, answer: Result<(), String>, asked: Duration, now: Duration) -> bool {
        self.ask_again(asked, now);
        let before = self.health.clone();
        match answer {
            Ok(()) => {
                self.bad = 0;
                self.good = self.good.saturating_add(1);
                if self.good >= self.check.successes.max(1) {
                    self.health = Health::Passing;
                }
            }
            Err(reason) => {
                self.good = 0;
                self.bad = self.bad.saturating_add(1);
                if self.check.failures > 0 && self.bad >= self.check.failures {
                    self.health = Health::Failing { reason };
                }
            }
        }
        self.health != before
    }

    /// The question could not be asked: nothing is learnt.
    pub(super) fn unanswered(&mut self, asked: Duration, now: Duration) -> bool {
        self.ask_again(asked, now);
        false
    }

    /// Counted from the question, so that slow answers do not thin out the questions; never at once.
    fn ask_again(&mut self, asked: Duration, now: Duration) {
        let interval = self.check.interval.max(INTERVAL_MIN);
        self.next = Some(asked.saturating_add(interval).max(now.saturating_add(INTERVAL_MIN)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn machine(failures: u32, successes: u32) -> Machine {
        let check = HealthCheck {
            probe: Probe::Tcp { port: "web".to_owned() },
            initial_delay: seconds(3),
            interval: seconds(10),
            timeout: seconds(1),
            failures,
            successes,
        };
        Machine::new(check, seconds(100))
    }

    /// Gives answers (`+` good, `-` bad) and tells the health after each: `?`, `+` or `-`.
    #[track_caller]
    fn check(failures: u32, successes: u32, answers: &str, healths: &str) {
        let mut machine = machine(failures, successes);
        let mut told = String::new();
        for answer in answers.chars() {
            let asked = machine.next().unwrap();
            machine.asked();
            assert_eq!(machine.next(), None);
            let answer = if answer == '+' { Ok(()) } else { Err("down".to_owned()) };
            machine.answered(answer, asked, asked);
            told.push(match machine.health() {
                Health::Unknown => '?',
                Health::Passing => '+',
                Health::Failing { .. } => '-',
            });
        }
        assert_eq!(told, healths, "{answers}");
    }

    #[test]
    fn answers_in_a_row_decide() {
        check(3, 2, "+++", "?++");
        check(3, 2, "++--+---", "?++++++-");
        check(3, 2, "---+-++", "??----+");
        check(1, 1, "-+-+", "-+-+");
        check(1, 0, "+", "+");
    }

    #[test]
    fn a_check_of_no_failures_never_fails() {
        check(0, 1, "---+---", "???++++");
    }

    #[test]
    fn questions_start_after_the_delay_and_keep_their_interval_whatever_an_answer_takes() {
        let mut machine = machine(1, 1);
        assert_eq!(machine.next(), Some(seconds(103)));
        machine.asked();
        assert!(machine.answered(Ok(()), seconds(103), seconds(104)));
        assert_eq!(machine.next(), Some(seconds(113)));
        machine.asked();
        assert!(!machine.answered(Ok(()), seconds(113), seconds(130)));
        assert_eq!(machine.next(), Some(seconds(130) + INTERVAL_MIN));
    }

    #[test]
    fn the_last_reason_is_told() {
        let mut machine = machine(1, 1);
        machine.answered(Err("one".to_owned()), seconds(103), seconds(103));
        assert!(machine.answered(Err("two".to_owned()), seconds(113), seconds(113)));
        assert_eq!(machine.health(), &Health::Failing { reason: "two".to_owned() });
    }
}
