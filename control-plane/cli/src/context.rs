//! Contexts: control planes that are kept under a name in `$XDG_CONFIG_HOME/vamp/config.yaml`, and which one is asked.
//!
//! A token never stands in the file, only the path of the file that holds it. The token of a context is sent to the
//! host of that context and to no other.

mod file;

use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use crate::arguments::Server;
use crate::failure::Failure;

pub(crate) use file::{load, save};

/// Where a control plane is when nobody says anything.
const DEFAULT_HOST: &str = "http://127.0.0.1:8080";

/// One control plane under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) host: Url,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) ca: Option<PathBuf>,
}

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contexts {
    pub(crate) current: Option<String>,
    pub(crate) all: BTreeMap<String, Context>,
}

impl Contexts {
    /// One of them, by its name.
    pub(crate) fn find(&self, name: &str) -> Result<&Context, Failure> {
        let missing = || {
            let names: Vec<_> = self.all.keys().map(String::as_str).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let what = format!("there is no context `{name}`, there is {known}: make it with `vamp context set`");
            Failure::Usage { what }
        };
        self.all.get(name).ok_or_else(missing)
    }
}

/// Who said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    Environment,
    Context(String),
    Default,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment => f.write_str("environment"),
            Self::Context(name) => write!(f, "context {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The control plane that is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) host: Url,
    pub(crate) token_file: Option<PathBuf>,
    /// The token stands in `VAMP_TOKEN`, if there is one.
    pub(crate) takes_variable: bool,
    pub(crate) ca: Option<PathBuf>,
    /// Who said which host.
    pub(crate) host_by: Source,
}

impl Target {
    /// A control plane of this process.
    pub(crate) fn own(host: Url) -> Self {
        Self { host, token_file: None, takes_variable: true, ca: None, host_by: Source::Default }
    }
}

/// The control plane that flags, environment and file name.
pub(crate) fn target(server: &Server) -> Result<Target, Failure> {
    // A file that can't be read must not get in the way of who says everything by flags.
    let contexts = || load();
    resolve(server, |name| std::env::var(name).ok().filter(|value| !value.is_empty()), contexts)
}

