//! Endpoints of the HTTP cache.

use corundum_abi::names::AppName;
use corundum_router::cache::{Cache, CacheSnapshot, PurgeScope};
use http::{Method, Request, Uri};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::response::{ApiResult, ok, read};

/// The responses to purge: those of a URL, of a tag, or all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    url: Option<String>,
    tag: Option<String>,
}

/// Serves the endpoints below an app's `cache`.
pub(super) async fn serve(
    cache: &Cache,
    method: &Method,
    app: &AppName,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&of_app(cache, app)),
        (&Method::POST, ["purge"]) => {
            let scope = scope(read(request).await?)?;
            let purged = cache.purge(app, &scope);
            ok(&json!({"purged": purged}))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn scope(purge: Purge) -> Result<PurgeScope, ApiError> {
    match (purge.url, purge.tag) {
        (None, None) => Ok(PurgeScope::App),
        (None, Some(tag)) => Ok(PurgeScope::Tag(tag.into())),
        (Some(url), None) => by_url(&url),
        (Some(_), Some(_)) => Err(ApiError::invalid("Name a URL or a tag, not both")),
    }
}

fn by_url(url: &str) -> Result<PurgeScope, ApiError> {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host);
    let (Some(uri), Some(host)) = (&uri, host) else {
        let message =
            format!("\"{url}\" is not a URL: write it whole, as in http://myapp.localhost/about");
        return Err(ApiError::invalid(message));
    };
    Ok(PurgeScope::Url {
        host: host.to_ascii_lowercase(),
        target: uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned(),
    })
}

/// Returns an app's cache statistics.
pub(super) fn of_app(cache: &Cache, app: &AppName) -> Value {
    stats(&cache.stats(app))
}

/// Returns the size of the node's cache and the statistics of each app.
pub(super) fn of_all(cache: &Cache) -> Value {
    let size = cache.size();
    let apps = cache.all_stats().into_iter().map(|(app, counted)| {
        let mut row = stats(&counted);
        row["app"] = json!(app);
        row
    });
    json!({"bytes": size.bytes, "capacity": size.capacity, "apps": apps.collect::<Vec<_>>()})
}

fn stats(stats: &CacheSnapshot) -> Value {
    json!({
        "hits": stats.hits,
        "misses": stats.misses,
        "stale": stats.stale,
        "revalidated": stats.revalidated,
        "collapsed": stats.collapsed,
        "bypassed": stats.bypassed,
        "hit_ratio": stats.hit_ratio(),
        "entries": stats.entries,
        "bytes": stats.bytes,
        "compressed": stats.compressed,
    })
}
