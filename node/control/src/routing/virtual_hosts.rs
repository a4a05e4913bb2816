//! Apps by the host names at which they are served, as the router looks them up.
//!
//! A host name leads to the place of its app, and the place holds the app's virtual host. A change of an app replaces
//! the host in its place; only a change of names builds a new table, which is swapped in whole. A request reads both
//! without a lock and never sees half a change. The place of an app without requests is empty: the app sleeps until the
//! first request to it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use corundum_abi::names::AppName;
use corundum_router::virtual_host::VirtualHost;

/// All apps by host name.
#[derive(Default)]
pub(crate) struct VirtualHosts {
    table: ArcSwap<HostTable>,
    /// The places and names in the table. The lock is held while a table is built, so that none misses a concurrent
    /// change.
    apps: Mutex<HashMap<AppName, AppHosts>>,
}

#[derive(Clone, Default)]
struct HostTable {
    exact: HashMap<Arc<str>, Arc<HostPlace>>,
    /// Keyed by the part after `*.`.
    wildcards: HashMap<Arc<str>, Arc<HostPlace>>,
}

struct AppHosts {
    place: Arc<HostPlace>,
    /// Host names and wildcards.
    names: Vec<Arc<str>>,
}

impl AppHosts {
    fn new(app: &AppName) -> Self {
        Self {
            place: Arc::new(HostPlace {
                app: app.clone(),
                host: ArcSwapOption::empty(),
                building: Mutex::default(),
            }),
            names: Vec::new(),
        }
    }
}

/// The place of an app's virtual host.
struct HostPlace {
    app: AppName,
    /// `None` while the app sleeps.
    host: ArcSwapOption<VirtualHost>,
    /// Held while the host is built, so that an older one never replaces a newer one.
    building: Mutex<()>,
}

/// The result of a look-up.
pub(crate) enum RoutedHost {
    /// The app's virtual host.
    Awake(Arc<VirtualHost>),
    /// The app sleeps; [`VirtualHosts::wake`] builds its virtual host.
    Asleep(SleepingHost),
}

/// An app that sleeps.
pub(crate) struct SleepingHost(Arc<HostPlace>);

impl SleepingHost {
    pub(crate) fn app(&self) -> &AppName {
        &self.0.app
    }
}

impl HostTable {
    fn remove(&mut self, names: &[Arc<str>]) {
        for name in names {
            match name.strip_prefix("*.") {
                None => self.exact.remove(name),
                Some(below) => self.wildcards.remove(below),
            };
        }
    }

    fn add(&mut self, names: &[Arc<str>], place: &Arc<HostPlace>) {
        for name in names {
            match name.strip_prefix("*.") {
                None => self.exact.insert(name.clone(), place.clone()),
                Some(below) => self.wildcards.insert(below.into(), place.clone()),
            };
        }
    }
}

