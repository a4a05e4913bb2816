//! The store: what is known of each key, bounded in bytes.
//!
//! Eviction is quick_cache's: a new entry has to be asked for again before it can push out one that was, so a flood of
//! URLs that nobody asks for twice passes through a small part of the store and leaves what is hot alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::forms;
use super::key::Key;
use super::stored::Stored;
use super::vary::Names;

/// How long requests for a URL are not made to wait for one another after an answer that could not be shared.
const APART: Duration = Duration::from_secs(60);

/// Bytes of a slot without a response.
const SMALL: u64 = 256;

/// What is known of a key.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// A response, fresh or stale.
    Stored(Arc<Stored>),
    /// An encoded form of the response whose key this one begins with.
    Form(Arc<Stored>),
    /// Responses for it are chosen by these headers, and stored under keys that have their values.
    Varies(Names),
    /// Responses for it may be shared; the last one was not stored since the request might have changed it.
    Shareable,
    /// The last one that others waited for could not be shared: none waits until then.
    Apart(Instant),
}

/// Bytes of the key and of the slot.
#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Slot> for Weight {
    fn weight(&self, key: &Key, slot: &Slot) -> u64 {
        match slot {
            Slot::Stored(stored) | Slot::Form(stored) => stored.weight() as u64,
            _ => SMALL + key.len() as u64,
        }
    }
}

/// All slots.
#[derive(Debug)]
pub(crate) struct Store {
    slots: Cache<Key, Slot, Weight>,
    /// Bytes that one response may have.
    pub(crate) most: usize,
}

impl Store {
    /// A store of `capacity` bytes, of which one entry may take `most`.
    pub(crate) fn new(capacity: u64, most: usize) -> Self {
        // Each shard is a store of its own: it must have room for some of the largest entries.
        let shards = (capacity / (4 * most as u64).max(1))
            .clamp(1, 64)
            .next_power_of_two();
        let shards = if shards * 4 * most as u64 > capacity {
            (shards / 2).max(1)
        } else {
            shards
        };
        let options = OptionsBuilder::new()
            .shards(shards as usize)
            .estimated_items_capacity((capacity / 8192).max(1024) as usize)
            .weight_capacity(capacity)
            .build();
        let slots = match options {
            Ok(options) => Cache::with_options(
                options,
                Weight,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // Both capacities are set above.
            Err(_) => Cache::with(
                1024,
                capacity,
                Weight,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
        };
        Self { slots, most }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Slot> {
        self.slots.get(key)
    }

    pub(crate) fn put(&self, key: Key, slot: Slot) {
        self.slots.insert(key, slot);
    }

    /// Has requests for a key not wait for one another.
    pub(crate) fn set_apart(&self, key: Key, now: Instant) {
        self.put(key, Slot::Apart(now + APART));
    }

    /// Removes what is stored for a key, be it a response, with its forms.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        let is_response = |slot: &Slot| matches!(slot, Slot::Stored(_));
        let removed = self.slots.remove_if(key, is_response);
        self.forget(removed)
    }

    /// Removes this very response, with its forms.
    pub(crate) fn remove_this(&self, stored: &Arc<Stored>) {
        let same = |slot: &Slot| matches!(slot, Slot::Stored(found) if Arc::ptr_eq(found, stored));
        self.forget(self.slots.remove_if(&*stored.key, same));
    }

    /// Whether this very response is there.
    pub(crate) fn has(&self, stored: &Arc<Stored>) -> bool {
        let found = self.slots.peek(&*stored.key);
        matches!(found, Some(Slot::Stored(found)) if Arc::ptr_eq(&found, stored))
    }

    /// Removes the forms of what was stored for a key.
    pub(crate) fn remove_forms(&self, key: &[u8]) {
        forms::each_key(key, |form| {
            self.slots.remove(form);
        });
    }

    fn forget(&self, removed: Option<(Key, Slot)>) -> bool {
        let Some((key, Slot::Stored(stored))) = removed else {
            return false;
        };
        if stored.forms.any() {
            self.remove_forms(&key);
        }
        true
    }

    /// Bytes that are taken.
    pub(crate) fn bytes(&self) -> u64 {
        self.slots.weight()
    }

    /// Bytes that may be.
    pub(crate) fn capacity(&self) -> u64 {
        self.slots.capacity()
    }
}
