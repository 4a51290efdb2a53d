//! A table in the store: content-addressed values first, then one small manifest that names them, by compare-and-put.
//! A reader sees a table whole or not at all.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::Instant;
use vamp_routing::wire::{self, Digest, Encoded, Generation, Manifest, ManifestEntry, WireError};

use crate::{Expected, SharedStore, Store, StoreError, Version, layout, values};

// LIMIT: values that are read or written at once. Enough to hide round trips, few enough to leave the store to others.
const CONCURRENCY: usize = 16;

/// How long a value that no manifest names is kept: a gateway may still be reading a table that was replaced meanwhile.
pub const VALUE_GRACE: Duration = Duration::from_mins(10);

/// Why a table was not read or not published.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The store did not do it.
    #[error("the table in the store can't be reached")]
    Store(#[from] StoreError),
    /// What is in the store is no table that we can read.
    #[error("the table in the store is refused")]
    Wire(#[from] WireError),
    /// The manifest names a value that is not there.
    #[error("{what} with digest {digest} is not in the store: publish the table again")]
    MissingValue {
        /// What was looked for.
        what: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// The store has this table, or a newer one.
    #[error("table {ours} is not published: the store already has table {theirs}")]
    Outdated {
        /// The table that was to be published.
        ours: Generation,
        /// The table that is there.
        theirs: Generation,
    },
}

/// A manifest as the store has it.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// With all its entries, those of its pages too.
    pub manifest: Manifest,
    /// Digests of the pages that hold the entries.
    pub pages: Vec<Digest>,
    /// When it was written.
    pub version: Version,
}

/// Reads the manifest and its pages; `None` when nothing was ever published.
pub async fn read_manifest(store: &dyn Store, namespace: &str) -> Result<Option<StoredManifest>, TableError> {
    match store.get(&layout::manifest(namespace)).await? {
        Some(entry) => complete_manifest(store, namespace, &entry.value, entry.version).await.map(Some),
        None => Ok(None),
    }
}

/// Decodes a manifest and reads its pages.
async fn complete_manifest(
    store: &dyn Store,
    namespace: &str,
    bytes: &[u8],
    version: Version,
) -> Result<StoredManifest, TableError> {
    let mut manifest = wire::decode_manifest(bytes)?;
    let pages = manifest.pages.clone();
    let reads: Vec<_> = pages.iter().map(|digest| read_page(store, namespace, *digest)).collect();
    let entries = futures_util::stream::iter(reads).buffered(CONCURRENCY).try_collect().await?;
    manifest.complete(entries)?;
    Ok(StoredManifest { manifest, pages, version })
}

async fn read_page(store: &dyn Store, namespace: &str, digest: Digest) -> Result<Vec<ManifestEntry>, TableError> {
    let bytes = values::get_value(store, namespace, digest).await?;
    let bytes = bytes.ok_or(TableError::MissingValue { what: "page of a manifest", digest })?;
    Ok(wire::decode_page(digest, &bytes)?)
}

/// Reads the values of some gateways, in any order, and checks them against their digests.
pub async fn read_gateways(
    store: &dyn Store,
    namespace: &str,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<Vec<(Digest, wire::Gateway, Bytes)>, TableError> {
    let read = |digest| async move {
        let bytes = values::get_value(store, namespace, digest).await?;
        let bytes = bytes.ok_or(TableError::MissingValue { what: "gateway", digest })?;
        Ok((digest, wire::decode_gateway(digest, &bytes)?, bytes))
    };
    let reads: Vec<_> = digests.into_iter().map(read).collect();
    futures_util::stream::iter(reads).buffer_unordered(CONCURRENCY).try_collect().await
}

/// One gateway, ready to publish.
#[derive(Debug, Clone, Copy)]
pub struct Publishable<'a> {
    /// The gateway's name.
    pub name: &'a str,
    /// Its value.
    pub value: &'a Encoded,
}

/// Publishes one namespace's tables, one after the other, and collects values that no table needs any more.
#[derive(Debug)]
pub struct Publisher {
    store: SharedStore,
    namespace: String,
    /// The manifest as we last wrote or read it.
    known: Option<Known>,
    /// Values that no manifest named, at which version and since when.
    unused: HashMap<String, (Version, Instant)>,
}

#[derive(Debug)]
struct Known {
    version: Version,
    generation: Generation,
    /// Of the table; `None` when it is damaged.
    digest: Option<Digest>,
    values: HashSet<Digest>,
}

/// The table in the store, as a publisher sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Which one; the lowest when the manifest can't be read.
    pub generation: Generation,
    /// Its content; `None` when it is damaged: its manifest can't be read, or a page of it.
    pub digest: Option<Digest>,
}

