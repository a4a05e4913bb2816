//! Asking the app for what is not stored or is stale, once for all who want the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corundum_abi::names::ReleaseVersion;
use corundum_exchange::{DynoBody, RequestBody};
use http::header::{
    AUTHORIZATION, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, SET_COOKIE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version};

use super::filling::{Ending, Filling};
use super::flight::{Landed, Lead, Turn};
use super::freshness::{State, Trouble};
use super::groups::{Group, Of};
use super::key::{Key, encode_variant};
use super::lookup::{self, Admission, Known, Miss, fits};
use super::pass::{obey, strip, times};
use super::policy::{SURROGATE_CONTROL, Source};
use super::storable::{self, Refusal, has_validator};
use super::store::Slot;
use super::stored::{Stored, Times};
use super::verdict::{Allowance, Forward, Verdict};
use super::{Account, deliver, influence, purge, vary};
use crate::ask::{Answer, Ask};
use crate::failure::Failure;
use crate::grid::Grid;
use crate::headers::content_length;
use crate::log_line::{Entry, Line};
use crate::reply::Reply;
use crate::request_id::{REQUEST_ID, RequestId};

/// Looks at the store before a request goes alone: each time, whoever it has waited for has gone without an answer, or
/// has got one that is not for it.
const ROUNDS: usize = 3;

/// How long who waits for a body of unknown length does so; a stream that never ends is not worth more.
const PATIENCE: Duration = Duration::from_secs(5);

/// A request that has been answered, as far as storing the answer needs it.
pub(crate) struct Fetched<'a> {
    pub(crate) request: &'a Parts,
    pub(crate) times: Times,
    /// Purges before it was sent.
    pub(crate) purges: u64,
}

/// How a request is sent.
enum Manner {
    /// As it came.
    AsItCame,
    /// Without what might change the answer although it is not keyed.
    Clean,
    /// The same, on the condition that what is stored is not good any more.
    Validating(Arc<Stored>),
}

/// Answers a request that the store alone could not.
pub(crate) async fn fetch<G: Grid>(
    ask: &Ask<G>,
    request: &Parts,
    mut miss: Miss,
) -> Result<Reply, Failure> {
    let cache = &ask.router.cache;
    for _ in 0..ROUNDS {
        if matches!(miss.known, Known::Apart) {
            break;
        }
        let why = miss.why;
        match cache.flights.join(&miss.key) {
            Turn::Lead(lead) => match cache.again(ask, request) {
                // Who went before may have landed between the look and the turn.
                Admission::Serve(stored, verdict) => return Ok(serve(&stored, request, verdict)),
                Admission::Fetch(now) if now.key == miss.key => {
                    return lead_on(ask, request, now, lead).await;
                }
                Admission::Fetch(now) => miss = now,
                _ => break,
            },
            Turn::Follow(follow) => {
                let landed = follow.landed().await;
                let alone = matches!(landed, Some(Landed::Alone));
                if let Some(reply) = share(landed, request, &miss, why).await {
                    return reply;
                }
                match cache.again(ask, request) {
                    Admission::Serve(stored, verdict) => {
                        return Ok(serve(&stored, request, verdict));
                    }
                    Admission::ServeAndRefresh(stored, verdict, _) => {
                        return Ok(serve(&stored, request, verdict));
                    }
                    Admission::Fetch(now)
                        if !alone || matches!(now.known, Known::Shareable | Known::Stale(_)) =>
                    {
                        miss = now
                    }
                    _ => break,
                }
            }
        }
    }
    go(ask, request, &miss, Manner::AsItCame, None).await
}

