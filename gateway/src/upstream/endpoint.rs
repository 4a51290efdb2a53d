//! One address behind routes: where it is, how many requests it has, and whether it is to be passed by.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

/// LIMIT: connects that may fail in a row before an endpoint is passed by. One is chance, three within the tries of
/// one or two requests are not; until then each failed try goes on to another endpoint.
const FAILURES_MAX: u32 = 3;

/// How long an endpoint is passed by at first; doubled with each further failure.
const PASS_BY_MIN: Duration = Duration::from_millis(500);

/// LIMIT: how long at most. An endpoint that is back has its share again after this time.
const PASS_BY_MAX: Duration = Duration::from_secs(15);

/// How long the one request that tries an endpoint again may take before another tries it as well. It is a little
/// more than connecting may take.
const PROBE: Duration = Duration::from_secs(4);

/// One address behind routes, known once per process.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As published, `host:port`.
    pub(crate) address: Arc<str>,
    /// The name to resolve and its port; `None` when the address is an IP address.
    pub(crate) name: Option<(String, u16)>,
    /// Differs from that of every endpoint of this process, past ones too.
    pub(crate) id: u64,
    resolved: ArcSwap<Vec<SocketAddr>>,
    made: Instant,
    health: Health,
}

/// What each request touches, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Health {
    in_flight: AtomicU32,
    /// 1 while a name has no address, 2 while it has only addresses that no route may lead to.
    unresolved: AtomicU32,
    failures: AtomicU32,
    /// Milliseconds after `made` until which the endpoint is passed by; 0 when it is not.
    passed_by_until_ms: AtomicU64,
}

impl Endpoint {
    /// An endpoint at `host:port`. A name has no address until [`Endpoint::resolve`] gave it some.
    pub(crate) fn new(address: &str, id: u64) -> Self {
        let (resolved, name) = match address.parse::<SocketAddr>() {
            Ok(socket) => (vec![socket], None),
            Err(_) => (Vec::new(), Some(split(address))),
        };
        let health = Health { unresolved: AtomicU32::new(name.is_some().into()), ..Health::default() };
        let resolved = ArcSwap::from_pointee(resolved);
        Self { address: address.into(), name, id, resolved, made: Instant::now(), health }
    }

    /// Takes the addresses that its name has now; none means that the endpoint is down.
    pub(crate) fn resolve(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        let Some((_, port)) = &self.name else { return };
        let addresses: Vec<_> = addresses.into_iter().map(|address| SocketAddr::new(address, *port)).collect();
        self.health.unresolved.store(addresses.is_empty().into(), Ordering::Relaxed);
        if **self.resolved.load() != addresses {
            self.resolved.store(Arc::new(addresses));
        }
    }

    /// Takes its addresses away: no route may lead there. Tells whether that is new.
    pub(crate) fn refuse(&self) -> bool {
        self.resolved.store(Arc::default());
        self.health.unresolved.swap(2, Ordering::Relaxed) != 2
    }

    /// Its addresses, in the order in which they are tried.
    pub(crate) fn addresses(&self) -> Arc<Vec<SocketAddr>> {
        self.resolved.load_full()
    }

    /// Whether it has an address at all.
    pub(crate) fn is_resolved(&self) -> bool {
        self.health.unresolved.load(Ordering::Relaxed) == 0
    }

    /// Whether it has an address and no failures that count.
    pub(crate) fn is_live(&self) -> bool {
        self.is_resolved() && self.health.passed_by_until_ms.load(Ordering::Relaxed) == 0
    }

    /// Whether a request may be sent there: it is live, or its time of being passed by is over and this request is the
    /// one that tries it again.
    pub(crate) fn admits(&self) -> bool {
        if self.health.passed_by_until_ms.load(Ordering::Relaxed) == 0 {
            return self.is_resolved();
        }
        self.admits_at(self.now_ms())
    }

