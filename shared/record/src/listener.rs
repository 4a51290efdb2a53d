//! The listener under a management address (the control plane's API, a gateway's admin listener): bounded connections,
//! bounded time for each step, TLS, a graceful end. Who may ask is [`crate::access`]'s rule, in front of the router.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures_util::future::BoxFuture;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep};

/// LIMIT: time for a request head, from the connection or the end of the former answer on: who sends slower, or
/// nothing, is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// LIMIT: time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is a listener's own: how messages name it, and what it takes.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// What users call it, as in "the … can't be opened".
    pub name: &'static str,
    /// The flag that sets its address, as in `--listen`.
    pub flag: &'static str,
    /// Connections at once; one more is closed at once.
    pub connections_max: usize,
    /// Bytes of a request head, at least 8192.
    pub head_bytes_max: usize,
    /// Time in which no byte moves on a connection that has sent some: a client that does not take its answer. Longer
    /// than any request takes.
    pub idle_timeout: Duration,
    /// Time that requests under way get once it is told to stop.
    pub drain_timeout: Duration,
}

/// Why a listener does not open.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    /// The address can't be had.
    #[error("the {name} can't be opened on {address}: choose another address with {flag}, or stop what holds it")]
    Bind {
        /// Which listener.
        name: &'static str,
        /// The flag of its address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A file of the TLS setting can't be read.
    #[error("the {name}'s {setting} `{}` can't be used: it must hold {what} in PEM, readable by this process", path.display())]
    TlsFile {
        /// Which listener.
        name: &'static str,
        /// The flag of the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What was wrong.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Certificate and key make no pair.
    #[error("the {name}'s --tls-cert `{}` and its --tls-key can't be used together: name the key that belongs to it", path.display())]
    TlsPair {
        /// Which listener.
        name: &'static str,
        /// The certificate.
        path: PathBuf,
        /// What was wrong.
        #[source]
        cause: rustls::Error,
    },
}

/// An open listener. Until [`Listener::serve`], connections wait in the system's queue.
#[derive(Debug)]
pub struct Listener {
    manner: Manner,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
}

impl Listener {
    /// Opens a listener; port 0 takes a free one. `tls` names the files of certificate chain and private key.
    pub fn open(manner: Manner, address: SocketAddr, tls: Option<(&Path, &Path)>) -> Result<Self, ListenerError> {
        let bind = |cause| ListenerError::Bind { name: manner.name, flag: manner.flag, address, cause };
        Self::on(manner, TcpListener::bind(address).map_err(bind)?, address, tls)
    }

    /// The same on the socket of another process, if that is where this one is to listen.
    pub fn take_over(
        manner: Manner,
        socket: TcpListener,
        address: SocketAddr,
        tls: Option<(&Path, &Path)>,
    ) -> Result<Self, ListenerError> {
        let is_there = |bound: SocketAddr| bound.ip() == address.ip() && [0, bound.port()].contains(&address.port());
        if socket.local_addr().is_ok_and(is_there) {
            Self::on(manner, socket, address, tls)
        } else {
            Self::open(manner, address, tls)
        }
    }

    fn on(
        manner: Manner,
        socket: TcpListener,
        address: SocketAddr,
        tls: Option<(&Path, &Path)>,
    ) -> Result<Self, ListenerError> {
        let tls = tls.map(|(certificate, key)| tls_config(manner.name, certificate, key)).transpose()?;
        let failed = |cause| ListenerError::Bind { name: manner.name, flag: manner.flag, address, cause };
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { manner, socket, address, tls })
    }

    /// A second descriptor of its socket, for [`Listener::take_over`] in another process.
    pub fn share(&self) -> io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is true or its sender is gone; requests under way end within [`Manner::drain_timeout`].
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let Manner { name, drain_timeout, .. } = self.manner;
        let handle = Handle::new();
        let stopping = handle.clone();
        let stopped = async move {
            // A sender that is gone means the same.
            drop(stop.wait_for(|is_stopping| *is_stopping).await);
            stopping.graceful_shutdown(Some(drain_timeout));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stopped => {}
            ended = self.answer(router, handle) => {
                if let Err(error) = ended {
                    tracing::error!("the {name} ended: {error}");
                }
            }
        }
    }

    async fn answer(self, router: Router, handle: Handle<SocketAddr>) -> io::Result<()> {
        let Manner { connections_max, head_bytes_max, idle_timeout, .. } = self.manner;
        let mut server = axum_server::from_tcp(self.socket)?.handle(handle).http1_only();
        let timer = hyper_util::rt::TokioTimer::new();
        let builder = server.http_builder();
        builder.http1().timer(timer).header_read_timeout(HEAD_TIMEOUT).max_buf_size(head_bytes_max);
        let bounded = Bounded { places: Arc::new(Semaphore::new(connections_max)), idle_timeout };
        let service = router.into_make_service();
        match self.tls {
            None => server.acceptor(bounded).serve(service).await,
            Some(config) => {
                let acceptor = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE_TIMEOUT).acceptor(bounded);
                server.acceptor(acceptor).serve(service).await
            }
        }
    }
}

