//! Everything that the steps of a request share.

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;

use crate::cache::Cache;
use crate::cache::cached_response::FetchTimes;
use crate::cache::entry::FetchRecord;
use crate::cache::key::{ContentVersion, Resource};
use crate::cache::lookup::{self, Found};
use crate::cache::stats::CacheCounters;
use crate::client_info::ClientInfo;
use crate::fair_pool::AppPool;
use crate::request_id::RequestId;
use crate::router::Router;
use crate::virtual_host::VirtualHost;

/// A routed request: its router, its app, its connection.
pub(crate) struct RequestContext<G> {
    pub(crate) router: Arc<Router<G>>,
    pub(crate) virtual_host: Arc<VirtualHost>,
    pub(crate) client: ClientInfo,
    /// Host name that the request was routed by.
    pub(crate) host: Arc<str>,
    pub(crate) request_id: RequestId,
}

// Not derived: a derived `Clone` would require the grid to be `Clone`.
impl<G> Clone for RequestContext<G> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            virtual_host: self.virtual_host.clone(),
            client: self.client.clone(),
            host: self.host.clone(),
            request_id: self.request_id.clone(),
        }
    }
}

impl<G> RequestContext<G> {
    pub(crate) fn cache(&self) -> &Arc<Cache> {
        &self.router.cache
    }

    /// The pool of bytes that waiting bodies may occupy, as the app sees it.
    pub(crate) fn body_pool(&self) -> AppPool<'_> {
        let share = &self.virtual_host.metrics.shares().bodies;
        self.router.body_pool.of(share)
    }

    /// The cache's counters of the app.
    pub(crate) fn cache_stats(&self) -> Arc<CacheCounters> {
        self.router.cache.app_stats(&self.virtual_host.app)
    }

    /// Identity of the resource that a request asks for.
    pub(crate) fn resource<'a>(&'a self, request: &'a Parts) -> Resource<'a> {
        let (content, release) = (self.virtual_host.content_version, self.virtual_host.release);
        Resource {
            app: self.virtual_host.app.as_str(),
            version: match content {
                Some(content) => ContentVersion::Content(content),
                None => ContentVersion::Release(release.map_or(0, |release| release.0)),
            },
            scheme: self.client.scheme(),
            authority: lookup::authority(&request.headers),
            target: lookup::target(request).as_bytes(),
        }
    }

    /// Looks at the cache again, after another request's fetch.
    pub(crate) fn find_cached(&self, request: &Parts) -> Found {
        let resource = self.resource(request);
        self.cache()
            .find(&resource, &request.headers, Instant::now())
    }

    /// Describes a request that was sent, for the cache to judge its response.
    pub(crate) fn fetch_record<'a>(
        &'a self,
        request: &'a Parts,
        stats: &'a Arc<CacheCounters>,
        times: FetchTimes,
        purges: u64,
    ) -> FetchRecord<'a> {
        FetchRecord {
            app: &self.virtual_host.app,
            stats,
            host: &self.host,
            current_release: self.virtual_host.release,
            compression: self.virtual_host.compression,
            request,
            times,
            purges,
        }
    }
}
