//! Endpoints of automatic certificates. The setting `certs-auto` turns them on and off.

use corundum_abi::names::AppName;
use http::Method;
use serde_json::{Value, json};

use super::error::ApiError;
use super::response::{ApiResult, ok};
use crate::acme::{AcmeHostStatus, AcmeManager};

/// Serves the endpoints below an app's `certs-auto`.
pub(super) fn serve(
    acme: &AcmeManager,
    method: &Method,
    app: &AppName,
    rest: &[&str],
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => {}
        (&Method::POST, ["refresh"]) => acme.retry(app)?,
        _ => return Err(ApiError::no_endpoint()),
    }
    let status = acme.status(app)?;
    ok(&json!({
        "enabled": status.enabled,
        "directory": status.directory,
        "hosts": status.hosts.iter().map(host_json).collect::<Value>(),
    }))
}

fn host_json(host: &AcmeHostStatus) -> Value {
    json!({
        "hostname": host.hostname,
        "status": host.status,
        "expires_at": host.expires_at,
        "failures": host.failures,
        "next_attempt_at": host.next_attempt_at,
        "message": host.message,
    })
}
