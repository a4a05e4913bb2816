//! Endpoints of settings.

use corundum_api::settings::{SettingResource, SettingsUpdate};
use corundum_store::AppRecord;
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::apps::settings::{SettingListing, SettingsManager};

/// Serves an app's `settings`.
pub(super) async fn serve(
    settings: &SettingsManager,
    method: &Method,
    app: &AppRecord,
    request: Request<Incoming>,
) -> ApiResult {
    match *method {
        Method::GET => {}
        Method::PATCH => {
            let changes: SettingsUpdate = read(request).await?;
            settings.change(&app.name, changes)?;
        }
        _ => return Err(ApiError::no_endpoint()),
    }
    let listed = settings.list(&app.name)?.into_iter().map(resource);
    ok(&listed.collect::<Vec<SettingResource>>())
}

fn resource(listing: SettingListing) -> SettingResource {
    let setting = listing.setting;
    SettingResource {
        name: setting.name.to_owned(),
        set: listing.value.is_some(),
        value: listing.value.unwrap_or_else(|| setting.default.to_owned()),
        about: setting.about.to_owned(),
    }
}
