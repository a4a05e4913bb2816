//! Domains: host names of an app beside `NAME.DOMAIN` of the node.

use std::sync::Arc;

use corundum_abi::names::AppName;
use corundum_store::{
    DomainName, DomainRecord, Fault, HasFault, InvalidDomainName, Store, StoreError,
};

use crate::acme::wake::AcmeWake;
use crate::app_urls::AppUrls;
use crate::logs::Logs;
use crate::routing::view::RouterView;

/// The most domains of an app, as on Heroku.
const MAX_DOMAINS: usize = 1000;

/// A domain that cannot be added or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DomainError {
    /// The text is not a domain name.
    #[error(transparent)]
    Invalid(#[from] InvalidDomainName),
    /// The node gives out the names below its own domain.
    #[error("{0} lies under the node's own domain, whose names are those of its apps")]
    OfNode(DomainName),
    /// The app has too many domains.
    #[error(
        "an app has at most {MAX_DOMAINS} domains: remove one, or add a wildcard such as *.example.com"
    )]
    Many,
    /// The store failed, does not have the domain, or another app has it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HasFault for DomainError {
    fn fault(&self) -> Fault {
        match self {
            Self::Store(error) => error.fault(),
            Self::Invalid(_) | Self::OfNode(_) | Self::Many => Fault::Client,
        }
    }
}

/// Adds and removes domains.
pub struct Domains {
    store: Arc<dyn Store>,
    urls: AppUrls,
    view: Arc<RouterView>,
    logs: Arc<Logs>,
    acme: Arc<AcmeWake>,
}

impl Domains {
    /// Creates the type that keeps domains in `store` and serves them through `view`.
    pub fn new(
        store: Arc<dyn Store>,
        urls: AppUrls,
        view: Arc<RouterView>,
        logs: Arc<Logs>,
        acme: Arc<AcmeWake>,
    ) -> Self {
        Self {
            store,
            urls,
            view,
            logs,
            acme,
        }
    }

    /// Returns the host name that the node gives an app.
    pub(crate) fn own(&self, app: &AppName) -> String {
        self.urls.host(app)
    }

    /// Returns an app's domains, in alphabetical order.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub(crate) fn list(&self, app: &AppName) -> Result<Vec<DomainRecord>, DomainError> {
        Ok(self.store.domains(app)?)
    }

    /// Adds a domain, at which the app is served from then on.
    ///
    /// # Errors
    ///
    /// [`DomainError`].
    pub(crate) fn add(&self, app: &AppName, host: &str) -> Result<DomainRecord, DomainError> {
        let host: DomainName = host.parse()?;
        if host.is_below(&self.urls.domain) {
            return Err(DomainError::OfNode(host));
        }
        if self.store.domains(app)?.len() >= MAX_DOMAINS {
            return Err(DomainError::Many);
        }
        let added = self.store.add_domain(app, &host)?;
        self.changed(app, &format!("Add {host} domain"));
        Ok(added)
    }

    /// Removes a domain from an app.
    ///
    /// # Errors
    ///
    /// [`DomainError`].
    pub(crate) fn remove(&self, app: &AppName, host: &str) -> Result<(), DomainError> {
        let host: DomainName = host.parse()?;
        self.store.remove_domain(app, &host)?;
        self.changed(app, &format!("Remove {host} domain"));
        Ok(())
    }

    fn changed(&self, app: &AppName, line: &str) {
        self.view.refresh(app);
        self.acme.wake();
        self.logs.add(app, "corundum[api]", line);
    }
}
