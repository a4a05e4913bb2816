//! A cached response, with everything that serving it needs computed in advance.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use corundum_abi::names::ReleaseVersion;
use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, LAST_MODIFIED,
    SET_COOKIE,
};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::cache_status::{CACHE_STATUS, X_CACHE};
use super::encoded_variants::EncodedVariants;
use super::freshness::{Freshness, date};
use super::key::Key;
use super::stats::CacheCounters;
use super::storable::{Storable, shared_with_authorised};
use super::surrogate_keys::Membership;
use super::vary::HeaderNames;
use crate::compress::Compression;
use crate::compress::compressible::is_compressible;
use crate::compress::headers::vary;
use crate::request_id::REQUEST_ID;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// Bytes of an entry beside its headers and its body: its slot in the store, its surrogate keys, and its maps.
const OVERHEAD: usize = 768;

/// Fields that a 304 does not update, because they describe the stored body (RFC 9111 section 3.2).
const BODY_FIELDS: [HeaderName; 5] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_MD5,
    ETAG,
];

/// A cached response.
#[derive(Debug)]
pub(crate) struct CachedResponse {
    /// Key that it is stored under.
    pub(crate) key: Key,
    /// Request headers that selected it.
    pub(crate) vary: HeaderNames,
    pub(crate) status: StatusCode,
    /// Headers, with a placeholder for each one that differs from request to request: serving only replaces values.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) freshness: Freshness,
    pub(crate) last_modified: Option<SystemTime>,
    /// True if it may answer a request with `Authorization`.
    pub(crate) shared_with_authorised: bool,
    /// Directives that govern it. The header that they come from may have been stripped.
    pub(crate) governing: Arc<Storable>,
    pub(crate) release: ReleaseVersion,
    /// State of its encoded variants.
    pub(crate) variants: EncodedVariants,
    /// Set while it is in the store.
    pub(crate) residency: Option<Residency>,
}

/// Accounts for an entry while it is in the store: its app's counters and its surrogate keys.
#[derive(Debug)]
pub(crate) struct Residency {
    pub(crate) stats: Arc<CacheCounters>,
    pub(crate) membership: Membership,
    bytes: u64,
    /// 1 for a response, 0 for an encoded variant.
    entries: u64,
}

impl Residency {
    /// Counts a response.
    pub(crate) fn of_response(
        stats: Arc<CacheCounters>,
        membership: Membership,
        bytes: u64,
    ) -> Self {
        Self::counted(stats, membership, bytes, 1)
    }

    /// Counts an encoded variant.
    pub(crate) fn of_variant(
        stats: Arc<CacheCounters>,
        membership: Membership,
        bytes: u64,
    ) -> Self {
        stats.compressed.fetch_add(1, Ordering::Relaxed);
        Self::counted(stats, membership, bytes, 0)
    }

    fn counted(
        stats: Arc<CacheCounters>,
        membership: Membership,
        bytes: u64,
        entries: u64,
    ) -> Self {
        stats.entries.fetch_add(entries, Ordering::Relaxed);
        stats.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            stats,
            membership,
            bytes,
            entries,
        }
    }
}

