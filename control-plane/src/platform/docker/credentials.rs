//! Credentials of registries, as `docker login` writes them into a `config.json`. The file is read for each image, so that
//! who changes it need not start anything anew; nothing of what is in it is told to anybody but the engine.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bollard::auth::DockerCredentials;
use serde::Deserialize;

/// LIMIT: bytes of the file: thousands of registries, far from what hurts.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The registry of images that name none, as `docker login` calls it.
const HUB: &str = "index.docker.io";
/// Other names of it.
const HUB_NAMES: [&str; 3] = ["docker.io", HUB, "registry-1.docker.io"];

/// Why credentials can't be used. No variant repeats anything of the file but names of registries.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It can't be read.
    #[error("--docker-config `{}` can't be read: check the path and its permissions", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// It is something else.
    #[error("--docker-config `{}`, line {line}, column {column}: this is no `config.json` of Docker: write it with `docker login`", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Where in it.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// It is longer than any that makes sense.
    #[error("--docker-config `{}` is longer than {FILE_BYTES_MAX} bytes: give the `config.json` of Docker", path.display())]
    Length {
        /// Which.
        path: PathBuf,
    },
    /// Credentials stand elsewhere.
    #[error("--docker-config `{}` leaves credentials to another program (`{key}`), which is not run here: give a file whose `auths` have them", path.display())]
    Helper {
        /// Which.
        path: PathBuf,
        /// Where it says so.
        key: &'static str,
    },
    /// What stands there for a registry is not understood.
    #[error("--docker-config `{}`: `auth` of `{registry}` is not `USER:PASSWORD` in base64: write it with `docker login`", path.display())]
    Auth {
        /// Which.
        path: PathBuf,
        /// The registry.
        registry: String,
    },
}

/// The file; `Debug` shows where it is and nothing else.
#[derive(Debug, Clone)]
pub struct CredentialsFile(PathBuf);

/// What is read of it. Neither of these has a `Debug`, so that nothing can show them.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Entry {
    fn says_something(&self) -> bool {
        let is_said = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        is_said(&self.auth) || is_said(&self.username) || is_said(&self.identitytoken)
    }
}

impl CredentialsFile {
    /// Takes a file that makes sense, and warns of one that others may read.
    pub fn open(path: PathBuf) -> Result<Self, CredentialsError> {
        let file = Self(path);
        file.read()?;
        let mode = file.0.metadata().map(|found| found.permissions().mode() & 0o777).unwrap_or_default();
        if mode & 0o077 != 0 {
            let path = file.0.display();
            tracing::warn!("--docker-config `{path}` may be read by others (mode {mode:o}): chmod 600 {path}");
        }
        Ok(file)
    }

    /// What to send to the registry of an image; `None`: it asks for nothing, as far as is known.
    pub(super) fn of(&self, image: &str) -> Result<Option<DockerCredentials>, CredentialsError> {
        let wanted = registry(image);
        let content = self.read()?;
        // Tools write the same registry in several ways, some of them without anything.
        let mut of_registry =
            content.auths.into_iter().filter(|(key, _)| host(key).as_deref() == Some(wanted.as_str()));
        let Some((key, entry)) = of_registry.find(|(_, entry)| entry.says_something()) else { return Ok(None) };
        let refused = || CredentialsError::Auth { path: self.0.clone(), registry: wanted.clone() };
        let pair = match entry.auth.filter(|auth| !auth.is_empty()) {
            Some(auth) => Some(decoded(&auth).ok_or_else(refused)?),
            None => entry.username.zip(entry.password),
        };
        let token = entry.identitytoken.filter(|token| !token.is_empty());
        if pair.is_none() && token.is_none() {
            return Ok(None);
        }
        let (username, password) = pair.unzip();
        Ok(Some(DockerCredentials {
            username,
            // A token stands in for it.
            password: password.filter(|_| token.is_none()),
            identitytoken: token,
            serveraddress: Some(key),
            ..DockerCredentials::default()
        }))
    }

    fn read(&self) -> Result<Content, CredentialsError> {
        let path = || self.0.clone();
        let text = bounded(&self.0).map_err(|cause| CredentialsError::File { path: path(), cause })?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(CredentialsError::Length { path: path() });
        }
        let content: Content = serde_json::from_slice(&text).map_err(|error| {
            // Its own words may repeat a value.
            CredentialsError::Content { path: path(), line: error.line(), column: error.column() }
        })?;
        let helper = [
            ("credsStore", content.creds_store.as_ref().is_some_and(|store| !store.is_empty())),
            ("credHelpers", content.cred_helpers.as_ref().is_some_and(|helpers| !helpers.is_empty())),
        ];
        match helper.into_iter().find(|(_, is_set)| *is_set) {
            Some((key, _)) => Err(CredentialsError::Helper { path: path(), key }),
            None => Ok(content),
        }
    }
}

