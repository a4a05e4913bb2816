//! Endpoints of the HTTP cache.

use corundum_api::cache::{
    AppCacheStats, CachePurge, CachePurged, CacheStatsResource, NodeCacheResource,
};
use corundum_router::cache::{Cache, CacheSnapshot, PurgeScope};
use corundum_store::{AppRecord, Store};
use http::{Method, Request, Uri};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources;
use super::response::{ApiResult, ok, read};

/// Serves an app's `cache`.
pub(super) async fn serve(
    cache: &Cache,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&stats(&cache.stats(&app.name))),
        (&Method::POST, ["purge"]) => {
            let scope = scope(read(request).await?)?;
            let purged = cache.purge(&app.name, &scope);
            ok(&CachePurged {
                purged: purged as u64,
            })
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Answers the node's cache with the counts of each app.
pub(super) fn of_all_apps(cache: &Cache, store: &dyn Store) -> ApiResult {
    let size = cache.size();
    let mut apps = Vec::new();
    for (name, counted) in cache.all_stats() {
        // An app that was just deleted is left out.
        if let Ok(app) = store.app(&name) {
            apps.push(AppCacheStats {
                app: resources::app_ref(&app),
                stats: stats(&counted),
            });
        }
    }
    ok(&NodeCacheResource {
        bytes: size.bytes,
        capacity: size.capacity,
        apps,
    })
}

fn scope(purge: CachePurge) -> Result<PurgeScope, ApiError> {
    match (purge.url, purge.tag) {
        (None, None) => Ok(PurgeScope::App),
        (None, Some(tag)) => Ok(PurgeScope::Tag(tag.into())),
        (Some(url), None) => url_scope(&url),
        (Some(_), Some(_)) => Err(ApiError::invalid("name a URL or a tag, not both")),
    }
}

fn url_scope(url: &str) -> Result<PurgeScope, ApiError> {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host);
    let (Some(uri), Some(host)) = (&uri, host) else {
        return Err(ApiError::invalid(format!(
            "\"{url}\" is not a URL: write it whole, as in http://myapp.localhost/about"
        )));
    };
    let target = uri.path_and_query();
    Ok(PurgeScope::Url {
        host: host.to_ascii_lowercase(),
        target: target.map_or("/", |target| target.as_str()).to_owned(),
    })
}

fn stats(stats: &CacheSnapshot) -> CacheStatsResource {
    CacheStatsResource {
        hits: stats.hits,
        misses: stats.misses,
        stale: stats.stale,
        revalidated: stats.revalidated,
        collapsed: stats.collapsed,
        bypassed: stats.bypassed,
        hit_ratio: stats.hit_ratio(),
        entries: stats.entries,
        bytes: stats.bytes,
        compressed: stats.compressed,
    }
}
