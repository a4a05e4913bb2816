//! Reads and validates a chain of certificates and its private key.

use corundum_compiler::text::without_mark;
use corundum_router::tls::certificates::Certificate;
use corundum_store::PrivateKey;
use jiff::Timestamp;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The most certificates in a chain. Real chains have two or three.
const MAX_CHAIN: usize = 10;

/// The most host names of one certificate. Public authorities issue at most 100.
const MAX_NAMES: usize = 1000;

/// A chain or key that cannot be served. Its owner is at fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainError {
    /// The first file has no certificate.
    #[error(
        "the certificate's file has no certificate in it: it must be PEM, with -----BEGIN CERTIFICATE----- in it (for DER: openssl x509 -inform der -in FILE)"
    )]
    NoCertificate,
    /// The chain has too many certificates.
    #[error(
        "the chain has more than {MAX_CHAIN} certificates: leave out those that are not part of it"
    )]
    Long,
    /// A certificate is not valid X.509.
    #[error("certificate {0} of the chain is damaged: {1}")]
    Damaged(usize, String),
    /// The key is encrypted.
    #[error("the private key is encrypted: decrypt it first, with openssl pkey -in KEY -out PLAIN")]
    Encrypted,
    /// The second file has no key.
    #[error(
        "the key's file has no private key in it: it must be PEM, with -----BEGIN PRIVATE KEY----- in it, or EC or RSA before PRIVATE"
    )]
    NoKey,
    /// TLS does not support the key.
    #[error(
        "the private key cannot be used ({0}): take an RSA key of 2048 to 8192 bits, or one of P-256, P-384 or Ed25519"
    )]
    Key(String),
    /// The key belongs to another certificate.
    #[error(
        "the private key is not that of the certificate (the first of the file): their public keys differ"
    )]
    Mismatch,
    /// A certificate is not signed by the next one.
    #[error(
        "the chain is out of order: certificate {0} (of {1}) was issued by {2}, but the next is of {3}"
    )]
    Order(usize, String, String, String),
    /// The certificate has expired.
    #[error("the certificate has expired: it was valid until {0}")]
    Expired(Timestamp),
    /// The certificate is not valid yet.
    #[error("the certificate is not valid yet: it will be from {0}; is the node's clock right?")]
    Early(Timestamp),
    /// The certificate is for other purposes.
    #[error("the certificate is not for servers: its extended key usage lacks serverAuth")]
    Usage,
    /// The certificate names no host.
    #[error(
        "the certificate names no host: browsers want it in subjectAltName, its common name is not enough"
    )]
    NoNames,
}

/// A validated chain with its key.
pub(crate) struct CertChain {
    /// The form that handshakes need.
    pub(crate) certificate: Certificate,
    /// The hosts that the leaf names, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) facts: CertFacts,
}

/// The fields of a leaf certificate that listings show.
#[derive(Debug, Clone)]
pub(crate) struct CertFacts {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) self_signed: bool,
    pub(crate) serial: String,
    /// SHA-256 of the certificate.
    pub(crate) fingerprint: String,
    pub(crate) starts: Timestamp,
    pub(crate) ends: Timestamp,
}

/// Reads a chain and its key, and checks that they can be served now.
///
/// # Errors
///
/// [`ChainError`].
pub(crate) fn validate(chain: &str, key: &PrivateKey) -> Result<CertChain, ChainError> {
    let read = read(chain, key)?;
    let now = Timestamp::now();
    if read.facts.ends < now {
        return Err(ChainError::Expired(read.facts.ends));
    }
    if read.facts.starts > now {
        return Err(ChainError::Early(read.facts.starts));
    }
    Ok(read)
}

/// Reads a chain and its key, even if it has expired.
///
/// # Errors
///
/// [`ChainError`].
pub(crate) fn read(chain: &str, key: &PrivateKey) -> Result<CertChain, ChainError> {
    let chain = certificates(chain)?;
    let first = chain.first().ok_or(ChainError::NoCertificate)?;
    let leaf = parse(1, first)?;
    check_order(&chain)?;
    check_usage(&leaf)?;
    let names = names(&leaf);
    if names.is_empty() {
        return Err(ChainError::NoNames);
    }
    let facts = facts(&leaf, first);
    let key = private_key(key)?;
    let certificate = Certificate::new(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => ChainError::Mismatch,
        rustls::Error::InvalidCertificate(error) => ChainError::Damaged(1, error.to_string()),
        other => ChainError::Key(other.to_string()),
    })?;
    Ok(CertChain {
        certificate,
        names,
        facts,
    })
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let found = CertificateDer::pem_slice_iter(without_mark(pem).as_bytes());
    let found: Result<Vec<_>, _> = found.take(MAX_CHAIN + 1).collect();
    let found = found.map_err(|_| ChainError::NoCertificate)?;
    if found.len() > MAX_CHAIN {
        return Err(ChainError::Long);
    }
    Ok(found)
}

fn private_key(key: &PrivateKey) -> Result<PrivateKeyDer<'static>, ChainError> {
    let pem = without_mark(key.expose());
    if pem.contains("ENCRYPTED") {
        return Err(ChainError::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| ChainError::NoKey)
}

fn parse<'a>(
    number: usize,
    der: &'a CertificateDer<'static>,
) -> Result<X509Certificate<'a>, ChainError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(ChainError::Damaged(number, error.to_string())),
    }
}

/// Checks that each certificate is issued by the next (RFC 5246 section 7.4.2). TLS 1.3 allows other orders, but old clients
/// do not.
fn check_order(chain: &[CertificateDer<'static>]) -> Result<(), ChainError> {
    for (number, pair) in (1..).zip(chain.windows(2)) {
        let (one, next) = (parse(number, &pair[0])?, parse(number + 1, &pair[1])?);
        if one.issuer() != next.subject() {
            let [of, by, other] = [one.subject(), one.issuer(), next.subject()];
            return Err(ChainError::Order(
                number,
                of.to_string(),
                by.to_string(),
                other.to_string(),
            ));
        }
    }
    Ok(())
}

fn check_usage(leaf: &X509Certificate<'_>) -> Result<(), ChainError> {
    match leaf.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.server_auth && !usage.value.any => Err(ChainError::Usage),
        _ => Ok(()),
    }
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let names = names.value.general_names.iter();
    let hosts = names.filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
        _ => None,
    });
    hosts.take(MAX_NAMES).collect()
}

fn facts(leaf: &X509Certificate<'_>, der: &CertificateDer<'_>) -> CertFacts {
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let validity = leaf.validity();
    CertFacts {
        subject: leaf.subject().to_string(),
        issuer: leaf.issuer().to_string(),
        self_signed: leaf.subject() == leaf.issuer(),
        serial: leaf.raw_serial_as_string(),
        fingerprint: format!("{:x}", Sha256::digest(der)),
        starts: time(validity.not_before.timestamp()),
        ends: time(validity.not_after.timestamp()),
    }
}
