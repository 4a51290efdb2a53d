//! How the engine is reached: one connection for each request, as long an answer as is agreed, in a version of the API
//! that both sides speak.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bollard::errors::Error;
use bollard::{BollardRequest, ClientVersion, Docker};
use hyper::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// LIMIT: bytes of one answer that is kept whole: a thousand containers take a tenth of it.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// LIMIT: seconds to the head of an answer, inside the client: all who call have shorter times of their own.
const HEAD_SECONDS_MAX: u64 = 3_600;
/// The oldest version of the API that has everything: that of Docker 20.10.
const OLDEST: ClientVersion = ClientVersion { major_version: 1, minor_version: 41 };

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddress {
    /// A socket of this host.
    Unix(PathBuf),
    /// A loopback address: that of a tunnel, or of a proxy before the socket.
    Tcp(SocketAddr),
}

impl FromStr for EngineAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            "write `unix:///PATH`, or `tcp://127.0.0.1:PORT` for a tunnel or a proxy before the engine's socket";
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(refused.to_owned()) };
        }
        let address = text.strip_prefix("tcp://").and_then(|address| address.parse::<SocketAddr>().ok());
        match address {
            Some(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Some(_) => Err(format!("whoever reaches an engine over the network is root on its host: {refused}")),
            None => Err(refused.to_owned()),
        }
    }
}

impl std::fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

/// The version of the API in which both sides speak, once that is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Spoken(Arc<Mutex<Option<ClientVersion>>>);

impl Spoken {
    fn get(&self) -> Option<ClientVersion> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, version: Option<ClientVersion>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// Asks again before the next request: another engine may answer there.
    pub(super) fn forget(&self) {
        self.set(None);
    }

    /// Agrees on a version, unless that was done.
    pub(super) async fn agree(&self, docker: &Docker) -> Result<(), Error> {
        if self.get().is_some() {
            return Ok(());
        }
        let told = docker.version().await?;
        self.set(Some(
            choose(told.api_version.as_deref(), told.min_api_version.as_deref()).map_err(std::io::Error::other)?,
        ));
        Ok(())
    }
}

/// The newest version that both sides know.
fn choose(newest: Option<&str>, oldest: Option<&str>) -> Result<ClientVersion, String> {
    let read = |text: Option<&str>| {
        let (major, minor) = text?.split_once('.')?;
        Some(ClientVersion { major_version: major.parse().ok()?, minor_version: minor.parse().ok()? })
    };
    let newest = read(newest).ok_or("it does not tell the version of its API: is it a Docker engine?")?;
    let known = *bollard::API_DEFAULT_VERSION;
    if newest < OLDEST {
        return Err(format!("its API {newest} is older than {OLDEST}: update it to Docker 20.10 or newer"));
    }
    match read(oldest) {
        Some(oldest) if oldest > known => Err(format!(
            "it speaks no API older than {oldest}, and {known} is the newest that is known here: update Vamp"
        )),
        _ if newest < known => Ok(newest),
        _ => Ok(known),
    }
}

/// A client whose answers are kept whole, and bounded.
pub(super) fn for_answers(address: &EngineAddress, spoken: &Spoken) -> Docker {
    client(address, spoken, Some(ANSWER_BYTES_MAX))
}

/// A client whose answers are read as they come.
pub(super) fn for_streams(address: &EngineAddress, spoken: &Spoken) -> Docker {
    client(address, spoken, None)
}

#[expect(clippy::expect_used, reason = "the client reads nothing but the text of an address, which is a constant here")]
fn client(address: &EngineAddress, spoken: &Spoken, bytes_max: Option<u64>) -> Docker {
    let (address, spoken) = (address.clone(), spoken.clone());
    let transport = move |request| exchange(address.clone(), spoken.get(), bytes_max, request);
    Docker::connect_with_custom_transport(transport, Some("http://docker"), HEAD_SECONDS_MAX, &OLDEST)
        .expect("`http://docker` is an address")
}

