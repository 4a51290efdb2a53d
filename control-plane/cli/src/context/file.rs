//! The file of contexts, readable by its owner only.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode as _, Mapping, Scalar, Yaml};
use serde_json::{Map, Value};
use url::Url;
use vamp_model::to_yaml;

use super::{Context, Contexts};
use crate::failure::Failure;

/// Where the file is: below `$XDG_CONFIG_HOME`, or `$HOME/.config`.
fn path() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let configuration = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(configuration.join("vamp").join("config.yaml"))
}

/// What is kept; nothing when there is no file.
pub(crate) fn load() -> Result<Contexts, Failure> {
    let Some(path) = path() else { return Ok(Contexts::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => read(&text).map_err(|what| Failure::Usage { what: format!("`{}`: {what}", path.display()) }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Contexts::default()),
        Err(cause) => Err(Failure::File { path, cause }),
    }
}

/// Keeps contexts in place of what was kept: whole, or not at all.
pub(crate) fn save(contexts: &Contexts) -> Result<(), Failure> {
    let Some(path) = path() else {
        let what = "there is no place for contexts: set HOME or XDG_CONFIG_HOME to a folder".to_owned();
        return Err(Failure::Usage { what });
    };
    write(&path, &text(contexts)).map_err(|cause| Failure::Unwritten { path, cause })
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| std::fs::rename(&draft, path)).inspect_err(|_| drop(std::fs::remove_file(&draft)))
}

fn text(contexts: &Contexts) -> String {
    let member = |name: &str, value: Value| (name.to_owned(), value);
    let path = |path: &PathBuf| Value::from(path.to_string_lossy());
    let context = |context: &Context| {
        let host = [member("host", context.host.as_str().into())];
        let token = context.token_file.as_ref().map(|file| member("token-file", path(file)));
        let ca = context.ca.as_ref().map(|file| member("ca", path(file)));
        Value::Object(host.into_iter().chain(token).chain(ca).collect())
    };
    let all: Map<_, _> = contexts.all.iter().map(|(name, found)| (name.clone(), context(found))).collect();
    let current = contexts.current.as_ref().map(|name| member("current", name.as_str().into()));
    to_yaml(&Value::Object(current.into_iter().chain([member("contexts", Value::Object(all))]).collect()))
}

fn read(text: &str) -> Result<Contexts, String> {
    let documents = Yaml::load_from_str(text)
        .map_err(|error| format!("line {} is no YAML: {}", error.marker().line(), error.info()))?;
    let mut contexts = Contexts::default();
    let map = match documents.as_slice() {
        [] | [Yaml::Value(Scalar::Null)] => return Ok(contexts),
        [Yaml::Mapping(map)] => map,
        _ => return Err("it is no map with `current` and `contexts`".to_owned()),
    };
    for (key, value) in map {
        match (word(key), value) {
            (Some("current"), value) => contexts.current = Some(said("current", value)?.to_owned()),
            (Some("contexts"), Yaml::Mapping(all)) => {
                for (name, value) in all {
                    let (name, context) = one(name, value)?;
                    contexts.all.insert(name, context);
                }
            }
            (Some("contexts"), _) => return Err("`contexts` is no map from names to contexts".to_owned()),
            (other, _) => return Err(unknown(other, "`current` and `contexts`")),
        }
    }
    Ok(contexts)
}

fn one(name: &Yaml<'_>, value: &Yaml<'_>) -> Result<(String, Context), String> {
    let name = word(name).ok_or("the name of a context is no text")?;
    let Yaml::Mapping(map) = value else { return Err(format!("context `{name}` is no map with `host`")) };
    fields(map).map(|context| (name.to_owned(), context)).map_err(|what| format!("context `{name}`: {what}"))
}

fn fields(map: &Mapping<'_>) -> Result<Context, String> {
    let (mut host, mut token_file, mut ca) = (None, None, None);
    for (key, value) in map {
        match word(key) {
            Some("host") => {
                let text = said("host", value)?;
                host = Some(Url::parse(text).map_err(|error| format!("`{text}` is no address: {error}"))?);
            }
            Some("token-file") => token_file = Some(PathBuf::from(said("token-file", value)?)),
            Some("ca") => ca = Some(PathBuf::from(said("ca", value)?)),
            other => return Err(unknown(other, "`host`, `token-file` and `ca`")),
        }
    }
    Ok(Context { host: host.ok_or("it has no `host`")?, token_file, ca })
}

fn word<'y>(value: &'y Yaml<'_>) -> Option<&'y str> {
    match value {
        Yaml::Value(Scalar::String(text)) => Some(text),
        _ => None,
    }
}

fn said<'y>(name: &str, value: &'y Yaml<'_>) -> Result<&'y str, String> {
    word(value).ok_or_else(|| format!("`{name}` is no text"))
}

fn unknown(key: Option<&str>, known: &str) -> String {
    // A token that somebody wrote here is not repeated: only the name of the key.
    format!("`{}` is not known here, only {known} are", key.unwrap_or("(no text)"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const TEXT: &str = "current: prod\ncontexts:\n  lab:\n    host: http://lab:8080/\n  prod:\n    host: https://prod/\n    token-file: \"/etc/token\"\n    ca: \"/etc/ca.pem\"\n";

    #[test]
    fn what_is_written_is_read_again() {
        let contexts = read(TEXT).unwrap();
        assert_eq!(contexts.find("prod").unwrap().token_file.as_deref(), Some(Path::new("/etc/token")));
        assert_eq!(text(&contexts), TEXT);
        assert_eq!(read("").unwrap(), Contexts::default());
        assert_eq!(read(&text(&Contexts::default())).unwrap(), Contexts::default());
    }

    #[test]
    fn a_slip_is_named() {
        for (text, words) in [
            ("a: [", "line"),
            ("- a", "no map"),
            ("contexts: {a: {host: nowhere}}", "context `a`: `nowhere` is no address"),
            ("contexts: {a: {}}", "no `host`"),
            ("contexts: {a: {host: 'http://a', token: secret}}", "`token` is not known here"),
            ("contexts: [a]", "no map from names"),
            ("curent: a", "`curent`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words) && !error.contains("secret"), "{text}: {error}");
        }
    }

    #[test]
    fn the_file_is_its_owners_only_also_over_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vamp").join("config.yaml");
        write(&path, "a").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "b").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
