//! A request's way through the cache.

use std::time::Instant;

use http::request::Parts;
use http_body::Body;
use hyper::body::Incoming;

use super::fetch::{self, fetch, refresh};
use super::key::{Edition, Resource};
use super::lookup::{self, Admission};
use super::pass;
use super::storable::Refusal;
use super::verdict::{Bypass, Verdict};
use crate::ask::Ask;
use crate::failure::Failure;
use crate::grid::{Grid, RequestBody};
use crate::inflow::Inflow;
use crate::reply::Reply;
use crate::traffic::Ticket;

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

    /// Answers a request, from the cache or by a dyno.
    pub(crate) async fn reply(
        &self,
        request: &Parts,
        body: Incoming,
        ticket: &Ticket,
    ) -> Result<Reply, Failure> {
        let reply = self.answer(request, body, ticket).await?;
        let account = self.router.cache.accounts.of(&self.site.app);
        account.count(&reply.verdict);
        self.site.figures.record_cache(match reply.verdict {
            Verdict::Collapsed(_) => "hit",
            verdict => verdict.as_str(),
        });
        Ok(reply)
    }

    async fn answer(
        &self,
        request: &Parts,
        body: Incoming,
        ticket: &Ticket,
    ) -> Result<Reply, Failure> {
        let has_body = !body.is_end_stream();
        let admission = match self.site.release {
            Some(_) => {
                self.router
                    .cache
                    .admit(&self.resource(request), request, has_body, Instant::now())
            }
            None => Admission::Pass(Bypass::Nothing),
        };
        match admission {
            Admission::Serve(stored, verdict) => Ok(fetch::serve(&stored, request, verdict)),
            Admission::ServeAndRefresh(stored, verdict, miss) => {
                refresh(self, request, miss);
                Ok(fetch::serve(&stored, request, verdict))
            }
            Admission::Fetch(miss) => fetch(self, request, miss).await,
            Admission::Pass(why) => self.pass(request, body, ticket, why).await,
            Admission::Head(why, stored) => {
                let sent = Instant::now();
                let id = self.id.clone();
                let dispatched = self.dispatch(request.clone(), id, Some(0), RequestBody::Empty);
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
        ticket: &Ticket,
        why: Bypass,
    ) -> Result<Reply, Failure> {
        let limits = (&self.router.limits, &self.router.budget);
        let gathered = Inflow::gather(body, self.site.max_body, limits.0, limits.1, ticket).await?;
        let sent = Instant::now();
        let answer = self
            .dispatch(
                request.clone(),
                self.id.clone(),
                gathered.length,
                gathered.body,
            )
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
