//! Apps by the host names at which they are served, as the router looks them up.
//!
//! Every change builds a new table and swaps it in whole. A request reads the table without a lock and never sees half a
//! change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use corundum_abi::names::AppName;
use corundum_router::virtual_host::VirtualHost;

/// All apps by host name.
#[derive(Default)]
pub(crate) struct VirtualHosts {
    table: ArcSwap<HostTable>,
    /// Held while a table is built, so that no table misses a concurrent change.
    changing: Mutex<()>,
}

#[derive(Clone, Default)]
struct HostTable {
    exact: HashMap<Arc<str>, Arc<VirtualHost>>,
    /// Keyed by the part after `*.`.
    wildcards: HashMap<Arc<str>, Arc<VirtualHost>>,
}

/// An app and the host names at which it is served.
pub(crate) struct HostedApp {
    pub(crate) host: VirtualHost,
    /// Host names and wildcards.
    pub(crate) names: Vec<String>,
}

impl HostTable {
    fn without(&self, app: &AppName) -> Self {
        let of_others = |hosts: &HashMap<Arc<str>, Arc<VirtualHost>>| {
            let others = hosts.iter().filter(|(_, host)| host.app != *app);
            others
                .map(|(name, host)| (name.clone(), host.clone()))
                .collect()
        };
        Self {
            exact: of_others(&self.exact),
            wildcards: of_others(&self.wildcards),
        }
    }

    fn add(&mut self, app: HostedApp) {
        let host = Arc::new(app.host);
        for name in app.names {
            let (hosts, name) = match name.strip_prefix("*.") {
                None => (&mut self.exact, name.as_str()),
                Some(below) => (&mut self.wildcards, below),
            };
            hosts.insert(name.into(), host.clone());
        }
    }
}

impl VirtualHosts {
    /// Returns the app that serves a host name (lower case, without a port). An exact name prevails over a wildcard, which
    /// stands for one label.
    pub(crate) fn route(&self, host: &str) -> Option<Arc<VirtualHost>> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let table = self.table.load();
        let wild = || table.wildcards.get(host.split_once('.')?.1);
        table.exact.get(host).or_else(wild).cloned()
    }

    /// Replaces an app by what `current` returns; `None` removes it. If `current` fails, the app is served as before.
    ///
    /// # Errors
    ///
    /// The error of `current`.
    pub(crate) fn update<E>(
        &self,
        app: &AppName,
        current: impl FnOnce() -> Result<Option<HostedApp>, E>,
    ) -> Result<(), E> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = self.table.load().without(app);
        if let Some(app) = current()? {
            table.add(app);
        }
        self.table.store(Arc::new(table));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosted(app: &AppName, names: &[&str]) -> Result<Option<HostedApp>, ()> {
        Ok(Some(HostedApp {
            host: VirtualHost::new(app.clone()),
            names: names.iter().map(ToString::to_string).collect(),
        }))
    }

    #[test]
    fn exact_name_prevails_over_a_wildcard_of_one_label() {
        let hosts = VirtualHosts::default();
        let [one, other]: [AppName; 2] = ["one-app", "other-app"].map(|name| name.parse().unwrap());
        let update = |app: &AppName, names: &[&str]| hosts.update(app, || hosted(app, names));
        update(&one, &["*.example.com"]).unwrap();
        update(&other, &["a.example.com"]).unwrap();
        let app = |name: &str| hosts.route(name).map(|host| host.app.clone());
        assert_eq!(app("a.example.com."), Some(other));
        assert_eq!(app("b.example.com"), Some(one.clone()));
        assert_eq!(app("a.b.example.com"), None);
        hosts.update::<()>(&one, || Ok(None)).unwrap();
        assert_eq!(app("b.example.com"), None);
    }

    #[test]
    fn failed_update_keeps_the_app() {
        let hosts = VirtualHosts::default();
        let app: AppName = "one-app".parse().unwrap();
        hosts.update(&app, || hosted(&app, &["a.example"])).unwrap();
        hosts.update(&app, || Err("store")).unwrap_err();
        assert!(hosts.route("a.example").is_some());
    }
}