impl Drop for Residency {
    fn drop(&mut self) {
        self.stats
            .entries
            .fetch_sub(self.entries, Ordering::Relaxed);
        self.stats.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Times of a fetch, from which a response's age is computed (RFC 9111 section 4.2.3).
#[derive(Debug, Clone, Copy)]
pub(crate) struct FetchTimes {
    /// When the request was sent.
    pub(crate) sent: Instant,
    /// When the response's head arrived.
    pub(crate) received: Instant,
    /// Wall clock at that moment.
    pub(crate) now: SystemTime,
}

impl FetchTimes {
    /// Times of a response that arrives now.
    pub(crate) fn received_now(sent: Instant) -> Self {
        Self {
            sent,
            received: Instant::now(),
            now: SystemTime::now(),
        }
    }
}

impl CachedResponse {
    /// Builds a response without its body.
    pub(crate) fn head(
        (key, vary): (Key, HeaderNames),
        status: StatusCode,
        mut headers: HeaderMap,
        storable: Arc<Storable>,
        times: FetchTimes,
        release: ReleaseVersion,
    ) -> Self {
        let source = (storable.source, &storable.directives);
        let freshness = Freshness::new(&headers, source, times.sent, times.received, times.now);
        for name in &storable.directives.no_cache_fields {
            headers.remove(name);
        }
        prepare(&mut headers, times.now);
        Self {
            key,
            vary,
            status,
            last_modified: date(&headers, &LAST_MODIFIED),
            headers,
            body: Bytes::new(),
            freshness,
            shared_with_authorised: shared_with_authorised(&storable.directives),
            governing: storable,
            release,
            variants: EncodedVariants::default(),
            residency: None,
        }
    }

    /// Copies the head and adds `body`, ready to be stored: the headers move to an allocation of their own. The caller
    /// passes a body that has one too.
    pub(crate) fn with_body(&self, body: Bytes) -> Self {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        reallocate(&mut headers);
        let mut cached = Self {
            headers,
            body,
            ..self.copy_metadata()
        };
        cached.variants = EncodedVariants::new(&cached);
        cached
    }

    /// Adds `Accept-Encoding` to `Vary` if some clients get the response encoded. `length` is the body's, if known.
    pub(crate) fn vary_by_coding(&mut self, compression: Compression, length: Option<u64>) {
        if compression == Compression::On && is_compressible(self.status, &self.headers, length) {
            vary(&mut self.headers);
        }
    }

    fn copy_metadata(&self) -> Self {
        Self {
            key: self.key.clone(),
            vary: self.vary.clone(),
            status: self.status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            freshness: self.freshness.clone(),
            last_modified: self.last_modified,
            shared_with_authorised: self.shared_with_authorised,
            governing: self.governing.clone(),
            release: self.release,
            variants: EncodedVariants::default(),
            residency: None,
        }
    }

    /// Headers after the update that a 304 or a response to HEAD brings (RFC 9111 sections 3.2 and 4.3.4). A cookie in
    /// the update belongs to its own client and is left out.
    pub(crate) fn updated_headers(&self, update: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.clone();
        // Both belong to the response that is replaced; `prepare` sets them again.
        for name in [&AGE, &DATE] {
            headers.remove(name);
        }
        for name in update.keys() {
            if *name == SET_COOKIE || BODY_FIELDS.contains(name) {
                continue;
            }
            headers.remove(name);
            for value in update.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers
    }

    /// Returns whether each use needs the app's validation.
    pub(crate) fn always_validated(&self) -> bool {
        self.freshness.lifetime == 0
    }

    pub(crate) fn etag(&self) -> Option<&HeaderValue> {
        self.headers.get(ETAG)
    }

    /// Bytes of memory that it occupies.
    pub(crate) fn weight(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum();
        OVERHEAD + 2 * self.key.len() + headers + self.body.len()
    }
}

/// Adds a `Date` if there is none, and a placeholder for each header that serving sets.
fn prepare(headers: &mut HeaderMap, now: SystemTime) {
    if !headers.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(now))
    {
        headers.insert(DATE, date);
    }
    for name in [AGE, CACHE_STATUS, X_CACHE, REQUEST_ID] {
        headers.insert(name, HeaderValue::from_static(""));
    }
}

/// Copies header values to one allocation of their own. A dyno's values are slices of the buffer that its response
/// arrived in; storing them would keep that whole buffer alive, and nothing would count it.
fn reallocate(headers: &mut HeaderMap) {
    let bytes = headers.values().map(HeaderValue::len).sum();
    let mut buffer = BytesMut::with_capacity(bytes);
    // Empty values, the placeholders, stay static: they need no reference count.
    for value in headers.values_mut().filter(|value| !value.is_empty()) {
        buffer.extend_from_slice(value.as_bytes());
        let own = HeaderValue::from_maybe_shared(buffer.split().freeze());
        // The bytes come from a valid value, so the conversion cannot fail.
        *value = own.unwrap_or_else(|_| value.clone());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use http::header::{CACHE_CONTROL, CONTENT_TYPE};

    use super::super::storable;
    use super::*;

    /// A page that is fresh for a minute, without its body.
    pub(crate) fn page() -> CachedResponse {
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("text/html")),
            (CACHE_CONTROL, HeaderValue::from_static("max-age=60")),
        ]);
        let times = FetchTimes::received_now(Instant::now());
        let (ok, location) = (StatusCode::OK, (b"a key"[..].into(), [].into()));
        let storable = storable::judge(&HeaderMap::new(), ok, &headers).unwrap();
        let release = ReleaseVersion(1);
        CachedResponse::head(location, ok, headers, storable.into(), times, release)
    }
}