/// Fetches a new response for one that is served stale meanwhile, unless that is being done already.
pub(crate) fn refresh<G: Grid>(ask: &Ask<G>, request: &Parts, miss: Miss) {
    let Turn::Lead(lead) = ask.router.cache.flights.join(&miss.key) else {
        return;
    };
    let (ask, request) = (ask.clone(), request.clone());
    tokio::spawn(async move {
        let started = Instant::now();
        let result = lead_on(&ask, &request, miss, lead).await;
        let mut entry = Entry {
            method: request.method.clone(),
            path: lookup::target(&request).into(),
            host: ask.host.clone(),
            request_id: ask.id.clone(),
            protocol: "http1.1",
            tls: ask.connection.tls,
            service: started.elapsed(),
            cache: "refresh",
            ..Entry::default()
        };
        let failure = result.as_ref().err().cloned();
        if let Ok(reply) = &result {
            entry.status = reply.response.status().as_u16();
            if let Some(served) = &reply.served {
                (entry.dyno, entry.release) = (Some(served.dyno.clone()), Some(served.release));
                (entry.cpu, entry.memory) = (served.usage.cpu(), served.usage.memory());
            }
        }
        let line = Line::new(entry, failure);
        ask.router.grid.log(&ask.site.app, line);
    });
}

impl super::Cache {
    /// A second look.
    fn again<G: Grid>(&self, ask: &Ask<G>, request: &Parts) -> Admission {
        self.admit(&ask.resource(request), request, false, Instant::now())
    }
}

/// What is stored, as this request gets it.
pub(crate) fn serve(stored: &Stored, request: &Parts, verdict: Verdict) -> Reply {
    Reply::cached(deliver::deliver(stored, request, Instant::now()), verdict)
}

/// What came of another's request, if it is for this one as well.
async fn share(
    landed: Option<Landed>,
    request: &Parts,
    miss: &Miss,
    why: Forward,
) -> Option<Result<Reply, Failure>> {
    let fit = |stored: &Stored| fits(stored, &miss.primary, &request.headers);
    let shared = |stored: &Stored| {
        let now = Instant::now();
        let verdict = match stored.freshness.state(now) {
            State::Fresh => Verdict::Collapsed(why),
            _ if stored.always_validated() => Verdict::Collapsed(why),
            // It was served for want of a better one.
            _ => Verdict::Stale {
                why: Allowance::IfError,
                ttl: stored.freshness.remaining(now),
            },
        };
        Some(Ok(serve(stored, request, verdict)))
    };
    match landed? {
        Landed::Stored(stored) if fit(&stored) => shared(&stored),
        Landed::Failed(failure) => Some(Err(failure)),
        Landed::Filling(filling) if fit(&filling.head) => {
            if filling.length.is_some() {
                return Some(Ok(join(filling, request, Verdict::Collapsed(why))));
            }
            // It may turn out too large to be shared: that is known when it is here.
            match tokio::time::timeout(PATIENCE, filling.ended()).await {
                Ok(Ending::Complete(stored)) => shared(&stored),
                Ok(Ending::TooLarge | Ending::Broken) | Err(_) => None,
            }
        }
        _ => None,
    }
}

/// A response whose body is on its way.
fn join(filling: Arc<Filling>, request: &Parts, verdict: Verdict) -> Reply {
    let response = deliver::head(&filling.head, request, Instant::now());
    let bodiless = [StatusCode::NOT_MODIFIED, StatusCode::PRECONDITION_FAILED];
    let body = if bodiless.contains(&response.status()) && response.status() != filling.head.status
    {
        DynoBody::Full(Bytes::new())
    } else {
        DynoBody::Stream(filling.read())
    };
    Reply {
        response,
        body,
        served: None,
        verdict,
    }
}

async fn lead_on<G: Grid>(
    ask: &Ask<G>,
    request: &Parts,
    miss: Miss,
    lead: Lead,
) -> Result<Reply, Failure> {
    let manner = match &miss.known {
        Known::Stale(stored) => Manner::Validating(stored.clone()),
        Known::Shareable => Manner::Clean,
        // Other variants are stored: responses may be shared, and what may change them is known.
        Known::Nothing if !miss.keyed.is_empty() => Manner::Clean,
        Known::Nothing | Known::Apart => Manner::AsItCame,
    };
    go(ask, request, &miss, manner, Some(lead)).await
}

