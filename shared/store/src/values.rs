//! Content-addressed values, in parts where the store's value limit asks for it.
//!
//! Each part starts with the number of parts, so that one request reads a value of one part, which almost all are.
//! That the parts belong together is for the digest to say, which the reader checks when it decodes.

use bytes::{BufMut, Bytes, BytesMut};
use vamp_routing::wire::Digest;

use crate::{Expected, Store, StoreError, layout};

const COUNT_BYTES: usize = 2;

// LIMIT: parts of one value. 64 parts of etcd's 1 MiB hold twice what a gateway may have when unpacked.
const PARTS_MAX: u16 = 64;

/// Writes a value in as many parts as the store asks for. Writing it again does no harm, and keeps a collector that
/// has seen it unused from deleting it.
pub async fn put_value(store: &dyn Store, namespace: &str, digest: Digest, bytes: &[u8]) -> Result<(), StoreError> {
    let part_bytes = part_bytes(store);
    let digest = digest.to_string();
    let parts = parts(store, bytes.len());
    let Some(count) = u16::try_from(parts).ok().filter(|count| *count <= PARTS_MAX) else {
        let limit_bytes = part_bytes * usize::from(PARTS_MAX);
        let key = layout::value_part(namespace, &digest, 0);
        return Err(StoreError::TooLarge { key, bytes: bytes.len(), limit_bytes });
    };
    // The first part last: a reader that finds it finds them all.
    for part in (0..parts).rev() {
        let chunk = bytes.chunks(part_bytes).nth(part).unwrap_or_default();
        let mut value = BytesMut::with_capacity(COUNT_BYTES + chunk.len());
        value.put_u16(count);
        value.put_slice(chunk);
        store.put(&layout::value_part(namespace, &digest, part), value.freeze(), Expected::Anything, None).await?;
    }
    Ok(())
}

/// In how many parts a value is written.
pub(crate) fn parts(store: &dyn Store, bytes: usize) -> usize {
    bytes.div_ceil(part_bytes(store)).max(1)
}

fn part_bytes(store: &dyn Store) -> usize {
    store.max_value_bytes().saturating_sub(COUNT_BYTES).max(1)
}

/// Reads a value; `None` when it, or a part of it, is not there.
pub async fn get_value(store: &dyn Store, namespace: &str, digest: Digest) -> Result<Option<Bytes>, StoreError> {
    let digest = digest.to_string();
    let Some(first) = store.get(&layout::value_part(namespace, &digest, 0)).await? else { return Ok(None) };
    let Some((count, first)) = split_count(&first.value) else { return Ok(None) };
    if count == 1 {
        return Ok(Some(first));
    }
    if count > PARTS_MAX {
        return Ok(None);
    }
    let mut whole = BytesMut::from(first.as_ref());
    for part in 1..usize::from(count) {
        let Some(entry) = store.get(&layout::value_part(namespace, &digest, part)).await? else { return Ok(None) };
        let Some((_, chunk)) = split_count(&entry.value) else { return Ok(None) };
        whole.put_slice(&chunk);
    }
    Ok(Some(whole.freeze()))
}

fn split_count(value: &Bytes) -> Option<(u16, Bytes)> {
    let count = u16::from_be_bytes(value.get(..COUNT_BYTES)?.try_into().ok()?);
    (count > 0).then(|| (count, value.slice(COUNT_BYTES..)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: Digest = Digest([7; 32]);

    #[tokio::test]
    async fn a_value_comes_back_whatever_its_size() {
        let (store, _) = crate::memory::open_with(10);
        for bytes in [0, 1, 7, 8, 9, 16, 17, 100, 512] {
            let value: Vec<u8> = (0..=255).cycle().take(bytes).collect();
            put_value(store.as_ref(), "n", DIGEST, &value).await.unwrap();
            assert_eq!(get_value(store.as_ref(), "n", DIGEST).await.unwrap().unwrap(), value, "{bytes} bytes");
        }
    }

    #[tokio::test]
    async fn a_value_with_a_missing_part_is_not_there() {
        let (store, _) = crate::memory::open_with(10);
        put_value(store.as_ref(), "n", DIGEST, &[1; 30]).await.unwrap();
        assert_eq!(get_value(store.as_ref(), "other", DIGEST).await.unwrap(), None);
        store.delete(&layout::value_part("n", &DIGEST.to_string(), 2), Expected::Anything).await.unwrap();
        assert_eq!(get_value(store.as_ref(), "n", DIGEST).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_value_beyond_all_parts_is_refused() {
        let (store, _) = crate::memory::open_with(10);
        let error = put_value(store.as_ref(), "n", DIGEST, &[0; 513]).await.unwrap_err();
        assert!(matches!(error, StoreError::TooLarge { bytes: 513, limit_bytes: 512, .. }), "{error}");
    }
}
