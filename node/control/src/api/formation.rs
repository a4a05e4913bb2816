//! Endpoints of the formation.

use std::collections::BTreeSet;
use std::sync::Arc;

use corundum_abi::dyno_size::DynoSize;
use corundum_abi::names::ProcessType;
use corundum_api::Identity;
use corundum_api::formation::{
    FormationBatchUpdate, FormationChange, FormationResource, FormationUpdate,
};
use corundum_compiler::command_line::ProcessCommandLine;
use corundum_store::{AppRecord, ProcessScales, ReleaseRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources;
use super::response::{ApiResult, ok, read};
use crate::apps::formation::{Formations, MAX_WEB};
use crate::processes::{self, MAX_QUANTITY, Processes};

/// The parts of a node that scale apps.
pub(super) struct FormationParts<'a> {
    pub(super) store: &'a dyn Store,
    /// Scales web.
    pub(super) web: &'a Formations,
    /// Scales the other process types.
    pub(super) processes: &'a Arc<Processes>,
}

/// Serves an app's `formation`.
pub(super) async fn serve(
    parts: FormationParts<'_>,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&list(parts.store, app)?),
        (&Method::GET, [identity]) => ok(&find(parts.store, app, identity)?),
        (&Method::PATCH, []) => {
            let body: FormationBatchUpdate = read(request).await?;
            ok(&update(&parts, app, &body)?)
        }
        (&Method::PATCH, [identity]) => {
            let process_type = find(parts.store, app, identity)?.process_type;
            let change: FormationChange = read(request).await?;
            let update = FormationUpdate {
                process_type,
                change,
            };
            let body = FormationBatchUpdate {
                updates: vec![update],
            };
            let changed = self::update(&parts, app, &body)?;
            ok(changed.first().ok_or_else(ApiError::no_endpoint)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn find(store: &dyn Store, app: &AppRecord, identity: &str) -> Result<FormationResource, ApiError> {
    let identity: Identity<ProcessType> = identity.parse().map_err(ApiError::invalid)?;
    let mut formation = list(store, app)?.into_iter();
    let found = formation.find(|one| identity.matches(one.id, &one.process_type));
    found.ok_or_else(|| unknown(&identity))
}

fn unknown(process_type: &impl ToString) -> ApiError {
    let message = format!(
        "Couldn't find that process type: {}",
        process_type.to_string()
    );
    ApiError::not_found("formation", message)
}

/// Lists the process types of the current release that can be scaled, and `web`, which every app has.
fn list(store: &dyn Store, app: &AppRecord) -> Result<Vec<FormationResource>, ApiError> {
    let release = store.current_release(&app.name)?;
    let scales = store.process_scales(&app.name)?;
    types(release.as_ref())
        .into_iter()
        .map(|process_type| resources::formation(app, process_type, release.as_ref(), &scales))
        .collect()
}

fn types(release: Option<&ReleaseRecord>) -> BTreeSet<ProcessType> {
    let declared = release
        .into_iter()
        .flat_map(|release| release.about.processes.keys());
    let declared = declared.filter(|process| processes::is_long_running(process));
    let web = std::iter::once(ProcessType::web());
    web.chain(declared.cloned()).collect()
}

/// Scales process types, all or none, and returns those that the request names.
fn update(
    parts: &FormationParts<'_>,
    app: &AppRecord,
    body: &FormationBatchUpdate,
) -> Result<Vec<FormationResource>, ApiError> {
    if body.updates.is_empty() {
        return Err(ApiError::invalid("updates: empty; name a process type"));
    }
    let release = parts.store.current_release(&app.name)?;
    let known = types(release.as_ref());
    let before = parts.store.process_scales(&app.name)?;
    let (mut web, mut scales) = (app.formation, ProcessScales::new());
    let web_size_before = before
        .get(&ProcessType::web())
        .copied()
        .unwrap_or_default()
        .size;
    let mut web_size = web_size_before;
    for FormationUpdate {
        process_type,
        change,
    } in &body.updates
    {
        if !known.contains(process_type) {
            return Err(unknown(process_type));
        }
        let size = change.size().map(str::parse::<DynoSize>).transpose();
        let size = size.map_err(|error| ApiError::invalid(error.to_string()))?;
        if *process_type == ProcessType::web() {
            web_size = size.unwrap_or(web_size);
            web = change.quantity.map_or(web, |quantity| quantity.apply(web));
            continue;
        }
        let scaled = scales
            .get(process_type)
            .or_else(|| before.get(process_type));
        let mut scale = scaled.copied().unwrap_or_default();
        scale.size = size.unwrap_or(scale.size);
        if let Some(quantity) = change.quantity {
            scale.quantity = quantity.apply(scale.quantity);
        }
        if scale.quantity > MAX_QUANTITY {
            return Err(ApiError::invalid(format!(
                "an app has at most {MAX_QUANTITY} dynos of a process type beside web"
            )));
        }
        if scale.quantity > 0
            && let Some(release) = &release
        {
            ProcessCommandLine::parse(&resources::command(release, process_type))
                .map_err(|error| ApiError::invalid(format!("{process_type}: {error}")))?;
        }
        scales.insert(process_type.clone(), scale);
    }
    if web > MAX_WEB {
        return Err(ApiError::invalid(format!(
            "an app has at most {MAX_WEB} web dynos"
        )));
    }
    if web != app.formation {
        parts.web.scale(&app.name, web)?;
    }
    if web_size != web_size_before {
        parts.web.resize(&app.name, web_size)?;
    }
    if !scales.is_empty() {
        parts.processes.scale(&app.name, &scales)?;
    }
    let app = parts.store.app(&app.name)?;
    let scales = parts.store.process_scales(&app.name)?;
    let named: BTreeSet<_> = body
        .updates
        .iter()
        .map(|update| &update.process_type)
        .collect();
    named
        .into_iter()
        .map(|process| resources::formation(&app, process.clone(), release.as_ref(), &scales))
        .collect()
}
