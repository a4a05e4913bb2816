//! Index from surrogate keys (an app, a URL, a tag) to entries, so that a purge finds its entries without a scan.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::Key;

/// Hash of a surrogate key. Two keys have the same hash with a probability of 2⁻⁶⁴; a purge of one then removes the
/// entries of both.
pub(crate) type SurrogateKey = u64;

/// Mutexes that the index is spread over.
const SHARDS: usize = 16;

type EntriesByKey = HashMap<SurrogateKey, HashMap<u64, Key>>;

/// Set of entries that a surrogate key stands for.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum SurrogateKeySubject<'a> {
    /// All entries of the app.
    App,
    /// One URL, by host name and target, for every scheme, port and variant.
    Url(&'a str, &'a [u8]),
    /// A tag.
    Tag(&'a [u8]),
}

/// Index of all entries.
#[derive(Debug, Default)]
pub(crate) struct SurrogateKeyIndex {
    hasher: RandomState,
    shards: [Mutex<EntriesByKey>; SHARDS],
    next_entry: AtomicU64,
}

impl SurrogateKeyIndex {
    /// Computes a surrogate key.
    pub(crate) fn key(&self, app: &str, subject: SurrogateKeySubject<'_>) -> SurrogateKey {
        self.hasher.hash_one((app, subject))
    }

    /// Adds an entry under `keys`, until the membership is dropped.
    pub(crate) fn join(self: &Arc<Self>, key: &Key, keys: &[SurrogateKey]) -> Membership {
        let entry = self.next_entry.fetch_add(1, Ordering::Relaxed);
        for surrogate_key in keys {
            self.shard(*surrogate_key)
                .entry(*surrogate_key)
                .or_default()
                .insert(entry, key.clone());
        }
        Membership {
            index: self.clone(),
            keys: keys.into(),
            entry,
        }
    }

    /// Keys of the entries under a surrogate key.
    pub(crate) fn entries(&self, key: SurrogateKey) -> Vec<Key> {
        let shard = self.shard(key);
        shard
            .get(&key)
            .into_iter()
            .flat_map(|entries| entries.values().cloned())
            .collect()
    }

    fn shard(&self, key: SurrogateKey) -> MutexGuard<'_, EntriesByKey> {
        let shard = &self.shards[key as usize % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps an entry in the index.
#[derive(Debug)]
pub(crate) struct Membership {
    index: Arc<SurrogateKeyIndex>,
    pub(crate) keys: Box<[SurrogateKey]>,
    entry: u64,
}

impl Drop for Membership {
    fn drop(&mut self) {
        for key in &self.keys {
            let mut shard = self.index.shard(*key);
            let Some(entries) = shard.get_mut(key) else {
                continue;
            };
            entries.remove(&self.entry);
            if entries.is_empty() {
                shard.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_entry_leaves_the_index() {
        let index = Arc::new(SurrogateKeyIndex::default());
        let (app, tag) = (
            index.key("a", SurrogateKeySubject::App),
            index.key("a", SurrogateKeySubject::Tag(b"t")),
        );
        assert_ne!(tag, index.key("b", SurrogateKeySubject::Tag(b"t")));
        let one = index.join(&Key::from(&b"one"[..]), &[app, tag]);
        let two = index.join(&Key::from(&b"two"[..]), &[app]);
        assert_eq!((index.entries(app).len(), index.entries(tag).len()), (2, 1));
        drop(one);
        assert_eq!((index.entries(app).len(), index.entries(tag).len()), (1, 0));
        drop(two);
        assert!(
            index
                .shards
                .iter()
                .all(|shard| shard.lock().unwrap().is_empty())
        );
    }
}
