//! Rules on source files.

use crate::{TreeFile, made_up, report, tree};

fn rust_files() -> Vec<TreeFile> {
    tree().into_iter().filter(is_rust).collect()
}

fn is_rust(file: &TreeFile) -> bool {
    std::path::Path::new(&file.path).extension().is_some_and(|extension| extension == "rs")
}

fn lines(file: &TreeFile) -> impl Iterator<Item = (usize, &str)> {
    file.text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn says_what_it_is_for(file: &TreeFile) -> Option<String> {
    (!file.text.starts_with("//!"))
        .then(|| format!("{}:1: no `//!`; say what the module is for and promises", file.path))
}

fn has_a_telling_name(file: &TreeFile) -> Option<String> {
    const VAGUE: [&str; 7] = ["util", "utils", "common", "helpers", "misc", "types", "manager"];
    let stem = std::path::Path::new(&file.path).file_stem()?.to_str()?;
    VAGUE.contains(&stem).then(|| format!("{}:1: `{stem}` fits anything; name what is in it", file.path))
}

fn leaves_no_marks(file: &TreeFile) -> Vec<String> {
    // Written apart, so that this file does not offend itself.
    let marks = [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:"), concat!("TO", "DO")];
    let offence = |(number, line): (usize, &str)| {
        let mark = marks.iter().find(|mark| line.contains(*mark))?;
        Some(format!("{}:{number}: `{mark}`; do it, or write an issue", file.path))
    };
    lines(file).filter_map(offence).collect()
}

fn names_its_tests_by_claims(file: &TreeFile) -> Vec<String> {
    let mut is_marked = false;
    let mut offences = Vec::new();
    for (number, line) in lines(file) {
        let line = line.trim_start();
        let name = line.trim_start_matches("async ").strip_prefix("fn ");
        if is_marked && name.is_some_and(|name| name.starts_with(concat!("te", "st_"))) {
            offences.push(format!("{}:{number}: a test is named by its claim; leave out the prefix", file.path));
        }
        is_marked = line.starts_with("#[test]") || line.starts_with("#[tokio::test") || (is_marked && name.is_none());
    }
    offences
}

fn gives_reasons_for_ignored_tests(file: &TreeFile) -> Vec<String> {
    let bare = concat!("#[ign", "ore]");
    let offence = |(number, line): (usize, &str)| {
        line.contains(bare).then(|| format!("{}:{number}: a test left out without a reason; give it", file.path))
    };
    lines(file).filter_map(offence).collect()
}

#[test]
fn every_source_file_says_what_it_is_for() {
    report(&rust_files().iter().filter_map(says_what_it_is_for).collect::<Vec<_>>());
    assert!(says_what_it_is_for(&made_up("a.rs", "use b;")).is_some());
    assert!(says_what_it_is_for(&made_up("a.rs", "//! A.")).is_none());
}

#[test]
fn no_file_has_a_name_that_fits_anything() {
    report(&rust_files().iter().filter_map(has_a_telling_name).collect::<Vec<_>>());
    assert!(has_a_telling_name(&made_up("a/utils.rs", "")).is_some());
    assert!(has_a_telling_name(&made_up("a/split.rs", "")).is_none());
}

#[test]
fn no_work_is_left_as_a_mark() {
    report(&rust_files().iter().flat_map(leaves_no_marks).collect::<Vec<_>>());
    assert_eq!(leaves_no_marks(&made_up("a.rs", concat!("//! A.\n// TO", "DO later"))).len(), 1);
}

#[test]
fn tests_are_named_by_their_claims() {
    report(&rust_files().iter().flat_map(names_its_tests_by_claims).collect::<Vec<_>>());
    let offending = concat!(
        "#[test]\nfn te",
        "st_split() {}\n#[tokio::test]\n    async fn te",
        "st_more() {}\nfn te",
        "st_of() {}"
    );
    assert_eq!(names_its_tests_by_claims(&made_up("a.rs", offending)).len(), 2);
    assert!(names_its_tests_by_claims(&made_up("a.rs", "fn a_split_is_exact() {}")).is_empty());
}

#[test]
fn no_test_is_left_out_without_a_reason() {
    report(&rust_files().iter().flat_map(gives_reasons_for_ignored_tests).collect::<Vec<_>>());
    assert_eq!(gives_reasons_for_ignored_tests(&made_up("a.rs", concat!("#[ign", "ore]"))).len(), 1);
}

#[test]
fn the_table_is_loaded_in_one_place() {
    let loads: Vec<_> = rust_files()
        .iter()
        .filter(|file| file.path.starts_with("gateway/src/proxy/") && !file.path.contains("/tests"))
        .flat_map(|file| {
            let is_load = |line: &str| line.contains(".serving()") && !line.trim_start().starts_with("//");
            lines(file).filter(|(_, line)| is_load(line)).map(|_| file.path.clone()).collect::<Vec<_>>()
        })
        .collect();
    // Once for a request with a head, and once for bytes that never became one, whose record names the table too.
    let allowed = ["gateway/src/proxy/connection.rs", "gateway/src/proxy/hear.rs"];
    assert_eq!(loads, allowed, "a request sees one table from its first to its last byte");
}
