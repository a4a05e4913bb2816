//! Endpoints of autoscaling.

use corundum_api::autoscale::AutoscaleRule;
use corundum_store::AppRecord;
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources::AppResources;
use super::response::{ApiResult, drain, ok, read};
use crate::apps::autoscale::{Autoscaler, validate};

/// Serves an app's `autoscale`.
pub(super) async fn serve(
    autoscaler: &Autoscaler,
    resources: &AppResources<'_>,
    method: &Method,
    app: &AppRecord,
    request: Request<Incoming>,
) -> ApiResult {
    let rule = match *method {
        Method::PUT => {
            let rule: AutoscaleRule = read(request).await?;
            Some(validate(rule)?)
        }
        Method::DELETE => {
            drain(request).await;
            None
        }
        _ => return Err(ApiError::no_endpoint()),
    };
    autoscaler.set(&app.name, rule)?;
    ok(&resources.of(app)?)
}
