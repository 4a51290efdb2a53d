//! The listener under the admin addresses: bounded connections, bounded time for each step, TLS, a graceful end.

use std::io;
use std::net::{SocketAddr, TcpListener};
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

/// LIMIT: connections at once; one more is closed at once. Probes, a scraper, the control plane and some operators ask
/// here; file descriptors are for traffic.
const CONNECTIONS_MAX: usize = 64;
/// LIMIT: time for a request head, from the end of the former answer on: who sends slower, or nothing, is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// LIMIT: bytes of a request head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// LIMIT: time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// LIMIT: time in which no byte moves on a connection: a client that does not take its answer.
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// LIMIT: time that requests under way get when the process ends.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the listener does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address can't be had.
    #[error(
        "the admin listener can't be opened on {address}: choose another address with --admin, or stop what holds it"
    )]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// A file of the TLS setting can't be read.
    #[error("TLS file `{}` can't be used: it must hold {what} in PEM, readable by this process", path.display())]
    TlsFile {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What was wrong.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Certificate and key make no pair.
    #[error("TLS certificate `{}` and its key can't be used together: name the key that belongs to it", path.display())]
    TlsPair {
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
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<RustlsConfig>,
}

impl Listener {
    /// Opens the listener; port 0 takes a free one. `tls` names the files of certificate chain and private key.
    pub fn open(address: SocketAddr, tls: Option<(&Path, &Path)>) -> Result<Self, OpenError> {
        let tls = tls.map(|(certificate, key)| tls_config(certificate, key)).transpose()?;
        let failed = |cause| OpenError::Bind { address, cause };
        let socket = TcpListener::bind(address).map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, tls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is true or its sender is gone; requests under way end within [`DRAIN_TIMEOUT`].
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let handle = Handle::new();
        let stopping = handle.clone();
        let stopped = async move {
            // A sender that is gone means the same.
            drop(stop.wait_for(|is_stopping| *is_stopping).await);
            stopping.graceful_shutdown(Some(DRAIN_TIMEOUT));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stopped => {}
            ended = self.answer(router, handle) => {
                if let Err(error) = ended {
                    tracing::error!("the admin listener ended: {error}");
                }
            }
        }
    }

    async fn answer(self, router: Router, handle: Handle<SocketAddr>) -> io::Result<()> {
        let mut server = axum_server::from_tcp(self.socket)?.handle(handle).http1_only();
        let timer = hyper_util::rt::TokioTimer::new();
        let builder = server.http_builder();
        builder.http1().timer(timer).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
        let bounded = Bounded { places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
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

fn tls_config(certificate: &Path, key: &Path) -> Result<RustlsConfig, OpenError> {
    let file =
        |path: &Path, what, cause: PemError| OpenError::TlsFile { path: path.to_owned(), what, cause: cause.into() };
    let refused = |cause| file(certificate, "a certificate chain", cause);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate).map_err(refused)?.collect();
    let chain = chain.map_err(refused)?;
    if chain.is_empty() {
        return Err(refused(PemError::NoItemsFound));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|cause| file(key, "a private key", cause))?;
    let pair = |cause| OpenError::TlsPair { path: certificate.to_owned(), cause };
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
}

impl<S: Send + 'static> Accept<TcpStream, S> for Bounded {
    type Stream = Connection;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Connection, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let place = self.places.clone().try_acquire_owned();
        Box::pin(async move {
            let place = place.map_err(|_| io::Error::other("too many connections"))?;
            stream.set_nodelay(true)?;
            Ok((Connection { stream, idle: Box::pin(tokio::time::sleep(IDLE_TIMEOUT)), _place: place }, service))
        })
    }
}

/// A connection that ends when nothing moves on it.
struct Connection {
    stream: TcpStream,
    idle: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    fn watch<T>(&mut self, moved: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if moved.is_ready() {
            self.idle.as_mut().reset(Instant::now() + IDLE_TIMEOUT);
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

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
