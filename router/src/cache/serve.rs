//! A request's way through the cache.

use std::sync::Arc;
use std::time::Instant;

use corundum_exchange::RequestBody;
use http::request::Parts;
use hyper::body::Incoming;

use super::fetch::{self, fetch, refresh};
use super::key::{Edition, Resource};
use super::lookup::{self, Admission};
use super::pass;
use super::storable::Refusal;
use super::stored::Stored;
use super::verdict::{Bypass, Verdict};
use crate::ask::Ask;
use crate::body::request_buffer::BufferedRequest;
use crate::connection_state::RequestHandle;
use crate::failure::Failure;
use crate::grid::Grid;
use crate::reply::Reply;

impl<G: Grid> Ask<G> {
    /// What a request is for, as the cache has it.
    pub(crate) fn resource<'a>(&'a self, request: &'a Parts) -> Resource<'a> {
        Resource {
            app: self.site.app.as_str(),
            edition: match (self.site.edition, self.site.release) {
                (Some(content), _) => Edition::Content(content),
                (None, release) => Edition::Release(release.map_or(0, |release| release.0)),
            },
            scheme: self.connection.scheme(),
            authority: lookup::authority(&request.headers),
            target: lookup::target(request).as_bytes(),
        }
    }

    /// What is to become of a request, which has a body or not.
    pub(crate) fn admit(&self, request: &Parts, has_body: bool, now: Instant) -> Admission {
        match self.site.release {
            Some(_) => {
                let resource = self.resource(request);
                self.router.cache.admit(&resource, request, has_body, now)
            }
            None => Admission::Pass(Bypass::Nothing),
        }
    }

    /// Answers a request with what is stored.
    pub(crate) fn serve_stored(
        &self,
        stored: Arc<Stored>,
        verdict: Verdict,
        request: &Parts,
    ) -> Reply {
        let reply = self.stored(stored, verdict, request);
        self.count(reply.verdict);
        reply
    }

    fn stored(&self, stored: Arc<Stored>, verdict: Verdict, request: &Parts) -> Reply {
        fetch::serve(&self.in_form(stored, request), request, verdict)
    }

    /// Answers a request as it is admitted, from the cache or by a dyno.
    pub(crate) async fn reply(
        &self,
        admission: Admission,
        request: &Parts,
        body: Incoming,
        handle: &RequestHandle,
    ) -> Result<Reply, Failure> {
        let reply = self.answer(admission, request, body, handle).await?;
        self.count(reply.verdict);
        Ok(reply)
    }

    fn count(&self, verdict: Verdict) {
        let account = self.router.cache.accounts.of(&self.site.app);
        account.count(&verdict);
        self.site.metrics.record_cache(match verdict {
            Verdict::Collapsed(_) => "hit",
            verdict => verdict.as_str(),
        });
    }

    async fn answer(
        &self,
        admission: Admission,
        request: &Parts,
        body: Incoming,
        handle: &RequestHandle,
    ) -> Result<Reply, Failure> {
        match admission {
            Admission::Serve(stored, verdict) => Ok(self.stored(stored, verdict, request)),
            Admission::ServeAndRefresh(stored, verdict, miss) => {
                refresh(self, request, miss);
                Ok(self.stored(stored, verdict, request))
            }
            Admission::Fetch(miss) => fetch(self, request, miss).await,
            Admission::Pass(why) => self.pass(request, body, handle, why).await,
            Admission::Head(why, stored) => {
                let sent = Instant::now();
                let dispatched =
                    self.dispatch(request.clone(), &self.id, Some(0), RequestBody::Empty);
                let mut answer = dispatched.await?;
                pass::after_head(
                    self,
                    request,
                    stored.as_ref(),
                    &mut answer,
                    pass::times(sent),
                );
                let verdict = Verdict::Miss {
                    why,
                    stored: Err(Refusal::Head),
                };
                Ok(Reply {
                    response: answer.response,
                    body: answer.body,
                    served: Some(answer.served),
                    verdict,
                })
            }
            Admission::NotAllowed => Ok(fetch::not_allowed()),
        }
    }

    /// Has a dyno answer a request that is none of the cache's.
    async fn pass(
        &self,
        request: &Parts,
        body: Incoming,
        handle: &RequestHandle,
        why: Bypass,
    ) -> Result<Reply, Failure> {
        let limits = (&self.router.limits, &self.router.memory_budget);
        let gathered =
            BufferedRequest::gather(body, self.site.max_body, limits.0, limits.1, handle).await?;
        let sent = Instant::now();
        let answer = self
            .dispatch(request.clone(), &self.id, gathered.length, gathered.body)
            .await;
        // What broke the request off is of more interest than what the app made of half of it.
        if let Some(failure) = gathered.fault.get() {
            return Err(failure.clone());
        }
        let mut answer = answer?;
        pass::after(self, request, &mut answer, pass::times(sent));
        let verdict = Verdict::Bypass(why);
        Ok(Reply {
            response: answer.response,
            body: answer.body,
            served: Some(answer.served),
            verdict,
        })
    }
}
