//! Endpoints of autoscaling.

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;
use serde_json::json;

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::apps::autoscale::{AutoscaleRule, Autoscaler};

/// Serves an app's `autoscale`.
pub(super) async fn serve(
    autoscaler: &Autoscaler,
    method: &Method,
    app: &AppName,
    request: Request<Incoming>,
) -> ApiResult {
    match *method {
        Method::PUT => {
            let rule: AutoscaleRule = read(request).await?;
            autoscaler.set(app, Some(rule.validate()?))?;
            ok(&json!(rule))
        }
        Method::DELETE => {
            autoscaler.set(app, None)?;
            ok(&json!({}))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}
