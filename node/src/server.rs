//! The composition root of a node: the only place that knows all of its parts. It makes them, connects them, starts the
//! listeners, and waits for the node's end.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use corundum_build::limits::BACKGROUND_NICENESS;
use corundum_build::slots::BuildSlots;
use corundum_build::{BuildLimits, BuildSettings};
use corundum_compiler::gems::GemServerUrl;
use corundum_control::acme::wake::AcmeWake;
use corundum_control::acme::{AcmeManager, AcmeSettings, ChallengeResponders};
use corundum_control::admin::{self, AdminState, Readiness};
use corundum_control::api::login::Login;
use corundum_control::api::router::{Api, ApiParts};
use corundum_control::api::storage::StorageParts;
use corundum_control::app_urls::AppUrls;
use corundum_control::apps::autoscale::Autoscaler;
use corundum_control::apps::formation::Formations;
use corundum_control::apps::locks::AppLocks;
use corundum_control::apps::settings::SettingsManager;
use corundum_control::apps::{AppParts, Apps};
use corundum_control::builds::Builder;
use corundum_control::certs::AppCerts;
use corundum_control::certs::default_cert::{self, DefaultCertFiles};
use corundum_control::certs::resolver::CertResolver;
use corundum_control::data_dir::DataDir;
use corundum_control::domains::Domains;
use corundum_control::drains::{DrainPolicy, LogDrains, PrivateTargets};
use corundum_control::git::http_backend::GitBackend;
use corundum_control::git::push::{PushParts, Pushes};
use corundum_control::git::receiving::ReceivingPushes;
use corundum_control::lifecycle::control_plane::ControlPlane;
use corundum_control::lifecycle::descriptors::DescriptorShares;
use corundum_control::lifecycle::listeners::{ListenAddresses, Listeners, SystemdSockets};
use corundum_control::lifecycle::startup::Startup;
use corundum_control::lifecycle::takeover::Takeover;
use corundum_control::lifecycle::{NodeEnd, NodeLifecycle, Signals, supervisor};
use corundum_control::logs::Logs;
use corundum_control::logs::sessions::LogSessions;
use corundum_control::metrics::NodeMetrics;
use corundum_control::packs::cache::PackCache;
use corundum_control::packs::upgrade::{PackUpgrade, SourceBuilds};
use corundum_control::releases::changes::ReleaseChanges;
use corundum_control::releases::{ReleaseParts, Releases};
use corundum_control::routing::grid_adapter::GridAdapter;
use corundum_control::routing::view::RouterView;
use corundum_control::storage::housekeeping::Housekeeping;
use corundum_control::storage::live_files::LiveFiles;
use corundum_control::storage::retention::Retention;
use corundum_control::storage::usage::DiskUsage;
use corundum_host::capacity;
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::grid::{DynoGrid, GridLimits};
use corundum_router::cache::Cache;
use corundum_router::metrics::MetricsRegistry;
use corundum_router::router::Router;
use corundum_router::server::{ServerLimits, run as run_router, run_tls};
use corundum_store::{SqliteStore, Store};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

/// The time for running requests to end when the node stops.
const DRAIN: Duration = Duration::from_secs(10);

/// The way in which a node gets its listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StartMode {
    /// The node opens them, or gets them from systemd.
    Alone,
    /// The node takes those of the node that runs on the same data directory, if one does.
    TakeOver,
}

/// A node's settings.
#[derive(Debug, Clone)]
pub(crate) struct NodeSettings {
    /// The way in which the node gets its listeners.
    pub(crate) start: StartMode,
    /// The data directory.
    pub(crate) data: PathBuf,
    /// The folder of prepared packs, which all nodes of a machine share.
    pub(crate) packs: PathBuf,
    /// The addresses of the listeners.
    pub(crate) listen: ListenAddresses,
    /// The files of a certificate for all apps under the domain.
    pub(crate) https_cert: Option<DefaultCertFiles>,
    /// The ACME server.
    pub(crate) acme: AcmeSettings,
    /// Directories from which builds take gems.
    pub(crate) gem_directories: Vec<PathBuf>,
    /// Gem servers from which builds may fetch.
    pub(crate) gem_servers: Vec<GemServerUrl>,
    /// Apps are served at `NAME.domain`.
    pub(crate) domain: String,
    /// Bytes of the HTTP cache.
    pub(crate) cache_size: u64,
    /// The rule for log drains to private addresses.
    pub(crate) drain_private: PrivateTargets,
    /// Further certificate authorities that log drains trust, in PEM.
    pub(crate) drain_ca: Option<PathBuf>,
    /// Bytes of one push.
    pub(crate) max_push: u64,
    /// The time for which files that nothing names stay in the trash.
    pub(crate) trash_grace: Duration,
    /// The releases that an app keeps.
    pub(crate) keep_releases: NonZeroU32,
    /// The bytes that an app may take on disk; 0 for any number.
    pub(crate) app_quota: u64,
    /// Limits of builds.
    pub(crate) build_limits: BuildLimits,
    /// Web dynos that the `app.json` of a tree may ask for.
    pub(crate) formation_limit: u32,
    /// Arguments of build processes: the form of their log.
    pub(crate) build_arguments: Vec<String>,
    /// The rule for builds of Ruby from source by the node itself.
    pub(crate) source_builds: SourceBuilds,
}

