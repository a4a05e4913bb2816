//! What is to become of a request: the first look at the store, which allocates nothing where it finds what it looks for.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST};
use http::request::Parts;
use http::{HeaderMap, Method};

use super::Cache;
use super::directives::RequestDirectives;
use super::freshness::State;
use super::influence;
use super::key::{Key, Resource, encode_variant};
use super::store::Slot;
use super::stored::Stored;
use super::vary::Names;
use super::verdict::{Allowance, Bypass, Forward, Verdict};

thread_local! {
    /// Where keys are written.
    static KEY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What is to become of a request.
pub(crate) enum Admission {
    /// What is stored is served.
    Serve(Arc<Stored>, Verdict),
    /// The same, and a new one is fetched beside it.
    ServeAndRefresh(Arc<Stored>, Verdict, Miss),
    /// The app is asked, for all who want the same.
    Fetch(Miss),
    /// The app is asked, for this request alone.
    Pass(Bypass),
    /// The app is asked with HEAD, and what is stored may learn from it.
    Head(Forward, Option<Arc<Stored>>),
    /// There is nothing, and the client wants nothing else.
    NotAllowed,
}

/// A request that the app has to be asked for.
pub(crate) struct Miss {
    /// The URL's key, and the request's own: with the values of the headers that responses are chosen by.
    pub(crate) primary: Key,
    pub(crate) key: Key,
    pub(crate) keyed: Names,
    pub(crate) why: Forward,
    pub(crate) known: Known,
}

/// What is known of the key of a request that the app has to be asked for.
#[derive(Clone)]
pub(crate) enum Known {
    /// Nothing.
    Nothing,
    /// Its responses may be shared.
    Shareable,
    /// Its responses may not be shared, so that nobody is to wait.
    Apart,
    /// One that has become stale.
    Stale(Arc<Stored>),
}

impl Cache {
    /// What is to become of a request for `resource`, that has a body or not.
    pub(crate) fn admit(
        &self,
        resource: &Resource<'_>,
        request: &Parts,
        has_body: bool,
        now: Instant,
    ) -> Admission {
        if !self.is_on() {
            return Admission::Pass(Bypass::Nothing);
        }
        if request.method != Method::GET && request.method != Method::HEAD {
            return Admission::Pass(Bypass::Method);
        }
        if has_body {
            return Admission::Pass(Bypass::Body);
        }
        let found = KEY.with_borrow_mut(|key| self.find(resource, &request.headers, key, now));
        match found {
            Admission::Fetch(_) if only_if_cached(&request.headers) => Admission::NotAllowed,
            Admission::Fetch(miss) if request.method == Method::HEAD => {
                Admission::Head(miss.why, miss.known.stale())
            }
            found => found,
        }
    }

    fn find(
        &self,
        resource: &Resource<'_>,
        request: &HeaderMap,
        key: &mut Vec<u8>,
        now: Instant,
    ) -> Admission {
        resource.encode(key);
        let primary = key.len();
        let mut slot = self.store.get(key);
        let mut keyed = None;
        if let Some(Slot::Varies(names)) = slot {
            encode_variant(key, &names, request);
            slot = self.store.get(key);
            keyed = Some(names);
        }
        let miss = |known: Known, key: &[u8]| Miss {
            primary: key[..primary].into(),
            key: key.into(),
            why: match &known {
                Known::Stale(_) => Forward::Stale,
                _ if keyed.is_some() => Forward::VaryMiss,
                _ => Forward::UriMiss,
            },
            keyed: keyed.clone().unwrap_or_default(),
            known,
        };
        match slot {
            Some(Slot::Stored(stored)) => serve(stored, request, now, |stored| {
                miss(Known::Stale(stored), key)
            }),
            Some(Slot::Shareable) => Admission::Fetch(miss(Known::Shareable, key)),
            Some(Slot::Apart(until)) if now < until => Admission::Fetch(miss(Known::Apart, key)),
            _ => Admission::Fetch(miss(Known::Nothing, key)),
        }
    }
}

impl Known {
    fn stale(self) -> Option<Arc<Stored>> {
        match self {
            Self::Stale(stored) => Some(stored),
            _ => None,
        }
    }
}

/// What may be done with a stored response for this request.
fn serve(
    stored: Arc<Stored>,
    request: &HeaderMap,
    now: Instant,
    miss: impl FnOnce(Arc<Stored>) -> Miss,
) -> Admission {
    if !suits_authorisation(&stored, request) {
        return Admission::Pass(Bypass::Personal);
    }
    let ttl = stored.freshness.remaining(now);
    match stored.freshness.state(now) {
        State::Fresh => Admission::Serve(stored, Verdict::Hit { ttl }),
        // It was stored to be validated each time. What the app says to a client with cookies or conditions of its own is
        // for that client.
        _ if stored.always_validated() && influence::any(request, &stored.vary) => {
            Admission::Pass(Bypass::Personal)
        }
        State::StaleWhileRevalidate => {
            let verdict = Verdict::Stale {
                why: Allowance::WhileRevalidate,
                ttl,
            };
            Admission::ServeAndRefresh(stored.clone(), verdict, miss(stored))
        }
        State::Stale => Admission::Fetch(miss(stored)),
    }
}

/// Whether a stored response may answer an authorised request: only one that says so (RFC 9111 section 3.5), or that was
/// chosen by the authorisation.
fn suits_authorisation(stored: &Stored, request: &HeaderMap) -> bool {
    stored.shared_with_authorised
        || !request.contains_key(AUTHORIZATION)
        || stored.vary.contains(&AUTHORIZATION)
}

/// Whether a response to another request may answer this one.
pub(crate) fn fits(stored: &Stored, primary: &[u8], request: &HeaderMap) -> bool {
    let same = KEY.with_borrow_mut(|key| {
        key.clear();
        key.extend_from_slice(primary);
        encode_variant(key, &stored.vary, request);
        **key == *stored.key
    });
    let personal = stored.always_validated() && influence::any(request, &stored.vary);
    same && !personal && suits_authorisation(stored, request)
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
