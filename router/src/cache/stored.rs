//! A stored response, made ready to be served.

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

use super::account::Account;
use super::forms::Forms;
use super::freshness::{Freshness, date};
use super::groups::Membership;
use super::key::Key;
use super::storable::{Storable, shared_with_authorised};
use super::vary::Names;
use crate::compress::Compression;
use crate::compress::compressible::is_compressible;
use crate::compress::headers::vary;
use crate::request_id::REQUEST_ID;

pub(crate) const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
pub(crate) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");

/// What an entry takes beside its header and body: its place in the store, in its groups, and its maps.
const OVERHEAD: usize = 768;

/// Fields that a 304 does not change, since they are about the body that is stored (RFC 9111 section 3.2).
const OF_THE_BODY: [HeaderName; 5] = [
    CONTENT_LENGTH,
    CONTENT_ENCODING,
    CONTENT_RANGE,
    CONTENT_MD5,
    ETAG,
];

/// A stored response.
#[derive(Debug)]
pub(crate) struct Stored {
    /// What it is found by.
    pub(crate) key: Key,
    /// The headers that it was chosen by.
    pub(crate) vary: Names,
    pub(crate) status: StatusCode,
    /// With a place for each header that differs from request to request, so that serving it changes values alone.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) freshness: Freshness,
    pub(crate) last_modified: Option<SystemTime>,
    /// Whether it may answer a request with `Authorization`.
    pub(crate) shared_with_authorised: bool,
    /// What governs it; what said so may be gone from its headers.
    pub(crate) governing: Arc<Storable>,
    pub(crate) release: ReleaseVersion,
    /// What is known of its encoded forms.
    pub(crate) forms: Forms,
    pub(crate) kept: Option<Kept>,
}

/// What an entry holds while it is in the store.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) account: Arc<Account>,
    pub(crate) membership: Membership,
    bytes: u64,
    /// One, or none for an encoded form of another.
    entries: u64,
}

impl Kept {
    /// A response.
    pub(crate) fn new(account: Arc<Account>, membership: Membership, bytes: u64) -> Self {
        Self::counted(account, membership, bytes, 1)
    }

    /// An encoded form of one.
    pub(crate) fn of_form(account: Arc<Account>, membership: Membership, bytes: u64) -> Self {
        account.compressed.fetch_add(1, Ordering::Relaxed);
        Self::counted(account, membership, bytes, 0)
    }

    fn counted(account: Arc<Account>, membership: Membership, bytes: u64, entries: u64) -> Self {
        account.entries.fetch_add(entries, Ordering::Relaxed);
        account.bytes.fetch_add(bytes, Ordering::Relaxed);
        Self {
            account,
            membership,
            bytes,
            entries,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.account
            .entries
            .fetch_sub(self.entries, Ordering::Relaxed);
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// When a response was asked for, and when its head came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) sent: Instant,
    pub(crate) received: Instant,
    /// The clock then.
    pub(crate) now: SystemTime,
}

impl Stored {
    /// A response without its body yet.
    pub(crate) fn head(
        (key, vary): (Key, Names),
        status: StatusCode,
        mut headers: HeaderMap,
        storable: Arc<Storable>,
        times: Times,
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
            forms: Forms::default(),
            kept: None,
        }
    }

    /// The same with its body, ready to be kept: the headers get room of their own, which the body is to have.
    pub(crate) fn with_body(&self, body: Bytes) -> Self {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        move_out(&mut headers);
        let mut stored = Self {
            headers,
            body,
            ..self.parts()
        };
        stored.forms = Forms::new(&stored);
        stored
    }

    /// Says that it is chosen by `Accept-Encoding` too, if it is to be encoded for some. `length` is its body's, if known.
    pub(crate) fn vary_by_coding(&mut self, compression: Compression, length: Option<u64>) {
        if compression == Compression::On && is_compressible(self.status, &self.headers, length) {
            vary(&mut self.headers);
        }
    }

    fn parts(&self) -> Self {
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
            forms: Forms::default(),
            kept: None,
        }
    }

    /// The headers as a 304 or a response to HEAD makes them (RFC 9111 sections 3.2 and 4.3.4). A cookie that it sets is
    /// for who asked alone.
    pub(crate) fn updated_headers(&self, update: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.clone();
        // They are of the response that is replaced; prepared again below.
        for name in [&AGE, &DATE] {
            headers.remove(name);
        }
        for name in update.keys() {
            if *name == SET_COOKIE || OF_THE_BODY.contains(name) {
                continue;
            }
            headers.remove(name);
            for value in update.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        headers
    }

    /// Whether it may never be used without the app's consent.
    pub(crate) fn always_validated(&self) -> bool {
        self.freshness.lifetime == 0
    }

    pub(crate) fn etag(&self) -> Option<&HeaderValue> {
        self.headers.get(ETAG)
    }

    /// Bytes that it takes in memory.
    pub(crate) fn weight(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum();
        OVERHEAD + 2 * self.key.len() + headers + self.body.len()
    }
}

/// Gives the headers a date, and a place for each one that serving sets.
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

/// Gives the values of headers room of their own: those of a dyno's answer are parts of the buffer that it came in, spaces
/// and all, which would stay for as long as any of them does and is counted nowhere.
fn move_out(headers: &mut HeaderMap) {
    let bytes = headers.values().map(HeaderValue::len).sum();
    let mut room = BytesMut::with_capacity(bytes);
    // The places for what serving sets need no room, and no counting of who shares it.
    for value in headers.values_mut().filter(|value| !value.is_empty()) {
        room.extend_from_slice(value.as_bytes());
        let own = HeaderValue::from_maybe_shared(room.split().freeze());
        // What was a value is one.
        *value = own.unwrap_or_else(|_| value.clone());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use http::header::{CACHE_CONTROL, CONTENT_TYPE};

    use super::super::storable;
    use super::*;

    /// A page that is fresh for a minute, without its body.
    pub(crate) fn page() -> Stored {
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static("text/html")),
            (CACHE_CONTROL, HeaderValue::from_static("max-age=60")),
        ]);
        let now = Instant::now();
        let times = Times {
            sent: now,
            received: now,
            now: SystemTime::now(),
        };
        let (ok, place) = (StatusCode::OK, (b"a key"[..].into(), [].into()));
        let storable = storable::judge(&HeaderMap::new(), ok, &headers).unwrap();
        let release = ReleaseVersion(1);
        Stored::head(place, ok, headers, storable.into(), times, release)
    }
}
