//! Endpoints of dynos and formations.

use corundum_abi::names::AppName;
use corundum_host::grid::{DynoGrid, DynoStatus};
use corundum_router::metrics::{AppMetrics, MetricsRegistry, SummaryPeriod};
use http::Request;
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::metrics::percentiles;
use super::response::{ApiResult, ok, read};
use crate::apps::formation::{Formations, MAX_WEB};

#[derive(Deserialize)]
struct FormationUpdate {
    web: u32,
}

/// Scales an app.
pub(super) async fn scale(
    formations: &Formations,
    app: &AppName,
    request: Request<Incoming>,
) -> ApiResult {
    let body: FormationUpdate = read(request).await?;
    if body.web > MAX_WEB {
        return Err(ApiError::invalid(format!(
            "an app has at most {MAX_WEB} web dynos"
        )));
    }
    formations.scale(app, body.web)?;
    ok(&json!({"web": body.web}))
}

/// Returns an app's dynos, each with its metrics of the last five minutes.
pub(super) fn list(grid: &DynoGrid, metrics: &MetricsRegistry, app: &AppName) -> Value {
    let metrics = metrics.of(app);
    let dynos = grid.dynos(app);
    dynos.iter().map(|dyno| dyno_json(&metrics, dyno)).collect()
}

fn dyno_json(metrics: &AppMetrics, dyno: &DynoStatus) -> Value {
    let used = metrics.dyno(dyno.name.number);
    let recent = used.map(|used| used.over(SummaryPeriod::FiveMinutes));
    json!({
        "name": dyno.name,
        "state": dyno.state.as_str(),
        "release": dyno.release.to_string(),
        "age_seconds": dyno.age.as_secs(),
        "served": dyno.served,
        "memory_bytes": dyno.memory,
        "5m": recent.map(|recent| json!({
            "requests": recent.requests,
            "errors": recent.errors,
            "bytes": recent.bytes,
            "cpu_seconds": recent.cpu.as_secs_f64(),
            "service_ms": percentiles(&recent.service),
        })),
    })
}
