//! The grid: all dynos of a node, their assignment to requests, and their replacement.
//!
//! [`DynoGrid`] is the node's handle. Each app has a formation (`app`): dynos that are idle or busy, and a first-in
//! first-out queue of requests that wait for one. `admission` distributes the node's slots among apps. `breaker` decides
//! when an app whose dynos do not start is tried again, and `crashing_routes` does so for routes that crash dynos.
//! `dispatch` takes a request through a dyno; [`limits`] holds every limit with its reason.
//!
//! A request begins on the thread that brought it, where most requests also end. One that waits or computes longer
//! moves to threads of lower priority, so that computing dynos share the processor by the kernel's rules and the router
//! stays responsive.

mod admission;
mod app;
mod background;
mod breaker;
mod commands;
mod context;
mod crashing_routes;
mod dispatch;
mod error;
mod lease;
pub mod limits;
mod registry;
mod release;
mod slow_requests;
mod start;
mod status;

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use corundum_abi::names::{AppName, DynoName};
use corundum_exchange::BoundedCounter;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use self::admission::{NodeRoom, SlotAdmission};
use self::app::GridApp;
use self::context::GridContext;
use self::registry::AppRegistry;
use crate::engine::Engine;
use crate::log::LogSink;
use crate::request::DynoRequest;

pub use commands::{RunCommand, RunError};
pub use context::GridLog;
pub use corundum_abi::app_options::Isolation;
pub use dispatch::DispatchedRequest;
pub use error::DispatchError;
pub use limits::GridLimits;
pub use release::GridRelease;
pub use status::{AppStatus, DynoState, DynoStatus};

/// All dynos of a node. Cheap to clone.
#[derive(Clone)]
pub struct DynoGrid {
    inner: Arc<GridInner>,
}

struct GridInner {
    context: Arc<GridContext>,
    apps: Arc<AppRegistry<GridApp>>,
    admission: Arc<SlotAdmission<GridApp>>,
    /// The receiver of `GridContext::wanted`, until the node takes it.
    wanted: Mutex<Option<UnboundedReceiver<AppName>>>,
}