/// The runtimes of a node beside the router's.
struct Runtimes {
    /// The API, builds and background work. A flood of requests must not lock the operator out, nor a build delay requests.
    control: Handle,
    /// Dynos, with a lower priority, so that the router stays responsive.
    compute: Handle,
}

/// Runs a node until it is stopped or replaced.
pub(crate) fn run(settings: NodeSettings) -> anyhow::Result<()> {
    // Before any thread starts, since it reads and changes the environment.
    let sockets = SystemdSockets::from_env()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("router")
        .build()?;
    let control = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_name("control")
        .build()?;
    let compute = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("dyno")
        .on_thread_start(|| {
            let _ = rustix::process::nice(BACKGROUND_NICENESS);
        })
        .build()?;
    let runtimes = Runtimes {
        control: control.handle().clone(),
        compute: compute.handle().clone(),
    };
    let result = runtime.block_on(serve(settings, sockets, runtimes));
    control.shutdown_background();
    compute.shutdown_background();
    result
}

async fn serve(
    settings: NodeSettings,
    sockets: SystemdSockets,
    runtimes: Runtimes,
) -> anyhow::Result<()> {
    // Before the node listens or takes another one over: it must not seem healthy and serve nobody.
    let descriptors = DescriptorShares::of_process(1)?;
    if descriptors.are_scarce() {
        tracing::warn!(
            open_files = descriptors.limit,
            connections = descriptors.connections,
            images = descriptors.images,
            "few file descriptors: raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)"
        );
    }
    let mut signals = Signals::new()?;
    let takeover = match settings.start {
        StartMode::TakeOver => Takeover::from_node(&settings.data)?,
        StartMode::Alone => None,
    };
    let (listeners, takeover) = match takeover {
        Some((listeners, takeover)) => (listeners, Some(takeover)),
        None => (Listeners::open(settings.listen, sockets).await?, None),
    };
    let addresses = listeners.addresses()?;
    let apps_listeners = 1 + usize::from(addresses.https.is_some());
    let descriptors = DescriptorShares::of_process(apps_listeners)?;
    let node = Node::new(&settings, addresses, &runtimes, descriptors.images)?;
    // Each listener has its share of the descriptors, so that a flood of one does not exhaust the other.
    let limits = ServerLimits {
        connections: ServerLimits::default()
            .connections
            .min(descriptors.connections),
        drain: DRAIN,
        ..ServerLimits::default()
    };
    if let Some(files) = &settings.https_cert {
        default_cert::load(&node.certs, &settings.domain, files).with_context(|| {
            let [certificate, key] = [files.certificate.display(), files.key.display()];
            format!("--https-cert {certificate} --https-key {key}")
        })?;
        let watch = default_cert::watch(node.certs.clone(), settings.domain.clone(), files.clone());
        runtimes.control.spawn(watch);
    }
    let readiness = Arc::new(Readiness::default());
    let expected = node.startup.announce();
    {
        let _entered = runtimes.control.enter();
        node.drains.start_all();
    }
    let mut loading = {
        let (load, readiness) = (node.startup.clone().load(expected), readiness.clone());
        runtimes.control.spawn(async move {
            let errors = load.await;
            readiness.set_loaded(errors.clone());
            errors
        })
    };
    if takeover.is_some() {
        // The old process serves until this one has loaded all apps. If the store is damaged, it goes on serving them from
        // memory.
        let errors = (&mut loading).await?;
        anyhow::ensure!(
            errors.is_empty(),
            "takeover: the store has errors, and the node that runs goes on:\n{}",
            errors.join("\n")
        );
    }
    let own = listeners.try_clone()?;
    let replaced = Arc::new(Notify::new());
    let admin = AdminState {
        metrics: node.metrics(limits.connections * apps_listeners),
        readiness: readiness.clone(),
        replaced: replaced.clone(),
    };
    admin::start(own.admin, admin)?;
    // A listener may learn of the stop before it has looked for it once.
    let stop = watch::Sender::new(false);
    let stopped = || {
        let mut stop = stop.subscribe();
        async move { drop(stop.wait_for(|is_stopped| *is_stopped).await) }
    };
    let https = own.https.map(TcpListener::from_std).transpose()?;
    let https = https.map(|https| {
        let certificates = node.certs.certificates().clone();
        let (router, limits) = (node.router.clone(), limits.clone());
        run_tls(https, certificates, router, limits, stopped())
    });
    let http = TcpListener::from_std(own.http)?;
    let http = run_router(http, node.router.clone(), limits, stopped());
    let serving = tokio::spawn(async move {
        match https {
            Some(https) => drop(tokio::join!(http, https)),
            None => http.await,
        }
    });
    let mut lifecycle = NodeLifecycle::start(node.data, node.locks, listeners, node.control_plane)?;
    print_addresses(&settings.domain, addresses);
    if let Some(takeover) = takeover {
        takeover.serving()?;
    }
    supervisor::notify_ready();
    match lifecycle.until_end(&mut signals).await? {
        NodeEnd::Stopped => println!("corundum: stopping"),
        NodeEnd::Replaced => println!("corundum: another process has taken over"),
    }
    readiness.set_stopping();
    replaced.notify_one();
    stop.send_replace(true);
    tokio::select! {
        _ = serving => {}
        // A second signal does not wait for running requests.
        () = signals.stop() => {}
    }
    Ok(())
}

