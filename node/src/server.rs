//! The composition root of a node: the only place that knows all of its parts. It makes them, connects them, starts the
//! listeners, and waits for the node's end.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use corundum_abi::outbound::OutboundPolicy;
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
use corundum_control::apps::usage::AppUsage;
use corundum_control::apps::{AppParts, Apps};
use corundum_control::builds::Builder;
use corundum_control::certs::AppCerts;
use corundum_control::certs::default_cert::{self, DefaultCertFiles};
use corundum_control::certs::resolver::CertResolver;
use corundum_control::data_dir::{DataDir, FULL_IMAGES};
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
use corundum_control::outbound::OutboundPolicies;
use corundum_control::packs::cache::PackCache;
use corundum_control::packs::pruning::CachePruning;
use corundum_control::packs::upgrade::{MovedApps, PackUpgrade, SourceBuilds};
use corundum_control::processes::{ProcessParts, Processes};
use corundum_control::releases::changes::ReleaseChanges;
use corundum_control::releases::compaction::ImageCompaction;
use corundum_control::releases::images::ReleaseImages;
use corundum_control::releases::loading::ReleaseLoader;
use corundum_control::releases::{ReleaseParts, Releases};
use corundum_control::routing::grid_adapter::GridAdapter;
use corundum_control::routing::view::{RouterView, RouterViewParts};
use corundum_control::services::addons::{AddonParts, Addons};
use corundum_control::services::backups::AddonBackups;
use corundum_control::services::settings::ServiceSettings;
use corundum_control::storage::housekeeping::Housekeeping;
use corundum_control::storage::live_files::LiveFiles;
use corundum_control::storage::retention::Retention;
use corundum_control::storage::usage::DiskUsage;
use corundum_control::upgrade::preparation::{PreparedUpgrade, UpgradePreparation};
use corundum_control::upgrade::{UpgradeOverview, UpgradeProgress};
use corundum_control::usage::UsageMeter;
use corundum_control::volumes::Volumes;
use corundum_host::capacity;
use corundum_host::engine::{Engine, EngineConfig};
use corundum_host::grid::{DynoGrid, GridLimits};
use corundum_host::image::cache::ImageCache;
use corundum_router::cache::Cache;
use corundum_router::metrics::MetricsRegistry;
use corundum_router::router::Router;
use corundum_router::server::{ServerLimits, run as run_router, run_tls};
use corundum_router::trusted_proxies::TrustedProxies;
use corundum_store::{SqliteStore, Store};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

/// Time for loading prepared apps before the first request to them.
const PRELOADING: Duration = Duration::from_secs(20);

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
    /// Bytes of the images' full files.
    pub(crate) image_cache: u64,
    /// The rule for log drains to private addresses.
    pub(crate) drain_private: PrivateTargets,
    /// Further certificate authorities that log drains trust, in PEM.
    pub(crate) drain_ca: Option<PathBuf>,
    /// The policy for connections that apps open.
    pub(crate) outbound: OutboundPolicy,
    /// The proxies in front of the node.
    pub(crate) trusted_proxies: TrustedProxies,
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
    /// True if a first push gets the add-ons that its gems use.
    pub(crate) auto_addons: bool,
    /// The services that add-ons come from.
    pub(crate) services: ServiceSettings,
    /// The rule for builds of Ruby from source by the node itself.
    pub(crate) source_builds: SourceBuilds,
}

