//! Endpoints of certificates. They take private keys and never answer one.

use corundum_api::Identity;
use corundum_api::sni_endpoint::{
    CertificateOrigin, SniEndpointCreate, SniEndpointResource, SslCert,
};
use corundum_store::{AppRecord, CertOrigin, CertRecord, DomainRecord, Store};
use http::{Method, Request};
use hyper::body::Incoming;
use jiff::Timestamp;

use super::error::ApiError;
use super::resources::{self, time};
use super::response::{ApiResult, created, ok, read};
use crate::certs::{AppCerts, CertDetails, CertListing};

/// Serves an app's `sni-endpoints`.
pub(super) async fn serve(
    store: &dyn Store,
    certs: &AppCerts,
    method: &Method,
    app: &AppRecord,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    let domains = store.domains(&app.name)?;
    let resource = |listing| resource(app, listing, &domains);
    match (method, rest) {
        (&Method::GET, []) => {
            let resources = certs.list(&app.name)?.into_iter().map(resource);
            ok(&resources.collect::<Result<Vec<_>, _>>()?)
        }
        (&Method::POST, []) => {
            let body: SniEndpointCreate = read(request).await?;
            let (chain, key) = (body.certificate_chain, body.private_key);
            created(&resource(certs.put(&app.name, body.name, &chain, key)?)?)
        }
        (&Method::GET, [identity]) => ok(&resource(find(certs, app, identity)?)?),
        (&Method::PATCH, [identity]) => {
            let name = find(certs, app, identity)?.record.name;
            let body: SniEndpointCreate = read(request).await?;
            let (chain, key) = (body.certificate_chain, body.private_key);
            ok(&resource(certs.put(&app.name, Some(name), &chain, key)?)?)
        }
        (&Method::DELETE, [identity]) => {
            let listing = find(certs, app, identity)?;
            certs.remove(&app.name, &listing.record.name)?;
            ok(&resource(listing)?)
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

/// Finds a certificate by its key or its name.
fn find(certs: &AppCerts, app: &AppRecord, identity: &str) -> Result<CertListing, ApiError> {
    match identity.parse() {
        Ok(Identity::Id(id)) => {
            let mut listed = certs.list(&app.name)?.into_iter();
            listed.find(|cert| cert.record.id == id).ok_or_else(|| {
                let message = format!("Couldn't find that certificate: {id}");
                ApiError::not_found("sni-endpoint", message)
            })
        }
        Ok(Identity::Name(name)) => {
            let name: String = name;
            Ok(certs.find(&app.name, &name)?)
        }
        Err(never) => match never {},
    }
}

fn resource(
    app: &AppRecord,
    listing: CertListing,
    domains: &[DomainRecord],
) -> Result<SniEndpointResource, ApiError> {
    let CertListing { record, details } = listing;
    let hosts: Vec<String> = details
        .iter()
        .flat_map(|details| details.hosts.iter().map(ToString::to_string))
        .collect();
    let served = |domain: &&DomainRecord| hosts.iter().any(|host| host == domain.hostname.as_str());
    Ok(SniEndpointResource {
        id: record.id,
        app: resources::app_ref(app),
        certificate_chain: record.chain.clone(),
        created_at: time(&record.created_at)?,
        display_name: None,
        domains: domains
            .iter()
            .filter(served)
            .map(|domain| domain.id)
            .collect(),
        name: record.name.clone(),
        ssl_cert: details.map(|details| ssl_cert(&record, details)),
        updated_at: time(&record.updated_at)?,
        origin: match record.origin {
            CertOrigin::Auto => CertificateOrigin::Auto,
            CertOrigin::Added => CertificateOrigin::Added,
        },
        hosts,
    })
}

fn ssl_cert(record: &CertRecord, CertDetails { names, facts, .. }: CertDetails) -> SslCert {
    SslCert {
        id: record.id,
        acm: record.origin == CertOrigin::Auto,
        ca_signed: !facts.self_signed,
        cert_domains: names,
        expires_at: facts.ends,
        issuer: facts.issuer,
        self_signed: facts.self_signed,
        starts_at: facts.starts,
        subject: facts.subject,
        serial: facts.serial,
        fingerprint: facts.fingerprint,
        expired: facts.ends < Timestamp::now(),
    }
}
