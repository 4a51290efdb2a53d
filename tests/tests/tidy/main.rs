//! House rules, each a test; the rule itself is tested on made-up files.
//!
//! A rule says `path:line: what; mend`. A rule that no check keeps would be broken everywhere soon.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what fails here is a failed test, and the panic tells which"
)]

mod crates;
mod prose;
mod source;

use std::path::{Path, PathBuf};

/// A file of the tree: its path from the root, with `/`, and its text.
#[derive(Debug, Clone)]
struct TreeFile {
    path: String,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in a folder of the root")
}

/// All files that the tree keeps and that are text; what git ignores is not the tree's.
fn tree() -> Vec<TreeFile> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is there: the tree came with it");
    assert!(listed.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("paths of the tree are text");
    paths
        .split('\0')
        .filter(|path| !path.is_empty())
        .filter_map(|path| {
            let text = std::fs::read_to_string(PathBuf::from(root()).join(path)).ok()?;
            Some(TreeFile { path: path.to_owned(), text })
        })
        .collect()
}

/// Fails with everything that breaks a rule.
#[track_caller]
fn report(offences: &[String]) {
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

/// A made-up file, for the tests of the rules.
#[cfg(test)]
fn made_up(path: &str, text: &str) -> TreeFile {
    TreeFile { path: path.to_owned(), text: text.to_owned() }
}
