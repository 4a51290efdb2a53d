//! A watch on one range, from a revision on.

use etcd_client::{Client, EventType, WatchOptions, WatchResponse, WatchStream};

use super::fault::Fault;
use super::session::Repeat;
use super::{ANSWER_BYTES_MAX, Etcd, as_revision, position, version};
use crate::{Changes, Entry, Event, Position, StoreError, Watch, is_under};

pub(super) struct EtcdWatch {
    stream: WatchStream,
    address: String,
    root: String,
    prefix: String,
    after: Position,
}

impl EtcdWatch {
    pub(super) async fn open(etcd: &Etcd, prefix: &str, after: Position) -> Result<Self, StoreError> {
        match Self::open_once(etcd, prefix, after).await {
            // A watch that comes with an ended token is denied, not told so. A request renews the token.
            Err(StoreError::Denied { .. }) => {
                crate::Store::get(etcd, prefix).await?;
                Self::open_once(etcd, prefix, after).await
            }
            result => result,
        }
    }

    async fn open_once(etcd: &Etcd, prefix: &str, after: Position) -> Result<Self, StoreError> {
        let (first, end) = etcd.range(prefix);
        // Progress is told, so that a quiet watch does not fall behind a compaction.
        let options = WatchOptions::new()
            .with_range(end)
            .with_start_revision(as_revision(after.0.saturating_add(1)))
            .with_progress_notify();
        let opened = etcd.session.call(Repeat::Freely, |client: Client| {
            let mut watches = client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX);
            let (first, options) = (first.clone(), options.clone());
            async move {
                let mut stream = watches.watch(first, Some(options)).await?;
                let created = stream.message().await?;
                Ok((stream, created))
            }
        });
        let (stream, created) = opened.await?;
        let address = etcd.session.address().to_owned();
        let watch = Self { stream, address, root: etcd.root.clone(), prefix: prefix.to_owned(), after };
        match created {
            None => Err(watch.lost("the watch ended before it began")),
            Some(created) if created.canceled() => Err(watch.cancelled(&created)),
            // A revision from the future belongs to a history that was replaced by an older copy; etcd would wait for it.
            Some(created) if created.header().is_some_and(|header| position(header.revision()) < after) => {
                Err(StoreError::Compacted { from: after })
            }
            Some(_) => Ok(watch),
        }
    }

    fn lost(&self, reason: &'static str) -> StoreError {
        StoreError::Unreachable { address: self.address.clone(), cause: reason.into() }
    }

    fn cancelled(&self, response: &WatchResponse) -> StoreError {
        let reason = response.cancel_reason();
        if response.compact_revision() > 0 || reason.contains("compacted") {
            return StoreError::Compacted { from: self.after };
        }
        if reason.contains("permission denied") || reason.contains("auth token") {
            return StoreError::Denied { cause: reason.into() };
        }
        StoreError::Unreachable {
            address: self.address.clone(),
            cause: format!("the watch was ended: {reason}").into(),
        }
    }

    fn failed(&self, error: &etcd_client::Error) -> StoreError {
        match Fault::of(error) {
            // Also a backlog above ANSWER_BYTES_MAX: a list is shorter than that history.
            Fault::Compacted | Fault::Refused(_) => StoreError::Compacted { from: self.after },
            fault => fault.into_error(&self.address),
        }
    }

    fn event(&self, event: &etcd_client::Event) -> Option<Event> {
        let kv = event.kv()?;
        let key = std::str::from_utf8(kv.key()).ok()?.strip_prefix(&self.root)?;
        if !is_under(&self.prefix, key) {
            return None;
        }
        let key = key.to_owned();
        Some(match event.event_type() {
            EventType::Put => {
                Event::Put(Entry { key, value: kv.value().to_vec().into(), version: version(kv.mod_revision()) })
            }
            EventType::Delete => Event::Deleted { key },
        })
    }
}

#[async_trait::async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Result<Changes, StoreError> {
        loop {
            let response = match self.stream.message().await {
                Ok(Some(response)) => response,
                Ok(None) => return Err(self.lost("the watch ended")),
                Err(error) => return Err(self.failed(&error)),
            };
            if response.canceled() {
                return Err(self.cancelled(&response));
            }
            if response.created() {
                continue;
            }
            // The header tells the store's revision, which may be ahead of these events; only without events it is the watch's own.
            let last =
                response.events().last().and_then(etcd_client::Event::kv).map(etcd_client::KeyValue::mod_revision);
            let reached = last.or_else(|| response.header().map(etcd_client::ResponseHeader::revision)).map(position);
            self.after = self.after.max(reached.unwrap_or(self.after));
            let events = response.events().iter().filter_map(|event| self.event(event)).collect();
            return Ok(Changes { events, position: self.after });
        }
    }
}
