//! Endpoints of releases.

use corundum_abi::names::{AppName, ReleaseVersion};
use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use super::response::{ApiResult, ok, read};
use crate::releases::changes::ReleaseChanges;

#[derive(Deserialize)]
struct Rollback {
    version: Option<ReleaseVersion>,
}

/// Rolls an app back.
pub(super) async fn roll_back(
    changes: &ReleaseChanges,
    app: &AppName,
    request: Request<Incoming>,
) -> ApiResult {
    let body: Rollback = read(request).await?;
    ok(&json!(changes.roll_back(app, body.version).await?))
}
