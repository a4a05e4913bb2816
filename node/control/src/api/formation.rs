//! Endpoints of the formation.

use std::collections::BTreeSet;

use corundum_abi::names::ProcessType;
use corundum_api::Identity;
use corundum_api::formation::{FormationBatchUpdate, FormationResource, Quantity};
use corundum_store::{AppRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources;
use super::response::{ApiResult, ok, read};
use crate::apps::formation::{Formations, MAX_WEB};

/// Serves an app's `formation`.
pub(super) async fn serve(
    store: &dyn Store,
    formations: &Formations,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&list(store, app)?),
        (&Method::GET, [identity]) => {
            let identity: Identity<ProcessType> = identity.parse().map_err(ApiError::invalid)?;
            let mut formation = list(store, app)?.into_iter();
            let found = formation.find(|one| identity.matches(one.id, &one.process_type));
            ok(&found.ok_or_else(|| unknown(&identity))?)
        }
        (&Method::PATCH, []) => {
            let body: FormationBatchUpdate = read(request).await?;
            update(store, formations, app, body)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn unknown(process_type: &impl ToString) -> ApiError {
    let message = format!(
        "Couldn't find that process type: {}",
        process_type.to_string()
    );
    ApiError::not_found("formation", message)
}

/// Lists the process types of the current release, and `web`, which every app has.
fn list(store: &dyn Store, app: &AppRecord) -> Result<Vec<FormationResource>, ApiError> {
    let release = store.current_release(&app.name)?;
    let mut types = BTreeSet::from([ProcessType::web()]);
    if let Some(release) = &release {
        types.extend(release.about.processes.keys().cloned());
    }
    types
        .into_iter()
        .map(|process_type| resources::formation(app, process_type, release.as_ref()))
        .collect()
}

/// Scales process types, all or none, and answers those that the request names.
fn update(
    store: &dyn Store,
    formations: &Formations,
    app: &AppRecord,
    body: FormationBatchUpdate,
) -> ApiResult {
    let mut web = app.formation;
    for update in &body.updates {
        if update.process_type != ProcessType::web() {
            return Err(unknown(&update.process_type));
        }
        web = update
            .quantity
            .map_or(web, |quantity: Quantity| quantity.apply(web));
    }
    if web > MAX_WEB {
        return Err(ApiError::invalid(format!(
            "an app has at most {MAX_WEB} web dynos"
        )));
    }
    if body.updates.is_empty() {
        return Err(ApiError::invalid("updates: empty; name a process type"));
    }
    if body.updates.iter().any(|update| update.quantity.is_some()) {
        formations.scale(&app.name, web)?;
    }
    let app = store.app(&app.name)?;
    let release = store.current_release(&app.name)?;
    let changed = resources::formation(&app, ProcessType::web(), release.as_ref())?;
    ok(&[changed])
}