/// Time slice of the router's threads, the kernel's shortest. With it they interrupt computing dynos as soon as a request
/// comes, instead of after a slice of some milliseconds.
const ROUTER_SLICE: Duration = Duration::from_micros(100);

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
        .on_thread_start(|| {
            // Older kernels have no such slices; the router only answers later there while dynos compute.
            let _ = corundum_host::set_time_slice(ROUTER_SLICE);
        })
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
            sockets = descriptors.sockets,
            "few file descriptors: raise the hard limit of open files (ulimit -Hn, LimitNOFILE=)"
        );
    }
    let mut signals = Signals::new()?;
    let engine = Engine::new(EngineConfig {
        images: descriptors.images,
        sockets: descriptors.sockets,
        ..EngineConfig::default()
    })?;
    let images = settings.data.join(FULL_IMAGES);
    let images = ImageCache::new(engine.clone(), images, settings.image_cache);
    let foundation = Foundation {
        packs: Arc::new(PackCache::new(engine, settings.packs.clone())),
        images: Arc::new(images),
    };
    let mut prepared = match settings.start {
        StartMode::TakeOver if DataDir::is_in_use(&settings.data) => {
            let prepared = prepare(&settings, &foundation, &runtimes)?;
            tokio::select! {
                prepared = prepared => Some(prepared?),
                () = signals.stop() => anyhow::bail!("stopped before it took over"),
            }
        }
        _ => None,
    };
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
    let node = Node::new(&settings, addresses, &runtimes, &foundation)?;
    let max_loaded = descriptors.images;
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
    // Creates the apps' logs, which the drains follow.
    node.startup.announce();
    {
        let _entered = runtimes.control.enter();
        node.drains.start_all();
    }
    if let Some(wanted) = node.grid.take_wanted() {
        runtimes
            .control
            .spawn(node.loader.clone().run(wanted, max_loaded));
    }
    let mut opening = {
        let (startup, readiness) = (node.startup.clone(), readiness.clone());
        runtimes.control.spawn(async move {
            startup.open_packs().await;
            let errors = startup.check().await;
            readiness.set_loaded(errors.clone());
            tokio::task::spawn_blocking(move || startup.remove_quarantines());
            errors
        })
    };
    if takeover.is_some() {
        // The old process serves until this one can. If the store is damaged, it goes on serving the apps from memory.
        let errors = (&mut opening).await?;
        anyhow::ensure!(
            errors.is_empty(),
            "takeover: the store has errors, and the node that runs goes on:\n{}",
            errors.join("\n")
        );
        if let Some(prepared) = &prepared {
            let (loader, apps) = (node.loader.clone(), prepared.apps.clone());
            let preloaded = runtimes
                .control
                .spawn(async move { loader.preload(&apps).await });
            // The old process serves meanwhile, but its API waits.
            let _ = tokio::time::timeout(PRELOADING, preloaded).await;
        }
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
    let processes = node.control_plane.processes.clone();
    let mut lifecycle = NodeLifecycle::start(node.data, node.locks, listeners, node.control_plane)?;
    print_addresses(&settings.domain, addresses);
    if let Some(takeover) = takeover {
        takeover.serving()?;
    }
    if let Some(prepared) = prepared.take() {
        prepared.progress.finished().write(&settings.data);
    }
    supervisor::notify_ready();
    let end = lifecycle.until_end(&mut signals).await?;
    match end {
        NodeEnd::Stopped => println!("corundum: stopping"),
        NodeEnd::Replaced => println!("corundum: another process has taken over"),
    }
    readiness.set_stopping();
    replaced.notify_one();
    stop.send_replace(true);
    let ended = async {
        match end {
            NodeEnd::Stopped => drop(tokio::join!(serving, processes.shut_down())),
            NodeEnd::Replaced => drop(serving.await),
        }
    };
    tokio::select! {
        () = ended => {}
        // A second signal does not wait for running requests.
        () = signals.stop() => {}
    }
    Ok(())
}

/// The parts of a node that do not need its data directory, so that a process has them before it takes over.
struct Foundation {
    packs: Arc<PackCache>,
    images: Arc<ImageCache>,
}

