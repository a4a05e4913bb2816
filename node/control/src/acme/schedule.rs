//! The hosts that get a certificate, and when each is due.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_store::{CertOrigin, CertRecord, Store, StoreError};
use jiff::Timestamp;

use crate::app_urls::AppUrls;
use crate::apps::settings::catalog;
use crate::certs::chain::{self, CertChain};
use crate::certs::hosts::{common, host_names};
use crate::certs::resolver::CertResolver;

/// Automatic certificates have names that an owner cannot give.
const PREFIX: &str = "auto:";

/// A host of an app with automatic certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AcmeHost {
    pub(super) name: String,
    pub(super) state: HostState,
    /// The end of the present certificate.
    pub(super) expires: Option<Timestamp>,
    /// Failed attempts since the last success.
    pub(super) failures: u32,
    pub(super) message: Option<String>,
}

/// The next action for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostState {
    /// The node gets a certificate now.
    Due,
    /// The node waits until this second of Unix time.
    Waits(i64),
    /// An added certificate of this name covers the host and has more than a third of its life left.
    Covered(String),
    /// ACME servers accept no challenge for a wildcard that the node can answer (RFC 8555 section 8).
    Wildcard,
}

impl AcmeHost {
    /// Returns the name under which the store keeps the certificate.
    pub(super) fn cert_name(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

/// Returns the Unix time in seconds.
pub(super) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// Returns when a certificate is renewed: with a third of its life left.
pub(super) fn renewal(starts: i64, ends: i64) -> i64 {
    ends - (ends - starts) / 3
}

/// Finds due hosts.
pub(super) struct Schedule {
    store: Arc<dyn Store>,
    urls: AppUrls,
    certs: Arc<CertResolver>,
}

/// A certificate of an app, read once for all of its hosts.
struct AppCert {
    record: CertRecord,
    chain: CertChain,
}

impl Schedule {
    pub(super) fn new(store: Arc<dyn Store>, urls: AppUrls, certs: Arc<CertResolver>) -> Self {
        Self { store, urls, certs }
    }

    /// Returns whether an app has automatic certificates.
    pub(super) fn is_enabled(&self, app: &AppName) -> Result<bool, StoreError> {
        let values = self.store.settings(app)?;
        Ok(catalog::is_on(&values, &catalog::CERTS_AUTO) && self.urls.https.is_some())
    }

    /// Returns the hosts of an app with their states. An app without automatic certificates has none.
    pub(super) fn hosts(&self, app: &AppName) -> Result<Vec<AcmeHost>, StoreError> {
        if !self.is_enabled(app)? {
            return Ok(Vec::new());
        }
        let domain = &self.urls.domain;
        let own = self.urls.host(app);
        let names = host_names(&*self.store, &self.urls, app)?.into_iter();
        // Authorities issue no certificates for names that every machine has.
        let public = domain.contains('.') && !domain.ends_with(".localhost");
        let names = names.filter(|name| *name != own || public);
        let certs = self.certs_of(app)?;
        names.map(|name| self.host(&certs, name)).collect()
    }

    /// Removes the automatic certificates of hosts that the app no longer has. Returns whether it removed any.
    pub(super) fn forget_others(
        &self,
        app: &AppName,
        hosts: &[AcmeHost],
    ) -> Result<bool, StoreError> {
        let mut removed = false;
        for record in self.store.certs(app)? {
            let kept = hosts.iter().any(|host| host.cert_name() == record.name);
            if record.origin == CertOrigin::Auto && !kept {
                self.store.remove_cert(app, &record.name)?;
                removed = true;
            }
        }
        Ok(removed)
    }

    fn certs_of(&self, app: &AppName) -> Result<Vec<AppCert>, StoreError> {
        let records = self.store.certs(app)?.into_iter();
        let readable = records.filter_map(|record| {
            let chain = chain::read(&record.chain, &record.key).ok()?;
            Some(AppCert { record, chain })
        });
        Ok(readable.collect())
    }

    fn host(&self, certs: &[AppCert], name: String) -> Result<AcmeHost, StoreError> {
        let mut host = AcmeHost {
            name,
            state: HostState::Due,
            expires: None,
            failures: 0,
            message: None,
        };
        let mut renewed_at = None;
        for AppCert { record, chain } in certs {
            let covered = common(&chain.names, std::slice::from_ref(&host.name));
            let facts = &chain.facts;
            let renewal = renewal(facts.starts.as_second(), facts.ends.as_second());
            // An added certificate that its owner does not renew is replaced before it expires.
            if record.origin == CertOrigin::Added && !covered.is_empty() && renewal > now() {
                host.state = HostState::Covered(record.name.clone());
                return Ok(host);
            }
            if record.name == host.cert_name() {
                host.expires = Some(facts.ends);
                renewed_at = Some(renewal);
            }
        }
        if self.certs.default_covers(&host.name) {
            host.state = HostState::Covered("the node's certificate".to_owned());
            return Ok(host);
        }
        if host.name.starts_with("*.") {
            host.state = HostState::Wildcard;
            return Ok(host);
        }
        let attempts = self.store.attempts(&host.name)?;
        let due = match &attempts {
            Some(attempts) => attempts.next,
            None => renewed_at.unwrap_or(0),
        };
        if due > now() {
            host.state = HostState::Waits(due);
        }
        if let Some(attempts) = attempts {
            host.failures = attempts.failures;
            host.message = Some(attempts.message);
        }
        Ok(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_renewed_with_a_third_of_its_life_left() {
        assert_eq!(renewal(0, 90), 60);
        assert_eq!(renewal(100, 103), 102);
    }
}
