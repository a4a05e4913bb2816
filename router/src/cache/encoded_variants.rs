//! Encoded variants of a cached response: their keys, and the state that a response keeps about them.
//!
//! A variant is an entry of its own in the store, under its response's key and the number of its coding, so that it is
//! bounded and evicted like any entry. It is served in place of the very response that it was made from: after a purge
//! or a replacement of that response no request finds it. `variant_encoding` makes and finds variants.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use super::cached_response::CachedResponse;
use crate::compress::compressible::is_compressible;
use crate::semantics::accept_encoding::ContentCoding;

/// State of a response's encoded variants.
#[derive(Debug, Default)]
pub(crate) struct EncodedVariants {
    /// True if the response is worth encoding.
    possible: bool,
    /// Codings whose variant is being made, or was made without getting smaller; one bit each.
    begun: AtomicU8,
    /// Response that this one is a variant of.
    original: Weak<CachedResponse>,
}

impl EncodedVariants {
    /// State of a response whose body is complete.
    pub(super) fn new(cached: &CachedResponse) -> Self {
        let length = Some(cached.body.len() as u64);
        Self {
            possible: is_compressible(cached.status, &cached.headers, length),
            ..Self::default()
        }
    }

    /// State of a variant of `original`.
    pub(super) fn of_variant(original: &Arc<CachedResponse>) -> Self {
        Self {
            original: Arc::downgrade(original),
            ..Self::default()
        }
    }

    /// Returns whether the response may have variants.
    pub(super) fn possible(&self) -> bool {
        self.possible
    }

    /// Returns whether the response is itself a variant.
    pub(super) fn is_variant(&self) -> bool {
        !self.original.ptr_eq(&Weak::new())
    }

    /// Returns whether the response is a variant of `cached`. The weak reference keeps the allocation, so no other
    /// response can have the same address.
    pub(super) fn is_variant_of(&self, cached: &Arc<CachedResponse>) -> bool {
        std::ptr::eq(self.original.as_ptr(), Arc::as_ptr(cached))
    }

    /// Claims the making of a variant. Returns false if another request makes it or it did not get smaller. The caller
    /// must call [`end`](Self::end), unless the variant did not get smaller.
    pub(super) fn begin(&self, coding: ContentCoding) -> bool {
        let bit = 1 << coding as u8;
        self.begun.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Gives the claim back: a variant that was evicted can be made again.
    pub(super) fn end(&self, coding: ContentCoding) {
        self.begun.fetch_and(!(1 << coding as u8), Ordering::AcqRel);
    }
}

/// Writes the key of a variant. A response's key is a sequence of fields that are longer than one byte each, so no
/// response has this key.
pub(super) fn write_key(out: &mut Vec<u8>, key: &[u8], coding: ContentCoding) {
    out.clear();
    out.extend_from_slice(key);
    out.push(coding as u8);
}

/// Calls `with` with the key of every variant that a response may have.
pub(super) fn each_key(key: &[u8], mut with: impl FnMut(&[u8])) {
    let mut variant = Vec::with_capacity(key.len() + 1);
    for coding in ContentCoding::ALL {
        write_key(&mut variant, key, coding);
        with(&variant);
    }
}
