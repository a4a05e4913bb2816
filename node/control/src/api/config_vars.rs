//! Endpoints of config vars.

use corundum_abi::names::AppName;
use http::Request;
use hyper::body::Incoming;
use serde_json::json;

use super::response::{ApiResult, ok, read};
use crate::releases::changes::ReleaseChanges;

/// Changes an app's config vars.
pub(super) async fn change(
    changes: &ReleaseChanges,
    app: &AppName,
    request: Request<Incoming>,
) -> ApiResult {
    let (config, release) = changes.set_config(app, read(request).await?).await?;
    ok(&json!({"config": config, "release": release}))
}
