//! Host names of apps, and which of them a certificate covers.

use std::collections::BTreeSet;

use corundum_abi::names::AppName;
use corundum_store::{Store, StoreError};

use crate::app_urls::AppUrls;

/// Returns the host names and wildcards of an app: its domains and the name that the node gives it. An app that does not
/// exist has none.
pub(crate) fn host_names(
    store: &dyn Store,
    urls: &AppUrls,
    app: &AppName,
) -> Result<Vec<String>, StoreError> {
    if let Err(StoreError::NoApp(_)) = store.app(app) {
        return Ok(Vec::new());
    }
    let domains = store.domains(app)?.into_iter();
    let domains = domains.map(|domain| domain.hostname.to_string());
    Ok(domains.chain([urls.host(app)]).collect())
}

/// Returns the hosts that a certificate's names and an app's host names have in common. Either side may be a wildcard, which
/// stands for one label.
pub(crate) fn common(names: &[String], hosts: &[String]) -> Vec<Box<str>> {
    let covers = |wide: &str, host: &str| {
        let below = wide.strip_prefix("*.");
        let parent = host.split_once('.').map(|(_, parent)| parent);
        wide == host || (below.is_some() && below == parent && !host.starts_with("*."))
    };
    let mut common = BTreeSet::new();
    for name in names {
        for host in hosts {
            if covers(name, host) {
                common.insert(host.as_str());
            } else if covers(host, name) {
                common.insert(name.as_str());
            }
        }
    }
    common.into_iter().map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_covers_the_names_it_shares_with_the_app() {
        let covered = |names: &[&str], hosts: &[&str]| {
            let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
            common(&owned(names), &owned(hosts)).join(" ")
        };
        assert_eq!(
            covered(&["a.x.org", "b.x.org"], &["a.x.org", "c.x.org"]),
            "a.x.org"
        );
        assert_eq!(
            covered(&["*.x.org"], &["a.x.org", "x.org", "a.b.x.org"]),
            "a.x.org"
        );
        assert_eq!(covered(&["a.x.org", "a.y.org"], &["*.x.org"]), "a.x.org");
        assert_eq!(
            covered(&["*.x.org"], &["*.x.org", "a.x.org"]),
            "*.x.org a.x.org"
        );
        assert_eq!(covered(&["*.x.org"], &["*.a.x.org"]), "");
        assert_eq!(covered(&[], &["a.x.org"]), "");
    }
}