/// Prepares images beside the node that runs, on threads of low priority.
fn prepare(
    settings: &NodeSettings,
    foundation: &Foundation,
    runtimes: &Runtimes,
) -> anyhow::Result<impl Future<Output = anyhow::Result<PreparedUpgrade>> + use<>> {
    let data = Arc::new(DataDir::beside(&settings.data)?);
    let urls = AppUrls {
        domain: settings.domain.clone(),
        http: settings.listen.http.port(),
        https: settings.listen.https.map(|https| https.port()),
        api: settings.listen.api,
    };
    let packs = foundation.packs.clone();
    let preparation = UpgradePreparation {
        builder: Arc::new(builder(settings, &data, packs.clone(), urls)),
        data,
        packs: packs.clone(),
        images: foundation.images.clone(),
        pack_upgrade: PackUpgrade::new(settings.source_builds, packs, None),
        progress: UpgradeProgress::begin(env!("CARGO_PKG_VERSION")),
    };
    let prepared = runtimes.compute.spawn(preparation.run());
    let data = settings.data.clone();
    Ok(async move {
        let mut prepared = prepared.await?;
        prepared.progress = prepared.progress.taking_over();
        prepared.progress.write(&data);
        Ok(prepared)
    })
}

/// Makes the builder of apps and images.
fn builder(
    settings: &NodeSettings,
    data: &DataDir,
    packs: Arc<PackCache>,
    urls: AppUrls,
) -> Builder {
    let build = BuildSettings {
        work: data.work(),
        gem_cache: data.gems(),
        gem_directories: settings.gem_directories.clone(),
        gem_servers: settings.gem_servers.clone(),
        limits: settings.build_limits,
        arguments: settings.build_arguments.clone(),
    };
    let slots = BuildSlots::new(build_memory(), settings.build_limits.memory);
    Builder::new(build, packs, urls, slots, settings.outbound.clone())
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
    loader: Arc<ReleaseLoader>,
    router: Arc<Router<GridAdapter>>,
    control_plane: ControlPlane,
}