/// Sends a request, and stores what comes of it if that may be.
async fn go<G: Grid>(
    ask: &Ask<G>,
    request: &Parts,
    miss: &Miss,
    manner: Manner,
    lead: Option<Lead>,
) -> Result<Reply, Failure> {
    let trip = Trip {
        ask,
        request,
        miss,
        account: ask.router.cache.accounts.of(&ask.site.app),
    };
    let sent = trip.outgoing(&manner);
    let purges = trip.account.purges();
    let began = Instant::now();
    let id = match manner {
        Manner::AsItCame => ask.id.clone(),
        // One that came with the request is not to show in what others are served.
        _ if request.headers.contains_key(REQUEST_ID) => RequestId::new(),
        _ => ask.id.clone(),
    };
    let result = ask
        .dispatch(sent.clone(), &id, Some(0), RequestBody::Empty)
        .await;
    let fetched = Fetched {
        request: &sent,
        times: times(began),
        purges,
    };
    let mut answer = match (result, &manner) {
        (Ok(answer), _) => answer,
        (Err(_), Manner::Validating(stored))
            if stored
                .freshness
                .stands_in(Trouble::Disconnected, Instant::now()) =>
        {
            return Ok(trip.stand_in(stored, lead));
        }
        (Err(failure), _) => {
            if let Some(lead) = lead {
                lead.land(Landed::Failed(failure.clone()));
            }
            return Err(failure);
        }
    };
    obey(ask, &mut answer);
    if let Manner::Validating(stored) = &manner {
        if answer.response.status() == StatusCode::NOT_MODIFIED {
            return Ok(trip.validated(stored, &answer, &fetched, lead));
        }
        let status = answer.response.status().as_u16();
        if matches!(status, 500 | 502..=504)
            && stored.freshness.stands_in(Trouble::Error, Instant::now())
        {
            return Ok(trip.stand_in(stored, lead));
        }
    }
    trip.arrived(manner, answer, fetched, lead).await
}

/// A request on its way to the app and back.
struct Trip<'a, G> {
    ask: &'a Ask<G>,
    request: &'a Parts,
    miss: &'a Miss,
    account: Arc<Account>,
}

