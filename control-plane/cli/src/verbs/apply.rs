//! `vamp apply`: writes the artifacts of files, all of them or none.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::Value;

use super::{after_write, several, text, wait_query};
use crate::arguments::ApplyArguments;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::output::print;

/// Between the documents of two files.
const SEPARATOR: &str = "\n---\n";

/// Writes the artifacts of files.
pub(crate) async fn apply(arguments: ApplyArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.server)?;
    let files = arguments.filename.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let body = files.iter().map(|file| file.text.as_str()).collect::<Vec<_>>().join(SEPARATOR);
    let mut query = wait_query(arguments.waiting);
    if arguments.dry_run {
        query.push(("validate_only", "true".to_owned()));
    }
    // JSON is YAML too: files of both kinds go as one text, so that they are one change.
    let body = Some(("application/yaml", body));
    let sent = client.send(Request { query, body, ..Request::new(Method::PUT, &[]) }).await;
    let answer = sent.map_err(|failure| name_files(failure, &files))?;
    let body = answer.json();
    let suffix = if arguments.dry_run { " would be applied" } else { " applied" };
    for artifact in several(&body) {
        print(&format!("{}/{}{suffix}", text(artifact, "kind"), text(artifact, "name")))?;
    }
    after_write(&body, arguments.waiting)
}

/// One file of the change.
#[derive(Debug)]
struct Source {
    name: String,
    text: String,
}

/// The text of one file.
pub(super) fn read_file(path: &Path) -> Result<String, Failure> {
    read(path).map(|source| source.text)
}

fn read(path: &Path) -> Result<Source, Failure> {
    let failed = |cause| Failure::File { path: path.to_owned(), cause };
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        return Ok(Source { name: "standard input".to_owned(), text });
    }
    let path: PathBuf = path.to_owned();
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    Ok(Source { name: path.display().to_string(), text })
}

/// Gives violations the file and the line in it: the server saw one text.
fn name_files(failure: Failure, files: &[Source]) -> Failure {
    let Failure::Refused { status, mut problem } = failure else { return failure };
    if let Some(violations) = problem.get_mut("violations").and_then(Value::as_array_mut) {
        for violation in violations {
            let Some(line) = violation.get("line").and_then(Value::as_u64) else { continue };
            if let (Some((file, line)), Some(violation)) = (locate(line, files), violation.as_object_mut()) {
                violation.insert("file".to_owned(), file.into());
                violation.insert("line".to_owned(), line.into());
            }
        }
    }
    Failure::Refused { status, problem }
}

/// The file that has a line of the whole text, and the line in it.
fn locate(line: u64, files: &[Source]) -> Option<(&str, u64)> {
    let lines_of = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
    let mut first = 1;
    for file in files {
        let next = first + u64::try_from(lines_of(&file.text) + lines_of(SEPARATOR)).ok()?;
        if line < next {
            return Some((&file.name, line - first + 1));
        }
        first = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_whole_text_is_found_in_its_file() {
        let source = |name: &str, text: &str| Source { name: name.to_owned(), text: text.to_owned() };
        let files = [source("a.yaml", "one\ntwo\n"), source("b.yaml", "three\nfour")];
        let whole = files.iter().map(|file| file.text.as_str()).collect::<Vec<_>>().join(SEPARATOR);
        for (index, line) in whole.lines().enumerate() {
            let found = locate(u64::try_from(index).unwrap() + 1, &files);
            match line {
                "one" => assert_eq!(found, Some(("a.yaml", 1))),
                "two" => assert_eq!(found, Some(("a.yaml", 2))),
                "three" => assert_eq!(found, Some(("b.yaml", 1))),
                "four" => assert_eq!(found, Some(("b.yaml", 2))),
                _ => {}
            }
        }
        assert_eq!(locate(99, &files), None);
    }
}
