//! Settings from a file, below flags and environment variables.
//!
//! A setting has one name: the long flag. `--drain-timeout 10s`, `VAMP_DRAIN_TIMEOUT=10s` and the line
//! `drain-timeout: 10s` of a YAML file mean the same. The order is flag, environment, file, default: a value of the
//! file simply becomes the default of its flag, so that one parser checks all of them with the same words.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command};
use saphyr::{LoadableYamlNode, Scalar, Yaml};

/// The flag that names the file; flatten it into a program's settings.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigFile {
    /// YAML file with settings: keys are the long flags without `--`; flags and environment variables win over it
    #[arg(long, env = "VAMP_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Why a settings file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    /// It can't be read.
    #[error("settings file `{}` can't be read: check the path and its permissions", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It is not YAML.
    #[error("settings file `{}`, line {line}, column {column}: {reason}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What the parser said.
        reason: String,
    },
    /// It is YAML, but no map.
    #[error("settings file `{}` must be one map from setting to value, as in `listen: 127.0.0.1:8080`", path.display())]
    NoMap {
        /// Which file.
        path: PathBuf,
    },
    /// Nobody would read the value.
    #[error("settings file `{}`: unknown setting `{key}`{}", path.display(), suggestion(near.as_deref()))]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// The key as written.
        key: String,
        /// A setting whose name is near.
        near: Option<String>,
    },
    /// A value that no flag could carry.
    #[error("settings file `{}`: `{key}` must be {wanted}", path.display())]
    WrongValue {
        /// Which file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it must be.
        wanted: &'static str,
    },
}

/// The command with the values of its settings file, if the arguments or the environment name one, as defaults.
///
/// `arguments` includes the program's name. The file belongs to the subcommand that the arguments choose.
pub fn with_file(command: Command, arguments: &[OsString]) -> Result<Command, SettingsFileError> {
    let Ok(matches) = command.clone().ignore_errors(true).try_get_matches_from(arguments) else {
        // `--help`, `--version` and errors are the real parser's to show.
        return Ok(command);
    };
    let mut chosen = Vec::new();
    let mut level = &matches;
    while let Some((name, deeper)) = level.subcommand() {
        chosen.push(name.to_owned());
        level = deeper;
    }
    match level.try_get_one::<PathBuf>("config") {
        Ok(Some(path)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|cause| SettingsFileError::Unreadable { path: path.clone(), cause })?;
            into_subcommand(command, &chosen, &mut |command| with_text(command, path, &text))
        }
        _ => Ok(command),
    }
}

/// Applies `change` to the subcommand that `names` lead to.
fn into_subcommand(
    command: Command,
    names: &[String],
    change: &mut dyn FnMut(Command) -> Result<Command, SettingsFileError>,
) -> Result<Command, SettingsFileError> {
    let Some((first, deeper)) = names.split_first() else { return change(command) };
    let mut failure = None;
    let command = command.mut_subcommand(first, |inner| {
        let untouched = inner.clone();
        into_subcommand(inner, deeper, change).unwrap_or_else(|error| {
            failure = Some(error);
            untouched
        })
    });
    failure.map_or(Ok(command), Err)
}

/// The command with the settings in `text` as defaults.
fn with_text(mut command: Command, path: &Path, text: &str) -> Result<Command, SettingsFileError> {
    let documents = Yaml::load_from_str(text).map_err(|error| SettingsFileError::Malformed {
        path: path.to_owned(),
        line: error.marker().line(),
        column: error.marker().col() + 1,
        reason: error.info().to_owned(),
    })?;
    let map = match documents.as_slice() {
        [] | [Yaml::Value(Scalar::Null)] => return Ok(command),
        [Yaml::Mapping(map)] => map,
        _ => return Err(SettingsFileError::NoMap { path: path.to_owned() }),
    };
    for (key, value) in map {
        let Yaml::Value(Scalar::String(key)) = key else {
            return Err(SettingsFileError::NoMap { path: path.to_owned() });
        };
        let Some(argument) = command.get_arguments().find(|argument| takes_file_value(argument, key)) else {
            let near = nearest(&command, key);
            return Err(SettingsFileError::UnknownKey { path: path.to_owned(), key: key.to_string(), near });
        };
        let values = flag_values(argument, value).map_err(|wanted| SettingsFileError::WrongValue {
            path: path.to_owned(),
            key: key.to_string(),
            wanted,
        })?;
        let id = argument.get_id().clone();
        command = command.mut_arg(id, |argument| argument.required(false).default_values(values));
    }
    Ok(command)
}

fn takes_file_value(argument: &Arg, key: &str) -> bool {
    let is_setting = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue);
    argument.get_long() == Some(key) && is_setting && key != "config"
}