async fn exchange(
    address: EngineAddress,
    version: Option<ClientVersion>,
    bytes_max: Option<u64>,
    mut request: BollardRequest,
) -> Result<Response<Incoming>, Error> {
    let stream: Box<dyn Stream> = match &address {
        EngineAddress::Unix(path) => Box::new(UnixStream::connect(path).await?),
        EngineAddress::Tcp(address) => Box::new(TcpStream::connect(address).await?),
    };
    let metered = Metered { stream, left: bytes_max };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(metered)).await?;
    // Ends with the request: nobody else has its sender.
    tokio::spawn(connection.with_upgrades());
    let path = path(request.uri(), version);
    *request.uri_mut() = path.parse()?;
    request.headers_mut().insert(hyper::header::HOST, hyper::header::HeaderValue::from_static("docker"));
    for_urls(request.headers_mut());
    Ok(sender.send_request(request).await?)
}

/// The engine reads credentials in the alphabet of base64 that is meant for URLs; the client writes them in the other one.
fn for_urls(headers: &mut hyper::HeaderMap) {
    if let Some(value) = headers.get_mut("x-registry-auth")
        && let Ok(text) = value.to_str()
        && let Ok(mut other) = hyper::header::HeaderValue::from_str(&text.replace('+', "-").replace('/', "_"))
    {
        other.set_sensitive(true);
        *value = other;
    }
}

/// The path of a request in the version that was agreed on; without one, the engine takes its own.
fn path(uri: &hyper::Uri, version: Option<ClientVersion>) -> String {
    let whole = uri.path_and_query().map_or("/", |path| path.as_str());
    let rest = whole.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    let rest = rest.unwrap_or_else(|| whole.trim_start_matches('/'));
    match version {
        Some(version) => format!("/v{version}/{rest}"),
        None => format!("/{rest}"),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection from which no more than so many bytes are read.
struct Metered {
    stream: Box<dyn Stream>,
    left: Option<u64>,
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let count = buffer.filled().len().saturating_sub(before) as u64;
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(count) else {
                buffer.set_filled(before);
                return Poll::Ready(Err(std::io::Error::other("its answer is longer than any that is expected")));
            };
            *left = rest;
        }
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn an_engine_is_a_socket_or_stands_behind_loopback() {
        let read = |text: &str| text.parse::<EngineAddress>();
        assert_eq!(read("unix:///run/d.sock").unwrap().to_string(), "unix:///run/d.sock");
        assert_eq!(read("tcp://127.0.0.1:2375").unwrap().to_string(), "tcp://127.0.0.1:2375");
        for (text, mend) in [("/run/d.sock", "unix:///PATH"), ("unix://d.sock", "unix:///PATH"), ("tcp://h:1", "unix")]
        {
            assert!(read(text).unwrap_err().contains(mend), "{text}");
        }
        assert!(read("tcp://192.0.2.1:2375").unwrap_err().contains("is root on its host"));
    }

    #[test]
    fn the_newest_version_that_both_know_is_spoken() {
        let known = bollard::API_DEFAULT_VERSION.to_string();
        assert_eq!(choose(Some("1.41"), Some("1.12")).unwrap().to_string(), "1.41");
        assert_eq!(choose(Some("1.99"), Some("1.44")).unwrap().to_string(), known);
        assert!(choose(Some("1.40"), None).unwrap_err().contains("20.10"));
        assert!(choose(Some("1.99"), Some("1.98")).unwrap_err().contains("update Vamp"));
        assert!(choose(None, None).unwrap_err().contains("is it a Docker engine"));
    }

    #[test]
    fn a_request_is_put_into_the_version_that_was_agreed_on() {
        let check = |uri: &str, is: &str| assert_eq!(path(&uri.parse().unwrap(), Some(OLDEST)), is);
        check("http://docker/v1.53/containers/json?all=true", "/v1.41/containers/json?all=true");
        check("http://docker/containers/v1.2/json", "/v1.41/containers/v1.2/json");
        assert_eq!(path(&"http://docker/version".parse().unwrap(), None), "/version");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_given_up() {
        let mut metered = Metered {
            stream: Box::new(tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink())),
            left: Some(10_000),
        };
        let mut bytes = Vec::new();
        let error = metered.read_to_end(&mut bytes).await.unwrap_err();
        assert!(error.to_string().contains("longer") && bytes.len() <= 10_000, "{error} {}", bytes.len());
    }
}