impl VirtualHosts {
    /// Finds the app that serves a host name (lower case, without a port). An exact name prevails over a wildcard, which
    /// stands for one label.
    pub(crate) fn route(&self, host: &str) -> Option<RoutedHost> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let table = self.table.load();
        let wild = || table.wildcards.get(host.split_once('.')?.1);
        let place = table.exact.get(host).or_else(wild)?;
        Some(match place.host.load_full() {
            Some(host) => RoutedHost::Awake(host),
            None => RoutedHost::Asleep(SleepingHost(place.clone())),
        })
    }

    /// Adds apps that sleep, with their host names, in one step.
    pub(crate) fn add_sleeping(&self, apps: impl Iterator<Item = (AppName, Vec<String>)>) {
        let mut all = self.apps();
        let mut table = HostTable::clone(&self.table.load());
        for (app, names) in apps {
            let added = AppHosts::new(&app);
            let added = all.entry(app).or_insert(added);
            table.remove(&added.names);
            added.names = names.into_iter().map(Arc::from).collect();
            table.add(&added.names, &added.place);
        }
        self.table.store(Arc::new(table));
    }

    /// Returns the virtual host of a sleeping app, which `current` builds. Concurrent calls build it once.
    ///
    /// # Errors
    ///
    /// The error of `current`; the app then sleeps on.
    pub(crate) fn wake<E>(
        &self,
        sleeping: &SleepingHost,
        current: impl FnOnce() -> Result<VirtualHost, E>,
    ) -> Result<Arc<VirtualHost>, E> {
        let SleepingHost(place) = sleeping;
        let _building = place
            .building
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = place.host.load_full() {
            return Ok(host);
        }
        let host = Arc::new(current()?);
        place.host.store(Some(host.clone()));
        Ok(host)
    }

    /// Lets an app sleep again. Requests that have its virtual host already keep it.
    pub(crate) fn put_to_sleep(&self, app: &AppName) {
        let place = self.apps().get(app).map(|app| app.place.clone());
        if let Some(place) = place {
            let _building = place
                .building
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            place.host.store(None);
        }
    }

    /// Gives an app the host names that `names` returns, and the virtual host that `current` returns unless it sleeps.
    /// Without names, the app is removed. If either fails, the app is served as before.
    ///
    /// # Errors
    ///
    /// The error of `names` or `current`.
    pub(crate) fn update<E>(
        &self,
        app: &AppName,
        names: impl FnOnce() -> Result<Vec<String>, E>,
        current: impl FnOnce() -> Result<VirtualHost, E>,
    ) -> Result<(), E> {
        let place = {
            let mut apps = self.apps();
            let hosts = apps.entry(app.clone());
            hosts.or_insert_with(|| AppHosts::new(app)).place.clone()
        };
        let _building = place
            .building
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let names = names()?;
        let is_removed = names.is_empty();
        if !is_removed && place.host.load().is_some() {
            place.host.store(Some(Arc::new(current()?)));
        }
        self.set_names(app, names);
        if is_removed {
            self.apps().remove(app);
        }
        Ok(())
    }

    fn set_names(&self, app: &AppName, names: Vec<String>) {
        let mut apps = self.apps();
        let Some(hosts) = apps.get_mut(app) else {
            return;
        };
        if hosts
            .names
            .iter()
            .map(|name| &**name)
            .eq(names.iter().map(String::as_str))
        {
            return;
        }
        let mut table = HostTable::clone(&self.table.load());
        table.remove(&hosts.names);
        hosts.names = names.into_iter().map(Arc::from).collect();
        table.add(&hosts.names, &hosts.place);
        self.table.store(Arc::new(table));
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<AppName, AppHosts>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update(hosts: &VirtualHosts, app: &AppName, names: &[&str]) {
        let names = || Ok(names.iter().map(ToString::to_string).collect());
        let host = || Ok::<_, ()>(VirtualHost::new(app.clone()));
        hosts.update(app, names, host).unwrap();
    }

    fn app_at(hosts: &VirtualHosts, name: &str) -> Option<AppName> {
        Some(match hosts.route(name)? {
            RoutedHost::Awake(host) => host.app.clone(),
            RoutedHost::Asleep(sleeping) => sleeping.app().clone(),
        })
    }

    fn wake(hosts: &VirtualHosts, name: &str, release: u64) -> Arc<VirtualHost> {
        match hosts.route(name).unwrap() {
            RoutedHost::Awake(host) => host,
            RoutedHost::Asleep(sleeping) => {
                let mut host = VirtualHost::new(sleeping.app().clone());
                host.release = Some(corundum_abi::names::ReleaseVersion(release));
                hosts.wake::<()>(&sleeping, || Ok(host)).unwrap()
            }
        }
    }

    #[test]
    fn exact_name_prevails_over_a_wildcard_of_one_label() {
        let hosts = VirtualHosts::default();
        let [one, other]: [AppName; 2] = ["one-app", "other-app"].map(|name| name.parse().unwrap());
        update(&hosts, &one, &["*.example.com"]);
        update(&hosts, &other, &["a.example.com"]);
        assert_eq!(app_at(&hosts, "a.example.com."), Some(other));
        assert_eq!(app_at(&hosts, "b.example.com"), Some(one.clone()));
        assert_eq!(app_at(&hosts, "a.b.example.com"), None);
        update(&hosts, &one, &[]);
        assert!(hosts.route("b.example.com").is_none());
    }

    #[test]
    fn failed_update_keeps_the_app() {
        let hosts = VirtualHosts::default();
        let app: AppName = "one-app".parse().unwrap();
        update(&hosts, &app, &["a.example"]);
        wake(&hosts, "a.example", 1);
        let names = || Ok(vec!["b.example".to_owned()]);
        hosts.update(&app, names, || Err("store")).unwrap_err();
        hosts
            .update(&app, || Err("store"), || Err("host"))
            .unwrap_err();
        assert!(
            wake(&hosts, "a.example", 2)
                .release
                .is_some_and(|release| release.0 == 1)
        );
        assert!(hosts.route("b.example").is_none());
    }

    #[test]
    fn names_that_an_app_no_longer_has_lead_nowhere() {
        let hosts = VirtualHosts::default();
        let app: AppName = "one-app".parse().unwrap();
        update(&hosts, &app, &["a.example", "*.b.example"]);
        update(&hosts, &app, &["c.example"]);
        assert!(hosts.route("a.example").is_none() && hosts.route("x.b.example").is_none());
        assert_eq!(app_at(&hosts, "c.example"), Some(app));
    }

    #[test]
    fn update_lets_a_sleeping_app_sleep_and_replaces_the_host_of_another() {
        let hosts = VirtualHosts::default();
        let app: AppName = "one-app".parse().unwrap();
        update(&hosts, &app, &["a.example"]);
        assert!(matches!(
            hosts.route("a.example"),
            Some(RoutedHost::Asleep(_))
        ));
        assert!(wake(&hosts, "a.example", 7).release.is_some());
        update(&hosts, &app, &["a.example"]);
        let Some(RoutedHost::Awake(host)) = hosts.route("a.example") else {
            panic!("the app sleeps");
        };
        assert!(host.release.is_none(), "the host is the new one");
    }

    #[test]
    fn sleeping_app_is_built_once_by_many_requests() {
        let hosts = VirtualHosts::default();
        let app: AppName = "one-app".parse().unwrap();
        let names = vec!["a.example".to_owned(), "*.a.example".to_owned()];
        hosts.add_sleeping([(app.clone(), names)].into_iter());
        let built = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let host = match hosts.route("x.a.example").unwrap() {
                        RoutedHost::Awake(host) => host,
                        RoutedHost::Asleep(sleeping) => hosts
                            .wake::<()>(&sleeping, || {
                                built.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                                Ok(VirtualHost::new(app.clone()))
                            })
                            .unwrap(),
                    };
                    assert_eq!(host.app, app);
                });
            }
        });
        assert_eq!(built.into_inner(), 1);
        hosts.put_to_sleep(&app);
        let Some(RoutedHost::Asleep(sleeping)) = hosts.route("a.example") else {
            panic!("the app is awake");
        };
        assert!(hosts.wake(&sleeping, || Err("store")).is_err());
        assert!(matches!(
            hosts.route("a.example"),
            Some(RoutedHost::Asleep(_))
        ));
    }
}
