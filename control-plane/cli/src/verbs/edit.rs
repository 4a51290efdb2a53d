//! `vamp edit`: one artifact in the user's editor.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use reqwest::Method;
use vamp_model::{Kind, to_yaml};

use super::{after_write, as_written, tell, written};
use crate::arguments::EditArguments;
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::output::print;

/// What is asked when the environment names no editor.
const DEFAULT_EDITOR: &str = "vi";

/// Opens an artifact, and writes what is saved, unless somebody else wrote it meanwhile. An edit that is refused is kept.
pub(crate) async fn edit(arguments: EditArguments) -> Result<(), Failure> {
    let (kind, name) = (arguments.artifact.kind, arguments.artifact.name.as_str());
    if kind == Kind::Deployment.plural() {
        let what = "a deployment is changed by `vamp merge`, `vamp scale` and `vamp undeploy`, its gateways by `vamp edit gateway`";
        return Err(Failure::Usage { what: what.to_owned() });
    }
    let client = Client::new(&arguments.changing.server)?;
    let path = [kind, name];
    let (written_by_author, etag) = as_written(&client, kind, name).await?;
    let before = to_yaml(&written_by_author);
    let draft = Draft::write(kind, name, &before)?;
    let file = draft.path.clone();
    let edited = tokio::task::spawn_blocking(move || run_editor(&file)).await;
    edited.map_err(|_| Failure::Editor { editor: editor(), what: "was not waited for".to_owned() })??;
    let after = std::fs::read_to_string(&draft.path);
    let after = after.map_err(|cause| Failure::File { path: draft.path.clone(), cause })?;
    if after == before || after.trim().is_empty() {
        if arguments.changing.writing.is_for_people() {
            return print(&format!("{kind}/{name} is left as it is"));
        }
        let found = client.send(Request::get(&path)).await?;
        return tell(&found, &arguments.changing.writing, ("unchanged", ""));
    }
    let request = Request {
        query: written(&arguments.changing.writing, Some(arguments.changing.waiting)),
        body: Some(("application/yaml", after)),
        if_match: etag,
        ..Request::new(Method::PUT, &path)
    };
    let answer = match client.send(request).await {
        Ok(answer) => answer,
        Err(cause) => return Err(Failure::Edit { path: draft.keep(), cause: Box::new(cause) }),
    };
    tell(&answer, &arguments.changing.writing, ("applied", &format!("{kind}/{name} edited")))?;
    after_write(&answer.json(), arguments.changing.waiting)
}

/// The file that is edited; removed unless it is kept.
#[derive(Debug)]
struct Draft {
    path: PathBuf,
    is_kept: bool,
}

impl Draft {
    /// In the folder for temporary files, under a name of its own, readable by its owner only.
    fn write(kind: &str, name: &str, text: &str) -> Result<Self, Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let plain: String = name.chars().map(|found| if found.is_ascii_alphanumeric() { found } else { '-' }).collect();
        let path = std::env::temp_dir().join(format!("vamp-{kind}-{plain}-{}.yaml", std::process::id()));
        let opened = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
        let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|cause| Failure::Unwritten { path: path.clone(), cause })?;
        Ok(Self { path, is_kept: false })
    }

    fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_kept {
            // What can't be removed is an old copy of what is stored.
            drop(std::fs::remove_file(&self.path));
        }
    }
}

fn editor() -> String {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
    named.into_iter().find(|editor| !editor.trim().is_empty()).unwrap_or_else(|| DEFAULT_EDITOR.to_owned())
}

/// Runs it as other programs do: by the shell, since the variable may hold flags.
fn run_editor(path: &Path) -> Result<(), Failure> {
    let editor = editor();
    let failed = |what: String| Failure::Editor { editor: editor.clone(), what };
    let mut command = std::process::Command::new("/bin/sh");
    command.arg("-c").arg(format!("{editor} \"$1\"")).arg("vamp").arg(path);
    let status = command.status().map_err(|error| failed(format!("does not start ({error})")))?;
    if status.success() { Ok(()) } else { Err(failed(format!("ended with {status}"))) }
}
