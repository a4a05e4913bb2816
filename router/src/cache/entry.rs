//! Turns a fetched response into an entry: decides whether it may be stored, under which keys, and what an update
//! changes.

use std::sync::Arc;

use corundum_abi::names::{AppName, ReleaseVersion};
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::Cache;
use super::cached_response::{CachedResponse, FetchTimes};
use super::key::{Key, encode_variant};
use super::lookup::{Miss, target};
use super::policy::{PolicySource, SURROGATE_CONTROL};
use super::stats::CacheCounters;
use super::storable::{self, NotStored, has_validator};
use super::store::Slot;
use super::surrogate_keys::{SurrogateKey, SurrogateKeySubject};
use super::{purge, unkeyed_headers, vary};
use crate::compress::Compression;
use crate::limits::Limits;

/// A request to the app, as far as storing its response depends on it.
pub(crate) struct FetchRecord<'a> {
    pub(crate) app: &'a AppName,
    /// Counters of the app.
    pub(crate) stats: &'a Arc<CacheCounters>,
    /// Host name that the request was routed by.
    pub(crate) host: &'a str,
    /// Release that new requests of the app go to.
    pub(crate) current_release: Option<ReleaseVersion>,
    /// The app's compression setting.
    pub(crate) compression: Compression,
    /// The request as it was sent.
    pub(crate) request: &'a Parts,
    pub(crate) times: FetchTimes,
    /// Number of the app's purges before it was sent.
    pub(crate) purges: u64,
}

/// A response from the app that may become an entry.
pub(crate) struct Candidate<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: CandidateBody,
    /// Release that made it.
    pub(crate) release: ReleaseVersion,
}

/// Length of a candidate's body, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CandidateBody {
    /// The body is complete; the declared length may differ.
    Complete { bytes: u64, declared: Option<u64> },
    /// The body is arriving.
    Streamed { declared: Option<u64> },
}

/// Treatment of unkeyed headers in the request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnkeyedHeaders {
    /// They were sent for all who wait for the key. They may have changed the response, which then decides how the next
    /// request for the key is sent.
    Sent,
    /// They were sent for one client alone, and may have changed the response.
    SentForOne,
    /// They were removed.
    Removed,
}

impl Cache {
    /// Decides whether a response to a miss may be stored, and builds its entry without the body.
    ///
    /// # Errors
    ///
    /// The reason why it may not be stored.
    pub(crate) fn prepare_entry(
        &self,
        miss: &Miss,
        fetch: &FetchRecord<'_>,
        unkeyed: UnkeyedHeaders,
        candidate: &Candidate<'_>,
    ) -> Result<CachedResponse, NotStored> {
        let (request, headers) = (&fetch.request.headers, candidate.headers);
        let storable = storable::judge(request, candidate.status, headers)?;
        if fetch.current_release != Some(candidate.release) {
            return Err(NotStored::OtherRelease);
        }
        let names = vary::join(&miss.keyed, storable.vary.clone()).ok_or(NotStored::Vary)?;
        let key = variant_key(&miss.primary, &names, request);
        let mut head = CachedResponse::head(
            (key, names.into()),
            candidate.status,
            headers.clone(),
            Arc::new(storable),
            fetch.times,
            candidate.release,
        );
        if head.always_validated() && !has_validator(headers) {
            return Err(NotStored::NoValidator);
        }
        if unkeyed != UnkeyedHeaders::Removed && is_influenced(&head, request) {
            if unkeyed == UnkeyedHeaders::Sent {
                self.mark_shareable(miss, &head, request);
            }
            return Err(NotStored::Influenced);
        }
        self.check_size(candidate.body)?;
        if !head.vary.is_empty() {
            let varies = Slot::Varies(head.vary.clone());
            self.store.put(miss.primary.clone(), varies);
        }
        purge::strip(&mut head.headers);
        head.vary_by_coding(fetch.compression, candidate.body.length());
        Ok(head)
    }

    /// Remembers that responses for a key may be shared, and by which headers they vary, so that the next request for it
    /// is sent without the others. A response that the app validates each time, and that it made for a visitor it knows,
    /// says nothing about the responses to others.
    fn mark_shareable(&self, miss: &Miss, head: &CachedResponse, request: &HeaderMap) {
        if head.always_validated() && unkeyed_headers::is_personal(request, &head.vary) {
            return;
        }
        if !head.vary.is_empty() {
            let varies = Slot::Varies(head.vary.clone());
            self.store.put(miss.primary.clone(), varies);
        }
        self.store.put(head.key.clone(), Slot::Shareable);
    }

