//! Endpoints of domains.

use corundum_api::Identity;
use corundum_api::domain::{DomainCreate, DomainKind, DomainResource};
use corundum_store::{AppRecord, DomainName, DomainRecord};
use http::{Method, Request};
use hyper::body::Incoming;

use super::error::ApiError;
use super::resources::{self, derived_id, time};
use super::response::{ApiResult, created, ok, read};
use crate::domains::Domains;

/// Serves an app's `domains`.
pub(super) async fn serve(
    domains: &Domains,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&list(domains, app)?),
        (&Method::POST, []) => {
            let body: DomainCreate = read(request).await?;
            let record = domains.add(&app.name, &body.hostname)?;
            created(&custom(domains, app, &record)?)
        }
        (&Method::GET, [identity]) => ok(&custom(domains, app, &find(domains, app, identity)?)?),
        (&Method::DELETE, [identity]) => {
            let record = find(domains, app, identity)?;
            domains.remove(&app.name, record.hostname.as_str())?;
            ok(&custom(domains, app, &record)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Finds a custom domain by its key or its host name.
fn find(domains: &Domains, app: &AppRecord, identity: &str) -> Result<DomainRecord, ApiError> {
    let listed = domains.list(&app.name)?;
    let found = match identity.parse::<Identity<DomainName>>() {
        Ok(identity) => listed
            .into_iter()
            .find(|domain| identity.matches(domain.id, &domain.hostname)),
        // A text that is no host name names no domain either.
        Err(_) => None,
    };
    found.ok_or_else(|| {
        let name: String = identity.chars().take(80).collect();
        ApiError::not_found("domain", format!("Couldn't find that domain name: {name}"))
    })
}

/// Lists the app's own name, then its custom domains.
fn list(domains: &Domains, app: &AppRecord) -> Result<Vec<DomainResource>, ApiError> {
    let own = DomainResource {
        id: derived_id(&["domain", &app.id.to_string()]),
        acm_status: None,
        acm_status_reason: None,
        app: resources::app_ref(app),
        cname: None,
        created_at: time(&app.created_at)?,
        hostname: domains.own(&app.name),
        kind: DomainKind::Heroku,
        sni_endpoint: None,
        status: "none".to_owned(),
        updated_at: time(&app.created_at)?,
    };
    let records = domains.list(&app.name)?;
    let custom = records.iter().map(|record| custom(domains, app, record));
    std::iter::once(Ok(own)).chain(custom).collect()
}

fn custom(
    domains: &Domains,
    app: &AppRecord,
    record: &DomainRecord,
) -> Result<DomainResource, ApiError> {
    let created_at = time(&record.created_at)?;
    Ok(DomainResource {
        id: record.id,
        acm_status: None,
        acm_status_reason: None,
        app: resources::app_ref(app),
        cname: Some(domains.own(&app.name)),
        created_at,
        hostname: record.hostname.to_string(),
        kind: DomainKind::Custom,
        sni_endpoint: None,
        status: "succeeded".to_owned(),
        updated_at: created_at,
    })
}
