//! Certificates that apps' owners add.
//!
//! [`chain`] reads and validates a chain with its key, [`hosts`] says which hosts a certificate covers, [`resolver`] holds
//! what handshakes choose from, and [`default_cert`] loads the node's own certificate. Certificates that the node gets by
//! itself are in [`acme`](crate::acme).

pub(crate) mod chain;
pub mod default_cert;
pub(crate) mod hosts;
pub mod resolver;

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_store::{CertOrigin, CertRecord, Fault, HasFault, PrivateKey, Store, StoreError};

use self::chain::{CertFacts, ChainError};
use self::hosts::{common, host_names};
use crate::app_urls::AppUrls;
use crate::apps::names;
use crate::logs::Logs;
use crate::routing::view::RouterView;

/// The most certificates that an app's owner can add. Each takes some kilobytes of memory.
const MAX_CERTS: usize = 100;

/// A certificate that cannot be added, shown or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    /// The chain or its key is invalid.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The certificate covers no host of the app.
    #[error(
        "the certificate is for {0}, and none of these is a domain of {1}: first corundum domains:add it"
    )]
    Domains(String, AppName),
    /// The name is invalid.
    #[error(
        "\"{0}\" is not a certificate's name: use letters, digits, dots, dashes and underscores, at most 100"
    )]
    Name(String),
    /// The app has too many certificates.
    #[error("an app has at most {MAX_CERTS} certificates: remove one first")]
    Many,
    /// The store failed, does not have the certificate, or has another app's of this name.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HasFault for CertificateError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Chain(_) | Self::Domains(..) | Self::Name(_) | Self::Many => Fault::Client,
        }
    }
}

/// A certificate as listings show it: everything but the key.
pub(crate) struct CertListing {
    pub(crate) record: CertRecord,
    /// Absent if the stored chain cannot be read.
    pub(crate) details: Option<CertDetails>,
}

/// The content of a certificate.
pub(crate) struct CertDetails {
    /// The hosts that the certificate names.
    pub(crate) names: Vec<String>,
    /// The app's hosts among them.
    pub(crate) hosts: Vec<Box<str>>,
    pub(crate) facts: CertFacts,
}

/// Adds, lists and removes certificates.
pub struct AppCerts {
    store: Arc<dyn Store>,
    urls: AppUrls,
    view: Arc<RouterView>,
    logs: Arc<Logs>,
}

impl AppCerts {
    /// Creates the type that keeps certificates in `store` and serves them through `view`.
    pub fn new(
        store: Arc<dyn Store>,
        urls: AppUrls,
        view: Arc<RouterView>,
        logs: Arc<Logs>,
    ) -> Self {
        Self {
            store,
            urls,
            view,
            logs,
        }
    }

    /// Adds a certificate to an app, or replaces its certificate of this name. Without a name, one is made up.
    ///
    /// # Errors
    ///
    /// [`CertificateError`].
    pub(crate) fn put(
        &self,
        app: &AppName,
        name: Option<String>,
        pem: &str,
        key: String,
    ) -> Result<CertListing, CertificateError> {
        let key = PrivateKey::new(key);
        let chain = chain::validate(pem, &key)?;
        let hosts = host_names(&*self.store, &self.urls, app)?;
        if common(&chain.names, &hosts).is_empty() {
            return Err(CertificateError::Domains(
                chain.names.join(", "),
                app.clone(),
            ));
        }
        let name = match name {
            Some(name) => valid_name(name)?,
            None => names::random().to_string(),
        };
        let existing = self.store.certs(app)?;
        let others = |cert: &&CertRecord| cert.origin == CertOrigin::Added && cert.name != name;
        if existing.iter().filter(others).count() >= MAX_CERTS {
            return Err(CertificateError::Many);
        }
        self.store
            .put_cert(app, &name, CertOrigin::Added, pem, &key)?;
        self.view.refresh(app);
        let line = format!("Set certificate {name} for {}", chain.names.join(", "));
        self.logs.add(app, "corundum[api]", &line);
        self.find(app, &name)
    }

    /// Removes a certificate of an app.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoCert`] if the app does not have it.
    pub(crate) fn remove(&self, app: &AppName, name: &str) -> Result<(), CertificateError> {
        self.store.remove_cert(app, name)?;
        self.view.refresh(app);
        let line = format!("Remove certificate {name}");
        self.logs.add(app, "corundum[api]", &line);
        Ok(())
    }

    /// Returns an app's certificates, by name.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn list(&self, app: &AppName) -> Result<Vec<CertListing>, CertificateError> {
        let hosts = host_names(&*self.store, &self.urls, app)?;
        let records = self.store.certs(app)?.into_iter();
        Ok(records.map(|record| listing(record, &hosts)).collect())
    }

    /// Returns one of an app's certificates.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoCert`] if the app does not have it.
    pub(crate) fn find(&self, app: &AppName, name: &str) -> Result<CertListing, CertificateError> {
        let mut certs = self.list(app)?.into_iter();
        let found = certs.find(|cert| cert.record.name == name);
        Ok(found.ok_or_else(|| StoreError::NoCert(name.to_owned()))?)
    }
}

fn listing(record: CertRecord, hosts: &[String]) -> CertListing {
    let chain = chain::read(&record.chain, &record.key).ok();
    let details = chain.map(|chain| CertDetails {
        hosts: common(&chain.names, hosts),
        names: chain.names,
        facts: chain.facts,
    });
    CertListing { record, details }
}

/// Checks that a name can stand in a URL.
fn valid_name(name: String) -> Result<String, CertificateError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    // A leading dot would be a step in a path. Names with a colon are those of automatic certificates.
    if (1..=100).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with('.') {
        Ok(name)
    } else {
        Err(CertificateError::Name(name.chars().take(80).collect()))
    }
}