    /// Checks that a body is complete and not too large, as far as its length is known.
    fn check_size(&self, body: CandidateBody) -> Result<(), NotStored> {
        let max = self.store.max_response as u64;
        match body {
            CandidateBody::Complete { bytes, declared }
                if declared.is_some_and(|declared| declared != bytes) =>
            {
                Err(NotStored::Incomplete)
            }
            body if body.length().is_some_and(|length| length > max) => Err(NotStored::TooLarge),
            _ => Ok(()),
        }
    }

    /// Surrogate keys of a response: its app's, its URL's, its tags', and `inherited` ones.
    pub(crate) fn surrogate_keys(
        &self,
        fetch: &FetchRecord<'_>,
        response: &HeaderMap,
        inherited: &[SurrogateKey],
    ) -> Vec<SurrogateKey> {
        let key = |subject| self.surrogate_keys.key(fetch.app.as_str(), subject);
        let target = target(fetch.request).as_bytes();
        let tags = purge::tags(response);
        let mut keys = vec![
            key(SurrogateKeySubject::App),
            key(SurrogateKeySubject::Url(fetch.host, target)),
        ];
        keys.extend(tags.iter().map(|tag| key(SurrogateKeySubject::Tag(tag))));
        keys.extend_from_slice(inherited);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Updates a stored response with the headers of a 304 or of a response to HEAD. Removes it, and returns none, if
    /// the updated response may not be stored.
    pub(crate) fn freshen(
        &self,
        cached: &Arc<CachedResponse>,
        update: &HeaderMap,
        fetch: &FetchRecord<'_>,
        release: ReleaseVersion,
        limits: &Limits,
    ) -> Option<Arc<CachedResponse>> {
        let headers = cached.updated_headers(update);
        // `Surrogate-Control` was stripped when the response was stored; without a new one the old one still governs.
        let still_governs = cached.governing.source == PolicySource::Surrogate
            && !update.contains_key(SURROGATE_CONTROL);
        let storable = if still_governs {
            Ok(cached.governing.clone())
        } else {
            storable::judge(&fetch.request.headers, cached.status, &headers).map(Arc::new)
        };
        // Each update may add headers; the sum stays within what the router passes on.
        let fields = headers.iter();
        let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
        let passes = limits.pass_head(fields);
        let current = fetch.current_release == Some(release);
        let (Ok(storable), true) = (storable, passes && current) else {
            self.store.remove_this(cached);
            return None;
        };
        let inherited = cached
            .residency
            .as_ref()
            .map_or(&[][..], |residency| &residency.membership.keys);
        let surrogate_keys = self.surrogate_keys(fetch, update, inherited);
        let mut head = CachedResponse::head(
            (cached.key.clone(), cached.vary.clone()),
            cached.status,
            headers,
            storable,
            fetch.times,
            release,
        );
        purge::strip(&mut head.headers);
        head.vary_by_coding(fetch.compression, Some(cached.body.len() as u64));
        let updated = head.with_body(cached.body.clone());
        let inserted = self.insert(updated, fetch.stats, &surrogate_keys, fetch.purges);
        inserted.ok()
    }
}

impl CandidateBody {
    fn length(self) -> Option<u64> {
        match self {
            Self::Complete { bytes, .. } => Some(bytes),
            Self::Streamed { declared } => declared,
        }
    }
}

/// Returns whether something in a request outside of its key may have changed the response to it.
fn is_influenced(head: &CachedResponse, request: &HeaderMap) -> bool {
    unkeyed_headers::any(request, &harmless(head))
        || unkeyed_headers::any_in_another_form(request, &head.vary)
}

/// Unkeyed headers that do not keep a response from being stored: those that it varies by, and `Authorization` where
/// the app says explicitly that all clients may share the response (RFC 9111 section 3.5).
fn harmless(head: &CachedResponse) -> Vec<HeaderName> {
    let directives = &head.governing.directives;
    let mut names = head.vary.to_vec();
    if directives.public || directives.s_maxage.is_some() {
        names.push(AUTHORIZATION);
    }
    names
}

/// Key of the variant that a request selects.
fn variant_key(primary: &[u8], names: &[HeaderName], request: &HeaderMap) -> Key {
    let mut key = primary.to_vec();
    encode_variant(&mut key, names, request);
    key.into()
}
