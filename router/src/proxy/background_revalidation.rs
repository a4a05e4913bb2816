//! Revalidation in the background of a response that was served stale (RFC 5861 section 3).

use std::time::Instant;

use http::request::Parts;
use tracing::Instrument;

use super::context::RequestContext;
use super::fetch::UpstreamFetch;
use crate::cache::cache_lock::LockRole;
use crate::cache::lookup::{Miss, target};
use crate::grid::Grid;
use crate::log_line::{RequestRecord, RouterLogLine};

/// Starts the revalidation, unless another request already fetches the response.
pub(super) fn start<G: Grid>(context: &RequestContext<G>, request: &Parts, miss: Miss) {
    let LockRole::Leader(leader) = context.cache().locks().join(&miss.key) else {
        return;
    };
    let (context, request) = (context.clone(), request.clone());
    let revalidation = async move {
        let started = Instant::now();
        let fetch = UpstreamFetch::new(&context, &request, &miss);
        let result = fetch.send(Some(leader)).await;
        let mut entry = RequestRecord {
            method: request.method.clone(),
            path: target(&request).into(),
            host: context.host.clone(),
            request_id: context.request_id.clone(),
            protocol: "http1.1",
            tls: context.client.tls,
            service: started.elapsed(),
            cache: "refresh",
            ..RequestRecord::default()
        };
        let failure = result.as_ref().err().cloned();
        if let Ok(reply) = &result {
            entry.status = reply.response.status().as_u16();
            if let Some(served) = &reply.served_by {
                (entry.dyno, entry.release) = (Some(served.dyno.clone()), Some(served.release));
                (entry.cpu, entry.memory) = (served.usage.cpu(), served.usage.memory());
            }
        }
        let line = RouterLogLine::new(entry, failure);
        context.router.grid.log(&context.virtual_host.app, line);
    };
    tokio::spawn(revalidation.in_current_span());
}
