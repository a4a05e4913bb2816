//! The grid: all dynos of a node, who gets one, and when one is replaced.
//!
//! [`Grid`] is the node's handle. Each app has a formation ([`app`]): dynos that are idle or busy, and a first-in
//! first-out queue of requests that wait for one. [`places`] says who gets a dyno when the node is full, [`breaker`] when
//! an app that only crashes is tried again. [`dispatch`] takes a request through a dyno; [`policy`] holds every
//! limit with its reason. A request is begun on the thread that brought it, which for most is also where it ends; one
//! that waits or computes longer moves to threads of lower priority, so that computing dynos share the processor by
//! the kernel's rules and the router stays responsive.

mod app;
mod breaker;
mod dispatch;
mod lease;
mod places;
pub mod policy;
mod run;
mod start;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use corundum_abi::names::{AppName, DynoName, ReleaseVersion};
use corundum_pack::archive::Archive;
use tokio::runtime::Handle;

use self::places::Places;
use crate::engine::Engine;
use crate::image::Image;
use crate::pack::Pack;

pub use app::{AppStatus, DynoState, DynoStatus};
pub use dispatch::{DispatchError, Served};
pub use policy::{Isolation, Limits};
pub use run::{RunError, RunIo};

/// What the grid has to say of an app, line by line. Called from any thread; must not block.
pub trait GridLog: Send + Sync {
    /// A line that a dyno wrote to its log.
    fn dyno_line(&self, app: &AppName, dyno: &DynoName, line: &[u8]);
    /// A line of the platform about a dyno, as `Error R14 (Memory quota exceeded)`.
    fn platform_line(&self, app: &AppName, dyno: &DynoName, line: &str);
}

/// A release as the grid runs it.
pub struct Release {
    /// The app.
    pub app: AppName,
    /// Its number.
    pub version: ReleaseVersion,
    /// The pack whose code it runs on.
    pub pack: Arc<Pack>,
    /// The memory of the booted app.
    pub image: Arc<Image>,
    /// The app's files.
    pub slug: Arc<Archive>,
    /// The web process's command.
    pub arguments: Arc<[String]>,
    /// Config vars and the platform's defaults.
    pub environ: Arc<[(String, String)]>,
    /// What one user's request may leave behind for the next.
    pub isolation: Isolation,
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.app, self.version)
    }
}

/// All dynos of a node. Cheap to clone.
#[derive(Clone)]
pub struct Grid {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    engine: Engine,
    limits: Limits,
    log: Arc<dyn GridLog>,
    /// Where dynos that wait or compute run.
    compute: Handle,
    apps: RwLock<HashMap<AppName, Arc<app::App>>>,
    places: Places,
}

impl Grid {
    /// An empty grid whose waiting and computing dynos run on `compute`.
    pub fn new(engine: Engine, limits: Limits, log: Arc<dyn GridLog>, compute: Handle) -> Self {
        let shared = Arc::new(Shared {
            engine,
            limits,
            log,
            compute,
            apps: RwLock::default(),
            places: Places::default(),
        });
        shared.compute.spawn(retire_idle(Arc::downgrade(&shared)));
        Self { shared }
    }

    /// Adds an app that has no release yet, or changes how many dynos it may have.
    pub fn set_formation(&self, app: &AppName, formation: u32) {
        self.shared.app_or_new(app).set_formation(formation);
    }

    /// Makes `release` the one that new requests get. Running requests end on the old one.
    pub fn deploy(&self, release: Release) {
        self.shared
            .app_or_new(&release.app.clone())
            .deploy(Some(Arc::new(release)));
    }

    /// Adds an app whose release is being loaded: its requests wait for it.
    pub fn expect(&self, app: &AppName) {
        self.shared.app_or_new(app).expect_release();
    }

    /// Says that there will be no release of an app that was expected to get one.
    pub fn give_up(&self, app: &AppName) {
        if let Some(app) = self.shared.app(app) {
            app.deploy(None);
        }
    }

    /// Forgets an app; its running requests end.
    pub fn remove(&self, app: &AppName) {
        let removed = self.shared.write_apps().remove(app);
        if let Some(app) = removed {
            app.deploy(None);
        }
    }

    /// Replaces an app's dynos by fresh ones, each when it is idle.
    pub fn restart(&self, app: &AppName) {
        if let Some(app) = self.shared.app(app) {
            app.restart();
        }
    }

    /// The release that new requests of an app get.
    pub fn release(&self, app: &AppName) -> Option<Arc<Release>> {
        self.shared.app(app)?.release()
    }

    /// Whether the grid knows an app.
    pub fn has(&self, app: &AppName) -> bool {
        self.shared.app(app).is_some()
    }

    /// An app's dynos, by number.
    pub fn dynos(&self, app: &AppName) -> Vec<DynoStatus> {
        self.shared
            .app(app)
            .map(|app| app.dynos())
            .unwrap_or_default()
    }

    /// All apps' formations, by name.
    pub fn apps(&self) -> Vec<AppStatus> {
        let apps = self.shared.all_apps();
        let mut apps: Vec<_> = apps.iter().map(|app| app.status()).collect();
        apps.sort_by(|one, other| one.name.cmp(&other.name));
        apps
    }

    /// An app's formation.
    pub fn app(&self, app: &AppName) -> Option<AppStatus> {
        Some(self.shared.app(app)?.status())
    }

    /// Dynos that may live at once.
    pub fn capacity(&self) -> u32 {
        self.shared.limits.dynos
    }

    /// Dynos of all apps.
    pub fn live(&self) -> u32 {
        self.shared.places.live()
    }
}

impl Shared {
    fn app(&self, name: &AppName) -> Option<Arc<app::App>> {
        self.apps
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    fn write_apps(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<AppName, Arc<app::App>>> {
        self.apps.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn app_or_new(self: &Arc<Self>, name: &AppName) -> Arc<app::App> {
        let mut apps = self.write_apps();
        let new = || Arc::new(app::App::new(name.clone(), self.clone()));
        apps.entry(name.clone()).or_insert_with(new).clone()
    }

    fn all_apps(&self) -> Vec<Arc<app::App>> {
        self.apps
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }
}

/// Ends dynos that nobody has asked for in a while, as long as the grid lives.
async fn retire_idle(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        for app in shared.all_apps() {
            app.retire_idle(shared.limits.idle);
        }
        shared.serve_hungry();
    }
}
