//! The HTTP client for ACME servers: `ureq`, which the node links anyway, on threads that may block.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The time for one request and its response.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of one response. A chain of certificates is the longest.
const MAX_RESPONSE: u64 = 1 << 20;

/// A client that speaks only HTTPS.
pub(super) struct AcmeHttpClient(ureq::Agent);

impl AcmeHttpClient {
    /// Creates a client that trusts the public authorities, or only the one in the file `root`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or is not PEM.
    pub(crate) fn new(root: Option<&Path>) -> Result<Self, String> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = root {
            let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let pem = std::fs::read(path).map_err(|error| failed(&error))?;
            let root = Certificate::from_pem(&pem).map_err(|error| failed(&error))?;
            tls = tls.root_certs(RootCerts::Specific(Arc::new(vec![root])));
        }
        let agent = ureq::Agent::config_builder()
            .https_only(true)
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .tls_config(tls.build())
            .build();
        Ok(Self(agent.into()))
    }
}

impl HttpClient for AcmeHttpClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let agent = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = match body.collect().await {
                Ok(body) => body.to_bytes().to_vec(),
                Err(never) => match never {},
            };
            let request = Request::from_parts(parts, body);
            let sent = tokio::task::spawn_blocking(move || send(&agent, request)).await;
            let response = sent.map_err(|error| Error::Other(Box::new(error)))?;
            response.map_err(|error| Error::Other(Box::new(error)))
        })
    }
}

fn send(agent: &ureq::Agent, request: Request<Vec<u8>>) -> Result<BytesResponse, ureq::Error> {
    let (parts, body) = agent.run(request)?.into_parts();
    let body = body.into_with_config().limit(MAX_RESPONSE).read_to_vec()?;
    let response = http::Response::from_parts(parts, Full::new(Bytes::from(body)));
    Ok(response.into())
}
