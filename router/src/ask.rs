//! Asking an app's dynos: from a request as the router has it to a response that is clean.

use std::sync::Arc;

use corundum_exchange::{DynoBody, RequestBody};
use http::header::{DATE, VIA};
use http::request::Parts;
use http::{HeaderValue, Response};

use crate::client_info::ClientInfo;
use crate::failure::Failure;
use crate::gateway;
use crate::grid::Grid;
use crate::headers;
use crate::reply::Served;
use crate::request_id::RequestId;
use crate::router::Router;
use crate::site::Site;

/// Who asks, and which app.
pub(crate) struct Ask<G> {
    pub(crate) router: Arc<Router<G>>,
    pub(crate) site: Arc<Site>,
    pub(crate) connection: ClientInfo,
    pub(crate) host: Arc<str>,
    /// The request's id.
    pub(crate) id: RequestId,
}

/// What a dyno has answered.
pub(crate) struct Answer {
    pub(crate) response: Response<()>,
    pub(crate) body: DynoBody,
    pub(crate) served: Served,
}

// Not derived, since that would ask it of the grid.
impl<G> Clone for Ask<G> {
    fn clone(&self) -> Self {
        Self {
            router: self.router.clone(),
            site: self.site.clone(),
            connection: self.connection.clone(),
            host: self.host.clone(),
            id: self.id.clone(),
        }
    }
}

impl<G: Grid> Ask<G> {
    /// Has a dyno answer a request, whose forwarding headers are added here.
    pub(crate) async fn dispatch(
        &self,
        mut request: Parts,
        id: &RequestId,
        length: Option<u64>,
        body: RequestBody,
    ) -> Result<Answer, Failure> {
        headers::add_forwarding(&mut request.headers, &self.connection, id);
        let head = gateway::scgi_head(&request, &self.host, &self.connection, length);
        let dispatched = self
            .router
            .grid
            .dispatch(&self.site.app, head, body)
            .await?;
        let mut response = gateway::response(&dispatched.head, &self.router.limits)?;
        let headers = response.headers_mut();
        headers::strip_hop_by_hop(headers);
        headers.append(VIA, HeaderValue::from_static("1.1 corundum"));
        // One that cannot be read is worse than the router's own.
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        if date.is_some_and(|date| httpdate::parse_http_date(date).is_err()) {
            headers.remove(DATE);
        }
        let served = Served {
            dyno: dispatched.dyno,
            release: dispatched.release,
            queue: dispatched.queue,
            usage: dispatched.usage,
        };
        Ok(Answer {
            response,
            body: dispatched.body,
            served,
        })
    }
}
