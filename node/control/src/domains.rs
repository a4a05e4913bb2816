//! Domains: host names of an app beside `NAME.DOMAIN` of the node.

use corundum_abi::names::AppName;

use crate::platform::Platform;
use corundum_store::StoreError;
use corundum_store::{DomainName, DomainRecord, InvalidDomainName};

/// Domains of one app, as Heroku has it.
const MOST: usize = 1000;

/// A host name that is none, or that an app cannot have. The user's to mend.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DomainError {
    /// The text is not a domain name.
    #[error(transparent)]
    Invalid(#[from] InvalidDomainName),
    /// A name that the node gives out itself.
    #[error("{0} lies under the node's own domain, whose names are those of its apps")]
    OfNode(DomainName),
    /// Too many.
    #[error("an app has at most {MOST} domains: remove one, or add a wildcard, as *.example.com")]
    Many,
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Gives an app a domain; it is served there from then on.
///
/// # Errors
///
/// [`DomainError`].
pub(crate) fn add(
    platform: &Platform,
    app: &AppName,
    host: &str,
) -> Result<DomainRecord, DomainError> {
    let host: DomainName = host.parse()?;
    if host.is_below(&platform.settings().domain) {
        return Err(DomainError::OfNode(host));
    }
    if platform.store().domains(app)?.len() >= MOST {
        return Err(DomainError::Many);
    }
    let added = platform.store().add_domain(app, &host)?;
    platform.refresh(app);
    platform.acme().wake();
    platform
        .logs()
        .add(app, "corundum[api]", &format!("Add {host} domain"));
    Ok(added)
}

/// Takes a domain from an app.
///
/// # Errors
///
/// [`DomainError`].
pub(crate) fn remove(platform: &Platform, app: &AppName, host: &str) -> Result<(), DomainError> {
    let host: DomainName = host.parse()?;
    platform.store().remove_domain(app, &host)?;
    platform.refresh(app);
    platform.acme().wake();
    platform
        .logs()
        .add(app, "corundum[api]", &format!("Remove {host} domain"));
    Ok(())
}
