//! Endpoints of apps.

use corundum_api::app::{AppCreate, AppUpdate};
use corundum_store::AppRecord;
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources::AppResources;
use super::response::{ApiResult, created, ok, read};
use crate::apps::Apps;
use crate::apps::settings::SettingsManager;
use crate::apps::settings::catalog::MAINTENANCE;

/// Serves `apps`.
pub(super) async fn serve_all(
    apps: &Apps,
    resources: &AppResources<'_>,
    method: &Method,
    request: Request<Incoming>,
) -> ApiResult {
    match *method {
        Method::GET => ok(&resources.all()?),
        Method::POST => {
            let body: AppCreate = read(request).await?;
            created(&resources.of(&apps.create(body.name).await?)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Serves an app.
pub(super) async fn serve(
    apps: &Apps,
    settings: &SettingsManager,
    resources: &AppResources<'_>,
    method: &Method,
    app: &AppRecord,
    request: Request<Incoming>,
) -> ApiResult {
    match *method {
        Method::GET => ok(&resources.of(app)?),
        Method::PATCH => {
            let body: AppUpdate = read(request).await?;
            if let Some(maintenance) = body.maintenance.value() {
                settings.switch(&app.name, &MAINTENANCE, maintenance)?;
            }
            ok(&resources.of(app)?)
        }
        Method::DELETE => {
            let resource = resources.of(app)?;
            apps.destroy(&app.name)?;
            ok(&resource)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}
