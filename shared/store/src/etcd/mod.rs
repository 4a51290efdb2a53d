//! The driver for etcd 3.4 and newer.

mod fault;
mod session;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Client, Compare, CompareOp, GetOptions, KeyValue, PutOptions, Txn, TxnOp};

use self::session::{Repeat, Session};
use crate::url::EtcdUrl;
use crate::{Entry, Expected, Lease, Listing, Position, Store, StoreError, Version, Watch, is_under};

// LIMIT: etcd takes requests up to 1.5 MiB (`max-request-bytes`); the rest is room for keys and framing.
const VALUE_BYTES_MAX: usize = 1 << 20;
// LIMIT: one answer. The first page of a list may have PAGE_KEYS_FIRST values of VALUE_BYTES_MAX.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const PAGE_KEYS_FIRST: i64 = 32;
// LIMIT: pages that follow are sized so that they have about this many bytes, if the values are alike.
const PAGE_BYTES: usize = 8 << 20;
const PAGE_KEYS_MAX: usize = 10_000;

/// One etcd cluster, below one prefix.
pub(crate) struct Etcd {
    session: Session,
    /// `/prefix/`; stands before each key.
    root: String,
}

impl std::fmt::Debug for Etcd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Etcd").field("address", &self.session.address()).field("root", &self.root).finish()
    }
}

impl Etcd {
    pub(crate) fn new(url: &EtcdUrl) -> Result<Self, StoreError> {
        Ok(Self { session: Session::new(url)?, root: format!("/{}/", url.prefix) })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.root)
    }

    /// The range that has `prefix` and all that stands below it; [`is_under`] decides about the rest of it.
    fn range(&self, prefix: &str) -> (String, Vec<u8>) {
        let first = self.full(prefix);
        let mut end = first.clone().into_bytes();
        match end.last_mut() {
            // `0` is the character after `/`.
            Some(last) if *last == b'/' => *last = b'0',
            _ => end.push(b'0'),
        }
        (first, end)
    }

    /// All entries of the range at one revision, page by page.
    async fn read_range(&self, prefix: &str, is_keys_only: bool) -> Result<Listing, StoreError> {
        let (mut first, end) = self.range(prefix);
        let mut entries: Vec<Entry> = Vec::new();
        let (mut revision, mut page_keys) = (0, PAGE_KEYS_FIRST);
        if is_keys_only {
            page_keys = i64::try_from(PAGE_KEYS_MAX).unwrap_or(PAGE_KEYS_FIRST);
        }
        loop {
            let mut options = GetOptions::new().with_range(end.clone()).with_limit(page_keys).with_revision(revision);
            if is_keys_only {
                options = options.with_keys_only();
            }
            let page = self.session.call(Repeat::Freely, |client: Client| {
                let (first, options) = (first.clone(), options.clone());
                let mut kv = client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX);
                async move { kv.get(first, Some(options)).await }
            });
            let mut page = page.await?;
            if revision == 0 {
                revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
            }
            let has_more = page.more();
            let kvs = page.take_kvs();
            let page_bytes: usize = kvs.iter().map(|kv| kv.value().len()).sum();
            if !is_keys_only {
                let keys = PAGE_BYTES / (page_bytes / kvs.len().max(1)).max(1);
                page_keys = i64::try_from(keys.clamp(8, PAGE_KEYS_MAX)).unwrap_or(PAGE_KEYS_FIRST);
            }
            if let Some(last) = kvs.last() {
                // The smallest key after the last one.
                first = format!("{}\0", String::from_utf8_lossy(last.key()));
            }
            let is_empty = kvs.is_empty();
            entries
                .extend(kvs.into_iter().filter_map(|kv| self.entry(kv)).filter(|entry| is_under(prefix, &entry.key)));
            if !has_more || is_empty {
                return Ok(Listing { entries, position: position(revision) });
            }
        }
    }

    /// A key that is not text is not ours.
    fn entry(&self, kv: KeyValue) -> Option<Entry> {
        let version = version(kv.mod_revision());
        let (key, value) = kv.into_key_value();
        let key = String::from_utf8(key).ok()?.strip_prefix(&self.root)?.to_owned();
        Some(Entry { key, value: Bytes::from(value), version })
    }
}

fn version(revision: i64) -> Version {
    Version(u64::try_from(revision).unwrap_or_default())
}

fn position(revision: i64) -> Position {
    Position(u64::try_from(revision).unwrap_or_default())
}