impl Node {
    /// Opens the data directory and makes all parts. From bottom to top: each takes only parts above it.
    fn new(
        settings: &NodeSettings,
        addresses: ListenAddresses,
        runtimes: &Runtimes,
        foundation: &Foundation,
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

        let Foundation { packs, images } = foundation;
        let (packs, images) = (packs.clone(), images.clone());
        let engine = packs.engine().clone();
        let grid = DynoGrid::new(
            engine,
            GridLimits::default(),
            logs.clone(),
            runtimes.compute.clone(),
        );
        let builder = Arc::new(builder(settings, &data, packs.clone(), urls.clone()));

        let certs = Arc::new(CertResolver::new()?);
        let view = Arc::new(RouterView::new(RouterViewParts {
            store: store.clone(),
            data: data.clone(),
            grid: grid.clone(),
            urls: urls.clone(),
            metrics: metrics.clone(),
            certs: certs.clone(),
        }));
        let adapter = Arc::new(GridAdapter::new(view.clone(), grid.clone(), logs.clone()));
        let router = Arc::new(
            Router::new(adapter)
                .with_cache(cache.clone())
                .with_trusted_proxies(settings.trusted_proxies.clone()),
        );

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
        let outbound =
            OutboundPolicies::new(store.clone(), settings.outbound.clone(), logs.clone());
        let outbound = Arc::new(outbound);
        let release_images = Arc::new(ReleaseImages::new(
            store.clone(),
            data.clone(),
            packs.clone(),
            images.clone(),
            builder.clone(),
        ));
        let upgrade = UpgradeOverview::new(data.clone(), store.clone(), release_images.clone());
        let meter = UsageMeter::new(store.clone(), grid.clone(), metrics.clone());
        let processes = Arc::new(Processes::new(ProcessParts {
            store: store.clone(),
            grid: grid.clone(),
            logs: logs.clone(),
            runtime: runtimes.control.clone(),
        }));
        let volumes = Arc::new(Volumes::new(
            store.clone(),
            data.clone(),
            grid.clone(),
            files.clone(),
        ));
        let releases = Arc::new(Releases::new(ReleaseParts {
            store: store.clone(),
            data: data.clone(),
            images: release_images,
            grid: grid.clone(),
            view: view.clone(),
            locks: locks.clone(),
            logs: logs.clone(),
            files: files.clone(),
            retention: retention.clone(),
            outbound: outbound.clone(),
            processes: processes.clone(),
            volumes: volumes.clone(),
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
        let app_usage = Arc::new(AppUsage::new(store.clone(), grid.clone()));
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
            files: files.clone(),
            errors: Mutex::default(),
            packs: packs.clone(),
            usage: app_usage.clone(),
        });
        let loader = Arc::new(ReleaseLoader {
            store: store.clone(),
            grid: grid.clone(),
            releases: releases.clone(),
            view: view.clone(),
            images,
            usage: app_usage.clone(),
        });

        let changes = Arc::new(ReleaseChanges::new(
            store.clone(),
            data.clone(),
            locks.clone(),
            builder.clone(),
            releases.clone(),
        ));
        let addons = AddonParts {
            store: store.clone(),
            data: data.clone(),
            locks: locks.clone(),
            changes: changes.clone(),
            outbound: outbound.clone(),
            logs: logs.clone(),
            api: addresses.api,
            volumes: volumes.clone(),
        };
        let addons = Arc::new(Addons::new(
            addons,
            &settings.services,
            settings.auto_addons,
        )?);
        let backups = AddonBackups::new(store.clone(), data.clone(), addons.clone());
        let backups = Arc::new(backups);
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
                usage: app_usage.clone(),
                processes: processes.clone(),
            }),
            builder: builder.clone(),
            formations: formations.clone(),
            processes: processes.clone(),
            autoscaler: autoscaler.clone(),
            changes,
            addons: addons.clone(),
            backups: backups.clone(),
            volumes: volumes.clone(),
            domains: Domains::new(
                store.clone(),
                urls.clone(),
                view.clone(),
                logs.clone(),
                wake.clone(),
            ),
            certs: AppCerts::new(store.clone(), urls.clone(), view.clone(), logs.clone()),
            acme: acme.clone(),
            settings: SettingsManager::new(
                store.clone(),
                view.clone(),
                logs,
                wake,
                urls.https,
                volumes.clone(),
            ),
            drains: drains.clone(),
            outbound: outbound.clone(),
            storage: StorageParts {
                store: store.clone(),
                data: data.clone(),
                locks: locks.clone(),
                files: files.clone(),
                retention: retention.clone(),
                usage: usage.clone(),
            },
            upgrade,
        });
        let housekeeping = Housekeeping::new(
            data.clone(),
            locks.clone(),
            files,
            retention,
            ImageCompaction::new(store.clone(), data.clone(), packs.clone()),
            CachePruning::new(store.clone(), data.clone(), packs.clone()),
        );
        let control_plane = ControlPlane {
            runtime: runtimes.control.clone(),
            data: data.clone(),
            api: Arc::new(api),
            login: Arc::new(Login::new(store.clone(), addresses.api)),
            upgrade: Arc::new(PackUpgrade::new(
                settings.source_builds,
                packs,
                Some(MovedApps {
                    store: store.clone(),
                    releases: releases.clone(),
                }),
            )),
            pushes: Arc::new(Pushes::new(PushParts {
                store,
                data: data.clone(),
                receiving,
                locks: locks.clone(),
                builder,
                releases,
                grid: grid.clone(),
                formations,
                processes: processes.clone(),
                view,
                formation_limit: settings.formation_limit,
                addons: addons.clone(),
                usage,
                outbound,
            })),
            housekeeping: Arc::new(housekeeping),
            addons,
            backups,
            volumes: volumes.clone(),
            acme,
            responders: ChallengeResponders {
                http: router.http01_challenges().clone(),
                tls: certs.certificates().clone(),
            },
            autoscaler,
            meter: Arc::new(meter),
            metrics: metrics.clone(),
            usage: app_usage,
            processes,
        };
        Ok(Self {
            data,
            locks,
            grid,
            apps_metrics: metrics,
            certs,
            drains,
            startup,
            loader,
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
