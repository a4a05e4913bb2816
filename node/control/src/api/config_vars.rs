//! Endpoints of config vars.

use corundum_api::config_vars::ConfigVarsUpdate;
use corundum_store::{AppRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::releases::changes::ReleaseChanges;

/// Serves an app's `config-vars`. The response to a change waits for the release that it makes.
pub(super) async fn serve(
    store: &dyn Store,
    changes: &ReleaseChanges,
    method: &Method,
    app: &AppRecord,
    request: Request<Incoming>,
) -> ApiResult {
    match *method {
        Method::GET => ok(&store.config(&app.name)?),
        Method::PATCH => {
            let update: ConfigVarsUpdate = read(request).await?;
            let (config, _) = changes.set_config(&app.name, update).await?;
            ok(&config)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}
