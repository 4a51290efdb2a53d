//! Connections to the endpoints of one cluster: which one to ask, when to ask another, when to log in again.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, TlsOptions};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::fault::Fault;
use crate::StoreError;
use crate::url::{EtcdUrl, PASSWORD_VARIABLE};

// LIMIT: a request; a write to the API waits no longer for a store that is away.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
// LIMIT: one endpoint of several, so that another one still gets its turn within REQUEST_TIMEOUT.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
// A dead peer is noticed within 14 s. etcd ends connections that ping more often than each 5 s (`grpc-keepalive-min-time`).
const PING_INTERVAL: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(8);

/// Whether a request that may have arrived can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is as good as once.
    Freely,
    /// Only when it was never sent.
    IfUnsent,
}

pub(super) struct Session {
    options: ConnectOptions,
    endpoints: Vec<Endpoint>,
    /// Index of the endpoint that answered last.
    current: AtomicUsize,
    address: String,
}

struct Endpoint {
    url: String,
    client: Mutex<Option<Client>>,
}

impl Session {
    pub(super) fn new(url: &EtcdUrl) -> Result<Self, StoreError> {
        let mut options = ConnectOptions::new()
            .with_keep_alive(PING_INTERVAL, PING_TIMEOUT)
            .with_keep_alive_while_idle(true)
            .with_connect_timeout(CONNECT_TIMEOUT)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(ca) = &url.ca {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read("ca", ca)?));
            if let Some((cert, key)) = &url.identity {
                tls = tls.identity(Identity::from_pem(read("cert", cert)?, read("key", key)?));
            }
            options = options.with_tls(tls);
        }
        if let Some(user) = &url.user {
            options = options.with_user(user, password(url)?);
        }
        let scheme = if url.ca.is_some() { "https" } else { "http" };
        let endpoint = |host: &String| Endpoint { url: format!("{scheme}://{host}"), client: Mutex::default() };
        let endpoints = url.endpoints.iter().map(endpoint).collect();
        Ok(Self { options, endpoints, current: AtomicUsize::new(0), address: url.endpoints.join(",") })
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Makes a call, at another endpoint or with a new login where that helps.
    pub(super) async fn call<T, F, C>(&self, repeat: Repeat, call: C) -> Result<T, StoreError>
    where
        C: Fn(Client) -> F,
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let deadline = Instant::now() + REQUEST_TIMEOUT;
        let mut has_new_login = false;
        // Twice at a single endpoint too: the first call after an outage may only find out that its connection is dead.
        let mut attempts_left = self.endpoints.len().max(2);
        loop {
            attempts_left -= 1;
            let fault = match self.attempt(deadline, &call).await {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            let is_worth_it = match &fault {
                Fault::StaleLogin(_) => !std::mem::replace(&mut has_new_login, true),
                Fault::Lost { is_unsent, .. } => attempts_left > 0 && (*is_unsent || repeat == Repeat::Freely),
                _ => false,
            };
            if !is_worth_it || Instant::now() >= deadline {
                return Err(fault.into_error(&self.address));
            }
        }
    }

    async fn attempt<T, F, C>(&self, deadline: Instant, call: &C) -> Result<T, Fault>
    where
        C: Fn(Client) -> F,
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let index = self.current.load(Ordering::Relaxed);
        let Some(endpoint) = self.endpoints.get(index) else {
            return Err(Fault::Lost { reason: "no endpoint".to_owned(), is_unsent: true });
        };
        let started = Instant::now();
        let until = if self.endpoints.len() > 1 { deadline.min(started + ENDPOINT_TIMEOUT) } else { deadline };
        let result = timeout_at(until, async { call(endpoint.client(&self.options).await?).await }).await;
        let fault = match result {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => Fault::of(&error),
            Err(_) => Fault::timed_out(until - started),
        };
        if matches!(fault, Fault::Lost { .. } | Fault::StaleLogin(_)) {
            endpoint.disconnect();
        }
        if matches!(fault, Fault::Lost { .. }) {
            let next = (index + 1) % self.endpoints.len();
            // Of many calls that fail together only one moves on.
            let _moved = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        }
        Err(fault)
    }
}

impl Endpoint {
    /// The connection, made (and logged in) at the first use.
    async fn client(&self, options: &ConnectOptions) -> Result<Client, etcd_client::Error> {
        let mut client = self.client.lock().await;
        if let Some(client) = client.as_ref() {
            return Ok(client.clone());
        }
        let connected = Client::connect([&self.url], Some(options.clone())).await?;
        Ok(client.insert(connected).clone())
    }

    /// The next call connects anew. One that connects just now does that anyway.
    fn disconnect(&self) {
        if let Ok(mut client) = self.client.try_lock() {
            *client = None;
        }
    }
}

fn read(setting: &'static str, path: &std::path::Path) -> Result<String, StoreError> {
    std::fs::read_to_string(path).map_err(|error| StoreError::BadSetting {
        setting,
        reason: format!("`{}` can't be read: {error}", path.display()),
    })
}

fn password(url: &EtcdUrl) -> Result<String, StoreError> {
    if let Some(path) = &url.password_file {
        return Ok(read("password-file", path)?.trim_end_matches(['\r', '\n']).to_owned());
    }
    std::env::var(PASSWORD_VARIABLE).map_err(|_| StoreError::BadSetting {
        setting: PASSWORD_VARIABLE,
        reason: "it is not set: `user=` needs a password from it or from a file named by `password-file=`".to_owned(),
    })
}