fn as_revision(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn guard(key: &str, expected: Expected) -> Vec<Compare> {
    match expected {
        Expected::Anything => Vec::new(),
        Expected::Absent => vec![Compare::mod_revision(key, CompareOp::Equal, 0)],
        Expected::Version(version) => vec![Compare::mod_revision(key, CompareOp::Equal, as_revision(version.0))],
    }
}

#[async_trait::async_trait]
impl Store for Etcd {
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let full = self.full(key);
        let answer = self.session.call(Repeat::Freely, |client: Client| {
            let full = full.clone();
            async move { client.kv_client().max_decoding_message_size(ANSWER_BYTES_MAX).get(full, None).await }
        });
        Ok(answer.await?.take_kvs().into_iter().find_map(|kv| self.entry(kv)))
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expected: Expected,
        lease: Option<Lease>,
    ) -> Result<Version, StoreError> {
        if value.len() > VALUE_BYTES_MAX {
            let (bytes, limit_bytes) = (value.len(), VALUE_BYTES_MAX);
            return Err(StoreError::TooLarge { key: key.to_owned(), bytes, limit_bytes });
        }
        let full = self.full(key);
        let options = lease.map(|lease| PutOptions::new().with_lease(lease.0));
        let repeat = if expected == Expected::Anything { Repeat::Freely } else { Repeat::IfUnsent };
        let answer = self.session.call(repeat, |client: Client| {
            let put = TxnOp::put(full.as_str(), value.as_ref(), options.clone());
            let txn = Txn::new().when(guard(&full, expected)).and_then([put]);
            async move { client.kv_client().txn(txn).await }
        });
        let answer = answer.await?;
        if !answer.succeeded() {
            return Err(StoreError::Conflict { key: key.to_owned() });
        }
        Ok(version(answer.header().map_or(0, etcd_client::ResponseHeader::revision)))
    }

    async fn delete(&self, key: &str, expected: Expected) -> Result<bool, StoreError> {
        let full = self.full(key);
        let answer = self.session.call(Repeat::IfUnsent, |client: Client| {
            let txn = Txn::new().when(guard(&full, expected)).and_then([TxnOp::delete(full.as_str(), None)]);
            async move { client.kv_client().txn(txn).await }
        });
        let answer = answer.await?;
        if !answer.succeeded() {
            return Err(StoreError::Conflict { key: key.to_owned() });
        }
        let is_deleted = |done: etcd_client::TxnOpResponse| match done {
            etcd_client::TxnOpResponse::Delete(done) => done.deleted() > 0,
            _ => false,
        };
        Ok(answer.op_responses().into_iter().any(is_deleted))
    }

    async fn list(&self, prefix: &str) -> Result<Listing, StoreError> {
        self.read_range(prefix, false).await
    }

    async fn list_keys(&self, prefix: &str) -> Result<Vec<(String, Version)>, StoreError> {
        let listing = self.read_range(prefix, true).await?;
        Ok(listing.entries.into_iter().map(|entry| (entry.key, entry.version)).collect())
    }

    async fn watch(&self, prefix: &str, after: Position) -> Result<Box<dyn Watch>, StoreError> {
        Ok(Box::new(watch::EtcdWatch::open(self, prefix, after).await?))
    }

    async fn grant(&self, time_to_live: Duration) -> Result<Lease, StoreError> {
        let seconds = i64::try_from(time_to_live.as_millis().div_ceil(1000)).unwrap_or(i64::MAX).max(1);
        // A lease that is granted twice ends by itself.
        let answer = self
            .session
            .call(Repeat::Freely, |client: Client| async move { client.lease_client().grant(seconds, None).await });
        Ok(Lease(answer.await?.id()))
    }

    async fn keep_alive(&self, lease: Lease) -> Result<(), StoreError> {
        let answer = self
            .session
            .call(Repeat::Freely, |client: Client| async move { client.lease_client().keep_alive(lease.0).await });
        answer.await.map(drop)
    }

    async fn revoke(&self, lease: Lease) -> Result<(), StoreError> {
        let answer = self
            .session
            .call(Repeat::Freely, |client: Client| async move { client.lease_client().revoke(lease.0).await });
        match answer.await {
            Ok(_) | Err(StoreError::LeaseEnded) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn max_value_bytes(&self) -> usize {
        VALUE_BYTES_MAX
    }

    fn address(&self) -> &str {
        self.session.address()
    }
}
