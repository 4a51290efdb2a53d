//! Periods and points in time as ISO 8601 writes them: `P1DT12H`, `2026-03-01T08:00:00Z`.

use std::fmt;

/// How long it is from one time to the next. The parts stand for themselves, since a month has no fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Period {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Weeks.
    pub weeks: u32,
    /// Days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
    /// Minutes.
    pub minutes: u32,
    /// Seconds.
    pub seconds: u32,
    /// Billionths of a second, below a whole one.
    pub nanoseconds: u32,
}

/// LIMIT: decimals of a second.
const NANOSECONDS: usize = 9;

impl Period {
    /// One second: what the original takes for an empty text.
    pub const SECOND: Self =
        Self { years: 0, months: 0, weeks: 0, days: 0, hours: 0, minutes: 0, seconds: 1, nanoseconds: 0 };

    /// Reads `P1Y2M3W4DT5H6M7.5S`: at least one part, in this order, and longer than nothing in all.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('P')?;
        let (date, time) = match rest.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (rest, None),
        };
        if date.is_empty() && time.is_none() || time.is_some_and(str::is_empty) {
            return None;
        }
        let mut period = Self::default();
        let Self { years, months, weeks, days, hours, minutes, seconds, nanoseconds } = &mut period;
        let rest = take(date, [('Y', years), ('M', months), ('W', weeks), ('D', days)])?;
        if !rest.is_empty() {
            return None;
        }
        let rest = take(time.unwrap_or_default(), [('H', hours), ('M', minutes)])?;
        if let Some(given) = rest.strip_suffix('S') {
            let (whole, fraction) = given.split_once('.').map_or((given, None), |(whole, rest)| (whole, Some(rest)));
            *seconds = number(whole)?;
            if let Some(fraction) = fraction {
                let fraction = Some(fraction).filter(|fraction| (1..=NANOSECONDS).contains(&fraction.len()))?;
                *nanoseconds = number(&format!("{fraction:0<NANOSECONDS$}"))?;
            }
        } else if !rest.is_empty() {
            return None;
        }
        (period != Self::default()).then_some(period)
    }
}

/// Takes the leading parts that are there, each with its letter; what is left comes back.
fn take<'t, const N: usize>(mut text: &'t str, parts: [(char, &mut u32); N]) -> Option<&'t str> {
    for (letter, part) in parts {
        let end = text.find(|found: char| !found.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at_checked(end)?;
        if let Some(rest) = rest.strip_prefix(letter) {
            *part = number(digits)?;
            text = rest;
        }
    }
    Some(text)
}

/// Digits alone: no sign.
fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |count: u32, letter: char| if count == 0 { String::new() } else { format!("{count}{letter}") };
        let date = [(self.years, 'Y'), (self.months, 'M'), (self.weeks, 'W'), (self.days, 'D')];
        let time = [(self.hours, 'H'), (self.minutes, 'M')];
        let date: String = date.into_iter().map(|(count, letter)| part(count, letter)).collect();
        let mut time: String = time.into_iter().map(|(count, letter)| part(count, letter)).collect();
        if self.nanoseconds == 0 {
            time.push_str(&part(self.seconds, 'S'));
        } else {
            let fraction = format!("{:0NANOSECONDS$}", self.nanoseconds);
            time.push_str(&format!("{}.{}S", self.seconds, fraction.trim_end_matches('0')));
        }
        if time.is_empty() { write!(f, "P{date}") } else { write!(f, "P{date}T{time}") }
    }
}

