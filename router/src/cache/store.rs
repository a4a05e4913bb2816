//! The store: one slot per key, bounded in bytes.
//!
//! quick_cache evicts. It admits a new entry for good only when it is requested again, so a flood of URLs that are
//! requested once passes through a small part of the store and leaves popular entries alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::cached_response::CachedResponse;
use super::encoded_variants;
use super::key::Key;
use super::vary::HeaderNames;

/// Time for which requests for a URL do not wait for one another after a response that could not be shared.
const HIT_FOR_PASS: Duration = Duration::from_secs(60);

/// Bytes of a slot without a response, beside its key.
const MARKER_BYTES: u64 = 256;

/// State of a key.
#[derive(Debug, Clone)]
pub(crate) enum Slot {
    /// A response, fresh or stale.
    Response(Arc<CachedResponse>),
    /// An encoded variant of a response. Its key is the response's key and the number of the coding.
    EncodedVariant(Arc<CachedResponse>),
    /// Responses vary by these request headers. They are stored under keys that contain the headers' values.
    Varies(HeaderNames),
    /// Responses may be shared. The last one was not stored, because headers of its request might have changed it.
    Shareable,
    /// The last response that requests waited for could not be shared. No request waits until this time.
    HitForPass(Instant),
}

/// Weighs a slot by the bytes of its key and of its content.
#[derive(Debug, Clone)]
struct SlotWeighter;

impl Weighter<Key, Slot> for SlotWeighter {
    fn weight(&self, key: &Key, slot: &Slot) -> u64 {
        match slot {
            Slot::Response(cached) | Slot::EncodedVariant(cached) => cached.weight() as u64,
            _ => MARKER_BYTES + key.len() as u64,
        }
    }
}

/// All slots.
#[derive(Debug)]
pub(crate) struct CacheStore {
    slots: Cache<Key, Slot, SlotWeighter>,
    /// Largest response in bytes.
    pub(crate) max_response: usize,
}

impl CacheStore {
    /// Creates a store of `capacity` bytes. One response may take `max_response` of them.
    pub(crate) fn new(capacity: u64, max_response: usize) -> Self {
        // Each shard evicts by itself, so each must have room for several responses of the largest size.
        let shards = (capacity / (4 * max_response as u64).max(1))
            .clamp(1, 64)
            .next_power_of_two();
        let shards = if shards * 4 * max_response as u64 > capacity {
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
                SlotWeighter,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
            // The builder fails only without capacities, and both are set above.
            Err(_) => Cache::with(
                1024,
                capacity,
                SlotWeighter,
                DefaultHashBuilder::default(),
                DefaultLifecycle::default(),
            ),
        };
        Self {
            slots,
            max_response,
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Slot> {
        self.slots.get(key)
    }

    pub(crate) fn put(&self, key: Key, slot: Slot) {
        self.slots.insert(key, slot);
    }

    pub(crate) fn put_hit_for_pass(&self, key: Key, now: Instant) {
        self.put(key, Slot::HitForPass(now + HIT_FOR_PASS));
    }

    /// Removes the response under a key, with its encoded variants. Returns whether there was one.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        let is_response = |slot: &Slot| matches!(slot, Slot::Response(_));
        let removed = self.slots.remove_if(key, is_response);
        self.remove_variants_of(removed)
    }

    /// Removes this very response, with its encoded variants.
    pub(crate) fn remove_this(&self, cached: &Arc<CachedResponse>) {
        let same =
            |slot: &Slot| matches!(slot, Slot::Response(found) if Arc::ptr_eq(found, cached));
        self.remove_variants_of(self.slots.remove_if(&*cached.key, same));
    }

    /// Returns whether this very response is stored.
    pub(crate) fn contains(&self, cached: &Arc<CachedResponse>) -> bool {
        let found = self.slots.peek(&*cached.key);
        matches!(found, Some(Slot::Response(found)) if Arc::ptr_eq(&found, cached))
    }

    /// Removes the encoded variants of the response under a key.
    pub(crate) fn remove_variants(&self, key: &[u8]) {
        encoded_variants::each_key(key, |variant| {
            self.slots.remove(variant);
        });
    }

    fn remove_variants_of(&self, removed: Option<(Key, Slot)>) -> bool {
        let Some((key, Slot::Response(cached))) = removed else {
            return false;
        };
        if cached.variants.possible() {
            self.remove_variants(&key);
        }
        true
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> u64 {
        self.slots.weight()
    }

    /// Bytes that may be in use.
    pub(crate) fn capacity(&self) -> u64 {
        self.slots.capacity()
    }
}
