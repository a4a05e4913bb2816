//! Which certificate is shown for which host: of those that an app has, one that names the host, if the host is the app's.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use corundum_abi::names::AppName;
use corundum_router::tls::certificates::{CertificateEntry, Certificates};

use super::chain;
use crate::platform::Platform;
use corundum_store::StoreError;

/// What handshakes choose from, and what it is made of.
pub(crate) struct Shown {
    certificates: Arc<Certificates>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    /// Those of apps prevail over it.
    of_node: Option<CertificateEntry>,
    by_app: HashMap<AppName, Vec<CertificateEntry>>,
}

impl Shown {
    /// Nothing yet.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            certificates: Arc::new(Certificates::new()?),
            entries: Mutex::default(),
        })
    }

    /// What handshakes choose from.
    pub(crate) fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// Shows a certificate for all apps that have one of its hosts, in the place of the one before.
    pub(crate) fn set_of_node(&self, entry: CertificateEntry) {
        let mut entries = self.entries();
        entries.of_node = Some(entry);
        self.replace(&entries);
    }

    /// Whether the node's own certificate is for this host.
    pub(crate) fn is_of_node(&self, host: &str) -> bool {
        let entries = self.entries();
        let hosts = entries.of_node.iter().flat_map(|entry| &entry.hosts);
        let names: Vec<String> = hosts.map(ToString::to_string).collect();
        !self::hosts(&names, &[host.to_owned()]).is_empty()
    }

    /// Shows an app's certificates as the store has them now.
    pub(crate) fn refresh(&self, platform: &Platform, app: &AppName) {
        let mut entries = self.entries();
        let of_app = match entries_of(platform, app) {
            Ok(of_app) => of_app,
            // What was shown is shown on.
            Err(error) => return tracing::error!(%app, %error, "the app's certificates"),
        };
        let has = !of_app.is_empty();
        let had = if has {
            entries.by_app.insert(app.clone(), of_app).is_some()
        } else {
            entries.by_app.remove(app).is_some()
        };
        if has || had {
            self.replace(&entries);
        }
    }

    fn replace(&self, entries: &Entries) {
        let of_apps = entries.by_app.values().flatten();
        let all = entries.of_node.iter().chain(of_apps).cloned();
        self.certificates.replace(all);
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An app's certificates, the preferred ones last: valid before expired, added before the node's own, later before earlier
/// ends.
fn entries_of(platform: &Platform, app: &AppName) -> Result<Vec<CertificateEntry>, StoreError> {
    let now = jiff::Timestamp::now();
    let patterns = patterns(platform, app)?;
    let mut entries = Vec::new();
    for record in platform.store().certs(app)? {
        match chain::read(&record.chain, &record.key) {
            Ok(checked) => {
                let ends = checked.facts.ends;
                let entry = CertificateEntry {
                    certificate: checked.certificate,
                    app: Some(app.clone()),
                    hosts: hosts(&checked.names, &patterns),
                };
                entries.push(((ends > now, record.origin, ends), entry));
            }
            Err(error) => {
                tracing::error!(%app, certificate = record.name, %error, "cannot be shown");
            }
        }
    }
    entries.sort_by_key(|(rank, _)| *rank);
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// The hosts of an app: its own, and its domains. None if there is no such app any longer.
pub(crate) fn patterns(platform: &Platform, app: &AppName) -> Result<Vec<String>, StoreError> {
    if let Err(StoreError::NoApp(_)) = platform.store().app(app) {
        return Ok(Vec::new());
    }
    let domains = platform.store().domains(app)?.into_iter();
    let domains = domains.map(|domain| domain.hostname.to_string());
    Ok(domains.chain([platform.own_host(app)]).collect())
}

/// What a certificate's names and an app's hosts have in common. Each of both may be a wildcard, for one label.
pub(crate) fn hosts(names: &[String], patterns: &[String]) -> Vec<Box<str>> {
    let covers = |wide: &str, host: &str| {
        let below = wide.strip_prefix("*.");
        let parent = host.split_once('.').map(|(_, parent)| parent);
        wide == host || (below.is_some() && below == parent && !host.starts_with("*."))
    };
    let mut common = BTreeSet::new();
    for name in names {
        for pattern in patterns {
            if covers(name, pattern) {
                common.insert(pattern.as_str());
            } else if covers(pattern, name) {
                common.insert(name.as_str());
            }
        }
    }
    common.into_iter().map(Box::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(names: &[&str], patterns: &[&str]) -> Vec<Box<str>> {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        hosts(&owned(names), &owned(patterns))
    }

    #[test]
    fn a_certificate_is_shown_for_what_it_names_of_the_apps_hosts() {
        let shown = |names: &[&str], patterns: &[&str]| common(names, patterns).join(" ");
        assert_eq!(
            shown(&["a.x.org", "b.x.org"], &["a.x.org", "c.x.org"]),
            "a.x.org"
        );
        assert_eq!(
            shown(&["*.x.org"], &["a.x.org", "x.org", "a.b.x.org"]),
            "a.x.org"
        );
        assert_eq!(shown(&["a.x.org", "a.y.org"], &["*.x.org"]), "a.x.org");
        assert_eq!(
            shown(&["*.x.org"], &["*.x.org", "a.x.org"]),
            "*.x.org a.x.org"
        );
        assert_eq!(shown(&["*.x.org"], &["*.a.x.org"]), "");
        assert_eq!(shown(&[], &["a.x.org"]), "");
    }
}