/// Whether a text is a date with a time and its offset from UTC, as RFC 3339 profiles ISO 8601; the seconds may be missing.
pub(crate) fn is_moment(text: &str) -> bool {
    let parsed = || {
        let (date, time) = text.split_once('T')?;
        let mut date = date.splitn(3, '-').map(|part| number(part).map(|found| (found, part.len())));
        let (year, month, day) = (date.next()??, date.next()??, date.next()??);
        let is_date = (year.1, month.1, day.1) == (4, 2, 2)
            && (1..=12).contains(&month.0)
            && (1..=days_of(year.0, month.0)).contains(&day.0);
        let (clock, offset) = match time.strip_suffix('Z') {
            Some(clock) => (clock, None),
            None => time
                .rfind(['+', '-'])
                .and_then(|at| time.split_at_checked(at))
                .map(|(clock, to)| (clock, to.get(1..)))?,
        };
        let is_offset = offset.is_none_or(|offset| offset.len() == 5 && is_clock(offset));
        Some(is_date && is_offset && is_clock(clock))
    };
    parsed().unwrap_or(false)
}

/// `08:00`, `08:00:30` or `08:00:30.5`.
fn is_clock(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let parts: Vec<&str> = whole.split(':').collect();
    let is_below = |part: &str, bound| part.len() == 2 && number(part).is_some_and(|found| found < bound);
    let is_fraction = |part: &str| (1..=NANOSECONDS).contains(&part.len()) && number(part).is_some();
    match (parts.as_slice(), fraction) {
        ([hours, minutes], None) => is_below(hours, 24) && is_below(minutes, 60),
        ([hours, minutes, seconds], fraction) => {
            is_below(hours, 24) && is_below(minutes, 60) && is_below(seconds, 60) && fraction.is_none_or(is_fraction)
        }
        _ => false,
    }
}

fn days_of(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn periods_are_read_as_iso_8601_has_them() {
        for text in ["PT5S", "P1Y2M3W4DT5H6M7.5S", "P2W", "PT0.000000001S", "P1D", "PT36H"] {
            assert_eq!(Period::parse(text).unwrap().to_string(), text);
        }
        let five = Period { minutes: 5, seconds: 30, ..Period::default() };
        assert_eq!(Period::parse("P0DT05M30.0S"), Some(five));
        for text in [
            "",
            "P",
            "PT",
            "P1DT",
            "5s",
            "PT5",
            "P5S",
            "PT5D",
            "PT1M1H",
            "P1D1Y",
            "P-1D",
            "-P1D",
            "pt5s",
            "PT1.S",
            "PT.5S",
            "P1.5D",
            "PT0S",
            "PT1S ",
            "P99999999999D",
            "PT1.0000000001S",
            "PT1H1H",
            "P1Y2",
            "PTé",
        ] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }

    #[test]
    fn moments_have_a_date_a_time_and_an_offset() {
        for text in ["2026-03-01T08:00:00Z", "2024-02-29T23:59:59.123+01:00", "2026-03-01T08:00-05:30"] {
            assert!(is_moment(text), "{text}");
        }
        for text in [
            "2026-03-01",
            "2026-03-01T08:00",
            "2026-02-29T08:00Z",
            "2026-13-01T08:00Z",
            "2026-3-1T08:00Z",
            "2026-03-01T24:00Z",
            "2026-03-01T08:00:60Z",
            "2026-03-01T08:00:00.Z",
            "2026-03-01 08:00Z",
            "now",
            "",
            "TZ",
            "2026-03-01T08:00+1:00",
        ] {
            assert!(!is_moment(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(parts in any::<[u32; 7]>(), nanoseconds in 0..1_000_000_000_u32) {
            let [years, months, weeks, days, hours, minutes, seconds] = parts;
            let period = Period { years, months, weeks, days, hours, minutes, seconds, nanoseconds };
            let expected = (period != Period::default()).then_some(period);
            prop_assert_eq!(Period::parse(&period.to_string()), expected);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[PT0-9YMWDHS.é:+-]{0,20}") {
            let read = Period::parse(&text).map(|period| Period::parse(&period.to_string()) == Some(period));
            prop_assert!(read != Some(false) && !(is_moment(&text) && text.is_empty()), "{}", text);
        }
    }
}
