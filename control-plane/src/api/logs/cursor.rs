//! How far the lines of instances were told, and the text by which a client that lost its stream says so.
//!
//! Lines have no numbers, but times: of each output of an instance the time of the last line is known, and how many
//! lines of that time were told. Each output is in the order of its times; the two of them together are not.

use std::collections::BTreeMap;

use super::FOLLOWED_MAX;
use crate::platform::{LogLine, LogOutput};

/// An instance that is followed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Followed {
    pub(super) is_open: bool,
    out: Position,
    error: Position,
}

/// The last line of an output.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Position {
    at_unix_ms: u64,
    /// How many lines of that time were told.
    told: u64,
    /// How many of these have come again since the output was opened anew.
    passed: u64,
    /// As long as nothing was told: lines from before this moment were left out.
    begun_unix_ms: u64,
}

impl Followed {
    /// Its lines are read from now on. With a moment those from before it are not all wanted, and come only once.
    pub(super) fn open(&mut self, begun_unix_ms: Option<u64>) {
        self.is_open = true;
        for position in [&mut self.out, &mut self.error] {
            position.passed = 0;
            if let Some(begun) = begun_unix_ms {
                position.begun_unix_ms = begun;
            }
        }
    }

    /// Whether a line is a new one, which is told now.
    pub(super) fn takes(&mut self, line: &LogLine) -> bool {
        match line.output {
            LogOutput::Out => self.out.takes(line.at_unix_ms),
            LogOutput::Error => self.error.takes(line.at_unix_ms),
        }
    }

    /// All of them as one word.
    pub(super) fn write_all(all: &BTreeMap<String, Self>) -> String {
        all.iter().map(|(id, followed)| followed.write(id)).collect::<Vec<_>>().join(",")
    }

    /// The part of that word that is about this one.
    fn write(&self, id: &str) -> String {
        format!("{id}={}={}", self.out.to_text(), self.error.to_text())
    }

    /// Such a word; `None`: it is none.
    pub(super) fn read_all(text: &str) -> Option<BTreeMap<String, Self>> {
        let mut all = BTreeMap::new();
        for one in text.split(',').filter(|one| !one.is_empty()) {
            let mut parts = one.split('=');
            let (id, out, error) = (parts.next()?, Position::read(parts.next()?)?, Position::read(parts.next()?)?);
            let is_id = |id: &str| {
                let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                (1..=63).contains(&id.len()) && id.bytes().all(is_part)
            };
            if parts.next().is_some() || !is_id(id) || all.len() >= FOLLOWED_MAX {
                return None;
            }
            all.insert(id.to_owned(), Self { is_open: false, out, error });
        }
        Some(all)
    }
}

/// When a client is told how far it came. The word for that is as long as there are instances, and would be most of the
/// stream with each line. So it comes with a line when as many bytes of lines came without it, and by itself while there
/// is time; any other line says in the field `position` which part of it is another one now.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Bytes since it was told.
    since: usize,
    /// How long it was.
    length: usize,
}

impl Cursor {
    /// The fields that go with a line of an instance.
    pub(super) fn with_line(&mut self, all: &BTreeMap<String, Followed>, id: &str, bytes: usize) -> String {
        self.since += bytes;
        if self.since >= self.length {
            return format!("id: {}\n", self.whole(all));
        }
        let part = all.get(id).map(|followed| followed.write(id)).unwrap_or_default();
        format!("position: {part}\n")
    }

    /// The whole of it by itself, unless it is known.
    pub(super) fn alone(&mut self, all: &BTreeMap<String, Followed>) -> Option<String> {
        (self.since > 0).then(|| format!("id: {}\n\n", self.whole(all)))
    }

    fn whole(&mut self, all: &BTreeMap<String, Followed>) -> String {
        let whole = Followed::write_all(all);
        (self.since, self.length) = (0, whole.len());
        whole
    }
}

impl Position {
    fn takes(&mut self, at_unix_ms: u64) -> bool {
        // Once what was told has come again, an earlier time is a clock that was set back.
        let is_live = self.told > 0 && self.passed == self.told;
        if at_unix_ms < self.at_unix_ms && !is_live {
            return false;
        }
        if at_unix_ms != self.at_unix_ms {
            (self.at_unix_ms, self.told, self.passed) = (at_unix_ms, 1, 1);
            return true;
        }
        if self.passed < self.told {
            self.passed += 1;
            return false;
        }
        self.told += 1;
        self.passed = self.told;
        true
    }

    fn to_text(&self) -> String {
        if self.told == 0 { format!("{}.0", self.begun_unix_ms) } else { format!("{}.{}", self.at_unix_ms, self.told) }
    }

