//! Endpoints of log drains.

use corundum_abi::names::AppName;
use corundum_store::DrainRecord;
use http::{Method, Request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::drains::{LogDrains, redacted_url};

#[derive(Deserialize)]
struct DrainUrl {
    url: String,
}

/// Serves an app's `drains`.
pub(super) async fn serve(
    drains: &LogDrains,
    method: &Method,
    app: &AppName,
    request: Request<Incoming>,
) -> ApiResult {
    match *method {
        Method::GET => ok(&drains.list(app)?.iter().map(drain_json).collect()),
        Method::POST => {
            let body: DrainUrl = read(request).await?;
            ok(&drain_json(&drains.add(app, &body.url)?))
        }
        Method::DELETE => {
            let body: DrainUrl = read(request).await?;
            ok(&drain_json(&drains.remove(app, &body.url)?))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn drain_json(record: &DrainRecord) -> Value {
    json!({
        "id": record.id.to_string(),
        "url": redacted_url(record),
        "token": record.token,
        "created_at": record.created_at,
    })
}
