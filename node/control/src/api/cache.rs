//! Endpoints of the HTTP cache.

use corundum_abi::names::AppName;
use corundum_router::cache::{Cache, CacheSnapshot, PurgeScope};
use http::{Method, Request, Uri};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Refusal, invalid, no_such_endpoint, ok, read};
use crate::platform::Platform;

/// What is to be purged: a URL, a tag, or all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Purge {
    url: Option<String>,
    tag: Option<String>,
}

/// Serves what lies below an app's `cache`.
pub(crate) async fn serve(
    platform: &Platform,
    method: &Method,
    app: &AppName,
    rest: &[&str],
    request: Request<Incoming>,
) -> Answer {
    match (method, rest) {
        (&Method::GET, []) => ok(&of_app(platform.cache(), app)),
        (&Method::POST, ["purge"]) => {
            let scope = scope(read(request).await?)?;
            let purged = platform.cache().purge(app, &scope);
            ok(&json!({"purged": purged}))
        }
        _ => Err(no_such_endpoint()),
    }
}

fn scope(purge: Purge) -> Result<PurgeScope, Refusal> {
    match (purge.url, purge.tag) {
        (None, None) => Ok(PurgeScope::App),
        (None, Some(tag)) => Ok(PurgeScope::Tag(tag.into())),
        (Some(url), None) => by_url(&url),
        (Some(_), Some(_)) => Err(invalid("Name a URL or a tag, not both")),
    }
}

fn by_url(url: &str) -> Result<PurgeScope, Refusal> {
    let uri: Option<Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(Uri::host);
    let (Some(uri), Some(host)) = (&uri, host) else {
        let message =
            format!("\"{url}\" is not a URL: write it whole, as in http://myapp.localhost/about");
        return Err(invalid(message));
    };
    Ok(PurgeScope::Url {
        host: host.to_ascii_lowercase(),
        target: uri
            .path_and_query()
            .map_or("/", |target| target.as_str())
            .to_owned(),
    })
}

/// What is counted of an app's use of the cache.
pub(crate) fn of_app(cache: &Cache, app: &AppName) -> Value {
    stats(&cache.stats(app))
}

/// The node's cache, and what is counted of each app.
pub(crate) fn of_all(cache: &Cache) -> Value {
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