impl DynoGrid {
    /// Creates an empty grid whose waiting and computing dynos run on `compute`.
    pub fn new(engine: Engine, limits: GridLimits, log: Arc<dyn GridLog>, compute: Handle) -> Self {
        let apps = Arc::new(AppRegistry::new());
        let room = NodeRoom {
            slots: BoundedCounter::new(limits.dynos as usize),
            reserve: engine.reserve().bytes().clone(),
            mappings: engine.mappings().clone(),
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        let inner = Arc::new(GridInner {
            admission: Arc::new(SlotAdmission::new(apps.clone(), room)),
            apps,
            context: Arc::new(GridContext {
                engine,
                limits,
                log,
                compute: compute.clone(),
                connected: AtomicUsize::default(),
                wanted: sender,
            }),
            wanted: Mutex::new(Some(receiver)),
        });
        let relief: Weak<SlotAdmission<GridApp>> = Arc::downgrade(&inner.admission);
        inner.context.engine.reserve().set_relief(relief);
        compute.spawn(end_idle_dynos(Arc::downgrade(&inner)));
        Self { inner }
    }

    fn get(&self, name: &AppName) -> Option<Arc<GridApp>> {
        self.inner.apps.get(name)
    }

    fn get_or_add(&self, name: &AppName) -> Arc<GridApp> {
        self.inner.apps.get_or_insert_with(name, || {
            GridApp::new(
                name.clone(),
                self.inner.context.clone(),
                self.inner.admission.clone(),
            )
        })
    }

    /// Serves one request of `app`.
    ///
    /// Dropping the returned future before it is ready leaves the queue. A dyno that already has the request goes on
    /// until it notices that its response has no receiver.
    ///
    /// # Errors
    ///
    /// Returns a [`DispatchError`] if no dyno answers.
    pub async fn dispatch(
        &self,
        app: &AppName,
        request: DynoRequest,
    ) -> Result<DispatchedRequest, DispatchError> {
        let app = self.get(app).ok_or(DispatchError::NoSuchApp)?;
        dispatch::dispatch(&app, request).await
    }

    /// Runs a command in a dyno of its own and returns the exit status. Dropping the future ends the dyno.
    ///
    /// # Errors
    ///
    /// Returns a [`RunError`] if the command does not run to its end.
    pub async fn run(&self, app: &AppName, command: RunCommand) -> Result<i32, RunError> {
        let app = self.get(app).ok_or(RunError::Blank)?;
        commands::run(&app, command).await
    }

    /// Returns the name of the next one-off dyno of an app. An app may have a few of them at once.
    ///
    /// # Errors
    ///
    /// [`RunError::Blank`] if the grid does not know the app.
    pub fn one_off_name(&self, app: &AppName) -> Result<DynoName, RunError> {
        let app = self.get(app).ok_or(RunError::Blank)?;
        Ok(app.commands.one_off_name())
    }

    /// Sends the signal `number` to the command of a dyno. Returns whether it runs.
    pub fn send_signal(&self, app: &AppName, dyno: &DynoName, number: u32) -> bool {
        self.get(app)
            .is_some_and(|app| app.commands.send_signal(dyno, number))
    }

    /// Ends the command of a dyno at once. Returns whether it runs.
    pub fn kill(&self, app: &AppName, dyno: &DynoName) -> bool {
        self.get(app).is_some_and(|app| app.commands.kill(dyno))
    }

    /// Returns the log of a dyno.
    pub fn dyno_log(&self, app: &AppName, dyno: &DynoName) -> Arc<dyn LogSink> {
        start::log_of(&self.inner.context, app, dyno)
    }

    /// Returns the time that an app's commands have computed since the grid knows the app.
    pub fn command_time(&self, app: &AppName) -> Duration {
        self.get(app)
            .map(|app| app.commands.cpu_time())
            .unwrap_or_default()
    }

    /// Returns an app's release, after loading it if it is not loaded. `None` if the app has none, or it cannot be loaded.
    pub async fn loaded_release(&self, app: &AppName) -> Option<Arc<GridRelease>> {
        self.get(app)?.loaded_release().await
    }

    /// Sets the maximum number of an app's dynos. Adds the app if the grid does not know it.
    pub fn set_formation(&self, app: &AppName, formation: u32) {
        self.get_or_add(app).set_formation(formation);
    }

    /// Sets the quota of the memory of an app's web dynos in bytes. Dynos that start from now on have it.
    pub fn set_web_memory(&self, app: &AppName, bytes: usize) {
        self.get_or_add(app).set_web_memory(bytes);
    }

    /// Makes `release` the one that new requests get. Running requests end on the old one.
    pub fn deploy(&self, release: GridRelease) {
        self.get_or_add(&release.app.clone())
            .deploy(Some(Arc::new(release)));
    }

    /// Adds an app with a release that is not loaded. The first request wants it and waits for it.
    pub fn expect(&self, app: &AppName) {
        self.get_or_add(app).expect_release();
    }

    /// Returns whether an app has a release that is not loaded.
    pub fn expects_release(&self, app: &AppName) -> bool {
        self.get(app).is_some_and(|app| app.expects_release())
    }

    /// Returns the receiver of the apps whose release is wanted: each once, until it is deployed or given up. `None` if
    /// it was taken before.
    pub fn take_wanted(&self) -> Option<UnboundedReceiver<AppName>> {
        self.inner
            .wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Makes a wanted release the current one and returns whether it is. It is not if the app has got another one
    /// meanwhile.
    pub fn deploy_loaded(&self, release: GridRelease) -> bool {
        let app = self.get(&release.app);
        app.is_some_and(|app| app.deploy_loaded(Arc::new(release)))
    }

    /// Fails the requests that wait for a wanted release, because it cannot be loaded.
    pub fn give_up(&self, app: &AppName) {
        if let Some(app) = self.get(app) {
            app.give_up();
        }
    }

    /// Unloads the release of an app without dynos, and returns whether it did. The next request wants it again.
    pub fn unload(&self, app: &AppName) -> bool {
        self.get(app).is_some_and(|app| app.unload())
    }

    /// Returns the apps whose release is loaded.
    pub fn loaded(&self) -> Vec<AppName> {
        let apps = self.inner.apps.all().into_iter();
        let loaded = apps.filter(|app| app.release().is_some());
        loaded.map(|app| app.name().clone()).collect()
    }

    /// Returns the apps that got a request since the last call.
    pub fn take_used(&self) -> Vec<AppName> {
        let apps = self.inner.apps.all().into_iter();
        let used = apps.filter(|app| app.take_used());
        used.map(|app| app.name().clone()).collect()
    }

    /// Removes an app. Its running requests end normally.
    pub fn remove(&self, app: &AppName) {
        if let Some(app) = self.inner.apps.remove(app) {
            app.deploy(None);
        }
    }

    /// Replaces an app's dynos by new ones, each when it is idle.
    pub fn restart(&self, app: &AppName) {
        if let Some(app) = self.get(app) {
            app.restart();
        }
    }

    /// Returns the release that new requests of an app get.
    pub fn release(&self, app: &AppName) -> Option<Arc<GridRelease>> {
        self.get(app)?.release()
    }

    /// Returns whether the grid knows an app.
    pub fn has(&self, app: &AppName) -> bool {
        self.get(app).is_some()
    }

    /// Returns the state of an app's dynos, by number.
    pub fn dynos(&self, app: &AppName) -> Vec<DynoStatus> {
        self.get(app).map(|app| app.dynos()).unwrap_or_default()
    }

    /// Returns the state of all apps' formations, by name.
    pub fn apps(&self) -> Vec<AppStatus> {
        let apps = self.inner.apps.all();
        let mut apps: Vec<_> = apps.iter().map(|app| app.status()).collect();
        apps.sort_by(|one, other| one.name.cmp(&other.name));
        apps
    }

    /// Returns the state of an app's formation.
    pub fn app(&self, app: &AppName) -> Option<AppStatus> {
        Some(self.get(app)?.status())
    }

    /// Returns the maximum number of live dynos.
    pub fn capacity(&self) -> u32 {
        self.inner.context.limits.dynos
    }

    /// Returns the bytes of the node's reserve of memory that are in use, and all of its bytes.
    pub fn reserve(&self) -> (usize, usize) {
        let bytes = self.inner.context.engine.reserve().bytes();
        (bytes.in_use(), bytes.limit())
    }

    /// Returns the kernel mappings that images and dynos take, and those that they may take.
    pub fn mappings(&self) -> (usize, usize) {
        let mappings = self.inner.context.engine.mappings().mappings();
        (mappings.in_use(), mappings.limit())
    }

    /// Returns the reason why the node can hold almost no dynos, whichever end, until its apps or its limits change.
    pub fn shortage(&self) -> Option<NodeShortage> {
        let mappings = self.inner.context.engine.mappings();
        mappings.is_used_up().then_some(NodeShortage::Mappings)
    }

    /// Returns the number of live dynos of all apps.
    pub fn live(&self) -> u32 {
        u32::try_from(self.inner.admission.live()).unwrap_or(u32::MAX)
    }
}

/// The reason why a node can start no dyno.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeShortage {
    /// The kernel allows the process no more mappings.
    #[error(
        "the kernel mappings of the process are used up: raise vm.max_map_count, or remove apps"
    )]
    Mappings,
}

/// Shortest time between two releases of unused slots.
const RELEASE_PAUSE: Duration = Duration::from_secs(5);

/// Ends dynos that have been idle for long, and releases slots without dynos when the node runs short, once a second
/// while the grid exists.
async fn end_idle_dynos(grid: Weak<GridInner>) {
    let mut released: Option<Instant> = None;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Some(grid) = grid.upgrade() else {
            return;
        };
        for app in grid.apps.all() {
            app.tend();
        }
        grid.admission.end_unused_dynos();
        let engine = &grid.context.engine;
        let is_due = released.is_none_or(|at| at.elapsed() > RELEASE_PAUSE);
        if is_due && engine.should_release_slots() {
            let engine = engine.clone();
            let release = tokio::task::spawn_blocking(move || engine.release_unused_slots());
            let _ = release.await;
            released = Some(Instant::now());
        }
    }
}