fn tls_config(name: &'static str, certificate: &Path, key: &Path) -> Result<RustlsConfig, ListenerError> {
    let refused = |cause: PemError| ListenerError::TlsFile {
        name,
        setting: "--tls-cert",
        path: certificate.to_owned(),
        what: "a certificate chain",
        cause: cause.into(),
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).map_err(refused)?.collect();
    let chain = chain.map_err(refused)?;
    if chain.is_empty() {
        return Err(refused(PemError::NoItemsFound));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|cause| ListenerError::TlsFile {
        name,
        setting: "--tls-key",
        path: key.to_owned(),
        what: "a private key",
        cause: cause.into(),
    })?;
    let pair = |cause| ListenerError::TlsPair { name, path: certificate.to_owned(), cause };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder.map_err(pair)?.with_no_client_auth().with_single_cert(chain, private).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(RustlsConfig::from_config(Arc::new(config)))
}

/// Lets in as many connections as there are places.
#[derive(Debug, Clone)]
struct Bounded {
    places: Arc<Semaphore>,
    idle_timeout: Duration,
}

impl<S: Send + 'static> Accept<TcpStream, S> for Bounded {
    type Stream = Connection;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Connection, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = self.places.clone().try_acquire_owned();
        let idle_timeout = self.idle_timeout;
        Box::pin(async move {
            let place = place.map_err(|_| io::Error::other("too many connections"))?;
            stream.set_nodelay(true)?;
            // Who connects and says nothing has as long as who does not finish its head.
            let idle = Box::pin(tokio::time::sleep(HEAD_TIMEOUT));
            Ok((Connection { stream, idle, idle_timeout, _place: place }, service))
        })
    }
}

