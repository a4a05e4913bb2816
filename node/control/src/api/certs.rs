//! Endpoints of certificates. Keys go in and never out.

use std::sync::Arc;

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use crate::certs;
use crate::certs::chain::CertError;

use super::{Answer, Refusal, invalid, no_such_endpoint, ok, read};
use crate::platform::Platform;

#[derive(Deserialize)]
struct Put {
    name: Option<String>,
    certificate_chain: String,
    private_key: String,
}

impl From<CertError> for Refusal {
    fn from(error: CertError) -> Self {
        match error {
            CertError::Store(error) => error.into(),
            error => invalid(error),
        }
    }
}

/// Serves what lies below an app's `certs`.
pub(crate) async fn serve(
    platform: &Arc<Platform>,
    method: &Method,
    app: &AppName,
    rest: &[&str],
    request: Request<Incoming>,
) -> Answer {
    match (method, rest) {
        (&Method::GET, []) => ok(&certs::list(platform, app)?),
        (&Method::POST, []) => {
            let put: Put = read(request).await?;
            let (chain, key) = (put.certificate_chain, put.private_key);
            ok(&certs::put(platform, app, put.name, &chain, key)?)
        }
        (&Method::GET, [name]) => ok(&certs::find(platform, app, Some(name))?),
        (&Method::DELETE, [name]) => {
            certs::remove(platform, app, name)?;
            ok(&json!({"name": name}))
        }
        _ => Err(no_such_endpoint()),
    }
}
