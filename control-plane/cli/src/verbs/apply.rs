//! `vamp apply`: writes the artifacts of files and deploys their blueprints, all of it or nothing.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use reqwest::Method;
use serde_json::Value;
use vamp_model::Kind;

use super::changes::tell_dry_run;
use super::outcome::{is_unchanged, told_to_program};
use super::{after_write, deploy, rollout, several, text, written};
use crate::arguments::{ApplyArguments, Storing, WaitingForServices, Writing};
use crate::client::{Answer, Client, Request};
use crate::failure::Failure;
use crate::output::print;

/// Between the documents of two files.
const SEPARATOR: &str = "\n---\n";

/// Writes the artifacts of files, and deploys their blueprints.
pub(crate) async fn apply(arguments: ApplyArguments) -> Result<(), Failure> {
    let client = Client::new(&arguments.deploying.server)?;
    let files = read_all(&arguments.filename)?;
    let applied = Applied {
        storing: arguments.storing,
        waiting: arguments.deploying.waiting,
        writing: &arguments.deploying.writing,
    };
    apply_texts(&client, &files, applied).await
}

/// How texts are applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applied<'a> {
    pub(super) storing: Storing,
    pub(super) waiting: WaitingForServices,
    pub(super) writing: &'a Writing,
}

/// Writes the artifacts of texts, tells what became of them, and waits for it when that is wanted.
pub(super) async fn apply_texts(client: &Client, files: &[Source], how: Applied<'_>) -> Result<(), Failure> {
    let begun = Instant::now();
    let answer = send(client, files, written(how.writing, None), how.storing).await?;
    let body = answer.json();
    if !told_to_program(&answer, how.writing, outcome)? {
        tell_people(&body, how.writing.dry_run)?;
    }
    after_write(&body, deploy::AT_ONCE)?;
    if !how.waiting.wait {
        return Ok(());
    }
    let left = || how.waiting.timeout.saturating_sub(begun.elapsed());
    for deployment in several(&body).iter().filter(|artifact| is_deployment(artifact)) {
        deploy::until_done(client, text(deployment, "name"), left(), how.writing).await?;
    }
    rollout::until_served(client, left()).await
}

fn is_deployment(artifact: &Value) -> bool {
    text(artifact, "kind") == Kind::Deployment.plural()
}

fn outcome(artifact: &Value) -> &'static str {
    if is_deployment(artifact) { "deployed" } else { "applied" }
}

fn tell_people(body: &Value, dry_run: bool) -> Result<(), Failure> {
    let would_be = if dry_run { "would be " } else { "" };
    for artifact in several(body) {
        let outcome =
            if is_unchanged(artifact) { "unchanged".to_owned() } else { format!("{would_be}{}", outcome(artifact)) };
        print(&format!("{}/{} {outcome}", text(artifact, "kind"), text(artifact, "name")))?;
    }
    if dry_run { tell_dry_run(body).map(drop) } else { Ok(()) }
}

/// What applying files would do.
pub(super) async fn dry_run(client: &Client, paths: &[PathBuf], storing: Storing) -> Result<Value, Failure> {
    let query = vec![("validate_only", "true".to_owned())];
    send(client, &read_all(paths)?, query, storing).await.map(|answer| answer.json())
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        for path in expand(path)? {
            files.push(read(&path)?);
        }
    }
    Ok(files)
}

async fn send(
    client: &Client,
    files: &[Source],
    mut query: Vec<(&'static str, String)>,
    storing: Storing,
) -> Result<Answer, Failure> {
    if !storing.store_only {
        query.push(("deploy", "true".to_owned()));
    }
    let body = files.iter().map(|file| file.text.as_str()).collect::<Vec<_>>().join(SEPARATOR);
    // JSON is YAML too: files of both kinds go as one text, so that they are one change.
    let body = Some(("application/yaml", body));
    let sent = client.send(Request { query, body, ..Request::new(Method::PUT, &[]) }).await;
    sent.map_err(|failure| name_files(failure, files))
}

/// A file, or those of a folder that hold documents, by name.
fn expand(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if path == Path::new("-") || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |cause| Failure::File { path: path.to_owned(), cause };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let is_document =
            file.extension().is_some_and(|name| ["yaml", "yml", "json"].iter().any(|known| name == *known));
        if is_document && file.is_file() {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let what = format!("folder `{}` has no files *.yaml, *.yml or *.json", path.display());
        return Err(Failure::Usage { what });
    }
    Ok(files)
}

/// One file of the change.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
}

pub(super) fn read(path: &Path) -> Result<Source, Failure> {
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
pub(super) fn name_files(failure: Failure, files: &[Source]) -> Failure {
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
    fn a_folder_stands_for_its_documents_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.json", "notes.txt", "c.yml"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let names: Vec<_> = expand(folder.path()).unwrap();
        let names: Vec<_> = names.iter().filter_map(|path| path.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.json", "b.yaml", "c.yml"]);
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(expand(empty.path()).unwrap_err().exit_code(), 2);
        assert_eq!(expand(Path::new("-")).unwrap(), [PathBuf::from("-")]);
    }

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
