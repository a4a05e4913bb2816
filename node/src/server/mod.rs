//! The node: one process that takes pushes, keeps releases and serves apps.
//!
//! [`platform`] puts store, packs and grid together; [`api`] and [`git`] are its doors on the API's listener, [`hook`]
//! the one for git's own hooks, [`front`] the router's view of it, with [`sites`] for what it knows of each app, [`admin`]
//! the operator's. [`deploy`] takes a push to its release by way of
//! [`build`].

mod acme;
mod admin;
mod api;
mod build;
mod certs;
mod config;
mod deploy;
mod domains;
mod front;
mod git;
mod hook;
mod listeners;
mod logs;
mod names;
mod platform;
mod secret;
mod settings;
mod sites;
mod store;
mod upgrade;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use corundum_compiler::gems::GemSource;
use corundum_router::figures::TICK;
use corundum_router::router::Router;
use corundum_router::server::{ServerLimits, run as run_router, run_tls};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::time::MissedTickBehavior;

use self::admin::{Admin, Readiness};
use self::listeners::Listeners;
use crate::compile::Limits;

pub(crate) use acme::{Acme, LETS_ENCRYPT};
pub(crate) use certs::of_node::Files as CertFiles;
pub(crate) use git::MAX_PUSH;
pub(crate) use hook::pre_receive;

/// Open files that the node keeps for itself, its builds and its API; connections get the rest.
const OWN_FILES: usize = 500;

/// A node's settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Where it keeps everything.
    pub(crate) data: PathBuf,
    /// Where prepared packs are, shared by all nodes of the machine.
    pub(crate) cache: PathBuf,
    /// The apps' listener.
    pub(crate) http: SocketAddr,
    /// The apps' listener for TLS.
    pub(crate) https: Option<SocketAddr>,
    /// A certificate for all apps under the domain.
    pub(crate) https_cert: Option<CertFiles>,
    /// Where certificates are got from.
    pub(crate) acme: Acme,
    /// The listener of the API and git.
    pub(crate) api: SocketAddr,
    /// The listener of metrics and health checks.
    pub(crate) admin: SocketAddr,
    /// Directories that builds take gems from.
    pub(crate) gems: Vec<PathBuf>,
    /// Gem servers that builds may fetch from.
    pub(crate) gem_sources: Vec<GemSource>,
    /// Apps are served at `NAME.domain`.
    pub(crate) domain: String,
    /// Bytes of the HTTP cache.
    pub(crate) cache_size: u64,
    /// Bytes of one push.
    pub(crate) push: u64,
    /// Limits of builds.
    pub(crate) build: Limits,
    /// Whether Ruby is built from source beside serving, where it has not been yet.
    pub(crate) build_ruby: bool,
}

/// Runs a node until it is told to stop.
pub(crate) fn run(settings: Settings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("router")
        .build()?;
    // The API, builds and what goes on in the background get threads of their own: a flood of requests must not lock the
    // operator out, nor a build hold up requests.
    let control = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(2)
        .thread_name("control")
        .build()?;
    // Dynos that wait or compute get threads of their own, of lower priority: the router stays responsive.
    let compute = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("dyno")
        .on_thread_start(|| {
            let _ = rustix::process::nice(crate::compile::NICE);
        })
        .build()?;
    let result = runtime.block_on(serve(
        settings,
        control.handle().clone(),
        compute.handle().clone(),
    ));
    control.shutdown_background();
    compute.shutdown_background();
    result
}

async fn serve(settings: Settings, control: Handle, compute: Handle) -> anyhow::Result<()> {
    let descriptors = raise_open_files().saturating_sub(OWN_FILES);
    let listeners = Listeners::open(&settings).await?;
    let settings = listeners.addresses(settings)?;
    let Listeners {
        http,
        https,
        api,
        admin,
    } = listeners;
    let http = TcpListener::from_std(http)?;
    let https = https.map(TcpListener::from_std).transpose()?;
    let platform = Arc::new(platform::Platform::open(settings.clone(), compute)?);
    let front = Arc::new(front::Front::new(platform.clone()));
    let router = Arc::new(Router::new(front).with_cache(platform.cache().clone()));
    // Each listener has its share, so that no flood of the one closes the other.
    let listening = 1 + usize::from(https.is_some());
    let limits = ServerLimits {
        connections: ServerLimits::default()
            .connections
            .min(descriptors / listening),
        drain: std::time::Duration::from_secs(10),
        ..ServerLimits::default()
    };
    let readiness = Arc::new(Readiness::default());
    let told = Admin {
        platform: platform.clone(),
        router: router.figures().clone(),
        readiness: readiness.clone(),
        connections: limits.connections * listening,
    };
    admin::start(admin, told)?;
    if let Some(files) = &settings.https_cert {
        certs::of_node::load(&platform, files)?;
        control.spawn(certs::of_node::watch(platform.clone(), files.clone()));
    }
    platform.load_all().await;
    let (api, hook) = {
        let _entered = control.enter();
        (TcpListener::from_std(api)?, hook::listen(&platform)?)
    };
    println!(
        "corundum: apps at http://NAME.{}:{}",
        settings.domain,
        settings.http.port()
    );
    if let Some(https) = settings.https {
        println!("corundum: apps at https://{https}, with the certificates of corundum certs");
    }
    println!("corundum: metrics and health at http://{}", settings.admin);
    println!("corundum: API and git at http://{}", settings.api);
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = |stop: Arc<tokio::sync::Notify>| async move { stop.notified().await };
    let certificates = platform.shown().certificates().clone();
    let proofs = acme::Proofs {
        http: router.challenges().clone(),
        tls: certificates.clone(),
    };
    let encrypted = https.map(|https| {
        let (router, limits) = (router.clone(), limits.clone());
        run_tls(https, certificates, router, limits, stopped(stop.clone()))
    });
    let plain = run_router(http, router, limits, stopped(stop.clone()));
    let serving = tokio::spawn(async move {
        match encrypted {
            Some(encrypted) => drop(tokio::join!(plain, encrypted)),
            None => plain.await,
        }
    });
    let background = [
        control.spawn(api::serve(api, platform.clone())),
        control.spawn(hook::serve(hook, platform.clone())),
        control.spawn(upgrade::run(platform.clone())),
        control.spawn(acme::run(platform.clone(), proofs)),
        control.spawn(tick(platform)),
    ];
    readiness.set_ready();
    wait_for_signal().await?;
    println!("corundum: stopping");
    readiness.set_stopping();
    stop.notify_waiters();
    tokio::select! {
        _ = serving => {}
        // A second signal does not wait for running requests.
        _ = wait_for_signal() => {}
    }
    background.iter().for_each(|task| task.abort());
    Ok(())
}

/// Moves the figures' windows on.
async fn tick(platform: Arc<platform::Platform>) {
    let mut interval = tokio::time::interval(TICK);
    // Ticks that were missed have no figures of their own.
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        platform.figures().tick();
    }
}

/// Raises the limit of open files as far as the node may, and returns it.
fn raise_open_files() -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let raised = getrlimit(Resource::Nofile).current;
    raised.map_or(usize::MAX, |files| files.try_into().unwrap_or(usize::MAX))
}

async fn wait_for_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
