//! Metrics of an app's requests over some minutes. The API's own: v3 has no such resource.

use serde::{Deserialize, Serialize};

/// Percentiles of a time, in milliseconds; `null` without measurements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the measurements are at most this.
    pub p50: Option<f64>,
    /// 95 % of the measurements are at most this.
    pub p95: Option<f64>,
    /// 99 % of the measurements are at most this.
    pub p99: Option<f64>,
}

/// An app's requests in the last 1, 5 and 15 minutes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AppMetricsResource {
    /// The last minute.
    #[serde(rename = "1m")]
    pub one_minute: WindowMetrics,
    /// The last five minutes.
    #[serde(rename = "5m")]
    pub five_minutes: WindowMetrics,
    /// The last fifteen minutes.
    #[serde(rename = "15m")]
    pub fifteen_minutes: WindowMetrics,
}

/// An app's requests in one window of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct WindowMetrics {
    /// Requests.
    pub requests: u64,
    /// Requests that the platform or the app answered with an error (5xx).
    pub errors: u64,
    /// Bytes of the responses' bodies.
    pub bytes: u64,
    /// Processor time of the app's dynos, in seconds.
    pub cpu_seconds: f64,
    /// Time that dynos took to serve.
    pub service_ms: Percentiles,
    /// Time that requests waited for a dyno.
    pub queue_ms: Percentiles,
    /// Requests that the HTTP cache answered.
    pub cache_hits: u64,
    /// The share of cacheable requests that the HTTP cache answered, from 0 to 1; `null` without any.
    pub cache_hit_ratio: Option<f64>,
}

/// A dyno's requests in the last five minutes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DynoWindowMetrics {
    /// Requests.
    pub requests: u64,
    /// Requests that ended in an error (5xx).
    pub errors: u64,
    /// Bytes of the responses' bodies.
    pub bytes: u64,
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Time that the dyno took to serve.
    pub service_ms: Percentiles,
}