/// A connection that ends when nothing moves on it.
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn watch<T>(&mut self, moved: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            let until = Instant::now() + self.idle_timeout;
            self.idle.as_mut().reset(until);
            return moved;
        }
        self.idle.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, into);
        self.watch(moved, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(moved, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let moved = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(moved, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::task::JoinHandle;

    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn manner() -> Manner {
        Manner {
            name: "listener of the test",
            flag: "--here",
            connections_max: 2,
            head_bytes_max: 16 * 1024,
            idle_timeout: Duration::from_mins(1),
            drain_timeout: Duration::from_secs(1),
        }
    }

    struct Serving {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        task: JoinHandle<()>,
    }

    fn serve(tls: Option<(&Path, &Path)>) -> Serving {
        let listener = Listener::open(manner(), ANY, tls).unwrap();
        let router = Router::new().route("/", get(async || "here"));
        let (stop, stopped) = watch::channel(false);
        Serving { address: listener.address(), stop, task: tokio::spawn(listener.serve(router, stopped)) }
    }

    async fn connect(serving: &Serving) -> TcpStream {
        TcpStream::connect(serving.address).await.unwrap()
    }

    /// All that arrives after `sent`, until the listener ends the connection; a reset counts as an end.
    async fn until_the_end(mut stream: TcpStream, sent: &str) -> String {
        drop(stream.write_all(sent.as_bytes()).await);
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes).await);
        String::from_utf8(bytes).unwrap()
    }

    /// A connection that the listener has let in: it has answered there.
    async fn answered(serving: &Serving) -> TcpStream {
        let mut stream = connect(serving).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
        let mut bytes = [0; 12];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"HTTP/1.1 200");
        stream
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_or_never_ends_its_head_is_let_go() {
        let serving = serve(None);
        assert_eq!(until_the_end(connect(&serving).await, "").await, "");
        until_the_end(connect(&serving).await, "GET / HTTP/1.1\r\nhost: ").await;
        until_the_end(answered(&serving).await, "").await;
    }

    #[tokio::test]
    async fn one_connection_more_than_it_takes_is_closed_at_once() {
        let serving = serve(None);
        let (first, _second) = (answered(&serving).await, answered(&serving).await);
        assert_eq!(until_the_end(connect(&serving).await, "").await, "");
        until_the_end(first, "GET / HTTP/1.1\r\nconnection: close\r\nhost: here\r\n\r\n").await;
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let serving = serve(None);
        let head = format!("GET / HTTP/1.1\r\nx: {}", "x".repeat(17 * 1024));
        let answer = until_the_end(connect(&serving).await, &head).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }

    #[tokio::test]
    async fn it_ends_when_told_to_with_connections_open() {
        let serving = serve(None);
        let (_answered, _silent) = (answered(&serving).await, connect(&serving).await);
        serving.stop.send_replace(true);
        serving.task.await.unwrap();
        assert!(TcpStream::connect(serving.address).await.is_err());
    }

    #[tokio::test]
    async fn it_ends_when_nobody_is_left_to_tell_it() {
        let serving = serve(None);
        drop(serving.stop);
        serving.task.await.unwrap();
    }

    #[tokio::test]
    async fn it_speaks_tls_with_the_certificate_that_it_was_given() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let (certificate, key) = (folder.join("localhost.crt"), folder.join("localhost.key"));
        let serving = serve(Some((&certificate, &key)));
        drop(rustls::crypto::ring::default_provider().install_default());
        let trusted = reqwest::Certificate::from_pem(&std::fs::read(&certificate).unwrap()).unwrap();
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([trusted]).build().unwrap();
        let answer = client.get(format!("https://{}/", serving.address)).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "here");
        let plain = client.get(format!("http://{}/", serving.address));
        assert!(plain.send().await.is_err(), "plain HTTP is not answered");
    }

    #[test]
    fn a_listener_that_can_not_be_opened_says_why() {
        #[track_caller]
        fn check(address: SocketAddr, tls: Option<(&Path, &Path)>, says: &[&str]) {
            let error = Listener::open(manner(), address, tls).unwrap_err().to_string();
            assert!(error.starts_with("the listener of the test"), "{error}");
            assert!(says.iter().all(|part| error.contains(part)), "{error}");
        }
        let first = Listener::open(manner(), ANY, None).unwrap();
        check(first.address(), None, &[&first.address().to_string(), "--here"]);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let (certificate, key) = (folder.join("localhost.crt"), folder.join("localhost.key"));
        let empty = tempfile::NamedTempFile::new().unwrap();
        check(ANY, Some((empty.path(), &key)), &["--tls-cert", "certificate chain"]);
        check(ANY, Some((&key, &certificate)), &["--tls-cert", "localhost.key"]);
        check(ANY, Some((&certificate, &certificate)), &["--tls-key", "private key"]);
        check(ANY, Some((&certificate, Path::new("/nowhere/key"))), &["--tls-key", "/nowhere/key"]);
    }
}
