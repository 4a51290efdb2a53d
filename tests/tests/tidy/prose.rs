//! Rules on prose: what it names exists, and it names nothing that rots or belongs to one machine.

use crate::{TreeFile, made_up, report, tree};

fn is_prose(file: &TreeFile) -> bool {
    std::path::Path::new(&file.path).extension().is_some_and(|extension| extension == "md")
}

/// Pages whose words in backticks are symbols and files of this tree.
fn is_a_map(path: &str) -> bool {
    path == "ARCHITECTURE.md"
        || path == "docs/exact-splits.md"
        || path == "docs/threat-model.md"
        || path.starts_with("docs/life-of-")
}

fn cites_no_line_numbers(file: &TreeFile) -> Vec<String> {
    let is_cited = |word: &str| {
        word.split_once(".rs:").is_some_and(|(_, rest)| rest.starts_with(|digit: char| digit.is_ascii_digit()))
    };
    file.text
        .lines()
        .enumerate()
        .filter(|(_, line)| line.split_whitespace().any(is_cited))
        .map(|(index, _)| format!("{}:{}: cites a line number, which rots; name the symbol", file.path, index + 1))
        .collect()
}

/// Words in backticks, outside of code blocks.
fn quoted(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut words = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code && !line.starts_with("    ") {
            words.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    words
}

/// Whether a quoted word names something that stands in the tree.
fn exists(word: &str, tree: &[TreeFile]) -> bool {
    let path = word.trim_end_matches('/');
    if tree.iter().any(|file| file.path == path || file.path.starts_with(&format!("{path}/"))) {
        return true;
    }
    // A path of symbols stands if its last part does.
    let symbol = word.rsplit("::").next().unwrap_or(word).trim_end_matches("()").trim_end_matches('!');
    tree.iter().filter(|file| !is_prose(file)).any(|file| file.text.contains(symbol))
}

#[test]
fn maps_name_only_what_is_there() {
    let tree = tree();
    let offences: Vec<_> = tree
        .iter()
        .filter(|file| is_a_map(&file.path))
        .flat_map(|file| quoted(&file.text).into_iter().map(|word| (file.path.clone(), word)))
        .filter(|(_, word)| !exists(word, &tree))
        .map(|(path, word)| format!("{path}: `{word}` is not in the tree; correct the page"))
        .collect();
    report(&offences);
    assert!(tree.iter().any(|file| file.path == "ARCHITECTURE.md"), "the map is missing");
    let made_up_tree = [made_up("a/b.rs", "fn split() {}")];
    assert!(exists("a/", &made_up_tree) && exists("a::split()", &made_up_tree) && !exists("merge", &made_up_tree));
}

#[test]
fn no_page_cites_line_numbers() {
    report(&tree().iter().filter(|file| is_prose(file)).flat_map(cites_no_line_numbers).collect::<Vec<_>>());
    assert_eq!(cites_no_line_numbers(&made_up("a.md", "see b.rs:12 there")).len(), 1);
    assert!(cites_no_line_numbers(&made_up("a.md", "see b.rs: there")).is_empty());
}

/// The text of a relative link's target, if it is one.
fn links(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .map(|target| target.split('#').next().unwrap_or_default().to_owned())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

#[test]
fn links_between_pages_lead_somewhere() {
    let tree = tree();
    let mut offences = Vec::new();
    for file in tree.iter().filter(|file| is_prose(file)) {
        let folder = std::path::Path::new(&file.path).parent().unwrap_or(std::path::Path::new(""));
        for target in links(&file.text) {
            if !crate::root().join(folder).join(&target).exists() {
                offences.push(format!("{}: the link to {target} leads nowhere; correct it", file.path));
            }
        }
    }
    report(&offences);
    assert_eq!(links("a [b](c.md#d) and [e](https://f)"), ["c.md"]);
}

#[test]
fn nothing_belongs_to_one_machine() {
    let marks = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];
    let offences: Vec<_> = tree()
        .iter()
        .flat_map(|file| {
            file.text
                .lines()
                .enumerate()
                .filter(|(_, line)| marks.iter().any(|mark| line.contains(mark)))
                .map(|(index, _)| format!("{}:{}: a path of one machine; leave it out", file.path, index + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    report(&offences);
}
