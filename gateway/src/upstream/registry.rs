//! Which endpoints there are: one per address, kept while a table names it, names resolved again and again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use tracing::{info, warn};
use vamp_routing::Targets;

use super::Endpoint;

/// How often names are resolved again. The resolver of the C library does not tell the time to live of an answer.
pub(crate) const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// LIMIT: names resolved at the same time. Each takes a thread of the blocking pool while the resolver waits.
const LOOKUPS_MAX: usize = 64;

/// LIMIT: one lookup. The C library's resolver gives up after 10 to 30 s, which would hold up the others.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// The endpoints of a process by address.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    targets: Arc<Targets>,
    endpoints: HashMap<Arc<str>, Weak<Endpoint>>,
    made: u64,
    new_names: Vec<Arc<Endpoint>>,
}

impl Registry {
    /// No endpoints yet; `targets` says which addresses they may have.
    pub(crate) fn new(targets: Targets) -> Self {
        Self { targets: Arc::new(targets), ..Self::default() }
    }

    /// Which addresses endpoints may have, for [`resolve`].
    pub(crate) fn targets(&self) -> &Arc<Targets> {
        &self.targets
    }

    /// The endpoint at this address: the one there is, or a new one.
    pub(crate) fn endpoint(&mut self, address: &str) -> Arc<Endpoint> {
        if let Some(known) = self.endpoints.get(address).and_then(Weak::upgrade) {
            return known;
        }
        self.made += 1;
        let endpoint = Arc::new(Endpoint::new(address, self.made));
        self.endpoints.insert(Arc::clone(&endpoint.address), Arc::downgrade(&endpoint));
        // Whoever wrote the address down was asked about the rest of the rule; only this process knows its listeners.
        if endpoint.addresses().iter().any(|address| self.targets.is_own(*address)) {
            refuse(&endpoint, "the product's own listener");
        }
        if endpoint.name.is_some() {
            self.new_names.push(Arc::clone(&endpoint));
        }
        endpoint
    }

    /// The named endpoints that are new since the last call, for [`resolve`].
    pub(crate) fn take_new_names(&mut self) -> Vec<Arc<Endpoint>> {
        std::mem::take(&mut self.new_names)
    }

    /// The named endpoints of which this holds, for [`resolve`].
    pub(crate) fn named(&self, holds: impl Fn(&Endpoint) -> bool) -> Vec<Arc<Endpoint>> {
        let all = self.endpoints.values().filter_map(Weak::upgrade);
        all.filter(|endpoint| endpoint.name.is_some() && holds(endpoint)).collect()
    }

    /// Forgets those that nothing uses any more.
    pub(crate) fn forget_unused(&mut self) {
        self.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
    }
}

/// Resolves the names of these endpoints, each as soon as its answer is there.
pub(crate) async fn resolve(endpoints: Vec<Arc<Endpoint>>, targets: Arc<Targets>) {
    let lookups = futures_util::stream::iter(endpoints);
    lookups.for_each_concurrent(LOOKUPS_MAX, |endpoint| resolve_one(endpoint, &targets)).await;
}

async fn resolve_one(endpoint: Arc<Endpoint>, targets: &Targets) {
    let Some((host, port)) = &endpoint.name else { return };
    let was_resolved = endpoint.is_resolved();
    let lookup = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host.as_str(), *port)));
    match lookup.await {
        Ok(Ok(found)) => {
            let mut refusal = None;
            let mut addresses: Vec<_> = found
                .filter(|address| {
                    let why = targets.refusal(*address);
                    refusal = refusal.or(why);
                    why.is_none()
                })
                .map(|address| address.ip())
                .collect();
            addresses.dedup();
            if let Some(why) = refusal
                && addresses.is_empty()
            {
                refuse(&endpoint, why);
                return;
            }
            endpoint.resolve(addresses);
            if !was_resolved && endpoint.is_resolved() {
                info!(endpoint.address = %endpoint.address, "endpoint `{}` resolves", endpoint.address);
            }
        }
        // A resolver that does not answer says nothing about the name: unknown is not gone.
        Err(_) => unanswered(&endpoint, &"the resolver did not answer in time"),
        Ok(Err(error)) if is_temporary(&error) => unanswered(&endpoint, &error),
        Ok(Err(error)) => {
            endpoint.resolve([]);
            if was_resolved {
                warn!(endpoint.address = %endpoint.address, %error, "endpoint `{}` no longer resolves and gets no requests: mend its name or its DNS record", endpoint.address);
            }
        }
    }
}

