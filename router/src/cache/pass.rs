//! What the cache learns of requests that it has no part in: what they invalidate, purge, update, or leave behind.

use std::sync::Arc;
use std::time::Instant;

use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, ETAG, HeaderName, LAST_MODIFIED};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::fetch::{Fetched, store_full};
use super::policy::SURROGATE_CONTROL;
use super::purge::{self, CACHE_PURGE, CACHE_TAG, SURROGATE_KEY, Scope};
use super::stored::{Stored, Times};
use super::{influence, lookup, urls};
use crate::ask::{Answer, Ask};
use crate::grid::Grid;

/// Methods that change nothing (RFC 9110 section 9.2.1).
const SAFE: [Method; 4] = [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE];

/// Carries out what a response orders, and takes the order out of it.
pub(crate) fn obey<G: Grid>(ask: &Ask<G>, answer: &mut Answer) {
    let headers = answer.response.headers_mut();
    if !headers.contains_key(CACHE_PURGE) {
        return;
    }
    let orders = purge::orders(headers, &ask.host);
    headers.remove(CACHE_PURGE);
    for scope in orders {
        ask.router.cache.purge(&ask.site.app, &scope);
    }
}

/// Takes out of a response what is for the cache alone.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in [SURROGATE_CONTROL, CACHE_TAG, SURROGATE_KEY] {
        headers.remove(name);
    }
}

/// After an answer to a request that is none of the cache's: an unsafe one invalidates what it may have changed (RFC 9111
/// section 4.4), and one to POST may be stored if it is what GET would get (RFC 9110 section 9.3.3).
pub(crate) fn after<G: Grid>(ask: &Ask<G>, request: &Parts, answer: &mut Answer, times: Times) {
    obey(ask, answer);
    if !SAFE.contains(&request.method) && is_success(answer.response.status()) {
        invalidate(ask, request, answer.response.headers());
        if request.method == Method::POST
            && is_of_its_own_url(ask, request, answer.response.headers())
        {
            let fetched = Fetched {
                request,
                times,
                purges: ask.router.cache.accounts.of(&ask.site.app).purges(),
            };
            store_full(ask, fetched, answer);
        }
    }
    strip(answer.response.headers_mut());
}

fn is_success(status: StatusCode) -> bool {
    status.is_success() || status.is_redirection()
}

fn invalidate<G: Grid>(ask: &Ask<G>, request: &Parts, response: &HeaderMap) {
    let target = lookup::target(request);
    let named = urls::named(response, &ask.host, target);
    for target in named.into_iter().chain([target.to_owned()]) {
        let scope = Scope::Url {
            host: (*ask.host).to_owned(),
            target,
        };
        ask.router.cache.purge(&ask.site.app, &scope);
    }
}

fn is_of_its_own_url<G>(ask: &Ask<G>, request: &Parts, response: &HeaderMap) -> bool {
    let target = lookup::target(request);
    urls::of(response, &CONTENT_LOCATION, &ask.host, target).is_some_and(|named| named == target)
}

/// After an answer to HEAD: what is stored learns from it, or goes if it is another by now (RFC 9111 section 4.3.5).
pub(crate) fn after_head<G: Grid>(
    ask: &Ask<G>,
    request: &Parts,
    stored: Option<&Arc<Stored>>,
    answer: &mut Answer,
    times: Times,
) {
    obey(ask, answer);
    let headers = answer.response.headers();
    if let Some(stored) = stored
        && answer.response.status() == stored.status
        && !influence::any(&request.headers, &stored.vary)
    {
        if is_another(stored, headers) {
            ask.router.cache.store.remove_this(stored);
        } else {
            super::fetch::update(ask, request, stored, headers, times, answer.served.release);
        }
    }
    strip(answer.response.headers_mut());
}

/// Whether a head's validators or length are not those of what is stored.
fn is_another(stored: &Stored, head: &HeaderMap) -> bool {
    let differs = |name: &HeaderName| {
        head.get(name)
            .is_some_and(|value| stored.headers.get(name) != Some(value))
    };
    differs(&ETAG) || differs(&LAST_MODIFIED) || differs(&CONTENT_LENGTH)
}

/// The times of an answer that comes now to a request that was sent at `sent`.
pub(crate) fn times(sent: Instant) -> Times {
    Times {
        sent,
        received: Instant::now(),
        now: std::time::SystemTime::now(),
    }
}
