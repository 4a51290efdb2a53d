//! The values at hand, by digest: what is served, and what of the next table has been read. Only what is missing is
//! read from the store, and what was read stays when the rest could not be had.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use vamp_routing::wire::{self, Digest, Gateway, Manifest, ManifestEntry, WireError};
use vamp_routing::{CompiledTable, Problem};
use vamp_store::tables::{self, TableError};
use vamp_store::{Store, values};

use super::keep::Image;
use super::machine::ReadFault;
use crate::logging::chain;

// LIMIT: values after which what was read is put in stock, so that a store that fails now and then is read through.
const BATCH: usize = 64;
// LIMIT: one batch, 16 values at a time.
const BATCH_PATIENCE: Duration = Duration::from_secs(30);
// LIMIT: problems of one table that a refusal lists.
const LISTED_PROBLEMS_MAX: usize = 10;

#[derive(Debug)]
struct Value {
    bytes: Bytes,
    /// Unpacked, until it is compiled: the table in service has it then.
    gateway: Option<Gateway>,
}

#[derive(Debug, Default)]
struct Values {
    gateways: HashMap<Digest, Value>,
    pages: HashMap<Digest, Vec<ManifestEntry>>,
}

/// Shared by the tasks that read, apply and keep; its lock is never held while something is waited for.
#[derive(Debug, Default)]
pub(crate) struct Stock {
    values: Mutex<Values>,
}

impl Stock {
    fn lock(&self) -> MutexGuard<'_, Values> {
        // A panic elsewhere leaves the maps whole.
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one gateway there, as the store or a file has it.
    pub(crate) fn put(&self, digest: Digest, gateway: Gateway, bytes: Bytes) {
        self.lock().gateways.insert(digest, Value { bytes, gateway: Some(gateway) });
    }

    /// Throws away the gateways that this table does not need.
    pub(crate) fn keep_only(&self, manifest: &Manifest) {
        let needed: HashSet<Digest> = manifest.entries.iter().map(|entry| entry.digest).collect();
        self.lock().gateways.retain(|digest, _| needed.contains(digest));
    }

    /// Compiles the table that a manifest names. What the one in service has of it is taken over from there, without
    /// being looked into.
    pub(crate) fn compile(&self, manifest: &Manifest, in_service: &CompiledTable) -> Result<CompiledTable, String> {
        let parts = in_service.parts(&manifest.entries, |entry| self.take(entry))?;
        let compiled = CompiledTable::assemble(manifest.generation, parts, Some(in_service));
        compiled.map_err(|problems| listed(&problems))
    }

    fn take(&self, entry: &ManifestEntry) -> Result<Gateway, String> {
        let mut values = self.lock();
        let Some(value) = values.gateways.get_mut(&entry.digest) else {
            return Err(format!("the value of gateway `{}` is not at hand", entry.name));
        };
        let gateway = match value.gateway.take() {
            Some(gateway) => gateway,
            None => wire::decode_gateway(entry.digest, &value.bytes).map_err(|error| chain(&error))?,
        };
        if gateway.name == entry.name {
            return Ok(gateway);
        }
        let reason = format!("the manifest names gateway `{}`, its value is of `{}`", entry.name, gateway.name);
        Err(format!("{reason}: publish the table again"))
    }

    /// A table as it is kept on disk, if all of it is at hand.
    pub(crate) fn image(&self, manifest: &Manifest) -> Option<Image> {
        let values = self.lock();
        let value = |entry: &ManifestEntry| Some((entry.clone(), values.gateways.get(&entry.digest)?.bytes.clone()));
        let gateways = manifest.entries.iter().map(value).collect::<Option<_>>()?;
        Some(Image { generation: manifest.generation, digest: manifest.digest, gateways })
    }

    fn missing(&self, manifest: &Manifest) -> Vec<Digest> {
        let values = self.lock();
        let digests = manifest.entries.iter().map(|entry| entry.digest);
        digests.filter(|digest| !values.gateways.contains_key(digest)).collect()
    }

    /// Reads what a manifest names and the stock does not have; the manifest with all its entries.
    pub(crate) async fn fill(&self, store: &dyn Store, namespace: &str, bytes: &[u8]) -> Result<Manifest, ReadFault> {
        let mut manifest = wire::decode_manifest(bytes).map_err(|error| fault(&error.into()))?;
        let mut pages = Vec::with_capacity(manifest.pages.len());
        for digest in &manifest.pages {
            let page = self.page(store, namespace, *digest);
            pages.push(patiently(page).await?.map_err(|error| fault(&error))?);
        }
        self.lock().pages.retain(|digest, _| manifest.pages.contains(digest));
        if !pages.is_empty() {
            manifest.complete(pages).map_err(|error| fault(&error.into()))?;
        }
        for batch in self.missing(&manifest).chunks(BATCH) {
            let read = patiently(tables::read_gateways(store, namespace, batch.iter().copied())).await?;
            for (digest, gateway, bytes) in read.map_err(|error| fault(&error))? {
                self.put(digest, gateway, bytes);
            }
        }
        Ok(manifest)
    }

    async fn page(&self, store: &dyn Store, namespace: &str, digest: Digest) -> Result<Vec<ManifestEntry>, TableError> {
        let known = self.lock().pages.get(&digest).cloned();
        if let Some(page) = known {
            return Ok(page);
        }
        let bytes = values::get_value(store, namespace, digest).await?;
        let bytes = bytes.ok_or(TableError::MissingValue { what: "page of a manifest", digest })?;
        let page = wire::decode_page(digest, &bytes)?;
        self.lock().pages.insert(digest, page.clone());
        Ok(page)
    }
}

async fn patiently<T>(work: impl Future<Output = T>) -> Result<T, ReadFault> {
    tokio::time::timeout(BATCH_PATIENCE, work).await.map_err(|_| ReadFault::Store)
}

fn fault(error: &TableError) -> ReadFault {
    match error {
        TableError::Store(error) => {
            tracing::debug!("a table could not be read: {}", chain(error));
            ReadFault::Store
        }
        TableError::Wire(WireError::NewerFormat { .. } | WireError::TooLarge { .. }) => {
            ReadFault::Unreadable(chain(error))
        }
        error => ReadFault::Damaged(chain(error)),
    }
}

fn listed(problems: &[Problem]) -> String {
    let one = |problem: &Problem| match problem.path.as_str() {
        "" => format!("gateway `{}`: {}", problem.gateway, problem.message),
        path => format!("gateway `{}`, {path}: {}", problem.gateway, problem.message),
    };
    let mut lines: Vec<String> = problems.iter().take(LISTED_PROBLEMS_MAX).map(one).collect();
    if problems.len() > lines.len() {
        lines.push(format!("and {} more", problems.len() - lines.len()));
    }
    lines.join("; ")
}