impl Publisher {
    /// A publisher that knows nothing yet.
    pub fn new(store: SharedStore, namespace: &str) -> Self {
        Self { store, namespace: namespace.to_owned(), known: None, unused: HashMap::new() }
    }

    /// The table in the store; `None` when there is none. It is read when it is not known; [`Publisher::forget`] makes
    /// it unknown.
    pub async fn found(&mut self) -> Result<Option<Found>, TableError> {
        self.learn().await?;
        Ok(self.known.as_ref().map(|known| Found { generation: known.generation, digest: known.digest }))
    }

    /// Assumes nothing about the store any more: somebody else may have written.
    pub fn forget(&mut self) {
        self.known = None;
    }

    /// Writes the values that the table in the store does not have, then the manifest. `gateways` are sorted by name.
    /// A table of the same generation is replaced only when it is damaged.
    ///
    /// On an error, also [`StoreError::Conflict`], nothing is assumed about the store: the next call reads it first.
    pub async fn publish(
        &mut self,
        generation: Generation,
        parent: Option<Generation>,
        gateways: &[Publishable<'_>],
    ) -> Result<(), TableError> {
        let result = self.try_publish(generation, parent, gateways).await;
        if result.is_err() {
            self.known = None;
        }
        result
    }

    async fn try_publish(
        &mut self,
        generation: Generation,
        parent: Option<Generation>,
        gateways: &[Publishable<'_>],
    ) -> Result<(), TableError> {
        self.learn().await?;
        let known = self.known.as_ref();
        let newer = |known: &&Known| {
            known.generation > generation || (known.generation == generation && known.digest.is_some())
        };
        if let Some(known) = known.filter(newer) {
            return Err(TableError::Outdated { ours: generation, theirs: known.generation });
        }
        let expected = known.map_or(Expected::Absent, |known| Expected::Version(known.version));
        let (manifest, pages) = encode(generation, parent, gateways);
        let values = values_of(gateways, &pages);
        // What the present manifest names is there. All else is written, even if it might be there from long ago:
        // that changes its version, and so keeps a collector from deleting it.
        let new = values.values().filter(|value| known.is_none_or(|known| !known.values.contains(&value.digest)));
        let (store, namespace) = (self.store.as_ref(), self.namespace.as_str());
        let writes: Vec<_> = new.map(|value| values::put_value(store, namespace, value.digest, &value.bytes)).collect();
        futures_util::stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        let bytes = Bytes::from(manifest.clone());
        let version = store.put(&layout::manifest(namespace), bytes, expected, None).await?;
        let digest = Some(wire::decode_manifest(&manifest)?.digest);
        self.known = Some(Known { version, generation, digest, values: values.into_keys().collect() });
        Ok(())
    }

    /// Writes the values of the published table that are not in the store, whoever deleted them; how many. `gateways`
    /// are those that were published.
    pub async fn mend(&self, gateways: &[Publishable<'_>]) -> Result<usize, TableError> {
        let (_, pages) = encode(Generation::default(), None, gateways);
        let values = values_of(gateways, &pages);
        let store = self.store.as_ref();
        let keys: HashSet<String> =
            store.list_keys(&layout::values(&self.namespace)).await?.into_iter().map(|(key, _)| key).collect();
        let mut writes = Vec::new();
        for value in values.values() {
            let digest = value.digest.to_string();
            let mut parts = 0..values::parts(store, value.bytes.len());
            if !parts.all(|part| keys.contains(&layout::value_part(&self.namespace, &digest, part))) {
                writes.push(values::put_value(store, &self.namespace, value.digest, &value.bytes));
            }
        }
        let mended = writes.len();
        futures_util::stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect::<()>().await?;
        Ok(mended)
    }

    /// Reads what is published, unless it is known.
    async fn learn(&mut self) -> Result<(), TableError> {
        if self.known.is_some() {
            return Ok(());
        }
        let stored = match read_manifest(self.store.as_ref(), &self.namespace).await {
            Err(
                TableError::Wire(WireError::Malformed { .. } | WireError::WrongDigest { .. })
                | TableError::MissingValue { .. },
            ) => return self.learn_damaged().await,
            result => result?,
        };
        self.known = stored.map(|stored| {
            let entries = stored.manifest.entries.iter().map(|entry| entry.digest);
            Known {
                version: stored.version,
                generation: stored.manifest.generation,
                digest: Some(stored.manifest.digest),
                values: entries.chain(stored.pages).collect(),
            }
        });
        Ok(())
    }

    /// A damaged table is replaced by the next one, all values anew.
    async fn learn_damaged(&mut self) -> Result<(), TableError> {
        let entry = self.store.get(&layout::manifest(&self.namespace)).await?;
        self.known = entry.map(|entry| {
            let generation = wire::decode_manifest(&entry.value).map(|manifest| manifest.generation);
            Known {
                version: entry.version,
                generation: generation.unwrap_or_default(),
                digest: None,
                values: HashSet::new(),
            }
        });
        Ok(())
    }

    /// Deletes values that no manifest has named for [`VALUE_GRACE`]; how many parts. To be called now and then.
    ///
    /// A value is deleted only at the version at which it was seen unused: one that was written again meanwhile, by
    /// whomever, stays.
    pub async fn collect(&mut self) -> Result<usize, TableError> {
        let keys = self.store.list_keys(&layout::values(&self.namespace)).await?;
        // After the list, so that a value is not taken for unused whose manifest came between the two.
        self.known = None;
        self.learn().await?;
        let Some(known) = &self.known else { return Ok(0) };
        let used: HashSet<String> = known.values.iter().map(ToString::to_string).collect();
        if known.digest.is_none() {
            // A damaged table: nothing is known about what it needs.
            return Ok(0);
        }
        let root = layout::values(&self.namespace);
        let digest = |key: &str| key.strip_prefix(&root).and_then(|rest| rest.split('/').next()).map(str::to_owned);
        let now = Instant::now();
        let mut unused = HashMap::new();
        let mut due = Vec::new();
        for (key, version) in keys {
            if digest(&key).is_none_or(|digest| used.contains(&digest)) {
                continue;
            }
            let seen = self.unused.get(&key).filter(|(seen, _)| *seen == version);
            let since = seen.map_or(now, |(_, since)| *since);
            if now.duration_since(since) >= VALUE_GRACE {
                due.push((key, version));
            } else {
                unused.insert(key, (version, since));
            }
        }
        self.unused = unused;
        let mut deleted = 0;
        for (key, version) in due {
            match self.store.delete(&key, Expected::Version(version)).await {
                Ok(_) => deleted += 1,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(deleted)
    }
}

fn encode(generation: Generation, parent: Option<Generation>, gateways: &[Publishable<'_>]) -> (Vec<u8>, Vec<Encoded>) {
    let entry = |one: &Publishable<'_>| ManifestEntry { name: one.name.to_owned(), digest: one.value.digest };
    let entries: Vec<ManifestEntry> = gateways.iter().map(entry).collect();
    wire::encode_manifest(generation, parent, &entries)
}

fn values_of<'a>(gateways: &[Publishable<'a>], pages: &'a [Encoded]) -> HashMap<Digest, &'a Encoded> {
    gateways.iter().map(|one| one.value).chain(pages).map(|value| (value.digest, value)).collect()
}