/// The parts of a node that its listeners and its life need.
struct Node {
    data: Arc<DataDir>,
    locks: Arc<AppLocks>,
    grid: DynoGrid,
    apps_metrics: Arc<MetricsRegistry>,
    certs: Arc<CertResolver>,
    drains: Arc<LogDrains>,
    startup: Arc<Startup>,
    router: Arc<Router<GridAdapter>>,
    control_plane: ControlPlane,
}

impl Node {
    /// Opens the data directory and makes all parts. `images` is the most images that may be loaded. From bottom to top: each takes only parts above it.
    fn new(
        settings: &NodeSettings,
        addresses: ListenAddresses,
        runtimes: &Runtimes,
        images: usize,
    ) -> anyhow::Result<Self> {
        let data = Arc::new(DataDir::open(&settings.data)?);
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&data.store_file())?);
        // The data directory is this process's alone: builds that the store calls pending were killed with an earlier one.
        store.fail_pending_builds()?;
        let urls = AppUrls {
            domain: settings.domain.clone(),
            http: addresses.http.port(),
            https: addresses.https.map(|https| https.port()),
            api: addresses.api,
        };
        let logs = Arc::new(Logs::default());
        let locks = Arc::new(AppLocks::default());
        let metrics = Arc::new(MetricsRegistry::default());
        let cache = Arc::new(Cache::new(settings.cache_size));
        let wake = Arc::new(AcmeWake::default());

        let engine = Engine::new(EngineConfig {
            images,
            ..EngineConfig::default()
        })?;
        let grid = DynoGrid::new(
            engine.clone(),
            GridLimits::default(),
            logs.clone(),
            runtimes.compute.clone(),
        );
        let packs = Arc::new(PackCache::new(engine, settings.packs.clone()));
        let build_settings = BuildSettings {
            work: data.work(),
            gem_cache: data.gems(),
            gem_directories: settings.gem_directories.clone(),
            gem_servers: settings.gem_servers.clone(),
            limits: settings.build_limits,
            arguments: settings.build_arguments.clone(),
        };
        let slots = BuildSlots::new(build_memory(), settings.build_limits.memory);
        let builder = Builder::new(build_settings, packs.clone(), urls.clone(), slots);
        let builder = Arc::new(builder);

        let certs = Arc::new(CertResolver::new()?);
        let view = Arc::new(RouterView::new(
            store.clone(),
            grid.clone(),
            urls.clone(),
            metrics.clone(),
            certs.clone(),
        ));
        let adapter = Arc::new(GridAdapter::new(view.clone(), grid.clone(), logs.clone()));
        let router = Arc::new(Router::new(adapter).with_cache(cache.clone()));

        let policy = DrainPolicy::new(settings.drain_private, settings.drain_ca.as_deref())?;
        let drains = Arc::new(LogDrains::new(store.clone(), logs.clone(), policy));
        let files = Arc::new(LiveFiles::new(
            store.clone(),
            data.clone(),
            locks.clone(),
            settings.trash_grace,
        ));
        let retention = Arc::new(Retention::new(
            store.clone(),
            data.clone(),
            files.clone(),
            settings.keep_releases,
        ));
        let usage = DiskUsage::new(store.clone(), data.clone(), settings.app_quota);
        let releases = Arc::new(Releases::new(ReleaseParts {
            store: store.clone(),
            data: data.clone(),
            packs: packs.clone(),
            builder: builder.clone(),
            grid: grid.clone(),
            view: view.clone(),
            locks: locks.clone(),
            logs: logs.clone(),
            files: files.clone(),
            retention: retention.clone(),
        }));
        let formations = Formations::new(store.clone(), grid.clone(), view.clone());
        let formations = Arc::new(formations);
        let autoscaler = Arc::new(Autoscaler::new(
            store.clone(),
            grid.clone(),
            metrics.clone(),
            formations.clone(),
            logs.clone(),
        ));
        let acme = Arc::new(AcmeManager::new(
            settings.acme.clone(),
            store.clone(),
            urls.clone(),
            certs.clone(),
            view.clone(),
            logs.clone(),
            wake.clone(),
        ));
        let startup = Arc::new(Startup {
            store: store.clone(),
            data: data.clone(),
            grid: grid.clone(),
            view: view.clone(),
            logs: logs.clone(),
            locks: locks.clone(),
            autoscaler: autoscaler.clone(),
            releases: releases.clone(),
            files: files.clone(),
            errors: Mutex::default(),
        });

        let receiving = Arc::new(ReceivingPushes::default());
        let api = Api::new(ApiParts {
            store: store.clone(),
            data: data.clone(),
            grid: grid.clone(),
            view: view.clone(),
            urls: urls.clone(),
            logs: logs.clone(),
            log_sessions: LogSessions::default(),
            metrics: metrics.clone(),
            cache: cache.clone(),
            git: GitBackend::new(
                store.clone(),
                data.clone(),
                locks.clone(),
                receiving.clone(),
                settings.max_push,
            )
            .context("git's hooks in the data directory")?,
            apps: Apps::new(AppParts {
                store: store.clone(),
                data: data.clone(),
                grid: grid.clone(),
                view: view.clone(),
                locks: locks.clone(),
                releases: releases.clone(),
                files: files.clone(),
                logs: logs.clone(),
                metrics: metrics.clone(),
                cache,
                drains: drains.clone(),
                autoscaler: autoscaler.clone(),
            }),
            builder: builder.clone(),
            formations: formations.clone(),
            autoscaler: autoscaler.clone(),
            changes: ReleaseChanges::new(
                store.clone(),
                data.clone(),
                locks.clone(),
                builder.clone(),
                releases.clone(),
            ),
            domains: Domains::new(
                store.clone(),
                urls.clone(),
                view.clone(),
                logs.clone(),
                wake.clone(),
            ),
            certs: AppCerts::new(store.clone(), urls.clone(), view.clone(), logs.clone()),
            acme: acme.clone(),
            settings: SettingsManager::new(store.clone(), view.clone(), logs, wake, urls.https),
            drains: drains.clone(),
            storage: StorageParts {
                store: store.clone(),
                data: data.clone(),
                locks: locks.clone(),
                files: files.clone(),
                retention: retention.clone(),
                usage: usage.clone(),
            },
        });
        let housekeeping =
            Housekeeping::new(store.clone(), data.clone(), locks.clone(), files, retention);
        let control_plane = ControlPlane {
            runtime: runtimes.control.clone(),
            data: data.clone(),
            api: Arc::new(api),
            login: Arc::new(Login::new(store.clone(), addresses.api)),
            pushes: Arc::new(Pushes::new(PushParts {
                store,
                data: data.clone(),
                receiving,
                locks: locks.clone(),
                builder,
                releases: releases.clone(),
                formations,
                view,
                formation_limit: settings.formation_limit,
                usage,
            })),
            housekeeping: Arc::new(housekeeping),
            upgrade: Arc::new(PackUpgrade::new(settings.source_builds, packs, releases)),
            acme,
            responders: ChallengeResponders {
                http: router.http01_challenges().clone(),
                tls: certs.certificates().clone(),
            },
            autoscaler,
            metrics: metrics.clone(),
        };
        Ok(Self {
            data,
            locks,
            grid,
            apps_metrics: metrics,
            certs,
            drains,
            startup,
            router,
            control_plane,
        })
    }

    /// Returns the sources of the page of metrics.
    fn metrics(&self, connections: usize) -> NodeMetrics {
        NodeMetrics {
            grid: self.grid.clone(),
            apps: self.apps_metrics.clone(),
            router: self.router.metrics().clone(),
            connections,
        }
    }
}

/// Returns the bytes of memory that all builds together may take: three eighths of the machine's. Half of the machine's is
/// the dynos' reserve, and the rest is for images and for the node itself.
pub(crate) fn build_memory() -> u64 {
    capacity::memory_bytes() / 8 * 3
}

/// Prints the addresses of the listeners.
fn print_addresses(domain: &str, addresses: ListenAddresses) {
    println!(
        "corundum: apps at http://NAME.{domain}:{}",
        addresses.http.port()
    );
    if let Some(https) = addresses.https {
        println!("corundum: apps at https://{https}, with the certificates of corundum certs");
    }
    println!("corundum: metrics and health at http://{}", addresses.admin);
    println!("corundum: API and git at http://{}", addresses.api);
}
