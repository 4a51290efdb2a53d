//! Where the database is, as a user writes it: `sqlite:PATH`, `mysql://USER@HOST:PORT/NAME?…` or `postgres://…`. The
//! password stands in a file or in the environment, never in the address: printing it is safe.

use std::net::IpAddr;
use std::path::PathBuf;

use super::PersistError;

/// The environment variable with the database user's password.
pub(super) const PASSWORD_VARIABLE: &str = "VAMP_DATABASE_PASSWORD";

/// Which database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Sqlite(PathBuf),
    MySql(Server),
    Postgres(Server),
}

/// A database that a server keeps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) password_file: Option<PathBuf>,
    pub(super) socket: Option<PathBuf>,
    pub(super) ca: Option<PathBuf>,
    /// Client certificate and its key.
    pub(super) identity: Option<(PathBuf, PathBuf)>,
    /// Whether bytes are encrypted, and the server is who it says: yes, unless it is on this machine or `tls=off` said so.
    pub(super) has_tls: bool,
}

impl Address {
    /// Reads what a user wrote.
    pub(super) fn parse(text: &str) -> Result<Self, PersistError> {
        let (scheme, rest) = text.trim().split_once(':').unwrap_or((text, ""));
        match scheme {
            "sqlite" if !rest.is_empty() && !rest.starts_with(':') => Ok(Self::Sqlite(PathBuf::from(rest))),
            "mysql" | "mariadb" => server(text).map(Self::MySql),
            "postgres" | "postgresql" => server(text).map(Self::Postgres),
            _ => Err(refused(
                "it is none: write `sqlite:PATH`, `mysql://USER@HOST/DATABASE` or `postgres://USER@HOST/DATABASE`",
            )),
        }
    }
}

fn refused(what: impl Into<String>) -> PersistError {
    PersistError::UnknownAddress { what: what.into() }
}

fn server(text: &str) -> Result<Server, PersistError> {
    let url = url::Url::parse(text.trim()).map_err(|cause| refused(format!("it is no URL ({cause})")))?;
    if url.password().is_some() {
        let mend =
            format!("leave the password out: it stands in {PASSWORD_VARIABLE} or a file named by `password-file=`");
        return Err(refused(mend));
    }
    let mut server = Server {
        host: url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned(),
        port: url.port(),
        user: plain(url.username())?,
        database: plain(url.path().trim_start_matches('/'))?,
        ..Server::default()
    };
    let mut tls = None;
    let (mut cert, mut key) = (None, None);
    for (name, value) in url.query_pairs() {
        let path = || PathBuf::from(value.as_ref());
        let is_first = match name.as_ref() {
            "password-file" => server.password_file.replace(path()).is_none(),
            "socket" => server.socket.replace(path()).is_none(),
            "ca" => server.ca.replace(path()).is_none(),
            "cert" => cert.replace(path()).is_none(),
            "key" => key.replace(path()).is_none(),
            "tls" if value == "on" || value == "off" => tls.replace(value == "on").is_none(),
            "tls" => return Err(refused("its parameter `tls` is `on` or `off`")),
            "password" => {
                return Err(refused(format!("its password stands in {PASSWORD_VARIABLE} or `password-file=`")));
            }
            _ => {
                let known = "password-file, socket, ca, cert, key and tls";
                return Err(refused(format!("it has an unknown parameter: {known} are known")));
            }
        };
        if !is_first || value.is_empty() {
            return Err(refused(format!("its parameter `{name}` must stand once and have a value")));
        }
    }
    server.identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(refused("`cert` and `key` need each other")),
    };
    if server.user.is_empty() || server.database.is_empty() {
        return Err(refused("it needs a user and the name of a database, as in `mysql://vamp@db.example/vamp`"));
    }
    let is_near = server.socket.is_some() || is_this_machine(&server.host);
    server.has_tls = tls.unwrap_or(!is_near || server.ca.is_some() || server.identity.is_some());
    if !server.has_tls && (server.ca.is_some() || server.identity.is_some()) {
        return Err(refused("`ca`, `cert` and `key` have no meaning with `tls=off`"));
    }
    Ok(server)
}

/// A name as it stands in the address.
fn plain(text: &str) -> Result<String, PersistError> {
    if text.contains('%') {
        return Err(refused("user and database are written plain, without `%`"));
    }
    Ok(text.to_owned())
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, server) = match self {
            Self::Sqlite(path) => return write!(f, "sqlite:{}", path.display()),
            Self::MySql(server) => ("mysql", server),
            Self::Postgres(server) => ("postgres", server),
        };
        let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.clone() };
        let port = server.port.map(|port| format!(":{port}")).unwrap_or_default();
        write!(f, "{scheme}://{}@{host}{port}/{}", server.user, server.database)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads_as(text: &str, printed: &str, has_tls: Option<bool>) {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), printed);
        let found = match address {
            Address::Sqlite(_) => None,
            Address::MySql(server) | Address::Postgres(server) => Some(server.has_tls),
        };
        assert_eq!(found, has_tls, "{text}");
    }

    #[track_caller]
    fn is_refused(text: &str, part: &str) {
        let error = Address::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn addresses_are_read_and_printed_without_secrets() {
        reads_as("sqlite:vamp.db", "sqlite:vamp.db", None);
        reads_as("sqlite:/var/lib/vamp.db", "sqlite:/var/lib/vamp.db", None);
        reads_as("mysql://u@localhost/d", "mysql://u@localhost/d", Some(false));
        reads_as("mariadb://u@db.example:3307/d?password-file=/p", "mysql://u@db.example:3307/d", Some(true));
        reads_as("postgres://u@[::1]:5433/d", "postgres://u@[::1]:5433/d", Some(false));
        reads_as("postgres://u@127.0.0.1/d?ca=/ca.pem", "postgres://u@127.0.0.1/d", Some(true));
        reads_as("postgresql://u@db.example/d?tls=off", "postgres://u@db.example/d", Some(false));
    }

    #[test]
    fn a_wrong_address_is_refused_by_what_is_wrong() {
        is_refused("", "write `sqlite:PATH`");
        is_refused("sqlite:", "write `sqlite:PATH`");
        is_refused("sqlite::memory:", "write `sqlite:PATH`");
        is_refused("oracle://u@h/d", "write `sqlite:PATH`");
        is_refused("mysql://u:s3cret@h/d", "VAMP_DATABASE_PASSWORD");
        is_refused("mysql://u@h/d?password=s3cret", "VAMP_DATABASE_PASSWORD");
        is_refused("mysql://h/d", "needs a user");
        is_refused("postgres://u@h", "the name of a database");
        is_refused("postgres://u@h/d?sslmode=disable", "unknown parameter");
        is_refused("postgres://u@h/d?tls=maybe", "`on` or `off`");
        is_refused("postgres://u@h/d?cert=c", "need each other");
        is_refused("postgres://u@h/d?ca=c&tls=off", "no meaning");
        is_refused("postgres://u@h/d?ca=a&ca=b", "once");
    }
}