    fn read(text: &str) -> Option<Self> {
        let (at, told) = text.split_once('.')?;
        let (at_unix_ms, told) = (at.parse().ok()?, told.parse().ok()?);
        Some(Self { at_unix_ms, told, passed: 0, begun_unix_ms: at_unix_ms })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(output: LogOutput, at_unix_ms: u64) -> LogLine {
        LogLine { at_unix_ms, output, text: String::new() }
    }

    fn again(followed: &Followed) -> Followed {
        let text = Followed::write_all(&BTreeMap::from([("a-1".to_owned(), followed.clone())]));
        Followed::read_all(&text).unwrap().remove("a-1").unwrap()
    }

    #[test]
    fn what_was_left_out_at_first_stays_left_out() {
        let mut followed = Followed::default();
        followed.open(Some(100));
        let mut resumed = again(&followed);
        resumed.open(None);
        assert!(!resumed.takes(&line(LogOutput::Out, 99)), "from before, and not wanted");
        assert!(resumed.takes(&line(LogOutput::Out, 100)));
        // One that came later tells all it has.
        let mut newcomer = Followed::default();
        newcomer.open(None);
        let mut resumed = again(&newcomer);
        resumed.open(None);
        assert!(resumed.takes(&line(LogOutput::Error, 1)));
    }

    #[test]
    fn the_cursor_is_not_most_of_the_stream_however_many_instances_there_are() {
        let told = |instances: usize| {
            let mut all: BTreeMap<_, _> =
                (0..instances).map(|index| (format!("instance-{index:02}"), Followed::default())).collect();
            let mut cursor = Cursor::default();
            let mut bytes = 0;
            for number in 0..1_000_u64 {
                let id = format!("instance-{:02}", usize::try_from(number).unwrap() % instances);
                assert!(all.get_mut(&id).unwrap().takes(&line(LogOutput::Out, number)));
                bytes += cursor.with_line(&all, &id, 100).len();
            }
            bytes
        };
        let lines = 1_000 * 100;
        for instances in [1, 2, 10, FOLLOWED_MAX] {
            assert!(told(instances) < 3 * lines / 2, "{} with {instances}", told(instances));
        }
    }

    #[test]
    fn who_puts_the_parts_together_has_the_whole() {
        let mut all = BTreeMap::from(["a", "b", "c"].map(|id| (id.to_owned(), Followed::default())));
        let (mut cursor, mut known, mut parts) = (Cursor::default(), BTreeMap::new(), 0);
        for (number, id) in ["a", "b", "b", "c", "a", "b"].iter().cycle().take(60).enumerate() {
            assert!(all.get_mut(*id).unwrap().takes(&line(LogOutput::Error, number as u64)));
            let fields = cursor.with_line(&all, id, 10);
            let (field, value) = fields.trim_end().split_once(": ").unwrap();
            if field == "id" {
                known.clear();
            } else {
                parts += 1;
            }
            known.extend(value.split(',').map(|part| part.split_once('=').unwrap()).map(own));
            let whole: BTreeMap<_, _> =
                Followed::write_all(&all).split(',').map(|part| own(part.split_once('=').unwrap())).collect();
            assert_eq!(known, whole);
        }
        assert!(parts > 30, "{parts}");
        let last = cursor.alone(&all).unwrap();
        assert_eq!(last, format!("id: {}\n\n", Followed::write_all(&all)));
        assert_eq!(cursor.alone(&all), None, "it is known");
    }

    fn own((id, at): (&str, &str)) -> (String, String) {
        (id.to_owned(), at.to_owned())
    }

    #[test]
    fn what_is_no_cursor_is_none() {
        for text in ["a", "a=1.1", "a=1=2", "a=1.1=2.2=3", "A=1.1=2.2", "a=-1.1=2.2", "a b=1.1=2.2", "=1.1=1.1", "7"] {
            assert_eq!(Followed::read_all(text), None, "{text}");
        }
        let many: Vec<String> = (0..=FOLLOWED_MAX).map(|index| format!("i{index}=0.0=0.0,")).collect();
        assert_eq!(Followed::read_all(&many.concat()), None);
        assert_eq!(Followed::read_all(""), Some(BTreeMap::new()));
    }

    proptest! {
        /// Both outputs with many lines of the same time, mixed as they may be, read anew at any moment and mixed anew.
        #[test]
        fn no_line_is_told_twice_and_none_is_lost(
            steps in prop::collection::vec((any::<bool>(), 0_u64..3), 0..40),
            breaks in prop::collection::vec(0_usize..40, 0..5),
            turn in any::<bool>(),
        ) {
            let mut time = [1_u64, 1];
            let lines: Vec<LogLine> = steps.iter().map(|(is_out, later)| {
                let time = &mut time[usize::from(*is_out)];
                *time += later;
                line(if *is_out { LogOutput::Out } else { LogOutput::Error }, *time)
            }).collect();
            let mut followed = Followed::default();
            followed.open(None);
            let mut told = Vec::new();
            let mut breaks = breaks;
            breaks.push(lines.len());
            for end in breaks {
                // After a break everything is read again, each output in its order.
                let mut read = lines.clone();
                if turn {
                    read.sort_by_key(|line| line.output == LogOutput::Out);
                }
                for line in read.into_iter().take(end) {
                    if followed.takes(&line) {
                        told.push(line);
                    }
                }
                followed = again(&followed);
                followed.open(None);
            }
            let count = |lines: &[LogLine], output, at| lines.iter().filter(|line| (line.output, line.at_unix_ms) == (output, at)).count();
            for line in &lines {
                prop_assert_eq!(count(&told, line.output, line.at_unix_ms), count(&lines, line.output, line.at_unix_ms));
            }
            prop_assert_eq!(told.len(), lines.len());
        }
    }
}
