//! Endpoints of autoscaling.

use corundum_abi::names::ProcessType;
use corundum_api::ErrorId;
use corundum_api::autoscale::{AutoscaleRule, QueueRule};
use corundum_store::AppRecord;
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources::AppResources;
use super::response::{ApiResult, drain, ok, read};
use crate::apps::autoscale::{Autoscaler, validate};
use crate::processes::queue_scaling::{self, QueueScaling};

/// Serves an app's `autoscale`, the rule for its web dynos.
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

/// Serves `autoscale/TYPE`, the rule for the dynos of another process type.
pub(super) async fn serve_queue(
    scaling: &QueueScaling,
    method: &Method,
    app: &AppRecord,
    process: &str,
    request: Request<Incoming>,
) -> ApiResult {
    let process: ProcessType = process.parse().map_err(ApiError::invalid)?;
    let rule = scaling.rule(&app.name, &process);
    let missing = || {
        let message = format!("{process} is not scaled by a queue");
        ApiError::new(ErrorId::NotFound, message)
    };
    match *method {
        Method::GET => ok(&rule.ok_or_else(missing)?),
        Method::PUT => {
            let rule: QueueRule = read(request).await?;
            queue_scaling::validate(&process, &rule)?;
            scaling.set(&app.name, &process, Some(rule.clone()))?;
            ok(&rule)
        }
        Method::DELETE => {
            drain(request).await;
            let rule = rule.ok_or_else(missing)?;
            scaling.set(&app.name, &process, None)?;
            ok(&rule)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}
