//! The listener of the API: bounded connections, bounded time for each step, TLS, a graceful end.

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
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

/// LIMIT: connections at once; one more is closed at once. Each costs two buffers and a file descriptor.
const CONNECTIONS_MAX: usize = 1024;
/// LIMIT: time for a request head, from the end of the former answer on: who sends slower, or nothing, is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// LIMIT: bytes of a request head: a name of 512 bytes, all escaped, and some tokens and cookies.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: time for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// LIMIT: time in which no byte moves on a connection: twice the longest `wait`, so that only a client that does not
/// take its answer is meant.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);
/// LIMIT: time that requests under way get when the control plane goes down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the listener does not open.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address can't be had.
    #[error("the API can't listen on {address}: choose another one with --listen, or stop what holds it")]
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

/// Certificate and key, read and checked.
pub(crate) struct Tls(RustlsConfig);

impl Tls {
    /// Reads both files.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Self, ServerError> {
        let file = |path: &Path, what, cause: rustls::pki_types::pem::Error| ServerError::TlsFile {
            path: path.to_owned(),
            what,
            cause: cause.into(),
        };
        let refused = |cause| file(certificate, "a certificate chain", cause);
        let chain = CertificateDer::pem_file_iter(certificate).map_err(refused)?.collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(refused)?;
        if chain.is_empty() {
            return Err(refused(rustls::pki_types::pem::Error::NoItemsFound));
        }
        let private = PrivateKeyDer::from_pem_file(key).map_err(|cause| file(key, "a private key", cause))?;
        let pair = |cause| ServerError::TlsPair { path: certificate.to_owned(), cause };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(pair)?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, private).map_err(pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(RustlsConfig::from_config(Arc::new(config))))
    }
}

/// A listener that was opened, before anybody is answered.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// A server that answers.
#[derive(Debug)]
pub(crate) struct Serving {
    handle: Handle<SocketAddr>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Opens the listener; port 0 takes a free one.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let failed = |cause| ServerError::Bind { address, cause };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to answer.
    pub(crate) fn serve(self, router: Router, tls: Option<Tls>) -> Result<Serving, ServerError> {
        let handle = Handle::new();
        let failed = |cause| ServerError::Bind { address: self.address, cause };
        let mut server = axum_server::from_tcp(self.listener).map_err(failed)?.handle(handle.clone()).http1_only();
        let timer = hyper_util::rt::TokioTimer::new();
        let builder = server.http_builder();
        builder.http1().timer(timer).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
        let bounded = Bounded { places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) };
        let service = router.into_make_service();
        let task = match tls {
            None => tokio::spawn(server.acceptor(bounded).serve(service)),
            Some(Tls(config)) => {
                let acceptor = RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE_TIMEOUT).acceptor(bounded);
                tokio::spawn(server.acceptor(acceptor).serve(service))
            }
        };
        Ok(Serving { handle, task })
    }
}

impl Serving {
    /// Takes no more connections, lets requests under way end, and ends.
    pub(crate) async fn stop(self) {
        self.handle.graceful_shutdown(Some(DRAIN_TIMEOUT));
        if let Ok(Err(error)) = self.task.await {
            tracing::warn!(cause = %super::chain(&error), "the listener of the API ended badly");
        }
    }
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
            // Who connects and says nothing has as long as who does not finish its head.
            let idle = Box::pin(tokio::time::sleep(HEAD_TIMEOUT));
            Ok((Connection { stream, idle, _place: place }, service))
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
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let moved = Pin::new(&mut self.stream).poll_read(context, buffer);
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
