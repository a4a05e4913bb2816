//! A chain of certificates and its private key, read and checked.

use corundum_abi::names::AppName;
use corundum_router::tls::certificates::Certificate;
use jiff::Timestamp;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use corundum_store::PrivateKey;
use corundum_store::StoreError;

/// Certificates of one chain: real ones have two or three.
const LONGEST_CHAIN: usize = 10;

/// Host names of one certificate: public authorities give at most 100.
const MOST_NAMES: usize = 1000;

/// A certificate that cannot be used. Its owner's to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertError {
    /// No certificate in the first file.
    #[error(
        "the certificate's file has no certificate in it: it must be PEM, with -----BEGIN CERTIFICATE----- in it (for DER: openssl x509 -inform der -in FILE)"
    )]
    NoCertificate,
    /// Too many.
    #[error("the chain has more than {LONGEST_CHAIN} certificates: leave out what is not of it")]
    Long,
    /// Not X.509.
    #[error("certificate {0} of the chain is damaged: {1}")]
    Damaged(usize, String),
    /// An encrypted key.
    #[error("the private key is encrypted: decrypt it first, with openssl pkey -in KEY -out PLAIN")]
    Encrypted,
    /// No key in the second file.
    #[error(
        "the key's file has no private key in it: it must be PEM, with -----BEGIN PRIVATE KEY----- in it, or EC or RSA before PRIVATE"
    )]
    NoKey,
    /// A key that TLS has no use for.
    #[error(
        "the private key cannot be used ({0}): take an RSA key of 2048 to 8192 bits, or one of P-256, P-384 or Ed25519"
    )]
    Key(String),
    /// Another certificate's key.
    #[error(
        "the private key is not that of the certificate (the first of the file): their public keys differ"
    )]
    Mismatch,
    /// What follows does not sign what goes before.
    #[error(
        "the chain is out of order: certificate {0} (of {1}) was issued by {2}, but the next is of {3}"
    )]
    Order(usize, String, String, String),
    /// Over.
    #[error("the certificate has expired: it was valid until {0}")]
    Expired(Timestamp),
    /// Not begun.
    #[error("the certificate is not valid yet: it will be from {0}; is the node's clock right?")]
    Early(Timestamp),
    /// For other purposes.
    #[error("the certificate is not for servers: its extended key usage lacks serverAuth")]
    Usage,
    /// No names.
    #[error(
        "the certificate names no host: browsers want it in subjectAltName, its common name is not enough"
    )]
    NoNames,
    /// Names that are not the app's.
    #[error(
        "the certificate is for {0}, and none of that is a domain of {1}: first corundum domains:add it"
    )]
    Domains(String, AppName),
    /// Not a certificate's name.
    #[error(
        "\"{0}\" is not a certificate's name: use letters, digits, dots, dashes and underscores, at most 100"
    )]
    Name(String),
    /// Too many.
    #[error("an app has at most {0} certificates: remove one first")]
    Many(usize),
    /// Several, and none was named.
    #[error(
        "the app has several certificates: say which with --name, as corundum certs lists them"
    )]
    Which,
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A chain with its key.
pub(crate) struct Checked {
    /// Ready for handshakes.
    pub(crate) certificate: Certificate,
    /// The hosts that it is for, in lower case.
    pub(crate) names: Vec<String>,
    pub(crate) facts: Facts,
}

/// What a certificate says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
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
/// [`CertError`].
pub(crate) fn check(chain: &str, key: &PrivateKey) -> Result<Checked, CertError> {
    let checked = read(chain, key)?;
    let now = Timestamp::now();
    if checked.facts.ends < now {
        return Err(CertError::Expired(checked.facts.ends));
    }
    if checked.facts.starts > now {
        return Err(CertError::Early(checked.facts.starts));
    }
    Ok(checked)
}

/// Reads a chain and its key, whatever the time is.
///
/// # Errors
///
/// [`CertError`].
pub(crate) fn read(chain: &str, key: &PrivateKey) -> Result<Checked, CertError> {
    let chain = certificates(chain)?;
    let first = chain.first().ok_or(CertError::NoCertificate)?;
    let leaf = parse(1, first)?;
    check_order(&chain)?;
    check_usage(&leaf)?;
    let names = names(&leaf);
    if names.is_empty() {
        return Err(CertError::NoNames);
    }
    let facts = facts(&leaf, first);
    let key = private_key(key)?;
    let certificate = Certificate::new(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => CertError::Mismatch,
        rustls::Error::InvalidCertificate(error) => CertError::Damaged(1, error.to_string()),
        other => CertError::Key(other.to_string()),
    })?;
    Ok(Checked {
        certificate,
        names,
        facts,
    })
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes());
    let found: Result<Vec<_>, _> = found.take(LONGEST_CHAIN + 1).collect();
    let found = found.map_err(|_| CertError::NoCertificate)?;
    if found.len() > LONGEST_CHAIN {
        return Err(CertError::Long);
    }
    Ok(found)
}

fn private_key(key: &PrivateKey) -> Result<PrivateKeyDer<'static>, CertError> {
    let pem = key.expose();
    if pem.contains("ENCRYPTED") {
        return Err(CertError::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| CertError::NoKey)
}

fn parse<'a>(
    number: usize,
    der: &'a CertificateDer<'static>,
) -> Result<X509Certificate<'a>, CertError> {
    match X509Certificate::from_der(der) {
        Ok((_, certificate)) => Ok(certificate),
        Err(error) => Err(CertError::Damaged(number, error.to_string())),
    }
}

/// Each certificate is issued by the next (RFC 5246 section 7.4.2). TLS 1.3 allows other orders, and old clients do not.
fn check_order(chain: &[CertificateDer<'static>]) -> Result<(), CertError> {
    for (number, pair) in (1..).zip(chain.windows(2)) {
        let (one, next) = (parse(number, &pair[0])?, parse(number + 1, &pair[1])?);
        if one.issuer() != next.subject() {
            let [of, by, other] = [one.subject(), one.issuer(), next.subject()];
            return Err(CertError::Order(
                number,
                of.to_string(),
                by.to_string(),
                other.to_string(),
            ));
        }
    }
    Ok(())
}

fn check_usage(leaf: &X509Certificate<'_>) -> Result<(), CertError> {
    match leaf.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.server_auth && !usage.value.any => Err(CertError::Usage),
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
    hosts.take(MOST_NAMES).collect()
}

fn facts(leaf: &X509Certificate<'_>, der: &CertificateDer<'_>) -> Facts {
    let time = |seconds: i64| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
    let validity = leaf.validity();
    Facts {
        subject: leaf.subject().to_string(),
        issuer: leaf.issuer().to_string(),
        self_signed: leaf.subject() == leaf.issuer(),
        serial: leaf.raw_serial_as_string(),
        fingerprint: format!("{:x}", Sha256::digest(der)),
        starts: time(validity.not_before.timestamp()),
        ends: time(validity.not_after.timestamp()),
    }
}
