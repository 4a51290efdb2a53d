//! `vamp context`: control planes under a name.

use std::path::{Path, PathBuf};

use crate::arguments::{ContextSetArguments, Server};
use crate::client::token;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::output::{print, table, warn};

/// Shows all contexts.
pub(crate) fn context_list() -> Result<(), Failure> {
    let contexts = context::load()?;
    let row = |(name, found): (&String, &Context)| {
        let mark = if contexts.current.as_ref() == Some(name) { "*" } else { "" };
        vec![mark.to_owned(), name.clone(), found.host.to_string(), shown(found.token_file.as_deref())]
    };
    print(&table(&["", "NAME", "HOST", "TOKEN FILE"], &contexts.all.iter().map(row).collect::<Vec<_>>()))
}

/// Shows which control plane is asked, and who said so.
pub(crate) fn context_show(server: &Server) -> Result<(), Failure> {
    let target = context::target(server)?;
    let token = match (&target.token_file, target.takes_variable && std::env::var_os("VAMP_TOKEN").is_some()) {
        (Some(path), _) => path.display().to_string(),
        (None, true) => "in VAMP_TOKEN".to_owned(),
        (None, false) => "-".to_owned(),
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("host", target.host.to_string()),
        row("by", target.host_by.to_string()),
        row("token file", token),
        row("ca", shown(target.ca.as_deref())),
    ];
    print(&table(&["SETTING", "VALUE"], &rows))
}

fn shown(path: Option<&Path>) -> String {
    path.map_or_else(|| "-".to_owned(), |path| path.display().to_string())
}

/// Makes a context the current one.
pub(crate) fn context_use(name: &str) -> Result<(), Failure> {
    let mut contexts = context::load()?;
    let host = contexts.find(name)?.host.clone();
    contexts.current = Some(name.to_owned());
    context::save(&contexts)?;
    print(&format!("context {name} is the current one: {host}"))
}

/// Makes or changes a context; the first one becomes the current one.
pub(crate) fn context_set(arguments: ContextSetArguments) -> Result<(), Failure> {
    let mut contexts = context::load()?;
    let ContextSetArguments { name, host, token_file, ca } = arguments;
    let former = contexts.all.remove(&name);
    let Some(host) = host.or_else(|| former.as_ref().map(|former| former.host.clone())) else {
        return Err(Failure::Usage { what: format!("context `{name}` is new: give it its --host") });
    };
    let (former_token, former_ca) = former.map_or((None, None), |former| (former.token_file, former.ca));
    if let Some(path) = &token_file
        && let Err(failure) = token(path)
    {
        warn(&format!("{failure}; nothing can be asked with this context before"));
    }
    let context =
        Context { host, token_file: token_file.map(absolute).or(former_token), ca: ca.map(absolute).or(former_ca) };
    contexts.all.insert(name.clone(), context);
    let current = contexts.current.get_or_insert_with(|| name.clone());
    let told = if *current == name { "the current one" } else { "kept; `vamp context use` makes it the current one" };
    let told = format!("context {name} is {told}");
    context::save(&contexts)?;
    print(&told)
}

/// A path that means the same wherever it is read.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// Forgets a context.
pub(crate) fn context_delete(name: &str) -> Result<(), Failure> {
    let mut contexts = context::load()?;
    contexts.find(name)?;
    contexts.all.remove(name);
    contexts.current = contexts.current.filter(|current| current != name);
    context::save(&contexts)?;
    print(&format!("context {name} is forgotten"))
}
