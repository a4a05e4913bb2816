//! One ACME order: a certificate for one host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use corundum_router::acme_http01::Http01Challenges;
use corundum_router::tls::certificates::{Certificate, Certificates};
use corundum_store::{PrivateKey, Store, StoreError};
use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, KeyAuthorization, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::client::AcmeHttpClient;
use crate::certs::chain::ChainError;

/// The ACME server that the node uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The URL of its directory.
    pub directory: String,
    /// The mail address that the server may write to.
    pub contact: Option<String>,
    /// A certificate authority in PEM that the node trusts for the server itself, instead of the public ones.
    pub root: Option<PathBuf>,
}

/// The parts of the router that answer ACME challenges. Cheap to clone.
#[derive(Clone)]
pub struct ChallengeResponders {
    /// HTTP-01, on every listener.
    pub http: Arc<Http01Challenges>,
    /// TLS-ALPN-01, on the TLS listener.
    pub tls: Arc<Certificates>,
}

/// The intervals at which the node polls an order.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(60));

/// The error type of a server that does not know the account (RFC 8555 section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// A failed order.
#[derive(Debug, thiserror::Error)]
pub(super) enum AcmeError {
    /// The server refused a challenge or the order.
    #[error("{0}")]
    Refused(String),
    /// The server could not be reached, or sent an invalid response.
    #[error("the ACME server: {0}")]
    Server(Error),
    /// The order took too long.
    #[error("the ACME server took too long")]
    Timeout,
    /// The server offers no challenge that the node can answer.
    #[error("the ACME server offers neither HTTP-01 nor TLS-ALPN-01 for this host")]
    Unoffered,
    /// The file of the additional root is invalid.
    #[error("--acme-root {0}")]
    Root(String),
    /// A key or a certificate request cannot be made.
    #[error("a certificate request could not be made: {0}")]
    Request(#[from] rcgen::Error),
    /// The certificate of a TLS-ALPN-01 challenge cannot be made.
    #[error("a challenge's certificate could not be made: {0}")]
    Tls(#[from] rustls::Error),
    /// The issued certificate is invalid.
    #[error("the ACME server issued an invalid certificate: {0}")]
    Invalid(#[from] ChainError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another version wrote the account's credentials.
    #[error("the account's credentials cannot be read: {0}")]
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
    /// Returns whether the server has validated and refused, which public servers count.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unoffered | Self::Invalid(_))
    }
}

/// An issued chain and its key, in PEM.
pub(super) struct IssuedCert {
    pub(crate) chain: String,
    pub(crate) key: String,
}

/// Gets a certificate for `host`, with HTTP-01 or else with TLS-ALPN-01, since the server may reach only one of the ports.
pub(super) async fn obtain(
    store: &dyn Store,
    settings: &AcmeSettings,
    responders: &ChallengeResponders,
    host: &str,
) -> Result<IssuedCert, AcmeError> {
    let account = account(store, settings).await?;
    let first = order(&account, responders, host, ChallengeType::Http01).await;
    let first = match first {
        Err(AcmeError::Server(Error::Api(_))) => {
            // The server does not know the account any longer: the next attempt creates a new one.
            store.set_acme_account(&settings.directory, None)?;
            return first;
        }
        Err(error) if error.is_refusal() => error,
        other => return other,
    };
    let second = order(&account, responders, host, ChallengeType::TlsAlpn01).await;
    second.map_err(|second| match second {
        AcmeError::Refused(second) => {
            AcmeError::Refused(format!("HTTP-01: {first}; TLS-ALPN-01: {second}"))
        }
        AcmeError::Unoffered => first,
        other => other,
    })
}

/// Returns the node's account, which the first order creates.
async fn account(store: &dyn Store, settings: &AcmeSettings) -> Result<Account, AcmeError> {
    let AcmeSettings {
        directory,
        contact,
        root,
    } = settings;
    let client = AcmeHttpClient::new(root.as_deref()).map_err(AcmeError::Root)?;
    let builder = Account::builder_with_http(Box::new(client));
    if let Some(stored) = store.acme_account(directory)? {
        let credentials = serde_json::from_str(stored.expose())?;
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
    let credentials = PrivateKey::new(serde_json::to_string(&credentials)?);
    store.set_acme_account(directory, Some(&credentials))?;
    Ok(account)
}

async fn order(
    account: &Account,
    responders: &ChallengeResponders,
    host: &str,
    kind: ChallengeType,
) -> Result<IssuedCert, AcmeError> {
    let identifiers = [Identifier::Dns(host.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    let answers = answer(&mut order, responders, host, kind).await?;
    let ready = order.poll_ready(&POLLING).await;
    drop(answers);
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
    Ok(IssuedCert {
        chain: order.poll_certificate(&POLLING).await?,
        key: key.serialize_pem(),
    })
}

/// Answers the order's challenges and asks the server to validate them.
async fn answer(
    order: &mut Order,
    responders: &ChallengeResponders,
    host: &str,
    kind: ChallengeType,
) -> Result<Vec<ChallengeAnswer>, AcmeError> {
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        // The server may remember an earlier validation.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let challenge = authorization.challenge(kind.clone());
        let mut challenge = challenge.ok_or(AcmeError::Unoffered)?;
        let key = challenge.key_authorization();
        answers.push(match kind {
            ChallengeType::TlsAlpn01 => ChallengeAnswer::tls(responders, host, &key)?,
            _ => ChallengeAnswer::http(responders, host, &challenge.token, &key),
        });
        challenge.set_ready().await?;
    }
    Ok(answers)
}

/// Returns the server's reason for refusing a challenge.
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

/// An answer to a challenge, which the router gives until this is dropped.
enum ChallengeAnswer {
    Http {
        challenges: Arc<Http01Challenges>,
        host: String,
        token: String,
    },
    Tls {
        certificates: Arc<Certificates>,
        host: String,
    },
}

impl ChallengeAnswer {
    fn http(
        responders: &ChallengeResponders,
        host: &str,
        token: &str,
        answer: &KeyAuthorization,
    ) -> Self {
        responders.http.add(host, token, answer.as_str());
        Self::Http {
            challenges: responders.http.clone(),
            host: host.to_owned(),
            token: token.to_owned(),
        }
    }

    /// Serves a self-signed certificate for the host that contains the digest of the key authorization (RFC 8737 section 3).
    fn tls(
        responders: &ChallengeResponders,
        host: &str,
        answer: &KeyAuthorization,
    ) -> Result<Self, AcmeError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        let digest = answer.digest();
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
        let made = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let certificate = Certificate::of_challenge(made.der().clone(), key)?;
        responders.tls.add_challenge(host, &certificate);
        Ok(Self::Tls {
            certificates: responders.tls.clone(),
            host: host.to_owned(),
        })
    }
}

impl Drop for ChallengeAnswer {
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
