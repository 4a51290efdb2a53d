//! Runs each target for all of its corpus and for inputs grown from it. `VAMP_FUZZ_RUNS` says for how many (default
//! 5,000), `VAMP_FUZZ_FIRST` from which number on (default 0); the number of a failed run and its input are in the failure.
//! The same number gives the same input, as long as the corpus stays.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// A small generator of Marsaglia's kind: the same seed gives the same inputs everywhere.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// Changes a seed here and there: bytes drawn, cut out, doubled, or taken from another seed.
fn grown(seeds: &[Vec<u8>], run: u64) -> Vec<u8> {
    let mut draws = Draws(run.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let seed = &seeds[draws.below(seeds.len())];
    let mut bytes = seed.clone();
    let mut changes = 1 + draws.below(7);
    // A change may change nothing, or take back another one.
    while changes > 0 || bytes == *seed {
        changes = changes.saturating_sub(1);
        let start = draws.below(bytes.len() + 1);
        let end = (start + draws.below(12)).min(bytes.len());
        let other = &seeds[draws.below(seeds.len())];
        let from = draws.below(other.len());
        let to = (from + draws.below(12)).min(other.len());
        let drawn = [u8::try_from(draws.below(256)).unwrap()];
        let piece = match draws.below(4) {
            0 => drawn.to_vec(),
            1 => Vec::new(),
            2 => bytes[start..end].repeat(2),
            _ => other[from..to].to_vec(),
        };
        bytes.splice(start..end, piece);
    }
    bytes
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Names in a folder, without endings.
fn names(name: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder(name)).unwrap();
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

/// The corpus of a target, in an order that is the same everywhere.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let mut files: Vec<_> =
        std::fs::read_dir(folder("corpus").join(target)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    assert!(!files.is_empty(), "the corpus of `{target}` is empty");
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

#[track_caller]
fn check(name: &str) {
    let (_, target) = vamp_fuzz::TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    let seeds = corpus(name);
    let holds = |what: &str, input: &[u8]| {
        assert!(catch_unwind(|| target(input)).is_ok(), "{name}, {what}: {:?}", String::from_utf8_lossy(input));
    };
    seeds.iter().for_each(|seed| holds("a seed", seed));
    let number = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |number| number.parse().unwrap());
    let (first, runs): (u64, u64) = (number("VAMP_FUZZ_FIRST", 0), number("VAMP_FUZZ_RUNS", 5_000));
    (first..first + runs).for_each(|run| holds(&format!("run {run}"), &grown(&seeds, run)));
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    access client_address compose condition cookies counts document elastic_url kept_table proxy_header registration requests
    responses settings store_url wire
}

/// A codec that refuses everything keeps every promise of the targets but these. Most of the corpus is there because it is
/// wrong in one way; what is plain in it, and in what is grown from it, is what the codec must take.
#[test]
fn enough_of_the_inputs_is_taken_and_must_be() {
    let check = |target: &str, taken: fn(&[u8]) -> bool, plain: fn(&[u8]) -> bool, least: [usize; 3]| {
        let seeds = corpus(target);
        let grown: Vec<_> = (0..5_000).map(|run| grown(&seeds, run)).collect();
        let of = |inputs: &[Vec<u8>], is: fn(&[u8]) -> bool| inputs.iter().filter(|input| is(input)).count();
        let counts = [of(&seeds, taken), of(&seeds, plain), of(&grown, plain)];
        assert!(
            counts.iter().zip(least).all(|(count, least)| *count >= least),
            "{target}: {counts:?} of {}",
            seeds.len()
        );
    };
    check("requests", |seed| vamp_fuzz::requests_taken(seed) > 0, vamp_fuzz::begins_with_a_plain_request, [60, 20, 90]);
    check(
        "responses",
        vamp_fuzz::response_is_taken,
        |data| {
            data.split_first()
                .is_some_and(|(asked, rest)| vamp_fuzz::begins_with_a_plain_response(rest, asked & 1 != 0))
        },
        [40, 8, 8],
    );
}

#[test]
fn a_grown_input_is_no_seed() {
    let seeds = [b"GET / HTTP/1.1".to_vec()];
    assert!((0..10_000).all(|run| grown(&seeds, run) != seeds[0]));
}

#[test]
fn every_target_is_tested_and_has_a_program_and_a_corpus() {
    let named: Vec<_> = vamp_fuzz::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(TESTED, named);
    let named: BTreeSet<String> = named.into_iter().map(str::to_owned).collect();
    assert_eq!(names("fuzz_targets"), named);
    assert_eq!(names("corpus"), named);
}