/// Takes an endpoint out of use that leads where none should. The log says so when that is new.
fn refuse(endpoint: &Endpoint, why: &str) {
    let address = &endpoint.address;
    if endpoint.refuse() {
        warn!(endpoint.address = %address, "endpoint `{address}` leads to {why} and gets no requests: give the route another target, or open it with --allow-target");
    }
}

fn unanswered(endpoint: &Endpoint, error: &dyn std::fmt::Display) {
    let address = &endpoint.address;
    warn!(endpoint.address = %address, %error, "endpoint `{address}` was not resolved; what was known of it stays");
}

/// Whether the resolver could not say. The standard library tells the C library's code (`EAI_AGAIN`) by its text only.
fn is_temporary(error: &std::io::Error) -> bool {
    error.to_string().contains("Temporary failure")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_endpoint_while_something_uses_it() {
        let mut registry = Registry::default();
        let first = registry.endpoint("127.0.0.1:80");
        assert!(Arc::ptr_eq(&first, &registry.endpoint("127.0.0.1:80")));
        assert!(!Arc::ptr_eq(&first, &registry.endpoint("127.0.0.1:81")));
        let id = first.id;
        drop(first);
        registry.forget_unused();
        assert!(registry.endpoints.is_empty());
        assert_ne!(
            registry.endpoint("127.0.0.1:80").id,
            id,
            "its connections are not taken for those of the one before"
        );
    }

    #[tokio::test]
    async fn a_name_resolves_to_the_addresses_of_the_host() {
        let mut registry = Registry::default();
        let (known, address) = (registry.endpoint("localhost:80"), registry.endpoint("127.0.0.1:80"));
        resolve(registry.take_new_names(), Arc::clone(registry.targets())).await;
        assert!(known.is_live() && address.is_live());
        assert!(known.addresses().iter().all(|socket| socket.ip().is_loopback() && socket.port() == 80));
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_down_and_nothing_else() {
        let mut registry = Registry::default();
        let (none, some) = (registry.endpoint("no such host:80"), registry.endpoint("localhost:80"));
        resolve(registry.take_new_names(), Arc::clone(registry.targets())).await;
        assert!(!none.is_resolved() && some.is_resolved());
    }

    #[track_caller]
    fn is_used_under(targets: Targets, address: &str) -> impl Future<Output = bool> {
        let mut registry = Registry::new(targets);
        let endpoint = registry.endpoint(address);
        async move {
            resolve(registry.take_new_names(), Arc::clone(registry.targets())).await;
            endpoint.is_live() && !endpoint.addresses().is_empty()
        }
    }

    #[tokio::test]
    async fn a_name_gets_no_address_that_no_route_should_lead_to() {
        // What the resolver takes for numbers is a name to whoever wrote the route.
        for hidden in ["2852039166:80", "0xa9.0xfe.0xa9.0xfe:80", "0251.0376.0251.0376:80", "0:80"] {
            assert!(!is_used_under(Targets::default(), hidden).await, "{hidden}");
        }
        let open = Targets { allowed: vec!["169.254.0.0/16".parse().unwrap()], ..Targets::default() };
        assert!(is_used_under(open, "2852039166:80").await);
        let own = || Targets { own: vec!["127.0.0.1:1988".parse().unwrap()], allowed: Vec::new() };
        for (address, is_used) in [("127.1:1988", false), ("127.0.0.1:1988", false), ("127.0.0.1:1989", true)] {
            assert_eq!(is_used_under(own(), address).await, is_used, "{address}");
        }
    }
}