impl<G: Grid> Trip<'_, G> {
    /// The request as it is sent.
    fn outgoing(&self, manner: &Manner) -> Parts {
        let mut sent = self.request.clone();
        // The version is not keyed: it must not show.
        sent.version = Version::HTTP_11;
        if matches!(manner, Manner::Clean | Manner::Validating(_)) {
            influence::clean(&mut sent.headers, &self.miss.keyed);
        }
        if let Manner::Validating(stored) = manner {
            for (validator, condition) in [
                (stored.etag(), IF_NONE_MATCH),
                (stored.headers.get(LAST_MODIFIED), IF_MODIFIED_SINCE),
            ] {
                if let Some(validator) = validator {
                    sent.headers.insert(condition, validator.clone());
                }
            }
        }
        sent
    }

    /// A stale response, for an app in trouble.
    fn stand_in(&self, stored: &Arc<Stored>, lead: Option<Lead>) -> Reply {
        if let Some(lead) = lead {
            lead.land(Landed::Stored(stored.clone()));
        }
        let ttl = stored.freshness.remaining(Instant::now());
        serve(
            stored,
            self.request,
            Verdict::Stale {
                why: Allowance::IfError,
                ttl,
            },
        )
    }

    /// What is stored, which the app says is still good.
    fn validated(
        &self,
        stored: &Arc<Stored>,
        answer: &Answer,
        fetched: &Fetched<'_>,
        lead: Option<Lead>,
    ) -> Reply {
        let update = answer.response.headers();
        let updated = update_in(
            self.ask,
            &self.account,
            stored,
            update,
            fetched,
            answer.served.release,
        );
        let (stored, landed) = match updated {
            Some(updated) => (updated.clone(), Landed::Stored(updated)),
            None => (stored.clone(), Landed::Alone),
        };
        if let Some(lead) = lead {
            lead.land(landed);
        }
        let mut reply = serve(&stored, self.request, Verdict::Revalidated);
        // A cookie that comes with it is for who asked.
        for cookie in update.get_all(SET_COOKIE) {
            reply
                .response
                .headers_mut()
                .append(SET_COOKIE, cookie.clone());
        }
        reply.served = Some(answer.served.clone());
        reply
    }

    /// A response that is not what is stored.
    async fn arrived(
        &self,
        manner: Manner,
        mut answer: Answer,
        fetched: Fetched<'_>,
        lead: Option<Lead>,
    ) -> Result<Reply, Failure> {
        let why = self.miss.why;
        let plan = plan(
            self.ask,
            &self.account,
            self.miss,
            &fetched,
            &answer,
            matches!(manner, Manner::AsItCame),
        );
        let groups = groups_of(self.ask, self.request, answer.response.headers(), &[]);
        strip(answer.response.headers_mut());
        let head = match plan {
            Ok(head) => head,
            Err(refusal) => return self.refused(manner, answer, refusal, lead).await,
        };
        // It may have been chosen by a header that was left out.
        let own = fits(&head, &self.miss.primary, &self.request.headers);
        let reply = match std::mem::replace(&mut answer.body, DynoBody::Full(Bytes::new())) {
            DynoBody::Full(body) => {
                let stored = head.with_body(Bytes::copy_from_slice(&body));
                let cache = &self.ask.router.cache;
                let kept = cache.keep(stored, &self.account, &groups, fetched.purges);
                let (stored, kept) = match kept {
                    Ok(stored) => (stored, Ok(())),
                    Err(stored) => (stored, Err(Refusal::Purged)),
                };
                if let Some(lead) = lead {
                    lead.land(if kept.is_ok() {
                        Landed::Stored(stored.clone())
                    } else {
                        Landed::Alone
                    });
                }
                serve(&stored, self.request, Verdict::Miss { why, stored: kept })
            }
            DynoBody::Stream(stream) => {
                let Some(reservation) = self.ask.router.memory_budget.try_reserve(0) else {
                    answer.body = DynoBody::Stream(stream);
                    return self.refused(manner, answer, Refusal::TooLarge, lead).await;
                };
                let filling =
                    Filling::new(Arc::new(head), content_length(answer.response.headers()));
                let (cache, account, purges) = (
                    self.ask.router.clone(),
                    self.account.clone(),
                    fetched.purges,
                );
                let head = filling.head.clone();
                let store = move |body| {
                    let stored = head.with_body(body);
                    let kept = cache.cache.keep(stored, &account, &groups, purges);
                    // Those who wait for it came before the purge: they get it whole.
                    kept.unwrap_or_else(|purged| purged)
                };
                let limits = (
                    self.ask.router.cache.store.most,
                    self.ask.router.limits.dyno_idle,
                );
                if let Some(lead) = &lead {
                    lead.announce(Landed::Filling(filling.clone()));
                }
                let filled = filling.clone().fill(stream, limits, reservation, store);
                tokio::spawn(async move {
                    filled.await;
                    // Until now there was nothing in the store for those who came.
                    drop(lead);
                });
                join(
                    filling,
                    self.request,
                    Verdict::Miss {
                        why,
                        stored: Ok(()),
                    },
                )
            }
        };
        if !own {
            // It was made for nobody in particular, and this is somebody: asked again as it came.
            return self.as_it_came().await;
        }
        Ok(Reply {
            served: Some(answer.served),
            ..reply
        })
    }

    /// Sends the request once more, for this client alone.
    async fn as_it_came(&self) -> Result<Reply, Failure> {
        let again = go(self.ask, self.request, self.miss, Manner::AsItCame, None);
        Box::pin(again).await
    }

    /// A response that is for who asked alone.
    async fn refused(
        &self,
        manner: Manner,
        answer: Answer,
        refusal: Refusal,
        lead: Option<Lead>,
    ) -> Result<Reply, Failure> {
        let cache = &self.ask.router.cache;
        if let Manner::Validating(stored) = &manner {
            cache.store.remove_this(stored);
        }
        let cleaned = !matches!(manner, Manner::AsItCame)
            && influence::any(&self.request.headers, &self.miss.keyed);
        let waited = lead.is_some_and(|lead| lead.land(Landed::Alone));
        if (waited || cleaned) && refusal != Refusal::Influenced {
            cache.store.set_apart(self.miss.key.clone(), Instant::now());
        }
        if cleaned {
            // The answer to nobody in particular is not the answer to this request.
            return self.as_it_came().await;
        }
        let verdict = Verdict::Miss {
            why: self.miss.why,
            stored: Err(refusal),
        };
        Ok(Reply {
            response: answer.response,
            body: answer.body,
            served: Some(answer.served),
            verdict,
        })
    }
}

