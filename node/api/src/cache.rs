//! Statistics and purges of the HTTP cache. The API's own: v3 has no such resource.

use serde::{Deserialize, Serialize};

use crate::reference::AppRef;

/// Counts of one app's use of the cache since the node was started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CacheStatsResource {
    /// Requests answered from the cache.
    pub hits: u64,
    /// Requests that a dyno answered for want of a stored response.
    pub misses: u64,
    /// Requests answered with a stale response.
    pub stale: u64,
    /// Stored responses that a dyno confirmed.
    pub revalidated: u64,
    /// Requests that waited for another request's response.
    pub collapsed: u64,
    /// Requests that the cache does not serve.
    pub bypassed: u64,
    /// The share of cacheable requests that made no dyno generate a response, from 0 to 1; `null` without any.
    pub hit_ratio: Option<f64>,
    /// Stored responses.
    pub entries: u64,
    /// Bytes of the stored responses.
    pub bytes: u64,
    /// Stored responses in a compressed form.
    pub compressed: u64,
}

/// Counts of one app in a listing of all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AppCacheStats {
    /// The app.
    pub app: AppRef,
    /// The app's counts.
    #[serde(flatten)]
    pub stats: CacheStatsResource,
}

/// The node's cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeCacheResource {
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that the cache may use.
    pub capacity: u64,
    /// Counts by app.
    pub apps: Vec<AppCacheStats>,
}

/// A request to remove stored responses: those of a URL, those with a tag, or all of the app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachePurge {
    /// The whole URL whose variants to remove.
    #[serde(default)]
    pub url: Option<String>,
    /// The tag (`Cache-Tag`) whose responses to remove.
    #[serde(default)]
    pub tag: Option<String>,
}

/// The result of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachePurged {
    /// Stored responses that were removed.
    pub purged: u64,
}
