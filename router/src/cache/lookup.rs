//! Decides what a request needs: a stored response, a fetch, or a place behind the fetch of another request.
//!
//! A lookup that finds a usable response allocates nothing.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST};
use http::request::Parts;
use http::{HeaderMap, Method};

use super::Cache;
use super::cache_lock::{Follower, Leader, LockRole};
use super::cache_status::{BypassReason, CacheStatus, ForwardReason, StaleReason};
use super::cached_response::CachedResponse;
use super::directives::RequestDirectives;
use super::freshness::FreshnessState;
use super::key::{Key, Resource, encode_variant};
use super::store::Slot;
use super::unkeyed_headers;
use super::vary::HeaderNames;

/// Lookups of one request before it goes to the app without a lock. Each further lookup follows a change: the key's
/// headers are known now, or a leader ended without an outcome for this request.
pub(crate) const MAX_ROUNDS: usize = 3;

thread_local! {
    /// Buffer for keys, so that a hit allocates none.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Result of a lookup.
pub(crate) enum Lookup {
    /// A stored response answers the request.
    Hit(Arc<CachedResponse>, CacheStatus),
    /// A stale response answers the request, and must be revalidated in the background.
    StaleHit(Arc<CachedResponse>, CacheStatus, Miss),
    /// The request goes to the app. With a leader, other requests wait for its outcome.
    Fetch(Miss, Option<Leader>),
    /// Another request for the key is at the app; this one waits for its outcome.
    Wait(Miss, Follower),
    /// The cache has no part in the request.
    Bypass(BypassReason),
    /// The request is a HEAD and goes to the app. Its response may update the stored one.
    Head(ForwardReason, Option<Arc<CachedResponse>>),
    /// The client accepts only a stored response, and there is none (RFC 9111 section 5.2.1.7).
    NotCached,
}

/// Result of one look at the store, before any lock.
pub(crate) enum Found {
    Hit(Arc<CachedResponse>, CacheStatus),
    StaleHit(Arc<CachedResponse>, CacheStatus, Miss),
    Miss(Miss),
    Bypass(BypassReason),
}

/// A request that no stored response answers.
pub(crate) struct Miss {
    /// Key of the URL.
    pub(crate) primary: Key,
    /// Key of the request: the URL's, with the values of the headers that responses vary by.
    pub(crate) key: Key,
    /// Those headers.
    pub(crate) keyed: HeaderNames,
    pub(crate) reason: ForwardReason,
    pub(crate) state: KeyState,
}

/// State of the key of a miss.
#[derive(Clone)]
pub(crate) enum KeyState {
    /// No response is stored, and it is unknown whether its responses may be shared.
    Unknown,
    /// Its responses may be shared.
    Shareable,
    /// Its responses may not be shared: no request waits for another.
    HitForPass,
    /// A stale response is stored.
    Stale(Arc<CachedResponse>),
}

impl Cache {
    /// Looks up a request for `resource`. A miss joins the requests for its key.
    pub(crate) fn look_up(
        self: &Arc<Self>,
        resource: &Resource<'_>,
        request: &Parts,
        has_body: bool,
        now: Instant,
    ) -> Lookup {
        if !self.is_enabled() {
            return Lookup::Bypass(BypassReason::NoCache);
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Lookup::Bypass(BypassReason::Method);
        }
        if has_body {
            return Lookup::Bypass(BypassReason::Body);
        }
        match self.find(resource, &request.headers, now) {
            Found::Miss(_) if only_if_cached(&request.headers) => Lookup::NotCached,
            Found::Miss(miss) if request.method == Method::HEAD => {
                Lookup::Head(miss.reason, miss.state.stale())
            }
            Found::Miss(miss) => self.lock(resource, &request.headers, miss, now),
            found => found.into(),
        }
    }

    /// Joins the requests for the key of a miss.
    pub(crate) fn lock(
        &self,
        resource: &Resource<'_>,
        request: &HeaderMap,
        mut miss: Miss,
        now: Instant,
    ) -> Lookup {
        for _ in 0..MAX_ROUNDS {
            if matches!(miss.state, KeyState::HitForPass) {
                break;
            }
            let leader = match self.locks.join(&miss.key) {
                LockRole::Leader(leader) => leader,
                LockRole::Follower(follower) => return Lookup::Wait(miss, follower),
            };
            // The previous leader may have finished between the look at the store and the lock.
            match self.find(resource, request, now) {
                Found::Miss(found) if found.key == miss.key => {
                    return Lookup::Fetch(found, Some(leader));
                }
                Found::Miss(found) => miss = found,
                found => return found.into(),
            }
        }
        Lookup::Fetch(miss, None)
    }

    /// Looks at the store.
    pub(crate) fn find(&self, resource: &Resource<'_>, request: &HeaderMap, now: Instant) -> Found {
        KEY.with_borrow_mut(|key| {
            resource.encode(key);
            let primary = key.len();
            let mut slot = self.store.get(key);
            let mut keyed = None;
            if let Some(Slot::Varies(names)) = slot {
                encode_variant(key, &names, request);
                slot = self.store.get(key);
                keyed = Some(names);
            }
            let miss = |state: KeyState, key: &[u8]| Miss {
                primary: key[..primary].into(),
                key: key.into(),
                reason: match &state {
                    KeyState::Stale(_) => ForwardReason::Stale,
                    _ if keyed.is_some() => ForwardReason::VaryMiss,
                    _ => ForwardReason::UriMiss,
                },
                keyed: keyed.clone().unwrap_or_default(),
                state,
            };
            match slot {
                Some(Slot::Response(cached)) => usable(cached, request, now, |cached| {
                    miss(KeyState::Stale(cached), key)
                }),
                Some(Slot::Shareable) => Found::Miss(miss(KeyState::Shareable, key)),
                Some(Slot::HitForPass(until)) if now < until => {
                    Found::Miss(miss(KeyState::HitForPass, key))
                }
                _ => Found::Miss(miss(KeyState::Unknown, key)),
            }
        })
    }
}

impl From<Found> for Lookup {
    /// Converts a result; a miss goes to the app without a lock.
    fn from(found: Found) -> Self {
        match found {
            Found::Hit(cached, status) => Self::Hit(cached, status),
            Found::StaleHit(cached, status, miss) => Self::StaleHit(cached, status, miss),
            Found::Miss(miss) => Self::Fetch(miss, None),
            Found::Bypass(reason) => Self::Bypass(reason),
        }
    }
}

impl Miss {
    /// A miss of a URL without stored variants.
    pub(crate) fn of_url(primary: Key) -> Self {
        Self {
            key: primary.clone(),
            primary,
            keyed: HeaderNames::default(),
            reason: ForwardReason::UriMiss,
            state: KeyState::Unknown,
        }
    }
}

impl KeyState {
    fn stale(self) -> Option<Arc<CachedResponse>> {
        match self {
            Self::Stale(cached) => Some(cached),
            _ => None,
        }
    }
}

/// Decides how a stored response may be used for a request.
fn usable(
    cached: Arc<CachedResponse>,
    request: &HeaderMap,
    now: Instant,
    miss: impl FnOnce(Arc<CachedResponse>) -> Miss,
) -> Found {
    if !permits_authorisation(&cached, request) {
        return Found::Bypass(BypassReason::Personal);
    }
    let ttl = cached.freshness.remaining(now);
    match cached.freshness.state(now) {
        FreshnessState::Fresh => Found::Hit(cached, CacheStatus::Hit { ttl }),
        // The app validates each use. Its response to a client with cookies or conditions is for that client alone.
        _ if cached.always_validated() && unkeyed_headers::is_personal(request, &cached.vary) => {
            Found::Bypass(BypassReason::Personal)
        }
        FreshnessState::StaleWhileRevalidate => {
            let status = CacheStatus::Stale {
                reason: StaleReason::WhileRevalidate,
                ttl,
            };
            Found::StaleHit(cached.clone(), status, miss(cached))
        }
        FreshnessState::Stale => Found::Miss(miss(cached)),
    }
}

/// Returns whether a stored response may answer an authorised request: only if its directives say so (RFC 9111 section
/// 3.5), or if it varies by `Authorization`.
fn permits_authorisation(cached: &CachedResponse, request: &HeaderMap) -> bool {
    cached.shared_with_authorised
        || !request.contains_key(AUTHORIZATION)
        || cached.vary.contains(&AUTHORIZATION)
}

/// Returns whether the response to another request for the URL `primary` may answer this one.
pub(crate) fn answers(cached: &CachedResponse, primary: &[u8], request: &HeaderMap) -> bool {
    let same = KEY.with_borrow_mut(|key| {
        key.clear();
        key.extend_from_slice(primary);
        encode_variant(key, &cached.vary, request);
        **key == *cached.key
    });
    let personal = cached.always_validated() && unkeyed_headers::is_personal(request, &cached.vary);
    same && !personal && permits_authorisation(cached, request)
}

fn only_if_cached(request: &HeaderMap) -> bool {
    request.contains_key(CACHE_CONTROL) && RequestDirectives::parse(request).only_if_cached
}

/// Host and port as the app sees them.
pub(crate) fn authority(request: &HeaderMap) -> &[u8] {
    request.get(HOST).map_or(b"", |host| host.as_bytes())
}

/// Path and query as the app sees them.
pub(crate) fn target(request: &Parts) -> &str {
    request
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str())
}
