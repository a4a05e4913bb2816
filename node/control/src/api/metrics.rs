//! Endpoint of an app's metrics, and the metrics in its listing of dynos.

use std::time::Duration;

use corundum_api::metrics::{AppMetricsResource, DynoWindowMetrics, Percentiles, WindowMetrics};
use corundum_router::metrics::{
    DynoCounters, HistogramSnapshot, MetricsRegistry, MetricsSummary, SummaryPeriod,
};
use corundum_store::AppRecord;

use super::response::{ApiResult, ok};

/// Answers an app's metrics.
pub(super) fn of_app(metrics: &MetricsRegistry, app: &AppRecord) -> ApiResult {
    let metrics = metrics.of(&app.name);
    let window = |period| window(&metrics.over(period));
    ok(&AppMetricsResource {
        one_minute: window(SummaryPeriod::Minute),
        five_minutes: window(SummaryPeriod::FiveMinutes),
        fifteen_minutes: window(SummaryPeriod::QuarterHour),
    })
}

/// Returns a dyno's metrics of the last five minutes.
pub(super) fn of_dyno(metrics: &DynoCounters) -> DynoWindowMetrics {
    let summary = metrics.over(SummaryPeriod::FiveMinutes);
    DynoWindowMetrics {
        requests: summary.requests,
        errors: summary.errors,
        bytes: summary.bytes,
        cpu_seconds: summary.cpu.as_secs_f64(),
        service_ms: percentiles(&summary.service),
    }
}

fn window(summary: &MetricsSummary) -> WindowMetrics {
    let asked = summary.cache_asked;
    WindowMetrics {
        requests: summary.requests,
        errors: summary.errors,
        bytes: summary.bytes,
        cpu_seconds: summary.cpu.as_secs_f64(),
        service_ms: percentiles(&summary.service),
        queue_ms: percentiles(&summary.queue),
        cache_hits: summary.cache_hits,
        cache_hit_ratio: (asked > 0).then(|| summary.cache_hits as f64 / asked as f64),
    }
}

fn percentiles(times: &HistogramSnapshot) -> Percentiles {
    let at = |share| times.percentile(share).map(milliseconds);
    Percentiles {
        p50: at(0.5),
        p95: at(0.95),
        p99: at(0.99),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
