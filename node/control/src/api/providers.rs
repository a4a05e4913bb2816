//! Endpoints for providers of add-ons: config vars, and the end of a creation. A provider logs in with the id and the password
//! of its manifest and reaches the add-ons of its service alone.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use corundum_api::ErrorId;
use corundum_api::addon::ProviderConfigVar;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::addons::AddonEndpoints;
use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::services::Service;
use crate::services::addons::callbacks::ProviderOutcome;

/// A request for config vars.
#[derive(Deserialize)]
struct ProviderConfigChange {
    #[serde(default)]
    config: Value,
}

/// Returns the service of the provider that a request's credentials belong to.
///
/// # Errors
///
/// 401 without valid credentials.
pub(super) fn service_of<'a>(
    parts: AddonEndpoints<'a>,
    headers: &HeaderMap,
) -> Result<&'a Arc<dyn Service>, ApiError> {
    let service = credentials(headers)
        .and_then(|(user, password)| parts.addons.provider_service(&user, &password));
    service.ok_or_else(|| {
        let message = "The id and the password of the provider's manifest are needed";
        ApiError::new(ErrorId::Unauthorized, message)
    })
}

/// Serves `provider/addons/KEY` for a provider.
pub(super) async fn serve(
    parts: AddonEndpoints<'_>,
    service: &dyn Service,
    method: &Method,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let addons = parts.addons;
    let [id, rest @ ..] = rest else {
        return Err(ApiError::no_endpoint());
    };
    let id: Uuid = id.parse().map_err(ApiError::invalid)?;
    let addon = addons.addon_of_service(service, id)?;
    match (method, rest) {
        (&Method::GET, []) => ok(&parts.resource(&addon)?),
        (&Method::GET, ["config"]) => {
            let config = addons.provider_config(&addon)?.into_iter();
            let config = config.map(|(name, value)| ProviderConfigVar { name, value });
            ok(&config.collect::<Vec<_>>())
        }
        (&Method::PATCH, ["config"]) => {
            let body: ProviderConfigChange = read(request).await?;
            let addon = addons.set_provider_config(id, body.config).await?;
            ok(&parts.resource(&addon)?)
        }
        (&Method::POST, ["actions", "provision"]) => {
            let addon = addons.finish(id, ProviderOutcome::Provisioned).await?;
            ok(&parts.resource(&addon)?)
        }
        (&Method::POST, ["actions", "deprovision"]) => {
            let addon = addons.finish(id, ProviderOutcome::Failed).await?;
            ok(&parts.resource(&addon)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Returns user name and password of HTTP's basic authentication (RFC 7617).
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let (user, password) = String::from_utf8(decoded)
        .ok()?
        .split_once(':')
        .map(|(user, password)| (user.to_owned(), password.to_owned()))?;
    Some((user, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_basic_authentication() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            credentials(&headers)
        };
        let encoded = BASE64_STANDARD.encode("kv:a:b");
        let expected = Some(("kv".to_owned(), "a:b".to_owned()));
        assert_eq!(read(&format!("Basic {encoded}")), expected);
        for value in ["Basic", "Basic %", "Bearer abc", "", "Basic a3Y="] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