/// The entry that a response is to become, without its body; or why it is not stored.
fn plan<G: Grid>(
    ask: &Ask<G>,
    _account: &Account,
    miss: &Miss,
    fetched: &Fetched<'_>,
    answer: &Answer,
    as_it_came: bool,
) -> Result<Stored, Refusal> {
    let headers = answer.response.headers();
    let storable = storable::judge(&fetched.request.headers, answer.response.status(), headers)?;
    if ask.site.release != Some(answer.served.release) {
        return Err(Refusal::OtherRelease);
    }
    let names = vary::join(&miss.keyed, storable.vary.clone()).ok_or(Refusal::Vary)?;
    let key = variant(&miss.primary, &names, &fetched.request.headers);
    let status = answer.response.status();
    let storable = Arc::new(storable);
    let place = (key, names.into());
    let head = Stored::head(
        place,
        status,
        headers.clone(),
        storable,
        fetched.times,
        answer.served.release,
    );
    if head.always_validated() && !has_validator(headers) {
        return Err(Refusal::NoValidator);
    }
    if as_it_came && influence::any(&fetched.request.headers, &unless_shared(&head)) {
        if !head.always_validated() {
            ask.router
                .cache
                .store
                .put(miss.key.clone(), Slot::Shareable);
        }
        return Err(Refusal::Influenced);
    }
    fits_in(ask, answer)?;
    if !head.vary.is_empty() {
        ask.router
            .cache
            .store
            .put(miss.primary.clone(), Slot::Varies(head.vary.clone()));
    }
    let mut head = head;
    strip(&mut head.headers);
    let length = match &answer.body {
        DynoBody::Full(body) => Some(body.len() as u64),
        DynoBody::Stream(_) => content_length(answer.response.headers()),
    };
    head.vary_by_coding(ask.site.compression, length);
    Ok(head)
}

/// Headers that do not keep a response from being stored: those it was chosen by, and the authorisation where the app says
/// in so many words that all may have the answer (RFC 9111 section 3.5).
fn unless_shared(head: &Stored) -> Vec<HeaderName> {
    let directives = &head.governing.directives;
    let mut names = head.vary.to_vec();
    if directives.public || directives.s_maxage.is_some() {
        names.push(AUTHORIZATION);
    }
    names
}

/// Whether a body is whole and not too large, as far as that is known.
fn fits_in<G>(ask: &Ask<G>, answer: &Answer) -> Result<(), Refusal> {
    let most = ask.router.cache.store.most as u64;
    let declared = content_length(answer.response.headers());
    match &answer.body {
        DynoBody::Full(body) if declared.is_some_and(|length| length != body.len() as u64) => {
            Err(Refusal::Incomplete)
        }
        DynoBody::Full(body) if body.len() as u64 > most => Err(Refusal::TooLarge),
        DynoBody::Stream(_) if declared.is_some_and(|length| length > most) => {
            Err(Refusal::TooLarge)
        }
        _ => Ok(()),
    }
}

/// The key of the variant that a request gets.
fn variant(primary: &[u8], names: &[HeaderName], request: &HeaderMap) -> Key {
    let mut key = primary.to_vec();
    encode_variant(&mut key, names, request);
    key.into()
}

/// The groups of a response: its app's, its URL's, its tags'.
fn groups_of<G>(ask: &Ask<G>, request: &Parts, response: &HeaderMap, more: &[Group]) -> Vec<Group> {
    let (groups, app) = (&ask.router.cache.groups, ask.site.app.as_str());
    let target = lookup::target(request).as_bytes();
    let tags = purge::tags(response);
    let tags = tags.iter().map(|tag| groups.number(app, Of::Tag(tag)));
    let mut all: Vec<Group> = [
        groups.number(app, Of::App),
        groups.number(app, Of::Url(&ask.host, target)),
    ]
    .into();
    all.extend(tags);
    all.extend_from_slice(more);
    all.sort_unstable();
    all.dedup();
    all
}