    fn admits_at(&self, now_ms: u64) -> bool {
        let until_ms = self.health.passed_by_until_ms.load(Ordering::Relaxed);
        let next_ms = now_ms.saturating_add(millis(PROBE));
        self.is_resolved()
            && now_ms >= until_ms
            && (self.health.passed_by_until_ms)
                .compare_exchange(until_ms, next_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// A connection was made: whatever failed before is over.
    pub(crate) fn connected(&self) {
        if self.health.failures.load(Ordering::Relaxed) > 0 {
            self.health.failures.store(0, Ordering::Relaxed);
            self.health.passed_by_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// A connection could not be made. After some in a row, others are preferred for a time that grows with each.
    pub(crate) fn failed(&self) {
        self.failed_at(self.now_ms());
    }

    fn failed_at(&self, now_ms: u64) {
        let failures = self.health.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures >= FAILURES_MAX {
            // A connect that began before the endpoint was passed by says nothing new; the growth per failure is
            // bounded, so that a burst of them only reaches the longest time sooner.
            let doublings = (failures - FAILURES_MAX).min(10);
            let time = PASS_BY_MIN.saturating_mul(1 << doublings).min(PASS_BY_MAX);
            // Spread, so that the threads and processes that saw the same failure do not try again at once.
            let time = time.mul_f64(rand::random_range(0.75..1.0));
            let until_ms = now_ms.saturating_add(millis(time)).max(1);
            self.health.passed_by_until_ms.store(until_ms, Ordering::Relaxed);
        }
    }

    /// Requests under way there, of all threads.
    pub(crate) fn in_flight(&self) -> u32 {
        self.health.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn began(&self) {
        self.health.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.health.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        millis(self.made.elapsed())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Host and port of an address that is not an IP address. What has no port gets 0, which nothing listens on.
fn split(address: &str) -> (String, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    (host.to_owned(), port.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn addresses_are_live_at_once_and_names_when_they_resolve() {
        for (address, name) in
            [("127.0.0.1:80", None), ("[::1]:80", None), ("app.test:80", Some(("app.test".to_owned(), 80)))]
        {
            let endpoint = Endpoint::new(address, 0);
            assert_eq!(endpoint.name, name, "{address}");
            assert_eq!(endpoint.is_live(), name.is_none(), "{address}");
        }
        let endpoint = Endpoint::new("app.test:80", 0);
        endpoint.resolve([IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        assert!(endpoint.is_live() && endpoint.admits());
        assert_eq!(*endpoint.addresses(), ["127.0.0.1:80".parse().unwrap()]);
        endpoint.resolve([]);
        assert!(!endpoint.is_live() && !endpoint.admits());
    }

    #[test]
    fn failures_in_a_row_pass_it_by_for_a_growing_bounded_time() {
        let endpoint = Endpoint::new("127.0.0.1:80", 0);
        (1..FAILURES_MAX).for_each(|_| endpoint.failed_at(0));
        assert!(endpoint.is_live(), "{} failures are chance", FAILURES_MAX - 1);
        let (mut now_ms, mut longest_ms) = (0, 0);
        for _ in 0..20 {
            endpoint.failed_at(now_ms);
            assert!(!endpoint.is_live() && !endpoint.admits_at(now_ms));
            let began_ms = now_ms;
            while !endpoint.admits_at(now_ms) {
                now_ms += 10;
            }
            let passed_by_ms = now_ms - began_ms;
            assert!(
                passed_by_ms <= millis(PASS_BY_MAX) && passed_by_ms * 4 >= longest_ms * 3,
                "{passed_by_ms} after {longest_ms}"
            );
            longest_ms = longest_ms.max(passed_by_ms);
        }
        assert!(longest_ms > millis(PASS_BY_MAX) / 2, "{longest_ms}");
        endpoint.connected();
        assert!(endpoint.is_live());
    }

    #[test]
    fn one_request_at_a_time_tries_it_again() {
        let endpoint = Endpoint::new("127.0.0.1:80", 0);
        (0..FAILURES_MAX).for_each(|_| endpoint.failed_at(0));
        let now_ms = millis(PASS_BY_MAX);
        assert!(endpoint.admits_at(now_ms));
        assert!(!endpoint.admits_at(now_ms), "another request tries it");
        assert!(endpoint.admits_at(now_ms + millis(PROBE)), "the one that tried left without an answer");
    }
}
