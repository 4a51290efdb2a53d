//! Amounts as their authors write them: processors, memory, time. What is read is kept exactly and written so that it is
//! read back as the same.

use serde_json::{Number, Value, json};

use crate::decode::{Decoder, Field};
use crate::tree::Content;

/// Thousandths of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpu(pub u32);

/// Bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory(pub u64);

/// Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

const CPU_HINT: &str =
    "write processors as a number with up to three decimals, such as 0.25, or in thousandths, as 250m";
const MEMORY_HINT: &str = "write a number with its unit, such as 64MB or 1Gi; there are K, KB, M, MB, G, GB (powers of 1000) and Ki, KiB, Mi, MiB, Gi, GiB (powers of 1024)";
const TIME_HINT: &str = "write whole seconds, or a number with its unit, such as 30s, 5m or 1h";

/// The units of memory in bytes. The original takes `M` and `MB` for the same.
const MEMORY_UNITS: [(&str, u64); 12] = [
    ("k", 1_000),
    ("kb", 1_000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("ki", 1 << 10),
    ("kib", 1 << 10),
    ("mi", 1 << 20),
    ("mib", 1 << 20),
    ("gi", 1 << 30),
    ("gib", 1 << 30),
];

impl Cpu {
    /// Reads `0.25` or `250m`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let milli = match text.strip_suffix('m') {
            Some(milli) => scaled(milli, 1)?,
            None => scaled(text, 1_000)?,
        };
        u32::try_from(milli).ok().map(Self)
    }

    pub(crate) fn to_json(self) -> Value {
        let (whole, milli) = (self.0 / 1_000, self.0 % 1_000);
        let number = if milli == 0 { Some(Number::from(whole)) } else { Number::from_f64(f64::from(self.0) / 1_000.0) };
        number.map_or(Value::Null, Value::Number)
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Self> {
        let text = decoder.text(field, what)?;
        let cpu = Self::parse(text);
        if cpu.is_none() {
            decoder.refuse(field, format!("{what} is `{}`, which is no number of processors", shown(text)), CPU_HINT);
        }
        cpu
    }
}

impl Memory {
    /// Reads `64MB`, `1.5Gi`; a number without unit is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|found: char| !found.is_ascii_digit() && found != '.')?;
        let (number, unit) = text.split_at_checked(end)?;
        let unit = unit.trim().to_ascii_lowercase();
        let (_, bytes) = MEMORY_UNITS.into_iter().find(|(name, _)| *name == unit)?;
        scaled(number, bytes).map(Self)
    }

    /// In millions of bytes, with two decimals or as many as it takes.
    pub(crate) fn to_json(self) -> Value {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let decimals = format!("{rest:06}");
        let shortest = decimals.trim_end_matches('0');
        json!(format!("{whole}.{shortest:0<2}MB"))
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Self> {
        let text = decoder.text(field, what)?;
        let memory = Self::parse(text);
        if memory.is_none() {
            let bare = matches!(field.node.content, Content::Number(..));
            let hint = if bare { format!("write {text}MB if megabytes are meant") } else { MEMORY_HINT.to_owned() };
            decoder.refuse(field, format!("{what} is `{}`, which is no amount of memory", shown(text)), hint);
        }
        memory
    }
}

impl Seconds {
    /// Reads `30`, `30s`, `5 minutes`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text.find(|found: char| !found.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at_checked(end)?;
        let each: u32 = match unit.trim_start() {
            "" | "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            "h" | "hrs" | "hour" | "hours" => 3_600,
            _ => return None,
        };
        number.parse::<u32>().ok()?.checked_mul(each).map(Self)
    }

    pub(crate) fn to_json(self) -> Value {
        json!(format!("{}s", self.0))
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>, field: &Field<'_>, what: &str) -> Option<Self> {
        let text = decoder.text(field, what)?;
        let seconds = Self::parse(text);
        if seconds.is_none() {
            decoder.refuse(field, format!("{what} is `{}`, which is no time", shown(text)), TIME_HINT);
        }
        seconds
    }
}

/// A decimal number times `each`, if that is a whole number.
pub(crate) fn scaled(number: &str, each: u64) -> Option<u64> {
    /// LIMIT: decimals that are looked at; the smallest step of any unit has nine.
    const DECIMALS_MAX: usize = 9;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || number.ends_with('.') || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > DECIMALS_MAX {
        return None;
    }
    let power = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = u128::from(whole.parse::<u64>().ok()?) * u128::from(power)
        + if fraction.is_empty() { 0 } else { u128::from(fraction.parse::<u64>().ok()?) };
    let product = parts.checked_mul(u128::from(each))?;
    (product % u128::from(power) == 0).then(|| u64::try_from(product / u128::from(power)).ok())?
}

fn shown(text: &str) -> String {
    text.chars().take(80).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_the_original_are_read() {
        let memory = |text: &str| Memory::parse(text).map(Memory::to_json);
        assert_eq!(memory("512MB"), Some(json!("512.00MB")));
        assert_eq!(memory("1GB"), Some(json!("1000.00MB")));
        assert_eq!(memory("500K"), Some(json!("0.50MB")));
        assert_eq!(memory("1Gi"), Some(json!("1073.741824MB")));
        assert_eq!(memory("1 KiB"), Some(json!("0.001024MB")));
        assert_eq!((memory("512"), memory("MB"), memory("1.MB"), memory("-1MB"), memory("1TB")), Default::default());
        let cpu = |text: &str| Cpu::parse(text).map(Cpu::to_json);
        assert_eq!((cpu("250m"), cpu("0.25"), cpu("2")), (Some(json!(0.25)), Some(json!(0.25)), Some(json!(2))));
        assert_eq!((cpu("0.0001"), cpu("1e3"), cpu("")), (None, None, None));
        let seconds = |text: &str| Seconds::parse(text).map(|seconds| seconds.0);
        assert_eq!(
            (seconds("1m"), seconds("30"), seconds("2hours"), seconds("5 s")),
            (Some(60), Some(30), Some(7_200), Some(5))
        );
        assert_eq!((seconds("1M"), seconds("1.5s"), seconds("s"), seconds("99999999h")), (None, None, None, None));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in proptest::prelude::any::<u64>(), milli in proptest::prelude::any::<u32>()) {
            proptest::prop_assert_eq!(Memory(bytes).to_json().as_str().and_then(Memory::parse), Some(Memory(bytes)));
            proptest::prop_assert_eq!(Cpu::parse(&Cpu(milli).to_json().to_string()), Some(Cpu(milli)));
            let seconds = Seconds(milli);
            proptest::prop_assert_eq!(seconds.to_json().as_str().and_then(Seconds::parse), Some(seconds));
        }
    }
}
