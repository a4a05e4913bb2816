//! The way of a request through the router, from its head to the end of its response.
//!
//! [`request`] checks and routes a request and answers at once what needs no dyno: refusals, redirects, files, cache
//! hits. Everything else passes the files below in this order, each once:
//!
//! | step | file |
//! |---|---|
//! | the cache has no part: body, method, no release | [`bypass`] |
//! | another request fetches the same response: wait for it | [`collapsing`] |
//! | fetch a response that may be stored | [`fetch`] |
//! | send the request to a dyno, clean the response | [`dispatch`], with the dyno ABI's heads in [`cgi`] |
//! | use a 304, or a stale response in place of an error | [`revalidation`] |
//! | store the response, or keep it for this client | [`admission`] |
//! | answer from the cache | [`cached`] |
//! | write the log line when the response ends | [`access_log`] |
//!
//! [`background_revalidation`] refreshes a response that was served stale. The rules are the cache's; this module only
//! orders the steps.

pub(crate) mod access_log;
mod admission;
mod background_revalidation;
mod bypass;
mod cached;
pub(crate) mod cgi;
mod collapsing;
mod context;
mod dispatch;
mod fetch;
mod handshake;
mod reply;
pub(crate) mod request;
mod revalidation;
