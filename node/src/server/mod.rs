//! The node: one process that takes pushes, keeps releases and serves apps.
//!
//! [`platform`] puts store, packs and grid together; [`api`] and [`git`] are its doors on the API's listener, [`hook`]
//! the one for git's own hooks, [`front`] the router's view of it, with [`sites`] for what it knows of each app, [`admin`]
//! the operator's. [`deploy`] takes a push to its release by way of
//! [`build`].

mod acme;
mod admin;
mod api;
mod autoscale;
mod build;
mod certs;
mod config;
mod deploy;
mod domains;
mod doors;
mod drains;
mod files;
mod front;
mod git;
mod hook;
mod listeners;
mod load;
mod logs;
mod names;
mod pages;
mod platform;
mod running;
mod secret;
mod settings;
mod sites;
mod store;
mod supervisor;
mod takeover;
mod upgrade;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use corundum_compiler::gems::GemSource;
use corundum_router::router::Router;
use corundum_router::server::{ServerLimits, run as run_router, run_tls};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use self::admin::{Admin, Readiness};
use self::listeners::Listeners;
use self::running::{End, Running, Signals};
use self::takeover::Taken;
use crate::compile::Limits;

pub(crate) use acme::{Acme, LETS_ENCRYPT};
pub(crate) use certs::of_node::Files as CertFiles;
pub(crate) use drains::Private as DrainPrivate;
pub(crate) use git::MAX_PUSH;
pub(crate) use hook::pre_receive;

/// Open files that the node keeps for itself, its builds and its API; connections get the rest.
const OWN_FILES: usize = 500;

/// How a node gets its listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// It opens them.
    Alone,
    /// It gets those of the node that runs on the same data directory, if one does.
    TakeOver,
}

/// A node's settings.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How it gets its listeners.
    pub(crate) start: Start,
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
    /// Whether log drains may lead to private addresses.
    pub(crate) drain_private: drains::Private,
    /// Further certificate authorities that log drains believe, in PEM.
    pub(crate) drain_ca: Option<PathBuf>,
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
    let mut signals = Signals::new()?;
    let taken = match settings.start {
        Start::TakeOver => Taken::from_node(&settings.data)?,
        Start::Alone => None,
    };
    let (listeners, taken) = match taken {
        Some((listeners, taken)) => (listeners, Some(taken)),
        None => (Listeners::open(&settings).await?, None),
    };
    let settings = listeners.addresses(settings)?;
    let platform = Arc::new(platform::Platform::open(settings.clone(), compute)?);
    let front = Arc::new(front::Front::new(platform.clone()));
    let router = Arc::new(Router::new(front).with_cache(platform.cache().clone()));
    // Each listener has its share, so that no flood of the one closes the other.
    let listening = 1 + usize::from(listeners.https.is_some());
    let limits = ServerLimits {
        connections: ServerLimits::default()
            .connections
            .min(descriptors / listening),
        drain: std::time::Duration::from_secs(10),
        ..ServerLimits::default()
    };
    let readiness = Arc::new(Readiness::default());
    let replaced = Arc::new(Notify::new());
    let told = Admin {
        platform: platform.clone(),
        router: router.metrics().clone(),
        readiness: readiness.clone(),
        connections: limits.connections * listening,
        replaced: replaced.clone(),
    };
    if let Some(files) = &settings.https_cert {
        certs::of_node::load(&platform, files)?;
        control.spawn(certs::of_node::watch(platform.clone(), files.clone()));
    }
    let expected = load::announce(&platform);
    {
        let _entered = control.enter();
        platform.start_drains();
    }
    let mut loading = {
        let (platform, readiness) = (platform.clone(), readiness.clone());
        control.spawn(async move {
            load::run(&platform, expected).await;
            readiness.set_ready();
        })
    };
    if taken.is_some() {
        // The other node serves until this one has all apps.
        let _ = (&mut loading).await;
    }
    let own = listeners.again()?;
    admin::start(own.admin, told)?;
    let stop = Arc::new(Notify::new());
    let stopped = |stop: Arc<Notify>| async move { stop.notified().await };
    let certificates = platform.shown().certificates().clone();
    let proofs = acme::Proofs {
        http: router.http01_challenges().clone(),
        tls: certificates.clone(),
    };
    let encrypted = own.https.map(TcpListener::from_std).transpose()?;
    let encrypted = encrypted.map(|https| {
        let (router, limits) = (router.clone(), limits.clone());
        run_tls(https, certificates, router, limits, stopped(stop.clone()))
    });
    let http = TcpListener::from_std(own.http)?;
    let plain = run_router(http, router, limits, stopped(stop.clone()));
    let serving = tokio::spawn(async move {
        match encrypted {
            Some(encrypted) => drop(tokio::join!(plain, encrypted)),
            None => plain.await,
        }
    });
    let mut running = Running::new(platform, listeners, proofs, control)?;
    say(&settings);
    if let Some(taken) = taken {
        taken.serving()?;
    }
    supervisor::ready();
    let end = running.until_end(&mut signals).await?;
    match end {
        End::Stopped => println!("corundum: stopping"),
        End::Replaced => println!("corundum: another process has taken over"),
    }
    readiness.set_stopping();
    replaced.notify_one();
    stop.notify_waiters();
    tokio::select! {
        _ = serving => {}
        // A second signal does not wait for running requests.
        () = signals.stop() => {}
    }
    Ok(())
}

/// Says where the node listens.
fn say(settings: &Settings) {
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
