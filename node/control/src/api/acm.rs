//! Endpoints of automatic certificates.

use corundum_store::AppRecord;
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources::AppResources;
use super::response::{ApiResult, drain, ok};
use crate::acme::AcmeManager;
use crate::apps::settings::SettingsManager;
use crate::apps::settings::catalog::CERTS_AUTO;

/// Serves an app's `acm`: POST turns automatic certificates on, DELETE off, and PATCH tries failed ones again.
pub(super) async fn serve(
    acme: &AcmeManager,
    settings: &SettingsManager,
    resources: &AppResources<'_>,
    method: &Method,
    app: &AppRecord,
    request: Request<Incoming>,
) -> ApiResult {
    drain(request).await;
    match *method {
        Method::GET => return ok(&acme.status(&app.name)?),
        Method::POST => settings.switch(&app.name, &CERTS_AUTO, true)?,
        Method::DELETE => settings.switch(&app.name, &CERTS_AUTO, false)?,
        Method::PATCH => acme.retry(&app.name)?,
        _ => return Err(ApiError::no_endpoint()),
    }
    ok(&resources.of(app)?)
}
