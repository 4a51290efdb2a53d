//! The counts of each boot of each gateway process, as last seen. They are read now and then and kept in the database,
//! so that a process that is killed takes the counts of a few seconds with it, no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vamp_record::split::SplitCounts;

use crate::persist::{PersistError, Persistence, StoredCounts};

/// LIMIT: boots whose counts are kept; the database keeps as many. The ones seen longest ago go first.
const BOOTS_MAX: usize = 1000;

/// Counts as they were read.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// When, milliseconds since 1970 (UTC).
    pub(crate) at_unix_ms: u64,
    /// What.
    pub(crate) counts: Arc<SplitCounts>,
    /// The database has them.
    is_kept: bool,
}

/// All counts as last seen, by process and boot.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<BTreeMap<(String, String), Seen>>);

impl Counts {
    /// What the database kept; what can't be read any more is left out.
    pub(crate) fn load(stored: Vec<StoredCounts>) -> Self {
        let seen = stored.into_iter().filter_map(|stored| {
            let counts = serde_json::from_str(&stored.body).ok()?;
            let seen = Seen { at_unix_ms: stored.at_unix_ms, counts: Arc::new(counts), is_kept: true };
            Some(((stored.id, stored.boot), seen))
        });
        Self(Mutex::new(seen.collect()))
    }

    /// Notes what was read.
    pub(crate) fn note(&self, at_unix_ms: u64, counts: SplitCounts) {
        let mut all = self.lock();
        let key = (counts.id.clone(), counts.boot.clone());
        // An idle process has nothing new to keep.
        let is_kept = all.get(&key).is_some_and(|seen| seen.is_kept && *seen.counts == counts);
        all.insert(key, Seen { at_unix_ms, counts: Arc::new(counts), is_kept });
        while all.len() > BOOTS_MAX {
            let oldest = all.iter().min_by_key(|(_, seen)| seen.at_unix_ms).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { return };
            all.remove(&oldest);
        }
    }

    /// Notes what was read, unless it is what was seen before.
    pub(crate) fn note_change(&self, at_unix_ms: u64, counts: SplitCounts) {
        let is_known =
            self.lock().get(&(counts.id.clone(), counts.boot.clone())).is_some_and(|seen| *seen.counts == counts);
        if !is_known {
            self.note(at_unix_ms, counts);
        }
    }

    /// Everything as last seen.
    pub(crate) fn all(&self) -> BTreeMap<(String, String), Seen> {
        self.lock().clone()
    }

    /// Writes to the database what it does not have.
    pub(crate) async fn keep(&self, persistence: &dyn Persistence) -> Result<(), PersistError> {
        let new: Vec<((String, String), Seen)> = self.all().into_iter().filter(|(_, seen)| !seen.is_kept).collect();
        if new.is_empty() {
            return Ok(());
        }
        let stored = |((id, boot), seen): &((String, String), Seen)| {
            let body = serde_json::to_string(seen.counts.as_ref()).ok()?;
            Some(StoredCounts { id: id.clone(), boot: boot.clone(), at_unix_ms: seen.at_unix_ms, body })
        };
        let stored: Vec<StoredCounts> = new.iter().filter_map(stored).collect();
        persistence.keep_counts(&stored).await?;
        let mut all = self.lock();
        for (key, written) in new {
            if let Some(seen) = all.get_mut(&key).filter(|seen| Arc::ptr_eq(&seen.counts, &written.counts)) {
                seen.is_kept = true;
            }
        }
        Ok(())
    }

    /// A panic elsewhere leaves the map whole: each change is made in one piece.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::Database;

    fn counts(boot: &str) -> SplitCounts {
        SplitCounts { id: "g1".to_owned(), boot: boot.to_owned(), gateways: Vec::new() }
    }

    #[test]
    fn the_boots_seen_longest_ago_go_first() {
        let all = Counts::default();
        for boot in 0..BOOTS_MAX + 5 {
            all.note(boot as u64, counts(&boot.to_string()));
        }
        let kept = all.all();
        assert_eq!(kept.len(), BOOTS_MAX);
        assert!(kept.values().all(|seen| seen.at_unix_ms >= 5));
    }

    #[tokio::test]
    async fn counts_come_back_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let address = format!("sqlite:{}", directory.path().join("vamp.db").display());
        let database = Database::open(&address, 1).await.unwrap();
        let before = Counts::default();
        before.note(7, counts("b1"));
        before.keep(&database).await.unwrap();
        let after = Counts::load(database.counts().await.unwrap()).all();
        let seen = &after[&("g1".to_owned(), "b1".to_owned())];
        assert_eq!((seen.at_unix_ms, seen.counts.as_ref()), (7, &counts("b1")));
    }
}
