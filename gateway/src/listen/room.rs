//! Who is let in: as many client connections as the process has room for, and as many of one address as it may have.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refused;
use crate::memory::Memory;

/// How long a newcomer waits for the place of a connection that was told to end: that one is told before, and ends
/// within the same turn of its thread. Accepting waits with it.
const PLACE_TIMEOUT: Duration = Duration::from_millis(20);

/// LIMIT: how often connections are told to end for one newcomer: one that was told may have got its request in the same
/// moment, and stays.
const TOLD_MAX: usize = 3;

/// LIMIT: clients that are let in however short the memory is: what the allocator does not give back after a flood must
/// not keep everybody out for good. Their requests take 4 MiB at most.
const LET_IN_ALWAYS: usize = 64;

/// The room for client connections of the process.
#[derive(Debug)]
pub(crate) struct Room {
    connections_max: usize,
    places: Arc<Semaphore>,
    memory: Arc<Memory>,
    clients: Option<Arc<Clients>>,
    trusted_proxies: Arc<[IpNet]>,
}

/// Connections by the address of the client, of those that have any.
#[derive(Debug)]
struct Clients {
    each_max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of one client connection.
#[derive(Debug)]
pub(super) struct Place {
    _place: OwnedSemaphorePermit,
    _client: Option<OfClient>,
}

#[derive(Debug)]
struct OfClient {
    clients: Arc<Clients>,
    address: IpAddr,
}

impl Room {
    /// Room for this many connections, and for so many of one client that is none of `trusted_proxies`.
    pub(crate) fn new(
        connections_max: usize,
        per_client_max: Option<usize>,
        trusted_proxies: Arc<[IpNet]>,
        memory: Arc<Memory>,
    ) -> Arc<Self> {
        let connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        let places = Arc::new(Semaphore::new(connections_max));
        let clients = per_client_max.map(|each_max| Arc::new(Clients { each_max, open: Mutex::default() }));
        Arc::new(Self { connections_max, places, memory, clients, trusted_proxies })
    }

    /// A place for a client. `make_room` tells connections of this thread that wait for a request to end, and how many it
    /// told; `others` asks the other threads for theirs, when this one has none.
    pub(super) async fn place(
        &self,
        client: IpAddr,
        now: Instant,
        make_room: impl Fn() -> usize,
        others: impl AsyncFn() -> usize,
    ) -> Result<Place, Refused> {
        let client = self.of_client(client)?;
        if self.is_short_of_memory(now) {
            make_room();
            return Err(Refused::Memory);
        }
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(Place { _place: place, _client: client });
        }
        // In the queue before anybody is told: whose place becomes free is not for who comes later.
        let mut place = pin!(Arc::clone(&self.places).acquire_owned());
        let make_room = async || match make_room() {
            0 => others().await,
            told => told,
        };
        for _ in 0..TOLD_MAX {
            let told = tokio::select! {
                biased;
                Ok(place) = &mut place => return Ok(Place { _place: place, _client: client }),
                told = make_room() => told,
            };
            if told == 0 {
                break;
            }
            if let Ok(Ok(place)) = tokio::time::timeout(PLACE_TIMEOUT, &mut place).await {
                return Ok(Place { _place: place, _client: client });
            }
        }
        Err(Refused::Connections)
    }

    /// Looks at the memory, if that was long ago.
    pub(super) fn is_short_of_memory(&self, now: Instant) -> bool {
        let open = || self.connections_max.saturating_sub(self.places.available_permits());
        self.memory.is_short(now, || open() < LET_IN_ALWAYS)
    }

    fn of_client(&self, address: IpAddr) -> Result<Option<OfClient>, Refused> {
        let Some(clients) = &self.clients else { return Ok(None) };
        // Behind a proxy there are many clients.
        if self.trusted_proxies.iter().any(|proxies| proxies.contains(&address)) {
            return Ok(None);
        }
        let mut open = clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= clients.each_max {
            return Err(Refused::Client);
        }
        *count += 1;
        Ok(Some(OfClient { clients: Arc::clone(clients), address }))
    }
}

impl Drop for OfClient {
    fn drop(&mut self) {
        let mut open = self.clients.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY_WAITS: fn() -> usize = || 0;

    #[tokio::test]
    async fn one_client_gets_its_share_and_a_trusted_proxy_has_none() {
        let room = Room::new(10, Some(2), Arc::new(["10.0.0.0/8".parse().unwrap()]), Arc::new(Memory::new(None)));
        let place =
            async |client: &str| room.place(client.parse().unwrap(), Instant::now(), NOBODY_WAITS, async || 0).await;
        let first = place("192.0.2.1").await.unwrap();
        let _second = place("192.0.2.1").await.unwrap();
        assert_eq!(place("192.0.2.1").await.unwrap_err(), Refused::Client);
        let _other = place("192.0.2.2").await.unwrap();
        drop(first);
        let _third = place("192.0.2.1").await.unwrap();
        let mut proxied = Vec::new();
        for _ in 0..7 {
            proxied.push(place("10.1.2.3").await.unwrap());
        }
        assert_eq!(place("10.1.2.3").await.unwrap_err(), Refused::Connections);
        assert_eq!(room.clients.as_ref().unwrap().open.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn nobody_is_let_in_while_memory_is_short_and_who_waits_is_told() {
        let room = Room::new(1_000, None, Arc::new([]), Arc::new(Memory::new(Some(1024 * 1024))));
        let told = std::cell::Cell::new(0);
        let make_room = || {
            told.set(told.get() + 1);
            1
        };
        let at = |second| Instant::now() + Duration::from_secs(second);
        let mut few = Vec::new();
        for second in 1..=64 {
            few.push(room.place([127, 0, 0, 1].into(), at(second), make_room, async || 0).await.unwrap());
        }
        assert_eq!(few.len(), LET_IN_ALWAYS);
        assert_eq!(
            room.place([127, 0, 0, 1].into(), at(70), make_room, async || 0).await.unwrap_err(),
            Refused::Memory
        );
        assert_eq!(told.get(), 1);
    }
}
