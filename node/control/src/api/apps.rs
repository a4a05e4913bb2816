//! Endpoints of apps.

use corundum_abi::names::AppName;
use corundum_store::{Store, StoreError};
use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::app_urls::AppUrls;
use crate::apps::Apps;
use crate::apps::autoscale::Autoscaler;
use crate::routing::view::RouterView;

/// The parts of a node that know something of an app as listings show it.
pub(super) struct AppListing<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) view: &'a RouterView,
    pub(super) urls: &'a AppUrls,
    pub(super) autoscaler: &'a Autoscaler,
}

#[derive(Deserialize)]
struct Create {
    name: Option<String>,
}

/// Lists all apps.
pub(super) fn list(listing: &AppListing<'_>) -> ApiResult {
    let apps = listing.store.apps()?;
    let apps: Result<Vec<Value>, StoreError> =
        apps.iter().map(|app| listing.one(&app.name)).collect();
    ok(&json!(apps?))
}

/// Creates an app.
pub(super) async fn create(
    apps: &Apps,
    listing: &AppListing<'_>,
    request: Request<Incoming>,
) -> ApiResult {
    let body: Create = read(request).await?;
    let name = body
        .name
        .map(|name| name.parse().map_err(ApiError::invalid));
    let app = apps.create(name.transpose()?).await?;
    ok(&listing.one(&app.name)?)
}

impl AppListing<'_> {
    /// Returns an app as JSON.
    pub(super) fn one(&self, name: &AppName) -> Result<Value, StoreError> {
        let app = self.store.app(name)?;
        let release = self.store.current_release(name)?;
        Ok(json!({
            "name": app.name,
            "created_at": app.created_at,
            "formation": {"web": app.formation},
            "autoscale": self.autoscaler.rule(name),
            "web_url": self.view.web_url(name),
            "git_url": self.urls.git(name),
            "release": release.as_ref().map(|release| release.version.to_string()),
            "ruby": release.as_ref().map(|release| release.about.ruby),
        }))
    }
}
