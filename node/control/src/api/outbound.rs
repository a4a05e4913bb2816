//! Endpoints of outbound connections.

use corundum_abi::outbound::OutboundDefault;
use corundum_api::outbound::{OutboundGrantCreate, OutboundGrantResource, OutboundResource};
use corundum_host::grid::DynoGrid;
use corundum_store::{AppRecord, OutboundGrantRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources::time;
use super::response::{ApiResult, created, ok, read};
use crate::outbound::OutboundPolicies;

/// The parts that the endpoints work with.
pub(super) struct OutboundParts<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) grid: &'a DynoGrid,
    pub(super) policies: &'a OutboundPolicies,
}

/// Serves an app's `outbound`. A grant is named by its key or its target.
pub(super) async fn serve(
    parts: OutboundParts<'_>,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let policies = parts.policies;
    match (method, rest) {
        (&Method::GET, []) => ok(&overview(&parts, app)?),
        (&Method::POST, []) => {
            let body: OutboundGrantCreate = read(request).await?;
            created(&resource(&policies.add(&app.name, &body.target)?)?)
        }
        (&Method::DELETE, [identity]) => {
            let removed = policies.remove(&app.name, parts.grid, identity)?;
            ok(&resource(&removed)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn overview(parts: &OutboundParts<'_>, app: &AppRecord) -> Result<OutboundResource, ApiError> {
    let release = parts.store.current_release(&app.name)?;
    let listed = release.and_then(|release| release.about.outbound);
    let default = match parts.policies.base().default {
        OutboundDefault::Public => "public",
        OutboundDefault::Listed => "listed",
        OutboundDefault::Granted => "granted",
    };
    let grants = parts.policies.grants(&app.name)?;
    Ok(OutboundResource {
        default: default.to_owned(),
        listed: listed.map(|list| list.iter().map(ToString::to_string).collect()),
        grants: grants.iter().map(resource).collect::<Result<_, _>>()?,
    })
}

fn resource(record: &OutboundGrantRecord) -> Result<OutboundGrantResource, ApiError> {
    Ok(OutboundGrantResource {
        id: record.id,
        created_at: time(&record.created_at)?,
        target: record.target.to_string(),
    })
}
