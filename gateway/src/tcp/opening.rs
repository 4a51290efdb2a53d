//! From the accepted connection to the one upstream: whose it is, where it goes, and how it gets there.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use vamp_record::{Reason, Record};
use vamp_routing::wire::{ProxyVersion, Tcp};
use vamp_routing::{Client, Decision, Entry};

use super::hear;
use super::passage::Passage;
use crate::http1::is_trusted;
use crate::proxy::timer::Timer;
use crate::proxy::{Arrival, OpenRecord, blank_record, micros};
use crate::proxy_header::{self, Ends};
use crate::serving::Place;
use crate::upstream::{self, Connection, Lease};
use crate::worker::{Served, Worker};

/// A connection that was accepted.
pub(super) struct Opening {
    pub(super) worker: Rc<Worker>,
    pub(super) client: TcpStream,
    /// Who opened it: the client, or the proxy in front.
    pub(super) peer: SocketAddr,
    /// Index of the gateway in the table.
    pub(super) gateway: usize,
    pub(super) options: Tcp,
    pub(super) accepted: Instant,
    pub(super) timer: Timer,
}

/// The upstream's side of a connection.
struct Reached {
    upstream: Connection,
    lease: Lease,
}

impl Opening {
    /// Finds the connection its way. `None`: it has none, and that is recorded.
    pub(super) async fn open(mut self, serving: Served) -> Option<Box<Passage>> {
        let (ends, early) = match self.announced().await {
            Ok(announced) => announced,
            Err(reason) => {
                self.record(&serving, self.peer, Place::Gateway(self.gateway)).finish(reason);
                return None;
            }
        };
        let client = ends.map_or(self.peer, |ends| ends.source);
        let decided = self.worker.decide(&serving, Entry::Gateway(self.gateway), &Client(client.ip()));
        let Ok(decision) = decided else {
            self.record(&serving, client, Place::Gateway(self.gateway)).finish(Reason::NoWeight);
            return None;
        };
        let mut record = self.record(&serving, client, Place::Route(&decision.chain));
        let reached = if self.worker.memory.is_scarce() {
            Err(Reason::Overload)
        } else {
            self.reach(&serving, &decision, &mut record).await
        };
        match reached {
            Ok(Reached { upstream, lease }) => {
                let before =
                    self.options.send_proxy.map(|version| self.introduction(version, ends)).unwrap_or_default();
                let idle = self.worker.limits.tunnel_idle_timeout;
                let Self { client, timer, .. } = self;
                Some(Box::new(Passage::new(client, upstream, lease, record, (timer, idle), before, early)))
            }
            Err(reason) => {
                record.finish(reason);
                None
            }
        }
    }

    fn record(&self, serving: &Served, client: SocketAddr, place: Place<'_>) -> OpenRecord {
        let arrival = Arrival { began: self.accepted, heard: self.accepted, peer: client };
        let record = Record { is_tcp: true, ..blank_record(&self.worker, serving, arrival, place) };
        OpenRecord::new(Rc::clone(&self.worker), serving.tally(place), self.accepted, record)
    }

    /// For whom the peer speaks, if it says so, and the bytes behind that. Only a trusted proxy is believed.
    async fn announced(&mut self) -> Result<(Option<Ends>, Vec<u8>), Reason> {
        if !self.options.accept_proxy && !self.worker.proxy_protocol {
            return Ok((None, Vec::new()));
        }
        if !is_trusted(self.peer.ip(), &self.worker.trusted_proxies) {
            tracing::debug!(
                "a connection from {} is closed: this port is for proxies that send a PROXY header: name it in --trusted-proxies",
                self.peer.ip()
            );
            return Err(Reason::BadRequest);
        }
        let deadline = self.accepted + self.worker.limits.head_timeout;
        let (header, early) = hear::header(&mut self.client, &mut self.timer, deadline).await?;
        Ok((header.ends, early))
    }

    /// Connects to an endpoint of the route, or to others when it does not accept.
    async fn reach(&self, serving: &Served, decision: &Decision, open: &mut OpenRecord) -> Result<Reached, Reason> {
        let mut tried = Vec::new();
        let mut tries_left = self.worker.limits.retries_max;
        let mut refused = Reason::NoEndpoint;
        loop {
            let lease = upstream::pick(serving, decision, &tried).ok_or(refused)?;
            if !tried.is_empty() {
                open.note(|record| record.retries = record.retries.saturating_add(1));
            }
            open.note(|record| {
                record.endpoint = Some(Arc::clone(&lease.endpoint.address));
                record.endpoint_lookup = Some(Arc::clone(&lease.lookup));
            });
            let began = Instant::now();
            let error = match lease.connect(&self.worker).await {
                Ok(upstream) => {
                    let took = Instant::now().saturating_duration_since(began);
                    open.note(|record| record.connect_us = Some(micros(took)));
                    return Ok(Reached { upstream, lease });
                }
                Err(error) => error,
            };
            tracing::debug!("a connection is not carried: {error}");
            refused = error.reason();
            if tries_left == 0 || error.is_of_this_host() {
                return Err(refused);
            }
            tries_left -= 1;
            tried.push(lease.index);
        }
    }

    /// The PROXY header for the endpoint: what a proxy in front said goes on, else it is what is seen here.
    fn introduction(&self, version: ProxyVersion, ends: Option<Ends>) -> Vec<u8> {
        let seen = || {
            let local = self.client.local_addr().ok()?;
            let destination = SocketAddr::new(local.ip().to_canonical(), local.port());
            Some(Ends { source: self.peer, destination })
        };
        proxy_header::written(version, ends.or_else(seen))
    }
}