/// The value as the words that a flag would get.
fn flag_values(argument: &Arg, value: &Yaml<'_>) -> Result<Vec<String>, &'static str> {
    let takes_many = matches!(argument.get_action(), ArgAction::Append) || argument.get_value_delimiter().is_some();
    match value {
        Yaml::Value(Scalar::Boolean(flag)) => Ok(vec![flag.to_string()]),
        _ if matches!(argument.get_action(), ArgAction::SetTrue) => Err("`true` or `false`"),
        Yaml::Sequence(items) if takes_many => {
            items.iter().map(scalar).collect::<Option<_>>().ok_or("a list of single values")
        }
        Yaml::Sequence(_) => Err("one value, not a list"),
        single => scalar(single).map(|word| vec![word]).ok_or("a single value"),
    }
}

fn scalar(value: &Yaml<'_>) -> Option<String> {
    match value {
        Yaml::Value(Scalar::String(text)) => Some(text.to_string()),
        Yaml::Value(Scalar::Integer(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::FloatingPoint(number)) => Some(number.to_string()),
        Yaml::Value(Scalar::Boolean(flag)) => Some(flag.to_string()),
        _ => None,
    }
}

/// The setting that `key` was most likely meant to be: what the parser of flags would say to the same slip.
fn nearest(command: &Command, key: &str) -> Option<String> {
    let is_setting = |name: &str| command.get_arguments().any(|argument| takes_file_value(argument, name));
    let name = key.replace('_', "-");
    if is_setting(&name) {
        return Some(name);
    }
    let error = command.clone().try_get_matches_from(["", &format!("--{name}")]).err()?;
    let Some(ContextValue::String(near)) = error.get(ContextKind::SuggestedArg) else { return None };
    near.strip_prefix("--").filter(|near| is_setting(near)).map(str::to_owned)
}

fn suggestion(near: Option<&str>) -> String {
    near.map_or_else(|| "; remove it, or see --help for all".to_owned(), |near| format!("; did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Verb {
        Serve(Serve),
    }

    #[derive(Debug, clap::Args)]
    struct Serve {
        #[command(flatten)]
        file: ConfigFile,
        #[arg(long)]
        listen: String,
        #[arg(long, env = "SETTINGS_FILE_TEST_THREADS", default_value_t = 1)]
        threads: u16,
        #[arg(long)]
        bind: Vec<String>,
        #[arg(long)]
        insecure_http: bool,
    }

    #[track_caller]
    fn read(text: &str, arguments: &[&str]) -> Result<Serve, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        std::fs::write(&path, text).unwrap();
        let mut all: Vec<OsString> = ["program", "serve", "--config"].map(OsString::from).to_vec();
        all.push(path.into());
        all.extend(arguments.iter().map(OsString::from));
        let command = with_file(Program::command(), &all).map_err(|error| error.to_string())?;
        let matches = command.try_get_matches_from(&all).map_err(|error| error.to_string())?;
        let Verb::Serve(serve) = Program::from_arg_matches(&matches).unwrap().verb;
        assert!(serve.file.config.is_some());
        Ok(serve)
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let serve = read("listen: 127.0.0.1:1\nthreads: 4\n", &["--listen", "127.0.0.1:2"]).unwrap();
        assert_eq!((serve.listen.as_str(), serve.threads), ("127.0.0.1:2", 4));
    }

    #[test]
    fn a_required_setting_may_stand_in_the_file() {
        assert_eq!(read("listen: here\n", &[]).unwrap().listen, "here");
    }

    #[test]
    fn a_list_fills_a_repeated_flag_and_a_boolean_sets_a_switch() {
        let serve = read("listen: here\nbind: [127.0.0.1, '::1']\ninsecure-http: true\n", &[]).unwrap();
        assert_eq!(serve.bind, ["127.0.0.1", "::1"]);
        assert!(serve.insecure_http);
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        assert_eq!(read("", &["--listen", "here"]).unwrap().threads, 1);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_with_the_nearest_one() {
        let error = read("listen: here\nthread: 4\n", &[]).unwrap_err();
        assert!(error.ends_with("unknown setting `thread`; did you mean `threads`?"), "{error}");
        let error = read("insecure_http: true\n", &[]).unwrap_err();
        assert!(error.ends_with("unknown setting `insecure_http`; did you mean `insecure-http`?"), "{error}");
        for nothing_near in ["config", "confi", "help", "version", "''", "colour=1"] {
            let error = read(&format!("{nothing_near}: 4\n"), &[]).unwrap_err();
            assert!(error.ends_with("remove it, or see --help for all"), "{error}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_by_name() {
        let error = read("listen: [a, b]\n", &[]).unwrap_err();
        assert!(error.ends_with("`listen` must be one value, not a list"), "{error}");
        let error = read("listen: here\nthreads: many\n", &[]).unwrap_err();
        assert!(error.contains("--threads"), "{error}");
    }

    #[test]
    fn a_fault_in_the_yaml_is_told_with_its_place() {
        let error = read("listen: here\nbind: [1\n", &[]).unwrap_err();
        assert!(error.contains("line "), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let arguments: Vec<OsString> = ["program", "serve", "--config", "/nowhere/x.yaml"].map(OsString::from).to_vec();
        let error = with_file(Program::command(), &arguments).unwrap_err();
        assert!(error.to_string().contains("/nowhere/x.yaml"));
    }
}