/// The file, or as much of it as shows that it is too long.
fn bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn decoded(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    // Docker itself pads them so.
    (!user.is_empty()).then(|| (user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// The registry of an image: what stands before the first slash, if it can be a host.
fn registry(image: &str) -> String {
    let first = image.split_once('/').map(|(first, _)| first);
    let first = first.filter(|first| first.contains(['.', ':']) || *first == "localhost");
    known(first.unwrap_or(HUB))
}

/// The registry that a key of the file means: a host, with a scheme or without, and with the path of an API at most.
fn host(key: &str) -> Option<String> {
    let rest = ["https://", "http://"].iter().find_map(|scheme| key.strip_prefix(scheme)).unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_whole = ["", "v1", "v1/", "v2", "v2/"].contains(&path);
    is_whole.then(|| known(host))
}

fn known(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if HUB_NAMES.contains(&host.as_str()) { HUB.to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, Result<CredentialsFile, CredentialsError>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        let opened = CredentialsFile::open(path);
        (folder, opened)
    }

    #[track_caller]
    fn check(key: &str, image: &str, is_sent: bool) {
        let (_folder, file) = file(&format!(r#"{{"auths": {{"{key}": {{"auth": "{}"}}}}}}"#, STANDARD.encode("u:p:q")));
        let found = file.unwrap().of(image).unwrap();
        assert_eq!(found.is_some(), is_sent, "{key} for {image}");
        if let Some(found) = found {
            assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("u"), Some("p:q")));
            assert_eq!(found.serveraddress.as_deref(), Some(key));
        }
    }

    #[test]
    fn credentials_go_to_their_registry_and_to_no_other() {
        for image in ["demo:1", "team/demo", "docker.io/team/demo", "index.docker.io/demo"] {
            check("https://index.docker.io/v1/", image, true);
            check("docker.io", image, true);
            check("registry.test", image, false);
        }
        check("registry.test:5000", "registry.test:5000/demo:1", true);
        check("http://registry.test:5000/v2/", "Registry.test:5000/a/b/c@sha256:00", true);
        check("registry.test", "registry.test:5000/demo:1", false);
        check("registry.test:5000", "registry.test/demo:1", false);
        check("localhost", "localhost/demo", true);
        check("docker.io", "localhost/demo", false);
        check("registry.test", "evil.test/registry.test/demo", false);
        check("registry.test/team", "registry.test/other/demo", false);
    }

    #[test]
    fn tokens_and_plain_words_are_taken_too_and_an_empty_entry_is_none() {
        let of = |entry: &str| {
            let (_folder, file) = file(&format!(r#"{{"auths": {{"r.test": {entry}}}, "psFormat": "x"}}"#));
            file.unwrap().of("r.test/demo").unwrap()
        };
        let found = of(r#"{"username": "u", "password": "p"}"#).unwrap();
        assert_eq!((found.username.as_deref(), found.password.as_deref()), (Some("u"), Some("p")));
        let pair = STANDARD.encode("u:");
        let found = of(&format!(r#"{{"auth": "{pair}", "identitytoken": "t"}}"#)).unwrap();
        let told = (found.username.as_deref(), found.password.as_deref(), found.identitytoken.as_deref());
        assert_eq!(told, (Some("u"), None, Some("t")));
        assert_eq!(of("{}"), None);
        assert_eq!(of(r#"{"auth": ""}"#), None);
        // Of two entries for one registry the one that says something.
        let both =
            format!(r#"{{"auths": {{"docker.io": {{}}, "https://index.docker.io/v1/": {{"auth": "{pair}"}}}}}}"#);
        let (_folder, both) = file(&both);
        assert!(both.unwrap().of("demo:1").unwrap().is_some());
    }

    #[test]
    fn what_can_not_be_used_is_refused_without_repeating_it() {
        let refused = |text: &str, mend: &str| {
            let (_folder, file) = file(text);
            let error = file.and_then(|file| file.of("r.test/demo")).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(told.contains(mend) && !told.contains("hush"), "{told}");
        };
        refused(r#"{"credsStore": "desktop", "auths": {"r.test": {"auth": "hush"}}}"#, "`credsStore`");
        refused(r#"{"credHelpers": {"r.test": "hush"}}"#, "`credHelpers`");
        refused(r#"{"auths": {"r.test": "hush"}}"#, "line 1, column 27");
        refused(r#"{"auths": {"r.test": {"auth": "hush"}}}"#, "`auth` of `r.test`");
        refused(&format!(r#"{{"auths": {{"r.test": {{"auth": "{}"}}}}}}"#, STANDARD.encode("hush")), "USER:PASSWORD");
        refused(&format!("{{\"hush\": \"{}\"}}", "x".repeat(1 << 20)), "longer");
        let error = CredentialsFile::open("/nowhere/config.json".into()).unwrap_err();
        assert!(error.to_string().contains("check the path"), "{error}");
    }
}
