//! Endpoints of domains.

use std::sync::Arc;

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Refusal, invalid, no_such_endpoint, ok, read};
use crate::domains;
use crate::domains::DomainError;
use crate::platform::Platform;

#[derive(Deserialize)]
struct Add {
    hostname: String,
}

impl From<DomainError> for Refusal {
    fn from(error: DomainError) -> Self {
        match error {
            DomainError::Store(error) => error.into(),
            error => invalid(error),
        }
    }
}

/// Serves what lies below an app's `domains`.
pub(crate) async fn serve(
    platform: &Arc<Platform>,
    method: &Method,
    app: &AppName,
    rest: &[&str],
    request: Request<Incoming>,
) -> Answer {
    match (method, rest) {
        (&Method::GET, []) => ok(&json!({
            "own": platform.own_host(app),
            "domains": platform.store().domains(app)?,
        })),
        (&Method::POST, []) => {
            let add: Add = read(request).await?;
            ok(&json!(domains::add(platform, app, &add.hostname)?))
        }
        (&Method::DELETE, [host]) => {
            domains::remove(platform, app, host)?;
            ok(&json!({"hostname": host}))
        }
        _ => Err(no_such_endpoint()),
    }
}
