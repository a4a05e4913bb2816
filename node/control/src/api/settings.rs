//! Endpoints of settings.

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::apps::settings::{AppSettings, SettingListing};

/// Serves an app's `settings`.
pub(super) async fn serve(
    settings: &AppSettings,
    method: &Method,
    app: &AppName,
    request: Request<Incoming>,
) -> ApiResult {
    match *method {
        Method::GET => {}
        Method::PATCH => settings.change(app, read(request).await?)?,
        _ => return Err(ApiError::no_endpoint()),
    }
    ok(&settings.list(app)?.iter().map(setting_json).collect())
}

fn setting_json(listing: &SettingListing) -> Value {
    let setting = listing.setting;
    json!({
        "name": setting.name,
        "value": listing.value.as_deref().unwrap_or(setting.default),
        "set": listing.value.is_some(),
        "about": setting.about,
    })
}
