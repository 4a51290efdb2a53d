//! The address of an Elasticsearch or OpenSearch server as a setting: `https://user@host:9200/prefix?ca=FILE`.
//!
//! Secrets never stand in the address, which shows in process lists: they come from files or from the environment.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Environment variable of the password.
const PASSWORD_VARIABLE: &str = "VAMP_ELASTICSEARCH_PASSWORD";

/// Environment variable of the API key (in its encoded form).
const API_KEY_VARIABLE: &str = "VAMP_ELASTICSEARCH_API_KEY";

/// LIMIT: bytes of a file with a secret or with certificates.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where Elasticsearch is, and where its secrets stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticUrl {
    base: String,
    user: Option<String>,
    password_file: Option<PathBuf>,
    api_key_file: Option<PathBuf>,
    ca: Option<PathBuf>,
}

/// Why an address can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ElasticUrlError {
    /// Not a URL of this form.
    #[error(
        "the Elasticsearch address {reason}: write http://host:9200 or https://user@host:9200?ca=FILE&password-file=FILE"
    )]
    Form {
        /// What is wrong with it.
        reason: String,
    },
    /// The password would show in process lists and logs.
    #[error(
        "the Elasticsearch address has a password in it: set {PASSWORD_VARIABLE}, or name a file with password-file=FILE"
    )]
    PasswordInUrl,
    /// A user without a password.
    #[error(
        "the Elasticsearch address names user `{user}` but no password: set {PASSWORD_VARIABLE}, or name a file with password-file=FILE"
    )]
    NoPassword {
        /// The user.
        user: String,
    },
    /// A secret with bytes that no header can carry.
    #[error("the Elasticsearch password or API key has control characters: write it again without line breaks inside")]
    Secret,
    /// A file that the address names.
    #[error("file {} of the Elasticsearch address can't be read", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: std::io::Error,
    },
    /// The certificates of `ca=`, or the system's, can't be used.
    #[error("the certificates for Elasticsearch can't be used: check the file that ca= names")]
    Client(#[source] reqwest::Error),
}

/// Who we are for the server.
pub(crate) enum Credentials {
    /// User and password.
    Password { user: String, password: String },
    /// An API key, encoded as the server gave it.
    ApiKey(String),
}

impl Credentials {
    pub(crate) fn authorization(&self) -> String {
        match self {
            Self::Password { user, password } => format!("Basic {}", base64(format!("{user}:{password}").as_bytes())),
            Self::ApiKey(key) => format!("ApiKey {key}"),
        }
    }
}

impl FromStr for ElasticUrl {
    type Err = ElasticUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = |reason: &str| ElasticUrlError::Form { reason: reason.to_owned() };
        // The text may hold a password: an error does not repeat it.
        let url = url::Url::parse(text).map_err(|error| form(&format!("is not a URL ({error})")))?;
        if url.password().is_some() {
            return Err(ElasticUrlError::PasswordInUrl);
        }
        if !matches!(url.scheme(), "http" | "https") {
            return Err(form("is neither http nor https"));
        }
        // A password with a `/`, `?` or `#` in it ends the host early: what stands behind would be shown.
        if url.path().contains('@') || url.fragment().is_some() {
            return Err(form("has an `@` or `#` behind the host"));
        }
        let host = url.host_str().ok_or_else(|| form("names no host"))?;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let mut parsed = Self {
            base: format!("{}://{host}{port}{}", url.scheme(), url.path().trim_end_matches('/')),
            user: (!url.username().is_empty()).then(|| percent_decoded(url.username())),
            password_file: None,
            api_key_file: None,
            ca: None,
        };
        for (name, value) in url.query_pairs() {
            let place = match &*name {
                "password-file" => &mut parsed.password_file,
                "api-key-file" => &mut parsed.api_key_file,
                "ca" => &mut parsed.ca,
                _ if url.query().is_some_and(|query| query.contains('@')) => {
                    return Err(ElasticUrlError::PasswordInUrl);
                }
                other => return Err(form(&format!("has the unknown part `{other}`"))),
            };
            *place = Some(PathBuf::from(&*value));
        }
        Ok(parsed)
    }
}

impl std::fmt::Display for ElasticUrl {
    /// Without credentials.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.base)
    }
}

impl ElasticUrl {
    /// Scheme, host, port and path, without credentials and without a slash at the end.
    pub(crate) fn base(&self) -> String {
        self.base.clone()
    }