/// Updates what is stored by the head of a response that says it is still good.
pub(crate) fn update<G: Grid>(
    ask: &Ask<G>,
    request: &Parts,
    stored: &Arc<Stored>,
    update: &HeaderMap,
    times: Times,
    release: ReleaseVersion,
) {
    let account = ask.router.cache.accounts.of(&ask.site.app);
    let fetched = Fetched {
        request,
        times,
        purges: account.purges(),
    };
    update_in(ask, &account, stored, update, &fetched, release);
}

/// What is stored, updated; removed, if it may not be stored any more.
fn update_in<G: Grid>(
    ask: &Ask<G>,
    account: &Arc<Account>,
    stored: &Arc<Stored>,
    update: &HeaderMap,
    fetched: &Fetched<'_>,
    release: ReleaseVersion,
) -> Option<Arc<Stored>> {
    let cache = &ask.router.cache;
    let headers = stored.updated_headers(update);
    // What governs it may have been for the cache alone, and not be there any more.
    let kept =
        stored.governing.source == Source::Surrogate && !update.contains_key(SURROGATE_CONTROL);
    let storable = if kept {
        Ok(stored.governing.clone())
    } else {
        storable::judge(&fetched.request.headers, stored.status, &headers).map(Arc::new)
    };
    // Each validation may add some more.
    let fields = headers.iter();
    let fields = fields.map(|(name, value)| name.as_str().len() + value.len());
    let passes = ask.router.limits.pass_head(fields);
    let (Ok(storable), true) = (storable, passes && ask.site.release == Some(release)) else {
        cache.store.remove_this(stored);
        return None;
    };
    let known = stored
        .kept
        .as_ref()
        .map_or(&[][..], |kept| &kept.membership.groups);
    let groups = groups_of(ask, fetched.request, update, known);
    let place = (stored.key.clone(), stored.vary.clone());
    let mut head = Stored::head(
        place,
        stored.status,
        headers,
        storable,
        fetched.times,
        release,
    );
    strip(&mut head.headers);
    head.vary_by_coding(ask.site.compression, Some(stored.body.len() as u64));
    let updated = head.with_body(stored.body.clone());
    let kept = cache.keep(updated, account, &groups, fetched.purges);
    kept.ok()
}

/// Stores the answer to a POST that is what GET would get.
pub(crate) fn store_full<G: Grid>(ask: &Ask<G>, fetched: Fetched<'_>, answer: &Answer) {
    let DynoBody::Full(body) = &answer.body else {
        return;
    };
    let explicit = answer.response.status().is_success();
    if !explicit || influence::any(&fetched.request.headers, &[]) {
        return;
    }
    let account = ask.router.cache.accounts.of(&ask.site.app);
    let mut primary = Vec::new();
    ask.resource(fetched.request).encode(&mut primary);
    let primary: Key = primary.into();
    let miss = Miss {
        key: primary.clone(),
        primary,
        keyed: Default::default(),
        why: Forward::UriMiss,
        known: Known::Nothing,
    };
    let groups = groups_of(ask, fetched.request, answer.response.headers(), &[]);
    if let Ok(head) = plan(ask, &account, &miss, &fetched, answer, true)
        && !head.always_validated()
    {
        let stored = head.with_body(Bytes::copy_from_slice(body));
        let cache = &ask.router.cache;
        let _ = cache.keep(stored, &account, &groups, fetched.purges);
    }
}

/// A response to a request for a stored response where there is none (RFC 9111 section 5.2.1.7).
pub(crate) fn not_allowed() -> Reply {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    response.headers_mut().insert(
        http::header::CACHE_CONTROL,
        HeaderValue::from_static("no-store"),
    );
    Reply::cached((response, Bytes::new()), Verdict::NotAllowed)
}
