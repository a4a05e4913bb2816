//! Endpoints of settings.

use std::sync::Arc;

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;

use super::{Answer, Refusal, invalid, no_such_endpoint, ok, read};
use crate::apps::settings;
use crate::apps::settings::SettingError;
use crate::platform::Platform;

impl From<SettingError> for Refusal {
    fn from(error: SettingError) -> Self {
        match error {
            SettingError::Store(error) => error.into(),
            error => invalid(error),
        }
    }
}

/// Serves an app's `settings`.
pub(crate) async fn serve(
    platform: &Arc<Platform>,
    method: &Method,
    app: &AppName,
    request: Request<Incoming>,
) -> Answer {
    match *method {
        Method::GET => {}
        Method::PATCH => settings::change(platform, app, read(request).await?)?,
        _ => return Err(no_such_endpoint()),
    }
    ok(&settings::list(&platform.store().settings(app)?))
}
