//! Endpoints of log drains.

use std::sync::Arc;

use corundum_abi::names::AppName;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Refusal, invalid, no_such_endpoint, ok, read};
use crate::drains::MAX_DRAINS;
use crate::drains::target::Target;
use crate::platform::Platform;
use corundum_store::DrainRecord;

#[derive(Deserialize)]
struct Which {
    url: String,
}

/// Serves an app's `drains`.
pub(crate) async fn serve(
    platform: &Arc<Platform>,
    method: &Method,
    app: &AppName,
    request: Request<Incoming>,
) -> Answer {
    match *method {
        Method::GET => {
            let drains = platform.store().drains(app)?;
            ok(&drains.iter().map(shown).collect::<Value>())
        }
        Method::POST => {
            let which: Which = read(request).await?;
            add(platform, app, &which.url)
        }
        Method::DELETE => {
            let which: Which = read(request).await?;
            remove(platform, app, &which.url)
        }
        _ => Err(no_such_endpoint()),
    }
}

fn add(platform: &Platform, app: &AppName, url: &str) -> Answer {
    let target: Target = url.parse().map_err(invalid)?;
    let drains = platform.store().drains(app)?;
    if drains.len() >= MAX_DRAINS {
        return Err(invalid(format!("an app may have {MAX_DRAINS} drains")));
    }
    if drains.iter().any(|drain| drain.url == url) {
        return Err(invalid(format!("{target} is a drain of {app} already")));
    }
    let record = platform.store().add_drain(app, url)?;
    platform.drains().start(platform.logs(), app, &record);
    platform
        .logs()
        .add(app, "corundum[api]", &format!("Add drain {target}"));
    ok(&shown(&record))
}

/// Removes a drain by its URL, as it was given or as it is shown, by its token or its identifier.
fn remove(platform: &Platform, app: &AppName, which: &str) -> Answer {
    let drains = platform.store().drains(app)?;
    let is = |drain: &&DrainRecord| {
        [&drain.url, &drain.token].iter().any(|name| *name == which)
            || drain.id.to_string() == which
            || shown_url(drain) == which
    };
    let found: Vec<&DrainRecord> = drains.iter().filter(is).collect();
    let record = match found.as_slice() {
        [record] => record,
        [] => {
            let message = "There is no such drain: see corundum drains";
            return Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", message));
        }
        _ => {
            return Err(invalid(
                "several drains are shown so: name one by its token",
            ));
        }
    };
    platform.store().remove_drain(app, record.id)?;
    platform.drains().stop(record.id);
    let line = format!("Remove drain {}", shown_url(record));
    platform.logs().add(app, "corundum[api]", &line);
    ok(&shown(record))
}

fn shown_url(record: &DrainRecord) -> String {
    record
        .url
        .parse()
        .map_or_else(|_| "-".to_owned(), |target: Target| target.to_string())
}

fn shown(record: &DrainRecord) -> Value {
    json!({
        "id": record.id,
        "url": shown_url(record),
        "token": record.token,
        "created_at": record.created_at,
    })
}
