//! Endpoints of releases.

use corundum_abi::names::ReleaseVersion;
use corundum_api::Identity;
use corundum_api::release::ReleaseCreate;
use corundum_store::{AppRecord, ReleaseRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources;
use super::response::{ApiResult, created, ok, read};
use crate::releases::changes::ReleaseChanges;
use crate::releases::error::ReleaseError;

/// Serves an app's `releases`.
pub(super) async fn serve(
    store: &dyn Store,
    changes: &ReleaseChanges,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let releases = store.releases(&app.name)?;
    let account = store.account()?;
    let resource = |release| resources::release(app, release, releases.first(), &account);
    match (method, rest) {
        (&Method::GET, []) => {
            let resources = releases.iter().map(resource);
            ok(&resources.collect::<Result<Vec<_>, _>>()?)
        }
        (&Method::GET, [identity]) => {
            let identity = identity.parse().map_err(ApiError::invalid)?;
            let found = find(&releases, &identity).ok_or_else(|| {
                let message = format!("Couldn't find that release: {identity}");
                ApiError::not_found("release", message)
            })?;
            ok(&resource(found)?)
        }
        (&Method::POST, []) => {
            let body: ReleaseCreate = read(request).await?;
            let target = body.release.map(|identity| {
                let found = find(&releases, &identity).ok_or(ReleaseError::NoTarget);
                found.map(|release| release.version)
            });
            let release = changes.roll_back(&app.name, target.transpose()?).await?;
            created(&resources::release(
                app,
                &release,
                Some(&release),
                &account,
            )?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn find<'a>(
    releases: &'a [ReleaseRecord],
    identity: &Identity<ReleaseVersion>,
) -> Option<&'a ReleaseRecord> {
    releases
        .iter()
        .find(|release| identity.matches(release.id, &release.version))
}
