//! Makes and finds encoded variants of cached responses. Each is made once, on the first hit that can use it.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use http::request::Parts;

use super::Cache;
use super::cached_response::{CachedResponse, Residency};
use super::deliver::is_whole;
use super::encoded_variants::{EncodedVariants, write_key};
use super::store::Slot;
use crate::compress::encoder::{self, Effort, MAX_ONE_SHOT};
use crate::compress::{Compression, headers, negotiation};
use crate::semantics::accept_encoding::ContentCoding;

thread_local! {
    /// Buffer for keys of variants, so that a hit allocates none.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Cache {
    /// Selects the variant of a cached response that a request gets: an encoded one if the client accepts it and it is
    /// ready, else the response itself.
    pub(crate) fn variant_for(
        self: &Arc<Self>,
        cached: Arc<CachedResponse>,
        compression: Compression,
        request: &Parts,
    ) -> Arc<CachedResponse> {
        if !cached.variants.possible() || compression == Compression::Off {
            return cached;
        }
        let Some(coding) = negotiation::preferred_coding(&request.headers, negotiation::BY_SIZE)
        else {
            return cached;
        };
        // Ranges and conditions are about the bytes that the app made.
        if !is_whole(&cached, request) {
            return cached;
        }
        match self.find_variant(&cached, coding) {
            Some(variant) => variant,
            None if request.method == Method::GET => {
                self.begin_variant(&cached, coding).unwrap_or(cached)
            }
            None => cached,
        }
    }

    /// Makes a variant: at once if its body is small, else in the background, and then this request goes without it.
    fn begin_variant(
        self: &Arc<Self>,
        cached: &Arc<CachedResponse>,
        coding: ContentCoding,
    ) -> Option<Arc<CachedResponse>> {
        if !cached.variants.begin(coding) {
            return None;
        }
        if cached.body.len() <= MAX_ONE_SHOT {
            return self.make_variant(cached, coding);
        }
        let queued = cached.residency.as_ref().is_some_and(|residency| {
            // Weak, so that a response in the queue can be evicted.
            let (cache, waiting) = (self.clone(), Arc::downgrade(cached));
            let encode = move || {
                if let Some(cached) = waiting.upgrade() {
                    cache.make_variant(&cached, coding);
                }
            };
            self.encodings.push(&residency.stats, Box::new(encode))
        });
        if !queued {
            cached.variants.end(coding);
        }
        None
    }

    /// Finds the stored variant of this very response.
    fn find_variant(
        &self,
        cached: &Arc<CachedResponse>,
        coding: ContentCoding,
    ) -> Option<Arc<CachedResponse>> {
        let found = KEY.with_borrow_mut(|key| {
            write_key(key, &cached.key, coding);
            self.store.get(key)
        });
        match found {
            Some(Slot::EncodedVariant(variant)) if variant.variants.is_variant_of(cached) => {
                Some(variant)
            }
            _ => None,
        }
    }

    /// Encodes a response and stores the variant. A variant that is not smaller is dropped, and never made again.
    fn make_variant(
        &self,
        cached: &Arc<CachedResponse>,
        coding: ContentCoding,
    ) -> Option<Arc<CachedResponse>> {
        let residency = cached.residency.as_ref()?;
        let body = encoder::whole(coding, Effort::Stored, &cached.body).ok()?;
        if body.len() >= cached.body.len() {
            return None;
        }
        // Copied to an allocation of its own size: the encoder's buffer has spare capacity.
        let body = Bytes::copy_from_slice(&body);
        let mut variant = encoded(cached, coding, body);
        let membership = self.surrogate_keys.join(&variant.key, &[]);
        let bytes = variant.weight() as u64;
        variant.residency = Some(Residency::of_variant(
            residency.stats.clone(),
            membership,
            bytes,
        ));
        let variant = Arc::new(variant);
        self.store
            .put(variant.key.clone(), Slot::EncodedVariant(variant.clone()));
        // No request finds the variant of a response that was replaced or purged meanwhile.
        if !self.store.contains(cached) {
            self.store.remove_variants(&cached.key);
        }
        cached.variants.end(coding);
        Some(variant)
    }
}

/// Builds the encoded variant of a response.
fn encoded(cached: &Arc<CachedResponse>, coding: ContentCoding, body: Bytes) -> CachedResponse {
    let mut variant = cached.with_body(body);
    headers::encoded(&mut variant.headers, coding);
    let mut key = Vec::with_capacity(cached.key.len() + 1);
    write_key(&mut key, &cached.key, coding);
    CachedResponse {
        key: key.into(),
        variants: EncodedVariants::of_variant(cached),
        ..variant
    }
}

#[cfg(test)]
mod tests {
    use corundum_abi::names::AppName;

    use super::super::cached_response::tests::page;
    use super::*;

    fn inserted(cache: &Cache, body: Vec<u8>) -> Arc<CachedResponse> {
        let app: AppName = "app".parse().unwrap();
        let stats = cache.app_stats(&app);
        let response = page().with_body(body.into());
        cache.insert(response, &stats, &[], 0).unwrap()
    }

    #[test]
    fn variant_that_is_not_smaller_is_made_once() {
        let cache = Arc::new(Cache::new(1 << 20));
        let mut state = 1u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        let noise = inserted(&cache, noise.take(5000).collect());
        for coding in ContentCoding::ALL {
            assert!(cache.begin_variant(&noise, coding).is_none());
            assert!(!noise.variants.begin(coding), "{coding:?}");
        }
        let text = inserted(&cache, vec![b'x'; 5000]);
        assert!(cache.begin_variant(&text, ContentCoding::Gzip).is_some());
        // The variant may be evicted, and is then made again.
        assert!(text.variants.begin(ContentCoding::Gzip));
    }
}
