//! Figures as JSON: of an app over some minutes, and of its dynos.

use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_host::grid::DynoStatus;
use corundum_router::metrics::{AppMetrics, HistogramSnapshot, MetricsSummary, SummaryPeriod};
use serde_json::{Map, Value, json};

use crate::platform::Platform;

/// An app's figures by span: `1m`, `5m` and `15m`.
pub(crate) fn of_app(platform: &Platform, app: &AppName) -> Value {
    let figures = platform.metrics().of(app);
    let spans = SummaryPeriod::SHOWN.map(|span| {
        let name = span.as_str().to_owned();
        (name, app_json(&figures.over(span)))
    });
    Value::Object(Map::from_iter(spans))
}

/// An app's dynos, each with its figures of the last five minutes.
pub(crate) fn of_dynos(platform: &Platform, app: &AppName) -> Value {
    let figures = platform.metrics().of(app);
    let dynos = platform.grid().dynos(app);
    dynos.iter().map(|dyno| dyno_json(&figures, dyno)).collect()
}

fn dyno_json(figures: &AppMetrics, dyno: &DynoStatus) -> Value {
    let used = figures.dyno(dyno.name.number);
    let lately = used.map(|used| used.over(SummaryPeriod::FiveMinutes));
    json!({
        "name": dyno.name,
        "state": dyno.state.as_str(),
        "release": dyno.release.to_string(),
        "age_seconds": dyno.age.as_secs(),
        "served": dyno.served,
        "memory_bytes": dyno.memory,
        "5m": lately.map(|lately| json!({
            "requests": lately.requests,
            "errors": lately.errors,
            "bytes": lately.bytes,
            "cpu_seconds": lately.cpu.as_secs_f64(),
            "service_ms": percentiles(&lately.service),
        })),
    })
}

fn app_json(summary: &MetricsSummary) -> Value {
    let MetricsSummary {
        cache_hits,
        cache_asked,
        ..
    } = *summary;
    let share = (cache_asked > 0).then(|| cache_hits as f64 / cache_asked as f64);
    json!({
        "requests": summary.requests,
        "errors": summary.errors,
        "bytes": summary.bytes,
        "cpu_seconds": summary.cpu.as_secs_f64(),
        "service_ms": percentiles(&summary.service),
        "queue_ms": percentiles(&summary.queue),
        "cache_hits": cache_hits,
        "cache_hit_ratio": share,
    })
}

/// Milliseconds; null where there was nothing.
fn percentiles(all: &HistogramSnapshot) -> Value {
    let at = |share| all.percentile(share).map(milliseconds);
    json!({"p50": at(0.5), "p95": at(0.95), "p99": at(0.99)})
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
