//! Endpoints of added certificates. Responses never contain private keys.

use corundum_abi::names::AppName;
use http::{Method, Request};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::response::{ApiResult, ok, read};
use crate::certs::{AppCerts, CertDetails, CertListing};

#[derive(Deserialize)]
struct PutCert {
    name: Option<String>,
    certificate_chain: String,
    private_key: String,
}

/// Serves the endpoints below an app's `certs`.
pub(super) async fn serve(
    certs: &AppCerts,
    method: &Method,
    app: &AppName,
    rest: &[&str],
    request: Request<Incoming>,
) -> ApiResult {
    match (method, rest) {
        (&Method::GET, []) => ok(&certs.list(app)?.iter().map(cert_json).collect()),
        (&Method::POST, []) => {
            let put: PutCert = read(request).await?;
            let (chain, key) = (put.certificate_chain, put.private_key);
            ok(&cert_json(&certs.put(app, put.name, &chain, key)?))
        }
        (&Method::GET, [name]) => ok(&cert_json(&certs.find(app, name)?)),
        (&Method::DELETE, [name]) => {
            certs.remove(app, name)?;
            ok(&json!({"name": name}))
        }
        _ => Err(ApiError::no_endpoint()),
    }
}

fn cert_json(cert: &CertListing) -> Value {
    let mut json = json!({
        "name": cert.record.name,
        "origin": cert.record.origin.as_str(),
        "updated_at": cert.record.updated_at,
    });
    if let Some(CertDetails {
        names,
        hosts,
        facts,
    }) = &cert.details
    {
        json["common_names"] = json!(names);
        json["shown_for"] = json!(hosts);
        json["issuer"] = json!(facts.issuer);
        json["subject"] = json!(facts.subject);
        json["self_signed"] = json!(facts.self_signed);
        json["serial"] = json!(facts.serial);
        json["fingerprint"] = json!(facts.fingerprint);
        json["starts_at"] = json!(facts.starts.to_string());
        json["expires_at"] = json!(facts.ends.to_string());
        json["expired"] = json!(facts.ends < jiff::Timestamp::now());
    }
    json
}
