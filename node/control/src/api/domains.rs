//! Endpoints of domains.

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::domains::Domains;

#[derive(Deserialize)]
struct AddDomain {
    hostname: String,
}

/// Serves the endpoints below an app's `domains`.
pub(super) async fn serve(
    domains: &Domains,
    method: &Method,
    app: &AppName,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&json!({
            "own": domains.own(app),
            "domains": domains.list(app)?,
        })),
        (&Method::POST, []) => {
            let add: AddDomain = read(request).await?;
            ok(&json!(domains.add(app, &add.hostname)?))
        }
        (&Method::DELETE, [host]) => {
            domains.remove(app, host)?;
            ok(&json!({"hostname": host}))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}
