//! Endpoints of dynos.

use corundum_api::dyno::{DynoActivity, DynoResource};
use corundum_api::reference::ReleaseRef;
use corundum_host::grid::{DynoGrid, DynoState, DynoStatus};
use corundum_router::metrics::{AppMetrics, MetricsRegistry};
use corundum_store::{AppRecord, ReleaseRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;
use jiff::Timestamp;

use super::error::ApiError;
use super::metrics;
use super::resources::{self, DYNO_SIZE};
use super::response::{ApiResult, accepted, drain, ok};

/// The parts of a node that know something of dynos.
pub(super) struct DynoParts<'a> {
    pub(super) grid: &'a DynoGrid,
    pub(super) metrics: &'a MetricsRegistry,
    pub(super) store: &'a dyn Store,
}

/// Serves an app's `dynos`.
pub(super) async fn serve(
    parts: DynoParts<'_>,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&list(&parts, app)?),
        (&Method::DELETE, []) => {
            drain(request).await;
            parts.grid.restart(&app.name);
            accepted()
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn list(parts: &DynoParts<'_>, app: &AppRecord) -> Result<Vec<DynoResource>, ApiError> {
    let releases = parts.store.releases(&app.name)?;
    let metrics = parts.metrics.of(&app.name);
    let dynos = parts.grid.dynos(&app.name).into_iter();
    // A release that the app was just deleted with is in no listing; neither are its dynos.
    let known = dynos.filter_map(|dyno| {
        let mut releases = releases.iter();
        let release = releases.find(|release| release.version == dyno.release)?;
        Some(resource(app, dyno, release, &metrics))
    });
    known.collect()
}

fn resource(
    app: &AppRecord,
    dyno: DynoStatus,
    release: &ReleaseRecord,
    metrics: &AppMetrics,
) -> Result<DynoResource, ApiError> {
    let age_seconds = dyno.age.as_secs();
    let age = i64::try_from(age_seconds).unwrap_or_default();
    let created_at = Timestamp::from_second(Timestamp::now().as_second() - age).unwrap_or_default();
    let name = dyno.name.to_string();
    Ok(DynoResource {
        id: resources::derived_id(&["dyno", &release.id.to_string(), &name]),
        app: resources::app_ref(app),
        attach_url: None,
        command: resources::command(release, &dyno.name.process),
        created_at,
        release: ReleaseRef {
            id: release.id,
            version: release.version,
        },
        size: DYNO_SIZE.to_owned(),
        state: "up".to_owned(),
        process_type: dyno.name.process.clone(),
        updated_at: created_at,
        activity: match dyno.state {
            DynoState::Busy => DynoActivity::Busy,
            DynoState::Idle => DynoActivity::Idle,
        },
        age_seconds,
        served: dyno.served,
        memory_bytes: dyno.memory as u64,
        linear_memory_bytes: dyno.linear_memory as u64,
        metrics: metrics
            .dyno(dyno.name.number)
            .map(|dyno| metrics::of_dyno(&dyno)),
        name: dyno.name,
    })
}
