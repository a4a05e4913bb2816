//! Endpoints of log drains.

use corundum_api::log_drain::{LogDrainCreate, LogDrainResource};
use corundum_store::{AppRecord, DrainRecord};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources::{self, time};
use super::response::{ApiResult, created, ok, read};
use crate::drains::{LogDrains, redacted_url};

/// Serves an app's `log-drains`. A drain is named by its key, its token, its URL or its redacted URL.
pub(super) async fn serve(
    drains: &LogDrains,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => {
            let listed = drains.list(&app.name)?;
            let resources = listed.iter().map(|drain| resource(app, drain));
            ok(&resources.collect::<Result<Vec<_>, _>>()?)
        }
        (&Method::POST, []) => {
            let body: LogDrainCreate = read(request).await?;
            created(&resource(app, &drains.add(&app.name, &body.url)?)?)
        }
        (&Method::GET, [identity]) => ok(&resource(app, &drains.find(&app.name, identity)?)?),
        (&Method::DELETE, [identity]) => ok(&resource(app, &drains.remove(&app.name, identity)?)?),
        _ => Err(ApiError::no_endpoint()),
    }
}

fn resource(app: &AppRecord, record: &DrainRecord) -> Result<LogDrainResource, ApiError> {
    let created_at = time(&record.created_at)?;
    Ok(LogDrainResource {
        id: record.id,
        addon: None,
        app: Some(resources::app_ref(app)),
        created_at,
        token: record.token.clone(),
        updated_at: created_at,
        url: redacted_url(record),
    })
}
