//! One order: a certificate for one host.

use std::sync::Arc;
use std::time::Duration;

use corundum_router::tls::certificates::Certificate;
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, KeyAuthorization, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::client::Client;
use super::{Acme, Proofs};
use crate::certs::chain::CertError;
use crate::platform::Platform;
use corundum_store::PrivateKey;
use corundum_store::StoreError;

/// How the server is asked whether it is done.
const PATIENCE: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(60));

/// What a server says that has never heard of the account, or has forgotten it (RFC 8555 section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    /// The server did not accept a proof, or the order.
    #[error("{0}")]
    Refused(String),
    /// It could not be asked, or did not answer as it should.
    #[error("the ACME server: {0}")]
    Server(Error),
    /// It took too long.
    #[error("the ACME server took too long")]
    Timeout,
    /// It offers no proof that the node can give.
    #[error("the ACME server offers neither HTTP-01 nor TLS-ALPN-01 for this host")]
    Unoffered,
    /// The extra root's file.
    #[error("--acme-root {0}")]
    Root(String),
    /// A key or a request could not be made.
    #[error("a certificate request could not be made: {0}")]
    Request(#[from] rcgen::Error),
    /// A proof's certificate could not be made.
    #[error("a challenge's certificate could not be made: {0}")]
    Tls(#[from] rustls::Error),
    /// What the server gave is of no use.
    #[error("what the ACME server gave cannot be used: {0}")]
    Useless(#[from] CertError),
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Credentials that another version wrote.
    #[error("the account's credentials are not understood: {0}")]
    Credentials(#[from] serde_json::Error),
}

impl From<Error> for AcmeError {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) if problem.r#type.as_deref() != Some(NO_ACCOUNT) => {
                Self::Refused(problem.to_string())
            }
            Error::Timeout(_) => Self::Timeout,
            other => Self::Server(other),
        }
    }
}

impl AcmeError {
    /// Whether the server has looked and said no, which public ones count.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unoffered | Self::Useless(_))
    }
}

/// A chain and its key, in PEM.
pub(crate) struct Issued {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// Gets a certificate for `host`: with HTTP-01, or else with TLS-ALPN-01, since only one of the ports may be reachable.
pub(crate) async fn obtain(
    platform: &Platform,
    proofs: &Proofs,
    host: &str,
) -> Result<Issued, AcmeError> {
    let account = account(platform).await?;
    let first = order(&account, proofs, host, ChallengeType::Http01).await;
    let first = match first {
        Err(AcmeError::Server(Error::Api(_))) => {
            // The server has forgotten the account: the next attempt makes a new one.
            let directory = &platform.settings().acme.directory;
            platform.store().set_acme_account(directory, None)?;
            return first;
        }
        Err(error) if error.is_refusal() => error,
        other => return other,
    };
    let second = order(&account, proofs, host, ChallengeType::TlsAlpn01).await;
    second.map_err(|second| match second {
        AcmeError::Refused(second) => {
            AcmeError::Refused(format!("HTTP-01: {first}; TLS-ALPN-01: {second}"))
        }
        AcmeError::Unoffered => first,
        other => other,
    })
}

/// The node's account, made when it is first needed.
async fn account(platform: &Platform) -> Result<Account, AcmeError> {
    let Acme {
        directory,
        contact,
        root,
    } = &platform.settings().acme;
    let client = Client::new(root.as_deref()).map_err(AcmeError::Root)?;
    let builder = Account::builder_with_http(Box::new(client));
    if let Some(kept) = platform.store().acme_account(directory)? {
        let credentials = serde_json::from_str(kept.expose())?;
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact = contact.as_ref().map(|mail| format!("mailto:{mail}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
    let kept = PrivateKey::new(serde_json::to_string(&credentials)?);
    platform.store().set_acme_account(directory, Some(&kept))?;
    Ok(account)
}

async fn order(
    account: &Account,
    proofs: &Proofs,
    host: &str,
    kind: ChallengeType,
) -> Result<Issued, AcmeError> {
    let identifiers = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let shown = prove(&mut order, proofs, host, kind).await?;
    let ready = order.poll_ready(&PATIENCE).await;
    drop(shown);
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        let reason = reason(&mut order).await;
        return Err(match (ready, reason) {
            (_, Some(reason)) => AcmeError::Refused(reason),
            (Err(error), None) => error.into(),
            (Ok(_), None) => {
                AcmeError::Refused("the ACME server refused without a reason".to_owned())
            }
        });
    }
    let key = KeyPair::generate()?;
    let mut request = CertificateParams::new(vec![host.to_owned()])?;
    request.distinguished_name = DistinguishedName::new();
    let request = request.serialize_request(&key)?;
    order.finalize_csr(request.der()).await?;
    Ok(Issued {
        chain: order.poll_certificate(&PATIENCE).await?,
        key: key.serialize_pem(),
    })
}

/// Shows a proof, and tells the server to look.
async fn prove(
    order: &mut Order,
    proofs: &Proofs,
    host: &str,
    kind: ChallengeType,
) -> Result<Vec<Proof>, AcmeError> {
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // The server may still know a proof of before.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(kind.clone());
        let mut challenge = challenge.ok_or(AcmeError::Unoffered)?;
        let answer = challenge.key_authorization();
        shown.push(match kind {
            ChallengeType::TlsAlpn01 => Proof::tls(proofs, host, &answer)?,
            _ => Proof::http(proofs, host, &challenge.token, &answer),
        });
        challenge.set_ready().await?;
    }
    Ok(shown)
}

/// What the server says of a proof that it did not accept.
async fn reason(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        let problem = state.challenges.iter().find_map(|c| c.error.as_ref());
        if let Some(problem) = problem {
            let detail = problem.detail.clone();
            return Some(detail.unwrap_or_else(|| problem.to_string()));
        }
    }
    None
}

/// A proof that is shown as long as this lives.
enum Proof {
    Http {
        challenges: Arc<corundum_router::acme_http01::Http01Challenges>,
        host: String,
        token: String,
    },
    Tls {
        certificates: Arc<corundum_router::tls::certificates::Certificates>,
        host: String,
    },
}

impl Proof {
    fn http(proofs: &Proofs, host: &str, token: &str, answer: &KeyAuthorization) -> Self {
        proofs.http.add(host, token, answer.as_str());
        Self::Http {
            challenges: proofs.http.clone(),
            host: host.to_owned(),
            token: token.to_owned(),
        }
    }

    /// A certificate of its own making for the host, with the answer's digest in it (RFC 8737 section 3).
    fn tls(proofs: &Proofs, host: &str, answer: &KeyAuthorization) -> Result<Self, AcmeError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        let digest = answer.digest();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let made = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let certificate = Certificate::of_challenge(made.der().clone(), key)?;
        proofs.tls.add_challenge(host, &certificate);
        Ok(Self::Tls {
            certificates: proofs.tls.clone(),
            host: host.to_owned(),
        })
    }
}

impl Drop for Proof {
    fn drop(&mut self) {
        match self {
            Self::Http {
                challenges,
                host,
                token,
            } => challenges.remove(host, token),
            Self::Tls { certificates, host } => certificates.remove_challenge(host),
        }
    }
}
