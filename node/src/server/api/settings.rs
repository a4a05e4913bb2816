//! Endpoints of settings.

use std::sync::Arc;

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;

use super::super::platform::Platform;
use super::super::settings::{self, SettingError};
use super::{Answer, Refusal, invalid, no_such_endpoint, ok, read};

impl From<SettingError> for Refusal {
    fn from(error: SettingError) -> Self {
        match error {
            SettingError::Store(error) => error.into(),
            error => invalid(error),
        }
    }
}

/// Serves an app's `settings`.
pub(super) async fn serve(
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
