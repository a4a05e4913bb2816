//! Metrics of an app as JSON.

use std::time::Duration;

use corundum_abi::names::AppName;
use corundum_router::metrics::{HistogramSnapshot, MetricsRegistry, MetricsSummary, SummaryPeriod};
use serde_json::{Map, Value, json};

/// Returns an app's metrics by period: `1m`, `5m` and `15m`.
pub(super) fn of_app(metrics: &MetricsRegistry, app: &AppName) -> Value {
    let metrics = metrics.of(app);
    let periods = SummaryPeriod::SHOWN.map(|period| {
        let name = period.as_str().to_owned();
        (name, summary_json(&metrics.over(period)))
    });
    Value::Object(Map::from_iter(periods))
}

fn summary_json(summary: &MetricsSummary) -> Value {
    let MetricsSummary {
        cache_hits,
        cache_asked,
        ..
    } = *summary;
    let ratio = (cache_asked > 0).then(|| cache_hits as f64 / cache_asked as f64);
    json!({
        "requests": summary.requests,
        "errors": summary.errors,
        "bytes": summary.bytes,
        "cpu_seconds": summary.cpu.as_secs_f64(),
        "service_ms": percentiles(&summary.service),
        "queue_ms": percentiles(&summary.queue),
        "cache_hits": cache_hits,
        "cache_hit_ratio": ratio,
    })
}

/// Returns percentiles in milliseconds; null if nothing was measured.
pub(super) fn percentiles(times: &HistogramSnapshot) -> Value {
    let at = |share| times.percentile(share).map(milliseconds);
    json!({"p50": at(0.5), "p95": at(0.95), "p99": at(0.99)})
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