/// A flag goes before the environment, the environment before the current context.
fn resolve(
    server: &Server,
    variable: impl Fn(&str) -> Option<String>,
    contexts: impl FnOnce() -> Result<Contexts, Failure>,
) -> Result<Target, Failure> {
    let is_variable = |name: &str, given: &str| variable(name).as_deref() == Some(given);
    let stands_there = |url: &Url| variable("VAMP_HOST").and_then(|text| Url::parse(&text).ok()).as_ref() == Some(url);
    let host = server.host.as_ref().map(|host| (host, stands_there(host)));
    let context = server.context.as_ref().map(|name| (name, is_variable("VAMP_CONTEXT", name)));
    let explicit = |host: &Url, is_of_environment: bool| Target {
        host: host.clone(),
        token_file: server.token_file.clone(),
        takes_variable: server.token_file.is_none(),
        ca: server.ca.clone(),
        host_by: if is_of_environment { Source::Environment } else { Source::Flag },
    };
    let (name, is_by_flag) = match (host, context) {
        (Some((_, host_by_environment)), Some((name, context_by_environment)))
            if host_by_environment == context_by_environment =>
        {
            let what = format!("both a host and the context `{name}` are named: leave one of them out");
            return Err(Failure::Usage { what });
        }
        (Some((host, false)), _) => return Ok(explicit(host, false)),
        (_, Some((name, by_environment))) => (Some(name.clone()), !by_environment),
        (Some((host, true)), None) => return Ok(explicit(host, true)),
        (None, None) => (None, false),
    };
    let contexts = contexts()?;
    let Some(name) = name.or_else(|| contexts.current.clone()) else {
        let default = Url::parse(DEFAULT_HOST);
        let host =
            default.map_err(|error| Failure::Usage { what: format!("{DEFAULT_HOST} is no address: {error}") })?;
        return Ok(Target { host_by: Source::Default, ..explicit(&host, false) });
    };
    let context = contexts.find(&name)?;
    let by_variable = |given: &PathBuf, name: &str| is_variable(name, &given.to_string_lossy());
    // What a flag's context says is not overruled by what the environment says for everything.
    let choose = |given: &Option<PathBuf>, own: &Option<PathBuf>, name: &str| match given {
        Some(given) if by_variable(given, name) && is_by_flag => own.clone().or_else(|| Some(given.clone())),
        Some(given) => Some(given.clone()),
        None => own.clone(),
    };
    let has_variable = server.token_file.is_none() && variable("VAMP_TOKEN").is_some();
    let takes_variable = has_variable && !(is_by_flag && context.token_file.is_some());
    let token_file = choose(&server.token_file, &context.token_file, "VAMP_CLIENT_TOKEN_FILE");
    Ok(Target {
        host: context.host.clone(),
        token_file: token_file.filter(|_| !takes_variable),
        takes_variable,
        ca: choose(&server.ca, &context.ca, "VAMP_CA"),
        host_by: Source::Context(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn contexts() -> Contexts {
        let context = |host: &str, token: Option<&str>| Context {
            host: url(host),
            token_file: token.map(PathBuf::from),
            ca: None,
        };
        let all = [("prod", context("https://prod", Some("/prod"))), ("lab", context("http://lab", None))];
        Contexts {
            current: Some("prod".to_owned()),
            all: all.into_iter().map(|(name, context)| (name.to_owned(), context)).collect(),
        }
    }

    /// Flags and variables as clap gives them: a variable stands in for a flag that is missing.
    #[track_caller]
    fn check(flags: &[(&str, &str)], variables: &[(&str, &str)], host: &str, token: Option<&str>) {
        let variable = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let given = |flag: &str, name: &str| {
            let found = flags.iter().find(|(known, _)| *known == flag);
            found.map(|(_, value)| (*value).to_owned()).or_else(|| variable(name))
        };
        let server = Server {
            context: given("context", "VAMP_CONTEXT"),
            host: given("host", "VAMP_HOST").map(|text| url(&text)),
            token_file: given("token-file", "VAMP_CLIENT_TOKEN_FILE").map(PathBuf::from),
            ca: None,
        };
        let target = resolve(&server, variable, || Ok(contexts()));
        let found = target.map(|target| {
            let token = match (&target.token_file, target.takes_variable.then(|| variable("VAMP_TOKEN")).flatten()) {
                (_, Some(token)) => Some(token),
                (file, None) => file.as_ref().map(|path| path.display().to_string()),
            };
            (target.host.to_string(), token)
        });
        let expected = (url(host).to_string(), token.map(str::to_owned));
        assert_eq!(found.ok(), Some(expected), "{flags:?} {variables:?}");
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_current_context() {
        check(&[], &[], "https://prod", Some("/prod"));
        check(&[("context", "lab")], &[], "http://lab", None);
        check(&[], &[("VAMP_CONTEXT", "lab")], "http://lab", None);
        check(&[("context", "prod")], &[("VAMP_CONTEXT", "lab")], "https://prod", Some("/prod"));
        check(&[("host", "http://a")], &[("VAMP_CONTEXT", "lab")], "http://a", None);
        check(&[("context", "lab")], &[("VAMP_HOST", "http://a")], "http://lab", None);
        check(&[], &[("VAMP_HOST", "http://a")], "http://a", None);
        check(&[("host", "http://b")], &[("VAMP_HOST", "http://a")], "http://b", None);
    }

    #[test]
    fn the_token_of_a_context_goes_to_its_host_only() {
        check(&[("host", "http://a")], &[], "http://a", None);
        check(&[], &[("VAMP_HOST", "http://a")], "http://a", None);
        check(&[("token-file", "/t")], &[], "https://prod", Some("/t"));
        check(&[], &[("VAMP_TOKEN", "secret")], "https://prod", Some("secret"));
        check(&[("token-file", "/t")], &[("VAMP_TOKEN", "secret")], "https://prod", Some("/t"));
        // The environment speaks for the host that it names, not for a context that a flag names.
        check(&[("context", "prod")], &[("VAMP_TOKEN", "secret")], "https://prod", Some("/prod"));
        check(&[("context", "prod")], &[("VAMP_CLIENT_TOKEN_FILE", "/t")], "https://prod", Some("/prod"));
        check(&[("context", "lab")], &[("VAMP_CLIENT_TOKEN_FILE", "/t")], "http://lab", Some("/t"));
    }

    #[test]
    fn two_that_contradict_each_other_are_refused() {
        let server = |context: &str| Server {
            context: Some(context.to_owned()),
            host: Some(url("http://a")),
            token_file: None,
            ca: None,
        };
        let error = resolve(&server("prod"), |_| None, || Ok(contexts())).unwrap_err();
        assert!(error.to_string().contains("leave one of them out"), "{error}");
        let server = Server { host: None, ..server("nothing") };
        let error = resolve(&server, |_| None, || Ok(contexts())).unwrap_err();
        assert!(error.to_string().contains("lab, prod"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}
