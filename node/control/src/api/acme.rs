//! Endpoints of the certificates that the node gets by itself. The setting `certs-auto` turns that on and off.

use std::sync::Arc;

use corundum_abi::names::AppName;
use http::Method;

use super::{Answer, no_such_endpoint, ok};
use crate::acme;
use crate::platform::Platform;

/// Serves what lies below an app's `certs-auto`.
pub(crate) fn serve(
    platform: &Arc<Platform>,
    method: &Method,
    app: &AppName,
    rest: &[&str],
) -> Answer {
    match (method, rest) {
        (&Method::GET, []) => {}
        (&Method::POST, ["refresh"]) => acme::try_again(platform, app)?,
        _ => return Err(no_such_endpoint()),
    }
    ok(&acme::list(platform, app)?)
}