    pub(crate) fn ca(&self) -> Result<Option<Vec<u8>>, ElasticUrlError> {
        self.ca.as_deref().map(read).transpose()
    }

    pub(crate) fn credentials(&self) -> Result<Option<Credentials>, ElasticUrlError> {
        self.credentials_with(|variable| std::env::var(variable).ok().filter(|value| !value.is_empty()))
    }

    fn credentials_with(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Credentials>, ElasticUrlError> {
        let secret = |file: Option<&Path>, name: &str| match file {
            Some(path) => {
                let text = String::from_utf8(read(path)?).map_err(|_| ElasticUrlError::Secret)?;
                Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
            }
            None => Ok(variable(name)),
        };
        if let Some(key) = secret(self.api_key_file.as_deref(), API_KEY_VARIABLE)? {
            return Ok(Some(Credentials::ApiKey(key)));
        }
        let Some(user) = self.user.clone() else { return Ok(None) };
        match secret(self.password_file.as_deref(), PASSWORD_VARIABLE)? {
            Some(password) => Ok(Some(Credentials::Password { user, password })),
            None => Err(ElasticUrlError::NoPassword { user }),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ElasticUrlError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes))
        .map_err(|cause| ElasticUrlError::File { path: path.to_owned(), cause })?;
    Ok(bytes)
}

fn percent_decoded(text: &str) -> String {
    // `form_urlencoded` would read `+` as a blank, which a user name may hold.
    let escaped = text.replace('+', "%2B");
    url::form_urlencoded::parse(escaped.as_bytes()).map(|(name, _)| name.into_owned()).next().unwrap_or_default()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| three.get(index).copied().map_or(0, u32::from);
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = usize::try_from(group >> (18 - 6 * digit) & 63).unwrap_or_default();
            let padding = digit > three.len();
            text.push(if padding { '=' } else { DIGITS.get(value).copied().map_or('=', char::from) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_without_its_secrets() {
        let url: ElasticUrl =
            "https://elastic%40corp@es.example:9200/logs/?ca=/c.pem&password-file=/p".parse().unwrap();
        assert_eq!(url.to_string(), "https://es.example:9200/logs");
        assert_eq!(url.user.as_deref(), Some("elastic@corp"));
        assert_eq!(url.ca.as_deref(), Some(Path::new("/c.pem")));
    }

    #[test]
    fn an_address_with_a_password_is_refused_without_repeating_it() {
        let error = "http://elastic:hunter2@es.example:9200".parse::<ElasticUrl>().unwrap_err();
        assert!(matches!(error, ElasticUrlError::PasswordInUrl));
        assert!(!error.to_string().contains("hunter2"));
        for text in ["https://me:12/hunter2@es", "https://me:12?hunter2@es", "https://me:12#hunter2@es"] {
            let error = text.parse::<ElasticUrl>().unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        for text in ["es:9200", "ftp://es", "http://es?pasword-file=x", "", "http://"] {
            assert!(matches!(text.parse::<ElasticUrl>(), Err(ElasticUrlError::Form { .. })), "{text}");
        }
    }

    #[test]
    fn secrets_come_from_a_file_before_the_environment_and_a_user_needs_one() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file\n").unwrap();
        let with_file: ElasticUrl =
            format!("http://elastic@es?password-file={}", file.path().display()).parse().unwrap();
        let plain: ElasticUrl = "http://elastic@es".parse().unwrap();
        let password = |name: &str| (name == PASSWORD_VARIABLE).then(|| "from-env".to_owned());
        let key = |name: &str| (name == API_KEY_VARIABLE).then(|| "abc==".to_owned());
        let authorization = |url: &ElasticUrl, variable: &dyn Fn(&str) -> Option<String>| {
            url.credentials_with(variable).unwrap().unwrap().authorization()
        };
        assert_eq!(authorization(&with_file, &password), format!("Basic {}", base64(b"elastic:from-file")));
        assert_eq!(authorization(&plain, &password), format!("Basic {}", base64(b"elastic:from-env")));
        assert_eq!(authorization(&plain, &key), "ApiKey abc==");
        assert!(matches!(plain.credentials_with(|_| None), Err(ElasticUrlError::NoPassword { .. })));
    }

    #[test]
    fn base64_agrees_with_rfc_4648() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, encoded) in vectors {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }
}
